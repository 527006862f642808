"""What became of a request's frames, told to the metrics, the trace, the access log and who keeps uncertain ones."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.requests import Request

from service.inference.detector import Detection
from service.inference.frame_queue import Completed
from service.label_folder.keeper import FrameKeeper
from service.telemetry import Metrics
from service.telemetry.metrics import Answer
from service.telemetry.tracing import FrameSpans, Tracing
from service.web.awaited_frames import Outcome
from service.web.problems import kind_of


def record_frames(request: Request, metrics: Metrics, outcomes: Sequence[Outcome], submitted_s: float) -> None:
    """Count each frame, trace it where the request is traced, and leave the request's figures for the access log.

    `submitted_s` is the instant (of time.monotonic) at which the frames were submitted.
    """
    answered = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            metrics.count_frames(kind_of(outcome).code)
    for completed in answered:
        metrics.count_answer(_counted(completed))
    request.scope["state"]["frame_figures"] = _figures(outcomes, answered)
    tracing: Tracing | None = request.app.state.tracing
    spans = tracing.frames() if tracing else None
    if spans:
        _trace(spans, outcomes, submitted_s)


def record_times(request: Request, received_s: float) -> dict[str, float]:
    """Where the time of recorded frames went, in milliseconds, told in Server-Timing as well.

    `received_s` is the instant (of time.monotonic) at which the last byte of the body had come.
    """
    state = request.scope["state"]
    figures, timing = state["frame_figures"], state["timing"]
    timing.record("read", _ms(received_s - timing.started_s))
    times_ms: dict[str, float] = {}
    for stage in ("queue", "decode", "inference"):
        times_ms[stage] = figures[f"{stage}_ms"]
        timing.record(stage, times_ms[stage])
    times_ms["total"] = _ms(time.monotonic() - received_s)
    return times_ms


def offer_frames(keeper: FrameKeeper, frames: Sequence[bytes], outcomes: Sequence[Outcome]) -> None:
    """Hand answered frames to who keeps the uncertain ones, as they came."""
    # Frames of one sequence come in one after the other: a day in UTC is what stays on one side of a split.
    group = f"{datetime.now(UTC):%Y-%m-%d}"
    for frame, outcome in zip(frames, outcomes, strict=True):
        if not isinstance(outcome, BaseException):
            keeper.offer(frame, outcome.result, group)


def _counted(completed: Completed[Detection]) -> Answer:
    result = completed.result
    times_s = completed.queue_s, result.decode_s, result.inference_s
    return Answer(*times_s, completed.batch_frames, result.probabilities, result.labels)


def _figures(outcomes: Sequence[Outcome], answered: Sequence[Completed[Detection]]) -> dict[str, int | float]:
    return {
        "frames": len(outcomes),
        "answered": len(answered),
        "queue_ms": _ms(max((completed.queue_s for completed in answered), default=0.0)),
        "decode_ms": _ms(sum(completed.result.decode_s for completed in answered)),
        "inference_ms": _ms(sum(completed.result.inference_s for completed in answered)),
    }


def _trace(spans: FrameSpans, outcomes: Sequence[Outcome], submitted_s: float) -> None:
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, BaseException):
            spans.refuse({"roadcue.frame.index": index, "error.type": kind_of(outcome).code})
        else:
            _trace_stages(spans, index, outcome, submitted_s)


def _trace_stages(spans: FrameSpans, index: int, completed: Completed[Detection], submitted_s: float) -> None:
    result, frame = completed.result, {"roadcue.frame.index": index}
    size = {"roadcue.frame.width": result.width, "roadcue.frame.height": result.height}
    taken_s = submitted_s + completed.queue_s - completed.batch_wait_s
    decoded_s = taken_s + result.decode_s
    inferred_from_s = decoded_s + completed.batch_wait_s
    spans.add("queue", submitted_s, taken_s, frame)
    spans.add("decode", taken_s, decoded_s, frame | size)
    if completed.batch_wait_s:
        spans.add("queue", decoded_s, inferred_from_s, frame)
    batch = {"roadcue.batch.frames": completed.batch_frames}
    spans.add("infer", inferred_from_s, inferred_from_s + result.inference_s, frame | batch)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
