"""/v2: the Open Inference Protocol, on the same way as /predict."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from service.errors import FrameError, RequestTooLarge, UnknownModel
from service.inference.decoding import Incoming
from service.inference.detector import Detection
from service.web.awaited_frames import AwaitedFrames, Outcome
from service.web.client_connection import connection_of
from service.web.deadlines import HEADER as TIMEOUT
from service.web.direct_route import DirectRoute
from service.web.frame_record import offer_frames, record_frames, record_times
from service.web.lifecycle import Lifecycle, Serving
from service.web.open_inference.body import HEADER_LENGTH, InferenceBody, header_length, opened
from service.web.open_inference.descriptions import (
    ModelDescription,
    ModelReady,
    ServerDescription,
    ServerLive,
    ServerReady,
    model_configuration,
    model_description,
)
from service.web.open_inference.documentation import (
    INFERENCE_ERRORS,
    documented_errors,
    documented_inference,
    documented_path,
)
from service.web.open_inference.documents import InferenceDocument, deadline_s, read_document
from service.web.open_inference.inputs import only_input, read_frames
from service.web.open_inference.outputs import WantedOutput, all_as_bytes, encode_reply, wanted_outputs
from service.web.predict_routes import CLIENT_LEFT
from service.web.uploads import UploadLimits, arriving

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

MODEL_PATHS: Final = ("/models/{model}", "/models/{model}/versions/{version}")
JSON_HINT: Final = "; send tensors as binary data behind the JSON"


@dataclass(frozen=True, slots=True)
class _Asked:
    """One inference request, read and checked."""

    frames: Sequence[Incoming]
    wanted: Sequence[WantedOutput]
    deadline_s: float
    id: str | None = None


@router.get("", summary="Name, version and extensions")
async def server() -> ServerDescription:
    """Which server this is."""
    return ServerDescription()


@router.get("/health/live", summary="Whether the process answers")
async def live() -> ServerLive:
    """200, also while loading and draining."""
    return ServerLive()


@router.get(
    "/health/ready",
    summary="Whether the service wants traffic",
    responses=documented_errors("not_ready", "draining", "startup_failed"),
)
async def ready(request: Request) -> ServerReady:
    """200 or 503, as /health/ready."""
    request.app.state.lifecycle.refuse_unready()
    return ServerReady()


async def model(request: Request) -> ModelDescription:
    """The model's inputs, outputs and labels."""
    return model_description(_addressed(request).detector.metadata)


async def model_ready(request: Request) -> ModelReady:
    """200 or 503, as /v2/health/ready; 404 for another model than the one that serves."""
    metadata = _addressed(request).detector.metadata
    request.app.state.lifecycle.refuse_unready()
    return ModelReady(name=metadata.name)


async def configuration(request: Request) -> dict[str, Any]:
    """The model in the terms of Triton's configuration."""
    metadata = _addressed(request).detector.metadata
    return model_configuration(metadata, request.app.state.upload_limits.max_frames)


async def infer(request: Request) -> Response:
    """Encoded frames or pixels in, probabilities and evidence out, in JSON or as bytes behind it.

    One frame that cannot be answered fails the request: a tensor has no place for a problem.
    """
    serving = _addressed(request)
    state, timing = request.app.state, request.state.timing
    first_deadline_s = state.timeouts.deadline_s(request.headers.get(TIMEOUT), timing.started_s)
    serving.scheduler.refuse_without_room(1, first_deadline_s)
    frames: Sequence[Incoming] = ()
    try:
        with state.upload_memory.share() as share:
            async with (
                arriving(state.upload_limits, share, first_deadline_s),
                opened(request, state.upload_limits.max_request_bytes, share) as body,
            ):
                asked = await _read(request, body)
            frames, received_s = asked.frames, time.monotonic()
            futures = serving.scheduler.submit(frames, asked.deadline_s)
            connection = connection_of(request.scope)
            outcomes = await AwaitedFrames(futures).outcomes(request.receive, asked.deadline_s, connection)
    except ClientDisconnect:
        state.metrics.count_frames("client_left", len(frames))
        return Response(status_code=CLIENT_LEFT)
    record_frames(request, state.metrics, outcomes, received_s)
    _offer(serving, frames, outcomes)
    reply = _reply(serving, asked, outcomes)
    record_times(request, received_s)
    return reply


