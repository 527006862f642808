"""The only wiring: settings -> detector -> routes. Loads in the background, so that live answers from the start."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service import __version__
from service.errors import LabelFolderError, LabelFolderUnusable, RoadcueError, StartupError
from service.inference.decoding import FrameLimits
from service.inference.detector import Detector, load_detector
from service.inference.execution import ExecutionPlan, available_cpus
from service.inference.scheduling import open_scheduler
from service.label_folder.folder import LabelFolder
from service.label_folder.intake import Bounds
from service.label_folder.keeper import AT_ONCE, FrameKeeper, Pace
from service.settings import Settings
from service.telemetry import Metrics
from service.web import documentation_routes, health_routes, model_routes, predict_routes, problem_documents
from service.web.lifecycle import Lifecycle, Serving
from service.web.problems import answer_http_error, answer_roadcue_error, answer_validation_error
from service.web.request_context import RequestContext
from service.web.upload_memory import UploadMemory
from service.web.uploads import UploadLimits

logger = logging.getLogger(__name__)

# Keeping is for what the requests leave over, however many frames are uncertain.
BESIDE_REQUESTS = Pace(pause_s=1.0, cpu_share=0.05)
# A disk that hangs must not keep the process from ending.
KEEPER_CLOSES_S = 5.0

Load = Callable[[Settings], Detector]


def detector_of(settings: Settings) -> Detector:
    """The detector that the settings describe, ready to answer. Raises StartupError."""
    limits = FrameLimits(max_pixels=settings.max_frame_pixels)
    return load_detector(settings.model, settings.device, settings.threads_per_worker, limits, settings.variant)


def keeper_of(settings: Settings, detector: Detector, pace: Pace = AT_ONCE) -> FrameKeeper | None:
    """Who keeps uncertain frames, or None where that is not wanted. Raises LabelFolderUnusable."""
    if settings.uncertain is None:
        return None
    bounds = Bounds(settings.uncertain_most, settings.uncertain_most_bytes)
    try:
        return FrameKeeper(
            LabelFolder(settings.uncertain),
            detector,
            settings.uncertain_margin,
            bounds,
            settings.uncertain_licence,
            pace,
        )
    except (OSError, LabelFolderError) as error:
        raise LabelFolderUnusable(f"uncertain frames cannot be kept in {settings.uncertain}: {error}") from error


def create_app(settings: Settings, load: Load = detector_of) -> FastAPI:
    """The application; `load` runs on a thread once it starts, and until it is done frames are answered with 503."""
    lifecycle, metrics = Lifecycle(), Metrics()
    app = FastAPI(
        title="Roadcue",
        version=__version__,
        description="Tells which things are in a driving frame, and where it sees them.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(settings, lifecycle, metrics, load),
        exception_handlers={
            RoadcueError: answer_roadcue_error,
            RequestValidationError: answer_validation_error,
            HTTPException: answer_http_error,
        },
    )
    app.add_middleware(RequestContext, metrics=metrics, lifecycle=lifecycle)
    app.state.lifecycle, app.state.metrics = lifecycle, metrics
    app.state.upload_limits = UploadLimits(
        settings.max_frame_bytes,
        settings.max_request_bytes,
        settings.max_frames_per_request,
        settings.upload_timeout_seconds,
    )
    app.state.upload_memory = memory = UploadMemory(settings.max_upload_bytes_in_flight)
    for routes in (predict_routes, model_routes, health_routes, problem_documents, documentation_routes):
        app.include_router(routes.router)
    metrics.watch(metrics.upload_bytes, lambda: memory.held_bytes)
    metrics.watch(metrics.ready, lambda: lifecycle.stage == "ready")
    metrics.watch(metrics.draining, lambda: lifecycle.draining)
    return app


def _lifespan(
    settings: Settings, lifecycle: Lifecycle, metrics: Metrics, load: Load
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_load(settings, lifecycle, metrics, load))
        yield
        await loading
        if lifecycle.loaded:
            await asyncio.to_thread(lifecycle.loaded.scheduler.close)
            if lifecycle.loaded.keeper:
                await asyncio.to_thread(lifecycle.loaded.keeper.close, KEEPER_CLOSES_S)

    return lifespan


async def _load(settings: Settings, lifecycle: Lifecycle, metrics: Metrics, load: Load) -> None:
    try:
        detector = await asyncio.to_thread(load, settings)
        keeper = await asyncio.to_thread(keeper_of, settings, detector, BESIDE_REQUESTS)
    except StartupError as error:
        lifecycle.fail(error)
    except Exception as error:  # whatever it is, the process must end and say so
        logger.exception("loading failed")
        lifecycle.fail(StartupError(f"the model could not be loaded: {error}"))
    else:
        _open(detector, keeper, settings, lifecycle, metrics)


def _open(
    detector: Detector, keeper: FrameKeeper | None, settings: Settings, lifecycle: Lifecycle, metrics: Metrics
) -> None:
    workers = settings.inference_workers or available_cpus()
    plan = ExecutionPlan(workers, settings.threads_per_worker)
    scheduler = open_scheduler(detector, plan, settings.max_queue_frames)
    model, session = detector.metadata, detector.session
    metrics.watch(metrics.waiting_frames, lambda: scheduler.state().waiting_frames)
    metrics.watch(metrics.running_frames, lambda: scheduler.state().running_frames)
    metrics.provider_info.labels(provider=session.provider, fallback_reason=session.fallback_reason or "").set(1)
    metrics.model_info.labels(name=model.name, version=model.version, precision=model.precision).set(1)
    if keeper:
        keeper.on_outcome = lambda outcome: metrics.uncertain_frames.labels(outcome=outcome).inc()
    lifecycle.open(Serving(detector, scheduler, keeper))
    _log_ready(detector, workers)


def _log_ready(detector: Detector, workers: int) -> None:
    model, session = detector.metadata, detector.session
    if session.fallback_reason:
        logger.warning("device=auto serves on the CPU", extra={"reason": session.fallback_reason})
    fields = {
        "model": f"{model.name} {model.version}",
        "precision": model.precision,
        "precision_reason": detector.precision_reason,
        "provider": session.provider,
        "inference_workers": workers,
    }
    logger.info("ready", extra=fields)
