"""The tally of an evaluation: all its statistics, added up window by window."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sarcast.arrays import Bool, Double, Float
from sarcast.errors import SarcastError
from sarcast.evaluation.metrics.intervals import CoarseCounts, Draws, interval
from sarcast.evaluation.metrics.records import (
    CalibrationResult,
    ClassifierResult,
    Curve,
    Evaluation,
    GroupResult,
    MethodResult,
    PairedClassifier,
    PairedResult,
    Role,
)
from sarcast.evaluation.metrics.scores import Roc, ScoreCounts, auc_exact, average_precision, roc
from sarcast.evaluation.metrics.statistics import LEVELS, Calibration, Confusion, Errors

FALSE_ALARM_RATES = (0.001, 0.01, 0.05, 0.1)
"""False-alarm rates at which the detection rate is told."""

Key = TypeVar("Key")
State = TypeVar("State", ScoreCounts, Errors, Calibration, Confusion)
Group = tuple[str, str]


class Scored(NamedTuple):
    """What a score belongs to: predictor, simulated change and difference image, by name."""

    method: str
    change: str
    difference: str


class Classified(NamedTuple):
    """What a change map belongs to: predictor, simulated change and classifier, by name."""

    method: str
    change: str
    classifier: str


@dataclass
class Evaluator:
    """Adds up what the methods reach, in bounded memory: one state a method, little a window.

    Two evaluators of different windows add to that of both.

    Attributes
    ----------
    roles
        What each method is, by its name.
    exact
        Keep every score, so that the AUC over all pixels is exact; memory grows with the pixels.
    """

    roles: Mapping[str, Role]
    exact: bool = False
    _scores: dict[Scored, ScoreCounts] = field(default_factory=dict)
    _pixels: dict[Scored, list[tuple[Float, Bool]]] = field(default_factory=dict)
    _windows: dict[Scored, dict[str, CoarseCounts]] = field(default_factory=dict)
    _groups: dict[tuple[Scored, Group], ScoreCounts] = field(default_factory=dict)
    _errors: dict[str, Errors] = field(default_factory=dict)
    _calibration: dict[str, Calibration] = field(default_factory=dict)
    _maps: dict[Classified, Confusion] = field(default_factory=dict)
    _balanced: dict[Classified, dict[str, Confusion]] = field(default_factory=dict)
    _clusters: dict[str, str] = field(default_factory=dict)

    def join(self, window: str, cluster: str) -> None:
        """Tell the cluster of a window; windows of which none is told are clusters of their own.

        Parameters
        ----------
        window
            Identifier of the window.
        cluster
            Identifier of what it shares with others, as their date: what intervals resample.
        """
        self._clusters[window] = cluster

    def add_scores(
        self, of: Scored, scores: ScoreCounts, window: str, groups: Sequence[Group] = ()
    ) -> None:
        """Add the scores of one window's pixels.

        Parameters
        ----------
        of
            What was scored.
        scores
            Of one window; for a fair comparison count the same pixels for every method.
        window
            Identifier of the window, the same for every method.
        groups
            Conditions of the window, as ``("pass", "ascending")``.
        """
        _add(self._scores, of, scores)
        self._windows.setdefault(of, {})[window] = CoarseCounts.of(scores)
        for group in groups:
            self.add_group(of, scores, group)

    def add_pixels(self, of: Scored, scores: Float, changed: Bool) -> None:
        """Keep the scores of one window's pixels for an exact AUC; does nothing otherwise."""
        if self.exact:
            self._pixels.setdefault(of, []).append((scores, changed))

    def add_group(self, of: Scored, scores: ScoreCounts, group: Group) -> None:
        """Add scores to those of one condition alone, as of the forest's pixels."""
        _add(self._groups, (of, group), scores)

    def add_errors(self, method: str, errors: Errors) -> None:
        """Add the squared errors of a method's expected image, before change was simulated."""
        _add(self._errors, method, errors)

    def add_calibration(self, method: str, calibration: Calibration) -> None:
        """Add how often a method's sigma held where nothing changed."""
        _add(self._calibration, method, calibration)

    @property
    def classified(self) -> bool:
        """Whether any change map was added."""
        return bool(self._maps)

    def add_map(self, of: Classified, confusion: Confusion, window: str) -> None:
        """Add the change map of one window, identified as its scores are."""
        _add(self._maps, of, confusion)
        _add(self._balanced.setdefault(of, {}), window, confusion.balanced())

    def __add__(self, other: "Evaluator") -> "Evaluator":
        summed = Evaluator({**self.roles, **other.roles}, self.exact and other.exact)
        summed._clusters.update({**self._clusters, **other._clusters})
        for name in ("_scores", "_groups", "_errors", "_calibration", "_maps"):
            states = getattr(summed, name)
            for source in (self, other):
                for key, state in getattr(source, name).items():
                    _add(states, key, state)
        for source in (self, other):
            for of, windows in source._windows.items():
                summed._windows.setdefault(of, {}).update(windows)
            for key, maps in source._balanced.items():
                summed._balanced.setdefault(key, {}).update(maps)
            for of, pixels in source._pixels.items() if summed.exact else ():
                summed._pixels.setdefault(of, []).extend(pixels)
        return summed

    def result(
        self, title: str, provenance: dict[str, Any], *, rng: np.random.Generator
    ) -> Evaluation:
        """Compute the measures from what was added.

        Parameters
        ----------
        title
            Of the report.
        provenance
            Command, versions and data that it comes from.
        rng
            Source of chance of the bootstrap samples.

        Raises
        ------
        SarcastError
            If nothing was added, or all pixels are of one class.
        """
        if not self._scores:
            raise SarcastError(
                "nothing was evaluated; no window was valid for every method, or none had what the "
                "changes take, as forest and open land"
            )
        draws = self._draws(rng)
        replicates = self._replicates(draws)
        results = tuple(self._method(of, replicates[of]) for of in self._scores)
        called = {of: draws.accuracies(maps) for of, maps in self._balanced.items()}
        classifiers = tuple(self._classifier(of, called[of]) for of in self._maps)
        return Evaluation(
            title=title,
            results=results,
            paired=tuple(_paired(results, replicates)),
            groups=tuple(self._group_results()),
            classifiers=classifiers,
            paired_classifiers=tuple(_paired_classifiers(classifiers, called)),
            calibration=tuple(_calibration(*item) for item in self._calibration.items()),
            provenance=provenance,
        )

    def _draws(self, rng: np.random.Generator) -> Draws:
        """Bootstrap samples, the same for all that saw the same windows."""
        seen = {name for windows in self._windows.values() for name in windows}
        return Draws.of({name: self._clusters.get(name, name) for name in seen}, rng=rng)

    def _replicates(self, draws: Draws) -> dict[Scored, Double]:
        """AUCs of bootstrap samples; what the coarse bins make of the windows is taken off."""
        replicates = {}
        for of, windows in self._windows.items():
            areas = draws.areas(windows)
            replicates[of] = areas[1:] + (roc(self._scores[of]).auc - areas[0])
        return replicates

    def _method(self, of: Scored, replicates: Double) -> MethodResult:
        scores, curve = self._scores[of], roc(self._scores[of])
        errors, bounds = self._errors.get(of.method), interval(replicates)
        windows = self._windows[of].values()
        return MethodResult(
            **of._asdict(),
            role=self.roles[of.method],
            auc=self._auc(of, curve),
            auc_low=bounds and bounds.low,
            auc_high=bounds and bounds.high,
            auc_windows=tuple(_or_none(window.auc) for window in windows),
            average_precision=average_precision(scores),
            detection_rates={
                f"{rate:g}": curve.detection_rate_at(rate) for rate in FALSE_ALARM_RATES
            },
            mse_db2=errors.mse if errors and errors.pixels else None,
            windows=len(windows),
            pixels=scores.changed + scores.unchanged,
            changed_pixels=scores.changed,
            curve=_kept(curve.reduced()),
        )

    def _auc(self, of: Scored, curve: Roc) -> float:
        if not self.exact:
            return curve.auc
        scores, changed = zip(*self._pixels[of], strict=True)
        return auc_exact(np.concatenate(scores), np.concatenate(changed))

    def _group_results(self) -> list[GroupResult]:
        """Of each condition under which pixels of both classes were met."""
        return [
            GroupResult(
                **of._asdict(),
                factor=factor,
                value=value,
                auc=roc(scores).auc,
                pixels=scores.changed + scores.unchanged,
            )
            for (of, (factor, value)), scores in self._groups.items()
            if scores.changed and scores.unchanged
        ]

    def _classifier(self, of: Classified, replicates: Double) -> ClassifierResult:
        found, bounds = self._maps[of], interval(replicates)
        unchanged = found.false_positive + found.true_negative
        balanced = reduce(add, self._balanced[of].values())
        return ClassifierResult(
            **of._asdict(),
            role=self.roles[of.method],
            accuracy=_or_none(found.accuracy),
            f1=_or_none(found.f1),
            kappa=_or_none(found.kappa),
            detection_rate=_or_none(found.recall),
            false_alarm_rate=found.false_positive / unchanged if unchanged else None,
            balanced_accuracy=_or_none(balanced.accuracy),
            balanced_accuracy_low=bounds and bounds.low,
            balanced_accuracy_high=bounds and bounds.high,
            pixels=int(found.pixels),
        )


