"""Draws the documentation's picture of a report: its page from a heading on, as far as it shows no photograph.

    make report-pictures DATA=FOLDER EVALUATION=evaluation.html

The photographs that a report shows are other people's, so a picture that would hold one is refused.
"""

from pathlib import Path
from typing import Final

import click
from browser import browser, keep
from selenium import webdriver
from selenium.webdriver.common.by import By

WIDTH: Final = 1180
SPACE_PX: Final = 16
"""Left above the heading that a picture begins with."""


@click.command()
@click.argument("page", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--heading", help="Begin with this heading; without it with the page.")
@click.option("--height", default=720, show_default=True, help="Pixels of the page that are shown.")
def main(page: Path, target: Path, heading: str | None, height: int) -> None:
    with browser(WIDTH, height) as driver:
        driver.get(page.absolute().as_uri())
        if heading:
            scroll_to(driver, heading)
        if seen := photographs(driver, height):
            raise click.ClickException(f"{seen} photographs of {page} would be seen: choose another heading or height")
        keep(driver, target)


def scroll_to(driver: webdriver.Chrome, heading: str) -> None:
    found = [element for element in driver.find_elements(By.CSS_SELECTOR, "h1, h2, h3") if element.text == heading]
    if not found:
        raise click.ClickException(f"no heading is {heading!r}")
    driver.execute_script("scrollTo(0, arguments[0].getBoundingClientRect().top - arguments[1])", found[0], SPACE_PX)


def photographs(driver: webdriver.Chrome, height: int) -> int:
    """JPEG images in the window; plots are PNG or SVG."""
    images = driver.find_elements(By.CSS_SELECTOR, "img[src^='data:image/jpeg']")
    boxes = [driver.execute_script("return arguments[0].getBoundingClientRect().toJSON()", image) for image in images]
    return sum(box["top"] < height and box["bottom"] > 0 for box in boxes)


if __name__ == "__main__":
    main()
