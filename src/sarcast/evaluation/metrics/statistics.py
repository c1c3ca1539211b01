"""Statistics of expected images and change maps, as sums that add up."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from sarcast.arrays import Bool, Double, Float
from sarcast.errors import SarcastError

LEVELS = (0.5, 0.6827, 0.8, 0.9, 0.9545, 0.99)
"""Nominal shares of the central intervals at which sigma is checked."""


@dataclass(frozen=True)
class Errors:
    """Squared errors of expected images, one value a band.

    Attributes
    ----------
    squares
        Sum of squared errors, dB², dims (band,).
    pixels
        Number of pixels summed.
    """

    squares: Double
    pixels: int

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(self.squares + other.squares, self.pixels + other.pixels)

    @property
    def mse(self) -> float:
        """Mean squared error over bands and pixels, dB²; NaN of no pixel."""
        return float(self.squares.mean() / self.pixels) if self.pixels else float("nan")


def count_errors(actual: Float, expected: Float, seen: Bool | None = None) -> Errors:
    """Sum the squared errors of an expected image.

    Parameters
    ----------
    actual, expected
        Dims (band, y, x), dB.
    seen
        Dims (y, x): which pixels count; by default those where no band of the two is NaN.
    """
    squares = np.square(np.subtract(actual, expected, dtype=np.float32))
    seen = np.asarray(np.isfinite(squares).all(axis=0)) if seen is None else seen
    inside = squares.reshape(len(squares), -1) if seen.all() else squares[:, seen]
    return Errors(inside.sum(axis=1, dtype=np.float64), inside.shape[1])


@dataclass(frozen=True)
class Calibration:
    """How many values fell into the central intervals that sigma promised.

    Attributes
    ----------
    inside
        Values within the interval of each of ``LEVELS``, dims (level,).
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
        """Share of the values inside the interval of each level; equal to it if calibrated."""
        return self.inside / max(self.values, 1)

    @property
    def spread(self) -> float:
        """Root mean square of z; 1 if calibrated, above it if sigma is too small."""
        return float(np.sqrt(self.squares / self.values)) if self.values else float("nan")


def count_calibration(z: Float, seen: Bool | None = None) -> Calibration:
    """Count unchanged values by how many standard deviations they lie from what was expected.

    Parameters
    ----------
    z
        Dims (band, y, x): difference over predicted standard deviation, where nothing changed.
    seen
        Dims (y, x): which pixels count; by default those where no band is NaN.
    """
    seen = np.asarray(np.isfinite(z).all(axis=0)) if seen is None else seen
    values = np.abs(z[:, seen].astype(np.float64))
    limits = np.sqrt(2.0) * special.erfinv(np.array(LEVELS))
    inside = np.array([int((values <= limit).sum()) for limit in limits])
    return Calibration(inside, float(np.square(values).sum()), values.size)


@dataclass(frozen=True)
class Confusion:
    """Counts of pixels by truth and by change map; may be weighted, and so not whole."""

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
        """Share of pixels called rightly, 0..1; NaN of no pixel."""
        return _share(self.true_positive + self.true_negative, self.pixels)

    @property
    def precision(self) -> float:
        """Share of the pixels called changed that did, 0..1; NaN if none was called."""
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        """Share of the changed pixels that were called so, 0..1; NaN if none changed."""
        return _share(self.true_positive, self.changed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0..1; NaN if none changed and none was called."""
        twice = 2.0 * self.true_positive
        return _share(twice, twice + self.false_positive + self.false_negative)

    @property
    def kappa(self) -> float:
        """Agreement beyond chance, −1..1; NaN if chance alone explains all.

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
        """Counts as expected if as many unchanged pixels as changed ones were drawn at random."""
        unchanged = self.false_positive + self.true_negative
        weight = self.changed / unchanged if unchanged else 0.0
        return Confusion(
            self.true_positive,
            self.false_positive * weight,
            self.false_negative,
            self.true_negative * weight,
        )


def count_confusion(called: Bool, changed: Bool, seen: Bool | None = None) -> Confusion:
    """Count the pixels of a change map by whether they were called rightly.

    Parameters
    ----------
    called
        Dims (y, x): the change map.
    changed
        Dims (y, x): the truth.
    seen
        Dims (y, x): which pixels count; by default all.

    Raises
    ------
    SarcastError
        If the shapes differ.
    """
    if called.shape != changed.shape:
        raise SarcastError(
            f"the change map has shape {called.shape}, but the truth {changed.shape}; "
            f"bring both onto one grid"
        )
    if seen is not None:
        called, changed = called[seen], changed[seen]
    both, calls, truth = (int(mask.sum()) for mask in (called & changed, called, changed))
    return Confusion(both, calls - both, truth - both, changed.size - calls - truth + both)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
