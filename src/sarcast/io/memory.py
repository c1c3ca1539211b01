"""Memory of this process: shared by its threads, and given back to the system once freed."""

import ctypes
import sys
from functools import cache
from typing import Any

POOLS = 2
"""Pools that threads take their memory from; those that share one wait for each other."""
_ARENA_MAX = -8
"""Parameter of ``mallopt`` for the number of pools, as glibc's malloc.h numbers it."""


def release_memory() -> None:
    """Give memory that was freed back to the system.

    The C library of Linux (glibc) keeps what each thread has freed, in case the thread needs it
    again: after blocks of several threads, over 1 GB. Elsewhere this does nothing.
    """
    if trim := _glibc("malloc_trim"):
        trim(0)


def share_memory() -> None:
    """Let all threads that start from now on take their memory from ``POOLS`` pools.

    By default, glibc gives each of them a pool of its own, up to eight for each core, in which
    small pieces that are in use keep large free ones from being given back. It is a setting of the
    whole process: the command makes it, not a library within somebody else's process. Elsewhere
    this does nothing.
    """
    if set_option := _glibc("mallopt"):
        set_option(_ARENA_MAX, POOLS)


@cache
def _glibc(function: str) -> Any:
    """A function of glibc by its name, else None."""
    return getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None
