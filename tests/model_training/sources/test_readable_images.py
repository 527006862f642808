import re
from pathlib import Path

import pytest

from model_training.errors import AnnotationError
from model_training.sources import readable_images
from model_training.sources.annotated_frame import AnnotatedFrame, Place
from model_training.sources.problems import Kind, Problems
from model_training.sources.readable_images import fault, readable_frames
from tests.model_training.images import write_image


def frame_of(image, place=None):
    return AnnotatedFrame(image, {"car": 1}, "s", "g", place=place)


@pytest.fixture
def broken(tmp_path):
    """A JPEG that lacks its last rows."""
    image = write_image(tmp_path / "broken.jpg", size=(64, 64))
    image.write_bytes(image.read_bytes()[:-60])
    return image


def test_readable_frames_come_back_in_order(tmp_path):
    frames = [frame_of(write_image(tmp_path / f"{number}.png", number)) for number in range(600)]
    assert list(readable_frames(frames, Problems())) == frames


def test_broken_image_is_left_out_and_reported_where_it_is_annotated(tmp_path, broken):
    fine = frame_of(write_image(tmp_path / "fine.png"))
    problems = Problems("skip")
    found = list(readable_frames([frame_of(broken, Place(Path("labels.csv"), 7)), fine], problems))
    assert found == [fine]
    assert problems.counts() == {Kind.BROKEN_IMAGE: 1}
    assert str(problems.found[0]).startswith(f"labels.csv:7: image {broken} cannot be used: the JPEG image is cut")


def test_broken_image_that_no_file_names_is_itself_the_place(broken):
    with pytest.raises(AnnotationError, match=r"broken\.jpg: the JPEG image is cut") as stopped:
        list(readable_frames([frame_of(broken)], Problems()))
    assert (stopped.value.file, stopped.value.line) == (broken, None)


def test_broken_image_of_two_frames_is_decoded_once_and_reported_for_each(broken, monkeypatch):
    decoded = []
    monkeypatch.setattr(readable_images, "fault", lambda image: decoded.append(image) or "cut")
    problems = Problems("skip")
    frames = [frame_of(broken, Place(Path(name))) for name in ("one.json", "other.json")]
    assert list(readable_frames(frames, problems)) == []
    assert decoded == [broken]
    assert [problem.file.name for problem in problems.found] == ["one.json", "other.json"]


def test_run_that_stops_leaves_the_rest_undecoded(tmp_path, broken):
    """Of endless frames, only some beyond the first broken one are read."""
    image = write_image(tmp_path / "fine.png")
    taken = []

    def endless():
        while True:
            taken.append(frame_of(broken if len(taken) == 3 else image))
            yield taken[-1]

    with pytest.raises(AnnotationError):
        list(readable_frames(endless(), Problems()))
    assert len(taken) < 1000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<html>", "no image format we read"),
        (b"BM" + bytes(60), "BMP"),
        (b"\xff\xd8\xff\xe0", "damaged|cannot be read"),
    ],
)
def test_file_that_is_no_image_has_a_fault(tmp_path, content, said):
    image = tmp_path / "a.jpg"
    image.write_bytes(content)
    assert re.search(said, fault(image))


def test_file_that_is_not_there_has_a_fault(tmp_path):
    assert "No such file" in fault(tmp_path / "gone.jpg")


def test_image_of_more_pixels_than_are_read_has_a_fault(tmp_path):
    assert "50000000 are allowed" in fault(write_image(tmp_path / "huge.png", size=(10_001, 5_000)))


def test_real_photograph_has_no_fault(street_photograph):
    assert fault(street_photograph) is None
