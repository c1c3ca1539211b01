"""A cube looked at from all sides: schema, units, chunks, dates, statistics, platforms."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, reduce
from itertools import product
from operator import add
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from sarcast.arrays import Float, Floating
from sarcast.cube.block import Slices, places
from sarcast.cube.check.outliers import condition_warnings, date_warnings, shown, value_warnings
from sarcast.cube.check.platforms import (
    LARGEST_LEVEL_DB,
    LARGEST_SHIFT,
    Comparison,
    Series,
    compare,
)
from sarcast.cube.check.statistics import DateStatistics, Tally, cell_side, nothing, tally
from sarcast.cube.executor import WorkerOptions, Workers, start_workers
from sarcast.cube.opening import open_cube
from sarcast.cube.schema import OPTIONAL, PART, SCHEMA
from sarcast.errors import SarcastError
from sarcast.io.progress import track

_WINDOW = 512
_WINDOWS_A_SIDE = 3
_MOST_DATES = 24


@dataclass(frozen=True)
class Report:
    """What the look at a cube found.

    Attributes
    ----------
    faults
        Where the store contradicts its schema or itself, or cannot be read; a line each.
    warnings
        What can be true, but should be known; a line each.
    dates
        In the order of time.
    platforms
        Each pair that shares a view.
    """

    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    dates: tuple[DateStatistics, ...]
    platforms: tuple[Comparison, ...]


def check_cube(path: Path, *, workers: WorkerOptions = WorkerOptions()) -> Report:  # noqa: B008 - frozen
    """Look at a cube: every chunk is read.

    Parameters
    ----------
    path
        The store.
    workers
        Who reads.

    Raises
    ------
    SarcastError
        If it is no cube, or its metadata cannot be read.
    """
    cube = open_cube(path)
    faults = list(_schema_faults(cube, path))
    if faults:
        return Report(tuple(faults), (), (), ())
    with start_workers(workers) as started:
        tallied = _read(path.resolve(), cube, started)
    faults += [*tallied.damages, *_other_damages(cube), *_deleted(cube, tallied)]
    dates = _statistics(cube, tallied)
    if faults:
        return Report(tuple(faults), (), dates, ())
    compared = compare(_series(cube, tallied), partial(_images, cube))
    warnings = [*date_warnings(cube), *value_warnings(dates), *condition_warnings(cube)]
    warnings += [line for one in compared for line in _platform_warnings(one)]
    return Report((), tuple(warnings), dates, compared)


# --- the store ------------------------------------------------------------------------------------


def _schema_faults(cube: xr.Dataset, path: Path) -> Iterator[str]:
    """Where the arrays on disk are not as the schema has them."""
    store = zarr.open_group(path, mode="r")
    for name, variable in SCHEMA.items():
        if name not in store:
            if name not in (*OPTIONAL, "seen"):
                yield f"{name} is missing"
            continue
        array = store[name]
        assert isinstance(array, zarr.Array)
        if not (path / name / "zarr.json").is_file():
            yield f"{name} has lost its files"
        elif name == "time" and array.size and not (path / name / "c").is_dir():
            yield "time has lost its values"
        dims = array.metadata.dimension_names  # type: ignore[union-attr]
        if dims != variable.dims:
            yield f"{name} has the dims {dims}, not {variable.dims}"
        if variable.dtype != "str" and array.dtype != np.dtype(variable.dtype):
            yield f"{name} is of type {array.dtype}, not {variable.dtype}"
        for key in ("units", "scale_factor", "_FillValue"):
            if array.attrs.get(key) != variable.attrs.get(key):
                told, wanted = array.attrs.get(key), variable.attrs.get(key)
                yield f"{name} has {key} {told!r}, not {wanted!r}"
    if cube.odc.geobox is None:
        yield "the cube has no grid: its coordinates or its spatial_ref are damaged"


def _other_damages(cube: xr.Dataset) -> Iterator[str]:
    """What cannot be read besides the backscatter, which is read by blocks."""
    for name in cube.variables:
        if name in SCHEMA and name not in ("backscatter", "expected"):
            try:
                for part in _parts(cube, str(name)):
                    part.load()
            except SarcastError as error:
                yield str(error)


def _parts(cube: xr.Dataset, name: str) -> Iterator[xr.DataArray]:
    """A variable whole, or in parts if it is an image of the ground, which may be large."""
    if cube[name].dims == ("y", "x"):
        yield from (cube[name][place] for place in places(cube.odc.geobox, PART))
    else:
        yield cube[name]


# --- backscatter ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tallied:
    """All dates read, in the order of the opened cube."""

    tallies: list[Tally]
    fields: Float
    damages: list[str]


def _read(path: Path, cube: xr.Dataset, workers: Workers) -> _Tallied:
    rows, columns = cube.sizes["y"], cube.sizes["x"]
    side = cell_side(rows, columns)
    blocks = places(cube.odc.geobox)
    steps = _steps(path, cube)
    bands, cells = cube.sizes["band"], (-(-rows // side), -(-columns // side))
    fields = np.full((len(steps), bands, *cells), np.nan, dtype=np.float32)
    parts: list[list[Tally]] = [[] for _ in steps]
    damages = []
    calls = [(path, step, place, side) for step in steps for place in blocks]
    which = product(range(len(steps)), blocks)
    futures = workers.each(tally, track(calls, "reading the cube", len(calls)))
    for (number, place), future in zip(which, futures, strict=True):
        try:
            part, means = future.result()
        except Exception as error:  # a codec may raise anything on bytes that are not its own
            damages.append(_damage(cube, number, place, error))
            continue
        parts[number].append(part)
        fields[number, :, _coarse(place[0], side), _coarse(place[1], side)] = means
    return _Tallied([reduce(add, held, nothing(bands)) for held in parts], fields, damages)


def _steps(path: Path, cube: xr.Dataset) -> list[int]:
    """Where the dates of an opened cube lie in the store."""
    held = np.asarray(zarr.open_array(path / "scene_id", mode="r")[:]).tolist()
    return [held.index(one) for one in cube["scene_id"].values.tolist()]


def _coarse(place: slice, side: int) -> slice:
    return slice(place.start // side, -(-place.stop // side))


def _damage(cube: xr.Dataset, number: int, place: Slices, error: Exception) -> str:
    rows, columns = place
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"backscatter of {shown(cube['time'].values[number])} cannot be read in rows "
        f"{rows.start} to {rows.stop - 1}, columns {columns.start} to {columns.stop - 1} ({why})"
    )


def _deleted(cube: xr.Dataset, tallied: _Tallied) -> Iterator[str]:
    """Dates of which fewer pixels are there than were written."""
    if "seen" not in cube or tallied.damages:
        return
    for time, told, found in zip(
        cube["time"].values, cube["seen"].values, tallied.tallies, strict=True
    ):
        if np.any(told != found.count):
            yield (
                f"backscatter of {shown(time)} holds {found.count.tolist()} pixels, not the "
                f"{told.tolist()} that were written: chunks were deleted or changed"
            )


def _statistics(cube: xr.Dataset, tallied: _Tallied) -> tuple[DateStatistics, ...]:
    pixels = cube.sizes["y"] * cube.sizes["x"]
    return tuple(
        DateStatistics(
            time=time,
            platform=str(platform),
            orbit_direction=str(direction),
            relative_orbit=int(orbit),
            seen=float(found.count.max()) / pixels,
            dark=float(found.dark.sum()) / max(1, found.count.sum()),
            bright=float(found.bright.sum()) / max(1, found.count.sum()),
            mean_db=tuple(found.mean_db.tolist()),
            spread_db=tuple(found.spread_db.tolist()),
        )
        for time, platform, direction, orbit, found in zip(
            *(cube[name].values for name in ("time", "platform", *_VIEW)),
            tallied.tallies,
            strict=True,
        )
    )


# --- platforms ------------------------------------------------------------------------------------

_VIEW = ("orbit_direction", "relative_orbit")


def _series(cube: xr.Dataset, tallied: _Tallied) -> Series:
    views = list(zip(*(cube[name].values.tolist() for name in _VIEW), strict=True))
    platforms = cube["platform"].values.tolist()
    fields = tallied.fields.reshape(*tallied.fields.shape[:2], -1)
    return Series(cube["time"].values, platforms, views, fields)


def _images(cube: xr.Dataset, dates: npt.NDArray[np.intp]) -> Iterator[Floating]:
    """Mean images of some dates, dims (band, y, x), in windows spread over the cube."""
    few = dates[np.unique(np.linspace(0, dates.size - 1, _MOST_DATES).round().astype(int))]
    rows, columns = cube.sizes["y"], cube.sizes["x"]
    size = min(_WINDOW, rows, columns)
    for top, left in product(_starts(rows, size), _starts(columns, size)):
        window = cube["backscatter"].isel(
            time=few, y=slice(top, top + size), x=slice(left, left + size)
        )
        seen = np.isfinite(window.values)
        count = seen.sum(axis=0)
        total = np.where(seen, window.values, 0.0).sum(axis=0)
        yield np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _starts(whole: int, size: int) -> list[int]:
    number = min(_WINDOWS_A_SIDE, -(-whole // size))
    return sorted({int(start) for start in np.linspace(0, whole - size, number)})


def _platform_warnings(one: Comparison) -> Iterator[str]:
    if one.level_differs:
        levels = ", ".join(
            f"{level:+.2f} ± {error:.2f} dB"
            for level, error in zip(one.level_db, one.error_db, strict=True)
        )
        yield (
            f"{one.platform} differs from {one.reference} by {levels} in the bands over unchanged "
            f"ground ({one.dates} dates; over {LARGEST_LEVEL_DB} dB)"
        )
    if one.is_shifted and one.shift is not None:
        down, right = one.shift
        yield (
            f"{one.platform} is shifted against {one.reference} by {down:+.2f} rows and "
            f"{right:+.2f} columns (over {LARGEST_SHIFT} pixels)"
        )
