"""Frames in the playground: added in every way, answered, looked at, moved through, removed."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from service.settings import Settings
from tests.browser.conftest import FrameFile
from tests.browser.page import Page
from tests.browser.served import served
from tests.service.conftest import GatedSession, encoded, gated_load

pytestmark = pytest.mark.browser


@pytest.fixture
def red_below(tmp_path: Path) -> Path:
    """A frame of 24 x 16 pixels whose lower half is red: each of the grid's two rows has evidence 0 or 1."""
    pixels_HWC = np.zeros((16, 24, 3), np.uint8)
    pixels_HWC[8:, :, 0] = 255
    Image.fromarray(pixels_HWC).save(tmp_path / "below.png")
    return tmp_path / "below.png"


def test_a_frame_is_answered_with_a_bar_a_threshold_and_a_decision_for_each_label(
    page: Page, frame_file: FrameFile
) -> None:
    """204 of 255 is 0.8, 51 is 0.2; both thresholds are 0.5."""
    page.answered(frame_file("a.png", red=204, green=51))
    assert page.bars() == {"red": ("0.800", True), "stop sign": ("0.200", False)}
    fills = page.run("return [...document.querySelectorAll('.fill')].map((fill) => fill.style.inlineSize)")
    marks = page.run("return [...document.querySelectorAll('.mark')].map((mark) => mark.style.insetInlineStart)")
    assert (fills, marks) == (["80%", "20%"], ["50%", "50%"])
    spoken = [row.get_attribute("aria-label") for row in page.all("#bars button")]
    assert spoken == [
        "red: found, probability 0.800, threshold 0.500",
        "stop sign: not found, probability 0.200, threshold 0.500",
    ]


def test_model_provider_precision_and_timing_are_told(page: Page, frame_file: FrameFile) -> None:
    page.answered(frame_file("a.png"))
    facts = dict(zip(*[[each.text for each in page.all(f"#facts {tag}")] for tag in ("dt", "dd")], strict=True))
    assert facts["Frame"] == "24 \u00d7 16"
    assert facts["Model"] == "tiny 0.0.1"
    assert facts["Runs as"] == "float32 on CPU"
    assert all(facts[name].endswith(" ms") for name in ("Decode", "Queue", "Network", "Service", "Round trip"))
    assert page.text("model-text") == "tiny 0.0.1 · float32 on CPU"


def test_the_evidence_of_a_chosen_label_lies_over_the_picture_where_it_is(page: Page, red_below: Path) -> None:
    """Turbo begins with (48, 18, 59) and ends with (122, 4, 3); without evidence the frame shines through."""
    page.answered(red_below)
    page.click("#bars button")
    page.wait(lambda: page.overlay(0.5, 0.9)[3] == 255)
    assert page.overlay(0.5, 0.1)[3] == 0
    assert page.overlay(0.5, 0.9) == pytest.approx([122, 4, 3, 255], abs=3)
    assert 60 < page.overlay(0.5, 0.5)[3] < 195
    assert page.text("scale-label") == "Evidence of red"
    page.click("#bars button", 1)
    page.wait(lambda: page.overlay(0.5, 0.9)[3] == 0)


