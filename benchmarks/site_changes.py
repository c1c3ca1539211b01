"""Real, dated changes at sites worldwide, on 3 x 3 pixels, told from unchanged times.

    python -m benchmarks.site_changes DATA/opera-dist-sites/sites.parquet [--model base] [--to FILE]

The sites are the validation sites of OPERA DIST, labelled by experts. Residuals of the first 1, 3
and 6 acquisitions after a change, against a baseline that ends with the last acquisition before it,
are averaged over acquisitions and pixels, and the norm over the bands is compared with that of
watches in which nothing changed: every fifth start before the change, and at sites without one.
There is no scene around nine pixels: neither a scene context nor a level, background or strata that
could be removed, as ``sarcast detect`` does; the numbers tell expected images apart, no more.
Training saw two thirds of the sites, before their changes. Prints the AUC, with an interval over
the sites, and the share of the changes that exceed 95 % of the unchanged watches.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.context_horizons import Method, differences
from benchmarks.context_tables import table as markdown
from benchmarks.rival_systems import Baseline
from benchmarks.rivals import window_of
from benchmarks.sites import KINDS, series
from sarcast.arrays import Bool, Double, Float, Times
from sarcast.evaluation.metrics.intervals import draw_weights, interval
from sarcast.evaluation.metrics.scores import auc_exact
from sarcast.prediction import load_model
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import CubeReader

LOOKS = (1, 3, 6)
GIVEN = (Baseline("recent", 16), Baseline("nearest", 64))
FEWEST = 8
"""Images that precede each watch."""
EVERY = 5
UNCHANGED_SHARE = 0.95


@dataclass(frozen=True)
class Watched:
    """Six targets after a baseline: indices on ``time``, and the end of the baseline."""

    targets: range
    before: np.datetime64
    is_changed: bool


@dataclass(frozen=True)
class Case:
    """A watch of a site."""

    site: int
    reader: CubeReader
    watched: Watched


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sites", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--to", type=Path, help="where the table is written too")
    options = parser.parse_args()
    table = pd.read_parquet(options.sites)
    network = replace(load_model(options.model), context="none")
    methods = [
        Method(name, given, predictor)
        for name, predictor in (("model", network), ("mean", STRATEGIES["mean"]))
        for given in GIVEN
    ]
    head = ["series", "changes, other watches", "expected image", "previous images"]
    head += [cell for looks in LOOKS for cell in (f"AUC after {looks}", "found")]
    lines = []
    for kind, mixed in KINDS.items():
        cases = list(cases_of(table, mixed=mixed))
        changed = sum(case.watched.is_changed for case in cases)
        for method in methods:
            names = [kind, f"{changed}, {len(cases) - changed}", method.name, str(method.given)]
            lines.append([*names, *_cells(cases, sizes_of(cases, method))])
    text = markdown(head, lines)
    print(text, end="")
    if options.to:
        options.to.write_text(text)


def cases_of(table: pd.DataFrame, *, mixed: bool) -> Iterator[Case]:
    """All watches of all sites.

    Parameters
    ----------
    table
        Acquisitions of the sites.
    mixed
        Whether a series has all tracks of a site, or one.
    """
    dates = table.groupby("site")[["last_obs_before", "change_time"]].first()
    for name, cube in series(table, mixed=mixed, whole=True):
        site = int(name.split()[0])
        reader = CubeReader.from_cube(cube, in_memory=True)
        for watched in watches_of(reader.times, *dates.loc[site]):
            yield Case(site, reader, watched)


def watches_of(times: Times, last_before: object, change: object) -> Iterator[Watched]:
    """The watch after the change of a site, if it has one, and those of unchanged times.

    Parameters
    ----------
    times
        Acquisition times, ascending.
    last_before, change
        ISO 8601, or NaN: when the site was seen for the last time without its change, and when for
        the first time with it.
    """
    most = max(LOOKS)
    stop = len(times)
    if isinstance(change, str):
        first = int(np.searchsorted(times, np.datetime64(change)))
        end = np.datetime64(last_before if isinstance(last_before, str) else change)
        stop = int(np.searchsorted(times, end, side="right"))
        if stop >= FEWEST and first + most <= len(times):
            yield Watched(
                range(first, first + most), times[stop - 1] + np.timedelta64(1, "s"), True
            )
    for start in range(GIVEN[0].previous, stop - most + 1, EVERY):
        yield Watched(range(start, start + most), times[start], False)


def sizes_of(cases: Sequence[Case], method: Method) -> Double:
    """Size of the mean residual of the first 1, 3 and 6 targets, dims (looks, case)."""
    return np.array([_sizes(case, method) for case in cases]).T


def _sizes(case: Case, method: Method) -> list[float]:
    reader, watched = case.reader, case.watched
    windows = [window_of(reader, each, method.given, watched.before) for each in watched.targets]
    pairs = zip(windows, method.predictor.expect(windows), strict=True)
    compared = [differences(window, image) for window, image in pairs]
    residuals = [plain if z is None else z for plain, z in compared]
    means = [np.nanmean(residuals[:looks], axis=(0, 2, 3)) for looks in LOOKS]
    return [float(np.linalg.norm(mean)) for mean in means]


def _cells(cases: Sequence[Case], sizes: Double) -> Iterator[str]:
    changed = np.array([case.watched.is_changed for case in cases])
    _, site = np.unique([case.site for case in cases], return_inverse=True)
    weights = draw_weights(int(site.max()) + 1, rng=np.random.default_rng(0))[:, site]
    for values in sizes:
        found = interval(_areas(values, changed, weights))
        spread = f" ({found.low:.2f} to {found.high:.2f})" if found else ""
        yield f"{auc_exact(values, changed):.3f}{spread}"
        yield f"{np.mean(values[changed] > np.quantile(values[~changed], UNCHANGED_SHARE)):.2f}"


def _areas(values: Double, changed: Bool, weights: Float) -> Double:
    """AUC of bootstrap samples, dims (sample), from weights of dims (sample, case)."""
    one, other = values[changed, np.newaxis], values[~changed]
    above = (one > other) + 0.5 * (one == other)
    ones, others = (weights[:, which].astype(np.float64) for which in (changed, ~changed))
    pairs = ones.sum(axis=1) * others.sum(axis=1)
    areas: Double = ((ones @ above) * others).sum(axis=1) / np.where(pairs > 0, pairs, np.nan)
    return areas


if __name__ == "__main__":
    main()
