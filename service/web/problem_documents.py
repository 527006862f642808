"""The problems as documents: in OpenAPI beside each route, and as a page behind each `type`."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException

from service.web.problems import KINDS, MEDIA_TYPE, WITH_RETRY_AFTER, ProblemKind, problem_object
from service.web.schemas import Document, Problem

router = APIRouter(tags=["problems"])

# A detail as the service really writes it, for each code.
DETAILS: Final = {
    "unsupported_content_type": "the body came as 'text/plain'; allowed are multipart/form-data, image/jpeg, "
    "image/png, image/webp, application/octet-stream",
    "unsupported_content_encoding": "the body came with Content-Encoding 'gzip'; allowed is identity",
    "request_too_large": "the request holds 70000000 bytes or more; allowed are 67108864",
    "malformed_multipart": "the multipart body ends before its last boundary; send all of it",
    "unexpected_field": "the form has a field 'image'; allowed are file and files",
    "too_many_frames": "the request holds more than 64 frames; allowed are 64",
    "no_frames": "the form holds no file; send at least one in a field named file or files",
    "upload_timeout": "the body did not arrive within 60 seconds; 1048576 bytes of it did",
    "invalid_parameter": "evidence is 'maybe'; allowed: 'true' or 'false'",
    "invalid_inference_request": "the input frames came as FP32; allowed is UINT8",
    "unknown_model": "there is no model 'highway'; the one that serves is 'street'",
    "frame_too_large": "a.jpg holds 20000000 bytes or more; allowed are 16777216 a frame",
    "too_many_pixels": "the frame is 20000 x 20000 = 400000000 pixels; at most 50000000 are allowed",
    "unsupported_image": "the frame begins with b'GIF89a', which is no image format we read; "
    "JPEG, PNG and WebP are read",
    "damaged_image": "the JPEG image cannot be decoded: image file is truncated (12 bytes not processed)",
    "unreadable_file": "a.jpg cannot be read: Permission denied",
    "unreadable_video": "drive.mkv is not whole: 240 frames, 8.0 s, could be decoded of 30.0 s",
    "header_too_large": "the request's header holds more than 65536 bytes",
    "bad_request": "Invalid HTTP request received.",
    "uploads_full": "536000000 bytes of frames are in memory, 900000 more have no room; allowed are 536870912 over all "
    "requests. Ask again later",
    "queue_full": "128 frames wait, 1 more have no room; at most 128 may wait. Ask again later",
    "deadline_exceeded": "the deadline is in 4.2 ms after 496 ms in the queue, and a frame takes about 11.3 ms; "
    "allow more time",
    "not_ready": "the model is still being loaded",
    "draining": "the process is about to end; requests that still arrive are served",
    "uncertain_frames_lost": "uncertain frames that could not be kept in uncertain: 3 (No space left on device)",
    "unreadable_label_table": "labels.csv: car of images/a.jpg is 'yes'; allowed are 0, 1 and empty",
    "label_folder_busy": "another process has held uncertain/.lock for 30 seconds",
    "unlisted_frame": "labels.csv has no row for 'images/a.jpg' any more; skip it",
    "answered_elsewhere": "car of images/a.jpg has been answered elsewhere: present, not unanswered as shown; answer "
    "again to change it",
    "startup_failed": "the model file street.onnx cannot be read: No such file or directory",
    "internal_error": "The service failed here; the request need not be at fault",
    "not_found": "There is nothing at /predictions",
    "method_not_allowed": "GET is not allowed at /predict; allowed: POST",
}


class ProblemPage(Document):
    """What a `type` of a problem leads to."""

    code: str
    title: str
    status: int
    remedy: str


def documented_problems(*codes: str, path: str = "/predict") -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for the problems a route can answer with: one a status, with one example a code."""
    kinds = [KINDS[code] for code in codes]
    return {
        status: _documented([kind for kind in kinds if kind.status == status], path)
        for status in sorted({kind.status for kind in kinds})
    }


@router.get("/problems", summary="Every kind of problem")
async def problems() -> list[ProblemPage]:
    """All codes that a problem can carry."""
    return [_page(kind) for kind in KINDS.values()]


@router.get(
    "/problems/{code}",
    summary="One kind of problem",
    # Declared by hand: any text is a code to ask for, so FastAPI's 422 for this parameter cannot happen.
    openapi_extra={"parameters": [{"name": "code", "in": "path", "required": True, "schema": {"type": "string"}}]},
    responses={404: {"description": "No such code", "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}},
)
async def problem_page(request: Request) -> ProblemPage:
    """What the `type` of a problem points to: what it means and what to do."""
    code = request.path_params["code"]
    if code not in KINDS:
        raise HTTPException(404)
    return _page(KINDS[code])


def _page(kind: ProblemKind) -> ProblemPage:
    return ProblemPage(code=kind.code, title=kind.title, status=kind.status, remedy=kind.remedy)


def _documented(kinds: list[ProblemKind], path: str) -> dict[str, Any]:
    examples = {
        kind.code: {"summary": kind.title, "value": problem_object(kind, DETAILS[kind.code], path)} for kind in kinds
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}}
    documented: dict[str, Any] = {"description": "; ".join(kind.title for kind in kinds), "content": content}
    if any(kind.code in WITH_RETRY_AFTER for kind in kinds):
        documented["headers"] = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}}
    return documented
