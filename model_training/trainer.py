"""The loop: draw, learn, average, validate, keep the best; on one device or, under torchrun, on many.

Everything random is a function of (seed, epoch, position), so a checkpoint needs no generator state and a run that was
killed goes on to the identical result: bit for bit on the same CPU with the same number of threads; on CUDA up to the
order in which some of its kernels add.

# B = frames in a batch, L = labels
"""

import csv
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed import broadcast_object_list
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from model_training import checkpoints
from model_training.augmentation.frame_sizes import FrameSizes
from model_training.configuration import TrainingConfiguration
from model_training.curves import save_curves
from model_training.dataset import BalancedBatches, Batch, TrainingFrames, collate
from model_training.depthwise import with_fast_gradients
from model_training.errors import InvalidConfiguration, TrainingDiverged
from model_training.evaluation import network_logits
from model_training.imitation import Imitator
from model_training.kept_memory import keep_freed_memory
from model_training.masked_loss import evidence_cross_entropy, masked_cross_entropy
from model_training.metrics import decidable, label_average_precisions
from model_training.network import PresenceNetwork, parameter_groups
from model_training.teacher.cells import DetectorCells
from model_training.training_rows import TrainingRows
from model_training.whole_files import written_whole


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; handed to the observer after every step and every epoch."""

    epoch: int
    step: int
    steps: int
    loss: float
    history: list[dict[str, float]]


Observer = Callable[[Progress], None]


def _unobserved(_: Progress) -> None:
    """Nobody looks."""


@dataclass
class _State:
    """What changes from step to step, beside weights and optimiser."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    best: float = -math.inf
    epochs_since_best: int = 0
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Trains one network and leaves `best.pt`, `metrics.csv` and `resume.pt` in `folder`.

    Where `folder` holds a `resume.pt` of the same configuration, goes on from there; of another one, raises
    CheckpointError. With several processes the first alone validates and writes. A `detector` is imitated where the
    configuration gives that a weight.
    """

    def __init__(
        self,
        configuration: TrainingConfiguration,
        rows: TrainingRows,
        folder: Path,
        device: torch.device,
        processes: Processes = Processes(),
        detector: DetectorCells | None = None,
    ) -> None:
        if configuration.batch_size % processes.count:
            raise InvalidConfiguration(
                f"batch_size {configuration.batch_size} cannot be shared equally by {processes.count} processes"
            )
        self.configuration, self._rows, self._folder = configuration, rows, folder
        self._detector = detector if configuration.imitation_weight else None
        self._device, self._processes = device, processes
        torch.manual_seed(configuration.seed)
        network = PresenceNetwork(configuration.network, len(configuration.labels))
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        imitated = (detector.features, detector.scores) if (detector := self._detector) else ()
        self.learner = Imitator(self.network, *imitated).to(device)
        if device.type == "cpu":
            keep_freed_memory()
        if device.type == "cpu" and configuration.precision == "bfloat16":
            with_fast_gradients(self.network)
        self._optimizer = torch.optim.AdamW(
            parameter_groups(
                self.learner,
                self.network.trunk,
                configuration.learning_rate,
                configuration.trunk_rate,
                configuration.weight_decay,
            ),
            fused=True,
        )
        self._peak_rates = [group["lr"] for group in self._optimizer.param_groups]
        self._batches = self._sampler()
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(self._average_decay()), use_buffers=True
        )
        self._label_weights_L = self._weights()
        self._teacher_reliability_L = torch.from_numpy(rows.soft.reliability_L).to(device)
        self._state = _State()
        self._rows_fingerprint = {
            **rows.fingerprint(),
            "detector": self._detector.digest if self._detector else "none",
        }
        self._mean_loss = math.nan

    @property
    def history(self) -> list[dict[str, float]]:
        """One row per finished epoch: epoch, learning_rate, loss, seconds, ap_LABEL..., map."""
        return self._state.history

    @property
    def steps(self) -> int:
        """Steps of the whole run, if it is not stopped early."""
        return len(self._batches) * self.configuration.epochs

    @property
    def step(self) -> int:
        return self._state.epoch * len(self._batches) + self._state.batch

    def fit(self, observer: Observer = _unobserved) -> None:
        """Train until the last epoch, or until validation has not improved for `patience` epochs.

        Where no label has both kinds of known validation entries, nothing tells epochs apart and the last one is kept.
        Raises TrainingDiverged when the cost is no longer a number.
        """
        self._resume()
        learner = self._on_all_processes()
        if not self.step:
            # From here on there is a run to go on with.
            self._save()
        while not self._state.finished:
            started = time.monotonic()
            self._train_epoch(learner, observer)
            self._finish_epoch(time.monotonic() - started)
            observer(self._progress())

    def _train_epoch(self, learner: nn.Module, observer: Observer) -> None:
        self.network.train()
        for batch in self._loader():
            self._state.loss_sum += self._learn(learner, batch.to(self._device))
            self._state.batch += 1
            observer(self._progress())
            if self._state.batch % self.configuration.checkpoint_every_steps == 0:
                self._save()

    def _learn(self, learner: nn.Module, batch: Batch) -> float:
        torch.manual_seed(_seed(self.configuration.seed, self.step))
        self._set_rates()
        cost = self.cost(learner, batch)
        if not torch.isfinite(cost):
            raise TrainingDiverged(f"the cost is {cost.item()} at step {self.step}; try a smaller learning_rate")
        self._optimizer.zero_grad(set_to_none=True)
        cost.backward()
        nn.utils.clip_grad_norm_(self.learner.parameters(), self.configuration.gradient_norm)
        self._optimizer.step()
        self.average.update_parameters(self.network)
        return float(cost.detach())

    def cost(self, learner: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy over known entries, plus the teacher's over unknown ones, plus the boxes' on the maps.

        And, where a detector is imitated, the distance to what it computes in every cell.
        """
        configuration = self.configuration
        with self._autocast():
            output, imitated = learner(batch.frames_BHWC)
        weights_L = self._label_weights_L
        cost = masked_cross_entropy(output.logits_BL, batch.targets_BL, batch.known_BL, weights_L)
        soft = masked_cross_entropy(
            output.logits_BL, batch.soft_BL, batch.soft_known_BL, weights_L * self._teacher_reliability_L
        )
        evidence = evidence_cross_entropy(output.evidence_BLhw, batch.cells_BLhw, weights_L)
        cost = cost + configuration.soft_weight * soft + configuration.evidence_weight * evidence
        if not imitated:
            return cost
        return cost + configuration.imitation_weight * self.learner.cost(imitated, batch.detected)

    def _finish_epoch(self, seconds: float) -> None:
        state = self._state
        if self._processes.is_first:
            self._record(self._validate(), seconds)
        if self._processes.count > 1:
            shared = [state]
            broadcast_object_list(shared, src=0)
            self._state = state = shared[0]
        state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0
        stale = state.epochs_since_best >= self.configuration.patience
        state.finished = stale or state.epoch >= self.configuration.epochs
        self._save()

    def _validate(self) -> list[float]:
        table = self._rows.table.rows(self._rows.validation)
        size = (self.configuration.height, self.configuration.width)
        with self._autocast():
            logits_NL = network_logits(cast(PresenceNetwork, self.average.module), table.images, size, self._device)
        precisions_L = label_average_precisions(table.entries_NL, logits_NL)
        # All scores of a label of one kind are as good as any: 1 or nothing, whatever the network says.
        told = decidable(table.entries_NL)
        return [precision if j in told else math.nan for j, precision in enumerate(precisions_L)]

    def _record(self, precisions_L: list[float], seconds: float) -> None:
        state = self._state
        mean = math.nan if all(map(math.isnan, precisions_L)) else float(np.nanmean(precisions_L))
        by_label = {f"ap_{key}": value for key, value in zip(self.configuration.labels, precisions_L, strict=True)}
        rate = max(group["lr"] for group in self._optimizer.param_groups)
        loss = state.loss_sum / len(self._batches)
        row = {"epoch": state.epoch, "learning_rate": rate, "loss": loss, **by_label, "map": mean, "seconds": seconds}
        state.history.append(row)
        _write_table(self._folder / "metrics.csv", state.history)
        save_curves(state.history, self.configuration.labels, self._folder / "curves.png")
        if math.isnan(mean):
            self._save_best(row)
        elif mean > state.best:
            state.best, state.epochs_since_best = mean, 0
            self._save_best(row)
        else:
            state.epochs_since_best += 1

    def _save_best(self, row: Mapping[str, float]) -> None:
        best = {
            "network": self.average.module.state_dict(),
            "metrics": dict(row),
            "rows": self._rows_fingerprint,
        }
        checkpoints.save(self._folder / checkpoints.BEST, self.configuration, best)

    def _save(self) -> None:
        if not self._processes.is_first:
            return
        checkpoints.save(
            self._folder / checkpoints.RESUME,
            self.configuration,
            {
                "network": self.network.state_dict(),
                "imitation": self.learner.maps.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "state": vars(self._state),
                "rows": self._rows_fingerprint,
            },
        )

    def _resume(self) -> None:
        path = self._folder / checkpoints.RESUME
        self._folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            return
        configuration, stored = checkpoints.load(path)
        checkpoints.check_same(path, self.configuration, configuration)
        checkpoints.check_same_rows(path, self._rows_fingerprint, stored["rows"])
        self.network.load_state_dict(stored["network"])
        self.learner.maps.load_state_dict(stored["imitation"])
        self.average.load_state_dict(stored["average"])
        self._optimizer.load_state_dict(stored["optimizer"])
        self._state = _State(**stored["state"])

    def _on_all_processes(self) -> Any:
        if self._processes.count == 1:
            return self.learner
        return nn.parallel.DistributedDataParallel(self.learner)

    def _loader(self) -> Iterable[Batch]:
        rows = self._rows
        self._batches.epoch, self._batches.first_batch = self._state.epoch, self._state.batch
        frames: Dataset[Any] = TrainingFrames(
            rows.table.rows(rows.train), rows.soft.rows(rows.train), self.configuration, self._detector
        )
        return DataLoader(
            frames,
            batch_sampler=self._batches,
            collate_fn=collate,
            num_workers=self.configuration.loader_workers,
            pin_memory=self._device.type == "cuda",
        )

    def _sampler(self) -> BalancedBatches:
        configuration, table = self.configuration, self._rows.table
        sources = tuple(table.sources[row] for row in self._rows.train)
        return BalancedBatches(
            sources,
            configuration.source_exponent,
            configuration.batch_size,
            configuration.seed,
            self._processes.rank,
            self._processes.count,
            FrameSizes.of(configuration),
        )

    def _weights(self) -> Tensor:
        unknown = set(self.configuration.label_weights) - set(self.configuration.labels)
        if unknown:
            raise InvalidConfiguration(
                f"label_weights names {sorted(unknown)}; the labels are {list(self.configuration.labels)}"
            )
        weights = [self.configuration.label_weights.get(label, 1.0) for label in self.configuration.labels]
        return torch.tensor(weights, device=self._device)

    def _average_decay(self) -> float:
        """The average reaches back over a share of the run, so that a short run does not keep its first weights."""
        return 1 - 1 / max(1.0, self.configuration.average_share * self.steps)

    def _set_rates(self) -> None:
        factor = schedule(self.step, self.steps, self.configuration.warmup)
        for group, peak in zip(self._optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * factor

    def _autocast(self) -> torch.autocast:
        reduced = self.configuration.precision == "bfloat16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=reduced)

    def _progress(self) -> Progress:
        if self._state.batch:
            self._mean_loss = self._state.loss_sum / self._state.batch
        return Progress(self._state.epoch, self.step, self.steps, self._mean_loss, self._state.history)


def schedule(step: int, steps: int, warmup: float) -> float:
    """Factor on the peak rate: linear up over the first `warmup` of all steps, then half a cosine down to 0."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with written_whole(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
