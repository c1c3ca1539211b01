import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.control import GroundControlPoint

from conftest import GRID, opera_name
from sarcast.errors import SarcastError, UsageError
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog

DEFAULTS = IndexOptions()


def power(level: float = 0.1, seed: int = 0) -> np.ndarray:
    return level * np.random.default_rng(seed).gamma(4.4, 1 / 4.4, (2, 60, 80))


def test_opera_names(scene_folder: Callable[..., Path]) -> None:
    folder = scene_folder({opera_name("20200301T154005", "S1B"): power()})
    (item,) = find_items([folder], DEFAULTS)
    properties = item.properties
    assert item.id == opera_name("20200301T154005", "S1B")
    assert item.datetime == dt.datetime(2020, 3, 1, 15, 40, 5, tzinfo=dt.UTC)
    assert properties["platform"] == "sentinel-1b"
    assert properties["sat:relative_orbit"] == 58
    assert properties["sat:orbit_state"] == "ascending"  # evening in Finland
    assert properties["sarcast:burst"] == "T058-123456-IW2"
    assert set(item.assets) == {"vv", "vh"}
    assert item.assets["vh"].extra_fields["bands"] == [{"name": "VH", "unit": "linear power"}]
    assert item.assets["vh"].extra_fields["sarcast:quantity"] == "gamma0"


def test_the_real_series(data_dir: Path) -> None:
    items = list(find_items([data_dir / "opera-rtc-s1"], DEFAULTS))
    assert len(items) == 6 * 31
    assert {item.properties["sat:orbit_state"] for item in items} == {"ascending"}
    assert {item.properties["sat:relative_orbit"] for item in items} == {137}
    assert {item.properties["platform"] for item in items} == {"sentinel-1a", "sentinel-1b"}
    assert all(set(item.assets) == {"vv", "vh"} for item in items)


def test_one_file_with_two_bands(tmp_path: Path) -> None:
    path = tmp_path / "S1A_IW_20200301T051122_rtc.tif"
    write_cog(path, power().astype(np.float32), GRID, bands=["VV", "VH"])
    (item,) = find_items([path], IndexOptions(unit="linear power", quantity="gamma0"))
    assert set(item.assets) == {"vv-vh"}
    assert item.properties["sat:orbit_state"] == "descending"
    with pytest.raises(SarcastError, match="contains neither unit nor quantity"):
        list(find_items([path], DEFAULTS))


def test_bands_without_names(tmp_path: Path) -> None:
    path = tmp_path / "S1A_IW_20200301T051122_rtc.tif"
    write_cog(path, power().astype(np.float32), GRID)
    with pytest.raises(SarcastError, match=r"the polarisations of .* are unknown"):
        list(find_items([path], IndexOptions(unit="linear power", quantity="gamma0")))


def test_a_stac_item_overrides_the_names_of_its_rasters(scene_folder: Callable[..., Path]) -> None:
    import json

    folder = scene_folder({opera_name("20200301T154005"): power()})
    (item,) = find_items([folder], DEFAULTS)
    item.properties["platform"] = "sentinel-1d"
    for asset in item.assets.values():
        asset.href = "./" + Path(asset.href).name
    (folder / "item.json").write_text(json.dumps(item.to_dict()))
    (indexed,) = find_items([folder], DEFAULTS)
    assert indexed.properties["platform"] == "sentinel-1d"
    assert Path(indexed.assets["vv"].href).is_file()
    with pytest.raises(UsageError, match="is an item that states them: omit them, or index"):
        list(find_items([folder], IndexOptions(unit="dB")))


def test_no_sentinel1_raster(tmp_path: Path) -> None:
    write_cog(tmp_path / "landsat.tif", power().astype(np.float32), GRID)
    with pytest.raises(SarcastError, match=r"no Sentinel-1 raster in .*\(1 other rasters there\)"):
        list(find_items([tmp_path], DEFAULTS))
    with pytest.raises(SarcastError, match="does not exist"):
        list(find_items([tmp_path / "nowhere"], DEFAULTS))


