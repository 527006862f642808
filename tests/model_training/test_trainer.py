"""Training learns, resumes to the identical result, and shares its work among processes."""

import csv
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing

from model_training import checkpoints, data_description
from model_training.configuration import NetworkConfiguration, TrainingConfiguration
from model_training.dataset import Batch, Draw, EvaluationFrames, TrainingFrames, collate
from model_training.errors import CheckpointError, InvalidConfiguration, TrainingDiverged
from model_training.imitation import feature_distance
from model_training.network import NetworkOutput
from model_training.teacher.cells import DetectorCells
from model_training.trainer import Processes, Progress, Trainer, schedule
from model_training.training_rows import TrainingRows, assemble
from tests.model_training.painted_frames import LABELS, write_painted_frames
from tests.model_training.small_detector import CLASSES, write_small_detector

CPU = torch.device("cpu")
CONFIGURATION = TrainingConfiguration(
    labels=LABELS,
    height=64,
    width=96,
    network=NetworkConfiguration(trunk="test_efficientnet", pretrained="none", head_width=16),
    epochs=2,
    batch_size=8,
    learning_rate=5e-3,
    trunk_rate=1.0,
    average_share=0.2,
    precision="float32",
    loader_workers=0,
    checkpoint_every_steps=1,
    validation=0.2,
)


class Killed(BaseException):
    """Stands for the process dying; nothing may catch it."""


def painted_rows(
    folder: Path, configuration: TrainingConfiguration = CONFIGURATION, teacher: Path | None = None
) -> TrainingRows:
    description = folder / "data.toml"
    description.write_text('labels = ["red", "green"]\n[[sources]]\nformat = "table"\npath = "."\n')
    table, _ = data_description.load(description)
    return assemble(table, configuration, teacher)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> TrainingRows:
    return painted_rows(write_painted_frames(tmp_path_factory.mktemp("painted") / "data"))


