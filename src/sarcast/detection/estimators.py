"""Classifiers made of scikit-learn estimators and of plain functions."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from sarcast.arrays import Bool, Float
from sarcast.detection.protocol import (
    Takes,
    check_both_classes,
    not_fitted,
    require_masks,
    valid_pixels,
)
from sarcast.errors import SarcastError


class PixelEstimator:
    """Any scikit-learn estimator on the bands of single pixels.

    It is fitted to all changed pixels of each image and as many unchanged ones, drawn at random
    from the same image, as in the paper.

    Parameters
    ----------
    name
        Name in tables.
    estimator
        With ``fit(X, y)`` and ``predict(X)``; X has dims (pixel, band).
    rng
        Generator that draws the unchanged pixels.
    takes
        Which difference image the estimator takes.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> rng = np.random.default_rng(0)
    >>> PixelEstimator("random forest", RandomForestClassifier(50), rng=rng).takes
    'difference'
    """

    def __init__(
        self, name: str, estimator: Any, *, rng: np.random.Generator, takes: Takes = "difference"
    ) -> None:
        self.name = name
        self.takes = takes
        self._estimator = estimator
        self._rng = rng

    def fresh(self) -> Self:
        """Return an unfitted copy with a generator spawned from this one's."""
        from sklearn.base import clone

        (rng,) = self._rng.spawn(1)
        return type(self)(self.name, clone(self._estimator), rng=rng, takes=self.takes)

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:
        """Fit to balanced pixels of both classes.

        Raises
        ------
        SarcastError
            If there are no masks, or one class has no pixel.
        """
        masks = require_masks(changed, self.name)
        pairs = zip(differences, masks, strict=True)
        features, truth = zip(*(self._balanced(*pair) for pair in pairs), strict=True)
        labels = np.concatenate(truth)
        check_both_classes(int(labels.sum()), int((~labels).sum()))
        self._estimator.fit(np.concatenate(features), labels)
        return self

    def predict(self, difference: Float) -> Bool:
        """Return the change map, dims (y, x).

        Raises
        ------
        SarcastError
            If the estimator is not fitted.
        """
        from sklearn.exceptions import NotFittedError

        changed = np.zeros(difference.shape[1:], dtype=bool)
        valid = valid_pixels(difference)
        try:
            if valid.any():
                changed[valid] = self._estimator.predict(difference[:, valid].T)
        except NotFittedError as error:
            raise not_fitted(self) from error
        return changed

    def _balanced(self, difference: Float, changed: Bool) -> tuple[Float, Bool]:
        """Features (pixel, band) and labels of all changed and as many unchanged pixels."""
        valid = valid_pixels(difference)
        positive = difference[:, valid & changed].T
        negative = difference[:, valid & ~changed].T
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


class FunctionClassifier:
    """A function from a difference image (band, y, x) to a change map (y, x), as a classifier.

    Examples
    --------
    >>> darker = FunctionClassifier("darker", lambda difference: difference.sum(axis=0) < -6.0)
    """

    def __init__(
        self, name: str, function: Callable[[Float], Bool], takes: Takes = "difference"
    ) -> None:
        self.name = name
        self.takes = takes
        self._function = function

    def fresh(self) -> Self:
        """Return itself: a function has no fitted state."""
        return self

    def fit(self, differences: Sequence[Float], changed: Sequence[Bool] | None = None) -> Self:  # noqa: ARG002
        """Do nothing."""
        return self

    def predict(self, difference: Float) -> Bool:
        """Return the change map, dims (y, x).

        Raises
        ------
        SarcastError
            If the function returns another shape or type.
        """
        changed = self._function(difference)
        if changed.shape != difference.shape[1:] or changed.dtype != np.bool_:
            raise SarcastError(
                f"{self.name} must return a boolean map of shape {difference.shape[1:]}, "
                f"but returned {changed.dtype} of {changed.shape}"
            )
        return changed & valid_pixels(difference)
