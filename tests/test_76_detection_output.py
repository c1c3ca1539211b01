import json
from pathlib import Path

import geopandas
import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pystac.validation import validate_dict
from rio_cogeo.cogeo import cog_validate

from conftest import GRID
from sarcast.detection.detect import Detection, detection_images
from sarcast.detection.output import write_detection
from sarcast.detection.regions import remove_small_regions
from sarcast.sensor.units import DB


def on_grid(grid: GeoBox, actual: np.ndarray, changed: np.ndarray) -> Detection:
    """A detection whose expected image is 0 dB with a deviation of 2 dB."""
    coords = {**xr_coords(grid), "band": ["VV", "VH"]}
    blank = xr.DataArray(np.zeros_like(actual), coords, ("band", *grid.dims), attrs={"units": DB})
    blank = blank.rename(dict(zip(grid.dims, ("y", "x"), strict=True)))
    predicted = xr.Dataset({"expected": blank, "std": xr.full_like(blank, 2.0)})
    date = np.datetime64("2020-03-01T15:40:05", "ns")
    return Detection(
        images=detection_images(predicted, actual, changed, date),
        previous_date=np.datetime64("2020-02-24T15:40:05", "ns"),
        threshold_db=1.0,
        level_db=np.zeros(2, dtype=np.float32),
    )


@pytest.fixture
def actual() -> np.ndarray:
    """Two changes: 6 x 10 pixels of −3 and −4 dB, and a diagonal of 3 pixels of +8 dB in VV."""
    actual = np.zeros((2, *GRID.shape), dtype=np.float32)
    actual[0, 10:16, 20:30], actual[1, 10:16, 20:30] = -3.0, -4.0
    for step in range(3):
        actual[0, 40 + step, 50 + step] = 8.0
    actual[:, 0, 0] = np.nan
    return actual


@pytest.fixture
def changed(actual: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.abs(actual)).max(axis=0) > 0.0


@pytest.fixture
def detection(actual: np.ndarray, changed: np.ndarray) -> Detection:
    return on_grid(GRID, actual, changed)


def test_polygons_measure_each_change(detection: Detection) -> None:
    frame = detection.polygons
    assert frame.crs.to_epsg() == 32635
    assert frame["area_m2"].tolist() == [300.0, 6000.0]
    np.testing.assert_allclose(frame["mean_vv_db"], [8.0, -3.0])
    np.testing.assert_allclose(frame["mean_vh_db"], [0.0, -4.0])
    np.testing.assert_allclose(frame["strongest_z"], [4.0, 2.5])
    assert set(frame["date"]) == {"2020-03-01T15:40:05Z"}
    assert set(frame["previous_date"]) == {"2020-02-24T15:40:05Z"}
    corner = GRID.transform * (20, 10)
    assert frame.geometry[1].bounds == (corner[0], corner[1] - 60.0, corner[0] + 100.0, corner[1])


def test_area_in_degrees_is_in_square_metres(actual: np.ndarray, changed: np.ndarray) -> None:
    latitude, length = np.cos(np.radians(60.0)), 111_320.0
    for crs, corner, step, pixel in (
        ("EPSG:4326", (27.0, 60.0), 1e-4, (length * 1e-4) ** 2 * latitude),
        ("EPSG:3857", (27.0 * length, 8_399_737.9), 10.0, (10.0 * latitude) ** 2),
    ):
        grid = GeoBox(GRID.shape, Affine(step, 0, corner[0], 0, -step, corner[1]), crs)
        polygons = on_grid(grid, actual, changed).polygons
        assert polygons["area_m2"][1] == pytest.approx(60 * pixel, rel=0.01)


def test_the_share_is_of_valid_pixels(actual: np.ndarray, changed: np.ndarray) -> None:
    assert np.argwhere(~on_grid(GRID, actual, changed).valid).tolist() == [[0, 0]]
    above = np.arange(GRID.shape[0])[:, None] < 20
    half = on_grid(GRID, np.where(above, actual, np.float32(np.nan)), changed & above)
    assert half.changed_share == pytest.approx(60 / (20 * GRID.shape[1] - 1))


def test_small_regions_are_removed(changed: np.ndarray) -> None:
    kept = remove_small_regions(changed, 4)
    assert kept.sum() == 60
    assert remove_small_regions(changed, 3).sum() == 63
    assert remove_small_regions(changed, 61).sum() == 0


def test_the_folder(detection: Detection, tmp_path: Path) -> None:
    write_detection(detection, tmp_path, "change-2020-03-01", {"sarcast:model": "unet"})
    names = {"expected", "uncertainty", "difference", "change"}
    for name in names:
        valid, errors, _ = cog_validate(tmp_path / f"{name}.tif")
        assert valid, errors
        with rasterio.open(tmp_path / f"{name}.tif") as source:
            assert (source.transform, source.shape) == (GRID.transform, GRID.shape)
    with rasterio.open(tmp_path / "difference.tif") as source:
        np.testing.assert_allclose(source.read()[:, 10, 20], [-3.0, -4.0, 5.0])
    with rasterio.open(tmp_path / "change.tif") as source:
        change = source.read(1)
    assert change[0, 0] == 255
    assert (change == 1).sum() == 63
    frame = geopandas.read_file(tmp_path / "change.gpkg")
    assert len(frame) == 2
    assert frame.crs.to_epsg() == 32635


def test_the_item_is_valid_and_finds_its_files(detection: Detection, tmp_path: Path) -> None:
    write_detection(detection, tmp_path, "change-2020-03-01", {"sarcast:model": "unet"})
    written = json.loads((tmp_path / "item.json").read_text())
    validate_dict({**written, "stac_extensions": []})
    item = pystac.Item.from_file(str(tmp_path / "item.json"))
    item.make_asset_hrefs_absolute()
    assert set(item.assets) == {"expected", "uncertainty", "difference", "change", "polygons"}
    assert all(Path(asset.href).is_file() for asset in item.assets.values())
    assert item.properties["proj:code"] == "EPSG:32635"
    assert item.properties["sarcast:model"] == "unet"


def test_nothing_changed(actual: np.ndarray, tmp_path: Path) -> None:
    unchanged = on_grid(GRID, actual, np.zeros(GRID.shape, dtype=bool))
    write_detection(unchanged, tmp_path, "change-2020-03-01", {})
    assert len(geopandas.read_file(tmp_path / "change.gpkg")) == 0
