"""Classifiers: from difference images to change maps, in scikit-learn's manner.

A classifier learns from difference images, with or without masks of what changed, and makes a
change map of any other. Images have dims (band, y, x); a pixel that is NaN in a band is unchanged
in the map.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy import stats

from sarcast.arrays import Bool, Double, Float
from sarcast.detection.difference import norm
from sarcast.errors import SarcastError

Takes = Literal["difference", "z"]
"""What a classifier is given: the plain difference in dB, or that over the predicted sigma."""

PARTS = ("name", "takes", "fresh", "fit", "predict")
"""What every classifier has."""

Counts = npt.NDArray[np.int64]


class Classifier(Protocol):
    """Whatever makes a change map of a difference image; ``name`` stands in tables."""

    name: str
    takes: Takes

    def fresh(self) -> Self:
        """Give a copy that has learnt nothing."""
        ...

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:
        """Learn from difference images (band, y, x) and, where it needs them, masks (y, x)."""
        ...

    def predict(self, difference: Float) -> Bool:
        """Change map, dims (y, x), of a difference image, dims (band, y, x)."""
        ...


def check_able(classifier: object) -> None:
    """Refuse what is no ``Classifier``.

    Raises
    ------
    SarcastError
        If it lacks any of what a classifier has.
    """
    lacking = [part for part in PARTS if not hasattr(classifier, part)]
    if lacking:
        raise SarcastError(
            f"a classifier has {', '.join(PARTS)}, but {type(classifier).__name__} lacks "
            f"{', '.join(lacking)}; wrap a scikit-learn estimator in "
            f"sarcast.detection.classifiers.PixelEstimator"
        )


def not_fitted(classifier: object) -> SarcastError:
    """Error of a classifier that is to predict before it has learnt."""
    return SarcastError(
        f"{type(classifier).__name__} has not learnt yet; call fit with difference images first"
    )


class NormThreshold:
    """Changed is where the norm over bands is above ``threshold_``: what thresholds share."""

    name: str
    takes: Takes = "difference"
    threshold_: float

    def fresh(self) -> Self:
        """Give a copy that has learnt nothing."""
        return copy.deepcopy(self)

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:
        """Find the threshold over all pixels of the difference images.

        Raises
        ------
        SarcastError
            If no pixel is seen, or all have one value.
        """
        self.threshold_ = self._find(differences, changed)
        return self

    def predict(self, difference: Float) -> Bool:
        """Change map, dims (y, x), by the threshold that ``fit`` found."""
        if not hasattr(self, "threshold_"):
            raise not_fitted(self)
        above: Bool = norm(difference) > self.threshold_
        return above

    def _find(self, differences: Sequence[Float], changed: Sequence[Bool] | None) -> float:
        raise NotImplementedError


class Threshold(NormThreshold):
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

    def __init__(self, threshold: float) -> None:
        if not threshold >= 0.0:
            raise SarcastError(f"a threshold on the norm must be 0 or more, not {threshold}")
        self.name = f"threshold {threshold:g}"
        self.threshold_ = float(threshold)

    def _find(self, differences: Sequence[Float], changed: Sequence[Bool] | None) -> float:  # noqa: ARG002
        return self.threshold_


class BestThreshold(NormThreshold):
    """The fixed threshold of highest balanced accuracy on images whose change is known."""

    name = "best-threshold"

    def _find(self, differences: Sequence[Float], changed: Sequence[Bool] | None) -> float:
        masks = _needed(changed, self.name)
        counts, edges = norm_histogram(differences)
        positive = sum(
            np.histogram(norm(one)[mask & seen_pixels(one)], edges)[0]
            for one, mask in zip(differences, masks, strict=True)
        )
        negative = counts - positive
        _check_classes(int(np.sum(positive)), int(negative.sum()))
        gain = np.cumsum(negative) / negative.sum() - np.cumsum(positive) / np.sum(positive)
        return float(edges[1 + np.argmax(gain)])


class Otsu(NormThreshold):
    """Threshold of the norm that best parts its histogram in two.

    References
    ----------
    Otsu 1979, doi 10.1109/TSMC.1979.4310076: the threshold of greatest variance between classes.
    """

    name = "otsu"

    def _find(self, differences: Sequence[Float], changed: Sequence[Bool] | None) -> float:  # noqa: ARG002
        counts, edges = norm_histogram(differences)
        below, above = _halves(counts, edges)
        between = below.weight * above.weight * np.square(above.mean - below.mean)
        return float(edges[1 + np.nanargmax(between)])


class KittlerIllingworth(NormThreshold):
    """Threshold of the norm of smallest error between two Gaussians fitted to its sides.

    References
    ----------
    Kittler, Illingworth 1986, doi 10.1016/0031-3203(86)90030-0, equation 15.
    """

    name = "kittler-illingworth"

    def _find(self, differences: Sequence[Float], changed: Sequence[Bool] | None) -> float:  # noqa: ARG002
        counts, edges = norm_histogram(differences)
        width = edges[1] - edges[0]
        criterion = np.ones(counts.size)
        for side in _halves(counts, edges):
            std = np.sqrt(np.maximum(side.variance, np.square(width) / 12.0))
            criterion += 2.0 * side.weight * (np.log(std) - np.log(side.weight))
        return float(edges[1 + np.nanargmin(criterion)])


class FalseAlarmRate(NormThreshold):
    """Threshold of the norm of z that a share of unchanged pixels is expected to exceed.

    Unfitted, the bands' z are taken as independent and Gaussian, so that the squared norm is
    chi-squared. Fitted on images whose change is known, the threshold is what the unchanged
    pixels exceeded at that rate.

    Parameters
    ----------
    rate
        False-alarm rate, above 0 and below 1.
    bands
        Bands of the difference image.

    Raises
    ------
    SarcastError
        If the rate is out of range.
    """

    takes: Takes = "z"

    def __init__(self, rate: float, bands: int = 2) -> None:
        if not 0.0 < rate < 1.0:
            raise SarcastError(f"a false-alarm rate lies between 0 and 1, not at {rate}")
        self.name = f"false-alarm rate {rate:g}"
        self.rate = rate
        self.threshold_ = float(np.sqrt(stats.chi2.isf(rate, bands)))

    def _find(self, differences: Sequence[Float], changed: Sequence[Bool] | None) -> float:
        if changed is None:
            return self.threshold_
        unchanged = [
            norm(one)[seen_pixels(one) & ~mask]
            for one, mask in zip(differences, changed, strict=True)
        ]
        values = np.concatenate(unchanged) if unchanged else np.zeros(0)
        if not values.size:
            raise SarcastError(
                "a false-alarm rate is fitted on unchanged pixels, but there are none"
            )
        return float(np.quantile(values, 1.0 - self.rate))


class PixelEstimator:
    """Any scikit-learn estimator on the bands of single pixels.

    It learns from all changed pixels and as many unchanged ones, drawn from the same image, as
    the paper does.

    Parameters
    ----------
    name
        As it stands in tables.
    estimator
        With ``fit(X, y)`` and ``predict(X)``; X has dims (pixel, band).
    rng
        Source of chance of the unchanged pixels.
    takes
        The difference image that it is given.
    """

    def __init__(
        self, name: str, estimator: Any, *, rng: np.random.Generator, takes: Takes = "difference"
    ) -> None:
        self.name = name
        self.takes = takes
        self._estimator = estimator
        self._rng = rng

    def fresh(self) -> Self:
        """Give a copy that has learnt nothing, with chance of its own."""
        from sklearn.base import clone

        (own,) = self._rng.spawn(1)
        return type(self)(self.name, clone(self._estimator), rng=own, takes=self.takes)

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:
        """Learn from balanced pixels.

        Raises
        ------
        SarcastError
            If there are no masks, or one class has no pixel.
        """
        masks = _needed(changed, self.name)
        pairs = zip(differences, masks, strict=True)
        features, truth = zip(*(self._balanced(*pair) for pair in pairs), strict=True)
        labels = np.concatenate(truth)
        _check_classes(int(labels.sum()), int((~labels).sum()))
        self._estimator.fit(np.concatenate(features), labels)
        return self

    def predict(self, difference: Float) -> Bool:
        """Change map, dims (y, x).

        Raises
        ------
        SarcastError
            If the estimator has not learnt.
        """
        from sklearn.exceptions import NotFittedError

        called = np.zeros(difference.shape[1:], dtype=bool)
        seen = seen_pixels(difference)
        try:
            if seen.any():
                called[seen] = self._estimator.predict(difference[:, seen].T)
        except NotFittedError as error:
            raise not_fitted(self) from error
        return called

    def _balanced(self, difference: Float, changed: Bool) -> tuple[Float, Bool]:
        seen = seen_pixels(difference)
        positive = difference[:, seen & changed].T
        negative = difference[:, seen & ~changed].T
        count = min(len(positive), len(negative))
        drawn = negative[self._rng.choice(len(negative), count, replace=False)]
        labels = np.repeat([True, False], [len(positive), count])
        return np.concatenate([positive, drawn]), labels


def linear_svc(*, rng: np.random.Generator) -> PixelEstimator:
    """Linear support vector classifier on both bands, scaled to unit variance.

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, section IV-B.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    return PixelEstimator("linear SVC", make_pipeline(StandardScaler(), LinearSVC()), rng=rng)


