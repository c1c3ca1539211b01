"""A cube checked: its schema, every chunk, its dates and conditions, and its platforms."""

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
from sarcast.cube.block import Slices, block_slices
from sarcast.cube.check.outliers import (
    condition_warnings,
    date_warnings,
    format_time,
    value_warnings,
)
from sarcast.cube.check.platforms import (
    MAX_LEVEL_DB,
    MAX_SHIFT,
    PlatformComparison,
    PlatformSeries,
    compare,
)
from sarcast.cube.check.statistics import DateStatistics, PixelStatistics, cell_side, read_block
from sarcast.cube.executor import WorkerOptions, Workers, start_workers
from sarcast.cube.opening import open_cube
from sarcast.cube.schema import OPTIONAL, PART, SCHEMA
from sarcast.errors import SarcastError
from sarcast.io.progress import track

_WINDOW = 512
_WINDOWS_PER_SIDE = 3
_MAX_DATES = 24


@dataclass(frozen=True)
class CubeReport:
    """Result of a check.

    Attributes
    ----------
    faults
        Where the store contradicts its schema or itself, or cannot be read; one line each.
    warnings
        Unusual dates, values and conditions, which may be real; one line each.
    dates
        Statistics of each date, sorted by time.
    platforms
        Each pair of platforms that share a view.
    bands
        Names of the bands with data; statistics of dates and platforms have their order.
    """

    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    dates: tuple[DateStatistics, ...]
    platforms: tuple[PlatformComparison, ...]
    bands: tuple[str, ...] = ()


def check_cube(path: Path, *, workers: WorkerOptions = WorkerOptions()) -> CubeReport:  # noqa: B008 - frozen
    """Check a cube: every chunk is read.

    Parameters
    ----------
    path
        Path of the store.
    workers
        Threads of this machine, or a Dask cluster.

    Raises
    ------
    SarcastError
        If it is not a cube, or its metadata cannot be read.
    """
    cube = open_cube(path)
    faults = list(_schema_faults(cube, path))
    if faults:
        return CubeReport(tuple(faults), (), (), ())
    with start_workers(workers) as started:
        statistics = _read(path.resolve(), cube, started)
    present = statistics.bands
    bands = tuple(map(str, cube["band"].values[present]))
    faults += [*statistics.faults, *_read_faults(cube), *_count_faults(cube, statistics)]
    dates = _date_statistics(cube, statistics)
    if faults:
        return CubeReport(tuple(faults), (), dates, (), bands)
    images = partial(_mean_images, cube.isel(band=present))
    comparisons = compare(_series(cube, statistics), images)
    warnings = [*date_warnings(cube), *value_warnings(dates), *condition_warnings(cube)]
    warnings += [line for each in comparisons for line in _platform_warnings(each)]
    return CubeReport((), tuple(warnings), dates, comparisons, bands)


# --- the store ------------------------------------------------------------------------------------


def _schema_faults(cube: xr.Dataset, path: Path) -> Iterator[str]:
    """Where the arrays on disk differ from the schema."""
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
            stored, expected = array.attrs.get(key), variable.attrs.get(key)
            if stored != expected:
                yield f"{name} has {key} {stored!r}, not {expected!r}"
    if cube.odc.geobox is None:
        yield "the cube has no grid: its coordinates or its spatial_ref are damaged"


def _read_faults(cube: xr.Dataset) -> Iterator[str]:
    """Variables that cannot be read, other than the backscatter, which is read by blocks."""
    for name in cube.variables:
        if name in SCHEMA and name not in ("backscatter", "expected"):
            try:
                for part in _parts(cube, str(name)):
                    part.load()
            except SarcastError as error:
                yield str(error)


def _parts(cube: xr.Dataset, name: str) -> Iterator[xr.DataArray]:
    """A variable whole, or in parts if it has the dims (y, x), since it may be large."""
    if cube[name].dims == ("y", "x"):
        yield from (cube[name][slices] for slices in block_slices(cube.odc.geobox, PART))
    else:
        yield cube[name]


# --- backscatter ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _CubeStatistics:
    """Statistics of all dates, in the order of the opened cube.

    ``fields`` has dims (time, band, cy, cx), mean dB of coarse cells; NaN without data.
    """

    pixels: list[PixelStatistics]
    fields: Float
    faults: list[str]

    @property
    def bands(self) -> npt.NDArray[np.intp]:
        """Indices of the bands with data on any date; of all bands if there is none."""
        counts = np.sum([each.count for each in self.pixels], axis=0)
        return np.flatnonzero((counts > 0) | (np.max(counts) == 0))


