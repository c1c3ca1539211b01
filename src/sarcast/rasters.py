"""Raster files: read onto a GeoBox from whatever CRS, and written as COGs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.vrt import WarpedVRT

from sarcast.errors import SarcastError
from sarcast.files import new_file


def read_onto(path: Path, grid: GeoBox, resampling: str) -> npt.NDArray[np.float32]:
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
        options = {
            "crs": grid.crs.to_wkt(),
            "transform": grid.transform,
            "width": grid.width,
            "height": grid.height,
            "resampling": Resampling[resampling],
            "dtype": "float32",
            "nodata": np.nan,
        }
        if source.nodata is not None:
            options["src_nodata"] = source.nodata
        try:
            with WarpedVRT(source, **options) as warped:
                values: npt.NDArray[np.float32] = warped.read(1)
        except RasterioError as error:
            raise SarcastError(_unreadable(path, error)) from error
    return values


def open_raster(path: Path) -> rasterio.DatasetReader:
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
    return source


def grid_of(path: Path) -> GeoBox:
    """Grid of a raster file, which must have a CRS."""
    with open_raster(path) as source:
        code = source.crs.to_epsg()
        crs = source.crs.to_wkt() if code is None else f"EPSG:{code}"
        return GeoBox((source.height, source.width), source.transform, crs)


def sample(path: Path, most: int = 256) -> npt.NDArray[np.float32]:
    """Read a thinned copy of the first band and the file's last block, as proof that it is whole.

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
        shape = (min(most, source.height), min(most, source.width))
        *_, (_, last) = source.block_windows(source.count)
        try:
            for band in range(1, source.count + 1):
                source.read(band, window=last)
            thinned = source.read(1, out_shape=shape, masked=True)
        except RasterioError as error:
            raise SarcastError(_unreadable(path, error)) from error
    values: npt.NDArray[np.float32] = thinned.astype(np.float32).filled(np.nan)
    return values


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
    predictor = "FLOATING_POINT" if layers.dtype.kind == "f" else "STANDARD"
    # GDAL does not tell a full disk from other faults: it writes to memory, Python to the disk.
    with MemoryFile() as memory, MemoryFile(ext=".tif") as cog, new_file(path) as partial:
        with memory.open(**profile) as target:
            target.write(layers)
            target.update_tags(**(tags or {}))
            for place, name in enumerate(bands, start=1):
                target.set_band_description(place, name)
        with rasterio.open(memory.name) as source:
            copy(source, cog.name, driver="COG", compress="DEFLATE", predictor=predictor)
        partial.write_bytes(cog.getbuffer())


def _unreadable(path: Path, error: Exception) -> str:
    if not Path(path).exists():
        return f"{path} does not exist; name a raster file"
    return f"{path} cannot be read, it may be cut off or damaged: fetch it again ({error})"
