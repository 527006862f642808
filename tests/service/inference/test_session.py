"""What a model says, where it runs, and how it refuses to run where it cannot."""

import ctypes
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from service.errors import ProviderUnavailable, SelfTestFailed
from service.inference import session as session_module
from service.inference.artifact import Artifact, Precision, SelfTestVector
from service.inference.session import CPU, CUDA, ModelSession, adds_bytes_exactly
from service.inference.variants import files_beside
from service.settings import Settings
from tests.tiny_model import GRID, HEIGHT, WIDTH, tiny_metadata, write_tiny_model

Frames = NDArray[np.uint8]


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """The tiny model: the probability of label j is the mean of colour channel j."""
    return Artifact.read(write_tiny_model(tmp_path / "model.onnx"))


def random_frames(batch: int) -> Frames:
    """Frames of the tiny model's size."""
    return np.random.default_rng(batch).integers(0, 256, (batch, HEIGHT, WIDTH, 3), np.uint8)


def with_self_test(tmp_path: Path, *vectors: SelfTestVector) -> ModelSession:
    """The tiny model on the CPU, exported with these vectors."""
    metadata = tiny_metadata().model_copy(update={"self_test": vectors}).model_dump_json()
    return ModelSession(Artifact.read(write_tiny_model(tmp_path / "planted.onnx", metadata_json=metadata)), "cpu")


# Answers


