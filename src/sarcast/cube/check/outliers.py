"""What is odd about a cube: its dates, its values and its conditions; a line each.

None of it need be wrong: it can be true, but should be known.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import theilslopes

from sarcast.arrays import Double, Times
from sarcast.cube.check.statistics import DateStatistics
from sarcast.sensor import units
from sarcast.sensor.conditions import RANGES, WEATHER

FIRST_LAUNCH = np.datetime64("2014-04-03")
"""Launch of Sentinel-1A (ESA): no acquisition is older."""
LONGEST_GAP = 3.0
"""A gap is worth a warning when it is so many times the usual step between dates, and over
``LONGEST_GAP_DAYS``."""
LONGEST_GAP_DAYS = 24.0
LEAST_SEEN = 0.01
"""A date is worth a warning when it saw less than this share of the area."""
MOST_DARK = 0.01
"""A date is worth a warning when more than this share of what it saw is power of 0."""
MOST_BRIGHT = 0.0
"""A date is worth a warning when more than this share of what it saw is more than can be."""

NEAR_DAYS = 30.0
"""The level of a date is compared with that of its view's dates so near in time, days, ..."""
NEAREST = 4
"""... or with so many of the nearest, where fewer are near."""
FARTHEST_SIGMA = 4.0
"""A level is odd when it lies so many robust standard deviations of its view's from them, ..."""
LEAST_APART_DB = 1.0
"""... and at least so far, dB; ..."""
FARTHEST_DB = 6.0
"""... or so far in any case, dB: of views of few dates no deviation can be told."""
FEWEST_DATES = 6
"""Dates of a view from which its deviation can be told."""
SAME_TRACK_MIN = 3.0
"""Passes of one track lie within this at the same time of the day, minutes."""

_SIGMA_OF_MAD = 1.4826


def date_warnings(cube: xr.Dataset) -> Iterator[str]:
    """Dates that are none of Sentinel-1's, gaps between them, and more than one quantity."""
    times = cube["time"].values
    odd = times[(times < FIRST_LAUNCH) | (times > np.datetime64("now"))]
    if odd.size:
        yield f"{odd.size} dates are none of Sentinel-1's, as {shown(odd[0])}"
    days = np.diff(times) / np.timedelta64(1, "D")
    usual = float(np.median(days)) if days.size else 0.0
    for place in np.flatnonzero(days > max(LONGEST_GAP * usual, LONGEST_GAP_DAYS)):
        yield (
            f"no acquisition for {days[place]:.0f} days from {shown(times[place])} to "
            f"{shown(times[place + 1])}, where {usual:.0f} days are usual"
        )
    quantities = sorted({*cube["quantity"].values.tolist()} - {""})
    if len(quantities) > 1:
        yield f"its dates are of {' and '.join(quantities)}, whose levels differ with the slopes"


def value_warnings(dates: Sequence[DateStatistics]) -> Iterator[str]:
    """Dates that saw next to nothing or what cannot be, or whose level is odd for their view."""
    for date in dates:
        if date.seen < LEAST_SEEN:
            yield f"{shown(date.time)} saw {100.0 * date.seen:.1f} % of the area"
    yield from impossible({shown(date.time): (date.dark, date.bright) for date in dates})
    views: dict[tuple[Any, ...], list[DateStatistics]] = {}
    for date, track in zip(dates, _tracks(dates), strict=True):
        possible = date.dark <= MOST_DARK and date.bright <= MOST_BRIGHT
        if date.seen >= LEAST_SEEN and possible:
            views.setdefault((date.orbit_direction, track), []).append(date)
    for held in views.values():
        yield from _level_warnings(held)


