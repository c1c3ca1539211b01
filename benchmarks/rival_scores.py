"""Errors and areas under the curve of the systems of ``benchmarks.rivals``, and their table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from sarcast.arrays import Bool, Float
from sarcast.windows import Window

CHANGES_DB = (-1.0, -2.5)
CONVENTIONAL = ("latest", "mean", "season-mean")
"""Systems whose least error others are compared with."""
CHANGED_SHARE, RADII_PX = 0.2, (3, 11)
"""Share of the pixels that change, and the range of the radii of the discs."""


@dataclass(frozen=True)
class Row:
    """Results of one system on one series; ``given`` is its baseline."""

    series: str
    system: str
    given: str
    mse_db2: float
    mse_by_date: dict[str, float]
    auc: dict[str, dict[str, float]]
    seconds_per_megapixel: float


class PixelScores:
    """Scores of the pixels of all dates, by change and kind of score."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str], list[tuple[Float, Bool]]] = {}

    def add(self, decibels: float, scores: Mapping[str, Float], changed: Bool) -> None:
        """Add the pixels of a date."""
        for score, pixels in scores.items():
            self._parts.setdefault((change_name(decibels), score), []).append((pixels, changed))

    def auc(self) -> dict[str, dict[str, float]]:
        """Compute the area under the curve over all pixels, by change and kind of score."""
        areas: dict[str, dict[str, float]] = {}
        for (change, score), parts in self._parts.items():
            scores, changed = map(np.concatenate, zip(*parts, strict=True))
            areas.setdefault(change, {})[score] = area_under_curve(scores, changed)
        return areas


def change_name(decibels: float) -> str:
    """Name a change in tables."""
    return f"{decibels:+g} dB"


def discs(
    shape: tuple[int, int], share: float = CHANGED_SHARE, *, rng: np.random.Generator
) -> Bool:
    """Draw discs until their share of the pixels is reached; dims (y, x)."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    changed = np.zeros(shape, dtype=bool)
    while changed.mean() < share:
        row, column = rng.uniform(0.0, shape)
        changed |= (y - row) ** 2 + (x - column) ** 2 <= rng.uniform(*RADII_PX) ** 2
    return changed


def with_offset(window: Window, changed: Bool, decibels: float) -> Window:
    """Put a change into the target of a window: an offset in dB where ``changed``, dims (y, x)."""
    offset = np.where(changed, np.float32(decibels), np.float32(0.0))
    return window.with_target(window.target + offset)


def area_under_curve(score: Float, changed: Bool) -> float:
    """Compute the share of pairs, changed and unchanged, in the right order; ties count half."""
    ranks = rankdata(score)
    positive = int(changed.sum())
    negative = changed.size - positive
    above = ranks[changed].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))


def table(rows: Sequence[Row]) -> str:
    """Write the table in Markdown: averages over the series, then each series."""
    series = list(dict.fromkeys(row.series for row in rows))
    of_mean, of_best = relative_errors(rows)
    changes = [change_name(decibels) for decibels in CHANGES_DB]
    head = ["system", "previous images", "score", "MSE, dB²", "of the mean's of the same images",
            "of the best conventional", *(f"AUC {change}" for change in changes),
            "s per megapixel", *series]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    systems: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        systems.setdefault((row.system, row.given), []).append(row)
    for (name, baseline), group in systems.items():
        by_series = {row.series: of_best[id(row)] for row in group if id(row) in of_best}
        errors = [
            _mean(row.mse_db2 for row in group),
            _mean(of_mean[id(row)] for row in group if id(row) in of_mean),
            _mean(by_series.values()),
        ]
        seconds = f"{np.median([row.seconds_per_megapixel for row in group]):.2f}"
        for score in group[0].auc[changes[0]]:
            areas = [_mean(row.auc[change][score] for row in group) for change in changes]
            each = [f"{by_series[key]:.3f}" if key in by_series else "" for key in series]
            cells = [name, baseline, score, *errors, *areas, seconds, *each]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Last columns: the error, as a share of the best conventional strategy's there."]
    return "\n".join(lines) + "\n"


def relative_errors(rows: Sequence[Row]) -> tuple[dict[int, float], dict[int, float]]:
    """Divide errors by that of the mean of the same images, and by the best conventional one.

    Both are given by the ``id`` of the row.
    """
    means = {(row.series, row.given): row.mse_db2 for row in rows if row.system == "mean"}
    best: dict[str, float] = {}
    for row in rows:
        if row.system in CONVENTIONAL:
            best[row.series] = min(row.mse_db2, best.get(row.series, np.inf))
    of_mean = {
        id(row): row.mse_db2 / means[row.series, row.given]
        for row in rows
        if (row.series, row.given) in means
    }
    return of_mean, {id(row): row.mse_db2 / best[row.series] for row in rows if row.series in best}


def _mean(values: Iterable[float]) -> str:
    listed = list(values)
    return f"{np.mean(listed):.3f}" if listed else ""
