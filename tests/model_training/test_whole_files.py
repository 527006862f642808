"""A file is there whole or as it was before."""

import pytest

from model_training.whole_files import written_whole


def test_a_file_takes_its_place_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "plan.json"
    path.parent.mkdir()
    with written_whole(path) as unfinished:
        unfinished.write_text("half")
        assert not path.exists()
        unfinished.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_what_was_there_stays_where_writing_fails(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), written_whole(path) as unfinished:
        unfinished.write_text("half \udc00", encoding="utf-8")
    assert path.read_text() == "old"
