"""The settings of the service: the only reader of the environment.

Each field is a flag of `roadcue serve` and an environment variable: `max_frame_bytes` is `--max-frame-bytes` and
`ROADCUE_MAX_FRAME_BYTES`. A flag outweighs the environment, the environment outweighs the default.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import annotated_types
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import InvalidSettings

ENVIRONMENT_PREFIX = "ROADCUE_"
PACKAGE = Path(__file__).parent
DEFAULT_MODEL = PACKAGE / "models" / "street.onnx"
MIB = 1024 * 1024
OFF = "off"


class Settings(BaseSettings):
    """Everything that can be set, validated once at the start and frozen."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid")

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on; 0.0.0.0 means every interface, :: every one of IPv6 and IPv4",
    )
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one and logs it")
    model: Path = Field(DEFAULT_MODEL, description="Model file (ONNX) written by `roadcue-train export`")
    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto", description="`cuda` refuses to start when CUDA cannot run the model; `auto` then serves on the CPU"
    )
    variant: Literal["auto", "float32", "int8", "float16"] = Field(
        "auto",
        description="Which file of the model runs; `auto` takes float16 on CUDA and int8 on CPUs that multiply bytes "
        "fast (ARM, x64 with VNNI), where these files lie beside it, else float32",
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that share the port, the CPUs, the metrics and the drain; 1 starts no other",
    )
    inference_workers: int = Field(
        0,
        ge=0,
        le=256,
        description="Frames worked on at the same time in one process; 0 lets the start-up measurement choose",
    )
    cuda_graphs: Literal["auto", "on", "off"] = Field(
        "auto",
        description="On CUDA, whether the run of each batch size is recorded once and replayed; `auto` lets the "
        "start-up measurement choose",
    )
    threads_per_worker: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads that share the inference of one frame or batch; 0 lets the start-up measurement choose",
    )
    max_batch_frames: int = Field(
        0,
        ge=0,
        le=256,
        description="Frames that are inferred at once; 1 infers each on its own, 0 lets the start-up measurement "
        "choose",
    )
    tuning_seconds: float = Field(
        3.0,
        ge=0,
        le=60,
        description="Seconds at the start in which ways to run the model are measured, unless all parts are set; on "
        "CUDA five times as many, since each way loads sessions first; 0 measures none and takes a worker on each CPU, "
        "or batches on a GPU",
    )
    tuning: Path | None = Field(
        None,
        description="File of `roadcue benchmark --save`, whose figures take the place of the start-up measurement; "
        "passed over with a warning where it is of another model or machine",
    )
    latency_target_ms: float = Field(
        0.0,
        ge=0,
        le=60_000,
        description="Milliseconds in which 99 of 100 frames are to be answered in the measurement, waiting apart; of "
        "the ways that keep to it the fastest is taken; 0 sets no target",
    )
    max_queue_frames: int = Field(
        128,
        ge=1,
        le=100_000,
        description="Frames that may wait in each process; a request for which there is no room is answered with 429",
    )
    max_queue_ms: int = Field(
        400,
        ge=0,
        le=86_400_000,
        description="Milliseconds of work that may wait in each process, by the measured throughput; behind more, and "
        "behind max_frames_per_request frames, a request is answered with 429: so the queue is soon empty after an "
        "overload; 0 is without bound",
    )
    max_frames_per_request: int = Field(64, ge=1, le=10_000, description="Frames that one request may hold")
    max_frame_bytes: int = Field(16 * MIB, ge=1024, le=1024 * MIB, description="Bytes that one encoded frame may hold")
    max_request_bytes: int = Field(
        64 * MIB, ge=1024, le=16 * 1024 * MIB, description="Bytes that one request body may hold"
    )
    max_json_bytes: int = Field(
        4 * MIB,
        ge=1024,
        le=256 * MIB,
        description="Bytes of JSON that one request to /v2 may hold; they are read at one go while others wait, and "
        "binary tensor data behind them does not count",
    )
    max_upload_bytes_in_flight: int = Field(
        512 * MIB,
        ge=1024,
        le=1024 * 1024 * MIB,
        description="Bytes of frames that all requests of one process together may hold in memory, from their arrival "
        "until their answer; a request for which there is no room is answered with 429",
    )
    upload_timeout_seconds: float = Field(
        60.0, ge=0.1, le=3600, description="Seconds in which a request must have arrived; else it is answered with 408"
    )
    default_timeout_ms: int = Field(
        120_000,
        ge=1,
        le=86_400_000,
        description="Milliseconds that a request may take, from its head to its answer, where it has no X-Timeout-Ms; "
        "frames that are late by then are answered with 504",
    )
    max_timeout_ms: int = Field(
        600_000, ge=1, le=86_400_000, description="The most that X-Timeout-Ms may ask for; more is answered with 400"
    )
    max_frame_pixels: int = Field(
        50_000_000,
        ge=1024,
        le=1_000_000_000,
        description="Pixels (width x height) that one frame may announce in its header; checked before it is decoded",
    )
    uncertain: Path | None = Field(
        None, description="Folder in which frames that are near a threshold are kept for a person to label"
    )
    uncertain_margin: float = Field(
        1.0,
        ge=0.01,
        le=20,
        description="How near, in logits: 1 means odds within a factor of 2.7 of the odds at the threshold",
    )
    uncertain_most: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Frames that are kept; when full, the least uncertain ones without an answer go",
    )
    uncertain_most_bytes: int = Field(
        1024 * MIB, ge=1024, le=1024 * 1024 * MIB, description="Bytes that all kept frames together may hold"
    )
    uncertain_licence: str = Field("unstated", description="Licence of the frames that are kept, for their label table")
    drain_seconds: float = Field(
        5.0, ge=0, le=3600, description="Seconds from SIGTERM in which readiness is refused and requests are served"
    )
    shutdown_timeout_seconds: float = Field(
        15.0, ge=1, le=3600, description="Seconds after the drain that running requests get to finish"
    )
    keep_alive_seconds: float = Field(
        75.0, ge=1, le=3600, description="Seconds that an idle connection is kept; more than the load balancer's"
    )
    log_format: Literal["text", "json"] = Field("text", description="One event a line, as `text` or as `json`")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe event to log")
    access_log_level: Literal["debug", "info"] = Field(
        "info", description="Severity of the event that a request writes; those of probes and refusals are of `debug`"
    )
    traces: str | None = Field(
        None,
        pattern=r"^https?://[^\s]+$",
        description="Base URL of an OpenTelemetry collector that takes spans as OTLP over HTTP, such as "
        "http://localhost:4318; needs `pip install 'roadcue[otel]'`",
    )
    traces_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the requests to trace, of those whose caller has not decided it in `traceparent`",
    )

    @field_validator("uncertain", "tuning", "traces", mode="before")
    @classmethod
    def nothing_is_off(cls, value: object) -> object:
        # An empty variable must not mean the working directory, nor what the help shows as the default a folder.
        return None if value in ("", OFF) else value

    @model_validator(mode="after")
    def limits_fit_each_other(self) -> "Settings":
        if self.max_frame_bytes > self.max_request_bytes:
            raise ValueError("max_frame_bytes is larger than max_request_bytes: no request could hold such a frame")
        if self.max_request_bytes > self.max_upload_bytes_in_flight:
            raise ValueError("max_request_bytes is larger than max_upload_bytes_in_flight: it would never have room")
        if self.default_timeout_ms > self.max_timeout_ms:
            raise ValueError("default_timeout_ms is larger than max_timeout_ms: a request could not ask for as much")
        if self.max_frames_per_request > self.max_queue_frames:
            raise ValueError("max_frames_per_request is larger than max_queue_frames: such a request never had room")
        return self


