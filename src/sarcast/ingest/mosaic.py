"""Mosaics of rasters, read as one: tiles of terrain heights or of land cover."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pystac
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from sarcast.arrays import Float
from sarcast.catalogue.parse import read_items
from sarcast.errors import SarcastError
from sarcast.io.folders import walk
from sarcast.io.footprint import TURN_DEG
from sarcast.io.masks import MissingMarks
from sarcast.io.rasters import grid_of, open_raster, scale_and_offset
from sarcast.io.remote import RemoteOptions, gdal_settings
from sarcast.io.warp import Convert, Trust, warp_onto
from sarcast.sensor.units import SOURCE_UNITS

SUFFIXES = {".tif", ".tiff", ".vrt", ".img", ".hgt", ".dt2", ".asc", ".nc"}
"""Suffixes of the rasters that are read from a folder."""
VOID = -32768.0
"""Missing height where a raster declares no nodata value, as in SRTM and DTED."""
_ALIGNED = 0.01
"""Largest misalignment of two grids that count as the same, pixels."""


@dataclass(frozen=True)
class Tile:
    """One raster: path or URL, grid, and metadata of its first band.

    ``nodata`` is the stored value, before ``scale`` and ``offset``. ``unit`` comes from the raster
    or from the STAC item that refers to it; only an item can state that it ``has_classes``.
    ``is_masked`` says that a mask or an alpha band marks missing pixels.
    """

    href: str
    grid: GeoBox
    nodata: float
    unit: str | None
    name: str
    scale: float = 1.0
    offset: float = 0.0
    has_classes: bool = False
    is_masked: bool = False


class Mosaic:
    """Rasters read as one; where they overlap the first has priority, and later ones fill its gaps.

    Tiles whose pixels lie on a common grid are warped together, so there is no seam between them.

    Parameters
    ----------
    sources
        Rasters, folders of rasters, and JSON files of STAC items; paths or URLs.
    keys
        Asset keys to read from an item, in order of preference; any other asset with the role
        data comes after them.

    Raises
    ------
    SarcastError
        If a source cannot be read, has no CRS, or is an item of a radar scene.
    """

    def __init__(self, sources: Sequence[Path | str], keys: Sequence[str]) -> None:
        self.names = ", ".join(map(str, sources))
        self.tiles = tuple(tile for source in sources for tile in _tiles(str(source), tuple(keys)))

    @cached_property
    def _groups(self) -> tuple[tuple[Tile, ...], ...]:
        """Tiles by common grid."""
        groups: list[list[Tile]] = []
        for tile in self.tiles:
            group = next((group for group in groups if _on_same_grid(group[0], tile)), None)
            if group is None:
                groups.append([tile])
            else:
                group.append(tile)
        return tuple(map(tuple, groups))

    def read(
        self,
        grid: GeoBox,
        resampling: str,
        *,
        convert: Convert | None = None,
        trust: Trust | None = None,
    ) -> Float:
        """Read the first band onto a grid.

        Parameters
        ----------
        grid
            Target grid.
        resampling
            A name of ``rasterio.enums.Resampling``.
        convert, trust
            As for ``warp_onto``.

        Returns
        -------
        ndarray
            Dims (y, x), float32; NaN where no raster has data.
        """
        values = np.full(grid.shape, np.nan, dtype=np.float32)
        for group in self._groups:
            missing = np.isnan(values)
            if not missing.any():
                break
            found = _read(group, grid, resampling, convert, trust)
            np.copyto(values, found, where=missing)
        return values


def _tiles(source: str, keys: tuple[str, ...]) -> Iterator[Tile]:
    """Tiles of a raster, a folder or a file of items."""
    path = Path(source)
    if path.is_dir():
        files = (file for _, found in walk(path) for file in found)
        rasters = sorted(file for file in files if file.suffix.lower() in SUFFIXES)
        if not rasters:
            raise SarcastError(f"{source} holds no raster; name a raster or a folder of rasters")
        yield from (_open_tile(str(raster)) for raster in rasters)
    elif path.suffix == ".json":
        yield from (_tile_of_item(item, keys, source) for item in read_items(path))
    else:
        yield _open_tile(source)


def _tile_of_item(item: pystac.Item, keys: tuple[str, ...], source: str) -> Tile:
    """Tile of an item, with metadata that only the item states."""
    radar = next((name for name in item.properties if name.startswith("sar:")), None)
    if radar is not None:
        raise SarcastError(
            f"{source} is the item of a radar scene, {item.id} (it has {radar}); expected an item "
            f"of terrain heights or land cover"
        )
    asset = _asset_of(item, keys)
    bands = asset.extra_fields.get("raster:bands") or asset.extra_fields.get("bands") or [{}]
    fields = {**asset.extra_fields, **bands[0]}
    tile = _open_tile(asset.get_absolute_href() or asset.href)
    classes = any(name.startswith("classification:") for name in fields)
    return replace(tile, unit=tile.unit or fields.get("unit"), has_classes=classes)


def _asset_of(item: pystac.Item, keys: tuple[str, ...]) -> pystac.Asset:
    rasters = {
        key: asset
        for key, asset in item.assets.items()
        if key in keys or "data" in (asset.roles or [])
    }
    key = next((key for key in (*keys, *rasters) if key in rasters), None)
    if key is None:
        raise SarcastError(
            f"{item.id} has no asset {' or '.join(keys)} and none with the role data; it has "
            f"{', '.join(item.assets)}: name the raster itself"
        )
    return rasters[key]


def _open_tile(href: str) -> Tile:
    with _gdal_env(href), open_raster(href) as source:
        nodata = VOID if source.nodata is None else source.nodata
        tags = {value for key, value in source.tags().items() if key.lower() == "unit"}
        backscatter = next(iter(tags & {*SOURCE_UNITS}), None)
        unit = source.units[0] or backscatter
        name = source.descriptions[0] or ""
        marks = MissingMarks.of(source, 1)
        tile = Tile(href, grid_of(href), nodata, unit, name, *scale_and_offset(source, 1))
        return replace(tile, is_masked=marks.has_mask or marks.mask_band is not None)


def _on_same_grid(first: Tile, second: Tile) -> bool:
    """Whether two tiles share CRS, spacing, unit and pixel grid."""
    grid, other = first.grid, second.grid
    if grid.crs != other.crs or first.unit != second.unit or not _is_north_up(grid):
        return False
    if any(tile.is_masked and tile.nodata != VOID for tile in (first, second)):
        return False  # a virtual raster uses either the mask or the value
    return (
        math.isclose(grid.resolution.x, other.resolution.x, rel_tol=1e-6)
        and math.isclose(grid.resolution.y, other.resolution.y, rel_tol=1e-6)
        and all(abs(offset - round(offset)) < _ALIGNED for offset in _offset(grid, other))
    )


def _is_north_up(grid: GeoBox) -> bool:
    return bool(grid.transform.b == 0.0 and grid.transform.d == 0.0)


def _offset(origin: GeoBox, grid: GeoBox) -> tuple[float, float]:
    """Column and row of a grid's corner, in pixels of another grid."""
    column, row = ~origin.transform * (grid.transform.c, grid.transform.f)
    return column, row


