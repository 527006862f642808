"""The playground with the model that the service ships: what a newcomer sees of the first photograph."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import pytest
from selenium import webdriver

from service.inference.driving_frame import driving_frame
from service.settings import Settings
from tests.browser.page import Page
from tests.browser.served import served

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shipped_url() -> Iterator[str]:
    with served(Settings(device="cpu", tuning_seconds=0)) as address:
        yield address


def test_a_photograph_gets_a_bar_a_decision_and_a_map_for_each_of_the_four_labels(
    browser: webdriver.Chrome, shipped_url: str, tmp_path: Path
) -> None:
    """Those that the service gives for the same bytes."""
    photograph = tmp_path / "frame.jpg"
    photograph.write_bytes(driving_frame(100_000))
    page = Page(browser, shipped_url).answered(photograph)
    answer = httpx.post(f"{shipped_url}predict", files={"file": photograph.read_bytes()})
    (frame,) = answer.json()["frames"]
    assert page.bars() == {
        label.replace("_", " "): (f"{probability:.3f}", label in frame["labels"])
        for label, probability in frame["probabilities"].items()
    }
    assert list(frame["probabilities"]) == ["pedestrian", "car", "stop_sign", "traffic_light"]
    page.click("#bars button", 1)
    page.wait(lambda: page.run("return document.getElementById('overlay').width > 1"))
    assert page.text("scale-label") == "Evidence of car"
    assert page.complaints() == []


def test_the_picture_of_the_readme_is_what_the_playground_shows(repository: Path, tmp_path: Path) -> None:
    """The program that draws it runs, and draws as many pixels as there are in the README's."""
    program = repository / "docs" / "pictures" / "playground_picture.py"
    done = subprocess.run(
        [sys.executable, program, tmp_path / "drawn.png"], cwd=repository, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    drawn, shown = (
        cv2.imread(str(path)) for path in (tmp_path / "drawn.png", repository / "docs" / "images" / "playground.png")
    )
    assert drawn is not None
    assert drawn.shape == shown.shape
    assert drawn.std() > 20
