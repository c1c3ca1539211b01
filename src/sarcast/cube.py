"""The cube: all scenes of an area on one grid, with terrain and conditions.

A Zarr v3 store that grows by one time step an acquisition. All data of a step is written before the
store's consolidated metadata, in one file that is replaced at once, tells of it: a build that is
killed leaves the steps before it and nothing of the one it was at, and can be started again. Steps
stand in the order in which they were written; ``open_cube`` gives them in the order of time.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pystac
import rioxarray  # noqa: F401 - registers the accessor that writes and reads the CRS
import xarray as xr
import zarr
import zarr.errors
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from odc.geo.xr import xr_coords
from pydantic import BaseModel, ConfigDict, Field
from rasterio.errors import RasterioError

from sarcast import units
from sarcast.catalogue.scene import BANDS
from sarcast.conditions import LAGS, RANGES
from sarcast.errors import SarcastError, UsageError
from sarcast.files import full_disk_named
from sarcast.grid import axes, conditions_grid
from sarcast.ingest.acquisition import Acquisition, acquisitions
from sarcast.ingest.cover import FOREST, OPEN_LAND, read_cover
from sarcast.ingest.dem import read_dem
from sarcast.ingest.weather import read_weather
from sarcast.progress import say, track
from sarcast.rasters import sample

VERSION = 1
"""Version of the schema, in the store's attribute ``sarcast_cube``."""
CHUNK = 256
"""Pixels a side of an inner chunk."""
SHARD = 2048
"""Pixels a side of a shard, one file; the unit in which a step is computed and written."""

_SCALE = 0.01
_MISSING = np.int16(-32768)


@dataclass(frozen=True)
class Variable:
    """An array of the store: its dims, dtype on disk and attributes."""

    dims: tuple[str, ...]
    dtype: str
    attrs: dict[str, Any]

    @property
    def grows(self) -> bool:
        """Whether it has one layer a time step."""
        return self.dims[0] == "time"


_DB = {"units": units.DB, "scale_factor": _SCALE, "_FillValue": int(_MISSING)}
_MAPPED = {"grid_mapping": "spatial_ref"}
_MASK = {"dtype": "bool", **_MAPPED}

