"""The playground 360 pixels wide, as on a phone, in each of its states."""

from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver

from tests.browser.conftest import FrameFile
from tests.browser.page import Page

pytestmark = pytest.mark.browser

WIDTH = 360
LONG = "a" * 120
# Of what a person sees or presses, what does not lie between the edges of the screen; of a dialog, its own content.
OUTSIDE = """const width = arguments[0], modal = document.querySelector('dialog[open]');
    const seen = [...(modal ?? document.body).querySelectorAll('*')]
      .filter((each) => !each.closest('.skip, .hidden, svg') && each.checkVisibility({visibilityProperty: true}));
    const isOutside = (each) => {
      const {left, right} = each.getBoundingClientRect();
      return right > left && (left < -0.5 || right > width + 0.5);
    };
    const name = ({id, className, tagName}) => id || className || tagName;
    return [modal ?? document.body, ...seen].filter(isOutside).map(name);"""


@pytest.fixture
def phone(browser: webdriver.Chrome, page: Page) -> Iterator[Page]:
    """The page on a narrow screen."""
    size = {"width": WIDTH, "height": 780, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield page
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def empty(page: Page, frame_file: FrameFile) -> None:
    assert page.element("empty").is_displayed()


def answered(page: Page, frame_file: FrameFile) -> None:
    page.answered(frame_file(f"{LONG}.png", red=255), frame_file("b.png"))


def live(page: Page, frame_file: FrameFile) -> None:
    page.click("#camera")
    page.wait(lambda: page.element("keep").is_enabled())
    page.wait(lambda: "answered" in page.text("live-state"))


def refused(page: Page, frame_file: FrameFile) -> None:
    problem = {"code": "damaged_image", "title": "Damaged image", "status": 422, "detail": f"{LONG} cannot be decoded"}
    page.run("const [told] = arguments; window.fetch = async () => Response.json(told, {status: 422})", problem)
    page.answered(frame_file(f"{LONG}.png"))
    assert page.text("problem-title") == "Damaged image"


def refused_live(page: Page, frame_file: FrameFile) -> None:
    problem = {"code": "queue_full", "title": "Queue full", "status": 429, "detail": f"{LONG} has no room"}
    page.run("const [told] = arguments; window.fetch = async () => Response.json(told, {status: 429})", problem)
    page.click("#camera")
    page.wait(lambda: page.text("live-state").startswith("Queue full"))


def helped(page: Page, frame_file: FrameFile) -> None:
    page.click("#help")
    assert page.element("help-dialog").is_displayed()


@pytest.mark.parametrize("state", [empty, answered, live, refused, refused_live, helped])
def test_nothing_sticks_out_on_a_phone(
    phone: Page, frame_file: FrameFile, state: Callable[[Page, FrameFile], None]
) -> None:
    state(phone, frame_file)
    assert phone.run("return document.documentElement.scrollWidth") <= WIDTH
    assert phone.run(OUTSIDE, WIDTH) == []
