"""Real series: conventional strategies, our weights as shipped and adapted, published transformers.

    python -m benchmarks.rivals SERIES --to DIR [--distmetrics SITE] [--workers 8]

SERIES is what ``benchmarks.real_series`` packed, SITE a folder made by ``pip install --no-deps
--ignore-requires-python --target SITE distmetrics==1.0.8 scikit-image einops tqdm lazy_loader``.
Every date from 2024 on is a target; all see the same pixels, and images before the target alone,
but for the bounds, which no forecast reaches.
Discs of changed ground are put into the target, in decibels, before anyone filters it. Adapting
sees dates before 2024 alone. Writes ``rivals.json`` and ``rivals.md``.
"""

import argparse
import datetime as dt
import json
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
import xarray as xr
import yaml
from scipy.stats import rankdata

from sarcast.arrays import Bool, Float
from sarcast.detection.difference import level, levelled, norm, smoothed, subtract, z
from sarcast.prediction import Precision
from sarcast.prediction.strategies import latest, mean
from sarcast.windows import Chooser, CubeReader, Expected, Predictor, Window, split_by_date

FIRST_TEST = np.datetime64("2024-01-01")
WATER = ("opera-292318-IW2",)
"""Bursts that are mostly ocean."""
CHANGES_DB = (-1.0, -2.5)
CHANGED_SHARE, RADII_PX = 0.2, (3, 11)
"""Share of the pixels that change, and the radii of the discs."""
SMOOTHING_PX = 2.0
ALL = 10_000
"""So many previous images that it is all there are."""


class Look(Protocol):
    """What a system expects of one target: ``expected`` in dB, (band, y, x), and its scores."""

    expected: Float

    def scores(self, target: Float) -> dict[str, Float]:
        """Scores of change of an actual image by name, (y, x), high where it changed."""
        ...


@dataclass(frozen=True)
class Given:
    """Which previous images a system is given; ``later``: all other images, later ones too."""

    chooser: Chooser
    previous: int
    later: bool = False

    def __str__(self) -> str:
        if self.later:
            return "all others, later ones too"
        return f"{self.chooser} {'all' if self.previous == ALL else self.previous}"


OURS = (
    Given("recent", 4),
    Given("recent", 8),
    Given("recent", 16),
    Given("nearest", 4),
    Given("nearest", 8),
    Given("both", 4),
    Given("both", 8),
    Given("both", 16),
)
CONVENTIONAL = (
    *OURS,
    Given("same-season", 4),
    Given("same-season", 8),
    Given("recent", ALL),
)
RIVALS = {
    "transformer_original": (Given("recent", 10), Given("same-season", 10)),
    "transformer_optimized": (Given("recent", 10), Given("same-season", 10)),
    "transformer_anniversary_trained": (
        Given("recent", 20),
        Given("same-season", 20),
        Given("same-season", 10),
    ),
}
"""Each at the number of images that it was trained with; DIST-S1 takes 10 around anniversaries."""


@dataclass(frozen=True)
class Row:
    """How one system did on one series."""

    series: str
    system: str
    given: str
    mse_db2: float
    mse_by_date: dict[str, float]
    auc: dict[str, dict[str, float]]
    seconds_per_megapixel: float


@dataclass(frozen=True)
class Task:
    """One kind of system on one series; ``kind`` is a key of ``SYSTEMS``.

    ``precision`` is that of the weights as they are; ``training``, ``crop`` and ``given`` are how
    weights are adapted.
    """

    kind: str
    path: Path
    model: str
    precision: Precision
    threads: int
    training: dict[str, Any]
    crop: int
    given: Given
    site: Path | None
    stride: int


class Plain:
    """Expected image of a ``windows.Predictor``, and its differences as scores."""

    def __init__(self, expected: Expected) -> None:
        self.expected = expected.mean
        self._std = expected.std

    def scores(self, target: Float) -> dict[str, Float]:
        """Give the norm over bands of the difference, and of z where a deviation is known."""
        plain = {"norm": subtract(target, self.expected)}
        if self._std is not None:
            plain["z"] = z(target, self.expected, self._std)
        found = {}
        for name, one in plain.items():
            found[name] = norm(one)
            found[f"{name}, smoothed"] = norm(smoothed(one, SMOOTHING_PX))
            found[f"{name}, levelled, smoothed"] = norm(smoothed(levelled(one), SMOOTHING_PX))
        return found


System = tuple[str, Given, Callable[[Window], Look]]


def strategies(_: Task) -> Iterator[System]:
    """The latest image, and means of all kinds."""
    yield "latest", Given("recent", 1), lambda window: Plain(Expected(latest(window)))
    for given in CONVENTIONAL:
        yield "mean", given, lambda window: Plain(Expected(mean(window)))


