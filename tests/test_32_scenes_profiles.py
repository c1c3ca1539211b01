"""Each shipped scene profile reads files or items in the published layout of its source."""

import datetime as dt
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import tifffile
import xarray as xr
from odc.geo.geobox import GeoBox

from conftest import GRID, opera_name
from sarcast.errors import SarcastError, UsageError
from sarcast.ingest.profiles import find_profile, shipped
from sarcast.ingest.scenes.acquisition import acquisitions
from sarcast.ingest.scenes.fuse import read_fused, read_layer
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.ingest.scenes.profile import (
    SceneProfile,
    parse_orbit_direction,
    parse_platform,
    scene_profiles,
)
from sarcast.ingest.scenes.stac import normalise_item, normalise_items
from sarcast.ingest.weather.layouts import WeatherProfile
from sarcast.io.cogs import write_cog
from sarcast.io.remote import RemoteOptions
from sarcast.sensor.orbits import heading_deg

DEFAULTS = IndexOptions()
POWER = 0.1 * np.random.default_rng(0).gamma(4.4, 1 / 4.4, (2, *GRID.shape)).astype(np.float32)
DECIBELS = 10.0 * np.log10(POWER)
GRD = "S1A_IW_GRDH_1SDV_20200301T051122_20200301T051147_031482_03A0B2_1B2C"


def pixels(item: pystac.Item, band: str = "VV", grid: GeoBox = GRID) -> np.ndarray:
    """Backscatter as a cube receives it, dB."""
    (acquisition,) = acquisitions([item])
    return read_fused(acquisition.layers(band), grid, "nearest", RemoteOptions())[0]


def angles(item: pystac.Item) -> np.ndarray:
    (acquisition,) = acquisitions([item])
    (layer,) = acquisition.layers("incidence")
    return read_layer(layer, GRID, "nearest", RemoteOptions())


def check(item: pystac.Item, quantity: str, **properties: Any) -> None:
    """The item has these properties, and its pixels are those that were written."""
    assert item.properties["platform"] == "sentinel-1a"
    assert item.properties["sat:orbit_state"] == "descending"
    quantities = {
        a.extra_fields["sarcast:quantity"] for a in item.assets.values() if "data" in a.roles
    }
    assert quantities == {quantity}
    for key, value in properties.items():
        assert item.properties[key.replace("__", ":")] == value
    for band, decibels in zip(("VV", "VH"), DECIBELS, strict=True):
        np.testing.assert_allclose(pixels(item, band), decibels, atol=1e-3)


def test_opera_with_static_layers(tmp_path: Path) -> None:
    base = opera_name("20200301T051122")
    for band, layer in zip(("VV", "VH"), POWER, strict=True):
        write_cog(tmp_path / f"{base}_{band}.tif", layer, GRID)
    write_cog(tmp_path / f"{base}_mask.tif", np.zeros(GRID.shape, np.uint8), GRID, nodata=255)
    static = "OPERA_L2_RTC-S1-STATIC_{}_20140403_S1A_30_v1.0_{}.tif"
    for burst, name, angle in (
        ("T058-123456-IW2", "incidence_angle", 38.5),
        ("T058-123456-IW2", "local_incidence_angle", 11.0),
        ("T058-123456-IW1", "incidence_angle", 33.0),
    ):
        write_cog(tmp_path / static.format(burst, name), np.full(GRID.shape, angle, "f4"), GRID)
    (item,) = find_items([tmp_path], DEFAULTS)
    check(item, "gamma0", sat__relative_orbit=58)
    assert set(np.unique(angles(item))) == {38.5}


@pytest.mark.parametrize(
    ("letters", "quantity", "values"),
    [
        ("gp", "gamma0", POWER),
        ("ga", "gamma0", np.sqrt(POWER)),
        ("gd", "gamma0", DECIBELS),
        ("sp", "sigma0", POWER),
    ],
)
def test_hyp3(tmp_path: Path, letters: str, quantity: str, values: np.ndarray) -> None:
    base = f"S1A_IW_20200301T051122_DVP_RTC30_G_{letters}uned_FD6A"
    for band, layer in zip(("VV", "VH"), values, strict=True):
        write_cog(tmp_path / base / f"{base}_{band}.tif", layer, GRID)
    for other in ("dem", "inc_map", "ls_map", "area", "rgb"):  # other files of the product
        write_cog(tmp_path / base / f"{base}_{other}.tif", POWER[0], GRID)
    (item,) = find_items([tmp_path], DEFAULTS)
    assert item.id == base
    assert set(item.assets) == {"vv", "vh"}
    check(item, quantity)


