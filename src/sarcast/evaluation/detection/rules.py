"""Published rules of detection, as rivals: each turns a series into one image of a statistic.

One date (this package until version 0.1; the paper): the norm over the bands of actual − expected
of the last acquisition. OPERA DIST-ALERT: the rule that ``monitor --rule opera`` has, which gives
all layers of its products. PWTT: Student's t of the acquisitions after against those before, by
orbit.

References
----------
Ballinger 2025, "Open Access Battle Damage Detection via Pixel-Wise T-Test on Sentinel-1 Imagery",
Remote Sensing of Environment, arXiv:2405.06323; code at github.com/oballinger/PWTT, version 0.1.0.
OPERA DIST-ALERT: see ``sarcast.monitoring.confirmation``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sarcast.arrays import Bool, Float, Times
from sarcast.detection import difference as di
from sarcast.monitoring.confirmation import Opera, OperaOptions
from sarcast.monitoring.layers import Layers, Look, Status
from sarcast.monitoring.sequential import ACTIVE

OPERA_CONFIRMED = OperaOptions().confirmation_confidence_threshold
"""Confidence from which on a change is confirmed."""
PWTT_DAMAGE = 3.3
"""Value of t that the published code calls damage."""
PWTT_BEFORE_DAYS = 365.25
PWTT_RADII_M = (50.0, 100.0, 150.0)
"""Days before the watch that are its reference, and radii of the discs that t is averaged over."""
_PWTT_MEDIAN_M = 10.0
_FEWEST_BEFORE = 2


@dataclass(frozen=True)
class Series:
    """What a rule is given.

    Attributes
    ----------
    times
        Dims (time), ascending, until the last watched acquisition.
    tracks
        Dims (time): relative orbit, or whatever tells tracks apart.
    images
        Dims (time, band, y, x), dB.
    residual, z
        Dims (watched, band, y, x): actual − expected of the watched acquisitions, dB, and the same
        in standard deviations.
    spacing_m
        Pixel spacing, metres.
    """

    times: Times
    tracks: Sequence[Any]
    images: Float
    residual: Float
    z: Float
    spacing_m: float

    @property
    def watched(self) -> int:
        """Number of watched acquisitions."""
        return len(self.residual)


@dataclass(frozen=True)
class Rule:
    """A rule: pixels above a level of its statistic, in regions of a least size, are events.

    Attributes
    ----------
    name
        Name in tables.
    statistic
        From a series to an image, dims (y, x), NaN where it is not known.
    levels
        Levels that are tried, ascending.
    published
        The level that its publication takes; None if there is none.
    """

    name: str
    statistic: Callable[[Series], Float]
    levels: tuple[float, ...]
    published: float | None = None


def one_date_norm(series: Series) -> Float:
    """Norm over the bands of the last residual, dims (y, x), dB.

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, section IV-A.
    """
    return di.norm(series.residual[-1])


def opera_confidence(series: Series) -> Float:
    """Confidence of OPERA DIST-ALERT, dims (y, x), of alerts that it can confirm.

    ``Opera`` is given the watched acquisitions in order, of each the greatest |z| of its bands. The
    statistic is the greatest confidence of the present alert after the day of its first detection:
    the rule confirms none on that day, and one that is confirmed stays so. It is 0 where there is
    no alert, or one of the last acquisition alone, and NaN where nothing was seen.
    """
    rule, layers = Opera(), Layers.empty(series.z.shape[-2:], series.z.shape[1])
    confidence = np.zeros(layers.shape, dtype=np.float32)
    watched = zip(series.times[-series.watched :], series.z, series.residual, strict=True)
    for time, z, residual in watched:
        layers = rule.advance(layers, Look(time, _largest(np.abs(z), axis=0), residual))
        later = np.isin(layers.status, ACTIVE) & (layers.duration > 1)
        confidence = np.where(later, np.fmax(confidence, layers.confidence), np.float32(0.0))
    known = layers.status != Status.NO_DATA
    result: Float = np.where(known, confidence, np.float32(np.nan))
    return result


def pixel_t(series: Series) -> Float:
    """Statistic of PWTT, dims (y, x): greatest |t| of tracks and bands, averaged over discs.

    Of each track the watched images are compared with those of the year before. Tracks without two
    images before are left out. Unlike the published code, images are not filtered again by Lee's
    filter, which cubes may have been, and all land is judged, not only built-up land.
    """
    first = series.times[-series.watched]
    year = first - np.timedelta64(round(PWTT_BEFORE_DAYS * 86_400), "s")
    is_before = (series.times < first) & (series.times >= year)
    is_after = series.times >= first
    tracks = np.array([str(track) for track in series.tracks])
    scores = []
    for track in np.unique(tracks[is_after]):
        before = series.images[is_before & (tracks == track)]
        if len(before) >= _FEWEST_BEFORE:
            after = series.images[is_after & (tracks == track)]
            scores.append(_largest(pooled_t(before, after), axis=0))
    if not scores:
        return np.full(series.images.shape[-2:], np.nan, dtype=np.float32)
    return _averaged(_largest(np.stack(scores), axis=0), series.spacing_m)


def pooled_t(before: Float, after: Float) -> Float:
    """Absolute value of Student's t with pooled variance, of each pixel.

    With n images of mean m and variance v before, and n', m', v' after:

        |m' − m| / sqrt(((n − 1) v + (n' − 1) v') / (n + n' − 2) · (1 / n + 1 / n'))

    Parameters
    ----------
    before, after
        Dims (time, ...), dB; NaN is left out.

    Returns
    -------
    Float
        Dims (...); NaN with fewer than two values before or none after.
    """
    (count, mean, squares), (count_after, mean_after, squares_after) = map(
        _moments, (before, after)
    )
    freedom = count + count_after - 2.0
    known = (count >= _FEWEST_BEFORE) & (count_after >= 1) & (squares + squares_after > 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (squares + squares_after) / freedom
        spread = np.sqrt(variance * (1.0 / count + 1.0 / count_after))
        t = np.abs(mean_after - mean) / spread
    result: Float = np.where(known, t, np.nan).astype(np.float32)
    return result


RULES: tuple[Rule, ...] = (
    Rule("one date", one_date_norm, tuple(np.linspace(2.0, 14.0, 25).tolist())),
    Rule(
        "OPERA rule",
        opera_confidence,
        tuple(sorted({*np.geomspace(2.5, 2000.0, 40).round(2).tolist(), OPERA_CONFIRMED})),
        OPERA_CONFIRMED,
    ),
    Rule("PWTT", pixel_t, tuple(np.linspace(1.5, 15.0, 46).round(1).tolist()), PWTT_DAMAGE),
)
"""The rivals."""


def above(statistic: Float, level: float) -> Bool:
    """Pixels whose statistic reaches a level, dims (y, x); False where it is not known."""
    with np.errstate(invalid="ignore"):
        reached: Bool = statistic >= level
    return reached


def _moments(images: Float) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Number, mean and sum of squared deviations of the values of each pixel."""
    valid = np.isfinite(images)
    count = valid.sum(axis=0).astype(float)
    filled = np.where(valid, images, 0.0)
    mean = filled.sum(axis=0) / np.maximum(count, 1.0)
    squares = np.where(valid, np.square(images - mean), 0.0).sum(axis=0)
    return count, mean, squares


def _largest(values: Float, axis: int) -> Float:
    """Greatest value along an axis; NaN where all are."""
    largest: Float = np.fmax.reduce(values, axis=axis)
    return largest


def _averaged(t: Float, spacing_m: float) -> Float:
    """Mean of t, smoothed over about 10 m, and of its means over discs of 50, 100 and 150 m."""
    smooth = di.smoothed(t[np.newaxis], max(_PWTT_MEDIAN_M / spacing_m, 0.3))[0]
    layers = [smooth, *(_disc_mean(smooth, radius / spacing_m) for radius in PWTT_RADII_M)]
    averaged: Float = np.mean(layers, axis=0, dtype=np.float32)
    return averaged


def _disc_mean(values: Float, radius_px: float) -> Float:
    reach = max(1, math.ceil(radius_px))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (np.hypot(rows, columns) <= max(radius_px, 1.0)).astype(np.float32)
    known = np.isfinite(values)
    total = ndimage.convolve(np.where(known, values, np.float32(0.0)), disc, mode="constant")
    weight = ndimage.convolve(known.astype(np.float32), disc, mode="constant")
    result = np.full(values.shape, np.nan, dtype=np.float32)
    np.divide(total, weight, out=result, where=known & (weight > 0.0))
    return result
