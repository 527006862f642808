"""Video and camera in the playground."""

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from service.settings import Settings
from service.web.problem_documents import DETAILS
from service.web.problems import KINDS, problem_object
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


def catch_downloads(page: Page) -> None:
    """Keep what is written, by name, in place of the browser's downloads."""
    page.run("""const {createObjectURL} = URL, blobs = {};
        window.written = {};
        URL.createObjectURL = (blob) => {
          const url = createObjectURL.call(URL, blob);
          blobs[url] = blob;
          return url;
        };
        HTMLAnchorElement.prototype.click = function () {
          blobs[this.href].text().then((text) => { window.written[this.download] = text; });
        };""")


def written(page: Page, name: str) -> str:
    """The text of a file that is written, once it is."""
    page.wait(lambda: page.run("return arguments[0] in window.written", name))
    return str(page.run("return window.written[arguments[0]]", name))


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
    catch_downloads(page)
    page.click("#timeline-json")
    told = json.loads(written(page, "roadcue-timeline.json"))
    assert told["source"] == "drive.webm"
    held = {sample["seconds"]: sample for sample in told["samples"]}
    assert (held[0.5]["labels"], held[3.5]["labels"]) == (["red"], ["stop_sign"])
    assert held[3.5]["probabilities"] == pytest.approx({"red": 0, "stop_sign": 1}, abs=0.05)
    page.click("#keep")
    assert page.shown() == ["drive.webm 00:00.50.jpg"]
    page.press("1")
    page.wait(lambda: page.overlay(0.5, 0.5)[3] > 200)
    page.click("#stop")
    assert page.text("frame-name") == "drive.webm 00:00.50.jpg"
    assert found(page) == ["red"]
    assert page.run("return document.getElementById('film').src") == ""


def test_kept_frames_can_be_removed_while_the_film_goes_on(page: Page, video: Path) -> None:
    """One by its own button, the others together: the film stays, and is answered."""
    page.element("pick-video").send_keys(str(video))
    page.wait(lambda: page.element("keep").is_enabled())
    for kept, second in enumerate((3.5, 0.5), start=1):
        seek(page, second)
        page.wait(lambda: page.run("return document.getElementById('film').seeking") is False)
        page.click("#keep")
        page.wait(lambda kept=kept: len(page.cards()) == kept)
    page.run("document.querySelector('#grid .card').focus()")
    page.press(Keys.DELETE)
    page.wait(lambda: len(page.cards()) == 1)
    page.click("#clear")
    page.wait(lambda: not page.cards())
    assert page.element("film").is_displayed()
    seek(page, 3.5)
    page.wait(lambda: found(page) == ["stop sign"])


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


def test_after_a_wait_the_frame_that_is_sent_is_the_newest(
    browser: webdriver.Chrome, settings: Settings, video: Path, gated: GatedSession
) -> None:
    """The service holds the first frame while the film goes from red to its green end: no red one follows."""
    with served(settings, gated_load(gated)) as url:
        page = Page(browser, url)
        page.run("""const asked = window.fetch, pixel = new OffscreenCanvas(1, 1).getContext('2d');
            window.sent = [];
            window.fetch = async (path, options) => {
              if (options.body) {
                pixel.drawImage(await createImageBitmap(options.body.get('file')), 0, 0);
                const [red, green] = pixel.getImageData(0, 0, 1, 1).data;
                window.sent.push(red > 128 ? 'red' : green > 128 ? 'green' : 'black');
              }
              return asked(path, options);
            };""")
        # It stays at its beginning, where nothing may be painted yet, until the first frame is under way.
        page.run("document.getElementById('film').play = async () => {}")
        page.element("pick-video").send_keys(str(video))
        Select(page.element("rate")).select_by_value("30")
        page.wait(lambda: gated.entered.acquire(blocking=False))
        page.run("HTMLMediaElement.prototype.play.call(document.getElementById('film'))")
        page.wait(lambda: page.run("return document.getElementById('film').ended"))
        assert page.run("return window.sent") == ["red"]
        gated.gate.set()
        page.wait(lambda: page.run("return window.sent.length") > 1)
        assert page.run("return window.sent") == ["red", "green"]


