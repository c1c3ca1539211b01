"""``sarcast rtc``: terrain-corrected gamma nought of GRD products, in a catalogue."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import pystac
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from pydantic import Field

from sarcast.catalogue import FolderCatalogue
from sarcast.catalogue.scene import grid_fields
from sarcast.catalogue.unusable import LeftOut
from sarcast.commands.config import FLAT, MAY_BE_NEGATIVE, Config
from sarcast.ingest.grd import (
    GrdProduct,
    RtcOptions,
    Terrain,
    find_products,
    make_scene,
    open_product,
    product_grid,
    unzipped,
)
from sarcast.io.files import exclusive, scratch_folder
from sarcast.io.footprint import footprint
from sarcast.io.grid import read_area

_log = logging.getLogger(__name__)


class RtcConfig(Config):
    """Options of ``sarcast rtc``."""

    to: Path = Field(
        description="Folder of the rasters and their catalogue; new scenes are added, existing "
        "ones are left as they are."
    )
    area: Annotated[str | None, MAY_BE_NEGATIVE] = Field(
        None,
        description="west,south,east,north in degrees (west > east across 180), a vector file, "
        "or a raster; default: the full extent of the products.",
    )
    dem: tuple[str, ...] = Field(
        min_length=1,
        description="Terrain heights: raster, folder of rasters, or JSON of a STAC item; may be "
        "given several times, the first with data takes precedence.",
    )
    strict: bool = Field(
        False,
        description="Fail if any product cannot be used, such as one of HH and HV; default: "
        "leave it out with a warning.",
    )
    correction: Annotated[RtcOptions, FLAT] = Field(default_factory=RtcOptions)


def rtc(paths: tuple[Path, ...], *, config: Annotated[RtcConfig, FLAT]) -> None:
    """Process Sentinel-1 GRD products to terrain-corrected gamma nought, with a catalogue.

    Parameters
    ----------
    paths
        SAFE folders, their zip files, folders that are searched recursively for both, or JSON
        files of STAC items whose product is on this machine.
    """
    products = find_products(paths)
    if config.correction.geoid is None:
        _log.warning(
            "the DEM's heights are taken to be above the ellipsoid; if they are above sea level, "
            "give --geoid: without it, pixels are displaced by up to twice the geoid's height"
        )
    area = _extent(config.area)
    terrain = Terrain(config.dem, config.correction)
    with exclusive(config.to), scratch_folder(config.to / ".unzipped.partial") as work:
        catalogue = FolderCatalogue(config.to)
        existing = {item.id: item for item in _items(catalogue)}
        left_out = LeftOut()
        used = 0
        for path in products:
            with _opened(path, work / "product", left_out) as product:
                if product is None:
                    continue
                used += 1
                item = _item(product, area, terrain, config, existing)
                if item is not existing.get(item.id):
                    catalogue.add([item])
                    existing[item.id] = item
        left_out.report(used > 0, strict=config.strict)


@contextmanager
def _opened(path: Path, work: Path, left_out: LeftOut) -> Iterator[GrdProduct | None]:
    """Open a product, or a zip of one unpacked into ``work``; None if it cannot be used."""
    product = None
    with ExitStack() as unpacked:
        with left_out.unusable(path.name):
            product = open_product(unpacked.enter_context(unzipped(path, work)))
        yield product


def _item(
    product: GrdProduct,
    area: Geometry | None,
    terrain: Terrain,
    config: RtcConfig,
    existing: Mapping[str, pystac.Item],
) -> pystac.Item:
    """Item of the scene of a product, which is processed unless the catalogue has it."""
    grid = product_grid(product, config.correction.resolution, area)
    if product.name in existing and _is_complete(existing[product.name], grid):
        _log.info(f"{config.to} already has {product.name}")
        return existing[product.name]
    scene = make_scene(product, grid, terrain, config.to / "scenes")
    _log.info(
        f"{product.name}: {', '.join(product.images)} on {grid.height} x {grid.width} pixels "
        f"of {grid.resolution.x:g} m in {grid.crs}"
    )
    return scene.to_item()


def _extent(area: str | None) -> Geometry | None:
    outline = None if area is None else read_area(area)
    return footprint(outline) if isinstance(outline, GeoBox) else outline


def _items(catalogue: FolderCatalogue) -> list[pystac.Item]:
    return catalogue.search() if (catalogue.folder / "items.parquet").is_file() else []


def _is_complete(item: pystac.Item, grid: GeoBox) -> bool:
    """Whether an item has this grid and all of its files exist."""
    fields = grid_fields(grid)
    same = all(item.properties.get(name) == fields[name] for name in ("proj:code", "proj:shape"))
    corner = [float(number) for number in item.properties.get("proj:transform", [])][:6]
    exist = all(Path(asset.href).is_file() for asset in item.assets.values())
    return same and corner == fields["proj:transform"] and exist
