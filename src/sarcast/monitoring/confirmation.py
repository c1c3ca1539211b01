"""Rules of confirmation: what becomes of the alerts of each pixel when an acquisition arrives.

``Opera`` reproduces DIST-ALERT.

References
----------
OPERA Land Surface Disturbance Alert from Sentinel-1 (DIST-ALERT-S1), confirmation of products:
github.com/opera-adt/dist-s1 (``confirmation.py``), version 2.0.6; written anew, not copied.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sarcast.arrays import Bool, Double, Float
from sarcast.monitoring.layers import (
    CONFIRMED,
    FINISHED,
    Int,
    Layers,
    Look,
    Status,
    clean_so_far,
    confirm,
    has_percentage,
    record_acquisition,
    record_look,
)


@runtime_checkable
class ConfirmationRule(Protocol):
    """Decides, pixel by pixel, which alerts begin, are confirmed and end."""

    @property
    def name(self) -> str:
        """Name on the command line and in results."""
        ...

    def advance(self, layers: Layers, look: Look) -> Layers:
        """Return the layers after an acquisition.

        Parameters
        ----------
        layers
            The layers after the acquisition before; not changed.
        look
            An acquisition of the same shape and bands that is not older.
        """
        ...


LONGEST_DAYS = 365
"""DIST-ALERT forgets an alert more than so many days after its first detection."""


class OperaOptions(BaseModel):
    """Parameters of DIST-ALERT, with the names and values in the tags of its products."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low_confidence_alert_threshold: float = Field(
        2.5, gt=0.0, description="Metric from which on an acquisition is a detection."
    )
    high_confidence_alert_threshold: float = Field(
        4.5, gt=0.0, description="Greatest metric from which on an alert has high magnitude."
    )
    confirmation_confidence_threshold: float = Field(
        22.5, gt=0.0, description="Confidence from which on an alert is confirmed."
    )
    metric_value_upper_lim: float = Field(
        100.0, gt=0.0, description="Greater metrics count as this one in the confidence."
    )
    confidence_upper_lim: float = Field(
        32000.0, gt=0.0, le=2**24, description="Greatest confidence."
    )
    max_obs_num_year: int = Field(
        253, ge=1, le=65535, description="Detections are counted up to this number."
    )
    no_day_limit: int = Field(
        30, ge=1, description="Days after the last detection from which on an alert ends."
    )
    percent_reset_thresh: int = Field(
        10, ge=0, le=100, description="An alert with a lower percentage of detections ends."
    )
    no_count_reset_thresh: int = Field(
        7,
        ge=1,
        description="Number of acquisitions without detection since the first detection that ends "
        "an alert at the next acquisition.",
    )
    exclude_consecutive_no_dist: bool = Field(
        True, description="Two acquisitions without detection in a row do not end an alert."
    )

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low_confidence_alert_threshold > self.high_confidence_alert_threshold:
            raise ValueError(
                "high_confidence_alert_threshold is below low_confidence_alert_threshold "
                f"({self.high_confidence_alert_threshold:g} < "
                f"{self.low_confidence_alert_threshold:g}); give both"
            )
        return self


