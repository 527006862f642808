"""The only wiring: settings -> detector -> routes. Loads in the background, so that live answers from the start."""

import asyncio
import logging
import math
import platform
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import onnxruntime
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service import __version__
from service.errors import (
    Draining,
    LabelFolderError,
    LabelFolderUnusable,
    ProviderUnavailable,
    RoadcueError,
    StartupError,
)
from service.inference.decoding import FrameLimits
from service.inference.detector import Detector, load_detector
from service.inference.frame_queue import WaitBound
from service.inference.scheduling import open_scheduler
from service.inference.tuning import Execution, in_words
from service.label_folder.folder import LabelFolder
from service.label_folder.intake import Bounds
from service.label_folder.keeper import AT_ONCE, FrameKeeper, Pace
from service.plan_choice import Load, is_on_gpu, load_with_plan
from service.settings import Settings
from service.telemetry import Metrics
from service.telemetry.tracing import OFF, Tracing, open_tracing, trace_fields
from service.web import (
    documentation_routes,
    health_routes,
    model_routes,
    playground_routes,
    predict_routes,
    problem_documents,
)
from service.web.access_log import AccessLog
from service.web.deadlines import Timeouts
from service.web.direct_route import by_address
from service.web.lifecycle import Lifecycle, Serving
from service.web.open_inference import routes as open_inference_routes
from service.web.problems import answer_http_error, answer_roadcue_error, answer_validation_error
from service.web.request_context import RequestContext
from service.web.upload_memory import UploadMemory
from service.web.uploads import UploadLimits

logger = logging.getLogger(__name__)

# Keeping is for what the requests leave over, however many frames are uncertain.
BESIDE_REQUESTS = Pace(pause_s=1.0, cpu_share=0.05)
# A disk that hangs must not keep the process from ending.
KEEPER_CLOSES_S = 5.0


def detector_of(settings: Settings) -> Detector:
    """The detector that the settings describe, ready to answer. Raises StartupError."""
    limits = FrameLimits(max_pixels=settings.max_frame_pixels)
    return load_detector(
        settings.model,
        settings.device,
        settings.threads_per_worker or 1,
        limits,
        settings.variant,
        settings.cuda_graphs == "on",
    )


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


def create_app(settings: Settings, load: Load = detector_of, execution: Execution | None = None) -> FastAPI:
    """The application; `load` runs on a thread once it starts, and until it is done frames are answered with 503.

    `execution` says how the model runs where that is known already: one of several processes measured it for all.
    """
    lifecycle, metrics = Lifecycle(), Metrics()
    tracing = open_tracing(settings.traces, settings.traces_share) if settings.traces else None
    app = FastAPI(
        title="Roadcue",
        version=__version__,
        description="Tells which things are in a driving frame, and where it sees them.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(settings, lifecycle, metrics, load, execution, tracing),
        telemetry=tracing.configuration() if tracing else OFF,
        exception_handlers={
            RoadcueError: answer_roadcue_error,
            RequestValidationError: answer_validation_error,
            HTTPException: answer_http_error,
            Exception: answer_roadcue_error,
        },
    )
    app.state.lifecycle, app.state.metrics, app.state.tracing = lifecycle, metrics, tracing
    app.state.gather_metrics = metrics.gather
    app.state.upload_limits = UploadLimits(
        settings.max_frame_bytes,
        settings.max_request_bytes,
        settings.max_frames_per_request,
        settings.upload_timeout_seconds,
    )
    app.state.max_json_bytes = settings.max_json_bytes
    app.state.timeouts = Timeouts(settings.default_timeout_ms, settings.max_timeout_ms)
    app.state.upload_memory = memory = UploadMemory(settings.max_upload_bytes_in_flight)
    api = (predict_routes, model_routes, health_routes, problem_documents, open_inference_routes)
    for routes in (*api, documentation_routes, playground_routes):
        app.include_router(routes.router)
    _surround(app, logging.getLevelNamesMapping()[settings.access_log_level.upper()])
    metrics.inform(
        "build_info", version=__version__, python=platform.python_version(), onnxruntime=onnxruntime.__version__
    )
    metrics.watch("upload_bytes", lambda: memory.held_bytes)
    metrics.watch("upload_limit_bytes", lambda: settings.max_upload_bytes_in_flight)
    metrics.watch("queue_limit_frames", lambda: settings.max_queue_frames)
    metrics.watch("ready", lambda: lifecycle.stage == "ready")
    metrics.watch("draining", lambda: lifecycle.draining)
    return app


