"""GeoParquet files of items in other layouts than today's stac-geoparquet.

Older versions of stac-geoparquet and geopandas write the bounding box as a list, times as text or
with other units, and may leave out columns that follow from others.
"""

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import shapely
import stac_geoparquet.arrow
from pyproj.exceptions import CRSError

from sarcast.catalogue.location import MALFORMED, utc
from sarcast.catalogue.parse import name_of, validate
from sarcast.catalogue.unusable import NO_ITEM, LeftOut, UnusableError
from sarcast.errors import SarcastError
from sarcast.io.documents import parse_json

EDGES = ("xmin", "ymin", "xmax", "ymax")
"""Fields of the bounding box in a stac-geoparquet file."""
TIMES = ("datetime", "start_datetime", "end_datetime")
SAME_ID = "id that an earlier row has too"

_TOP_LEVEL = {"type", "stac_version", "stac_extensions", "id", "collection", "links", "assets"}
_INTEGERS = {"proj:epsg", "sat:relative_orbit", "sat:absolute_orbit"}
"""Properties that are whole numbers, which pandas makes fractional where any is missing."""


def is_stac_geoparquet(schema: pa.Schema) -> bool:
    """Whether a table has the layout of today's stac-geoparquet."""
    if not {"id", "geometry", "assets", "bbox", "stac_version"} <= set(schema.names):
        return False
    box, assets = schema.field("bbox").type, schema.field("assets").type
    times = [schema.field(name).type for name in TIMES if name in schema.names]
    return (
        pa.types.is_struct(box)
        and set(EDGES) <= {field.name for field in box}
        and pa.types.is_struct(assets)
        and pa.types.is_binary(schema.field("geometry").type)
        and bool(times)
        and all(pa.types.is_timestamp(time) or pa.types.is_null(time) for time in times)
    )


def read_foreign(path: Path, left_out: LeftOut) -> pa.Table:
    """Read a GeoParquet file of items into the layout of today's stac-geoparquet.

    Parameters
    ----------
    path
        The file.
    left_out
        Collects rows that are no items, and further rows of one id.

    Raises
    ------
    SarcastError
        If it lacks ids, assets, footprints or times, or none of its rows can be used.
    """
    table = pq.read_table(path)
    if not len(table):
        raise SarcastError(f"{path} has no rows, so there is no scene in it; index scenes again")
    shapes = _shapes(path, table)
    present = {*table.column_names, *_fields(table, "properties")}
    missing = [name for name in ("id", "assets") if name not in present]
    missing += ["geometry"] if shapes is None else []
    missing += [] if present & set(TIMES) else ["datetime"]
    if missing or shapes is None:
        raise SarcastError(
            f"{path} lacks {', '.join(missing)}, so its rows are no STAC items; write it with "
            f"stac-geoparquet, or index the scenes themselves with sarcast index"
        )
    rows = table.drop_columns([name for name in ("geometry",) if name in table.column_names])
    items = _items(rows.to_pylist(), shapes, left_out)
    if not items:
        left_out.report(any_used=False, strict=True)
    return stac_geoparquet.arrow.parse_stac_items_to_arrow(items).read_all()


def _items(
    rows: Sequence[dict[str, Any]], shapes: Sequence[Any], left_out: LeftOut
) -> list[dict[str, Any]]:
    """The rows as JSON of items; those that are none are left out."""
    items: dict[tuple[Any, str], dict[str, Any]] = {}
    for number, (row, shape) in enumerate(zip(rows, shapes, strict=True)):
        with left_out.unusable(name_of(row, number)):
            item = _parse_row(row, shape)
            key = (item.get("collection"), item["id"])
            if key in items:
                raise UnusableError(SAME_ID, f"the id {item['id']} is that of an earlier row")
            items[key] = item
    return list(items.values())


def _parse_row(row: dict[str, Any], shape: Any) -> dict[str, Any]:
    """JSON of the item of a row, which is valid."""
    try:
        item = _item(row, shape)
    except UnusableError:
        raise
    except MALFORMED as error:
        reason = " ".join(str(error).split())
        raise UnusableError(
            NO_ITEM, f"{name_of(row)} is not a valid STAC item: {reason}"
        ) from error
    validate(item)
    return item


