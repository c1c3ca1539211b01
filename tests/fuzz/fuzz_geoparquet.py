"""Mutated GeoParquet catalogues, our own and those of other writers: searched and added to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from sarcast.catalogue import FolderCatalogue
from sarcast.ingest.scenes.add import add_scenes
from sarcast.ingest.scenes.index import IndexOptions
from sarcast.ingest.scenes.profile import scene_profiles
from sarcast.ingest.scenes.stac import normalise_items
from sarcast.io.footprint import footprint
from sarcast.io.grid import make_grid

from .harness import Call, Kind
from .mutate import NASTY_TEXT, Rng, mutate_bytes, mutate_tree
from .seeds import GRID, TIMES, link_all, write_scene


class GeoParquet(Kind):
    """A catalogue of three scenes; its bytes, rows, columns or metadata are mutated."""

    name = "geoparquet"

    def prepare(self) -> None:
        for number, time in enumerate(TIMES[:3]):
            write_scene(self.seeds / "ours" / "scenes", time, number)
        add_scenes((self.seeds / "ours" / "scenes",), str(self.seeds / "ours"), IndexOptions())
        for folder in ("foreign", "json"):
            (self.seeds / folder).mkdir()
        table = pq.read_table(self.seeds / "ours" / "items.parquet")
        rows = table.to_pylist()
        boxes = [[row["bbox"][edge] for edge in ("xmin", "ymin", "xmax", "ymax")] for row in rows]
        frame = geopandas.GeoDataFrame(
            {
                "id": [row["id"] for row in rows],
                "assets": [row["assets"] for row in rows],
                "bbox": boxes,
                "datetime": [row["datetime"].isoformat() for row in rows],
                "sat:relative_orbit": [float(row["sat:relative_orbit"]) for row in rows],
                "proj:code": [row["proj:code"] for row in rows],
            },
            geometry=[shapely.from_wkb(row["geometry"]) for row in rows],
            crs="EPSG:4326",
        )
        frame.to_parquet(self.seeds / "foreign" / "items.parquet")
        plain = frame.assign(assets=[json.dumps(_plain(row["assets"])) for row in rows])
        plain = plain.drop(columns="geometry").assign(geometry=frame.geometry.to_wkt())
        plain.to_parquet(self.seeds / "json" / "items.parquet")

    def case(self, folder: Path, rng: Rng) -> Call:
        source = self.seeds / ("ours", "ours", "foreign", "json")[rng.integers(4)]
        data = (source / "items.parquet").read_bytes()
        (folder / "out" / "scenes").mkdir(parents=True)
        link_all(self.seeds / "ours" / "scenes", folder / "out" / "scenes")
        target = folder / "out" / "items.parquet"
        if rng.integers(3) == 0:
            target.write_bytes(mutate_bytes(data, rng))
        else:
            _write_mutated(pq.read_table(source / "items.parquet"), target, rng)
        if rng.integers(8) == 0:
            return lambda: add_scenes((Path("out/scenes"),), "out", IndexOptions())
        return lambda: _search(rng)


def _search(rng: Rng) -> None:
    area = footprint(GRID) if rng.integers(2) else None
    items = FolderCatalogue("out").search(area)
    if items:
        make_grid(None, normalise_items(items, scene_profiles(())))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if part is not None}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _write_mutated(table: pa.Table, path: Path, rng: Rng) -> None:
    """Change a table in one way or two; what Arrow cannot hold is written without that change."""
    for _ in range(int(rng.integers(1, 3))):
        change = _CHANGES[rng.integers(len(_CHANGES))]
        try:
            changed = change(table, rng)
            pq.write_table(changed, path)
            table = changed
        except (pa.ArrowException, ValueError, TypeError, OverflowError, LookupError):
            continue
    pq.write_table(table, path)


def _rows(table: pa.Table, rng: Rng) -> pa.Table:
    rows = table.to_pylist()
    index = int(rng.integers(len(rows)))
    rows[index] = mutate_tree(rows[index], rng, most=2)
    return pa.Table.from_pylist(rows).replace_schema_metadata(table.schema.metadata)


def _cell(table: pa.Table, rng: Rng) -> pa.Table:
    """Another value of the column's own type."""
    index, row = int(rng.integers(table.num_columns)), int(rng.integers(len(table)))
    field, values = table.schema.field(index), table.column(index).to_pylist()
    if pa.types.is_binary(field.type):
        values[row] = mutate_bytes(values[row], rng)
    elif pa.types.is_timestamp(field.type):
        values[row] = (None, -(2**62), 2**62, 0)[rng.integers(4)]
        return _set(table, index, pa.array(values, pa.timestamp("us", "UTC")))
    elif rng.integers(2):
        values[row] = mutate_tree({"": values[row]}, rng, most=1).get("")
    else:
        values[row] = None
    return _set(table, index, pa.array(values, field.type))


