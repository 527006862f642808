"""The answer page in a real browser: keys are pressed, labels.csv is read back."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from service.answer_page.app import create_answer_page
from service.label_folder.folder import LabelFolder
from service.label_folder.intake import UncertainFrame
from service.server import listen
from tests.browser.chromium import opened_chromium
from tests.service.conftest import encoded
from tests.service.label_folder.frames import ROOMY, edited, rows, uncertain

pytestmark = pytest.mark.browser

PATIENCE_S = 30


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium without a window."""
    with opened_chromium() as opened:
        yield opened


def frame(colour: int, **near: float) -> UncertainFrame:
    """A real image, near the thresholds that are named."""
    changes = {"data": encoded(colour, 0, 0), "near": near}
    made = uncertain("", probabilities={"car": 0.43, "sign": 0.38}, near=near)
    return UncertainFrame(**{name: changes.get(name, getattr(made, name)) for name in made.__slots__})  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three frames with four questions: in the order of asking 1 car, 1 sign, 2 sign, 3 car."""
    made = LabelFolder(tmp_path / "uncertain")
    made.prepare(["car", "sign"])
    made.keep([frame(3, car=0.9), frame(1, car=0.1, sign=0.8), frame(2, sign=0.2)], ROOMY)
    return made.path


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """Where the page of the folder is served."""
    listener = listen("127.0.0.1", 0)
    application = create_answer_page(LabelFolder(folder))
    server = uvicorn.Server(uvicorn.Config(application, log_config=None, ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


class Page:
    """The page as a person uses it."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser, self.url = browser, url
        browser.get_log("browser")
        browser.get(url)
        self.settle()

    def settle(self) -> None:
        """Until it waits for the person again."""
        WebDriverWait(self.browser, PATIENCE_S, 0.02).until(lambda _: self.state not in ("loading", "saving"))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.browser.find_element(By.TAG_NAME, "body").send_keys(key)
            self.settle()

    @property
    def state(self) -> str:
        return str(self.browser.find_element(By.TAG_NAME, "body").get_attribute("data-state"))

    def text(self, name: str) -> str:
        return self.browser.find_element(By.ID, name).text

    @property
    def asked(self) -> str:
        """The label that is asked."""
        return self.browser.find_element(By.CSS_SELECTOR, "#question strong").text


@pytest.fixture
def page(browser: webdriver.Chrome, url: str) -> Page:
    return Page(browser, url)


def entries(folder: Path) -> list[tuple[str, str]]:
    """car and sign of frames 1, 2 and 3; they were kept in the order 3, 1, 2."""
    third, first, second = ((row["car"], row["sign"]) for row in rows(folder))
    return [first, second, third]


def image_of(folder: Path, number: int) -> str:
    return [row["image"] for row in rows(folder)][number % 3]


def test_keys_answer_the_most_uncertain_first_and_labels_csv_has_it_at_once(page: Page, folder: Path) -> None:
    assert page.asked == "car"
    page.press("y")
    assert entries(folder) == [("1", ""), ("", ""), ("", "")]
    assert page.asked == "sign"
    page.press("n")
    assert entries(folder) == [("1", "0"), ("", ""), ("", "")]
    page.press("u")
    assert entries(folder) == [("1", "0"), ("", ""), ("", "")]
    assert page.text("count") == "3 of 4 answered"
    page.press("Y")
    assert entries(folder) == [("1", "0"), ("", ""), ("1", "")]
    assert page.state == "done"
    assert page.text("done-title") == "All answered"
    assert f'path = "{folder}"' in page.text("done-source")


def test_answers_are_there_when_the_page_is_opened_again(page: Page, folder: Path) -> None:
    """What a person could not tell is not asked again either."""
    page.press("u", "y")
    again = Page(page.browser, page.url)
    assert (again.text("count"), again.asked) == ("2 of 4 answered", "sign")
    assert entries(folder) == [("", "1"), ("", ""), ("", "")]


def test_back_shows_the_answer_and_changes_it(page: Page, folder: Path) -> None:
    page.press("y", "y", "b", "b")
    assert (page.asked, page.text("stands")) == ("car", "Answered: Yes")
    page.press("n")
    assert entries(folder)[0] == ("0", "1")
    assert page.text("count") == "2 of 4 answered"


def test_back_goes_to_what_was_asked_before_and_not_to_the_neighbour(
    folder: Path, browser: webdriver.Chrome, url: str
) -> None:
    """Sign of the first frame is answered already, so it is not asked in between."""
    edited(folder, image_of(folder, 1), sign="1")
    page = Page(browser, url)
    page.press("y", "b")
    assert (page.asked, page.text("stands")) == ("car", "Answered: Yes")