def _nearest_turn(origin: GeoBox, column: int, row: int) -> tuple[int, int]:
    """Column and row, in the turn around the globe in which they are nearest to the origin.

    Tiles on both sides of 180 degrees then lie side by side.
    """
    turn = TURN_DEG / abs(origin.resolution.x) if origin.crs.geographic else 0.0
    if turn < 1.0 or abs(turn - round(turn)) > _ALIGNED:
        return column, row
    return column - round(turn) * round(column / turn), row


def _read(
    tiles: Sequence[Tile],
    grid: GeoBox,
    resampling: str,
    convert: Convert | None,
    trust: Trust | None,
) -> Float:
    name = tiles[0].href if len(tiles) == 1 else _vrt(tiles)
    try:
        with _gdal_env(tiles[0].href), rasterio.open(name) as source:
            nodata = tiles[0].nodata
            return warp_onto(source, grid, resampling, nodata=nodata, convert=convert, trust=trust)
    except RasterioError as error:
        reason = " ".join(str(error).split())
        raise SarcastError(
            f"{tiles[0].href}{' or an adjacent tile' if tiles[1:] else ''} cannot be read: {reason}"
        ) from error


def _gdal_env(href: str) -> rasterio.Env:
    """GDAL settings: retries and timeouts for remote files."""
    return rasterio.Env(**gdal_settings(href, RemoteOptions()))


def _vrt(tiles: Sequence[Tile]) -> str:
    """GDAL virtual raster of tiles on one grid; the first tile lies on top."""
    first = tiles[0].grid
    offsets = [_nearest_turn(first, *map(round, _offset(first, tile.grid))) for tile in tiles]
    left, top = (min(part) for part in zip(*offsets, strict=True))
    width = max(x + t.grid.width for (x, _), t in zip(offsets, tiles, strict=True)) - left
    height = max(y + t.grid.height for (_, y), t in zip(offsets, tiles, strict=True)) - top
    transform = first.translate_pix(left, top).transform
    sources = [
        _vrt_source(tile, x - left, y - top) for (x, y), tile in zip(offsets, tiles, strict=True)
    ]
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">'
        f"<SRS>{escape(first.crs.to_wkt())}</SRS>"
        f"<GeoTransform>{', '.join(repr(v) for v in transform.to_gdal())}</GeoTransform>"
        f'<VRTRasterBand dataType="Float32" band="1"><NoDataValue>nan</NoDataValue>'
        f"{''.join(reversed(sources))}</VRTRasterBand></VRTDataset>"
    )


def _vrt_source(tile: Tile, column: int, row: int) -> str:
    size = f'xSize="{tile.grid.width}" ySize="{tile.grid.height}"'
    scaled = f"<ScaleOffset>{tile.offset!r}</ScaleOffset><ScaleRatio>{tile.scale!r}</ScaleRatio>"
    nodata = f"<NODATA>{tile.nodata!r}</NODATA>"
    if tile.is_masked:
        nodata = "<UseMaskBand>true</UseMaskBand>"
    return (
        f'<ComplexSource><SourceFilename relativeToVRT="0">{escape(tile.href)}</SourceFilename>'
        f'<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" {size}/>'
        f'<DstRect xOff="{column}" yOff="{row}" {size}/>{scaled}{nodata}</ComplexSource>'
    )
