"""A folder of frames that wait for answers: each frame once, within its bounds, and no answer is ever lost."""

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from model_training.sources import csv_table
from model_training.sources.problems import Problems
from service.errors import AnsweredElsewhere, LabelFolderBusy, UnlistedFrame, UnreadableLabelTable
from service.label_folder.folder import LabelFolder
from service.label_folder.intake import Bounds, Intake
from tests.conftest import REPOSITORY
from tests.service.label_folder.frames import ROOMY, contents, edited, rows, uncertain, write


@pytest.fixture
def folder(tmp_path: Path) -> LabelFolder:
    """An empty folder for car and sign."""
    made = LabelFolder(tmp_path / "uncertain")
    made.prepare(["car", "sign"])
    return made


def test_a_kept_frame_is_its_bytes_a_row_of_unknown_entries_and_its_scores(folder: LabelFolder) -> None:
    frame = uncertain("a", distance=0.25)
    assert folder.keep([frame], ROOMY) == ["kept"]
    image = f"images/{hashlib.sha256(frame.data).hexdigest()[:32]}.jpg"
    assert (folder.path / image).read_bytes() == frame.data
    about = {"split": "fit", "group": "drive 1", "source": "uncertain", "licence": "CC0-1.0"}
    assert rows(folder.path) == [{"image": image, "car": "", "sign": "", **about}]
    model = {"model": "street", "model_version": "1.0.0", "distance": "0.2500", "near": "car", "cannot_tell": ""}
    assert rows(folder.path, "scores.csv") == [
        {"image": image, "car": "0.4", "sign": "0.01", **model, "bytes": str(len(frame.data))}
    ]


def test_training_reads_the_table_and_takes_scores_for_no_labels(folder: LabelFolder) -> None:
    """Unanswered rows know nothing; group, source and licence are those of the table."""
    folder.keep([uncertain("a"), uncertain("b")], ROOMY)
    found = list(csv_table.frames(folder.path, Problems("stop")))
    assert [frame.entries for frame in found] == [{}, {}]
    assert {(frame.group, frame.source, frame.licence, frame.split) for frame in found} == {
        ("drive 1", "uncertain", "CC0-1.0", "fit")
    }


def test_the_same_frame_is_kept_once(folder: LabelFolder) -> None:
    """Within a batch and later."""
    assert folder.keep([uncertain("a"), uncertain("a")], ROOMY) == ["kept", "known"]
    assert folder.keep([uncertain("a", group="another")], ROOMY) == ["known"]
    assert [row["group"] for row in rows(folder.path)] == ["drive 1"]


@pytest.mark.parametrize(("answer", "version"), [("", "2.0.0"), ("present", "1.0.0")])
def test_a_newer_model_scores_again_what_nobody_has_answered(folder: LabelFolder, answer: str, version: str) -> None:
    folder.keep([uncertain("a")], ROOMY)
    if answer:
        folder.answer(rows(folder.path)[0]["image"], "car", "present", "")
    folder.keep([uncertain("a", model_version="2.0.0")], ROOMY)
    assert [row["model_version"] for row in rows(folder.path, "scores.csv")] == [version]


def test_a_model_of_the_same_name_and_version_scores_again_too(folder: LabelFolder) -> None:
    """Whoever trains again need not give it another version."""
    folder.keep([uncertain("a", 0.9)], ROOMY)
    trained_again = uncertain("a", 0.2, probabilities={"car": 0.45, "sign": 0.02})
    assert folder.keep([trained_again], ROOMY) == ["known"]
    (scores,) = rows(folder.path, "scores.csv")
    assert (scores["car"], scores["sign"], scores["distance"]) == ("0.45", "0.02", "0.2000")


def test_a_known_frame_with_the_same_scores_writes_nothing(folder: LabelFolder) -> None:
    """A replaced file would be another inode."""
    folder.keep([uncertain("a")], ROOMY)
    tables = [folder.path / name for name in ("labels.csv", "scores.csv")]
    before = [table.stat().st_ino for table in tables]
    assert folder.keep([uncertain("a")], ROOMY) == ["known"]
    assert [table.stat().st_ino for table in tables] == before


