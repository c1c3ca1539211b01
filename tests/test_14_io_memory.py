"""Memory that threads have freed goes back to the system."""

import subprocess
import sys

import pytest

MEASURED = """
import ctypes
import psutil
from sarcast.io.memory import release_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
resident = psutil.Process().memory_info

def taken(count):  # too small to be mapped alone: they lie one after the other on the heap
    places = [libc.malloc(100_000) for _ in range(count)]
    for place in places:
        ctypes.memset(place, 1, 100_000)
    return places

places = taken(2000)
last = taken(1)  # what lies above keeps the heap from shrinking
for place in places:
    libc.free(place)
before = resident().rss
release_memory()
print(before - resident().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone keeps what was freed")
def test_what_was_freed_is_given_back() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED], check=True, capture_output=True, text=True
    )
    assert int(ended.stdout) > 150e6  # of 200 MB
