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

if TYPE_CHECKING:
    import geopandas as gpd

VECTORS = {".gpkg", ".geojson", ".json", ".shp", ".fgb", ".gml"}
"""Files that hold polygons."""
ASSETS = ("map", "data")
"""Assets of a STAC item that may hold classes, the best liked first."""

Class = int | str


class CoverTable(Profile):
    """Which classes of a land cover are forest, and which are open land."""

    folder: ClassVar[str] = "cover"

    forest: tuple[Class, ...] = Field(description="Classes of forest: numbers or words.")
    open_land: tuple[Class, ...] = Field((), description="Classes of open land.")
    columns: tuple[str, ...] = Field(
        (), description="Columns in which polygons may hold their class."
    )


class CoverOptions(BaseModel):
    """How land cover is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cover_table: str = Field(
        "worldcover",
        description="Table of classes of the land cover: worldcover, corine, or a YAML file.",
    )
    forest_classes: tuple[str, ...] = Field(
        (), description="Classes of forest; default: those of the table."
    )
    open_land_classes: tuple[str, ...] = Field(
        (), description="Classes of open land; default: those of the table."
    )
    cover_column: str | None = Field(
        None,
        description="Column in which polygons hold their class; default: that of the table, and "
        "without one every polygon is forest, and open land is unknown.",
    )

    def table(self) -> CoverTable:
        """The table with what was given in its place."""
        read = find_profile(CoverTable, self.cover_table)
        given = {
            "forest": self.forest_classes,
            "open_land": self.open_land_classes,
            "columns": () if self.cover_column is None else (self.cover_column,),
        }
        return read.model_copy(update={key: words for key, words in given.items() if words})


class LandCover:
    """Land cover, which can be read a part of an area at a time.

    Parameters
    ----------
    sources
        Rasters of class numbers in any CRS, folders of them, JSON files of STAC items; or files of
        polygons (GeoPackage, GeoJSON, Shapefile). Where rasters overlap the first named wins.
    options
        Which classes count.

    Raises
    ------
    SarcastError
        If a source cannot be read, or has no CRS.
    """

    def __init__(self, sources: Sequence[Path | str], options: CoverOptions) -> None:
        self._table = options.table()
        self._column = options.cover_column
        polygons = [str(source) for source in sources if _is_vector(source)]
        rasters = [str(source) for source in sources if str(source) not in polygons]
        self._names = ", ".join(map(str, sources))
        self._mosaic = Mosaic(rasters, ASSETS) if rasters else None
        self._found: set[Class] = set()
        self._forest = 0
        self._polygons = [self._classed(_read_polygons(path), path) for path in polygons]
        classed = bool(rasters) or any("open_land" in shapes for shapes in self._polygons)
        self._told = ("forest", "open_land") if classed and self._table.open_land else ("forest",)

    def read(self, grid: GeoBox) -> xr.Dataset:
        """Read forest and open land onto a grid: of rasters by nearest neighbour.

        Returns
        -------
        Dataset
            ``forest`` and, where a class tells it, ``open_land``, dims (y, x), bool; a pixel is of
            a polygon that holds its centre.
        """
        masks = {name: np.zeros(grid.shape, dtype=bool) for name in self._told}
        if self._mosaic is not None:
            classes = self._mosaic.read(grid, "nearest")
            self._found |= {int(value) for value in np.unique(classes[np.isfinite(classes)])}
            for name in masks:
                masks[name] |= np.isin(classes, _numbers(getattr(self._table, name)))
        for shapes in self._polygons:
            for name in masks:
                masks[name] |= _burnt(shapes[name], grid) if name in shapes else False
        self._forest += int(masks["forest"].sum())
        return xr.Dataset({name: wrap_xr(mask, grid) for name, mask in masks.items()})

    def summarise(self) -> None:
        """See that there was forest in what was read.

        Raises
        ------
        SarcastError
            If there was none.
        """
        if self._forest == 0:
            found = ", ".join(map(str, sorted(map(str, self._found))[:20]))
            raise SarcastError(
                f"the land cover {self._names} has no forest in the area: expected class "
                f"{', '.join(map(str, self._table.forest))}, found {found or 'nothing'}; leave "
                f"--cover out, or name the classes by --cover-table or --forest-classes"
            )

    def _classed(self, shapes: "gpd.GeoDataFrame", path: str) -> "dict[str, gpd.GeoSeries]":
        """Polygons of forest and of open land."""
        column = next((name for name in self._table.columns if name in shapes), None)
        if column is None and self._column is not None:
            raise UsageError(
                f"{path} has no column {self._column!r}; it has "
                f"{', '.join(name for name in shapes if name != 'geometry')}"
            )
        if column is None:
            return {"forest": shapes.geometry}
        words = shapes[column].map(_word)
        self._found |= set(words)
        return {
            name: shapes.geometry[words.isin([_word(one) for one in getattr(self._table, name)])]
            for name in ("forest", "open_land")
        }


def read_cover(
    sources: Path | str | Sequence[Path | str],
    grid: GeoBox,
    options: CoverOptions = CoverOptions(),  # noqa: B008 - frozen
) -> xr.Dataset:
    """Read forest and open land onto a grid, and see that there is forest; as ``LandCover``."""
    cover = LandCover([sources] if isinstance(sources, Path | str) else sources, options)
    masks = cover.read(grid)
    cover.summarise()
    return masks


def _is_vector(source: Path | str) -> bool:
    path = Path(str(source))
    if path.suffix.lower() != ".json":
        return path.suffix.lower() in VECTORS
    return path.is_file() and "stac_version" not in path.read_text(errors="replace")


def _read_polygons(path: str) -> "gpd.GeoDataFrame":
    import geopandas as gpd
    import pyogrio

    try:
        shapes = gpd.read_file(path)
    except (pyogrio.errors.DataSourceError, ValueError) as error:
        raise SarcastError(f"{path} cannot be read as polygons: {error}") from error
    if shapes.crs is None:
        raise SarcastError(f"{path} has no CRS, so its place on the ground is unknown")
    return shapes


def _burnt(shapes: "gpd.GeoSeries", grid: GeoBox) -> Bool:
    from rasterio.features import rasterize

    crs = grid.crs.to_wkt()
    near = shapes.to_crs(crs) if len(shapes) else shapes
    left, bottom, right, top = grid.boundingbox.bbox
    near = near.cx[left:right, bottom:top] if len(near) else near
    if near.empty:
        return np.zeros(grid.shape, dtype=bool)
    burnt: Bool = rasterize(near, out_shape=grid.shape, transform=grid.transform, dtype="uint8") > 0
    return burnt


def _numbers(classes: Collection[Class]) -> list[int]:
    return [int(one) for one in classes if _word(one).lstrip("-").isdigit()]


def _word(one: object) -> str:
    """A class as a word, whether a file holds it as text, as an integer, or as 311.0."""
    if isinstance(one, float) and one.is_integer():
        return str(int(one))
    return str(one).strip()
