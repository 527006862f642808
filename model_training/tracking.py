"""How far long work has come, for whoever wants to see it."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


class Tracking(Protocol):
    """Passes items on one by one and may show how many of `total` have been asked for, or how fast they come."""

    def __call__(self, items: Iterable[Item], description: str, total: int | None) -> Iterable[Item]: ...


def untracked(items: Iterable[Item], description: str, total: int | None) -> Iterable[Item]:  # noqa: ARG001 - a Tracking
    """Passes items on and shows nothing."""
    return items


def tracked_on(console: Console) -> Tracking:
    """A Tracking with a bar on `console`, where that is a terminal; the bar goes when its items end."""

    def tracked(items: Iterable[Item], description: str, total: int | None) -> Iterable[Item]:
        shown = console.is_terminal
        return track(items, description, total=total, console=console, transient=True, disable=not shown)

    return tracked
