"""Raster files: opened, described, sampled, and written as COGs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from sarcast.arrays import Float
from sarcast.errors import SarcastError
from sarcast.io.files import new_file
from sarcast.io.masks import MissingMarks
from sarcast.io.remote import is_remote


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
        raise SarcastError(unreadable(path, error)) from error
    if source.crs is None:
        points = len(source.gcps[0])
        source.close()
        raise SarcastError(
            f"{path} is located by {points} ground control points alone; "
            f"warp it onto a grid (gdalwarp) or leave the file out"
            if points
            else f"{path} has no CRS, so its location is unknown; "
            f"write it into the file (gdal_edit.py -a_srs) or leave the file out"
        )
    if not (source.crs.is_geographic or source.crs.is_projected):
        source.close()
        raise SarcastError(
            f"{path} has a local CRS, so its location on Earth is unknown; "
            f"write its true CRS into the file (gdal_edit.py -a_srs) or leave the file out"
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
        return grid_of_dataset(source)


def grid_of_dataset(source: rasterio.DatasetReader) -> GeoBox:
    """Grid of an open raster; its CRS is an EPSG code if it has one."""
    code = source.crs.to_epsg()
    crs = source.crs.to_wkt() if code is None else f"EPSG:{code}"
    return GeoBox((source.height, source.width), source.transform, crs)


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
        *_, (_, last) = source.block_windows(source.count)
        try:
            for number in range(1, source.count + 1):
                source.read(number, window=last)
            return read_thinned(source, most, band=band, nodata=nodata)
        except RasterioError as error:
            raise SarcastError(unreadable(path, error)) from error


def read_thinned(
    source: rasterio.DatasetReader,
    most: int = 256,
    *,
    band: int = 1,
    nodata: float | None = None,
) -> Float:
    """Read evenly spaced pixels of a band of an open raster; as ``read_sample``."""
    shape = (min(most, source.height), min(most, source.width))
    marks = MissingMarks.of(source, band, nodata)
    values: Float = source.read(band, out_shape=shape, out_dtype="float32")
    marks.clear(values, source, band)
    return decode(values, source, band)


def has_data(path: Path, band: int = 1, nodata: float | None = None) -> bool:
    """Whether any pixel has a value other than 0, read block by block up to the first one."""
    with open_raster(path) as source:
        marks = MissingMarks.of(source, band, nodata)
        for _, window in source.block_windows(band):
            values: Float = source.read(band, window=window, out_dtype="float32")
            marks.clear(values, source, band, window)
            if any_data(decode(values, source, band)):
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
    colours: Mapping[int, tuple[int, int, int, int]] | None = None,
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
    colours
        Colour table of a single band of uint8: red, green, blue and alpha, 0..255, by value. TIFF
        stores no alpha: a reader gives 0 for ``nodata`` and 255 for all other values.
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
            if colours:
                target.write_colormap(1, colours)
        with rasterio.open(memory.name) as source:
            copy(source, cog.name, driver="COG", compress="DEFLATE", **layout)
        partial.write_bytes(cog.getbuffer())


# GDAL's default for overviews, cubic, gives negative power and classes that do not occur
_QUANTITIES = {"predictor": "FLOATING_POINT", "overview_resampling": "AVERAGE"}
_CLASSES = {"predictor": "STANDARD", "overview_resampling": "MODE"}


def unreadable(path: Path | str, error: Exception) -> str:
    """Message for a raster that GDAL cannot open or read."""
    if not is_remote(str(path)) and not Path(path).exists():
        return f"{path} does not exist; name a raster file"
    return f"{path} cannot be read, it may be truncated or damaged: fetch it again ({error})"
