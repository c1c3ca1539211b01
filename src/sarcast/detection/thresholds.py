"""Threshold classifiers: a pixel is changed where the norm of its difference is above a number.

    changed = sqrt(sum over bands of d²) > threshold

They differ in how ``fit`` finds the threshold.
"""

import copy
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import stats

from sarcast.arrays import Bool, Double, Float
from sarcast.detection.difference import BAND_AXIS, norm
from sarcast.detection.protocol import (
    Takes,
    check_both_classes,
    not_fitted,
    require_masks,
    valid_pixels,
)
from sarcast.errors import SarcastError

HISTOGRAM_BINS = 1024
"""Bins of the histograms of the norm, from 0 to the greatest norm."""

Counts = npt.NDArray[np.int64]


class NormThreshold:
    """Base of the threshold classifiers.

    Attributes
    ----------
    threshold_
        The norm above which a pixel is changed, in the unit of the difference image.
    """

    name: str
    takes: Takes = "difference"
    threshold_: float

    def fresh(self) -> Self:
        """Return an unfitted copy."""
        return copy.deepcopy(self)

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:
        """Find the threshold from all pixels of the difference images.

        Raises
        ------
        SarcastError
            If no pixel has data, or the norm is the same everywhere.
        """
        self.threshold_ = self._find_threshold(differences, changed)
        return self

    def predict(self, difference: Float) -> Bool:
        """Return the change map, dims (y, x), at the threshold that ``fit`` found."""
        if not hasattr(self, "threshold_"):
            raise not_fitted(self)
        above: Bool = norm(difference) > self.threshold_
        return above

    def _find_threshold(
        self, differences: Sequence[Float], changed: Sequence[Bool] | None
    ) -> float:
        raise NotImplementedError


class Threshold(NormThreshold):
    """A fixed threshold.

    Parameters
    ----------
    threshold
        In the unit of the difference image, 0 or more.

    Raises
    ------
    SarcastError
        If the threshold is negative or NaN.
    """

    def __init__(self, threshold: float) -> None:
        if not threshold >= 0.0:
            raise SarcastError(f"a threshold on the norm must be 0 or more, not {threshold}")
        self.name = f"threshold {threshold:g}"
        self.threshold_ = float(threshold)

    def _find_threshold(
        self,
        differences: Sequence[Float],  # noqa: ARG002
        changed: Sequence[Bool] | None,  # noqa: ARG002
    ) -> float:
        return self.threshold_


class BestThreshold(NormThreshold):
    """The threshold of highest balanced accuracy on images whose changes are known."""

    name = "best-threshold"

    def _find_threshold(
        self, differences: Sequence[Float], changed: Sequence[Bool] | None
    ) -> float:
        masks = require_masks(changed, self.name)
        counts, edges = norm_histogram(differences)
        positive = sum(
            np.histogram(norm(image)[mask & valid_pixels(image)], edges)[0]
            for image, mask in zip(differences, masks, strict=True)
        )
        negative = counts - positive
        check_both_classes(int(np.sum(positive)), int(negative.sum()))
        gain = np.cumsum(negative) / negative.sum() - np.cumsum(positive) / np.sum(positive)
        return float(edges[1 + np.argmax(gain)])


class Otsu(NormThreshold):
    """The threshold of greatest variance between the two classes that it makes.

    With the shares w0, w1 and the means m0, m1 of the pixels below and above the threshold, it
    maximises w0 w1 (m0 - m1)².

    References
    ----------
    Otsu 1979, doi 10.1109/TSMC.1979.4310076; computed by ``skimage.filters.threshold_otsu``.
    """

    name = "otsu"

    def _find_threshold(
        self,
        differences: Sequence[Float],
        changed: Sequence[Bool] | None,  # noqa: ARG002
    ) -> float:
        from skimage.filters import threshold_otsu

        counts, edges = norm_histogram(differences)
        _check_two_bins(counts)
        # Bins are given by their upper edges, so that the result is the edge between the classes;
        # the criterion does not depend on a shift of all bins.
        return float(threshold_otsu(hist=(counts, edges[1:])))


class KittlerIllingworth(NormThreshold):
    """The threshold of minimum error between two Gaussians, fitted below and above it.

    With the shares w and the standard deviations s of the pixels below (0) and above (1) the
    threshold, it minimises

        1 + 2 (w0 log s0 + w1 log s1) - 2 (w0 log w0 + w1 log w1)

    References
    ----------
    Kittler, Illingworth 1986, doi 10.1016/0031-3203(86)90030-0, equation 15.
    """

    name = "kittler-illingworth"

    def _find_threshold(
        self,
        differences: Sequence[Float],
        changed: Sequence[Bool] | None,  # noqa: ARG002
    ) -> float:
        counts, edges = norm_histogram(differences)
        _check_two_bins(counts)
        width = edges[1] - edges[0]
        criterion = np.ones(counts.size)
        for share, variance in _class_moments(counts, edges):
            std = np.sqrt(np.maximum(variance, np.square(width) / 12.0))
            criterion += 2.0 * share * (np.log(std) - np.log(share))
        return float(edges[1 + np.nanargmin(criterion)])