def test_probabilities_are_the_means_of_the_colours(artifact: Artifact) -> None:
    """Half of the frame is (255, 0, 0), half (51, 102, 0): red 0.6 and green 0.2."""
    frames_BHWC = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    frames_BHWC[:, : HEIGHT // 2] = (255, 0, 0)
    frames_BHWC[:, HEIGHT // 2 :] = (51, 102, 0)
    outputs = ModelSession(artifact, "cpu").run(frames_BHWC)
    np.testing.assert_allclose(outputs.probabilities_BL, [[0.6, 0.2]], atol=1e-6)
    np.testing.assert_allclose(outputs.evidence_BLhw[0, 0], [[1, 1, 1], [0.2, 0.2, 0.2]], atol=1e-6)
    np.testing.assert_allclose(outputs.evidence_BLhw[0, 1], [[0, 0, 0], [0.4, 0.4, 0.4]], atol=1e-6)
    assert outputs.probabilities_BL.dtype == outputs.evidence_BLhw.dtype == np.float32


def test_batch_equals_its_frames_one_by_one(artifact: Artifact) -> None:
    model, frames_BHWC = ModelSession(artifact, "cpu"), random_frames(5)
    together = model.run(frames_BHWC)
    assert together.evidence_BLhw.shape == (5, 2, *GRID)
    for index in range(5):
        alone = model.run(frames_BHWC[index : index + 1])
        np.testing.assert_allclose(together.probabilities_BL[index], alone.probabilities_BL[0], atol=1e-6)
        np.testing.assert_allclose(together.evidence_BLhw[index], alone.evidence_BLhw[0], atol=1e-6)


@pytest.mark.parametrize("intra_op_threads", [1, 2])
def test_eight_threads_get_what_one_gets(artifact: Artifact, intra_op_threads: int) -> None:
    model = ModelSession(artifact, "cpu", intra_op_threads)
    batches = [random_frames(1 + number % 3) for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        answers = [outputs.probabilities_BL for outputs in pool.map(model.run, batches)]
    for frames_BHWC, probabilities_BL in zip(batches, answers, strict=True):
        expected_BL = frames_BHWC[..., :2].astype(float).mean(axis=(1, 2)) / 255
        np.testing.assert_allclose(probabilities_BL, expected_BL, atol=1e-5)


def test_model_of_one_label_answers_with_one_column(tmp_path: Path) -> None:
    model = ModelSession(Artifact.read(write_tiny_model(tmp_path / "model.onnx", labels=("red",))), "cpu")
    assert model.run(random_frames(3)).probabilities_BL.shape == (3, 1)
    model.check_self_test()


def test_cpu_is_never_a_fallback(artifact: Artifact) -> None:
    model = ModelSession(artifact, "cpu")
    assert (model.provider, model.fallback_reason) == (CPU, None)


def test_warm_up_runs_the_batch_it_is_asked_for(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelSession(artifact, "cpu")
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(model, "run", lambda frames_BHWC: seen.append(frames_BHWC.shape))
    model.warm_up()
    model.warm_up(batch_size=4)
    assert seen == [(1, HEIGHT, WIDTH, 3), (4, HEIGHT, WIDTH, 3)]


# Batches through bound buffers


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 8])
def test_bound_batch_answers_like_the_frames_one_by_one(artifact: Artifact, frames: int) -> None:
    """Also where it is filled up: 3 and 5 frames run in buffers of 4 and 8."""
    model = ModelSession(artifact, "cpu")
    run = model.bind((1, 2, 4, 8))
    frames_BHWC = random_frames(frames)
    bound = run(list(frames_BHWC))
    assert bound.probabilities_BL.shape == (frames, 2)
    assert bound.evidence_BLhw.shape == (frames, 2, *GRID)
    for index in range(frames):
        alone = model.run(frames_BHWC[index : index + 1])
        np.testing.assert_allclose(bound.probabilities_BL[index], alone.probabilities_BL[0], atol=1e-6)
        np.testing.assert_allclose(bound.evidence_BLhw[index], alone.evidence_BLhw[0], atol=1e-6)


def test_answers_of_a_bound_batch_outlive_the_next_one(artifact: Artifact) -> None:
    """The buffers are used again: black after white must leave white's answer as it was."""
    run = ModelSession(artifact, "cpu").bind((2,))
    white = run([np.full((HEIGHT, WIDTH, 3), 255, np.uint8)] * 2)
    run([np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 2)
    np.testing.assert_allclose(white.probabilities_BL, 1, atol=1e-6)
    np.testing.assert_allclose(white.evidence_BLhw, 1, atol=1e-6)


def test_what_fills_up_a_batch_is_not_answered(artifact: Artifact) -> None:
    """Four white frames, then one black one in the same buffers."""
    run = ModelSession(artifact, "cpu").bind((4,))
    run([np.full((HEIGHT, WIDTH, 3), 255, np.uint8)] * 4)
    black = run([np.zeros((HEIGHT, WIDTH, 3), np.uint8)])
    np.testing.assert_array_equal(black.probabilities_BL, [[0, 0]])


# Self-test

BLACK = np.zeros((1, 1, 3), np.uint8)
HALF_RED = np.array([[[255, 0, 0], [0, 0, 0]]], np.uint8)


def test_right_vectors_pass(tmp_path: Path) -> None:
    """Black is 0, 0; red on one half is 0.5, 0."""
    with_self_test(
        tmp_path,
        SelfTestVector.of(BLACK, np.array([0, 0], np.float32), 1e-6),
        SelfTestVector.of(HALF_RED, np.array([0.5, 0], np.float32), 1e-6),
    ).check_self_test()


def test_wrong_vector_fails_with_what_came(tmp_path: Path) -> None:
    """The second one expects 0.25 where the model answers 0.5."""
    model = with_self_test(
        tmp_path,
        SelfTestVector.of(BLACK, np.array([0, 0], np.float32), 1e-3),
        SelfTestVector.of(HALF_RED, np.array([0.25, 0], np.float32), 1e-3),
    )
    message = (
        r"planted\.onnx: self-test 2 of 2 is off by 0\.25 on CPUExecutionProvider \(tolerance 0\.001\): "
        r"expected \[0\.25, 0\.0\], got \[0\.5, 0\.0\]"
    )
    with pytest.raises(SelfTestFailed, match=message):
        model.check_self_test()


@pytest.mark.parametrize(("off", "passes"), [(0.009, True), (0.011, False)])
def test_tolerance_is_the_bound(tmp_path: Path, off: float, passes: bool) -> None:
    model = with_self_test(tmp_path, SelfTestVector.of(HALF_RED, np.array([0.5 + off, 0], np.float32), 0.01))
    if passes:
        model.check_self_test()
    else:
        with pytest.raises(SelfTestFailed, match=r"off by 0\.011"):
            model.check_self_test()


def test_answer_that_is_no_number_fails(tmp_path: Path) -> None:
    """A scale of NaN makes every probability NaN, which differs from nothing by more than any tolerance."""
    path = write_tiny_model(tmp_path / "model.onnx")
    model = onnx.load(path)
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "scale")
    scale.CopyFrom(numpy_helper.from_array(np.asarray(np.nan, np.float32), "scale"))
    onnx.save(model, path)
    with pytest.raises(SelfTestFailed, match="off by nan"):
        ModelSession(Artifact.read(path), "cpu").check_self_test()


def test_exchanged_colours_fail(tmp_path: Path) -> None:
    """The mistake that self-tests are for: a graph that takes BGR."""
    path = write_tiny_model(tmp_path / "model.onnx")
    model = onnx.load(path)
    channels = next(tensor for tensor in model.graph.initializer if tensor.name == "channels")
    channels.CopyFrom(numpy_helper.from_array(np.array([2, 1], np.int64), "channels"))
    onnx.save(model, path)
    with pytest.raises(SelfTestFailed, match=r"off by 0\.16"):
        ModelSession(Artifact.read(path), "cpu").check_self_test()


# Choice of the execution provider


class FakeSession:
    """An ONNX Runtime session that reports what it is told to, and breaks or errs on CUDA where it is told to.

    Where it may fall back, as it does unless told otherwise, it goes on with the CPU instead of breaking.
    """

    def __init__(self, providers: Sequence[str], breaks: str, enable_fallback: int) -> None:
        self._providers, self.breaks, self._enable_fallback = list(providers), breaks, enable_fallback

    def get_providers(self) -> list[str]:
        """Where it says that it runs."""
        return self._providers

    def set_providers(self, providers: Sequence[str]) -> None:
        """Where it goes on from now."""
        self._providers = list(providers)

    def run(
        self, names: Sequence[str] | None, feeds: dict[str, Frames], options: object = None
    ) -> list[NDArray[np.float32]]:
        """The means of the colours as the tiny model answers, with an error of 0.004, or the breakage."""
        on_cuda, frames_BHWC = self._providers[0] == CUDA, feeds["frames"]
        if on_cuda and self.breaks == "run":
            if not self._enable_fallback:
                raise RuntimeError("CUDNN_STATUS_NOT_INITIALIZED")
            self._providers = [CPU]
        means_BL = frames_BHWC[..., :2].mean(axis=(1, 2)) / 255
        off = 0.004 if on_cuda and self.breaks == "answers" else 0.0
        evidence_BLhw = np.zeros((len(frames_BHWC), 2, *GRID), np.float32)
        return [(means_BL + off).astype(np.float32), evidence_BLhw]


class FakeRuntime:
    """The edge of the process: ONNX Runtime on a machine that is described by these switches."""

    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, *, built_with_cuda: bool = True, falls_back: bool = False, breaks: str = "") -> None:
        self._built_with_cuda, self._falls_back, self._breaks = built_with_cuda, falls_back, breaks
        self.asked_for: list[list[str]] = []
        self.cuda_options: dict[str, str] = {}
        self.memory_patterns: list[bool] = []

    def get_available_providers(self) -> list[str]:
        """What the build knows."""
        return [CUDA, CPU] if self._built_with_cuda else [CPU]

    def preload_dlls(self) -> None:
        """Loads the CUDA libraries, or says that it cannot: on standard output, where a single one is missing."""
        if self._breaks == "library":
            sys.stdout.write("Failed to load libcublas.so.13: no such file\nPlease install CUDA.\n")
        if self._breaks == "preload":
            raise RuntimeError("libcudnn.so.9 has no matching version")

    def InferenceSession(
        self, content: bytes, options: Any, providers: Sequence[Any], enable_fallback: int = 1
    ) -> FakeSession:
        """A session on the first provider, or on the last where it falls back as ONNX Runtime does.

        Without a word where it cannot load the provider's library; where creation fails, only if it may.
        """
        names = [provider if isinstance(provider, str) else provider[0] for provider in providers]
        self.asked_for.append(names)
        self.memory_patterns.append(options.enable_mem_pattern)
        self.cuda_options |= dict(provider for provider in providers if not isinstance(provider, str)).get(CUDA, {})
        if self._breaks == "creation" and names[0] == CUDA:
            if not enable_fallback:
                raise RuntimeError("CUDA failure 35: driver version is insufficient")
            names = [CPU]
        falls_back = self._falls_back or self._breaks == "library"
        return FakeSession(names[-1:] if falls_back else names, self._breaks, enable_fallback)


def on_machine(monkeypatch: pytest.MonkeyPatch, runtime: FakeRuntime, driver: bool = True) -> FakeRuntime:
    """Puts the fake in place of ONNX Runtime, and a driver there or not."""

    def load(name: str) -> SimpleNamespace:
        if not driver:
            raise OSError(f"{name}: cannot open shared object file")
        return SimpleNamespace()

    monkeypatch.setattr(session_module, "onnxruntime", runtime)
    monkeypatch.setattr(ctypes, "CDLL", load)
    return runtime


BROKEN_MACHINES = pytest.mark.parametrize(
    ("switches", "driver", "reason"),
    [
        ({"built_with_cuda": False}, True, "this build of ONNX Runtime has no CUDA provider"),
        ({}, False, r"no NVIDIA driver was found \(libcuda\.so\.1 cannot be loaded\)"),
        ({"falls_back": True}, True, "could not load it and fell back to the CPU"),
        ({"breaks": "library"}, True, r"fell back to the CPU \(Failed to load libcublas\.so\.13: no such file Please"),
        ({"breaks": "preload"}, True, "libcudnn.so.9 has no matching version"),
        ({"breaks": "creation"}, True, "driver version is insufficient"),
        ({"breaks": "run"}, True, "a first run failed: CUDNN_STATUS_NOT_INITIALIZED"),
        ({"breaks": "answers"}, True, r"self-test 1 of 1 is off by 0\.004 on CUDAExecutionProvider"),
    ],
    ids=[
        "no provider",
        "no driver",
        "silent fallback",
        "one library",
        "libraries",
        "creation",
        "first run",
        "wrong answers",
    ],
)


@BROKEN_MACHINES
def test_cuda_that_cannot_run_the_model_is_refused(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, switches: dict[str, Any], driver: bool, reason: str
) -> None:
    on_machine(monkeypatch, FakeRuntime(**switches), driver)
    with pytest.raises(ProviderUnavailable, match=rf"device=cuda was asked for.*{reason}.*choose device=auto"):
        ModelSession(artifact, "cuda")


@BROKEN_MACHINES
def test_auto_falls_back_to_the_cpu_and_says_why(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, switches: dict[str, Any], driver: bool, reason: str
) -> None:
    runtime = on_machine(monkeypatch, FakeRuntime(**switches), driver)
    model = ModelSession(artifact, "auto")
    assert model.provider == CPU
    assert model.fallback_reason is not None
    assert re.search(reason, model.fallback_reason)
    model.check_self_test()
    assert runtime.asked_for[-1] == [CPU]


def test_standard_output_is_left_to_the_answers(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`roadcue predict --format json` would begin with foreign text else."""
    on_machine(monkeypatch, FakeRuntime(breaks="library"))
    ModelSession(artifact, "auto")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_cuda_that_runs_the_model_is_taken(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, device: session_module.Device
) -> None:
    runtime = on_machine(monkeypatch, FakeRuntime())
    model = ModelSession(artifact, device)
    assert (model.provider, model.fallback_reason) == (CUDA, None)
    assert runtime.asked_for == [[CUDA, CPU]]
    assert runtime.cuda_options["use_tf32"] == "0"
    assert runtime.cuda_options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert runtime.cuda_options["enable_cuda_graph"] == "0"


def of_precision(folder: Path, precision: str) -> Artifact:
    """The tiny model, said to be of a precision."""
    metadata = tiny_metadata().model_copy(update={"precision": precision}).model_dump_json()
    return Artifact.read(write_tiny_model(folder / "model.onnx", metadata_json=metadata))


@pytest.mark.parametrize(("precision", "use_tf32"), [("float32", "0"), ("int8", "0"), ("float16", "1")])
def test_float16_alone_may_use_tensor_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, use_tf32: str
) -> None:
    """float32 is what must agree with the CPU, and int8 convolves in it; without TF32 float16 would convolve slowly."""
    runtime = on_machine(monkeypatch, FakeRuntime())
    ModelSession(of_precision(tmp_path, precision), "cuda")
    assert runtime.cuda_options["use_tf32"] == use_tf32


def test_cuda_graphs_are_recorded_only_where_they_are_asked_for(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = on_machine(monkeypatch, FakeRuntime())
    ModelSession(artifact, "cuda", cuda_graphs=True)
    assert runtime.cuda_options["enable_cuda_graph"] == "1"


class NotedBinding:
    """What a batch binding is opened with, in place of one."""

    opened: ClassVar[list[tuple[FakeSession, int, str, int | None]]] = []

    def __init__(self, session: FakeSession, metadata: object, size: int, memory: str, graph: int | None) -> None:
        if session.breaks == "falls back later" and size > 1:
            session.set_providers([CPU])
        if session.breaks == "batches" and size > 1:
            raise RuntimeError("CUDA failure 2: out of memory")
        self.opened.append((session, size, memory, graph))

    def warm_up(self) -> None:
        """Nothing is cold."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[FakeSession, int, str, int | None]]:
    """Which bindings are opened from now on: session, batch size, memory and graph."""
    monkeypatch.setattr(NotedBinding, "opened", [])
    monkeypatch.setattr(session_module, "BatchBinding", NotedBinding)
    return NotedBinding.opened


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_on_cuda_each_batch_size_has_a_session_of_its_own(
    artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    opened: list[tuple[FakeSession, int, str, int | None]],
    cuda_graphs: bool,
) -> None:
    """A second plan finds those of its sizes; the session that is there runs single frames. All have the options."""
    runtime = on_machine(monkeypatch, FakeRuntime())
    model = ModelSession(artifact, "cuda", cuda_graphs=cuda_graphs)
    model.bind((1, 4, 16))
    model.bind((1, 4))
    assert [size for _, size, _, _ in opened] == [1, 4, 16, 1, 4]
    sessions = [session for session, _, _, _ in opened]
    assert len(set(sessions)) == 3
    assert sessions[3:] == sessions[:2]
    assert runtime.asked_for == [[CUDA, CPU]] * 3
    assert [(memory, graph) for _, _, memory, graph in opened] == [
        ("cuda", number if cuda_graphs else None) for number in (1, 2, 3, 4, 5)
    ]


def test_on_the_cpu_one_session_runs_all_batch_sizes(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, opened: list[tuple[FakeSession, int, str, int | None]]
) -> None:
    runtime = on_machine(monkeypatch, FakeRuntime())
    ModelSession(artifact, "cpu").bind((1, 4))
    assert len({session for session, _, _, _ in opened}) == 1
    assert runtime.asked_for == [[CPU]]


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        ("batches", "batches of 1, 4 failed: CUDA failure 2: out of memory"),
        ("falls back later", "ONNX Runtime fell back to the CPU at batches"),
    ],
)
def test_batches_that_cuda_cannot_run_are_refused_with_the_reason(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, breaks: str, reason: str
) -> None:
    """A single frame has run when the session was opened."""
    on_machine(monkeypatch, FakeRuntime(breaks=breaks))
    model = ModelSession(artifact, "auto")
    with pytest.raises(ProviderUnavailable, match=f"single frames ran on CUDA, but .* cannot run the model: {reason}"):
        model.bind((1, 4))


