"""``sarcast rtc``: GRD products to gamma nought, corrected for terrain, in a catalogue."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pystac
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from pydantic import Field

from sarcast.catalogue import FolderCatalogue
from sarcast.catalogue.scene import grid_fields
from sarcast.commands.config import FLAT, MAY_BE_NEGATIVE, Config
from sarcast.ingest.grd import (
    RtcOptions,
    Terrain,
    find_products,
    make_scene,
    open_product,
    product_grid,
    unzipped,
)
from sarcast.io.files import exclusive, scratch_folder
from sarcast.io.grid import read_area

_log = logging.getLogger(__name__)


class RtcConfig(Config):
    """Options of ``sarcast rtc``."""

    to: Path = Field(
        description="Folder of the rasters and their catalogue; scenes are added to one that "
        "exists, and those that it holds are left as they are."
    )
    area: Annotated[str | None, MAY_BE_NEGATIVE] = Field(
        None,
        description="west,south,east,north in degrees, a vector file, or a raster; default: all "
        "that the products see.",
    )
    dem: tuple[str, ...] = Field(
        min_length=1,
        description="Terrain heights: raster, folder of rasters, or JSON of a STAC item; may be "
        "given several times, the first wins.",
    )
    correction: Annotated[RtcOptions, FLAT] = Field(default_factory=RtcOptions)


def rtc(paths: tuple[Path, ...], *, config: Annotated[RtcConfig, FLAT]) -> None:
    """Make gamma nought of Sentinel-1 GRD products, corrected for terrain, and a catalogue.

    Parameters
    ----------
    paths
        SAFE folders, zips of them, folders that are searched for both at every depth, or JSON files
        of STAC items whose product lies on this machine.
    """
    products = find_products(paths)
    if config.correction.geoid is None:
        _log.warning(
            "the DEM's heights are taken to be above the ellipsoid; if they are above sea "
            "level, give --geoid: places lie off by up to twice the geoid's height without it"
        )
    area = _extent(config.area)
    terrain = Terrain(config.dem, config.correction)
    with exclusive(config.to), scratch_folder(config.to / ".unzipped.partial") as work:
        catalogue = FolderCatalogue(config.to)
        held = {item.id: item for item in _held(catalogue)}
        for path in products:
            with unzipped(path, work / "product") as folder:
                item = _item(folder, area, terrain, config, held)
                if item is not held.get(item.id):
                    catalogue.add([item])
                    held[item.id] = item


def _item(
    path: Path,
    area: Geometry | None,
    terrain: Terrain,
    config: RtcConfig,
    held: Mapping[str, pystac.Item],
) -> pystac.Item:
    """Item of the scene of a product, which is made unless the catalogue holds it."""
    product = open_product(path)
    grid = product_grid(product, config.correction.resolution, area)
    if product.name in held and _is(held[product.name], grid):
        _log.info(f"{config.to} holds {product.name} already")
        return held[product.name]
    scene = make_scene(product, grid, terrain, config.to / "scenes")
    _log.info(
        f"{product.name}: {', '.join(product.images)} on {grid.height} x {grid.width} pixels "
        f"of {grid.resolution.x:g} m in {grid.crs}"
    )
    return scene.to_item()


def _extent(area: str | None) -> Geometry | None:
    asked = None if area is None else read_area(area)
    return asked.extent if isinstance(asked, GeoBox) else asked


def _held(catalogue: FolderCatalogue) -> list[pystac.Item]:
    return catalogue.search() if (catalogue.folder / "items.parquet").is_file() else []


def _is(item: pystac.Item, grid: GeoBox) -> bool:
    fields = grid_fields(grid)
    same = all(item.properties.get(name) == fields[name] for name in ("proj:code", "proj:shape"))
    corner = [float(number) for number in item.properties.get("proj:transform", [])][:6]
    there = all(Path(asset.href).is_file() for asset in item.assets.values())
    return same and corner == fields["proj:transform"] and there
