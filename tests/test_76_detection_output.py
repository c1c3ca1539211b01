import json
from pathlib import Path
from typing import Any

import antimeridian
import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pystac
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pystac.validation import validate_dict
from rio_cogeo.cogeo import cog_validate

import sarcast
from conftest import GRID
from sarcast.detection import styles
from sarcast.detection.event_files import write_events
from sarcast.detection.output import (
    days_since_epoch,
    expected_rasters,
    write_detection,
    write_item,
)
from sarcast.io.cogs import write_cogs
from sarcast.prediction.strategies import STRATEGIES
from small_changes import DATES, changed_cube
from small_detections import BASELINE, WATCHED, by_hand

RASTERS = {
    "expected", "uncertainty", "difference", "evidence", "change", "change-date", "looks",
}  # fmt: skip
TEXT = {"date", "previous_date", "earliest", "latest", "direction", "cover"}

ACROSS = {
    "degrees": GeoBox(GRID.shape, Affine(1e-4, 0, 179.9976, 0, -1e-4, -17.0), "EPSG:4326"),
    "degrees east": GeoBox(GRID.shape, Affine(1e-4, 0, 200.0, 0, -1e-4, -17.0), "EPSG:4326"),
    "UTM": GeoBox(GRID.shape, Affine(10.0, 0, 819_200.0, 0, -10.0, 8_118_130.0), "EPSG:32760"),
}
"""Grids whose event 1, columns 20 to 30, lies at or beyond 180 degrees."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_detection(by_hand(), tmp_path, "change-2020-08-28", {"sarcast:model": "base"})
    return tmp_path


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


def nothing() -> Any:
    return by_hand(np.zeros(GRID.shape, dtype=np.int32))


# --- rasters --------------------------------------------------------------------------------------


def test_rasters_are_cogs_on_the_grid(folder: Path) -> None:
    assert {path.stem for path in folder.glob("*.tif")} == RASTERS
    for name in RASTERS:
        valid, errors, _ = cog_validate(folder / f"{name}.tif")
        assert valid, errors
        with rasterio.open(folder / f"{name}.tif") as source:
            assert (source.transform, source.shape) == (GRID.transform, GRID.shape)
            assert source.crs.to_epsg() == 32635


def test_images_and_evidence_are_written(folder: Path) -> None:
    np.testing.assert_array_equal(read(folder / "expected.tif")[:, 10, 20], [-12.0, -12.0])
    np.testing.assert_array_equal(read(folder / "uncertainty.tif")[:, 10, 20], [0.5, 0.5])
    np.testing.assert_array_equal(read(folder / "difference.tif")[:, 30, 5], [-1.0, 1.0, -2.0, 2.0])
    evidence = read(folder / "evidence.tif")
    assert evidence[:, 10, 20] == pytest.approx([5.0, 1e-5])
    assert np.isnan(evidence[:, 0, 0]).all() and np.isfinite(evidence[:, 0, 1]).all()
    with rasterio.open(folder / "difference.tif") as source:
        assert source.descriptions == (
            "VV actual - expected, dB",
            "VH actual - expected, dB",
            "VV z, standard deviations",
            "VH z, standard deviations",
        )


def test_the_change_map_has_the_direction_of_each_event(folder: Path) -> None:
    with rasterio.open(folder / "change.tif") as source:
        change, table, nodata = source.read(1), source.colormap(1), source.nodata
        assert source.descriptions == ("0 unchanged, 1 loss, 2 gain, 3 mixed, 255 not judged",)
    values, counts = np.unique(change, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
        0: 4800 - 86, 1: 60, 2: 24, 3: 1, 255: 1,
    }  # fmt: skip
    assert (change[10, 20], change[42, 52], change[0, 0]) == (1, 0, 255) and nodata == 255
    assert table[1] == (194, 65, 12, 255) and table[2] == (37, 99, 235, 255)
    assert table[255][3] == 0


def test_events_of_any_id_keep_their_direction(tmp_path: Path) -> None:
    """Ids need not be those of the position in the table."""
    detection = by_hand()
    detection.events["id"] = [7, 2, 3]
    detection.images["event"].values[10:16, 20:30] = 7
    write_detection(detection, tmp_path, "change", {})
    change = read(tmp_path / "change.tif")[0]
    assert (change[10, 20], change[40, 50], change[30, 5]) == (1, 2, 3)


def test_an_event_may_contain_pixels_that_were_not_judged(tmp_path: Path) -> None:
    detection = by_hand()
    detection.images["evidence"].values[12, 25] = np.nan
    write_detection(detection, tmp_path, "change", {})
    assert read(tmp_path / "change.tif")[0, 12, 25] == 1


def test_the_date_can_be_read_from_the_file_alone(folder: Path) -> None:
    with rasterio.open(folder / "change-date.tif") as source:
        days, tags, dtype = source.read(1, masked=True), source.tags(), source.dtypes[0]
        assert source.descriptions[0].endswith("days since 1970-01-01")
    assert dtype == "int32" and tags["UNIT"] == "day"
    assert (~days.mask).sum() == 85
    for (row, column), date in (((10, 20), "2020-08-22"), ((40, 50), "2020-08-28")):
        assert np.datetime64(tags["EPOCH"]) + int(days[row, column]) == np.datetime64(date)


def test_days_before_the_epoch_are_no_missing_days() -> None:
    dates = np.array(["1969-12-31T23:00", "NaT", "1970-01-01T23:59:59"], dtype="datetime64[s]")
    assert days_since_epoch(dates).tolist() == [-1, np.iinfo(np.int32).min, 0]


def test_looks_are_counted_where_none_is_too(folder: Path) -> None:
    with rasterio.open(folder / "looks.tif") as source:
        assert source.nodata is None and source.dtypes == ("uint8",)
        assert source.read(1)[0, :2].tolist() == [0, 3]


def test_one_band_has_one_difference_and_one_z(tmp_path: Path) -> None:
    write_detection(by_hand(bands=("HH",)), tmp_path, "change", {})
    with rasterio.open(tmp_path / "difference.tif") as source:
        assert source.descriptions == ("HH actual - expected, dB", "HH z, standard deviations")


# --- events ---------------------------------------------------------------------------------------


def test_the_files_of_events_have_the_same_columns(folder: Path) -> None:
    columns = by_hand().events.columns.drop("geometry").tolist()
    outlined = geopandas.read_file(folder / "events.gpkg")
    assert outlined.columns.tolist() == [*columns, "geometry"]
    assert outlined.crs.to_epsg() == 32635
    assert set(outlined.geom_type) == {"MultiPolygon"}
    features = json.loads((folder / "events.geojson").read_text())["features"]
    assert [list(feature["properties"]) for feature in features] == [columns] * 3
    table = pd.read_csv(folder / "events.csv", keep_default_na=False)
    assert table.columns.tolist() == [*columns, "longitude", "latitude"]
    for name in columns:
        values = by_hand().events[name].tolist()
        assert outlined[name].tolist() == table[name].tolist() == values
        assert [feature["properties"][name] for feature in features] == values


def test_the_schema_is_the_same_without_an_event(folder: Path, tmp_path_factory: Any) -> None:
    empty = tmp_path_factory.mktemp("empty")
    write_detection(nothing(), empty, "change", {})
    assert {path.name for path in empty.iterdir()} == {path.name for path in folder.iterdir()}
    full, none = (pyogrio.read_info(each / "events.gpkg", "events") for each in (folder, empty))
    assert (full["features"], none["features"]) == (3, 0)
    for key in ("fields", "dtypes", "ogr_types", "geometry_type", "crs"):
        assert np.array_equal(full[key], none[key]), key
    types = dict(zip(none["fields"].tolist(), none["ogr_types"], strict=True))
    assert types.pop("id") == "OFTInteger64"
    assert {name for name, kind in types.items() if kind == "OFTString"} == TEXT
    assert {kind for name, kind in types.items() if name not in TEXT} == {"OFTReal"}
    assert json.loads((empty / "events.geojson").read_text()) == {
        "type": "FeatureCollection", "features": [],
    }  # fmt: skip
    lines = [(each / "events.csv").read_text().splitlines() for each in (folder, empty)]
    assert lines[0][:1] == lines[1]
    assert set(np.unique(read(empty / "change.tif"))) == {0, 255}


def test_a_detection_of_a_cube_is_written(tmp_path: Path) -> None:
    """Its events have the columns of those made by hand."""
    mean = STRATEGIES["mean"]
    detection = sarcast.detect(changed_cube(DATES - 3), mean, strata=4)
    assert detection.events.columns.tolist() == by_hand().events.columns.tolist()
    write_detection(detection, tmp_path, "change", {})
    outlined = geopandas.read_file(tmp_path / "events.gpkg")
    assert outlined["direction"].tolist() == ["loss"]
    np.testing.assert_array_equal(
        read(tmp_path / "change.tif")[0] == 1, detection.images["changed"]
    )
    with rasterio.open(tmp_path / "change-date.tif") as source:
        days = np.unique(source.read(1, masked=True).compressed())
    assert days.tolist() == [
        (np.datetime64("2020-05-08") - np.datetime64("1970-01-01")).astype(int)
    ]
    assert outlined.geometry[0].intersects(detection.grid.extent.geom)


def test_an_unknown_number_is_null(tmp_path: Path) -> None:
    detection = by_hand()
    detection.events.loc[1, "before_vh_db"] = np.nan
    write_detection(detection, tmp_path, "change", {})
    features = json.loads((tmp_path / "events.geojson").read_text())["features"]
    values = [feature["properties"]["before_vh_db"] for feature in features]
    assert values == [-12.0, None, -12.0]
    assert pyogrio.read_dataframe(tmp_path / "events.gpkg")["before_vh_db"].isna().sum() == 1


@pytest.mark.parametrize("is_ccw", [False, True])
def test_geojson_has_degrees_of_seven_digits(is_ccw: bool, tmp_path: Path) -> None:
    detection, sign = by_hand(), 1.0 if is_ccw else -1.0
    turned = [shapely.geometry.polygon.orient(each, sign) for each in detection.events.geometry]
    write_events(detection.events.set_geometry(turned, crs=32635), tmp_path)
    features = json.loads((tmp_path / "events.geojson").read_text())["features"]
    assert [feature["id"] for feature in features] == [1, 2, 3]
    to_degrees = Transformer.from_crs(32635, 4326, always_xy=True).transform
    for feature, outline in zip(features, by_hand().events.geometry, strict=True):
        written = shapely.get_coordinates(shapely.geometry.shape(feature["geometry"]))
        plain = [to_degrees(*point) for point in shapely.get_coordinates(outline)]
        assert {tuple(p) for p in written} == {tuple(p) for p in np.round(plain, 7).tolist()}
        shell, *holes = feature["geometry"]["coordinates"]
        assert shapely.LinearRing(shell).is_ccw
        assert not any(shapely.LinearRing(hole).is_ccw for hole in holes)
        assert len(holes) == (1 if feature["id"] == 2 else 0)


@pytest.mark.parametrize("name", ACROSS)
def test_outlines_across_180_degrees_are_cut(name: str, tmp_path: Path) -> None:
    detection = by_hand(grid=ACROSS[name])
    write_detection(detection, tmp_path, "change", {})
    features = json.loads((tmp_path / "events.geojson").read_text())["features"]
    table = pd.read_csv(tmp_path / "events.csv")
    for feature, row in zip(features, table.itertuples(), strict=True):
        outline = shapely.geometry.shape(feature["geometry"])
        assert outline.is_valid
        assert outline.contains(shapely.Point(row.longitude, row.latitude))
    cut = shapely.geometry.shape(features[0]["geometry"])
    assert cut.geom_type == ("Polygon" if name == "degrees east" else "MultiPolygon")
    whole = detection.events.geometry.to_crs(4326)[0]
    oracle = antimeridian.fix_shape(shapely.geometry.mapping(whole))
    assert cut.symmetric_difference(shapely.geometry.shape(oracle)).area < 1e-4 * cut.area


def test_the_point_of_an_event_lies_inside(folder: Path) -> None:
    """That of the ring lies beside its hole, where the centroid is."""
    table = pd.read_csv(folder / "events.csv")
    outlines = geopandas.read_file(folder / "events.geojson").geometry
    points = geopandas.points_from_xy(table["longitude"], table["latitude"])
    assert outlines.contains(geopandas.GeoSeries(points, crs=4326)).all()
    assert not outlines[1].contains(outlines[1].centroid)


# --- STAC item ------------------------------------------------------------------------------------


def test_the_item_is_valid_and_finds_its_files(folder: Path) -> None:
    written = json.loads((folder / "item.json").read_text())
    validate_dict({**written, "stac_extensions": []})
    item = pystac.Item.from_file(str(folder / "item.json"))
    item.make_asset_hrefs_absolute()
    named = {Path(asset.href).name for asset in item.assets.values()}
    assert named == {path.name for path in folder.iterdir()} - {"item.json"}
    assert len(item.assets) == len(named)
    assert all(Path(asset.href).is_file() and asset.media_type for asset in item.assets.values())
    roles = {key: asset.roles for key, asset in item.assets.items()}
    assert {key for key, role in roles.items() if role == ["data"]} == {
        *RASTERS, "events", "events-geojson", "events-csv",
    }  # fmt: skip
    assert roles["quicklook"] == ["overview"] and roles["change-style"] == ["style"]
    assert item.properties["proj:code"] == "EPSG:32635"
    assert item.properties["sarcast:model"] == "base"


def test_the_item_spans_the_watched_acquisitions(folder: Path) -> None:
    properties = json.loads((folder / "item.json").read_text())["properties"]
    assert properties["start_datetime"] == f"{WATCHED[0]}Z"
    assert properties["end_datetime"] == properties["datetime"] == f"{WATCHED[-1]}Z"
    assert properties["sarcast:baseline"] == f"{BASELINE}Z"
    assert properties["sarcast:events"] == 3


def test_the_item_describes_the_values_of_rasters(folder: Path) -> None:
    assets = json.loads((folder / "item.json").read_text())["assets"]
    for key in RASTERS:
        with rasterio.open(folder / f"{key}.tif") as source:
            described = tuple(band["description"] for band in assets[key]["bands"])
            assert described == source.descriptions
            assert assets[key]["data_type"] == source.dtypes[0]
            assert str(assets[key].get("nodata")) == str(source.nodata).removesuffix(".0")
    assert assets["change-date"]["sarcast:epoch"] == "1970-01-01T00:00:00Z"
    assert assets["change-date"]["nodata"] == np.iinfo(np.int32).min
    classes = {each["value"]: each for each in assets["change"]["classification:classes"]}
    assert {value: each["name"] for value, each in classes.items()} == {
        0: "unchanged", 1: "loss", 2: "gain", 3: "mixed", 255: "not-judged",
    }  # fmt: skip
    assert classes[255]["nodata"] and classes[1]["color_hint"] == "c2410c"


def test_the_expected_image_alone_is_an_item_of_one_date(tmp_path: Path) -> None:
    """As ``sarcast predict`` writes it."""
    images = by_hand().images
    write_cogs([*expected_rasters(tmp_path, images)])
    write_item(tmp_path, "expected", GRID, WATCHED[-1], {})
    item = json.loads((tmp_path / "item.json").read_text())
    validate_dict({**item, "stac_extensions": []})
    assert set(item["assets"]) == {"expected", "uncertainty"}
    assert "start_datetime" not in item["properties"]
    assert not any("classification" in each for each in item["stac_extensions"])


def test_files_of_others_are_no_assets(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("detect:\n")
    (tmp_path / "notes.txt").write_text("")
    write_item(tmp_path, "empty", GRID, WATCHED[-1], {})
    assert json.loads((tmp_path / "item.json").read_text())["assets"] == {}


def test_every_raster_and_the_events_have_a_style(folder: Path) -> None:
    assert {path.stem for path in folder.glob("*.qml")} == {*RASTERS, "events"}
    change = read(folder / "change.tif")
    assert set(np.unique(change).tolist()) <= {stop.value for stop in styles.CHANGE}
