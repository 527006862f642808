"""X-Timeout-Ms: until when a client waits."""

import pytest

from service.errors import InvalidParameter
from service.web.deadlines import Timeouts

TIMEOUTS = Timeouts(default_ms=500, max_ms=2000)


@pytest.mark.parametrize(("given", "deadline_s"), [("1", 100.001), ("250", 100.25), ("2000", 102.0), ("0250", 100.25)])
def test_deadline_counts_from_the_arrival_of_the_head(given: str, deadline_s: float) -> None:
    assert TIMEOUTS.deadline_s(given, started_s=100.0) == pytest.approx(deadline_s)


def test_request_that_does_not_say_gets_the_default() -> None:
    assert TIMEOUTS.deadline_s(None, started_s=100.0) == pytest.approx(100.5)


@pytest.mark.parametrize("given", ["", "0", "-1", "+1", "1.5", "1e3", "5s", " 1", "1_000", "\u0665", "ten", "9" * 5000])
def test_what_is_no_time_is_refused_with_what_is_allowed(given: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        TIMEOUTS.deadline_s(given, started_s=100.0)
    assert str(refused.value) == f"X-Timeout-Ms is {given!r}; allowed: whole milliseconds from 1 to 2000"
    assert refused.value.facts == {"parameter": "X-Timeout-Ms", "limit_ms": 2000}


def test_more_than_the_maximum_is_refused_and_not_cut_silently() -> None:
    with pytest.raises(InvalidParameter, match="'2001'; allowed: whole milliseconds from 1 to 2000"):
        TIMEOUTS.deadline_s("2001", started_s=100.0)
