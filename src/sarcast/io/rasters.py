"""Raster files: read onto a GeoBox from whatever CRS, and written as COGs."""

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
"""Pixels that are read at once where a window is thinned pixel by pixel."""


def read_onto(path: Path, grid: GeoBox, resampling: str) -> Float:
    """Read the first band of a raster onto a grid.

    Parameters
    ----------
    path
        Anything that GDAL reads, with a CRS.
    grid
        The grid wanted.
    resampling
        A name of ``rasterio.enums.Resampling``.

    Returns
    -------
    ndarray
        Dims (y, x), float32; NaN where the raster has nothing.

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
    """Read a band of an open raster onto a grid: only the part that the grid sees.

    Pixels that lie on those of the grid are copied, others are warped. Memory is bounded by the
    grid's size, whatever the raster's: a much finer raster is thinned by averaging as it is read,
    from its overviews where its own values may be averaged as they are.

    Parameters
    ----------
    source
        The raster, with a CRS.
    grid
        The grid wanted.
    resampling
        A name of ``rasterio.enums.Resampling``.
    band
        Number of the band, from 1.
    nodata
        What marks a missing value if the raster does not tell it.
    convert
        Makes of the values those of which means make sense, before any are taken; None where means
        of the values themselves do.
    inspect
        Called with the values, a part at a time, before they are converted; NaN where missing.

    Returns
    -------
    ndarray
        Dims (y, x), float32; NaN where the raster has nothing.
    """
    place = compute_reproject_roi(_grid(source), grid)
    onto = np.full(grid.shape, np.nan, dtype=np.float32)
    if roi_is_empty(place.roi_src) or roi_is_empty(place.roi_dst):
        return onto
    # odc-geo lets a window of whole blocks reach past the last pixels of a raster
    seen = roi_intersect(place.roi_src, np.s_[: source.height, : source.width])
    shrink = max(1, place.read_shrink // 2) if resampling != "nearest" else 1

    def settle(values: Float) -> Float:
        values = _meant(values, source, band, nodata)
        if inspect is not None:
            inspect(values)
        return values if convert is None else convert(values)

    if shrink > 1 and (convert is not None or source.nodatavals[band - 1] is None):
        values, transform = _read_means(source, band, seen, shrink, settle)
    else:
        values, transform = _read_window(source, band, seen, shrink)
        values = settle(values)
    if place.paste_ok and place.read_shrink == 1:
        onto[place.roi_dst] = values
        return onto
    part = grid[place.roi_dst]
    onto[place.roi_dst] = _warp(values, transform, source.crs, part, Resampling[resampling])
    return onto


def _read_window(
    source: rasterio.DatasetReader, band: int, place: tuple[slice, slice], shrink: int
) -> tuple[Float, Affine]:
    """Values of a window, averaged over ``shrink`` pixels a side, and where they lie."""
    window = Window.from_slices(*place)
    shape = tuple(-(-side // shrink) for side in roi_shape(place))
    values = source.read(
        band,
        window=window,
        out_shape=shape,
        out_dtype="float32",
        resampling=Resampling.average if shrink > 1 else Resampling.nearest,
    )
    rows, columns = (whole / side for whole, side in zip(roi_shape(place), shape, strict=True))
    return values, source.window_transform(window) * Affine.scale(columns, rows)


def _read_means(
    source: rasterio.DatasetReader,
    band: int,
    place: tuple[slice, slice],
    shrink: int,
    settle: Callable[[Float], Float],
) -> tuple[Float, Affine]:
    """As ``_read_window``, of values that are settled first; what is missing is left out of means.

    GDAL cannot do so: it would average decibels, and what it is not told to be missing.
    """
    rows, columns = place
    height, width = roi_shape(place)
    shape = (-(-height // shrink), -(-width // shrink))
    total, count = np.zeros(shape), np.zeros(shape)
    step = max(1, _STRIP // width)
    for top in range(0, height, step):
        strip = slice(rows.start + top, min(rows.start + top + step, rows.stop))
        window = Window.from_slices(strip, columns)
        values = settle(source.read(band, window=window, out_dtype="float32"))
        seen = ~np.isnan(values)
        touched = slice(top // shrink, -(-(top + len(values)) // shrink))
        total[touched] += _sum_blocks(np.where(seen, values, 0.0), top, shrink)
        count[touched] += _sum_blocks(seen, top, shrink)
    means = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
    corner = source.window_transform(Window.from_slices(*place))
    return means.astype(np.float32), corner * Affine.scale(shrink)


def _sum_blocks(values: npt.NDArray[np.generic], top: int, shrink: int) -> Double:
    """Sums of blocks of ``shrink`` pixels a side in a strip that starts at row ``top``."""
    rows, columns = values.shape
    first = np.arange(top // shrink, -(-(top + rows) // shrink)) * shrink - top
    wide = np.add.reduceat(values, np.arange(0, columns, shrink), axis=1, dtype=np.float64)
    sums: Double = np.add.reduceat(wide, np.maximum(first, 0), axis=0)
    return sums


def _meant(values: Float, source: rasterio.DatasetReader, band: int, nodata: float | None) -> Float:
    """Values as a raster means them, of those that it holds: NaN where missing, in their unit.

    What marks a missing value, told by the raster or else ``nodata``, is a value that it holds.
    """
    told = source.nodatavals[band - 1]
    missing = nodata if told is None else told
    if missing is not None and not np.isnan(missing):
        values[values == np.float32(missing)] = np.nan
    scale, offset = scale_and_offset(source, band)
    if (scale, offset) == (1.0, 0.0):
        return values
    return values * np.float32(scale) + np.float32(offset)


def scale_and_offset(source: rasterio.DatasetReader, band: int) -> tuple[float, float]:
    """Scale and offset of a band: what it means is what it holds, times the one, plus the other."""
    return source.scales[band - 1], source.offsets[band - 1]


def _warp(
    values: Float,
    transform: Affine,
    crs: rasterio.crs.CRS,
    grid: GeoBox,
    resampling: Resampling,
) -> Float:
    warped = np.full(grid.shape, np.nan, dtype=np.float32)
    # GDAL warps three times as fast where it need not look for missing values.
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
    """Open a raster and see that it has a CRS."""
    try:
        source = rasterio.open(path)
    except RasterioIOError as error:
        raise SarcastError(_unreadable(path, error)) from error
    if source.crs is None:
        source.close()
        raise SarcastError(
            f"{path} has no CRS, so its place on the ground is unknown; "
            f"write it into the file (gdal_edit.py -a_srs) or leave the file out"
        )
    if source.transform.is_identity:
        source.close()
        raise SarcastError(
            f"{path} does not tell where its pixels lie, it has a CRS but no geotransform; write "
            f"it into the file (gdal_edit.py -a_ullr) or leave the file out"
        )
    return source


def grid_of(path: Path | str) -> GeoBox:
    """Grid of a raster file, which must have a CRS."""
    with open_raster(path) as source:
        return _grid(source)


def _grid(source: rasterio.DatasetReader) -> GeoBox:
    code = source.crs.to_epsg()
    crs = source.crs.to_wkt() if code is None else f"EPSG:{code}"
    return GeoBox((source.height, source.width), source.transform, crs)


def read_sample(
    path: Path, most: int = 256, *, band: int = 1, nodata: float | None = None
) -> Float:
    """Read a thinned copy of a band and the file's last block, as proof that it is whole.

    Parameters
    ----------
    path
        The file.
    most
        Most pixels a side.
    band
        Number of the band, from 1.
    nodata
        What marks a missing value if the raster does not tell it.

    Returns
    -------
    ndarray
        Dims (y, x), at most ``most`` pixels a side; NaN where the raster has nothing.

    Raises
    ------
    SarcastError
        If the file is cut off or damaged.
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
    """Read some pixels of a band of an open raster, evenly apart; as ``sample``."""
    shape = (min(most, source.height), min(most, source.width))
    values: Float = source.read(band, out_shape=shape, out_dtype="float32")
    return _meant(values, source, band, nodata)


