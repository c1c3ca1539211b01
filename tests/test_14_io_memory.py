"""Memory: threads have few pools, what was freed goes back, and GDAL keeps little."""

import os
import subprocess
import sys
from pathlib import Path

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


POOLS = """
import ctypes
import sys
import threading
from sarcast.io.memory import limit_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
if sys.argv[2] == "shared":
    limit_memory()
together = threading.Barrier(8)

def work():
    together.wait()  # so that no thread gets the pool of one that has ended
    libc.malloc(1000)
    together.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has pools of threads")
@pytest.mark.parametrize(("given", "pools"), [({}, 2), ({"MALLOC_ARENA_MAX": "4"}, 4)])
def test_threads_share_few_pools(tmp_path: Path, given: dict[str, str], pools: int) -> None:
    assert pools_of_eight_threads(tmp_path, "shared", given) == pools


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has pools of threads")
def test_threads_of_other_programs_have_pools_of_their_own(tmp_path: Path) -> None:
    assert pools_of_eight_threads(tmp_path, "usual", {}) > 4


def pools_of_eight_threads(folder: Path, setting: str, given: dict[str, str]) -> int:
    report = folder / "pools.xml"
    words = [sys.executable, "-c", POOLS, str(report), setting]
    subprocess.run(words, check=True, env=environment(given))
    return report.read_text(encoding="ascii").count("<heap nr=")


def environment(given: dict[str, str]) -> dict[str, str]:
    """This environment, with the given limits alone."""
    limits = "MALLOC_ARENA_MAX", "GDAL_CACHEMAX"
    return {name: value for name, value in os.environ.items() if name not in limits} | given


CACHE = """
import sys
from pathlib import Path
import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio._env import get_gdal_config
from sarcast.io.cogs import Cog, write_cogs
from sarcast.io.memory import limit_memory

limit_memory()
grid = GeoBox((600, 600), Affine(10.0, 0.0, 5e5, 0.0, -10.0, 6e6), "EPSG:32635")
layer = np.zeros((600, 600), dtype=np.float32)
write_cogs([Cog(Path(sys.argv[1]) / f"{number}.tif", layer, grid) for number in range(8)])
print(get_gdal_config("GDAL_CACHEMAX"))
"""


@pytest.mark.parametrize(
    ("given", "expected"), [({}, 256 * 2**20), ({"GDAL_CACHEMAX": "64"}, 64 * 2**20)]
)
def test_gdal_keeps_few_blocks(tmp_path: Path, given: dict[str, str], expected: int) -> None:
    """Also after rasters were written by several threads; as the environment says, if it does."""
    words = [sys.executable, "-c", CACHE, str(tmp_path)]
    ended = subprocess.run(
        words, check=True, capture_output=True, text=True, env=environment(given)
    )
    assert int(ended.stdout) == expected
