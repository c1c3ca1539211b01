"""Statistics of expected images and of change maps, as sums that add up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import special

from sarcast.arrays import Bool, Double, Float
from sarcast.errors import SarcastError

LEVELS = (0.5, 0.6827, 0.8, 0.9, 0.9545, 0.99)
"""Nominal shares of the central intervals in which sigma is checked."""


@dataclass(frozen=True)
class Errors:
    """Sum of squared errors of expected images: ``mse`` is ``squares.mean() / pixels``.

    Attributes
    ----------
    squares
        Sum of squared errors, dB², dims (band,).
    pixels
        Number of pixels in the sum.
    """

    squares: Double
    pixels: int

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(self.squares + other.squares, self.pixels + other.pixels)

    @property
    def mse(self) -> float:
        """Mean squared error over bands and pixels, dB²; NaN of no pixel."""
        return float(self.squares.mean() / self.pixels) if self.pixels else float("nan")


def count_errors(actual: Float, expected: Float, valid: Bool | None = None) -> Errors:
    """Sum the squared errors of an expected image.

    Parameters
    ----------
    actual, expected
        Dims (band, y, x), dB.
    valid
        Dims (y, x): pixels that are counted; by default those where no band of either is NaN.
    """
    squares = np.square(np.subtract(actual, expected, dtype=np.float32))
    valid = np.asarray(np.isfinite(squares).all(axis=0)) if valid is None else valid
    counted = squares.reshape(len(squares), -1) if valid.all() else squares[:, valid]
    return Errors(counted.sum(axis=1, dtype=np.float64), counted.shape[1])


@dataclass(frozen=True)
class CloserCounts:
    """How often an expected image is closer to the actual one than a reference image is.

    ``CloserCounts()`` is zero. An expected image equal to the reference has shares of 0.5.

    Attributes
    ----------
    closer
        Number of pixels where it is closer, by band, and in ``"norm"`` by the norm over the bands;
        a tie counts half.
    pixels
        Number of pixels compared.
    closer_images, images
        Number of images whose mean squared error is less, and of images compared; ties as above.
    """

    closer: Mapping[str, float] = field(default_factory=dict)
    pixels: int = 0
    closer_images: float = 0.0
    images: int = 0

    def __add__(self, other: "CloserCounts") -> "CloserCounts":
        names = dict.fromkeys([*self.closer, *other.closer])
        return CloserCounts(
            {name: self.closer.get(name, 0.0) + other.closer.get(name, 0.0) for name in names},
            self.pixels + other.pixels,
            self.closer_images + other.closer_images,
            self.images + other.images,
        )

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels where it is closer, 0..1, by band and by the norm; NaN of none."""
        return {name: _share(count, self.pixels) for name, count in self.closer.items()}

    @property
    def share_of_images(self) -> float:
        """Share of the images whose mean squared error is less, 0..1; NaN of no image."""
        return _share(self.closer_images, self.images)


def count_closer(
    actual: Float,
    expected: Float,
    reference: Float,
    bands: Sequence[str],
    valid: Bool | None = None,
) -> CloserCounts:
    """Count the pixels of one image where |actual − expected| < |actual − reference|.

    Parameters
    ----------
    actual, expected, reference
        Dims (band, y, x), dB.
    bands
        Names of the bands.
    valid
        Dims (y, x): pixels that are counted; by default all. Pixels where a band of an image is
        NaN are never counted.
    """
    known = np.isfinite(actual + expected + reference).all(axis=0)
    counted = known if valid is None else known & valid
    errors, of_reference = (
        np.square(np.subtract(actual, image, dtype=np.float32)[:, counted])
        for image in (expected, reference)
    )
    pixels = int(counted.sum())
    if not pixels:
        return CloserCounts()
    pairs = dict(zip(bands, zip(errors, of_reference, strict=True), strict=True))
    pairs["norm"] = errors.sum(axis=0), of_reference.sum(axis=0)
    means = (np.atleast_1d(image.mean(dtype=np.float64)) for image in (errors, of_reference))
    return CloserCounts(
        {name: _wins(*pair) for name, pair in pairs.items()}, pixels, _wins(*means), 1
    )


def _wins(errors: Float | Double, of_reference: Float | Double) -> float:
    """Number of values that are less than their reference, ties counted half."""
    return float((errors < of_reference).sum() + 0.5 * (errors == of_reference).sum())


