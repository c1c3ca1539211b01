"""Assessment: what expected images are worth, proved by simulated change on windows.

Every window is given the same simulated changes for all predictors, and only pixels that every
predictor could tell are counted, so that their figures compare.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Bool, Float
from sarcast.detection import difference as di
from sarcast.detection.classifiers import Classifier
from sarcast.errors import SarcastError
from sarcast.evaluation.cases import Case, Within, check_names, simulated_cases
from sarcast.evaluation.fitting import (
    FittedClassifiers,
    Lesson,
    check_classifiers,
    learn,
    window_name,
)
from sarcast.evaluation.metrics import (
    Evaluation,
    Evaluator,
    Role,
    Scored,
    count_calibration,
    count_errors,
    count_scores,
)
from sarcast.evaluation.report.html import Panel
from sarcast.evaluation.simulation.changes import Change
from sarcast.evaluation.simulation.shapes import ShapeOptions
from sarcast.prediction.strategies import counts_in_paper
from sarcast.sensor.conditions import COLUMNS
from sarcast.sensor.orbits import direction_of
from sarcast.windows import Expected, Predictor, Window

T = TypeVar("T")
Predictors = Mapping[Role, Sequence[Predictor]]
"""What is compared, by what it is."""

WET_MM = 1.0
"""Precipitation of the day and the day before from which a window counts as wet, mm."""
INCIDENCE_STEP_DEG = 4.0
"""Width of the classes of incidence, degrees."""
SEASONS = ("winter", "spring", "summer", "autumn")
"""Meteorological seasons of the north, from December on."""


class ExperimentOptions(BaseModel):
    """How windows are assessed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shapes: ShapeOptions = Field(ShapeOptions(), description="how random shapes are drawn")
    within: Within = Field(
        "forest",
        description="where change is simulated: in the forest, where it is known, or anywhere",
    )
    paper_filter: bool = Field(
        False, description="count only windows that the paper's tables would count"
    )
    by_condition: bool = Field(
        True,
        description="also by pass, incidence, season, weather and cover; =false turns it off",
    )
    exact: bool = Field(
        False,
        description="compute AUCs by sorting all scores; memory grows by 5 bytes a pixel, method, "
        "change and difference image",
    )
    fit_windows: int = Field(
        16, ge=1, le=10_000, description="first windows with change, that classifiers learn from"
    )
    at_once: int = Field(8, ge=1, le=1024, description="windows given to a predictor at once")
    panels: int = Field(4, ge=0, le=50, description="example windows kept for the report")


@dataclass(frozen=True)
class ExperimentResult:
    """What an assessment found: the sums, example windows, and the window of the first example."""

    evaluator: Evaluator
    panels: tuple[Panel, ...]
    example: Window | None = None

    def evaluation(
        self, title: str, provenance: dict[str, Any], *, rng: np.random.Generator
    ) -> Evaluation:
        """Compute the measures; ``rng`` is of the bootstrap samples.

        Intervals resample dates, each with all its windows, or windows where all are of one date
        or none shares its date.
        """
        return self.evaluator.result(title, provenance, rng=rng)


