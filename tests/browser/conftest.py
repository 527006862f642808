"""A browser, the served tiny model, and frames of one colour whose answers are their colours."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from service.settings import Settings
from tests.browser.chromium import opened_chromium
from tests.browser.page import Page
from tests.browser.served import served
from tests.service.conftest import GatedSession, encoded
from tests.tiny_model import write_tiny_model

FrameFile = Callable[..., Path]


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """One browser for all tests of a process; each opens the page anew."""
    with opened_chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose probabilities of `red` and `stop_sign` are the means of the red and the green channel."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx", labels=("red", "stop_sign"))


@pytest.fixture(scope="session")
def settings(model: Path) -> Settings:
    return Settings(model=model, device="cpu", inference_workers=1, threads_per_worker=1, max_batch_frames=1)


@pytest.fixture(scope="session")
def url(settings: Settings) -> Iterator[str]:
    with served(settings) as address:
        yield address


@pytest.fixture
def page(browser: webdriver.Chrome, url: str) -> Page:
    return Page(browser, url)


@pytest.fixture
def frame_file(tmp_path: Path) -> FrameFile:
    """Writes a frame of one colour: red and green in 0..255."""

    def write(name: str, red: int = 0, green: int = 0, width: int = 24, height: int = 16) -> Path:
        (tmp_path / name).write_bytes(encoded(red, green, 0, width, height))
        return tmp_path / name

    return write


@pytest.fixture
def gated() -> Iterator[GatedSession]:
    """A session whose runs wait; the gate opens at the end at the latest."""
    session = GatedSession()
    yield session
    session.gate.set()
