"""Forest and open land from rasters of land-cover classes, or from polygons."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Bool
from sarcast.errors import SarcastError, UsageError
from sarcast.ingest.mosaic import Mosaic
from sarcast.ingest.profiles import Profile, find_profile
from sarcast.io.footprint import TURN_DEG, canonical_shapes
from sarcast.io.polygons import read_polygons

if TYPE_CHECKING:
    import geopandas as gpd

VECTORS = {".gpkg", ".geojson", ".json", ".shp", ".fgb", ".gml"}
"""Suffixes of files of polygons."""
ASSETS = ("map", "data")
"""Keys of STAC assets with classes, in order of preference."""

CoverClass = int | str
"""Class of a land cover: a number in rasters, a number or a word in polygons."""


class CoverTable(Profile):
    """Which classes of a land cover are forest, and which are open land."""

    folder: ClassVar[str] = "cover"

    forest: tuple[CoverClass, ...] = Field(description="Classes of forest: numbers or words.")
    open_land: tuple[CoverClass, ...] = Field((), description="Classes of open land.")
    columns: tuple[str, ...] = Field(
        (), description="Columns that may contain the class of a polygon."
    )


class CoverOptions(BaseModel):
    """How land-cover classes are interpreted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cover_table: str = Field(
        "worldcover",
        description="Table of land-cover classes: worldcover, corine, or a YAML file.",
    )
    forest_classes: tuple[str, ...] = Field(
        (), description="Classes of forest; default: those of the table."
    )
    open_land_classes: tuple[str, ...] = Field(
        (), description="Classes of open land; default: those of the table."
    )
    cover_column: str | None = Field(
        None,
        description="Column with the class of a polygon; default: that of the table. Without such "
        "a column every polygon is forest, and open land is unknown.",
    )

    def table(self) -> CoverTable:
        """The table, updated with the options that are set."""
        table = find_profile(CoverTable, self.cover_table)
        options = {
            "forest": self.forest_classes,
            "open_land": self.open_land_classes,
            "columns": () if self.cover_column is None else (self.cover_column,),
        }
        return table.model_copy(update={key: value for key, value in options.items() if value})


class LandCover:
    """Land cover, read one part of an area at a time.

    Parameters
    ----------
    sources
        Rasters of class numbers in any CRS, folders of rasters, JSON files of STAC items, where
        the first has priority where they overlap; or files of polygons (GeoPackage, GeoJSON,
        Shapefile).
    options
        Which classes are forest and open land.

    Raises
    ------
    SarcastError
        If a source cannot be read, or has no CRS.
    """

    def __init__(self, sources: Sequence[Path | str], options: CoverOptions) -> None:
        self._table = options.table()
        self._column = options.cover_column
        vectors = [str(source) for source in sources if _is_vector(source)]
        rasters = [str(source) for source in sources if str(source) not in vectors]
        self._names = ", ".join(map(str, sources))
        self._mosaic = Mosaic(rasters, ASSETS) if rasters else None
        self._classes_found: set[CoverClass] = set()
        self._forest_pixels = 0
        self._polygons = [
            self._by_class(read_polygons(Path(path), is_area=False), path) for path in vectors
        ]
        classified = bool(rasters) or any("open_land" in shapes for shapes in self._polygons)
        with_open_land = classified and self._table.open_land
        self._masks = ("forest", "open_land") if with_open_land else ("forest",)

    def read(self, grid: GeoBox) -> xr.Dataset:
        """Read forest and open land onto a grid.

        Rasters are read by nearest neighbour; a polygon covers the pixels whose centres it
        contains.

        Returns
        -------
        Dataset
            ``forest`` and, if the table has classes for it, ``open_land``; dims (y, x), bool.
        """
        masks = {name: np.zeros(grid.shape, dtype=bool) for name in self._masks}
        if self._mosaic is not None:
            classes = self._mosaic.read(grid, "nearest")
            self._classes_found |= {
                int(value) for value in np.unique(classes[np.isfinite(classes)])
            }
            for name in masks:
                masks[name] |= np.isin(classes, _numbers(getattr(self._table, name)))
        for shapes in self._polygons:
            for name in masks:
                masks[name] |= _rasterise(shapes[name], grid) if name in shapes else False
        self._forest_pixels += int(masks["forest"].sum())
        return xr.Dataset({name: wrap_xr(mask, grid) for name, mask in masks.items()})

    def summarise(self) -> None:
        """Check that there was forest in what was read so far.

        Raises
        ------
        SarcastError
            If there was none.
        """
        if self._forest_pixels == 0:
            found = ", ".join(sorted(map(str, self._classes_found))[:20])
            raise SarcastError(
                f"the land cover {self._names} has no forest in the area: expected class "
                f"{', '.join(map(str, self._table.forest))}, found {found or 'nothing'}; omit "
                f"--cover, or specify the classes with --cover-table or --forest-classes"
            )

    def _by_class(self, shapes: "gpd.GeoDataFrame", path: str) -> "dict[str, gpd.GeoSeries]":
        """Polygons of forest and of open land."""
        column = next((name for name in self._table.columns if name in shapes), None)
        if column is None and self._column is not None:
            raise UsageError(
                f"{path} has no column {self._column!r}; it has "
                f"{', '.join(name for name in shapes if name != 'geometry')}"
            )
        if column is None:
            return {"forest": shapes.geometry}
        classes = shapes[column].map(_class_text)
        self._classes_found |= set(classes)
        return {
            name: shapes.geometry[classes.isin(list(map(_class_text, getattr(self._table, name))))]
            for name in ("forest", "open_land")
        }


