"""Weather files opened, with the same names of dims and coordinates for all of them."""

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
from sarcast.ingest.weather.layouts import WeatherOptions, WeatherProfile, choose_profile

CRS_KEY = "sarcast_crs"
"""Attribute with the CRS of an opened grid."""
WGS84 = "EPSG:4326"

_TABLES = {".csv", ".txt", ".tsv"}


@dataclass(frozen=True)
class WeatherSource:
    """An opened weather file, with the profile of its layout and the length of its time step.

    A grid has the coordinates ``time``, ``y`` and ``x``; stations have the dim ``station`` with the
    coordinates ``lat`` and ``lon``. ``name`` is the path or URL of the file.
    """

    name: str
    data: xr.Dataset
    profile: WeatherProfile
    step: np.timedelta64


def open_source(name: str, options: WeatherOptions) -> WeatherSource:
    """Open a weather file and choose its profile.

    Raises
    ------
    SarcastError
        If it cannot be read, no profile matches its names, or it has no coordinates.
    """
    path = Path(name)
    if path.suffix.lower() in _TABLES:
        data, profile = stations.read_table(path, options)
    else:
        file = open_cf(name)
        try:
            names = [str(variable) for variable in file.variables]
            spacing = _grid_spacing(file)
            profile = choose_profile(names, options, name, table=False, spacing=spacing)
            data = _canonical(file, profile, name)
        except SarcastError:
            file.close()
            raise
        data.set_close(file.close)
    return WeatherSource(name, data, profile, daily.step_of(data["time"].values, name))


def _grid_spacing(data: xr.Dataset) -> float | None:
    for name in ("lon", "longitude", "x"):
        if name in data.coords and data[name].ndim == 1 and data[name].size > 1:
            return float(abs(np.median(np.diff(data[name].values))))
    return None


def _canonical(data: xr.Dataset, profile: WeatherProfile, source: str) -> xr.Dataset:
    """Rename dims and coordinates to time, y, x; of stations, to time, lat, lon."""
    known = {str(name).lower(): str(name) for name in data.variables}
    renamed = {}
    for target, names in (("time", profile.time), ("y", profile.y), ("x", profile.x)):
        match = next((known[name.lower()] for name in names if name.lower() in known), None)
        if match is None:
            raise SarcastError(
                f"{source} has no coordinate {' or '.join(names)}; it has "
                f"{', '.join(map(str, data.coords))}: specify it in a profile (--weather-profile)"
            )
        if match != target:
            renamed[match] = target
    canonical = data.rename(renamed)
    if not np.issubdtype(canonical["time"].dtype, np.datetime64):
        raise SarcastError(
            f"the times of {source} are no dates: expected a CF unit such as "
            f"'days since 1961-01-01', found {canonical['time'].attrs.get('units')!r}"
        )
    crs = _crs(canonical, renamed, profile)
    if crs is None:
        raise SarcastError(
            f"{source} has no CRS; add a CF grid mapping to its variables, or set crs in a profile"
        )
    if canonical["x"].ndim == 1 and canonical["x"].dims == canonical["y"].dims:
        return _as_stations(canonical, crs)
    if canonical["x"].ndim != 1 or canonical["y"].ndim != 1:
        raise SarcastError(
            f"{source} has a grid that is not rectilinear in its CRS; "
            f"regrid it to one with one-dimensional x and y"
        )
    if canonical["x"].size == 1 and canonical["y"].size == 1:
        return _as_stations(canonical.stack(station=("y", "x"), create_index=False), crs)
    return canonical.assign_attrs({CRS_KEY: crs.to_wkt()})


def _crs(data: xr.Dataset, renamed: Mapping[str, str], profile: WeatherProfile) -> CRS | None:
    """CRS of a CF grid mapping, of coordinates in degrees, or of the profile."""
    declared = data.odc.crs if "spatial_ref" in data.coords or _has_mapping(data) else None
    if declared is not None:
        return declared
    if data["x"].attrs.get("units", "").startswith("degree") or {"lon", "longitude"} & {
        name.lower() for name in renamed
    }:
        east = data["x"].values
        if np.all((east >= -180.0) & (east <= 360.0)):
            return CRS(WGS84)
    return None if profile.crs is None else CRS(profile.crs)


def _has_mapping(data: xr.Dataset) -> bool:
    return any("grid_mapping" in {**v.attrs, **v.encoding} for v in data.data_vars.values())


def _as_stations(data: xr.Dataset, crs: CRS) -> xr.Dataset:
    x, y = data["x"].values.astype(float), data["y"].values.astype(float)
    if crs != WGS84:
        x, y = crs.transformer_to_crs(CRS(WGS84))(x, y)
    (dim,) = data["x"].dims
    plain = data.drop_vars(["x", "y"]).rename({dim: "station"} if dim != "station" else {})
    stations_only: xr.Dataset = plain.assign_coords(lat=("station", y), lon=("station", x))
    return stations_only
