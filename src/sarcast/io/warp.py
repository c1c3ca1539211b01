"""A band of a raster read onto a GeoBox from any CRS, without missing values."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.overlap import compute_reproject_roi
from odc.geo.roi import roi_intersect, roi_is_empty, roi_shape
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject
from rasterio.windows import Window

from sarcast.arrays import Double, Float
from sarcast.errors import SarcastError
from sarcast.io.longitudes import turns_within
from sarcast.io.masks import MissingMarks
from sarcast.io.rasters import decode, grid_of_dataset, open_raster, unreadable

Convert = Callable[[Float, Window], Float]
"""Converts the values of a window of a raster to a quantity that can be averaged."""
Trust = Callable[[Float], bool]
"""Whether values from overviews, before any conversion, can be used."""

_STRIP = 1 << 21
"""Pixels read at once when a window is averaged in strips."""


def read_onto(path: Path, grid: GeoBox, resampling: str) -> Float:
    """Read the first band of a raster onto a grid.

    Parameters
    ----------
    path
        Any file that GDAL reads, with a CRS.
    grid
        Target grid.
    resampling
        A name of ``rasterio.enums.Resampling``.

    Returns
    -------
    ndarray
        Dims (y, x), float32; NaN where the raster has no data.

    Raises
    ------
    SarcastError
        If the file cannot be read, has no CRS, or is complex.
    """
    with open_raster(path) as source:
        try:
            return warp_onto(source, grid, resampling)
        except RasterioError as error:
            raise SarcastError(unreadable(path, error)) from error


def warp_onto(
    source: rasterio.DatasetReader,
    grid: GeoBox,
    resampling: str,
    *,
    band: int = 1,
    nodata: float | None = None,
    convert: Convert | None = None,
    trust: Trust | None = None,
) -> Float:
    """Read a band of an open raster onto a grid: only the part within the grid.

    Aligned pixels are copied, others are warped. Memory is bounded by the size of the grid, not of
    the raster: a much finer raster is averaged as it is read. Missing pixels are left out of every
    mean. Overviews are read instead of all pixels only if they were made without the missing
    pixels, which takes a declared nodata value, and if ``trust`` accepts their values.

    Parameters
    ----------
    source
        The raster, with a CRS.
    grid
        Target grid.
    resampling
        A name of ``rasterio.enums.Resampling``.
    band
        Number of the band, from 1.
    nodata
        Stored value that marks missing pixels, besides the marks of the raster.
    convert
        Called with the values, a window at a time, NaN where missing, before any averaging. It
        returns a quantity that can be averaged, such as power from dB, and may set further values
        to NaN. None if the values can be averaged as they are.
    trust
        Called with values from overviews; if it returns False, all pixels are read instead. None
        never to use overviews, unless the values need no conversion.

    Returns
    -------
    ndarray
        Dims (y, x), float32; NaN where the raster has no data.

    Raises
    ------
    ComplexRasterError
        If the band is complex.
    """
    reader = _Reader(source, band, MissingMarks.of(source, band, nodata), convert, trust)
    warped = np.full(grid.shape, np.nan, dtype=np.float32)
    for own, target in turns_within(grid_of_dataset(source), grid):
        overlap = compute_reproject_roi(own, target)
        if roi_is_empty(overlap.roi_src) or roi_is_empty(overlap.roi_dst):
            continue
        # odc-geo may extend a window of whole blocks beyond the raster
        slices = roi_intersect(overlap.roi_src, np.s_[: source.height, : source.width])
        factor = max(1, overlap.read_shrink // 2) if resampling != "nearest" else 1
        values, transform = reader.read(slices, factor)
        part = warped[overlap.roi_dst]
        if not (overlap.paste_ok and overlap.read_shrink == 1):
            located = Affine.translation(own.transform.c - source.transform.c, 0.0) * transform
            values = _warp(values, located, own, target[overlap.roi_dst], Resampling[resampling])
        np.copyto(part, values, where=np.isnan(part))
    return warped


class _UntrustedError(Exception):
    """Values of an overview cannot be used."""


class _Reader:
    """Reads windows of a band: physical values, converted, NaN where missing."""

    def __init__(
        self,
        source: rasterio.DatasetReader,
        band: int,
        marks: MissingMarks,
        convert: Convert | None,
        trust: Trust | None,
    ) -> None:
        self._source, self._band, self._marks = source, band, marks
        self._convert, self._trust = convert, trust

    def read(self, slices: tuple[slice, slice], factor: int) -> tuple[Float, Affine]:
        """Means of blocks of ``factor`` x ``factor`` pixels of a window, and their transform."""
        source = self._source
        if factor == 1:
            window = Window.from_slices(*slices)
            return self._read_window(source, window), source.window_transform(window)
        if self._marks.is_declared and (self._trust is not None or self._convert is None):
            decimations = [each for each in source.overviews(self._band) if each <= factor]
            if decimations:
                try:
                    return self._read_overview(slices, factor, decimations)
                except _UntrustedError:
                    pass
        return self._read_means(source, slices, factor)

    def _read_overview(
        self, slices: tuple[slice, slice], factor: int, decimations: Sequence[int]
    ) -> tuple[Float, Affine]:
        """Means of about ``factor`` x ``factor`` pixels from the coarsest of some overviews."""
        index, decimation = max(enumerate(decimations), key=lambda pair: pair[1])
        source = self._source
        with rasterio.open(source.name, overview_level=index) as overview:
            ratios = (source.height / overview.height, source.width / overview.width)
            limits = (overview.height, overview.width)
            rows, columns = (
                slice(int(each.start / ratio), min(math.ceil(each.stop / ratio), limit))
                for each, ratio, limit in zip(slices, ratios, limits, strict=True)
            )
            return self._read_means(overview, (rows, columns), max(1, factor // decimation))

    def _read_window(self, source: rasterio.DatasetReader, window: Window) -> Float:
        """Values of a window of the raster or, if they can be used, of one of its overviews."""
        values: Float = source.read(self._band, window=window, out_dtype="float32")
        self._marks.clear(values, source, self._band, window)
        values = decode(values, source, self._band)
        if source is not self._source and self._trust is not None and not self._trust(values):
            raise _UntrustedError
        return values if self._convert is None else self._convert(values, window)

    def _read_means(
        self, source: rasterio.DatasetReader, slices: tuple[slice, slice], factor: int
    ) -> tuple[Float, Affine]:
        """Means of the converted values of a window, without missing ones.

        GDAL cannot do this: it would average decibels, and missing values that the file does not
        declare.
        """
        rows, columns = slices
        height, width = roi_shape(slices)
        shape = (-(-height // factor), -(-width // factor))
        total, count = np.zeros(shape), np.zeros(shape)
        step = max(1, _STRIP // width)
        for top in range(0, height, step):
            strip = slice(rows.start + top, min(rows.start + top + step, rows.stop))
            values = self._read_window(source, Window.from_slices(strip, columns))
            valid = ~np.isnan(values)
            touched = slice(top // factor, -(-(top + len(values)) // factor))
            total[touched] += _sum_blocks(np.where(valid, values, 0.0), top, factor)
            count[touched] += _sum_blocks(valid, top, factor)
        means = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
        transform = source.window_transform(Window.from_slices(*slices))
        return means.astype(np.float32), transform * Affine.scale(factor)


def _sum_blocks(values: npt.NDArray[np.generic], top: int, factor: int) -> Double:
    """Sums of blocks of ``factor`` x ``factor`` pixels in a strip that starts at row ``top``."""
    rows, columns = values.shape
    first = np.arange(top // factor, -(-(top + rows) // factor)) * factor - top
    wide = np.add.reduceat(values, np.arange(0, columns, factor), axis=1, dtype=np.float64)
    sums: Double = np.add.reduceat(wide, np.maximum(first, 0), axis=0)
    return sums


def _warp(
    values: Float,
    transform: Affine,
    source: GeoBox,
    grid: GeoBox,
    resampling: Resampling,
) -> Float:
    warped = np.full(grid.shape, np.nan, dtype=np.float32)
    # GDAL warps three times as fast if it does not check for missing values.
    missing = np.nan if np.isnan(np.min(values)) else None
    reproject(
        values,
        warped,
        src_transform=transform,
        src_crs=source.crs.to_wkt(),
        src_nodata=missing,
        dst_transform=grid.transform,
        dst_crs=grid.crs.to_wkt(),
        dst_nodata=missing,
        init_dest_nodata=False,
        resampling=resampling,
    )
    return warped
