"""roadcue-train compare, from painted frames to results, in seconds."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from model_training.cli import main
from model_training.comparison.costs import FrameTimes, frame_times
from model_training.comparison.plan import Plan, Setting
from tests.model_training.painted_frames import write_painted_frames

SETTINGS = ("validation=0.2", "calibration=0.2", "precision=float32")
SMALL = (
    *("--recipe", "smoke", "--seeds", 1, "--fractions", 1, "--larger-trunk", "none", "--controls", "averaged"),
    *(part for setting in SETTINGS for part in ("--set", setting)),
)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def refusal(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 1, result.output
    return result.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_painted_frames(tmp_path_factory.mktemp("compare") / "data")
    (folder / "data.toml").write_text('labels = ["red", "green"]\n[[sources]]\nformat = "table"\npath = "."\n')
    return folder / "data.toml"


@pytest.fixture(scope="module", autouse=True)
def timed_once() -> Iterator[None]:
    """Spares all comparisons but the first the seconds in which networks are written and timed: all are alike."""
    known: dict[Setting, FrameTimes] = {}

    def timed(plan: Plan, setting: Setting) -> FrameTimes:
        if setting not in known:
            known[setting] = frame_times(plan, setting)
        return known[setting]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_training.commands.compare.frame_times", timed)
        yield


@pytest.fixture(scope="module")
def compared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder of a whole comparison, and what was said while it was made."""
    folder = tmp_path_factory.mktemp("compared") / "run"
    result = invoke(data, *SMALL, "--output", folder, "--test-set", "paintings=gallery")
    assert result.exit_code == 0, result.output
    return folder, result


def test_a_dry_run_says_how_much_would_be_trained_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    """60 % of 56 frames are 4 batches of 8: 32 frames for each of joint, red, green and a second joint network."""
    told = invoke(data, *SMALL, "--output", tmp_path / "run", "--dry-run")
    assert told.exit_code == 0, told.output
    work = json.loads(told.stdout)
    assert (work["networks"], work["frames_per_network"], work["frames"]) == (4, 32, 128)
    arms = {arm["arm"]: arm["networks_per_seed"] for arm in work["arms"]}
    assert arms == {"joint": 1, "separate": 2, "averaged": 2}
    assert not (tmp_path / "run").exists()


def test_a_comparison_leaves_its_figures_as_data_as_text_and_as_a_plot(compared: tuple[Path, Result]) -> None:
    """On held-out rows and on the test set that was asked for; and each arm's cost, measured."""
    folder, result = compared
    document = json.loads((folder / "results.json").read_text())
    assert len(document["networks"]) == document["planned"] == 4
    contrasts = [(c["rows"], c["ours"], c["theirs"]) for c in document["contrasts"]]
    assert contrasts == [
        (rows, *arms)
        for rows in ("held out", "paintings")
        for arms in (("joint", "separate"), ("averaged", "separate"))
    ]
    assert all(cost["ms_per_frame"] > 0 for cost in document["costs"][0]["arms"])
    assert (folder / "results.png").read_bytes().startswith(b"\x89PNG")
    written = [str(folder / name) for name in ("results.json", "results.md", "results.png")]
    assert json.loads(result.stdout) == {**document, "written": written}
    assert f"Written: {', '.join(written)}\nNext: look at " in result.stderr


def test_a_finished_comparison_is_reported_again_without_training(compared: tuple[Path, Result], data: Path) -> None:
    """--resume trains nothing that is there: each network keeps its scores, and the figures are the same."""
    folder, _ = compared
    scores = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")}
    before = json.loads((folder / "results.json").read_text())["contrasts"]
    again = invoke(data, *SMALL, "--output", folder, "--test-set", "paintings=gallery", "--resume")
    assert again.exit_code == 0, again.output
    assert "network 1 of" not in again.output
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")} == scores
    assert json.loads((folder / "results.json").read_text())["contrasts"] == before


def test_a_report_needs_no_images_and_fills_a_document(
    compared: tuple[Path, Result], data: Path, tmp_path: Path
) -> None:
    """Statistics are computed from the scores that each network left; of half a comparison too."""
    shutil.copytree(compared[0], tmp_path / "run")
    shutil.rmtree(next((tmp_path / "run").rglob("joint_1")))
    page = tmp_path / "page.md"
    page.write_text("<!-- figures --><!-- /figures -->")
    told = invoke(tmp_path, "--output", tmp_path / "run", "--report-only", "--document", page, "--format", "table")
    assert told.exit_code == 0, told.output
    # For a person the tables are drawn, not written in Markdown.
    assert "1 of 4 networks are still missing" in " ".join(told.stdout.split())
    assert "|---|" not in told.stdout
    assert "1 of 4 networks are still missing" in page.read_text()
    assert "![average precision and paired differences](page.png)" in page.read_text()
    assert (tmp_path / "page.png").exists()


def test_other_settings_than_those_of_finished_networks_are_refused(compared: tuple[Path, Result], data: Path) -> None:
    """And the plan stays as it was."""
    folder, _ = compared
    plan = (folder / "plan.json").read_text()
    said = refusal(data, *SMALL, "--set", "learning_rate=0.5", "--output", folder, "--resume")
    assert "learning_rate: 0.001 there, 0.5 asked for" in said
    assert "epochs: 1 there, 2 asked for" in refusal(data, *SMALL, "--set", "epochs=2", "--output", folder, "--resume")
    assert (folder / "plan.json").read_text() == plan


def test_a_folder_in_use_is_refused_and_so_is_going_on_with_nothing(
    compared: tuple[Path, Result], data: Path, tmp_path: Path
) -> None:
    assert "is not empty: --resume goes on with it" in refusal(data, *SMALL, "--output", compared[0])
    assert "holds no comparison" in refusal(data, *SMALL, "--output", tmp_path / "typo", "--resume")
    assert "holds no comparison" in refusal(data, "--output", tmp_path / "typo", "--report-only")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fractions", "half"), "--fractions is 'half'; write shares of 1"),
        (("--fractions", "0.5,0.25"), "distinct and ascending"),
        (("--controls", "narrow"), "'same_entries' or 'averaged'"),
        (("--larger-trunk", "resnet1800"), "trunk 'resnet1800' cannot be used"),
        (("--test-set", "mine=painter_0"), "sources with test rows are gallery"),
        (("--set", "epochs=0"), "epochs: input should be greater than 0"),
        (("--document", "LICENSE"), "must hold <!-- figures --> and, behind it, <!-- /figures -->"),
    ],
)
def test_what_cannot_be_compared_is_named_before_anything_is_written(
    data: Path, tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    assert message in refusal(data, *SMALL, *options, "--output", tmp_path / "run")
    assert not (tmp_path / "run").exists()
