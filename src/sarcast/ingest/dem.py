"""Terrain heights from rasters, onto any grid."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from rasterio.windows import Window

from sarcast.arrays import Bool, Float
from sarcast.catalogue.scene import BANDS
from sarcast.errors import SarcastError
from sarcast.ingest.cf import convert, parse_unit, registry
from sarcast.ingest.mosaic import Mosaic, Tile
from sarcast.ingest.profiles import shipped
from sarcast.ingest.scenes.profile import SceneProfile
from sarcast.sensor import units

_log = logging.getLogger(__name__)


ASSETS = ("elevation", "dem", "data")
"""Keys of STAC assets with heights, in order of preference."""
POSSIBLE_M = (-11_500.0, 9_100.0)
"""Heights from the deepest sea to the highest summit, on any vertical datum, metres."""
MARKER = -9999.0
"""Marks missing heights in many rasters that declare no nodata value."""


class Dem:
    """Terrain heights, read one part of an area at a time.

    Parameters
    ----------
    sources
        Rasters of heights in any CRS, folders of rasters, JSON files of STAC items; the first has
        priority where they overlap. Heights are in metres unless a raster or item states a unit.

    Raises
    ------
    SarcastError
        If a raster cannot be read, has no CRS, is not in a unit of length, or its metadata say
        that it contains backscatter or classes.
    """

    def __init__(self, sources: Sequence[Path | str]) -> None:
        self._mosaic = Mosaic(sources, ASSETS)
        for tile in self._mosaic.tiles:
            _check_heights(tile)
        tile_units = {tile.unit for tile in self._mosaic.tiles if tile.unit}
        if len(tile_units) > 1:
            raise SarcastError(
                f"the DEM {self._mosaic.names} is in several units "
                f"({', '.join(sorted(tile_units))}); use rasters of one unit"
            )
        name = f"the DEM {self._mosaic.names}"
        self._to_m = _metres_per_unit(tile_units.pop(), name) if tile_units else 1.0
        self._covered_pixels = self._read_pixels = 0

    def read(self, grid: GeoBox) -> xr.DataArray:
        """Read heights onto a grid, by bilinear interpolation.

        Returns
        -------
        DataArray
            ``elevation``, dims (y, x), m, float32; NaN where no raster has a height.
        """
        heights = self._mosaic.read(
            grid, "bilinear", convert=self._without_markers, trust=self._has_no_markers
        )
        heights *= np.float32(self._to_m)
        self._covered_pixels += int(np.isfinite(heights).sum())
        self._read_pixels += heights.size
        elevation: xr.DataArray = wrap_xr(heights, grid, nodata=np.nan).rename("elevation")
        return elevation.assign_attrs(units="m", standard_name="surface_altitude")

    def _without_markers(self, heights: Float, _: Window) -> Float:
        """Set values that mark missing pixels, although no file says so, to NaN."""
        heights[self._markers(heights)] = np.nan
        return heights

    def _has_no_markers(self, heights: Float) -> bool:
        return not bool(self._markers(heights).any())

    def _markers(self, heights: Float) -> Bool:
        lowest, highest = (limit / self._to_m for limit in POSSIBLE_M)
        markers: Bool = (heights < lowest) | (heights > highest) | (heights == MARKER)
        return markers

    def summarise(self) -> None:
        """Log how much of the area read so far has no height.

        Raises
        ------
        SarcastError
            If no pixel has a height.
        """
        if self._covered_pixels == 0:
            raise SarcastError(
                f"the DEM {self._mosaic.names} does not cover any of the area; use one that does, "
                f"or omit --dem"
            )
        percentage = 100.0 * self._covered_pixels / self._read_pixels
        missing = self._read_pixels - self._covered_pixels
        if missing:
            _log.info(
                f"the DEM {self._mosaic.names} covers {percentage:.1f} % of the area; the "
                f"elevation of the other {missing} pixels is missing"
            )


def _check_heights(tile: Tile) -> None:
    """Refuse a raster whose metadata say that it contains something other than heights."""
    content = None
    if any(profile.groups(Path(tile.href).name) for profile in _profiles_by_name()):
        content = "backscatter (by its name)"
    elif tile.unit in units.SOURCE_UNITS or tile.name.upper() in BANDS:
        content = f"backscatter ({' '.join(filter(None, (tile.name, tile.unit)))})"
    elif tile.has_classes:
        content = "classes"
    if content is not None:
        raise SarcastError(
            f"{tile.href} contains {content}, not terrain heights; give a raster of heights as "
            f"--dem"
        )


def _profiles_by_name() -> Iterator[SceneProfile]:
    """Profiles that recognise the files of a source by name alone."""
    for profile in shipped(SceneProfile):
        if not profile.generic and not profile.snap_header:
            yield profile


def _metres_per_unit(unit: str, source: str) -> float:
    return float(convert(registry().Quantity(1.0, parse_unit(unit, source)), "m", source))


def read_dem(sources: Path | str | Sequence[Path | str], grid: GeoBox) -> xr.DataArray:
    """Read heights onto a grid and log missing ones; parameters as ``Dem``."""
    dem = Dem([sources] if isinstance(sources, Path | str) else sources)
    elevation = dem.read(grid)
    dem.summarise()
    return elevation
