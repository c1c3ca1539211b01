"""Rasters opened only in formats that name no other file or URL.

GDAL tells a format by its content: a file ``a.tif`` may be a virtual raster that names any file,
URL or driver. Such a raster is opened only under a name that says what it is.
"""

import re

from rasterio.env import ensure_env_with_credentials
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader

FORMATS = (
    "GTiff", "COG", "SNAP_TIFF", "ENVI", "EHdr", "HFA", "netCDF", "HDF5", "HDF5Image", "GRIB",
    "JP2OpenJPEG", "JPEG", "PNG", "GIF", "BMP", "WEBP", "AAIGrid", "GRASSASCIIGrid", "GSAG", "GSBG",
    "GS7BG", "DTED", "SRTMHGT", "USGSDEM", "GTX", "NTv2", "NITF", "BAG", "GPKG", "PCIDSK",
    "PCRaster", "RST", "SAGA", "ILWIS", "RRASTER", "SIGDEM", "Terragen", "XYZ",
)  # fmt: skip
"""Names of GDAL's drivers; what an installation lacks does not matter."""

_REFERS = re.compile(r"(?i)[a-z0-9_]{2,}:(?!/)|vrt://|<|[^?#]*[.]vrt([?#]|$)")
"""Names of virtual rasters, and names with a prefix of a driver, such as ``NETCDF:a.nc:b``."""


def open_dataset(name: str) -> DatasetReader:
    """Open a raster; as ``rasterio.open``, which cannot choose among several formats.

    Parameters
    ----------
    name
        Path or URL. All formats of GDAL are opened if it ends in ``.vrt``, begins with the prefix
        of a driver, or is itself the XML of a virtual raster.

    Raises
    ------
    RasterioError
        If it cannot be opened.
    """
    try:
        return _open(name)
    except ValueError as error:
        raise RasterioIOError(f"it is neither a path nor a URL ({error})") from error


@ensure_env_with_credentials  # type: ignore[untyped-decorator]
def _open(name: str) -> DatasetReader:
    return DatasetReader(name, driver=None if _REFERS.match(name) else list(FORMATS))
