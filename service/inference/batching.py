"""Workers decode, one thread infers: batches of whatever waits, with no delay while the device is idle.

While a batch runs, the workers decode the next one; they wait once a full batch is ready, so that pixels do not pile
up in memory. A batch that fails is tried again frame by frame: a bad frame hurts only itself. Where all of them fail, a
known frame tells whether the device has: CUDA answers nothing after some errors until the process is started again.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from service.inference.decoding import Incoming
from service.inference.frame_queue import FrameQueue, Job, Measured

logger = logging.getLogger(__name__)

Prepared = TypeVar("Prepared")
Result = TypeVar("Result")
Infer = Callable[[Sequence[Prepared]], Sequence[Result]]


class BatchCrew(Generic[Prepared, Result]):
    """What the threads of a batching scheduler do: many run `decode`, exactly one runs `infer`.

    `open_infer` is called on that one thread, since a device may keep things for each thread. `known` is a frame that
    the device must be able to answer; without one it is never given up.
    """

    def __init__(
        self,
        queue: FrameQueue[Result],
        decode: Callable[[Incoming], Prepared],
        open_infer: Callable[[], Infer[Prepared, Result]],
        largest_batch: int,
        known: Prepared | None = None,
    ) -> None:
        self._queue, self._decode, self._open_infer, self._largest = queue, decode, open_infer, largest_batch
        self._known = known
        self._batch_ended_s = queue.clock()
        self.opened: Future[None] = Future()

    def decode(self) -> None:
        """Turn frames into pixels until the queue is closed."""
        while (job := self._queue.take()) is not None:
            try:
                prepared = self._decode(job.frame)
            except BaseException as error:  # noqa: BLE001 - it is the waiter's, and the worker must outlive it
                self._queue.left_work()
                job.fail(error)
            else:
                self._queue.hand_over(job, prepared)

    def infer(self) -> None:
        """Open the device, which settles `opened`, then answer batch after batch until the queue is closed.

        It closes the queue itself, and ends, once the device answers nothing any more.
        """
        try:
            self._infer = self._open_infer()
        except BaseException as error:  # noqa: BLE001 - it is for whoever waits for the opening
            self.opened.set_exception(error)
            return
        self.opened.set_result(None)
        while (jobs := self._queue.take_batch(self._largest)) is not None:
            if jobs:
                self._answer(jobs)

    def _answer(self, jobs: Sequence[Job[Result]]) -> None:
        started_s = self._queue.clock()
        try:
            results = self._infer([job.prepared for job in jobs])
        except BaseException as error:  # noqa: BLE001 - it is the waiters', and the thread must outlive it
            self._answer_alone(jobs, error)
        else:
            self._queue.left_work(len(jobs), self._measured(jobs, started_s))
            for job, result in zip(jobs, results, strict=True):
                job.complete(result, len(jobs))

    def _answer_alone(self, jobs: Sequence[Job[Result]], error: BaseException) -> None:
        """Frame by frame, after a batch failed with this error."""
        answered = False
        for job in jobs:
            try:
                result = self._infer([job.prepared])[0] if len(jobs) > 1 else None
            except BaseException as own_error:  # noqa: BLE001 - as above
                self._queue.left_work()
                job.fail(own_error)
            else:
                self._queue.left_work()
                job.fail(error) if result is None else job.complete(result)
                answered = answered or result is not None
        if not answered:
            self._end_if_device_is_lost()

    def _end_if_device_is_lost(self) -> None:
        if self._known is None:
            return
        try:
            self._infer([self._known])
        except BaseException as error:
            logger.exception("the device answers nothing any more")
            self._queue.break_off(f"the device answers nothing any more: {error}")

    def _measured(self, jobs: Sequence[Job[Result]], started_s: float) -> Measured:
        ended_s = self._queue.clock()
        # Under load one batch follows the other; after idleness the frame's own way through decides.
        period_s = ended_s - max(self._batch_ended_s, jobs[0].taken_s)
        self._batch_ended_s = ended_s
        inference_s = ended_s - started_s
        return Measured(jobs[0].decoded_s - jobs[0].taken_s + inference_s, inference_s, period_s / len(jobs))
