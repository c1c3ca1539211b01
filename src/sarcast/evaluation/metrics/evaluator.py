"""The state of an evaluation: all its statistics, added up window by window."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sarcast.arrays import Bool, Double, Float
from sarcast.errors import SarcastError
from sarcast.evaluation.metrics.intervals import CoarseCounts, Resampling, interval
from sarcast.evaluation.metrics.records import (
    CalibrationResult,
    ClassifierResult,
    CloserResult,
    Curve,
    Evaluation,
    GroupResult,
    MethodResult,
    PairedClassifier,
    PairedResult,
    Role,
)
from sarcast.evaluation.metrics.scores import Roc, ScoreCounts, auc_exact, average_precision, roc
from sarcast.evaluation.metrics.statistics import (
    LEVELS,
    Calibration,
    CloserCounts,
    Confusion,
    Errors,
)

FALSE_ALARM_RATES = (0.001, 0.01, 0.05, 0.1)
"""False-alarm rates at which the detection rate is reported."""

Key = TypeVar("Key")
State = TypeVar("State", ScoreCounts, Errors, Calibration, CloserCounts, Confusion)
Group = tuple[str, str]


class ScoreKey(NamedTuple):
    """Key of scores: names of the method, the simulated change and the difference image."""

    method: str
    change: str
    difference: str


class MapKey(NamedTuple):
    """Key of change maps: names of the method, the simulated change and the classifier."""

    method: str
    change: str
    classifier: str


@dataclass
class Evaluator:
    """State of an evaluation: sums of all statistics, which add like numbers.

    An empty evaluator is zero. Evaluators of different windows add, so that an evaluation can be
    split over processes::

        evaluator = Evaluator({"mean": "strategy", "unet": "network"})
        for name, scores, changed in windows:  # scores: norm of the difference image of the U-Net
            key = ScoreKey("unet", "offset -2.5 dB", "norm")
            evaluator.add_scores(key, count_scores(scores, changed), name)
        other_half = ...  # the same, in another process
        evaluation = (evaluator + other_half).result("A title", {}, rng=rng)

    Memory is bounded by one state for each method and change, and coarse counts of each window.

    Attributes
    ----------
    roles
        Role of each method, by its name.
    exact
        Keep every score, so that the AUC over all pixels is exact; memory grows with the pixels.
    """

    roles: Mapping[str, Role]
    exact: bool = False
    _scores: dict[ScoreKey, ScoreCounts] = field(default_factory=dict)
    _pixels: dict[ScoreKey, list[tuple[Float, Bool]]] = field(default_factory=dict)
    _windows: dict[ScoreKey, dict[str, CoarseCounts]] = field(default_factory=dict)
    _groups: dict[tuple[ScoreKey, Group], ScoreCounts] = field(default_factory=dict)
    _errors: dict[str, Errors] = field(default_factory=dict)
    _calibration: dict[str, Calibration] = field(default_factory=dict)
    _closer: dict[str, CloserCounts] = field(default_factory=dict)
    _maps: dict[MapKey, Confusion] = field(default_factory=dict)
    _balanced: dict[MapKey, dict[str, Confusion]] = field(default_factory=dict)
    _clusters: dict[str, str] = field(default_factory=dict)

    def set_cluster(self, window: str, cluster: str) -> None:
        """Assign a window to a cluster; a window that is not assigned is a cluster of its own.

        Parameters
        ----------
        window
            Identifier of the window.
        cluster
            Identifier of the cluster, as the date that its windows share: intervals resample
            clusters.
        """
        self._clusters[window] = cluster

    def add_scores(
        self, key: ScoreKey, scores: ScoreCounts, window: str, groups: Sequence[Group] = ()
    ) -> None:
        """Add the scores of one window's pixels.

        Parameters
        ----------
        key
            Method, change and difference image that were scored.
        scores
            Counts of one window; count the same pixels for every method to compare them fairly.
        window
            Identifier of the window, the same for every method.
        groups
            Groups of the window, as ``("pass", "ascending")``.
        """
        _add(self._scores, key, scores)
        self._windows.setdefault(key, {})[window] = CoarseCounts.of(scores)
        for group in groups:
            self.add_group(key, scores, group)

    def add_pixels(self, key: ScoreKey, scores: Float, changed: Bool) -> None:
        """Keep the scores of one window's pixels if ``exact`` is set; else do nothing."""
        if self.exact:
            self._pixels.setdefault(key, []).append((scores, changed))

    def add_group(self, key: ScoreKey, scores: ScoreCounts, group: Group) -> None:
        """Add scores to one group only, such as those of forest pixels to the group forest."""
        _add(self._groups, (key, group), scores)

    def add_errors(self, method: str, errors: Errors) -> None:
        """Add squared errors of a method's expected image against the target without change."""
        _add(self._errors, method, errors)

    def add_calibration(self, method: str, calibration: Calibration) -> None:
        """Add the calibration of a method's sigma on the target without change."""
        _add(self._calibration, method, calibration)

    def add_closer(self, method: str, closer: CloserCounts) -> None:
        """Add how often a method's expected image is closer than the latest previous image."""
        _add(self._closer, method, closer)

    @property
    def has_maps(self) -> bool:
        """Whether any change map was added."""
        return bool(self._maps)

    def add_map(self, key: MapKey, confusion: Confusion, window: str) -> None:
        """Add the change map of one window; its identifier is that of its scores."""
        _add(self._maps, key, confusion)
        _add(self._balanced.setdefault(key, {}), window, confusion.balanced())

    def __add__(self, other: "Evaluator") -> "Evaluator":
        summed = Evaluator({**self.roles, **other.roles}, self.exact and other.exact)
        summed._clusters.update({**self._clusters, **other._clusters})
        for name in ("_scores", "_groups", "_errors", "_calibration", "_closer", "_maps"):
            states = getattr(summed, name)
            for source in (self, other):
                for key, state in getattr(source, name).items():
                    _add(states, key, state)
        for source in (self, other):
            for score_key, windows in source._windows.items():
                summed._windows.setdefault(score_key, {}).update(windows)
            for map_key, maps in source._balanced.items():
                summed._balanced.setdefault(map_key, {}).update(maps)
            for score_key, pixels in source._pixels.items() if summed.exact else ():
                summed._pixels.setdefault(score_key, []).extend(pixels)
        return summed

    def result(
        self, title: str, provenance: dict[str, Any], *, rng: np.random.Generator
    ) -> Evaluation:
        """Compute the measures from the sums.

        Parameters
        ----------
        title
            Title of the report.
        provenance
            Command, versions and data of the evaluation.
        rng
            Generator of the bootstrap samples.

        Raises
        ------
        SarcastError
            If nothing was added, or all pixels are of one class.
        """
        if not self._scores:
            raise SarcastError(
                "nothing was evaluated; no window was valid for every method, or none has what the "
                "changes need, as forest and open land; check the masks, or choose other changes"
            )
        resampling = self._resampling(rng)
        areas = self._replicates(resampling)
        results = tuple(self._method(key, areas[key]) for key in self._scores)
        accuracies = {key: resampling.accuracies(maps) for key, maps in self._balanced.items()}
        classifiers = tuple(self._classifier(key, accuracies[key]) for key in self._maps)
        return Evaluation(
            title=title,
            results=results,
            paired=tuple(_paired(results, areas)),
            groups=tuple(self._group_results()),
            classifiers=classifiers,
            paired_classifiers=tuple(_paired_classifiers(classifiers, accuracies)),
            calibration=tuple(_calibration(*item) for item in self._calibration.items()),
            closer=tuple(self._closer_results()),
            provenance=provenance,
        )

    def _resampling(self, rng: np.random.Generator) -> Resampling:
        """Bootstrap samples of the windows, the same for all methods."""
        names = {name for windows in self._windows.values() for name in windows}
        return Resampling.of({name: self._clusters.get(name, name) for name in names}, rng=rng)

    def _replicates(self, resampling: Resampling) -> dict[ScoreKey, Double]:
        """AUCs of bootstrap samples, corrected by the error of the coarse bins on all windows."""
        replicates = {}
        for key, windows in self._windows.items():
            areas = resampling.areas(windows)
            replicates[key] = areas[1:] + (roc(self._scores[key]).auc - areas[0])
        return replicates

    def _method(self, key: ScoreKey, replicates: Double) -> MethodResult:
        scores, curve = self._scores[key], roc(self._scores[key])
        errors, bounds = self._errors.get(key.method), interval(replicates)
        windows = self._windows[key].values()
        return MethodResult(
            **key._asdict(),
            role=self.roles[key.method],
            auc=self._auc(key, curve),
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
            curve=_curve(curve.reduced()),
        )

    def _auc(self, key: ScoreKey, curve: Roc) -> float:
        if not self.exact:
            return curve.auc
        scores, changed = zip(*self._pixels[key], strict=True)
        return auc_exact(np.concatenate(scores), np.concatenate(changed))

    def _group_results(self) -> list[GroupResult]:
        """Results of the groups that have pixels of both classes."""
        return [
            GroupResult(
                **key._asdict(),
                factor=factor,
                value=value,
                auc=roc(scores).auc,
                pixels=scores.changed + scores.unchanged,
            )
            for (key, (factor, value)), scores in self._groups.items()
            if scores.changed and scores.unchanged
        ]

    def _closer_results(self) -> Iterator[CloserResult]:
        """Results of the methods that have a pixel to compare."""
        for method, counts in self._closer.items():
            if counts.pixels:
                yield CloserResult(
                    method=method,
                    role=self.roles[method],
                    shares=counts.shares,
                    windows=counts.share_of_images,
                    pixels=counts.pixels,
                )

    def _classifier(self, key: MapKey, replicates: Double) -> ClassifierResult:
        confusion, bounds = self._maps[key], interval(replicates)
        unchanged = confusion.false_positive + confusion.true_negative
        balanced = reduce(add, self._balanced[key].values())
        return ClassifierResult(
            **key._asdict(),
            role=self.roles[key.method],
            accuracy=_or_none(confusion.accuracy),
            f1=_or_none(confusion.f1),
            kappa=_or_none(confusion.kappa),
            detection_rate=_or_none(confusion.recall),
            false_alarm_rate=confusion.false_positive / unchanged if unchanged else None,
            balanced_accuracy=_or_none(balanced.accuracy),
            balanced_accuracy_low=bounds and bounds.low,
            balanced_accuracy_high=bounds and bounds.high,
            pixels=int(confusion.pixels),
        )