def test_earth_engine(tmp_path: Path) -> None:
    bands = np.stack([*DECIBELS, np.full(GRID.shape, 38.5)]).astype(np.float32)
    write_cog(tmp_path / f"{GRD}.tif", bands, GRID, bands=["VV", "VH", "angle"])
    (item,) = find_items([tmp_path], DEFAULTS)
    check(item, "sigma0", sat__relative_orbit=(31482 - 73) % 175 + 1)
    assert set(np.unique(angles(item))) == {38.5}


def test_earth_engine_power_must_be_declared(tmp_path: Path) -> None:
    write_cog(tmp_path / f"{GRD}.tif", POWER, GRID, bands=["VV", "VH"])
    with pytest.raises(SarcastError, match="declared in dB, but its values are those of linear"):
        list(find_items([tmp_path], DEFAULTS))
    (item,) = find_items([tmp_path], IndexOptions(unit="linear power"))
    check(item, "sigma0")


# --- SNAP ---------------------------------------------------------------------------------------


def header(bands: list[str], files: bool) -> str:
    """The parts of a BEAM-DIMAP header that describe bands and acquisition."""
    attributes = {
        "PRODUCT": GRD,
        "MISSION": "SENTINEL-1A",
        "PASS": "DESCENDING",
        "REL_ORBIT": "168",
        "first_line_time": "01-MAR-2020 05:11:22.123456",
    }
    metadata = "".join(f'<MDATTR name="{key}">{text}</MDATTR>' for key, text in attributes.items())
    infos = "".join(
        f"<Spectral_Band_Info><BAND_INDEX>{index}</BAND_INDEX><BAND_NAME>{band}</BAND_NAME>"
        f"<NO_DATA_VALUE_USED>true</NO_DATA_VALUE_USED><NO_DATA_VALUE>0.0</NO_DATA_VALUE>"
        f"</Spectral_Band_Info>"
        for index, band in enumerate(bands)
    )
    data = "".join(
        f'<Data_File><DATA_FILE_PATH href="product.data/{band}.hdr"/>'
        f"<BAND_INDEX>{index}</BAND_INDEX></Data_File>"
        for index, band in enumerate(bands)
    )
    return (
        f'<Dimap_Document name="product.dim"><Dataset_Sources><MDElem name="metadata">'
        f'<MDElem name="Abstracted_Metadata">{metadata}</MDElem></MDElem></Dataset_Sources>'
        f"<Data_Access>{data if files else ''}</Data_Access>"
        f"<Image_Interpretation>{infos}</Image_Interpretation></Dimap_Document>"
    )


def dimap(folder: Path, bands: dict[str, np.ndarray]) -> None:
    (folder / "product.data").mkdir(parents=True)
    for band, layer in bands.items():
        with rasterio.open(
            folder / "product.data" / f"{band}.img",
            "w",
            driver="ENVI",
            dtype="float32",
            count=1,
            height=GRID.height,
            width=GRID.width,
            crs=GRID.crs.to_wkt(),
            transform=GRID.transform,
        ) as target:
            target.write(layer.astype(np.float32), 1)
    (folder / "product.dim").write_text(header(list(bands), files=True))