def read_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """The settings from what was given (by flags), from the environment and from the defaults, in this order.

    Raises InvalidSettings with one line that names every variable or flag at fault.
    """
    _refuse_unknown_variables()
    try:
        return Settings(**(given or {}))
    except ValidationError as error:
        raise InvalidSettings("; ".join(_sentence(detail) for detail in error.errors())) from error


def variable_name(field: str) -> str:
    """The environment variable of a field: `port` is ROADCUE_PORT."""
    return ENVIRONMENT_PREFIX + field.upper()


def flag_name(field: str) -> str:
    """The flag of a field: `max_frame_bytes` is --max-frame-bytes."""
    return "--" + field.replace("_", "-")


def settings_table() -> str:
    """The Markdown table of all settings, as docs/operations.md prints it."""
    head = "| Flag | Environment | Default | Allowed | Meaning |\n|---|---|---|---|---|"
    return "\n".join([head, *_table_rows()])


def default_text(field: FieldInfo) -> str:
    """The default of a field in words; paths of the package are shown from its top."""
    default = field.default
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return OFF
    if isinstance(default, Path) and default.is_relative_to(PACKAGE.parent):
        return default.relative_to(PACKAGE.parent).as_posix()
    return f"{default:g}" if isinstance(default, float) else str(default)


def allowed_text(field: FieldInfo) -> str:
    """What a field accepts: `1 to 256`, `auto, cuda, cpu`, `path`.

    >>> allowed_text(Settings.model_fields["port"])
    '0 to 65535'
    """
    if field.annotation in (Path, Path | None):
        return "path"
    if field.annotation == str | None:
        return "http:// or https:// URL"
    choices = getattr(field.annotation, "__args__", ())
    if choices:
        return ", ".join(choices)
    low = next((mark.ge for mark in field.metadata if isinstance(mark, annotated_types.Ge)), None)
    high = next((mark.le for mark in field.metadata if isinstance(mark, annotated_types.Le)), None)
    if low is not None:
        return f"{low} to {high}"
    return "text"


def _table_rows() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        cells = (f"`{flag_name(name)}`", f"`{variable_name(name)}`", f"`{default_text(field)}`", allowed_text(field))
        yield f"| {' | '.join(cells)} | {field.description} |"


def _sentence(detail: Mapping[str, Any]) -> str:
    if not detail["loc"]:
        return str(detail["ctx"]["error"])
    name = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        return f"{name} is not a setting{_nearest(name, list(Settings.model_fields))}"
    allowed, value = allowed_text(Settings.model_fields[name]), str(detail["input"])
    hint = _service_link_hint(name, value)
    return f"{name} ({flag_name(name)}, {variable_name(name)}) is {value!r}; allowed: {allowed}{hint}"


def _refuse_unknown_variables() -> None:
    known = [variable_name(field) for field in Settings.model_fields]
    ours = [name for name in os.environ if name.upper().startswith(ENVIRONMENT_PREFIX)]
    unknown = [name for name in ours if name.upper() not in known]
    if unknown:
        raise InvalidSettings("; ".join(_unknown_variable(name, os.environ[name], known) for name in sorted(unknown)))


def _unknown_variable(name: str, value: str, known: list[str]) -> str:
    return f"{name} is not a setting{_nearest(name.upper(), known)}{_service_link_hint(name, value)}"


def _service_link_hint(name: str, value: str) -> str:
    # A Kubernetes service named `roadcue` makes the cluster inject ROADCUE_PORT=tcp://... into every pod beside it.
    if "_SERVICE_" in name or value.startswith(("tcp://", "udp://")):
        return " (it looks like a Kubernetes service link: set enableServiceLinks: false on the pod)"
    return ""


def _nearest(name: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {matches[0]}?" if matches else f"; the settings are {', '.join(known)}"
