"""POST /predict: frames in, labels out."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from service.errors import InvalidParameter, RoadcueError
from service.inference.detector import Detection
from service.inference.scheduling import FrameScheduler
from service.web.awaited_frames import AwaitedFrames, Outcome
from service.web.client_connection import connection_of
from service.web.deadlines import HEADER as TIMEOUT
from service.web.deadlines import documented_timeout
from service.web.direct_route import DirectRoute
from service.web.frame_record import offer_frames, record_frames, record_times
from service.web.lifecycle import Serving
from service.web.problem_documents import documented_problems
from service.web.problems import problem
from service.web.schemas import PredictReply, frame_answer, predict_reply
from service.web.uploads import RAW_TYPES, UploadedFrame, read_frames

logger = logging.getLogger(__name__)
router = APIRouter(tags=["frames"], route_class=DirectRoute)

# What nginx logs for a client that left; nobody receives it.
CLIENT_LEFT: Final = 499

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
_EVIDENCE: Final[dict[str, Any]] = {
    "name": "evidence",
    "in": "query",
    "required": False,
    "description": "Also say where in the frame each label's evidence lies",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
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
    "deadline_exceeded",
    "internal_error",
)


@router.post(
    "/predict",
    summary="Tell which labels are in one or many frames",
    response_model=PredictReply,
    responses=_PROBLEMS,
    openapi_extra={"requestBody": _BODY, "parameters": [_EVIDENCE, documented_timeout()]},
)
async def predict(request: Request) -> Response:
    """Send files in the form fields `file` or `files`, or one image as the body.

    The format is read from the bytes, not from the declared type. With several frames, one that cannot be read, or
    not be answered in time, carries its own problem and the others are answered; when the only frame is bad, the reply
    is its problem.
    """
    with_evidence = evidence_wanted(request)
    state = request.app.state
    serving, started_s = state.lifecycle.serving(), request.scope["state"]["timing"].started_s
    deadline_s = state.timeouts.deadline_s(request.headers.get(TIMEOUT), started_s)
    serving.scheduler.refuse_without_room(1, deadline_s)
    frames: Sequence[UploadedFrame] = ()
    try:
        with state.upload_memory.share() as share:
            frames = await read_frames(request, state.upload_limits, share, deadline_s)
            received_s = time.monotonic()
            outcomes = await _outcomes(request, serving.scheduler, frames, deadline_s)
    except ClientDisconnect:
        state.metrics.count_frames("client_left", len(frames))
        return Response(status_code=CLIENT_LEFT)
    record_frames(request, state.metrics, outcomes, received_s)
    timing_ms = record_times(request, received_s)
    if serving.keeper:
        offer_frames(serving.keeper, [frame.data for frame in frames], outcomes)
    return _reply(request, serving, frames, outcomes, with_evidence, timing_ms)


def evidence_wanted(request: Request) -> bool:
    """The query's one parameter. Raises InvalidParameter for others: a slip of the pen, ignored, would look like an
    answer.
    """
    if not request.scope["query_string"]:
        return False
    for name in request.query_params:
        if name != "evidence":
            message = f"the query has a parameter {name!r}; allowed: evidence"
            raise InvalidParameter(message, parameter=name, allowed=["evidence"])
    given = request.query_params.get("evidence", "false")
    if given not in ("true", "false"):
        raise InvalidParameter(f"evidence is {given!r}; allowed: 'true' or 'false'", parameter="evidence")
    return given == "true"


async def _outcomes(
    request: Request, scheduler: FrameScheduler[Detection], frames: Sequence[UploadedFrame], deadline_s: float
) -> list[Outcome]:
    """What became of each frame, in order; raises QueueFull, DeadlineExceeded or ClientDisconnect for all of them."""
    futures = scheduler.submit([frame.data for frame in frames if frame.error is None], deadline_s)
    connection = connection_of(request.scope)
    awaited = iter(await AwaitedFrames(futures).outcomes(request.receive, deadline_s, connection))
    return [frame.error or next(awaited) for frame in frames]


def _reply(
    request: Request,
    serving: Serving,
    frames: Sequence[UploadedFrame],
    outcomes: Sequence[Outcome],
    with_evidence: bool,
    timing_ms: Mapping[str, float],
) -> Response:
    if len(outcomes) == 1 and isinstance(outcomes[0], BaseException):
        raise outcomes[0]
    entries = [
        _entry(request, frame.name, outcome, with_evidence) for frame, outcome in zip(frames, outcomes, strict=True)
    ]
    return predict_reply(serving.detector, entries, timing_ms)


def _entry(request: Request, name: str, outcome: Outcome, with_evidence: bool) -> dict[str, Any]:
    if not isinstance(outcome, BaseException):
        return frame_answer(name, outcome.result, with_evidence)
    if not isinstance(outcome, RoadcueError):
        logger.error("a frame failed", exc_info=outcome, extra={"request_id": request.state.request_id})
    return {"name": name, "problem": problem(outcome, request.scope["path"])}
