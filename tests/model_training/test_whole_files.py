"""A file is there whole or as it was before."""

import pytest

from model_training.whole_files import write_whole, written_whole


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
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \udc00")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_names_the_file_and_leaves_nothing_unfinished(tmp_path):
    path = tmp_path / "plan.json"
    path.with_name("plan.json.unfinished").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as full, written_whole(path) as unfinished:
        unfinished.write_text("whole")
    assert full.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_names_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as missing, written_whole(tmp_path / "plan.json"):
        (tmp_path / "source.json").read_text()
    assert missing.value.filename == str(tmp_path / "source.json")
