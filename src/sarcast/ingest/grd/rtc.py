"""Radiometric terrain correction: GRD products to gamma nought on a grid, with incidence.

References
----------
Small, IEEE TGRS 49 (2011) 3081: gamma nought is beta nought over the area that the terrain shows
the sensor, per area of the slant plane.
"""

import datetime as dt
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox, GeoboxTiles
from odc.geo.geom import Geometry
from odc.geo.xr import rasterize
from pydantic import BaseModel, ConfigDict, Field
from rasterio.windows import Window
from scipy.ndimage import map_coordinates, uniform_filter

from sarcast.arrays import Float, Floating
from sarcast.catalogue import Raster, Scene
from sarcast.errors import SarcastError
from sarcast.ingest.dem import Dem
from sarcast.ingest.grd.image import Image
from sarcast.ingest.grd.product import GrdProduct
from sarcast.ingest.grd.view import ImageCoordinates, ViewGeometry, footprint
from sarcast.io.files import explain_full_disk, new_file, scratch_folder
from sarcast.io.progress import track
from sarcast.io.rasters import read_onto, write_cog
from sarcast.sensor import units

_log = logging.getLogger(__name__)


LEAST_DB = -40.0
"""Least gamma nought kept, dB: no power is left where noise outweighs the signal; the noise of
Sentinel-1 lies at -22 dB or under (Torres et al. 2012)."""
LEAST_AREA = 0.1
"""Least area shown to the sensor per area of the slant plane; under it the ground is in shadow."""

_TILE = 512
_TILE_M = 15_000.0
"""Most metres a side of a tile, which bounds the part of an image that is in memory."""
_REACH = 2.0
"""Ground range over which layover moves a facet, per metre of height: 1 / tan(27 degrees)."""
_FARTHEST_M = 5000.0
"""From how far facets are brought to a tile, m: from 2500 m over it."""
_LEAST_MARGIN = 8
_LEAST_SEEN = 0.499
_COARSE_M = 500.0
_CHECKED = 1000
_COG = {
    "driver": "COG",
    "compress": "DEFLATE",
    "predictor": "FLOATING_POINT",
    "overview_resampling": "AVERAGE",
}


