"""What the HTML reports share: their look, and figures and pictures as parts of the page itself."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
from matplotlib.axes import Axes
from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a page and of the plots on it."""

    ink: str
    paper: str
    positive: str
    negative: str
    unknown: str


LIGHT: Final = Theme(ink="#1b1f24", paper="#ffffff", positive="#1a7f64", negative="#c4632d", unknown="#d5d9df")
DARK: Final = Theme(ink="#e6e8eb", paper="#16191d", positive="#3fb893", negative="#e08b57", unknown="#3a4048")
THEMES: Final = {"light": LIGHT, "dark": DARK}


def rendered(template: str, **values: Any) -> str:
    """A template of this folder, with `values` in it, as one self-contained page; `title` is the page's."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["thousands"] = lambda count: f"{count:,}"
    return environment.get_template(template).render(themes=THEMES, **values)


def data_uri(data: bytes, media_type: str) -> str:
    """Bytes as an address that needs no file."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def png(figure: Figure) -> str:
    """A figure as a picture's address."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
    return data_uri(buffer.getvalue(), "image/png")


def axes_of(width_in: float, height_in: float, theme: Theme) -> tuple[Figure, Axes]:
    """A figure of one theme with axes that have no frame."""
    figure = Figure(figsize=(width_in, height_in), facecolor=theme.paper, layout="constrained")
    axes = figure.add_subplot(facecolor=theme.paper)
    axes.tick_params(colors=theme.ink, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure, axes
