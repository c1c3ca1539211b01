"""The table of the weights: what unchanged ground shows, counted beside the replays of a cube.

    python -m benchmarks.null_table --model base --to src/sarcast/weights

Synthetic areas of four climates are written, without changes, and watched again and again as
``sarcast detect`` does by default. The table has one distribution for all strata together: the
statistics of each stratum are divided by their size in it. No real series is used, so that these
can judge the result.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from sarcast.commands.cube import CubeConfig
from sarcast.commands.cube import cube as build_cube
from sarcast.cube import open_cube
from sarcast.detection.area import Area
from sarcast.detection.detect import DetectOptions
from sarcast.detection.evidence import Direction, finest_m
from sarcast.detection.ground import survey
from sarcast.detection.judged import crop
from sarcast.detection.null import Prior
from sarcast.detection.null_file import SHIPPED_LOOKS, write_shipped
from sarcast.detection.observation import ObservationLayers, Observer
from sarcast.detection.prepare import observer_of
from sarcast.detection.replay import Seen, null_of, packed
from sarcast.detection.watch import Watch
from sarcast.io.progress import track
from sarcast.prediction import load_model
from sarcast.windows import Predictor
from sarcast.world.options import PresetName, WorldOptions
from sarcast.world.writer import write_world

PRESETS: tuple[PresetName, ...] = ("boreal", "temperate", "monsoon", "dryland")
WORLD_KM, WORLD_M = 4.0, 20.0
DIRECTIONS: tuple[Direction, ...] = ("both", "loss", "gain")


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="base")
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    model = load_model(options.model, precision="float32")
    seen: dict[tuple[Direction, int], list[Seen]] = {}
    for cube in worlds():
        for direction, looks, one in observations(cube, model):
            seen.setdefault((direction, looks), []).append(one)
    kinds: dict[str, tuple[Direction, ...]] = {"both": ("both",), "signed": ("loss", "gain")}
    for kind, directions in kinds.items():
        tables = {
            looks: null_of([one for each in directions for one in seen[each, looks]])
            for looks in SHIPPED_LOOKS
        }
        priors = {looks: Prior.of(table) for looks, table in tables.items()}
        path = options.to / f"null-{kind}.npz"
        write_shipped(priors, path, finest_m=finest_m((WORLD_M, WORLD_M)))
        for looks, table in tables.items():
            print(
                f"{kind}, {looks} acquisitions: {len(table.peaks)} watches, "
                f"{sum(table.area_km2):.0f} km2, thresholds {table.threshold(10.0):.2f} and "
                f"{table.threshold(1.0):.2f}, came true {table.came_true(10.0):.1f} of 10"
            )


def worlds() -> Iterator[xr.Dataset]:
    """Write synthetic areas without changes and build their cubes."""
    with tempfile.TemporaryDirectory() as folder:
        for preset in PRESETS:
            area, store = Path(folder) / preset, Path(folder) / f"{preset}.zarr"
            area.mkdir()
            options = WorldOptions(
                preset=preset, size_km=WORLD_KM, spacing_m=WORLD_M, changes_per_km2=0.0
            )
            write_world(area, options, seed=1)
            sources = {"dem": (str(area / "dem.tif"),), "weather": (str(area / "weather.nc"),)}
            build_cube(str(area), config=CubeConfig(to=store, **sources))
            yield open_cube(store).load()


def observations(cube: xr.Dataset, model: Predictor) -> Iterator[tuple[Direction, int, Seen]]:
    """Observe the first 1, 2, ... targets of watches that do not overlap."""
    options = DetectOptions()
    times = cube["time"].values
    order = np.argsort(times, kind="stable")
    area = Area(crop(cube, None))
    strata = survey(area, times.max() + np.timedelta64(1, "s"), options).strata(options.strata)
    reader = observer_of(cube, model, strata, options).reader
    together = replace(reader, strata=np.where(strata < 0, strata, strata.dtype.type(0)))
    most = max(SHIPPED_LOOKS)
    starts = range(options.fewest, len(order) - most + 1, most)
    for start in track(starts, "watching", len(starts)):
        targets = tuple(int(index) for index in order[start : start + most])
        images = reader.images(Watch(targets, times[targets[0]]))
        for looks in SHIPPED_LOOKS:
            residuals = reader.residuals(images.isel(time=slice(looks)))
            for direction in DIRECTIONS:
                observer = Observer(reader, direction, options)
                found = ObservationLayers.of(observer.observe_residuals(residuals))
                seen = packed(observer, found, area, observer.plots(area))
                yield direction, looks, replace(seen, observer=replace(observer, reader=together))


if __name__ == "__main__":
    main()
