"""Bootstrap intervals over clusters of windows, from coarse counts that are kept of each window.

Pixels of one window share their weather, their view and their simulated change, and windows of one
date their weather and view, so that they are no independent witnesses. What is resampled are
clusters, each with all of its windows: the dates of a cube; single windows where nothing joins
them, or where all are of one date.

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
"""Bootstrap samples of the clusters."""
CONFIDENCE = 0.95
"""Share that an interval is to hold."""


@dataclass(frozen=True)
class CoarseCounts:
    """Coarse bins of one window that are not empty, and their counts (class, bin)."""

    bins: npt.NDArray[np.uint16]
    counts: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, scores: ScoreCounts) -> "CoarseCounts":
        """Keep the coarse counts of one window's state."""
        bins, counts = scores.coarse()
        return cls(bins, counts.astype(np.uint32))

    @property
    def auc(self) -> float:
        """AUC of the window; NaN if its pixels are of one class."""
        return float(_areas(self.counts.astype(np.float64)))


@dataclass(frozen=True)
class Interval:
    """Interval of a bootstrap percentile."""

    low: float
    high: float


@dataclass(frozen=True)
class Draws:
    """How often each cluster comes in each bootstrap sample, after a row of all as they are.

    Attributes
    ----------
    weights
        Dims (1 + replicate, cluster).
    place
        Place of the cluster of each window, by the window's identifier.
    """

    weights: Float
    place: Mapping[str, int]

    @classmethod
    def of(cls, clusters: Mapping[str, str], *, rng: np.random.Generator) -> Self:
        """Draw samples of clusters, or of windows where there is a single cluster.

        Parameters
        ----------
        clusters
            Cluster of each window, by their identifiers; the order of the windows counts nothing.
        rng
            Source of chance.
        """
        if len(set(clusters.values())) == 1:
            clusters = {window: window for window in clusters}
        numbers: dict[str, int] = {}
        place = {
            window: numbers.setdefault(clusters[window], len(numbers))
            for window in sorted(clusters)
        }
        drawn = draw_weights(len(numbers), rng=rng)
        return cls(np.concatenate([np.ones_like(drawn[:1]), drawn]), place)

    def areas(self, windows: Mapping[str, CoarseCounts]) -> Double:
        """AUC of the windows as they are and of each sample, dims (1 + replicate,)."""
        return replicate_auc(list(windows.values()), self._own(windows))

    def accuracies(self, windows: Mapping[str, Confusion]) -> Double:
        """Accuracy over the pixels of each sample, dims (replicate,); NaN of no pixel."""
        counts = [(one.true_positive + one.true_negative, one.pixels) for one in windows.values()]
        right, pixels = (self._own(windows)[1:].astype(np.float64) @ np.array(counts)).T
        shares: Double = np.full_like(right, np.nan)
        np.divide(right, pixels, out=shares, where=pixels > 0)
        return shares

    def _own(self, windows: Mapping[str, Any]) -> Float:
        return self.weights[:, [self.place[name] for name in windows]]


def draw_weights(clusters: int, *, rng: np.random.Generator) -> Float:
    """How often each cluster is drawn in each bootstrap sample.

    Parameters
    ----------
    clusters
        Number of clusters, 1 or more.
    rng
        Source of chance.

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
    """AUC of counts of dims (..., unchanged or changed, bin), bins rising; NaN of one class."""
    unchanged, changed = counts[..., 0, :], counts[..., 1, :]
    below = np.cumsum(unchanged, axis=-1) - unchanged / 2.0
    pairs = changed.sum(axis=-1) * unchanged.sum(axis=-1)
    areas = np.full(pairs.shape, np.nan)
    np.divide((changed * below).sum(axis=-1), pairs, out=areas, where=pairs > 0)
    return areas


def interval(replicates: Double) -> Interval | None:
    """Percentile interval of what bootstrap samples gave; None if none of them can tell.

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