@dataclass(frozen=True)
class Opera:
    """The rule of DIST-ALERT, which its products of ten acquisitions hold in every pixel.

    An acquisition is a detection where its metric reaches the low threshold. The first one begins
    an alert. With c detections and n acquisitions without one since then, confidence C and the
    (capped) metric m of an acquisition,

        C' = trunc(c² (C / c² (c + n) + m) / (c + n + 1)),

    where c counts the present detection already. The alert is confirmed where C' reaches its
    threshold, but not on its first day. It ends

    - ``no_day_limit`` days after its last detection, whether or not anything was seen since then;
    - if the first acquisition after a single detection is none;
    - if less than ``percent_reset_thresh`` percent of its acquisitions are detections;
    - at the acquisition after the ``no_count_reset_thresh``-th one without detection;
    - unless ``exclude_consecutive_no_dist``, after two acquisitions without detection in a row;
    - more than 365 days after its first detection.

    A confirmed alert that ends is finished, and stays so until a new detection or for the rest of
    the 365 days; others are forgotten, with percentage 0 until the next acquisition.

    Notes
    -----
    Descriptions call the confidence the mean metric of the detections times the square of their
    count. The products show that the mean includes acquisitions without detection, that the
    confidence before a detection is divided by a count which includes it, and that the result is
    truncated from the second acquisition on. They also show that an acquisition that does not see
    a pixel, though not counted, has the status derived again from what is known.

    Ten products within 36 days finish no alert and reach neither the caps nor the limits of days,
    percentage and acquisitions without detection: there the rule follows the published source. So
    it does where n is derived from the count and the percentage, a whole number, and is exact for
    few acquisitions only; and where a confirmed alert of low magnitude is provisional again because
    its greatest metric reaches the high threshold while its confidence is below that of
    confirmation.

    Attributes
    ----------
    options
        Thresholds and limits.
    """

    options: OperaOptions = field(default_factory=OperaOptions)
    name: ClassVar[str] = "opera"

    def advance(self, layers: Layers, look: Look) -> Layers:
        """Return the layers after an acquisition."""
        hit = look.metric >= self.options.low_confidence_alert_threshold
        begun = _begin(layers, look, hit)
        clean = clean_so_far(begun.count, begun.percentage)
        new = hit & (begun.status == Status.NONE)
        counted = self._count(record_look(begun, look, hit, new), look, hit, clean)
        judged = self._judge(self._weigh(counted, look, new, clean), look.day)
        ended = self._ends(judged, look, hit, clean) & (judged.status <= Status.CONFIRMED_HIGH)
        return record_acquisition(_end(judged, ended), look, self._status_alone(look))

    def _count(self, layers: Layers, look: Look, hit: Bool, clean: Int) -> Layers:
        """Count detections, and their percentage of all acquisitions."""
        most = self.options.max_obs_num_year
        more = hit & (layers.count < most)
        count = layers.count + more
        counted = layers.updated(more, count=count, percentage=_percentage(count, clean))
        missed = look.seen & ~hit & has_percentage(layers.percentage)
        return counted.updated(missed, percentage=_percentage(layers.count, clean + 1))

    def _weigh(self, layers: Layers, look: Look, new: Bool, clean: Int) -> Layers:
        """Update the confidence."""
        metric = np.minimum(look.metric, np.float32(self.options.metric_value_upper_lim))
        known = look.seen & (layers.confidence > 0) & (layers.status <= Status.CONFIRMED_HIGH)
        confidence = np.minimum(
            _confidence(layers, metric, clean), self.options.confidence_upper_lim
        )
        return layers.updated(known, confidence=confidence).updated(new, confidence=metric)

    def _judge(self, layers: Layers, day: int) -> Layers:
        """Derive the status of alerts that are not finished."""
        options = self.options
        high = layers.greatest_metric >= options.high_confidence_alert_threshold
        first = np.where(high, Status.FIRST_HIGH, Status.FIRST_LOW)
        confirmed = first + (Status.CONFIRMED_LOW - Status.FIRST_LOW)
        sure = layers.confidence >= options.confirmation_confidence_threshold
        status = np.where(sure | (layers.status == confirmed), confirmed, first + 1)
        status = np.where(layers.duration == 1, first, status)
        small = layers.greatest_metric < options.low_confidence_alert_threshold
        active = ~np.isin(layers.status, (*FINISHED, Status.NO_DATA))
        return confirm(layers.updated(active, status=np.where(small, Status.NONE, status)), day)

    def _ends(self, layers: Layers, look: Look, hit: Bool, clean: Int) -> Bool:
        """Where an alert ends, if it is not finished already."""
        options = self.options
        missed = look.seen & ~hit
        late = look.day - layers.last_detection >= options.no_day_limit
        ends = layers.has_alert & late
        ends |= missed & (layers.duration == 1)
        ends |= layers.percentage < options.percent_reset_thresh
        ends |= clean >= options.no_count_reset_thresh
        if not options.exclude_consecutive_no_dist:
            ends |= missed & (~layers.has_alert | (layers.last_day > layers.last_detection))
        return ends

    def _status_alone(self, look: Look) -> Int:
        """Status of each pixel in this acquisition alone."""
        options = self.options
        hit = look.metric >= options.low_confidence_alert_threshold
        high = look.metric >= options.high_confidence_alert_threshold
        status = np.where(high, Status.FIRST_HIGH, np.where(hit, Status.FIRST_LOW, Status.NONE))
        return np.where(look.seen, status, Status.NO_DATA)


def _begin(layers: Layers, look: Look, hit: Bool) -> Layers:
    """Forget what a look ends before it counts: no alert, an old one, a finished one hit anew."""
    old = layers.has_alert & (look.day - layers.first_day > LONGEST_DAYS)
    over = ~layers.has_alert | (hit & np.isin(layers.status, FINISHED))
    return _forget(layers.without_alert(look.seen & over), look.seen & old)


def _forget(layers: Layers, where: Bool) -> Layers:
    """Forget alerts, with percentage 0 until the next acquisition."""
    return layers.without_alert(where).updated(where, percentage=0)


def _percentage(count: Int, clean: Int) -> Int:
    """Percentage of detections, truncated; 0 where there are none."""
    percentage: Int = count.astype(np.int32) * 100 // np.maximum(count + clean, 1)
    return percentage


def _confidence(layers: Layers, metric: Float, clean: Int) -> Double:
    """Confidence after an acquisition of an alert, whose detections are counted already."""
    count = np.maximum(layers.count, 1).astype(np.float64)
    looks = count + clean
    mean = (layers.confidence / count**2 * looks + metric) / (looks + 1)
    confidence: Double = np.trunc(mean * count * count)
    return confidence


def _end(layers: Layers, ends: Bool) -> Layers:
    """Finish confirmed alerts, forget others."""
    low = layers.status == Status.CONFIRMED_LOW
    confirmed = ends & np.isin(layers.status, CONFIRMED)
    forgotten = _forget(layers, ends & ~confirmed)
    return forgotten.updated(confirmed, status=np.where(low, *FINISHED))