@pytest.mark.parametrize("kept", [0.97, 0.5, 0.001])
def test_a_truncated_file(scene_folder: Callable[..., Path], kept: float) -> None:
    folder = scene_folder({opera_name("20200301T154005"): power()})
    path = next(folder.glob("*VV.tif"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    message = r"VV\.tif cannot be read, it may be truncated or damaged"
    with pytest.raises(SarcastError, match=message):
        list(find_items([folder], DEFAULTS))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_crs(scene_folder: Callable[..., Path]) -> None:
    folder = scene_folder({opera_name("20200301T154005"): power()})
    path = next(folder.glob("*VH.tif"))
    with rasterio.open(path) as source:
        values = source.read()
    profile = {"driver": "GTiff", "count": 1, "height": 60, "width": 80, "dtype": "float32"}
    with rasterio.open(path, "w", transform=GRID.transform, **profile) as target:
        target.write(values)
    with pytest.raises(SarcastError, match=r"VH\.tif has no CRS"):
        list(find_items([folder], DEFAULTS))
    with rasterio.open(path, "w", **profile) as target:
        target.write(values)
        corners = [GroundControlPoint(0, 0, 26.9, 62.3), GroundControlPoint(60, 80, 27.0, 62.2)]
        target.gcps = (corners, "EPSG:4326")
    with pytest.raises(SarcastError, match=r"VH\.tif is located by 2 ground control points alone"):
        list(find_items([folder], DEFAULTS))


def test_decibels_declared_as_power_are_refused(scene_folder: Callable[..., Path]) -> None:
    folder = scene_folder({opera_name("20200301T154005"): 10.0 * np.log10(power())})
    with pytest.raises(SarcastError, match="declared in linear power, but its values are .* dB"):
        list(find_items([folder], DEFAULTS))


def test_power_declared_as_decibels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "S1A_20200301T051122_VV.tif"
    write_cog(path, power()[0].astype(np.float32), GRID)
    with pytest.raises(SarcastError, match="declared in dB, but its values are those of linear"):
        list(find_items([path], IndexOptions(unit="dB", quantity="gamma0")))


def test_partial_files_of_a_killed_run_are_ignored(scene_folder: Callable[..., Path]) -> None:
    folder = scene_folder({opera_name("20200301T154005"): power()})
    partial = folder / ".scene-0123abcd.partial"
    partial.mkdir()
    (partial / f"{opera_name('20200401T154005')}_VV.tif").write_bytes(b"half")
    (item,) = find_items([folder], DEFAULTS)
    assert item.id == opera_name("20200301T154005")


def test_mostly_negative_power_is_refused(scene_folder: Callable[..., Path]) -> None:
    folder = scene_folder({opera_name("20200301T154005"): -power()})
    with pytest.raises(SarcastError, match="never negative, but 100 % of its values are"):
        list(find_items([folder], DEFAULTS))


def test_coordinates_outside_the_crs_are_refused(scene_folder: Callable[..., Path]) -> None:
    metres_as_degrees = GeoBox(GRID.shape, GRID.transform, "EPSG:4326")
    folder = scene_folder({opera_name("20200301T154005"): power()}, metres_as_degrees)
    with pytest.raises(SarcastError, match="500000.* pixels have no area or lie nowhere"):
        list(find_items([folder], DEFAULTS))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_a_geotransform(tmp_path: Path) -> None:
    for band, values in zip(("VV", "VH"), power().astype(np.float32), strict=True):
        path = tmp_path / f"{opera_name('20200301T154005')}_{band}.tif"
        shape = {"height": 60, "width": 80, "count": 1, "dtype": "float32"}
        with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32635", **shape) as target:
            target.write(values, 1)
    with pytest.raises(SarcastError, match="a CRS but no geotransform"):
        list(find_items([tmp_path], DEFAULTS))
