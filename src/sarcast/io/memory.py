"""Memory of this process: how much of it libraries keep, and what was freed, given back."""

import ctypes
import os
import sys
from functools import cache
from typing import Any

POOLS = 2
"""Pools that threads take their memory from; those that share one wait for each other."""
_ARENA_MAX = -8
"""Parameter of ``mallopt`` for the number of pools, as glibc's malloc.h numbers it."""
CACHE_MB = 256
"""Blocks of rasters that GDAL keeps, together, 2^20 bytes."""


def release_memory() -> None:
    """Give memory that was freed back to the system.

    The C library of Linux (glibc) keeps what each thread has freed, in case the thread needs it
    again: after blocks of several threads, over 1 GB. Elsewhere this does nothing.
    """
    if trim := _glibc("malloc_trim"):
        trim(0)


def limit_memory() -> None:
    """Limit what libraries keep in memory, whatever the machine has.

    - Threads that start from now on take their memory from ``POOLS`` pools, unless the environment
      variable ``MALLOC_ARENA_MAX`` says otherwise. By default, glibc gives each of them a pool of
      its own, up to eight for each core, in which small pieces that are in use keep large free ones
      from being given back.
    - GDAL, if it has read no raster yet, keeps ``CACHE_MB`` of blocks, in place of 5 % of the
      machine's memory, unless ``GDAL_CACHEMAX`` says otherwise. (That option of ``rasterio.Env``
      counts bytes, and sets the limit of all threads: of two, the first to end puts it back.)

    These are settings of the whole process: the command makes them, not a library within somebody
    else's process.
    """
    os.environ.setdefault("GDAL_CACHEMAX", str(CACHE_MB))
    set_option = _glibc("mallopt")
    if set_option and "MALLOC_ARENA_MAX" not in os.environ:
        set_option(_ARENA_MAX, POOLS)


@cache
def _glibc(function: str) -> Any:
    """A function of glibc by its name, else None."""
    return getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None