def _surround(app: FastAPI, access_log_level: int) -> None:
    """Put each request's context around the application; where it is traced, inside of its span."""
    state = app.state
    state.access_log = AccessLog(access_log_level)
    given = {"metrics": state.metrics, "lifecycle": state.lifecycle, "access_log": state.access_log}
    if state.tracing:
        app.add_middleware(RequestContext, **given, log_fields=trace_fields)
    else:
        direct = by_address(predict_routes.router.routes)
        app.middleware_stack = RequestContext(app.build_middleware_stack(), **given, direct=direct)


def _lifespan(
    settings: Settings,
    lifecycle: Lifecycle,
    metrics: Metrics,
    load: Load,
    execution: Execution | None,
    tracing: Tracing | None,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_load(settings, lifecycle, metrics, load, execution))
        yield
        await loading
        if lifecycle.loaded:
            await asyncio.to_thread(lifecycle.loaded.scheduler.close)
            if lifecycle.loaded.keeper:
                await asyncio.to_thread(lifecycle.loaded.keeper.close, KEEPER_CLOSES_S)
        if tracing:
            await asyncio.to_thread(tracing.close)

    return lifespan


async def _load(
    settings: Settings, lifecycle: Lifecycle, metrics: Metrics, load: Load, execution: Execution | None
) -> None:
    try:
        serving = await asyncio.to_thread(_serving, settings, load, execution, lambda: lifecycle.draining)
    except Draining:
        logger.info("loading stopped")
    except StartupError as error:
        lifecycle.fail(error)
    except Exception as error:  # whatever it is, the process must end and say so
        logger.exception("loading failed")
        lifecycle.fail(StartupError(f"the model could not be loaded: {error}"))
    else:
        _open(serving, lifecycle, metrics)


def _serving(settings: Settings, load: Load, execution: Execution | None, is_ending: Callable[[], bool]) -> Serving:
    try:
        return _serving_on(settings, load, execution, is_ending)
    except ProviderUnavailable as problem:
        # A single frame has run on CUDA, or `load` would have taken the CPU itself; batches did not.
        if settings.device != "auto":
            raise
        reason = str(problem.facts["reason"])
    serving = _serving_on(settings.model_copy(update={"device": "cpu"}), load, None, is_ending)
    serving.detector.session.fallback_reason = reason
    return serving


def _serving_on(settings: Settings, load: Load, execution: Execution | None, is_ending: Callable[[], bool]) -> Serving:
    model = load_with_plan(settings, load, execution, is_ending)
    # Once: who is given how the model runs is not the first process.
    if settings.workers > 1 and execution is None and is_on_gpu(model.detector):
        logger.warning(
            "all processes share one GPU, each with sessions and batches of its own: one process for each GPU is meant",
            extra={"workers": settings.workers},
        )
    keeper = keeper_of(settings, model.detector, BESIDE_REQUESTS)
    # Whatever a frame takes, one request of full size has room; so have as many callers with a frame each.
    wait_bound = WaitBound(settings.max_queue_ms / 1000 or math.inf, settings.max_frames_per_request)
    scheduler = open_scheduler(model.detector, model.execution.plan, settings.max_queue_frames, wait_bound=wait_bound)
    return Serving(model.detector, scheduler, model.execution, keeper)


def _open(serving: Serving, lifecycle: Lifecycle, metrics: Metrics) -> None:
    scheduler, plan = serving.scheduler, serving.execution.plan
    model, session = serving.detector.metadata, serving.detector.session
    metrics.watch("queue_frames", lambda: scheduler.state().waiting_frames)
    metrics.watch("running_frames", lambda: scheduler.state().running_frames)
    metrics.inform("provider_info", provider=session.provider, fallback_reason=session.fallback_reason or "")
    metrics.inform("model_info", name=model.name, version=model.version, precision=model.precision)
    metrics.inform(
        "execution_plan_info",
        inference_workers=plan.inference_workers,
        threads_per_worker=plan.threads_per_worker,
        batch_sizes=",".join(map(str, plan.batch_sizes)),
    )
    if serving.keeper:
        serving.keeper.on_outcome = metrics.count_uncertain
    lifecycle.open(serving)
    _log_ready(serving.detector, serving.execution)


def _log_ready(detector: Detector, execution: Execution) -> None:
    model, session = detector.metadata, detector.session
    if session.fallback_reason:
        logger.warning("device=auto serves on the CPU", extra={"reason": session.fallback_reason})
    fields = {
        "model": f"{model.name} {model.version}",
        "precision": model.precision,
        "precision_reason": detector.precision_reason,
        "provider": session.provider,
        "plan": in_words(execution.plan),
        "plan_origin": execution.origin,
        "plan_reason": execution.reason,
    }
    logger.info("ready", extra=fields)