def _addressed(request: Request) -> Serving:
    """What serves the model and version of the path. Raises UnknownModel, NotReady and the start-up's error."""
    lifecycle: Lifecycle = request.app.state.lifecycle
    serving = lifecycle.serving()
    metadata, asked = serving.detector.metadata, request.path_params
    if asked["model"] != metadata.name:
        raise UnknownModel(f"there is no model {asked['model']!r}; the one that serves is {metadata.name!r}")
    if asked.get("version", metadata.version) != metadata.version:
        raise UnknownModel(
            f"there is no version {asked['version']!r} of {metadata.name}; the one that serves is {metadata.version!r}"
        )
    return serving


async def _read(request: Request, body: InferenceBody) -> _Asked:
    """The whole body. Raises RequestError, FrameError and UploadsFull."""
    state, started_s, header = request.app.state, request.state.timing.started_s, request.headers.get(TIMEOUT)
    limits: UploadLimits = state.upload_limits
    json_bytes = header_length(request.headers)
    if json_bytes == 0:
        frame = await body.read_rest(limits.max_frame_bytes)
        return _Asked([bytes(frame)], all_as_bytes(), state.timeouts.deadline_s(header, started_s))
    document = await _read_document(body, json_bytes, state.max_json_bytes)
    given, wanted = only_input(document, limits), wanted_outputs(document)
    deadline = deadline_s(state.timeouts, header, document, started_s)
    frames = await read_frames(given, body, limits, behind_json=json_bytes is not None)
    return _Asked(frames, wanted, deadline, document.id)


async def _read_document(body: InferenceBody, json_bytes: int | None, limit: int) -> InferenceDocument:
    if json_bytes is None:
        return read_document(await body.read_rest(limit, JSON_HINT))
    if json_bytes > limit:
        raise RequestTooLarge(f"the JSON holds {json_bytes} bytes; allowed are {limit}{JSON_HINT}", limit_bytes=limit)
    return read_document(await body.read(json_bytes, f"JSON that {HEADER_LENGTH} announces"))


def _offer(serving: Serving, frames: Sequence[Incoming], outcomes: Sequence[Outcome]) -> None:
    encoded = [(frame, outcome) for frame, outcome in zip(frames, outcomes, strict=True) if isinstance(frame, bytes)]
    if serving.keeper and encoded:
        offer_frames(serving.keeper, *zip(*encoded, strict=True))


def _reply(serving: Serving, asked: _Asked, outcomes: Sequence[Outcome]) -> Response:
    metadata = serving.detector.metadata
    head = {"model_name": metadata.name, "model_version": metadata.version}
    named = head if asked.id is None else {**head, "id": asked.id}
    content, json_bytes = encode_reply(named, asked.wanted, _detections(outcomes))
    if json_bytes is None:
        return Response(content, media_type="application/json")
    return Response(content, media_type="application/octet-stream", headers={HEADER_LENGTH: str(json_bytes)})


def _detections(outcomes: Sequence[Outcome]) -> list[Detection]:
    """What the frames show. Raises the first frame's error; one that cannot be decoded is named."""
    for number, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, FrameError) and len(outcomes) > 1:
            raise type(outcome)(f"frame {number} of {len(outcomes)}: {outcome}", **outcome.facts) from outcome
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome.result for outcome in outcomes if not isinstance(outcome, BaseException)]


for _path in MODEL_PATHS:
    _in_path = {"parameters": documented_path(_path)}
    _errors = documented_errors("not_ready", "unknown_model", "startup_failed")
    router.add_api_route(
        _path, model, openapi_extra=_in_path, responses=_errors, response_model_exclude_none=True, summary="Tensors"
    )
    router.add_api_route(
        f"{_path}/ready", model_ready, openapi_extra=_in_path, responses=_errors, summary="Whether the model is ready"
    )
    router.add_api_route(
        f"{_path}/config", configuration, openapi_extra=_in_path, responses=_errors, summary="Triton's configuration"
    )
    router.add_api_route(
        f"{_path}/infer",
        infer,
        methods=["POST"],
        route_class_override=DirectRoute,
        openapi_extra=documented_inference(_path),
        responses=documented_errors(*INFERENCE_ERRORS),
        response_class=Response,
        summary="Tell which labels are in frames",
    )

# Some load balancers probe with HEAD.
for _path, _route in (("/health/live", live), ("/health/ready", ready)):
    router.add_api_route(_path, _route, methods=["HEAD"], include_in_schema=False)
