"""A process's end of the pipe to its supervisor."""

import asyncio
import multiprocessing
import signal
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection

import pytest

from service.processes import link as link_module
from service.processes.link import Link
from service.processes.messages import AskReport, AskTotal, GiveReport, GiveTotal, Signalled
from service.processes.reports import Family, Report
from tests.service.conftest import wait_until

pytestmark = pytest.mark.anyio

OWN: Report = [Family("frames", "Frames", "counter", "", {("frames_total", ()): 1.0})]
ALL: Report = [Family("frames", "Frames", "counter", "", {("frames_total", ()): 3.0})]


class Opened:
    """A link that listens, the supervisor's end of it, and the signals it has passed on."""

    def __init__(self) -> None:
        self.supervisor, theirs = multiprocessing.Pipe()
        self.signals: list[signal.Signals] = []
        self.link = Link(theirs, lambda: OWN, self.signals.append)
        self.theirs: Connection = theirs
        self.link.open()


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    """A link between two ends of a pipe."""
    both = Opened()
    yield both
    asyncio.get_running_loop().remove_reader(both.theirs.fileno())
    both.theirs.close()
    both.supervisor.close()


async def test_question_for_metrics_is_answered_with_its_number(opened: Opened) -> None:
    opened.supervisor.send(AskReport(7))
    await wait_until(opened.supervisor.poll)
    assert opened.supervisor.recv() == GiveReport(OWN, 7)


async def test_total_is_what_the_supervisor_says(opened: Opened) -> None:
    asked = asyncio.ensure_future(opened.link.total())
    await wait_until(opened.supervisor.poll)
    assert opened.supervisor.recv() == AskTotal(OWN)
    opened.supervisor.send(GiveTotal(ALL))
    assert await asked == ALL


async def test_scrapes_at_the_same_time_share_a_question(opened: Opened) -> None:
    """So however many come, a supervisor that hangs has at most one message of each process in its pipe."""
    asked = asyncio.gather(opened.link.total(), opened.link.total())
    await wait_until(opened.supervisor.poll)
    opened.supervisor.recv()
    opened.supervisor.send(GiveTotal(ALL))
    assert await asked == [ALL, ALL]
    assert not opened.supervisor.poll()


async def test_supervisor_that_does_not_answer_leaves_the_metrics_of_one_process(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And an answer that comes late is no harm."""
    monkeypatch.setattr(link_module, "ANSWER_SECONDS", 0.01)
    assert await opened.link.total() == OWN
    opened.supervisor.send(GiveTotal(ALL))
    opened.supervisor.send(Signalled(signal.SIGTERM))
    await wait_until(lambda: opened.signals == [signal.SIGTERM])


async def test_signals_are_passed_on(opened: Opened) -> None:
    opened.supervisor.send(Signalled(signal.SIGTERM))
    opened.supervisor.send(Signalled(signal.SIGINT))
    await wait_until(lambda: opened.signals == [signal.SIGTERM, signal.SIGINT])


async def test_supervisor_that_is_gone_ends_the_process_without_a_drain(opened: Opened) -> None:
    opened.supervisor.close()
    await wait_until(lambda: opened.signals == [signal.SIGINT])
    opened.link.tell(GiveReport(OWN))


async def test_the_last_report_is_given_unasked(opened: Opened) -> None:
    opened.link.close()
    assert opened.supervisor.recv() == GiveReport(OWN, None)
