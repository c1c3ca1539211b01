"""Memory and time of detection over whole scenes, larger than any that is kept on disk.

python -m benchmarks.scenes CUBE [--sizes 1000,5000] [--model mean] [--acquisitions 3]

The last dates of CUBE are repeated until they have the rows and columns asked for (rows x columns,
or one number for both): chunks are read and decoded at each use, as those of a large cube would be.
Each size runs in a process of its own, whose greatest resident memory is measured.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox
from xarray.backends import BackendArray
from xarray.core import indexing

from sarcast.commands.options import load_predictor
from sarcast.cube import open_cube
from sarcast.detection.detect import DetectOptions, detect
from sarcast.detection.output import write_detection
from sarcast.io.footprint import by_code
from sarcast.prediction import DEFAULT_CONTEXT


class Repeated(BackendArray):
    """A variable that is repeated along y and x."""

    def __init__(self, variable: xr.Variable, rows: int, columns: int) -> None:
        self._variable = variable
        self.shape = (*variable.shape[:-2], rows, columns)
        self.dtype = variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        *others, rows, columns = key
        sizes = self._variable.shape[-2:]
        wrapped = [
            np.arange(side)[part] % size
            for part, side, size in zip((rows, columns), self.shape[-2:], sizes, strict=True)
        ]
        values = self._variable[tuple(others)].values
        taken: npt.NDArray[Any] = values[..., wrapped[0], :][..., wrapped[1]]
        return taken


def repeated(cube: xr.Dataset, rows: int, columns: int) -> xr.Dataset:
    """Repeat a cube until it has so many rows and columns, with the conditions of its middle."""
    grid = by_code(cube["backscatter"].odc.geobox)
    cube = cube.isel(cy=[cube.sizes["cy"] // 2], cx=[cube.sizes["cx"] // 2])
    larger = GeoBox((rows, columns), grid.affine, grid.crs)
    data = {}
    for name, variable in cube.data_vars.items():
        if variable.dims[-2:] == ("y", "x"):
            lazy = indexing.LazilyIndexedArray(Repeated(variable.variable, rows, columns))
            data[name] = xr.Variable(variable.dims, lazy, variable.attrs)
        else:
            data[name] = variable.variable
    kept = {
        n: c for n, c in cube.coords.items() if not {"y", "x"} & {*c.dims} and n != "spatial_ref"
    }
    made = xr.Dataset(data, kept)
    return made.odc.assign_crs(grid.crs).assign_coords(
        y=larger.coords["y"].values, x=larger.coords["x"].values
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cube", type=Path)
    parser.add_argument("--sizes", default="1000,5000")
    parser.add_argument("--model", default="mean")
    parser.add_argument("--acquisitions", type=int, default=3)
    parser.add_argument("--replays", type=int, default=8)
    parser.add_argument("--dates", type=int, default=24)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measured(options)))
        return
    print("| size | events | memory, GB | time, s per megapixel | of it, writing |")
    print("|---|---|---|---|---|")
    for size in options.sizes.split(","):
        words = [*sys.argv[1:], "--sizes", size, "--one"]
        run = [sys.executable, "-m", "benchmarks.scenes", *words]
        ended = subprocess.run(run, check=True, capture_output=True, text=True)
        row = json.loads(ended.stdout.splitlines()[-1])
        print(
            f"| {size} | {row['events']} | {row['gb']:.2f} | {row['seconds']:.2f} | "
            f"{row['writing']:.2f} |",
            flush=True,
        )


def _measured(options: argparse.Namespace) -> dict[str, float]:
    rows, _, columns = options.sizes.partition("x")
    last = open_cube(options.cube).isel(time=slice(-options.dates, None))
    cube = repeated(last, int(rows), int(columns or rows))
    predictor = load_predictor(Path(options.model), precision="auto", context=DEFAULT_CONTEXT)
    how = DetectOptions(acquisitions=options.acquisitions, replays=options.replays)
    megapixels = cube.sizes["y"] * cube.sizes["x"] / 1e6
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        found = detect(cube, predictor, options=how, scratch=Path(folder))
        detected = time.monotonic()
        to = Path(folder) / "detection"
        to.mkdir()
        write_detection(found, to, "scene", {})
        written, events = time.monotonic(), len(found.events)
        del found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "events": events,
        "gb": peak,
        "seconds": (written - start) / megapixels,
        "writing": (written - detected) / megapixels,
    }


if __name__ == "__main__":
    main()
