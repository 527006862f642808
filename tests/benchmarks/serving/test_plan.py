"""The plan measures what is asked of the service more often than the rest."""

from collections import Counter

from benchmarks.serving.overload import CAPACITY_LOOPS
from benchmarks.serving.plan import FULL, KEY_CLIENTS, QUICK, Cell


def test_full_plan_has_every_size_body_and_number_of_clients() -> None:
    counted = Counter(cell for body in FULL.bodies for cells in FULL.rounds_of(body) for cell in cells)
    assert len(counted) == 3 * 2 * 5
    key = {cell for cell in counted if FULL.is_key(cell)}
    assert key == {Cell("1280x720", "raw", clients) for clients in KEY_CLIENTS}
    assert {counted[cell] for cell in key} == {FULL.key_rounds}
    assert {counted[cell] for cell in counted.keys() - key} == {FULL.rounds}
    assert FULL.key_rounds > FULL.rounds


def test_crowds_are_measured_for_twelve_seconds_and_all_others_for_a_few() -> None:
    cells = [cell for body in FULL.bodies for found in FULL.rounds_of(body) for cell in found]
    assert {FULL.seconds_of(cell) for cell in cells if cell.clients == 256} == {12}
    assert {FULL.seconds_of(cell) for cell in cells if cell.clients < 256} == {4, 5}


def test_full_plan_stays_within_an_hour() -> None:
    """Nine contenders with raw bodies and eight with forms, a second or so around each; eight at constant rates."""
    seconds = sum(
        contenders * (FULL.seconds_of(cell) + 1.3)
        for body, contenders in (("raw", 9), ("multipart", 8))
        for cells in FULL.rounds_of(body)
        for cell in cells
    )
    rates = 8 * (2 * FULL.steady_seconds + FULL.overload_seconds + 2 * FULL.calm_seconds + CAPACITY_LOOPS * 3 + 15)
    turns = 2 * FULL.overload_turns * (FULL.calm_seconds + FULL.steady_seconds / 2 + 3)
    starts, profile = 17 * 8, 3 * FULL.profile_seconds + 8
    assert seconds + rates + turns + starts + profile < 60 * 60


def test_quick_plan_touches_both_bodies_and_a_key_cell() -> None:
    cells = [cell for body in QUICK.bodies for found in QUICK.rounds_of(body) for cell in found]
    assert {cell.body for cell in cells} == {"raw", "multipart"}
    assert any(QUICK.is_key(cell) for cell in cells)
    assert len(cells) == len(set(cells))
