"""Counts of pixel scores that add up, and the curves and areas computed from the sum."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Bool, Double, Float
from sarcast.errors import SarcastError

Counts = npt.NDArray[np.int64]

BIN_BITS = 20
"""Leading bits of a float32 score that make its bin: sign, exponent and 11 of the mantissa."""
PAGE_BITS = 11
"""The bins of one sign and exponent form a page; only pages with counts take memory."""
_PAGE = 1 << PAGE_BITS
_SIGN = np.uint32(1 << 31)

CURVE_POINTS = 400
"""Points of a ROC curve that are kept for the report."""

COARSE_BITS = 5
"""Bits of the mantissa kept in the coarse bins for resampling: 32 bins an octave."""


@dataclass(frozen=True)
class ScoreCounts:
    """Counts of unchanged and changed pixels over fine bins of their score: a state that adds.

    ``ScoreCounts()`` is zero, and the counts of two images add to those of both, so that the AUC
    over all pixels of any number of images needs bounded memory::

        total = ScoreCounts()
        for score, changed in images:
            total += count_scores(score, changed)
        roc(total).auc

    The bin of a score is its leading 20 bits as float32, mapped to the order of the numbers: no
    range needs to be known in advance. Scores in one bin differ by less than 0.05 % and count as
    ties.

    Attributes
    ----------
    pages
        Page number -> counts, dims (unchanged or changed, bin of the page).
    """

    pages: Mapping[int, Counts] = field(default_factory=dict)

    def __add__(self, other: "ScoreCounts") -> "ScoreCounts":
        summed = dict(self.pages)
        for page, counts in other.pages.items():
            summed[page] = summed[page] + counts if page in summed else counts
        return ScoreCounts(summed)

    def coarse(self) -> tuple[npt.NDArray[np.uint16], Counts]:
        """Ascending numbers of the non-empty coarse bins, and their counts (class, bin)."""
        if not self.pages:
            return np.zeros(0, dtype=np.uint16), np.zeros((2, 0), dtype=np.int64)
        pages = sorted(self.pages)
        merged = np.stack([self.pages[page].reshape(2, 1 << COARSE_BITS, -1) for page in pages])
        counts = merged.sum(axis=-1).swapaxes(0, 1).reshape(2, -1)
        numbers = (np.array(pages)[:, None] << COARSE_BITS) + np.arange(1 << COARSE_BITS)
        filled = counts.any(axis=0)
        return numbers.ravel()[filled].astype(np.uint16), counts[:, filled]

    @property
    def unchanged(self) -> int:
        """Number of unchanged pixels."""
        return sum(int(counts[0].sum()) for counts in self.pages.values())

    @property
    def changed(self) -> int:
        """Number of changed pixels."""
        return sum(int(counts[1].sum()) for counts in self.pages.values())


def count_scores(scores: Float, changed: Bool, valid: Bool | None = None) -> ScoreCounts:
    """Count the scores of changed and of unchanged pixels.

    Parameters
    ----------
    scores
        Any dims; a higher score means more likely changed.
    changed
        The same dims.
    valid
        The same dims: pixels that are counted; by default those whose score is not NaN.

    Returns
    -------
    ScoreCounts
        Adds to the counts of other pixels.

    Raises
    ------
    SarcastError
        If the shapes differ, or a valid pixel has no score.
    """
    _check_shapes(scores, changed, valid)
    valid = ~np.isnan(scores) if valid is None else valid
    values = scores[valid].astype(np.float32, copy=False)
    if values.size == 0:
        return ScoreCounts()
    if np.isnan(values).any():
        raise SarcastError(
            f"{int(np.isnan(values).sum())} valid pixels have no score (NaN); "
            f"exclude them from the mask of valid pixels"
        )
    return _to_pages(_bins(values), changed[valid])


@dataclass(frozen=True)
class Roc:
    """Receiver operating characteristic: one point per threshold, from none to all called changed.

    Attributes
    ----------
    threshold
        Lowest score that is called changed, descending; the first is infinite.
    false_alarm_rate, detection_rate
        Share of the unchanged and of the changed pixels called changed, ascending 0..1.
    """

    threshold: Double
    false_alarm_rate: Double
    detection_rate: Double

    @property
    def auc(self) -> float:
        """Area under the curve, 0..1; ties (pixels of one bin) count half."""
        steps = np.diff(self.false_alarm_rate)
        return float(steps @ (self.detection_rate[1:] + self.detection_rate[:-1]) / 2.0)

    def detection_rate_at(self, false_alarm_rate: float) -> float:
        """Detection rate at a false-alarm rate 0..1, linear between the points of the curve."""
        return float(np.interp(false_alarm_rate, self.false_alarm_rate, self.detection_rate))

    def reduced(self, points: int = CURVE_POINTS) -> "Roc":
        """Curve of about ``points`` points, evenly spread along it."""
        along = self.false_alarm_rate + self.detection_rate
        kept = np.unique(np.searchsorted(along, np.linspace(0.0, 2.0, points)))
        kept = np.unique(np.concatenate([[0], kept[kept < along.size], [along.size - 1]]))
        return Roc(self.threshold[kept], self.false_alarm_rate[kept], self.detection_rate[kept])


def roc(scores: ScoreCounts) -> Roc:
    """ROC curve of score counts.

    Parameters
    ----------
    scores
        With at least one changed and one unchanged pixel.

    Raises
    ------
    SarcastError
        If all pixels are of one class.
    """
    threshold, counts = _descending(scores)
    total = counts.sum(axis=1)
    if (total == 0).any():
        raise SarcastError(
            f"a ROC curve needs changed and unchanged pixels, but there are {total[1]} changed "
            f"and {total[0]} unchanged ones; use more windows with simulated change"
        )
    rates = np.cumsum(counts, axis=1) / total[:, np.newaxis]
    rates = np.concatenate([np.zeros((2, 1)), rates], axis=1)
    return Roc(np.concatenate([[np.inf], threshold]), rates[0], rates[1])


def average_precision(scores: ScoreCounts) -> float:
    """Area under the precision-recall curve as a sum of steps, 0..1.

    Parameters
    ----------
    scores
        With at least one changed pixel.

    Raises
    ------
    SarcastError
        If no pixel changed.
    """
    _, counts = _descending(scores)
    called = np.cumsum(counts, axis=1)
    if not counts.size or not called[1, -1]:
        raise SarcastError(
            "an average precision needs changed pixels, but there are none; use more windows "
            "with simulated change"
        )
    precision = called[1] / called.sum(axis=0)
    return float(counts[1] @ precision / called[1, -1])


def auc_exact(scores: Float, changed: Bool) -> float:
    """Area under the ROC curve by sorting all scores: memory grows with the number of pixels.

    Parameters
    ----------
    scores, changed
        Any dims; pixels whose score is NaN are ignored.

    Returns
    -------
    float
        0..1.

    Raises
    ------
    SarcastError
        If all pixels are of one class.
    """
    valid = ~np.isnan(scores)
    values, truth = scores[valid], changed[valid]
    positive = int(truth.sum())
    negative = truth.size - positive
    if not positive or not negative:
        raise SarcastError(
            f"an AUC needs changed and unchanged pixels, but there are {positive} changed "
            f"and {negative} unchanged ones; use more windows with simulated change"
        )
    distinct, rank = np.unique(values, return_inverse=True)
    counts = np.bincount(rank[truth], minlength=distinct.size)
    total = np.bincount(rank, minlength=distinct.size)
    below = np.cumsum(total - counts) - (total - counts) / 2.0
    return float((counts * below).sum() / positive / negative)


def _check_shapes(scores: Float, changed: Bool, valid: Bool | None) -> None:
    for what, mask in (("changed", changed), ("valid", valid)):
        if mask is not None and mask.shape != scores.shape:
            raise SarcastError(
                f"the mask of {what} pixels must have the scores' shape {scores.shape}, "
                f"but has {mask.shape}"
            )


def _bins(values: Float) -> npt.NDArray[np.uint32]:
    """Leading bits of each score, in the order of the numbers; −0 and 0 share a bin."""
    bits = (values + np.float32(0.0)).view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return ordered >> np.uint32(32 - BIN_BITS)


def _bin_starts(page: int) -> Double:
    """Lowest score of each bin of a page; NaN for the bins beyond infinity, which stay empty."""
    ordered = (np.uint32(page << PAGE_BITS) + np.arange(_PAGE, dtype=np.uint32)) << np.uint32(
        32 - BIN_BITS
    )
    negative = ordered < _SIGN
    bits = np.where(negative, ~ordered, ordered & ~_SIGN).astype(np.uint32)
    with np.errstate(invalid="ignore"):
        return bits.view(np.float32).astype(np.float64)


def _to_pages(bins: npt.NDArray[np.uint32], changed: Bool) -> ScoreCounts:
    page = bins >> np.uint32(PAGE_BITS)
    used = np.bincount(page, minlength=1 << (BIN_BITS - PAGE_BITS)) > 0
    pages = np.flatnonzero(used)
    row_of_page = np.cumsum(used) - 1
    flat = row_of_page[page] * _PAGE + (bins & np.uint32(_PAGE - 1))
    flat += changed * (pages.size * _PAGE)
    counts = np.bincount(flat, minlength=2 * pages.size * _PAGE)
    counts = counts.reshape(2, pages.size, _PAGE)
    return ScoreCounts({int(number): counts[:, row] for row, number in enumerate(pages)})


def _descending(scores: ScoreCounts) -> tuple[Double, Counts]:
    """Lowest score and counts of each non-empty bin, from the highest score down."""
    pages = sorted(scores.pages, reverse=True)
    if not pages:
        return np.zeros(0), np.zeros((2, 0), dtype=np.int64)
    starts = np.concatenate([_bin_starts(page)[::-1] for page in pages])
    counts = np.concatenate([scores.pages[page][:, ::-1] for page in pages], axis=1)
    filled = counts.any(axis=0)
    return starts[filled], counts[:, filled]
