"""Freed memory stays with the process, so that the next step of training finds it ready.

A step frees what it allocated, and the next one asks for the same sizes again. By default the C
library gives large blocks back to the kernel at once, and each new page costs a fault (about half a
microsecond for 4 KiB, more than to write it): 7,000 faults and a sixth of the time of a small GPT's
step. The price: the memory of the largest step stays with the process until it ends.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

# mallopt's names and numbers, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# The most that glibc takes: larger blocks are mapped and unmapped one by one.
_LARGEST_KEPT = 32 << 20
_MOST_FREE = (1 << 31) - 1
_SWITCHES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


@functools.cache
def keep_pages() -> bool:
    """Have the C library keep what is freed, from the first call on; say whether it does.

    Only glibc has this switch; one who set it by its environment variables is not overruled.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _SWITCHES):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    kept = library.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
    return bool(kept and library.mallopt(_TRIM_THRESHOLD, _MOST_FREE))
