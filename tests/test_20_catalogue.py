import datetime as dt
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import pytest
import shapely
import stac_geoparquet
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, box
from pystac.extensions.projection import ProjectionExtension
from pystac.validation import validate_dict

from conftest import GRID
from sarcast.catalogue import FolderCatalogue, Raster, Scene, open_catalogue
from sarcast.catalogue.scene import grid_fields
from sarcast.errors import SarcastError
from sarcast.io.cogs import write_cog
from sarcast.io.grid import item_grid
from sarcast.sensor.orbits import heading_deg


def scene(folder: Path, number: int, **changed: object) -> Scene:
    path = folder / f"scene-{number}.tif"
    write_cog(path, np.full((2, 60, 80), 0.1, np.float32), GRID)
    fields = {
        "id": f"scene-{number}",
        "time": dt.datetime(2020, 3, 1 + number, 15, 30, tzinfo=dt.UTC),
        "quantity": "gamma0",
        "rasters": {"vv-vh": Raster(path, ("VV", "VH"), "linear power")},
        "platform": "sentinel-1a",
        "orbit_direction": "ascending",
        "relative_orbit": 58,
        "heading_deg": heading_deg(62.0, "ascending"),
        "incidence_deg": 38.5,
    }
    return Scene(**{**fields, **changed})  # type: ignore[arg-type]


def test_an_item_contains_the_metadata_of_the_scene(tmp_path: Path) -> None:
    item = scene(tmp_path, 0).to_item()
    properties = item.properties
    assert properties["platform"] == "sentinel-1a"
    assert properties["sat:orbit_state"] == "ascending"
    assert properties["sat:relative_orbit"] == 58
    assert properties["view:incidence_angle"] == 38.5
    assert properties["view:azimuth"] == pytest.approx(
        heading_deg(62.0, "ascending") + 90.0, abs=1e-3
    )
    assert properties["sar:polarizations"] == ["VV", "VH"]
    assert item_grid(item) == GRID
    west, south, east, north = GRID.geographic_extent.boundingbox.bbox
    np.testing.assert_allclose(item.bbox, [west, south, east, north], atol=1e-4)


def test_unknown_metadata_is_absent(tmp_path: Path) -> None:
    unknown = dict.fromkeys(
        ("platform", "orbit_direction", "relative_orbit", "heading_deg", "incidence_deg")
    )
    properties = scene(tmp_path, 0, **unknown).to_item().properties
    assert not {"platform", "sat:orbit_state", "sat:relative_orbit"} & set(properties)
    assert not {"view:azimuth", "view:incidence_angle"} & set(properties)


def test_items_are_valid_stac(tmp_path: Path) -> None:
    """By the core schemas, which pystac contains; those of the extensions are on the network."""
    item = scene(tmp_path, 0).to_item().to_dict()
    validate_dict({**item, "stac_extensions": []})


LOCAL_CRS = "+proj=laea +lat_0=62 +lon_0=26"


@pytest.mark.parametrize("crs", ["EPSG:32635", LOCAL_CRS])
def test_grid_fields_are_those_that_pystac_writes(crs: str) -> None:
    grid = GeoBox(GRID.shape, GRID.transform, crs)
    item = pystac.Item("grid", None, None, dt.datetime(2020, 3, 1), {})
    code = None if crs == LOCAL_CRS else crs
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=code,
        wkt2=None if code else grid.crs.to_wkt(version="WKT2_2019"),
        shape=list(grid.shape),
        transform=list(grid.transform)[:6],
    )
    written = {key: value for key, value in item.properties.items() if key != "datetime"}
    assert grid_fields(grid) == written


def test_a_catalogue_returns_its_items(tmp_path: Path) -> None:
    made = [scene(tmp_path, number).to_item() for number in (2, 0, 1)]
    catalogue = FolderCatalogue(tmp_path)
    assert catalogue.add(made) == 3
    found = catalogue.search()
    assert [item.id for item in found] == ["scene-0", "scene-1", "scene-2"]
    for item, number in zip(found, (1, 2, 0), strict=True):
        before, after = made[number].to_dict(), item.to_dict()
        assert after["properties"] == before["properties"]
        assert after["assets"] == before["assets"]


