"""Scores of detected events: states that add over watches, and the measures of their sum.

A *watch* is one run of a detector: the last K acquisitions before a date, over an area. A detector
is scored at several *levels*, from loose to strict, so that detectors can be compared where they
raise equally many false events. For two watches of 100 km² and three acquisitions, with one false
event each at some level, the false events are 2 / 600 · 1000 = 3.3 per 1 000 km² and acquisition.
"""

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field

from sarcast.errors import SarcastError
from sarcast.evaluation.metrics.records import Record

DetectorRole = Literal["network", "strategy", "rule"]
"""The detection of this package with a network or with a strategy, or another published rule."""
KM2_ACQUISITIONS = 1000.0
"""False events are counted per so many square kilometres and acquisitions."""
AREA_CLASSES_HA: tuple[tuple[str, float], ...] = (
    ("0.5–1 ha", 1.0),
    ("1–3 ha", 3.0),
    ("> 3 ha", np.inf),
)
MAGNITUDE_CLASSES_DB: tuple[tuple[str, float], ...] = (
    ("< 1 dB", 1.0),
    ("1–2 dB", 2.0),
    ("2–3 dB", 3.0),
    ("≥ 3 dB", np.inf),
)
"""Names of the classes, and the values that they end at."""


class TruthScore(Record):
    """How well a detector found one change."""

    kind: str = Field(description="kind of the change")
    area_ha: float = Field(ge=0, description="area, hectares")
    magnitude_db: float | None = Field(description="greatest change of a band, dB; null: unknown")
    level: float | None = Field(
        description="strictest level at which it is found; null: it is found at none"
    )
    overlap: float | None = Field(
        None, description="intersection over union with its events at the detector's own level"
    )
    date_error: int | None = Field(
        None,
        description="date of its event at the detector's own level, in acquisitions after the "
        "first one that shows the change",
    )


class WatchScore(Record):
    """How well a detector did in one watch."""

    watch: str = Field(description="area and last acquisition")
    km2: float = Field(ge=0, description="area judged, km²")
    acquisitions: int = Field(ge=1, description="acquisitions watched")
    events: tuple[int, ...] = Field(
        description="events at each level, without those on changes that are not counted"
    )
    false_events: tuple[int, ...] = Field(description="those of them that touch no change")
    truths: tuple[TruthScore, ...] = Field(description="changes to be found")
    auc: float | None = Field(
        None, description="area under the ROC curve of its pixels; null without changes"
    )

    @property
    def exposure(self) -> float:
        """Area times acquisitions, in thousands of km²."""
        return self.km2 * self.acquisitions / KM2_ACQUISITIONS


class DetectorScores(Record):
    """Scores of a detector: those of parts of the watches add to those of all.

    Attributes
    ----------
    levels
        Thresholds, ascending: the last one is the strictest.
    own_level
        The level that the detector works at when it is asked for a rate of false events; None for
        a rule that has none.
    """

    name: str
    role: DetectorRole
    levels: tuple[float, ...]
    own_level: float | None = None
    watches: tuple[WatchScore, ...] = ()

    def __add__(self, other: Self) -> Self:
        mine, theirs = (
            self.model_copy(update={"watches": ()}),
            other.model_copy(update={"watches": ()}),
        )
        if mine != theirs:
            raise SarcastError(
                f"scores of {self.name} and {other.name} cannot be added: they are of different "
                f"detectors or levels"
            )
        return self.model_copy(update={"watches": self.watches + other.watches})

    @property
    def truths(self) -> tuple[TruthScore, ...]:
        """Changes to be found in all watches."""
        return tuple(truth for watch in self.watches for truth in watch.truths)

    @property
    def exposure(self) -> float:
        """Area times acquisitions of all watches, in thousands of km²."""
        return sum(watch.exposure for watch in self.watches)


class Operating(Record):
    """Measures of a detector at one level."""

    level: float
    recall: float | None = Field(description="share of the changes that are found")
    precision: float | None = Field(description="share of the events that touch a change")
    false_events: float | None = Field(description="per 1 000 km² and acquisition")
    found: int = Field(ge=0, description="changes found")
    truths: int = Field(ge=0, description="changes to be found")


class ClassRecall(Record):
    """Recall among the changes of one class."""

    factor: Literal["area", "magnitude", "kind"]
    value: str
    found: int
    truths: int

    @property
    def recall(self) -> float:
        """Share of the changes that are found."""
        return self.found / self.truths


def operating(scores: DetectorScores, level: float) -> Operating:
    """Measure a detector at one of its levels."""
    index = scores.levels.index(level)
    events = sum(watch.events[index] for watch in scores.watches)
    false = sum(watch.false_events[index] for watch in scores.watches)
    found = sum(is_found(truth, level) for truth in scores.truths)
    count = len(scores.truths)
    return Operating(
        level=level,
        recall=found / count if count else None,
        precision=(events - false) / events if events else None,
        false_events=false / scores.exposure if scores.exposure else None,
        found=found,
        truths=count,
    )


def curve(scores: DetectorScores) -> tuple[Operating, ...]:
    """Measure a detector at each of its levels: recall against false events."""
    return tuple(operating(scores, level) for level in scores.levels)


def is_found(truth: TruthScore, level: float) -> bool:
    """Whether a change is found at a level."""
    return truth.level is not None and truth.level >= level


def recall_by_class(scores: DetectorScores, level: float | None) -> tuple[ClassRecall, ...]:
    """Count what is found at a level, by class of area, by class of magnitude, and by kind.

    Classes without a change are left out; at no level, nothing is found.
    """
    groups: dict[tuple[Literal["area", "magnitude", "kind"], str], list[bool]] = {}
    kinds = sorted({truth.kind for truth in scores.truths})
    for name, _ in AREA_CLASSES_HA:
        groups["area", name] = []
    for name, _ in MAGNITUDE_CLASSES_DB:
        groups["magnitude", name] = []
    groups |= {("kind", kind): [] for kind in kinds}
    for truth in scores.truths:
        found = level is not None and is_found(truth, level)
        groups["area", _class_of(truth.area_ha, AREA_CLASSES_HA)].append(found)
        if truth.magnitude_db is not None:
            groups["magnitude", _class_of(truth.magnitude_db, MAGNITUDE_CLASSES_DB)].append(found)
        groups["kind", truth.kind].append(found)
    return tuple(
        ClassRecall(factor=factor, value=value, found=sum(found), truths=len(found))
        for (factor, value), found in groups.items()
        if found
    )


def _class_of(value: float, classes: Sequence[tuple[str, float]]) -> str:
    return next(name for name, end in classes if value < end)
