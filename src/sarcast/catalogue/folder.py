"""Embedded catalogue: a folder with one stac-geoparquet file."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from sarcast.catalogue.foreign import EDGES, TIMES, is_stac_geoparquet, read_foreign
from sarcast.catalogue.hrefs import Places
from sarcast.catalogue.location import MALFORMED, are_on_earth, sort_items, utc, with_location
from sarcast.catalogue.parse import parse_items
from sarcast.catalogue.protocol import TimeRange
from sarcast.catalogue.record import record_folders, recorded_folders
from sarcast.catalogue.unusable import OTHER_TYPES, LeftOut
from sarcast.errors import SarcastError, first_line
from sarcast.io.files import new_file
from sarcast.io.footprint import HALF_TURN_DEG, TURN_DEG, canonical, canonical_shapes

GROUP_ROWS = 1024
"""Rows in a row group, the smallest part of the file that is read."""

_WORLD = (-180.0, -90.0, 180.0, 90.0)
_ROUNDING_DEG = 1e-9
_LEVEL = 10  # a cell of the Hilbert curve is 360/1024 of a degree wide


class FolderCatalogue:
    """A folder with ``items.parquet``, in the stac-geoparquet layout.

    Assets below the folder are stored by relative path, so the folder can be moved with its scenes;
    others by absolute path, and their folders are recorded in ``folders.json``.

    Parameters
    ----------
    folder
        Folder of the catalogue; the first ``add`` creates it.
    collections
        Collections to search; empty for all.
    allow
        Folders and starts of URLs that assets may lie in, besides the folder and those recorded.
    """

    def __init__(
        self, folder: Path | str, collections: Sequence[str] = (), allow: Sequence[str] = ()
    ) -> None:
        self.folder = Path(folder)
        self.collections = tuple(collections)
        self._allow = tuple(allow)
        self._file = self.folder / "items.parquet"

    def check(self) -> None:
        """Check that an existing catalogue can be read."""
        if self._file.exists():
            with self._open_file() as file:
                if self._read_foreign(file) is None:
                    file.read(["id"])

    def add(self, items: Iterable[pystac.Item], left_out: LeftOut | None = None) -> int:
        """Add items, replacing those of the same collection and id; returns the new total.

        Parameters
        ----------
        items
            The items.
        left_out
            Collects items in which a field has another type than in the others; None to refuse
            them.

        Raises
        ------
        SarcastError
            If there are no items, if one has no time or no footprint, or if the type of a field
            contradicts the existing items.
        """
        located = sort_items(map(with_location, items))
        added = [self._portable(item) for item in located]
        existing = self._read_table() if self._file.exists() else None
        if not added and not existing:
            raise SarcastError(f"no items to write to {self.folder}; give at least one")
        table = existing if not added else self._merge(existing, added, left_out)
        assert table is not None
        ordered = table.take(_spatial_order(table))
        self.folder.mkdir(parents=True, exist_ok=True)
        record_folders(self.folder, _local_files(located))
        with new_file(self._file) as partial:
            stac_geoparquet.arrow.to_parquet(ordered.to_reader(GROUP_ROWS), partial)
        return len(ordered)

    def search(
        self,
        area: Geometry | None = None,
        time: TimeRange | None = None,
        left_out: LeftOut | None = None,
    ) -> list[pystac.Item]:
        """Items that touch ``area`` and ``time``, oldest first; see ``Catalogue.search``."""
        outline = None if area is None else canonical(area).geom
        collected = LeftOut() if left_out is None else left_out
        with self._open_file() as file:
            table = self._matching(file, outline, time, collected).combine_chunks()
            rows = [_without_null(row) for row in stac_geoparquet.arrow.stac_table_to_items(table)]
        home = str(self.folder.resolve())
        places = Places(home, recorded_folders(self.folder), self._allow)
        items = parse_items(rows, places, lambda _: f"{home}/", collected)
        if left_out is None:
            collected.report(bool(items), strict=False)
        return items

    def _matching(
        self,
        file: pq.ParquetFile,
        outline: Any | None,
        time: TimeRange | None,
        left_out: LeftOut,
    ) -> pa.Table:
        """Matching rows: bounds and times of all items are read, then the row groups that match."""
        foreign = self._read_foreign(file, left_out)
        names = [*(f"bbox.{edge}" for edge in EDGES), *TIMES, "collection"]
        index = file.read(columns=names) if foreign is None else foreign
        wanted = _in_collections(index, self.collections) & _in_time(index, time)
        if outline is not None:
            wanted &= _in_boxes(index, [part.bounds for part in shapely.get_parts(outline)])
        whole = None if foreign is None else foreign.filter(pa.array(wanted))
        matches = _read_rows(file, wanted) if whole is None else whole
        if outline is None:
            return matches
        shapes = shapely.from_wkb(matches["geometry"].to_numpy(), on_invalid="ignore")
        located = are_on_earth(shapes)
        touches = ~located  # left out later, and named
        shapely.prepare(outline)
        touches[located] = shapely.intersects(outline, canonical_shapes(shapes[located]))
        return matches.filter(pa.array(touches, pa.bool_()))

    @contextmanager
    def _open_file(self) -> Iterator[pq.ParquetFile]:
        """Open the file; errors of reading it become one line that names it."""
        if not self.folder.exists():
            raise SarcastError(
                f"{self.folder} does not exist; name the folder of a catalogue, or "
                f"make one with: sarcast index PATH... --to {self.folder}"
            )
        if not self._file.is_file():
            raise SarcastError(
                f"{self.folder} is not a catalogue: it lacks items.parquet; "
                f"make one with: sarcast index PATH... --to {self.folder}"
            )
        try:
            with pq.ParquetFile(self._file) as file:
                _check_columns(file.schema_arrow.names)
                yield file
        except (
            pa.ArrowException,
            OSError,
            shapely.errors.ShapelyError,
            AssertionError,
            *MALFORMED,
        ) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # an error of the disk or of permissions, not of the file's content
            raise SarcastError(
                f"{self._file} is damaged or no stac-geoparquet; remove it and index again "
                f"({first_line(error)})"
            ) from error

    def _read_table(self) -> pa.Table:
        with self._open_file() as file:
            foreign = self._read_foreign(file)
            return file.read() if foreign is None else foreign

    def _read_foreign(
        self, file: pq.ParquetFile, left_out: LeftOut | None = None
    ) -> pa.Table | None:
        """The whole table, if it has another layout than that of stac-geoparquet; else None.

        Rows that are no items are left out, or refused if ``left_out`` is None.
        """
        if is_stac_geoparquet(file.schema_arrow):
            return None
        collected = LeftOut() if left_out is None else left_out
        table = read_foreign(self._file, collected)
        if left_out is None:
            collected.report(any_used=True, strict=True)
        return table

    def _merge(
        self,
        existing: pa.Table | None,
        items: Sequence[dict[str, Any]],
        left_out: LeftOut | None,
    ) -> pa.Table:
        try:
            return _merged(existing, items)
        except (pa.ArrowException, ValueError) as error:
            fitting = [] if left_out is None else _fitting(existing, items, left_out)
            if fitting:
                return self._merge(existing, fitting, None)
            raise SarcastError(
                f"the items do not fit into one table in {self.folder}, a field has values of two "
                f"types ({first_line(error)}); put them into separate catalogues"
            ) from error

    def _portable(self, item: pystac.Item) -> dict[str, Any]:
        """An item as stored: without links, and with hrefs relative to the folder."""
        content: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
        content["links"] = []
        content["bbox"] = item.bbox
        content["properties"] = _without_empty(content["properties"])
        content["assets"] = {key: _without_empty(asset) for key, asset in content["assets"].items()}
        for asset in content["assets"].values():
            path = Path(asset["href"])
            if path.is_absolute() and path.is_relative_to(self.folder.resolve()):
                asset["href"] = "./" + path.relative_to(self.folder.resolve()).as_posix()
        return content


# --- the table ----------------------------------------------------------------------------------


def _merged(existing: pa.Table | None, items: Sequence[dict[str, Any]]) -> pa.Table:
    """The rows of a table, and those of items, which replace rows of the same id."""
    new = stac_geoparquet.arrow.parse_stac_items_to_arrow(items).read_all()
    if existing is None:
        return new
    replaced = set(_keys(new))
    is_kept = [key not in replaced for key in _keys(existing)]
    kept = existing.filter(pa.array(is_kept, pa.bool_()))
    return pa.concat_tables([kept, new], promote_options="permissive")


def _fitting(
    existing: pa.Table | None, items: Sequence[dict[str, Any]], left_out: LeftOut
) -> list[dict[str, Any]]:
    """The items whose fields have the types of the table, or else of most items."""
    schemas = [_schema(item) for item in items]
    counts = Counter(str(schema) for schema in schemas)
    by_frequency = sorted(range(len(items)), key=lambda index: -counts[str(schemas[index])])
    common, fitting = None if existing is None else existing.schema, []
    for index in by_frequency:
        try:
            known = [schema for schema in (common, schemas[index]) if schema is not None]
            if schemas[index] is None:
                raise ValueError("a list has values of two types")
            common = pa.unify_schemas(known, promote_options="permissive")
            fitting.append(items[index])
        except (pa.ArrowException, ValueError) as error:
            name = str(items[index]["id"])
            line = f"{name} has a field of another type than other items: {first_line(error)}"
            left_out.add(OTHER_TYPES, name, line)
    return fitting


def _schema(item: dict[str, Any]) -> pa.Schema | None:
    """Types of the fields of an item; None if it fits into no table."""
    try:
        return stac_geoparquet.arrow.parse_stac_items_to_arrow([item]).schema
    except (pa.ArrowException, ValueError):
        return None


def _without_empty(value: Any) -> Any:
    """A value without empty objects, which Parquet cannot store."""
    if isinstance(value, dict):
        parts = {key: _without_empty(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part != {}}
    if isinstance(value, list):
        return [part for part in map(_without_empty, value) if part != {}]
    return value


# --- columns of the table -------------------------------------------------------------------------


def _read_rows(file: pq.ParquetFile, wanted: Bool) -> pa.Table:
    """The wanted rows of a file; only the row groups that have any are read."""
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    group = np.repeat(np.arange(len(sizes)), sizes)
    groups = np.unique(group[wanted])
    rows = file.read_row_groups(groups.tolist())
    return rows.filter(pa.array(wanted[np.isin(group, groups)]))


def _in_boxes(index: pa.Table, boxes: Sequence[tuple[float, float, float, float]]) -> Bool:
    """Whether bounding boxes touch any of the boxes, or are missing; longitudes are of any turn.

    Across 180 degrees, west is greater than east.
    """
    columns = index["bbox"].combine_chunks()
    west, south, east, north = (np.asarray(columns.field(edge), float) for edge in EDGES)
    width = np.where(west <= east, east - west, (east - west) % TURN_DEG)
    # some makers take the least and greatest longitude of a footprint across 180 degrees
    width = np.where(width >= HALF_TURN_DEG, TURN_DEG, width)
    touches: Bool = np.isnan(west + south + east + north)
    for left, bottom, right, top in boxes:
        starts_inside = (west - left) % TURN_DEG <= right - left + _ROUNDING_DEG
        reaches = (left - west) % TURN_DEG <= width + _ROUNDING_DEG
        touches |= (starts_inside | reaches) & (south <= top) & (north >= bottom)
    return touches


def _in_time(index: pa.Table, time: TimeRange | None) -> Bool:
    """Whether times of items overlap a range, or are missing."""
    start, end = time or (None, None)
    first, last = _time_ranges(index)
    wanted = np.ones(len(index), dtype=bool)
    if start is not None:
        wanted &= last >= np.datetime64(utc(start).replace(tzinfo=None), "us")
    if end is not None:
        wanted &= first <= np.datetime64(utc(end).replace(tzinfo=None), "us")
    return wanted | np.isnat(first)


def _time_ranges(index: pa.Table) -> tuple[Times, Times]:
    """First and last times, UTC: the range if both ends are present, else ``datetime``."""
    time, start, end = (_times(index, name) for name in TIMES)
    has_range = ~np.isnat(start) & ~np.isnat(end)
    return np.where(has_range, start, time), np.where(has_range, end, time)


def _times(index: pa.Table, name: str) -> Times:
    if name not in index.column_names:
        return np.full(len(index), np.datetime64("NaT"), dtype="datetime64[us]")
    plain = index[name].cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    return np.asarray(plain.to_numpy())


def _in_collections(index: pa.Table, collections: Sequence[str]) -> Bool:
    if not collections:
        return np.ones(len(index), dtype=bool)
    return np.isin(np.array(_collections(index), dtype=object), [*collections])


def _collections(table: pa.Table) -> list[str | None]:
    if "collection" not in table.column_names:
        return [None] * len(table)
    names: list[str | None] = table["collection"].to_pylist()
    return names


def _check_columns(names: Sequence[str]) -> None:
    """Raise ValueError if two columns have one name."""
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise ValueError(f"{count} columns have the name {name}")


def _keys(table: pa.Table) -> list[tuple[str | None, str]]:
    return list(zip(_collections(table), table["id"].to_pylist(), strict=True))


def _spatial_order(table: pa.Table) -> npt.NDArray[np.intp]:
    """Order along the Hilbert curve, then by time, so that a search reads few row groups."""
    shapes = gpd.GeoSeries.from_wkb(table["geometry"].to_numpy())
    cells = shapes.hilbert_distance(total_bounds=_WORLD, level=_LEVEL)
    return np.lexsort((_time_ranges(table)[0], cells.to_numpy()))


# --- items --------------------------------------------------------------------------------------


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(part) for key, part in value.items() if part is not None}
    return [_without_null(part) for part in value] if isinstance(value, list) else value


def _local_files(items: Iterable[pystac.Item]) -> Iterator[Path]:
    """Files of the assets of items, links followed."""
    hrefs = (asset.href for item in items for asset in item.assets.values())
    return (Path(href).resolve() for href in hrefs if Path(href).is_absolute())
