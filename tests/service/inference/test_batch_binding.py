"""Buffers of a batch: where they lie, what is recorded, and what is warm before the first frame."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from service.inference import batch_binding
from service.inference.batch_binding import WARM_UP_RUNS, BatchBinding, BatchBindings, run_options
from tests.tiny_model import GRID, HEIGHT, WIDTH, tiny_metadata


class FakeValue:
    """A tensor on a device: what was copied there last."""

    def __init__(self, buffer: NDArray[Any], memory: str) -> None:
        self.content, self.memory = buffer.copy(), memory

    def update_inplace(self, buffer: NDArray[Any]) -> None:
        """Copy to the device."""
        self.content = buffer.copy()

    def numpy(self) -> NDArray[Any]:
        """Copy from the device."""
        return self.content


class FakeSession:
    """A session on a device; the probability of label j is that of colour channel j of a frame's first pixel."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, str]] = []
        self._bound: dict[str, FakeValue] = {}

    def io_binding(self) -> SimpleNamespace:
        """What is bound to which name."""
        bound: dict[str, FakeValue] = {}
        return SimpleNamespace(
            bind_ortvalue_input=bound.__setitem__, bind_ortvalue_output=bound.__setitem__, bound=bound
        )

    def run_with_iobinding(self, binding: SimpleNamespace, options: onnxruntime.RunOptions) -> None:
        """Compute on what lies on the device, and note the batch size and the graph."""
        frames_BHWC = binding.bound["frames"].content
        self.runs.append((len(frames_BHWC), options.get_run_config_entry("gpu_graph_id")))
        binding.bound["probabilities"].content[:] = frames_BHWC[:, 0, 0, :2] / 255


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[Any]]:
    """The driver, which never fails to lock pages: which buffers it was given."""
    buffers: list[NDArray[Any]] = []
    monkeypatch.setattr(batch_binding, "page_lock", lambda buffer: buffers.append(buffer) or True)
    return buffers


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, locked: list[NDArray[Any]]) -> list[FakeValue]:
    """The edge of the process: ONNX Runtime puts what it is given on a device."""
    values: list[FakeValue] = []

    def place(buffer: NDArray[Any], memory: str, device_id: int) -> FakeValue:
        assert device_id == 0
        values.append(FakeValue(buffer, memory))
        return values[-1]

    runtime = SimpleNamespace(OrtValue=SimpleNamespace(ortvalue_from_numpy=place), RunOptions=onnxruntime.RunOptions)
    monkeypatch.setattr(batch_binding, "onnxruntime", runtime)
    return values


def bindings(session: FakeSession, sizes: Sequence[int], graphs: Sequence[int | None]) -> BatchBindings:
    """Bindings on a device."""
    return BatchBindings(
        BatchBinding(session, tiny_metadata(), size, "cuda", graph) for size, graph in zip(sizes, graphs, strict=True)
    )


def frame(red: int, green: int) -> NDArray[np.uint8]:
    """A frame of one colour."""
    return np.full((HEIGHT, WIDTH, 3), (red, green, 0), np.uint8)


def test_everything_lies_on_the_device_in_its_shape(device: list[FakeValue]) -> None:
    bindings(FakeSession(), [4], [None])
    assert [(value.content.shape, value.content.dtype.name, value.memory) for value in device] == [
        ((4, HEIGHT, WIDTH, 3), "uint8", "cuda"),
        ((4, 2), "float32", "cuda"),
        ((4, 2, *GRID), "float32", "cuda"),
    ]


def test_frames_are_gathered_in_page_locked_memory(device: list[FakeValue], locked: list[NDArray[Any]]) -> None:
    """The buffer of every size, and the same one that a batch is gathered in: the device copies from it by itself."""
    run = bindings(FakeSession(), [1, 4], [None, None]).run
    assert [buffer.shape for buffer in locked] == [(1, HEIGHT, WIDTH, 3), (4, HEIGHT, WIDTH, 3)]
    run([frame(51, 0), frame(0, 0)])
    assert locked[1][0, 0, 0].tolist() == [51, 0, 0]


def test_nothing_is_locked_where_the_cpu_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: NDArray[Any]) -> bool:
        raise AssertionError("there is no device to copy")

    runtime = SimpleNamespace(
        OrtValue=SimpleNamespace(ortvalue_from_numpy=lambda buffer, memory, _: FakeValue(buffer, memory)),
        RunOptions=onnxruntime.RunOptions,
    )
    monkeypatch.setattr(batch_binding, "onnxruntime", runtime)
    monkeypatch.setattr(batch_binding, "page_lock", refuse)
    assert BatchBinding(FakeSession(), tiny_metadata(), 2, "cpu").size == 2


def test_each_batch_is_copied_to_the_device_before_it_runs(device: list[FakeValue]) -> None:
    """51 of 255 is 0.2, 102 is 0.4."""
    run = bindings(FakeSession(), [2], [None]).run
    np.testing.assert_allclose(run([frame(255, 51), frame(0, 102)])[0], [[1, 0.2], [0, 0.4]], atol=1e-6)
    np.testing.assert_allclose(run([frame(51, 0)])[0], [[0.2, 0]], atol=1e-6)


def test_every_size_is_warm_and_recorded_before_the_first_frame(device: list[FakeValue]) -> None:
    """CUDA needs two runs that reserve memory before it records one; each size is a graph of its own."""
    assert WARM_UP_RUNS >= 3
    session = FakeSession()
    opened = bindings(session, [1, 4], [7, 8])
    assert session.runs == [(1, "7")] * WARM_UP_RUNS + [(4, "8")] * WARM_UP_RUNS
    opened.run([frame(0, 0)] * 3)
    opened.run([frame(0, 0)])
    assert session.runs[-2:] == [(4, "8"), (1, "7")]


def test_run_without_a_graph_is_neither_recorded_nor_replayed() -> None:
    """ONNX Runtime records a run that says nothing; -1 is what forbids it."""
    assert run_options().get_run_config_entry("gpu_graph_id") == "-1"
    assert run_options(3).get_run_config_entry("gpu_graph_id") == "3"