def _shapes(path: Path, table: pa.Table) -> list[Any] | None:
    """Footprints in degrees; None if there are none."""
    if b"geo" in (table.schema.metadata or {}):
        shapes = _geometry(path, table)
        return list(shapes if shapes.crs is None else shapes.to_crs("EPSG:4326"))
    if "geometry" not in table.column_names:
        return None
    return [_shape(each) for each in table["geometry"].to_pylist()]


def _geometry(path: Path, table: pa.Table) -> gpd.GeoSeries:
    """The primary geometry; None in rows whose geometry is damaged."""
    try:
        try:
            return gpd.read_parquet(path).geometry
        except shapely.errors.ShapelyError:
            described = parse_json(table.schema.metadata[b"geo"])
            name = described["primary_column"]
            crs = described["columns"][name].get("crs", "EPSG:4326")
            stored = table[name].to_numpy(zero_copy_only=False)
            return gpd.GeoSeries(shapely.from_wkb(stored, on_invalid="ignore"), crs=crs)
    except CRSError as error:
        raise SarcastError(
            f"{path} states a CRS in its metadata that PROJ does not know; write it again with "
            f"stac-geoparquet, or index the scenes themselves with sarcast index"
        ) from error


def _shape(stored: Any) -> Any:
    """Footprint from WKB or WKT; None if it is neither."""
    read = shapely.from_wkb if isinstance(stored, bytes) else shapely.from_wkt
    return read(stored, on_invalid="ignore") if isinstance(stored, (bytes, str)) else None


def _fields(table: pa.Table, name: str) -> Iterator[str]:
    """Keys of a column of properties, stored as a struct or as JSON."""
    for value in table[name].to_pylist()[:1] if name in table.column_names else ():
        yield from _parsed(value) or ()


def _item(row: dict[str, Any], shape: Any) -> dict[str, Any]:
    """A STAC item as a dictionary, from a row and its footprint."""
    content = {key: _plain(key, _parsed(value)) for key, value in row.items()}
    bbox = content.pop("bbox", None)
    nested = content.pop("properties", None) or {}
    top = {key: content.pop(key) for key in _TOP_LEVEL & set(content)}
    properties = {key: value for key, value in {**nested, **content}.items() if value is not None}
    properties = {key: value for key, value in properties.items() if not key.startswith("__")}
    return {
        **top,
        "id": None if top.get("id") is None else str(top["id"]),
        "type": "Feature",
        "stac_version": top.get("stac_version") or pystac.get_stac_version(),
        "stac_extensions": top.get("stac_extensions") or [],
        "links": [],
        "geometry": None if shape is None else shapely.geometry.mapping(shape),
        "bbox": _corners(bbox) or (None if shape is None else list(shape.bounds)),
        "properties": properties,
    }


def _corners(bbox: Any) -> list[float] | None:
    """West, south, east and north of a box stored as a list, also with heights, or as a struct."""
    if isinstance(bbox, dict):
        bbox = [bbox.get(edge) for edge in EDGES]
    if not isinstance(bbox, list) or len(bbox) not in (4, 6) or None in bbox:
        return None
    half = len(bbox) // 2
    return [float(edge) for edge in (*bbox[:2], *bbox[half : half + 2])]


def _parsed(value: Any) -> Any:
    """A value; objects and lists that are stored as JSON are read."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return parse_json(value)
        except ValueError:
            return value
    return value


def _plain(key: str, value: Any) -> Any:
    """A value as in JSON: times as text in UTC; None and NaN are left out of objects."""
    if isinstance(value, dict):
        parts = {name: _plain(name, part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part is not None}
    if isinstance(value, list):
        return [_plain(key, part) for part in value]
    if key in TIMES and isinstance(value, str):
        value = _time(value)
    if isinstance(value, dt.datetime):
        return utc(value).isoformat().replace("+00:00", "Z")
    if isinstance(value, float) and math.isnan(value):
        return None
    return int(value) if key in _INTEGERS and value is not None else value


def _time(text: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise UnusableError(
            NO_ITEM, f"the time {text[:60]!r} is not in ISO 8601, such as 2020-03-01T05:11:22Z"
        ) from error
