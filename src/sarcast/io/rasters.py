"""Raster files: opened, described and sampled."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from pyproj.exceptions import ProjError
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window

from sarcast.arrays import Float
from sarcast.errors import SarcastError, hide
from sarcast.io.formats import open_dataset
from sarcast.io.masks import MissingMarks
from sarcast.io.raster_checks import block_bytes, check_band, check_raster
from sarcast.io.remote import is_remote

MOST_SEARCHED = 2**30
"""Most pixels of a raster that are all read to find one with data: 327 km square at 10 m."""
_LARGE_PIXELS = 2**29
_LARGE_BLOCK = 2**26
_SQUARES = 16
_DECODED_BYTES = 2**31
_LAST_BANDS = 15
_PART_SIDE = 2048


def open_raster(path: Path | str) -> rasterio.DatasetReader:
    """Open a raster that must have a CRS and a geotransform.

    Raises
    ------
    SarcastError
        If it cannot be read, lacks one of them, or is laid out in a way that cannot be used.
    """
    try:
        source = open_dataset(str(path))
    except (RasterioError, *_ODD) as error:
        raise SarcastError(unreadable(path, error)) from error
    try:
        check_raster(source)
    except (RasterioError, *_ODD) as error:
        source.close()
        raise SarcastError(unreadable(path, error)) from error
    except SarcastError:
        source.close()
        raise
    return source


_ODD = (ValueError, LookupError, TypeError, CPLE_BaseError)
"""What rasterio raises for metadata that it cannot represent, and GDAL for damaged metadata."""


def grid_of(path: Path | str) -> GeoBox:
    """Grid of a raster file; see ``open_raster``."""
    with open_raster(path) as source:
        return grid_of_dataset(source)


def grid_of_dataset(source: rasterio.DatasetReader) -> GeoBox:
    """Grid of an open raster; its CRS is an EPSG code if it has one."""
    try:
        code = source.crs.to_epsg()
        crs = source.crs.to_wkt() if code is None else f"EPSG:{code}"
        return GeoBox((source.height, source.width), source.transform, crs)
    except (ValueError, ProjError) as error:
        raise SarcastError(
            f"{source.name} has a CRS that cannot be used: {' '.join(str(error).split())}; write "
            f"its true CRS into the file (gdal_edit.py -a_srs)"
        ) from error


def scale_and_offset(source: rasterio.DatasetReader, band: int) -> tuple[float, float]:
    """Scale and offset of a band: physical value = stored value * scale + offset."""
    return source.scales[band - 1], source.offsets[band - 1]


def decode(values: Float, source: rasterio.DatasetReader, band: int) -> Float:
    """Physical values from stored ones; see ``scale_and_offset``."""
    scale, offset = scale_and_offset(source, band)
    if (scale, offset) == (1.0, 0.0):
        return values
    return values * np.float32(scale) + np.float32(offset)


def read_sample(
    path: Path, most: int = 256, *, band: int = 1, nodata: float | None = None
) -> Float:
    """Read a subsampled copy of a band, and the file's last block to check that it is complete.

    Parameters
    ----------
    path
        The file.
    most
        Most pixels per side.
    band
        Number of the band, from 1.
    nodata
        Stored value that marks missing pixels, besides the marks of the raster.

    Returns
    -------
    ndarray
        Dims (y, x), at most ``most`` pixels per side; NaN where the raster has no data.

    Raises
    ------
    SarcastError
        If the file is truncated or damaged.
    """
    with open_raster(path) as source:
        check_band(source, band)
        try:
            for number in {band, *range(max(1, source.count - _LAST_BANDS), source.count + 1)}:
                source.read(number, window=_last_block(source, number))
            return read_thinned(source, most, band=band, nodata=nodata)
        except RasterioError as error:
            raise SarcastError(unreadable(path, error)) from error


def _last_block(source: rasterio.DatasetReader, band: int) -> Window:
    starts = [
        (size - 1) // block * block
        for size, block in zip(source.shape, source.block_shapes[band - 1], strict=True)
    ]
    slices = [slice(*pair) for pair in zip(starts, source.shape, strict=True)]
    return Window.from_slices(*slices)


def read_thinned(
    source: rasterio.DatasetReader,
    most: int = 256,
    *,
    band: int = 1,
    nodata: float | None = None,
) -> Float:
    """Read evenly spaced pixels of a band of an open raster; as ``read_sample``.

    Of a large raster without overviews, evenly spaced squares of pixels are read instead, few
    enough that the blocks they lie in are decoded quickly.
    """
    shape = (min(most, source.height), min(most, source.width))
    marks = MissingMarks.of(source, band, nodata)
    if not source.overviews(band) and _is_slow(source):
        return _read_squares(source, most, band, marks)
    values: Float = source.read(band, out_shape=shape, out_dtype="float32")
    marks.clear(values, source, band)
    return decode(values, source, band)


def _is_slow(source: rasterio.DatasetReader) -> bool:
    """Whether reading evenly spaced pixels would decode too much, some of it repeatedly."""
    rows, columns = source.block_shapes[0]
    is_one_block = rows >= source.height and columns >= source.width
    large = source.height * source.width > _LARGE_PIXELS or block_bytes(source) > _LARGE_BLOCK
    return large and not is_one_block


def _read_squares(
    source: rasterio.DatasetReader, most: int, band: int, marks: MissingMarks
) -> Float:
    """Read squares of pixels, evenly spaced, side by side."""
    size = max(1, most // _SQUARES)
    number = max(1, min(_SQUARES, math.isqrt(_DECODED_BYTES // block_bytes(source))))
    rows, columns = (
        np.unique(np.linspace(0, max(0, length - size), number).astype(int))
        for length in source.shape
    )
    squares = []
    for row in rows:
        across = []
        for column in columns:
            part = (
                slice(start, min(start + size, length))
                for start, length in zip((row, column), source.shape, strict=True)
            )
            across.append(_read_window(source, band, marks, Window.from_slices(*part)))
        squares.append(across)
    return np.block(squares)


def _read_window(
    source: rasterio.DatasetReader, band: int, marks: MissingMarks, window: Window
) -> Float:
    """Physical values of a window; NaN where missing."""
    values: Float = source.read(band, window=window, out_dtype="float32")
    marks.clear(values, source, band, window)
    return decode(values, source, band)


def has_data(path: Path, band: int = 1, nodata: float | None = None) -> bool:
    """Whether any pixel has a value other than 0, read part by part up to the first one.

    Of a raster of more than ``MOST_SEARCHED`` pixels, only evenly spaced ones are read.
    """
    with open_raster(path) as source:
        marks = MissingMarks.of(source, band, nodata)
        try:
            if source.height * source.width > MOST_SEARCHED:
                return any_data(read_thinned(source, band=band, nodata=nodata))
            return any(
                any_data(_read_window(source, band, marks, window))
                for window in _parts(source, band)
            )
        except RasterioError as error:
            raise SarcastError(unreadable(path, error)) from error


def _parts(source: rasterio.DatasetReader, band: int) -> Iterator[Window]:
    """Windows of whole blocks, each of a few million pixels or of one block, that fill a raster."""
    rows, columns = source.block_shapes[band - 1]
    wide = columns * max(1, _PART_SIDE // columns)
    high = rows * max(1, _PART_SIDE // rows)
    for top in range(0, source.height, high):
        for left in range(0, source.width, wide):
            bottom, right = min(top + high, source.height), min(left + wide, source.width)
            yield Window.from_slices(slice(top, bottom), slice(left, right))


def any_data(values: Float) -> bool:
    """Whether any value is finite and not 0, which many files contain instead of no data."""
    return bool((np.isfinite(values) & (values != 0.0)).any())


def unreadable(path: Path | str, error: Exception) -> str:
    """Message for a raster that GDAL cannot open or read."""
    if not is_remote(str(path)) and not Path(path).exists():
        return f"{path} does not exist; name a raster file"
    reason = " ".join(str(error).split())
    line = f"{path} cannot be read, it may be truncated or damaged: fetch it again ({reason})"
    return hide(line, str(path))
