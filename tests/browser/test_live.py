"""Video and camera in the playground."""

import csv
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import Select

from service.settings import Settings
from tests.browser.page import Page
from tests.browser.served import served
from tests.service.conftest import GatedSession, gated_load

pytestmark = pytest.mark.browser

FRAMES_PER_SECOND, SECONDS = 10, 4


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds: two of red, two of green."""
    path = tmp_path_factory.mktemp("video") / "drive.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), FRAMES_PER_SECOND, (96, 64))
    if not writer.isOpened():
        pytest.skip("needs an OpenCV that writes VP8")
    for number in range(FRAMES_PER_SECOND * SECONDS):
        # BGR
        colour = (0, 0, 255) if number < FRAMES_PER_SECOND * SECONDS / 2 else (0, 255, 0)
        writer.write(np.full((64, 96, 3), colour, np.uint8))
    writer.release()
    return path


def seek(page: Page, seconds: float) -> None:
    """Hold the film at a moment."""
    page.run("const film = document.getElementById('film'); film.pause(); film.currentTime = arguments[0]", seconds)


def found(page: Page) -> list[str]:
    return [label for label, (_, is_found) in page.bars().items() if is_found]


def test_a_video_is_answered_as_it_plays_and_its_labels_change_with_time(page: Page, video: Path) -> None:
    page.element("pick-video").send_keys(str(video))
    # Held until red has been seen: a busy machine would be past it before it looks.
    seek(page, 0)
    Select(page.element("rate")).select_by_value("10")
    page.wait(lambda: found(page) == ["red"])
    page.run("document.getElementById('film').play()")
    page.wait(lambda: found(page) == ["stop sign"])
    page.wait(lambda: page.run("return document.getElementById('film').ended"))
    # Width of the chart is 100 for four seconds: the curve of red is above the threshold before 50 and below after.
    points = page.run("return document.querySelector('.curve').getAttribute('points')").split()
    curve = [tuple(map(float, point.split(","))) for point in points]
    assert len(curve) >= 4
    assert [x for x, _ in curve] == sorted(x for x, _ in curve)
    assert all((y < 14) == (x < 50) for x, y in curve if abs(x - 50) > 5)
    assert page.complaints() == []


def test_a_video_that_is_held_is_answered_where_it_is_held_and_a_frame_can_be_kept(page: Page, video: Path) -> None:
    page.element("pick-video").send_keys(str(video))
    page.wait(lambda: page.element("keep").is_enabled())
    seek(page, 3.5)
    page.wait(lambda: found(page) == ["stop sign"])
    seek(page, 0.5)
    page.wait(lambda: found(page) == ["red"])
    page.click("#keep")
    assert page.shown() == ["drive.webm 00:00.50.jpg"]
    page.press("1")
    page.wait(lambda: page.overlay(0.5, 0.5)[3] > 200)
    page.click("#stop")
    assert page.text("frame-name") == "drive.webm 00:00.50.jpg"
    assert found(page) == ["red"]
    assert page.run("return document.getElementById('film').src") == ""


def test_the_newest_frame_wins_and_none_queue_up(
    browser: webdriver.Chrome, settings: Settings, video: Path, gated: GatedSession
) -> None:
    """While the service holds the first frame the video goes on: nothing else is sent, and turns are skipped."""
    with served(settings, gated_load(gated)) as url:
        page = Page(browser, url)
        # It must not end before the test has looked, however busy the machine is.
        page.run("document.getElementById('film').loop = true")
        page.element("pick-video").send_keys(str(video))
        Select(page.element("rate")).select_by_value("30")
        page.wait(lambda: gated.entered.acquire(blocking=False))
        page.wait(lambda: page.run("return document.getElementById('film').currentTime") > 1)
        assert not gated.entered.acquire(blocking=False)
        gated.gate.set()
        page.wait(lambda: page.text("live-state").endswith("skipped"))
        page.click("#stop")


def test_the_camera_is_watched_until_it_is_stopped_and_its_samples_can_be_kept(page: Page) -> None:
    page.run("""HTMLAnchorElement.prototype.click = () => {};
        const {createObjectURL} = URL;
        URL.createObjectURL = (blob) => {
          blob.text().then((text) => { window.written = text; });
          return createObjectURL.call(URL, blob);
        };""")
    page.click("#camera")
    page.wait(lambda: page.element("keep").is_enabled())
    assert page.text("frame-name") == "Camera"
    page.run("window.tracks = document.getElementById('film').srcObject.getTracks()")
    page.click("#timeline-csv")
    page.wait(lambda: page.run("return window.written"))
    header, first = page.run("return window.written").splitlines()[:2]
    assert header == "seconds,red,stop_sign,labels"
    assert all(0 <= float(value) <= 1 for value in first.split(",")[1:3])
    page.click("#stop")
    assert page.run("return window.tracks.map((track) => track.readyState)") == ["ended"]
    assert page.run("return document.body.dataset.view") == "empty"


def test_a_camera_that_is_refused_is_told(page: Page) -> None:
    page.run("navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); }")
    page.click("#camera")
    page.wait(lambda: "was not allowed to use the camera" in page.text("toast-text"))


def test_a_file_that_the_browser_cannot_play_is_told(page: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    page.element("pick-video").send_keys(str(tmp_path / "broken.mp4"))
    page.wait(lambda: "cannot play broken.mp4" in page.text("toast-text"))
    assert page.run("return document.body.dataset.view") == "empty"


def test_samples_of_a_video_become_a_table(page: Page) -> None:
    samples = """[{seconds: 0.5, answer: {probabilities: {red: 0.25}, labels: []}},
                  {seconds: 12, answer: {probabilities: {red: 1}, labels: ['red']}}]"""
    text = page.call("tables.js", f"m.samplesAsCsv({samples}, ['red'])")
    assert list(csv.reader(io.StringIO(text))) == [
        ["seconds", "red", "labels"],
        ["0.500", "0.25", ""],
        ["12.000", "1", "red"],
    ]