class FromCallable:
    """A function from a difference image (band, y, x) to a change map (y, x), as a classifier."""

    def __init__(
        self, name: str, function: Callable[[Float], Bool], takes: Takes = "difference"
    ) -> None:
        self.name = name
        self.takes = takes
        self._function = function

    def fresh(self) -> Self:
        """Give itself: a function learns nothing."""
        return self

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:  # noqa: ARG002
        """Learn nothing."""
        return self

    def predict(self, difference: Float) -> Bool:
        """Change map, dims (y, x).

        Raises
        ------
        SarcastError
            If the function gives another shape or type.
        """
        called = self._function(difference)
        if called.shape != difference.shape[1:] or called.dtype != np.bool_:
            raise SarcastError(
                f"{self.name} must give a boolean map of shape {difference.shape[1:]}, "
                f"but gave {called.dtype} of {called.shape}"
            )
        return called & seen_pixels(difference)


HISTOGRAM_BINS = 1024
"""Bins of the histograms that thresholds are found in, over 0..the greatest norm."""


def norm_histogram(differences: Sequence[Float]) -> tuple[Counts, Double]:
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
    seen = [norm(one)[seen_pixels(one)] for one in differences]
    seen = [values for values in seen if values.size]
    if not seen:
        raise SarcastError(
            "a threshold needs difference images with pixels that were seen, but all are NaN"
        )
    low, high = min(float(v.min()) for v in seen), max(float(v.max()) for v in seen)
    if low == high:
        raise SarcastError(
            f"a threshold needs a difference image of more than one value, "
            f"but its norm is {high:g} everywhere"
        )
    edges = np.linspace(0.0, high, HISTOGRAM_BINS + 1)
    counts = np.sum([np.histogram(values, edges)[0] for values in seen], axis=0)
    return counts.astype(np.int64), edges


