"""What the scene context is worth: changes of all sizes, fixed baselines, horizons.

    python -m benchmarks.context SERIES --model base --to OUT [--sites sites.parquet]

SERIES is what ``benchmarks.real_series`` packed: the OPERA bursts on land, dates from 2024 on. The
sites are those of ``benchmarks.sites``. Weights that use the scene context are measured with and
without it. Writes:

- ``context.json`` and ``context.md``: of discs of change, 3 to 200 pixels across and on 0.3 to 50 %
  of the scene, the share that the expected image takes up, and the AUC; persistent changes on 5 %
  of the area, scored over 1, 3 and 6 acquisitions; errors of targets 1 to 6 acquisitions after a
  fixed baseline, beside every mean; coverage of the standard deviation by horizon; correlation of
  consecutive targets of one baseline;
- ``changes.png``: discs of all sizes in a synthetic world;
- ``wet.png``: the brightest scene of the bursts, expected without and with its context.
"""

import argparse
import datetime as dt
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from benchmarks import context_tables as tables
from benchmarks.context_changes import ChangeRow, measure_changes, world_windows
from benchmarks.context_horizons import (
    GIVEN,
    MANY,
    CorrelationRow,
    CoverageRow,
    ErrorRow,
    Method,
    PersistentRow,
    correlation_rows,
    coverage_rows,
    error_rows,
    follow,
    methods_of,
    persistent_rows,
)
from benchmarks.rival_systems import FIRST_TEST, Baseline
from benchmarks.rivals import WATER, window_of
from benchmarks.sites import BASELINES, EVERY, KINDS, split_sites
from benchmarks.sites import FIRST_TEST as FIRST_SITE_TEST
from benchmarks.sites import series as site_series
from sarcast.arrays import Bool
from sarcast.prediction import Model, load_model
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import CubeReader, Predictor

WORLD_SEED = 20261101
WITH, WITHOUT = "with context", "without context"


@dataclass(frozen=True)
class Results:
    """Rows of all tables."""

    changes: list[ChangeRow] = field(default_factory=list)
    persistent: list[PersistentRow] = field(default_factory=list)
    errors: list[ErrorRow] = field(default_factory=list)
    coverage: list[CoverageRow] = field(default_factory=list)
    correlation: list[CorrelationRow] = field(default_factory=list)


@dataclass(frozen=True)
class Inputs:
    """What is measured, and with which options of the command line."""

    options: argparse.Namespace
    systems: Mapping[str, Predictor]
    bursts: Mapping[str, CubeReader]

    @property
    def given(self) -> Baseline:
        """Previous images where only one number is measured."""
        return Baseline("recent", self.options.previous)


def systems_of(model: Model) -> dict[str, Predictor]:
    """The model with and without the scene context, or only without if it uses none."""
    if not model.uses_target:
        return {WITHOUT: model}
    return {WITH: model, WITHOUT: replace(model, context="none")}


def bursts_of(folder: Path, names: Sequence[str] | None) -> dict[str, CubeReader]:
    """Read the OPERA bursts on land, or the series of some names."""
    found = sorted(path.stem for path in folder.glob("opera-*.nc"))
    chosen = names or [name for name in found if name not in WATER]
    cubes = {name: xr.load_dataset(folder / f"{name}.nc", engine="h5netcdf") for name in chosen}
    return {
        name: CubeReader.from_cube(cube.sortby("time"), in_memory=True)
        for name, cube in cubes.items()
    }


def dates_of(reader: CubeReader) -> list[int]:
    """Indices of the dates that are targets."""
    return [int(date) for date in np.flatnonzero(reader.times >= FIRST_TEST)]


def valid_pixels(reader: CubeReader) -> Bool:
    """Pixels with data at all dates, dims (y, x)."""
    return np.asarray(np.isfinite(reader.backscatter.values).all(axis=(0, 1)))


def measure_burst_changes(inputs: Inputs, results: Results) -> None:
    """Put changes of all sizes into the bursts."""
    for name, reader in inputs.bursts.items():
        windows = (window_of(reader, date, inputs.given) for date in dates_of(reader))
        results.changes.extend(measure_changes(f"bursts: {name}", windows, inputs.systems))


def measure_world_changes(inputs: Inputs, results: Results) -> None:
    """Put changes of all sizes into synthetic worlds."""
    size, count = inputs.options.world_size, inputs.options.worlds
    windows = world_windows(size, inputs.options.previous, count, seed=WORLD_SEED)
    results.changes.extend(measure_changes(f"worlds: {size} px", windows, inputs.systems))


def measure_persistent(inputs: Inputs, results: Results) -> None:
    """Detect persistent changes in the bursts; the mean of the same images is scored in dB."""
    systems: dict[str, Predictor] = {**inputs.systems, "mean": STRATEGIES["mean"]}
    for name, reader in inputs.bursts.items():
        dates, valid = dates_of(reader), valid_pixels(reader)
        for system in systems.items():
            rows = persistent_rows(f"bursts: {name}", reader, system, inputs.given, dates, valid)
            results.persistent.extend(rows)


