"""Figures find their place in a document, and nothing in them breaks a table."""

import pytest

from model_training.errors import InvalidConfiguration
from model_training.markdown import around, fill_in, table


def test_a_table_has_a_head_a_line_and_a_row_each():
    """A bar within a cell is none between cells."""
    assert table(("label", "n"), [("car|bus", "3")]) == ["| label | n |", "|---|---|", "| car&#124;bus | 3 |"]


def test_figures_go_between_the_marks_of_a_document_and_replace_older_ones(tmp_path):
    document = tmp_path / "page.md"
    document.write_text("Before\n<!-- figures -->\nold\n<!-- /figures -->\nAfter\n")
    fill_in(document, "new", "figures")
    assert document.read_text() == "Before\n<!-- figures -->\n\nnew\n\n<!-- /figures -->\nAfter\n"
    fill_in(document, "newer", "figures")
    assert document.read_text() == "Before\n<!-- figures -->\n\nnewer\n\n<!-- /figures -->\nAfter\n"


@pytest.mark.parametrize("text", ["no marks", "<!-- figures -->", "<!-- /figures --> <!-- figures -->"])
def test_a_document_without_both_marks_is_left_as_it_is(tmp_path, text):
    document = tmp_path / "page.md"
    document.write_text(text)
    with pytest.raises(InvalidConfiguration, match="must hold <!-- figures -->"):
        fill_in(document, "new", "figures")
    with pytest.raises(InvalidConfiguration, match="must hold <!-- figures -->"):
        around(document, "figures")
    assert document.read_text() == text


def test_a_document_stays_as_it_was_where_the_disk_is_full(tmp_path):
    document = tmp_path / "page.md"
    document.write_text(text := "Mine\n<!-- figures -->\nold\n<!-- /figures -->\n")
    (tmp_path / "page.md.unfinished").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        fill_in(document, "new", "figures")
    assert document.read_text() == text
