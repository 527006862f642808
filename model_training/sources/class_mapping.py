"""What a class of an annotation file says about our labels.

A class maps to one meaning or a list of them:

    "car"        an object of this class is a car
    "?car"       it may be one, so that car is unknown where nothing else shows one
    "ignore"     it says nothing on any label

A label is one of the run's, or one that the format's own table knows.

Names are compared in lower case with everything but letters and digits taken as one separator, so that `Traffic Light`,
`traffic-light` and `traffic_light` are one class. The class `"*"` stands for all that are not named.

The defaults below follow what the data sets' own documentation says that a class holds:

- COCO's and VOC's `person` includes people who ride or sit in vehicles; it is our pedestrian all the same, because the
  files do not tell them apart. BDD100K does: its `rider` rides a bicycle or a motorcycle, so it may be a pedestrian to
  those who learned from COCO and may be a cyclist; neither is certain.
- `truck` holds pick-ups and `other vehicle` vans, which other sources call cars: they may be a car.
- BDD100K's `traffic sign` is any sign: it may be a stop sign.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from model_training.errors import InvalidConfiguration
from service.inference.artifact import LABEL_KEY

IGNORE, MAYBE, ANY_OTHER = "ignore", "?", "*"

Meanings = str | Sequence[str]
Classes = Mapping[str, Meanings]


def class_key(name: str) -> str:
    """A class name as it is compared.

    >>> class_key("Traffic-Light "), class_key("TV/monitor")
    ('traffic_light', 'tv_monitor')
    """
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_") if name != ANY_OTHER else ANY_OTHER


def _as_themselves(names: str) -> dict[str, Meanings]:
    return {class_key(name): class_key(name) for name in names.split(",")}


def _ignored(names: str) -> dict[str, Meanings]:
    return {class_key(name): IGNORE for name in names.split(",")}


COCO: Classes = _as_themselves("""
    bicycle, motorcycle, airplane, bus, train, boat, traffic light, fire hydrant, stop sign, parking meter, bench, bird,
    cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee,
    skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle,
    wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza,
    donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone,
    microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
""") | {"person": ("person", "pedestrian"), "car": "car", "truck": ("truck", "?car")}
"""The 80 classes of COCO instances."""

VOC: Classes = _as_themselves("""
    aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, motorbike, pottedplant,
    sheep, sofa, train, tvmonitor
""") | {"person": ("person", "pedestrian")}
"""The 20 classes of Pascal VOC."""

BDD100K_SURFACES: Classes = _ignored("""
    lane, drivable area, area/drivable, area/alternative, area/unknown, direct, alternative, background, lane/crosswalk,
    lane/double other, lane/double white, lane/double yellow, lane/road curb, lane/single other, lane/single white,
    lane/single yellow, crosswalk, double other, double white, double yellow, road curb, single other, single white,
    single yellow, unlabeled, dynamic, ego vehicle, ground, static, parking, rail track, road, sidewalk, bridge,
    building, fence, garage, guard rail, tunnel, wall, banner, billboard, lane divider, parking sign, pole, polegroup,
    street light, traffic cone, traffic device, traffic sign frame, terrain, vegetation, sky
""")
"""What BDD100K's lane, drivable-area and segmentation sets mark besides objects."""

BDD100K: Classes = {
    **BDD100K_SURFACES,
    **_as_themselves("car, bus, train, bicycle, motorcycle, traffic light, trailer, caravan, pedestrian"),
    "person": ("person", "pedestrian"),
    "other_person": "?pedestrian",
    "rider": ("rider", "?pedestrian", "?cyclist"),
    "truck": ("truck", "?car"),
    "other_vehicle": "?car",
    "bike": "bicycle",
    "motor": "motorcycle",
    "traffic_sign": ("traffic_sign", "?stop_sign"),
}
"""The categories of all BDD100K sets, under their old and new names."""

