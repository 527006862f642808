from pathlib import Path

import pytest
from PIL import Image

from model_training.sources.annotated_frame import Place
from model_training.sources.image_folders import SUFFIXES, Ambiguous, ImageFolders, listed, plain_stem, size_px
from model_training.sources.problems import Kind, Problems
from model_training.sources.readable_images import fault
from tests.model_training.images import write_image


def test_image_is_found_by_its_path_below_any_of_the_folders(tmp_path):
    image = write_image(tmp_path / "b/night/a.jpg")
    assert ImageFolders([tmp_path / "a", tmp_path / "b"]).find("night/a.jpg") == image


def test_name_must_agree_unless_stems_are_asked_for(tmp_path):
    image = write_image(tmp_path / "deep/road12.jpg")
    assert ImageFolders([tmp_path]).find("road12.png") is None
    assert ImageFolders([tmp_path], "stem").find("road12.png") == image


def test_roboflow_hash_does_not_hide_an_image(tmp_path):
    image = write_image(tmp_path / "X_jpg.jpg")
    assert ImageFolders([tmp_path], "stem").find("X_jpg.rf.2eca2885beb1007aa989acf0fec36b4c.jpg") == image


def test_one_stem_of_two_images_is_ambiguous(tmp_path):
    write_image(tmp_path / "a/1.jpg")
    write_image(tmp_path / "b/1.png")
    with pytest.raises(Ambiguous, match=r"1\.txt could be any of"):
        ImageFolders([tmp_path], "stem").find("1.txt")


def test_missing_image_is_reported_with_where_it_was_looked_for(tmp_path):
    problems = Problems("skip")
    assert ImageFolders([tmp_path]).found("a.jpg", Path("x.json"), 3, problems) is None
    assert str(problems.found[0]) == f"x.json:3: image 'a.jpg' is not in {tmp_path}"
    assert problems.counts() == {Kind.MISSING_IMAGE: 1}


def test_empty_name_is_no_image(tmp_path):
    assert ImageFolders([tmp_path]).find("") is None


def test_size_comes_from_the_header_as_width_and_height(tmp_path):
    assert size_px(write_image(tmp_path / "a.png", size=(7, 5)), Place(Path("x.xml")), Problems()) == (7, 5)


def test_size_of_a_picture_on_its_side_is_that_of_the_frame_as_shown(tmp_path):
    """Stored 60 x 40, to be turned by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert size_px(tmp_path / "a.jpg", Place(Path("x.xml")), Problems()) == (40, 60)


def test_file_that_is_no_image_is_a_broken_image(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>")
    problems = Problems("skip")
    assert size_px(tmp_path / "a.jpg", Place(Path("x.json"), 3), problems) is None
    assert problems.counts() == {Kind.BROKEN_IMAGE: 1}
    assert str(problems.found[0]).startswith(f"x.json:3: image {tmp_path / 'a.jpg'} cannot be used: ")


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_that_is_looked_for_can_be_decoded(tmp_path, suffix):
    image = write_image(tmp_path / f"a{suffix.upper()}")
    assert list(ImageFolders([tmp_path])) == [image]
    assert fault(image) is None


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".gif"])
def test_image_of_a_format_that_is_not_decoded_is_not_looked_for(tmp_path, suffix):
    image = write_image(tmp_path / f"a{suffix}")
    assert list(ImageFolders([tmp_path])) == []
    assert "no image format we read" in fault(image)


@pytest.mark.parametrize(
    ("written", "meant"),
    [(None, ()), ("a", ("a",)), (Path("a"), (Path("a"),)), (["a", "b"], ["a", "b"]), (7, 7)],
)
def test_one_path_is_a_list_of_one_and_what_is_no_path_is_left_to_be_refused(written, meant):
    assert listed(written) == meant


def test_stem_without_a_roboflow_hash_stays_as_it_is():
    assert plain_stem("images-32-_jpeg.rf.txt") == "images-32-_jpeg.rf"