def test_a_catalogue_can_be_moved_with_its_scenes(tmp_path: Path) -> None:
    FolderCatalogue(tmp_path / "here").add([scene(tmp_path / "here", 0).to_item()])
    (tmp_path / "here").rename(tmp_path / "there")
    item = FolderCatalogue(tmp_path / "there").search()[0]
    assert Path(item.assets["vv-vh"].href) == tmp_path.resolve() / "there" / "scene-0.tif"


def test_search_by_area_and_time_agrees_with_a_plain_loop(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    base = scene(tmp_path, 0).to_item()
    items = [moved(base, number, rng) for number in range(60)]
    catalogue = FolderCatalogue(tmp_path)
    catalogue.add(items)
    area = box(24.0, 60.0, 28.0, 64.0, "EPSG:4326")
    first, last = dt.datetime(2020, 1, 20, tzinfo=dt.UTC), dt.datetime(2020, 2, 10)
    found = {item.id for item in catalogue.search(area, (first, last))}
    expected = {
        item.id
        for item in items
        if first <= item.datetime <= last.replace(tzinfo=dt.UTC)  # type: ignore[operator]
        and item.bbox[0] <= 28.0 and item.bbox[2] >= 24.0  # type: ignore[index]
        and item.bbox[1] <= 64.0 and item.bbox[3] >= 60.0  # type: ignore[index]
    }  # fmt: skip
    assert found == expected
    assert 0 < len(found) < 60
    projected = catalogue.search(area.to_crs("EPSG:32635"), (first, None))
    assert {item.id for item in projected} >= found


def moved(item: pystac.Item, number: int, rng: np.random.Generator) -> pystac.Item:
    west, south = float(rng.uniform(20, 32)), float(rng.uniform(56, 68))
    shape = box(west, south, west + 1.0, south + 0.5, "EPSG:4326")
    copy = item.clone()
    copy.id = f"moved-{number:02d}"
    copy.geometry, copy.bbox = shape.json, list(shape.boundingbox.bbox)
    copy.datetime = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=number)
    return copy


def test_adding_again_replaces(tmp_path: Path) -> None:
    catalogue = FolderCatalogue(tmp_path)
    catalogue.add([scene(tmp_path, 0).to_item(), scene(tmp_path, 1).to_item()])
    changed = scene(tmp_path, 1, platform="sentinel-1b").to_item()
    assert catalogue.add([changed]) == 2
    assert catalogue.search()[1].properties["platform"] == "sentinel-1b"


def test_a_folder_without_catalogue(tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match=r"lacks items\.parquet; make one with: sarcast index"):
        FolderCatalogue(tmp_path).search()
    with pytest.raises(SarcastError, match="no items to write"):
        FolderCatalogue(tmp_path).add([])


# --- many items, and unusual ones -----------------------------------------------------------------


def footprints(base: pystac.Item, count: int, rng: np.random.Generator) -> list[pystac.Item]:
    """Items anywhere on the globe, some across the antimeridian, some with a range of time."""
    items = []
    for number in range(count):
        west, south = rng.uniform(-180.0, 180.0), rng.uniform(-80.0, 79.0)
        east, north = west + rng.uniform(0.1, 3.0), south + rng.uniform(0.1, 1.0)
        shape = shapely.box(west, south, east, north)
        if east > 180.0:
            east -= 360.0
            parts = ((west, south, 180.0, north), (-180.0, south, east, north))
            shape = shapely.MultiPolygon([shapely.box(*part) for part in parts])
        copy = base.clone()
        copy.id = f"item-{number:05d}"
        copy.geometry, copy.bbox = shapely.geometry.mapping(shape), [west, south, east, north]
        copy.datetime = START + dt.timedelta(hours=float(rng.uniform(0, 24 * 365)))
        if number % 7 == 0:
            copy.common_metadata.start_datetime = copy.datetime
            copy.common_metadata.end_datetime = copy.datetime + dt.timedelta(days=2)
        items.append(copy)
    return items


START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
LATE = (START + dt.timedelta(days=100), START + dt.timedelta(days=130))
MANY = 717


@pytest.fixture(scope="module")
def small_groups() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sarcast.catalogue.folder.GROUP_ROWS", 64)
        yield


