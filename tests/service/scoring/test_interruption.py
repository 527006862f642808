"""Ctrl-C between rows and inside one."""

import signal
from collections.abc import Callable

import pytest

from service.scoring.interruption import Interruption


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def steps_done(*steps: Callable[[], object], held_back: bool) -> int:
    """How many of the steps were over before Ctrl-C took effect."""
    done = 0

    def take_steps() -> None:
        nonlocal done
        for step in steps:
            step()
            done += 1

    def scoring() -> None:
        with Interruption() as interruption:
            if not held_back:
                take_steps()
            with interruption.held_back():
                take_steps()

    with pytest.raises(KeyboardInterrupt):
        scoring()
    return done


def test_ctrl_c_inside_a_row_waits_for_its_end() -> None:
    assert steps_done(ctrl_c, list, held_back=True) == 2


def test_a_second_one_does_not_wait() -> None:
    """A row may never end: nobody reads the pipe."""
    assert steps_done(ctrl_c, list, ctrl_c, list, held_back=True) == 2


def test_between_rows_it_takes_effect_at_once() -> None:
    assert steps_done(list, ctrl_c, list, held_back=False) == 1


def test_afterwards_it_is_handled_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
