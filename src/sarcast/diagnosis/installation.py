"""The installation: packages and their versions, GDAL's formats, PROJ's database."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pyogrio
import pyproj
import rasterio
import shapely

import sarcast
from sarcast.diagnosis.machine import Part
from sarcast.errors import first_line
from sarcast.io.formats import FORMATS
from sarcast.io.versions import installed, requirements, unmet, versions

EXTRAS = {
    "grd": "sarcast rtc",
    "notebook": "sarcast.view in a notebook",
    "pgstac": "catalogues in PostgreSQL",
    "postgis": "events in PostGIS",
}
"""Extras of the package that a user may need, and what for."""
_RASTERS = ("GTiff", "COG", "MEM", "VRT")
_VECTORS = ("GPKG", "GeoJSON", "CSV", "ESRI Shapefile", "FlatGeobuf")
_WRITTEN_VECTORS = _VECTORS[:2]
"""GDAL's formats that the work itself needs."""


class Formats(Part):
    """Formats of GDAL: rasters that are read, polygons that are read, and what is missing."""

    rasters: tuple[str, ...]
    missing_rasters: tuple[str, ...]
    polygons: tuple[str, ...]
    missing_polygons: tuple[str, ...]


class Installation(Part):
    """What is installed.

    Attributes
    ----------
    location
        Folder of the package.
    packages
        Version of Python, sarcast and each package that it needs; None where it is missing.
    libraries
        Versions of the C libraries inside the packages, such as ``GDAL of rasterio``.
    extras
        Extras of sarcast: what each lacks; nothing where it is complete.
    formats
        Formats of GDAL.
    """

    location: str
    packages: dict[str, str | None]
    libraries: dict[str, str]
    extras: dict[str, tuple[str, ...]]
    formats: Formats


def describe_installation() -> tuple[Installation, list[str]]:
    """Describe what is installed.

    Returns
    -------
    installation
        Its description.
    faults
        What keeps sarcast from working, one line each.
    """
    installation = Installation(
        location=str(Path(sarcast.__file__).parent),
        packages=versions(),
        libraries=_libraries(),
        extras={name: tuple(unmet(name)) for name in EXTRAS},
        formats=_formats(),
    )
    return installation, [*_package_faults(), *_format_faults(), *_proj_faults()]


def _libraries() -> dict[str, str]:
    return {
        "GDAL of rasterio": rasterio.__gdal_version__,
        "PROJ of rasterio": rasterio.__proj_version__,
        "GDAL of pyogrio": pyogrio.__gdal_version_string__,
        "PROJ of pyproj": pyproj.proj_version_str,
        "GEOS of shapely": shapely.geos_version_string,
        "HDF5 of h5py": h5py.version.hdf5_version,
    }


def _raster_drivers() -> set[str]:
    with rasterio.Env() as environment:
        return {*environment.drivers()}


def _formats() -> Formats:
    rasters, polygons = _raster_drivers(), pyogrio.list_drivers(read=True)
    return Formats(
        rasters=tuple(name for name in FORMATS if name in rasters),
        missing_rasters=tuple(name for name in FORMATS if name not in rasters),
        polygons=tuple(name for name in _VECTORS if name in polygons),
        missing_polygons=tuple(name for name in _VECTORS if name not in polygons),
    )


def _package_faults() -> Iterator[str]:
    found, ours = installed("sarcast"), sarcast.__version__
    if not requirements():
        yield "sarcast runs from a folder and is not installed: run pip install in its folder"
    elif found is not None and _plain(found) != _plain(ours):
        yield (
            f"version {ours} of sarcast runs, but pip knows version {found}: there are two copies; "
            f"uninstall it until none is left, and install it again"
        )
    if missing := [*unmet()]:
        yield (
            f"packages are missing or too old: {', '.join(missing)}; install sarcast again with "
            f"pip install -c constraints.txt"
        )


def _plain(version: str) -> str:
    """A version without the dots and dashes in which its spellings differ."""
    return re.sub(r"[-_.]", "", version)


def _format_faults() -> Iterator[str]:
    missing = [name for name in _RASTERS if name not in _raster_drivers()]
    writable = pyogrio.list_drivers(write=True)
    missing += [name for name in _WRITTEN_VECTORS if name not in writable]
    if missing:
        yield (
            f"GDAL lacks the formats {', '.join(missing)}; install rasterio and pyogrio of PyPI or "
            f"conda-forge, and remove GDAL_SKIP and GDAL_DRIVER_PATH from the environment"
        )


def _proj_faults() -> Iterator[str]:
    """Libraries of which PROJ does not find its database, or finds that of another version."""
    readers: dict[str, Callable[[int], object]] = {
        "rasterio": rasterio.crs.CRS.from_epsg,
        "pyproj": pyproj.CRS.from_epsg,
    }
    for name, read in readers.items():
        try:
            read(32635)
        except Exception as error:  # each library has errors of its own
            yield (
                f"the PROJ of {name} cannot read its database ({first_line(error)}): remove "
                f"PROJ_DATA and PROJ_LIB from the environment, which name that of another program"
            )
