"""What is wrong with annotation files: one problem each, with file and line, either stopping the run or counted."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from model_training.errors import AnnotationError

OnProblem = Literal["stop", "skip"]


class Kind(StrEnum):
    """The kinds of problem, and of note, that are counted."""

    BROKEN_FILE = "broken file"
    BAD_VALUE = "bad value"
    MISSING_IMAGE = "missing image"
    BROKEN_IMAGE = "broken image"
    UNKNOWN_CLASS = "unknown class"
    DUPLICATE = "duplicate"
    DEGENERATE_BOX = "degenerate box"
    CONTRADICTION = "contradiction"

    # Notes: the data says so, and it is dealt with by rule.
    CLIPPED_BOX = "clipped box"
    SAME_FRAME = "same frame twice"
    LEAKAGE = "train frame moved to test"
    AMBIGUOUS_SCENE = "frame to fit of an ambiguous scene left out"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    kind: Kind
    file: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        return str(AnnotationError(self.file, self.line, self.message))


@dataclass(slots=True)
class Problems:
    """Stops the run at the first problem (`"stop"`), or keeps and counts them all (`"skip"`).

    Notes never stop: they record what was dealt with by a stated rule (a box clipped to its frame, one frame met in
    two sources, a train frame whose scene is also in test).

    >>> problems = Problems("skip")
    >>> problems.report(Kind.BAD_VALUE, Path("labels.csv"), 7, "car is 'yes'; allowed are 0, 1 and empty")
    >>> str(problems.found[0])
    "labels.csv:7: car is 'yes'; allowed are 0, 1 and empty"
    """

    on_problem: OnProblem = "stop"
    found: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    def report(self, kind: Kind, file: Path, line: int | None, message: str) -> None:
        """Keep the problem and return, so that the caller skips; in a run that stops raise AnnotationError."""
        if self.on_problem == "stop":
            raise AnnotationError(file, line, message)
        self.found.append(Problem(kind, file, line, message))

    def note(self, kind: Kind, file: Path, line: int | None, message: str) -> None:
        """Keep what was dealt with by rule; never stops."""
        self.notes.append(Problem(kind, file, line, message))

    def counts(self) -> Mapping[Kind, int]:
        """How many problems of each kind were skipped, most frequent first."""
        return dict(Counter(problem.kind for problem in self.found).most_common())

    def note_counts(self) -> Mapping[Kind, int]:
        """How many notes of each kind were taken, most frequent first."""
        return dict(Counter(note.kind for note in self.notes).most_common())
