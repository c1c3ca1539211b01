"""True changes: read from files of many kinds, dated, counted and measured."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from shapely.geometry import Point, box

from sarcast.cube import open_cube
from sarcast.detection.regions import pixel_ha
from sarcast.errors import SarcastError
from sarcast.evaluation.detection.truth import (
    counted_changes,
    no_changes,
    rasterized,
    read_truth,
    truth_frame,
    watches_of,
    with_magnitudes,
)

GRID = GeoBox((60, 80), Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 6_900_000.0), "EPSG:32635")
LEFT, TOP = 500_000.0, 6_900_000.0


def square(left: float, down: float, side: float):
    """A square whose upper left corner lies some metres inside the grid."""
    return box(LEFT + left, TOP - down - side, LEFT + left + side, TOP - down)


def frame(**columns) -> gpd.GeoDataFrame:
    outlines = [square(100, 100, 100), square(400, 200, 200)]
    return gpd.GeoDataFrame(columns, geometry=outlines, crs="EPSG:32635")


def seconds(*moments: str) -> list[np.datetime64]:
    return [np.datetime64(moment, "s") for moment in moments]


@pytest.mark.parametrize("crs", ["EPSG:32635", "EPSG:4326", "EPSG:3067"])
def test_a_file_in_any_crs(crs: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.gpkg"
    frame(kind=["fire", "flood"], date=["2020-06-01", "2020-07-02"]).to_crs(crs).to_file(path)
    truth = read_truth(path, GRID)
    assert truth["kind"].tolist() == ["fire", "flood"]
    assert truth["earliest"].tolist() == seconds("2020-06-01", "2020-07-02")
    assert truth["latest"].tolist() == seconds("2020-06-02", "2020-07-03")
    np.testing.assert_allclose(truth["area_ha"], [1.0, 4.0], rtol=1e-3)
    assert truth.crs == "EPSG:32635"


@pytest.mark.parametrize(
    ("value", "earliest", "latest"),
    [
        ("2020-06-01T04:51:02Z", "2020-06-01T04:51:02", "2020-06-01T04:51:02"),
        (pd.Timestamp("2020-06-01"), "2020-06-01", "2020-06-02"),
        (
            pd.Timestamp("2020-06-01T12:00", tz="Europe/Helsinki"),
            "2020-06-01T09:00:00",
            "2020-06-01T09:00:00",
        ),
        ("2020-06", "2020-06-01", "2020-07-01"),
    ],
)
def test_a_date_is_an_interval_of_its_precision(value, earliest: str, latest: str) -> None:
    truth = truth_frame(frame(date=[value, value]), GRID)
    assert truth["earliest"][0] == np.datetime64(earliest, "s")
    assert truth["latest"][0] == np.datetime64(latest, "s")


def test_dates_may_be_two_columns() -> None:
    given = frame(earliest=["2020-06-01"] * 2, latest=["2020-06-10"] * 2)
    truth = truth_frame(given, GRID)
    assert truth["earliest"].tolist() == seconds("2020-06-01", "2020-06-01")
    assert truth["latest"].tolist() == seconds("2020-06-11", "2020-06-11")
    assert truth["kind"].tolist() == ["change", "change"]


def test_changes_that_people_called_false_are_left_out() -> None:
    given = frame(date=["2020-06-01", "2020-07-01"], verdict=["false", "true"])
    assert truth_frame(given, GRID)["earliest"].tolist() == seconds("2020-07-01T00:00:00")


def test_polygons_are_cut_at_the_edge_of_the_area() -> None:
    given = frame(date=["2020-06-01"] * 2)
    given.loc[0, "geometry"] = square(-50, 100, 100)
    given.loc[1, "geometry"] = square(-500, 100, 100)
    truth = truth_frame(given, GRID)
    np.testing.assert_allclose(truth["area_ha"], [0.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="date"), "no column 'date'.*ISO 8601"),
        (lambda f: f.assign(date=[None, "2020-06-01"]), "1 of 2 polygons of truth have no date"),
        (lambda f: f.assign(date=[" ", "2020-06-01"]), "1 of 2 polygons of truth have no date"),
        (lambda f: f.assign(date=["spring", "2020-06-01"]), "'spring' is not a date"),
        (lambda f: f.set_crs(None, allow_override=True), "has no CRS"),
        (lambda f: f.set_geometry(f.translate(xoff=1e5)), "all 2 polygons of truth lie outside"),
        (lambda f: f.set_geometry([Point(LEFT, TOP)] * 2), "holds no polygons"),
        (lambda f: f.iloc[:0], "holds no polygons"),
    ],
)
def test_clear_errors(change, message: str) -> None:
    with pytest.raises(SarcastError, match=message):
        truth_frame(change(frame(date=["2020-06-01"] * 2)), GRID, "truth")


def test_files_that_are_no_polygons(tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match="cannot be read"):
        read_truth(tmp_path / "absent.gpkg", GRID)
    table = tmp_path / "table.csv"
    table.write_text("date\n2020-06-01\n")
    with pytest.raises(SarcastError, match="no geometry"):
        read_truth(table, GRID)


TIMES = np.datetime64("2020-06-01T05:00", "s") + np.arange(8) * np.timedelta64(6, "D")


def dated(*dates: str) -> gpd.GeoDataFrame:
    outlines = [square(100 * n, 100, 100) for n in range(len(dates))]
    given = gpd.GeoDataFrame({"date": list(dates)}, geometry=outlines, crs="EPSG:32635")
    return truth_frame(given, GRID)


def test_only_new_changes_that_all_acquisitions_show_are_counted() -> None:
    # acquisitions on 1, 7, 13, 19, 25 June, 1, 7, 13 July; watched from 19 June, baseline 13 June
    truth = dated(
        "2020-06-12", "2020-06-13", "2020-06-14", "2020-06-18", "2020-06-19", "2020-07-20"
    )
    counted = counted_changes(truth, TIMES[2], TIMES[3:6], min_area_ha=0.5)
    assert counted.tolist() == [False, False, True, True, False, False]
    shown_once = counted_changes(truth, TIMES[2], TIMES[3:6], min_area_ha=0.5, looks=1)
    assert shown_once.tolist() == [False, False, True, True, True, False]


def test_small_and_weak_changes_are_not_counted() -> None:
    truth = dated("2020-06-15", "2020-06-15", "2020-06-15")
    truth["magnitude_db"] = [0.5, 1.5, np.nan]
    counted = counted_changes(truth, TIMES[2], TIMES[3:6], min_area_ha=0.5, min_magnitude_db=1.0)
    assert counted.tolist() == [False, True, True]
    assert not counted_changes(truth, TIMES[2], TIMES[3:6], min_area_ha=1.5).any()


def test_each_change_is_watched_until_its_kth_acquisition() -> None:
    truth = dated("2020-06-15", "2020-06-16", "2020-06-02", "2020-07-12", "2019-01-01")
    # first shown by acquisitions 3, 3, 1, 7 (too late for three), and before the cube
    assert watches_of(truth, TIMES, 3) == [3, 5]


def moving_cube(oracle: bool) -> xr.Dataset:
    """Two tracks; VV falls by 3 dB in a square at step 8, and by 1 dB in all forest at step 6."""
    rng = np.random.default_rng(0)
    image = np.full((16, 2, 60, 80), -10.0, dtype=np.float32)
    image[1::2] += 2.0  # the other track
    image[6:, :, :, :40] -= 1.0
    delay = 1 if oracle else 0  # an oracle shows the ground of the acquisition before
    image[8 + delay :, 0, 10:20, :10] -= 3.0
    if not oracle:
        image += rng.normal(0.0, 0.3, image.shape).astype(np.float32)
    cube = xr.Dataset(
        {
            "backscatter": (("time", "band", "y", "x"), image),
            "forest": (("y", "x"), np.arange(80) < np.full((60, 1), 40)),
        },
        coords={
            "time": np.datetime64("2020-06-01T05:00", "s") + np.arange(16) * np.timedelta64(3, "D"),
            "band": ["VV", "VH"],
            "relative_orbit": ("time", [11, 22] * 8),
            **xr_coords(GRID),
        },
    )
    return cube.assign(expected=cube["backscatter"]) if oracle else cube


@pytest.mark.parametrize("oracle", [True, False])
def test_magnitude_is_relative_to_the_same_cover_and_track(oracle: bool) -> None:
    cube = moving_cube(oracle)
    truth = dated("2020-06-24")
    assert cube["time"].values[8] == np.datetime64("2020-06-25T05:00")
    measured = with_magnitudes(truth, cube, 4)
    tolerance = 1e-4 if oracle else 0.1
    assert measured["vv_db"][0] == pytest.approx(-3.0, abs=tolerance)
    assert measured["vh_db"][0] == pytest.approx(0.0, abs=tolerance)
    assert measured["magnitude_db"][0] == pytest.approx(3.0, abs=tolerance)


def test_magnitude_is_unknown_without_images_before_or_after() -> None:
    measured = with_magnitudes(dated("2020-05-01", "2021-05-01"), moving_cube(False), 4)
    assert np.isnan(measured["magnitude_db"]).all()


def test_an_area_where_nothing_changed() -> None:
    none = no_changes(GRID)
    assert list(none.columns) == list(dated("2020-06-15").columns)
    measured = with_magnitudes(none, moving_cube(True), 4)
    assert counted_changes(measured, TIMES[2], TIMES[3:6], min_area_ha=0.5).shape == (0,)
    assert watches_of(none, TIMES, 3) == []


def test_pixels_of_an_outline() -> None:
    inside = rasterized([square(100, 200, 50)], GRID)
    expected = np.zeros((60, 80), dtype=bool)
    expected[20:25, 10:15] = True
    np.testing.assert_array_equal(inside, expected)
    assert not rasterized([], GRID).any()


def test_sizes_of_pixels_in_degrees() -> None:
    degrees = GeoBox((10, 10), Affine(0.001, 0.0, 25.0, 0.0, -0.0005, 60.0), "EPSG:4326")
    assert pixel_ha(degrees) == pytest.approx(0.31, rel=0.01)
    assert pixel_ha(GRID) == pytest.approx(0.01, rel=2e-3)  # the scale of UTM


def test_the_truth_of_a_world_is_such_a_file(world_cube: Path) -> None:
    cube = open_cube(world_cube)
    path = world_cube.parent / "world" / "truth" / "changes.gpkg"
    given = gpd.read_file(path)
    if given.empty:
        with pytest.raises(SarcastError, match="no polygons"):
            read_truth(path, cube.odc.geobox)
        return
    truth = with_magnitudes(read_truth(path, cube.odc.geobox), cube, 2)
    np.testing.assert_allclose(truth["area_ha"], given["area_m2"] / 1e4, rtol=1e-3)


def test_a_polygon_that_crosses_itself_on_the_plane() -> None:
    """A vertex far to the east, valid in degrees; GEOS cannot cut what crosses itself."""
    outline = [
        *((27.001154278772727, 62.23087243156591), (27.00115431306712, 62.23177005936472)),
        *((27.0, 62.23177006416517), (255.0, 62.23087243636621)),
    ]
    degrees = gpd.GeoDataFrame(
        {"date": ["2020-03-01"]}, geometry=[shapely.Polygon(outline)], crs="EPSG:4326"
    )
    (found,) = truth_frame(degrees, GRID).geometry
    assert found.is_valid
    assert 0.0 < found.area <= GRID.extent.geom.area