def test_snap_dimap(tmp_path: Path) -> None:
    """Gamma nought is preferred to sigma nought, and zeros are missing."""
    power = POWER.copy()
    power[:, :5] = 0.0
    dimap(
        tmp_path,
        {
            "Sigma0_VV": POWER[0] * 3.0,
            "elevation": np.full(GRID.shape, 120.0),
            "Gamma0_VH": power[1],
            "Gamma0_VV": power[0],
            "incidenceAngleFromEllipsoid": np.full(GRID.shape, 38.5),
        },
    )
    (item,) = find_items([tmp_path], DEFAULTS)
    assert set(item.assets) == {"vv", "vh", "incidence"}
    assert item.assets["incidence"].roles == ["metadata"]
    assert item.datetime == dt.datetime(2020, 3, 1, 5, 11, 22, 123456, tzinfo=dt.UTC)
    assert item.properties["sat:relative_orbit"] == 168
    assert np.isnan(pixels(item)[:5]).all()
    np.testing.assert_allclose(pixels(item, "VH")[5:], DECIBELS[1, 5:], atol=1e-3)
    assert set(np.unique(angles(item))) == {38.5}


def test_snap_dimap_in_decibels(tmp_path: Path) -> None:
    dimap(tmp_path, {"Sigma0_VH_db": DECIBELS[1], "Sigma0_VV_db": DECIBELS[0]})
    (item,) = find_items([tmp_path], DEFAULTS)
    check(item, "sigma0", sat__relative_orbit=168)


