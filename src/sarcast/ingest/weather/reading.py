"""Daily weather read onto the conditions grid, from whatever files tell it."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcast.arrays import Double, Times
from sarcast.errors import SarcastError
from sarcast.ingest.weather import daily, grids
from sarcast.ingest.weather.layouts import (
    Condition,
    WeatherOptions,
    WeatherProfile,
    WeatherVariable,
)
from sarcast.ingest.weather.opening import WeatherSource, open_source
from sarcast.sensor.conditions import LAGS, RANGES, WEATHER

_log = logging.getLogger(__name__)


_TRACE = 0.1


class Weather:
    """Daily weather, which can be read a part of the dates at a time.

    Parameters
    ----------
    sources
        NetCDF files, Zarr stores, CSV files of stations; each condition and date is taken from the
        first that tells it.
    options
        How the files are read.

    Raises
    ------
    SarcastError
        If a file cannot be read, holds no weather that a profile knows, or no CRS.
    """

    def __init__(self, sources: Sequence[Path | str], options: WeatherOptions) -> None:
        self.names = ", ".join(map(str, sources))
        self._sources = [open_source(str(source), options) for source in sources]
        self._known: dict[str, dict[np.datetime64, float]] = {}

    def read(self, grid: GeoBox, dates: Sequence[np.datetime64]) -> xr.Dataset:
        """Read the weather of some dates onto the conditions grid.

        Grids are read bilinearly, of the cells that have a value; between stations, as
        ``stations.interpolate`` does.

        Parameters
        ----------
        grid
            The conditions grid.
        dates
            Times of the acquisitions, UTC; the day that counts is the one that the source's
            profile makes of them.

        Returns
        -------
        Dataset
            ``temperature`` (time, cy, cx) degC, ``snow_depth`` (time, cy, cx) cm and
            ``precipitation`` (time, lag, cy, cx) mm per day, lag days before: those that any
            source tells; NaN where it tells nothing.

        Raises
        ------
        SarcastError
            If a unit is unknown, or a value is not physically possible.
        """
        moments = np.asarray(dates, dtype="datetime64[s]")
        merged = xr.Dataset()
        for source in self._sources:
            told = source.profile.found(map(str, source.data.variables))
            for condition, name in told.items():
                layer = _field(source, condition, name, grid, moments)
                held = condition in merged
                merged[condition] = merged[condition].fillna(layer) if held else layer
        for told_name, layer in merged.items():
            shares = np.isfinite(layer.values).reshape(moments.size, -1).mean(axis=1)
            self._known.setdefault(str(told_name), {}).update(zip(moments, shares, strict=True))
        return merged

    @property
    def period(self) -> str:
        """First and last time that the files hold, as text."""
        times = np.concatenate([source.data["time"].values for source in self._sources])
        return f"{str(times.min())[:10]} to {str(times.max())[:10]}" if times.size else "none"

    def close(self) -> None:
        """Let go of the files."""
        for source in self._sources:
            source.data.close()

    def summarise(self) -> None:
        """Say on how many of the dates that were read a condition is missing."""
        for name in (name for name in WEATHER if name in self._known):
            shares = self._known[name]
            missing = sorted(date for date, share in shares.items() if share == 0.0)
            partly = sorted(date for date, share in shares.items() if 0.0 < share < 1.0)
            lacking = [
                f"{how} on {len(some)}"
                for how, some in (("missing", missing), ("partly missing", partly))
                if some
            ]
            if lacking:
                _log.info(
                    f"weather: {name} is {' and '.join(lacking)} of {len(shares)} dates, the first "
                    f"{str(min(missing + partly))[:10]}; it counts as a missing condition there"
                )


def read_weather(
    sources: Path | str | Sequence[Path | str],
    grid: GeoBox,
    dates: Sequence[np.datetime64],
    options: WeatherOptions = WeatherOptions(),  # noqa: B008 - frozen
) -> xr.Dataset:
    """Read the weather of some dates onto the conditions grid, as ``Weather``; say what lacks."""
    weather = Weather([sources] if isinstance(sources, Path | str) else sources, options)
    try:
        read = weather.read(grid, dates)
    finally:
        weather.close()
    weather.summarise()
    return read


def _field(
    source: WeatherSource, condition: Condition, name: str, grid: GeoBox, moments: Times
) -> xr.DataArray:
    """One condition on the conditions grid."""
    variable = source.profile.variables[condition]
    wanted = (moments + _clock(source.profile, variable, grid)).astype("datetime64[D]")
    lags = range(LAGS if condition == "precipitation" else 1)
    asked = np.stack([wanted - lag for lag in lags], axis=1)
    part = grids.near(source.data, grid, asked.min(), asked.max())
    values = _values(source, part.data, condition, name)
    days, layers = daily.to_days(values, part.data["time"].values, variable, source.step)
    unique = np.unique(asked)
    sampled = grids.sampled(part, _on_days(layers, days, unique), grid)
    held = sampled[np.searchsorted(unique, asked)].astype(np.float32)
    if condition == "precipitation":
        return xr.DataArray(held, dims=("time", "lag", "cy", "cx"))
    return xr.DataArray(held[:, 0], dims=("time", "cy", "cx"))


def _clock(profile: WeatherProfile, variable: WeatherVariable, grid: GeoBox) -> np.timedelta64:
    """What is added to UTC so that the source's days begin at 0 o'clock."""
    longitude = float(grid.geographic_extent.centroid.coords[0][0])
    solar = longitude / 15.0 if profile.clock == "local" else 0.0
    return daily.hours(solar + profile.utc_offset - variable.day_starts)


def _values(source: WeatherSource, near: xr.Dataset, condition: Condition, name: str) -> Double:
    """Values of a condition in its unit, dims (time, y, x) or (time, station)."""
    variable = source.profile.variables[condition]
    values = _plain(near, name, source.place)
    for word, meant in variable.replace.items():
        values[values == word] = meant
    unit = _unit(near[name], source.profile, variable)
    if unit is None:
        raise SarcastError(
            f"{name} in {source.place} has no units; give them in a profile (--weather-profile)"
        )
    density = next((one for one in variable.density if one in near), None)
    if density is not None:
        held = _plain(near, density, source.place)
        density_unit = str(near[density].attrs.get("units", "kg m-3"))
        values = daily.snow_depth((values, unit), (held, density_unit), source.place)
        unit = "m"
    converted = daily.to_condition(values, unit, condition, source.step, source.place)
    if condition != "temperature":  # packing leaves traces below 0
        converted[(converted < 0.0) & (converted > -_TRACE)] = 0.0
    if variable.most is not None:
        converted[converted > variable.most] = np.nan
    _check_range(converted, condition, source.place)
    return converted


def _check_range(values: Double, condition: Condition, place: str) -> None:
    allowed = RANGES[condition]
    wrong = values[(values < allowed.low) | (values > allowed.high)]
    if wrong.size:
        raise SarcastError(
            f"{condition} in {place} must lie in {allowed.low:g}..{allowed.high:g} "
            f"{allowed.unit}, but holds {wrong[0]:g}: see that its unit is right, or declare what "
            f"stands for a missing value by replace in a profile (--weather-profile)"
        )


def _plain(near: xr.Dataset, name: str, place: str) -> Double:
    dims = ("time", "station") if "station" in near.dims else ("time", "y", "x")
    field = (
        near[name].squeeze([d for d in near[name].dims if d not in dims], drop=True)
        if (all(near[name].sizes[d] == 1 for d in near[name].dims if d not in dims))
        else near[name]
    )
    if set(field.dims) != set(dims):
        raise SarcastError(
            f"{name} in {place} must have dims {', '.join(dims)}, but has "
            f"{', '.join(map(str, field.dims))}"
        )
    return field.transpose(*dims).values.astype(np.float64)


def _unit(field: xr.DataArray, profile: WeatherProfile, variable: WeatherVariable) -> str | None:
    told = field.attrs.get("units")
    return variable.units if told is None else profile.unit_words.get(str(told), str(told))


def _on_days(layers: Double, days: Times, wanted: Times) -> Double:
    """Layers of the wanted days; NaN on days that are not there."""
    found = np.full((wanted.size, *layers.shape[1:]), np.nan)
    if days.size:
        places = np.searchsorted(days, wanted).clip(max=days.size - 1)
        there = days[places] == wanted
        found[there] = layers[places[there]]
    return found
