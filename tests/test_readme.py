"""What the README shows is what the project does: its half hour is lived through, with the real service."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from model_training.cli import main
from service.cli import roadcue
from service.inference.artifact import Artifact
from service.inference.driving_frame import driving_frame
from service.settings import Settings
from tests.document import all_text, blocks, commands, documents, printed, section, shell, strange_flags
from tests.service.conftest import encoded
from tests.service.server_process import ServerProcess

# A frame that was held out of training; the README shows the answer for it.
EXAMPLE_PHOTOGRAPH = "images/coco_val2017_person/000000458325.jpg"
LABELS = ["pedestrian", "car", "stop_sign", "traffic_light"]


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """The service with its embedded model."""
    process = ServerProcess().ready()
    yield process
    process.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the newcomer is: with frame.jpg, photos and drive.mp4 of three seconds."""
    pytest.importorskip("av", reason="needs PyAV: pip install 'roadcue[video]'")
    pytest.importorskip("pyarrow", reason="needs PyArrow: pip install 'roadcue[parquet]'")
    from tests.service.scoring.made_videos import write_video

    folder = tmp_path_factory.mktemp("newcomer")
    (folder / "photos" / "deep").mkdir(parents=True)
    (folder / "frame.jpg").write_bytes(driving_frame(100_000))
    for name in ("a.jpg", "deep/b.jpg"):
        (folder / "photos" / name).write_bytes(encoded(90, 120, 150, 320, 180, form="JPEG"))
    frames = [np.full((90, 160, 3), level, np.uint8) for level in range(30)]
    write_video(folder / "drive.mp4", frames, codec="mpeg4", pixels="yuv420p")
    return folder


def between(text: str, marker: str) -> str:
    return text.partition(f"<!-- {marker} -->")[2].partition(f"<!-- /{marker} -->")[0]


def example(readme: str) -> tuple[str, "dict[str, object]"]:
    """The example's command, and the answer that it shows."""
    text = between(readme, "example")
    shown = re.search(r"^    (curl .+)\n\n    (\{.*\})$", text, re.DOTALL | re.MULTILINE)
    assert shown
    return shown[1], json.loads(shown[2])


def test_example_answer_is_the_real_one(readme: str, streetframes: Path, server: ServerProcess, tmp_path: Path) -> None:
    """The photograph behind the example, posted as it says to the real server; only the times differ."""
    command, shown = example(readme)
    (tmp_path / "frame.jpg").write_bytes((streetframes / EXAMPLE_PHOTOGRAPH).read_bytes())
    done = shell(tmp_path, at(server, command))
    assert done.returncode == 0, done.stderr
    answered = json.loads(done.stdout)
    assert shown.pop("timing_ms").keys() == answered.pop("timing_ms").keys()  # type: ignore[attr-defined]
    for shown_frame, frame in zip(shown["frames"], answered["frames"], strict=True):  # type: ignore[call-overload]
        assert frame.pop("probabilities") == pytest.approx(shown_frame.pop("probabilities"), abs=2e-3)
    assert shown == answered


def at(server: ServerProcess, text: str) -> str:
    """The text with the address of the service that runs."""
    return text.replace("localhost:8000", server.url.removeprefix("http://"))


def test_programs_print_the_labels_of_a_frame(
    readme: str, server: ServerProcess, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our client, and NVIDIA's, which knows nothing of ours."""
    pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    monkeypatch.chdir(folder)
    programs = blocks(readme, "python")
    assert len(programs) == 2
    assert all("localhost:8000" in program for program in programs)
    ours, theirs = printed([at(server, program) for program in programs])
    told = re.search(r"\{.+\}$", ours)
    assert told
    probabilities = {key: float(p) for key, p in re.findall(r"'(\w+)': ([\d.e-]+)", told[0])}
    assert list(probabilities) == LABELS
    # In one line, in the order that the comment names.
    assert re.findall(r"# (.+)$", programs[1], re.MULTILINE) == [", ".join(LABELS)]
    assert [float(p) for p in theirs.strip("[]").split()] == pytest.approx([*probabilities.values()], abs=1e-5)


def test_every_command_for_folders_and_videos_runs(readme: str, server: ServerProcess, folder: Path) -> None:
    part = section(readme, "Label a folder or a video")
    told = commands(part)
    assert len(told) == 4
    outputs = []
    for command in told:
        done = shell(folder, at(server, command))
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        outputs.append(done.stdout)
    photos, drive = ((folder / name).read_text().splitlines() for name in ("photos.csv", "drive.csv"))
    assert photos[:1] == drive[:1] == blocks(part, "csv")[0].splitlines()
    assert [row["frame"] for row in csv.DictReader(photos)] == ["photos/a.jpg", "photos/deep/b.jpg"]
    # Three seconds of ten frames each, from 0.0 to 2.9.
    assert [row["video_seconds"] for row in csv.DictReader(drive)] == ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]
    assert [json.loads(line)["name"] for line in outputs[-1].splitlines()] == ["photos/a.jpg", "photos/deep/b.jpg"]


def test_figures_are_those_of_the_embedded_model(readme: str) -> None:
    """Every row of the table, from the file's metadata."""
    figures = Artifact.read(Settings().model).metadata.figures
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (\d+) \| (\d+) \| ([\d.]+) \((.+?) to (.+?)\) \|", readme, re.MULTILINE)
    stored = {
        (f.test_set, f.label): (str(f.n), str(f.positives), *(f"{value:.3f}" for value in (f.value, f.low, f.high)))
        for f in figures
        if f.metric == "average_precision"
    }
    assert {(row[0], row[1]): row[2:] for row in rows} == stored


