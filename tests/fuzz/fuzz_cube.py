"""Damaged cubes: opened, checked, and given to ``detect`` with the strategy ``mean``."""

import datetime as dt
import json
import os
import shutil
from pathlib import Path

import numpy as np

from sarcast.cube import CubeOptions, Sources, build_cube, open_cube
from sarcast.cube.check.report import check_cube
from sarcast.cube.executor import WorkerOptions
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog
from sarcast.prediction.predict import predict
from sarcast.prediction.strategies import STRATEGIES

from .fuzz_netcdf import dataset
from .harness import Call, Kind
from .mutate import Rng, as_json, mutate_bytes, mutate_tree
from .seeds import GRID, power, write_scene

FEW, DATES = 3, 10
"""Dates of the cubes that are opened and checked, and of those in which a date is predicted."""
_WORKERS = WorkerOptions(workers=1)


class Cube(Kind):
    """A cube in which one or two files are damaged, gone, or other things."""

    name = "cube"

    def prepare(self) -> None:
        first = dt.datetime(2020, 3, 1, 5, 11, 22)
        for number in range(DATES):
            time = first + dt.timedelta(days=6 * number)
            write_scene(self.seeds / "scenes", f"{time:%Y%m%dT%H%M%S}", number)
        dataset().to_netcdf(self.seeds / "weather.nc", engine="scipy")
        write_cog(self.seeds / "dem.tif", power(1)[0] * 1000.0, GRID)
        write_cog(self.seeds / "cover.tif", np.full(GRID.shape, 10, np.uint8), GRID, nodata=0)
        names = {"dem": "dem.tif", "weather": "weather.nc", "cover": "cover.tif"}
        sources = Sources(**{key: (str(self.seeds / name),) for key, name in names.items()})
        items = find_items([self.seeds / "scenes"], IndexOptions())
        for name, dates in (("few", FEW), ("many", DATES)):
            build_cube(items[:dates], self.seeds / name, GRID, CubeOptions(), sources)

    def case(self, folder: Path, rng: Rng) -> Call:
        what, cube = rng.integers(50), folder / "cube.zarr"
        seed = self.seeds / ("many" if what < 9 else "few")
        shutil.copytree(seed, cube, copy_function=os.link)
        files = sorted(path for path in cube.rglob("*") if path.is_file())
        metadata = [path for path in files if path.name == "zarr.json"]
        damaged = {
            cube / "zarr.json" if rng.integers(4) == 0 else among[rng.integers(len(among))]
            for among in (files, metadata)[: int(rng.integers(1, 3))]
        }
        for path in sorted(damaged):
            _damage(path, rng)
        if what == 0:
            return ["detect", "cube.zarr", "--model", "mean", "--to", "out"]
        if what == 1:
            return ["cube", "--check", "cube.zarr"]
        if what < 9:
            return _predict
        if what < 20:
            return lambda: check_cube(Path("cube.zarr"), workers=_WORKERS)
        return lambda: open_cube(Path("cube.zarr"))


def _predict() -> None:
    cube = open_cube(Path("cube.zarr"))
    times = cube["time"].values
    if not times.size:
        raise SarcastError("the cube has no date")
    predict(cube, STRATEGIES["mean"], str(times[-1])[:19])


def _damage(path: Path, rng: Rng) -> None:
    data, kind = path.read_bytes(), int(rng.integers(12))
    path.unlink()
    if kind == 0:
        return
    if kind == 1:
        path.mkdir()
    elif kind == 2:
        (path.parent / f"{path.name}.partial").mkdir()
        path.write_bytes(data)
    elif kind == 3:
        path.write_bytes(b"")
    elif path.name == "zarr.json" and kind < 10:
        path.write_bytes(as_json(mutate_tree(json.loads(data), rng), rng))
    else:
        path.write_bytes(mutate_bytes(data, rng))
