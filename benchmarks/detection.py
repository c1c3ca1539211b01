"""Detection over acquisitions: worlds with true changes, simulated ones in real bursts, wet days.

    python -m benchmarks.detection worlds --to DIR [--presets boreal ...] [--seeds 0 1 2 3 4 5]
        [--acquisitions 4 8] [--without-cover] [--start 2020-04-01] [--changes-per-km2 0.4]
        [--size-km 5] [--replay-each]
    python -m benchmarks.detection bursts DATA --to DIR [--every 1]
    python -m benchmarks.detection wet DATA --to DIR

with ``--model base``, ``--false-events 10``, ``--previous 16`` and ``--rivals all|means|none`` for
all three. DATA are the development data. Each row of the table is one ``ROW.json``, an evaluation
as that of ``sarcast evaluate --detection``, and ``detection.md`` holds all rows; a row that exists
is not computed anew.

``worlds``: worlds of 5 km and two tracks with their own changes. Every change is watched until its
K-th acquisition, and besides every K-th acquisition is watched, so that false events are counted in
all seasons. To be found are changes of 0.5 ha or more that move the oracle's images by 1 dB or more
in a band. A world and its cube take half a minute, one watch of one detector 2 to 20 s. The past of
an area is replayed anew every 30 days, as by ``sarcast evaluate``, or with ``--replay-each`` before
each watch, as by ``sarcast detect``.

``bursts``: OPERA RTC-S1 over California, watched from September 2024 on; changes of 2 to 10 pixels
radius, at most eight a watch, on land. One row takes about five minutes, and less with ``--every``.

``wet``: share of the pixels that are called changed on days that were wet without any weather told,
2024-11-27 in California and 2017-12-11 in Belgium, alone and as the last of three acquisitions.
"""

import argparse
import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import odc.geo.xr  # noqa: F401 - registers the accessor
import rasterio
import xarray as xr

from benchmarks.real_series import opera, worldcereal
from sarcast.commands.cube import CubeConfig, cube
from sarcast.commands.demo import SOURCES
from sarcast.commands.world import WorldConfig, world
from sarcast.cube import open_cube
from sarcast.detection.detect import DetectOptions, detect
from sarcast.detection.judged import crop, find_judged
from sarcast.detection.strata import Past
from sarcast.evaluation.detection.detectors import RENEW_DAYS, REPLAYS
from sarcast.evaluation.detection.evaluate import DetectionTestOptions, detectors_of
from sarcast.evaluation.detection.experiment import Detector, run_detectors
from sarcast.evaluation.detection.simulation import PersistentOptions
from sarcast.evaluation.detection.truth import no_changes, read_truth, watches_of, with_magnitudes
from sarcast.evaluation.detection.watches import WatchCase, simulated_watches, true_watches
from sarcast.evaluation.metrics.detections import DetectionEvaluation
from sarcast.evaluation.metrics.events import DetectorScores
from sarcast.evaluation.report.tables import detection_markdown
from sarcast.evaluation.simulation.changes import Change, Offset
from sarcast.prediction import load_model
from sarcast.prediction.model import Model
from sarcast.world.options import WorldOptions

WATER = ("opera-292318-IW2",)
"""Bursts that are mostly ocean."""
FOREST = 10
"""Class of forest in ESA WorldCover; a cube takes no land cover without it."""
FIRST = np.datetime64("2024-09-01")
BURST_CHANGES = PersistentOptions(radius_px=(2.0, 10.0), most=8)
BURST_ROWS: dict[str, tuple[int, Change, str]] = {
    "-2.5 dB, 3 acquisitions": (3, Offset((-2.5, -2.5)), "first"),
    "-1 dB, 6 acquisitions": (6, Offset((-1.0, -1.0)), "first"),
    "VH -1.5 dB, 6 acquisitions": (6, Offset((0.0, -1.5)), "first"),
    "-2.5 dB since any of 6 acquisitions": (6, Offset((-2.5, -2.5)), "random"),
}
WET_DAYS = {"opera": "2024-11-27", "worldcereal": "2017-12-11"}


