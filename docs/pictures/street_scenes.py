"""The frames of the documentation's pictures: drawn, as photographs that may be shown are not in this repository."""

from collections.abc import Callable
from typing import Final

from drawn_street import Light, Street
from PIL import Image

DAY = Light(
    (112, 164, 214), (222, 232, 238), (92, 94, 98), (108, 134, 86), ((176, 158, 138), (148, 118, 102), (196, 188, 176))
)
DUSK = Light((82, 96, 138), (238, 190, 150), (66, 66, 74), (72, 84, 66), ((112, 96, 98), (92, 82, 92), (132, 112, 104)))
GREY = Light(
    (164, 172, 180),
    (212, 216, 220),
    (104, 106, 110),
    (112, 128, 98),
    ((158, 150, 142), (134, 120, 112), (178, 172, 166)),
)


def crossing_at_a_stop_sign() -> Image.Image:
    street = Street(DAY, 3)
    street.tree(0.1, 0.7, 0.5)
    street.car(0.42, 0.63, 0.085, (178, 182, 186))
    street.crossing(0.7, 0.78)
    street.person(0.335, 0.775, 0.25, (176, 66, 58))
    street.stop_sign(0.8, 0.3, 0.115, 0.82)
    return street.finished()


def behind_a_car() -> Image.Image:
    street = Street(GREY, 11)
    street.car(0.6, 0.86, 0.3, (150, 34, 38))
    street.car(0.4, 0.64, 0.1, (70, 96, 132))
    street.tree(0.93, 0.72, 0.45)
    return street.finished()


def red_light() -> Image.Image:
    street = Street(DUSK, 5)
    street.car(0.57, 0.74, 0.17, (196, 196, 200))
    street.crossing(0.78, 0.86)
    street.traffic_light(0.845, 0.27, 0.25, 0, 0.86)
    street.traffic_light(0.2, 0.33, 0.18, 0, 0.76)
    return street.finished()


def green_light() -> Image.Image:
    street = Street(DAY, 21)
    street.traffic_light(0.15, 0.25, 0.26, 2, 0.88)
    street.person(0.88, 0.86, 0.4, (60, 92, 140), 0.8)
    street.person(0.8, 0.8, 0.33, (214, 178, 84), 0.4)
    return street.finished()


def empty_street() -> Image.Image:
    street = Street(GREY, 8)
    street.tree(0.08, 0.74, 0.6)
    street.tree(0.9, 0.7, 0.45)
    return street.finished()


def sign_at_dusk() -> Image.Image:
    street = Street(DUSK, 17)
    street.stop_sign(0.2, 0.34, 0.1, 0.84)
    street.car(0.62, 0.7, 0.14, (46, 52, 60))
    return street.finished()


def parked_cars() -> Image.Image:
    street = Street(DAY, 31)
    for x, ground, size, colour in (
        (0.62, 0.63, 0.1, (120, 36, 40)),
        (0.7, 0.71, 0.15, (206, 204, 198)),
        (0.85, 0.88, 0.27, (52, 88, 128)),
    ):
        street.car(x, ground, size, colour)
    street.person(0.2, 0.85, 0.36, (92, 110, 76), 0.7)
    return street.finished()


def busy_crossing() -> Image.Image:
    street = Street(GREY, 40)
    street.traffic_light(0.86, 0.28, 0.22, 0, 0.82)
    street.crossing(0.72, 0.84)
    for x, coat in ((0.3, (176, 76, 54)), (0.44, (64, 76, 112)), (0.61, (196, 180, 150))):
        street.person(x, 0.8, 0.32, coat, 0.9)
    return street.finished()


FRAMES: Final[dict[str, Callable[[], Image.Image]]] = {
    "crossing.jpg": crossing_at_a_stop_sign,
    "behind a car.jpg": behind_a_car,
    "red light.jpg": red_light,
    "green light.jpg": green_light,
    "empty street.jpg": empty_street,
    "sign at dusk.jpg": sign_at_dusk,
    "parked cars.jpg": parked_cars,
    "busy crossing.jpg": busy_crossing,
}
