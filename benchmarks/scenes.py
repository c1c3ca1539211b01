"""Memory and time of detection and monitoring over whole scenes, larger than any kept on disk.

python -m benchmarks.scenes CUBE [--verb monitor] [--sizes 1000,5000] [--model mean]

The last dates of CUBE are repeated until they have the rows and columns asked for (rows x columns,
or one number for both): chunks are read and decoded at each use, as those of a large cube would be.
Each size runs in a process of its own, whose greatest resident memory is measured. With
``--known``, ``detect`` runs twice, and the second run is timed: its null distributions are known.
``monitor`` processes the last dates in two runs: the first one of them, at which the past is
replayed, and ``--processed`` more.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox
from xarray.backends import BackendArray
from xarray.core import indexing

from benchmarks.memory import peak_gb
from sarcast.cube import open_cube
from sarcast.detection.detect import DetectOptions, detect
from sarcast.detection.output import write_detection
from sarcast.io.footprint import by_code
from sarcast.io.memory import limit_memory
from sarcast.monitoring.monitor import monitor
from sarcast.monitoring.options import MonitorOptions
from sarcast.prediction import DEFAULT_CONTEXT
from sarcast.prediction.predictors import load_predictor
from sarcast.windows import Predictor


class Repeated(BackendArray):
    """A variable that is repeated along y and x."""

    def __init__(self, variable: xr.Variable, rows: int, columns: int) -> None:
        self._variable = variable
        self.shape = (*variable.shape[:-2], rows, columns)
        self.dtype = variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        *others, rows, columns = key
        down, along = (
            _wrapped(range(side)[part], size)
            for part, side, size in zip(
                (rows, columns), self.shape[-2:], self._variable.shape[-2:], strict=True
            )
        )
        lines = (
            np.concatenate([self._variable[(*others, y, x)].values for x in along], axis=-1)
            for y in down
        )
        return np.concatenate([*lines], axis=-2)


def _wrapped(part: range, size: int) -> list[slice]:
    """The slices of a variable, one after the other, that a part of its repetitions stands for."""
    edges = [part.start, *range((part.start // size + 1) * size, part.stop, size), part.stop]
    return [slice(start % size, start % size + stop - start) for start, stop in pairwise(edges)]


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
    parser.add_argument("--verb", choices=("detect", "monitor"), default="detect")
    parser.add_argument("--sizes", default="1000,5000")
    parser.add_argument("--model", default="mean")
    parser.add_argument("--acquisitions", type=int, default=3)
    parser.add_argument("--replays", type=int, default=8)
    parser.add_argument("--dates", type=int, default=24)
    parser.add_argument("--processed", type=int, default=2)
    parser.add_argument("--known", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measured(options)))
        return
    for number, size in enumerate(options.sizes.split(",")):
        words = [*sys.argv[1:], "--sizes", size, "--one"]
        run = [sys.executable, "-m", "benchmarks.scenes", *words]
        ended = subprocess.run(run, check=True, capture_output=True, text=True)
        row = json.loads(ended.stdout.splitlines()[-1])
        if number == 0:
            print(f"| size | {' | '.join(row)} |\n|{'---|' * (len(row) + 1)}")
        print(f"| {size} | {' | '.join(f'{value:.4g}' for value in row.values())} |", flush=True)


def _measured(options: argparse.Namespace) -> dict[str, float]:
    limit_memory()  # as the command does
    rows, _, columns = options.sizes.partition("x")
    last = open_cube(options.cube).isel(time=slice(-options.dates, None))
    cube = repeated(last, int(rows), int(columns or rows))
    predictor = load_predictor(Path(options.model), precision="auto", context=DEFAULT_CONTEXT)
    with tempfile.TemporaryDirectory() as folder:
        run = monitored if options.verb == "monitor" else detected
        found = run(cube, predictor, Path(folder), options)
    return {"memory, GB": peak_gb(), **found}


def detected(
    cube: xr.Dataset, predictor: Predictor, folder: Path, options: argparse.Namespace
) -> dict[str, float]:
    """Detect in a cube, and write the result."""
    how = DetectOptions(acquisitions=options.acquisitions, replays=options.replays)
    known = detect(cube, predictor, options=how, scratch=folder).null if options.known else None
    start = time.monotonic()
    found = detect(cube, predictor, options=how, null=known, scratch=folder)
    done = time.monotonic()
    to = folder / "detection"
    to.mkdir()
    write_detection(found, to, "scene", {})
    written = time.monotonic()
    return {
        "events": len(found.events),
        "time, s per megapixel": (written - start) / _megapixels(cube),
        "of it, writing": (written - done) / _megapixels(cube),
    }


def monitored(
    cube: xr.Dataset, predictor: Predictor, folder: Path, options: argparse.Namespace
) -> dict[str, float]:
    """Monitor the last acquisitions of a cube, and count the events that have alerts."""
    how = MonitorOptions(
        acquisitions=options.acquisitions,
        replays=options.replays,
        start=str(cube["time"].values[-1 - options.processed].astype("datetime64[s]")),
        encoding="gfw",
    )
    first = cube.isel(time=slice(None, -options.processed))
    start = time.monotonic()
    monitor(first, predictor, to=folder / "alerts", options=how)
    begun = time.monotonic()
    found = monitor(cube, predictor, to=folder / "alerts", options=how)
    done = time.monotonic()
    state = max((folder / "alerts" / "state").glob("0*"))
    stored = sum(path.stat().st_size for path in state.rglob("*") if path.is_file())
    return {
        "events": len(found.state.tracked.live),
        "first acquisition, s per megapixel": (begun - start) / _megapixels(cube),
        "each later one": (done - begun) / options.processed / _megapixels(cube),
        "state, bytes per pixel": stored / _megapixels(cube) / 1e6,
    }


def _megapixels(cube: xr.Dataset) -> float:
    return cube.sizes["y"] * cube.sizes["x"] / 1e6


if __name__ == "__main__":
    main()