def test_a_duplicate_scene_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same file in another folder, and the same product in another format."""
    for folder in ("a", "b"):
        write_cog(tmp_path / folder / f"{GRD}.tif", DECIBELS, GRID, bands=["VV", "VH"])
    dimap(tmp_path / "c", {"Gamma0_VV": POWER[0], "Gamma0_VH": POWER[1]})
    (tmp_path / "c" / "product.dim").rename(tmp_path / "c" / f"{GRD}.dim")
    (item,) = find_items([tmp_path], DEFAULTS)
    check(item, "sigma0")
    assert item.assets["vv-vh"].href == str(tmp_path / "a" / f"{GRD}.tif")
    assert "2 left out (copy of a scene that is used): " in capsys.readouterr().err


def test_snap_dimap_without_its_data(tmp_path: Path) -> None:
    dimap(tmp_path, {"Gamma0_VV": POWER[0], "Gamma0_VH": POWER[1]})
    (tmp_path / "product.data" / "Gamma0_VH.img").unlink()
    with pytest.raises(SarcastError, match=r"refers to .*Gamma0_VH\.img, which does not exist"):
        list(find_items([tmp_path], DEFAULTS))
    (tmp_path / "product.dim").write_text("<Dimap_Document>")
    with pytest.raises(SarcastError, match="cannot be read as BEAM-DIMAP"):
        list(find_items([tmp_path], DEFAULTS))


def test_snap_geotiff(tmp_path: Path) -> None:
    """SNAP describes no band, but stores the BEAM-DIMAP header in a private tag."""
    plain = tmp_path / "plain.tif"
    with rasterio.open(
        plain,
        "w",
        driver="GTiff",
        dtype="float32",
        count=2,
        height=GRID.height,
        width=GRID.width,
        crs=GRID.crs.to_wkt(),
        transform=GRID.transform,
    ) as target:
        target.write(POWER)
    geo = (33550, 33922, 34735, 34736, 34737)
    with tifffile.TiffFile(plain) as file:
        tags = [file.pages.first.tags[code] for code in geo if code in file.pages.first.tags]
        extra = [(tag.code, tag.dtype, tag.count, tag.value, True) for tag in tags]
    text = header(["Gamma0_VV", "Gamma0_VH"], files=False)
    tifffile.imwrite(
        tmp_path / f"{GRD}_Orb_NR_Cal_TF_TC.tif",
        POWER,
        planarconfig="separate",
        photometric="minisblack",
        extratags=[*extra, (65000, "s", 0, text, True)],
        metadata=None,
    )
    plain.unlink()
    (item,) = find_items([tmp_path], DEFAULTS)
    assert item.id == f"{GRD}_Orb_NR_Cal_TF_TC"
    check(item, "gamma0", sat__relative_orbit=168)


# --- series -------------------------------------------------------------------------------------


def series(path: Path) -> np.ndarray:
    times = np.array(["2018-08-02T05:31:51", "2018-08-08T17:32:32"], dtype="datetime64[ns]")
    values = np.stack([DECIBELS, DECIBELS + 1.0], axis=1)
    y, x = (GRID.coordinates[name].values for name in ("y", "x"))
    variables = {
        band: (("timestamp", "y", "x"), layer, {"grid_mapping": "spatial_ref", "resolution": 20})
        for band, layer in zip(("VV", "VH"), values, strict=True)
    }
    crs = xr.Variable((), 0, {"crs_wkt": GRID.crs.to_wkt(), "spatial_ref": GRID.crs.to_wkt()})
    coords = {"timestamp": times, "y": y, "x": x, "spatial_ref": crs}
    xr.Dataset(variables, coords=coords).to_netcdf(path)
    return values


def test_a_series_in_netcdf(tmp_path: Path) -> None:
    path = tmp_path / "S1_GRD-ASCENDING_20m_00002806639B424A_32635_2017-08-01_2018-11-30.nc"
    values = series(path)
    with pytest.raises(UsageError, match="name a folder for them with --unpack-to"):
        list(find_items([path], DEFAULTS))
    items = list(find_items([path], DEFAULTS, unpack_to=tmp_path / "scenes"))
    assert [str(item.datetime)[:19] for item in items] == [
        "2018-08-02 05:31:51",
        "2018-08-08 17:32:32",
    ]
    # The orbit direction is part of the file name.
    assert {item.properties["sat:orbit_state"] for item in items} == {"ascending"}
    assert all("platform" not in item.properties for item in items)
    for item, layer in zip(items, values[0], strict=True):
        np.testing.assert_allclose(pixels(item), layer, atol=1e-4)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "scenes").rglob("*.tif")}
    list(find_items([path], DEFAULTS, unpack_to=tmp_path / "scenes"))
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "scenes").rglob("*.tif")}


def test_the_real_series(data_dir: Path, tmp_path: Path) -> None:
    (path,) = data_dir.glob("worldcereal/2021_TZA*/S1_GRD*.nc")
    items = list(find_items([path], DEFAULTS, unpack_to=tmp_path))
    with xr.open_dataset(path) as dataset:
        scene = dataset.isel(timestamp=3).load()
        assert len(items) == dataset.sizes["timestamp"]
    with rasterio.open(items[3].assets["vv-vh"].href) as source:
        np.testing.assert_allclose(source.read(1), scene["VV"], atol=1e-4)
        assert source.transform.c == float(scene["x"][0]) - 10.0
        assert source.transform.f == float(scene["y"][0]) + 10.0


# --- orbit direction and heading ----------------------------------------------------------------

PROFILE = """
title: Our own processor
files: '(?P<scene>own_(?P<time>\\d{8}))(_(?P<heading>-?[\\d.]+))?(_(?P<band>VV|VH))?\\.tif'
time_format: '%Y%m%d'
bands: ['(?P<band>VV|VH)']
facts: {unit: linear power, quantity: gamma0}
"""


def user_profile(folder: Path, more: str = "") -> IndexOptions:
    (folder / "own.yaml").write_text(PROFILE + more)
    return IndexOptions(profile=(str(folder / "own.yaml"),))


def direction_and_heading(item: pystac.Item) -> tuple[str, float]:
    """Orbit direction and heading as a cube receives them."""
    (acquisition,) = acquisitions([item])
    return acquisition.orbit_direction, acquisition.heading_deg


@pytest.mark.parametrize(
    ("heading", "direction", "kept"),
    [("-12.3", "ascending", -12.3), ("348", "ascending", -12.0), ("-166.3", "descending", -166.3),
     ("193.7", "descending", -166.3)],
)  # fmt: skip
def test_the_orbit_direction_follows_from_the_heading(
    tmp_path: Path, heading: str, direction: str, kept: float
) -> None:
    """The files have only a date, from which no orbit direction follows."""
    for band, layer in zip(("VV", "VH"), POWER, strict=True):
        write_cog(tmp_path / f"own_20200301_{heading}_{band}.tif", layer, GRID)
    (item,) = find_items([tmp_path], user_profile(tmp_path))
    assert direction_and_heading(item) == (direction, pytest.approx(kept))


def test_a_raster_of_headings_gives_heading_and_orbit_direction(tmp_path: Path) -> None:
    """As a band, and as a file beside the scene; the mean around south is circular."""
    around = np.where(np.indices(GRID.shape)[1] < 40, 179.0, -178.0).astype(np.float32)
    bands = np.stack([*POWER, around])
    write_cog(tmp_path / "own_20200301.tif", bands, GRID, bands=["VV", "VH", "azimuth"])
    (item,) = find_items([tmp_path], user_profile(tmp_path, "heading: {band: azimuth}"))
    assert direction_and_heading(item) == ("descending", pytest.approx(-179.5))
    write_cog(tmp_path / "own_20200301_heading.tif", np.full(GRID.shape, -13.0, "f4"), GRID)
    (item,) = find_items(
        [tmp_path], user_profile(tmp_path, "heading: {file: '{scene}_heading[.]tif'}")
    )
    assert direction_and_heading(item) == ("ascending", pytest.approx(-13.0))
    (item,) = find_items([tmp_path], user_profile(tmp_path))
    assert direction_and_heading(item) == ("", pytest.approx(np.nan, nan_ok=True))


def test_a_scene_beyond_the_orbit_has_no_heading(tmp_path: Path) -> None:
    """The antenna looks to the right: near the poles scenes lie beyond the ground track."""
    item = foreign_item(tmp_path, "sentinel-1-rtc", ("vv", "vh"), POWER)
    for latitude, known in ((81.5, True), (82.5, False)):
        item.bbox = [27.0, latitude - 0.1, 28.0, latitude + 0.1]
        assert (
            np.isfinite(direction_and_heading(normalise_item(item, scene_profiles()))[1]) == known
        )


def test_an_item_may_have_a_start_and_an_end_instead_of_a_time(tmp_path: Path) -> None:
    item = foreign_item(tmp_path, "sentinel-1-rtc", ("vv", "vh"), POWER)
    first = item.datetime
    item.common_metadata.start_datetime = first
    item.common_metadata.end_datetime = first + dt.timedelta(seconds=25)
    item.datetime = None
    (acquisition,) = acquisitions([normalise_item(item, scene_profiles())])
    assert acquisition.time == np.datetime64(first.replace(tzinfo=None), "s")


def test_the_heading_of_a_scene_from_snap(tmp_path: Path) -> None:
    dimap(tmp_path, {"Gamma0_VV": POWER[0], "Gamma0_VH": POWER[1]})
    plain = (tmp_path / "product.dim").read_text()
    for text, expected in (("-166.31", -166.31), ("99999.0", heading_deg(62.2, "descending"))):
        attributes = f'<MDATTR name="centre_heading">{text}</MDATTR><MDATTR name="PASS">'
        (tmp_path / "product.dim").write_text(plain.replace('<MDATTR name="PASS">', attributes))
        (item,) = find_items([tmp_path], DEFAULTS)
        assert direction_and_heading(item) == ("descending", pytest.approx(expected, abs=0.05))


def test_the_orbit_direction_of_an_item_follows_from_time_and_longitude(tmp_path: Path) -> None:
    """At 27 E 5:11 UTC is early morning; at 180 E, across the antimeridian, it is 17:11 local."""
    item = foreign_item(tmp_path, "sentinel-1-rtc", ("vv", "vh"), POWER)
    del item.properties["sat:orbit_state"]
    assert direction_and_heading(normalise_item(item, scene_profiles()))[0] == "descending"
    item.bbox = [179.5, 62.0, -179.5, 62.5]
    assert direction_and_heading(normalise_item(item, scene_profiles()))[0] == "ascending"
    item.datetime = dt.datetime(2020, 3, 1, tzinfo=dt.UTC)
    known = normalise_item(item, scene_profiles())
    assert "sat:orbit_state" not in known.properties
    assert np.isnan(direction_and_heading(known)[1])
    (tmp_path / "own.yaml").write_text(
        "title: a\nextends: planetary-computer-rtc\nproperties: {heading: 'my:heading'}\n"
    )
    item.properties["my:heading"] = 192.5
    known = normalise_item(item, scene_profiles([str(tmp_path / "own.yaml")]))
    assert direction_and_heading(known) == ("descending", pytest.approx(-167.5))


# --- items of other providers -------------------------------------------------------------------


def foreign_item(
    folder: Path, collection: str, keys: tuple[str, str], values: np.ndarray
) -> pystac.Item:
    """An item as catalogues return it: platform in capitals, and no units."""
    box = GRID.geographic_extent
    item = pystac.Item(
        f"{GRD}_rtc",
        json.loads(json.dumps(box.json)),
        list(box.boundingbox.bbox),
        dt.datetime(2020, 3, 1, 5, 11, 34, tzinfo=dt.UTC),
        {
            "platform": "SENTINEL-1A",
            "constellation": "Sentinel-1",
            "sat:orbit_state": "descending",
            "sat:relative_orbit": 168,
            "sar:polarizations": ["VV", "VH"],
            "proj:epsg": 32635,
            "proj:shape": list(GRID.shape),
            "proj:transform": list(GRID.transform)[:6],
        },
        collection=collection,
    )
    for key, layer in zip(keys, values, strict=True):
        write_cog(folder / f"{key}.tif", layer, GRID, nodata=None)
        bands = [{"data_type": "float32", "spatial_resolution": 10.0}]
        asset = pystac.Asset(
            f"{folder}/{key}.tif", roles=["data"], extra_fields={"raster:bands": bands}
        )
        item.add_asset(key, asset)
    item.add_asset("tilejson", pystac.Asset("https://example.com/tile.json", roles=["tiles"]))
    return item


@pytest.mark.parametrize(
    ("collection", "keys"),
    [("sentinel-1-rtc", ("vv", "vh")), ("sentinel1-rtc-aws", ("gamma0_vv", "gamma0_vh"))],
)
def test_rtc_items(tmp_path: Path, collection: str, keys: tuple[str, str]) -> None:
    item = foreign_item(tmp_path, collection, keys, POWER)
    known = normalise_item(item, scene_profiles())
    check(known, "gamma0", sat__relative_orbit=168)
    assert set(known.assets) == {"vv", "vh"}
    assert item.properties["platform"] == "SENTINEL-1A"  # the original item does not change
    assert normalise_item(known, scene_profiles()) is known


def test_zeros_of_indigo_items_are_missing(tmp_path: Path) -> None:
    power = POWER.copy()
    power[:, :, :7] = 0.0
    item = foreign_item(tmp_path, "sentinel1-rtc-aws", ("gamma0_vv", "gamma0_vh"), power)
    decibels = pixels(normalise_item(item, scene_profiles()))
    assert np.isnan(decibels[:, :7]).all()
    assert np.isfinite(decibels[:, 7:]).all()


def test_an_item_of_another_provider_on_disk(tmp_path: Path) -> None:
    item = foreign_item(tmp_path, "sentinel-1-rtc", ("vv", "vh"), POWER)
    (tmp_path / "item.json").write_text(json.dumps(item.to_dict()))
    (indexed,) = find_items([tmp_path], DEFAULTS)
    check(indexed, "gamma0", sat__relative_orbit=168)


def test_a_remote_item_is_indexed_without_reading_it(tmp_path: Path) -> None:
    item = foreign_item(tmp_path, "sentinel-1-rtc", ("vv", "vh"), POWER)
    for key in ("vv", "vh"):
        item.assets[key].href = f"https://example.com/{key}.tif"
    (tmp_path / "vv.tif").unlink()
    (tmp_path / "item.json").write_text(json.dumps(item.to_dict()))
    (indexed,) = find_items([tmp_path / "item.json"], DEFAULTS)
    assert indexed.assets["vv"].href == "https://example.com/vv.tif"
    assert indexed.properties["platform"] == "sentinel-1a"


def test_grd_items_are_refused_with_advice(tmp_path: Path) -> None:
    item = foreign_item(tmp_path, "sentinel-1-grd", ("vv", "vh"), POWER)
    with pytest.raises(SarcastError, match=r"is a level-1 product in radar geometry.* sarcast rtc"):
        normalise_item(item, scene_profiles())


def test_items_that_match_no_profile(tmp_path: Path) -> None:
    item = foreign_item(tmp_path, "my-own-rtc", ("backscatter_vv", "backscatter_vh"), DECIBELS)
    with pytest.raises(SarcastError, match=r"'my-own-rtc', which matches no .* \(known: .*-rtc"):
        normalise_item(item, scene_profiles())
    (tmp_path / "own.yaml").write_text(
        "title: Our own\n"
        "collections: [my-own-rtc]\n"
        "assets: {VV: backscatter_vv, VH: backscatter_vh}\n"
        "facts: {unit: dB, quantity: gamma0}\n"
        "incidence: {asset: angle}\n"
    )
    own = scene_profiles([str(tmp_path / "own.yaml")])
    assert "incidence" not in normalise_item(item, own).assets
    write_cog(tmp_path / "angle.tif", np.full(GRID.shape, 38.5, "f4"), GRID)
    item.add_asset("angle", pystac.Asset(f"{tmp_path}/angle.tif"))
    known = normalise_item(item, own)
    check(known, "gamma0")
    assert set(np.unique(angles(known))) == {38.5}
    item.assets.clear()
    with pytest.raises(SarcastError, match="has none of the assets backscatter_vv, backscatter_vh"):
        normalise_item(item, own)


def test_items_of_other_polarisations_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = foreign_item(tmp_path, "sentinel-1-rtc", ("vv", "vh"), POWER)
    other = foreign_item(tmp_path, "sentinel-1-rtc", ("hh", "hv"), POWER)
    assert len(normalise_items([both, other, both], scene_profiles())) == 2
    assert "1 left out (polarisation HH or HV, where VV or VH is used): " in capsys.readouterr().err
    (alone,) = normalise_items([other], scene_profiles())
    assert set(alone.assets) == {"hh", "hv"}


def test_a_normalised_item_without_a_unit(tmp_path: Path) -> None:
    item = normalise_item(
        foreign_item(tmp_path, "sentinel-1-rtc", ("vv", "vh"), POWER), scene_profiles()
    )
    item.assets["vv"].extra_fields["bands"] = [{"name": "VV"}]
    with pytest.raises(SarcastError, match="is declared in None; expected 'linear power', 'dB'"):
        normalise_item(item, scene_profiles())


# --- user profiles, and bad input ---------------------------------------------------------------


def test_a_user_profile_of_files(tmp_path: Path) -> None:
    """It takes precedence over shipped profiles, and has its own code for the orbit direction."""
    for band, layer in zip(("VV", "VH"), DECIBELS, strict=True):
        write_cog(tmp_path / f"our_2020-03-01_D168_{band.lower()}_S1A.tif", layer, GRID)
    (tmp_path / "own.yaml").write_text(
        "title: Our own\n"
        r"files: '(?P<scene>our_(?P<time>[\d-]+)_(?P<orbit_direction>[AD])(?P<relative_orbit>\d+))"
        r"_(?P<band>vv|vh)_(?P<platform>S1[A-D])\.tif'"
        "\ntime_format: '%Y-%m-%d'\n"
        "facts: {unit: dB, quantity: gamma0, incidence: '38.5'}\n"
    )
    own = IndexOptions(profile=(str(tmp_path / "own.yaml"),))
    (item,) = find_items([tmp_path], own)
    check(item, "gamma0", sat__relative_orbit=168, view__incidence_angle=38.5)
    (tmp_path / "own.yaml").write_text(
        (tmp_path / "own.yaml").read_text().replace("orbit_direction", "pass_")
    )
    (item,) = find_items([tmp_path], own)
    assert "sat:orbit_state" not in item.properties  # no orbit direction follows from a date


def test_a_profile_with_an_unknown_quantity(tmp_path: Path) -> None:
    write_cog(tmp_path / "our_20200301T051122_VV.tif", DECIBELS[0], GRID)
    (tmp_path / "own.yaml").write_text(
        "title: Our own\n"
        r"files: 'our_(?P<time>\w+)_(?P<band>VV)\.tif'"
        "\nfacts: {unit: dB, quantity: beta0, incidence: steep}\n"
    )
    own = IndexOptions(profile=(str(tmp_path / "own.yaml"),))
    with pytest.raises(SarcastError, match="is declared as 'beta0'; expected gamma0 or sigma0"):
        list(find_items([tmp_path], own))
    (item,) = find_items([tmp_path], own.model_copy(update={"quantity": "sigma0"}))
    assert item.id == "our_20200301T051122_VV"
    assert "view:incidence_angle" not in item.properties


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: x\nfiels: a", r"own\.yaml is not a valid scenes profile: fiels: Extra inputs"),
        ("title: x\nfiles: '('", r"files: Value error, '\(' is not a regular expression"),
        ("title: [", "cannot be read as YAML"),
        ("- a", "is not a profile: expected YAML with fields"),
        ("extends: nothing", "there is no scenes profile 'nothing': expected .* earth-engine"),
    ],
)
def test_profiles_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        find_profile(SceneProfile, str(tmp_path / "own.yaml"))


def test_a_profile_extends_another(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "extends: era5-land\nvariables: {temperature: {names: [a]}}\n"
    )
    own = find_profile(WeatherProfile, str(tmp_path / "own.yaml"))
    base = find_profile(WeatherProfile, "era5-land")
    assert own.name == "own"
    assert own.variables["temperature"].names == ("a",)
    assert own.variables["temperature"].units == "K"
    assert own.variables["precipitation"] == base.variables["precipitation"]


def test_the_profiles_of_the_documentation(tmp_path: Path) -> None:
    """The example profiles in docs/reference/sources.md are indented blocks."""
    page = Path(__file__).parents[1] / "docs" / "reference" / "sources.md"
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    kinds = [SceneProfile, WeatherProfile]
    assert len(blocks) == len(kinds)
    for kind, block in zip(kinds, blocks, strict=True):
        (tmp_path / "own.yaml").write_text(textwrap.dedent(block), encoding="utf-8")
        own = find_profile(kind, str(tmp_path / "own.yaml"))
        if isinstance(own, SceneProfile):
            groups = own.groups("our_20200301T051122_D168_vv_S1A.tif")
            assert groups is not None
            assert groups["scene"] == "our_20200301T051122_D168"
    for profile in (*shipped(SceneProfile), *shipped(WeatherProfile)):
        assert f"`{profile.name}`" in text


def test_shipped_profiles_have_a_title_and_a_reference() -> None:
    for kind in (SceneProfile, WeatherProfile):
        for profile in shipped(kind):
            assert len(profile.title) > 10
            assert profile.reference or "columns" in profile.title or "name" in profile.title


def test_an_empty_raster_is_left_out_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = np.full((2, *GRID.shape), np.nan, dtype=np.float32)
    write_cog(tmp_path / f"{GRD}.tif", empty, GRID, bands=["VV", "VH"])
    write_cog(tmp_path / f"{GRD[:-4]}0000.tif", DECIBELS, GRID, bands=["VV", "VH"])
    assert len(find_items([tmp_path], DEFAULTS)) == 1
    assert f"(no data, every pixel is 0 or missing): {GRD}" in capsys.readouterr().err
    (tmp_path / f"{GRD[:-4]}0000.tif").unlink()
    with pytest.raises(SarcastError, match=r"none of the scenes can be used: 1 left out \(no data"):
        find_items([tmp_path], DEFAULTS)


def test_an_almost_empty_raster_is_kept(tmp_path: Path) -> None:
    wide = GeoBox((1500, 1500), GRID.transform, GRID.crs)
    values = np.full((2, *wide.shape), np.nan, dtype=np.float32)
    values[:, 733, 1001] = -12.0
    write_cog(tmp_path / f"{GRD}.tif", values, wide, bands=["VV", "VH"])
    assert len(list(find_items([tmp_path], DEFAULTS))) == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("S1A", "sentinel-1a"),
        ("SENTINEL-1B", "sentinel-1b"),
        ("sentinel-1c", "sentinel-1c"),
        ("Sentinel-1", None),
        ("S1E", None),
        (None, None),
    ],
)
def test_platforms(text: str | None, name: str | None) -> None:
    assert parse_platform(text) == name


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("ASCENDING", "ascending"),
        ("D", "descending"),
        ("desc", "descending"),
        ("sideways", None),
        ("", None),
        (None, None),
    ],
)
def test_orbit_directions(text: str | None, direction: str | None) -> None:
    assert parse_orbit_direction(text) == direction