@pytest.fixture(scope="module")
def many(
    tmp_path_factory: pytest.TempPathFactory, small_groups: None
) -> tuple[FolderCatalogue, list[pystac.Item]]:
    """A catalogue of a dozen row groups, filled in two steps."""
    folder = tmp_path_factory.mktemp("many")
    items = footprints(scene(folder, 0).to_item(), MANY, np.random.default_rng(8))
    catalogue = FolderCatalogue(folder / "catalogue")
    assert catalogue.add(items[:400]) == 400
    assert catalogue.add(items[300:]) == MANY
    return catalogue, items


@pytest.mark.parametrize(
    ("area", "time"),
    [
        (box(20.0, 50.0, 40.0, 65.0, "EPSG:4326"), None),
        (box(179.0, -70.0, 180.0, 70.0, "EPSG:4326"), None),
        (box(-180.0, -70.0, -179.0, 70.0, "EPSG:4326"), None),
        (box(-60.0, -30.0, 60.0, 50.0, "EPSG:4326"), LATE),
        (None, LATE),
        (None, None),
    ],
)
def test_a_search_over_many_row_groups_agrees_with_a_plain_loop(
    many: tuple[FolderCatalogue, list[pystac.Item]], area: Any, time: Any
) -> None:
    catalogue, items = many
    first, last = time or (START, START + dt.timedelta(days=999))
    expected = [
        item
        for item in sorted(items, key=lambda item: (item.datetime, item.id))
        if (item.common_metadata.end_datetime or item.datetime) >= first
        and item.datetime <= last
        and (area is None or shapely.geometry.shape(item.geometry).intersects(area.geom))
    ]
    assert [item.id for item in catalogue.search(area, time)] == [item.id for item in expected]
    assert expected


