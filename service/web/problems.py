"""Every error as RFC 9457 problem+json: one table from error class to status, code and title.

A problem looks the same as a reply and inside the entry of one frame:

    {"type": "/problems/damaged_image", "title": "Damaged image", "status": 422, "code": "damaged_image",
     "detail": "...", "instance": "/predict"}

`code` is stable and made for programs, `detail` for people; further members repeat the figures of the detail.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from service import errors

MEDIA_TYPE: Final = "application/problem+json"
# Below it errors have the form of the Open Inference Protocol, wherever they come from.
OPEN_INFERENCE: Final = "/v2/"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """What all problems of one class share; `remedy` tells the caller what to do."""

    status: int
    code: str
    title: str
    remedy: str

    @property
    def type(self) -> str:
        return f"/problems/{self.code}"


PROBLEMS: Final[Mapping[type[errors.RoadcueError], ProblemKind]] = {
    errors.UnsupportedContentType: ProblemKind(
        415,
        "unsupported_content_type",
        "Unsupported content type",
        "Send multipart/form-data with the field `file`, or one image as image/jpeg, image/png, image/webp or "
        "application/octet-stream.",
    ),
    errors.UnsupportedContentEncoding: ProblemKind(
        415,
        "unsupported_content_encoding",
        "Unsupported content encoding",
        "Send the body as it is, without Content-Encoding: images are compressed already. Only /v2 takes others.",
    ),
    errors.RequestTooLarge: ProblemKind(
        413, "request_too_large", "Request too large", "Send fewer or smaller frames in one request."
    ),
    errors.MalformedMultipart: ProblemKind(
        400,
        "malformed_multipart",
        "Malformed multipart body",
        "Let an HTTP library write the body; it must follow RFC 7578 and be complete.",
    ),
    errors.UnexpectedField: ProblemKind(
        400,
        "unexpected_field",
        "Unexpected form field",
        "Send frames as files in fields named `file` or `files`, and nothing else.",
    ),
    errors.TooManyFrames: ProblemKind(
        413, "too_many_frames", "Too many frames", "Spread the frames over several requests."
    ),
    errors.NoFrames: ProblemKind(400, "no_frames", "No frames", "Send at least one frame."),
    errors.UploadTimeout: ProblemKind(
        408,
        "upload_timeout",
        "Upload timeout",
        "Send fewer or smaller frames in one request, over a faster connection.",
    ),
    errors.InvalidParameter: ProblemKind(
        400, "invalid_parameter", "Invalid parameter", "Use the parameters and values that are allowed."
    ),
    errors.InvalidInferenceRequest: ProblemKind(
        400,
        "invalid_inference_request",
        "Invalid inference request",
        "Send one input as /v2/models/{model} describes it, in JSON or as binary tensor data.",
    ),
    errors.UnknownModel: ProblemKind(
        404, "unknown_model", "Unknown model", "Use the name and version that /model answers, or leave the version out."
    ),
    errors.FrameTooLarge: ProblemKind(
        413, "frame_too_large", "Frame too large", "Send a smaller or more strongly compressed image."
    ),
    errors.TooManyPixels: ProblemKind(
        413, "too_many_pixels", "Too many pixels", "Scale the image down before sending it."
    ),
    errors.UnsupportedImage: ProblemKind(
        415, "unsupported_image", "Unsupported image format", "Send the frame as JPEG, PNG or WebP."
    ),
    errors.DamagedImage: ProblemKind(
        422, "damaged_image", "Damaged image", "Check that the whole file was sent and opens in an image viewer."
    ),
    errors.UnreadableFile: ProblemKind(422, "unreadable_file", "Unreadable file", "Check the file's permissions."),
    errors.UnreadableVideo: ProblemKind(
        422,
        "unreadable_video",
        "Unreadable video",
        "Check that the whole file was copied and plays to its end.",
    ),
    errors.UploadsFull: ProblemKind(
        429, "uploads_full", "Uploads full", "Send the request again after the seconds named in Retry-After."
    ),
    errors.QueueFull: ProblemKind(
        429, "queue_full", "Queue full", "Send the request again after the seconds named in Retry-After."
    ),
    errors.DeadlineExceeded: ProblemKind(
        504, "deadline_exceeded", "Deadline exceeded", "Allow more time, or send fewer frames in one request."
    ),
    errors.NotReady: ProblemKind(503, "not_ready", "Not ready", "Wait until /health/ready answers 200."),
    errors.Draining: ProblemKind(
        503, "draining", "Draining", "Send new requests to another instance; this one is about to end."
    ),
    errors.UncertainFramesLost: ProblemKind(
        500, "uncertain_frames_lost", "Uncertain frames lost", "Make room on the disk, or choose another folder."
    ),
    errors.UnreadableLabelTable: ProblemKind(
        409, "unreadable_label_table", "Unreadable label table", "Mend the file; the detail names the place."
    ),
    errors.LabelFolderBusy: ProblemKind(
        503, "label_folder_busy", "Label folder busy", "Try again once the other process is done."
    ),
    errors.UnlistedFrame: ProblemKind(
        404, "unlisted_frame", "Unlisted frame", "Go on with the next frame; the table has changed."
    ),
    errors.AnsweredElsewhere: ProblemKind(
        409,
        "answered_elsewhere",
        "Answered elsewhere",
        "Look at the answer that stands there; answer again to change it.",
    ),
    errors.StartupError: ProblemKind(
        503, "startup_failed", "Start-up failed", "Read the log of the process; it ends with code 1."
    ),
}

BAD_REQUEST: Final = ProblemKind(400, "bad_request", "Bad request", "Read the detail.")
NOT_FOUND: Final = ProblemKind(404, "not_found", "Not found", "See /docs for the paths that exist.")
METHOD_NOT_ALLOWED: Final = ProblemKind(
    405, "method_not_allowed", "Method not allowed", "Use one of the methods named in Allow."
)
HEADER_TOO_LARGE: Final = ProblemKind(
    431, "header_too_large", "Request header too large", "Send fewer and shorter header fields."
)
INTERNAL_ERROR: Final = ProblemKind(
    500, "internal_error", "Internal error", "Report it with the request id; the log holds what happened."
)
KINDS: Final[Mapping[str, ProblemKind]] = {
    kind.code: kind
    for kind in (*PROBLEMS.values(), BAD_REQUEST, NOT_FOUND, METHOD_NOT_ALLOWED, HEADER_TOO_LARGE, INTERNAL_ERROR)
}
WITH_RETRY_AFTER: Final = frozenset(
    kind.code for error, kind in PROBLEMS.items() if issubclass(error, errors.ServiceError)
)
_KIND_OF_STATUS: Final = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED}


def kind_of(error: BaseException) -> ProblemKind:
    """The row of the table for an error: its own class's, else that of its nearest base; else internal_error."""
    return next((PROBLEMS[cls] for cls in type(error).__mro__ if cls in PROBLEMS), INTERNAL_ERROR)


