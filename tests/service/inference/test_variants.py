"""Which file of a model runs where, and why; and which files are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import ModelFileError, ProviderUnavailable, SelfTestFailed
from service.inference import variants
from service.inference.artifact import Artifact, Precision, variant_path
from service.inference.session import CPU, CUDA, ModelSession
from service.inference.variants import files_beside, open_model
from tests.tiny_model import tiny_metadata, write_tiny_model

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the tiny model as the file of a precision; `changes` go into its metadata."""

    def write_(precision: Precision = "float32", **changes: object) -> Path:
        metadata = tiny_metadata().model_copy(update={"precision": precision, **changes})
        path = variant_path(tmp_path / "tiny.onnx", precision)
        return write_tiny_model(path, metadata_json=metadata.model_dump_json())

    return write_


@pytest.fixture(autouse=True)
def fast_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's CPU has VNNI, whether or not it really does."""
    monkeypatch.setattr(variants, "adds_bytes_exactly", lambda: True)


@pytest.fixture
def failing_self_test() -> dict[str, object]:
    """Metadata of a file that answers something else on this machine than on the exporter's."""
    vector = tiny_metadata().self_test[0].model_copy(update={"probabilities": (0.9, 0.9)})
    return {"self_test": (vector,)}


class FakeCuda:
    """Stands for a machine with a GPU: sessions on "cuda" run, or are refused for the precisions in `refuses`."""

    def __init__(self, refuses: tuple[str, ...] = ()) -> None:
        self._refuses = refuses
        self.recorded_on: list[str] = []

    def __call__(
        self, artifact: Artifact, device: variants.Device, threads: int, cuda_graphs: bool = False
    ) -> ModelSession:
        session = ModelSession(artifact, "cpu", threads)
        self.recorded_on += [device] if cuda_graphs else []
        if device == "cuda":
            if artifact.metadata.precision in self._refuses:
                raise ProviderUnavailable("device=cuda was asked for, but no", reason="its answers differ")
            session.provider = CUDA
        return session


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeCuda], None]:
    """Lets the machine have a GPU."""

    def put(cuda: FakeCuda) -> None:
        monkeypatch.setattr(variants, "cuda_hindrance", lambda: None)
        monkeypatch.setattr(variants, "ModelSession", cuda)

    return put


def test_auto_takes_int8_on_the_cpu(write: Write) -> None:
    """And names the reason."""
    model = write()
    write("int8")
    write("float16")
    running = open_model(model, "cpu")
    assert running.artifact.metadata.precision == "int8"
    assert running.reason == f"auto takes int8 on {CPU}"


def test_auto_takes_float32_where_int8_is_not_there(write: Write) -> None:
    model = write()
    running = open_model(model, "cpu")
    assert running.artifact.metadata.precision == "float32"
    assert "tiny.int8.onnx, faster on CPUExecutionProvider, is not beside tiny.onnx" in running.reason


