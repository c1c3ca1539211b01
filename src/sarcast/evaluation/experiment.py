"""The experiment: how well difference images show change that was simulated in windows.

The same simulated change is put into a window for all predictors, and only pixels for which every
predictor has an expected image are counted, so that the figures can be compared.
"""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Float
from sarcast.detection import difference as di
from sarcast.detection.classifiers import Classifier
from sarcast.evaluation.cases import Case, Within, simulated_cases
from sarcast.evaluation.fitting import (
    FittedClassifiers,
    check_classifiers,
    fit_classifiers,
    window_name,
)
from sarcast.evaluation.grouping import condition_groups, cover_masks
from sarcast.evaluation.metrics import (
    Evaluation,
    Evaluator,
    Role,
    ScoreKey,
    count_calibration,
    count_closer,
    count_errors,
    count_scores,
)
from sarcast.evaluation.predicted import (
    PredictedCase,
    Predictors,
    predict_cases,
    roles_by_name,
)
from sarcast.evaluation.report.html import Panel
from sarcast.evaluation.simulation.changes import Change
from sarcast.evaluation.simulation.shapes import ShapeOptions
from sarcast.windows import Expected, Window


class ExperimentOptions(BaseModel):
    """How change is simulated in windows, and what is counted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shapes: ShapeOptions = Field(ShapeOptions(), description="How random shapes are drawn.")
    within: Within = Field(
        "forest",
        description="Where change is simulated: in forest (anywhere if no forest mask is known), "
        "or anywhere.",
    )
    paper_filter: bool = Field(
        False, description="Count only the windows that the paper's tables count."
    )
    by_condition: bool = Field(
        True,
        description="Also split the results by pass, incidence, season, weather and cover; "
        "=false turns it off.",
    )
    exact: bool = Field(
        False,
        description="Compute AUCs by sorting all scores; memory grows by 5 bytes per pixel, "
        "method, change and difference image.",
    )
    fit_windows: int = Field(
        16,
        ge=1,
        le=10_000,
        description="Number of windows that classifiers are fitted on: the first ones with change.",
    )
    at_once: int = Field(8, ge=1, le=1024, description="Windows in a prediction batch.")
    panels: int = Field(4, ge=0, le=50, description="Example windows shown in the report.")


@dataclass(frozen=True)
class ExperimentResult:
    """Result of an experiment.

    Attributes
    ----------
    evaluator
        Sums of all statistics; those of two experiments on different windows add.
    panels
        Example windows for the report.
    example
        Window of the first panel.
    """

    evaluator: Evaluator
    panels: tuple[Panel, ...]
    example: Window | None = None

    def evaluation(
        self, title: str, provenance: dict[str, Any], *, rng: np.random.Generator
    ) -> Evaluation:
        """Compute the measures; ``rng`` draws the bootstrap samples.

        Intervals resample dates, each with all its windows, or single windows where all windows
        have the same date or each has a date of its own.
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
    """Simulate changes in windows and count how well each predictor's difference image shows them.

    Parameters
    ----------
    windows
        Read one batch at a time; never all at once.
    predictors
        Networks, strategies and oracle, by role.
    changes
        Kinds of simulated change; all are put into the same shapes.
    options
        What is counted.
    classifiers
        Fitted on the first windows with change and evaluated on the others.
    rng
        Generator of the shapes and of the changes.

    Returns
    -------
    ExperimentResult
        Its ``evaluation`` computes the measures.

    Raises
    ------
    SarcastError
        If two predictors, changes or classifiers have the same name, or an object is no
        classifier.
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
    """Count how well each predictor's difference image shows the changes of cases.

    Cases may be evaluated in parts: with fitted classifiers and the number of each part's
    ``first`` case, the evaluators of consecutive parts add to that of all cases.

    Parameters
    ----------
    cases
        Windows with change.
    predictors, options
        As in ``run_experiment``.
    classifiers
        As in ``run_experiment``, or the result of ``fit_on_first_cases``.
    recorded
        Role of each expected image that comes with the cases, by its name.
    first
        Number of the first case.

    Raises
    ------
    SarcastError
        If two predictors or classifiers have the same name, an object is not a classifier, or a
        recorded image is missing.

    Warns
    -----
    UserWarning
        If classifiers were to be fitted, and no window was left to evaluate them on.
    """
    options, recorded = options or ExperimentOptions(), recorded or {}
    roles = {**recorded, **roles_by_name(predictors)}
    to_fit = () if isinstance(classifiers, FittedClassifiers) else classifiers
    check_classifiers(to_fit)
    experiment = _Experiment(Evaluator(roles, options.exact), classifiers, options)
    for number, predicted in _predicted(cases, predictors, options, recorded, first):
        experiment.add(number, predicted)
    if to_fit and not experiment.evaluator.has_maps:
        warnings.warn(
            f"no classifier was evaluated: they are fitted on the first {options.fit_windows} "
            f"windows with change, and none came after these; lower fit_windows (--fit-windows)",
            stacklevel=2,
        )
    return ExperimentResult(experiment.evaluator, tuple(experiment.panels), experiment.example)


def fit_on_first_cases(
    cases: Iterable[Case],
    predictors: Predictors,
    options: ExperimentOptions,
    classifiers: Sequence[Classifier],
    share: tuple[int, int] = (0, 1),
) -> FittedClassifiers:
    """Fit classifiers on the first cases with change, as ``evaluate_cases`` does.

    Parameters
    ----------
    cases
        Read as far as needed.
    predictors, options, classifiers
        As in ``run_experiment``.
    share
        Which classifiers are fitted, as in ``fitting.fit_classifiers``.
    """
    roles_by_name(predictors)
    check_classifiers(classifiers)
    predicted = _predicted(cases, predictors, options)
    with_change = (item for item in predicted if item[1].has_change)
    first = list(islice(with_change, options.fit_windows))
    first_evaluated = first[-1][0] + 1 if first else 0
    return fit_classifiers(classifiers, [item for _, item in first], first_evaluated, share)


def difference_images(actual: Float, expected: Expected) -> dict[str, Float]:
    """Difference images that are scored: ``"norm"`` and, where sigma is known, ``"z"``.

    Parameters
    ----------
    actual
        Dims (band, y, x), dB.
    expected
        Mean and, where the predictor gives it, standard deviation.

    Returns
    -------
    dict
        Norm over the bands of the difference (dB) and of z, dims (y, x).
    """
    images = {"norm": di.norm(di.subtract(actual, expected.mean))}
    if expected.std is not None:
        images["z"] = di.norm(di.z(actual, expected.mean, expected.std))
    return images


def _predicted(
    cases: Iterable[Case],
    predictors: Predictors,
    options: ExperimentOptions,
    recorded: Collection[str] = (),
    first: int = 0,
) -> Iterator[tuple[int, PredictedCase]]:
    return predict_cases(
        cases,
        predictors,
        batch=options.at_once,
        paper_filter=options.paper_filter,
        recorded=recorded,
        first=first,
    )


class _Experiment:
    """Sums of an experiment, case by case."""

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
        self._fitting_cases: list[PredictedCase] = []

    def add(self, number: int, predicted: PredictedCase) -> None:
        """Count one case."""
        case = predicted.case
        if case.cluster is not None:
            self.evaluator.set_cluster(window_name(number), case.cluster)
        for method, expected in predicted.expected.items():
            self._count_expected(method, expected, predicted)
        for change, actual in case.actual.items():
            for method, expected in predicted.with_change[change].items():
                for kind, image in difference_images(actual, expected).items():
                    self._count_scores(ScoreKey(method, change, kind), number, image, predicted)
        self._classify(number, predicted)
        if len(self.panels) < self._options.panels and predicted.has_change:
            self.panels.extend(_panel(predicted, self.evaluator.roles, len(self.panels)))
            self.example = self.example or case.window

    def _classify(self, number: int, predicted: PredictedCase) -> None:
        """Fit classifiers on the first cases with change, and evaluate them on the others."""
        if isinstance(self._classifiers, FittedClassifiers):
            self._classifiers.count(number, predicted, self.evaluator)
        elif self._classifiers and predicted.has_change:
            self._fitting_cases.append(predicted)
            if len(self._fitting_cases) == self._options.fit_windows:
                self._classifiers = fit_classifiers(
                    self._classifiers, self._fitting_cases, number + 1
                )
                self._fitting_cases = []

    def _count_expected(self, method: str, expected: Expected, predicted: PredictedCase) -> None:
        window, valid = predicted.case.window, predicted.valid
        target, previous = window.target, window.previous[-1]
        self.evaluator.add_errors(method, count_errors(target, expected.mean, valid))
        closer = count_closer(target, expected.mean, previous, window.bands, valid)
        self.evaluator.add_closer(method, closer)
        if expected.std is not None:
            z = di.z(target, expected.mean, expected.std)
            self.evaluator.add_calibration(method, count_calibration(z, valid))

    def _count_scores(
        self, key: ScoreKey, number: int, image: Float, predicted: PredictedCase
    ) -> None:
        window, changed, valid = predicted.case.window, predicted.case.changed, predicted.valid
        groups = condition_groups(window) if self._options.by_condition else []
        covers = cover_masks(window) if self._options.by_condition else {}
        scores = count_scores(image, changed, valid)
        self.evaluator.add_scores(key, scores, window_name(number), groups)
        self.evaluator.add_pixels(key, image[valid], changed[valid])
        for cover, mask in covers.items():
            inside = count_scores(image, changed, valid & mask)
            self.evaluator.add_group(key, inside, ("cover", cover))


def _panel(predicted: PredictedCase, roles: Mapping[str, Role], number: int) -> Iterator[Panel]:
    """Panel of a case: the first network beside the first strategy, if there are both.

    Panel ``number`` shows the change of that number, modulo the number of changes.
    """
    case = predicted.case
    first = {role: name for name, role in reversed(list(roles.items()))}
    if not {"network", "strategy"} <= first.keys() or not case.actual:
        return
    change, actual = list(case.actual.items())[number % len(case.actual)]
    expected = predicted.with_change[change]
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
