"""A model file looked at without serving it: what it says of itself, and whether it keeps its promises here."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel, ConfigDict
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.errors import ModelFileError, ProviderUnavailable, SelfTestFailed
from service.inference.artifact import Artifact, Figure, ModelMetadata, Precision, ThresholdRule
from service.inference.session import CPU, CUDA, Device, ModelSession, cuda_hindrance
from service.inference.variants import files_beside


class _Finding(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class SelfTest(_Finding):
    """Whether a file gave the answers here that its exporter saw; `problem` says how far off it is."""

    provider: str
    reproduces: bool
    problem: str | None = None


class Variant(_Finding):
    """A file of the same model in another precision; `problem` says why it cannot be used."""

    file: str
    precision: Precision
    bytes: int
    self_test: SelfTest | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in one file and beside it; `cuda` says whether CUDA could be tried here."""

    artifact: Artifact
    self_tests: tuple[SelfTest, ...]
    variants: tuple[Variant, ...]
    cuda: str

    @property
    def failure(self) -> str | None:
        """The first thing that keeps the file, or one beside it, from being served here."""
        own = (test.problem for test in self.self_tests)
        beside = (variant.problem or (variant.self_test and variant.self_test.problem) for variant in self.variants)
        return next((problem for problem in (*own, *beside) if problem), None)

    def facts(self) -> dict[str, str | int]:
        """What can be said of the file on one line each."""
        metadata, content = self.artifact.metadata, self.artifact.content
        return {
            "file": str(self.artifact.path),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "self_test_vectors": len(metadata.self_test),
            "cuda": self.cuda,
        }


def inspect_model(path: Path) -> Inspection:
    """Read a file, run its self-test on every provider that is there, and that of its variants on the CPU.

    Raises ModelFileError where the file is damaged or not one of ours.
    """
    artifact = Artifact.read(path)
    hindrance = cuda_hindrance()
    devices: tuple[Device, ...] = ("cpu",) if hindrance else ("cpu", "cuda")
    return Inspection(
        artifact=artifact,
        self_tests=tuple(_self_test(artifact, device) for device in devices),
        variants=tuple(_variants(path, artifact.metadata)),
        cuda=f"not tried: {hindrance}" if hindrance else "tried",
    )


def write_json(inspection: Inspection, stream: TextIO) -> None:
    """The inspection as one JSON object: the metadata but the self-test's pixels, and what was found here."""
    found = {"self_tests": inspection.self_tests, "variants": inspection.variants}
    told = {name: [each.model_dump() for each in records] for name, records in found.items()}
    metadata = inspection.artifact.metadata.model_dump(mode="json", exclude={"self_test"})
    json.dump({**inspection.facts(), "metadata": metadata, **told}, stream, indent=2, ensure_ascii=False)
    stream.write("\n")


def write_tables(inspection: Inspection, stream: TextIO) -> None:
    """The inspection as a model card for people."""
    console, metadata = Console(file=stream), inspection.artifact.metadata
    for table in (_about(inspection), _labels(metadata), _figures(metadata.figures), _files(inspection)):
        if table.row_count:
            console.print(table)


def _self_test(artifact: Artifact, device: Device) -> SelfTest:
    try:
        session = ModelSession(artifact, device)
        session.check_self_test()
    except (ProviderUnavailable, SelfTestFailed) as problem:
        return SelfTest(provider=CUDA if device == "cuda" else CPU, reproduces=False, problem=str(problem))
    return SelfTest(provider=session.provider, reproduces=True)


def _variants(path: Path, metadata: ModelMetadata) -> Iterator[Variant]:
    for precision, file in files_beside(_float32_path(path, metadata.precision)).items():
        if file == path:
            continue
        told: dict[str, Any] = {"file": str(file), "precision": precision, "bytes": file.stat().st_size}
        try:
            yield Variant(**told, self_test=_self_test(Artifact.read(file), "cpu"))
        except ModelFileError as problem:
            yield Variant(**told, problem=str(problem))


def _float32_path(path: Path, precision: Precision) -> Path:
    return path if precision == "float32" else path.with_name(path.name.replace(f".{precision}.", "."))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _about(inspection: Inspection) -> Table:
    model, table = inspection.artifact.metadata, _table("", "", "")
    table.show_header = False
    data, size = model.training_data, model.input
    told = {
        "model": f"{model.name} {model.version}, {model.precision}",
        **{name.replace("_", " "): str(value) for name, value in inspection.facts().items()},
        "created": model.created,
        "licence": model.licence,
        "git revision": model.git_revision,
        "metadata schema": str(model.schema_version),
        "input": f"{size.width} x {size.height} pixels (width x height), resized by {size.resize}",
        "evidence": "{} x {} cells (rows x columns)".format(*model.evidence_grid),
        "training data": f"{data.frames} frames, {', '.join(data.licences)}, hash {data.hash}",
    }
    for name, value in told.items():
        table.add_row(name, escape(value))
    return table


def _labels(model: ModelMetadata) -> Table:
    table = _table("Labels", "key", "title", "threshold", "temperature", "bias", "threshold has")
    for label in model.labels:
        calibration = model.calibration[label.key]
        numbers = (f"{number:g}" for number in (label.threshold, calibration.temperature, calibration.bias))
        table.add_row(label.key, escape(label.title), *numbers, rule_in_words(label.rule))
    return table


def rule_in_words(rule: ThresholdRule) -> str:
    """How a threshold was chosen.

    >>> rule_in_words(ThresholdRule(metric="recall", at_least=0.98))
    'recall at least 0.98'
    """
    return "best F1" if rule.at_least is None else f"{rule.metric} at least {rule.at_least:g}"


def _figures(figures: Sequence[Figure]) -> Table:
    table = _table("Figures", "test set", "label", "metric", "value", "95 % interval", "n", "present")
    for figure in figures:
        told = (figure.test_set, figure.label, figure.metric.replace("_", " "))
        interval = f"{figure.low:.3f} to {figure.high:.3f}"
        table.add_row(*map(escape, told), f"{figure.value:.3f}", interval, str(figure.n), str(figure.positives))
    return table


def _files(inspection: Inspection) -> Table:
    table = _table("Here", "file", "precision", "provider", "self-test")
    artifact = inspection.artifact
    for test in inspection.self_tests:
        table.add_row(escape(artifact.path.name), artifact.metadata.precision, test.provider, _verdict(test))
    for variant in inspection.variants:
        test_of = variant.self_test
        verdict = _verdict(test_of) if test_of else f"[red]{escape(str(variant.problem))}[/red]"
        table.add_row(escape(Path(variant.file).name), variant.precision, test_of.provider if test_of else "", verdict)
    return table


def _verdict(test: SelfTest) -> str:
    return "[green]reproduces[/green]" if test.reproduces else f"[red]{escape(str(test.problem))}[/red]"
