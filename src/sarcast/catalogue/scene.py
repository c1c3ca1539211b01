"""A scene: one georeferenced Sentinel-1 acquisition, and its STAC item.

Metadata that a source does not state is absent from the item.
"""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pystac
import rasterio
from odc.geo.geobox import GeoBox
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.sar import FrequencyBand, Polarization, SarExtension
from pystac.extensions.sat import OrbitState, SatExtension
from pystac.extensions.view import ViewExtension

from sarcast.errors import SarcastError
from sarcast.io.footprint import WGS84, footprint, geojson
from sarcast.io.rasters import grid_of
from sarcast.sensor.orbits import look_direction_deg

BANDS = ("VV", "VH")
POLARISATIONS = (*BANDS, "HH", "HV")
"""Polarisations that a scene may have; a cube has those of ``BANDS``."""
QUANTITY = "sarcast:quantity"
"""Asset field for ``sigma0`` or ``gamma0``; STAC defines none."""
INCIDENCE = "incidence"
"""Band name and asset key of the incidence angle of each pixel, degrees."""
CENTRE_FREQUENCY_GHZ = 5.405
"""Sentinel-1 C-SAR centre frequency, GHz (Torres et al. 2012, doi 10.1016/j.rse.2011.05.028)."""

_COG = pystac.MediaType.COG
_DTYPES = {"float32", "float64", "int16", "uint16", "uint8", "int32", "uint32"}


@dataclass(frozen=True)
class Raster:
    """A file of a scene: path, bands, unit and STAC roles.

    ``unit`` is the unit of backscatter; an incidence band in the same file is in degrees.
    ``nodata`` is the value of missing pixels, besides what the file itself declares.
    """

    path: Path
    bands: tuple[str, ...]
    unit: str
    roles: tuple[str, ...] = ("data",)
    nodata: float | None = None

    def unit_of(self, band: str) -> str:
        """Unit of one of the bands."""
        return "degree" if band == INCIDENCE else self.unit


@dataclass(frozen=True)
class Scene:
    """One georeferenced Sentinel-1 acquisition.

    Attributes
    ----------
    time
        Start of the acquisition, with its time zone.
    until
        Last possible start, where only the date is known: ``time`` is then the first possible one.
    platform
        Such as ``"sentinel-1a"``.
    mode
        ``"IW"``, ``"EW"``, ``"SM"`` or ``"WV"``.
    orbit_direction
        ``"ascending"`` or ``"descending"``.
    relative_orbit
        1..175.
    heading_deg
        Of the ground track, clockwise from north.
    incidence_deg
        Ellipsoid incidence angle at the centre.
    quantity
        ``"sigma0"`` or ``"gamma0"``.
    rasters
        By asset key: ``vv`` and ``vh``, or one key for a file with both; ``incidence``;
        ``vv-expected`` and ``vh-expected`` in a synthetic world.
    more
        Additional properties of the item.
    """

    id: str
    time: dt.datetime
    quantity: str
    rasters: Mapping[str, Raster]
    platform: str | None = None
    mode: str = "IW"
    orbit_direction: str | None = None
    relative_orbit: int | None = None
    heading_deg: float | None = None
    incidence_deg: float | None = None
    until: dt.datetime | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_item(self) -> pystac.Item:
        """Make the STAC item, on the grid of the first raster."""
        grid = grid_of(next(iter(self.rasters.values())).path)
        self._check_bounds(*grid.extent.to_crs(WGS84).boundingbox.bbox)
        geometry, bbox = geojson(footprint(grid).geom)
        item = pystac.Item(
            id=self.id,
            geometry=geometry,
            bbox=bbox,
            datetime=self.time if self.until is None else None,
            start_datetime=None if self.until is None else self.time,
            end_datetime=self.until,
            properties=dict(self.more),
        )
        item.common_metadata.constellation = "sentinel-1"
        if self.platform:
            item.common_metadata.platform = self.platform
        self._add_sar(item)
        self._add_view(item)
        ProjectionExtension.add_to(item)
        item.properties.update(grid_fields(grid))
        for key, raster in self.rasters.items():
            item.add_asset(key, self._asset(raster))
        return item

    def _check_bounds(self, west: float, south: float, east: float, north: float) -> None:
        if not (-360.0 <= west <= east <= 360.0 and -90.0 <= south <= north <= 90.0):
            raise SarcastError(
                f"{next(iter(self.rasters.values())).path} lies outside the Earth: from "
                f"{west:g}, {south:g} to {east:g}, {north:g} degrees; check that its CRS is that "
                f"of its coordinates"
            )

    def _add_sar(self, item: pystac.Item) -> None:
        present = {band for raster in self.rasters.values() for band in raster.bands}
        SarExtension.ext(item, add_if_missing=True).apply(
            instrument_mode=self.mode,
            frequency_band=FrequencyBand.C,
            center_frequency=CENTRE_FREQUENCY_GHZ,
            polarizations=[Polarization(band) for band in POLARISATIONS if band in present],
            product_type="RTC" if self.quantity == "gamma0" else "GRD",
        )

    def _add_view(self, item: pystac.Item) -> None:
        orbit = SatExtension.ext(item, add_if_missing=True)
        if self.orbit_direction:
            orbit.orbit_state = OrbitState(self.orbit_direction)
        if self.relative_orbit:
            orbit.relative_orbit = self.relative_orbit
        if self.heading_deg is None and self.incidence_deg is None:
            return
        view = ViewExtension.ext(item, add_if_missing=True)
        if self.heading_deg is not None:
            view.azimuth = round(float(look_direction_deg(self.heading_deg)), 4)
        if self.incidence_deg is not None:
            view.incidence_angle = round(self.incidence_deg, 4)

    def _asset(self, raster: Raster) -> pystac.Asset:
        with rasterio.open(raster.path) as source:
            declared, dtype = source.nodata, source.dtypes[0]
        nodata = declared if raster.nodata is None else raster.nodata
        bands = [{"name": band, "unit": raster.unit_of(band)} for band in raster.bands]
        fields: dict[str, Any] = {"bands": bands}
        if dtype in _DTYPES:
            fields["data_type"] = dtype
        if nodata is not None:
            fields["nodata"] = "nan" if math.isnan(nodata) else nodata
        if set(raster.bands) & set(POLARISATIONS):
            fields[QUANTITY] = self.quantity
        return pystac.Asset(
            href=raster.path.resolve().as_posix(),
            media_type=_COG,
            roles=list(raster.roles),
            extra_fields=fields,
        )


def grid_fields(grid: GeoBox) -> dict[str, Any]:
    """Fields of STAC's projection extension for a grid."""
    if grid.crs.epsg is not None:
        crs: dict[str, Any] = {"proj:code": f"EPSG:{grid.crs.epsg}"}
    else:
        crs = {"proj:code": None, "proj:wkt2": grid.crs.to_wkt(version="WKT2_2019")}
    return {**crs, "proj:shape": list(grid.shape), "proj:transform": list(grid.transform)[:6]}
