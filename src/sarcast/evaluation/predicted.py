"""Cases with their expected images: what difference images are scored on and classifiers fit."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from sarcast.arrays import Bool, Float
from sarcast.detection import difference as di
from sarcast.detection.classifiers import Takes
from sarcast.errors import SarcastError
from sarcast.evaluation.cases import Case, check_unique_names
from sarcast.evaluation.metrics import Role
from sarcast.prediction.strategies import counts_in_paper
from sarcast.windows import Expected, Predictor, Window

T = TypeVar("T")
Predictors = Mapping[Role, Sequence[Predictor]]
"""The predictors that are compared, by role."""


@dataclass(frozen=True)
class PredictedCase:
    """A case with the expected image of every method.

    Attributes
    ----------
    case
        The window with its changes.
    expected
        Expected images by the name of the method.
    valid
        Dims (y, x): pixels with data in the target and in every expected image. Only these are
        counted, so that all methods are compared on the same pixels.
    """

    case: Case
    expected: Mapping[str, Expected]
    valid: Bool

    @property
    def has_change(self) -> bool:
        """Whether any valid pixel changed."""
        return bool((self.case.changed & self.valid).any())

    def difference(self, method: str, change: str, kind: Takes) -> Float | None:
        """Difference image that a classifier takes: ``"difference"`` (dB) or ``"z"``.

        Returns
        -------
        ndarray or None
            Dims (band, y, x), NaN at invalid pixels; None if the case lacks the change, or z is
            wanted and the method gives no standard deviation.
        """
        if change not in self.case.actual:
            return None
        expected = self.expected[method]
        image = di.subtract(self.case.actual[change], expected.mean)
        if kind == "z":
            if expected.std is None:
                return None
            image = image / expected.std
        return np.where(self.valid, image, np.float32(np.nan))


def roles_by_name(predictors: Predictors) -> dict[str, Role]:
    """Role of each predictor by its name.

    Raises
    ------
    SarcastError
        If two predictors have the same name.
    """
    named = [(predictor.name, role) for role, group in predictors.items() for predictor in group]
    repair = " (a Model by dataclasses.replace(model, name=...))"
    check_unique_names("predictors", [name for name, _ in named], repair)
    return dict(named)


def predict_cases(
    cases: Iterable[Case],
    predictors: Predictors,
    *,
    batch: int,
    paper_filter: bool,
    recorded: Collection[str] = (),
    first: int = 0,
) -> Iterator[tuple[int, PredictedCase]]:
    """Give the cases that are counted, with their numbers and expected images.

    Parameters
    ----------
    cases
        Read one batch at a time; a window that stands in several cases of a batch is predicted
        once.
    predictors
        By role.
    batch
        Number of cases in a batch.
    paper_filter
        Drop windows that the paper's tables leave out.
    recorded
        Names of the expected images that come with the cases.
    first
        Number of the first case.

    Raises
    ------
    SarcastError
        If a case lacks a recorded image.
    """
    numbered = enumerate(cases, first)
    kept = (item for item in numbered if not paper_filter or counts_in_paper(item[1].window))
    for items in _batches(kept, batch):
        windows = {id(case.window): case.window for _, case in items}
        predicted = {
            predictor.name: dict(
                zip(windows, predictor.expect(list(windows.values())), strict=True)
            )
            for group in predictors.values()
            for predictor in group
        }
        for number, case in items:
            expected = _recorded_images(case, recorded, number)
            expected |= {name: images[id(case.window)] for name, images in predicted.items()}
            valid = _valid_pixels(case.window, list(expected.values()))
            if valid.any():
                yield number, PredictedCase(case, expected, valid)


def _recorded_images(case: Case, names: Collection[str], number: int) -> dict[str, Expected]:
    """Expected images that come with a case; refuse a case that lacks one."""
    for name in names:
        if name not in case.expected:
            raise SarcastError(
                f"every window must come with its {name}, but window {number} (counted from 0) "
                f"has none; evaluate the windows with and without it separately"
            )
    return {name: case.expected[name] for name in names}


def _valid_pixels(window: Window, expected: Sequence[Expected]) -> Bool:
    images = [window.target, *(image.mean for image in expected)]
    images += [image.std for image in expected if image.std is not None]
    return np.asarray(np.all([np.isfinite(image).all(axis=0) for image in images], axis=0))


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
