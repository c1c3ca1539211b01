"""Radiometric terrain correction: GRD products to gamma nought on a grid, with incidence.

References
----------
Small, IEEE TGRS 49 (2011) 3081: gamma nought is beta nought divided by the illuminated area per
area of the slant plane.
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
from odc.geo.crs import CRS
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
from sarcast.ingest.scenes.products import PROCESSED
from sarcast.io.cogs import write_cog
from sarcast.io.files import explain_full_disk, new_file, scratch_folder
from sarcast.io.footprint import bounding_box, bounds_in, canonical, centre, utm_crs
from sarcast.io.progress import track
from sarcast.io.warp import read_onto
from sarcast.sensor import units

_log = logging.getLogger(__name__)


LEAST_DB = -40.0
"""Least gamma nought kept, dB, for pixels where noise exceeds the signal; the noise floor of
Sentinel-1 is -22 dB or less (Torres et al. 2012)."""
LEAST_AREA = 0.1
"""Least illuminated area per area of the slant plane; ground with less is in shadow."""

_TILE = 512
_TILE_M = 15_000.0
"""Longest side of a tile, metres; limits the part of an image in memory."""
_REACH = 2.0
"""Ground range by which layover displaces a facet, per metre of height: 1 / tan(27 degrees)."""
_MAX_REACH_M = 5000.0
"""Greatest distance from which layover reaches a tile, m: from ground 2500 m above it."""
_LEAST_MARGIN = 8
_LEAST_VALID = 0.499
_COARSE_M = 500.0
_CHECK_PIXELS = 1000
_COG = {
    "driver": "COG",
    "compress": "DEFLATE",
    "predictor": "FLOATING_POINT",
    "overview_resampling": "AVERAGE",
}


class RtcOptions(BaseModel):
    """Options of the terrain correction."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    geoid: Path | None = Field(
        None,
        description="Raster of the geoid's height above the ellipsoid, m (such as PROJ's "
        "us_nga_egm08_25 or egm96_15), added to a DEM with heights above sea level; default: the "
        "DEM's heights are above the ellipsoid.",
    )
    fill: float | None = Field(
        None,
        description="Height where the DEM has no data, m, such as 0 for sea; default: no image "
        "there, and an error if the DEM does not cover the whole area.",
    )
    resolution: float = Field(20.0, gt=0.0, description="Spacing in metres.")


class Terrain:
    """Heights above the ellipsoid, read for one part of an area at a time.

    Parameters
    ----------
    dem
        Sources of heights; the first one with data at a pixel is used.
    options
        Geoid and fill height.
    """

    def __init__(self, dem: Sequence[str], options: RtcOptions) -> None:
        self._options = options
        self._dem = Dem(dem)

    def heights(self, grid: GeoBox) -> Floating:
        """Heights on a grid, dims (y, x), m; NaN where DEM or geoid have no data."""
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
        Target folder of the rasters, which are named after the product and written atomically.

    Returns
    -------
    Scene
        With a raster for each polarisation, such as ``vv`` and ``vh``, linear power, and
        ``incidence``, degrees.

    Raises
    ------
    SarcastError
        If the DEM does not cover the product's footprint within the grid, or if sarsen is not
        installed.
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
    attrs = product.attrs
    return Scene(
        id=product.name,
        time=product.time,
        quantity="gamma0",
        rasters=rasters,
        platform=f"sentinel-1{attrs['number'].lower()}",
        mode=attrs["mode"],
        orbit_direction=attrs["pass"].lower(),
        relative_orbit=attrs["relative_orbit_number"],
        heading_deg=product.heading_deg,
        incidence_deg=attrs["incidence_angle_mid_swath"],
        more={
            **_processed(product),
            "created": dt.datetime.now(dt.UTC).isoformat(),
            "sat:absolute_orbit": attrs["orbit_number"],
        },
    )


def _processed(product: GrdProduct) -> dict[str, str]:
    """Property of an item: when the product was made, by which its newest version is chosen."""
    time = product.processed
    return {} if time is None else {PROCESSED: time.isoformat()}


def product_grid(product: GrdProduct, resolution: float, area: Geometry | None) -> GeoBox:
    """Grid of the part of an area that a product covers: UTM zone of its centre, whole spacings.

    Parameters
    ----------
    product
        A GRD product.
    resolution
        Spacing in metres.
    area
        Any CRS; None for the whole product.

    Raises
    ------
    SarcastError
        If the product does not cover any of the area.
    """
    covered = footprint(product)
    wanted = covered if area is None else canonical(area)
    if not covered.intersects(wanted):
        west, south, east, north = bounding_box(covered)
        raise SarcastError(
            f"{product.name} does not cover the area; it covers west {west:.4f}, "
            f"south {south:.4f}, east {east:.4f}, north {north:.4f}: give another --area or leave "
            f"the product out"
        )
    crs = utm_crs(*centre(wanted))
    box = bounds_in(covered & wanted, CRS(crs))
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
        Grid in metres; facets beyond it do not contribute.
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
    coordinates = view.image_coordinates(grid, heights)
    area = np.where(coordinates.area >= LEAST_AREA, coordinates.area, np.nan)
    least = 10.0 ** (LEAST_DB / 10.0)
    gamma = {}
    for band, image in images.items():
        beta = _sample_beta0(view.product, image, coordinates, grid.resolution.x)
        gamma[band] = np.maximum(beta / area, least).astype(np.float32)
    return gamma