def run_experiment(
    windows: Iterable[Window],
    predictors: Predictors,
    changes: Sequence[Change],
    options: ExperimentOptions | None = None,
    classifiers: Sequence[Classifier] = (),
    *,
    rng: np.random.Generator,
) -> ExperimentResult:
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
    ExperimentResult
        Gives the evaluation.

    Raises
    ------
    SarcastError
        If two predictors, changes or classifiers have one name, or a classifier is none.
    """
    options = options or ExperimentOptions()
    cases = simulated_cases(windows, changes, options.shapes, options.within, rng=rng)
    return evaluate_cases(cases, predictors, options, classifiers)


def evaluate_cases(
    cases: Iterable[Case],
    predictors: Predictors,
    options: ExperimentOptions | None = None,
    classifiers: Sequence[Classifier] | FittedClassifiers = (),
    recorded: Mapping[str, Role] | None = None,
    first: int = 0,
) -> ExperimentResult:
    """Count how well each predictor's difference image tells changes that are there already.

    The sums of consecutive parts of the cases, each with the number of its ``first`` case and
    with classifiers that have learnt, add to those of the whole.

    Parameters
    ----------
    cases
        Windows with change.
    predictors, options
        As in ``assess``.
    classifiers
        As in ``assess``, or what ``learn_from`` gave.
    recorded
        Role of the expected images that come with the cases, by their name.
    first
        Number of the first case.

    Raises
    ------
    SarcastError
        If two predictors or classifiers have one name, a classifier is none, or a recorded image
        is missing.

    Warns
    -----
    UserWarning
        If there are classifiers to learn, and no window was left to try them on.
    """
    options = options or ExperimentOptions()
    roles = _roles(predictors)
    if not isinstance(classifiers, FittedClassifiers):
        check_classifiers(classifiers)
    run = _Experiment(Evaluator({**(recorded or {}), **roles}, options.exact), classifiers, options)
    for number, lesson in _lessons(cases, predictors, options, recorded, first):
        run.take(number, lesson)
    if (
        classifiers
        and not isinstance(classifiers, FittedClassifiers)
        and not run.evaluator.classified
    ):
        warnings.warn(
            f"no classifier was tried: they learn from the first {options.fit_windows} windows "
            f"with change, and none came after these; give a lower fit_windows (--fit-windows)",
            stacklevel=2,
        )
    return ExperimentResult(run.evaluator, tuple(run.panels), run.example)


def learn_from(
    cases: Iterable[Case],
    predictors: Predictors,
    options: ExperimentOptions,
    classifiers: Sequence[Classifier],
    share: tuple[int, int] = (0, 1),
) -> FittedClassifiers:
    """Let classifiers learn from the first cases with change, as ``evaluate_cases`` would.

    Parameters
    ----------
    cases
        Read as far as is needed.
    predictors, options, classifiers
        As in ``assess``.
    share
        Part of all that is to be learnt, as in ``lessons.learn``.
    """
    _roles(predictors)
    check_classifiers(classifiers)
    read = _lessons(cases, predictors, options)
    showing = ((number, lesson) for number, lesson in read if lesson.shows_change)
    found = list(islice(showing, options.fit_windows))
    start = found[-1][0] + 1 if found else 0
    return learn(classifiers, [lesson for _, lesson in found], start, share)


def _roles(predictors: Predictors) -> dict[str, Role]:
    """Role of each predictor by its name, which no two may share."""
    named = [(one.name, role) for role, several in predictors.items() for one in several]
    repair = " (a Model by dataclasses.replace(model, name=...))"
    check_names("predictors", [name for name, _ in named], repair)
    return dict(named)


def _lessons(
    cases: Iterable[Case],
    predictors: Predictors,
    options: ExperimentOptions,
    recorded: Mapping[str, Role] | None = None,
    first: int = 0,
) -> Iterator[tuple[int, Lesson]]:
    """Trials that count, with their numbers and expected images; a window is predicted once."""
    numbered = enumerate(cases, first)
    kept = (one for one in numbered if not options.paper_filter or counts_in_paper(one[1].window))
    for batch in _batches(kept, options.at_once):
        windows = {id(case.window): case.window for _, case in batch}
        found = {
            one.name: dict(zip(windows, one.expect(list(windows.values())), strict=True))
            for several in predictors.values()
            for one in several
        }
        for number, case in batch:
            expected = _recorded(case, recorded or {}, number)
            expected |= {name: several[id(case.window)] for name, several in found.items()}
            seen = _seen(case.window, list(expected.values()))
            if seen.any():
                yield number, Lesson(case, expected, seen)


def _recorded(case: Case, names: Iterable[str], number: int) -> dict[str, Expected]:
    """Expected images that come with a case, of which none may be missing."""
    for name in names:
        if name not in case.expected:
            raise SarcastError(
                f"every window must come with its {name}, but window {number}, counted from 0, "
                f"comes without; evaluate those with and those without it apart"
            )
    return {name: case.expected[name] for name in names}


class _Experiment:
    """One assessment on its way."""

    def __init__(
        self,
        evaluator: Evaluator,
        classifiers: Sequence[Classifier] | FittedClassifiers,
        options: ExperimentOptions,
    ) -> None:
        self.evaluator = evaluator
        self.panels: list[Panel] = []
        self.example: Window | None = None
        self._options = options
        self._classifiers = classifiers
        self._lessons: list[Lesson] = []

    def take(self, number: int, lesson: Lesson) -> None:
        """Count one window."""
        case, seen = lesson.case, lesson.seen
        if case.cluster is not None:
            self.evaluator.join(window_name(number), case.cluster)
        for name, one in lesson.expected.items():
            self._count_expected(name, one, case, seen)
        for change, actual in case.actual.items():
            for name, one in lesson.expected.items():
                self._count_scores(name, change, number, score_images(actual, one), lesson)
        self._classify(number, lesson)
        if len(self.panels) < self._options.panels and lesson.shows_change:
            place = len(self.panels)
            self.panels.extend(_panel(case, lesson.expected, self.evaluator.roles, place))
            self.example = self.example or case.window

    def _classify(self, number: int, lesson: Lesson) -> None:
        """Learn from the first windows with change, and try on the others."""
        if isinstance(self._classifiers, FittedClassifiers):
            self._classifiers.count(number, lesson, self.evaluator)
        elif self._classifiers and lesson.shows_change:
            self._lessons.append(lesson)
            if len(self._lessons) == self._options.fit_windows:
                self._classifiers = learn(self._classifiers, self._lessons, number + 1)
                self._lessons = []

    def _count_expected(self, name: str, expected: Expected, case: Case, seen: Bool) -> None:
        target = case.window.target
        self.evaluator.add_errors(name, count_errors(target, expected.mean, seen))
        if expected.std is not None:
            z = di.z(target, expected.mean, expected.std)
            self.evaluator.add_calibration(name, count_calibration(z, seen))

    def _count_scores(
        self, method: str, change: str, number: int, images: Mapping[str, Float], lesson: Lesson
    ) -> None:
        case, seen = lesson.case, lesson.seen
        groups = groups_of(case.window) if self._options.by_condition else []
        covers = covers_of(case.window) if self._options.by_condition else {}
        for kind, image in images.items():
            of = Scored(method, change, kind)
            scores = count_scores(image, case.changed, seen)
            self.evaluator.add_scores(of, scores, window_name(number), groups)
            self.evaluator.add_pixels(of, image[seen], case.changed[seen])
            for cover, mask in covers.items():
                inside = count_scores(image, case.changed, seen & mask)
                self.evaluator.add_group(of, inside, ("cover", cover))


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
        groups.append(("pass", direction_of(target["heading"])))
    if np.isfinite(target["incidence"]):
        low = int(target["incidence"] // INCIDENCE_STEP_DEG * INCIDENCE_STEP_DEG)
        groups.append(("incidence", f"{low}-{low + INCIDENCE_STEP_DEG:g} degrees"))
    if target["temperature"] <= 0.0:
        groups.append(("weather", "frozen"))
    elif np.isfinite(rain := target["precipitation_0"] + target["precipitation_1"]):
        groups.append(("weather", "wet" if rain >= WET_MM else "dry"))
    return groups


def covers_of(window: Window) -> dict[str, Bool]:
    """Masks (y, x) of the covers that are known of a window, by name."""
    known = {"forest": window.forest, "open land": window.open_land}
    return {name: mask for name, mask in known.items() if mask is not None}


def _seen(window: Window, expected: Sequence[Expected]) -> Bool:
    images = [window.target, *(one.mean for one in expected)]
    images += [one.std for one in expected if one.std is not None]
    return np.asarray(np.all([np.isfinite(image).all(axis=0) for image in images], axis=0))


def _panel(
    case: Case, expected: Mapping[str, Expected], roles: Mapping[str, Role], place: int
) -> Iterator[Panel]:
    """Example of the window: the first network beside the first strategy, if there are both.

    The changes that the window was given take turns by the place of the example.
    """
    first = {role: name for name, role in reversed(list(roles.items()))}
    if not {"network", "strategy"} <= first.keys() or not case.actual:
        return
    change, actual = list(case.actual.items())[place % len(case.actual)]
    date = np.datetime_as_string(case.window.times[-1], unit="D")
    row, column = case.window.offset
    yield Panel(
        title=f"{date}, row {row}, column {column}: {change}",
        actual=actual,
        changed=case.changed,
        conventional=expected[first["strategy"]].mean,
        improved=expected[first["network"]].mean,
        conventional_name=first["strategy"],
        improved_name=first["network"],
    )


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
