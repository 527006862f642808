"""What is asked of the NVIDIA driver itself, without CUDA's libraries."""

import ctypes
import logging
import sys
import weakref
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

DRIVER: Final = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# CU_MEMHOSTREGISTER_PORTABLE: the memory counts as page-locked in every context.
_PORTABLE: Final = 1


def driver_hindrance() -> str | None:
    """Why the driver cannot be loaded; None where it can."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return f"no NVIDIA driver was found ({DRIVER} cannot be loaded)"
    return None


def gpu_description() -> str | None:
    """The GPU that CUDA computes on: its name, memory and the CUDA that its driver knows; None where that is not told.

    For example "NVIDIA H200, 140 GiB, CUDA 13.0"; a part of a GPU (MIG) and its memory, where the process sees no more.
    """
    device, memory, version = ctypes.c_int(), ctypes.c_size_t(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    try:
        driver = ctypes.CDLL(DRIVER)
        failed = (
            driver.cuInit(0)
            or driver.cuDeviceGet(ctypes.byref(device), 0)
            or driver.cuDeviceGetName(name, len(name), device)
            or driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
            or driver.cuDriverGetVersion(ctypes.byref(version))
        )
    except (OSError, AttributeError):
        return None
    if failed:
        return None
    major, minor = version.value // 1000, version.value % 1000 // 10
    return f"{name.value.decode()}, {memory.value / 2**30:.0f} GiB, CUDA {major}.{minor}"


def page_lock(buffer: NDArray[np.uint8]) -> bool:
    """Keep a buffer's pages where they are, as long as it lives, so that the device copies from it by itself.

    False where the driver refuses: copies are slower then, and nothing else.
    """
    try:
        failed = _registered(ctypes.CDLL(DRIVER), buffer)
    except (OSError, AttributeError) as problem:
        failed = str(problem)
    if failed:
        logger.warning("frames are not page-locked", extra={"reason": failed})
    return not failed


def _registered(driver: ctypes.CDLL, buffer: NDArray[np.uint8]) -> str:
    """Empty, or the call that failed and CUDA's number for why."""
    context, address = ctypes.c_void_p(), ctypes.c_void_p(buffer.ctypes.data)
    calls: dict[str, Callable[[], int]] = {
        "cuDevicePrimaryCtxRetain": lambda: driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0),
        "cuCtxSetCurrent": lambda: driver.cuCtxSetCurrent(context),
        "cuMemHostRegister": lambda: driver.cuMemHostRegister_v2(address, ctypes.c_size_t(buffer.nbytes), _PORTABLE),
    }
    for name, call in calls.items():
        if code := call():
            return f"{name} answers {code}"
    # Before its memory goes: the driver must not keep pages that belong to something else by then.
    weakref.finalize(buffer, driver.cuMemHostUnregister, address).atexit = False
    return ""
