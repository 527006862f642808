"""Batches of a few fixed sizes through buffers that are bound once and used again and again.

A provider that meets a new shape searches and reserves anew; with a few sizes, each run beforehand, no frame pays for
that. CUDA searches anew whenever the shape is not that of the run before: each size has a session of its own there. On
CUDA, too, the frames are gathered in page-locked memory, from which the device copies by itself.

# B = frames in a batch, L = labels, H/W = height/width in pixels, C = 3 (RGB), h/w = evidence grid
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.inference.artifact import EVIDENCE, INPUT, PROBABILITIES, ModelMetadata
from service.inference.cuda_driver import page_lock

Memory = Literal["cpu", "cuda"]
Frame = NDArray[np.uint8]

# Two runs reserve the memory, the third is recorded where graphs are: none may be reserved while recording.
WARM_UP_RUNS: Final = 3


class BatchBinding:
    """The buffers of one batch size, and the session that runs it; not to be used by two threads at once.

    With a number of its own as `graph`, CUDA records the run and replays it: on these addresses, and only on the
    thread that recorded it.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        metadata: ModelMetadata,
        size: int,
        memory: Memory,
        graph: int | None = None,
    ) -> None:
        self._session, self._on_device = session, memory != "cpu"
        labels, network = len(metadata.labels), metadata.input
        self._frames_BHWC = np.zeros((size, network.height, network.width, 3), np.uint8)
        if self._on_device:
            page_lock(self._frames_BHWC)
        self._frames = _bindable(self._frames_BHWC, memory)
        self._probabilities = _bindable(np.zeros((size, labels), np.float32), memory)
        self._evidence = _bindable(np.zeros((size, labels, *metadata.evidence_grid), np.float32), memory)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(INPUT, self._frames)
        self._binding.bind_ortvalue_output(PROBABILITIES, self._probabilities)
        self._binding.bind_ortvalue_output(EVIDENCE, self._evidence)
        self._options = run_options(graph)

    @property
    def size(self) -> int:
        return len(self._frames_BHWC)

    def run(self, frames_HWC: Sequence[Frame]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities and evidence of these frames, at most as many as the size; what fills it up is not answered."""
        frames = len(frames_HWC)
        if frames:
            np.stack(frames_HWC, out=self._frames_BHWC[:frames])
        if self._on_device:
            self._frames.update_inplace(self._frames_BHWC)
        self._session.run_with_iobinding(self._binding, self._options)
        # Copied: the next run overwrites the buffers.
        return self._probabilities.numpy()[:frames].copy(), self._evidence.numpy()[:frames].copy()

    def warm_up(self) -> None:
        """Run until nothing is left to be searched, reserved or recorded."""
        for _ in range(WARM_UP_RUNS):
            self.run([])


class BatchBindings:
    """Bindings of rising sizes, all of them warm; opened and used by one thread."""

    def __init__(self, bindings: Iterable[BatchBinding]) -> None:
        self._bindings = list(bindings)
        for binding in self._bindings:
            binding.warm_up()

    def run(self, frames_HWC: Sequence[Frame]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities and evidence of these frames, at most as many as the largest size."""
        binding = next(binding for binding in self._bindings if binding.size >= len(frames_HWC))
        return binding.run(frames_HWC)


def run_options(graph: int | None = None) -> onnxruntime.RunOptions:
    """Options of a run that CUDA records and replays as the graph of this number, or, without one, simply runs."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(-1 if graph is None else graph))
    return options


def _bindable(buffer: NDArray[np.uint8] | NDArray[np.float32], memory: Memory) -> onnxruntime.OrtValue:
    return onnxruntime.OrtValue.ortvalue_from_numpy(buffer, memory, 0)
