"""Assessment: what expected images are worth, proved by simulated change on windows.

Every window is given the same simulated changes for all predictors, and only pixels that every
predictor could tell are counted, so that their figures compare.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sarcast import differences as di
from sarcast.classifiers import Classifier
from sarcast.conditions import COLUMNS
from sarcast.evaluation import (
    Classified,
    Evaluation,
    Evaluator,
    Role,
    Scored,
    count_calibration,
    count_confusion,
    count_errors,
    count_scores,
)
from sarcast.orbits import ASCENDING, DESCENDING
from sarcast.report import Panel
from sarcast.shapes import ShapeOptions, change_mask
from sarcast.simulate import Change, where_change_may_be
from sarcast.strategies import DESCENDING_DEG, counts_in_paper
from sarcast.windows import Bool, Expected, Float, Predictor, Window

WET_MM = 1.0
"""Precipitation of the day and the day before from which a window counts as wet, mm."""
INCIDENCE_STEP_DEG = 4.0
"""Width of the classes of incidence, degrees."""
SEASONS = ("winter", "spring", "summer", "autumn")
"""Meteorological seasons of the north, from December on."""


class AssessOptions(BaseModel):
    """How windows are assessed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shapes: ShapeOptions = Field(ShapeOptions(), description="how random shapes are drawn")
    paper_filter: bool = Field(
        False, description="count only windows that the paper's tables would count"
    )
    by_condition: bool = Field(
        True, description="also by pass, incidence, season, weather and cover"
    )
    exact: bool = Field(
        False,
        description="compute AUCs by sorting all scores; memory grows by 5 bytes a pixel, method, "
        "change and difference image",
    )
    fit_windows: int = Field(
        16, ge=1, le=10_000, description="first windows with change, that classifiers learn from"
    )
    batch: int = Field(8, ge=1, le=1024, description="windows given to a predictor at once")
    panels: int = Field(4, ge=0, le=50, description="example windows kept for the report")


@dataclass(frozen=True)
class Trial:
    """A window with simulated changes.

    Attributes
    ----------
    window
        As it was before.
    changed
        Dims (y, x): where change was simulated.
    actual
        Target with the change, dims (band, y, x), dB, by the name of the change.
    expected
        Expected images that came with it, by the name of what made them.
    """

    window: Window
    changed: Bool
    actual: Mapping[str, Float]
    expected: Mapping[str, Expected] = field(default_factory=dict)


@dataclass(frozen=True)
class Assessed:
    """What an assessment found: the sums, and example windows."""

    evaluator: Evaluator
    panels: tuple[Panel, ...]

    def evaluation(
        self, title: str, provenance: dict[str, Any], *, rng: np.random.Generator
    ) -> Evaluation:
        """Compute the measures; ``rng`` is of the bootstrap samples."""
        return self.evaluator.result(title, provenance, rng=rng)


def assess(
    windows: Iterable[Window],
    predictors: Mapping[Role, Sequence[Predictor]],
    changes: Sequence[Change],
    options: AssessOptions | None = None,
    classifiers: Sequence[Classifier] = (),
    *,
    rng: np.random.Generator,
) -> Assessed:
    """Simulate changes in windows and count how well each predictor's difference image tells them.

    Parameters
    ----------
    windows
        Read one batch at a time; never all at once.
    predictors
        Networks, strategies and oracle, under their role.
    changes
        Kinds of simulated change; all are put into the same shapes.
    options
        What is counted.
    classifiers
        Learn from the first windows, and are counted on the others.
    rng
        Source of chance of the shapes and of the changes.

    Returns
    -------
    Assessed
        Gives the evaluation.
    """
    options = options or AssessOptions()
    trials = simulated_trials(windows, changes, options.shapes, rng=rng)
    return assess_trials(trials, predictors, options, classifiers)


def simulated_trials(
    windows: Iterable[Window],
    changes: Sequence[Change],
    shapes: ShapeOptions,
    *,
    rng: np.random.Generator,
) -> Iterator[Trial]:
    """Put every change that fits a window into the same random shapes of it.

    What is drawn for a window depends on its number and not on the other windows.
    """
    root = rng.spawn(1)[0]
    for window in windows:
        own = root.spawn(1)[0]
        changed = change_mask(where_change_may_be(window), shapes, rng=own)
        actual = {
            change.name: change.apply(window, changed, rng=one)
            for change, one in zip(changes, own.spawn(len(changes)), strict=True)
            if change.fits(window)
        }
        yield Trial(window, changed, actual)


