"""Text can be read on every ground that it stands on, light and dark: the contrast that WCAG 2.2 asks for, 1.4.3 AA."""

import re
from pathlib import Path

import pytest

LEAST_CONTRAST = 4.5
GROUNDS = {
    "ink": ("paper", "card", "tint"),
    "quiet": ("paper", "card"),
    "accent": ("paper", "card", "tint"),
    "on-accent": ("accent",),
    "warn": ("warn-tint",),
    "no": ("card",),
}


@pytest.fixture(scope="module")
def schemes(repository: Path) -> dict[str, dict[str, str]]:
    """The colours by name; dark ones lie over light ones."""
    text = (repository / "service" / "web" / "palette.css").read_text(encoding="utf-8")
    light, found, dark = text.partition("@media (prefers-color-scheme: dark)")
    assert found
    colours = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", part)) for part in (light, dark)]
    return {"light": colours[0], "dark": {**colours[0], **colours[1]}}


def luminance(colour: str) -> float:
    """Of sRGB, relative to white (WCAG 2.2)."""
    digits = colour.removeprefix("#")
    pairs = [2 * digit for digit in digits] if len(digits) == 3 else re.findall("..", digits)
    values = [int(pair, 16) / 255 for pair in pairs]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    """Black on white is 21 to 1; #767676 is the lightest grey that passes on white."""
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") < LEAST_CONTRAST < contrast("#767676", "#fff")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), [(text, ground) for text in GROUNDS for ground in GROUNDS[text]])
def test_text_can_be_read(schemes: dict[str, dict[str, str]], scheme: str, text: str, ground: str) -> None:
    colours = schemes[scheme]
    assert contrast(colours[text], colours[ground]) >= LEAST_CONTRAST
