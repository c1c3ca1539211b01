"""Bootstrap intervals over clusters of windows, from coarse counts that are kept of each window.

Pixels of one window share weather, acquisition geometry and simulated change; windows of one date
share weather and geometry. They are not independent samples. Clusters are resampled therefore,
each with all of its windows: the dates of a cube, or single windows where no two share a date or
all share one.

References
----------
Davison, Hinkley 1997, "Bootstrap Methods and their Application", section 3.8: hierarchical data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Double, Float
from sarcast.evaluation.metrics.scores import ScoreCounts
from sarcast.evaluation.metrics.statistics import Confusion

REPLICATES = 1000
"""Number of bootstrap samples."""
CONFIDENCE = 0.95
"""Nominal coverage of an interval."""


@dataclass(frozen=True)
class CoarseCounts:
    """Score counts of one window: the numbers of the non-empty coarse bins, counts (class, bin)."""

    bins: npt.NDArray[np.uint16]
    counts: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, scores: ScoreCounts) -> "CoarseCounts":
        """Reduce the score counts of one window to coarse bins."""
        bins, counts = scores.coarse()
        return cls(bins, counts.astype(np.uint32))

    @property
    def auc(self) -> float:
        """AUC of the window; NaN if its pixels are of one class."""
        return float(_areas(self.counts.astype(np.float64)))


@dataclass(frozen=True)
class Interval:
    """Bootstrap percentile interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Resampling:
    """How often each cluster is drawn in each bootstrap sample.

    For three windows of which two share a date, ``index`` is ``{"a": 0, "b": 0, "c": 1}`` and
    ``weights`` may begin ``[[1, 1], [2, 0], [1, 1], [0, 2], ...]``: the first row is the original
    sample, the second one drew the date of ``a`` and ``b`` twice.

    Attributes
    ----------
    weights
        Dims (1 + replicate, cluster), counts.
    index
        Index of each window's cluster in ``weights``, by the window's identifier.
    """

    weights: Float
    index: Mapping[str, int]

    @classmethod
    def of(cls, clusters: Mapping[str, str], *, rng: np.random.Generator) -> Self:
        """Draw samples of clusters, or of windows if there is a single cluster.

        Parameters
        ----------
        clusters
            Cluster of each window, by their identifiers; the order has no effect.
        rng
            Random generator.
        """
        if len(set(clusters.values())) == 1:
            clusters = {window: window for window in clusters}
        numbers: dict[str, int] = {}
        index = {
            window: numbers.setdefault(clusters[window], len(numbers))
            for window in sorted(clusters)
        }
        drawn = draw_weights(len(numbers), rng=rng)
        return cls(np.concatenate([np.ones_like(drawn[:1]), drawn]), index)

    def areas(self, windows: Mapping[str, CoarseCounts]) -> Double:
        """AUC of the original sample and of each bootstrap sample, dims (1 + replicate,)."""
        return replicate_auc(list(windows.values()), self._window_weights(windows))

    def accuracies(self, windows: Mapping[str, Confusion]) -> Double:
        """Accuracy over the pixels of each bootstrap sample, dims (replicate,); NaN of no pixel."""
        counts = [(m.true_positive + m.true_negative, m.pixels) for m in windows.values()]
        right, pixels = (self._window_weights(windows)[1:].astype(np.float64) @ np.array(counts)).T
        shares: Double = np.full_like(right, np.nan)
        np.divide(right, pixels, out=shares, where=pixels > 0)
        return shares

    def _window_weights(self, windows: Mapping[str, Any]) -> Float:
        return self.weights[:, [self.index[name] for name in windows]]


def draw_weights(clusters: int, *, rng: np.random.Generator) -> Float:
    """How often each cluster is drawn in each bootstrap sample.

    Parameters
    ----------
    clusters
        Number of clusters, 1 or more.
    rng
        Random generator.

    Returns
    -------
    ndarray
        Dims (replicate, cluster), float32; each row sums to the number of clusters.
    """
    even = np.full(clusters, 1.0 / clusters)
    return rng.multinomial(clusters, even, size=REPLICATES).astype(np.float32)


def replicate_auc(windows: Sequence[CoarseCounts], weights: Float) -> Double:
    """AUC over the pixels of each bootstrap sample.

    Parameters
    ----------
    windows
        Coarse counts of each window.
    weights
        Dims (replicate, window).

    Returns
    -------
    ndarray
        Dims (replicate,), 0..1; NaN for a sample of one class.
    """
    bins = np.unique(np.concatenate([window.bins for window in windows]))
    table = np.zeros((len(windows), 2, bins.size), dtype=np.float32)
    for row, window in zip(table, windows, strict=True):
        row[:, np.searchsorted(bins, window.bins)] = window.counts
    summed = np.tensordot(weights, table, axes=1).astype(np.float64)
    return _areas(summed)


def _areas(counts: Double) -> Double:
    """AUC of counts of dims (..., unchanged or changed, bin), bins ascending; NaN of one class."""
    unchanged, changed = counts[..., 0, :], counts[..., 1, :]
    below = np.cumsum(unchanged, axis=-1) - unchanged / 2.0
    pairs = changed.sum(axis=-1) * unchanged.sum(axis=-1)
    areas = np.full(pairs.shape, np.nan)
    np.divide((changed * below).sum(axis=-1), pairs, out=areas, where=pairs > 0)
    return areas


def interval(replicates: Double) -> Interval | None:
    """Percentile interval of bootstrap values; None if all are NaN.

    References
    ----------
    Efron, Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    known = replicates[np.isfinite(replicates)]
    if not known.size:
        return None
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(known, [tail, 100.0 - tail])
    return Interval(float(low), float(high))
