"""A benchmark writes its own part of a page and leaves the rest alone."""

from pathlib import Path

from benchmarks.marked_section import section_of, write_section


def test_only_what_stands_between_the_markers_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text("before\n<!-- one -->\nold \\1\n<!-- /one -->\nafter\n")
    write_section(path, "one", "new \\g<0>")
    assert path.read_text() == "before\n<!-- one -->\nnew \\g<0>\n<!-- /one -->\nafter\n"


def test_page_without_markers_gets_them_once(tmp_path: Path) -> None:
    path = tmp_path / "fresh.md"
    for name, text in (("one", "first"), ("two", "second"), ("one", "third")):
        write_section(path, name, text)
    assert (
        path.read_text() == "# Results\n\n<!-- one -->\nthird\n<!-- /one -->\n\n<!-- two -->\nsecond\n<!-- /two -->\n"
    )
    assert (section_of(path.read_text(), "two"), section_of(path.read_text(), "three")) == ("second", "")