def read_cover(
    sources: Path | str | Sequence[Path | str],
    grid: GeoBox,
    options: CoverOptions = CoverOptions(),  # noqa: B008 - frozen
) -> xr.Dataset:
    """Read forest and open land onto a grid, and check that there is forest; as ``LandCover``."""
    cover = LandCover([sources] if isinstance(sources, Path | str) else sources, options)
    masks = cover.read(grid)
    cover.summarise()
    return masks


def _is_vector(source: Path | str) -> bool:
    path = Path(str(source))
    if path.suffix.lower() != ".json":
        return path.suffix.lower() in VECTORS
    return path.is_file() and "stac_version" not in path.read_text(errors="replace")


def _in_every_turn(shapes: "gpd.GeoSeries") -> "gpd.GeoSeries":
    """Shapes in degrees, also with the longitudes of the turns before and after."""
    import geopandas as gpd
    import pandas as pd

    split = gpd.GeoSeries(canonical_shapes(shapes.to_numpy()), crs=shapes.crs)
    return pd.concat([split.translate(turn * TURN_DEG) for turn in (-1, 0, 1)])


def _rasterise(shapes: "gpd.GeoSeries", grid: GeoBox) -> Bool:
    """Mask of the pixels whose centres lie in any of the polygons."""
    from rasterio.features import rasterize

    crs = grid.crs.to_wkt()
    nearby = shapes.to_crs(crs) if len(shapes) else shapes
    if grid.crs.geographic and len(shapes):
        nearby = _in_every_turn(nearby)
    left, bottom, right, top = grid.boundingbox.bbox
    nearby = nearby.cx[left:right, bottom:top] if len(nearby) else nearby
    if nearby.empty:
        return np.zeros(grid.shape, dtype=bool)
    mask = rasterize(nearby, out_shape=grid.shape, transform=grid.transform, dtype="uint8")
    inside: Bool = mask > 0
    return inside


def _numbers(classes: Collection[CoverClass]) -> list[int]:
    return [int(value) for value in classes if _class_text(value).lstrip("-").isdigit()]


def _class_text(value: object) -> str:
    """A class as text, whether a file stores it as text, as an integer, or as 311.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
