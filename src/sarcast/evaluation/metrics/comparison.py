"""Detectors compared on the same watches: at equally many false events, and at equal recall."""

from typing import Any

import numpy as np
from pydantic import Field

from sarcast.arrays import Double
from sarcast.errors import SarcastError
from sarcast.evaluation.metrics.events import DetectorScores, is_found
from sarcast.evaluation.metrics.intervals import draw_weights, interval
from sarcast.evaluation.metrics.records import Record

FEWEST_WATCHES = 4
"""Fewest watches that an interval is given for."""
RATES = tuple(np.geomspace(1.0 / 3.0, 3.0, 7).tolist())
"""Rates of false events that detectors are compared at, over the one asked for."""


class PairedRecall(Record):
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


class PairedFalse(Record):
    """Difference of two detectors on the same watches, where both find equally many changes.

    That is as many as the detector finds at its own level or, if the other cannot find so many, as
    many as that one finds at its loosest level.
    """

    detector: str
    than: str
    recall: float = Field(description="recall of both")
    gain: float = Field(
        description="false events of the other minus those of the detector, per 1 000 km² and "
        "acquisition"
    )
    low: float | None = Field(description="lower end of its 95 % interval; null: too few watches")
    high: float | None = Field(description="upper end of that interval")


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
    weights = _weights(scores, other, rng=rng)
    mine, theirs = (
        np.mean([_recalls(_Arrays(each), weights, r * false_events) for r in RATES], axis=0)
        for each in (scores, other)
    )
    return PairedRecall(
        detector=scores.name,
        than=other.name,
        false_events=false_events,
        **_gain(mine - theirs, len(scores.watches)),
    )


def compare_false(
    scores: DetectorScores, other: DetectorScores, *, rng: np.random.Generator
) -> PairedFalse | None:
    """Compare the false events of two detectors where both find equally many changes.

    Each has the strictest level that finds so many. The interval resamples watches as ``compare``.

    Parameters
    ----------
    scores, other
        Of the same watches, in the same order.
    rng
        Generator of the bootstrap samples.

    Returns
    -------
    PairedFalse or None
        None if there is no change to be found, one of them finds none, or the first has no level
        of its own.

    Raises
    ------
    SarcastError
        If the watches differ.
    """
    if scores.own_level is None:
        return None
    weights = _weights(scores, other, rng=rng)
    mine, theirs = _Arrays(scores), _Arrays(other)
    own = mine.recalls(weights)[:, scores.levels.index(scores.own_level)]
    target = np.minimum(own, theirs.recalls(weights)[:, 0])
    if not target[0] > 0.0:
        return None
    gains = theirs.rates_at(target, weights) - mine.rates_at(target, weights)
    return PairedFalse(
        detector=scores.name,
        than=other.name,
        recall=float(target[0]),
        **_gain(gains, len(scores.watches)),
    )


def _weights(scores: DetectorScores, other: DetectorScores, *, rng: np.random.Generator) -> Double:
    """How often each watch is drawn, dims (sample, watch); the first sample is the original."""
    if [w.watch for w in scores.watches] != [w.watch for w in other.watches]:
        raise SarcastError(f"{scores.name} and {other.name} were not scored on the same watches")
    count = len(scores.watches)
    return np.concatenate([np.ones((1, count)), draw_weights(count, rng=rng)])


def _gain(gains: Double, watches: int) -> dict[str, Any]:
    """Gain of the original sample, the first, and the interval over the others."""
    bounds = interval(gains[1:]) if watches >= FEWEST_WATCHES else None
    return {
        "gain": float(np.nan_to_num(gains[0])),
        "low": None if bounds is None else bounds.low,
        "high": None if bounds is None else bounds.high,
    }


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

    def rates(self, weights: Double) -> Double:
        """False events per 1 000 km² and acquisition, dims (sample, level)."""
        exposure = np.maximum(weights @ self.exposure, 1e-12)
        rates: Double = (weights @ self.false) / exposure[:, None]
        return rates

    def recalls(self, weights: Double) -> Double:
        """Recall, dims (sample, level); 0 where a sample has no change."""
        truths = np.maximum(weights @ self.truths, 1.0)
        recalls: Double = (weights @ self.found) / truths[:, None]
        return recalls

    def rates_at(self, recall: Double, weights: Double) -> Double:
        """Rate of false events at the strictest level of at least a recall, dims (sample)."""
        enough = self.recalls(weights) >= recall[:, None] - 1e-9
        index = enough.sum(axis=1) - 1
        rates: Double = np.take_along_axis(self.rates(weights), index[:, None], axis=1)[:, 0]
        return rates


def _level_indices(
    counts: _Arrays, weights: Double, false_events: float
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Index of the loosest level to keep to a rate, dims (sample); their number if none does.

    Loose levels join regions to a few great ones, which are few false events: a level counts only
    if all stricter ones keep to the rate.
    """
    rates = counts.rates(weights)
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
