"""Memory that was freed, given back to the system."""

import ctypes
import ctypes.util
import sys
from functools import cache
from typing import Any


def release_memory() -> None:
    """Give memory that was freed back to the system.

    The C library of Linux (glibc) keeps what each thread has freed, in case the thread needs it
    again: after blocks of several threads, over 1 GB. Elsewhere this does nothing.
    """
    if trim := _malloc_trim():
        trim(0)


@cache
def _malloc_trim() -> Any:
    """``malloc_trim`` of glibc, else None."""
    name = ctypes.util.find_library("c") if sys.platform == "linux" else None
    return getattr(ctypes.CDLL(name), "malloc_trim", None) if name else None
