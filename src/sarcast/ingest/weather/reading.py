"""Daily weather read from files onto the conditions grid."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcast.arrays import Double, Times
from sarcast.errors import SarcastError
from sarcast.ingest.cf import load
from sarcast.ingest.weather import daily, grids, joining
from sarcast.ingest.weather.layouts import (
    Condition,
    WeatherOptions,
    WeatherProfile,
    WeatherVariable,
)
from sarcast.ingest.weather.opening import WeatherSource, open_sources
from sarcast.io.footprint import centre, footprint
from sarcast.sensor.conditions import LAGS, RANGES, WEATHER

_log = logging.getLogger(__name__)

_PACKING_ERROR = 0.1
"""Negative amounts down to this are rounding errors of packed values, in the condition's unit."""


class Weather:
    """Daily weather, which can be read for a part of the dates at a time.

    Parameters
    ----------
    sources
        NetCDF files, Zarr stores, CSV files of stations; each value is taken from the first that
        has it.
    options
        How the files are read.

    Raises
    ------
    SarcastError
        If a file cannot be read, matches no profile, or has no CRS.
    """

    def __init__(self, sources: Sequence[Path | str], options: WeatherOptions) -> None:
        self.names = ", ".join(map(str, sources))
        self._sources = [each for name in sources for each in open_sources(str(name), options)]
        self._valid_shares: dict[str, dict[np.datetime64, float]] = {}

    def read(self, grid: GeoBox, dates: Sequence[np.datetime64]) -> xr.Dataset:
        """Read the weather of some dates onto the conditions grid.

        Grids are interpolated bilinearly between the cells that have a value, stations as in
        ``stations.interpolate``.

        Parameters
        ----------
        grid
            The conditions grid.
        dates
            Times of the acquisitions, UTC; the profile of a source defines which day of its clock
            they belong to.

        Returns
        -------
        Dataset
            ``temperature`` (time, cy, cx) degC, ``snow_depth`` (time, cy, cx) cm and
            ``precipitation`` (time, lag, cy, cx) mm per day, lag days before: those that any
            source contains; NaN where a value is missing.

        Raises
        ------
        SarcastError
            If a unit is unknown, or a value is not physically possible.
        """
        moments = np.asarray(dates, dtype="datetime64[s]")
        merged = xr.Dataset()
        for source in self._sources:
            for condition, name in source.matches.items():
                layer = _read_condition(source, condition, name, grid, moments)
                first = condition not in merged
                merged[condition] = layer if first else merged[condition].fillna(layer)
        for condition_name, layer in merged.items():
            shares = np.isfinite(layer.values).reshape(moments.size, -1).mean(axis=1)
            by_date = self._valid_shares.setdefault(str(condition_name), {})
            by_date.update(zip(moments, shares, strict=True))
        return merged

    @property
    def period(self) -> str:
        """First and last date of the files, as text."""
        times = np.concatenate([source.times for source in self._sources])
        return f"{str(times.min())[:10]} to {str(times.max())[:10]}" if times.size else "none"

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.close()

    def summarise(self) -> None:
        """Report on how many of the dates that were read a condition is missing."""
        for name in (name for name in WEATHER if name in self._valid_shares):
            shares = self._valid_shares[name]
            missing = sorted(date for date, share in shares.items() if share == 0.0)
            partly = sorted(date for date, share in shares.items() if 0.0 < share < 1.0)
            gaps = [
                f"{kind} on {len(dates)}"
                for kind, dates in (("missing", missing), ("partly missing", partly))
                if dates
            ]
            if gaps:
                _log.info(
                    f"weather: {name} is {' and '.join(gaps)} of {len(shares)} dates, the first "
                    f"{str(min(missing + partly))[:10]}; it counts as a missing condition there"
                )


def read_weather(
    sources: Path | str | Sequence[Path | str],
    grid: GeoBox,
    dates: Sequence[np.datetime64],
    options: WeatherOptions = WeatherOptions(),  # noqa: B008 - frozen
) -> xr.Dataset:
    """Read the weather of some dates as ``Weather.read`` does, and report what is missing."""
    weather = Weather([sources] if isinstance(sources, Path | str) else sources, options)
    try:
        conditions = weather.read(grid, dates)
    finally:
        weather.close()
    weather.summarise()
    return conditions