def _column(table: pa.Table, rng: Rng) -> pa.Table:
    """A column of another type, of another name, doubled, or gone."""
    index, kind = int(rng.integers(table.num_columns)), int(rng.integers(6))
    name = table.column_names[index]
    if kind == 0:
        return table.drop_columns([name])
    if kind == 1:
        names = list(table.column_names)
        names[index] = NASTY_TEXT[rng.integers(len(NASTY_TEXT))]
        return table.rename_columns(names)
    if kind == 2:
        return table.append_column(name, table.column(index))
    types = [pa.null(), pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.large_binary(),
             pa.date32(), pa.timestamp("ns"), pa.list_(pa.int8()), pa.large_string()]  # fmt: skip
    target = types[rng.integers(len(types))]
    if kind == 3:
        return _set(table, index, table.column(index).cast(target))
    return _set(table, index, pa.nulls(len(table), target))


def _size(table: pa.Table, rng: Rng) -> pa.Table:
    return [table.slice(0, 0), pa.concat_tables([table, table]), table.slice(0, 1)][rng.integers(3)]


def _metadata(table: pa.Table, rng: Rng) -> pa.Table:
    metadata = dict(table.schema.metadata or {})
    keys = sorted(metadata) or [b"geo"]
    key = keys[rng.integers(len(keys))]
    try:
        content = mutate_tree(json.loads(metadata.get(key, b"{}")), rng)
        metadata[key] = json.dumps(content).encode()
    except ValueError:
        metadata[key] = mutate_bytes(metadata[key], rng)
    if rng.integers(4) == 0:
        metadata.pop(key)
    return table.replace_schema_metadata(metadata)


def _set(table: pa.Table, index: int, column: Any) -> pa.Table:
    return table.set_column(index, table.column_names[index], column)


def _geometry(table: pa.Table, rng: Rng) -> pa.Table:
    """A footprint that is empty, of NaN, giant, or of another type."""
    shapes = [
        shapely.Point(), shapely.Polygon(), shapely.Point(0, 0), shapely.box(-1e9, -1e9, 1e9, 1e9),
        shapely.LineString([(0, 0), (np.nan, 1)]), shapely.box(179, 0, 181, 1),
        shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), shapely.GeometryCollection(),
        shapely.box(-180, -90, 180, 90), shapely.Point(np.inf, 0), shapely.box(26, 62, 26, 62),
    ]  # fmt: skip
    values = table.column("geometry").to_pylist()
    shape = shapes[rng.integers(len(shapes))]
    stored = shape.wkb if isinstance(values[0], bytes) else shape.wkt
    values[int(rng.integers(len(values)))] = stored
    index = table.column_names.index("geometry")
    return _set(table, index, pa.array(values, table.schema.field("geometry").type))


_CHANGES: list[Callable[[pa.Table, Rng], pa.Table]] = [
    _rows, _rows, _cell, _cell, _column, _size, _metadata, _geometry,
]  # fmt: skip
