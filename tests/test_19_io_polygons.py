"""Files of polygons that are damaged or crafted, wherever polygons are read."""

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, box

from sarcast.errors import SarcastError
from sarcast.evaluation.detection.truth import read_truth
from sarcast.ingest.cover import read_cover
from sarcast.io import polygons
from sarcast.io.grid import read_area
from sarcast.io.polygons import read_polygons, to_crs

GRID = GeoBox.from_bbox((500_000, 6_700_000, 500_640, 6_700_640), "EPSG:32633", resolution=10)
RING = [[15.0, 60.43], [15.01, 60.43], [15.01, 60.44], [15.0, 60.44], [15.0, 60.43]]
READERS: dict[str, Callable[[Path], object]] = {
    "area": lambda path: read_area(str(path)),
    "truth": lambda path: read_truth(path, GRID),
    "cover": lambda path: read_cover(path, GRID),
}


def geojson(path: Path, *geometries: object, crs: str | None = None) -> Path:
    features = [
        {"type": "Feature", "properties": {"date": "2020-06-01"}, "geometry": each}
        for each in geometries
    ]
    content: dict[str, object] = {"type": "FeatureCollection", "features": features}
    if crs is not None:
        content["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(content))
    return path


def polygon(ring: object) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": [ring]}


def open_ring(path: Path) -> None:
    """A GeoPackage with a ring whose last vertex is moved; GDAL closes those of text formats."""
    gpd.GeoDataFrame(
        {"date": ["2020-06-01"]}, geometry=[shapely.Polygon(RING)], crs="EPSG:4326"
    ).to_file(path)
    content = path.read_bytes()
    last = struct.pack("<2d", *RING[-1])
    start = content.rindex(last)
    path.write_bytes(content[:start] + struct.pack("<2d", 15.005, 60.42) + content[start + 16 :])


def not_a_number(path: Path) -> None:
    shape = shapely.Polygon([(15, 60.43), (np.nan, 60.43), (15.01, 60.44), (15, 60.43)])
    gpd.GeoDataFrame({"date": ["2020-06-01"]}, geometry=[shape], crs="EPSG:4326").to_file(path)


def without_crs(path: Path) -> None:
    gpd.GeoDataFrame({"date": ["2020-06-01"]}, geometry=[shapely.Polygon(RING)]).to_file(path)


def local_crs(path: Path) -> None:
    wkt = 'LOCAL_CS["site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    gpd.GeoDataFrame({"date": ["2020-06-01"]}, geometry=[shapely.Polygon(RING)], crs=wkt).to_file(
        path
    )


def truncated(path: Path) -> None:
    without_crs(path)
    path.write_bytes(path.read_bytes()[:20_000])


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "open ring": (open_ring, r"may be damaged or have a ring that is not closed"),
    "NaN": (not_a_number, "has a coordinate that is no number in row 1"),
    "local CRS": (local_crs, "has (a local|no) CRS"),
    "truncated": (truncated, "cannot be read|neither a vector nor"),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(("write", "message"), HOSTILE.values(), ids=HOSTILE)
def test_damaged_polygons_are_refused_in_one_line(
    reader: Callable[[Path], object], write: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.gpkg")
    with pytest.raises(SarcastError, match=message) as caught:
        reader(tmp_path / "a.gpkg")
    assert "a.gpkg" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("reader", [READERS["area"], READERS["truth"]], ids=["area", "truth"])
def test_no_shape_at_all_is_refused(reader: Callable[[Path], object], tmp_path: Path) -> None:
    empty = {"type": "Polygon", "coordinates": []}
    for geometries in ((), (None,), (empty, None)):
        with pytest.raises(SarcastError, match="holds no polygons"):
            reader(geojson(tmp_path / "a.geojson", *geometries))


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_ring_that_crosses_itself_is_read(
    reader: Callable[[Path], object], tmp_path: Path
) -> None:
    bow = [[15.0, 60.43], [15.01, 60.44], [15.01, 60.43], [15.0, 60.44], [15.0, 60.43]]
    reader(geojson(tmp_path / "a.geojson", polygon(bow), polygon(RING), None))


def test_too_many_vertices_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    angle = np.linspace(0.0, 2.0 * np.pi, 500_001)
    shape = shapely.Polygon(np.column_stack([15 + np.cos(angle), 60 + np.sin(angle)]))
    path = tmp_path / "a.gpkg"
    gpd.GeoDataFrame(geometry=[shape], crs="EPSG:4326").to_file(path)
    assert shapely.get_num_coordinates(read_polygons(path).geometry[0]) > 500_000
    monkeypatch.setattr(polygons, "MOST_VERTICES", 400_000)
    start = time.process_time()
    with pytest.raises(SarcastError, match=r"a\.gpkg has 500001 vertices, over 400000"):
        read_area(str(path))
    monkeypatch.setattr(polygons, "MOST_BYTES", 2**20)
    with pytest.raises(SarcastError, match=r"a\.gpkg has 8 MiB, over 1, which is too much"):
        read_area(str(path))
    assert time.process_time() - start < 2.0
    assert len(read_polygons(path, is_area=False)) == 1


def test_a_shape_without_a_place_in_a_projection_is_named() -> None:
    near = box(15.0, 60.4, 15.1, 60.5, "EPSG:4326")
    assert to_crs(near, CRS("EPSG:32633"), "it").boundingbox.left > 4e5
    far = Geometry(shapely.box(1e300, 0.0, 2e300, 1.0), "EPSG:32633")
    with pytest.raises(SarcastError, match="it cannot be projected to EPSG:3031"):
        to_crs(far, CRS("EPSG:3031"), "it")


def test_heights_of_vertices_are_left_out(tmp_path: Path) -> None:
    """As some writers add them; an area with and without them is the same."""
    flat = read_area(str(geojson(tmp_path / "a.geojson", polygon(RING))))
    solid = [[x, y, 7.0] for x, y in RING]
    path = geojson(tmp_path / "b.geojson", polygon(solid))
    assert not read_polygons(path).geometry.has_z.any()
    assert to_crs(read_area(str(path)), GRID.crs, "it") == to_crs(flat, GRID.crs, "it")


def test_an_area_of_latitudes_beyond_the_poles_is_refused(tmp_path: Path) -> None:
    ring = [[15.0, 60.0], [15.0, 1e10], [16.0, 1e10], [15.0, 60.0]]
    with pytest.raises(SarcastError, match="lies outside the Earth"):
        read_area(str(geojson(tmp_path / "a.geojson", polygon(ring))))
