"""Bootstrap intervals over windows, from coarse counts that are kept of each window.

Windows are resampled and not pixels: pixels of one image share their weather, their view and their
simulated change, so that they are no independent witnesses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sarcast.evaluation.scores import Scores

Column = npt.NDArray[np.float64]

REPLICATES = 1000
"""Bootstrap samples of the windows."""
CONFIDENCE = 0.95
"""Share that an interval is to hold."""


@dataclass(frozen=True)
class CoarseCounts:
    """Coarse bins of one window that are not empty, and their counts (class, bin)."""

    bins: npt.NDArray[np.uint16]
    counts: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, scores: Scores) -> "CoarseCounts":
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


def draw_weights(windows: int, *, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """How often each window is drawn in each bootstrap sample.

    Parameters
    ----------
    windows
        Number of windows, 1 or more.
    rng
        Source of chance.

    Returns
    -------
    ndarray
        Dims (replicate, window), float32; each row sums to the number of windows.
    """
    even = np.full(windows, 1.0 / windows)
    return rng.multinomial(windows, even, size=REPLICATES).astype(np.float32)


def replicate_auc(windows: Sequence[CoarseCounts], weights: npt.NDArray[np.float32]) -> Column:
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


def _areas(counts: Column) -> Column:
    """AUC of counts of dims (..., unchanged or changed, bin), bins rising; NaN of one class."""
    unchanged, changed = counts[..., 0, :], counts[..., 1, :]
    below = np.cumsum(unchanged, axis=-1) - unchanged / 2.0
    pairs = changed.sum(axis=-1) * unchanged.sum(axis=-1)
    areas = np.full(pairs.shape, np.nan)
    np.divide((changed * below).sum(axis=-1), pairs, out=areas, where=pairs > 0)
    return areas


def interval(replicates: Column) -> Interval | None:
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