@dataclass(frozen=True)
class Calibration:
    """How many values lie in the central intervals that the predicted sigma implies.

    If sigma is right, 68.27 % of the residuals lie within 1 sigma and 95.45 % within 2.

    Attributes
    ----------
    inside
        Number of values inside the interval of each of ``LEVELS``, dims (level,).
    squares
        Sum of squared z.
    values
        Number of values, all bands.
    """

    inside: npt.NDArray[np.int64]
    squares: float
    values: int

    def __add__(self, other: "Calibration") -> "Calibration":
        return Calibration(
            self.inside + other.inside, self.squares + other.squares, self.values + other.values
        )

    @property
    def coverage(self) -> Double:
        """Share of the values inside the interval of each level; equals the level if calibrated."""
        return self.inside / max(self.values, 1)

    @property
    def spread(self) -> float:
        """Root mean square of z; 1 if calibrated, greater if sigma is too small."""
        return float(np.sqrt(self.squares / self.values)) if self.values else float("nan")


def count_calibration(z: Float, valid: Bool | None = None) -> Calibration:
    """Count unchanged values by their distance from the expected image in standard deviations.

    Parameters
    ----------
    z
        Dims (band, y, x): difference over predicted standard deviation, without change.
    valid
        Dims (y, x): pixels that are counted; by default those where no band is NaN.
    """
    valid = np.asarray(np.isfinite(z).all(axis=0)) if valid is None else valid
    values = np.abs(z[:, valid].astype(np.float64))
    limits = np.sqrt(2.0) * special.erfinv(np.array(LEVELS))
    inside = np.array([int((values <= limit).sum()) for limit in limits])
    return Calibration(inside, float(np.square(values).sum()), values.size)


@dataclass(frozen=True)
class Confusion:
    """Counts of pixels by truth and by change map; weighted counts need not be whole numbers."""

    true_positive: float = 0.0
    false_positive: float = 0.0
    false_negative: float = 0.0
    true_negative: float = 0.0

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
            self.true_negative + other.true_negative,
        )

    @property
    def pixels(self) -> float:
        """Sum of all counts."""
        return self.changed + self.false_positive + self.true_negative

    @property
    def changed(self) -> float:
        """Number of pixels that changed."""
        return self.true_positive + self.false_negative

    @property
    def accuracy(self) -> float:
        """Share of pixels classified correctly, 0..1; NaN of no pixel."""
        return _share(self.true_positive + self.true_negative, self.pixels)

    @property
    def precision(self) -> float:
        """Share of the pixels called changed that did change, 0..1; NaN if none was called."""
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        """Share of the changed pixels that were called changed, 0..1; NaN if none changed."""
        return _share(self.true_positive, self.changed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0..1; NaN if none changed and none was called."""
        twice = 2.0 * self.true_positive
        return _share(twice, twice + self.false_positive + self.false_negative)

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond chance, −1..1; NaN if chance alone gives full agreement.

        References
        ----------
        Cohen 1960, doi 10.1177/001316446002000104.
        """
        called = self.true_positive + self.false_positive
        unchanged = self.pixels - self.changed
        by_chance = self.changed * called + unchanged * (self.pixels - called)
        by_chance = _share(by_chance, self.pixels**2)
        return _share(self.accuracy - by_chance, 1.0 - by_chance)

    def balanced(self) -> "Confusion":
        """Expected counts if as many unchanged pixels as changed ones were drawn at random."""
        unchanged = self.false_positive + self.true_negative
        weight = self.changed / unchanged if unchanged else 0.0
        return Confusion(
            self.true_positive,
            self.false_positive * weight,
            self.false_negative,
            self.true_negative * weight,
        )


def count_confusion(called: Bool, changed: Bool, valid: Bool | None = None) -> Confusion:
    """Count the pixels of a change map by whether they are classified correctly.

    Parameters
    ----------
    called
        Dims (y, x): the change map.
    changed
        Dims (y, x): the truth.
    valid
        Dims (y, x): pixels that are counted; by default all.

    Raises
    ------
    SarcastError
        If the shapes differ.
    """
    if called.shape != changed.shape:
        raise SarcastError(
            f"the change map has shape {called.shape}, but the truth {changed.shape}; "
            f"bring both onto the same grid"
        )
    if valid is not None:
        called, changed = called[valid], changed[valid]
    both, calls, truth = (int(mask.sum()) for mask in (called & changed, called, changed))
    return Confusion(both, calls - both, truth - both, changed.size - calls - truth + both)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