def bounds(_: Task) -> Iterator[System]:
    """What no forecast reaches: means that know later images too, and even the target's level."""

    def at_its_level(window: Window) -> Look:
        expected = mean(window)
        own = level(subtract(window.target, expected))
        return Plain(Expected(expected + own[:, np.newaxis, np.newaxis]))

    every = Given("recent", ALL, later=True)
    yield "bound: mean", every, lambda window: Plain(Expected(mean(window)))
    yield "bound: mean at the target's level", every, at_its_level


def shipped(task: Task) -> Iterator[System]:
    """Our weights as they are."""
    from sarcast.prediction import load_model

    model = load_model(task.model, device="cpu", precision=task.precision)
    yield from _ours(task.model, model)


def adapted(task: Task) -> Iterator[System]:
    """Our weights after ``sarcast train --from`` on the series, ended before the first test."""
    from sarcast.prediction import load_model
    from sarcast.prediction.training.adapt import adapt, suited
    from sarcast.prediction.training.fit import TrainOptions

    start = load_model(task.model, device="cpu")
    options = suited(TrainOptions(**task.training), start)
    cube = xr.load_dataset(task.path, engine="h5netcdf")
    early = cube.isel(time=np.flatnonzero(cube["time"].values < FIRST_TEST))
    training, held = split_by_date(
        [early],
        size=task.crop,
        previous=task.given.previous,
        chooser=task.given.chooser,
        share=options.validation_share,
    )
    with tempfile.TemporaryDirectory() as folder:
        model = adapt(start, training, held, options, folder=Path(folder))
    yield from _ours(f"{task.model} adapted", model)


def _ours(name: str, model: Predictor) -> Iterator[System]:
    for given in OURS:
        yield name, given, lambda window: Plain(model.expect([window])[0])


def transformers(task: Task) -> Iterator[System]:
    """One published transformer."""
    from benchmarks.transformers import Transformer

    assert task.site is not None
    rival = Transformer(task.kind, task.site, stride=task.stride)
    for given in RIVALS[task.kind]:
        yield task.kind, given, rival.look


SYSTEMS: dict[str, Callable[[Task], Iterator[System]]] = {
    "adapted": adapted,
    **dict.fromkeys(RIVALS, transformers),
    "shipped": shipped,
    "strategies": strategies,
    "bounds": bounds,
}
"""Kinds of systems, those that take longest first."""


def run(task: Task) -> list[Row]:
    """Do one task."""
    import torch

    torch.set_num_threads(task.threads)
    cube = xr.load_dataset(task.path, engine="h5netcdf")
    source = CubeReader.of(cube, in_memory=True)
    systems = SYSTEMS[task.kind](task)
    return [measure(task.path.stem, source, system) for system in systems]


def measure(series: str, source: CubeReader, system: System) -> Row:
    """Score a system on every date from the first test on."""
    name, given, look = system
    dates = [int(date) for date in np.flatnonzero(source.times >= FIRST_TEST)]
    seen = np.isfinite(source.backscatter.values).all(axis=(0, 1))
    look(window_of(source, dates[0], given))
    errors: dict[str, float] = {}
    tally = Tally()
    seconds = 0.0
    for date in dates:
        window = window_of(source, date, given)
        start = time.perf_counter()
        sight = look(window)
        sight.scores(window.target)
        seconds += time.perf_counter() - start
        square = np.square(window.target - sight.expected)[:, seen]
        errors[str(source.times[date].astype("datetime64[D]"))] = float(square.mean())
        changed = discs(source.shape, rng=np.random.default_rng(date))
        for decibels in CHANGES_DB:
            scores = sight.scores(
                window.target + np.where(changed, np.float32(decibels), np.float32(0.0))
            )
            tally.add(decibels, {key: score[seen] for key, score in scores.items()}, changed[seen])
    megapixels = len(dates) * source.shape[0] * source.shape[1] / 1e6
    mse = float(np.mean(list(errors.values())))
    return Row(series, name, str(given), mse, errors, tally.auc(), seconds / megapixels)


class Tally:
    """Scores of the pixels of all dates, by change and kind of score."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[tuple[Float, Bool]]] = {}

    def add(self, decibels: float, scores: Mapping[str, Float], changed: Bool) -> None:
        """Add the pixels of a date."""
        for score, pixels in scores.items():
            self._found.setdefault((change_name(decibels), score), []).append((pixels, changed))

    def auc(self) -> dict[str, dict[str, float]]:
        """Area under the curve over the pixels of all dates, by change and kind of score."""
        areas: dict[str, dict[str, float]] = {}
        for (change, score), parts in self._found.items():
            scores, changed = map(np.concatenate, zip(*parts, strict=True))
            areas.setdefault(change, {})[score] = area_under_curve(scores, changed)
        return areas


def change_name(decibels: float) -> str:
    """Name a change in tables."""
    return f"{decibels:+g} dB"


def window_of(source: CubeReader, date: int, given: Given) -> Window:
    """Cut a whole image and the other ones that a system is given."""
    if given.later:
        others = [one for one in range(len(source.times)) if one != date]
        return source.cut(date, (0, 0), source.shape, others)
    wanted = min(given.previous, int((source.times < source.times[date]).sum()))
    previous = source.previous(date, (0, 0), source.shape, wanted, chooser=given.chooser)
    return source.cut(date, (0, 0), source.shape, previous)


def discs(shape: tuple[int, int], *, rng: np.random.Generator) -> Bool:
    """Draw discs until their share of the pixels is reached; dims (y, x)."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    changed = np.zeros(shape, dtype=bool)
    while changed.mean() < CHANGED_SHARE:
        row, column = rng.uniform(0.0, shape)
        changed |= (y - row) ** 2 + (x - column) ** 2 <= rng.uniform(*RADII_PX) ** 2
    return changed