def test_auto_takes_float32_on_a_cpu_without_vnni(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact sums of bytes take it longer than float32; whoever asks for int8 gets it."""
    monkeypatch.setattr(variants, "adds_bytes_exactly", lambda: False)
    model = write()
    write("int8")
    running = open_model(model, "cpu")
    assert running.artifact.metadata.precision == "float32"
    assert running.reason == "auto takes float32: tiny.int8.onnx is slower than it on CPUs without VNNI, as this one is"
    assert open_model(model, "cpu", "int8").artifact.metadata.precision == "int8"


def test_auto_takes_float16_on_cuda(write: Write, on_gpu: Callable[[FakeCuda], None]) -> None:
    model = write()
    write("int8")
    write("float16")
    on_gpu(FakeCuda())
    running = open_model(model)
    assert (running.artifact.metadata.precision, running.session.provider) == ("float16", CUDA)
    assert running.session.fallback_reason is None


def test_float16_that_cuda_answers_wrongly_gives_way_to_float32_there(
    write: Write, on_gpu: Callable[[FakeCuda], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A slower GPU is still better than the CPU, and the log says what happened."""
    model = write()
    write("float16")
    on_gpu(FakeCuda(refuses=("float16",)))
    running = open_model(model)
    assert (running.artifact.metadata.precision, running.session.provider) == ("float32", CUDA)
    assert "tiny.float16.onnx does not run right here" in running.reason
    assert "variant refused" in caplog.text


def test_cuda_graphs_are_for_sessions_on_cuda(write: Write, on_gpu: Callable[[FakeCuda], None]) -> None:
    """Where CUDA is refused in the end, the session on the CPU hears nothing of them."""
    model, cuda = write(), FakeCuda(refuses=("float32",))
    on_gpu(cuda)
    open_model(model, cuda_graphs=True)
    assert cuda.recorded_on == ["cuda"]


def test_cpu_takes_int8_where_cuda_runs_neither(write: Write, on_gpu: Callable[[FakeCuda], None]) -> None:
    """The variant goes by the provider that really runs, not by the one that was hoped for."""
    model = write()
    write("int8")
    write("float16")
    on_gpu(FakeCuda(refuses=("float16", "float32")))
    running = open_model(model)
    assert (running.artifact.metadata.precision, running.session.provider) == ("int8", CPU)
    assert running.session.fallback_reason == "its answers differ"


def test_cuda_that_is_insisted_on_is_not_replaced(write: Write, on_gpu: Callable[[FakeCuda], None]) -> None:
    model = write()
    on_gpu(FakeCuda(refuses=("float32",)))
    with pytest.raises(ProviderUnavailable, match="device=cuda was asked for"):
        open_model(model, "cuda")


@pytest.mark.parametrize("precision", ["float32", "int8", "float16"])
def test_variant_that_is_asked_for_runs(write: Write, precision: Precision) -> None:
    """float16 on a CPU too, for whoever wants to see it."""
    for each in ("float32", "int8", "float16"):
        write(each)
    running = open_model(write(), "cpu", precision)
    assert running.artifact.metadata.precision == precision
    assert running.reason == f"variant={precision} was asked for"


def test_absent_variant_that_is_asked_for_names_the_files_that_are_there(write: Write) -> None:
    model = write()
    write("int8")
    said = r"tiny\.float16\.onnx is not there; there is tiny\.onnx \(float32\), tiny\.int8\.onnx \(int8\)"
    with pytest.raises(ModelFileError, match=said):
        open_model(model, "cpu", "float16")


def test_int8_that_does_not_reproduce_its_self_test_gives_way_to_float32(
    write: Write, failing_self_test: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """Under auto; a processor whose kernels saturate shall not keep the service from starting."""
    model = write()
    write("int8", **failing_self_test)
    running = open_model(model, "cpu")
    assert running.artifact.metadata.precision == "float32"
    assert "does not run right here" in running.reason
    assert "variant refused" in caplog.text


def test_int8_that_is_asked_for_and_does_not_reproduce_its_self_test_is_refused(
    write: Write, failing_self_test: dict[str, object]
) -> None:
    model = write()
    write("int8", **failing_self_test)
    with pytest.raises(SelfTestFailed, match=r"tiny\.int8\.onnx"):
        open_model(model, "cpu", "int8")


def test_float32_that_does_not_reproduce_its_self_test_is_refused(
    write: Write, failing_self_test: dict[str, object]
) -> None:
    """There is nothing left to give way to."""
    with pytest.raises(SelfTestFailed, match=r"tiny\.onnx"):
        open_model(write(**failing_self_test), "cpu")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "other"}, "name is other, not tiny"),
        ({"version": "0.0.2"}, r"version is 0\.0\.2, not 0\.0\.1"),
        ({"labels": tiny_metadata(threshold=0.25).labels}, r"labels is .*0\.25"),
        ({"calibration": {**tiny_metadata().calibration, "red": {"temperature": 2, "bias": 0}}}, "calibration is"),
        ({"training_data": {"hash": "new", "frames": 1, "licences": ()}}, "training_data is"),
    ],
    ids=["name", "version", "labels", "calibration", "training data"],
)
def test_file_of_another_model_is_refused(write: Write, changes: dict[str, object], named: str) -> None:
    """Under auto too: a mixture of two exports would answer differently on every machine."""
    model = write()
    path = variant_path(model, "int8")
    document = {**tiny_metadata().model_dump(mode="json"), "precision": "int8"}
    planted = tiny_metadata().model_validate({**document, **changes})
    write_tiny_model(path, metadata_json=planted.model_dump_json())
    with pytest.raises(ModelFileError, match=rf"tiny\.int8\.onnx is no variant of .*{named}"):
        open_model(model, "cpu")


def test_file_whose_name_tells_another_precision_is_refused(write: Write) -> None:
    """A float32 file under the name of the int8 one would be slow, and nobody would know why."""
    model = write()
    variant_path(model, "int8").write_bytes(model.read_bytes())
    with pytest.raises(ModelFileError, match=r"tiny\.int8\.onnx is float32, its name says int8"):
        open_model(model, "cpu")


def test_variant_given_as_the_model_runs_by_itself(write: Write) -> None:
    """Whoever names one file gets it; another precision than its own is not looked for."""
    int8 = write("int8")
    assert open_model(int8, "cpu").artifact.path == int8
    assert open_model(int8, "cpu", "int8").artifact.path == int8
    for other in ("float16", "float32"):
        with pytest.raises(
            ModelFileError, match=rf"variant={other} was asked for, but .*tiny\.int8\.onnx is int8; name"
        ):
            open_model(int8, "cpu", other)


def test_files_beside_are_told_by_their_names(write: Write) -> None:
    model = write()
    write("float16")
    assert files_beside(model) == {"float32": model, "float16": model.with_name("tiny.float16.onnx")}
