"""Ctrl-C between rows and inside one."""

import signal

import pytest

from service.scoring.interruption import Interruption


def test_ctrl_c_inside_a_row_waits_for_its_end() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption, interruption.held_back():
        signal.raise_signal(signal.SIGINT)
        steps.append("the row is whole")
    assert steps == ["the row is whole"]


def test_a_second_one_does_not_wait() -> None:
    """A row may never end: nobody reads the pipe."""
    steps = []
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption, interruption.held_back():
        signal.raise_signal(signal.SIGINT)
        steps.append("first")
        signal.raise_signal(signal.SIGINT)
        steps.append("second")
    assert steps == ["first"]


def test_between_rows_it_takes_effect_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption:
        with interruption.held_back():
            pass
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it was put off")


def test_afterwards_it_is_handled_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
