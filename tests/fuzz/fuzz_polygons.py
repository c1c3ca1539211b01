"""Mutated polygons: GeoJSON and GeoPackage, given to ``--area``, ``--within``, ``--truth`` and
``--cover``."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
import xarray as xr
from odc.geo.xr import xr_coords

from sarcast.detection.judged import JudgedOptions, crop, find_judged
from sarcast.evaluation.detection.truth import read_truth
from sarcast.ingest.cover import read_cover
from sarcast.io.grid import make_grid, read_area

from .harness import Call, Kind
from .mutate import Rng, as_json, mutate_bytes, mutate_tree
from .seeds import GRID


class Polygons(Kind):
    """A file of two polygons with dates."""

    name = "polygons"

    def prepare(self) -> None:
        left, top = 500_000.0, 6_900_000.0
        boxes = [shapely.box(left + 20 * n, top - 100, left + 20 * n + 60, top) for n in (0, 3)]
        columns = {"date": ["2020-03-01", "2020-03-07"], "kind": ["fire", "flood"]}
        frame = geopandas.GeoDataFrame(columns, geometry=boxes, crs="EPSG:32635")
        frame.to_crs("EPSG:4326").to_file(self.seeds / "x.geojson")
        frame.to_file(self.seeds / "x.gpkg")

    def case(self, folder: Path, rng: Rng) -> Call:
        if rng.integers(3):
            path = folder / "x.geojson"
            tree = json.loads((self.seeds / "x.geojson").read_bytes())
            tree = _odd_shape(tree, rng) if rng.integers(3) == 0 else mutate_tree(tree, rng)
            path.write_bytes(as_json(tree, rng))
        else:
            path = folder / "x.gpkg"
            data = (self.seeds / "x.gpkg").read_bytes()
            if rng.integers(2):
                path.write_bytes(mutate_bytes(data, rng, 8))
            else:
                path.write_bytes(data)
                _change_rows(path, rng)
        reads = (_area, _within, _truth, _cover)
        read = reads[rng.integers(len(reads))]
        return lambda: read(path.name)


def _area(name: str) -> None:
    make_grid(read_area(name), [], like=GRID)


def _within(name: str) -> None:
    images = np.zeros((1, 2, *GRID.shape), np.float32)
    coords = {**xr_coords(GRID), "band": ["VV", "VH"], "time": [np.datetime64("2020-03-01", "ns")]}
    cube = xr.Dataset({"backscatter": (("time", "band", *GRID.dims), images)}, coords)
    cube = cube.rename(dict(zip(GRID.dims, ("y", "x"), strict=True)))
    part = crop(cube, None)
    find_judged(part, None, JudgedOptions(within=(name,), outside=()))


def _truth(name: str) -> None:
    read_truth(Path(name), GRID)


def _cover(name: str) -> None:
    read_cover([name], GRID)


def _odd_shape(tree: dict[str, Any], rng: Rng) -> dict[str, Any]:
    """Replace a polygon by one that is open, twisted, empty, of NaN, giant or of another type."""
    inside = [27.0002, 62.2333]
    near = [[inside[0] + dx, inside[1] + dy] for dx, dy in ((0, 0), (1e-3, 0), (1e-3, -1e-3))]
    many = [[27.0 + 1e-3 * np.cos(a), 62.23 + 1e-3 * np.sin(a)] for a in np.linspace(0, 6.28, 5000)]
    kinds: list[tuple[str, Any]] = [
        ("Polygon", [near]), ("Polygon", [near[:2]]), ("Polygon", []), ("Polygon", [[]]),
        ("Polygon", [[*near, [27.0, float("nan")], near[0]]]),
        ("Polygon", [[[-1e300, 0], [1e300, 0], [0, 1e300], [-1e300, 0]]]),
        ("Polygon", [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]),
        ("Polygon", [[[500000, 6900000], [500100, 6900000], [500100, 6899900], [500000, 6900000]]]),
        ("Polygon", [[near[0], near[2], near[1], [27.0002, 62.2323], near[0]]]),
        ("Polygon", [many]), ("Point", inside), ("LineString", near), ("GeometryCollection", []),
        ("MultiPolygon", [[[*near, near[0]]], []]), ("Polygon", [[*near, near[0]]] * 2),
        ("Polygon", [[[*p, 5, 6, 7] for p in [*near, near[0]]]]), ("Unknown", near),
    ]  # fmt: skip
    kind, coordinates = kinds[rng.integers(len(kinds))]
    for feature in tree["features"][: int(rng.integers(1, 3))]:
        feature["geometry"] = {"type": kind, "coordinates": coordinates}
    return tree


def _change_rows(path: Path, rng: Rng) -> None:
    """Change the tables of a GeoPackage, as far as SQLite allows it."""
    changes = [
        "UPDATE x SET geom = zeroblob(40)", "UPDATE x SET geom = NULL", "DELETE FROM x",
        "UPDATE x SET geom = substr(geom, 1, 60)", "UPDATE x SET date = 'nan'",
        "UPDATE x SET date = NULL", "UPDATE x SET date = 1e300", "DROP TABLE x",
        "UPDATE gpkg_geometry_columns SET srs_id = 999999", "DELETE FROM gpkg_geometry_columns",
        "UPDATE gpkg_geometry_columns SET geometry_type_name = 'POINT'",
        "UPDATE gpkg_spatial_ref_sys SET definition = 'undefined'", "DELETE FROM gpkg_contents",
        "DELETE FROM gpkg_spatial_ref_sys", "ALTER TABLE x RENAME COLUMN date TO latest",
        "UPDATE gpkg_contents SET table_name = '../x'", "ALTER TABLE x DROP COLUMN geom",
        "UPDATE x SET date = hex(randomblob(20000))", "PRAGMA application_id = 7",
        "UPDATE gpkg_geometry_columns SET srs_id = -1", "PRAGMA user_version = 999999",
    ]  # fmt: skip
    connection = sqlite3.connect(path)
    try:
        for _ in range(int(rng.integers(1, 3))):
            try:
                connection.execute(changes[rng.integers(len(changes))])
            except sqlite3.Error:
                continue
        connection.commit()
    finally:
        connection.close()
