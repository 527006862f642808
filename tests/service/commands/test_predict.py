"""roadcue predict, run as a person runs it."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import main, roadcue
from service.inference.decoding import FrameLimits
from service.inference.detector import load_detector
from service.inference.execution import ExecutionPlan
from service.scoring.local import LocalScorer
from service.scoring.rows import FrameToScore, Place
from tests.service.conftest import encoded
from tests.service.label_folder.frames import rows


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A folder of folders: three images, one of them damaged, and a file that is none."""
    folder = tmp_path / "frames"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "b.png").write_bytes(encoded(204, 51, 0, 30, 20))
    (folder / "deep" / "er" / "A.JPG").write_bytes(encoded(0, 255, 0, form="JPEG"))
    (folder / "deep" / "c.webp").write_bytes(b"RIFF\x10\0\0\0WEBPVP8 ")
    (folder / "notes.txt").write_text("not an image")
    return folder


def predict(model: Path, *arguments: object) -> Result:
    """Runs roadcue predict with the tiny model."""
    flags = ["predict", "--model", str(model), "--device", "cpu", "--inference-workers", "2"]
    return CliRunner().invoke(roadcue, [*flags, *map(str, arguments)])


def test_csv_holds_a_row_for_every_frame_in_order(model: Path, frames: Path) -> None:
    """204/255 = 0.8 and 51/255 = 0.2."""
    result = predict(model, frames, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [Path(row["frame"]).name for row in rows] == ["b.png", "c.webp", "A.JPG"]
    assert (rows[0]["width"], rows[0]["height"], rows[0]["red"], rows[0]["green"]) == ("30", "20", "0.8", "0.2")
    assert [row["labels"] for row in rows] == ["red", "", "green"]
    assert [row["problem"] for row in rows] == ["", "damaged_image", ""]


def test_damaged_file_is_reported_and_the_exit_code_is_1(model: Path, frames: Path) -> None:
    result = predict(model, frames, "--format", "json")
    assert result.exit_code == 1
    assert "1 of 3 frames could not be read; their rows say why" in result.stderr


def test_good_files_end_with_code_0(model: Path, frames: Path) -> None:
    assert predict(model, frames / "b.png", "--format", "table").exit_code == 0


def test_json_has_the_form_of_the_service(model: Path, frames: Path) -> None:
    result = predict(model, frames / "b.png", frames / "notes.txt")
    body = json.loads(result.stdout)
    assert body["model"] == {"name": "tiny", "version": "0.0.1"}
    assert body["thresholds"] == {"red": 0.5, "green": 0.5}
    good, bad = body["frames"]
    assert good == {
        "name": str(frames / "b.png"),
        "width": 30,
        "height": 20,
        "probabilities": {"red": 0.8, "green": 0.2},
        "labels": ["red"],
    }
    assert bad["problem"]["code"] == "unsupported_image"


def test_it_says_which_precision_runs_and_why(model: Path, frames: Path) -> None:
    """On standard error, apart from the results."""
    said = predict(model, frames / "b.png").stderr
    assert "tiny 0.0.1, float32 on CPUExecutionProvider: auto takes float32: tiny.int8.onnx" in said


def test_variant_that_is_not_there_is_one_line_and_code_1(
    model: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--model", str(model), "--device", "cpu", "--variant", "int8", str(frames)])
    assert ended.value.code == 1
    assert "Error: variant=int8 was asked for" in capsys.readouterr().err


def test_table_shows_every_frame(model: Path, frames: Path) -> None:
    (frames / "[red]odd[red].png").write_bytes(encoded(255, 0, 0))
    result = predict(model, frames / "b.png", frames / "[red]odd[red].png", "--format", "table")
    assert "0.800" in result.stdout
    assert "1.000" in result.stdout


def test_order_is_kept_over_many_files(model: Path, tmp_path: Path) -> None:
    names = [f"{number:03}.png" for number in range(60)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(encoded(number, 0, 0))
    body = json.loads(predict(model, tmp_path).stdout)
    assert [Path(frame["name"]).name for frame in body["frames"]] == names
    assert [round(frame["probabilities"]["red"] * 255) for frame in body["frames"]] == list(range(60))


def test_file_that_cannot_be_opened_is_reported(model: Path, frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    detector = load_detector(model, "cpu", 1, FrameLimits())
    monkeypatch.setattr(Path, "read_bytes", refuse)
    scorer, frame = LocalScorer(detector, ExecutionPlan(1)), FrameToScore(Place(str(frames / "b.png")), 1)
    (row,) = scorer.rows([frame])
    assert isinstance(row.outcome, dict)
    assert row.outcome["code"] == "unreadable_file"
    assert row.outcome["detail"] == f"{frames / 'b.png'} cannot be read: Permission denied"


@pytest.mark.parametrize("arguments", [["/absent/frame.jpg"], ["/absent/*.jpg"], [], ["--format", "xml", "."]])
def test_wrong_arguments_end_with_code_2(model: Path, arguments: list[str]) -> None:
    assert predict(model, *arguments).exit_code == 2


def test_folder_without_images_is_refused(model: Path, tmp_path: Path) -> None:
    result = predict(model, tmp_path)
    assert result.exit_code == 2
    assert "no images in" in result.stderr


def test_missing_model_is_one_line_and_code_1(tmp_path: Path, frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--model", str(tmp_path / "absent.onnx"), str(frames)])
    assert ended.value.code == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert lines == [f"Error: the model file {tmp_path / 'absent.onnx'} cannot be read: No such file or directory"]


def near_and_far(folder: Path) -> Path:
    """Two drives: red at 0.6 and 0.4 is near 0.5, at 0.8 and 1 it is not; one picture is in both."""
    for name, red in (("a/1.png", 153), ("a/2.png", 204), ("b/1.jpg", 102), ("b/2.png", 255), ("b/3.png", 153)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(red, 0, 0, form="JPEG" if name.endswith("jpg") else "PNG"))
    return folder


def test_uncertain_frames_are_kept_with_their_folder_as_group(model: Path, tmp_path: Path) -> None:
    frames, kept = near_and_far(tmp_path / "frames"), tmp_path / "kept frames"
    result = predict(model, frames, "--uncertain", kept, "--uncertain-licence", "CC-BY-4.0")
    assert result.exit_code == 0
    assert f"Uncertain frames in {kept}: 2 new, 1 there already" in result.stderr
    assert f"Next: roadcue label '{kept}'" in result.stderr
    table = rows(kept)
    assert [(kept / row["image"]).read_bytes() for row in table] == [
        (frames / name).read_bytes() for name in ("a/1.png", "b/1.jpg")
    ]
    assert [(row["group"], row["licence"], row["red"]) for row in table] == [
        (str(frames / "a"), "CC-BY-4.0", ""),
        (str(frames / "b"), "CC-BY-4.0", ""),
    ]
    assert len(json.loads(result.stdout)["frames"]) == 5


def test_margin_most_and_group_are_honoured(model: Path, tmp_path: Path) -> None:
    """0.8 is log(4) = 1.39 from 0.5, 0.6 and 0.4 are 0.41: with room for two the far one has to go."""
    frames, kept = near_and_far(tmp_path / "frames"), tmp_path / "kept"
    flags = ("--uncertain-margin", "1.5", "--uncertain-most", "2", "--uncertain-group", "rain")
    predict(model, frames, "--uncertain", kept, *flags)
    table = rows(kept)
    scores = rows(kept, "scores.csv")
    assert [row["group"] for row in table] == ["rain", "rain"]
    assert sorted(float(row["red"]) for row in scores) == pytest.approx([0.4, 0.6], abs=0.01)


def test_a_frame_that_cannot_be_kept_ends_it_before_its_row_and_is_kept_when_it_is_gone_on_with(
    model: Path, tmp_path: Path
) -> None:
    """A row would say that the frame is done, and no later run would offer it again."""

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    frames, kept, output = near_and_far(tmp_path / "frames"), tmp_path / "kept", tmp_path / "rows.csv"
    arguments = [frames / "a" / "2.png", frames, "--uncertain", kept, "--output", output]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.label_folder.intake.replace_file", full)
        result = predict(model, *arguments)
    assert result.exit_code == 1
    said = f"{frames / 'a' / '1.png'}: uncertain frames cannot be kept in {kept}: [Errno 28] No space left on device"
    assert f"Error: {said}" in result.stderr
    assert [row["frame"] for row in csv.DictReader(output.read_text().splitlines())] == [str(frames / "a" / "2.png")]
    assert predict(model, *arguments, "--resume").exit_code == 0
    assert len(output.read_text().splitlines()) == 6
    assert len(rows(kept)) == 2


def test_a_folder_for_uncertain_frames_that_cannot_be_used_is_one_line_and_code_1(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any frame is scored; a table that cannot be read is not overwritten."""
    frames, kept = near_and_far(tmp_path / "frames"), tmp_path / "kept"
    kept.mkdir()
    (kept / "labels.csv").write_text("something else\n")
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--model", str(model), "--device", "cpu", "--uncertain", str(kept), str(frames)])
    assert ended.value.code == 1
    said = f"Error: uncertain frames cannot be kept in {kept}: {kept / 'labels.csv'}: the header is 'something else'"
    assert said in capsys.readouterr().err
    assert (kept / "labels.csv").read_text() == "something else\n"


def test_a_frame_that_is_gone_when_it_is_to_be_kept_is_counted(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was scored, so its answer stands."""
    frames, kept = near_and_far(tmp_path / "frames"), tmp_path / "kept"
    monkeypatch.setattr("service.label_folder.keeper.FrameKeeper.is_near", lambda *_: remove(frames / "a" / "1.png"))
    result = predict(model, frames / "a" / "1.png", "--uncertain", kept)
    gone = f"{frames / 'a' / '1.png'} cannot be read: No such file or directory"
    assert f"Error: uncertain frames that could not be kept in {kept}: 1 ({gone})\n" in result.stderr
    assert len(json.loads(result.stdout)["frames"]) == 1


def remove(path: Path) -> bool:
    path.unlink()
    return True


def test_flags_of_the_model_do_not_go_with_a_service(model: Path, frames: Path) -> None:
    result = predict(model, frames, "--url", "http://127.0.0.1:9", "--uncertain-group", "drive")
    assert result.exit_code == 2
    assert "--model, --device, --inference-workers, --uncertain-group: not with --url" in result.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--resume"], "--resume needs --output FILE"),
        (["--overwrite"], "--overwrite needs --output FILE"),
        (["--resume", "--overwrite", "-o", "a.csv"], "--resume and --overwrite exclude each other"),
        (["--every-seconds", "1", "--every-frames", "2"], "exclude each other"),
        (["--every-frames", "0"], "0 is not in the range"),
        (["--every-seconds", "0"], "0.0 is not in the range"),
    ],
)
def test_flags_that_contradict_each_other_end_with_code_2(
    model: Path, frames: Path, flags: list[str], said: str
) -> None:
    result = predict(model, frames, *flags)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_file_that_is_there_is_not_overwritten_unasked(model: Path, frames: Path, tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    output.write_text("mine")
    result = predict(model, frames / "b.png", "-o", output)
    assert f"Error: {output} is there already: --resume goes on with it, --overwrite begins anew\n" in result.stderr
    assert output.read_text() == "mine"
    assert predict(model, frames / "b.png", "-o", output, "--overwrite").exit_code == 0
    assert output.read_text().startswith("frame,")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_files_that_an_earlier_run_could_not_read_still_end_with_code_1(
    model: Path, frames: Path, tmp_path: Path, suffix: str
) -> None:
    """Whether rows are added or not: the code is about the whole output, as it is without a stop."""
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="needs PyArrow: pip install 'roadcue[parquet]'")
    output = tmp_path / f"rows.{suffix}"
    predict(model, frames / "deep" / "c.webp", "-o", output)
    for _ in range(2):
        result = predict(model, frames, frames / "notes.txt", "-o", output, "--resume")
        assert result.exit_code == 1
        assert "Error: 2 of 4 frames could not be read; their rows say why" in result.stderr


def test_a_suffix_that_tells_no_format_is_refused(model: Path, frames: Path, tmp_path: Path) -> None:
    result = predict(model, frames, "-o", tmp_path / "rows.xlsx")
    assert result.exit_code == 1
    assert "a file is csv, jsonl or parquet" in result.stderr
    assert predict(model, frames / "b.png", "-o", tmp_path / "rows.txt", "--format", "csv").exit_code == 0


def test_frames_of_a_video_have_their_place_and_uncertain_ones_its_group(model: Path, tmp_path: Path) -> None:
    """Levels 0, 80, 160 and 240 at 0, 1, 2 and 3 s: 160/255 is near 0.5, log(0.627/0.373) = 0.52."""
    pytest.importorskip("av", reason="needs PyAV: pip install 'roadcue[video]'")
    from tests.service.scoring.made_videos import fading_video

    video, kept = fading_video(tmp_path / "fade.mkv", 31), tmp_path / "kept"
    result = predict(model, video, "--format", "csv", "--uncertain", kept)
    told = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["video_frame"], row["video_seconds"]) for row in told] == [
        ("0", "0.0"),
        ("10", "1.0"),
        ("20", "2.0"),
        ("30", "3.0"),
    ]
    assert [float(row["red"]) for row in told] == pytest.approx([0, 80 / 255, 160 / 255, 240 / 255], abs=1e-3)
    assert [(row["group"]) for row in rows(kept)] == [str(video)] * 2


def test_a_video_of_larger_frames_than_allowed_has_the_row_of_such_an_image(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs PyAV: pip install 'roadcue[video]'")
    from tests.service.scoring.made_videos import fading_video

    video = fading_video(tmp_path / "fade.mkv", 3)
    result = predict(model, video, "--format", "csv", "--max-frame-pixels", 1535)
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert (row["frame"], row["problem"]) == (str(video), "too_many_pixels")
    assert row["detail"] == "the frame is 48 x 32 = 1536 pixels; at most 1535 are allowed"


@pytest.mark.parametrize("half", ["", "{video},20,2.0,48"])
def test_a_video_is_gone_on_with_behind_its_last_row(model: Path, frames: Path, tmp_path: Path, half: str) -> None:
    """Of frames 0, 10, 20 and 30 the first two have their rows; a third one may have been cut in half."""
    pytest.importorskip("av", reason="needs PyAV: pip install 'roadcue[video]'")
    from tests.service.scoring.made_videos import fading_video

    video, output = fading_video(tmp_path / "fade.mkv", 31), tmp_path / "rows.csv"
    arguments = (video, frames / "b.png", "--output", output)
    predict(model, *arguments)
    whole = output.read_text()
    output.write_text("".join(whole.splitlines(keepends=True)[:3]) + half.format(video=video))
    result = predict(model, *arguments, "--resume")
    assert f"{output}: 5 rows, 3 of them new" in result.stderr
    told = [(row["frame"], row["video_frame"]) for row in csv.DictReader(output.read_text().splitlines())]
    assert told == [*((str(video), number) for number in ("0", "10", "20", "30")), (str(frames / "b.png"), "")]
    assert output.read_text() == whole


def test_names_on_standard_input_may_end_with_nul(model: Path, frames: Path) -> None:
    names = f"{frames / 'b.png'}\0{frames / 'absent.png'}\0"
    flags = ["predict", "--model", str(model), "--device", "cpu", "-", "-0", "--format", "jsonl"]
    result = CliRunner().invoke(roadcue, flags, input=names)
    good, absent = map(json.loads, result.stdout.splitlines())
    assert good["labels"] == ["red"]
    assert absent["problem"]["code"] == "unreadable_file"
    assert result.exit_code == 1


def test_an_empty_list_on_standard_input_is_refused(model: Path) -> None:
    result = CliRunner().invoke(roadcue, ["predict", "--model", str(model), "-"], input="\n")
    assert result.exit_code == 2
    assert "no images in -" in result.stderr
