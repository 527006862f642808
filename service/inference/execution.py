"""How a model runs on this machine: how many frames at once, on how many threads, in which batches."""

import math
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """Either each frame start to end on one of the workers, or decoded by them and inferred in batches.

    With batch sizes of (1,) a worker brings a frame from bytes to its answer. With more than one, the workers decode,
    and one inference thread forms batches of whatever waits, each filled up to the next of the sizes. With CUDA graphs
    the run of each size is recorded once and replayed.

    >>> ExecutionPlan(inference_workers=4, batch_sizes=(1, 2, 4, 8)).size_for(5)
    8
    """

    inference_workers: int
    threads_per_worker: int = 1
    batch_sizes: tuple[int, ...] = (1,)
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        if min(self.inference_workers, self.threads_per_worker) < 1:
            raise ValueError(
                f"a plan has {self.inference_workers} workers of {self.threads_per_worker} threads; at least 1 of each"
            )
        if not self.batch_sizes or self.batch_sizes[0] < 1 or list(self.batch_sizes) != sorted({*self.batch_sizes}):
            raise ValueError(f"batch sizes are {self.batch_sizes}; they must rise from at least 1, none twice")

    @property
    def batched(self) -> bool:
        """Whether one inference thread forms batches."""
        return self.batch_sizes != (1,)

    @property
    def largest_batch(self) -> int:
        return self.batch_sizes[-1]

    def size_for(self, frames: int) -> int:
        """The least of the sizes that holds so many frames."""
        return next(size for size in self.batch_sizes if size >= frames)


def available_cpus() -> int:
    """CPUs that this process may use, a part of one counted as one; at least 1."""
    return max(1, math.ceil(granted_cpus()))


def granted_cpus() -> float:
    """CPU seconds that this process may use in a second: its affinity, or a control group's quota if that is less."""
    quota = cgroup_cpus(Path("/sys/fs/cgroup"))
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, quota) if quota else allowed


def cgroup_cpus(root: Path) -> float | None:
    """CPUs that the control group at `root` grants (version 2, else version 1); None without a quota."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return _cgroup_v1_cpus(root / "cpu")


def _cgroup_v1_cpus(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