def _add(states: dict[Key, State], key: Key, state: State) -> None:
    states[key] = states[key] + state if key in states else state


def _paired(
    results: Sequence[MethodResult], replicates: Mapping[ScoreKey, Double]
) -> list[PairedResult]:
    """Gain of each network and the oracle over the best strategy under the same change."""
    gains = []
    for result in results:
        rivals = [r for r in results if r.change == result.change and r.role == "strategy"]
        if result.role == "strategy" or not rivals:
            continue
        best = max(rivals, key=lambda rival: rival.auc)
        bounds = interval(replicates[_score_key(result)] - replicates[_score_key(best)])
        gains.append(
            PairedResult(
                **_score_key(result)._asdict(),
                than=best.method,
                gain=result.auc - best.auc,
                low=bounds and bounds.low,
                high=bounds and bounds.high,
            )
        )
    return gains


def _paired_classifiers(
    results: Sequence[ClassifierResult], replicates: Mapping[MapKey, Double]
) -> Iterator[PairedClassifier]:
    """Gain of each network and the oracle over the best strategy with the same classifier."""
    known = {_map_key(result): result for result in results if result.balanced_accuracy is not None}
    for key, result in known.items():
        rivals = [
            (rival.balanced_accuracy or 0.0, rival_key)
            for rival_key, rival in known.items()
            if rival.role == "strategy" and rival_key[1:] == key[1:]
        ]
        if result.role == "strategy" or result.balanced_accuracy is None or not rivals:
            continue
        accuracy, best = max(rivals)
        bounds = interval(replicates[key] - replicates[best])
        yield PairedClassifier(
            **key._asdict(),
            than=best.method,
            gain=result.balanced_accuracy - accuracy,
            low=bounds and bounds.low,
            high=bounds and bounds.high,
        )


def _map_key(result: ClassifierResult) -> MapKey:
    return MapKey(result.method, result.change, result.classifier)


def _score_key(result: MethodResult) -> ScoreKey:
    return ScoreKey(result.method, result.change, result.difference)


def _calibration(method: str, counts: Calibration) -> CalibrationResult:
    coverage = {
        f"{level:g}": float(share) for level, share in zip(LEVELS, counts.coverage, strict=True)
    }
    return CalibrationResult(
        method=method, coverage=coverage, spread=counts.spread, values=counts.values
    )


def _curve(curve: Roc) -> Curve:
    return Curve(
        false_alarm_rate=tuple(np.round(curve.false_alarm_rate, 6).tolist()),
        detection_rate=tuple(np.round(curve.detection_rate, 6).tolist()),
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
