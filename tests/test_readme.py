"""What the README shows is what the project does."""

import json
import re
from pathlib import Path

import httpx
import pytest

from model_training.cli import main
from service.cli import roadcue
from service.inference.artifact import Artifact
from service.settings import Settings
from tests.service.server_process import ServerProcess

# A frame that was held out of training; the README shows the answer for it.
EXAMPLE_PHOTOGRAPH = "images/coco_val2017_person/000000458325.jpg"


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


def between(text: str, marker: str) -> str:
    return text.partition(f"<!-- {marker} -->")[2].partition(f"<!-- /{marker} -->")[0]


def test_example_answer_is_the_real_one(readme: str, streetframes: Path) -> None:
    """The photograph behind the example, posted to the real server; only the times differ."""
    shown = json.loads(re.search(r"^    \{.*\}$", between(readme, "example"), re.DOTALL | re.MULTILINE)[0])  # type: ignore[index]
    server = ServerProcess()
    try:
        photograph = (streetframes / EXAMPLE_PHOTOGRAPH).read_bytes()
        reply = httpx.post(f"{server.ready().url}/predict", files={"file": ("frame.jpg", photograph)}, timeout=60)
    finally:
        server.kill()
    answered = reply.json()
    assert shown.pop("timing_ms").keys() == answered.pop("timing_ms").keys()
    for shown_frame, frame in zip(shown["frames"], answered["frames"], strict=True):
        assert frame.pop("probabilities") == pytest.approx(shown_frame.pop("probabilities"), abs=2e-3)
    assert shown == answered


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


def test_commands_of_the_readme_exist(readme: str, repository: Path) -> None:
    """Each make target and each subcommand that it names."""
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", readme)) <= targets
    assert set(re.findall(r"`?\broadcue ([a-z]+) ", readme)) == set(roadcue.commands)
    assert set(re.findall(r"roadcue-train ([a-z]+)", readme)) == set(main.commands)


def test_links_lead_somewhere(readme: str, repository: Path) -> None:
    """Every relative link is a file of the repository."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (repository / link).exists()] == []