@dataclass(frozen=True)
class Setting:
    """What all rows have in common."""

    to: Path
    model: Model
    detect: DetectOptions
    testing: DetectionTestOptions
    means_only: bool

    def detectors(self, acquisitions: int) -> list[Detector]:
        """Detectors of watches of so many acquisitions."""
        options = self.detect.model_copy(update={"acquisitions": acquisitions})
        found = detectors_of(self.model, self.testing, options)
        return [each for each in found if not (self.means_only and each.scores.role == "rule")]


def main(words: Sequence[str] | None = None) -> None:
    """Compute the rows and write them with their table; ``words`` default to the command line's."""
    options = _arguments(words)
    model = load_model(options.model)
    setting = Setting(
        options.to,
        model,
        DetectOptions(false_events=options.false_events, previous=options.previous),
        DetectionTestOptions(
            rivals=options.rivals != "none",
            renew_days=0 if options.replay_each else RENEW_DAYS,
        ),
        options.rivals == "means",
    )
    options.to.mkdir(parents=True, exist_ok=True)
    if options.what == "wet":
        (options.to / "wet.json").write_text(json.dumps(wet_days(options.data, setting), indent=1))
        return
    rows = worlds(options, setting) if options.what == "worlds" else bursts(options, setting)
    tables = [f"## {name}\n\n{detection_markdown(evaluation)}" for name, evaluation in rows]
    (options.to / "detection.md").write_text("\n".join(tables), encoding="utf-8")


def worlds(
    options: argparse.Namespace, setting: Setting
) -> Iterator[tuple[str, DetectionEvaluation]]:
    """One row for each preset and number of acquisitions, over all seeds."""
    for preset in options.presets:
        stores = [_world(options, preset, seed) for seed in options.seeds]
        for count in options.acquisitions:
            suffix = " without cover" if options.without_cover else ""
            areas = [
                (f"{preset} {seed}", _true_watches(folder, count, options))
                for seed, folder in zip(options.seeds, stores, strict=True)
            ]
            name = f"{preset}{suffix}, {count} acquisitions"
            yield name, _row(name, areas, count, setting)


def bursts(
    options: argparse.Namespace, setting: Setting
) -> Iterator[tuple[str, DetectionEvaluation]]:
    """One row for each kind of change, over all bursts."""
    cubes = {name: series for name, series in opera(options.data).items() if name not in WATER}
    cubes = {name: series.odc.assign_crs("EPSG:32611") for name, series in cubes.items()}
    for name, (count, change, onset) in BURST_ROWS.items():
        persistent = BURST_CHANGES.model_copy(update={"onset": onset})
        areas = [
            (area, _simulated(series, count, change, persistent, options.every, seed, setting))
            for seed, (area, series) in enumerate(cubes.items())
        ]
        yield name, _row(name, areas, count, setting)


def wet_days(data: Path, setting: Setting) -> dict[str, float]:
    """Share of the judged pixels that are called changed, by series and acquisitions, 0..1."""
    shares = {}
    crs = {"opera": "EPSG:32611", "worldcereal": "EPSG:32631"}
    for kind, cubes in (("opera", opera(data)), ("worldcereal", worldcereal(data))):
        for name, series in cubes.items():
            day = WET_DAYS[kind]
            days = series["time"].values.astype("datetime64[D]")
            if name in WATER or np.datetime64(day) not in days:
                continue
            bare = series.odc.assign_crs(crs[kind]).drop_vars(
                ["temperature", "precipitation"], errors="ignore"
            )
            for count in (1, 3):
                found = detect(
                    bare,
                    setting.model,
                    options=setting.detect.model_copy(update={"until": day, "acquisitions": count}),
                )
                shares[f"{name} {day}, {count} acquisitions"] = found.changed_share
                print(name, day, count, f"{100 * found.changed_share:.3f} %", flush=True)
    return shares


Watches = Callable[[], Iterable[WatchCase]]
Area = tuple[str, Watches]
"""Name and watches."""


def _row(name: str, areas: Sequence[Area], count: int, setting: Setting) -> DetectionEvaluation:
    """Score all detectors on the watches of all areas, and keep the result."""
    path = setting.to / f"{name.replace(',', '').replace(' ', '-')}.json"
    if path.exists():
        return DetectionEvaluation.read(path)
    total: list[DetectorScores] = []
    for area, watches in areas:
        named = (replace(watch, area=area) for watch in watches())
        scores = run_detectors(named, setting.detectors(count)).scores
        total = [a + b for a, b in zip(total, scores, strict=True)] if total else list(scores)
        print(name, area, len(scores[0].watches), "watches", flush=True)
    evaluation = DetectionEvaluation.of(
        total, name, setting.detect.false_events, {}, rng=np.random.default_rng(0)
    )
    evaluation.write(path)
    print(detection_markdown(evaluation), flush=True)
    return evaluation


