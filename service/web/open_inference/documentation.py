"""The protocol's routes as OpenAPI shows them."""

from typing import Any, Final

from service.web.deadlines import documented_timeout
from service.web.open_inference.body import HEADER_LENGTH
from service.web.open_inference.descriptions import InferenceError
from service.web.open_inference.inputs import ENCODED, PIXELS
from service.web.problem_documents import DETAILS
from service.web.problems import KINDS

_TENSOR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string", "enum": [ENCODED, PIXELS]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string", "enum": ["BYTES", "UINT8"]},
        "parameters": {"type": "object"},
        "data": {"type": "array", "description": "Flat or nested; base64 for encoded frames"},
    },
}
_REQUEST: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": _TENSOR, "minItems": 1, "maxItems": 1},
        "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
    },
}
_BYTES: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
_ERROR: Final[dict[str, Any]] = {"$ref": f"#/components/schemas/{InferenceError.__name__}"}
_HEADER_LENGTH: Final[dict[str, Any]] = {
    "name": HEADER_LENGTH,
    "in": "header",
    "required": False,
    "description": "Bytes of JSON before the tensors' bytes; 0 where the body is one encoded frame and nothing else",
    "schema": {"type": "integer", "minimum": 0},
}

INFERENCE_ERRORS: Final = (
    "invalid_inference_request",
    "invalid_parameter",
    "no_frames",
    "unknown_model",
    "request_too_large",
    "too_many_frames",
    "frame_too_large",
    "too_many_pixels",
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


def documented_errors(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for the problems of a route, in the protocol's form."""
    kinds = [KINDS[code] for code in codes]
    return {
        status: {
            "model": InferenceError,
            "description": "; ".join(kind.title for kind in kinds if kind.status == status),
            "content": {
                "application/json": {
                    "schema": _ERROR,
                    "examples": {
                        kind.code: {"summary": kind.title, "value": {"error": DETAILS[kind.code]}}
                        for kind in kinds
                        if kind.status == status
                    },
                }
            },
        }
        for status in sorted({kind.status for kind in kinds})
    }


def documented_path(path: str) -> list[dict[str, Any]]:
    """The parameters that stand in a path's braces."""
    names = ("model", "version")
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
        if f"{{{name}}}" in path
    ]


def documented_inference(path: str) -> dict[str, Any]:
    """What a request at the path may hold."""
    return {
        "parameters": [*documented_path(path), documented_timeout(), _HEADER_LENGTH],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _REQUEST}, "application/octet-stream": _BYTES},
        },
    }