def test_as_many_frames_are_sent_a_second_as_were_asked_for(page: Page, video: Path) -> None:
    """Six within 1.25 seconds are beyond two a second; more than one second between two of them is below it."""
    answer = {
        "frames": [{"name": "a", "width": 9, "height": 6, "probabilities": {"red": 1}, "labels": ["red"]}],
        "model": {"name": "tiny", "version": "0.0.1"},
        "timing_ms": {"decode": 1, "queue": 1, "inference": 1, "total": 3},
    }
    page.run(
        """const [answer] = arguments;
        document.getElementById('film').loop = true;
        window.sentS = [];
        window.fetch = async (path, {signal}) => {
          signal.throwIfAborted();
          window.sentS.push(performance.now() / 1000);
          return Response.json(answer);
        };""",
        answer,
    )

    def sent_s() -> list[float]:
        return list(page.run("return window.sentS"))

    def is_fast(instants: list[float]) -> bool:
        return any(sixth - first < 1.25 for first, sixth in zip(instants, instants[5:], strict=False))

    page.element("pick-video").send_keys(str(video))
    Select(page.element("rate")).select_by_value("10")
    page.wait(lambda: is_fast(sent_s()))
    Select(page.element("rate")).select_by_value("0.5")
    page.click("#stop")
    page.run("window.sentS = []")
    page.element("pick-video").send_keys(str(video))
    page.wait(lambda: len(sent_s()) == 3)
    first, second, third = sent_s()
    assert second - first > 1
    assert third - second > 1


def test_a_problem_is_told_while_the_film_is_held_and_goes_when_the_service_takes_the_frame(
    page: Page, video: Path
) -> None:
    problem = problem_object(KINDS["queue_full"], DETAILS["queue_full"], "/predict")
    page.run(
        """const [problem] = arguments, asked = window.fetch;
        window.refuses = true;
        window.fetch = async (...given) => window.refuses ? Response.json(problem, {status: 429}) : asked(...given);""",
        problem,
    )
    page.element("pick-video").send_keys(str(video))
    seek(page, 3.5)
    page.wait(lambda: page.text("live-state") == f"Queue full: {DETAILS['queue_full']}")
    assert not page.element("keep").is_enabled()
    page.run("window.refuses = false")
    page.wait(lambda: found(page) == ["stop sign"])
    page.wait(lambda: "answered" in page.text("live-state"))
    assert page.element("keep").is_enabled()


@pytest.mark.parametrize("focused", ["body", "#film"])
def test_escape_stops_the_video(page: Page, video: Path, focused: str) -> None:
    page.element("pick-video").send_keys(str(video))
    page.wait(lambda: page.element("keep").is_enabled())
    page.run("document.activeElement.blur(); document.querySelector(arguments[0]).focus()", focused)
    page.press(Keys.ESCAPE)
    assert page.run("return document.body.dataset.view") == "empty"
    assert page.run("return document.getElementById('film').src") == ""


def test_escape_stops_the_camera(page: Page) -> None:
    page.click("#camera")
    page.wait(lambda: page.element("keep").is_enabled())
    page.run("window.tracks = document.getElementById('film').srcObject.getTracks()")
    page.press(Keys.ESCAPE)
    assert page.run("return window.tracks.map((track) => track.readyState)") == ["ended"]
    assert page.run("return document.body.dataset.view") == "empty"


def test_the_camera_is_watched_until_it_is_stopped_and_its_samples_can_be_kept(page: Page) -> None:
    catch_downloads(page)
    page.click("#camera")
    page.wait(lambda: page.element("keep").is_enabled())
    assert page.text("frame-name") == "Camera"
    page.run("window.tracks = document.getElementById('film').srcObject.getTracks()")
    page.run("for (const form of ['csv', 'json']) document.getElementById(`timeline-${form}`).click()")
    rows = list(csv.DictReader(io.StringIO(written(page, "roadcue-timeline.csv"))))
    assert list(rows[0]) == ["seconds", "red", "stop_sign", "labels"]
    assert all(0 <= float(row[key]) <= 1 for row in rows for key in ("red", "stop_sign"))
    told = json.loads(written(page, "roadcue-timeline.json"))
    assert (told["source"], told["model"]) == ("Camera", {"name": "tiny", "version": "0.0.1"})
    assert told["thresholds"] == {"red": 0.5, "stop_sign": 0.5}
    assert [sample["probabilities"] for sample in told["samples"]] == [
        {key: float(row[key]) for key in ("red", "stop_sign")} for row in rows
    ]
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
