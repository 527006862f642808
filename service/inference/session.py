"""A model file on an execution provider of ONNX Runtime.

# B = frames in a batch, L = labels, H/W = height/width in pixels, C = 3 (RGB), h/w = evidence grid
"""

import contextlib
import io
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, repeat
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.errors import ProviderUnavailable, SelfTestFailed
from service.inference.artifact import EVIDENCE, INPUT, PROBABILITIES, Artifact, refuse_external_data
from service.inference.batch_binding import BatchBinding, BatchBindings, Memory, run_options
from service.inference.cuda_driver import driver_hindrance

# Neither recorded as a CUDA graph nor replayed: any thread may run any number of frames.
_SIMPLY_RUN: Final = run_options()

Device = Literal["auto", "cuda", "cpu"]
CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"

_CUDA_OPTIONS: Final = {
    # EXHAUSTIVE, the default, costs hundreds of ms for every new shape; DEFAULT means cuDNN's slow fallback.
    "cudnn_conv_algo_search": "HEURISTIC",
    # The arena then grows by what is needed instead of doubling.
    "arena_extend_strategy": "kSameAsRequested",
}


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the network says about a batch."""

    probabilities_BL: NDArray[np.float32]
    evidence_BLhw: NDArray[np.float32]


class ModelSession:
    """Runs an artifact; safe to call from several threads at once.

    `device` "cuda" insists on the CUDA provider and raises ProviderUnavailable where it cannot run the model or does
    not reproduce its self-test; "auto" then takes the CPU and says why in `fallback_reason`; "cpu" never tries CUDA.
    With `cuda_graphs` CUDA records the run of each batch size that is bound and replays it; one thread alone may run
    batches then, and nothing else may run meanwhile.
    """

    def __init__(
        self, artifact: Artifact, device: Device = "auto", intra_op_threads: int = 1, cuda_graphs: bool = False
    ) -> None:
        self._artifact = artifact
        self._intra_op_threads = intra_op_threads
        self._records_graphs = cuda_graphs
        # One for each binding ever made: a graph replayed for another would read and write the wrong addresses.
        self._graph_numbers = count(1)
        self.fallback_reason: str | None = None
        self._session = self._open(device)
        self.provider: str = self._session.get_providers()[0]
        # The one that is there has run a single frame.
        self._session_by_size = {1: self._session}
        self.cuda_graphs = cuda_graphs and self.provider == CUDA

    def run(self, frames_BHWC: NDArray[np.uint8]) -> Outputs:
        """Probabilities and evidence for uint8 RGB frames of the artifact's input size."""
        return _run(self._session, frames_BHWC)

    def bind(self, batch_sizes: Sequence[int]) -> Callable[[Sequence[NDArray[np.uint8]]], Outputs]:
        """A function that runs as many frames as the largest of these sizes at once, warm for all of them.

        Raises ProviderUnavailable where CUDA, which has run a single frame, does not run these batches.
        Call it on the thread that called this, and on no other: CUDA keeps what it has recorded for each thread.
        """
        try:
            bindings = self._bindings(batch_sizes)
        except Exception as problem:
            if self.provider == CUDA:
                sizes = ", ".join(map(str, batch_sizes))
                raise cuda_failed(f"batches of {sizes} failed: {problem}") from problem
            raise
        if any(session.get_providers()[0] != self.provider for session in self._session_by_size.values()):
            raise cuda_failed("ONNX Runtime fell back to the CPU at batches (see its messages above)")
        return lambda frames_HWC: Outputs(*bindings.run(frames_HWC))

    def _bindings(self, batch_sizes: Sequence[int]) -> BatchBindings:
        memory: Memory = "cuda" if self.provider == CUDA else "cpu"
        graphs = self._graph_numbers if self.cuda_graphs else repeat(None)
        return BatchBindings(
            BatchBinding(self._session_for(size), self._artifact.metadata, size, memory, graph)
            for size, graph in zip(batch_sizes, graphs, strict=False)
        )

    def _session_for(self, batch_size: int) -> onnxruntime.InferenceSession:
        """On CUDA one for each size, else the one for all.

        ONNX Runtime keeps one plan of each convolution, and has cuDNN make another whenever the shape changes, back to
        one that it had before, too (1.31; microsoft/onnxruntime#23006): no size would stay warm beside another.
        """
        if self.provider != CUDA:
            return self._session
        if batch_size not in self._session_by_size:
            self._session_by_size[batch_size] = self._create_on_cuda()
        return self._session_by_size[batch_size]

    def warm_up(self, batch_size: int = 1) -> None:
        """Run once, so that the first real frame does not pay for lazy initialisation."""
        size = self._artifact.metadata.input
        self.run(np.zeros((batch_size, size.height, size.width, 3), np.uint8))

    def check_self_test(self) -> None:
        """Raise SelfTestFailed unless the model reproduces what the exporter saw."""
        if deviation := self._self_test_deviation(self._session):
            raise SelfTestFailed(f"{self._artifact.path}: {deviation}")

    def _self_test_deviation(self, session: onnxruntime.InferenceSession) -> str | None:
        """The first self-test that a session does not reproduce, and what it answers; None where it does all."""
        metadata = self._artifact.metadata
        for number, vector in enumerate(metadata.self_test, start=1):
            frame_HWC = vector.frame(metadata.input.height, metadata.input.width)
            seen_L = _run(session, frame_HWC[np.newaxis]).probabilities_BL[0]
            error = float(np.max(np.abs(seen_L - np.asarray(vector.probabilities, np.float32))))
            if not error <= vector.tolerance:  # so written that NaN fails too
                return (
                    f"self-test {number} of {len(metadata.self_test)} is off by {error:.2g} "
                    f"on {session.get_providers()[0]} (tolerance {vector.tolerance:.2g}): "
                    f"expected {list(vector.probabilities)}, got {[round(float(p), 6) for p in seen_L]}"
                )
        return None

    def _open(self, device: Device) -> onnxruntime.InferenceSession:
        if device == "cpu":
            return self._create([CPU])
        session, reason = self._open_cuda()
        if session is not None:
            return session
        if device == "cuda":
            raise _unavailable("device=cuda was asked for", reason)
        self.fallback_reason = reason
        return self._create([CPU])

    def _open_cuda(self) -> tuple[onnxruntime.InferenceSession | None, str]:
        """A session that has reproduced the self-test on CUDA, or why there is none."""
        if hindrance := cuda_hindrance():
            return None, hindrance
        try:
            messages = _preload_libraries()
            session = self._create_on_cuda()
            # A library that cannot be loaded raises nothing: only the provider list and a real run tell.
            deviation = self._self_test_deviation(session)
            if session.get_providers()[0] != CUDA:
                why = messages or "see its messages above"
                return None, f"ONNX Runtime could not load it and fell back to the CPU ({why})"
        except Exception as problem:  # noqa: BLE001 - ONNX Runtime's exception classes share no base but Exception
            return None, f"a first run failed: {problem}"
        return (None, f"its answers differ: {deviation}") if deviation else (session, "")

    def _create_on_cuda(self) -> onnxruntime.InferenceSession:
        return self._create([(CUDA, self._cuda_options()), CPU])

    def _cuda_options(self) -> dict[str, str]:
        # TF32, the default, keeps 10 of 23 bits of a float32's mantissa: the model would not reproduce its self-test.
        # float16 has no more bits to lose, and without it ONNX Runtime takes no tensor cores for convolutions at all,
        # whatever their type (1.31). int8's convolutions are float32 on CUDA.
        tensor_cores = self._artifact.metadata.precision == "float16"
        flags = {"use_tf32": tensor_cores, "enable_cuda_graph": self._records_graphs}
        return _CUDA_OPTIONS | {name: str(int(on)) for name, on in flags.items()}

    def _create(self, providers: list[str | tuple[str, dict[str, str]]]) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._intra_op_threads
        options.inter_op_num_threads = 1
        # A pattern lays all activations of a run side by side; without one, int8's small ones come back to memory that
        # is still in the cache: 5 to 7 % less time a frame, and none less for float32.
        options.enable_mem_pattern = self._artifact.metadata.precision != "int8"
        # Idle threads that spin take the cores from decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        refuse_external_data(options, self._artifact.path)
        if not adds_bytes_exactly():
            options.add_session_config_entry("session.x64quantprecision", "1")
        # Else a provider that fails is replaced by the CPU, here or in any later run, and only standard output says so.
        return onnxruntime.InferenceSession(self._artifact.content, options, providers=providers, enable_fallback=0)


