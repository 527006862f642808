"""What a run of the soak saw, and what of it the service should not have done."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import click
from rich.table import Table

# Memory is compared from here on: before, buffers and caches still grow to their size.
WARM_SHARE: Final = 0.2
MAY_GROW: Final = 1.05
P99_MAY_GROW: Final = 1.1


@dataclass(frozen=True, slots=True)
class Phase:
    """What the clients that stay saw while something went on beside them, and how many frames a second that posted."""

    name: str
    answered: int
    p50_ms: float
    p99_ms: float
    beside: dict[str, int]
    frames_per_s: float

    @classmethod
    def of(cls, name: str, seconds: Sequence[float], beside: dict[str, int], frames: int, lasted_s: float) -> "Phase":
        """From the seconds that each answer took. Raises click.ClickException where there are too few."""
        if len(seconds) < 2:
            raise click.ClickException(
                "the clients that stay got too few answers; ask for more --seconds and --requests"
            )
        cuts = statistics.quantiles(seconds, n=100)
        p50_ms, p99_ms = round(cuts[49] * 1000, 2), round(cuts[98] * 1000, 2)
        return cls(name, len(seconds), p50_ms, p99_ms, beside, round(frames / lasted_s, 1))


@dataclass(frozen=True, slots=True)
class Resources:
    """What the service holds of the system."""

    requests: int
    resident_mib: float
    open_files: int


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    phases: list[Phase]
    resources: list[Resources]
    left_over: dict[str, float]

    def faults(self) -> Iterator[str]:
        """What the service should not have done, one sentence each.

        How long those that stay wait beside a crowd that leaves as fast as it can is told, and not held to anything:
        no patient crowd posts as many frames.
        """
        phase = {phase.name: phase for phase in self.phases}
        if any(self.left_over.values()):
            yield f"the service still holds {self.left_over}"
        warm, last = next(one for one in self.resources if one.requests), self.resources[-1]
        if last.resident_mib > MAY_GROW * warm.resident_mib:
            yield f"memory grew from {warm.resident_mib} to {last.resident_mib} MiB"
        # While the crowd is there its connections are open files too: the first look, like the last, is at rest.
        if last.open_files > self.resources[0].open_files:
            yield f"{last.open_files} files are open, {self.resources[0].open_files} were before the crowd"
        leaving_ms, patient_ms = phase["leaving"].p99_ms, phase["patient"].p99_ms
        if leaving_ms > P99_MAY_GROW * patient_ms:
            yield f"p99 is {leaving_ms} ms beside a leaving crowd, {patient_ms} ms beside a patient one"
        for name in phase:
            if broken := {status: count for status, count in phase[name].beside.items() if status.startswith("5")}:
                yield f"{name}: answers {broken}"


def table(report: Report) -> Table:
    """One row a phase."""
    shown = Table(
        "beside",
        "its frames/s",
        "answers of those that stay",
        "p50 ms",
        "p99 ms",
        "what became of the crowd's requests",
    )
    for phase in report.phases:
        beside = ", ".join(f"{name}: {count}" for name, count in sorted(phase.beside.items()))
        numbers = (phase.frames_per_s, phase.answered, phase.p50_ms, phase.p99_ms)
        shown.add_row(phase.name, *(f"{number:g}" for number in numbers), beside)
    return shown
