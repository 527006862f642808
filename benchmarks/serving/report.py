"""results.json, and the part of RESULTS.md between its markers."""

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
from pydantic import TypeAdapter

from benchmarks.serving.contenders import AS_SHIPPED, BENTOML, LIMIT, OURS
from benchmarks.serving.figures import (
    Figure,
    Value,
    cpu_ms,
    frames_per_s,
    loads,
    median,
    modes,
    p50_ms,
    ratio,
)
from benchmarks.serving.overload import HALF, NINE_TENTHS, OVERLOAD, OpenLoop
from benchmarks.serving.plan import KEY_CLIENTS, THROUGHPUT_CLIENTS, Cell, Plan
from benchmarks.serving.profile import ThreadCpu
from benchmarks.serving.provenance import Run
from benchmarks.serving.rounds import Measurement, Record

SECTION: Final = "serving"
MIB: Final = 2**20
MISSING: Final = "-"
PROFILE: Final = "Where the service's time goes, 16 clients"
WHERE: Final = "What the service does in it is told [below](#where-the-services-time-goes-16-clients)."
Entry = Callable[[Sequence[Measurement], str, Cell], str]
HOW_TO_READ: Final = """\
All servers but *as shipped* run the float32 file, all but the naive endpoint with the same decode, one ONNX Runtime
thread for each core; how each is set up, and why, is told in `serving/peers/`. Ours has no flags as shipped; with
float32 it writes no line for each request, as nobody else does, and its queue takes what 256 clients send at once
(`serving/contenders.py` has the flags). mosec reads raw bodies only. Within a round everybody meets the same load
within seconds, in an order drawn anew, while this benchmark keeps the others stopped (SIGSTOP); who does not come back
from such a pause, which no user would impose, is told below, started again and measured again. Ratios are medians over
rounds with a 95 % interval. The constant rates, of 1280x720 raw bodies, come after the rounds: shares of what each
server answers to 16 clients right before, the best of three times with new connections each; each alone, since a
stopped server would owe what comes meanwhile, and ours once more in turns, which is what is asked of it: a capacity
that is the best of three, minutes ago, is more than what the machine can right before and after. There ours with
float32 takes 32 frames a request instead of 64, since each takes twice as long, and its queue is as much shorter.
*Recovered* is how long after the overload latency is back to normal: from then on, for a whole second, the median of
each quarter of a second is at most the p99 of the half rate before it, where who is not answered with 200 waits for
ever. The load generator runs on the same cores, and what it costs is told; refused, it asks again at once, whatever
Retry-After says. Latencies of the closed loop count refusals (429) too; where these outnumber the answers the median
is left out. 256 clients are measured for three times as long as fewer, since their first seconds only fill queues. CPU
time is the user and system time of all processes of a service, *memory* what they hold when a page that several share
counts once (PSS), *peak* when it counts in each (RSS), as what memory grows by does. *Within its interval*: another
run may decide otherwise. No server was timed before its answers were those of the in-process loop."""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that a run found out; `names` are the contenders in their order, `peers` those of others."""

    run: Run
    plan: Plan
    names: tuple[str, ...]
    peers: tuple[str, ...]
    record: Record
    open_loops: list[OpenLoop]
    figures: list[Figure]
    profile: list[tuple[str, float]]
    thread_cpu: ThreadCpu | None = None

    def key_cell(self, clients: int) -> Cell:
        """Where something is asked of the service."""
        return Cell(self.plan.key_size, "raw", clients)


def write_json(results: Results, path: Path) -> None:
    """All of it."""
    path.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Results:
    """What `write_json` wrote."""
    return TypeAdapter(Results).validate_json(path.read_bytes())


def page(results: Results, plot: str) -> str:
    """The report as Markdown; `plot` is the name of the picture beside it."""
    sections = [
        _head(results.run),
        f"![Frames per second of the in-process limit, and latency under load]({plot})",
        _section("What is asked of the service", _asked(results.figures)),
        _section("What was not reached", _not_reached(results)),
        _section(f"{results.plan.key_size}, raw bodies: the heart of it", _heart(results)),
        _section("Closed loop: answered frames per second", _grid(results, _throughput_entry)),
        _section("Closed loop: median latency in ms", _grid(results, _latency_entry)),
        _section("Open loop: latency counts from the intended time of sending", _open(results.open_loops)),
        _section("Overload in turns: capacity, 300 % of it, capacity, and so on", _turns(results.open_loops)),
        _section(PROFILE, _profile(results)),
        _section("What failed", _problems(results.record.problems)),
    ]
    return _paragraphs(*sections)


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _head(run: Run) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return (
        "## Under load, beside the machine's limit and other servers\n\n"
        f"    {run.command}\n\n"
        f"{run.date}, {run.minutes:.0f} minutes, {run.cores} cores of {run.cpu}, {run.memory_gib:.0f} GiB, load "
        f"average {run.load_before:.2f} before the run. Model {run.model}; frames from {run.frames}. {versions}.\n\n"
        f"{HOW_TO_READ}"
    )


def _section(title: str, text: str) -> str:
    return f"### {title}\n\n{text}" if text else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def _asked(figures: Sequence[Figure]) -> str:
    rows = [(one.name, one.asked, one.seen, _verdict(one)) for one in figures]
    return _table(("", "asked", "seen", "reached"), rows)


def _verdict(figure: Figure) -> str:
    return ("yes" if figure.reached else "**no**") + (", within its interval" if figure.within_noise else "")


def _not_reached(results: Results) -> str:
    missed = [one for one in results.figures if not one.reached]
    if not missed:
        return "All that is asked was reached." if results.figures else ""
    lines = "\n".join(f"- {one.name}: asked for {one.asked}, seen {one.seen}" for one in missed)
    return _paragraphs(lines, _cpu_of_frames(results), WHERE if _profile(results) else "")


def _cpu_of_frames(results: Results) -> str:
    names = [name for name in (LIMIT, OURS, AS_SHIPPED) if name in results.names]
    rows = [[f"{clients} clients", *_cpu_row(results, clients, names)] for clients in THROUGHPUT_CLIENTS]
    return _table(["CPU ms a frame", *names, f"the client of {OURS}"], rows)


def _cpu_row(results: Results, clients: int, names: Sequence[str]) -> list[str]:
    seen, cell = results.record.measurements, results.key_cell(clients)
    client = median(seen, OURS, cell, lambda load: load.client_cpu_ms_per_frame)
    return [*(_number(median(seen, name, cell, cpu_ms), 2) for name in names), _number(client, 2)]


def _cpu_by_thread(results: Results) -> str:
    if results.thread_cpu is None:
        return ""
    groups = results.thread_cpu.groups
    head = ["CPU ms a frame, 16 clients", *groups, "together", "in-process loop right before"]
    figures = [*groups.values(), sum(groups.values()), results.thread_cpu.in_process]
    return _table(head, [[OURS, *(_number(figure, 2) for figure in figures)]])


def _bentoml(results: Results) -> str:
    cells = [results.key_cell(clients) for clients in THROUGHPUT_CLIENTS]
    found = modes(results.record.measurements, BENTOML, cells)
    if found is None:
        return ""
    slow, fast = (f"{statistics.median(rates):.1f} ({len(rates)} rounds)" for rates in (found.slow, found.fast))
    return (
        f"{BENTOML} answers in two modes, from round to round: {slow} or {fast} "
        f"frames/s, {found.fast[-1]:.1f} at best, as if one of its workers were idle in the slower one. Its medians "
        "may be of either; its best rounds are what to compare with who knows how to avoid that. Why it happens was "
        "not found out."
    )


def _heart(results: Results) -> str:
    head = ["", *(f"frames/s, {clients} clients" for clients in THROUGHPUT_CLIENTS)]
    head += [f"of the limit, {clients} clients" for clients in THROUGHPUT_CLIENTS]
    head += ["CPU ms a frame", "of the limit's", "p50 ms, 1 client", "client's CPU ms a frame", "memory MiB", "ready s"]
    found = {one.contender for one in results.record.measurements}
    rows = [_heart_row(results, name) for name in results.names if name in found]
    return _paragraphs(_table(head, rows), _bentoml(results))


def _heart_row(results: Results, name: str) -> list[str]:
    seen = results.record.measurements
    cells = [results.key_cell(clients) for clients in THROUGHPUT_CLIENTS]
    busiest = next((cell for cell in reversed(cells) if loads(seen, name, cell)), cells[0])
    memory = [one.memory_bytes for one in seen if (one.contender, one.cell) == (name, busiest)]
    ready = [start.ready_s for start in results.record.starts if start.contender == name and start.body == "raw"]
    return [
        name,
        *(_number(median(seen, name, cell, frames_per_s), 1) for cell in cells),
        *(str(ratio(seen, name, LIMIT, cell, frames_per_s) or MISSING) for cell in cells),
        _number(median(seen, name, busiest, cpu_ms), 2),
        str(ratio(seen, name, LIMIT, busiest, cpu_ms) or MISSING),
        _number(median(seen, name, results.key_cell(1), p50_ms), 1),
        _number(median(seen, name, busiest, lambda load: load.client_cpu_ms_per_frame), 2),
        f"{max(memory) / MIB:.0f}" if any(memory) else MISSING,
        f"{min(ready):.1f}" if ready else MISSING,
    ]


def _grid(results: Results, entry: Entry) -> str:
    seen = results.record.measurements
    cells = sorted({one.cell for one in seen}, key=lambda cell: (cell.body != "raw", _area(cell), cell.clients))
    names = [name for name in results.names if any(one.contender == name for one in seen)]
    rows = [
        [
            f"{cell.size} {cell.body}",
            str(cell.clients),
            *(entry(seen, name, cell) for name in names),
        ]
        for cell in cells
    ]
    return _paragraphs(_how_often(results.plan), _table(["frames", "clients", *names], rows)) if rows else ""


def _how_often(plan: Plan) -> str:
    clients = " or ".join(map(str, KEY_CLIENTS))
    return (
        f"Medians: {plan.key_size} raw with {clients} clients over {plan.key_rounds} rounds of {plan.key_seconds} s, "
        f"the rest over {plan.rounds} of {plan.seconds} s."
    )


def _throughput_entry(seen: Sequence[Measurement], name: str, cell: Cell) -> str:
    return _grid_entry(seen, name, cell, frames_per_s)


def _latency_entry(seen: Sequence[Measurement], name: str, cell: Cell) -> str:
    """Nothing where the median is a refusal's."""
    found = loads(seen, name, cell).values()
    of_refusals = sum(load.refused for load in found) > sum(load.answered for load in found)
    return MISSING if of_refusals else _grid_entry(seen, name, cell, p50_ms)


