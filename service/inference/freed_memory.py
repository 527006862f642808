"""Memory that was freed, given back to the system: the C library keeps it for later, which a service may never need."""

import ctypes
import gc
import platform


def give_freed_memory_back() -> None:
    """Shrink the process by what nothing uses any more; only the GNU C library can, elsewhere nothing happens."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)  # <malloc.h>, malloc_trim(3)
