"""What every change classifier is: its protocol, and checks that the classifiers share."""

from collections.abc import Sequence
from typing import Literal, Protocol, Self

import numpy as np

from sarcast.arrays import Bool, Float
from sarcast.errors import SarcastError

Takes = Literal["difference", "z"]
"""Input of a classifier: the difference in dB, or the difference over the predicted sigma."""

MEMBERS = ("name", "takes", "fresh", "fit", "predict")
"""Members of ``Classifier``."""


class Classifier(Protocol):
    """Turns difference images into change maps, with the methods of a scikit-learn estimator.

    A difference image has dims (band, y, x); a change map has dims (y, x), bool, and is False where
    a band of the difference image is NaN.

    Attributes
    ----------
    name
        Name in tables.
    takes
        ``"difference"`` (dB) or ``"z"`` (standard deviations).

    Examples
    --------
    A rule with one parameter, fitted to the unchanged pixels:

    >>> class LossAbove:
    ...     name, takes = "loss", "difference"
    ...
    ...     def fresh(self):
    ...         return LossAbove()
    ...
    ...     def fit(self, differences, changed=None):
    ...         self.limit = min(d.sum(axis=0)[~c].min() for d, c in zip(differences, changed))
    ...         return self
    ...
    ...     def predict(self, difference):
    ...         return difference.sum(axis=0) < self.limit
    """

    name: str
    takes: Takes

    def fresh(self) -> Self:
        """Return an unfitted copy."""
        ...

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:
        """Fit to difference images (band, y, x) and, if supervised, change masks (y, x)."""
        ...

    def predict(self, difference: Float) -> Bool:
        """Return the change map, dims (y, x), of a difference image, dims (band, y, x)."""
        ...


def check_classifier(classifier: object) -> None:
    """Check that an object implements ``Classifier``.

    Raises
    ------
    SarcastError
        If a member is missing.
    """
    missing = [name for name in MEMBERS if not hasattr(classifier, name)]
    if missing:
        raise SarcastError(
            f"a classifier has {', '.join(MEMBERS)}, but {type(classifier).__name__} lacks "
            f"{', '.join(missing)}; wrap a scikit-learn estimator in "
            f"sarcast.detection.classifiers.PixelEstimator"
        )


def not_fitted(classifier: object) -> SarcastError:
    """Error for ``predict`` before ``fit``."""
    return SarcastError(
        f"{type(classifier).__name__} is not fitted yet; call fit with difference images first"
    )


def valid_pixels(difference: Float) -> Bool:
    """Pixels, dims (y, x), at which every band of a difference image (band, y, x) has data."""
    return np.asarray(np.isfinite(difference).all(axis=0))


def require_masks(changed: Sequence[Bool] | None, name: str) -> Sequence[Bool]:
    """Return the change masks that a supervised classifier is fitted to.

    Raises
    ------
    SarcastError
        If there are none.
    """
    if changed is None:
        raise SarcastError(f"{name} learns from masks of what changed; pass them to fit")
    return changed


def check_both_classes(changed: int, unchanged: int) -> None:
    """Check that a supervised classifier gets pixels of both classes.

    Raises
    ------
    SarcastError
        If the number of changed or of unchanged pixels is 0.
    """
    if not changed or not unchanged:
        raise SarcastError(
            f"a classifier learns from changed and unchanged pixels, but there are {changed} "
            f"changed and {unchanged} unchanged ones; fit it to more windows"
        )
