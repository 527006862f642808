"""Plans of how a model runs here, and the CPUs that there are."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.inference.execution import ExecutionPlan, available_cpus, cgroup_cpus, granted_cpus


@pytest.mark.parametrize(("frames", "size"), [(1, 1), (2, 4), (4, 4), (5, 16), (16, 16)])
def test_batch_is_filled_up_to_the_next_size(frames: int, size: int) -> None:
    assert ExecutionPlan(2, batch_sizes=(1, 4, 16)).size_for(frames) == size


@pytest.mark.parametrize(("sizes", "batched"), [((1,), False), ((1, 2), True), ((4,), True)])
def test_only_batches_of_one_frame_go_start_to_end(sizes: tuple[int, ...], batched: bool) -> None:
    plan = ExecutionPlan(2, batch_sizes=sizes)
    assert (plan.batched, plan.largest_batch) == (batched, sizes[-1])


@pytest.mark.parametrize("sizes", [(), (0,), (0, 1), (2, 1), (1, 1, 2)])
def test_sizes_that_do_not_rise_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="they must rise from at least 1"):
        ExecutionPlan(2, batch_sizes=sizes)


@pytest.mark.parametrize(("workers", "threads"), [(0, 1), (1, 0), (-1, 1)])
def test_plan_without_anybody_to_work_is_refused(workers: int, threads: int) -> None:
    with pytest.raises(ValueError, match=f"{workers} workers of {threads} threads; at least 1 of each"):
        ExecutionPlan(workers, threads)


def control_group(folder: Path) -> Callable[[str, str], None]:
    """Writes files of a control group."""

    def write(name: str, content: str) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)

    return write


def test_quota_of_a_version_2_control_group_is_read(tmp_path: Path) -> None:
    control_group(tmp_path)("cpu.max", "150000 100000\n")
    assert cgroup_cpus(tmp_path) == 1.5


def test_control_group_without_quota_grants_all(tmp_path: Path) -> None:
    control_group(tmp_path)("cpu.max", "max 100000\n")
    assert cgroup_cpus(tmp_path) is None


def test_quota_of_a_version_1_control_group_is_read(tmp_path: Path) -> None:
    control_group(tmp_path)("cpu/cpu.cfs_quota_us", "400000\n")
    control_group(tmp_path)("cpu/cpu.cfs_period_us", "100000\n")
    assert cgroup_cpus(tmp_path) == 4


def test_version_1_group_without_quota_grants_all(tmp_path: Path) -> None:
    control_group(tmp_path)("cpu/cpu.cfs_quota_us", "-1\n")
    control_group(tmp_path)("cpu/cpu.cfs_period_us", "100000\n")
    assert cgroup_cpus(tmp_path) is None


@pytest.mark.parametrize(
    ("quota", "granted", "available"), [(None, 3, 3), (1.5, 1.5, 2), (0.1, 0.1, 1), (0.5, 0.5, 1), (8.0, 3, 3)]
)
def test_cpus_are_the_lesser_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, granted: float, available: int
) -> None:
    """A part of a CPU counts as one for workers, and as what it is for figures."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr("service.inference.execution.cgroup_cpus", lambda _: quota)
    assert (granted_cpus(), available_cpus()) == (granted, available)