def adds_bytes_exactly(cpu_description: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU's fast 8-bit kernels give exact sums: those of x64 without VNNI saturate at 16 bits.

    With `session.x64quantprecision` ONNX Runtime takes exact ones, on CPUs with VNNI too (1.31), and needs 2.4 times as
    long, 1.4 times as long as with float32: so it is asked only where it is needed, and where nothing tells.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        flags = re.search(r"^flags\s*:(.*)$", cpu_description.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return False
    return flags is not None and not {"avx512_vnni", "avx_vnni"}.isdisjoint(flags[1].split())


def cuda_hindrance() -> str | None:
    """Why CUDA need not be tried on this machine; None where it may run."""
    if CUDA not in onnxruntime.get_available_providers():
        return "this build of ONNX Runtime has no CUDA provider"
    return driver_hindrance()


def cuda_failed(reason: str) -> ProviderUnavailable:
    """The error of a session that has run single frames on CUDA, and does nothing more there."""
    return _unavailable("single frames ran on CUDA", reason)


def _unavailable(before: str, reason: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"{before}, but the CUDA provider cannot run the model: {reason}. "
        "Install the NVIDIA driver and `roadcue[cuda]`, or choose device=auto or device=cpu",
        reason=reason,
    )


def _preload_libraries() -> str:
    """Load the libraries of CUDA; returns in one line what ONNX Runtime prints on standard output, which is answers'.

    It prints which of them it cannot load, and raises nothing.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls()
    return " ".join(printed.getvalue().split())


def _run(session: onnxruntime.InferenceSession, frames_BHWC: NDArray[np.uint8]) -> Outputs:
    return Outputs(*session.run([PROBABILITIES, EVIDENCE], {INPUT: frames_BHWC}, _SIMPLY_RUN))