def _read_condition(
    source: WeatherSource, condition: Condition, name: str, grid: GeoBox, moments: Times
) -> xr.DataArray:
    """One condition on the conditions grid."""
    variable = source.profile.variables[condition]
    days_of = (moments + _clock_offset(source.profile, variable, grid)).astype("datetime64[D]")
    lags = range(LAGS if condition == "precipitation" else 1)
    wanted = np.stack([days_of - lag for lag in lags], axis=1)
    part, data = _subset(source, condition, name, grid, wanted)
    values = _values(source, data, condition, name)
    step = source.steps[condition]
    days, layers = daily.to_days(values, data["time"].values, variable, step)
    unique = np.unique(wanted)
    daily_layers = grids.interpolate(part, _select_days(layers, days, unique), grid)
    field = daily_layers[np.searchsorted(unique, wanted)].astype(np.float32)
    if condition == "precipitation":
        return xr.DataArray(field, dims=("time", "lag", "cy", "cx"))
    return xr.DataArray(field[:, 0], dims=("time", "cy", "cx"))


def _subset(
    source: WeatherSource, condition: Condition, name: str, grid: GeoBox, wanted: Times
) -> tuple[grids.WeatherSubset, xr.Dataset]:
    """The part of a source around the days and the grid, and a condition's variables in it."""
    members = source.with_field(name)
    density = source.density(condition)
    if density is not None:
        members += [each for each in source.with_field(density) if name not in each]
    parts = [grids.subset(member, grid, wanted.min(), wanted.max()) for member in members]
    fields = [name] if density is None else [name, density]
    return parts[0], joining.join([part.data for part in parts], fields)


def _clock_offset(
    profile: WeatherProfile, variable: WeatherVariable, grid: GeoBox
) -> np.timedelta64:
    """Time to be added to UTC so that the days of the source begin at 00:00."""
    longitude, _ = centre(footprint(grid))
    solar = longitude / 15.0 if profile.clock == "local" else 0.0
    return daily.hours(solar + profile.utc_offset - variable.day_starts)


def _values(source: WeatherSource, part: xr.Dataset, condition: Condition, name: str) -> Double:
    """Values of a condition in its unit, dims (time, y, x) or (time, station)."""
    variable = source.profile.variables[condition]
    values = _array(part, name, source.name)
    for value, replacement in variable.replace.items():
        values[values == value] = replacement
    unit = _unit(part[name], source.profile, variable)
    if unit is None:
        raise SarcastError(
            f"{name} in {source.name} has no units; specify them in a profile (--weather-profile)"
        )
    density = source.density(condition)
    if density is not None:
        densities = _array(part, density, source.name)
        density_unit = str(part[density].attrs.get("units", "kg m-3"))
        values = daily.snow_depth((values, unit), (densities, density_unit), source.name)
        unit = "m"
    converted = daily.to_condition(values, unit, condition, source.steps[condition], source.name)
    if condition != "temperature":  # amounts are never negative
        converted[(converted < 0.0) & (converted > -_PACKING_ERROR)] = 0.0
    if variable.most is not None:
        converted[converted > variable.most] = np.nan
    _check_range(converted, condition, source.name)
    return converted


def _check_range(values: Double, condition: Condition, source: str) -> None:
    allowed = RANGES[condition]
    wrong = values[(values < allowed.low) | (values > allowed.high)]
    if wrong.size:
        raise SarcastError(
            f"{condition} in {source} must lie in {allowed.low:g}..{allowed.high:g} "
            f"{allowed.unit}, but has {wrong[0]:g}: check its unit, or declare the value that "
            f"marks missing data under replace in a profile (--weather-profile)"
        )


def _array(part: xr.Dataset, name: str, source: str) -> Double:
    """Values of a variable, dims (time, y, x) or (time, station); other dims must have size 1."""
    dims = ("time", "station") if "station" in part.dims else ("time", "y", "x")
    field = part[name]
    others = [dim for dim in field.dims if dim not in dims]
    if all(field.sizes[dim] == 1 for dim in others):
        field = field.squeeze(others, drop=True)
    if set(field.dims) != set(dims):
        raise SarcastError(
            f"{name} in {source} must have dims {', '.join(dims)}, but has "
            f"{', '.join(map(str, field.dims))}"
        )
    if field.dtype.kind not in "fiub":
        raise SarcastError(
            f"{name} in {source} must have numbers, but has values of type {field.dtype}"
        )
    return load(field.transpose(*dims), source).astype(np.float64)


def _unit(field: xr.DataArray, profile: WeatherProfile, variable: WeatherVariable) -> str | None:
    unit = field.attrs.get("units")
    return variable.units if unit is None else profile.unit_words.get(str(unit), str(unit))


def _select_days(layers: Double, days: Times, wanted: Times) -> Double:
    """Layers of the wanted days; NaN on days that are missing."""
    selected = np.full((wanted.size, *layers.shape[1:]), np.nan)
    if days.size:
        indices = np.searchsorted(days, wanted).clip(max=days.size - 1)
        present = days[indices] == wanted
        selected[present] = layers[indices[present]]
    return selected
