"""The rule ``sequential``: evidence against its replayed null distribution, night by night.

The metric of a pixel is the peak evidence (-log10 of the p-value) of the region that it lies in. It
is a detection where this exceeds the threshold of a loose rate of false events; the alert is
confirmed by a second detection once the greatest peak exceeds that of the accepted rate.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Bool, Double, Float, Labels
from sarcast.detection.null import Null
from sarcast.detection.regions import LEAST_PEAK
from sarcast.monitoring.layers import (
    CONFIRMED,
    FINISHED,
    Int,
    Layers,
    Look,
    Status,
    confirm,
    record_acquisition,
    record_look,
)

ACTIVE = tuple(status for status in Status if Status.NONE < status < Status.FINISHED_LOW)
"""Statuses of alerts that are neither finished nor dismissed."""
FEWEST_DETECTIONS = 2
"""Detections that confirm an alert."""


class SequentialOptions(BaseModel):
    """When an alert begins, is confirmed and ends."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    alert_factor: float = Field(
        10.0,
        ge=1.0,
        le=1e4,
        description="A detection exceeds the threshold of so many times the accepted rate of false "
        "events.",
    )
    misses: int = Field(
        6,
        ge=1,
        le=100,
        description="Acquisitions in a row without detection that end an alert: it is dismissed, "
        "or finished if it was confirmed.",
    )
    longest_days: int = Field(
        365, ge=1, le=3650, description="Days after its first detection at which an alert ends."
    )
    high_db: float = Field(
        3.0,
        gt=0.0,
        le=50.0,
        description="Norm over bands of the mean difference from which on a change has high "
        "magnitude, dB.",
    )


@dataclass(frozen=True)
class Sequential:
    """Confirms alerts by evidence.

    An alert begins with a detection. It ends after ``misses`` acquisitions without detection, or
    ``longest_days`` after its first one: a confirmed alert is finished, others are dismissed. The
    next detection begins a new one. Its magnitude is high where the norm over bands of the mean
    difference reaches ``high_db``.

    Attributes
    ----------
    alert, sure
        Evidence above which a region is a detection, and above which it confirms an alert.
    options
        Limits.
    """

    alert: float
    sure: float
    options: SequentialOptions = field(default_factory=SequentialOptions)
    name: ClassVar[str] = "sequential"

    @classmethod
    def of(cls, null: Null, false_events: float, options: SequentialOptions) -> "Sequential":
        """Make the rule of null distributions.

        A night has one acquisition, though several are watched: its rate of false events is that of
        the watch over their number.

        Parameters
        ----------
        null
            Of watches of as many acquisitions.
        false_events
            False events per 1 000 km² and acquisition that are accepted.
        options
            Limits.
        """
        accepted = false_events / null.looks
        alert = null.threshold(accepted * options.alert_factor)
        return cls(alert, null.threshold(accepted), options)

    def advance(self, layers: Layers, look: Look) -> Layers:
        """Return the layers after an acquisition."""
        hit = look.metric > self.alert
        new = hit & ~np.isin(layers.status, ACTIVE)
        blank = look.seen & (layers.status == Status.NO_DATA)
        recorded = record_look(layers.without_alert(blank), look, hit, new)
        counted = self._count(recorded, look, hit)
        judged = confirm(self._judge(counted, hit), look.day)
        ended = self._end(judged, look)
        return record_acquisition(ended, look, self._status_alone(look, hit))

    def _count(self, layers: Layers, look: Look, hit: Bool) -> Layers:
        """Count detections, and their percentage of all acquisitions."""
        counted = layers.updated(
            hit,
            count=np.minimum(layers.count.astype(np.int64) + 1, np.iinfo(np.uint16).max),
            confidence=layers.greatest_metric,
        )
        share = counted.count.astype(np.int64) * 100 // np.maximum(counted.looks, 1)
        alive = look.seen & np.isin(counted.status, ACTIVE)
        return counted.updated(alive | hit, percentage=np.minimum(share, 100).astype(np.uint8))

    def _judge(self, layers: Layers, hit: Bool) -> Layers:
        """Derive the status of alerts that are neither finished nor dismissed.

        Only a detection confirms: thresholds that fall when null distributions are renewed do not.
        """
        active = (layers.count > 0) & ~np.isin(layers.status, FINISHED)
        second = layers.count >= FEWEST_DETECTIONS
        sure = second & hit & (layers.greatest_metric > self.sure)
        low = np.where(second, Status.PROVISIONAL_LOW, Status.FIRST_LOW)
        low = np.where(sure | np.isin(layers.status, CONFIRMED), Status.CONFIRMED_LOW, low)
        steps = Status.FIRST_HIGH - Status.FIRST_LOW
        status = low + np.where(self._is_high(layers.magnitude), steps, 0)
        return layers.updated(active, status=status.astype(np.uint8))

    def _end(self, layers: Layers, look: Look) -> Layers:
        """Finish or dismiss alerts without detection, and those that last too long."""
        missed = look.seen & (layers.clean_looks >= self.options.misses)
        late = look.day - layers.first_day.astype(np.int64) >= self.options.longest_days
        over = np.isin(layers.status, ACTIVE) & (missed | late)
        confirmed = over & np.isin(layers.status, CONFIRMED)
        high = layers.status == Status.CONFIRMED_HIGH
        finished = np.where(high, Status.FINISHED_HIGH, Status.FINISHED_LOW).astype(np.uint8)
        return layers.updated(confirmed, status=finished).without_alert(over & ~confirmed)

    def _is_high(self, magnitude: Float) -> Bool:
        with np.errstate(invalid="ignore"):
            norm = np.sqrt(np.nansum(np.square(magnitude), axis=0))
            return np.asarray(norm >= self.options.high_db)

    def _status_alone(self, look: Look, hit: Bool) -> Int:
        """Status of each pixel in this acquisition alone."""
        high = self._is_high(look.magnitude)
        status = np.where(hit, np.where(high, Status.FIRST_HIGH, Status.FIRST_LOW), Status.NONE)
        return np.where(look.seen, status, Status.NO_DATA)


def region_metric(evidence: Float, numbers: Labels, peaks: Double) -> Float:
    """Peak evidence of each pixel's region, dims (y, x).

    Outside regions the evidence of the pixel, at most that of the lowest peak.

    Parameters
    ----------
    evidence
        Dims (y, x); NaN where not judged.
    numbers
        Dims (y, x): number of each pixel's region, as ``Regions.numbered`` gives it.
    peaks
        Dims (region): greatest evidence of each.
    """
    by_number = np.concatenate([[0.0], peaks]).astype(np.float32)
    outside = np.minimum(evidence, np.float32(LEAST_PEAK))
    metric: Float = np.where(numbers > 0, by_number[numbers], outside)
    return metric
