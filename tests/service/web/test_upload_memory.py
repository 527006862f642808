"""The bound on what all uploads hold together."""

import pytest

from service.errors import UploadsFull
from service.web.upload_memory import UploadMemory


def fail_while_holding(memory: UploadMemory) -> None:
    """A request that takes 60 bytes, gives 20 back and breaks."""
    with memory.share() as share:
        share.take(60)
        share.give_back(20)
        assert memory.held_bytes == share.held_bytes == 40
        raise ZeroDivisionError


def test_what_a_request_held_is_given_back_however_it_ends() -> None:
    memory = UploadMemory(limit_bytes=100)
    with pytest.raises(ZeroDivisionError):
        fail_while_holding(memory)
    assert memory.held_bytes == 0


def test_requests_share_one_limit_which_is_the_last_that_fits() -> None:
    memory = UploadMemory(limit_bytes=100)
    with memory.share() as first, memory.share() as second:
        first.take(60)
        second.take(40)
        with pytest.raises(
            UploadsFull, match=r"100 bytes of frames are in memory, 1 more have no room; allowed are 100"
        ):
            second.take(1)
        assert memory.held_bytes == 100
        first.give_back(1)
        second.take(1)
    assert memory.held_bytes == 0


def test_refusal_tells_the_figures() -> None:
    memory = UploadMemory(limit_bytes=100)
    with memory.share() as share, pytest.raises(UploadsFull) as refused:
        share.refuse_without_room(101)
    assert refused.value.facts == {"held_bytes": 0, "limit_bytes": 100}
    assert refused.value.retry_after_s > 0
