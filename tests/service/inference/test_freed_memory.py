"""Memory that was freed goes back to the system."""

import platform
import weakref
from pathlib import Path

import pytest

from service.inference.freed_memory import give_freed_memory_back


def resident_kib() -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library gives memory back on request")
def test_the_process_shrinks() -> None:
    """64 MiB in blocks too small for a mapping of their own; the last one keeps the heap from shrinking by itself."""
    blocks = [bytes(64 * 1024) for _ in range(1024)]
    blocks_kib = len(blocks) * 64
    last = bytes(64 * 1024)
    del blocks
    held_kib = resident_kib()
    give_freed_memory_back()
    assert held_kib - resident_kib() > blocks_kib / 2
    assert len(last) == 64 * 1024


def test_what_only_a_cycle_holds_goes_too() -> None:
    class Node:
        own: "Node"

    node = Node()
    node.own, alive = node, weakref.ref(node)
    del node
    give_freed_memory_back()
    assert alive() is None
