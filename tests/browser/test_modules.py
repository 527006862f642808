"""The parts of the page that compute: filter, colours, enlargement, tables, patience."""

import csv
import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image
from selenium import webdriver

from tests.browser.page import Page

pytestmark = pytest.mark.browser

LABELS = [
    {"key": "car", "title": "car"},
    {"key": "stop_sign", "title": "Stop sign"},
    {"key": "this_or_that", "title": "this or that"},
]
# name -> probability of car and of stop_sign, and what is found; none: no answer, because of a problem
FRAMES = {
    "both": (0.9, 0.6, ["car", "stop_sign"]),
    "car": (0.5, 0.2, ["car"]),
    "sign": (0.1, 0.3, ["stop_sign"]),
    "none": None,
}


@pytest.fixture(scope="module")
def page(browser: webdriver.Chrome, url: str) -> Page:
    return Page(browser, url)


def javascript(value: object) -> str:
    return json.dumps(value)


def told(name: str) -> dict[str, object]:
    """A frame as the page keeps it."""
    if (known := FRAMES[name]) is None:
        return {"name": name, "answer": None, "problem": {"code": "damaged_image"}}
    car, stop_sign, labels = known
    answer = {"probabilities": {"car": car, "stop_sign": stop_sign}, "labels": labels}
    return {"name": name, "answer": answer, "problem": None}


def passing(page: Page, expression: str) -> list[str]:
    """The names of the frames that an expression lets through."""
    frames, labels = javascript([told(name) for name in FRAMES]), javascript(LABELS)
    test = f"m.compileFilter({javascript(expression)}, {labels})"
    found = page.call("filter.js", f"{frames}.filter((f) => {test}(f) === true).map((f) => f.name)")
    assert isinstance(found, list), found
    return found


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("", ["both", "car", "sign", "none"]),
        ("car", ["both", "car"]),
        ("car >= 0.5", ["both", "car"]),
        ("car > 0.5", ["both"]),
        ("CAR<=50%", ["car", "sign"]),
        ("car = .5", ["car"]),
        ("car != 0,5", ["both", "sign"]),
        ("stop_sign ≥ 0.3", ["both", "sign"]),
        ('"Stop  Sign" < 30 %', ["car"]),
        ("stop sign >= 0.5 and car >= 0.5", ["both"]),
        ("stop sign < 0.25 or car > 0.8", ["both", "car"]),
        # `and` binds tighter: car, or (stop sign and something impossible).
        ("car = 0.5 or stop sign and car < 0.05", ["car"]),
        ("(car = 0.5 or stop sign) and car < 0.2", ["sign"]),
        ("not car", ["sign"]),
        ("not not car", ["both", "car"]),
        ("not (car and stop sign)", ["car", "sign"]),
        ("car && !stop_sign", ["car"]),
        ("problem", ["none"]),
        ("problem or car > 0.8", ["both", "none"]),
        ("not problem and stop sign", ["both", "sign"]),
        # Unknown entries: neither is true of a frame without an answer.
        ("car < 0.3 or car >= 0.3", ["both", "car", "sign"]),
    ],
)
def test_the_filter_lets_through_what_the_expression_says(page: Page, expression: str, names: list[str]) -> None:
    assert passing(page, expression) == names


@pytest.mark.parametrize(
    ("expression", "meant", "message"),
    [
        ("stop sgn >= 0.5", "stop sgn", "There is no label stop sgn; there are car, Stop sign, this or that."),
        ("car >= 2", "2", "2 is no probability; those go from 0 to 1, or to 100%."),
        ("car >= 101%", "101%", "101% is no probability; those go from 0 to 1, or to 100%."),
        ("car >=", "", "A probability is missing here, such as 0.5 or 50%."),
        ("car >= high", "high", "A probability is missing here, such as 0.5 or 50%."),
        ("car >= 0.5 stop sign", "stop", "stop cannot stand here; join comparisons by and, or."),
        ("(car > 0.5", "(", "The ( is not closed."),
        ("car > 0.5)", ")", "There is no ( for this )."),
        ("car and", "", "A label is missing here; there are car, Stop sign, this or that."),
        (">= 0.5", ">=", "A label is missing here; there are car, Stop sign, this or that."),
        ('"car', '"', "The quotation mark is not closed."),
        ("car & stop sign", "&", "& means nothing here."),
        ("this or that", "this", "There is no label this; there are car, Stop sign, this or that."),
    ],
)
def test_a_filter_that_makes_no_sense_says_where_and_why(page: Page, expression: str, meant: str, message: str) -> None:
    error = page.call("filter.js", f"m.compileFilter({javascript(expression)}, {javascript(LABELS)})")
    assert error["error"] == message
    assert expression[error["start"] : error["end"]] == meant


