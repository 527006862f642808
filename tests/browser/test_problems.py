"""What a person sees when the service refuses, fails, is late, is not there."""

import threading
from pathlib import Path

import pytest
from selenium import webdriver

from service.app import detector_of
from service.inference.detector import Detector
from service.settings import Settings
from service.web.problem_documents import DETAILS
from service.web.problems import KINDS, ProblemKind, problem_object
from tests.browser.conftest import FrameFile
from tests.browser.page import Page
from tests.browser.served import served
from tests.service.conftest import GatedSession, encoded, gated_load

pytestmark = pytest.mark.browser

# What the remedy of each code speaks of. Where the fault is not the frame's, the page itself may be out of date.
REMEDIES = {
    "Reload the page": (
        "bad_request",
        "invalid_parameter",
        "malformed_multipart",
        "method_not_allowed",
        "no_frames",
        "not_found",
        "too_many_frames",
        "unexpected_field",
        "unsupported_content_encoding",
        "unsupported_content_type",
    ),
    "Save it smaller": ("frame_too_large", "request_too_large"),
    "Scale the image down": ("too_many_pixels",),
    "JPEG, PNG or WebP": ("unsupported_image",),
    "opens in an image viewer": ("damaged_image",),
    "cookies": ("header_too_large",),
    "connection is slow": ("upload_timeout",),
    "is busy": ("uploads_full", "queue_full", "deadline_exceeded"),
    "is starting": ("not_ready",),
    "being stopped": ("draining",),
    "could not start": ("startup_failed",),
    "failed here": ("internal_error",),
    # No request of the page is answered with these: they are told by the command line, the page where frames are
    # answered and the Open Inference Protocol. The general words have to do.
    "": (
        "answered_elsewhere",
        "invalid_inference_request",
        "label_folder_busy",
        "uncertain_frames_lost",
        "unknown_model",
        "unlisted_frame",
        "unreadable_file",
        "unreadable_label_table",
        "unreadable_video",
    ),
}
SPOKEN_OF = {code: words for words, codes in REMEDIES.items() for code in codes}


def test_a_full_queue_is_shown_and_the_frames_are_sent_again(
    browser: webdriver.Chrome, settings: Settings, frame_file: FrameFile, gated: GatedSession
) -> None:
    """One frame runs and one waits: of four that are sent at once, two are refused."""
    with served(settings.model_copy(update={"max_queue_frames": 1}), gated_load(gated)) as url:
        page = Page(browser, url)
        page.add(*[frame_file(f"{number}.png") for number in range(6)])
        page.wait(lambda: page.text("count").startswith("Queue full (429): trying again in "))
        gated.gate.set()
        page.wait(lambda: page.states() == ["answered"] * 6)
        page.wait(lambda: page.text("count") == "6 frames")
        assert page.complaints(but="429 (Too Many Requests)") == []


def test_frames_wait_for_the_model_to_be_loaded(
    browser: webdriver.Chrome, settings: Settings, frame_file: FrameFile
) -> None:
    gate = threading.Event()

    def load(wanted: Settings) -> Detector:
        gate.wait(timeout=30)
        return detector_of(wanted)

    with served(settings, load, until_ready=False) as url:
        page = Page(browser, url, until="loading")
        page.wait(lambda: page.text("model-text") == "the model is being loaded")
        page.add(frame_file("a.png", red=255))
        page.wait(lambda: "Not ready" in page.text("facts"))
        gate.set()
        page.settle()
        page.wait(lambda: page.bars() == {"red": ("1.000", True), "stop sign": ("0.000", False)})


def test_a_frame_that_is_late_can_be_sent_again(
    browser: webdriver.Chrome, settings: Settings, frame_file: FrameFile, gated: GatedSession
) -> None:
    with served(settings.model_copy(update={"default_timeout_ms": 300}), gated_load(gated)) as url:
        page = Page(browser, url)
        page.add(frame_file("a.png"))
        page.wait(lambda: page.states() == ["failed"])
        assert page.text("problem-title") == "Deadline exceeded"
        assert page.text("problem-remedy") == "The service is busy: try again in a moment."
        gated.gate.set()
        page.wait(lambda: page.element("again").is_displayed())
        page.click("#again")
        page.wait(lambda: page.states() == ["answered"])
        assert not page.element("problem").is_displayed()


