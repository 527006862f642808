"""Two model files of one recipe: learned from the same data, figures within the printed intervals?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import onnx

from service.inference.artifact import Figure, ModelMetadata

METRIC: Final = "average_precision"
"""What a training run is held to; calibration rests on few frames and moves more."""
PRINTED_DIGITS: Final = 3
"""Of a figure in a card: where each resample ranked without a mistake, the interval has no width."""


def disagreements(again: ModelMetadata, published: ModelMetadata) -> Iterator[str]:
    """What keeps `again` from being a reproduction of `published`, one sentence each.

    Its data hash must be the same, and each of its average precisions must lie within the published 95 % interval of
    the same test set and label, as cards print them. Training on other machines, or with other numbers of threads,
    adds in another order, so that equal weights cannot be asked for; `has_same_weights` tells where they are.
    """
    if again.training_data.hash != published.training_data.hash:
        yield f"it learned from other data: {again.training_data.hash} instead of {published.training_data.hash}"
    measured = {_place(figure): figure.value for figure in again.figures if figure.metric == METRIC}
    for figure in (figure for figure in published.figures if figure.metric == METRIC):
        value = measured.get(_place(figure))
        where = f"average precision of {figure.label} on {figure.test_set}"
        if value is None:
            yield f"the {where} was not measured; published are {figure.value} ({figure.low} to {figure.high})"
        elif not _printed(figure.low) <= _printed(value) <= _printed(figure.high):
            yield f"the {where} is {value}; published are {figure.value} ({figure.low} to {figure.high})"


def has_same_weights(again: Path, published: Path) -> bool:
    """Whether both graphs have the same initializers, bit for bit; what else the files say may differ."""
    return _tensors(again) == _tensors(published)


def _tensors(path: Path) -> dict[str, bytes]:
    return {tensor.name: tensor.SerializeToString(deterministic=True) for tensor in onnx.load(path).graph.initializer}


def _printed(value: float) -> float:
    return round(value, PRINTED_DIGITS)


def _place(figure: Figure) -> tuple[str, str]:
    return figure.test_set, figure.label