def measure_horizons(inputs: Inputs, results: Results) -> None:
    """Compare errors, deviations and correlations by horizon in the bursts."""
    for name, reader in inputs.bursts.items():
        dates, valid = dates_of(reader), valid_pixels(reader)
        for method in methods_of(inputs.systems):
            add_horizons(results, f"bursts: {name}", reader, method, dates, valid)


def measure_sites(inputs: Inputs, results: Results) -> None:
    """Compare the same at the sites that no training saw; nine pixels give no scene context."""
    _, table = split_sites(pd.read_parquet(inputs.options.sites))
    methods = methods_of({WITHOUT: inputs.systems[WITHOUT]}, (*GIVEN, MANY))
    for kind, mixed in KINDS.items():
        for name, cube in site_series(table, mixed=mixed):
            reader = CubeReader.from_cube(cube, in_memory=True)
            starts = list(site_starts(reader))
            for method in methods if starts else ():
                add_horizons(results, f"{kind}: {name}", reader, method, starts)


def site_starts(reader: CubeReader) -> Iterator[int]:
    """Indices of every third date of the tests with as many images before it as ``sites`` asks."""
    largest = max(count for _, count in BASELINES)
    for date in np.flatnonzero(reader.times >= FIRST_SITE_TEST)[::EVERY].tolist():
        if date >= largest:
            yield date


def add_horizons(
    results: Results,
    series: str,
    reader: CubeReader,
    method: Method,
    starts: Sequence[int],
    valid: Bool | None = None,
) -> None:
    """Add the rows of one method in one series."""
    targets = follow(reader, method, starts, valid)
    results.errors.extend(error_rows(series, method, targets))
    results.coverage.extend(coverage_rows(series, method, targets))
    results.correlation.extend(correlation_rows(series, method, targets))


def draw_pages(inputs: Inputs, _: Results) -> None:
    """Draw changes of all sizes, and the scene that is brightest against the mean: a wet one."""
    from benchmarks.context_figures import changes_page, scene_levels, wet_scene_page

    size, previous = inputs.options.world_size, inputs.options.previous
    (window,) = world_windows(size, previous, 1, seed=WORLD_SEED)
    changes_page(window, inputs.systems, inputs.options.to / "changes.png")
    levels = {
        (name, date): value
        for name, reader in inputs.bursts.items()
        for date, value in scene_levels(reader, FIRST_TEST, inputs.given).items()
    }
    name, date = max(levels, key=lambda key: levels[key])
    systems = dict(reversed(list(inputs.systems.items())))
    path = inputs.options.to / "wet.png"
    wet_scene_page(inputs.bursts[name], date, systems, inputs.given, path)


PARTS: Mapping[str, Callable[[Inputs, Results], None]] = {
    "changes": measure_burst_changes,
    "worlds": measure_world_changes,
    "persistent": measure_persistent,
    "horizons": measure_horizons,
    "sites": measure_sites,
    "pages": draw_pages,
}
"""Parts of the benchmark."""


def text_of(results: Results) -> str:
    """Write the tables that have rows, each below its heading."""
    parts = {
        "Changes of all sizes": tables.changes_table(results.changes),
        "AUC of persistent changes": tables.persistent_table(results.persistent),
        "Errors by horizon, dB²": tables.errors_table(results.errors, levelled=False),
        "The same, level removed": tables.errors_table(results.errors, levelled=True),
        "Residuals within one and two standard deviations": tables.coverage_table(results.coverage),
        "Correlation of targets of one baseline": tables.correlation_table(results.correlation),
    }
    lines = tables.EMPTY_LINES
    return "\n".join(f"## {k}\n\n{v}" for k, v in parts.items() if v.count("\n") > lines)


def parser() -> argparse.ArgumentParser:
    """Define the command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("series", type=Path)
    arguments.add_argument("--to", type=Path, required=True)
    arguments.add_argument("--model", default="base")
    arguments.add_argument("--sites", type=Path, metavar="PARQUET")
    arguments.add_argument("--cubes", nargs="+", help="names of series; default: OPERA's on land")
    arguments.add_argument("--previous", type=int, default=16)
    arguments.add_argument("--worlds", type=int, default=4, help="number of synthetic worlds")
    arguments.add_argument("--world-size", type=int, default=512, help="side of a world, pixels")
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments.add_argument("--device", help="such as cpu or cuda; default: a GPU if there is one")
    arguments.add_argument("--threads", type=int, default=2)
    return arguments


def main() -> None:
    """Run all parts, and write the results."""
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    options.to.mkdir(parents=True, exist_ok=True)
    systems = systems_of(load_model(options.model, device=options.device))
    inputs = Inputs(options, systems, bursts_of(options.series, options.cubes))
    results = Results()
    for name, part in PARTS.items():
        if name in options.only and (name != "sites" or options.sites):
            print(name, flush=True)
            part(inputs, results)
    record = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "options": {key: str(value) for key, value in vars(options).items()},
        **asdict(results),
    }
    (options.to / "context.json").write_text(json.dumps(record, indent=1))
    (options.to / "context.md").write_text(text_of(results))
    print(text_of(results))


if __name__ == "__main__":
    main()
