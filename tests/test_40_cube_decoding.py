"""Cubes are decoded in forked processes, and by several threads, without a trace elsewhere."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import zarr

from sarcast.cube import open_cube
from sarcast.cube.chunks import WRITE_ALL
from sarcast.cube.decoding import chunk_decoder
from sarcast.cube.stored import StoredCube

FORKED = """
import os, sys
from sarcast.cube import open_cube
image = open_cube(sys.argv[1])["backscatter"].isel(time=0)
image.copy().values
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(float(image.mean()), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_forked_process_reads_a_cube(world_cube: Path) -> None:
    """Such as a worker of a PyTorch loader: the threads that decode chunks are not in it."""
    command = [sys.executable, "-c", FORKED, str(world_cube)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    expected = float(open_cube(world_cube)["backscatter"].isel(time=0).mean())
    assert float(ended.stdout) == pytest.approx(expected, abs=1e-6)


def test_threads_that_open_cubes_leave_the_configuration_as_it_was(world_cube: Path) -> None:
    """Zarr's configuration is one for all threads: what is opened next would be written by it."""
    before = zarr.config.get("codec_pipeline.path")

    def read(_number: int) -> int:
        open_cube(world_cube)
        return len(StoredCube.open(world_cube).times)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(read, range(64)))) == 1
    assert zarr.config.get("codec_pipeline.path") == before


def test_an_array_that_the_decoder_has_is_written_as_without(tmp_path: Path) -> None:
    """Another thread may open one for writing while a cube is opened."""
    files = {}
    for name, opened_by in (("with", chunk_decoder), ("without", nullcontext)):
        made = zarr.create_array(
            tmp_path / name, shape=(2, 4, 4), chunks=(1, 2, 2), shards=(1, 4, 4), dtype="float32",
            fill_value=np.nan,
        )  # fmt: skip
        with opened_by():
            array = zarr.Array(zarr.AsyncArray(made.metadata, made.store_path, config=WRITE_ALL))
        array[0] = np.full((4, 4), np.nan, dtype=np.float32)
        array[1] = np.arange(16, dtype=np.float32).reshape(4, 4)
        written = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        files[name] = {path.relative_to(tmp_path / name): path.read_bytes() for path in written}
    assert files["with"] == files["without"]
