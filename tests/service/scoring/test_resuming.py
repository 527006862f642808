"""Which files are done, from the rows that are there."""

from service.scoring.resuming import WrittenRow, WrittenRows


def rows(*places: tuple[str, int | None]) -> WrittenRows:
    return WrittenRows(WrittenRow(path, frame, "tiny 1") for path, frame in places)


def test_an_image_with_a_row_is_done() -> None:
    written = rows(("a.png", None), ("b.png", None))
    assert [written.covers(path) for path in ("a.png", "b.png", "c.png")] == [True, True, False]


def test_the_last_video_may_have_more_frames() -> None:
    written = rows(("a.mp4", 0), ("a.mp4", 30), ("b.mp4", 0), ("b.mp4", 60))
    assert written.covers("a.mp4")
    assert not written.covers("b.mp4")
    assert written.last_frame_of("b.mp4") == 60
    assert written.last_frame_of("a.mp4") == -1


def test_a_video_whose_last_row_is_about_the_whole_file_is_done() -> None:
    """Such as why the rest of it could not be decoded."""
    written = rows(("a.mp4", 0), ("a.mp4", 30), ("a.mp4", None))
    assert written.covers("a.mp4")
    assert written.last_frame_of("a.mp4") == -1


def test_a_file_is_done_as_often_as_it_has_its_rows() -> None:
    """A list `a, b, a` that was stopped after two rows."""
    written = rows(("a.png", None), ("b.png", None))
    assert [written.covers(path) for path in ("a.png", "b.png", "a.png")] == [True, True, False]
    twice = rows(("a.png", None), ("a.png", None), ("b.png", None))
    assert [twice.covers(path) for path in ("a.png", "a.png", "b.png", "a.png", "b.png")] == [True] * 3 + [False] * 2


def test_a_video_that_is_listed_twice_has_its_frames_twice() -> None:
    """The second time it was stopped behind frame 0, or has its row about the whole file; a third one begins anew."""
    written = rows(("a.mp4", 0), ("a.mp4", 30), ("a.mp4", 0))
    assert written.covers("a.mp4")
    assert not written.covers("a.mp4")
    assert written.last_frame_of("a.mp4") == 0
    assert not written.covers("a.mp4")
    assert written.last_frame_of("a.mp4") == -1
    whole = rows(("a.mp4", 0), ("a.mp4", None), ("a.mp4", 0), ("a.mp4", None))
    assert [whole.covers("a.mp4") for _ in range(3)] == [True, True, False]


def test_rows_without_an_answer_are_counted() -> None:
    told = [WrittenRow("a.png", None, "tiny 1", failed=True), WrittenRow("b.png", None, "tiny 1")]
    assert WrittenRows(told).failed == 1
    assert WrittenRows().failed == 0


def test_nothing_is_done_without_rows() -> None:
    assert not rows().covers("a.png")
    assert rows().last_frame_of("a.png") == -1
    assert not rows().covers("")


def test_a_million_files_take_nine_bytes_each() -> None:
    written = WrittenRows(WrittenRow(f"{number}.jpg", None, "tiny 1") for number in range(1_000_000))
    assert written._marks.nbytes + written._passed.nbytes == 9_000_000
    assert written.covers("999999.jpg")
    assert not written.covers("1000000.jpg")
