"""What is known of each pixel while it is monitored, and one acquisition that adds to it.

Everything is per pixel, so that blocks can be processed alone: the layers of a block, advanced,
equal the block of the advanced layers.

References
----------
OPERA Land Surface Disturbance Alert from Sentinel-1 (DIST-ALERT-S1), product documentation: status
codes and layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Bool, Float
from sarcast.errors import SarcastError

NO_DAY = int(np.iinfo(np.int32).min)
"""Value of a day where there is none."""
NO_PERCENTAGE = 255
"""Percentage where there is no alert."""

Int = npt.NDArray[np.integer]


class Status(IntEnum):
    """Status of a pixel, with the codes of DIST-ALERT; low and high are the magnitude."""

    NONE = 0
    FIRST_LOW = 1
    PROVISIONAL_LOW = 2
    CONFIRMED_LOW = 3
    FIRST_HIGH = 4
    PROVISIONAL_HIGH = 5
    CONFIRMED_HIGH = 6
    FINISHED_LOW = 7
    FINISHED_HIGH = 8
    NO_DATA = 255


CONFIRMED = (Status.CONFIRMED_LOW, Status.CONFIRMED_HIGH)
FINISHED = (Status.FINISHED_LOW, Status.FINISHED_HIGH)
"""Confirmed, and finished."""


def day_of(time: np.datetime64) -> int:
    """Days since 1970-01-01 of a time, UTC."""
    return int(time.astype("datetime64[D]").astype(np.int64))


@dataclass(frozen=True)
class Look:
    """One acquisition, as a confirmation rule is given it.

    Attributes
    ----------
    time
        Acquisition time, UTC.
    metric
        Dims (y, x), NaN where the acquisition does not see the pixel: how far the acquisition
        departs from what was expected, in the unit of the rule. ``opera`` takes a distance in
        standard deviations, ``sequential`` evidence (-log10 of the p-value).
    magnitude
        Dims (band, y, x), dB: actual − expected, NaN where not seen.
    """

    time: np.datetime64
    metric: Float
    magnitude: Float

    def __post_init__(self) -> None:
        """Refuse images of different shapes."""
        if self.magnitude.ndim != 3 or self.magnitude.shape[1:] != self.metric.shape:
            raise ValueError(
                f"expected a magnitude of dims (band, {self.metric.shape[0]}, "
                f"{self.metric.shape[1]}), got {self.magnitude.shape}"
            )

    @property
    def day(self) -> int:
        """Days since 1970-01-01."""
        return day_of(self.time)

    @property
    def seen(self) -> Bool:
        """Dims (y, x): where the acquisition sees the ground."""
        return ~np.isnan(self.metric)

    def block(self, rows: slice, columns: slice) -> Self:
        """Return the part of the acquisition in some rows and columns."""
        metric, magnitude = self.metric[rows, columns], self.magnitude[:, rows, columns]
        return replace(self, metric=metric, magnitude=magnitude)


@dataclass(frozen=True)
class Layers:
    """What is known of each pixel after an acquisition.

    Days are counted since 1970-01-01, ``NO_DAY`` where there is none. Apart from ``last_day`` all
    layers from ``greatest_metric`` on are those of the present alert of a pixel.

    Attributes
    ----------
    status
        Dims (y, x), uint8: ``Status``; ``NO_DATA`` until the pixel is first seen.
    acquisition_status
        Dims (y, x), uint8: of the last acquisition alone: ``NONE``, ``FIRST_LOW``, ``FIRST_HIGH``,
        or ``NO_DATA`` where it does not see the pixel.
    metric
        Dims (y, x), float32: metric of the last acquisition, NaN where it does not see the pixel.
    greatest_metric
        Dims (y, x), float32: greatest metric; NaN until the pixel is first seen.
    confidence
        Dims (y, x), float32: what the rule compares with its threshold of confirmation; NaN until
        the pixel is first seen.
    first_day
        Dims (y, x), int32: first detection.
    confirmed_day
        Dims (y, x), int32: acquisition that confirmed the alert; ``NO_DAY`` unless it is confirmed
        or finished.
    last_day
        Dims (y, x), int32: last acquisition that saw the pixel.
    count
        Dims (y, x), uint16: detections.
    percentage
        Dims (y, x), uint8: percentage of the acquisitions since the first detection that are
        detections; ``NO_PERCENTAGE`` where there is no alert.
    duration
        Dims (y, x), int32: days from the first to the last detection, both included; 0: no alert.
    magnitude
        Dims (band, y, x), float32, dB: mean of actual − expected over the detections; NaN where
        there is no alert.
    magnitude_looks
        Dims (band, y, x), uint16: detections that ``magnitude`` is a mean of.
    looks
        Dims (y, x), uint16: acquisitions that saw the pixel since the first detection, included.
    clean_looks
        Dims (y, x), uint16: acquisitions without detection since the last detection.
    """

    status: Int
    acquisition_status: Int
    metric: Float
    greatest_metric: Float
    confidence: Float
    first_day: Int
    confirmed_day: Int
    last_day: Int
    count: Int
    percentage: Int
    duration: Int
    magnitude: Float
    magnitude_looks: Int
    looks: Int
    clean_looks: Int

    @classmethod
    def empty(cls, shape: tuple[int, int], bands: int) -> Self:
        """Return layers of pixels that no acquisition has seen."""
        return cls(
            **{
                name: np.full(layer.shape(shape, bands), layer.blank, layer.dtype)
                for name, layer in LAYERS.items()
            }
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the layers that ``arrays`` gave, read from disk."""
        missing, unknown = sorted(LAYERS.keys() - arrays), sorted(arrays.keys() - LAYERS)
        if missing or unknown:
            raise SarcastError(
                "expected the monitoring layers of this version, but "
                f"missing are {missing or 'none'} and unknown are {unknown or 'none'}; "
                "use the version of sarcast that wrote them, or start a new monitoring folder"
            )
        for name, values in arrays.items():
            _check(name, values, arrays["status"].shape, len(arrays["magnitude"]))
        return cls(**arrays)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return each layer by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        rows, columns = self.status.shape
        return rows, columns

    @property
    def bands(self) -> int:
        """Number of bands of ``magnitude``."""
        return len(self.magnitude)

    @property
    def has_alert(self) -> Bool:
        """Dims (y, x): where there is an alert, in whatever state."""
        alert: Bool = self.first_day != NO_DAY
        return alert

    @property
    def last_detection(self) -> Int:
        """Dims (y, x), int32: day of the last detection; meaningless without an alert."""
        return self.first_day + self.duration - 1

    def block(self, rows: slice, columns: slice) -> Self:
        """Return the layers of some rows and columns: views, not copies."""
        parts = {name: values[..., rows, columns] for name, values in self.arrays().items()}
        return type(self)(**parts)

    def without_alert(self, where: Bool) -> Self:
        """Return the layers with the alerts of some pixels forgotten: status ``NONE``."""
        blank = {name: LAYERS[name].blank for name in _OF_ALERT}
        blank |= {"status": Status.NONE, "greatest_metric": 0.0, "confidence": 0.0}
        return self.updated(where, **blank)

    def updated(self, where: Bool, **values: Any) -> Self:
        """Return the layers with new values of some layers in some pixels.

        Parameters
        ----------
        where
            Dims (y, x).
        values
            By name of a layer: a number, or an array of the layer's dims.
        """
        layers = self.arrays()
        return replace(
            self,
            **{
                name: np.where(where, value, layers[name]).astype(layers[name].dtype)
                for name, value in values.items()
            },
        )


