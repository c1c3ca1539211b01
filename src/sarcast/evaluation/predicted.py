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
K = TypeVar("K")
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
        Expected images of the target without change, by the name of the method.
    with_change
        Expected images of the target with each change, by the name of the change and of the
        method. They differ from ``expected`` for predictors that use the target.
    valid
        Dims (y, x): pixels with data in the target and in every expected image. Only these are
        counted, so that all methods are compared on the same pixels.
    """

    case: Case
    expected: Mapping[str, Expected]
    with_change: Mapping[str, Mapping[str, Expected]]
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
        expected = self.with_change[change][method]
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

    A window that stands in several cases of a batch is predicted once. Predictors that use the
    target also predict it with each change in it: the expected image of the unchanged target would
    reveal the change.

    Parameters
    ----------
    cases
        Read one batch at a time.
    predictors
        By role.
    batch
        Number of cases in a batch, and of windows that a predictor is given together.
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
    every = [predictor for group in predictors.values() for predictor in group]
    for items in _batches(kept, batch):
        yield from _predict_batch(items, every, recorded, batch)


def _predict_batch(
    items: Sequence[tuple[int, Case]],
    predictors: Sequence[Predictor],
    recorded: Collection[str],
    batch: int,
) -> Iterator[tuple[int, PredictedCase]]:
    """Predict numbered cases; leave out those without a valid pixel."""
    unchanged = {id(case.window): case.window for _, case in items}
    changed = {
        (number, change): case.window.with_target(actual)
        for number, case in items
        for change, actual in case.actual.items()
    }
    shared = {each.name: _expect(each, unchanged, batch) for each in predictors}
    anew = {each.name: _expect(each, changed, batch) for each in predictors if each.uses_target}
    for number, case in items:
        expected = _recorded_images(case, recorded, number)
        expected |= {name: images[id(case.window)] for name, images in shared.items()}
        with_change = {
            change: expected | {name: images[number, change] for name, images in anew.items()}
            for change in case.actual
        }
        valid = _valid_pixels(case.window, [expected, *with_change.values()])
        if valid.any():
            yield number, PredictedCase(case, expected, with_change, valid)


def _expect(predictor: Predictor, windows: Mapping[K, Window], batch: int) -> dict[K, Expected]:
    """Expected images of windows by their keys, predicted ``batch`` windows at a time."""
    parts = _batches(windows.values(), batch)
    images = [image for part in parts for image in predictor.expect(part)]
    return dict(zip(windows, images, strict=True))


def _recorded_images(case: Case, names: Collection[str], number: int) -> dict[str, Expected]:
    """Expected images that come with a case; refuse a case that lacks one."""
    for name in names:
        if name not in case.expected:
            raise SarcastError(
                f"every window must come with its {name}, but window {number} (counted from 0) "
                f"has none; evaluate the windows with and without it separately"
            )
    return {name: case.expected[name] for name in names}


def _valid_pixels(window: Window, expected: Sequence[Mapping[str, Expected]]) -> Bool:
    every = [image for by_method in expected for image in by_method.values()]
    images = [window.target, *(image.mean for image in every)]
    images += [image.std for image in every if image.std is not None]
    distinct = {id(image): image for image in images}.values()
    return np.asarray(np.all([np.isfinite(image).all(axis=0) for image in distinct], axis=0))


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