class RtcOptions(BaseModel):
    """How products are corrected for terrain."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    geoid: Path | None = Field(
        None,
        description="Raster of the geoid's height over the ellipsoid, m (as PROJ's us_nga_egm08_25 "
        "or egm96_15), added to a DEM whose heights are above sea level; default: the DEM's "
        "heights are above the ellipsoid.",
    )
    fill: float | None = Field(
        None,
        description="Height of ground that the DEM does not tell, m, as 0 for sea; default: there "
        "is no image there, and a DEM that covers too little is an error.",
    )
    resolution: float = Field(20.0, gt=0.0, description="Spacing in metres.")


class Terrain:
    """Heights above the ellipsoid, read a part of an area at a time.

    Parameters
    ----------
    dem
        Sources of heights, the first wins.
    options
        What is added to them, and what stands in for them.
    """

    def __init__(self, dem: Sequence[str], options: RtcOptions) -> None:
        self._options = options
        self._dem = Dem(dem)

    def heights(self, grid: GeoBox) -> Floating:
        """Heights on a grid, dims (y, x), m; NaN where DEM or geoid tell none."""
        heights: Floating = self._dem.read(grid).values
        if self._options.fill is not None:
            heights = np.where(np.isfinite(heights), heights, self._options.fill)
        if self._options.geoid is not None:
            heights = heights + read_onto(self._options.geoid, grid, "bilinear")
        return heights


def make_scene(product: GrdProduct, grid: GeoBox, terrain: Terrain, folder: Path) -> Scene:
    """Write gamma nought of a product's images and the incidence angle, as COGs.

    Parameters
    ----------
    product
        A GRD product.
    grid
        Grid of the images, in metres.
    terrain
        Heights.
    folder
        Where the rasters go, named after the product; whole or not at all.

    Returns
    -------
    Scene
        With ``vv`` and ``vh``, linear power, and ``incidence``, degrees.

    Raises
    ------
    SarcastError
        If the DEM does not cover what the product sees of the grid, or sarsen is not installed.
    """
    view = ViewGeometry(product)
    _check_cover(product, grid, terrain)
    rasters = {}
    for band, path in _write_images(view, grid, terrain, folder).items():
        rasters[band.lower()] = Raster(path, (band,), units.LINEAR_POWER)
    coarse = grid.zoom_out(max(1.0, _COARSE_M / grid.resolution.x))
    if min(coarse.shape) < 2:  # a geometry needs neighbours
        coarse = coarse.pad(1)
    angles = view.incidence(coarse, terrain.heights(coarse))
    path = folder / f"{product.name}_incidence.tif"
    write_cog(path, angles, coarse, bands=["incidence"], tags={"unit": "degree"})
    rasters["incidence"] = Raster(path, ("incidence",), "degree", ("metadata",))
    told = product.attrs
    return Scene(
        id=product.name,
        time=product.time,
        quantity="gamma0",
        rasters=rasters,
        platform=f"sentinel-1{told['number'].lower()}",
        orbit_direction=told["pass"].lower(),
        relative_orbit=told["relative_orbit_number"],
        heading_deg=product.heading_deg,
        incidence_deg=told["incidence_angle_mid_swath"],
        more={
            "created": dt.datetime.now(dt.UTC).isoformat(),
            "sat:absolute_orbit": told["orbit_number"],
        },
    )


def product_grid(product: GrdProduct, resolution: float, area: Geometry | None) -> GeoBox:
    """Grid of what a product sees of an area: in the UTM zone of its middle, on whole spacings.

    Parameters
    ----------
    product
        A GRD product.
    resolution
        Spacing in metres.
    area
        Any CRS; None for all that the product sees.

    Raises
    ------
    SarcastError
        If the product does not see the area.
    """
    seen = footprint(product)
    asked = seen if area is None else area.to_crs("EPSG:4326")
    if not seen.intersects(asked):
        west, south, east, north = seen.boundingbox.bbox
        raise SarcastError(
            f"{product.name} does not see the area; it sees west {west:.4f}, south {south:.4f}, "
            f"east {east:.4f}, north {north:.4f}: give another --area or leave the product out"
        )
    longitude, latitude = asked.centroid.coords[0]
    zone = int((longitude + 180.0) // 6.0) % 60 + 1
    crs = f"EPSG:{(32600 if latitude >= 0.0 else 32700) + zone}"
    box = (seen & asked).to_crs(crs).boundingbox
    return GeoBox.from_bbox(box.bbox, crs=crs, resolution=resolution)


def gamma0(
    view: ViewGeometry, grid: GeoBox, heights: Floating, images: Mapping[str, Image]
) -> dict[str, Float]:
    """Gamma nought of images on a grid.

    Parameters
    ----------
    view
        The product's geometry.
    grid
        In metres; facets beyond it show nothing.
    heights
        Dims (y, x), m above the ellipsoid; NaN where unknown.
    images
        By polarisation.

    Returns
    -------
    dict
        By polarisation, dims (y, x), linear power, at least that of ``LEAST_DB``; NaN outside the
        image, in shadow, and where the height is unknown.
    """
    places = view.places(grid, heights)
    shown = np.where(places.area >= LEAST_AREA, places.area, np.nan)
    least = 10.0 ** (LEAST_DB / 10.0)
    found = {}
    for band, image in images.items():
        beta = _looked_up(view.product, image, places, grid.resolution.x)
        found[band] = np.maximum(beta / shown, least).astype(np.float32)
    return found


def _looked_up(
    product: GrdProduct, image: Image, places: ImageCoordinates, spacing_m: float
) -> Floating:
    """Beta nought at places of the image: means over about the spacing, linear in between."""
    steps = (product.attrs["azimuth_pixel_spacing"], product.attrs["range_pixel_spacing"])
    looks = [max(1, round(spacing_m / step)) for step in steps]
    spans = [
        _span(place, size, look)
        for place, size, look in zip((places.line, places.pixel), image.shape, looks, strict=True)
    ]
    if any(span.stop - span.start < 2 for span in spans):
        return np.full(places.line.shape, np.nan)
    means = _running_mean(image.beta0(*spans), looks)
    known = np.isfinite(places.line)
    at = [
        np.where(known, place - span.start + (0.5 if look % 2 == 0 else 0.0), -1.0)
        for place, span, look in zip((places.line, places.pixel), spans, looks, strict=True)
    ]
    values: Floating = map_coordinates(means, at, order=1, cval=np.nan)
    return values


def _running_mean(beta: Floating, looks: Sequence[int]) -> Floating:
    """Mean over looks around each pixel, of what was seen of them, if that is half of them.

    An even number of looks is centred half a pixel before its pixel.
    """
    seen = np.isfinite(beta)
    share = uniform_filter(seen.astype(np.float32), looks, mode="constant")
    mean: Floating = uniform_filter(np.where(seen, beta, 0.0), looks, mode="constant")
    mean[share > 0.0] /= share[share > 0.0]
    mean[share < _LEAST_SEEN] = np.nan
    return mean


def _span(places: Floating, size: int, look: int) -> slice:
    """Lines or pixels that are needed of an image."""
    if not np.isfinite(places).any():
        return slice(0, 0)
    first = int(np.clip(np.nanmin(places) - look - 1, 0, size))
    last = int(np.clip(np.nanmax(places) + look + 2, first, size))
    return slice(first, last)


def _write_images(
    view: ViewGeometry, grid: GeoBox, terrain: Terrain, folder: Path
) -> dict[str, Path]:
    product = view.product
    paths = {band: folder / f"{product.name}_{band}.tif" for band in product.images}
    with explain_full_disk(folder), scratch_folder(folder / f".{product.name}.partial") as work:
        plain = {band: work / path.name for band, path in paths.items()}
        with ExitStack() as files:
            targets = {
                band: files.enter_context(rasterio.open(path, "w", **_profile(grid)))
                for band, path in plain.items()
            }
            seen: set[str] = set()
            for window, values in _tiles(view, grid, terrain):
                for band, target in targets.items():
                    target.write(values[band], 1, window=window)
                    seen |= {band} if np.isfinite(values[band]).any() else set()
            for band, target in targets.items():
                target.set_band_description(1, band)
                target.update_tags(unit=units.LINEAR_POWER, quantity="gamma0")
        for band in sorted(paths.keys() - seen):
            _log.warning(f"{band} of {product.name} has no value in the area: its image is empty")
        for band, path in plain.items():
            with new_file(paths[band]) as partial:
                rasterio.shutil.copy(path, partial, **_COG)
    return paths


def _profile(grid: GeoBox) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "count": 1,
        "height": grid.height,
        "width": grid.width,
        "dtype": "float32",
        "crs": grid.crs.to_wkt(),
        "transform": grid.transform,
        "nodata": float("nan"),
        "tiled": True,
        "bigtiff": "IF_SAFER",
        "SPARSE_OK": True,
    }


def _tiles(
    view: ViewGeometry, grid: GeoBox, terrain: Terrain
) -> Iterator[tuple[Window, dict[str, Float]]]:
    """Images of one tile of the grid after the other; those that are empty are left out."""
    side = max(1, min(_TILE, int(_TILE_M / grid.resolution.x)))
    tiles = GeoboxTiles(grid, (side, side))
    rows, columns = tiles.shape
    places = [(row, column) for row in range(rows) for column in range(columns)]
    outline = footprint(view.product).to_crs(grid.crs)
    for place in track(places, f"correcting {view.product.name}", len(places)):
        tile = tiles[place]
        if not tile.extent.intersects(outline):
            continue
        images, margin = _tile(view, tile, terrain)
        inner = (slice(margin, margin + tile.height), slice(margin, margin + tile.width))
        window = Window(place[1] * side, place[0] * side, tile.width, tile.height)
        yield window, {band: image[inner] for band, image in images.items()}


def _tile(view: ViewGeometry, tile: GeoBox, terrain: Terrain) -> tuple[dict[str, Float], int]:
    """Images of a tile with a margin in pixels, over which the relief around it can reach."""
    spacing = tile.resolution.x
    around = tile.pad(math.ceil(_FARTHEST_M / spacing))
    heights = terrain.heights(around.zoom_out(max(1.0, max(around.shape) / _TILE)))
    relief = np.nanmax(heights) - np.nanmin(heights) if np.isfinite(heights).any() else 0.0
    margin = _LEAST_MARGIN + math.ceil(min(_REACH * relief, _FARTHEST_M) / spacing)
    wide = tile.pad(margin)
    return gamma0(view, wide, terrain.heights(wide), view.product.images), margin


def _check_cover(product: GrdProduct, grid: GeoBox, terrain: Terrain) -> None:
    """See, on a coarse grid, that heights are known where the product sees the ground."""
    coarse = grid.zoom_out(max(1.0, max(grid.shape) / _CHECKED))
    seen = rasterize(footprint(product).to_crs(grid.crs), coarse)
    known = np.isfinite(terrain.heights(coarse))
    if not seen.any() or known[seen].all():
        return
    covered = 100.0 * float(known[seen].mean())
    raise SarcastError(
        f"the heights (DEM and geoid) cover {covered:.1f} % of what {product.name} sees of the "
        f"area; give some that cover all of it, a smaller --area, or --fill 0 if the rest is sea"
    )
