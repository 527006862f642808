"""A street that is drawn, for pictures in the documentation."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Final, ParamSpec

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

WIDTH, HEIGHT = 960, 640
# Drawn larger and made smaller, which makes edges smooth.
FINER: Final = 2
HORIZON: Final = 0.52
# Shares of the height that are as long as a share of the width.
ASPECT: Final = HEIGHT / WIDTH

Colour = tuple[int, int, int]
Point = tuple[float, float]

GLASS: Final[Sequence[Colour]] = ((70, 82, 96), (92, 106, 120), (58, 66, 78))


@dataclass(frozen=True)
class Light:
    """The hour of a scene."""

    sky: Colour
    haze: Colour
    road: Colour
    grass: Colour
    walls: Sequence[Colour]


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """A colour that is by `share` the other one."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float) -> Colour:
    """So much of a colour's light."""
    return mixed((0, 0, 0), colour, share)


P = ParamSpec("P")


def shaded(draw: Callable[Concatenate["Street", P], None]) -> Callable[Concatenate["Street", P], None]:
    """What it draws is one thing: lit from the left and from above, and a little uneven."""

    @wraps(draw)
    def shade(street: "Street", *args: P.args, **kwargs: P.kwargs) -> None:
        with street.thing():
            draw(street, *args, **kwargs)

    return shade


