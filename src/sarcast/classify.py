"""Classifiers: from difference images to change maps, in scikit-learn's manner.

A classifier learns from difference images, with or without masks of what changed, and makes a
change map of any other. Images have dims (band, y, x); a pixel that is NaN in a band is unchanged
in the map.
"""

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from sarcast.difference import norm
from sarcast.errors import SarcastError
from sarcast.windows import Bool, Float


class Classifier(Protocol):
    """Whatever makes a change map of a difference image; ``name`` stands in tables."""

    name: str

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:
        """Learn from difference images (band, y, x) and, where it needs them, masks (y, x)."""
        ...

    def predict(self, difference: Float) -> Bool:
        """Change map, dims (y, x), of a difference image, dims (band, y, x)."""
        ...


class Threshold:
    """Changed is where the norm over bands is above a fixed number.

    Parameters
    ----------
    threshold
        In the unit of the difference image, 0 or more.

    Raises
    ------
    SarcastError
        If the threshold is negative or NaN.
    """

    name = "threshold"

    def __init__(self, threshold: float) -> None:
        if not threshold >= 0.0:
            raise SarcastError(f"a threshold on the norm must be 0 or more, not {threshold}")
        self.threshold_ = float(threshold)

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:  # noqa: ARG002
        """Learn nothing: the threshold is given."""
        return self

    def predict(self, difference: Float) -> Bool:
        """Change map, dims (y, x)."""
        return norm(difference) > self.threshold_


class Otsu:
    """Changed is where the norm is above the threshold that best parts its histogram in two.

    Attributes
    ----------
    threshold_
        What ``fit`` found, in the unit of the difference image.

    References
    ----------
    Otsu 1979, doi 10.1109/TSMC.1979.4310076: the threshold of greatest variance between classes.
    """

    name = "otsu"
    threshold_: float

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:  # noqa: ARG002
        """Find the threshold over all pixels of the difference images.

        Raises
        ------
        SarcastError
            If no pixel is seen, or all have one value.
        """
        counts, edges = norm_histogram(differences)
        centres = (edges[:-1] + edges[1:]) / 2.0
        below, above, between = _between_classes(counts, centres)
        spread = np.where((below > 0) & (above > 0), between, -np.inf)
        self.threshold_ = float(edges[1 + np.argmax(spread)])
        return self

    def predict(self, difference: Float) -> Bool:
        """Change map, dims (y, x), by the threshold that ``fit`` found."""
        return norm(difference) > _fitted(self, "threshold_")


HISTOGRAM_BINS = 1024
"""Bins of the histograms that thresholds are found in, over 0..the greatest norm."""


def norm_histogram(
    differences: Sequence[Float],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Histogram of the norm over all pixels seen.

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
        If no pixel is seen, or all have one value.
    """
    norms = [norm(difference) for difference in differences]
    seen = [values[np.isfinite(values)] for values in norms]
    if not any(values.size for values in seen):
        raise SarcastError(
            "a threshold needs difference images with pixels that were seen, but all are NaN"
        )
    low = min(float(values.min()) for values in seen if values.size)
    high = max(float(values.max()) for values in seen if values.size)
    if low == high:
        raise SarcastError(
            f"a threshold needs a difference image of more than one value, "
            f"but its norm is {high:g} everywhere"
        )
    edges = np.linspace(0.0, high, HISTOGRAM_BINS + 1)
    counts = sum(np.histogram(values, edges)[0].astype(np.int64) for values in seen)
    return np.asarray(counts), edges


def _between_classes(
    counts: npt.NDArray[np.int64], centres: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weights of the classes below and above each bin's upper edge, and the variance between."""
    share = counts / counts.sum()
    below = np.cumsum(share)
    above = 1.0 - below
    first = np.cumsum(share * centres)
    total = first[-1]
    product = np.maximum(below * above, np.finfo(float).tiny)
    return below, above, np.square(total * below - first) / product


def _fitted(classifier: object, attribute: str) -> float:
    if not hasattr(classifier, attribute):
        raise SarcastError(
            f"{type(classifier).__name__} has not learnt yet; call fit with difference images first"
        )
    return float(getattr(classifier, attribute))
