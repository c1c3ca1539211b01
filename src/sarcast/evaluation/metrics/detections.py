"""The result of an evaluation of detection, as stored in ``detection.json``."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from sarcast.evaluation.metrics.comparison import (
    PairedFalse,
    PairedRecall,
    compare,
    compare_false,
    level_at,
)
from sarcast.evaluation.metrics.events import (
    ClassRecall,
    DetectorRole,
    DetectorScores,
    Operating,
    curve,
    is_found,
    operating,
    recall_by_class,
)
from sarcast.evaluation.metrics.records import Record, StoredRecord


class DetectorResult(Record):
    """Measures of one detector over all watches."""

    detector: str
    role: DetectorRole
    own: Operating | None = Field(
        description="at its own level: the one that gives the rate of false events asked for, or "
        "the published one of a rule; null: it has none"
    )
    equal: Operating | None = Field(
        description="at the loosest level that keeps to the rate asked for in these watches; null: "
        "none does"
    )
    classes: tuple[ClassRecall, ...] = Field(description="what is found at that level, by class")
    curve: tuple[Operating, ...] = Field(description="at each level")
    overlap: float | None = Field(
        description="intersection over union, mean of the changes found at its own level"
    )
    dated: float | None = Field(
        description="share of the changes found at its own level whose date is off by one "
        "acquisition at most"
    )
    date_error: float | None = Field(
        description="acquisitions after the first one that shows a change, mean over the changes "
        "found at its own level"
    )
    auc: float | None = Field(
        description="area under the ROC curve of pixels, mean over the watches with changes"
    )


class DetectionEvaluation(StoredRecord):
    """Result of an evaluation of detection."""

    what, command = "an evaluation of detection", "sarcast evaluate --detection"

    schema_version: Literal[1] = 1
    title: str
    false_events: float = Field(
        description="rate asked for, false events per 1 000 km² and acquisition"
    )
    watches: int = Field(description="watches evaluated")
    km2_acquisitions: float = Field(description="their area times acquisitions, km²")
    results: tuple[DetectorResult, ...]
    paired: tuple[PairedRecall, ...] = Field(
        default=(), description="recall of the networks minus that of every other detector"
    )
    paired_false: tuple[PairedFalse, ...] = Field(
        default=(), description="false events of every other detector minus those of the networks"
    )
    scores: tuple[DetectorScores, ...] = Field(description="scores of each watch")
    provenance: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(
        cls,
        scores: Sequence[DetectorScores],
        title: str,
        false_events: float,
        provenance: dict[str, Any],
        *,
        rng: np.random.Generator,
    ) -> Self:
        """Measure and compare detectors.

        Parameters
        ----------
        scores
            Of the same watches.
        title
            Title of tables and pages.
        false_events
            Rate at which detectors are compared, per 1 000 km² and acquisition.
        provenance
            Command, versions and data.
        rng
            Generator of the bootstrap samples.
        """
        networks = [each for each in scores if each.role == "network"]
        others = [each for each in scores if each.role != "network"]
        pairs = [(network, other) for network in networks for other in others]
        fewer = [compare_false(*pair, rng=rng) for pair in pairs]
        return cls(
            title=title,
            false_events=false_events,
            watches=len(scores[0].watches),
            km2_acquisitions=1000.0 * scores[0].exposure,
            results=tuple(_result(each, false_events) for each in scores),
            paired=tuple(compare(*pair, false_events, rng=rng) for pair in pairs),
            paired_false=tuple(each for each in fewer if each is not None),
            scores=tuple(scores),
            provenance=provenance,
        )


def _result(scores: DetectorScores, false_events: float) -> DetectorResult:
    level = level_at(scores, false_events)
    own = scores.own_level
    found = [truth for truth in scores.truths if own is not None and is_found(truth, own)]
    errors = [truth.date_error for truth in found if truth.date_error is not None]
    areas = [watch.auc for watch in scores.watches if watch.auc is not None]
    return DetectorResult(
        detector=scores.name,
        role=scores.role,
        own=None if own is None else operating(scores, own),
        equal=None if level is None else operating(scores, level),
        classes=recall_by_class(scores, level),
        curve=curve(scores),
        overlap=_mean([truth.overlap for truth in found if truth.overlap is not None]),
        dated=_mean([float(abs(error) <= 1) for error in errors]),
        date_error=_mean([float(error) for error in errors]),
        auc=_mean(areas),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