def _sample_beta0(
    product: GrdProduct, image: Image, coordinates: ImageCoordinates, spacing_m: float
) -> Floating:
    """Beta nought at image coordinates: means over about the spacing, linear in between."""
    steps = (product.attrs["azimuth_pixel_spacing"], product.attrs["range_pixel_spacing"])
    looks = [max(1, round(spacing_m / step)) for step in steps]
    axes = (coordinates.line, coordinates.pixel)
    parts = [
        _needed(axis, size, look) for axis, size, look in zip(axes, image.shape, looks, strict=True)
    ]
    if any(part.stop - part.start < 2 for part in parts):
        return np.full(coordinates.line.shape, np.nan)
    means = _running_mean(image.beta0(*parts), looks)
    known = np.isfinite(coordinates.line)
    positions = [
        np.where(known, axis - part.start + (0.5 if look % 2 == 0 else 0.0), -1.0)
        for axis, part, look in zip(axes, parts, looks, strict=True)
    ]
    values: Floating = map_coordinates(means, positions, order=1, cval=np.nan)
    return values


def _running_mean(beta: Floating, looks: Sequence[int]) -> Floating:
    """Mean of the valid looks around each pixel; NaN if less than half of the looks are valid.

    The mean of an even number of looks is centred half a pixel before its pixel.
    """
    valid = np.isfinite(beta)
    share = uniform_filter(valid.astype(np.float32), looks, mode="constant")
    mean: Floating = uniform_filter(np.where(valid, beta, 0.0), looks, mode="constant")
    mean[share > 0.0] /= share[share > 0.0]
    mean[share < _LEAST_VALID] = np.nan
    return mean


def _needed(coordinates: Floating, size: int, look: int) -> slice:
    """Lines or pixels of an image that are needed to sample it at some coordinates."""
    if not np.isfinite(coordinates).any():
        return slice(0, 0)
    first = int(np.clip(np.nanmin(coordinates) - look - 1, 0, size))
    last = int(np.clip(np.nanmax(coordinates) + look + 2, first, size))
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
            with_values: set[str] = set()
            for window, values in _tiles(view, grid, terrain):
                for band, target in targets.items():
                    target.write(values[band], 1, window=window)
                    with_values |= {band} if np.isfinite(values[band]).any() else set()
            for band, target in targets.items():
                target.set_band_description(1, band)
                target.update_tags(unit=units.LINEAR_POWER, quantity="gamma0")
        for band in sorted(paths.keys() - with_values):
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
    """Images of the tiles of a grid, one tile at a time; tiles outside the product are left out."""
    side = max(1, min(_TILE, int(_TILE_M / grid.resolution.x)))
    tiles = GeoboxTiles(grid, (side, side))
    rows, columns = tiles.shape
    indices = [(row, column) for row in range(rows) for column in range(columns)]
    outline = footprint(view.product).to_crs(grid.crs)
    for row, column in track(indices, f"correcting {view.product.name}", len(indices)):
        tile = tiles[row, column]
        if not tile.extent.intersects(outline):
            continue
        images, margin = _tile(view, tile, terrain)
        inner = (slice(margin, margin + tile.height), slice(margin, margin + tile.width))
        window = Window(column * side, row * side, tile.width, tile.height)
        yield window, {band: image[inner] for band, image in images.items()}


def _tile(view: ViewGeometry, tile: GeoBox, terrain: Terrain) -> tuple[dict[str, Float], int]:
    """Images of a tile with a margin for layover from around it, and the margin in pixels."""
    spacing = tile.resolution.x
    surroundings = tile.pad(math.ceil(_MAX_REACH_M / spacing))
    heights = terrain.heights(surroundings.zoom_out(max(1.0, max(surroundings.shape) / _TILE)))
    relief = np.nanmax(heights) - np.nanmin(heights) if np.isfinite(heights).any() else 0.0
    margin = _LEAST_MARGIN + math.ceil(min(_REACH * relief, _MAX_REACH_M) / spacing)
    wide = tile.pad(margin)
    return gamma0(view, wide, terrain.heights(wide), view.product.images), margin


def _check_cover(product: GrdProduct, grid: GeoBox, terrain: Terrain) -> None:
    """Check on a coarse grid that heights are known everywhere in the product's footprint."""
    coarse = grid.zoom_out(max(1.0, max(grid.shape) / _CHECK_PIXELS))
    covered = rasterize(footprint(product).to_crs(grid.crs), coarse)
    known = np.isfinite(terrain.heights(coarse))
    if not covered.any() or known[covered].all():
        return
    percent = 100.0 * float(known[covered].mean())
    raise SarcastError(
        f"the heights (DEM and geoid) cover {percent:.1f} % of the part of the area that "
        f"{product.name} covers; give heights for all of it, a smaller --area, or --fill 0 if the "
        f"rest is sea"
    )
