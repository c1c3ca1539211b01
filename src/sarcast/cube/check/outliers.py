"""Outliers of a cube: dates, values and conditions that are unusual; one line each.

They may be real, and are therefore warnings, not faults.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import theilslopes

from sarcast.arrays import Double, Times
from sarcast.cube.check.statistics import HIGHEST_DB, LOWEST_DB, DateStatistics
from sarcast.sensor import units
from sarcast.sensor.conditions import PLATFORMS, RANGES, WEATHER

FIRST_LAUNCH = np.datetime64("2014-04-03")
"""Launch of Sentinel-1A (ESA): no acquisition is older."""
MAX_GAP = 3.0
"""A gap is a warning if it is longer than this many times the median step between dates, ..."""
MAX_GAP_DAYS = 24.0
"""... and longer than this, days."""
MIN_VALID_SHARE = 0.01
"""A date is a warning if less than this share of the area is valid."""
MAX_DARK_SHARE = 0.01
"""A date is a warning if more than this share of its valid pixels has power of 0, ..."""
MAX_LOW_SHARE = 0.01
"""... lies below ``LOWEST_DB``, ..."""
MAX_ZERO_SHARE = 0.001
"""... or is exactly 0 dB, far more often than other values near 0 dB."""
LEAST_INCIDENCE_DEG = 18.0
"""Least incidence angle of any beam of Sentinel-1, degrees: 18.3 of the stripmap beam S1 (ESA,
Sentinel-1 User Handbook, table 2-2); a smaller one is a mean with zeros."""

NEAR_DAYS = 30.0
"""The level of a date is compared with the dates of its view within this many days, ..."""
MIN_NEIGHBOURS = 4
"""... and with at least this many of the nearest dates."""
MAX_SIGMA = 4.0
"""A level is an outlier if it deviates by this many robust standard deviations of its view, ..."""
MIN_DEVIATION_DB = 1.0
"""... and at least by this, dB; ..."""
MAX_DEVIATION_DB = 6.0
"""... or by this in any case, dB: with few dates the standard deviation is unknown."""
MIN_DATES = 6
"""Dates of a view from which its standard deviation is estimated."""
SAME_TRACK_MIN = 3.0
"""Passes of one track lie within this at the same time of the day, minutes."""

_SIGMA_OF_MAD = 1.4826


def date_warnings(cube: xr.Dataset) -> Iterator[str]:
    """Impossible dates, gaps between dates, and more than one quantity."""
    times = cube["time"].values
    wrong = times[(times < FIRST_LAUNCH) | (times > np.datetime64("now"))]
    if wrong.size:
        yield f"{wrong.size} dates are impossible for Sentinel-1, such as {format_time(wrong[0])}"
    days = np.diff(times) / np.timedelta64(1, "D")
    usual = float(np.median(days)) if days.size else 0.0
    for index in np.flatnonzero(days > max(MAX_GAP * usual, MAX_GAP_DAYS)):
        yield (
            f"no acquisition for {days[index]:.0f} days from {format_time(times[index])} to "
            f"{format_time(times[index + 1])}, where {usual:.0f} days are usual"
        )
    unknown = sorted({*cube["platform"].values.tolist()} - {*PLATFORMS, ""})
    if unknown:
        yield f"{' and '.join(map(repr, unknown))} is no known platform; it counts as missing"
    quantities = sorted({*cube["quantity"].values.tolist()} - {""})
    if len(quantities) > 1:
        yield f"its dates are of {' and '.join(quantities)}, whose levels differ with the slopes"


def value_warnings(dates: Sequence[DateStatistics]) -> Iterator[str]:
    """Dates with hardly any data, impossible values, or a level that is an outlier of its view."""
    for date in dates:
        if date.valid_share < MIN_VALID_SHARE:
            yield f"{format_time(date.time)} covers {100.0 * date.valid_share:.1f} % of the area"
    yield from _impossible_value_warnings(dates)
    bright = [date for date in dates if any(level > HIGHEST_DB for level in date.mean_db)]
    if bright:
        yield (
            f"{len(bright)} dates lie above {HIGHEST_DB:g} dB in the mean, as no ground does, such "
            f"as {format_time(bright[0].time)}: digital numbers that were not calibrated? If so, "
            f"calibrate them and build the cube again"
        )
    views: dict[tuple[Any, ...], list[DateStatistics]] = {}
    for date, track in zip(dates, _tracks(dates), strict=True):
        possible = not any(_exceeds(date, kind) for kind in _IMPOSSIBLE)
        if date.valid_share >= MIN_VALID_SHARE and possible:
            views.setdefault((date.orbit_direction, track), []).append(date)
    for view in views.values():
        yield from _level_warnings(view)


@dataclass(frozen=True)
class _Impossible:
    """Values that a date should not have: the name of their share, its limit, and what they are."""

    share: str
    limit: float
    what: str


_IMPOSSIBLE = (
    _Impossible("dark_share", MAX_DARK_SHARE, f"power of 0, stored as {units.FLOOR_DB:g} dB"),
    _Impossible("marker_share", 0.0, f"values below {units.FLOOR_DB:g} dB, such as -9999 gives"),
    _Impossible("low_share", MAX_LOW_SHARE, f"backscatter below {LOWEST_DB:g} dB, as of no ground"),
    _Impossible("zero_share", MAX_ZERO_SHARE, "exactly 0 dB, far more often than values near it"),
    _Impossible(
        "bright_share",
        0.0,
        f"backscatter over {units.CEILING_DB:g} dB, which is physically impossible",
    ),
)


def _exceeds(date: DateStatistics, kind: _Impossible) -> bool:
    return bool(getattr(date, kind.share) > kind.limit)


def _impossible_value_warnings(dates: Sequence[DateStatistics]) -> Iterator[str]:
    """Dates with impossible values, one line a kind; they probably mark missing data."""
    for kind in _IMPOSSIBLE:
        exceeding = [date for date in dates if _exceeds(date, kind)]
        if exceeding:
            first = exceeding[0]
            yield (
                f"{len(exceeding)} dates contain {kind.what}, such as {format_time(first.time)} at "
                f"{100.0 * getattr(first, kind.share):.2g} % of its valid pixels: if they mark "
                f"missing data, build the cube again, with --nodata if the rasters do not say so"
            )


def _level_warnings(dates: Sequence[DateStatistics]) -> Iterator[str]:
    """Dates of a view whose level deviates from that of the dates around them."""
    means = np.array([date.mean_db for date in dates])
    deviations = level_deviations(np.array([date.time for date in dates]), means)
    spread = np.array([_median_deviation(each[np.isfinite(each)]) for each in deviations.T])
    limit = np.clip(MAX_SIGMA * _SIGMA_OF_MAD * spread, MIN_DEVIATION_DB, MAX_DEVIATION_DB)
    if len(dates) < MIN_DATES:
        limit = np.full(spread.shape, MAX_DEVIATION_DB)
    for index in np.flatnonzero((np.abs(deviations) > limit).any(axis=1)).tolist():
        levels, limits = (
            ", ".join(f"{value:{form}}" for value in values[np.isfinite(deviations[index])])
            for values, form in ((deviations[index], "+.1f"), (limit, ".1f"))
        )
        yield (
            f"{format_time(dates[index].time)} lies {levels} dB in the bands from the dates around "
            f"it of its view (limits {limits} dB): a wet, frozen or snowy day, or another unit?"
        )


def _median_deviation(values: Double) -> float:
    """Median absolute deviation from the median; 0 of no value."""
    return float(np.median(np.abs(values - np.median(values)))) if values.size else 0.0


def level_deviations(times: Times, means: Double) -> Double:
    """Deviation of each date's level from that of the dates around it.

    The neighbours are the dates within ``NEAR_DAYS``, and at least ``MIN_NEIGHBOURS``. The level is
    compared with their median and, to allow for a seasonal trend, with their Theil-Sen line; the
    smaller deviation is taken.

    Parameters
    ----------
    times
        Dims (time).
    means
        Dims (time, band), dB; NaN where a date lacks a band.

    Returns
    -------
    ndarray
        Dims (time, band), dB; 0 of a date without neighbours, NaN where it lacks a band.

    References
    ----------
    Sen, J. Am. Stat. Assoc. 63 (1968) 1379: the slope is the median of those of all pairs.
    """
    deviations = np.full(means.shape, np.nan)
    days = (times - times[:1]) / np.timedelta64(1, "D")
    for band, levels in enumerate(means.T):
        known = np.flatnonzero(np.isfinite(levels))
        deviations[known, band] = _deviations_of_band(days[known], levels[known])
    return deviations


def _deviations_of_band(days: Double, levels: Double) -> Double:
    deviations = np.zeros(levels.shape)
    for index, (day, level) in enumerate(zip(days, levels, strict=True)):
        order = np.argsort(np.abs(days - day), kind="stable")
        count = max(MIN_NEIGHBOURS, int(np.sum(np.abs(days - day) <= NEAR_DAYS)) - 1)
        others = order[order != index][:count]
        candidates = [level - np.median(levels[others])] if others.size else [0.0]
        if others.size >= MIN_NEIGHBOURS:
            candidates.append(level - theilslopes(levels[others], days[others] - day).intercept)
        deviations[index] = min(candidates, key=abs)
    return deviations


def _tracks(dates: Sequence[DateStatistics]) -> list[Any]:
    """Track of each date: the relative orbit or, where it is unknown, the time of the day."""
    minutes = {
        index: float((date.time - date.time.astype("datetime64[D]")) / np.timedelta64(60, "s"))
        for index, date in enumerate(dates)
    }
    tracks: list[Any] = [date.relative_orbit for date in dates]
    last, start = -np.inf, 0.0
    for index in sorted(minutes, key=minutes.__getitem__):
        if not tracks[index]:
            start = minutes[index] if minutes[index] - last > SAME_TRACK_MIN else start
            last, tracks[index] = minutes[index], f"at minute {start:.0f}"
    return tracks


def condition_warnings(cube: xr.Dataset) -> Iterator[str]:
    """Conditions that are missing on some dates, or outside their physical range."""
    for name in (*WEATHER, "incidence"):
        values = cube[name].values.reshape(cube.sizes["time"], -1)
        missing = np.isnan(values)
        whole, some = int(missing.all(axis=1).sum()), int(missing.any(axis=1).sum())
        if whole:
            yield f"{name} is missing on {whole} of {len(values)} dates"
        if some > whole:
            yield f"{name} is missing in part on {some - whole} of {len(values)} dates"
        low, high = RANGES[name].low, RANGES[name].high
        outside = int(((values < low) | (values > high)).any(axis=1).sum())
        if outside:
            yield f"{name} lies outside {low:g} to {high:g} {RANGES[name].unit} on {outside} dates"
        small = int(((values >= low) & (values < LEAST_INCIDENCE_DEG)).any(axis=1).sum())
        if name == "incidence" and small:
            yield (
                f"incidence is below {LEAST_INCIDENCE_DEG:g} degrees on {small} dates, less than "
                f"that of any beam: zeros that mark missing pixels were averaged; build them again"
            )


def format_time(time: np.datetime64) -> str:
    """A time as text, to the second."""
    return str(np.datetime_as_string(time, unit="s"))
