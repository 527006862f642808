"""A street that is drawn, for pictures in the documentation."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
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

    def finished(self) -> Image.Image:
        """The frame in its size, with a little of a sensor's softness and noise."""
        small = self._image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.7))
        noise = Image.effect_noise((WIDTH, HEIGHT), 14).convert("RGB")
        return Image.blend(small, noise, 0.045)

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

    def person(self, x: float, ground: float, size: float, coat: Colour, stride: float = 0.5) -> None:
        """Walking; `size` is the height as a share of the frame's."""
        u = size * ASPECT
        trousers, skin = (44, 48, 62), (206, 162, 134)
        self._shadow(x, ground, u * 0.16, size * 0.02)
        for side in (-1, 1):
            foot = x + side * u * 0.14 * stride
            self.polygon(
                [
                    (x - u * 0.07, ground - size * 0.5),
                    (x + u * 0.07, ground - size * 0.5),
                    (foot + u * 0.055, ground),
                    (foot - u * 0.055, ground),
                ],
                trousers,
            )
            self.box(foot - u * 0.05, ground - size * 0.035, foot + u * 0.09, ground, (30, 30, 32))
            hand = x + side * u * 0.16
            self.polygon(
                [
                    (x + side * u * 0.09, ground - size * 0.82),
                    (x + side * u * 0.13, ground - size * 0.8),
                    (hand + u * 0.02, ground - size * 0.46),
                    (hand - u * 0.02, ground - size * 0.46),
                ],
                darker(coat, 0.8),
            )
        self.box(x - u * 0.11, ground - size * 0.85, x + u * 0.11, ground - size * 0.44, coat, size * 0.04)
        self.box(x - u * 0.03, ground - size * 0.89, x + u * 0.03, ground - size * 0.83, skin)
        self.ellipse(x, ground - size * 0.93, size * 0.065, skin)
        self.polygon(
            [
                (x - u * 0.066, ground - size * 0.935),
                (x - u * 0.05, ground - size * 1.0),
                (x + u * 0.05, ground - size * 1.0),
                (x + u * 0.066, ground - size * 0.935),
            ],
            (52, 38, 30),
        )

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

    def tree(self, x: float, ground: float, size: float) -> None:
        self.box(x - size * 0.02, ground - size * 0.5, x + size * 0.02, ground, (84, 66, 52))
        for _ in range(26):
            angle, reach = self._random.uniform(0, math.tau), self._random.random() ** 0.5 * size * 0.26
            green = int(self._random.integers(64, 108))
            self.ellipse(
                x + reach * math.cos(angle) * 0.66,
                ground - size * 0.68 + reach * math.sin(angle),
                size * 0.09,
                (green - 24, green + 12, green - 40),
            )

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
