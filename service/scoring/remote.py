"""Frames scored by a running service, in order, several under way at once."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from service.client import BadFrame, Client, ClientError, Frame, Model, Outcome, Prediction, Problem, Retries
from service.errors import ServiceUnusable
from service.inference.decoding import resize
from service.scoring.rows import Answer, FrameToScore, Keep, ModelFacts, Row, keep_nothing
from service.web.deadlines import HEADER as TIMEOUT
from service.web.problems import problem

# A name that any header can carry; rows are told apart by their order.
SENT_NAME = "frame"
# A request holds one frame here, so that too large a request is too large a file.
TOO_LARGE = "request_too_large"


@contextmanager
def remote_scorer(url: str, console: Console) -> Iterator[tuple["RemoteScorer", Keep]]:
    """A scorer that sends frames to the service at `url`. Raises ServiceUnusable."""
    try:
        client = Client(url, retries=Retries(waits_out_429=True))
    except ValueError as error:
        raise ServiceUnusable(str(error)) from error
    with client:
        try:
            model = client.model()
        except ClientError as error:
            raise ServiceUnusable(f"{url} cannot be asked: {error}") from error
        said = f"{model.name} {model.version}, {model.precision} on {model.provider} at {url}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
        yield RemoteScorer(client, model), keep_nothing


class RemoteScorer:
    """Scores by asking a service which model it has, and then for each frame."""

    def __init__(self, client: Client, model: Model) -> None:
        self._client, self._model = client, model

    @property
    def model(self) -> ModelFacts:
        thresholds = {label.key: label.threshold for label in self._model.labels}
        titles = {label.key: label.title for label in self._model.labels}
        about = (self._model.name, self._model.version, self._model.precision, self._model.fingerprint)
        return ModelFacts(*about, thresholds, titles)

    def rows(self, frames: Iterable[FrameToScore]) -> Generator[Row, None, None]:
        """What became of each frame, in order. Raises ServiceUnusable for what is no fault of the frame."""
        sent: deque[FrameToScore] = deque()
        for outcome in self._client.stream(self._sources(frames, sent)):
            yield from _failed_before(sent)
            yield self._row(sent.popleft(), outcome)
        yield from _failed_before(sent)

    def _sources(self, frames: Iterable[FrameToScore], sent: deque[FrameToScore]) -> Iterator[Frame]:
        for frame in frames:
            sent.append(frame)
            if frame.failure is None:
                pixels_HWC = frame.frame_HWC
                yield SENT_NAME, (frame.place.path if pixels_HWC is None else self._encoded(pixels_HWC))

    def _encoded(self, frame_HWC: NDArray[np.uint8]) -> bytes:
        """A video's frame as the network will see it, without loss: nothing is left to resize there."""
        small_HWC = resize(frame_HWC, self._model.height, self._model.width)
        return bytes(cv2.imencode(".png", small_HWC[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])

    def _row(self, frame: FrameToScore, outcome: Outcome) -> Row:
        if outcome.prediction:
            return Row(frame, self._answer(frame, outcome.prediction))
        error = outcome.error
        told = error.problem if error else None
        # A row says that its frame is done. Of other trouble the next ones would have the same: stopping here leaves
        # all of them to be gone on with.
        if told is None or not (isinstance(error, BadFrame) or told.code == TOO_LARGE):
            said = f"{told.code}, {error}{self._advice(told)}" if told else error
            raise ServiceUnusable(f"{frame.place}: {said}. What has its row stays; --resume goes on") from error
        members: dict[str, Any] = {"type": told.type, "title": told.title, "status": told.status, "code": told.code}
        return Row(frame, {**members, "detail": told.detail, **told.facts})

    def _advice(self, told: Problem) -> str:
        if told.facts.get("parameter") != TIMEOUT or self._client.timeout_s is None:
            return ""
        least_ms = round(self._client.timeout_s * 1000)
        return f". It is the timeout of this client: start the service with --max-timeout-ms {least_ms} or more"

    def _answer(self, frame: FrameToScore, prediction: Prediction) -> Answer:
        answering = (prediction.model_name, prediction.model_version, prediction.model_fingerprint)
        if answering != (self._model.name, self._model.version, self._model.fingerprint):
            model = " ".join(filter(None, answering))
            raise ServiceUnusable(f"the service has changed its model from {self.model} to {model}; begin anew")
        sizes = (prediction.width, prediction.height)
        width, height = sizes if frame.frame_HWC is None else frame.frame_HWC.shape[1::-1]
        return Answer(width, height, prediction.probabilities, prediction.labels)


def _failed_before(sent: deque[FrameToScore]) -> Iterator[Row]:
    """The rows of frames that were never sent, up to the next that was."""
    while sent and (failure := sent[0].failure):
        yield Row(sent.popleft(), problem(failure))
