"""Classifiers fitted on the first cases, before they are evaluated on the others."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sarcast.detection.classifiers import (
    BestThreshold,
    Classifier,
    FalseAlarmRate,
    KittlerIllingworth,
    Otsu,
    check_classifier,
    linear_svc,
)
from sarcast.detection.spatial import MarkovField, PcaKMeans
from sarcast.evaluation.cases import check_unique_names
from sarcast.evaluation.metrics import Evaluator, MapKey, count_confusion
from sarcast.evaluation.predicted import PredictedCase


def every_classifier(*, rng: np.random.Generator) -> list[Classifier]:
    """All classifiers of the package, with their default options."""
    plain = [BestThreshold(), Otsu(), KittlerIllingworth(), FalseAlarmRate(0.01)]
    return [*plain, linear_svc(rng=rng), PcaKMeans(rng=rng), MarkovField()]


class FittedClassifier(NamedTuple):
    """A classifier fitted to one kind of change in the difference images of one method.

    ``number`` is its position among all combinations of classifier, change and method.
    """

    number: int
    key: MapKey
    classifier: Classifier


@dataclass(frozen=True)
class FittedClassifiers:
    """Fitted classifiers, and the number of the first case that they may be evaluated on.

    Classifiers that were fitted in two processes on the same cases add:
    ``fit_classifiers(..., share=(0, 2)) + fit_classifiers(..., share=(1, 2))`` equals
    ``fit_classifiers(...)``.
    """

    fitted: tuple[FittedClassifier, ...]
    first_case: int

    def __add__(self, other: "FittedClassifiers") -> "FittedClassifiers":
        """Join with classifiers that were fitted elsewhere on the same cases."""
        joined = sorted([*self.fitted, *other.fitted], key=lambda item: item.number)
        return FittedClassifiers(tuple(joined), self.first_case)

    def count(self, number: int, predicted: PredictedCase, evaluator: Evaluator) -> None:
        """Add the change maps of a case to an evaluator, unless the case was fitted on."""
        if number < self.first_case:
            return
        for _, key, classifier in self.fitted:
            image = predicted.difference(key.method, key.change, classifier.takes)
            if image is not None:
                called = classifier.predict(image)
                confusion = count_confusion(called, predicted.case.changed, predicted.valid)
                evaluator.add_map(key, confusion, window_name(number))


def window_name(number: int) -> str:
    """Identifier of a case's window in an evaluation."""
    return f"{number:08d}"


def fit_classifiers(
    classifiers: Sequence[Classifier],
    cases: Sequence[PredictedCase],
    first_case: int,
    share: tuple[int, int] = (0, 1),
) -> FittedClassifiers:
    """Fit every classifier to every kind of change in the difference images of every method.

    Parameters
    ----------
    classifiers
        A fresh copy of each is fitted for each combination; its random choices are the same for
        all methods.
    cases
        Cases with change.
    first_case
        Number of the first case that the classifiers may be evaluated on.
    share
        Start and step of the combinations that are fitted: ``(0, 1)`` fits all; ``(0, 2)`` and
        ``(1, 2)`` fit one half each.

    Raises
    ------
    SarcastError
        If an object is not a classifier, or two have the same name.
    """
    check_classifiers(classifiers)
    combinations = enumerate(_combinations(classifiers, cases))
    wanted = [
        FittedClassifier(number, key, classifier) for number, (key, classifier) in combinations
    ]
    start, step = share
    fitted = [item for item in wanted[start::step] if _fit(item, cases)]
    return FittedClassifiers(tuple(fitted), first_case)


def check_classifiers(classifiers: Sequence[Classifier]) -> None:
    """Refuse objects that are not classifiers, and classifiers of the same name."""
    for classifier in classifiers:
        check_classifier(classifier)
    check_unique_names("classifiers", [classifier.name for classifier in classifiers])


def _fit(item: FittedClassifier, cases: Sequence[PredictedCase]) -> bool:
    """Fit one classifier in place; False if no case has a difference image that it takes."""
    images, masks = [], []
    for predicted in cases:
        image = predicted.difference(item.key.method, item.key.change, item.classifier.takes)
        if image is not None:
            images.append(image)
            masks.append(predicted.case.changed)
    if images:
        item.classifier.fit(images, masks)
    return bool(images)


def _combinations(
    classifiers: Sequence[Classifier], cases: Sequence[PredictedCase]
) -> Iterator[tuple[MapKey, Classifier]]:
    """A fresh copy of each classifier for each change and each method, in that order."""
    changes = dict.fromkeys(change for predicted in cases for change in predicted.case.actual)
    methods = cases[0].expected if cases else {}
    for classifier in classifiers:
        for change in changes:
            fresh = classifier.fresh()
            for method in methods:
                yield MapKey(method, change, classifier.name), deepcopy(fresh)
