"""Weather files opened, with the same names of dims and coordinates for all of them."""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401 - registers the accessor that reads the CRS
import xarray as xr
from odc.geo.crs import CRS

from sarcast.arrays import Times
from sarcast.errors import SarcastError
from sarcast.ingest.cf import open_cf
from sarcast.ingest.weather import archive, daily, joining, stations
from sarcast.ingest.weather.layouts import (
    Condition,
    WeatherOptions,
    WeatherProfile,
    choose_profile,
    is_weather,
)
from sarcast.io.containers import is_zip

_log = logging.getLogger(__name__)

CRS_KEY = "sarcast_crs"
"""Attribute with the CRS of an opened grid."""
WGS84 = "EPSG:4326"

_TABLES = {".csv", ".txt", ".tsv"}
Group = dict[str, xr.Dataset]
"""Opened files on the same grid, by name."""
_SPATIAL = {"lon", "longitude", "x", "lat", "latitude", "y"}


@dataclass(frozen=True)
class WeatherSource:
    """An opened weather file, or the files of a zip that are on the same grid, with their profile.

    Grids have the coordinates ``time``, ``y`` and ``x``; stations have the dim ``station`` with the
    coordinates ``lat`` and ``lon``. ``name`` is the path or URL, and of a zip also its files.
    ``steps`` contains the length of the time step of each condition.
    """

    name: str
    members: tuple[xr.Dataset, ...]
    profile: WeatherProfile
    steps: Mapping[Condition, np.timedelta64]
    close: Callable[[], None]

    @property
    def matches(self) -> dict[Condition, str]:
        """Variable of each condition: ``{"temperature": "t2m"}``."""
        return self.profile.match(_names(self.members))

    @property
    def times(self) -> Times:
        """Times of all members."""
        return np.concatenate([member["time"].values for member in self.members])

    def density(self, condition: Condition) -> str | None:
        """The variable that converts a condition from an amount of water to a depth, if any."""
        names = self.profile.variables[condition].density
        return next((name for name in names if name in _names(self.members)), None)

    def with_field(self, field: str) -> list[xr.Dataset]:
        """The members that contain a variable."""
        return [member for member in self.members if field in member]


def open_sources(name: str, options: WeatherOptions) -> list[WeatherSource]:
    """Open a weather file, or the NetCDF files of a zip, and choose their profiles.

    Returns
    -------
    list of WeatherSource
        One; of a zip, one for each of its grids.

    Raises
    ------
    SarcastError
        If it cannot be read, no profile matches its names, or it has no coordinates.
    """
    if Path(name).suffix.lower() in _TABLES:
        data, profile = stations.read_table(Path(name), options)
        return [_source(name, [data], profile, data.close)]
    stack = ExitStack()
    try:
        groups = _open_zip(name, options, stack) if is_zip(Path(name)) else [_open(name, stack)]
        return [_join(name, group, options, stack.close) for group in groups]
    except BaseException:
        stack.close()
        raise


def _open(name: str, stack: ExitStack, within: str = "") -> Group:
    """Open a file, called by its name in a zip if it is unpacked from one."""
    file = open_cf(name, called=within)
    stack.callback(file.close)
    return {within or name: file}


def _open_zip(name: str, options: WeatherOptions, stack: ExitStack) -> list[Group]:
    """Open the NetCDF files of a zip, by grid; grids without weather are left out, with a warning.

    All are returned if none has weather.
    """
    folder, paths = archive.unpack(name)
    stack.callback(folder.cleanup)
    by_grid: dict[bytes, Group] = {}
    for member, path in paths.items():
        group = _open(str(path), stack, f"{name} ({member})")
        by_grid.setdefault(_grid_key(*group.values()), {}).update(group)
    groups = list(by_grid.values())
    usable = [group for group in groups if is_weather(_names(group.values()), options)]
    _warn_of_unused(file for group in groups if usable and group not in usable for file in group)
    return usable or groups


