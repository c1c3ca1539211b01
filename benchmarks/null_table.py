"""The null distributions that ship with the weights, for cubes whose past is too short for replays.

    python -m benchmarks.null_table SERIES --model base --to src/sarcast/weights

SERIES is what ``python -m benchmarks.real_series DATA --to SERIES`` packs: the dates until 2023 of
five land bursts of OPERA RTC-S1 are used. Beside them, synthetic areas of four climates are
written, without changes. One stratum stands for all kinds of ground, so that p-values are those of
the most restless of them.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from sarcast.commands.cube import CubeConfig
from sarcast.commands.cube import cube as build_cube
from sarcast.cube import open_cube
from sarcast.detection.area import Area
from sarcast.detection.detect import DetectOptions
from sarcast.detection.evidence import Direction
from sarcast.detection.judged import crop, find_judged
from sarcast.detection.null_file import SHIPPED_LOOKS, write_shipped
from sarcast.detection.observation import ObservationLayers, Observer
from sarcast.detection.replay import Seen, null_of, packed
from sarcast.detection.residuals import Reader
from sarcast.detection.strata import Past
from sarcast.detection.watch import Watch
from sarcast.io.progress import track
from sarcast.prediction import load_model
from sarcast.prediction.tiles import TileOptions
from sarcast.windows import Predictor, PreviousOptions
from sarcast.world.options import PresetName, WorldOptions
from sarcast.world.writer import write_world

PRESETS: tuple[PresetName, ...] = ("boreal", "temperate", "monsoon", "dryland")
BURSTS = ("opera-292319*.nc", "opera-29232*.nc")
UNTIL = np.datetime64("2024-01-01")
WORLD_KM, WORLD_M = 4.0, 20.0
DIRECTIONS: tuple[Direction, ...] = ("both", "loss", "gain")


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("series", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    model = load_model(options.model, precision="float32")
    seen: dict[tuple[Direction, int], list[Seen]] = {}
    for cube in [*bursts(options.series), *worlds()]:
        for direction, looks, one in observations(cube, model):
            seen.setdefault((direction, looks), []).append(one)
    kinds: dict[str, tuple[Direction, ...]] = {"both": ("both",), "signed": ("loss", "gain")}
    for kind, directions in kinds.items():
        tables = {
            looks: null_of([one for each in directions for one in seen[each, looks]])
            for looks in SHIPPED_LOOKS
        }
        write_shipped(tables, options.to / f"null-{kind}.npz")
        for looks, table in tables.items():
            print(
                f"{kind}, {looks} acquisitions: {len(table.peaks)} watches, "
                f"{sum(table.area_km2):.0f} km2, thresholds {table.threshold(10.0):.2f} and "
                f"{table.threshold(1.0):.2f}, came true {table.came_true(10.0):.1f} of 10"
            )


def bursts(series: Path) -> Iterator[xr.Dataset]:
    """Read the land bursts until 2023."""
    for pattern in BURSTS:
        for path in sorted(series.glob(pattern)):
            cube = xr.load_dataset(path, engine="h5netcdf")
            yield cube.isel(time=cube["time"].values < UNTIL)


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
    past = Past(cube, times.max() + np.timedelta64(1, "s"))
    whole = crop(cube, None)
    judged = find_judged(whole, past, options)
    previous = PreviousOptions(previous=options.previous, chooser=options.chooser)
    strata = np.where(judged, 0, -1).astype(np.int8)
    reader, area = Reader(cube, model, previous, TileOptions(), strata), Area(whole)
    most = max(SHIPPED_LOOKS)
    starts = range(options.previous, len(order) - most + 1, most)
    for start in track(starts, "watching", len(starts)):
        targets = tuple(int(index) for index in order[start : start + most])
        images = reader.images(Watch(targets, times[targets[0]]))
        for looks in SHIPPED_LOOKS:
            residuals = reader.residuals(images.isel(time=slice(looks)))
            for direction in DIRECTIONS:
                observer = Observer(reader, direction, options)
                found = ObservationLayers.of(observer.observe_residuals(residuals))
                yield direction, looks, packed(observer, found, area, observer.plots(area))


if __name__ == "__main__":
    main()