class _Side:
    """Weight, mean and variance of one side of every possible threshold; NaN of an empty one."""

    def __init__(self, share: Double, centres: Double) -> None:
        self.weight = np.where(share.cumsum() > 1e-12, share.cumsum(), np.nan)
        self.mean = (share * centres).cumsum() / self.weight
        self.variance = (share * np.square(centres)).cumsum() / self.weight - np.square(self.mean)


def _halves(counts: Counts, edges: Double) -> tuple[_Side, _Side]:
    """Pixels below and above the upper edge of each bin."""
    share, centres = counts / counts.sum(), (edges[:-1] + edges[1:]) / 2.0
    above = _Side(share[::-1], centres[::-1])
    for name in ("weight", "mean", "variance"):
        setattr(above, name, np.append(getattr(above, name)[::-1][1:], np.nan))
    return _Side(share, centres), above


def seen_pixels(difference: Float) -> Bool:
    """Pixels of a difference image (band, y, x) that every band saw, dims (y, x)."""
    return np.asarray(np.isfinite(difference).all(axis=0))


def _needed(changed: Sequence[Bool] | None, name: str) -> Sequence[Bool]:
    if changed is None:
        raise SarcastError(f"{name} learns from masks of what changed; give them to fit")
    return changed


def _check_classes(positive: int, negative: int) -> None:
    if not positive or not negative:
        raise SarcastError(
            f"a classifier learns from changed and unchanged pixels, but there are {positive} "
            f"changed and {negative} unchanged ones; give it more windows"
        )
