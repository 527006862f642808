import re
from pathlib import Path

import pytest

from model_training.sources.problems import Kind, Problems
from tests.model_training.data_report.report_tables import ENTRIES, SOURCES, SPLITS, table_of
from tests.model_training.data_report.written_page import page_of
from tests.model_training.images import write_image


def test_page_says_known_positive_negative_and_unknown_per_source_and_label(tmp_path):
    images = [write_image(tmp_path / f"{i}.png", i) for i in range(6)]
    page = page_of(table_of(ENTRIES, SPLITS, SOURCES, images=images), tmp_path / "report.html")
    told = [word for word in page.words if re.fullmatch(r"\d known, \d unknown", word)]
    assert told[:4] == [
        "2 known, 0 unknown",
        "2 known, 0 unknown",
        "1 known, 0 unknown",
        "0 known, 1 unknown",
    ]


def test_page_is_self_contained_and_well_formed(tmp_path):
    images = [write_image(tmp_path / f"{i}.png", i) for i in range(6)]
    page = page_of(table_of(ENTRIES, SPLITS, SOURCES, images=images), tmp_path / "report.html")
    assert page.open == []
    assert all(reference.startswith("data:image/") for reference in page.references)
    assert "url(" not in (tmp_path / "report.html").read_text()
    assert {"Entries per label", "Labels together", "Pictures: car", "Pictures: stop_sign"} <= set(page.words)


def test_contact_sheets_show_only_frames_for_training(tmp_path):
    """car is present in rows 0 and 1 and absent in 2; stop signs in 0, and absent in 1 and 3."""
    images = [write_image(tmp_path / f"{i}.png", i) for i in range(6)]
    page = page_of(table_of(ENTRIES, SPLITS, SOURCES, images=images), tmp_path / "report.html")
    captions = [word for word in page.words if re.fullmatch(r"\d\.png, \w", word)]
    assert captions == ["0.png, a", "1.png, a", "2.png, b", "0.png, a", "1.png, a", "3.png, b"]


def test_contact_sheet_shows_every_source_though_one_is_large(tmp_path):
    images = [write_image(tmp_path / f"{i}.png", i) for i in range(41)]
    table = table_of([[1]] * 41, sources=["film"] * 40 + ["rare"], labels=("car",), images=images)
    captions = [word for word in page_of(table, tmp_path / "report.html").words if ".png, " in word]
    assert len(captions) == 12
    assert "40.png, rare" in captions


def test_picture_that_cannot_be_read_is_left_out(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_text("no image")
    images = [broken, write_image(tmp_path / "fine.png")]
    page = page_of(table_of([[1], [1]], labels=("car",), images=images), tmp_path / "report.html")
    assert [word for word in page.words if word.endswith(", a")] == ["fine.png, a"]


def test_names_are_escaped_in_the_page(tmp_path):
    images = [write_image(tmp_path / "<script>.png")]
    problems = Problems("skip")
    problems.report(Kind.BAD_VALUE, Path("a<b>.csv"), 1, "<script>alert(1)</script>")
    page_of(table_of([[1]], labels=("car",), images=images, sources=["<b>"]), tmp_path / "report.html", problems)
    assert "<script>" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("entries", [[[-1, -1]] * 2, [[1, 1]]])
def test_page_of_sparse_data_is_written_without_a_warning(tmp_path, entries):
    images = [write_image(tmp_path / f"{i}.png", i) for i in range(len(entries))]
    page = page_of(table_of(entries, ["test"] * len(entries), images=images), tmp_path / "report.html")
    assert page.open == []