def _add(states: dict[Key, State], key: Key, state: State) -> None:
    states[key] = states[key] + state if key in states else state


def _paired(
    results: Sequence[MethodResult], replicates: Mapping[Scored, Double]
) -> list[PairedResult]:
    """Gain of each network and oracle over the best strategy under the same change."""
    gains = []
    for result in results:
        rivals = [r for r in results if r.change == result.change and r.role == "strategy"]
        if result.role == "strategy" or not rivals:
            continue
        best = max(rivals, key=lambda rival: rival.auc)
        bounds = interval(replicates[_scored(result)] - replicates[_scored(best)])
        gains.append(
            PairedResult(
                **_scored(result)._asdict(),
                than=best.method,
                gain=result.auc - best.auc,
                low=bounds and bounds.low,
                high=bounds and bounds.high,
            )
        )
    return gains


def _paired_classifiers(
    results: Sequence[ClassifierResult], replicates: Mapping[Classified, Double]
) -> Iterator[PairedClassifier]:
    """Gain of each network and oracle over the best strategy with the same classifier."""
    known = {_classified(one): one for one in results if one.balanced_accuracy is not None}
    for of, one in known.items():
        rivals = [
            (other.balanced_accuracy or 0.0, rival)
            for rival, other in known.items()
            if other.role == "strategy" and rival[1:] == of[1:]
        ]
        if one.role == "strategy" or one.balanced_accuracy is None or not rivals:
            continue
        reached, best = max(rivals)
        bounds = interval(replicates[of] - replicates[best])
        yield PairedClassifier(
            **of._asdict(),
            than=best.method,
            gain=one.balanced_accuracy - reached,
            low=bounds and bounds.low,
            high=bounds and bounds.high,
        )


def _classified(result: ClassifierResult) -> Classified:
    return Classified(result.method, result.change, result.classifier)


def _scored(result: MethodResult) -> Scored:
    return Scored(result.method, result.change, result.difference)


def _calibration(method: str, found: Calibration) -> CalibrationResult:
    coverage = {
        f"{level:g}": float(share) for level, share in zip(LEVELS, found.coverage, strict=True)
    }
    return CalibrationResult(
        method=method, coverage=coverage, spread=found.spread, values=found.values
    )


def _kept(curve: Roc) -> Curve:
    return Curve(
        false_alarm_rate=tuple(np.round(curve.false_alarm_rate, 6).tolist()),
        detection_rate=tuple(np.round(curve.detection_rate, 6).tolist()),
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
