"""Pages that the driver keeps in place, on a machine that has one and on one that has none."""

import ctypes
import gc
import logging
from typing import Any

import numpy as np
import pytest

from service.inference.cuda_driver import driver_hindrance, gpu_description, page_lock


class FakeDriver:
    """The driver's library: notes what it is asked, and answers a call with an error where it is told to."""

    def __init__(self, failing: str = "") -> None:
        self.locked: dict[int, int] = {}
        self._failing = failing

    def cuDevicePrimaryCtxRetain(self, context: object, device: int) -> int:
        """The context that CUDA's own libraries use."""
        assert device == 0
        return 101 if self._failing == "cuDevicePrimaryCtxRetain" else 0

    def cuCtxSetCurrent(self, context: ctypes.c_void_p) -> int:
        """Make it this thread's."""
        return 0

    def cuMemHostRegister_v2(self, address: ctypes.c_void_p, size: ctypes.c_size_t, flags: int) -> int:
        """Lock pages; 1 is portable: for every context."""
        assert flags == 1
        if self._failing == "cuMemHostRegister":
            return 2
        self.locked[address.value or 0] = size.value
        return 0

    def cuInit(self, flags: int) -> int:
        """Has to come first."""
        return 100 if self._failing == "cuInit" else 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        """Of the GPUs that the process sees."""
        device._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: ctypes.c_int) -> int:
        """As text that ends with 0."""
        name.value = b"NVIDIA H200"
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: ctypes.c_int) -> int:
        """In bytes."""
        size._obj.value = 140 * 2**30 - 1
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        """1000 times the major and 10 times the minor version."""
        version._obj.value = 13020
        return 0

    def cuMemHostUnregister(self, address: ctypes.c_void_p) -> int:
        """Let them go."""
        del self.locked[address.value or 0]
        return 0


def with_driver(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver | None) -> None:
    """Put a driver on the machine, or none."""

    def load(name: str) -> FakeDriver:
        if driver is None:
            raise OSError(f"{name}: cannot open shared object file")
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)


def test_pages_are_locked_as_long_as_the_buffer_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver()
    with_driver(monkeypatch, driver)
    buffer = np.zeros((2, 8, 12, 3), np.uint8)
    assert page_lock(buffer)
    assert driver.locked == {buffer.ctypes.data: 576}
    del buffer
    gc.collect()
    assert driver.locked == {}


@pytest.mark.parametrize(
    ("failing", "reason"),
    [
        ("cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRetain answers 101"),
        ("cuMemHostRegister", "cuMemHostRegister answers 2"),
    ],
)
def test_driver_that_refuses_costs_speed_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failing: str, reason: str
) -> None:
    with_driver(monkeypatch, FakeDriver(failing))
    with caplog.at_level(logging.WARNING):
        assert not page_lock(np.zeros(8, np.uint8))
    assert [vars(record)["reason"] for record in caplog.records] == [reason]


def test_gpu_is_known_by_name_memory_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """13020 is CUDA 13.2."""
    with_driver(monkeypatch, FakeDriver())
    assert gpu_description() == "NVIDIA H200, 140 GiB, CUDA 13.2"


@pytest.mark.parametrize("driver", [None, FakeDriver("cuInit")])
def test_gpu_of_a_driver_that_does_not_answer_is_unknown(
    monkeypatch: pytest.MonkeyPatch, driver: FakeDriver | None
) -> None:
    with_driver(monkeypatch, driver)
    assert gpu_description() is None


def test_machine_without_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with_driver(monkeypatch, None)
    assert driver_hindrance() == "no NVIDIA driver was found (libcuda.so.1 cannot be loaded)"
    assert not page_lock(np.zeros(8, np.uint8))