def _join(
    name: str, group: Group, options: WeatherOptions, close: Callable[[], None]
) -> WeatherSource:
    """Join files on the same grid to one source; those without its variables are left out."""
    first = next(iter(group.values()))
    names = _names(group.values())
    profile = choose_profile(names, options, name, table=False, spacing=_grid_spacing(first))
    fields = {*profile.match(names).values(), *profile.densities}
    used = {file: data for file, data in group.items() if fields & set(_names([data]))}
    _warn_of_unused(file for file in group if file not in used)
    called = next(iter(used)) if len(used) == 1 else name
    members = [_canonical(data, profile, file) for file, data in used.items()]
    return _source(called, [_on_grid_of(members[0], data) for data in members], profile, close)


def _source(
    name: str, members: list[xr.Dataset], profile: WeatherProfile, close: Callable[[], None]
) -> WeatherSource:
    for member in members:
        for version in joining.versions(member):
            daily.check_times(version["time"].values, name)
    steps = {}
    for condition, field in profile.match(_names(members)).items():
        times = [member["time"].values for member in members if field in member]
        steps[condition] = daily.step_of(np.unique(np.concatenate(times)), name)
    return WeatherSource(name, tuple(members), profile, steps, close)


def _warn_of_unused(files: Iterable[str]) -> None:
    for file in files:
        _log.warning(f"{file} contains no known weather variable, left out")


def _names(files: Iterable[xr.Dataset]) -> list[str]:
    """Names of all variables and coordinates, in the order of the files."""
    return list(dict.fromkeys(str(name) for file in files for name in file.variables))


def _grid_key(data: xr.Dataset) -> bytes:
    """Equal for files with the same coordinates in space, within a rounding error."""
    axes = [
        np.round(data[name].values.astype(np.float64), 4)
        for name in sorted(map(str, data.coords))
        if name.lower() in _SPATIAL
    ]
    return b"".join(repr(axis.shape).encode() + axis.tobytes() for axis in axes)


def _on_grid_of(first: xr.Dataset, data: xr.Dataset) -> xr.Dataset:
    """A dataset with the coordinates in space of another, free of rounding errors."""
    return data.assign_coords({n: first[n] for n in ("y", "x", "lat", "lon") if n in first.coords})


def _grid_spacing(data: xr.Dataset) -> float | None:
    for name in ("lon", "longitude", "x"):
        if name not in data.coords or data[name].dtype.kind not in "fiu":
            continue
        if data[name].ndim == 1 and data[name].size > 1:
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
    _check_axes(canonical, source)
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
    if canonical["x"].dims != ("x",) or canonical["y"].dims != ("y",):
        raise SarcastError(
            f"{source} has a grid that is not rectilinear in its CRS; "
            f"regrid it to one with one-dimensional x and y"
        )
    if canonical["x"].size == 1 and canonical["y"].size == 1:
        return _as_stations(canonical.stack(station=("y", "x"), create_index=False), crs)
    return canonical.assign_attrs({CRS_KEY: crs.to_wkt()})


def _check_axes(data: xr.Dataset, source: str) -> None:
    """Raise if a dim is empty, or a coordinate in space is no number or does not run one way."""
    if data["time"].dims != ("time",):
        raise SarcastError(
            f"{source} has times along {', '.join(map(str, data['time'].dims)) or 'no dim'}, "
            f"expected along their own dim; fetch it again, or rename the dim"
        )
    for name in ("time", "y", "x"):
        if data[name].size == 0:
            raise SarcastError(f"{source} is empty: its {name} has no values; fetch it again")
    for name in ("y", "x"):
        values = data[name].values
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise SarcastError(
                f"{source} has a coordinate {name} with values that are no numbers; fetch it again"
            )
        steps = np.diff(values.astype(float)) if data[name].dims == (name,) else np.ones(1)
        if not ((steps > 0).all() or (steps < 0).all()):
            raise SarcastError(
                f"{source} has a coordinate {name} that neither rises nor falls; fetch it again"
            )


def _crs(data: xr.Dataset, renamed: Mapping[str, str], profile: WeatherProfile) -> CRS | None:
    """CRS of a CF grid mapping, of coordinates in degrees, or of the profile."""
    declared = data.odc.crs if "spatial_ref" in data.coords or _has_mapping(data) else None
    if declared is not None:
        return declared
    if str(data["x"].attrs.get("units", "")).startswith("degree") or {"lon", "longitude"} & {
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