def impossible(dates: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    """Dates of which so much of what they saw is power of 0, or more than can be.

    Parameters
    ----------
    dates
        By date, the shares of what was seen that are power of 0, and over ``units.CEILING_DB``.
    """
    over = f"backscatter over {units.CEILING_DB:g} dB, which nothing reaches"
    for place, most, what in ((0, MOST_DARK, "power of 0"), (1, MOST_BRIGHT, over)):
        shares = {date: both[place] for date, both in dates.items() if both[place] > most}
        if shares:
            first, share = next(iter(shares.items()))
            yield (
                f"{len(shares)} dates hold {what}, as {first} at {100.0 * share:.2g} % of what it "
                f"saw: see what their rasters hold; what marks missing values can be declared as "
                f"nodata in a profile"
            )


def _level_warnings(held: Sequence[DateStatistics]) -> Iterator[str]:
    """Dates of a view whose level is far from that of the dates around them."""
    means = np.array([date.mean_db for date in held])
    apart = departures(np.array([date.time for date in held]), means)
    sigma = _SIGMA_OF_MAD * np.median(np.abs(apart - np.median(apart, axis=0)), axis=0)
    limit = np.clip(FARTHEST_SIGMA * sigma, LEAST_APART_DB, FARTHEST_DB)
    if len(held) < FEWEST_DATES:
        limit = np.full(sigma.shape, FARTHEST_DB)
    for place in np.flatnonzero((np.abs(apart) > limit).any(axis=1)).tolist():
        levels, limits = (
            ", ".join(f"{value:{form}}" for value in values)
            for values, form in ((apart[place], "+.1f"), (limit, ".1f"))
        )
        yield (
            f"{shown(held[place].time)} lies {levels} dB in the bands from the dates around it of "
            f"its view (odd from {limits} dB on): a wet, frozen or snowy day, or another unit?"
        )


def departures(times: Times, means: Double) -> Double:
    """How far each date lies from the other dates around it: those near, and a few at least.

    It is compared with their median and with their robust line, which a season bends less; the
    smaller of both departures counts.

    Parameters
    ----------
    times
        Dims (time).
    means
        Dims (time, band), dB.

    Returns
    -------
    ndarray
        Dims (time, band), dB; 0 of a date that is alone.

    References
    ----------
    Sen, J. Am. Stat. Assoc. 63 (1968) 1379: the slope is the median of those of all pairs.
    """
    found = np.zeros(means.shape)
    days = (times - times[:1]) / np.timedelta64(1, "D")
    for place, day in enumerate(days):
        order = np.argsort(np.abs(days - day), kind="stable")
        near = max(NEAREST, int(np.sum(np.abs(days - day) <= NEAR_DAYS)) - 1)
        others = order[order != place][:near]
        for band, level in enumerate(means[place]):
            told = means[others, band]
            by = [level - np.median(told)] if others.size else [0.0]
            if others.size >= NEAREST:
                by.append(level - theilslopes(told, days[others] - day).intercept)
            found[place, band] = min(by, key=abs)
    return found


def _tracks(dates: Sequence[DateStatistics]) -> list[Any]:
    """What dates of one track have in common: the relative orbit, or else the time of the day."""
    minutes = {
        place: float((date.time - date.time.astype("datetime64[D]")) / np.timedelta64(60, "s"))
        for place, date in enumerate(dates)
    }
    tracks: list[Any] = [date.relative_orbit for date in dates]
    last, name = -np.inf, 0.0
    for place in sorted(minutes, key=minutes.__getitem__):
        if not tracks[place]:
            name = minutes[place] if minutes[place] - last > SAME_TRACK_MIN else name
            last, tracks[place] = minutes[place], f"at minute {name:.0f}"
    return tracks


def condition_warnings(cube: xr.Dataset) -> Iterator[str]:
    """Conditions that are missing on some dates, or that cannot be."""
    for name in (*WEATHER, "incidence"):
        values = cube[name].values.reshape(cube.sizes["time"], -1)
        missing = np.isnan(values)
        none, some = int(missing.all(axis=1).sum()), int(missing.any(axis=1).sum())
        if none:
            yield f"{name} is missing on {none} of {len(values)} dates"
        if some > none:
            yield f"{name} is missing in part on {some - none} of {len(values)} dates"
        low, high = RANGES[name].low, RANGES[name].high
        odd = int(((values < low) | (values > high)).any(axis=1).sum())
        if odd:
            yield f"{name} lies outside {low:g} to {high:g} {RANGES[name].unit} on {odd} dates"


def shown(time: np.datetime64) -> str:
    """A moment as text, to the second."""
    return str(np.datetime_as_string(time, unit="s"))
