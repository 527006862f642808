"""What a run leaves is read again as it was written, or named; its steps are timed."""

import numpy as np
import pytest

from model_training.configuration import TrainingConfiguration
from model_training.errors import CheckpointError
from model_training.measured_run import HELD_OUT, RunResult, Scores, _names, _Stopwatch
from model_training.trainer import Progress


def test_damaged_scores_and_results_are_named(tmp_path):
    whole = Scores(np.zeros((2, 1), np.float32), np.zeros((2, 1), np.int8), *[np.array(["a", "b"])] * 3)
    whole.save(tmp_path / HELD_OUT)
    for damaged in ((tmp_path / HELD_OUT).read_bytes()[:-40], b"no scores"):
        (tmp_path / HELD_OUT).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"held_out\.npz cannot be read"):
            Scores.load(tmp_path / HELD_OUT)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"result\.json is no result of this version: configuration: field requ"):
        RunResult.load(tmp_path, TrainingConfiguration())


def test_steps_are_timed_from_the_end_of_the_first_one(monkeypatch):
    """The first takes 30 s to start up; then 4 steps of 2 s on 10 frames are 0.2 s a frame."""
    clock = iter([30.0, 32.0, 34.0, 36.0, 38.0])
    monkeypatch.setattr("model_training.measured_run.time.monotonic", lambda: next(clock))
    watch = _Stopwatch(lambda _: None)
    for step in (6, 7, 8, 9, 10, 10):
        watch(Progress(0, step, 10, 0.0, []))
    assert watch.seconds_per_frame(10) == pytest.approx(0.2)
    assert _Stopwatch(lambda _: None).seconds_per_frame(10) is None


def test_images_are_named_below_the_folder_that_all_of_them_are_in(tmp_path):
    images = (tmp_path / "town" / "north" / "1.jpg", tmp_path / "town" / "2.jpg")
    assert _names(images) == ["north/1.jpg", "2.jpg"]
    assert _names(images[:1]) == ["1.jpg"]