def _grid_entry(seen: Sequence[Measurement], name: str, cell: Cell, value: Value) -> str:
    """The median; what was refused or failed is told beside it."""
    found = loads(seen, name, cell).values()
    refused, failed = sum(load.refused for load in found), sum(load.failed for load in found)
    notes = [f"{refused} x 429"] * bool(refused) + [f"{failed} failed"] * bool(failed)
    return _number(median(seen, name, cell, value), 1) + (f" ({', '.join(notes)})" if notes else "")


def _area(cell: Cell) -> int:
    width, height = map(int, cell.size.split("x"))
    return width * height


def _open(loops: Sequence[OpenLoop]) -> str:
    head = ["", "capacity", "rate", "answered/s", "p50 ms", "p99 ms", "429", "5xx", "no answer", "other", "429 p99 ms"]
    head += ["client late p99 ms", "recovered s", "peak MiB", "client's CPU s"]
    return _table(head, [row for loop in loops for row in _open_rows(loop)])


def _open_rows(loop: OpenLoop) -> Iterator[list[str]]:
    for number in (HALF, NINE_TENTHS, OVERLOAD):
        phase = loop.phases[number]
        recovered = _number(loop.recovery_s, 2) if number == OVERLOAD else ""
        held = [one.resident_bytes for one in loop.memory]
        peak = f"{max(held) / MIB:.0f}" if held and number == OVERLOAD else ""
        yield [
            *((loop.contender, f"{loop.capacity:.1f}") if number == HALF else ("", "")),
            f"{100 * phase.share:.0f} %: {phase.rate:.0f}/s",
            f"{phase.answered_per_s:.1f}",
            _number(phase.p50_ms, 1),
            _number(phase.p99_ms, 1),
            *(str(count) for count in (phase.refused, phase.server_errors, phase.unanswered, phase.others)),
            _number(phase.refused_p99_ms, 1),
            f"{phase.late_p99_ms:.1f}",
            recovered,
            peak,
            f"{loop.client_cpu_s:.1f}" if number == OVERLOAD else "",
        ]


def _turns(loops: Sequence[OpenLoop]) -> str:
    head = ["", "capacity before", "answered/s in the overload", "capacity after", "of the mean of both"]
    rows = [
        [
            loop.contender,
            f"{turn.capacity_before:.1f}",
            f"{turn.answered:.1f}",
            f"{turn.capacity_after:.1f}",
            f"{turn.share:.3f}",
        ]
        for loop in loops
        for turn in loop.turns
    ]
    return _table(head, rows)


def _profile(results: Results) -> str:
    functions = "\n".join(f"    {100 * share:5.1f} %  {function}" for function, share in results.profile)
    samples = f"Innermost functions, of all samples of busy threads:\n\n{functions}" if functions else ""
    return _paragraphs(_cpu_by_thread(results), samples)


def _problems(problems: Sequence[str]) -> str:
    return "\n".join(f"- {click.unstyle(problem).strip()}".replace("\n", "\n      ") for problem in problems)


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"
