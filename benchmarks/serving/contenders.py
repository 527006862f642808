"""How each contender is started, asked and read: one entry each."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.serving.peers.launch import FIELD, Body, Launch

LIMIT: Final = "in-process limit"
OURS: Final = "roadcue"
AS_SHIPPED: Final = "roadcue as shipped"
BENTOML: Final = "BentoML"

PEERS: Final = "benchmarks.serving.peers"
# With the same decode and the same file answers differ by rounding alone.
ROUNDING: Final = 1e-4
# Another decoder and another resize see slightly other pixels.
OTHER_PIXELS: Final = 0.3

Answer = Mapping[str, float]
Command = Callable[[Path, Launch], list[str]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A server: the command and variables that start it, where and how it takes a frame, how its answer is read.

    `environment` names its virtual environment; "" is our own. `package` is what its version is the version of.
    `command_at_rates` starts it for constant rates, where that is another one.
    """

    name: str
    environment: str
    package: str
    command: Command
    variables: Callable[[Launch], Mapping[str, str]] = field(default=lambda _launch: {})
    path: str = "/predict"
    bodies: tuple[Body, ...] = ("raw", "multipart")
    form_field: str = FIELD
    tolerance: float = ROUNDING
    variant: str = "float32"
    command_at_rates: Command | None = None
    read: Callable[[Any], Answer] = field(default=lambda answer: answer)

    @property
    def is_ours(self) -> bool:
        """Whether it is this project's service."""
        return self.environment == ""


def _module(name: str, *flags: str) -> Command:
    return lambda programs, _launch: [str(programs / "python"), "-m", f"{PEERS}.{name}", *flags]


def _roadcue(*flags: str) -> Command:
    def command(_programs: Path, launch: Launch) -> list[str]:
        address = ["--port", str(launch.port), "--model", str(launch.model)]
        return [sys.executable, "-m", "service", "serve", *address, *flags]

    return command


def _mosec(programs: Path, launch: Launch) -> list[str]:
    address = ["--address", "127.0.0.1", "--port", str(launch.port), "--timeout", "120000"]
    return _module("mosec_app", *address)(programs, launch)


def _bentoml(programs: Path, launch: Launch) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(launch.port)]
    return [str(programs / "bentoml"), "serve", f"{PEERS}.bentoml_app:FrameService", *address]


def _mlserver(programs: Path, _launch: Launch) -> list[str]:
    return [str(programs / "mlserver"), "start", "."]


def _mlserver_variables(launch: Launch) -> Mapping[str, str]:
    return {
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": str(launch.port),
        "MLSERVER_GRPC_PORT": str(launch.port + 1),
        "MLSERVER_METRICS_PORT": str(launch.port + 2),
        "MLSERVER_PARALLEL_WORKERS": str(launch.workers),
        "MLSERVER_DEBUG": "false",
        "MLSERVER_MODEL_NAME": "street",
        "MLSERVER_MODEL_IMPLEMENTATION": f"{PEERS}.mlserver_runtime.FrameRuntime",
    }


def _ray_variables(_launch: Launch) -> Mapping[str, str]:
    # The two switches of its guide to high throughput.
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _our_answer(answer: Any) -> Answer:
    (frame,) = answer["frames"]
    probabilities: Answer = frame["probabilities"]
    return probabilities


# No other server logs each request here.
FLOAT32: Final = ("--variant", "float32", "--access-log-level", "debug")
# Nor bounds its queue below what 256 clients send at once: refused clients of a closed loop would only ask again.
LONG_QUEUE: Final = ("--max-queue-frames", "1024", "--max-queue-ms", "0")

# A frame of the float32 file takes twice the time of one as shipped: in the same time half as many may wait.
HALF_AS_MANY: Final = ("--max-frames-per-request", "32")

CONTENDERS: Final = (
    Contender(
        OURS,
        "",
        "roadcue",
        _roadcue(*FLOAT32, *LONG_QUEUE),
        form_field="file",
        read=_our_answer,
        command_at_rates=_roadcue(*FLOAT32, *HALF_AS_MANY),
    ),
    Contender(AS_SHIPPED, "", "roadcue", _roadcue(), form_field="file", read=_our_answer, variant="auto"),
    Contender("naive endpoint", "naive", "fastapi", _module("naive_app"), tolerance=OTHER_PIXELS),
    Contender("LitServe", "litserve", "litserve", _module("litserve_app")),
    Contender(BENTOML, "bentoml", "bentoml", _bentoml, lambda _: {"BENTOML_DO_NOT_TRACK": "True"}),
    Contender("MLServer", "mlserver", "mlserver", _mlserver, _mlserver_variables),
    Contender("Ray Serve", "ray", "ray", _module("ray_app"), _ray_variables),
    Contender("mosec", "mosec", "mosec", _mosec, path="/inference", bodies=("raw",)),
)
NAMES: Final = (LIMIT, *(contender.name for contender in CONTENDERS))
