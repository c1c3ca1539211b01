"""A cube checked: its schema, every chunk, its dates and conditions, and its platforms."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from sarcast.arrays import Float, Floating
from sarcast.cube.check.integrity import (
    StoredArrays,
    damaged_chunk_faults,
    lost_chunk_faults,
    region,
    value_faults,
)
from sarcast.cube.check.outliers import (
    condition_warnings,
    date_warnings,
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
from sarcast.cube.chunks import present_chunks
from sarcast.cube.executor import WorkerOptions, Workers, start_workers
from sarcast.cube.opening import open_with_steps
from sarcast.errors import first_line
from sarcast.io.images import grid_of_images
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
    """Check a cube: its metadata, and every chunk of every array.

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
    path = path.resolve()
    cube, steps = open_with_steps(path)
    arrays = StoredArrays(path)
    faults = list(arrays.metadata_faults())
    if grid_of_images(cube) is None:
        faults.append("the cube has no grid: its coordinates or its spatial_ref are damaged")
    if faults:
        return CubeReport(tuple(faults), (), (), ())
    with start_workers(workers) as started:
        faults += [*lost_chunk_faults(arrays), *damaged_chunk_faults(arrays, started)]
        statistics = _read(arrays, started)
    faults += statistics.faults
    faults += [] if faults else [*value_faults(arrays), *_count_faults(arrays, statistics)]
    return _report(cube, faults, statistics.select(steps), _store_warnings(arrays))


def _report(
    cube: xr.Dataset, faults: list[str], statistics: "_CubeStatistics", about_store: list[str]
) -> CubeReport:
    """The report of an opened cube and the statistics of its dates."""
    present = statistics.bands
    bands = tuple(map(str, cube["band"].values[present]))
    dates = _date_statistics(cube, statistics)
    if faults:
        return CubeReport(tuple(faults), (), dates, (), bands)
    images = partial(_mean_images, cube.isel(band=present))
    comparisons = compare(_series(cube, statistics), images)
    warnings = [*about_store, *date_warnings(cube), *value_warnings(dates)]
    warnings += condition_warnings(cube)
    warnings += [line for each in comparisons for line in _platform_warnings(each)]
    return CubeReport((), tuple(warnings), dates, comparisons, bands)


def _store_warnings(arrays: StoredArrays) -> list[str]:
    lines = []
    if arrays.is_unfinished():
        lines.append("a build is running or was stopped; run it again to see its later dates")
    if not arrays.is_complete:
        unchecked = ", ".join(arrays.unchecked()) or "no arrays"
        lines.append(
            f"it was built by an earlier version: damages of {unchecked} and of the attributes may "
            f"pass unnoticed, and lost files of conditions too; build it again to have all checked"
        )
    return lines


# --- backscatter ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _CubeStatistics:
    """Statistics of dates, in the order of the store or of the opened cube.

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

    def select(self, steps: npt.NDArray[np.intp]) -> "_CubeStatistics":
        """The statistics of some dates, in this order."""
        return replace(self, pixels=[self.pixels[k] for k in steps], fields=self.fields[steps])


def _read(arrays: StoredArrays, workers: Workers) -> _CubeStatistics:
    """Read every chunk of the backscatter, also of dates that were written again later."""
    entry = arrays.entries["backscatter"]
    steps, bands, rows, columns = entry["shape"]
    side = cell_side(rows, columns)
    fields = np.full(
        (steps, bands, -(-rows // side), -(-columns // side)), np.nan, dtype=np.float32
    )
    pixels = [PixelStatistics.zero(bands) for _ in range(steps)]
    faults = []
    present = sorted(present_chunks(arrays.path, "backscatter", entry))
    blocks = [(index[0], region(entry, index)[2:]) for index in present]
    calls = [(arrays.path, step, slices, side) for step, slices in blocks]
    futures = workers.submit_each(read_block, track(calls, "reading the cube", len(calls)))
    for (step, slices), future in zip(blocks, futures, strict=True):
        try:
            part, means = future.result()
        except Exception as error:  # a codec may raise anything on damaged bytes
            faults.append(_block_fault(arrays, step, slices, error))
            continue
        pixels[step] += part
        fields[step, :, _cells(slices[0], side), _cells(slices[1], side)] = means
    return _CubeStatistics(pixels, fields, faults)


def _cells(pixels: slice, side: int) -> slice:
    """The coarse cells that rows or columns of pixels fall into."""
    return slice(pixels.start // side, -(-pixels.stop // side))


def _block_fault(
    arrays: StoredArrays, step: int, slices: tuple[slice, ...], error: Exception
) -> str:
    rows, columns = slices
    return (
        f"backscatter of {arrays.time_of(step)} cannot be read in rows {rows.start} to "
        f"{rows.stop - 1}, columns {columns.start} to {columns.stop - 1} ({first_line(error)})"
    )


def _count_faults(arrays: StoredArrays, statistics: _CubeStatistics) -> Iterator[str]:
    """Dates whose number of valid pixels is not the one that was written."""
    if "seen" not in arrays.entries:
        return
    for step, (written, pixels) in enumerate(
        zip(arrays.values("seen"), statistics.pixels, strict=True)
    ):
        if np.any(written != pixels.count):
            yield (
                f"backscatter of {arrays.time_of(step)} has {pixels.count.tolist()} valid pixels, "
                f"not the {written.tolist()} that were written: chunks were deleted or changed"
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
