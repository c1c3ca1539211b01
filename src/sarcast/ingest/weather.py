"""Daily weather from grids and stations, onto the conditions grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import odc.geo.xr  # noqa: F401 - registers the accessor that reads the CRS
import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from scipy.ndimage import map_coordinates

from sarcast.conditions import LAGS, RANGES, WEATHER
from sarcast.errors import SarcastError
from sarcast.grid import axes
from sarcast.ingest import daily, stations
from sarcast.ingest.cf import open_cf
from sarcast.ingest.weather_layouts import (
    Condition,
    WeatherOptions,
    WeatherProfile,
    WeatherVariable,
    choose,
)
from sarcast.progress import say

_TABLES = {".csv", ".txt", ".tsv"}
_MARGIN_DAYS = 2
_MARGIN_CELLS = 2
_LEAST_WEIGHT = 1e-6
_TRACE = 0.1
_WGS84 = "EPSG:4326"
_CRS = "sarcast_crs"

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """A file of weather: what it holds, the profile that says how, and the length of its steps."""

    place: str
    data: xr.Dataset
    profile: WeatherProfile
    step: np.timedelta64


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
        self._sources = [_open(str(source), options) for source in sources]
        self._known: dict[str, dict[np.datetime64, float]] = {}

    def read(self, grid: GeoBox, dates: Sequence[np.datetime64]) -> xr.Dataset:
        """Read the weather of some dates onto the conditions grid.

        Grids are read bilinearly, of the cells that have a value; between stations, as
        ``stations.between`` does.

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
            if missing or partly:
                say(
                    f"weather: {name} is missing on {len(missing)} of {len(shares)} dates"
                    f"{f' and partly on {len(partly)}' if partly else ''}, the first "
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


# --- opening ------------------------------------------------------------------------------------


def _open(place: str, options: WeatherOptions) -> Source:
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
    return Source(place, data, profile, daily.step_of(data["time"].values, place))


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
    return canonical.assign_attrs({_CRS: crs.to_wkt()})


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
            return CRS(_WGS84)
    return None if profile.crs is None else CRS(profile.crs)


def _mapped(data: xr.Dataset) -> bool:
    return any("grid_mapping" in {**v.attrs, **v.encoding} for v in data.data_vars.values())


def _as_stations(data: xr.Dataset, crs: CRS) -> xr.Dataset:
    x, y = data["x"].values.astype(float), data["y"].values.astype(float)
    if crs != _WGS84:
        x, y = crs.transformer_to_crs(CRS(_WGS84))(x, y)
    (dim,) = data["x"].dims
    plain = data.drop_vars(["x", "y"]).rename({dim: "station"} if dim != "station" else {})
    placed: xr.Dataset = plain.assign_coords(lat=("station", y), lon=("station", x))
    return placed


# --- reading ------------------------------------------------------------------------------------


def _field(
    source: Source, condition: Condition, name: str, grid: GeoBox, moments: daily.Times
) -> xr.DataArray:
    """One condition on the conditions grid."""
    variable = source.profile.variables[condition]
    wanted = (moments + _clock(source.profile, variable, grid)).astype("datetime64[D]")
    lags = range(LAGS if condition == "precipitation" else 1)
    asked = np.stack([wanted - lag for lag in lags], axis=1)
    near = _near(source.data, grid, asked.min(), asked.max())
    values = _values(source, near, condition, name)
    days, layers = daily.to_days(values, near["time"].values, variable, source.step)
    unique = np.unique(asked)
    sampled = _sampled(near, _on_days(layers, days, unique), grid)
    held = sampled[np.searchsorted(unique, asked)].astype(np.float32)
    if condition == "precipitation":
        return xr.DataArray(held, dims=("time", "lag", "cy", "cx"))
    return xr.DataArray(held[:, 0], dims=("time", "cy", "cx"))


def _clock(profile: WeatherProfile, variable: WeatherVariable, grid: GeoBox) -> np.timedelta64:
    """What is added to UTC so that the source's days begin at 0 o'clock."""
    longitude = float(grid.geographic_extent.centroid.coords[0][0])
    solar = longitude / 15.0 if profile.clock == "local" else 0.0
    return daily.hours(solar + profile.utc_offset - variable.day_starts)


def _near(data: xr.Dataset, grid: GeoBox, first: np.datetime64, last: np.datetime64) -> xr.Dataset:
    """The part of a source that the days and the place need, sorted by time."""
    ordered = data.sortby("time")
    times = ordered["time"].values.astype("datetime64[D]")
    kept = (times >= first - _MARGIN_DAYS) & (times <= last + _MARGIN_DAYS)
    part = ordered.isel(time=np.flatnonzero(kept))
    if "station" in part.dims:
        return part
    rows, columns = _places(part, grid)
    return part.isel(y=_around(rows, part.sizes["y"]), x=_around(columns, part.sizes["x"]))


def _around(places: Values, size: int) -> slice:
    """The cells that places lie among, with a margin; one cell where none lies inside."""
    inside = places[np.isfinite(places)]
    if inside.size == 0:
        return slice(0, 1)
    first = max(0, int(np.floor(inside.min())) - _MARGIN_CELLS)
    return slice(first, min(size, int(np.ceil(inside.max())) + _MARGIN_CELLS + 1))


def _values(source: Source, near: xr.Dataset, condition: Condition, name: str) -> Values:
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
    _check_range(converted, condition, source.place)
    return converted


def _check_range(values: Values, condition: Condition, place: str) -> None:
    allowed = RANGES[condition]
    wrong = values[(values < allowed.low) | (values > allowed.high)]
    if wrong.size:
        raise SarcastError(
            f"{condition} in {place} must lie in {allowed.low:g}..{allowed.high:g} "
            f"{allowed.unit}, but holds {wrong[0]:g}: see that its unit is right, or declare what "
            f"stands for a missing value by replace in a profile (--weather-profile)"
        )


def _plain(near: xr.Dataset, name: str, place: str) -> Values:
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


def _on_days(layers: Values, days: daily.Times, wanted: daily.Times) -> Values:
    """Layers of the wanted days; NaN on days that are not there."""
    found = np.full((wanted.size, *layers.shape[1:]), np.nan)
    if days.size:
        places = np.searchsorted(days, wanted).clip(max=days.size - 1)
        there = days[places] == wanted
        found[there] = layers[places[there]]
    return found


def _sampled(near: xr.Dataset, layers: Values, grid: GeoBox) -> Values:
    """Layers on the cells of the conditions grid, dims (day, cy, cx)."""
    if "station" in near.dims:
        lon, lat = _centres(grid, CRS(_WGS84))
        known = (near["lat"].values.astype(float), near["lon"].values.astype(float))
        return stations.between(layers, known, (lat, lon))
    rows, columns = _places(near, grid)
    inside = np.isfinite(rows) & np.isfinite(columns)
    at = np.stack([np.nan_to_num(rows), np.nan_to_num(columns)])
    return np.stack([_bilinear(layer, at, inside) for layer in layers])


def _bilinear(layer: Values, at: Values, inside: npt.NDArray[np.bool_]) -> Values:
    """Bilinear values of the neighbours that have one."""
    seen = np.isfinite(layer)
    weight = map_coordinates(seen.astype(float), at, order=1, mode="nearest")
    total = map_coordinates(np.where(seen, layer, 0.0), at, order=1, mode="nearest")
    known = inside & (weight > _LEAST_WEIGHT)
    return np.where(known, total / np.where(known, weight, 1.0), np.nan)


def _places(data: xr.Dataset, grid: GeoBox) -> tuple[Values, Values]:
    """Fractional rows and columns of the source at the centres of the grid's cells."""
    x, y = _centres(grid, CRS(data.attrs[_CRS]))
    axis_y, axis_x = (data[name].values.astype(np.float64) for name in ("y", "x"))
    if CRS(data.attrs[_CRS]).geographic:
        x = x + 360.0 * np.round((axis_x.mean() - x) / 360.0)
    steps = [abs(np.ptp(axis)) / (axis.size - 1) for axis in (axis_y, axis_x) if axis.size > 1]
    return _fractional(axis_y, y, steps[0]), _fractional(axis_x, x, steps[-1])


def _centres(grid: GeoBox, crs: CRS) -> tuple[Values, Values]:
    """Coordinates x and y of the centres of the grid's cells in another CRS."""
    y, x = np.meshgrid(*axes(grid), indexing="ij")
    return (x, y) if crs == grid.crs else grid.crs.transformer_to_crs(crs)(x, y)


def _fractional(axis: Values, wanted: Values, step: float) -> Values:
    """Place of each wanted value along an axis; NaN more than half a cell outside it."""
    signed = step if axis.size == 1 else (axis[-1] - axis[0]) / (axis.size - 1)
    places = (wanted - axis[0]) / signed
    inside = (places >= -0.5 - 1e-6) & (places <= axis.size - 0.5 + 1e-6)
    return np.where(inside, np.clip(places, 0.0, axis.size - 1.0), np.nan)
