"""Draws the README's picture of the playground: drawn streets, answered by the embedded model.

    make playground-picture

Photographs that we may show are not in this repository, so the frames are drawings; what is said of them is what the
model says.
"""

import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvicorn
from browser import browser, keep
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from street_scenes import FRAMES

from service.app import create_app
from service.server import configuration
from service.settings import Settings

WIDTH, HEIGHT = 1280, 840
PATIENCE_S: Final = 60


def photograph(folder: Path, target: Path) -> None:
    """Serve the embedded model, let a browser look at the frames, keep what it shows."""
    app = create_app(settings := Settings(port=0, device="cpu", tuning_seconds=0))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(configuration(app, settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        look(f"http://127.0.0.1:{listener.getsockname()[1]}/", [folder / name for name in FRAMES], target)
    finally:
        server.should_exit = True
        thread.join()


def look(url: str, frames: Sequence[Path], target: Path) -> None:
    with browser(WIDTH, HEIGHT) as driver:
        driver.get(url)
        wait = WebDriverWait(driver, PATIENCE_S)
        wait.until(lambda _: driver.find_elements(By.CSS_SELECTOR, "#model[data-state=ready]"))
        # The first by itself, so that its times are those of one frame that nothing else waits for.
        driver.find_element(By.ID, "pick-images").send_keys(str(frames[0]))
        wait.until(lambda _: count(driver, ".card[data-state=answered]") == 1)
        driver.find_element(By.ID, "pick-images").send_keys("\n".join(map(str, frames[1:])))
        wait.until(lambda _: count(driver, ".card[data-state=answered] img[src]") == len(frames))
        driver.find_element(By.CSS_SELECTOR, "#bars li:nth-child(3) button").click()
        wait.until(lambda _: driver.execute_script("return document.getElementById('overlay').width > 300"))
        driver.execute_script("document.activeElement.blur()")
        keep(driver, target)


def count(driver: webdriver.Chrome, selector: str) -> int:
    return len(driver.find_elements(By.CSS_SELECTOR, selector))


def main() -> None:
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        for frame, drawn in FRAMES.items():
            drawn().save(Path(name) / frame, quality=92)
        photograph(Path(name), target)


if __name__ == "__main__":
    main()
