"""Real series: conventional strategies, our weights as shipped and adapted, published transformers.

    python -m benchmarks.rivals SERIES --to DIR [--distmetrics SITE] [--workers 8]

SERIES is what ``benchmarks.real_series`` packed, SITE a folder made by ``pip install --no-deps
--ignore-requires-python --target SITE distmetrics==1.0.8 scikit-image einops tqdm lazy_loader``.
Every date from 2024 on is a target. All systems are scored on the same pixels and use only images
before the target, except the bounds, which no prediction can reach. Discs of changed ground are put
into the target, in dB, before any filter. Adapting uses only dates before 2024. Writes
``rivals.json`` and ``rivals.md``.
"""

import argparse
import datetime as dt
import json
import multiprocessing
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np
import xarray as xr
import yaml

from benchmarks.rival_scores import CHANGES_DB, PixelScores, Row, discs, table, with_offset
from benchmarks.rival_systems import FIRST_TEST, RIVALS, SYSTEMS, Baseline, System, Task
from sarcast.prediction import DEFAULT_PRECISION, Precision
from sarcast.windows import Chooser, CubeReader, PreviousOptions, Window

WATER = ("opera-292318-IW2",)
"""Bursts that are mostly ocean."""


def run(task: Task) -> list[Row]:
    """Measure every system of a task."""
    import torch

    torch.set_num_threads(task.threads)
    cube = xr.load_dataset(task.path, engine="h5netcdf")
    reader = CubeReader.from_cube(cube, in_memory=True)
    systems = SYSTEMS[task.kind](task)
    return [measure(task.path.stem, reader, system) for system in systems]


def measure(series: str, reader: CubeReader, system: System) -> Row:
    """Score a system on every date from the first test on."""
    baseline, predict = system.baseline, system.predict
    dates = [int(date) for date in np.flatnonzero(reader.times >= FIRST_TEST)]
    valid = np.isfinite(reader.backscatter.values).all(axis=(0, 1))
    predict(window_of(reader, dates[0], baseline))
    errors: dict[str, float] = {}
    pixels = PixelScores()
    seconds = 0.0
    for date in dates:
        window = window_of(reader, date, baseline)
        start = time.perf_counter()
        prediction = predict(window)
        prediction.scores(window.target)
        seconds += time.perf_counter() - start
        square = np.square(window.target - prediction.expected)[:, valid]
        errors[str(reader.times[date].astype("datetime64[D]"))] = float(square.mean())
        changed = discs(reader.shape, rng=np.random.default_rng(date))
        for decibels in CHANGES_DB:
            after = with_offset(window, changed, decibels)
            seen = predict(after) if system.uses_target else prediction
            scores = seen.scores(after.target)
            of_valid = {key: score[valid] for key, score in scores.items()}
            pixels.add(decibels, of_valid, changed[valid])
    megapixels = len(dates) * reader.shape[0] * reader.shape[1] / 1e6
    mse = float(np.mean(list(errors.values())))
    return Row(series, system.name, str(baseline), mse, errors, pixels.auc(), seconds / megapixels)


def window_of(
    reader: CubeReader, date: int, baseline: Baseline, before: np.datetime64 | None = None
) -> Window:
    """Cut a whole image and the other images that a system is given: those before a time."""
    if baseline.later:
        others = [index for index in range(len(reader.times)) if index != date]
        return reader.cut(date, (0, 0), reader.shape, others)
    end = reader.times[date] if before is None else before
    number = min(baseline.previous, int((reader.times < end).sum()))
    previous = reader.choose_previous(
        date, (0, 0), reader.shape, number, chooser=baseline.chooser, before=before
    )
    return reader.cut(date, (0, 0), reader.shape, previous)


def tasks_of(options: argparse.Namespace) -> list[Task]:
    """List the tasks that the command line asks for: every kind of system on every series."""
    names = options.cubes or [
        path.stem for path in sorted(options.series.glob("opera-*.nc")) if path.stem not in WATER
    ]
    settings = (setting.split("=", 1) for setting in options.set)
    training = {key: yaml.safe_load(value) for key, value in settings}
    kinds = [k for k in SYSTEMS if k in options.only and (options.distmetrics or k not in RIVALS)]
    return [
        Task(
            kind=kind,
            path=options.series / f"{name}.nc",
            model=options.model,
            precision=options.precision,
            threads=options.threads,
            training=training,
            crop=options.crop,
            baseline=Baseline(options.chooser, options.previous),
            site=options.distmetrics,
            stride=options.stride,
        )
        for kind in kinds
        for name in names
    ]


def parser() -> argparse.ArgumentParser:
    """Define the command line."""
    defaults = PreviousOptions()
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("series", type=Path)
    arguments.add_argument("--to", type=Path, required=True)
    arguments.add_argument("--distmetrics", type=Path, metavar="SITE")
    arguments.add_argument("--stride", type=int, default=4)
    arguments.add_argument("--model", default="base")
    arguments.add_argument("--precision", choices=get_args(Precision), default=DEFAULT_PRECISION)
    arguments.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of adapting, such as minutes=5 or learning_rate=1e-4",
    )
    arguments.add_argument("--crop", type=int, default=64, help="side of a window of adapting, px")
    arguments.add_argument(
        "--previous", type=int, default=defaults.previous, help="previous images of adapting"
    )
    arguments.add_argument("--chooser", choices=get_args(Chooser), default=defaults.chooser)
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    arguments.add_argument("--cubes", nargs="+", help="names of series; default: OPERA's on land")
    return arguments


def main() -> None:
    """Run all tasks, several at a time, and write the results."""
    options = parser().parse_args()
    tasks = tasks_of(options)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    rows: list[Row] = []
    with ProcessPoolExecutor(
        options.workers, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        for results in pool.map(run, tasks):
            rows += results
            print(results[0].series, results[0].system, f"{results[0].mse_db2:.3f} dB²", flush=True)
    options.to.mkdir(parents=True, exist_ok=True)
    record = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "options": {key: str(value) for key, value in vars(options).items()},
        "rows": [asdict(row) for row in rows],
    }
    (options.to / "rivals.json").write_text(json.dumps(record, indent=1))
    (options.to / "rivals.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
