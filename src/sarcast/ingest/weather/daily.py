"""From the steps of a source to days, and from its units to those of the conditions."""

import numpy as np

from sarcast.arrays import Double, Times
from sarcast.errors import SarcastError
from sarcast.ingest.cf import convert, registry
from sarcast.ingest.cf import unit as read_unit
from sarcast.ingest.weather.layouts import Condition, WeatherVariable
from sarcast.sensor.conditions import RANGES

WATER_DENSITY = "1000 kg m-3"
"""Density by which an amount of water, kg m-2, is a depth of water."""
DAY = np.timedelta64(1, "D")


def to_condition(
    values: Double, unit: str, condition: Condition, step: np.timedelta64, place: str
) -> Double:
    """Convert values of one step of time each to the unit of a condition.

    Parameters
    ----------
    values
        Any dims.
    unit
        A CF unit. Precipitation may be an amount or a rate, of depth or of mass.
    condition
        ``temperature`` to degC, ``snow_depth`` to cm, ``precipitation`` to mm a step.
    step
        Length of a step.
    place
        The file, for messages.

    Raises
    ------
    SarcastError
        If the unit is unknown, or that of something else.
    """
    what = f"{condition} in {place}"
    quantity = registry().Quantity(values, read_unit(unit, what))
    if condition == "precipitation":
        if "[time]" in quantity.dimensionality:
            quantity = quantity * registry().Quantity(step / np.timedelta64(1, "s"), "s")
        if "[mass]" in quantity.dimensionality:
            quantity = quantity / registry().Quantity(WATER_DENSITY)
    elif condition == "snow_depth" and "[mass]" in quantity.dimensionality:
        raise SarcastError(
            f"{what} is in {unit!r}: an amount of water, not a depth of snow; leave it out, or "
            f"name the density of snow in a profile (density)"
        )
    target = "mm" if condition == "precipitation" else RANGES[condition].unit
    converted: Double = convert(quantity, target, what)
    return converted


def snow_depth(water: tuple[Double, str], density: tuple[Double, str], place: str) -> Double:
    """Depth of snow, m, of its water (a depth or a mass) and its density, each with its unit.

    A density of 0 gives NaN.
    """
    amount = registry().Quantity(water[0], read_unit(water[1], place))
    if "[mass]" not in amount.dimensionality:
        amount = amount * registry().Quantity(WATER_DENSITY)
    held = np.where(density[0] > 0.0, density[0], np.nan)
    depth: Double = convert(
        amount / registry().Quantity(held, read_unit(density[1], place)), "m", place
    )
    return depth


def step_of(times: Times, place: str) -> np.timedelta64:
    """Length of a step of an axis of time: the median, a day where there is but one.

    Raises
    ------
    SarcastError
        If it is longer than a day, or a time is there twice.
    """
    if times.size < 2:
        return DAY
    twice = times.size - np.unique(times).size
    if twice:
        raise SarcastError(
            f"{place} tells {twice} of its {times.size} times more than once; keep one value a time"
        )
    step: np.timedelta64 = np.median(np.diff(np.sort(times.astype("datetime64[s]"))))
    if step / DAY > 1.5:
        raise SarcastError(
            f"{place} must be daily or finer, but its steps are {step / DAY:g} days; give daily "
            f"weather"
        )
    return step


def to_days(
    values: Double, times: Times, variable: WeatherVariable, step: np.timedelta64
) -> tuple[Times, Double]:
    """Make days of the steps of a source, by its own clock.

    A day counts only if all its steps are there; of running totals, the one at its end.

    Parameters
    ----------
    values
        Dims (time, ...).
    times
        Sorted.
    variable
        How the source tells the condition.
    step
        Length of a step.

    Returns
    -------
    days : ndarray of datetime64[D]
    values : ndarray
        Dims (day, ...); NaN where the day is not whole.
    """
    stamps = times.astype("datetime64[s]")
    if step / DAY < 0.75:
        stamps = stamps - hours(variable.day_starts)
    if variable.stamp == "end":
        stamps = stamps - np.timedelta64(1, "s")
    days = stamps.astype("datetime64[D]")
    if days.size == 0:
        return days, values
    if variable.day == "last":
        last = stamps == (days + 1).astype("datetime64[s]") - np.timedelta64(1, "s")
        return days[last], values[last]
    found, start = np.unique(days, return_index=True)
    seen = np.isfinite(values)
    counts = np.add.reduceat(seen, start, axis=0, dtype=int)
    totals = np.add.reduceat(np.where(seen, values, 0.0), start, axis=0)
    whole = counts >= max(1, round(DAY / step))
    daily = totals / np.maximum(counts, 1) if variable.day == "mean" else totals
    return found, np.where(whole, daily, np.nan)


def hours(count: float) -> np.timedelta64:
    """A number of hours as a span of time, to the second."""
    return np.timedelta64(round(3600.0 * count), "s")