def assess_trials(
    trials: Iterable[Trial],
    predictors: Mapping[Role, Sequence[Predictor]],
    options: AssessOptions | None = None,
    classifiers: Sequence[Classifier] = (),
    recorded: Mapping[str, Role] | None = None,
) -> Assessed:
    """Count how well each predictor's difference image tells changes that are there already.

    Parameters
    ----------
    trials
        Windows with change.
    predictors, options, classifiers
        As in ``assess``.
    recorded
        Role of the expected images that come with the trials, by their name.
    """
    options = options or AssessOptions()
    recorded = recorded or {}
    roles = {one.name: role for role, several in predictors.items() for one in several}
    run = _Run(Evaluator({**recorded, **roles}, options.exact), classifiers, options)
    kept = (t for t in trials if not options.paper_filter or counts_in_paper(t.window))
    for batch in _batches(kept, options.batch):
        windows = [trial.window for trial in batch]
        found = {
            one.name: one.expect(windows) for several in predictors.values() for one in several
        }
        for number, trial in enumerate(batch):
            expected = {name: trial.expected[name] for name in recorded}
            expected |= {name: several[number] for name, several in found.items()}
            run.take(trial, expected)
    return Assessed(run.evaluator, tuple(run.panels))


class _Run:
    """One assessment on its way."""

    def __init__(
        self, evaluator: Evaluator, classifiers: Sequence[Classifier], options: AssessOptions
    ) -> None:
        self.evaluator = evaluator
        self.panels: list[Panel] = []
        self._options = options
        self._maps = _Maps(classifiers, options.fit_windows)
        self._taken = 0

    def take(self, trial: Trial, expected: Mapping[str, Expected]) -> None:
        """Count one window."""
        self._taken += 1
        seen = _seen(trial.window, list(expected.values()))
        if not seen.any():
            return
        for name, one in expected.items():
            self._count_expected(name, one, trial, seen)
        for change, actual in trial.actual.items():
            for name, one in expected.items():
                self._count_scores(name, change, score_images(actual, one), trial, seen)
        self._maps.take(_Lesson(trial, expected, seen), self.evaluator)
        if len(self.panels) < self._options.panels and (trial.changed & seen).any():
            self.panels.extend(_panel(trial, expected, self.evaluator.roles))

    def _count_expected(self, name: str, expected: Expected, trial: Trial, seen: Bool) -> None:
        target = trial.window.target
        self.evaluator.add_errors(name, count_errors(target, expected.mean, seen))
        if expected.std is not None:
            z = di.z(target, expected.mean, expected.std)
            self.evaluator.add_calibration(name, count_calibration(z, seen))

    def _count_scores(
        self, name: str, change: str, images: Mapping[str, Float], trial: Trial, seen: Bool
    ) -> None:
        groups = groups_of(trial.window) if self._options.by_condition else ()
        forest = trial.window.forest if self._options.by_condition else None
        for kind, image in images.items():
            of = Scored(name, change, kind)
            scores = count_scores(image, trial.changed, seen)
            self.evaluator.add_scores(of, scores, f"{self._taken:08d}", groups)
            self.evaluator.add_pixels(of, image[seen], trial.changed[seen])
            if forest is not None:
                inside = count_scores(image, trial.changed, seen & forest)
                self.evaluator.add_group(of, inside, ("cover", "forest alone"))


@dataclass(frozen=True)
class _Lesson:
    """A window that classifiers learn from or are tried on."""

    trial: Trial
    expected: Mapping[str, Expected]
    seen: Bool

    def image(self, of: Classified, takes: str) -> Float | None:
        """Difference image (band, y, x), NaN where not seen; None where there is none."""
        if of.change not in self.trial.actual:
            return None
        one = self.expected[of.method]
        plain = di.subtract(self.trial.actual[of.change], one.mean)
        if takes == "z":
            if one.std is None:
                return None
            plain = plain / one.std
        return np.where(self.seen, plain, np.float32(np.nan))