def test_quotation_marks_name_a_label_whose_title_holds_a_keyword(page: Page) -> None:
    frame = {"answer": {"probabilities": {"this_or_that": 0.7}, "labels": ["this_or_that"]}}
    script = f"m.compileFilter('\"this or that\" >= 0.7', {javascript(LABELS)})({javascript(frame)})"
    assert page.call("filter.js", script) is True


def test_colours_are_those_of_turbo(page: Page) -> None:
    """OpenCV's table of the same colour map; ours holds every sixteenth of its colours and lies within 8 of 255."""
    levels = np.arange(256, dtype=np.uint8)
    table_NC = cv2.applyColorMap(levels[:, np.newaxis], cv2.COLORMAP_TURBO)[:, 0, ::-1]
    ours_NC = np.array(page.call("heatmap.js", "Array.from({length: 256}, (_, i) => m.colourOf(i / 255))"))
    assert np.abs(ours_NC - table_NC).max() <= 8


@pytest.mark.parametrize(("rows", "columns", "height", "width"), [(2, 3, 20, 31), (9, 13, 288, 416), (1, 1, 4, 4)])
def test_evidence_is_enlarged_by_the_cubic_that_pillow_uses(
    page: Page, rows: int, columns: int, height: int, width: int
) -> None:
    evidence_hw = np.random.default_rng(1).uniform(0, 1, (rows, columns)).astype(np.float32)
    expected_HW = np.asarray(Image.fromarray(evidence_hw).resize((width, height), Image.Resampling.BICUBIC)).clip(0, 1)
    script = f"[...m.enlarged({javascript(evidence_hw.tolist())}, {width}, {height})]"
    ours_HW = np.array(page.call("heatmap.js", script)).reshape(height, width)
    assert np.abs(ours_HW - expected_HW).max() < 1e-4


def test_the_table_survives_names_that_spreadsheets_would_run(page: Page) -> None:
    """Read back by another implementation: commas, quotation marks and line feeds stay, formulas become text."""
    names = ['=HYPERLINK("http://x")', "+1", "-1", "@a", "\ta", 'a "b", c\nd', "plain.jpg"]
    answer = {"width": 4, "height": 3, "probabilities": {"car": 0.25, "stop_sign": 1}, "labels": ["stop_sign"]}
    frames = [{"name": name, "answer": answer} for name in names]
    frames.append({"name": "bad.jpg", "problem": {"code": "damaged_image", "detail": "=cut, here"}})
    text = page.call("tables.js", f"m.framesAsCsv({javascript(frames)}, ['car', 'stop_sign'])")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["frame", "width", "height", "car", "stop_sign", "labels", "problem", "detail"]
    assert [row[0] for row in rows[1:-1]] == ["'" + name for name in names[:5]] + names[5:]
    assert rows[1][1:] == ["4", "3", "0.25", "1", "stop_sign", "", ""]
    assert rows[-1] == ["bad.jpg", "", "", "", "", "", "damaged_image", "'=cut, here"]


def wait_s(
    page: Page, code: str, status: int, retry_after_s: float | None, tries: int = 1, since_ms: int = 0
) -> object:
    error = javascript({"problem": {"code": code, "status": status}, "retryAfterS": retry_after_s})
    return page.call("patience.js", f"m.waitS({error}, {tries}, {since_ms}, () => 0.5)")


def test_only_what_passes_is_asked_again_and_not_for_ever(page: Page) -> None:
    """Retry-After with a spread of 0 to 20 %, here in its middle; without one 1, 2, 4 ... seconds."""
    assert wait_s(page, "queue_full", 429, 3) == pytest.approx(3.3)
    assert wait_s(page, "not_ready", 503, None, tries=2) == pytest.approx(2.2)
    assert wait_s(page, "http_502", 502, 100) == pytest.approx(16.5)
    assert wait_s(page, "connection_lost", 0, None, tries=1) == pytest.approx(1.1)
    given_up = [
        ("queue_full", 429, 3, 1, 120_001),
        ("connection_lost", 0, None, 4, 0),
        ("startup_failed", 503, None, 1, 0),
        ("damaged_image", 422, None, 1, 0),
        ("deadline_exceeded", 504, 1, 1, 0),
    ]
    assert [wait_s(page, *each) for each in given_up] == [None] * 5