@dataclass(frozen=True)
class Layer:
    """How a layer is stored: its type, its value without alert or data, whether by band."""

    dtype: type[np.generic]
    blank: float
    by_band: bool = False

    def shape(self, shape: tuple[int, int], bands: int) -> tuple[int, ...]:
        """Return the layer's shape in an area of that shape."""
        return (bands, *shape) if self.by_band else shape


LAYERS = {
    "status": Layer(np.uint8, Status.NO_DATA),
    "acquisition_status": Layer(np.uint8, Status.NO_DATA),
    "metric": Layer(np.float32, np.nan),
    "greatest_metric": Layer(np.float32, np.nan),
    "confidence": Layer(np.float32, np.nan),
    "first_day": Layer(np.int32, NO_DAY),
    "confirmed_day": Layer(np.int32, NO_DAY),
    "last_day": Layer(np.int32, NO_DAY),
    "count": Layer(np.uint16, 0),
    "percentage": Layer(np.uint8, NO_PERCENTAGE),
    "duration": Layer(np.int32, 0),
    "magnitude": Layer(np.float32, np.nan, by_band=True),
    "magnitude_looks": Layer(np.uint16, 0, by_band=True),
    "looks": Layer(np.uint16, 0),
    "clean_looks": Layer(np.uint16, 0),
}
"""Types and values of pixels that no acquisition has seen, by layer."""