def test_skipped_questions_come_again_at_the_end(page: Page, folder: Path) -> None:
    page.press("s", "y", Keys.ARROW_RIGHT, "y")
    assert (page.state, page.text("done-title")) == ("done", "2 skipped, all others answered")
    page.press("s", "n", "n")
    assert page.text("done-title") == "All answered"
    assert entries(folder) == [("0", "1"), ("", "0"), ("1", "")]


def test_the_probability_is_hidden_until_it_is_asked_for(page: Page) -> None:
    assert "43" not in page.browser.find_element(By.TAG_NAME, "body").text
    page.press("p")
    assert page.text("probability") == "the model says 43.0 %"
    page.press("y")
    assert page.text("probability") == "the model says 38.0 %"


def test_other_labels_are_asked_on_demand(page: Page, folder: Path) -> None:
    """The second frame is near the threshold of sign only."""
    page.press("y", "y", "o")
    assert page.text("message") == "Also asked about this frame: car."
    page.press("n")
    assert page.asked == "car"
    page.press("y")
    assert entries(folder)[1] == ("1", "0")
    assert page.text("count") == "4 of 5 answered"


def test_buttons_do_what_their_keys_do(page: Page, folder: Path) -> None:
    page.browser.find_element(By.CSS_SELECTOR, '[data-key="n"]').click()
    page.settle()
    assert entries(folder)[0] == ("0", "")


def test_an_image_that_is_gone_is_told_and_cannot_be_answered(
    folder: Path, browser: webdriver.Chrome, url: str
) -> None:
    (folder / image_of(folder, 1)).unlink()
    page = Page(browser, url)
    assert page.state == "missing"
    assert page.text("missing") == "The image of this frame is not there. Skip it."
    page.press("y")
    assert entries(folder)[0] == ("", "")
    page.press("s", "s", "n")
    assert entries(folder) == [("", ""), ("", "0"), ("", "")]


def test_an_answer_from_another_tab_is_not_overwritten_unseen(page: Page, folder: Path) -> None:
    """The first key is refused with what stands there; the second one changes it knowingly."""
    edited(folder, image_of(folder, 1), car="0")
    page.press("y")
    assert "answered elsewhere: absent" in page.text("message")
    assert (page.asked, page.text("stands"), entries(folder)[0]) == ("car", "Answered: No", ("0", ""))
    page.press("y")
    assert entries(folder)[0] == ("1", "")


def test_two_tabs_answer_one_table(page: Page, folder: Path) -> None:
    first = page.browser.current_window_handle
    page.browser.switch_to.new_window("tab")
    other = Page(page.browser, page.url)
    other.press("y", "y")
    page.browser.close()
    page.browser.switch_to.window(first)
    WebDriverWait(page.browser, PATIENCE_S, 0.02).until(lambda _: page.text("count") == "2 of 4 answered")
    page.settle()
    assert (page.asked, page.text("stands")) == ("car", "Answered: Yes")


def test_a_frame_that_has_left_the_table_is_told_and_the_rest_goes_on(page: Page, folder: Path) -> None:
    """As the service does with frames that are less uncertain than new ones."""
    table = folder / "labels.csv"
    kept = [line for line in table.read_text().splitlines() if image_of(folder, 1) not in line]
    table.write_text("\n".join(kept) + "\n")
    page.press("y")
    assert "any more" in page.text("message")
    assert page.text("count") == "0 of 2 answered"


def test_a_table_broken_elsewhere_is_named_until_it_is_mended(page: Page, folder: Path) -> None:
    good = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text("nonsense\n")
    page.press("y")
    assert "the header is 'nonsense'" in page.text("message")
    (folder / "labels.csv").write_text(good)
    page.press("y")
    assert entries(folder)[0] == ("1", "")


def test_nothing_comes_from_elsewhere_and_the_browser_has_nothing_to_complain_of(page: Page) -> None:
    """No request leaves this machine, and the policy forbids nothing that the page needs."""
    page.press("y", "p", "b")
    script = "return performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)"
    assert set(page.browser.execute_script(script)) == {page.url.rstrip("/")}
    assert page.browser.get_log("browser") == []


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_phones_and_desktops(page: Page, width: int) -> None:
    size = {"width": width, "height": 780, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width
        bottom = "return document.querySelector('[data-key=p]').getBoundingClientRect().bottom"
        assert page.browser.execute_script(bottom) <= 780
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