def problem(error: BaseException, instance: str | None = None) -> dict[str, Any]:
    """The problem object of an error. What is not ours to tell (an unexpected exception's text) stays out."""
    kind = kind_of(error)
    if isinstance(error, errors.RoadcueError):
        return problem_object(kind, str(error), instance, **error.facts)
    return problem_object(kind, "The service failed here; the request need not be at fault", instance)


def problem_object(kind: ProblemKind, detail: str, instance: str | None = None, **facts: Any) -> dict[str, Any]:
    """A problem object from its parts; `facts` become extension members."""
    members = {"type": kind.type, "title": kind.title, "status": kind.status, "code": kind.code, "detail": detail}
    return members | ({"instance": instance} if instance else {}) | facts


def problem_response(error: BaseException, instance: str) -> JSONResponse:
    """The reply for an error, with the headers that its status calls for."""
    return _response(problem(error, instance), _headers(error))


async def answer_roadcue_error(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's handler for our own errors and unforeseen ones; the path is a route's: nothing to quote in it."""
    request.state.problem = kind_of(error).code
    return problem_response(error, request.scope["path"])


async def answer_validation_error(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's handler for parameters that its validation refuses."""
    first = cast(RequestValidationError, error).errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:])
    expected = first.get("ctx", {}).get("expected", first["msg"])
    message = f"{name} is {first.get('input')!r}; allowed: {expected}"
    return await answer_roadcue_error(request, errors.InvalidParameter(message, parameter=name))


async def answer_http_error(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's handler for what the router refuses: unknown paths and methods."""
    refusal = cast(HTTPException, error)
    kind = _KIND_OF_STATUS.get(refusal.status_code, BAD_REQUEST if refusal.status_code < 500 else INTERNAL_ERROR)
    request.state.problem = kind.code
    headers = dict(refusal.headers or {})
    if kind is METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(allowed_methods(request))
    body = problem_object(kind, _http_detail(request, kind, refusal, headers), request.url.path)
    return _response(body | {"status": refusal.status_code}, headers)


def allowed_methods(request: Request) -> list[str]:
    """The methods that some route takes at the request's path; the router itself names those of its first match."""
    routes, methods = request.app.router.routes, ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    scopes = [{**request.scope, "method": method} for method in methods]
    return [scope["method"] for scope in scopes if any(route.matches(scope)[0] is Match.FULL for route in routes)]


def _http_detail(request: Request, kind: ProblemKind, error: HTTPException, headers: Mapping[str, str]) -> str:
    if kind is METHOD_NOT_ALLOWED:
        return f"{request.method} is not allowed at {request.url.path}; allowed: {headers['Allow']}"
    return f"There is nothing at {request.url.path}" if kind is NOT_FOUND else str(error.detail)


def _headers(error: BaseException) -> dict[str, str]:
    if isinstance(error, errors.ServiceError):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    if isinstance(error, errors.UploadTimeout):
        return {"Connection": "close"}  # RFC 9110, 15.5.9: nobody waits for the rest
    # RFC 9110, 12.5.3: a 415 for the coding says which codings would have been taken.
    if isinstance(error, errors.UnsupportedContentEncoding):
        return {"Accept-Encoding": ", ".join(cast(Sequence[str], error.facts.get("allowed", ["identity"])))}
    return {}


def _response(body: dict[str, Any], headers: Mapping[str, str]) -> JSONResponse:
    if f"{body.get('instance')}/".startswith(OPEN_INFERENCE):
        return JSONResponse({"error": body["detail"]}, status_code=body["status"], headers=headers)
    return JSONResponse(body, status_code=body["status"], headers=headers, media_type=MEDIA_TYPE)
