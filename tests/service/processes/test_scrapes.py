"""Questions for the metrics of all processes."""

from service.processes.reports import Family, Report
from service.processes.scrapes import PATIENCE_S, Scrapes
from tests.service.clock import Clock


def counted(frames: float, held: float = 0) -> Report:
    """A process that has answered frames and holds bytes."""
    return [
        Family("frames", "Frames", "counter", "", {("frames_total", ()): frames}),
        Family("held", "Held", "gauge", "", {("held", ()): held}),
    ]


def values(total: Report) -> dict[str, float]:
    return {name: value for family in total for (name, _), value in family.samples.items()}


def test_total_comes_when_the_last_process_has_answered() -> None:
    scrapes = Scrapes(tuple, Clock(100.0))
    scrapes.remember(0, counted(1))
    scrapes.begin(0, [1, 2])
    assert scrapes.questions() == [(1, 1), (2, 1)]
    scrapes.remember(1, counted(10), 1)
    assert scrapes.finished() == []
    scrapes.remember(2, counted(100), 1)
    [(asker, total)] = scrapes.finished()
    assert (asker, values(total)) == (0, {"frames_total": 111, "held": 0})
    assert scrapes.finished() == []


def test_the_supervisors_own_metrics_are_in_the_total() -> None:
    scrapes = Scrapes(lambda: counted(5), Clock(100.0))
    scrapes.remember(0, counted(1))
    scrapes.begin(0, [])
    assert values(scrapes.finished()[0][1])["frames_total"] == 6


def test_process_that_does_not_answer_counts_with_what_it_said_last() -> None:
    clock = Clock(100.0)
    scrapes = Scrapes(tuple, clock)
    scrapes.remember(1, counted(10))
    scrapes.remember(0, counted(1))
    scrapes.begin(0, [1])
    assert scrapes.next_s() == clock.now_s + PATIENCE_S
    clock.now_s += PATIENCE_S
    assert values(scrapes.finished()[0][1])["frames_total"] == 11


def test_counters_of_a_process_that_died_stay_and_its_gauges_go() -> None:
    """Its successor in the same place starts from nothing: 10 + 2, held by the successor alone."""
    scrapes = Scrapes(tuple, Clock(100.0))
    scrapes.remember(1, counted(10, held=7))
    scrapes.forget(1)
    scrapes.remember(1, counted(2, held=3))
    scrapes.remember(0, counted(1))
    scrapes.begin(0, [])
    assert values(scrapes.finished()[0][1]) == {"frames_total": 13, "held": 3}


def test_process_that_dies_while_it_is_asked_holds_nobody_up() -> None:
    scrapes = Scrapes(tuple, Clock(100.0))
    scrapes.remember(0, counted(1))
    scrapes.begin(0, [1])
    scrapes.forget(1)
    assert len(scrapes.finished()) == 1


def test_scrape_of_a_process_that_died_is_dropped() -> None:
    scrapes = Scrapes(tuple, Clock(100.0))
    scrapes.begin(0, [1])
    scrapes.forget(0)
    assert scrapes.next_s() is None


def test_answers_go_to_their_own_question() -> None:
    """Two processes are scraped at the same time: what is said to the first is too old for the second."""
    scrapes = Scrapes(tuple, Clock(100.0))
    scrapes.begin(0, [2])
    assert scrapes.questions() == [(2, 1)]
    scrapes.begin(1, [2])
    scrapes.remember(2, counted(4), 1)
    assert [asker for asker, _ in scrapes.finished()] == [0]
    assert scrapes.questions() == [(2, 2)]
    scrapes.remember(2, counted(4), 2)
    assert [asker for asker, _ in scrapes.finished()] == [1]


def test_answer_to_the_newest_question_is_one_to_all() -> None:
    scrapes = Scrapes(tuple, Clock(100.0))
    scrapes.begin(0, [2])
    scrapes.begin(1, [2])
    assert scrapes.questions() == [(2, 2)]
    scrapes.remember(2, counted(4), 2)
    assert [asker for asker, _ in scrapes.finished()] == [0, 1]


def test_who_owes_an_answer_is_asked_nothing_more() -> None:
    """Questions that a process does not read would fill its pipe, and then hold up who asks."""
    clock = Clock(100.0)
    scrapes = Scrapes(tuple, clock)
    asked = []
    for _ in range(100):
        scrapes.begin(0, [1])
        asked += scrapes.questions()
        clock.now_s += PATIENCE_S
        assert len(scrapes.finished()) == 1
    assert asked == [(1, 1)]
    scrapes.remember(1, counted(1), 1)
    scrapes.begin(0, [1])
    assert scrapes.questions() == [(1, 101)]


def test_a_successor_owes_nothing() -> None:
    scrapes = Scrapes(tuple, Clock(100.0))
    scrapes.begin(0, [1])
    assert scrapes.questions() == [(1, 1)]
    scrapes.forget(1)
    scrapes.begin(0, [1])
    assert scrapes.questions() == [(1, 2)]