def test_a_full_folder_keeps_the_most_uncertain(folder: LabelFolder) -> None:
    """Of five frames with room for three; the newcomer stays out where it is the least uncertain itself."""
    frames = [uncertain(f"at {far}", far) for far in (0.5, 0.9, 0.1, 0.8, 0.3)]
    assert folder.keep(frames, Bounds(3, 10_000)) == ["kept", "kept", "kept", "kept", "kept"]
    assert folder.keep([uncertain("at 0.7", 0.7)], Bounds(3, 10_000)) == ["no_room"]
    assert contents(folder.path) == {"at 0.5", "at 0.1", "at 0.3"}
    assert len(list((folder.path / "images").iterdir())) == 3
    assert len(rows(folder.path, "scores.csv")) == 3


def test_a_frame_that_goes_and_comes_again_in_one_batch_keeps_its_image(folder: LabelFolder) -> None:
    """Another model finds it more uncertain than what it had made room for."""
    one = Bounds(1, 10_000)
    folder.keep([uncertain("a", 0.9)], one)
    assert folder.keep([uncertain("b", 0.5), uncertain("a", 0.1)], one) == ["kept", "kept"]
    assert contents(folder.path) == {"a"}
    assert len(list((folder.path / "images").iterdir())) == 1


def test_what_a_full_folder_holds_is_counted_once_for_a_batch(
    folder: LabelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 rows at the start; then each of 20 frames has its own, and the one that has to go for it, twice."""
    full = Bounds(100, 1_000_000)
    folder.keep([uncertain(f"old {number}", 0.5 + number / 1000) for number in range(100)], full)
    looked_at: list[str] = []
    bytes_of = Intake._bytes_of
    monkeypatch.setattr(Intake, "_bytes_of", lambda self, image: looked_at.append(image) or bytes_of(self, image))
    folder.keep([uncertain(f"new {number}", 0.4 + number / 1000) for number in range(20)], full)
    assert contents(folder.path) == {f"old {number}" for number in range(80)} | {f"new {n}" for n in range(20)}
    assert len(looked_at) <= 100 + 20 * 3


def test_frames_that_came_and_were_scored_again_in_a_batch_are_counted_too(folder: LabelFolder) -> None:
    """With room for three: `c` goes for `d`, then `a`, of which the newer scores are sure, and then `d`."""
    three = Bounds(3, 10_000)
    folder.keep([uncertain("a", 0.1), uncertain("b", 0.2), uncertain("c", 0.3)], three)
    batch = [uncertain("d", 0.25), uncertain("a", 0.9), uncertain("e", 0.21), uncertain("f", 0.22)]
    assert folder.keep(batch, three) == ["kept", "known", "kept", "kept"]
    assert contents(folder.path) == {"b", "e", "f"}


def test_bytes_are_bounded_too(folder: LabelFolder) -> None:
    """100 and 60 of 200 bytes are taken: 90 more need the room of the 100."""
    bounds = Bounds(1000, 200)
    folder.keep([uncertain("a", 0.9, size=100), uncertain("b", 0.5, size=60)], bounds)
    assert folder.keep([uncertain("too large", 0.1, size=201)], bounds) == ["no_room"]
    assert folder.keep([uncertain("c", 0.2, size=90)], bounds) == ["kept"]
    assert contents(folder.path) == {"b", "c"}


def test_what_has_an_answer_is_never_taken_away(folder: LabelFolder) -> None:
    """Nor what a person could not tell."""
    folder.keep([uncertain("a", 0.9), uncertain("b", 0.8)], Bounds(2, 10_000))
    first, second = (row["image"] for row in rows(folder.path))
    folder.answer(first, "car", "absent", "")
    folder.answer(second, "sign", "unknown", "")
    assert folder.keep([uncertain("c", 0.1)], Bounds(2, 10_000)) == ["no_room"]
    assert contents(folder.path) == {"a", "b"}


def test_other_peoples_files_are_never_taken_away(folder: LabelFolder) -> None:
    """A row that was not kept here has its image elsewhere."""
    own = folder.path / "own.jpg"
    own.write_bytes(b"\xff\xd8\xffmine")
    write(folder.path, [{"image": "own.jpg", "car": "", "sign": "", "group": "", "source": "", "licence": ""}])
    scored = "image,car,distance,near,bytes\nown.jpg,0.1,0.99,car,7\n"
    (folder.path / "scores.csv").write_text(scored)
    assert folder.keep([uncertain("a", 0.1)], Bounds(1, 10_000)) == ["no_room"]
    assert own.exists()


def test_answers_and_edits_survive_further_frames(folder: LabelFolder) -> None:
    folder.keep([uncertain("a")], ROOMY)
    image = rows(folder.path)[0]["image"]
    folder.answer(image, "car", "present", "")
    edited(folder.path, image, split="test", group="by hand")
    folder.keep([uncertain("b")], ROOMY)
    kept = rows(folder.path)[0]
    assert (kept["car"], kept["sign"], kept["split"], kept["group"]) == ("1", "", "test", "by hand")


def test_a_model_with_another_label_adds_a_column_of_unknown_entries(folder: LabelFolder) -> None:
    folder.keep([uncertain("a")], ROOMY)
    folder.prepare(["car", "cyclist"])
    assert list(rows(folder.path)[0]) == ["image", "car", "sign", "cyclist", "split", "group", "source", "licence"]
    assert rows(folder.path)[0]["cyclist"] == ""


def test_a_label_named_like_a_column_of_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableLabelTable, match="labels named group, near cannot stand in a label table"):
        LabelFolder(tmp_path).prepare(["near", "car", "group"])


def test_listed_frames_come_most_uncertain_first_and_those_without_scores_last(folder: LabelFolder) -> None:
    folder.keep([uncertain("a", 0.9), uncertain("b", 0.1)], ROOMY)
    write(folder.path, [{**rows(folder.path)[0], "image": "own.jpg"}, *rows(folder.path)])
    listed = folder.listed()
    assert [frame.distance for frame in listed] == [0.1, 0.9, None]
    assert (listed[0].near, listed[0].probabilities) == (("car",), {"car": 0.4, "sign": 0.01})
    assert (listed[2].image, listed[2].near, listed[2].probabilities) == ("own.jpg", (), {})


@pytest.mark.parametrize(("answer", "entry"), [("present", "1"), ("absent", "0"), ("unknown", "")])
def test_an_answer_is_the_entry_and_is_listed(folder: LabelFolder, answer: str, entry: str) -> None:
    """An unknown entry that a person has looked at is told from one that waits."""
    folder.keep([uncertain("a")], ROOMY)
    image = rows(folder.path)[0]["image"]
    told = folder.answer(image, "sign", answer, "")  # type: ignore[arg-type]
    assert told.answers == {"car": "", "sign": answer}
    assert folder.listed() == [told]
    assert rows(folder.path)[0]["sign"] == entry


def test_an_answer_can_be_changed(folder: LabelFolder) -> None:
    folder.keep([uncertain("a")], ROOMY)
    image = rows(folder.path)[0]["image"]
    folder.answer(image, "car", "unknown", "")
    assert folder.answer(image, "car", "absent", "unknown").answers["car"] == "absent"
    assert folder.answer(image, "car", "unknown", "absent").answers["car"] == "unknown"
    assert rows(folder.path)[0]["car"] == ""


def test_an_answer_to_what_was_answered_elsewhere_is_refused_with_what_stands(folder: LabelFolder) -> None:
    """The same answer twice is no contradiction."""
    folder.keep([uncertain("a")], ROOMY)
    image = rows(folder.path)[0]["image"]
    edited(folder.path, image, car="1")
    with pytest.raises(AnsweredElsewhere, match="answered elsewhere: present, not unanswered as shown") as refused:
        folder.answer(image, "car", "absent", "")
    assert refused.value.facts == {"stands": "present"}
    assert folder.answer(image, "car", "present", "").answers["car"] == "present"


def test_a_frame_or_label_that_is_not_in_the_table_is_refused(folder: LabelFolder) -> None:
    folder.keep([uncertain("a")], ROOMY)
    with pytest.raises(UnlistedFrame, match=r"no row for 'b\.jpg'"):
        folder.answer("b.jpg", "car", "absent", "")
    with pytest.raises(UnlistedFrame, match="no column 'cyclist'; it has car, sign"):
        folder.answer(rows(folder.path)[0]["image"], "cyclist", "absent", "")


def test_only_listed_images_within_the_folder_are_given_out(folder: LabelFolder) -> None:
    secret = folder.path.parent / "secret.jpg"
    secret.write_bytes(b"secret")
    folder.keep([uncertain("a"), uncertain("gone")], ROOMY)
    first, second = (row["image"] for row in rows(folder.path))
    (folder.path / second).unlink()
    edited(folder.path, first, image="../secret.jpg")
    for image in ("../secret.jpg", second, "scores.csv"):
        with pytest.raises(UnlistedFrame):
            folder.image_file(image)


@pytest.mark.parametrize("entry", ["yes", "2", "-1"])
def test_an_entry_that_is_none_is_named(folder: LabelFolder, entry: str) -> None:
    folder.keep([uncertain("a")], ROOMY)
    edited(folder.path, rows(folder.path)[0]["image"], car=entry)
    with pytest.raises(UnreadableLabelTable, match=f"is '{entry}'; allowed are 0, 1 and empty"):
        folder.listed()


def test_a_lock_that_is_not_let_go_is_told(folder: LabelFolder) -> None:
    impatient = LabelFolder(folder.path, lock_timeout_s=0.01)
    with FileLock(folder.path / ".lock"), pytest.raises(LabelFolderBusy, match=r"held .*\.lock for 0\.01 seconds"):
        impatient.keep([uncertain("a")], ROOMY)


def test_a_change_that_fails_leaves_no_image_without_a_row(
    folder: LabelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk would otherwise be filled with pictures that no bound counts."""

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    folder.keep([uncertain("a")], ROOMY)
    monkeypatch.setattr("service.label_folder.tables.replace_file", full)
    with pytest.raises(OSError, match="No space left"):
        folder.keep([uncertain("b")], ROOMY)
    assert [path.read_bytes()[3:] for path in (folder.path / "images").iterdir()] == [b"a"]
    assert contents(folder.path) == {"a"}


def test_a_change_that_fails_for_any_reason_leaves_no_image_without_a_row(
    folder: LabelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("service.label_folder.tables.Tables.write", fail)
    with pytest.raises(ZeroDivisionError):
        folder.keep([uncertain("a")], ROOMY)
    assert list((folder.path / "images").iterdir()) == []


def test_a_group_that_is_no_text_keeps_no_other_frame_out(folder: LabelFolder) -> None:
    """A folder's name may be any bytes, and frames are written together."""
    frames = [uncertain("a", group="drive 1"), uncertain("b", group="\udcff")]
    assert folder.keep(frames, ROOMY) == ["kept", "kept"]
    assert [row["group"] for row in rows(folder.path)] == ["drive 1", "\\udcff"]


def test_scores_of_a_row_that_a_person_took_out_go_and_the_frame_may_come_again(folder: LabelFolder) -> None:
    folder.keep([uncertain("a"), uncertain("b")], ROOMY)
    write(folder.path, rows(folder.path)[1:])
    folder.keep([uncertain("c")], ROOMY)
    assert len(rows(folder.path, "scores.csv")) == 2
    assert folder.keep([uncertain("a")], ROOMY) == ["kept"]


def test_what_a_kill_left_unfinished_is_removed_at_the_next_start(folder: LabelFolder) -> None:
    for name in (".labels.csv.partial", "images/.abc.jpg.partial"):
        (folder.path / name).write_bytes(b"half")
    folder.prepare(["car"])
    assert list(folder.path.rglob("*.partial")) == []


def keeping(folder: Path, name: str, count: int) -> "subprocess.Popen[str]":
    """A process that keeps frame after frame and prints the number of each that it has kept."""
    program = (
        "import sys; from pathlib import Path; from service.label_folder.folder import LabelFolder\n"
        "from tests.service.label_folder.frames import ROOMY, uncertain\n"
        "folder, name, count = LabelFolder(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])\n"
        "for number in range(count):\n"
        "    folder.keep([uncertain(f'{name} {number}')], ROOMY)\n"
        "    print(number, flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(folder), name, str(count)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def test_several_processes_keep_frames_in_one_folder(folder: LabelFolder) -> None:
    """Not one of theirs is lost."""
    processes = [keeping(folder.path, name, 25) for name in "ab"]
    for process in processes:
        process.communicate(timeout=60)
    assert contents(folder.path) == {f"{name} {number}" for name in "ab" for number in range(25)}


def test_a_kill_at_any_moment_loses_nothing_that_was_kept(folder: LabelFolder) -> None:
    """Killed for real while it writes; the table is readable, and complete as far as it had told."""
    process = keeping(folder.path, "a", 100_000)
    assert process.stdout
    told = [int(process.stdout.readline()) for _ in range(20)]
    process.kill()
    told += [int(line) for line in process.communicate(timeout=60)[0].splitlines() if line.strip()]
    assert process.returncode == -signal.SIGKILL
    assert {f"a {number}" for number in told} <= contents(folder.path)
    assert folder.keep([uncertain("after")], ROOMY) == ["kept"]
    assert len(list(csv_table.frames(folder.path, Problems("stop")))) == len(rows(folder.path))
