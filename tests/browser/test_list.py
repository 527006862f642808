"""The list of frames: filtered, sorted, written to files."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import Select

from tests.browser.conftest import FrameFile
from tests.browser.page import Page

pytestmark = pytest.mark.browser


@pytest.fixture
def filled(page: Page, frame_file: FrameFile, tmp_path: Path) -> Page:
    """a: red 1, stop sign 0.2; b: 0.4 and 0.8; c: 0 and 0.6; bad: no image."""
    (tmp_path / "bad.png").write_bytes(b"nothing")
    frames = [frame_file("a.png", 255, 51), frame_file("b.png", 102, 204), frame_file("c.png", 0, 153)]
    return page.answered(*frames, tmp_path / "bad.png")


@pytest.fixture
def downloads(browser: webdriver.Chrome, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "downloads"
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    yield folder
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "default"})


def enter(page: Page, expression: str) -> None:
    page.run("document.getElementById('filter').value = ''")
    page.element("filter").send_keys(expression)


def test_the_filter_shows_what_it_says_and_counts_it(filled: Page) -> None:
    enter(filled, "stop sign >= 0.6 and not red")
    assert filled.shown() == ["b.png", "c.png"]
    assert filled.text("count") == "4 frames · 2 shown · 1 problem"
    enter(filled, "red > 90% or problem")
    assert filled.shown() == ["a.png", "bad.png"]
    enter(filled, "red < 0 ")
    assert (filled.shown(), filled.text("nothing")) == ([], "No frame passes the filter.")


def test_a_mistake_is_shown_in_place_and_leaves_the_list_alone(filled: Page) -> None:
    enter(filled, "red >= 0.9")
    filled.element("filter").send_keys(" und")
    assert filled.element("filter").get_attribute("aria-invalid") == "true"
    assert filled.text("filter-error") == "und cannot stand here; join comparisons by and, or."
    assert filled.shown() == ["a.png"]
    assert filled.element("filter").get_attribute("aria-describedby") == "filter-error"


def test_a_chip_filters_by_its_label_and_counts_its_frames(filled: Page) -> None:
    chips = filled.all("#chips button")
    assert [chip.text for chip in chips] == ["red 1", "stop sign 2", "problem 1"]
    chips[1].click()
    assert (filled.shown(), filled.element("filter").get_attribute("value")) == (["b.png", "c.png"], "stop sign")
    assert filled.all("#chips button")[1].get_attribute("aria-pressed") == "true"
    filled.click("#chips button", 1)
    assert len(filled.shown()) == 4


def test_frames_are_sorted_by_a_label_either_way_and_those_without_an_answer_come_last(filled: Page) -> None:
    Select(filled.element("sort")).select_by_visible_text("stop sign")
    assert filled.shown() == ["b.png", "c.png", "a.png", "bad.png"]
    assert filled.all("#grid .card .found")[0].text == "stop sign 0.800"
    filled.click("#direction")
    assert filled.shown() == ["a.png", "c.png", "b.png", "bad.png"]


def test_downloads_hold_what_is_shown_in_its_order(filled: Page, downloads: Path) -> None:
    enter(filled, "red >= 0 or problem")
    Select(filled.element("sort")).select_by_visible_text("stop sign")
    filled.click("#csv")
    filled.click("#json")
    filled.wait(lambda: {"roadcue.csv", "roadcue.json"} <= {file.name for file in downloads.glob("*")})
    rows = list(csv.DictReader((downloads / "roadcue.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["frame"] for row in rows] == ["b.png", "c.png", "a.png", "bad.png"]
    assert [row["stop_sign"] for row in rows] == ["0.8", "0.6", "0.2", ""]
    assert [row["problem"] for row in rows] == ["", "", "", "unsupported_image"]
    told = json.loads((downloads / "roadcue.json").read_text(encoding="utf-8"))
    assert told["model"] == {"name": "tiny", "version": "0.0.1"}
    assert told["thresholds"] == {"red": 0.5, "stop_sign": 0.5}
    assert told["frames"][0]["probabilities"] == {"red": 0.4, "stop_sign": 0.8}
    assert told["frames"][3]["problem"]["code"] == "unsupported_image"
