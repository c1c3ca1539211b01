"""Lessons: what classifiers learn from before they are tried on other windows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sarcast.arrays import Bool, Float
from sarcast.detection import difference as di
from sarcast.detection.classifiers import (
    BestThreshold,
    Classifier,
    FalseAlarmRate,
    KittlerIllingworth,
    Otsu,
    Takes,
    check_able,
    linear_svc,
)
from sarcast.detection.spatial import MarkovField, PcaKMeans
from sarcast.evaluation.cases import Case, check_names
from sarcast.evaluation.metrics import Classified, Evaluator, count_confusion
from sarcast.windows import Expected


def every_classifier(*, rng: np.random.Generator) -> list[Classifier]:
    """All classifiers of the package, with their default options."""
    plain = [BestThreshold(), Otsu(), KittlerIllingworth(), FalseAlarmRate(0.01)]
    return [*plain, linear_svc(rng=rng), PcaKMeans(rng=rng), MarkovField()]


@dataclass(frozen=True)
class Lesson:
    """A window that classifiers learn from or are tried on.

    Attributes
    ----------
    case
        The window with its changes.
    expected
        Expected images by the name of what made them.
    seen
        Dims (y, x): pixels that every method could tell.
    """

    case: Case
    expected: Mapping[str, Expected]
    seen: Bool

    @property
    def shows_change(self) -> bool:
        """Whether a changed pixel was seen."""
        return bool((self.case.changed & self.seen).any())

    def image(self, method: str, change: str, takes: Takes) -> Float | None:
        """Difference image (band, y, x), NaN where not seen; None where there is none."""
        if change not in self.case.actual:
            return None
        one = self.expected[method]
        plain = di.subtract(self.case.actual[change], one.mean)
        if takes == "z":
            if one.std is None:
                return None
            plain = plain / one.std
        return np.where(self.seen, plain, np.float32(np.nan))


class FittedClassifier(NamedTuple):
    """A classifier that has learnt to tell one change on one method's difference images."""

    number: int
    of: Classified
    classifier: Classifier


@dataclass(frozen=True)
class FittedClassifiers:
    """Classifiers that have learnt, and the number of the first case that they may be tried on."""

    taught: tuple[FittedClassifier, ...]
    start: int

    def __add__(self, other: "FittedClassifiers") -> "FittedClassifiers":
        """Add those that learnt elsewhere from the same lessons."""
        numbered = sorted([*self.taught, *other.taught], key=lambda one: one.number)
        return FittedClassifiers(tuple(numbered), self.start)

    def count(self, number: int, lesson: Lesson, evaluator: Evaluator) -> None:
        """Count the change maps of a case, unless it was there to learn from."""
        if number < self.start:
            return
        for _, of, classifier in self.taught:
            image = lesson.image(of.method, of.change, classifier.takes)
            if image is not None:
                called = classifier.predict(image)
                found = count_confusion(called, lesson.case.changed, lesson.seen)
                evaluator.add_map(of, found, window_name(number))


def window_name(number: int) -> str:
    """Identifier of a case's window in an evaluation."""
    return f"{number:08d}"


def learn(
    classifiers: Sequence[Classifier],
    lessons: Sequence[Lesson],
    start: int,
    share: tuple[int, int] = (0, 1),
) -> FittedClassifiers:
    """Let every classifier learn every kind of change on every method's difference images.

    Parameters
    ----------
    classifiers
        What learns, a fresh copy each time.
    lessons
        Windows with change.
    start
        Number of the first case that they may be tried on.
    share
        Of all that is to be learnt, only every so-manieth from a number on: ``(0, 1)`` is all,
        ``(0, 2)`` and ``(1, 2)`` add to all.

    Raises
    ------
    SarcastError
        If one is no classifier, or two have one name.
    """
    check_classifiers(classifiers)
    subjects = enumerate(_subjects(classifiers, lessons))
    wanted = [FittedClassifier(number, of, one.fresh()) for number, (of, one) in subjects]
    taught = [one for one in wanted[share[0] :: share[1]] if _teach(one, lessons)]
    return FittedClassifiers(tuple(taught), start)


def check_classifiers(classifiers: Sequence[Classifier]) -> None:
    """Refuse what is no classifier, and classifiers of one name."""
    for one in classifiers:
        check_able(one)
    check_names("classifiers", [one.name for one in classifiers])


def _teach(one: FittedClassifier, lessons: Sequence[Lesson]) -> bool:
    """Let one classifier learn; tell whether any lesson shows its change."""
    images, masks = [], []
    for lesson in lessons:
        image = lesson.image(one.of.method, one.of.change, one.classifier.takes)
        if image is not None:
            images.append(image)
            masks.append(lesson.case.changed)
    if images:
        one.classifier.fit(images, masks)
    return bool(images)


def _subjects(
    classifiers: Sequence[Classifier], lessons: Sequence[Lesson]
) -> Iterator[tuple[Classified, Classifier]]:
    changes: dict[str, Any] = {}
    for lesson in lessons:
        changes |= dict.fromkeys(lesson.case.actual)
    methods = lessons[0].expected if lessons else {}
    for classifier in classifiers:
        for change in changes:
            for method in methods:
                yield Classified(method, change, classifier.name), classifier
