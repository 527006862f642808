"""The epochs of a run as a plot: loss, and average precision on validation rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from model_training.whole_files import written_whole


def save_curves(history: Sequence[Mapping[str, float]], labels: tuple[str, ...], path: Path) -> None:
    """Write a PNG with the training loss on the left and average precision per label on the right.

    Rows are those of `Trainer.history`. An epoch in which a precision is NaN is a gap in its line.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss, precision = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    # Without markers the line of a single epoch would be invisible.
    loss.plot(epochs, [row["loss"] for row in history], ".-")
    loss.set(xlabel="epoch", ylabel="training loss per frame")
    for label in labels:
        precision.plot(epochs, [row[f"ap_{label}"] for row in history], ".-", label=label)
    precision.plot(epochs, [row["map"] for row in history], "k.--", label="mean")
    precision.set(xlabel="epoch", ylabel="average precision, validation rows", ylim=(0, 1.01))
    precision.legend(loc="lower right")
    with written_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=120, format="png")