def test_a_file_beyond_the_limit_is_named_with_the_limit(
    browser: webdriver.Chrome, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "large.bmp").write_bytes(bytes(5000))
    limits = {"max_frame_bytes": 2000, "max_frame_pixels": 10_000}
    (tmp_path / "wide.png").write_bytes(encoded(0, 0, 0, 200, 100))
    with served(settings.model_copy(update=limits)) as url:
        page = Page(browser, url).answered(tmp_path / "large.bmp", tmp_path / "wide.png")
        assert page.text("problem-title") == "Frame too large"
        assert "allowed are 2000" in page.text("problem-detail")
        page.click("#grid .card", 1)
        assert page.text("problem-title") == "Too many pixels"
        assert page.text("problem-remedy") == "Scale the image down."


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_problem_is_told_with_a_fitting_remedy(page: Page, frame_file: FrameFile, kind: ProblemKind) -> None:
    """A new code fails until it stands above. Trying again is spoken of, and offered, only where it may help."""
    # The page's clock goes on by 200 seconds with each answer, so that it gives up what it would ask again.
    page.run(
        """const [problem, status] = arguments, now = performance.now.bind(performance);
        let aheadMs = 0;
        performance.now = () => now() + aheadMs;
        window.fetch = async () => {
          aheadMs += 200_000;
          return Response.json(problem, {status, headers: {'Retry-After': '0'}});
        };""",
        problem_object(kind, DETAILS[kind.code], "/predict"),
        kind.status,
    )
    page.answered(frame_file("a.png"))
    assert page.states() == ["failed"]
    assert page.text("problem-title") == kind.title
    assert page.text("problem-detail").rstrip(".").casefold() == DETAILS[kind.code].rstrip(".").casefold()
    remedy, may_help = page.text("problem-remedy"), kind.status in (408, 429) or kind.status >= 500
    assert remedy
    assert SPOKEN_OF[kind.code] in remedy
    assert ("try again" in remedy.casefold()) == may_help
    assert page.element("again").is_displayed() == page.element("retry").is_displayed() == may_help


def test_a_lost_connection_is_told_and_taken_up_when_the_service_is_back(
    browser: webdriver.Chrome, settings: Settings, frame_file: FrameFile
) -> None:
    with served(settings) as url:
        page = Page(browser, url).answered(frame_file("a.png"))
    page.add(frame_file("b.png", red=255))
    page.wait(lambda: page.text("count").startswith("Connection lost (no answer): trying again in "))
    with served(settings, port=int(url.rstrip("/").rpartition(":")[2])):
        page.wait(lambda: page.states() == ["answered", "answered"])


def test_a_file_that_is_gone_is_told_from_a_lost_connection(page: Page, frame_file: FrameFile) -> None:
    """The browser reports both in the same words."""
    page.answered(frame_file("a.png"))
    gone = frame_file("b.png")
    page.run("""const asked = window.fetch, held = new Promise((go) => { window.go = go; });
        window.fetch = (...given) => held.then(() => asked(...given));""")
    page.add(gone)
    page.wait(lambda: page.states() == ["answered", "sending"])
    gone.unlink()
    page.run("window.go()")
    page.wait(lambda: page.states() == ["answered", "failed"])
    page.click("#grid .card", 1)
    assert page.text("problem-title") == "File gone"
    assert page.text("problem-remedy") == "Add the file again."
    assert not page.element("again").is_displayed()


def test_a_page_of_a_proxy_in_between_is_told_by_its_status(page: Page, frame_file: FrameFile) -> None:
    page.run("window.fetch = async () => new Response('<h1>nope</h1>', {status: 413})")
    page.answered(frame_file("a.png"))
    assert page.text("problem-title") == "Too large"
    assert page.text("problem-detail") == "Something between this page and the service answered with status 413."
    assert page.text("problem-remedy") == "Save it smaller or more strongly compressed."
    assert not page.element("again").is_displayed()