@pytest.fixture(scope="module")
def whole_run(rows: TrainingRows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    Trainer(CONFIGURATION, rows, folder, CPU).fit()
    return folder


def weights(folder: Path, name: str = checkpoints.RESUME, part: str = "average") -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = checkpoints.load(folder / name)[1][part]
    return tensors


def history(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open() as file:
        return [{key: float(value) for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def dying_when(condition: Callable[[Progress], bool]) -> Callable[[Progress], None]:
    def observe(progress: Progress) -> None:
        if condition(progress):
            raise Killed

    return observe


def test_a_small_network_learns_the_painted_squares(rows: TrainingRows, tmp_path: Path) -> None:
    """Loss falls by half and both labels are found on validation rows."""
    longer = CONFIGURATION.model_copy(update={"epochs": 12, "patience": 12})
    trainer = Trainer(longer, rows, tmp_path, CPU)
    trainer.fit()
    assert trainer.history[-1]["loss"] < 0.5 * trainer.history[0]["loss"]
    assert max(row["map"] for row in trainer.history) > 0.9


def test_same_seed_gives_the_identical_run_and_another_seed_another(
    rows: TrainingRows, whole_run: Path, tmp_path: Path
) -> None:
    """Bit for bit."""
    Trainer(CONFIGURATION, rows, tmp_path / "again", CPU).fit()
    Trainer(CONFIGURATION.model_copy(update={"seed": 1}), rows, tmp_path / "other", CPU).fit()
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(whole_run).values(), weights(tmp_path / "again").values(), strict=True)
    )
    assert history(whole_run) == history(tmp_path / "again")
    assert history(whole_run) != history(tmp_path / "other")


@pytest.mark.parametrize("step", [0, 1, 3, 4, 7])
def test_run_killed_at_any_step_resumes_to_the_identical_result(
    rows: TrainingRows, whole_run: Path, tmp_path: Path, step: int
) -> None:
    """First step, inside an epoch, on its border and in the second one; weights, best network and table agree."""
    steps = Trainer(CONFIGURATION, rows, tmp_path / "unused", CPU).steps
    assert steps == 10
    with pytest.raises(Killed):
        Trainer(CONFIGURATION, rows, tmp_path, CPU).fit(dying_when(lambda p: p.step == step + 1))
    Trainer(CONFIGURATION, rows, tmp_path, CPU).fit()
    for name, part in ((checkpoints.RESUME, "average"), (checkpoints.RESUME, "network"), (checkpoints.BEST, "network")):
        expected, seen = weights(whole_run, name, part), weights(tmp_path, name, part)
        assert all(torch.equal(expected[key], seen[key]) for key in expected), (name, part)
    assert history(tmp_path) == history(whole_run)


def test_the_mode_of_the_default_model_resumes_to_the_identical_result_too(tmp_path: Path) -> None:
    """bfloat16, a loader process, frozen stages, a teacher, a detector to imitate: nothing of it hides state."""
    data = write_painted_frames(tmp_path / "data")
    scores = "".join(f"images/{n}.jpg,{n % 7 / 7:.2f},{n % 5 / 5:.2f}\n" for n in range(56))
    (data / "teacher.csv").write_text("image,red,green\n" + scores)
    detector = DetectorCells(write_small_detector(tmp_path / "detector.onnx"), CLASSES)
    changes = {"precision": "bfloat16", "loader_workers": 1, "checkpoint_every_steps": 3, "imitation_weight": 1.0}
    frozen = CONFIGURATION.network.model_copy(update={"frozen_stages": 3})
    shipped = CONFIGURATION.model_copy(update={**changes, "network": frozen})
    rows = painted_rows(data, shipped, data / "teacher.csv")
    assert not np.isnan(rows.soft.probabilities_NL[rows.train]).all()
    Trainer(shipped, rows, tmp_path / "whole", CPU, detector=detector).fit()
    with pytest.raises(Killed):
        Trainer(shipped, rows, tmp_path / "killed", CPU, detector=detector).fit(dying_when(lambda p: p.step == 5))
    Trainer(shipped, rows, tmp_path / "killed", CPU, detector=detector).fit()
    for part in ("average", "network", "imitation"):
        expected, seen = (weights(tmp_path / folder, part=part) for folder in ("whole", "killed"))
        assert all(torch.equal(expected[key], seen[key]) for key in expected), part
    assert history(tmp_path / "whole") == history(tmp_path / "killed")


def test_a_network_comes_to_see_what_its_detector_sees(rows: TrainingRows, tmp_path: Path) -> None:
    """After a few passes what it takes the detector to compute on held-out frames is nearer than a constant answer."""
    detector = DetectorCells(write_small_detector(tmp_path / "detector.onnx"), CLASSES)
    imitating = CONFIGURATION.model_copy(update={"epochs": 12, "patience": 12, "imitation_weight": 1.0})
    trainer = Trainer(imitating, rows, tmp_path / "run", CPU, detector=detector)
    trainer.fit()
    frames = EvaluationFrames(tuple(rows.table.images[row] for row in rows.validation), 64, 96)
    frames_BHWC = np.stack([frames[row] for row in range(len(frames))])
    with torch.no_grad():
        _, imitated = trainer.learner.eval()(torch.from_numpy(frames_BHWC))
    seen = [detector.levels(frame_HWC, 64, 96) for frame_HWC in frames_BHWC]
    detected = [torch.from_numpy(np.stack(level)) for level in zip(*seen, strict=True)]
    for ours_BChw, theirs_BChw in zip(imitated, detected, strict=True):
        distance = feature_distance(ours_BChw[:, :3], theirs_BChw[:, :3].float())
        assert distance < 0.8 * feature_distance(torch.zeros_like(ours_BChw[:, :3]), theirs_BChw[:, :3].float())


def test_a_run_with_another_detector_is_refused_and_one_without_weight_takes_none(
    rows: TrainingRows, whole_run: Path, tmp_path: Path
) -> None:
    """What a network imitates is a part of what it learned from."""
    one, other = (DetectorCells(write_small_detector(tmp_path / f"{side}.onnx", side), CLASSES) for side in (64, 96))
    imitating = CONFIGURATION.model_copy(update={"imitation_weight": 1.0})
    with pytest.raises(Killed):
        Trainer(imitating, rows, tmp_path / "run", CPU, detector=one).fit(dying_when(lambda p: p.step == 2))
    with pytest.raises(CheckpointError, match="trained with other data: detector"):
        Trainer(imitating, rows, tmp_path / "run", CPU, detector=other).fit()
    Trainer(CONFIGURATION, rows, tmp_path / "unweighted", CPU, detector=one).fit()
    assert history(tmp_path / "unweighted") == history(whole_run)


def test_resuming_with_other_rows_is_refused(whole_run: Path, tmp_path: Path) -> None:
    """The message names the splits that differ."""
    with pytest.raises(CheckpointError, match="trained with other data: train"):
        Trainer(CONFIGURATION, painted_rows(write_painted_frames(tmp_path / "data", count=64)), whole_run, CPU).fit()


def test_resuming_with_other_boxes_is_refused(rows: TrainingRows, whole_run: Path) -> None:
    """They are targets of the maps: of the same frames and entries, but not the same data."""
    boxes = list(rows.table.boxes)
    boxes[rows.train[0]] = {"car": ((0.0, 0.0, 0.5, 0.5),)}
    other = replace(rows, table=replace(rows.table, boxes=tuple(boxes)))
    with pytest.raises(CheckpointError, match="trained with other data: train differ"):
        Trainer(CONFIGURATION, other, whole_run, CPU).fit()


def test_a_short_run_does_not_keep_its_first_weights(rows: TrainingRows, tmp_path: Path) -> None:
    """A fifth of 10 steps reaches back 2: each step moves the average half of the way."""
    trainer = Trainer(CONFIGURATION, rows, tmp_path, CPU)
    assert trainer.steps == 10
    start = trainer.average.module.head.local_logits.weight.clone()
    trainer.average.update_parameters(trainer.network)  # the first update copies
    with torch.no_grad():
        trainer.network.head.local_logits.weight += 1.0
    trainer.average.update_parameters(trainer.network)
    assert torch.allclose(trainer.average.module.head.local_logits.weight, start + 0.5)


def test_run_killed_twice_resumes_twice(rows: TrainingRows, whole_run: Path, tmp_path: Path) -> None:
    """A checkpoint that comes less often than kills loses steps, not the result."""
    rarely = CONFIGURATION.model_copy(update={"checkpoint_every_steps": 3})
    for step in (2, 5):
        with pytest.raises(Killed):
            Trainer(rarely, rows, tmp_path, CPU).fit(dying_when(lambda p, s=step: p.step == s))
    Trainer(rarely, rows, tmp_path, CPU).fit()
    expected, seen = weights(whole_run), weights(tmp_path)
    assert all(torch.equal(expected[key], seen[key]) for key in expected)


def test_a_run_killed_before_its_first_step_can_be_gone_on_with(rows: TrainingRows, tmp_path: Path) -> None:
    """Whoever had to wait for a checkpoint would find a folder that is neither empty nor a run."""
    rarely = CONFIGURATION.model_copy(update={"checkpoint_every_steps": 50})
    with pytest.raises(Killed):
        Trainer(rarely, rows, tmp_path, CPU).fit(dying_when(lambda _: True))
    assert checkpoints.load(tmp_path / checkpoints.RESUME)[1]["state"]["batch"] == 0


def test_a_finished_run_is_not_trained_further(rows: TrainingRows, whole_run: Path) -> None:
    """Resuming it changes no byte of the best network."""
    before = (whole_run / checkpoints.BEST).read_bytes()
    Trainer(CONFIGURATION, rows, whole_run, CPU).fit(dying_when(lambda _: True))
    assert (whole_run / checkpoints.BEST).read_bytes() == before


def test_resuming_with_other_settings_names_them(rows: TrainingRows, whole_run: Path) -> None:
    """A run is not silently continued as another one."""
    other = CONFIGURATION.model_copy(update={"learning_rate": 0.1})
    with pytest.raises(CheckpointError, match=r"learning_rate: 0.005 there, 0.1 asked for"):
        Trainer(other, rows, whole_run, CPU).fit()


def test_a_kill_while_writing_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file takes the old one's place only when it is complete."""
    path = tmp_path / checkpoints.RESUME
    checkpoints.save(path, CONFIGURATION, {"state": 1})

    def killed(_: int) -> None:
        raise Killed

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(Killed):
        checkpoints.save(path, CONFIGURATION, {"state": 2})
    assert checkpoints.load(path)[1] == {"state": 1}


def test_a_checkpoint_on_a_full_disk_is_an_error_of_the_system_that_names_it(tmp_path: Path) -> None:
    """And the previous one stays; PyTorch's own error would be a traceback without a word of the disk."""
    path = tmp_path / checkpoints.RESUME
    checkpoints.save(path, CONFIGURATION, {"state": 1})
    (tmp_path / "resume.pt.unfinished").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as full:
        checkpoints.save(path, CONFIGURATION, {"state": 2})
    assert full.value.filename == str(path)
    assert checkpoints.load(path)[1] == {"state": 1}


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    """With its path, and no traceback from the reader."""
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best\.pt is not a checkpoint"):
        checkpoints.load(tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match="train first"):
        checkpoints.load(tmp_path / "none.pt")


def test_training_stops_when_validation_does_not_improve(rows: TrainingRows, tmp_path: Path) -> None:
    """With patience 1, the second epoch that is no better than the first ends the run."""

    class NeverBetter(Trainer):
        def _validate(self) -> list[float]:
            return [0.5, 0.5]

    trainer = NeverBetter(CONFIGURATION.model_copy(update={"epochs": 9, "patience": 1}), rows, tmp_path, CPU)
    trainer.fit()
    assert len(trainer.history) == 2


def with_entries(rows: TrainingRows, place: np.ndarray, label: int, entry: int) -> TrainingRows:
    """The same rows with the known entries of a label at `place` all of one kind."""
    entries_NL = rows.table.entries_NL.copy()
    entries_NL[place, label] = np.where(entries_NL[place, label] >= 0, entry, -1)
    return replace(rows, table=replace(rows.table, entries_NL=entries_NL))


def test_label_of_one_kind_on_validation_rows_does_not_count(rows: TrainingRows, tmp_path: Path) -> None:
    """Where all is present every ranking has an average precision of 1: it says nothing of a network."""
    of_one_kind = with_entries(rows, rows.validation, LABELS.index("red"), 1)
    trainer = Trainer(CONFIGURATION, of_one_kind, tmp_path, CPU)
    trainer.fit()
    assert all(math.isnan(row["ap_red"]) and row["map"] == row["ap_green"] for row in trainer.history)


@pytest.mark.parametrize("entry", [0, 1])
def test_the_last_epoch_is_kept_where_validation_decides_nothing(
    rows: TrainingRows, tmp_path: Path, entry: int
) -> None:
    """And training goes on to its end: no epoch is better than another, so none is waited for."""
    undecided = rows
    for label in range(len(LABELS)):
        undecided = with_entries(undecided, rows.validation, label, entry)
    trainer = Trainer(CONFIGURATION.model_copy(update={"epochs": 3, "patience": 1}), undecided, tmp_path, CPU)
    trainer.fit()
    assert len(trainer.history) == 3
    last, kept = weights(tmp_path, part="average"), weights(tmp_path, checkpoints.BEST, "network")
    assert all(torch.equal(kept[key], last[f"module.{key}"]) for key in kept)


def test_test_rows_never_reach_the_network(rows: TrainingRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image that a whole run opens is a train row's."""
    opened: set[Path] = set()
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (opened.add(path), read(path))[1])
    Trainer(CONFIGURATION.model_copy(update={"epochs": 1}), rows, tmp_path, CPU).fit()
    tested = {image for image, split in zip(rows.table.images, rows.table.splits, strict=True) if split == "test"}
    assert len(tested) == 10
    assert len(opened) > 20
    assert not opened & tested


def test_bfloat16_trains_too(rows: TrainingRows, tmp_path: Path) -> None:
    """Mixed precision with finite losses."""
    trainer = Trainer(CONFIGURATION.model_copy(update={"precision": "bfloat16"}), rows, tmp_path, CPU)
    trainer.fit()
    assert all(math.isfinite(row["loss"]) for row in trainer.history)


def test_a_cost_that_is_no_number_ends_the_run(rows: TrainingRows, tmp_path: Path) -> None:
    """Instead of training on, and the message says at which step."""
    trainer = Trainer(CONFIGURATION, rows, tmp_path, CPU)
    with torch.no_grad():
        trainer.network.head.local_logits.bias.fill_(math.nan)
    with pytest.raises(TrainingDiverged, match="the cost is nan at step 0"):
        trainer.fit()


def test_cost_adds_labels_teacher_boxes_and_imitation_by_hand(
    rows: TrainingRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All logits are 0, so each entry and each half of a map costs log 2 times the weight of its label.

    Two frames: red is known in the first, green in the second, and the teacher says something of the other two.
    """
    settings = {"label_weights": {"green": 3.0}, "soft_weight": 0.25, "evidence_weight": 0.5, "imitation_weight": 0.1}
    unsure_of_red = replace(rows.soft, reliability_L=np.array([0, 1], np.float32))
    taught = replace(rows, soft=unsure_of_red)
    trainer = Trainer(CONFIGURATION.model_copy(update=settings), taught, tmp_path, CPU)
    cells_BLhw = torch.tensor([[[[1, 0]], [[-1, -1]]], [[[-1, -1]], [[0, 0]]]], dtype=torch.int8)
    known_BL, targets_BL = torch.eye(2).bool(), torch.eye(2)
    batch = Batch(torch.zeros(2), targets_BL, known_BL, torch.full((2, 2), 0.9), ~known_BL, cells_BLhw)
    output = NetworkOutput(torch.zeros(2, 2), torch.zeros(2, 2, 1, 2), ())
    monkeypatch.setattr(trainer.learner, "cost", lambda ours, theirs: torch.tensor(7.0))

    labels = (1 + 3) / 2
    teacher = (0 * 1 + 1 * 3) / 2
    boxes = (1 * (0.5 + 0.5) + 3 * 0.5) / 2  # a map that lies outside of all boxes has one half
    expected = math.log(2) * (labels + 0.25 * teacher + 0.5 * boxes)
    for imitated, added in (((), 0.0), ((torch.zeros(1),), 0.1 * 7)):
        cost = trainer.cost(Stub((output, imitated)), batch)
        assert float(cost) == pytest.approx(expected + added)


class Stub(torch.nn.Module):
    """A network that answers the same to every frame."""

    def __init__(self, answer: tuple[NetworkOutput, tuple[torch.Tensor, ...]]) -> None:
        super().__init__()
        self._answer = answer

    def forward(self, frames_BHWC: torch.Tensor) -> tuple[NetworkOutput, tuple[torch.Tensor, ...]]:
        return self._answer


def test_unknown_label_weight_is_named(rows: TrainingRows, tmp_path: Path) -> None:
    """A typing mistake is not silently a weight of nothing."""
    with pytest.raises(InvalidConfiguration, match="'blue'"):
        Trainer(CONFIGURATION.model_copy(update={"label_weights": {"blue": 2.0}}), rows, tmp_path, CPU)


def test_schedule_rises_linearly_and_falls_as_half_a_cosine() -> None:
    """100 steps, a tenth of them warm-up: by hand at the ends and in the middle."""
    factors = [schedule(step, 100, 0.1) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)


def test_batch_that_cannot_be_shared_equally_is_refused(rows: TrainingRows, tmp_path: Path) -> None:
    """8 frames over 3 processes."""
    with pytest.raises(InvalidConfiguration, match="batch_size 8 cannot be shared equally by 3"):
        Trainer(CONFIGURATION, rows, tmp_path, CPU, Processes(0, 3))


def gradients_of_share(rank: int, count: int, folder: str, rendezvous: str) -> None:
    """What one of `count` processes computes on its share of a batch; batch norm is still, so that shares add up."""
    rows = painted_rows(Path(folder))
    if count > 1:
        distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=count)
    trainer = Trainer(CONFIGURATION, rows, Path(folder) / "run", CPU, Processes(rank, count))
    frames = TrainingFrames(rows.table.rows(rows.train), rows.soft.rows(rows.train), CONFIGURATION)
    share = range(rank * 8 // count, (rank + 1) * 8 // count)
    learner = trainer._on_all_processes()  # the distributed wrapper is what is tested
    learner.eval()
    trainer.cost(learner, collate([frames[Draw((row,) * 4, (0, row))] for row in share])).backward()
    torch.save([p.grad for p in trainer.network.parameters()], Path(folder) / f"gradients_{rank}_of_{count}.pt")
    if count > 1:
        distributed.destroy_process_group()


def test_two_processes_compute_the_gradient_of_one(tmp_path: Path) -> None:
    """Over gloo, each with half of the batch: the averaged gradient is the whole batch's, on both."""
    folder = write_painted_frames(tmp_path / "data")
    gradients_of_share(0, 1, str(folder), "")
    multiprocessing.spawn(gradients_of_share, (2, str(folder), str(tmp_path / "rendezvous")), nprocs=2)
    whole, first, second = (torch.load(folder / f"gradients_{name}.pt") for name in ("0_of_1", "0_of_2", "1_of_2"))
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in whole)
    for expected, one, two in zip(whole, first, second, strict=True):
        assert torch.equal(one, two)
        assert torch.allclose(one, expected, rtol=1e-4, atol=1e-6)


def test_torchrun_trains_with_two_processes(tmp_path: Path) -> None:
    """The command of the documentation: one run folder, one row per epoch, and it is left in order."""
    data = write_painted_frames(tmp_path / "data")
    painted_rows(data)
    settings = ["epochs=2", "batch_size=8", "validation=0.2"]
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "model_training"),
        *("train", str(data / "data.toml"), "--recipe", "smoke", "--output", str(tmp_path / "run"), "--device", "cpu"),
        *(part for setting in settings for part in ("--set", setting)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 2
    assert done.stderr.count("Next: roadcue-train export") == 1
    rows = history(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [0, 1]
    assert np.isfinite([row["loss"] for row in rows]).all()
