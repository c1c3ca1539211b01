"""Terrain heights from any rasters."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from sarcast.catalogue.scene import BANDS
from sarcast.errors import SarcastError
from sarcast.ingest.cf import convert, registry, unit
from sarcast.ingest.mosaic import Mosaic, Tile
from sarcast.ingest.profiles import shipped
from sarcast.ingest.scenes.profile import SceneProfile
from sarcast.sensor import units

_log = logging.getLogger(__name__)


ASSETS = ("elevation", "dem", "data")
"""Assets of a STAC item that may hold heights, the best liked first."""


class Dem:
    """Terrain heights, which can be read a part of an area at a time.

    Parameters
    ----------
    sources
        Rasters of heights in any CRS, folders of them, JSON files of STAC items; the first named
        wins where they overlap.

    Raises
    ------
    SarcastError
        If a raster cannot be read, has no CRS, is not in a unit of length, or is told to hold
        backscatter or classes.
    """

    def __init__(self, sources: Sequence[Path | str]) -> None:
        self._mosaic = Mosaic(sources, ASSETS)
        for tile in self._mosaic.tiles:
            _check_heights(tile)
        told = {tile.unit for tile in self._mosaic.tiles if tile.unit}
        if len(told) > 1:
            raise SarcastError(
                f"the DEM {self._mosaic.names} is in several units ({', '.join(sorted(told))}); "
                f"give rasters of one unit"
            )
        self._to_m = _metres(told.pop(), f"the DEM {self._mosaic.names}") if told else 1.0
        self._seen = self._asked = 0

    def read(self, grid: GeoBox) -> xr.DataArray:
        """Read heights onto a grid, bilinearly.

        Returns
        -------
        DataArray
            ``elevation``, dims (y, x), m, float32; NaN where no raster has a height.
        """
        heights = self._mosaic.read(grid, "bilinear") * np.float32(self._to_m)
        self._seen += int(np.isfinite(heights).sum())
        self._asked += heights.size
        elevation: xr.DataArray = wrap_xr(heights, grid, nodata=np.nan).rename("elevation")
        return elevation.assign_attrs(units="m", standard_name="surface_altitude")

    def summarise(self) -> None:
        """Say how much of what was read has no height.

        Raises
        ------
        SarcastError
            If all of it has none.
        """
        share = 100.0 * self._seen / max(1, self._asked)
        if self._seen == 0:
            raise SarcastError(
                f"the DEM {self._mosaic.names} covers nothing of the area; give one that does, or "
                f"leave --dem out"
            )
        if self._seen < self._asked:
            _log.info(
                f"the DEM {self._mosaic.names} covers {share:.1f} % of the area; the elevation of "
                f"the other {self._asked - self._seen} pixels counts as missing"
            )


def _check_heights(tile: Tile) -> None:
    """See that nothing a raster tells of itself says that it holds something else than heights."""
    what = None
    if any(profile.groups(Path(tile.href).name) for profile in _named_scenes()):
        what = "backscatter (by its name)"
    elif tile.unit in units.SOURCE_UNITS or tile.name.upper() in BANDS:
        what = f"backscatter ({' '.join(filter(None, (tile.name, tile.unit)))})"
    elif tile.has_classes:
        what = "classes"
    if what is not None:
        raise SarcastError(
            f"{tile.href} holds {what}, not terrain heights; give a raster of heights as --dem"
        )


def _named_scenes() -> Iterator[SceneProfile]:
    """Profiles that know the files of a source by their names alone."""
    for profile in shipped(SceneProfile):
        if not profile.generic and not profile.snap_header:
            yield profile


def _metres(word: str, place: str) -> float:
    return float(convert(registry().Quantity(1.0, unit(word, place)), "m", place))


def read_dem(sources: Path | str | Sequence[Path | str], grid: GeoBox) -> xr.DataArray:
    """Read heights onto a grid, and say where there are none; as ``Dem``."""
    dem = Dem([sources] if isinstance(sources, Path | str) else sources)
    elevation = dem.read(grid)
    dem.summarise()
    return elevation
