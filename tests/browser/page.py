"""The playground as a person uses it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE_S = 30


class Page:
    """An opened playground; it is ready once the model's labels are shown."""

    def __init__(self, browser: webdriver.Chrome, url: str, until: str = "ready") -> None:
        self.browser, self.url = browser, url
        browser.get("about:blank")
        browser.get_log("browser")
        browser.get(url)
        self.wait(lambda: self.element("model").get_attribute("data-state") == until)

    def wait(self, condition: Callable[[], object]) -> None:
        """Until the condition holds."""
        WebDriverWait(self.browser, PATIENCE_S, 0.02).until(lambda _: condition())

    def element(self, name: str) -> WebElement:
        return self.browser.find_element(By.ID, name)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def text(self, name: str) -> str:
        return self.element(name).text

    def run(self, script: str, *arguments: object) -> Any:
        return self.browser.execute_script(script, *arguments)

    def call(self, module: str, expression: str) -> Any:
        """What an expression of JavaScript gives that knows `module` as `m`; an error as its message and members."""
        script = """const [url, done] = arguments;
            import(url).then((m) => expression(m)).then(done, (e) => done({error: e.message, ...e}));"""
        return self.browser.execute_async_script(
            script.replace("expression(m)", expression), f"{self.url}playground/{module}"
        )

    def add(self, *files: Path) -> None:
        """Choose images, as in the browser's dialog."""
        self.element("pick-images").send_keys("\n".join(map(str, files)))

    def settle(self) -> None:
        """Until no frame waits any more, and the list has taken notice."""
        self.wait(lambda: self.cards() and not set(self.states()) & {"waiting", "sending"})
        self.wait(lambda: self.all("#progress.idle"))

    def answered(self, *files: Path) -> "Page":
        self.add(*files)
        self.wait(lambda: len(self.cards()) >= len(files))
        self.settle()
        return self

    def cards(self) -> list[WebElement]:
        return self.all("#grid .card")

    def states(self) -> list[str]:
        return list(self.run("return [...document.querySelectorAll('#grid .card')].map((card) => card.dataset.state)"))

    def shown(self) -> list[str]:
        """The names on the cards, in their order."""
        return list(
            self.run("return [...document.querySelectorAll('#grid .card .name')].map((name) => name.textContent)")
        )

    def press(self, *keys: str) -> None:
        """Keys, wherever the focus is."""
        webdriver.ActionChains(self.browser).send_keys(*keys).perform()

    def click(self, selector: str, place: int = 0) -> None:
        self.all(selector)[place].click()

    def bars(self) -> dict[str, tuple[str, bool]]:
        """Each label's probability as shown, and whether it was found."""
        rows = self.all("#bars button")
        return {
            row.find_element(By.CSS_SELECTOR, ".name").text: (
                row.find_element(By.CSS_SELECTOR, ".value").text,
                "found" in str(row.get_attribute("class")).split(),
            )
            for row in rows
        }

    def overlay(self, x: float, y: float) -> list[int]:
        """Red, green, blue and opacity of the overlay at a share of its width and height."""
        script = """const canvas = document.getElementById('overlay'), [x, y] = arguments;
            const pixel = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
            pixel.drawImage(canvas, -Math.floor(x * canvas.width), -Math.floor(y * canvas.height));
            return [...pixel.getImageData(0, 0, 1, 1).data];"""
        return list(self.run(script, x, y))

    def complaints(self, but: str = "\0") -> list[str]:
        """What the browser's console holds since the page was opened."""
        return [entry["message"] for entry in self.browser.get_log("browser") if but not in entry["message"]]

    def drop(self, target: str, files: Sequence[tuple[str, str, str]]) -> None:
        """Let files (name, type, text of their bytes in base64) fall on the page, or paste them."""
        script = """const [type, files] = arguments;
            const data = new DataTransfer();
            for (const [name, mime, bytes] of JSON.parse(files)) {
              data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, {type: mime}));
            }
            const event = type === 'paste'
              ? new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})
              : new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true});
            document.body.dispatchEvent(event);"""
        self.run(script, target, json.dumps(files))
