import io

from rich.console import Console

from model_training.tracking import tracked_on, untracked


def test_items_come_through_in_order():
    """With a bar and without one, and only as they are asked for."""
    console = Console(file=io.StringIO(), force_terminal=True)
    for tracking in (untracked, tracked_on(console)):
        assert list(tracking(iter([3, 1, 2]), "numbers", 3)) == [3, 1, 2]


def test_bar_names_the_work():
    text = io.StringIO()
    list(tracked_on(Console(file=text, force_terminal=True))(range(2), "rain 3 of 5", 2))
    assert "rain 3 of 5" in text.getvalue()


def test_items_without_a_known_end_come_through_too():
    text = io.StringIO()
    assert list(tracked_on(Console(file=text, force_terminal=True))(iter("abc"), "frames", None)) == ["a", "b", "c"]
    assert "frames" in text.getvalue()


def test_nothing_is_written_where_nobody_looks():
    text = io.StringIO()
    assert list(tracked_on(Console(file=text))(range(2), "numbers", 2)) == [0, 1]
    assert text.getvalue() == ""
