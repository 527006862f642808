"""Which of a model's files runs: float32, int8 for CPUs or float16 for GPUs, by the provider that really runs.

The files lie side by side: street.onnx, street.int8.onnx, street.float16.onnx.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from service.errors import ModelFileError, ProviderUnavailable, SelfTestFailed
from service.inference.artifact import Artifact, Precision, variant_path
from service.inference.session import CPU, CUDA, Device, ModelSession, adds_bytes_exactly, cuda_hindrance

logger = logging.getLogger(__name__)

Variant = Literal["auto", "float32", "int8", "float16"]
FASTEST: Final[dict[str, Precision]] = {CPU: "int8", CUDA: "float16"}

# In what a variant may not differ from the float32 file: everything that an answer's meaning depends on.
_SHARED: Final = ("name", "version", "labels", "input", "evidence_grid", "calibration", "training_data")


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A file that has reproduced its self-test, the session that runs it, and why it is this one of the variants."""

    artifact: Artifact
    session: ModelSession
    reason: str


@dataclass(frozen=True, slots=True)
class _Choice:
    artifact: Artifact
    reason: str


def open_model(
    model: Path, device: Device = "auto", variant: Variant = "auto", threads: int = 1, cuda_graphs: bool = False
) -> RunningModel:
    """The file of the wanted precision on the wanted device; raises StartupError.

    `auto` takes the fastest for the provider that runs, and float32 where that file is not there, is not the faster one
    on this CPU, or does not reproduce its self-test here. A file that is tried and belongs to another model is refused.
    """
    given = Artifact.read(model)
    hindrance = None
    if device == "cuda" or (device == "auto" and (hindrance := cuda_hindrance()) is None):
        try:
            return _first_that_runs(_choices(given, variant, CUDA), "cuda", threads, cuda_graphs)
        except ProviderUnavailable as problem:
            if device == "cuda":
                raise
            hindrance = str(problem.facts["reason"])
    running = _first_that_runs(_choices(given, variant, CPU), "cpu", threads)
    running.session.fallback_reason = hindrance
    return running


def files_beside(model: Path) -> dict[Precision, Path]:
    """The files of a model that are there, by the precision that their names tell."""
    paths: dict[Precision, Path] = {precision: variant_path(model, precision) for precision in get_args(Precision)}
    return {precision: path for precision, path in paths.items() if path.exists()}


def _choices(given: Artifact, variant: Variant, provider: str) -> Iterator[_Choice]:
    """The files to try, the best first; read one by one, since the first is nearly always the last."""
    own = given.metadata.precision
    if variant == "auto":
        only = _Choice(given, f"{given.path.name} is {own}, and auto looks for others beside a float32 file alone")
        yield from _choices_of_auto(given, provider) if own == "float32" else [only]
    else:
        artifact = given if variant == own else _asked_for(given, variant)
        yield _Choice(artifact, f"variant={variant} was asked for")


def _choices_of_auto(given: Artifact, provider: str) -> Iterator[_Choice]:
    fastest = FASTEST[provider]
    path = variant_path(given.path, fastest)
    if fastest == "int8" and not adds_bytes_exactly():
        yield _Choice(given, f"auto takes float32: {path.name} is slower than it on CPUs without VNNI, as this one is")
    elif path.exists():
        yield _Choice(_variant_of(given, path, fastest), f"auto takes {fastest} on {provider}")
        yield _Choice(given, f"auto takes float32: {path.name} does not run right here")
    else:
        yield _Choice(given, f"auto takes float32: {path.name}, faster on {provider}, is not beside {given.path.name}")


def _asked_for(given: Artifact, variant: Precision) -> Artifact:
    own = given.metadata.precision
    if own != "float32":
        raise ModelFileError(
            f"variant={variant} was asked for, but {given.path} is {own}; name the float32 file as the model, beside "
            "which its variants are looked for, or choose variant=auto"
        )
    files = files_beside(given.path)
    if variant not in files:
        there = ", ".join(f"{path.name} ({precision})" for precision, path in files.items())
        raise ModelFileError(
            f"variant={variant} was asked for, but {variant_path(given.path, variant)} is not there; there is {there}. "
            "Choose variant=auto, or write the variant: roadcue-train export"
        )
    return _variant_of(given, files[variant], variant)


def _variant_of(given: Artifact, path: Path, precision: Precision) -> Artifact:
    variant = Artifact.read(path)
    if variant.metadata.precision != precision:
        raise ModelFileError(f"{path} is {variant.metadata.precision}, its name says {precision}; export it again")
    expected, found = given.metadata, variant.metadata
    different = [name for name in _SHARED if getattr(expected, name) != getattr(found, name)]
    if different:
        told = "; ".join(f"{name} is {getattr(found, name)}, not {getattr(expected, name)}" for name in different)
        raise ModelFileError(
            f"{path} is no variant of {given.path}: {told}. Export both together, or remove the one that is old"
        )
    return variant


def _first_that_runs(
    choices: Iterator[_Choice], device: Device, threads: int, cuda_graphs: bool = False
) -> RunningModel:
    failure: SelfTestFailed | ProviderUnavailable | None = None
    for choice in choices:
        if failure:
            logger.warning("variant refused", extra={"problem": str(failure), "instead": choice.artifact.path.name})
        try:
            session = ModelSession(choice.artifact, device, threads, cuda_graphs)
            session.check_self_test()
        except (SelfTestFailed, ProviderUnavailable) as problem:
            failure = problem
        else:
            return RunningModel(choice.artifact, session, choice.reason)
    raise failure or ModelFileError("there is no file to run")