def test_cpu_never_tries_cuda(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = on_machine(monkeypatch, FakeRuntime())
    assert ModelSession(artifact, "cpu").provider == CPU
    assert runtime.asked_for == [[CPU]]


@pytest.mark.parametrize(("precision", "pattern"), [("float32", True), ("int8", False), ("float16", True)])
def test_int8_alone_goes_without_a_memory_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, pattern: bool
) -> None:
    runtime = on_machine(monkeypatch, FakeRuntime())
    ModelSession(of_precision(tmp_path, precision), "cpu")
    assert runtime.memory_patterns == [pattern]


def has_nvidia_driver() -> bool:
    """Whether this machine could run CUDA."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(has_nvidia_driver(), reason="this machine has an NVIDIA driver")
def test_machine_without_gpu_is_told_apart_for_real(artifact: Artifact) -> None:
    """No fake: the installed ONNX Runtime on this machine."""
    with pytest.raises(ProviderUnavailable, match=r"no NVIDIA driver was found|has no CUDA provider"):
        ModelSession(artifact, "cuda")
    model = ModelSession(artifact, "auto")
    assert model.provider == CPU
    assert model.fallback_reason
    model.check_self_test()


@pytest.mark.gpu
@pytest.mark.skipif(not has_nvidia_driver(), reason="needs an NVIDIA GPU")
def test_cuda_answers_like_the_cpu(artifact: Artifact) -> None:
    """For real, at several batch sizes and from several threads."""
    cuda, cpu = ModelSession(artifact, "cuda"), ModelSession(artifact, "cpu")
    assert (cuda.provider, cuda.fallback_reason) == (CUDA, None)
    cuda.check_self_test()
    batches = [random_frames(size) for size in (1, 2, 5, 8)]
    with ThreadPoolExecutor(4) as pool:
        for frames_BHWC, seen in zip(batches, pool.map(cuda.run, batches), strict=True):
            expected = cpu.run(frames_BHWC)
            np.testing.assert_allclose(seen.probabilities_BL, expected.probabilities_BL, atol=1e-5)
            np.testing.assert_allclose(seen.evidence_BLhw, expected.evidence_BLhw, atol=1e-5)


# float32 differs from the CPU by rounding only; float16 by what its self-test allows.
EMBEDDED_FILES = pytest.mark.parametrize(("precision", "atol"), [("float32", 1e-3), ("float16", 2e-2)])


def embedded_file(precision: Precision) -> Artifact:
    """The file of the embedded model in this precision."""
    return Artifact.read(files_beside(Settings().model)[precision])


@pytest.mark.gpu
@pytest.mark.skipif(not has_nvidia_driver(), reason="needs an NVIDIA GPU")
@EMBEDDED_FILES
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_bound_batches_answer_on_cuda_like_on_the_cpu(precision: Precision, atol: float, cuda_graphs: bool) -> None:
    """Every size, in an order that comes back to each, and with a second set of buffers that must not be mixed up."""
    embedded = embedded_file(precision)
    cuda, cpu = ModelSession(embedded, "cuda", cuda_graphs=cuda_graphs), ModelSession(embedded, "cpu")
    size = embedded.metadata.input
    both = [cuda.bind((1, 4, 8)), cuda.bind((1, 4, 8))]
    for seed, frames in enumerate((1, 3, 4, 8, 1, 5, 2)):
        shape = (frames, size.height, size.width, 3)
        frames_BHWC = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        expected = cpu.run(frames_BHWC)
        for run in both:
            seen = run(list(frames_BHWC))
            np.testing.assert_allclose(seen.probabilities_BL, expected.probabilities_BL, atol=atol)
            np.testing.assert_allclose(seen.evidence_BLhw, expected.evidence_BLhw, atol=atol)
    cuda.check_self_test()


@pytest.mark.gpu
@pytest.mark.skipif(not has_nvidia_driver(), reason="needs an NVIDIA GPU")
@EMBEDDED_FILES
def test_embedded_model_reproduces_its_self_test_on_cuda(precision: Precision, atol: float) -> None:
    """And answers frames of noise like the CPU."""
    embedded = embedded_file(precision)
    cuda, cpu = ModelSession(embedded, "auto"), ModelSession(embedded, "cpu")
    assert (cuda.provider, cuda.fallback_reason) == (CUDA, None)
    cuda.check_self_test()
    size = embedded.metadata.input
    frames_BHWC = np.random.default_rng(0).integers(0, 256, (3, size.height, size.width, 3), np.uint8)
    seen, expected = cuda.run(frames_BHWC), cpu.run(frames_BHWC)
    np.testing.assert_allclose(seen.probabilities_BL, expected.probabilities_BL, atol=atol)
    np.testing.assert_allclose(seen.evidence_BLhw, expected.evidence_BLhw, atol=atol)


@pytest.mark.parametrize(
    ("flags", "exact"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_vnni sha_ni", True),
        ("flags\t\t: fpu avx2 avx_vnni", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("vmx flags\t: avx_vnni\nflags\t\t: fpu avx2", False),
        ("model name\t: a processor that says nothing", False),
    ],
)
def test_x64_processors_without_vnni_are_told_by_their_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, exact: bool
) -> None:
    """Saturation is what they differ in; other processors have no such kernels."""
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert adds_bytes_exactly(tmp_path / "cpuinfo") is exact
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert adds_bytes_exactly(tmp_path / "cpuinfo")


def test_processor_that_cannot_be_asked_gets_the_exact_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where there is no such file."""
    monkeypatch.setattr("platform.machine", lambda: "AMD64")
    assert not adds_bytes_exactly(tmp_path / "cpuinfo")