class _Maps:
    """Classifiers on their way: the first windows with change are learnt from, then used."""

    def __init__(self, classifiers: Sequence[Classifier], fit_windows: int) -> None:
        self._classifiers = classifiers
        self._fit_windows = fit_windows
        self._lessons: list[_Lesson] = []
        self._learnt: dict[Classified, Classifier] = {}

    def take(self, lesson: _Lesson, evaluator: Evaluator) -> None:
        """Keep a window to learn from, or count the change maps of it."""
        if not self._classifiers:
            return
        if len(self._lessons) < self._fit_windows:
            if (lesson.trial.changed & lesson.seen).any():
                self._lessons.append(lesson)
            return
        for classifier in self._classifiers:
            for change in lesson.trial.actual:
                for method in lesson.expected:
                    of = Classified(method, change, classifier.name)
                    self._try(of, classifier, lesson, evaluator)

    def _try(
        self, of: Classified, classifier: Classifier, lesson: _Lesson, evaluator: Evaluator
    ) -> None:
        image = lesson.image(of, classifier.takes)
        if image is not None and (learnt := self._fitted(of, classifier)):
            called = learnt.predict(image)
            evaluator.add_map(of, count_confusion(called, lesson.trial.changed, lesson.seen))

    def _fitted(self, of: Classified, classifier: Classifier) -> Classifier | None:
        """Fit on first use; None where no lesson shows this kind of change."""
        if of not in self._learnt:
            images = [lesson.image(of, classifier.takes) for lesson in self._lessons]
            pairs = [
                (image, lesson.trial.changed)
                for image, lesson in zip(images, self._lessons, strict=True)
                if image is not None
            ]
            if not pairs:
                return None
            self._learnt[of] = classifier.fresh().fit(
                [image for image, _ in pairs], [changed for _, changed in pairs]
            )
        return self._learnt[of]


def score_images(actual: Float, expected: Expected) -> dict[str, Float]:
    """Difference images that are scored, by name: the norm, and that of z where sigma is told.

    Parameters
    ----------
    actual
        Dims (band, y, x), dB.
    expected
        Mean and, where it is told, standard deviation.

    Returns
    -------
    dict
        Images of dims (y, x).
    """
    images = {"norm": di.norm(di.subtract(actual, expected.mean))}
    if expected.std is not None:
        images["z"] = di.norm(di.z(actual, expected.mean, expected.std))
    return images


def groups_of(window: Window) -> list[tuple[str, str]]:
    """Conditions of a window's target as factor and value; what is not known is left out."""
    target = dict(zip(COLUMNS, window.conditions[-1].tolist(), strict=True))
    month = int(np.datetime64(window.times[-1], "M").astype(int)) % 12
    groups = [("season", SEASONS[(month + 1) % 12 // 3])]
    if np.isfinite(target["heading"]):
        descending = abs(target["heading"]) > DESCENDING_DEG
        groups.append(("pass", DESCENDING if descending else ASCENDING))
    if np.isfinite(target["incidence"]):
        low = int(target["incidence"] // INCIDENCE_STEP_DEG * INCIDENCE_STEP_DEG)
        groups.append(("incidence", f"{low}-{low + INCIDENCE_STEP_DEG:g} degrees"))
    if target["temperature"] <= 0.0:
        groups.append(("weather", "frozen"))
    elif np.isfinite(rain := target["precipitation_0"] + target["precipitation_1"]):
        groups.append(("weather", "wet" if rain >= WET_MM else "dry"))
    return groups


def _seen(window: Window, expected: Sequence[Expected]) -> Bool:
    images = [window.target, *(one.mean for one in expected)]
    images += [one.std for one in expected if one.std is not None]
    return np.asarray(np.all([np.isfinite(image).all(axis=0) for image in images], axis=0))


def _panel(
    trial: Trial, expected: Mapping[str, Expected], roles: Mapping[str, Role]
) -> Iterator[Panel]:
    """Example of the window: the first network beside the first strategy, if there are both."""
    first = {role: name for name, role in reversed(list(roles.items()))}
    if not {"network", "strategy"} <= first.keys() or not trial.actual:
        return
    change, actual = next(iter(trial.actual.items()))
    improved, conventional = (expected[first[role]].mean for role in ("network", "strategy"))
    date = np.datetime_as_string(trial.window.times[-1], unit="D")
    row, column = trial.window.place
    yield Panel(
        title=f"{date}, row {row}, column {column}: {change}",
        actual=actual,
        expected=improved,
        changed=trial.changed,
        conventional=di.subtract(actual, conventional),
        improved=di.subtract(actual, improved),
        conventional_name=first["strategy"],
        improved_name=first["network"],
    )


def _batches(trials: Iterable[Trial], size: int) -> Iterator[list[Trial]]:
    source = iter(trials)
    while batch := list(islice(source, size)):
        yield batch