def _simulated(
    series: xr.Dataset,
    count: int,
    change: Change,
    persistent: PersistentOptions,
    every: int,
    seed: int,
    setting: Setting,
) -> Watches:
    times = series["time"].values
    start = int(np.searchsorted(times, FIRST))
    until = list(range(start + count - 1, len(times), every))
    land = find_judged(crop(series, None), Past(series, times[start]), setting.detect)
    rng = np.random.default_rng(seed)
    return lambda: simulated_watches(
        series, until, count, [change], persistent, within=land, rng=rng
    )


def _true_watches(folder: Path, count: int, options: argparse.Namespace) -> Watches:
    series = open_cube(folder / "cube.zarr")
    truth = with_magnitudes(_changes_of(folder / "world", series), series, count)
    if options.without_cover:
        series = series.drop_vars(["forest", "open_land"], errors="ignore")
    series = series.assign(backscatter=series["backscatter"].load())
    times = series["time"].values
    first = DetectOptions().fewest + REPLAYS * count + count - 1
    until = {*watches_of(truth, times, count), *range(len(times) - 1, first - 1, -count)}
    until = sorted(index for index in until if index >= first)
    return lambda: true_watches(series, truth, until, count, min_area_ha=0.5, min_magnitude_db=1.0)


def _changes_of(area: Path, series: xr.Dataset) -> gpd.GeoDataFrame:
    """Changes of a world, which may have none."""
    path, grid = area / "truth" / "changes.gpkg", series.odc.geobox
    return no_changes(grid) if gpd.read_file(path).empty else read_truth(path, grid)


def _world(options: argparse.Namespace, preset: str, seed: int) -> Path:
    drawn = WorldOptions(
        preset=preset,
        start=options.start,
        changes_per_km2=options.changes_per_km2,
        size_km=options.size_km,
    )
    return make_world(options.to / f"{preset}-{seed}", drawn, seed)


def make_world(folder: Path, drawn: WorldOptions, seed: int) -> Path:
    """Write a world and its cube, unless they are there; of the world, keep the truth alone."""
    store = folder / "cube.zarr"
    if store.exists():
        return folder
    area = folder / "world"
    world(area, config=WorldConfig(world=drawn, seed=seed, overwrite=True))
    sources = {name: (str(area / file),) for name, file in SOURCES.items()}
    if not (read_classes(area / SOURCES["cover"]) == FOREST).any():
        del sources["cover"]
    cube(str(area), config=CubeConfig(to=folder / "partial.zarr", **sources))
    shutil.rmtree(area / "scenes")
    (folder / "partial.zarr").rename(store)
    return folder


def read_classes(path: Path) -> np.ndarray:
    """Classes of a land cover raster, dims (y, x)."""
    with rasterio.open(path) as raster:
        return raster.read(1)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="what", required=True)
    for name in ("worlds", "bursts", "wet"):
        verb = verbs.add_parser(name)
        if name == "worlds":
            verb.add_argument("--presets", nargs="+", default=["boreal"])
            verb.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4, 5])
            verb.add_argument("--acquisitions", nargs="+", type=int, default=[4, 8])
            verb.add_argument("--without-cover", action="store_true")
            verb.add_argument("--start", type=dt.date.fromisoformat, default=dt.date(2020, 4, 1))
            verb.add_argument("--changes-per-km2", type=float, default=0.4)
            verb.add_argument("--size-km", type=float, default=5.0)
            verb.add_argument("--replay-each", action="store_true")
        else:
            verb.set_defaults(replay_each=True)
            verb.add_argument("data", type=Path)
            verb.add_argument("--every", type=int, default=1, help="watch every n-th acquisition")
        verb.add_argument("--to", type=Path, required=True)
        verb.add_argument("--model", default="base")
        verb.add_argument("--false-events", type=float, default=10.0)
        verb.add_argument("--previous", type=int, default=DetectOptions().previous)
        verb.add_argument("--rivals", choices=("all", "means", "none"), default="all")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
