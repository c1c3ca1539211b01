"""Raster files: read onto a GeoBox from any CRS, and written as COGs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.overlap import compute_reproject_roi
from odc.geo.roi import roi_intersect, roi_is_empty, roi_shape
from rasterio.enums import Resampling
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.warp import reproject
from rasterio.windows import Window

from sarcast.arrays import Double, Float
from sarcast.errors import SarcastError
from sarcast.io.files import new_file
from sarcast.io.remote import is_remote

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
        If the file cannot be read, or has no CRS.
    """
    with open_raster(path) as source:
        try:
            return warp_onto(source, grid, resampling)
        except RasterioError as error:
            raise SarcastError(_unreadable(path, error)) from error


def warp_onto(
    source: rasterio.DatasetReader,
    grid: GeoBox,
    resampling: str,
    *,
    band: int = 1,
    nodata: float | None = None,
    convert: Callable[[Float], Float] | None = None,
    inspect: Callable[[Float], None] | None = None,
) -> Float:
    """Read a band of an open raster onto a grid: only the part within the grid.

    Aligned pixels are copied, others are warped. Memory is bounded by the size of the grid, not of
    the raster: a much finer raster is averaged as it is read, from its overviews if its values can
    be averaged without conversion.

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
        Value of missing data if the raster declares none.
    convert
        Converts the values to a quantity that can be averaged, such as dB to power, before any
        averaging; None if the values can be averaged as they are.
    inspect
        Called with the values, a part at a time, before they are converted; NaN where missing.

    Returns
    -------
    ndarray
        Dims (y, x), float32; NaN where the raster has no data.
    """
    overlap = compute_reproject_roi(_grid(source), grid)
    warped = np.full(grid.shape, np.nan, dtype=np.float32)
    if roi_is_empty(overlap.roi_src) or roi_is_empty(overlap.roi_dst):
        return warped
    # odc-geo may extend a window of whole blocks beyond the raster
    slices = roi_intersect(overlap.roi_src, np.s_[: source.height, : source.width])
    factor = max(1, overlap.read_shrink // 2) if resampling != "nearest" else 1

    def decode_and_convert(values: Float) -> Float:
        values = _decode(values, source, band, nodata)
        if inspect is not None:
            inspect(values)
        return values if convert is None else convert(values)

    if factor > 1 and (convert is not None or source.nodatavals[band - 1] is None):
        values, transform = _read_means(source, band, slices, factor, decode_and_convert)
    else:
        values, transform = _read_window(source, band, slices, factor)
        values = decode_and_convert(values)
    if overlap.paste_ok and overlap.read_shrink == 1:
        warped[overlap.roi_dst] = values
        return warped
    part = grid[overlap.roi_dst]
    warped[overlap.roi_dst] = _warp(values, transform, source.crs, part, Resampling[resampling])
    return warped


def _read_window(
    source: rasterio.DatasetReader, band: int, slices: tuple[slice, slice], factor: int
) -> tuple[Float, Affine]:
    """Means of blocks of ``factor`` x ``factor`` pixels of a window, and their transform."""
    window = Window.from_slices(*slices)
    shape = tuple(-(-side // factor) for side in roi_shape(slices))
    values = source.read(
        band,
        window=window,
        out_shape=shape,
        out_dtype="float32",
        resampling=Resampling.average if factor > 1 else Resampling.nearest,
    )
    rows, columns = (whole / side for whole, side in zip(roi_shape(slices), shape, strict=True))
    return values, source.window_transform(window) * Affine.scale(columns, rows)


def _read_means(
    source: rasterio.DatasetReader,
    band: int,
    slices: tuple[slice, slice],
    factor: int,
    decode_and_convert: Callable[[Float], Float],
) -> tuple[Float, Affine]:
    """As ``_read_window``, but the values are converted first, and missing ones are left out.

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
        window = Window.from_slices(strip, columns)
        values = decode_and_convert(source.read(band, window=window, out_dtype="float32"))
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


def _decode(
    values: Float, source: rasterio.DatasetReader, band: int, nodata: float | None
) -> Float:
    """Physical values from stored ones: NaN where missing, scale and offset applied.

    The nodata value, as declared by the raster or else ``nodata``, is a stored value.
    """
    declared = source.nodatavals[band - 1]
    missing = nodata if declared is None else declared
    if missing is not None and not np.isnan(missing):
        values[values == np.float32(missing)] = np.nan
    scale, offset = scale_and_offset(source, band)
    if (scale, offset) == (1.0, 0.0):
        return values
    return values * np.float32(scale) + np.float32(offset)


def scale_and_offset(source: rasterio.DatasetReader, band: int) -> tuple[float, float]:
    """Scale and offset of a band: physical value = stored value * scale + offset."""
    return source.scales[band - 1], source.offsets[band - 1]


def _warp(
    values: Float,
    transform: Affine,
    crs: rasterio.crs.CRS,
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
        src_crs=crs,
        src_nodata=missing,
        dst_transform=grid.transform,
        dst_crs=grid.crs.to_wkt(),
        dst_nodata=missing,
        init_dest_nodata=False,
        resampling=resampling,
    )
    return warped


def open_raster(path: Path | str) -> rasterio.DatasetReader:
    """Open a raster that must have a CRS and a geotransform.

    Raises
    ------
    SarcastError
        If it cannot be read, or lacks one of them.
    """
    try:
        source = rasterio.open(path)
    except RasterioIOError as error:
        raise SarcastError(_unreadable(path, error)) from error
    if source.crs is None:
        source.close()
        raise SarcastError(
            f"{path} has no CRS, so its location is unknown; "
            f"write it into the file (gdal_edit.py -a_srs) or leave the file out"
        )
    if source.transform.is_identity:
        source.close()
        raise SarcastError(
            f"{path} has a CRS but no geotransform, so the location of its pixels is unknown; "
            f"write it into the file (gdal_edit.py -a_ullr) or leave the file out"
        )
    return source


def grid_of(path: Path | str) -> GeoBox:
    """Grid of a raster file; see ``open_raster``."""
    with open_raster(path) as source:
        return _grid(source)


def _grid(source: rasterio.DatasetReader) -> GeoBox:
    code = source.crs.to_epsg()
    crs = source.crs.to_wkt() if code is None else f"EPSG:{code}"
    return GeoBox((source.height, source.width), source.transform, crs)


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
        Value of missing data if the raster declares none.

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
        *_, (_, last) = source.block_windows(source.count)
        try:
            for number in range(1, source.count + 1):
                source.read(number, window=last)
            return read_thinned(source, most, band=band, nodata=nodata)
        except RasterioError as error:
            raise SarcastError(_unreadable(path, error)) from error


def read_thinned(
    source: rasterio.DatasetReader,
    most: int = 256,
    *,
    band: int = 1,
    nodata: float | None = None,
) -> Float:
    """Read evenly spaced pixels of a band of an open raster; as ``read_sample``."""
    shape = (min(most, source.height), min(most, source.width))
    values: Float = source.read(band, out_shape=shape, out_dtype="float32")
    return _decode(values, source, band, nodata)


def has_data(path: Path, band: int = 1, nodata: float | None = None) -> bool:
    """Whether any pixel has a value other than 0, read block by block up to the first one."""
    with open_raster(path) as source:
        for _, window in source.block_windows(band):
            values = source.read(band, window=window, out_dtype="float32")
            if any_data(_decode(values, source, band, nodata)):
                return True
    return False


def any_data(values: Float) -> bool:
    """Whether any value is finite and not 0, which many files contain instead of no data."""
    return bool((np.isfinite(values) & (values != 0.0)).any())


def write_cog(
    path: Path,
    array: npt.NDArray[np.generic],
    grid: GeoBox,
    *,
    nodata: float | None = float("nan"),
    bands: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write a cloud-optimised GeoTIFF atomically.

    Parameters
    ----------
    path
        Target; an existing file is replaced.
    array
        Dims (y, x) or (band, y, x).
    grid
        Grid of the array.
    nodata
        Value of pixels without data; None if all pixels have data.
    bands
        Descriptions of the bands.
    tags
        TIFF tags.
    """
    layers = array[np.newaxis] if array.ndim == 2 else array
    profile = {
        "driver": "GTiff",
        "count": layers.shape[0],
        "height": layers.shape[1],
        "width": layers.shape[2],
        "dtype": layers.dtype.name,
        "crs": grid.crs.to_wkt(),
        "transform": grid.transform,
        "nodata": nodata,
    }
    layout = _QUANTITIES if layers.dtype.kind == "f" else _CLASSES
    # GDAL does not report a full disk as such, so it writes to memory and Python to the disk.
    with MemoryFile() as memory, MemoryFile(ext=".tif") as cog, new_file(path) as partial:
        with memory.open(**profile) as target:
            target.write(layers)
            target.update_tags(**(tags or {}))
            for number, name in enumerate(bands, start=1):
                target.set_band_description(number, name)
        with rasterio.open(memory.name) as source:
            copy(source, cog.name, driver="COG", compress="DEFLATE", **layout)
        partial.write_bytes(cog.getbuffer())


# GDAL's default for overviews, cubic, gives negative power and classes that do not occur
_QUANTITIES = {"predictor": "FLOATING_POINT", "overview_resampling": "AVERAGE"}
_CLASSES = {"predictor": "STANDARD", "overview_resampling": "MODE"}


def _unreadable(path: Path | str, error: Exception) -> str:
    if not is_remote(str(path)) and not Path(path).exists():
        return f"{path} does not exist; name a raster file"
    return f"{path} cannot be read, it may be truncated or damaged: fetch it again ({error})"
