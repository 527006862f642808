"""What became of a request's frames, told to the metrics, to the trace and to the access log."""

from collections.abc import Sequence

from starlette.requests import Request

from service.inference.detector import Detection
from service.inference.frame_queue import Completed
from service.telemetry import Metrics
from service.web.awaited_frames import Outcome
from service.web.problems import kind_of


def record_frames(request: Request, metrics: Metrics, outcomes: Sequence[Outcome]) -> None:
    """Count each frame, and leave the request's figures in its state for the access log."""
    answered = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            metrics.count_frames(kind_of(outcome).code)
    for completed in answered:
        result = completed.result
        metrics.count_answer(completed.queue_s, result.decode_s, result.inference_s, completed.batch_frames)
        metrics.count_labels(result.probabilities, result.labels)
    request.state.frame_figures = _figures(outcomes, answered)


def _figures(outcomes: Sequence[Outcome], answered: Sequence[Completed[Detection]]) -> dict[str, int | float]:
    return {
        "frames": len(outcomes),
        "answered": len(answered),
        "queue_ms": _ms(max((completed.queue_s for completed in answered), default=0.0)),
        "decode_ms": _ms(sum(completed.result.decode_s for completed in answered)),
        "inference_ms": _ms(sum(completed.result.inference_s for completed in answered)),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