SCHEMA = {
    "backscatter": Variable(("time", "band", "y", "x"), "int16", {**_DB, **_MAPPED}),
    "expected": Variable(("time", "band", "y", "x"), "int16", {**_DB, **_MAPPED}),
    "elevation": Variable(("y", "x"), "float32", {"units": "m", **_MAPPED}),
    "forest": Variable(("y", "x"), "int8", _MASK),
    "open_land": Variable(("y", "x"), "int8", _MASK),
    "incidence": Variable(("time", "cy", "cx"), "float32", {"units": RANGES["incidence"].unit}),
    "temperature": Variable(("time", "cy", "cx"), "float32", {"units": RANGES["temperature"].unit}),
    "snow_depth": Variable(("time", "cy", "cx"), "float32", {"units": RANGES["snow_depth"].unit}),
    "precipitation": Variable(
        ("time", "lag", "cy", "cx"), "float32", {"units": RANGES["precipitation"].unit}
    ),
    "time": Variable(
        ("time",), "int64", {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    ),
    "scene_id": Variable(("time",), "str", {}),
    "platform": Variable(("time",), "str", {}),
    "orbit_direction": Variable(("time",), "str", {}),
    "relative_orbit": Variable(("time",), "int16", {"comment": "0 where unknown"}),
    "heading": Variable(("time",), "float32", {"units": RANGES["heading"].unit}),
    "quantity": Variable(("time",), "str", {}),
}
OPTIONAL = ("expected", "forest", "open_land")
COORDINATES = ("scene_id", "platform", "orbit_direction", "relative_orbit", "heading", "quantity")


class CubeOptions(BaseModel):
    """How scenes become a cube."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resampling: str = Field(
        "bilinear",
        pattern="^(nearest|bilinear|cubic|average)$",
        description="How scenes on another grid are warped: nearest, bilinear, cubic or average.",
    )
    forest_classes: tuple[int, ...] = Field(
        FOREST, description="Class numbers of forest in the land cover."
    )
    open_land_classes: tuple[int, ...] = Field(
        OPEN_LAND, description="Class numbers of open land in the land cover."
    )


@dataclass(frozen=True)
class Sources:
    """What else is known of the area: terrain, weather and land cover, each a file or None."""

    dem: Path | None = None
    weather: Path | None = None
    cover: Path | None = None


def open_cube(path: Path | str) -> xr.Dataset:
    """Open a cube, lazily.

    Parameters
    ----------
    path
        A store made by ``build_cube``.

    Returns
    -------
    Dataset
        ``backscatter`` (time, band, y, x) dB and what else the schema holds, in the order of time.

    Raises
    ------
    SarcastError
        If there is no cube, or one of another version.
    """
    path = Path(path)
    version = _attributes(path).get("sarcast_cube")
    if version != VERSION:
        raise SarcastError(
            f"{path} is a cube of version {version}; this program reads {VERSION}: build it again"
        )
    packed = xr.open_zarr(
        path, chunks=None, consolidated=True, mask_and_scale=False, decode_times=False
    )
    for variable in packed.variables.values():
        if "scale_factor" in variable.attrs:  # so that decibels are unpacked to float32
            variable.attrs["scale_factor"] = np.float32(variable.attrs["scale_factor"])
    cube = xr.decode_cf(packed, decode_coords="all")
    cube = cube.set_coords([name for name in COORDINATES if name in cube])
    order = np.argsort(cube["time"].values, kind="stable")
    if np.any(np.diff(order) < 0):
        cube = cube.isel(time=order)
    for name in ("forest", "open_land"):
        if name in cube:
            cube[name] = cube[name].astype(bool)
    return cube


def build_cube(
    items: Sequence[pystac.Item],
    path: Path,
    grid: GeoBox,
    options: CubeOptions,
    sources: Sources,
) -> None:
    """Build a cube, or add to one what it lacks.

    Parameters
    ----------
    items
        Scenes, in any order; those of one pass are fused.
    path
        The store; a cube that is there must have the same grid.
    grid
        Grid of the cube.
    options
        How scenes are warped.
    sources
        Terrain, weather and land cover.

    Raises
    ------
    SarcastError
        If no scene touches the grid, a source does not fit, or the disk is full. Steps that were
        written stay.
    """
    found = _touching(acquisitions(items), grid)
    static = _static(grid, options, sources)
    weather = _weather(sources, grid, found)
    with full_disk_named(path):
        store = _open_store(path, grid, has_truth=_has_truth(found))
        _write_static(store, static)
        held = set(_values(store, "scene_id").tolist())
        _fill_weather(store, sources, grid)
        todo = [place for place, one in enumerate(found) if one.scene_id not in held]
        done = len(found) - len(todo)
        if not todo:
            say(f"{path} holds all {len(found)} acquisitions already")
        for place in track(todo, "building the cube", len(found), done=done):
            layers = {name: weather[name].values[place] for name in weather}
            _append(store, found[place], grid, options, layers)


def _touching(found: list[Acquisition], grid: GeoBox) -> list[Acquisition]:
    area = grid.extent.to_crs("EPSG:4326")
    inside = [
        one
        for one in found
        if any(Geometry(item.geometry, "EPSG:4326").intersects(area) for item in one.items)
    ]
    if not inside:
        west, south, east, north = area.boundingbox.bbox
        raise SarcastError(
            f"no scene touches the area (west {west:.4f}, south {south:.4f}, east {east:.4f}, "
            f"north {north:.4f}); the catalogue was asked for {len(found)} acquisitions: "
            f"give another --area, or leave it out to take all that the scenes cover"
        )
    return inside


def _has_truth(found: list[Acquisition]) -> bool:
    return all("vv-expected" in item.assets for one in found for item in one.items)


# --- the store ----------------------------------------------------------------------------------


def _attributes(path: Path) -> dict[str, Any]:
    try:
        return dict(zarr.open_group(path, mode="r").attrs)
    except (FileNotFoundError, ValueError, NotADirectoryError) as error:
        if (path / "backscatter").is_dir():
            raise SarcastError(
                f"{path} is a damaged cube: its zarr.json cannot be read; "
                f"remove it and build it again"
            ) from error
        raise SarcastError(
            f"{path} is no cube; build one with: sarcast cube CATALOGUE --to {path}"
        ) from error


def _open_store(path: Path, grid: GeoBox, *, has_truth: bool) -> zarr.Group:
    """Open or make the store, and take back what a killed run left half done."""
    if not (path / "zarr.json").exists():
        if path.exists() and (path.is_file() or any(path.iterdir())):
            raise SarcastError(f"{path} exists and is no cube; name another target for the cube")
        return _create_store(path, grid, has_truth=has_truth)
    told = _attributes(path)
    if told.get("grid") != _describe(grid):
        raise SarcastError(
            f"{path} is a cube on another grid ({told.get('grid')}) than asked for "
            f"({_describe(grid)}); name another target, or ask for the same area and resolution"
        )
    return _take_back(path)


def _take_back(path: Path) -> zarr.Group:
    consolidated = zarr.open_group(path, mode="r", use_consolidated=True)
    steps = _array(consolidated, "time").shape[0]
    store = zarr.open_group(path, mode="r+", use_consolidated=False)
    for name, variable in SCHEMA.items():
        if variable.grows and name in store:
            _resize(_array(store, name), steps)
    for left in path.rglob("*.partial"):
        left.unlink(missing_ok=True)
    return store


def _create_store(path: Path, grid: GeoBox, *, has_truth: bool) -> zarr.Group:
    attrs = {"Conventions": "CF-1.11", "sarcast_cube": VERSION, "grid": _describe(grid)}
    store = zarr.create_group(path, zarr_format=3, attributes=attrs)
    coarse = conditions_grid(grid)
    sizes = {
        "time": 0,
        "band": len(BANDS),
        "lag": LAGS,
        **dict(zip(("y", "x"), grid.shape, strict=True)),
        **dict(zip(("cy", "cx"), coarse.shape, strict=True)),
    }
    for name, variable in SCHEMA.items():
        if name not in OPTIONAL or (name == "expected" and has_truth):
            _create_array(store, name, variable, sizes)
    _write_coordinates(store, grid, coarse)
    _commit(store)
    return store


def _create_array(store: zarr.Group, name: str, variable: Variable, sizes: dict[str, int]) -> None:
    image = variable.dims[-2:] == ("y", "x")
    chunks, shards = [], []
    for dim in variable.dims:
        whole = max(sizes[dim], 1)
        if dim in ("y", "x"):
            chunks.append(CHUNK)
            shards.append(min(SHARD, -(-whole // CHUNK) * CHUNK))
        else:
            chunks.append((1 if len(variable.dims) > 1 else CHUNK) if dim == "time" else whole)
            shards.append(chunks[-1])
    fill: Any = {"str": "", "float32": np.nan, "int16": 0}.get(variable.dtype, 0)
    store.create_array(
        name,
        shape=[sizes[dim] for dim in variable.dims],
        dtype=variable.dtype,
        chunks=tuple(chunks),
        shards=tuple(shards) if image else None,
        fill_value=variable.attrs.get("_FillValue", fill),
        dimension_names=variable.dims,
        attributes=variable.attrs,
    )


def _write_coordinates(store: zarr.Group, grid: GeoBox, coarse: GeoBox) -> None:
    for name, coordinate in zip(("y", "x", "spatial_ref"), xr_coords(grid).values(), strict=True):
        dims = (name,) if coordinate.dims else ()
        _put(store, name, np.asarray(coordinate.values), dims, dict(coordinate.attrs))
    for name, values in zip(("cy", "cx"), axes(coarse), strict=True):
        _put(store, name, values, (name,), {"units": grid.crs.units[0]})
    _put(store, "lag", np.arange(LAGS), ("lag",), {"units": "days", "long_name": "days before"})
    band = store.create_array("band", shape=(len(BANDS),), dtype="str", dimension_names=("band",))
    band[:] = np.array(BANDS, dtype=object)


def _put(
    store: zarr.Group,
    name: str,
    values: npt.NDArray[Any],
    dims: tuple[str, ...],
    attrs: dict[str, Any],
) -> None:
    plain = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in attrs.items()
    }
    store.create_array(name, data=values, dimension_names=dims, attributes=plain, overwrite=True)


def _describe(grid: GeoBox) -> str:
    rows, columns = grid.shape
    numbers = " ".join(f"{value:.9g}" for value in list(grid.transform)[:6])
    return f"{grid.crs} {rows}x{columns} [{numbers}]"


def _array(store: zarr.Group, name: str) -> zarr.Array[Any]:
    found = store[name]
    assert isinstance(found, zarr.Array)
    return found


def _values(store: zarr.Group, name: str) -> npt.NDArray[Any]:
    return np.asarray(_array(store, name)[:])


def _resize(array: zarr.Array[Any], steps: int) -> None:
    if array.shape[0] != steps:
        array.resize((steps, *array.shape[1:]))


def _commit(store: zarr.Group) -> None:
    """Make all that was written visible, by replacing one file."""
    with warnings.catch_warnings():
        # Readers that know no consolidated metadata see each array's own, which agree with it
        # whenever no build is at work.
        warnings.filterwarnings("ignore", "Consolidated metadata", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(store.store)


# --- what does not change with time -------------------------------------------------------------


def _static(grid: GeoBox, options: CubeOptions, sources: Sources) -> dict[str, xr.DataArray]:
    layers: dict[str, xr.DataArray] = {}
    if sources.dem is not None:
        layers["elevation"] = read_dem(sources.dem, grid)
    if sources.cover is not None:
        cover = read_cover(
            sources.cover,
            grid,
            forest=options.forest_classes,
            open_land=options.open_land_classes,
        )
        layers.update({str(name): layer for name, layer in cover.items()})
    return layers


def _write_static(store: zarr.Group, layers: dict[str, xr.DataArray]) -> None:
    for name, layer in layers.items():
        if name not in store:
            sizes = {str(dim): size for dim, size in layer.sizes.items()}
            renamed = dict(zip(("y", "x"), sizes.values(), strict=True))
            _create_array(store, name, SCHEMA[name], renamed)
        array = _array(store, name)
        array[:] = layer.values.astype(array.dtype)
    if layers:
        _commit(store)


def _weather(sources: Sources, grid: GeoBox, found: list[Acquisition]) -> xr.Dataset:
    if sources.weather is None:
        return xr.Dataset()
    return read_weather(sources.weather, conditions_grid(grid), [one.time for one in found])


def _fill_weather(store: zarr.Group, sources: Sources, grid: GeoBox) -> None:
    """Give the steps that are held the weather that was named, which an earlier run may lack."""
    times = _values(store, "time").astype("datetime64[s]")
    if sources.weather is None or times.size == 0:
        return
    fields = read_weather(sources.weather, conditions_grid(grid), list(times))
    for name in fields:
        _array(store, str(name))[:] = fields[name].values


# --- one step -----------------------------------------------------------------------------------


def _append(
    store: zarr.Group,
    one: Acquisition,
    grid: GeoBox,
    options: CubeOptions,
    weather: dict[Any, npt.NDArray[np.float32]],
) -> None:
    step = _array(store, "time").shape[0]
    for name, variable in SCHEMA.items():
        if variable.grows and name in store:
            _resize(_array(store, name), step + 1)
    images = {"backscatter": one.backscatter(grid, SHARD, options.resampling)}
    if "expected" in store:
        truth = one.truth(grid, SHARD, options.resampling)
        images |= {} if truth is None else {"expected": truth}
    _store_images(store, images, step, one)
    _array(store, "incidence")[step] = one.incidence(conditions_grid(grid))
    for name, layer in weather.items():
        _array(store, str(name))[step] = layer
    for name in COORDINATES:
        attribute = "heading_deg" if name == "heading" else name
        _array(store, name)[step] = getattr(one, attribute)
    _array(store, "time")[step] = one.time.astype(np.int64)
    _commit(store)


def _store_images(
    store: zarr.Group, images: dict[str, xr.DataArray], step: int, one: Acquisition
) -> None:
    regions = (slice(step, step + 1), slice(None), slice(None), slice(None))
    jobs = [
        da.store(
            _pack(image.data)[np.newaxis], store[name], regions=regions, lock=False, compute=False
        )
        for name, image in images.items()
    ]
    try:
        dask.compute(*jobs)
    except RasterioError as error:
        _name_unreadable(one, error)


def _pack(decibels: da.Array) -> da.Array:
    scaled = da.round(decibels / _SCALE)
    return da.where(da.isfinite(scaled), scaled, float(_MISSING)).astype(np.int16)


def _name_unreadable(one: Acquisition, error: Exception) -> None:
    for item in one.items:
        for asset in item.assets.values():
            sample(Path(asset.href))
    raise SarcastError(f"{one.scene_id} cannot be read: {error}") from error


# --- dates --------------------------------------------------------------------------------------


_ISO = re.compile(r"\d{4}(-\d{2}(-\d{2}(T\d{2}(:\d{2}(:\d{2}(\.\d{1,9})?)?)?)?)?)?")


def place_of_date(cube: xr.Dataset, date: str) -> int:
    """Find the place on ``time`` of a date, or of a moment where a date has several acquisitions.

    Parameters
    ----------
    cube
        The cube.
    date
        ISO 8601, as ``2025-01-02`` or ``2025-01-02T01:58:24``; UTC.

    Raises
    ------
    SarcastError
        If the cube has no such date, or several acquisitions on it.
    """
    times = cube["time"].values
    wanted = _datetime(date)
    unit = np.datetime_data(wanted.dtype)[0]
    matches = np.flatnonzero(times.astype(f"datetime64[{unit}]") == wanted)
    if len(matches) == 1:
        return int(matches[0])
    if len(matches) == 0:
        nearest = times[np.argmin(np.abs(times - wanted.astype(times.dtype)))]
        raise SarcastError(
            f"the cube has no acquisition at {date}; the nearest is {_shown(nearest)} "
            f"(it holds {len(times)} from {_shown(times[0])} to {_shown(times[-1])})"
        )
    raise SarcastError(
        f"the cube has {len(matches)} acquisitions at {date}; name one of "
        f"{', '.join(_shown(time) for time in times[matches])}"
    )


def moment_of(date: str, *, last: bool = False) -> np.datetime64:
    """Read a date or a moment, ISO 8601, UTC: its start, or the last moment of it.

    Raises
    ------
    UsageError
        If it is neither.
    """
    read = _datetime(date)
    start = read.astype("datetime64[s]")
    end = (read + 1).astype("datetime64[s]") - np.timedelta64(1, "s")
    moment: np.datetime64 = end if last else start
    return moment


def _datetime(date: str) -> np.datetime64:
    try:
        if _ISO.fullmatch(date):
            return np.datetime64(date)
    except ValueError:
        pass
    raise UsageError(f"{date!r} is no date; give one such as 2025-01-02 or 2025-01-02T01:58:24")


def _shown(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, unit="s"))