def test_speeds_are_those_of_the_published_run(readme: str, repository: Path) -> None:
    """Medians over rounds, computed anew from what the benchmark wrote down of each measurement."""
    told = {"FastAPI, as one writes it first": "naive endpoint", "roadcue with float32": "roadcue"}
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d-]+) \|$", readme, re.MULTILINE)
    key = {"size": "1280x720", "body": "raw", "clients": 64}
    found: dict[str, dict[int, dict[str, float]]] = {}
    measurements = json.loads((repository / "benchmarks" / "results.json").read_text())["record"]["measurements"]
    for one in measurements:
        if one["cell"] == key:
            per_s = one["load"]["answered"] / one["load"]["seconds"]
            cpu_ms = 1000 * one["load"]["service_cpu_s"] / one["load"]["answered"]
            held = {"per_s": per_s, "cpu_ms": cpu_ms, "mib": one["memory_bytes"] / 2**20}
            found.setdefault(one["contender"], {})[one["round"]] = held
    alone = [
        one["load"]["p50_ms"]
        for one in measurements
        if one["contender"] == "roadcue as shipped" and one["cell"] == {**key, "clients": 1}
    ]
    assert re.findall(r"One client waits ([\d.]+) ms \(median\) as shipped", readme) == [f"{median(alone):.1f}"]
    limit = {turn: held["per_s"] for turn, held in found["in-process limit"].items()}
    expected = {
        name: (
            f"{median(held['per_s'] for held in rounds.values()):.1f}",
            f"{median(held['per_s'] / limit[turn] for turn, held in rounds.items()):.3f}",
            f"{median(held['cpu_ms'] for held in rounds.values()):.1f}",
            f"{max(held['mib'] for held in rounds.values()):.0f}" if name != "in-process limit" else "-",
        )
        for name, rounds in found.items()
    }
    assert {told.get(row[0], row[0]): row[1:] for row in rows} == expected
    assert [float(row[1]) for row in rows] == sorted((float(row[1]) for row in rows), reverse=True)
    best = max(held["per_s"] for held in found["BentoML"].values())
    assert re.findall(r"its\s+best\s+round\s+is\s+([\d.]+)\s+frames/s", readme) == [f"{best:.1f}"]
    (interval,) = re.findall(r"float32 has ([\d.]+ to [\d.]+) of the limit", readme)
    results = (repository / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    assert re.search(rf"in-process limit, 64 clients, 1280x720 \| .+ \({interval}\) \|", results)


def test_the_time_beside_the_detector_is_that_of_the_published_measurement(readme: str, repository: Path) -> None:
    ratios = json.loads((repository / "benchmarks" / "per_frame.json").read_text())["ratios"]
    times = {(one["name"], one["other"]): f"{1 / one['times_as_fast']:.2f}" for one in ratios}
    (told,) = re.findall(r"the\s+int8\s+file takes (\d\.\d\d) of its time, the float32 file (\d\.\d\d)", readme)
    assert told == tuple(times[f"roadcue {precision}", "yolox_nano"] for precision in ("int8", "float32"))


def test_the_detector_has_the_figures_that_are_told_of_it(readme: str, streetframes: Path) -> None:
    """Its scores, as they lie beside the frames, ranked by an independent implementation."""
    number = r"(\d\.\d{3})"
    told = rf"has {number}, {number}, {number} and {number} on the four labels of `four_label`,\s+{number} on average"
    scores = {row["image"]: row for row in table(streetframes / "teacher.csv")}
    labelled = table(streetframes / "labels.csv")

    def precision(label: str, sources: set[str]) -> float:
        known = [row for row in labelled if row["source"] in sources and row[label]]
        truth = [int(row[label]) for row in known]
        return float(average_precision_score(truth, [float(scores[row["image"]][label]) for row in known]))

    found = [precision(label, {"stop_mbasilyan", "lisa_ts"}) for label in LABELS]
    assert re.findall(told, readme) == [tuple(f"{value:.3f}" for value in (*found, np.mean(found)))]
    assert f"`adas_peru` ({precision('pedestrian', {'adas_peru'}):.3f})" in readme


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_pictures_are_there(readme: str) -> None:
    pictures = ("playground", "data-report", "evaluation-report", "robustness")
    assert all(f"](docs/images/{name}.png)" in readme for name in pictures)


def test_commands_of_the_documents_exist_and_all_are_told(repository: Path) -> None:
    """Each make target and each subcommand; flags of training are looked at where its libraries are loaded."""
    text = all_text()
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^    |`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    assert set(re.findall(r"(?<![\w-])roadcue ([a-z]+)", text)) >= set(roadcue.commands)
    assert set(re.findall(r"roadcue-train ([a-z]+)", text)) == set(main.commands)
    assert list(strange_flags("roadcue", roadcue.commands)) == []


def test_links_lead_somewhere() -> None:
    """Every relative link is a file of the repository, and what follows # is one of its headings."""
    for document in documents():
        text = document.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)]+)\)", text):
            if not link.startswith("http"):
                name, _, anchor = link.partition("#")
                target = document.parent / name if name else document
                assert target.exists(), f"{document.name}: {link}"
                assert not anchor or anchor in anchors(target), f"{document.name}: {link}"


def anchors(document: Path) -> set[str]:
    """The names that headings have in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
