"""From the steps of a source to days, and from its units to those of the conditions."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sarcast.conditions import RANGES
from sarcast.errors import SarcastError
from sarcast.ingest.weather_layouts import Condition, WeatherVariable

WATER_DENSITY = "1000 kg m-3"
"""Density by which an amount of water, kg m-2, is a depth of water."""
DAY = np.timedelta64(1, "D")

Values = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]


def to_condition(
    values: Values, unit: str, condition: Condition, step: np.timedelta64, place: str
) -> Values:
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
    registry = _registry()
    target = "mm" if condition == "precipitation" else RANGES[condition].unit
    try:
        quantity = registry.Quantity(values, registry.Unit(unit))
        if condition == "precipitation":
            if "[time]" in quantity.dimensionality:
                quantity = quantity * registry.Quantity(step / np.timedelta64(1, "s"), "s")
            if "[mass]" in quantity.dimensionality:
                quantity = quantity / registry.Quantity(WATER_DENSITY)
        converted: Values = quantity.to(target).magnitude
    except Exception as error:
        if not type(error).__module__.startswith("pint"):
            raise
        hint = ": it is an amount of water, not a depth" if condition == "snow_depth" else ""
        raise SarcastError(
            f"{condition} in {place} is in {unit!r}, which cannot be converted to {target}{hint}; "
            f"give its unit in a profile (--weather-profile)"
        ) from error
    return converted


def snow_depth(water: Values, water_unit: str, density: Values, density_unit: str) -> Values:
    """Depth of snow, m, of its water and its density.

    The water may be given as a depth or as a mass; a density of 0 gives NaN.
    """
    registry = _registry()
    amount = registry.Quantity(water, registry.Unit(water_unit))
    if "[mass]" not in amount.dimensionality:
        amount = amount * registry.Quantity(WATER_DENSITY)
    held = registry.Quantity(np.where(density > 0.0, density, np.nan), registry.Unit(density_unit))
    depth: Values = (amount / held).to("m").magnitude
    return depth


def step_of(times: Times) -> np.timedelta64:
    """Length of a step of a sorted axis of time: the median, a day where there is but one.

    Raises
    ------
    SarcastError
        If it is longer than a day.
    """
    if times.size < 2:
        return DAY
    step: np.timedelta64 = np.median(np.diff(times.astype("datetime64[s]")))
    if step / DAY > 1.5:
        raise SarcastError(f"weather must be daily or finer, but its steps are {step / DAY:g} days")
    return step


def to_days(values: Values, times: Times, variable: WeatherVariable) -> tuple[Times, Values]:
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

    Returns
    -------
    days : ndarray of datetime64[D]
    values : ndarray
        Dims (day, ...); NaN where the day is not whole.
    """
    step = step_of(times)
    stamps = times.astype("datetime64[s]")
    if step / DAY < 0.75:
        stamps = stamps - hours(variable.day_starts)
    if variable.stamp == "end":
        stamps = stamps - np.timedelta64(1, "s")
    days = stamps.astype("datetime64[D]")
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


@cache
def _registry() -> Any:
    from cf_xarray.units import units  # slow to load

    return units
