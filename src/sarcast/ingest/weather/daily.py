"""Conversion of a source's time steps to days, and of its units to those of the conditions."""

import numpy as np

from sarcast.arrays import Double, Times
from sarcast.errors import SarcastError
from sarcast.ingest.cf import convert, parse_unit, registry
from sarcast.ingest.weather.layouts import Condition, WeatherVariable
from sarcast.sensor.conditions import RANGES

WATER_DENSITY = "1000 kg m-3"
"""Density that converts an amount of water, kg m-2, to a depth of water."""
DAY = np.timedelta64(1, "D")
SHORTEST_STEP = np.timedelta64(1, "m")


def to_condition(
    values: Double, unit: str, condition: Condition, step: np.timedelta64, source: str
) -> Double:
    """Convert values, one a time step, to the unit of a condition.

    Parameters
    ----------
    values
        Any dims.
    unit
        A CF unit. Precipitation may be an amount or a rate, as a depth or as a mass.
    condition
        ``temperature`` to degC, ``snow_depth`` to cm, ``precipitation`` to mm per step.
    step
        Length of a time step.
    source
        Name of the file, for error messages.

    Raises
    ------
    SarcastError
        If the unit is unknown, or is not one of the condition.
    """
    name = f"{condition} in {source}"
    quantity = registry().Quantity(values, parse_unit(unit, name))
    if condition == "precipitation":
        if "[time]" in quantity.dimensionality:
            quantity = quantity * registry().Quantity(step / np.timedelta64(1, "s"), "s")
        if "[mass]" in quantity.dimensionality:
            quantity = quantity / registry().Quantity(WATER_DENSITY)
    elif condition == "snow_depth" and "[mass]" in quantity.dimensionality:
        raise SarcastError(
            f"{name} is in {unit!r}: an amount of water, not a depth of snow; leave it out, or "
            f"specify the density of snow in a profile (density)"
        )
    target = "mm" if condition == "precipitation" else RANGES[condition].unit
    converted: Double = convert(quantity, target, name)
    return converted


def snow_depth(water: tuple[Double, str], density: tuple[Double, str], source: str) -> Double:
    """Depth of snow, m, from its water (a depth or a mass) and its density, each with its unit.

    NaN where the density is 0.
    """
    amount = registry().Quantity(water[0], parse_unit(water[1], source))
    if "[mass]" not in amount.dimensionality:
        amount = amount * registry().Quantity(WATER_DENSITY)
    positive = np.where(density[0] > 0.0, density[0], np.nan)
    depth: Double = convert(
        amount / registry().Quantity(positive, parse_unit(density[1], source)), "m", source
    )
    return depth


def step_of(times: Times, source: str) -> np.timedelta64:
    """Length of the time step: the median, or a day if there is only one time.

    Raises
    ------
    SarcastError
        If it is longer than a day or shorter than a minute, or a time occurs twice.
    """
    check_times(times, source)
    if times.size < 2:
        return DAY
    step: np.timedelta64 = np.median(np.diff(np.sort(times.astype("datetime64[s]"))))
    if step < SHORTEST_STEP:
        raise SarcastError(
            f"{source} has steps of {step / np.timedelta64(1, 's'):g} s, expected a minute or "
            f"more; check the unit of its times"
        )
    if step / DAY > 1.5:
        raise SarcastError(
            f"{source} must be daily or finer, but its steps are {step / DAY:g} days; give daily "
            f"weather"
        )
    return step


def check_times(times: Times, source: str) -> None:
    """Raise if a time is missing or occurs twice."""
    if np.isnat(times).any():
        raise SarcastError(
            f"{source} has {np.isnat(times).sum()} times that are no dates; correct or delete them"
        )
    repeated = times.size - np.unique(times).size
    if repeated:
        raise SarcastError(
            f"{source} has {repeated} of its {times.size} times more than once; keep one value for "
            f"each time"
        )


def to_days(
    values: Double, times: Times, variable: WeatherVariable, step: np.timedelta64
) -> tuple[Times, Double]:
    """Aggregate the time steps of a source to days, by its own clock.

    A day needs all its steps; of running totals, the one at the end of the day is taken.

    Parameters
    ----------
    values
        Dims (time, ...).
    times
        Sorted.
    variable
        How the source encodes the condition.
    step
        Length of a time step.

    Returns
    -------
    days : ndarray of datetime64[D]
    values : ndarray
        Dims (day, ...); NaN where the day is incomplete.
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
    present, start = np.unique(days, return_index=True)
    valid = np.isfinite(values)
    counts = np.add.reduceat(valid, start, axis=0, dtype=int)
    totals = np.add.reduceat(np.where(valid, values, 0.0), start, axis=0)
    complete = counts >= max(1, round(DAY / step))
    daily = totals / np.maximum(counts, 1) if variable.day == "mean" else totals
    return present, np.where(complete, daily, np.nan)


def hours(count: float) -> np.timedelta64:
    """A number of hours as a time span, to the second."""
    return np.timedelta64(round(3600.0 * count), "s")