class Street:
    """One drawn frame; places are shares of its width and height."""

    def __init__(self, light: Light, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._size = (WIDTH * FINER, HEIGHT * FINER)
        self._image = Image.new("RGB", self._size)
        self._draw = ImageDraw.Draw(self._image)
        self._paint_sky(light)
        self._paint_houses(light)
        self._paint_ground(light)
        self._weather()

    def finished(self) -> Image.Image:
        """The frame in its size, with a little of a sensor's softness and noise."""
        small = self._image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.7))
        noise = Image.effect_noise((WIDTH, HEIGHT), 14).convert("RGB")
        return Image.blend(small, noise, 0.045)

    @contextmanager
    def thing(self) -> Iterator[None]:
        """What is drawn meanwhile is shaded as one thing."""
        layer, behind = Image.new("RGBA", self._size), self._draw
        self._draw = ImageDraw.Draw(layer)
        yield
        self._draw = behind
        box = layer.getbbox()
        part = layer.crop(box)
        pixels = np.asarray(part, np.float32)[..., :3]
        height, width = pixels.shape[:2]
        lit = np.linspace(1.12, 0.78, width) * np.linspace(1.1, 0.86, height)[:, np.newaxis]
        shaded = pixels * (lit * self._uneven(width, height, 0.05))[..., np.newaxis]
        edge = part.getchannel("A").filter(ImageFilter.GaussianBlur(FINER))
        self._image.paste(Image.fromarray(shaded.clip(0, 255).astype(np.uint8)), box[:2], edge)

    def _weather(self) -> None:
        """Stains and grain, less of them in the sky: nothing in a street has one colour."""
        width, height = self._size
        stains = self._uneven(width, height, 0.035)
        stains[: round(height * HORIZON)] **= 0.35
        pixels = np.asarray(self._image, np.float32) * stains[..., np.newaxis]
        self._image.paste(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))

    def _uneven(self, width: int, height: int, strength: float) -> NDArray[np.float64]:
        """Factors around 1 with patches of many sizes."""
        factors = np.ones((height, width))
        for patch in (4, 12, 40, 120):
            coarse = self._random.normal(0, strength, (height // patch + 2, width // patch + 2)).astype(np.float32)
            factors += Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        return factors

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self._draw.polygon([(x * self._size[0], y * self._size[1]) for x, y in points], colour)

    def ellipse(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A circle, its radius a share of the height."""
        centre_x, centre_y, r = x * self._size[0], y * self._size[1], radius * self._size[1]
        self._draw.ellipse((centre_x - r, centre_y - r, centre_x + r, centre_y + r), colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, round_: float = 0) -> None:
        width, height = self._size
        corners = (left * width, top * height, right * width, bottom * height)
        self._draw.rounded_rectangle(corners, round_ * height, colour)

    @shaded
    def car(self, x: float, ground: float, size: float, colour: Colour) -> None:
        """From behind; `size` is its height as a share of the frame's."""
        w, dark = size * 1.3 * ASPECT, (26, 28, 32)
        half, top = w / 2, ground - size
        self._shadow(x, ground, half * 1.1, size * 0.08)
        for side in (-1, 1):
            wheel = x + side * half * 0.72
            self.box(wheel - w * 0.09, ground - size * 0.24, wheel + w * 0.09, ground, dark, size * 0.05)
        self.polygon(
            [
                (x - half * 0.7, top),
                (x + half * 0.7, top),
                (x + half * 0.92, top + size * 0.42),
                (x - half * 0.92, top + size * 0.42),
            ],
            colour,
        )
        self.polygon(
            [
                (x - half * 0.6, top + size * 0.07),
                (x + half * 0.6, top + size * 0.07),
                (x + half * 0.76, top + size * 0.38),
                (x - half * 0.76, top + size * 0.38),
            ],
            (58, 70, 84),
        )
        self.box(x - half, top + size * 0.4, x + half, ground - size * 0.14, colour, size * 0.07)
        self.box(
            x - half * 0.96,
            ground - size * 0.3,
            x + half * 0.96,
            ground - size * 0.12,
            darker(colour, 0.72),
            size * 0.04,
        )
        for side in (-1, 1):
            lamp = x + side * half * 0.8
            self.box(
                lamp - half * 0.15, top + size * 0.47, lamp + half * 0.15, top + size * 0.6, (198, 34, 30), size * 0.02
            )
        self.box(x - half * 0.26, top + size * 0.52, x + half * 0.26, top + size * 0.63, (236, 236, 230))

    @shaded
    def person(self, x: float, ground: float, size: float, coat: Colour, stride: float = 0.5) -> None:
        """Walking; `size` is the height as a share of the frame's."""
        u = size * ASPECT
        trousers, skin, hair = (38, 42, 56), (196, 150, 122), (44, 34, 28)

        def part(colour: Colour, *points: Point) -> None:
            """Corners in shares of the height: to the right of the middle, and up from the ground."""
            self.polygon([(x + across * u, ground - up * size) for across, up in points], colour)

        self._shadow(x, ground, u * 0.2, size * 0.02)
        for side, colour in ((-1, darker(trousers, 0.75)), (1, trousers)):
            knee, foot = side * 0.07 * stride + 0.02, side * 0.17 * stride
            part(colour, (-0.075, 0.52), (0.075, 0.52), (knee + 0.055, 0.27), (knee - 0.05, 0.27))
            part(colour, (knee - 0.05, 0.28), (knee + 0.055, 0.28), (foot + 0.035, 0.03), (foot - 0.04, 0.03))
            part((24, 22, 24), (foot - 0.045, 0.045), (foot + 0.03, 0.045), (foot + 0.085, 0.0), (foot - 0.045, 0.0))
        for side, colour in ((1, darker(coat, 0.7)), (-1, darker(coat, 0.88))):
            elbow, hand = side * (0.14 + 0.02 * stride), side * (0.13 + 0.07 * stride)
            part(colour, (side * 0.07, 0.83), (side * 0.125, 0.8), (elbow + 0.03, 0.62), (elbow - 0.03, 0.62))
            part(colour, (elbow - 0.03, 0.63), (elbow + 0.03, 0.63), (hand + 0.022, 0.47), (hand - 0.022, 0.47))
            self.ellipse(x + hand * u, ground - 0.455 * size, size * 0.024, skin)
        part(
            coat,
            (-0.05, 0.855),
            (0.05, 0.855),
            (0.125, 0.81),
            (0.1, 0.62),
            (0.11, 0.46),
            (-0.11, 0.46),
            (-0.1, 0.62),
            (-0.125, 0.81),
        )
        part(darker(coat, 0.75), (-0.008, 0.84), (0.008, 0.84), (0.012, 0.46), (-0.012, 0.46))
        part(skin, (-0.03, 0.89), (0.03, 0.89), (0.04, 0.84), (-0.04, 0.84))
        self.ellipse(x, ground - 0.925 * size, size * 0.055, skin)
        self.ellipse(x, ground - 0.945 * size, size * 0.057, hair)
        part(skin, (-0.048, 0.935), (0.048, 0.935), (0.036, 0.885), (0.0, 0.87), (-0.036, 0.885))

    @shaded
    def stop_sign(self, x: float, y: float, radius: float, ground: float) -> None:
        self.box(x - radius * 0.07 * ASPECT, y, x + radius * 0.07 * ASPECT, ground, (128, 130, 132))
        for size, colour in ((1.0, (240, 240, 238)), (0.92, (192, 26, 34))):
            corners = [math.pi / 8 + k * math.pi / 4 for k in range(8)]
            self.polygon(
                [(x + radius * size * ASPECT * math.cos(a), y + radius * size * math.sin(a)) for a in corners], colour
            )
        font = ImageFont.load_default(radius * 0.66 * self._size[1])
        place = (x * self._size[0], y * self._size[1])
        self._draw.text(
            place,
            "STOP",
            (244, 244, 242),
            font,
            anchor="mm",
            stroke_width=max(1, round(radius * 42)),
            stroke_fill=(244, 244, 242),
        )

    @shaded
    def traffic_light(self, x: float, y: float, size: float, lit: int, ground: float) -> None:
        """`size` is the height of the housing; `lit` is 0 red, 1 amber, 2 green."""
        half = size * 0.19
        self.box(x - size * 0.035 * ASPECT, y, x + size * 0.035 * ASPECT, ground, (74, 78, 80))
        self.box(
            x - half * 1.25 * ASPECT,
            y - size * 0.55,
            x + half * 1.25 * ASPECT,
            y + size * 0.55,
            (28, 30, 32),
            size * 0.05,
        )
        for place, bright in enumerate(((255, 58, 44), (255, 190, 40), (70, 230, 130))):
            lamp_y = y + (place - 1) * size * 0.33
            self.ellipse(x, lamp_y, half * 0.74, bright if place == lit else darker(bright, 0.25))

    @shaded
    def tree(self, x: float, ground: float, size: float) -> None:
        """`size` is its height as a share of the frame's."""
        self.box(x - size * 0.02, ground - size * 0.5, x + size * 0.02, ground, (74, 60, 50))
        for _ in range(900):
            angle, reach = self._random.uniform(0, math.tau), self._random.random() ** 0.5
            up = math.sin(angle) * reach
            shade = (0.55 - 0.35 * up) * self._random.uniform(0.7, 1.2)
            leaf = (round(96 * shade), round(108 * shade), round(62 * shade))
            place = x + size * 0.19 * reach * math.cos(angle), ground - size * 0.68 + size * 0.3 * up
            self._blot(*place, size * self._random.uniform(0.012, 0.035), leaf)

    def _blot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A small shape without a regular outline."""
        reaches = radius * self._random.uniform(0.5, 1.3, 7)
        corners = [(angle, reach) for angle, reach in zip(np.linspace(0, math.tau, 8), reaches, strict=False)]
        self.polygon([(x + r * math.cos(a) * ASPECT, y + r * math.sin(a)) for a, r in corners], colour)

    def crossing(self, top: float, bottom: float) -> None:
        for stripe in range(-6, 7):
            far, near = 0.5 + stripe * 0.062, 0.5 + stripe * 0.09
            self.polygon(
                [(far - 0.016, top), (far + 0.016, top), (near + 0.024, bottom), (near - 0.024, bottom)],
                (222, 222, 214),
            )

    def _shadow(self, x: float, ground: float, half: float, height: float) -> None:
        width, tall = self._size
        self._draw.ellipse(
            ((x - half) * width, (ground - height) * tall, (x + half) * width, (ground + height) * tall), (48, 49, 53)
        )

    def _paint_sky(self, light: Light) -> None:
        rows = round(self._size[1] * (HORIZON + 0.03))
        for row in range(rows):
            share = row / rows
            colour = mixed(light.sky, light.haze, share**1.3)
            self._draw.line((0, row, self._size[0], row), colour)

    def _paint_houses(self, light: Light) -> None:
        """Two rows of fronts that run to the vanishing point."""
        for side in (-1, 1):
            edges = [0.5, 0.36, 0.25, 0.165, 0.1, 0.06]
            for near, far in itertools.pairwise(edges):
                tall, wall = self._random.uniform(0.8, 1.25), light.walls[self._random.integers(len(light.walls))]
                xs, tops = (0.5 + side * near, 0.5 + side * far), (HORIZON - near * tall, HORIZON - far * tall)
                feet = (HORIZON + near * 0.32, HORIZON + far * 0.32)
                self.polygon(
                    [(xs[0], tops[0]), (xs[1], tops[1]), (xs[1], feet[1]), (xs[0], feet[0])],
                    darker(wall, 0.86 if side < 0 else 1),
                )
                self._paint_windows(xs, tops, feet)

    def _paint_windows(self, xs: tuple[float, float], tops: tuple[float, float], feet: tuple[float, float]) -> None:
        def at(along: float, up: float) -> Point:
            top, foot = tops[0] + (tops[1] - tops[0]) * along, feet[0] + (feet[1] - feet[0]) * along
            return xs[0] + (xs[1] - xs[0]) * along, top + (foot - top) * up

        for floor in (0.12, 0.36, 0.6):
            for column in (0.14, 0.42, 0.7):
                glass = GLASS[self._random.integers(len(GLASS))]
                corners = [
                    at(column, floor),
                    at(column + 0.16, floor),
                    at(column + 0.16, floor + 0.14),
                    at(column, floor + 0.14),
                ]
                self.polygon(corners, glass)

    def _paint_ground(self, light: Light) -> None:
        h = HORIZON
        self.polygon(
            [(0, h + 0.12), (0.47, h), (0.53, h), (1, h + 0.12), (1, 1), (0, 1)],
            mixed(light.road, (255, 255, 255), 0.33),
        )
        self.polygon([(0, 0.72), (0.3, h + 0.09), (0.36, h + 0.09), (0, 0.86)], light.grass)
        self.polygon([(0.485, h), (0.515, h), (1.12, 1), (-0.12, 1)], light.road)
        for dash in (0.03, 0.09, 0.19, 0.34, 0.56, 0.86):
            near = min(1.0, dash * 1.45)
            ys, widths = (h + dash * (1 - h), h + near * (1 - h)), (0.0105 * dash, 0.0105 * near)
            self.polygon(
                [
                    (0.5 - widths[0], ys[0]),
                    (0.5 + widths[0], ys[0]),
                    (0.5 + widths[1], ys[1]),
                    (0.5 - widths[1], ys[1]),
                ],
                (226, 224, 208),
            )