ROAD_SIGNS: Classes = {
    **_ignored("speedlimit, speed limit, crosswalk"),
    "trafficlight": "traffic_light",
    "traffic_signal": "traffic_light",
    "stop": "stop_sign",
    "stopsign": "stop_sign",
}
"""Names that road-sign and traffic-light exports use."""

COMMON: Classes = {**VOC, **COCO, **ROAD_SIGNS, "people": ("person", "pedestrian"), "pedestrian": "pedestrian"}
"""What is assumed of formats that are no data set of their own (VOC, YOLO)."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The labels of a run that an object of a class shows, and those that it may show."""

    present: frozenset[str] = frozenset()
    maybe: frozenset[str] = frozenset()


class ClassMapping:
    """From class names to the labels of one run.

    `overrides` goes over `defaults`. Unless `overrides` says else, a class that is called like one of the labels shows
    that label, whatever the defaults let it show besides.

    >>> mapping = ClassMapping(COCO, {}, ["car", "stop_sign"])
    >>> mapping.meaning("stop sign")
    Meaning(present=frozenset({'stop_sign'}), maybe=frozenset())
    >>> mapping.meaning("truck")
    Meaning(present=frozenset(), maybe=frozenset({'car'}))
    >>> mapping.meaning("spaceship") is None
    True
    """

    def __init__(self, defaults: Classes, overrides: Classes, labels: Iterable[str]) -> None:
        self.labels = frozenset(labels)
        own = {label: _with(label, defaults.get(label, ())) for label in self.labels}
        self._known = self.labels | {
            meaning.removeprefix(MAYBE) for meanings in defaults.values() for meaning in _listed(meanings)
        }
        merged = dict(defaults) | own | {class_key(name): meanings for name, meanings in overrides.items()}
        self._meanings = {name: self._meaning(name, meanings) for name, meanings in merged.items()}

    def _meaning(self, name: str, meanings: Meanings) -> Meaning:
        said = _listed(meanings)
        if not said or any(not re.fullmatch(rf"\??{LABEL_KEY}", meaning) for meaning in said):
            raise InvalidConfiguration(
                f"class {name!r} maps to {meanings!r}; allowed are a label, ?label, {IGNORE!r} and lists of these"
            )
        # A slip would say nothing of any label, and what is there would count as absent.
        if strangers := sorted({meaning.removeprefix(MAYBE) for meaning in said} - self._known - {IGNORE}):
            raise InvalidConfiguration(
                f"class {name!r} maps to {', '.join(strangers)}, which is neither a label of this run "
                f"({', '.join(sorted(self.labels))}) nor one that the format's own table knows; "
                f"{IGNORE!r} passes a class over"
            )
        maybe = frozenset(meaning[1:] for meaning in said if meaning.startswith(MAYBE))
        return Meaning(self.labels & (frozenset(said) - {IGNORE}), self.labels & maybe)

    def meaning(self, class_name: str) -> Meaning | None:
        """What an object of the class says, or None where no mapping knows the class."""
        return self._meanings.get(class_key(class_name), self._meanings.get(ANY_OTHER))

    def check_known(self, labels: Iterable[str], source: str) -> None:
        """Raise InvalidConfiguration for a label that neither the run nor any class has: a slip of the pen."""
        if strangers := sorted(set(labels) - self._known):
            raise InvalidConfiguration(
                f"source {source} is declared exhaustive on {', '.join(strangers)}, which no class of it shows; "
                f"the labels of this run are {', '.join(sorted(self.labels))}"
            )

    def shown_by(self, class_names: Iterable[str]) -> frozenset[str]:
        """The labels of the run that some of these classes shows for certain."""
        return frozenset().union(*(meaning.present for name in class_names if (meaning := self.meaning(name))))


def _listed(meanings: Meanings) -> tuple[str, ...]:
    return (meanings,) if isinstance(meanings, str) else tuple(meanings)


def _with(label: str, meanings: Meanings) -> tuple[str, ...]:
    return (label, *(meaning for meaning in _listed(meanings) if meaning not in (label, IGNORE)))
