"""POST /predict: frames in, labels out."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.requests import ClientDisconnect

from service.errors import FrameError, InvalidParameter
from service.inference.detector import Detection
from service.inference.frame_queue import Completed
from service.inference.scheduling import FrameScheduler
from service.label_folder.keeper import FrameKeeper
from service.telemetry import Metrics
from service.web.lifecycle import Lifecycle, Serving
from service.web.problem_documents import documented_problems
from service.web.problems import kind_of, problem
from service.web.schemas import FrameAnswer, FrameProblem, PredictReply, Problem, TimingMs, frame_answer, model_name
from service.web.uploads import RAW_TYPES, UploadedFrame, read_frames

logger = logging.getLogger(__name__)
router = APIRouter(tags=["frames"])

# What nginx logs for a client that left; nobody receives it.
CLIENT_LEFT: Final = 499

Outcome = Completed[Detection] | BaseException

_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "One or many files in either field; other fields are refused.",
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "A JPEG, PNG or WebP image"},
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
    },
    "additionalProperties": False,
}
_IMAGE: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {"multipart/form-data": {"schema": _FORM}} | dict.fromkeys(RAW_TYPES, _IMAGE),
}
_PROBLEMS: Final = documented_problems(
    "malformed_multipart",
    "unexpected_field",
    "no_frames",
    "invalid_parameter",
    "request_too_large",
    "too_many_frames",
    "frame_too_large",
    "too_many_pixels",
    "unsupported_content_type",
    "unsupported_content_encoding",
    "unsupported_image",
    "damaged_image",
    "upload_timeout",
    "uploads_full",
    "queue_full",
    "not_ready",
    "internal_error",
)


async def refuse_unknown_parameters(request: Request) -> None:
    """Raises InvalidParameter for a query parameter that is not one of the route's: a slip of the pen, ignored, would
    look like an answer.
    """
    allowed = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in allowed:
            message = f"the query has a parameter {name!r}; allowed: {', '.join(allowed)}"
            raise InvalidParameter(message, parameter=name, allowed=allowed)


@router.post(
    "/predict",
    summary="Tell which labels are in one or many frames",
    response_model=PredictReply,
    responses=_PROBLEMS,
    openapi_extra={"requestBody": _BODY},
    dependencies=[Depends(refuse_unknown_parameters)],
)
async def predict(
    request: Request,
    evidence: Annotated[
        Literal["true", "false"], Query(description="Also say where in the frame each label's evidence lies")
    ] = "false",
) -> Response:
    """Send files in the form fields `file` or `files`, or one image as the body.

    The format is read from the bytes, not from the declared type. With several frames, one that cannot be read
    carries its own problem and the others are answered; when the only frame is bad, the reply is its problem.
    """
    lifecycle, metrics = _of(request)
    serving = lifecycle.serving()
    serving.scheduler.refuse_without_room(1)
    try:
        with request.app.state.upload_memory.share() as share:
            frames = await read_frames(request, request.app.state.upload_limits, share)
            received_s = time.monotonic()
            outcomes = await _outcomes(request, serving.scheduler, frames)
    except ClientDisconnect:
        return Response(status_code=CLIENT_LEFT)
    _record(metrics, outcomes)
    if serving.keeper:
        _offer(serving.keeper, frames, outcomes)
    return _reply(request, serving, frames, outcomes, evidence == "true", received_s)


def _of(request: Request) -> tuple[Lifecycle, Metrics]:
    return request.app.state.lifecycle, request.app.state.metrics


async def _outcomes(
    request: Request, scheduler: FrameScheduler[Detection], frames: Sequence[UploadedFrame]
) -> list[Outcome]:
    """What became of each frame, in order; raises QueueFull, or ClientDisconnect once nobody waits for it."""
    futures = iter(scheduler.submit([frame.data for frame in frames if frame.error is None]))
    waiting = [_settled(frame.error) if frame.error else asyncio.wrap_future(next(futures)) for frame in frames]
    return await _unless_client_leaves(request, waiting)


def _settled(error: FrameError) -> "asyncio.Future[Completed[Detection]]":
    future: asyncio.Future[Completed[Detection]] = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return future


async def _unless_client_leaves(
    request: Request, waiting: Sequence["asyncio.Future[Completed[Detection]]"]
) -> list[Outcome]:
    """What became of each frame; when the client leaves first, cancels them and raises ClientDisconnect."""
    together = asyncio.gather(*waiting, return_exceptions=True)
    leaving = asyncio.ensure_future(request.receive())
    try:
        either: set[asyncio.Future[Any]] = {together, leaving}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not together.done():
            raise ClientDisconnect
        return together.result()
    finally:
        leaving.cancel()
        # One by one: a gathering that is cancelled itself would log that nobody took its exception.
        for future in waiting:
            future.cancel()


def _record(metrics: Metrics, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            metrics.frames.labels(outcome=kind_of(outcome).code).inc()
        else:
            metrics.frames.labels(outcome="answered").inc()
            metrics.queue_seconds.observe(outcome.queue_s)
            metrics.decode_seconds.observe(outcome.result.decode_s)
            metrics.inference_seconds.observe(outcome.result.inference_s)


def _offer(keeper: FrameKeeper, frames: Sequence[UploadedFrame], outcomes: Sequence[Outcome]) -> None:
    # Frames of one sequence come in one after the other: a day in UTC is what stays on one side of a split.
    group = f"{datetime.now(UTC):%Y-%m-%d}"
    for frame, outcome in zip(frames, outcomes, strict=True):
        if not isinstance(outcome, BaseException):
            keeper.offer(frame.data, outcome.result, group)


def _reply(
    request: Request,
    serving: Serving,
    frames: Sequence[UploadedFrame],
    outcomes: Sequence[Outcome],
    with_evidence: bool,
    received_s: float,
) -> Response:
    if len(outcomes) == 1 and isinstance(outcomes[0], BaseException):
        raise outcomes[0]
    entries = [
        _entry(request, frame.name, outcome, with_evidence) for frame, outcome in zip(frames, outcomes, strict=True)
    ]
    reply = PredictReply(
        model=model_name(serving.detector.metadata),
        thresholds=dict(serving.detector.thresholds),
        frames=entries,
        timing_ms=_timing(outcomes, received_s),
    )
    return Response(reply.model_dump_json(exclude_none=True), media_type="application/json")


def _entry(request: Request, name: str, outcome: Outcome, with_evidence: bool) -> FrameAnswer | FrameProblem:
    if not isinstance(outcome, BaseException):
        return frame_answer(name, outcome.result, with_evidence)
    if not isinstance(outcome, FrameError):
        logger.error("a frame failed", exc_info=outcome, extra={"request_id": request.state.request_id})
    return FrameProblem(name=name, problem=Problem(**problem(outcome, request.url.path)))


def _timing(outcomes: Sequence[Outcome], received_s: float) -> TimingMs:
    answered = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    return TimingMs(
        decode=_ms(sum(outcome.result.decode_s for outcome in answered)),
        queue=_ms(max((outcome.queue_s for outcome in answered), default=0.0)),
        inference=_ms(sum(outcome.result.inference_s for outcome in answered)),
        total=_ms(time.monotonic() - received_s),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