def test_a_search_of_a_small_area_reads_few_row_groups(
    tmp_path: Path, small_groups: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items of a location are stored together, whatever their dates: 32 dates of 16 locations."""
    locations = footprints(scene(tmp_path, 0).to_item(), 16, np.random.default_rng(2))
    dates = [repeated(location, day) for day in range(32) for location in locations]
    catalogue = FolderCatalogue(tmp_path)
    catalogue.add(dates)
    read: list[int] = []
    plain = pq.ParquetFile.read_row_groups

    def counted(self: Any, groups: list[int], **more: Any) -> Any:
        read.extend(groups)
        return plain(self, groups, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    for location in locations:
        read.clear()
        found = catalogue.search(Geometry(location.geometry, "EPSG:4326"))
        assert {item.id for item in found} >= {f"{location.id}-{day}" for day in range(32)}
        assert len(read) <= 2 < 512 // 64


def repeated(location: pystac.Item, day: int) -> pystac.Item:
    copy = location.clone()
    copy.id, copy.datetime = f"{location.id}-{day}", START + dt.timedelta(days=day)
    return copy


def test_fields_that_an_item_lacks_do_not_become_null(tmp_path: Path) -> None:
    lacking = scene(tmp_path, 0, relative_orbit=None, orbit_direction=None).to_item()
    FolderCatalogue(tmp_path).add([lacking, scene(tmp_path, 1).to_item()])
    found = FolderCatalogue(tmp_path).search()
    assert not {"sat:relative_orbit", "sat:orbit_state"} & set(found[0].properties)
    assert found[1].properties["sat:relative_orbit"] == 58


def test_an_item_without_datetime_keeps_its_range(tmp_path: Path) -> None:
    item = scene(tmp_path, 0).to_item()
    item.datetime = None
    item.common_metadata.start_datetime = START
    item.common_metadata.end_datetime = START + dt.timedelta(days=1)
    FolderCatalogue(tmp_path).add([item])
    (found,) = FolderCatalogue(tmp_path).search()
    assert found.datetime is None
    assert found.common_metadata.end_datetime == START + dt.timedelta(days=1)


def without_time(item: pystac.Item) -> None:
    item.datetime = None


def backwards(item: pystac.Item) -> None:
    item.common_metadata.start_datetime = START
    item.common_metadata.end_datetime = START - dt.timedelta(days=1)


def without_footprint(item: pystac.Item) -> None:
    item.geometry = item.bbox = None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_time, "has no time: expected datetime"),
        (backwards, "before its start"),
        (without_footprint, "has no footprint: expected a geometry"),
    ],
)
def test_items_without_time_or_footprint_are_refused(
    tmp_path: Path, spoil: Callable[[pystac.Item], None], message: str
) -> None:
    item = scene(tmp_path, 0).to_item()
    spoil(item)
    with pytest.raises(SarcastError, match=f"item scene-0 .*{message}"):
        FolderCatalogue(tmp_path).add([item])


def test_a_missing_bbox_is_that_of_the_footprint(tmp_path: Path) -> None:
    item = scene(tmp_path, 0).to_item()
    item.bbox = None
    FolderCatalogue(tmp_path).add([item])
    assert len(FolderCatalogue(tmp_path).search(GRID.extent)) == 1


def test_fields_of_two_types_are_refused(tmp_path: Path) -> None:
    kinds = [scene(tmp_path, number).to_item() for number in range(2)]
    kinds[0].properties["processing"] = "3.1"
    kinds[1].properties["processing"] = {"version": 3}
    catalogue = FolderCatalogue(tmp_path)
    catalogue.add(kinds[:1])
    for items in (kinds[1:], kinds):
        with pytest.raises(SarcastError, match="has values of two types") as error:
            catalogue.add(items)
        assert "\n" not in str(error.value)
    assert len(catalogue.search()) == 1


def test_integers_and_floats_are_one_type(tmp_path: Path) -> None:
    items = [scene(tmp_path, number).to_item() for number in range(2)]
    items[0].properties["proj:transform"] = [10, 0, 500, 0, -10, 600]
    items[1].properties["proj:transform"] = [10.5, 0.0, 500.25, 0.0, -10.5, 600.0]
    for item in items:
        FolderCatalogue(tmp_path).add([item])
    found = FolderCatalogue(tmp_path).search()
    assert [item.properties["proj:transform"] for item in found] == [
        item.properties["proj:transform"] for item in items
    ]


@pytest.mark.parametrize("content", [b"", b"PAR1 is all that is left", b"PAR1" * 100])
def test_a_damaged_catalogue(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "items.parquet").write_bytes(content)
    item, catalogue = scene(tmp_path, 0).to_item(), FolderCatalogue(tmp_path)
    for attempt in (catalogue.search, catalogue.check, lambda: catalogue.add([item])):
        with pytest.raises(SarcastError, match=r"items\.parquet is damaged or no stac-geoparquet"):
            attempt()


def test_damaged_bytes_give_one_error_line_or_no_harm(tmp_path: Path) -> None:
    """Whatever byte of the file is damaged, a search returns items or raises one line."""
    catalogue, rng = FolderCatalogue(tmp_path), np.random.default_rng(4)
    catalogue.add(footprints(scene(tmp_path, 0).to_item(), 40, rng))
    file = tmp_path / "items.parquet"
    whole = file.read_bytes()
    refused = 0
    for _ in range(150):
        spoiled = np.frombuffer(whole, np.uint8).copy()
        spoiled[rng.integers(0, len(whole), 4)] = rng.integers(0, 256, 4)
        file.write_bytes(spoiled.tobytes())
        try:
            catalogue.search(box(-90.0, -60.0, 90.0, 60.0, "EPSG:4326"))
        except SarcastError as error:
            assert "damaged or no stac-geoparquet" in str(error)
            refused += 1
    assert refused > 50


def test_a_parquet_file_with_two_columns_of_one_name(tmp_path: Path) -> None:
    catalogue, item = FolderCatalogue(tmp_path), scene(tmp_path, 0).to_item()
    catalogue.add([item])
    table = pq.read_table(tmp_path / "items.parquet")
    pq.write_table(table.append_column("id", table["id"]), tmp_path / "items.parquet")
    for attempt in (lambda: catalogue.search(GRID.extent), lambda: catalogue.add([item])):
        with pytest.raises(SarcastError, match="is damaged.*2 columns have the name id"):
            attempt()


def test_a_parquet_file_without_items(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "value": [1.0]}), tmp_path / "items.parquet")
    with pytest.raises(SarcastError, match="lacks assets, geometry, datetime, so"):
        FolderCatalogue(tmp_path).search(GRID.extent)


def test_a_database_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in ("sarcast.catalogue.database", "sarcast.io.database"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(SarcastError, match=r"needs psycopg; .*'sarcast\[pgstac\]'"):
        open_catalogue("postgresql://localhost/scenes")


# --- GeoParquet in other layouts ------------------------------------------------------------------

Change = Callable[[gpd.GeoDataFrame], pd.DataFrame]


def as_json(name: str) -> Change:
    return lambda frame: frame.assign(**{name: frame[name].map(json.dumps)})


def with_heights(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    boxes = [[*box[:2], 0.0, *box[2:], 900.0] for box in frame["bbox"]]
    return frame.assign(bbox=boxes)


def nested(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Properties in one column, as JSON."""
    names = [name for name in frame if ":" in name or name in ("platform", "constellation")]
    rows = [json.dumps(row) for row in frame[names].to_dict("records")]
    return frame.drop(columns=names).assign(properties=rows)


def other_geometry(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return frame.rename_geometry("footprint").to_crs("EPSG:3857")


LAYOUTS: dict[str, Change] = {
    "older stac-geoparquet, box as a list": lambda frame: frame,
    "box with heights": with_heights,
    "no box": lambda frame: frame.drop(columns="bbox"),
    "box as JSON": as_json("bbox"),
    "assets as JSON": as_json("assets"),
    "times as text": lambda frame: frame.assign(datetime=frame["datetime"].astype(str)),
    "times without a zone": lambda frame: frame.assign(
        datetime=frame["datetime"].dt.tz_localize(None)
    ),
    "geometry of another name and CRS": other_geometry,
    "nested properties": nested,
    "no version, type and links": lambda frame: frame.drop(
        columns=["stac_version", "type", "links", "stac_extensions"]
    ),
    "orbits with a gap": lambda frame: frame.assign(**{"sat:relative_orbit": [58.0, np.nan]}),
}


@pytest.fixture
def frame(tmp_path: Path) -> gpd.GeoDataFrame:
    """Two items, as an older stac-geoparquet makes a table of them."""
    items = [scene(tmp_path, number).to_item().to_dict() for number in range(2)]
    return stac_geoparquet.to_geodataframe(items, dtype_backend="numpy_nullable")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_geoparquet_in_other_layouts(layout: str, frame: gpd.GeoDataFrame, tmp_path: Path) -> None:
    """Each gives the items that a catalogue written by sarcast gives, and can be added to."""
    items = [scene(tmp_path, number).to_item() for number in range(2)]
    FolderCatalogue(tmp_path / "own").add(items)
    folder = tmp_path / "foreign"
    folder.mkdir()
    LAYOUTS[layout](frame).to_parquet(folder / "items.parquet")
    catalogue = FolderCatalogue(folder, allow=(str(tmp_path),))
    catalogue.check()
    area, first_day = GRID.extent, (None, dt.datetime(2020, 3, 1, 23))
    assert [item.id for item in catalogue.search(area, first_day)] == ["scene-0"]
    assert catalogue.search(box(0, 0, 1, 1, "EPSG:4326")) == []
    for found, own in zip(
        catalogue.search(area), FolderCatalogue(tmp_path / "own").search(), strict=True
    ):
        for name in ("id", "datetime"):
            assert getattr(found, name) == getattr(own, name)
        np.testing.assert_allclose(found.bbox, own.bbox, atol=1e-6)
        assert found.assets["vv-vh"].to_dict() == own.assets["vv-vh"].to_dict()
        gap = "gap" in layout and own.id == "scene-1"
        expected = None if gap else own.properties["sat:relative_orbit"]
        assert found.properties.get("sat:relative_orbit") == expected
        for name in ("platform", "sat:orbit_state", "proj:code", "proj:shape"):
            assert found.properties[name] == own.properties[name]
    assert catalogue.add([scene(tmp_path, 2).to_item()]) == 3
    assert [item.id for item in catalogue.search()] == ["scene-0", "scene-1", "scene-2"]
    assert pa.types.is_struct(pq.read_schema(folder / "items.parquet").field("bbox").type)


@pytest.mark.parametrize("missing", ["id", "assets", "datetime", "geometry"])
def test_geoparquet_that_lacks_a_part_of_items(
    missing: str, frame: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir()
    rest = pd.DataFrame(frame).drop(columns=missing)
    if missing == "geometry":
        rest.to_parquet(folder / "items.parquet")
    else:
        gpd.GeoDataFrame(rest, crs="EPSG:4326").to_parquet(folder / "items.parquet")
    with pytest.raises(SarcastError, match=rf"items\.parquet lacks {missing}, so its rows are no"):
        FolderCatalogue(folder).search()


@pytest.mark.parametrize("crs", ["EPSG:0", {"type": "GeographicCRS", "name": "none"}])
def test_geoparquet_with_an_unknown_crs(
    crs: object, frame: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    file = tmp_path / "items.parquet"
    frame.to_parquet(file)
    table = pq.read_table(file)
    metadata = dict(table.schema.metadata)
    described = json.loads(metadata[b"geo"])
    described["columns"][described["primary_column"]]["crs"] = crs
    metadata[b"geo"] = json.dumps(described).encode()
    pq.write_table(table.replace_schema_metadata(metadata), file)
    with pytest.raises(SarcastError, match="states a CRS in its metadata that PROJ does not know"):
        FolderCatalogue(tmp_path).search()


def changed(**columns: object) -> Change:
    """Replace columns of the first row."""

    def change(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        new = {name: [value, frame[name].iloc[1]] for name, value in columns.items()}
        return frame.astype(dict.fromkeys(columns, object)).assign(**new)

    return change


UNUSABLE: dict[str, tuple[Change, str]] = {
    "no footprint": (
        lambda frame: frame.set_geometry([None, frame.geometry.iloc[1]], crs=frame.crs),
        "scene-0 is not a valid STAC item: item scene-0 has no footprint",
    ),
    "no time": (changed(datetime=None), "scene-0 is not a valid STAC item: .*datetime"),
    "time not in ISO 8601": (
        lambda frame: frame.assign(datetime=["1 March 2020", "2020-03-02T00:00:00Z"]),
        "the time '1 March 2020' is not in ISO 8601",
    ),
    "assets as plain text": (
        lambda frame: frame.assign(assets=["none", *frame["assets"].map(json.dumps)[1:]]),
        "scene-0 is not a valid STAC item: assets: input should be a valid dictionary",
    ),
    "one id": (
        lambda frame: frame.assign(id="scene-1")[::-1],
        r"1 left out \(id that an earlier row has too\): scene-1",
    ),
    "an orbit as text": (
        lambda frame: frame.assign(**{"sat:relative_orbit": ["8a", "58"]}).assign(
            **{"sat:relative_orbit": ["8a", None]}
        ),
        "scene-0 is not a valid STAC item: .*8a",
    ),
}


@pytest.mark.parametrize("fault", UNUSABLE)
def test_rows_that_are_no_items_are_left_out(
    fault: str, frame: gpd.GeoDataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The other row is found; adding to such a catalogue is refused, as it would lose the row."""
    change, line = UNUSABLE[fault]
    change(frame).to_parquet(tmp_path / "items.parquet")
    assert [item.id for item in FolderCatalogue(tmp_path).search()] == ["scene-1"]
    assert re.search(line, caplog.text)
    before = (tmp_path / "items.parquet").read_bytes()
    with pytest.raises(SarcastError, match=r"cannot be used: 1 left out \("):
        FolderCatalogue(tmp_path).add([scene(tmp_path, 2).to_item()])
    assert (tmp_path / "items.parquet").read_bytes() == before


def test_geoparquet_without_rows(frame: gpd.GeoDataFrame, tmp_path: Path) -> None:
    frame.iloc[:0].to_parquet(tmp_path / "items.parquet")
    with pytest.raises(SarcastError, match="has no rows, so there is no scene in it"):
        FolderCatalogue(tmp_path).search()


def test_geoparquet_with_numbers_as_ids_and_footprints_as_text(
    frame: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    plain = pd.DataFrame(frame.assign(id=[7, 8])).assign(geometry=frame.geometry.to_wkt())
    plain.to_parquet(tmp_path / "items.parquet")
    assert [item.id for item in FolderCatalogue(tmp_path).search(GRID.extent)] == ["7", "8"]


def test_another_scene_of_the_same_id_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = [scene(tmp_path, number).to_item() for number in (0, 0, 1)]
    assert FolderCatalogue(tmp_path / "catalogue").add(items) == 2
    assert not caplog.messages
    items[2].id = items[0].id
    assert FolderCatalogue(tmp_path / "other").add(items) == 1
    assert "1 items have the id of another with another time or footprint" in caplog.text


def test_a_catalogue_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match="nosuch does not exist; name the folder of a catalogue"):
        FolderCatalogue(tmp_path / "nosuch").search()
