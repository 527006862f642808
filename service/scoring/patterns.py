"""Patterns such as `photos/**/*.jpg`, matched folder by folder as the names are asked for."""

import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

ANY_DEPTH: Final = "**"

# How far a name has come: the part of the pattern that the next name has to match; several, as ** takes any number.
States = frozenset[int]


class Pattern:
    """A pattern as a shell reads it: `*`, `?`, `[ab]`, and `**` for folders at every depth.

    A name that begins with a dot is matched where the pattern has the dot. A link to a folder is entered, and matched,
    in front of the first `**` only: links may lead upwards.
    """

    def __init__(self, text: str) -> None:
        parts = Path(text).parts
        exact = next((number for number, part in enumerate(parts) if glob.escape(part) != part), len(parts))
        self._base, self._parts = str(Path(*parts[:exact])), parts[exact:]
        self._rules = [re.compile(fnmatch.translate(part)) for part in self._parts]
        self._end = len(self._parts)
        self._linked = self._parts.index(ANY_DEPTH) if ANY_DEPTH in self._parts else self._end
        self._folders_only = text.endswith(os.sep)

    def matches(self) -> Iterator[tuple[str, bool]]:
        """The names, each once, a folder before what lies in it; and whether a folder that holds it was one of them.

        Folders inside one that was told are left out. One that cannot be listed is told as if it matched.
        """
        start = self._reached([0])
        if not self._parts or not os.path.isdir(self._base):  # noqa: PTH112 - millions of names: strings, no Path objects
            return
        # As everywhere, ** alone is what lies here and not the folder itself.
        told = self._end in start and self._base != "."
        if told:
            yield self._base, False
        yield from self._below(self._base, start, within=told)

    def _below(self, folder: str, states: States, within: bool) -> Iterator[tuple[str, bool]]:
        try:
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError:
            yield from [] if within else [(folder, False)]
            return
        for entry in entries:
            path = os.path.join(folder, entry.name) if folder != "." else entry.name  # noqa: PTH118
            is_folder, is_link = _kind(entry)
            before = frozenset(state for state in states if state < self._linked) if is_folder and is_link else states
            last = {target for state in before for target in self._targets(state, entry.name)}
            after = self._reached(last)
            matched = self._end in after if is_folder else self._end in last and not self._folders_only
            if matched and not (within and is_folder):
                yield path, within
            if is_folder and after - {self._end}:
                yield from self._below(path, after, within or matched)

    def _targets(self, state: int, name: str) -> Iterable[int]:
        """Where a name leads to from there."""
        part = self._parts[state] if state < self._end else ""
        if name.startswith(".") and not part.startswith("."):
            return ()
        if part == ANY_DEPTH:
            return state, state + 1
        return (state + 1,) if part and self._rules[state].match(name) else ()

    def _reached(self, states: Iterable[int]) -> States:
        """Those and the ones behind a `**`, which may stand for no folder at all."""
        reached = set(states)
        for state in range(self._end):
            if state in reached and self._parts[state] == ANY_DEPTH:
                reached.add(state + 1)
        return frozenset(reached)


def _kind(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Whether it is a folder, at the end of all links, and whether it is a link; a ring of links is neither."""
    try:
        return entry.is_dir(), entry.is_symlink()
    except OSError:
        return False, False
