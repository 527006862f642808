"""The figures say which versions they hold for."""

import re
import shutil
from pathlib import Path

import pytest

from benchmarks.serving.contenders import OURS
from benchmarks.serving.provenance import DISTRIBUTIONS, versions


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_everything_that_a_frame_meets_has_its_version(repository: Path) -> None:
    found = versions([OURS, "mosec"])
    pins = (repository / "constraints.txt").read_text().splitlines()
    assert {f"{distribution}=={found[name]}" for name, distribution in DISTRIBUTIONS.items()} <= set(pins)
    assert re.search(r"\d\.\d", found["wrk"])
    assert found["Linux"] == Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert "mosec" in found
    assert "LitServe" not in found
