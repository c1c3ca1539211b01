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
from sklearn.metrics import roc_auc_score

from benchmarks.context_horizons import Method
from benchmarks.rival_systems import Baseline
from benchmarks.rivals import window_of
from benchmarks.sites import series
from sarcast.arrays import Float
from sarcast.prediction import load_model
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import CubeReader

LOOKS = (1, 3, 6)
GIVEN = (Baseline("recent", 16), Baseline("nearest", 64))
FEWEST = 8
"""Images that precede each watch."""
EVERY = 5
SAMPLES = 1000
"""Bootstrap samples of the sites."""
UNCHANGED_SHARE = 0.95


@dataclass(frozen=True)
class Watched:
    """Six targets after a baseline: indices on ``time``, and the end of the baseline."""

    targets: range
    before: np.datetime64
    is_changed: bool


@dataclass(frozen=True)
class Scores:
    """Scores of a method in all watches, dims (looks, watch)."""

    values: Float
    is_changed: np.ndarray
    site: np.ndarray


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
    lines = [
        "| series | changes, other watches | expected image | previous images "
        + "".join(f"| AUC after {looks} | found " for looks in LOOKS)
        + "|",
        "|---" * (4 + 2 * len(LOOKS)) + "|",
    ]
    for kind, mixed in (("one track", False), ("all tracks", True)):
        for method in methods:
            scores = score(table, method, mixed=mixed)
            changed = int(scores.is_changed.sum())
            cells = [kind, f"{changed}, {len(scores.site) - changed}", method.name,
                     str(method.given), *_cells(scores, np.random.default_rng(0))]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if options.to:
        options.to.write_text(text)


def score(table: pd.DataFrame, method: Method, *, mixed: bool) -> Scores:
    """Score the watches of all sites.

    Parameters
    ----------
    table
        Acquisitions of the sites.
    method
        What predicts, from which images.
    mixed
        Whether a series has all tracks of a site, or one.
    """
    dates = table.groupby("site")[["last_obs_before", "change_time"]].first()
    values, is_changed, site = [], [], []
    for name, cube in series(table, mixed=mixed, whole=True):
        number = int(name.split()[0])
        reader = CubeReader.from_cube(cube, in_memory=True)
        for watched in watches_of(reader.times, *dates.loc[number]):
            values.append(_scores(reader, watched, method))
            is_changed.append(watched.is_changed)
            site.append(number)
    return Scores(np.array(values, dtype=np.float32).T, np.array(is_changed), np.array(site))


def watches_of(times: np.ndarray, last_before: object, change: object) -> Iterator[Watched]:
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
    for start in range(max(each.previous for each in GIVEN[:1]), stop - most + 1, EVERY):
        yield Watched(range(start, start + most), times[start], False)


def _scores(reader: CubeReader, watched: Watched, method: Method) -> list[float]:
    """Size of the mean residual of the first 1, 3 and 6 targets."""
    windows = [window_of(reader, each, method.given, watched.before) for each in watched.targets]
    expected = method.predictor.expect(windows)
    residuals = []
    for window, image in zip(windows, expected, strict=True):
        difference = window.target - image.mean
        residuals.append(difference if image.std is None else difference / image.std)
    means = [np.nanmean(residuals[:looks], axis=(0, 2, 3)) for looks in LOOKS]
    return [float(np.linalg.norm(mean)) for mean in means]


def _cells(scores: Scores, rng: np.random.Generator) -> Iterator[str]:
    for values in scores.values:
        low, high = np.quantile(list(_resampled(values, scores, rng)), (0.025, 0.975))
        unchanged = np.quantile(values[~scores.is_changed], UNCHANGED_SHARE)
        yield f"{roc_auc_score(scores.is_changed, values):.3f} ({low:.2f} to {high:.2f})"
        yield f"{np.mean(values[scores.is_changed] > unchanged):.2f}"


def _resampled(values: Float, scores: Scores, rng: np.random.Generator) -> Iterator[float]:
    """AUC of samples of the sites, with replacement."""
    members = [np.flatnonzero(scores.site == each) for each in np.unique(scores.site)]
    for _ in range(SAMPLES):
        drawn: Sequence[int] = rng.integers(len(members), size=len(members)).tolist()
        chosen = np.concatenate([members[each] for each in drawn])
        if scores.is_changed[chosen].any():
            yield float(roc_auc_score(scores.is_changed[chosen], values[chosen]))


if __name__ == "__main__":
    main()
