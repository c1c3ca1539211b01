"""Scores of detected events: states that add over watches, and the measures of their sum.

A *watch* is one run of a detector: the last K acquisitions before a date, over an area. A detector
is scored at several *levels*, from loose to strict, so that detectors can be compared where they
raise equally many false events. For two watches of 100 km² and three acquisitions, with one false
event each at some level, the false events are 2 / 600 · 1000 = 3.3 per 1 000 km² and acquisition.
"""

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Double
from sarcast.errors import SarcastError
from sarcast.evaluation.metrics.intervals import draw_weights, interval

DetectorRole = Literal["network", "strategy", "rule"]
"""The detection of this package with a network or with a strategy, or another published rule."""
KM2_ACQUISITIONS = 1000.0
"""False events are counted per so many square kilometres and acquisitions."""
FEWEST_WATCHES = 4
"""Fewest watches that an interval is given for."""
RATES = tuple(np.geomspace(1.0 / 3.0, 3.0, 7).tolist())
"""Rates of false events that detectors are compared at, over the one asked for."""
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


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TruthScore(_Record):
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


class WatchScore(_Record):
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


class DetectorScores(_Record):
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


class Operating(_Record):
    """Measures of a detector at one level."""

    level: float
    recall: float | None = Field(description="share of the changes that are found")
    precision: float | None = Field(description="share of the events that touch a change")
    false_events: float | None = Field(description="per 1 000 km² and acquisition")
    found: int = Field(ge=0, description="changes found")
    truths: int = Field(ge=0, description="changes to be found")


class ClassRecall(_Record):
    """Recall among the changes of one class."""

    factor: Literal["area", "magnitude", "kind"]
    value: str
    found: int
    truths: int

    @property
    def recall(self) -> float:
        """Share of the changes that are found."""
        return self.found / self.truths


class PairedRecall(_Record):
    """Difference of two detectors on the same watches, where both raise equally many false events.

    The recall of each is the mean over rates of false events from a third of the one asked for to
    three times it: at a single rate, one false event more or less would decide.
    """

    detector: str
    than: str
    false_events: float = Field(description="rate asked for, per 1 000 km² and acquisition")
    gain: float = Field(description="recall of the detector minus that of the other")
    low: float | None = Field(description="lower end of its 95 % interval; null: too few watches")
    high: float | None = Field(description="upper end of that interval")


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


def level_at(scores: DetectorScores, false_events: float) -> float | None:
    """Find the loosest level that keeps to a rate of false events, as do all stricter ones.

    Parameters
    ----------
    scores
        Scores over all watches.
    false_events
        Highest rate, per 1 000 km² and acquisition.

    Returns
    -------
    float or None
        None if not even the strictest level keeps to it.
    """
    index = int(_level_indices(_Arrays(scores), np.ones((1, len(scores.watches))), false_events)[0])
    return scores.levels[index] if index < len(scores.levels) else None


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


def compare(
    scores: DetectorScores,
    other: DetectorScores,
    false_events: float,
    *,
    rng: np.random.Generator,
) -> PairedRecall:
    """Compare the recall of two detectors at equally many false events.

    At each rate, a detector has the loosest level that keeps to it over the same watches. The
    interval resamples watches, each with all of its changes and false events, and finds the levels
    anew.

    Parameters
    ----------
    scores, other
        Of the same watches, in the same order.
    false_events
        Rate asked for, per 1 000 km² and acquisition.
    rng
        Generator of the bootstrap samples.

    Raises
    ------
    SarcastError
        If the watches differ.

    References
    ----------
    Efron, Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    if [w.watch for w in scores.watches] != [w.watch for w in other.watches]:
        raise SarcastError(f"{scores.name} and {other.name} were not scored on the same watches")
    count = len(scores.watches)
    weights = np.concatenate([np.ones((1, count)), draw_weights(count, rng=rng)])
    mine, theirs = (
        np.mean([_recalls(_Arrays(each), weights, r * false_events) for r in RATES], axis=0)
        for each in (scores, other)
    )
    gains = mine - theirs
    bounds = interval(gains[1:]) if count >= FEWEST_WATCHES else None
    return PairedRecall(
        detector=scores.name,
        than=other.name,
        false_events=false_events,
        gain=float(np.nan_to_num(gains[0])),
        low=None if bounds is None else bounds.low,
        high=None if bounds is None else bounds.high,
    )


class _Arrays:
    """Counts of a detector as arrays, dims (watch) and (watch, level)."""

    def __init__(self, scores: DetectorScores) -> None:
        levels = scores.levels
        self.false: Double = np.array([w.false_events for w in scores.watches], dtype=float)
        self.false = self.false.reshape(len(scores.watches), len(levels))
        self.found: Double = np.array(
            [
                [sum(is_found(t, level) for t in w.truths) for level in levels]
                for w in scores.watches
            ],
            dtype=float,
        ).reshape(self.false.shape)
        self.truths: Double = np.array([len(w.truths) for w in scores.watches], dtype=float)
        self.exposure: Double = np.array([w.exposure for w in scores.watches], dtype=float)


def _level_indices(
    counts: _Arrays, weights: Double, false_events: float
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Index of the loosest level to keep to a rate, dims (sample); their number if none does.

    Loose levels join regions to a few great ones, which are few false events: a level counts only
    if all stricter ones keep to the rate.
    """
    rates = (weights @ counts.false) / np.maximum(weights @ counts.exposure, 1e-12)[:, None]
    kept = np.flip(np.cumprod(np.flip(rates <= false_events, axis=1), axis=1), axis=1)
    number: np.ndarray[tuple[int], np.dtype[np.intp]] = kept.shape[1] - kept.sum(axis=1)
    return number


def _recalls(counts: _Arrays, weights: Double, false_events: float) -> Double:
    """Recall at a rate of false events, dims (sample); NaN where a sample has no change."""
    index = _level_indices(counts, weights, false_events)
    found = np.concatenate([weights @ counts.found, np.zeros((len(weights), 1))], axis=1)
    truths = weights @ counts.truths
    chosen = np.take_along_axis(found, index[:, None], axis=1)[:, 0]
    recall: Double = np.full(len(weights), np.nan)
    np.divide(chosen, truths, out=recall, where=truths > 0)
    return recall


def _class_of(value: float, classes: Sequence[tuple[str, float]]) -> str:
    return next(name for name, end in classes if value < end)
