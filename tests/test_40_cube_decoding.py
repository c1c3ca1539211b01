"""Cubes are read in processes that are forked from one that has read them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sarcast.cube import open_cube

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