_OF_ALERT = (
    "first_day",
    "confirmed_day",
    "count",
    "percentage",
    "duration",
    "magnitude",
    "magnitude_looks",
    "looks",
    "clean_looks",
)


def _check(name: str, values: npt.NDArray[Any], shape: tuple[int, int], bands: int) -> None:
    """Refuse a layer of another type or shape."""
    layer = LAYERS[name]
    expected = layer.shape(shape, bands)
    if values.dtype != layer.dtype or values.shape != expected:
        raise SarcastError(
            f"expected the monitoring layer {name} as {np.dtype(layer.dtype)} of shape {expected}, "
            f"got {values.dtype} of shape {values.shape}; go back to an earlier state, or start a "
            "new monitoring folder"
        )


def record_look(layers: Layers, look: Look, hit: Bool, new: Bool) -> Layers:
    """Note what an acquisition adds to alerts: days, greatest metric, magnitude, looks.

    Parameters
    ----------
    layers
        Before the acquisition.
    look
        The acquisition.
    hit
        Dims (y, x): where it is a detection.
    new
        Dims (y, x): where this begins an alert.
    """
    begun = layers.without_alert(new).updated(new, first_day=look.day)
    seen = look.seen & begun.has_alert
    greatest = np.fmax(begun.greatest_metric, look.metric)
    recorded = begun.updated(
        hit, greatest_metric=greatest, duration=look.day - begun.first_day + 1, **_mean(begun, look)
    )
    return recorded.updated(
        seen, looks=begun.looks + 1, clean_looks=np.where(hit, 0, begun.clean_looks + 1)
    )


def _mean(layers: Layers, look: Look) -> dict[str, npt.NDArray[Any]]:
    """Mean magnitude of the detections so far and of an acquisition, and their number."""
    known = ~np.isnan(look.magnitude)
    looks = layers.magnitude_looks + known
    before = np.where(layers.magnitude_looks > 0, layers.magnitude, 0.0)
    added = np.where(known, look.magnitude - before, 0.0) / np.maximum(looks, 1)
    return {
        "magnitude": np.where(looks > 0, before + added, np.nan),
        "magnitude_looks": looks,
    }


def has_percentage(percentage: Int) -> Bool:
    """Where an alert has a percentage of detections that counts: none has 0."""
    known: Bool = (percentage > 0) & (percentage != NO_PERCENTAGE)
    return known


def clean_so_far(count: Int, percentage: Int) -> Int:
    """Acquisitions without detection since the first one, as the count and percentage imply.

    The percentage is a whole number: the result is exact for few acquisitions only.
    """
    known = has_percentage(percentage)
    share = np.where(known, percentage, 100.0)
    return np.where(known, (100.0 - share) / share * count, 0.0).astype(np.int32)


def confirm(layers: Layers, day: int) -> Layers:
    """Date the confirmation of alerts whose status has become confirmed, or is so no longer."""
    new = np.isin(layers.status, CONFIRMED) & (layers.confirmed_day == NO_DAY)
    lost = ~np.isin(layers.status, (*CONFIRMED, *FINISHED))
    return layers.updated(new, confirmed_day=day).updated(lost, confirmed_day=NO_DAY)


def record_acquisition(layers: Layers, look: Look, status: Int) -> Layers:
    """Note the acquisition itself: its metric, its day, and the status that it has alone."""
    return replace(
        layers.updated(look.seen, last_day=look.day),
        metric=look.metric.astype(np.float32),
        acquisition_status=status.astype(np.uint8),
    )