def test_evidence_is_asked_for_one_frame_at_a_time_and_never_of_those_passed_by(
    page: Page, frame_file: FrameFile
) -> None:
    page.answered(*(frame_file(f"{number}.png", red=255) for number in range(4)))
    page.run("""
        const asked = window.fetch, held = new Promise((go) => { window.go = go; });
        window.maps = [];
        window.fetch = async (path, options) => {
          if (path.includes('evidence')) { window.maps.push(options.body.get('file').name); await held; }
          return asked(path, options);
        };""")
    page.press("1", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    page.wait(lambda: page.text("frame-name") == "3.png")
    assert page.run("return window.maps") == ["0.png"]
    page.run("window.go()")
    page.wait(lambda: page.overlay(0.5, 0.5)[3] == 255)
    assert page.run("return window.maps") == ["0.png", "3.png"]


def test_no_evidence_is_told_of_the_frame_that_has_none(page: Page, frame_file: FrameFile) -> None:
    page.answered(frame_file("a.png"), frame_file("b.png", red=255))
    page.run("""
        const asked = window.fetch;
        window.fetch = async (path, options) => {
          const isFirst = path.includes('evidence') && options.body.get('file').name === 'a.png';
          if (isFirst) await new Promise((_, fail) => { window.fail = fail; });
          return asked(path, options);
        };""")
    page.press("1")
    page.wait(lambda: page.run("return Boolean(window.fail)"))
    page.press(Keys.ARROW_RIGHT)
    page.run("window.fail(new TypeError('lost'))")
    page.wait(lambda: page.overlay(0.5, 0.5)[3] == 255)
    assert page.text("scale-label") == "Evidence of red"


def test_the_frame_itself_is_shown_and_the_overlay_covers_the_same_box(page: Page, frame_file: FrameFile) -> None:
    """The photo as it was sent, and on the screen its colour; without evidence nothing lies over it."""
    page.answered(frame_file("a.png", red=204, green=51, width=240, height=60))
    page.wait(lambda: page.run("return document.getElementById('photo').complete"))
    photo, overlay = page.element("photo"), page.element("overlay")
    assert (photo.get_property("naturalWidth"), photo.get_property("naturalHeight")) == (240, 60)
    assert photo.get_attribute("alt") == "a.png"
    assert photo.rect == overlay.rect
    for name in ("object-fit", "object-position", "padding", "border-width"):
        assert photo.value_of_css_property(name) == overlay.value_of_css_property(name), name
    screen = Image.open(io.BytesIO(page.element("picture").screenshot_as_png)).convert("RGB")
    assert screen.getpixel((screen.width // 2, screen.height // 2)) == pytest.approx((204, 51, 0), abs=3)


def test_the_overlay_covers_the_picture_exactly_and_its_opacity_is_set(page: Page, frame_file: FrameFile) -> None:
    page.answered(frame_file("a.png", red=255, width=240, height=60))
    page.press("1")
    page.wait(lambda: page.overlay(0.5, 0.5)[3] == 255)
    size = page.run("const c = document.getElementById('overlay'); return [c.width, c.height]")
    assert size[0] / size[1] == pytest.approx(4, rel=0.01)
    slider = page.element("opacity")
    slider.send_keys(Keys.HOME)
    assert (page.element("overlay").value_of_css_property("opacity"), page.text("opacity-value")) == ("0", "0 %")
    slider.send_keys(Keys.END)
    assert page.element("overlay").value_of_css_property("opacity") == "1"
    page.press("0")
    page.wait(lambda: page.overlay(0.5, 0.5)[3] == 0)


def test_a_bad_file_tells_its_problem_and_the_others_are_answered(
    page: Page, frame_file: FrameFile, tmp_path: Path
) -> None:
    (tmp_path / "cut.png").write_bytes(encoded(255, 0, 0, 200, 200)[:90])
    (tmp_path / "text.jpg").write_text("no image at all")
    page.answered(tmp_path / "cut.png", tmp_path / "text.jpg", frame_file("good.png", red=255))
    assert page.states() == ["failed", "failed", "answered"]
    assert page.text("problem-title") == "Damaged image"
    assert page.text("problem-detail")
    assert not page.element("again").is_displayed()
    page.click("#grid .card", 1)
    assert page.text("problem-title") == "Unsupported image format"
    assert page.text("problem-remedy") == "Save it as JPEG, PNG or WebP."
    assert page.text("count") == "3 frames · 2 problems"


def test_names_of_files_are_text_and_never_html(page: Page, frame_file: FrameFile) -> None:
    name = "<img src=x onerror=alert(1)>&amp;.png"
    page.answered(frame_file(name, red=255))
    assert page.shown() == [name]
    assert page.text("frame-name") == name
    assert page.all("img[src=x]") == []


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_frames_can_be_dropped_and_pasted(page: Page, way: str) -> None:
    bytes_ = base64.b64encode(encoded(255, 0, 0)).decode()
    page.drop(way, [("a.png", "image/png", bytes_), ("b.png", "image/png", bytes_)])
    page.wait(lambda: page.states() == ["answered", "answered"])
    assert page.shown() == ["a.png", "b.png"]


def test_hundreds_of_frames_are_answered_few_at_a_time_and_their_pictures_released(
    browser: webdriver.Chrome, settings: Settings, frame_file: FrameFile, url: str
) -> None:
    files = [frame_file(f"{number:03}.png", red=number) for number in range(200)]
    page = Page(browser, url)
    # Counted where the browser keeps the books: each URL of a blob is made and revoked there.
    page.run("""window.open_urls = 0; window.asking = 0; window.most = 0;
        const {createObjectURL, revokeObjectURL} = URL, asked = window.fetch;
        URL.createObjectURL = (blob) => { window.open_urls += 1; return createObjectURL.call(URL, blob); };
        URL.revokeObjectURL = (url) => { window.open_urls -= 1; return revokeObjectURL.call(URL, url); };
        window.fetch = async (...given) => {
          window.most = Math.max(window.most, window.asking += 1);
          try { return await asked(...given); } finally { window.asking -= 1; }
        };""")
    page.answered(*files)
    assert page.text("count") == "200 frames"
    assert page.run("return window.most") == 4
    page.wait(lambda: page.all(".thumbnail img[src]"))
    # Only cards near the screen hold a picture; the chosen frame has one more.
    assert page.run("return window.open_urls") < 80
    page.click("#grid .card")
    page.press(Keys.END)
    page.wait(lambda: page.all("#grid .card:last-child img[src]"))
    page.wait(lambda: not page.all("#grid .card:first-child img[src]"))
    assert page.text("frame-name") == "199.png"
    page.click("#clear")
    assert page.run("return window.open_urls") == 0
    assert page.cards() == []


def test_sending_can_be_cancelled_and_taken_up_again(
    browser: webdriver.Chrome, settings: Settings, frame_file: FrameFile, gated: GatedSession
) -> None:
    with served(settings, gated_load(gated)) as url:
        page = Page(browser, url)
        page.add(*[frame_file(f"{number}.png") for number in range(9)])
        page.wait(lambda: page.states().count("sending") == 4)
        assert page.text("count") == "0 of 9 answered"
        page.press(Keys.ESCAPE)
        page.wait(lambda: page.states() == ["cancelled"] * 9)
        page.wait(lambda: page.text("count") == "9 frames · 9 not sent")
        gated.gate.set()
        page.click("#retry")
        page.wait(lambda: page.states() == ["answered"] * 9)
        assert page.complaints() == []


def test_the_keyboard_reaches_and_does_everything(page: Page, frame_file: FrameFile) -> None:
    page.answered(*[frame_file(f"{number}.png", red=85 * number) for number in range(4)])
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.text("frame-name") == "2.png"
    page.press("1")
    assert page.all("#bars button")[0].get_attribute("aria-pressed") == "true"
    page.press("/", "red < 0.5")
    page.wait(lambda: page.shown() == ["0.png", "1.png"])
    page.press(Keys.ESCAPE, "?")
    assert page.element("help-dialog").get_attribute("open")
    page.press(Keys.ESCAPE)
    assert not page.element("help-dialog").get_attribute("open")
    page.run("document.querySelector('#grid [tabindex=\"0\"]').focus()")
    page.press(Keys.ARROW_RIGHT, Keys.DELETE)
    page.wait(lambda: page.shown() == ["0.png"])
    assert page.run("return document.activeElement.textContent").startswith("0.png")


@pytest.mark.parametrize("key", ["o", "O"])
def test_the_key_o_adds_images(page: Page, key: str) -> None:
    """What it opens is the system's dialog, which is kept shut here."""
    page.run("""document.getElementById('pick-images').addEventListener('click', (event) => {
          event.preventDefault();
          window.wasOpened = true;
        });""")
    page.press(key)
    assert page.run("return window.wasOpened")


def test_tab_goes_through_the_page_in_its_order_and_the_focus_is_visible(page: Page, frame_file: FrameFile) -> None:
    page.answered(frame_file("a.png"), frame_file("b.png"))
    seen = []
    for _ in range(24):
        page.press(Keys.TAB)
        seen.append(page.run("return document.activeElement.id || document.activeElement.className"))
        outline = page.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", seen[-1]
        if seen[-1] == "card":
            break
    order = ["skip", "help", "images", "next", "remove", "label", "filter", "sort", "csv", "clear", "card"]
    assert [name for name in dict.fromkeys(seen) if name in order] == order, seen


def test_what_happens_is_announced(page: Page, frame_file: FrameFile) -> None:
    assert page.element("announcer").get_attribute("aria-live") == "polite"
    page.answered(frame_file("a.png", red=255))
    page.wait(lambda: page.element("announcer").get_attribute("textContent") == "a.png: red found")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_phones_and_desktops_in_both_colour_schemes(
    page: Page, frame_file: FrameFile, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 780, "deviceScaleFactor": 1, "mobile": False}
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    try:
        page.answered(frame_file("a" * 120 + ".png", red=255))
        page.press("1")
        assert page.run("return document.documentElement.scrollWidth") <= width
        paper, ink = (
            page.run("return getComputedStyle(document.body)[arguments[0]].match(/\\d+/g).map(Number)", name)
            for name in ("backgroundColor", "color")
        )
        assert (sum(paper) < sum(ink)) == (scheme == "dark")
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_nothing_moves_while_the_answer_comes(
    browser: webdriver.Chrome, settings: Settings, frame_file: FrameFile, gated: GatedSession
) -> None:
    with served(settings, gated_load(gated)) as url:
        page = Page(browser, url)
        page.add(frame_file("a.png"))
        page.wait(lambda: page.states() == ["sending"])
        places = (
            "return [...document.querySelectorAll('#stage > *, .tools > *')].map((e) => e.getBoundingClientRect().y)"
        )
        before = page.run(places)
        gated.gate.set()
        page.settle()
        page.wait(lambda: page.text("count") == "1 frame")
        assert page.run(places) == before


def test_no_request_leaves_the_origin_and_the_browser_has_nothing_to_complain_of(
    page: Page, frame_file: FrameFile
) -> None:
    """A breach of the Content-Security-Policy would be in the console."""
    page.answered(frame_file("a.png", red=255), frame_file("b.png"))
    page.press("1")
    page.wait(lambda: page.overlay(0.5, 0.5)[3] == 255)
    page.click("#help")
    script = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    foreign = [name for name in page.run(script) if not name.startswith((page.url, f"blob:{page.url}"))]
    assert foreign == []
    assert page.complaints() == []


def test_the_policy_keeps_scripts_of_others_out(page: Page) -> None:
    """The policy is at work, not merely sent: markup with a script is refused, a style that is built has no effect."""
    refused = page.run("""
        try {
          document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.broken = 1">');
          return 'taken';
        } catch (error) { return error.name; }""")
    assert refused == "TypeError"
    page.run("const s = document.createElement('style'); s.textContent = 'body{display:none}'; document.head.append(s)")
    assert page.browser.find_element(By.TAG_NAME, "body").is_displayed()
