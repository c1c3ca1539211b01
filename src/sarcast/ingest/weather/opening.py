"""Weather files opened: their variables, dims and coordinates under names of our own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401 - registers the accessor that reads the CRS
import xarray as xr
from odc.geo.crs import CRS

from sarcast.errors import SarcastError
from sarcast.ingest.cf import open_cf
from sarcast.ingest.weather import daily, stations
from sarcast.ingest.weather.layouts import WeatherOptions, WeatherProfile, choose

CRS_KEY = "sarcast_crs"
"""Attribute in which an opened grid carries its CRS."""
WGS84 = "EPSG:4326"

_TABLES = {".csv", ".txt", ".tsv"}


@dataclass(frozen=True)
class WeatherSource:
    """A file of weather: what it holds, the profile that says how, and the length of its steps.

    A grid has coordinates ``time``, ``y`` and ``x``; stations lie along ``station``, with ``lat``
    and ``lon``.
    """

    place: str
    data: xr.Dataset
    profile: WeatherProfile
    step: np.timedelta64


def open_source(place: str, options: WeatherOptions) -> WeatherSource:
    """Open a file of weather and choose the profile that knows it.

    Raises
    ------
    SarcastError
        If it cannot be read, no profile knows its names, or nothing tells its place.
    """
    path = Path(place)
    if path.suffix.lower() in _TABLES:
        data, profile = stations.read_table(path, options)
    else:
        held = open_cf(place)
        try:
            names = [str(name) for name in held.variables]
            profile = choose(names, options, place, table=False, spacing=_spacing(held))
            data = _canonical(held, profile, place)
        except SarcastError:
            held.close()
            raise
        data.set_close(held.close)
    return WeatherSource(place, data, profile, daily.step_of(data["time"].values, place))


def _spacing(data: xr.Dataset) -> float | None:
    for name in ("lon", "longitude", "x"):
        if name in data.coords and data[name].ndim == 1 and data[name].size > 1:
            return float(abs(np.median(np.diff(data[name].values))))
    return None


def _canonical(data: xr.Dataset, profile: WeatherProfile, place: str) -> xr.Dataset:
    """The file's dims and coordinates under the names time, y, x; or lat, lon of a station."""
    known = {str(name).lower(): str(name) for name in data.variables}
    renamed = {}
    for target, names in (("time", profile.time), ("y", profile.y), ("x", profile.x)):
        found = next((known[name.lower()] for name in names if name.lower() in known), None)
        if found is None:
            raise SarcastError(
                f"{place} has no coordinate {' or '.join(names)}; it has "
                f"{', '.join(map(str, data.coords))}: name it in a profile (--weather-profile)"
            )
        if found != target:
            renamed[found] = target
    canonical = data.rename(renamed)
    if not np.issubdtype(canonical["time"].dtype, np.datetime64):
        raise SarcastError(
            f"the times of {place} are no dates: expected a CF unit such as "
            f"'days since 1961-01-01', found {canonical['time'].attrs.get('units')!r}"
        )
    crs = _crs(canonical, renamed, profile)
    if crs is None:
        raise SarcastError(
            f"{place} has no CRS; add a CF grid mapping to its variables, or name it in a profile"
        )
    if canonical["x"].ndim == 1 and canonical["x"].dims == canonical["y"].dims:
        return _as_stations(canonical, crs)
    if canonical["x"].ndim != 1 or canonical["y"].ndim != 1:
        raise SarcastError(
            f"{place} has a grid whose rows and columns are not straight in its CRS; "
            f"regrid it to one with x and y of one dimension each"
        )
    if canonical["x"].size == 1 and canonical["y"].size == 1:
        return _as_stations(canonical.stack(station=("y", "x"), create_index=False), crs)
    return canonical.assign_attrs({CRS_KEY: crs.to_wkt()})


def _crs(data: xr.Dataset, renamed: Mapping[str, str], profile: WeatherProfile) -> CRS | None:
    """CRS of a CF grid mapping, of coordinates in degrees, or of the profile."""
    told = data.odc.crs if "spatial_ref" in data.coords or _mapped(data) else None
    if told is not None:
        return told
    if data["x"].attrs.get("units", "").startswith("degree") or {"lon", "longitude"} & {
        name.lower() for name in renamed
    }:
        east = data["x"].values
        if np.all((east >= -180.0) & (east <= 360.0)):
            return CRS(WGS84)
    return None if profile.crs is None else CRS(profile.crs)


def _mapped(data: xr.Dataset) -> bool:
    return any("grid_mapping" in {**v.attrs, **v.encoding} for v in data.data_vars.values())


def _as_stations(data: xr.Dataset, crs: CRS) -> xr.Dataset:
    x, y = data["x"].values.astype(float), data["y"].values.astype(float)
    if crs != WGS84:
        x, y = crs.transformer_to_crs(CRS(WGS84))(x, y)
    (dim,) = data["x"].dims
    plain = data.drop_vars(["x", "y"]).rename({dim: "station"} if dim != "station" else {})
    placed: xr.Dataset = plain.assign_coords(lat=("station", y), lon=("station", x))
    return placed
