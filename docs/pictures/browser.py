"""A headless Chromium that shows a page as a reader with a window of one size sees it."""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service


@contextmanager
def browser(width: int, height: int) -> Iterator[webdriver.Chrome]:
    """One whose window is `width` x `height` pixels; both Chromium and its driver are looked for on the PATH."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield driver
    finally:
        driver.quit()


def keep(driver: webdriver.Chrome, target: Path) -> None:
    """What the window shows, as a PNG."""
    picture = Image.open(io.BytesIO(driver.get_screenshot_as_png()))
    picture.convert("RGB").save(target, optimize=True)
