"""The embedded catalogue: a folder with one stac-geoparquet file."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import shapely
import stac_geoparquet.arrow
from odc.geo.geom import Geometry

from sarcast.arrays import Bool, Times
from sarcast.catalogue.protocol import MALFORMED, TimeRange, in_order, placed, utc
from sarcast.errors import SarcastError
from sarcast.io.files import new_file

GROUP_ROWS = 1024
"""Rows of a row group, the least that is read of a file: items of one place lie together."""

_EDGES = ("xmin", "ymin", "xmax", "ymax")
_TIMES = ("datetime", "start_datetime", "end_datetime")
_WORLD = (-180.0, -90.0, 180.0, 90.0)
_LEVEL = 10  # a cell of the Hilbert curve is 360/1024 of a degree wide


class FolderCatalogue:
    """A folder with ``items.parquet``, in the stac-geoparquet layout.

    Assets below the folder are kept by relative path, so that the folder can be moved with its
    scenes; others by absolute path.

    Parameters
    ----------
    folder
        Where the catalogue lies, or is to be made by the first ``add``.
    collections
        Collections that are searched; none for all.
    """

    def __init__(self, folder: Path | str, collections: Sequence[str] = ()) -> None:
        self.folder = Path(folder)
        self.collections = tuple(collections)
        self._file = self.folder / "items.parquet"

    def check(self) -> None:
        """See that a catalogue that is there can be read."""
        if self._file.exists():
            self._held(["id"])

    def add(self, items: Iterable[pystac.Item]) -> int:
        """Add items, replacing those of the same collection and id; gives the number now held.

        Raises
        ------
        SarcastError
            If there is none, one tells neither time nor place, or their fields do not fit those of
            the items held.
        """
        found = [self._portable(item) for item in in_order(map(placed, items))]
        held = self._held() if self._file.exists() else None
        if not found and not held:
            raise SarcastError(f"no items to write to {self.folder}; give at least one")
        table = held if not found else self._joined(held, found)
        assert table is not None
        ordered = table.take(_by_place(table))
        with new_file(self._file) as partial:
            stac_geoparquet.arrow.to_parquet(ordered.to_reader(GROUP_ROWS), partial)
        return len(ordered)

    def search(
        self, area: Geometry | None = None, time: TimeRange | None = None
    ) -> list[pystac.Item]:
        """Items that touch ``area`` and ``time``, oldest first; see ``Catalogue.search``."""
        outline = None if area is None else area.to_crs("EPSG:4326").geom
        with self._opened() as file:
            table = self._matching(file, outline, time).combine_chunks()
            items = [_item(row) for row in stac_geoparquet.arrow.stac_table_to_items(table)]
        return in_order(_absolute(item, self.folder) for item in items)

    def _matching(
        self, file: pq.ParquetFile, outline: Any | None, time: TimeRange | None
    ) -> pa.Table:
        """Rows that match: few columns of all are looked at, then the row groups that hold one."""
        names = [*(f"bbox.{edge}" for edge in _EDGES), *_TIMES, "collection"]
        index = file.read(columns=names)
        wanted = _among(index, self.collections) & _at(index, time)
        if outline is not None:
            wanted &= _near(index, outline.bounds)
        sizes = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
        group = np.repeat(np.arange(len(sizes)), sizes)
        groups = np.unique(group[wanted])
        rows = file.read_row_groups(groups.tolist())
        found = rows.filter(pa.array(wanted[np.isin(group, groups)]))
        if outline is None:
            return found
        shapely.prepare(outline)
        shapes = shapely.from_wkb(found["geometry"].to_numpy())
        return found.filter(pa.array(shapely.intersects(outline, shapes), pa.bool_()))

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        """Open the file, and name it where it turns out to be damaged."""
        if not self._file.is_file():
            raise SarcastError(
                f"{self.folder} is no catalogue: it lacks items.parquet; "
                f"make one with: sarcast index PATH... --to {self.folder}"
            )
        try:
            with pq.ParquetFile(self._file) as file:
                yield file
        except (pa.ArrowException, OSError, shapely.errors.ShapelyError, *MALFORMED) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk or the rights, not what the file holds
            raise SarcastError(
                f"{self._file} is damaged or no stac-geoparquet; remove it and index again "
                f"({_first_line(error)})"
            ) from error

    def _held(self, columns: Sequence[str] | None = None) -> pa.Table:
        with self._opened() as file:
            return file.read(columns)

    def _joined(self, held: pa.Table | None, items: Sequence[dict[str, Any]]) -> pa.Table:
        try:
            new = stac_geoparquet.arrow.parse_stac_items_to_arrow(items).read_all()
            if held is None:
                return new
            replaced = set(_keys(new))
            kept = held.filter(pa.array([key not in replaced for key in _keys(held)], pa.bool_()))
            return pa.concat_tables([kept, new], promote_options="permissive")
        except (pa.ArrowException, ValueError) as error:
            raise SarcastError(
                f"the items do not fit into one table in {self.folder}, a field has values of two "
                f"kinds ({_first_line(error)}); keep them in catalogues of their own"
            ) from error

    def _portable(self, item: pystac.Item) -> dict[str, Any]:
        """An item as the file keeps it: without links, and able to move with the folder."""
        kept: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
        kept["links"] = []
        kept["bbox"] = item.bbox or list(shapely.geometry.shape(item.geometry).bounds)
        for asset in kept["assets"].values():
            path = Path(asset["href"])
            if path.is_absolute() and path.is_relative_to(self.folder.resolve()):
                asset["href"] = "./" + path.relative_to(self.folder.resolve()).as_posix()
        return kept


# --- columns of all items -----------------------------------------------------------------------


def _near(index: pa.Table, box: tuple[float, float, float, float]) -> Bool:
    """Whether bounding boxes touch a box; west lies east of east across the antimeridian."""
    boxes = index["bbox"].combine_chunks()
    west, south, east, north = (np.asarray(boxes.field(edge)) for edge in _EDGES)
    after, before = west <= box[2], east >= box[0]
    across = np.where(west > east, after | before, after & before)
    near: Bool = across & (south <= box[3]) & (north >= box[1])
    return near


def _at(index: pa.Table, time: TimeRange | None) -> Bool:
    """Whether times touch a range."""
    start, end = time or (None, None)
    first, last = _spans(index)
    wanted = np.ones(len(index), dtype=bool)
    if start is not None:
        wanted &= last >= np.datetime64(utc(start).replace(tzinfo=None), "us")
    if end is not None:
        wanted &= first <= np.datetime64(utc(end).replace(tzinfo=None), "us")
    return wanted


def _spans(index: pa.Table) -> tuple[Times, Times]:
    """First and last moments, UTC: a range where both ends are told, ``datetime`` elsewhere."""
    at, start, end = (_moments(index, name) for name in _TIMES)
    ranged = ~np.isnat(start) & ~np.isnat(end)
    return np.where(ranged, start, at), np.where(ranged, end, at)


def _moments(index: pa.Table, name: str) -> Times:
    if name not in index.column_names:
        return np.full(len(index), np.datetime64("NaT"), dtype="datetime64[us]")
    plain = index[name].cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    return np.asarray(plain.to_numpy())


def _among(index: pa.Table, collections: Sequence[str]) -> Bool:
    if not collections:
        return np.ones(len(index), dtype=bool)
    return np.isin(np.array(_collections(index), dtype=object), [*collections])


def _collections(table: pa.Table) -> list[str | None]:
    if "collection" not in table.column_names:
        return [None] * len(table)
    names: list[str | None] = table["collection"].to_pylist()
    return names


def _keys(table: pa.Table) -> list[tuple[str | None, str]]:
    return list(zip(_collections(table), table["id"].to_pylist(), strict=True))


def _by_place(table: pa.Table) -> npt.NDArray[np.intp]:
    """Order in which items of one place lie together, oldest first."""
    shapes = gpd.GeoSeries.from_wkb(table["geometry"].to_numpy())
    cells = shapes.hilbert_distance(total_bounds=_WORLD, level=_LEVEL)
    return np.lexsort((_spans(table)[0], cells.to_numpy()))


# --- items --------------------------------------------------------------------------------------


def _item(row: dict[str, Any]) -> pystac.Item:
    """Make an item of a row, without what it did not tell: a table gives every row all fields."""
    kept = _without_null(row)
    kept["properties"].setdefault("datetime", None)
    kept.setdefault("assets", {})
    older = kept["stac_version"] != pystac.get_stac_version()
    return pystac.Item.from_dict(kept, migrate=older, preserve_dict=False)


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(one) for key, one in value.items() if one is not None}
    return [_without_null(one) for one in value] if isinstance(value, list) else value


def _absolute(item: pystac.Item, folder: Path) -> pystac.Item:
    for asset in item.assets.values():
        if not urlsplit(asset.href).scheme and not Path(asset.href).is_absolute():
            asset.href = os.path.normpath(folder.resolve() / asset.href)
    return item


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