def area_under_curve(score: Float, changed: Bool) -> float:
    """Share of pairs, changed and unchanged, that a score has in order; ties count half."""
    ranks = rankdata(score)
    positive = int(changed.sum())
    negative = changed.size - positive
    above = ranks[changed].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))


def table(rows: Sequence[Row]) -> str:
    """Set the table in Markdown: averages over the series, then what each series says."""
    series = list(dict.fromkeys(row.series for row in rows))
    same, best = shares(rows)
    changes = [change_name(decibels) for decibels in CHANGES_DB]
    head = ["system", "previous images", "score", "MSE, dB²", "of the mean's of the same images",
            "of the best conventional", *(f"AUC {change}" for change in changes),
            "s per megapixel", *series]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    systems: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        systems.setdefault((row.system, row.given), []).append(row)
    for (name, given), found in systems.items():
        by_series = {row.series: best[id(row)] for row in found if id(row) in best}
        common = [
            _mean(row.mse_db2 for row in found),
            _mean(same[id(row)] for row in found if id(row) in same),
            _mean(by_series.values()),
        ]
        seconds = f"{np.median([row.seconds_per_megapixel for row in found]):.2f}"
        for score in found[0].auc[changes[0]]:
            areas = [_mean(row.auc[change][score] for row in found) for change in changes]
            each = [f"{by_series[one]:.3f}" if one in by_series else "" for one in series]
            cells = [name, given, score, *common, *areas, seconds, *each]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Last columns: the error, as a share of the best conventional strategy's there."]
    return "\n".join(lines) + "\n"


def shares(rows: Sequence[Row]) -> tuple[dict[int, float], dict[int, float]]:
    """Error of each row, by its ``id``, over that of the mean of its images and over the best's."""
    means = {(row.series, row.given): row.mse_db2 for row in rows if row.system == "mean"}
    best: dict[str, float] = {}
    for row in rows:
        if row.system in ("latest", "mean"):
            best[row.series] = min(row.mse_db2, best.get(row.series, np.inf))
    same = {
        id(row): row.mse_db2 / means[row.series, row.given]
        for row in rows
        if (row.series, row.given) in means
    }
    return same, {id(row): row.mse_db2 / best[row.series] for row in rows if row.series in best}


def _mean(values: Iterable[float]) -> str:
    listed = list(values)
    return f"{np.mean(listed):.3f}" if listed else ""


def main() -> None:
    """Do all tasks, several at a time, and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("series", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--distmetrics", type=Path, metavar="SITE")
    parser.add_argument("--stride", type=int, default=4)
    parser.add_argument("--model", default="base")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of adapting, as minutes=5 or learning_rate=1e-4",
    )
    parser.add_argument("--crop", type=int, default=64, help="pixels of a window of adapting")
    parser.add_argument("--previous", type=int, default=4, help="its previous images")
    parser.add_argument("--chooser", choices=get_args(Chooser), default="nearest")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--cubes", nargs="+", help="names of series; default: OPERA's on land")
    options = parser.parse_args()
    names = options.cubes or [
        path.stem for path in sorted(options.series.glob("opera-*.nc")) if path.stem not in WATER
    ]
    training = {key: yaml.safe_load(value) for key, value in (w.split("=", 1) for w in options.set)}
    kinds = [k for k in SYSTEMS if k in options.only and (options.distmetrics or k not in RIVALS)]
    tasks = [
        Task(
            kind,
            options.series / f"{name}.nc",
            options.model,
            options.precision,
            options.threads,
            training,
            options.crop,
            Given(options.chooser, options.previous),
            options.distmetrics,
            options.stride,
        )
        for kind in kinds
        for name in names
    ]
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    rows: list[Row] = []
    with ProcessPoolExecutor(
        options.workers, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        for found in pool.map(run, tasks):
            rows += found
            print(found[0].series, found[0].system, f"{found[0].mse_db2:.3f} dB²", flush=True)
    options.to.mkdir(parents=True, exist_ok=True)
    told = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "options": {key: str(value) for key, value in vars(options).items()},
        "rows": [asdict(row) for row in rows],
    }
    (options.to / "rivals.json").write_text(json.dumps(told, indent=1))
    (options.to / "rivals.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
