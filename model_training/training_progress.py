"""What a person sees while networks train: a bar with loss, precision per label and time left; which of how many."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from model_training.trainer import Observer, Progress

Network = TypeVar("Network")


def in_turn(networks: Sequence[Network], console: Console) -> Iterator[Network]:
    """Each of `networks`, announced with its number and the minutes that are left if all take as long."""
    started = time.monotonic()
    for number, network in enumerate(networks):
        passed_minutes = (time.monotonic() - started) / 60
        ahead = f", about {passed_minutes / number * (len(networks) - number):.0f} min left" if number else ""
        console.print(f"network {number + 1} of {len(networks)}: {network}{ahead}")
        yield network


@contextmanager
def shown(labels: tuple[str, ...], console: Console) -> Iterator[Observer]:
    """An observer for `Trainer` that keeps a bar on `console`, and prints a line after every epoch."""
    columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("loss {task.fields[loss]:.3f} {task.fields[figures]}"), console=console) as bar:
        task = bar.add_task("", total=None, epoch=0, loss=math.nan, figures="")
        printed = 0

        def observe(progress: Progress) -> None:
            nonlocal printed
            last = _figures(labels, progress.history[-1]) if progress.history else ""
            bar.update(
                task,
                total=progress.steps,
                completed=progress.step,
                epoch=progress.epoch,
                loss=progress.loss,
                figures=last,
            )
            for row in progress.history[printed:]:
                bar.console.print(f"epoch {row['epoch']:.0f}  loss {row['loss']:.4f}  {_figures(labels, row)}")
            printed = len(progress.history)

        yield observe


def _figures(labels: tuple[str, ...], row: Mapping[str, float]) -> str:
    return "  ".join([f"mAP {row['map']:.3f}", *(f"{label} {row[f'ap_{label}']:.3f}" for label in labels)])
