"""SIGTERM under full load: is a request lost that the service has accepted?

    python -m benchmarks.shutdown

starts the service, lets clients post frames without pause, half of them on one connection and half on a new one for
every frame, sends SIGTERM at a random moment, and counts until every client is refused a connection. A request is lost
when it was sent on a connection that was made and got no complete answer. Repeated, with one process and with two.
Writes shutdown.json.
"""

import http.client
import json
import random
import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.service_process import ServiceProcess, machine, served
from service.inference.driving_frame import driving_frame

HERE: Final = Path(__file__).parent
LOAD_SECONDS: Final = (0.5, 1.5)
DRAIN_SECONDS: Final = 1.0
QUICK_AND_QUIET: Final = ("--tuning-seconds", "0", "--access-log-level", "debug")
HEADERS: Final = {"Content-Type": "image/jpeg"}


@dataclass
class Client:
    """Posts one frame after the other until no connection is made any more."""

    address: str
    frame: bytes
    keeps_connection: bool
    statuses: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Post; what goes wrong once a connection is made is a lost request."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        while True:
            try:
                if connection.sock is None:
                    connection.connect()
            except OSError:
                return
            try:
                self._post(connection)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                connection.close()

    def _post(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", "/predict", self.frame, HEADERS)
        reply = connection.getresponse()
        reply.read()
        self.statuses[reply.status] += 1
        if not self.keeps_connection:
            connection.close()


@dataclass(frozen=True, slots=True)
class Shutdown:
    """What became of the requests of one run."""

    workers: int
    answered_before: int
    answered_after: int
    other_statuses: dict[int, int]
    lost: list[str]
    exit_code: int
    seconds_to_end: float


def shutdown(workers: int, clients: int, load_s: float) -> Shutdown:
    """One service under load, and its end."""
    with served("--workers", str(workers), "--drain-seconds", str(DRAIN_SECONDS), *QUICK_AND_QUIET) as service:
        service.wait_for_processes(workers)
        return _ended_under_load(service, workers, clients, load_s)


def _ended_under_load(service: ServiceProcess, workers: int, clients: int, load_s: float) -> Shutdown:
    address, frame = service.url.removeprefix("http://"), driving_frame()
    posting = [Client(address, frame, keeps_connection=number % 2 == 0) for number in range(clients)]
    threads = [threading.Thread(target=client.run) for client in posting]
    for thread in threads:
        thread.start()
    time.sleep(load_s)
    before, signalled_s = _answered(posting), time.monotonic()
    exit_code = service.end()
    seconds_to_end = time.monotonic() - signalled_s
    for thread in threads:
        thread.join()
    statuses = sum((client.statuses for client in posting), Counter[int]())
    after = statuses.pop(200, 0) - before
    lost = [loss for client in posting for loss in client.lost]
    return Shutdown(workers, before, after, dict(statuses), lost, exit_code, round(seconds_to_end, 2))


def _answered(clients: Sequence[Client]) -> int:
    return sum(client.statuses[200] for client in clients)


def table(runs: Sequence[Shutdown]) -> Table:
    """One row for each number of processes."""
    shown = Table("processes", "shutdowns", "answered before", "after SIGTERM", "other answers", "lost", "exit codes")
    for workers in sorted({run.workers for run in runs}):
        of_it = [run for run in runs if run.workers == workers]
        sums = [sum(run.answered_before for run in of_it), sum(run.answered_after for run in of_it)]
        others = sum(sum(run.other_statuses.values()) for run in of_it)
        codes = ", ".join(map(str, sorted({run.exit_code for run in of_it})))
        cells = (workers, len(of_it), *sums, others, sum(len(run.lost) for run in of_it), codes)
        shown.add_row(*map(str, cells))
    return shown


@click.command(context_settings={"show_default": True})
@click.option("--times", type=click.IntRange(min=1), default=20, help="Shutdowns for each number of processes.")
@click.option("--workers", type=click.IntRange(1, 64), multiple=True, default=(1, 2), help="Processes.")
@click.option("--clients", type=click.IntRange(min=2), default=32, help="Clients that post at the same time.")
@click.option("--output", type=click.Path(path_type=Path), default=HERE / "shutdown.json", help="File to write.")
def main(times: int, workers: Sequence[int], clients: int, output: Path) -> None:
    """Count the requests that shutting down loses; exit code 1 when it loses one."""
    moments = random.Random(0)  # noqa: S311 - a repeatable choice of moments
    plan = [(number, moments.uniform(*LOAD_SECONDS)) for _ in range(times) for number in workers]
    progress = track(plan, "shutdowns", console=Console(stderr=True))
    runs = [shutdown(number, clients, load_s) for number, load_s in progress]
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.shutdown", *sys.argv[1:]]),
        "machine": machine(),
        "clients": clients,
        "drain_seconds": DRAIN_SECONDS,
        "runs": [asdict(run) for run in runs],
    }
    output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    Console().print(table(runs))
    sys.exit(any(run.lost or run.exit_code for run in runs))


if __name__ == "__main__":
    main()