def has_data(path: Path, band: int = 1, nodata: float | None = None) -> bool:
    """Whether any pixel holds a value but 0, read block by block up to the first that does."""
    with open_raster(path) as source:
        for _, window in source.block_windows(band):
            values = source.read(band, window=window, out_dtype="float32")
            if any_data(_meant(values, source, band, nodata)):
                return True
    return False


def any_data(values: Float) -> bool:
    """Whether any value is there and other than 0, which many files hold where nothing was seen."""
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
    """Write a cloud-optimised GeoTIFF, whole or not at all.

    Parameters
    ----------
    path
        Where it goes; an older file is replaced.
    array
        Dims (y, x) or (band, y, x).
    grid
        Its grid.
    nodata
        Value of pixels without data; None if every pixel has data.
    bands
        Descriptions of the bands.
    tags
        Metadata of the file.
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
    # GDAL does not tell a full disk from other faults: it writes to memory, Python to the disk.
    with MemoryFile() as memory, MemoryFile(ext=".tif") as cog, new_file(path) as partial:
        with memory.open(**profile) as target:
            target.write(layers)
            target.update_tags(**(tags or {}))
            for place, name in enumerate(bands, start=1):
                target.set_band_description(place, name)
        with rasterio.open(memory.name) as source:
            copy(source, cog.name, driver="COG", compress="DEFLATE", **layout)
        partial.write_bytes(cog.getbuffer())


# GDAL's own choice for overviews, cubic, makes powers below 0 and classes that are nowhere
_QUANTITIES = {"predictor": "FLOATING_POINT", "overview_resampling": "AVERAGE"}
_CLASSES = {"predictor": "STANDARD", "overview_resampling": "MODE"}


def _unreadable(path: Path | str, error: Exception) -> str:
    if not is_remote(str(path)) and not Path(path).exists():
        return f"{path} does not exist; name a raster file"
    return f"{path} cannot be read, it may be cut off or damaged: fetch it again ({error})"