class FalseAlarmRate(NormThreshold):
    """The norm of z that a given share of unchanged pixels exceeds.

    Unfitted, the z of the bands are taken as independent and standard normal, so that the squared
    norm is chi-squared with one degree of freedom per band:

        threshold = sqrt(chi2.isf(rate, bands))      3.72 for a rate of 0.001 and 2 bands

    Fitted to images whose changes are known, it is the quantile 1 - rate of the norm of their
    unchanged pixels.

    Parameters
    ----------
    rate
        False-alarm rate, above 0 and below 1.

    Raises
    ------
    SarcastError
        If the rate is out of range.
    """

    takes: Takes = "z"

    def __init__(self, rate: float) -> None:
        if not 0.0 < rate < 1.0:
            raise SarcastError(f"a false-alarm rate lies between 0 and 1, not at {rate}")
        self.name = f"false-alarm rate {rate:g}"
        self.rate = rate

    def predict(self, difference: Float) -> Bool:
        """Return the change map, dims (y, x); unfitted, at the threshold of as many bands."""
        if hasattr(self, "threshold_"):
            return super().predict(difference)
        above: Bool = norm(difference) > self._independent_threshold(difference)
        return above

    def _independent_threshold(self, difference: Float) -> float:
        return float(np.sqrt(stats.chi2.isf(self.rate, difference.shape[BAND_AXIS])))

    def _find_threshold(
        self, differences: Sequence[Float], changed: Sequence[Bool] | None
    ) -> float:
        if changed is None:
            return self._independent_threshold(differences[0])
        unchanged = [
            norm(image)[valid_pixels(image) & ~mask]
            for image, mask in zip(differences, changed, strict=True)
        ]
        norms = np.concatenate(unchanged) if unchanged else np.zeros(0)
        if not norms.size:
            raise SarcastError(
                "a false-alarm rate is fitted to unchanged pixels, but there are none; "
                "fit it to more windows"
            )
        return float(np.quantile(norms, 1.0 - self.rate))


def norm_histogram(differences: Sequence[Float]) -> tuple[Counts, Double]:
    """Histogram of the norm over all pixels with data.

    Parameters
    ----------
    differences
        Difference images, dims (band, y, x), of any sizes.

    Returns
    -------
    counts, edges
        ``HISTOGRAM_BINS`` counts and one edge more, from 0 to the greatest norm.

    Raises
    ------
    SarcastError
        If no pixel has data, or the norm is the same everywhere.
    """
    norms = [norm(image)[valid_pixels(image)] for image in differences]
    norms = [values for values in norms if values.size]
    if not norms:
        raise SarcastError(
            "a threshold is found from the pixels of difference images, but all are NaN"
        )
    low, high = min(float(v.min()) for v in norms), max(float(v.max()) for v in norms)
    if low == high:
        raise SarcastError(
            f"a threshold needs a difference image of more than one value, "
            f"but its norm is {high:g} everywhere"
        )
    edges = np.linspace(0.0, high, HISTOGRAM_BINS + 1)
    counts = np.sum([np.histogram(values, edges)[0] for values in norms], axis=0)
    return counts.astype(np.int64), edges


def _check_two_bins(counts: Counts) -> None:
    if np.count_nonzero(counts) < 2:
        raise SarcastError(
            f"a threshold splits a histogram of the norm in two, but all values lie in one of its "
            f"{counts.size} bins; fit it to images with change, or take a fixed threshold"
        )


def _class_moments(counts: Counts, edges: Double) -> list[tuple[Double, Double]]:
    """Share and variance of the pixels below and of those above the upper edge of each bin."""
    share, centres = counts / counts.sum(), (edges[:-1] + edges[1:]) / 2.0
    from_above = _running_moments(share[::-1], centres[::-1])
    above_share, above_variance = (np.append(each[::-1][1:], np.nan) for each in from_above)
    return [_running_moments(share, centres), (above_share, above_variance)]


def _running_moments(share: Double, centres: Double) -> tuple[Double, Double]:
    """Share and variance of the first bins, one value for each number of bins; NaN if empty."""
    total = share.cumsum()
    total = np.where(total > 1e-12, total, np.nan)
    mean = (share * centres).cumsum() / total
    return total, (share * np.square(centres)).cumsum() / total - np.square(mean)