def _read(path: Path, cube: xr.Dataset, workers: Workers) -> _CubeStatistics:
    rows, columns = cube.sizes["y"], cube.sizes["x"]
    side = cell_side(rows, columns)
    blocks = block_slices(cube.odc.geobox)
    steps = _steps(path, cube)
    bands, cells = cube.sizes["band"], (-(-rows // side), -(-columns // side))
    fields = np.full((len(steps), bands, *cells), np.nan, dtype=np.float32)
    parts: list[list[PixelStatistics]] = [[] for _ in steps]
    faults = []
    calls = [(path, step, slices, side) for step in steps for slices in blocks]
    futures = workers.submit_each(read_block, track(calls, "reading the cube", len(calls)))
    for (index, slices), future in zip(product(range(len(steps)), blocks), futures, strict=True):
        try:
            part, means = future.result()
        except Exception as error:  # a codec may raise anything on damaged bytes
            faults.append(_block_fault(cube, index, slices, error))
            continue
        parts[index].append(part)
        fields[index, :, _cells(slices[0], side), _cells(slices[1], side)] = means
    pixels = [reduce(add, each, PixelStatistics.zero(bands)) for each in parts]
    return _CubeStatistics(pixels, fields, faults)


def _steps(path: Path, cube: xr.Dataset) -> list[int]:
    """Indices in the store of the dates of an opened cube."""
    stored = np.asarray(zarr.open_array(path / "scene_id", mode="r")[:]).tolist()
    return [stored.index(scene_id) for scene_id in cube["scene_id"].values.tolist()]


def _cells(pixels: slice, side: int) -> slice:
    """The coarse cells that rows or columns of pixels fall into."""
    return slice(pixels.start // side, -(-pixels.stop // side))


def _block_fault(cube: xr.Dataset, index: int, slices: Slices, error: Exception) -> str:
    rows, columns = slices
    cause = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"backscatter of {format_time(cube['time'].values[index])} cannot be read in rows "
        f"{rows.start} to {rows.stop - 1}, columns {columns.start} to {columns.stop - 1} ({cause})"
    )


def _count_faults(cube: xr.Dataset, statistics: _CubeStatistics) -> Iterator[str]:
    """Dates whose number of valid pixels is not the one that was written."""
    if "seen" not in cube or statistics.faults:
        return
    for time, written, pixels in zip(
        cube["time"].values, cube["seen"].values, statistics.pixels, strict=True
    ):
        if np.any(written != pixels.count):
            yield (
                f"backscatter of {format_time(time)} has {pixels.count.tolist()} valid pixels, not "
                f"the {written.tolist()} that were written: chunks were deleted or changed"
            )


def _date_statistics(cube: xr.Dataset, statistics: _CubeStatistics) -> tuple[DateStatistics, ...]:
    area = cube.sizes["y"] * cube.sizes["x"]
    return tuple(
        DateStatistics(
            time=time,
            platform=str(platform),
            orbit_direction=str(direction),
            relative_orbit=int(orbit),
            valid_share=float(pixels.count.max()) / area,
            dark_share=pixels.share("dark"),
            bright_share=pixels.share("bright"),
            mean_db=tuple(pixels.mean_db[statistics.bands].tolist()),
            spread_db=tuple(pixels.spread_db[statistics.bands].tolist()),
            marker_share=pixels.share("marker"),
            low_share=pixels.share("low"),
            zero_share=pixels.zero_share,
        )
        for time, platform, direction, orbit, pixels in zip(
            *(cube[name].values for name in ("time", "platform", *_VIEW)),
            statistics.pixels,
            strict=True,
        )
    )


# --- platforms ------------------------------------------------------------------------------------

_VIEW = ("orbit_direction", "relative_orbit")


def _series(cube: xr.Dataset, statistics: _CubeStatistics) -> PlatformSeries:
    views = list(zip(*(cube[name].values.tolist() for name in _VIEW), strict=True))
    platforms = cube["platform"].values.tolist()
    fields = statistics.fields.reshape(*statistics.fields.shape[:2], -1)[:, statistics.bands]
    return PlatformSeries(cube["time"].values, platforms, views, fields)


def _mean_images(cube: xr.Dataset, dates: npt.NDArray[np.intp]) -> Iterator[Floating]:
    """Mean images of some dates, dims (band, y, x), in windows spread over the cube."""
    few = dates[np.unique(np.linspace(0, dates.size - 1, _MAX_DATES).round().astype(int))]
    rows, columns = cube.sizes["y"], cube.sizes["x"]
    size = min(_WINDOW, rows, columns)
    for top, left in product(_starts(rows, size), _starts(columns, size)):
        window = cube["backscatter"].isel(
            time=few, y=slice(top, top + size), x=slice(left, left + size)
        )
        valid = np.isfinite(window.values)
        count = valid.sum(axis=0)
        total = np.where(valid, window.values, 0.0).sum(axis=0)
        yield np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _starts(length: int, size: int) -> list[int]:
    number = min(_WINDOWS_PER_SIDE, -(-length // size))
    return sorted({int(start) for start in np.linspace(0, length - size, number)})


def _platform_warnings(comparison: PlatformComparison) -> Iterator[str]:
    platform, reference = comparison.platform, comparison.reference
    if comparison.level_differs:
        levels = ", ".join(
            f"{level:+.2f} ± {error:.2f} dB"
            for level, error in zip(comparison.level_db, comparison.error_db, strict=True)
        )
        yield (
            f"{platform} differs from {reference} by {levels} in the bands over unchanged "
            f"ground ({comparison.dates} dates; over {MAX_LEVEL_DB} dB)"
        )
    if comparison.is_shifted and comparison.shift is not None:
        down, right = comparison.shift
        yield (
            f"{platform} is shifted against {reference} by {down:+.2f} rows and "
            f"{right:+.2f} columns (over {MAX_SHIFT} pixels)"
        )
