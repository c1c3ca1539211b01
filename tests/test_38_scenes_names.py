"""Names that people's files have: each source, satellite, polarisation and variant."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from conftest import GRID
from sarcast.catalogue.scene import POLARISATIONS
from sarcast.errors import SarcastError
from sarcast.ingest.profiles import find_profile, shipped
from sarcast.ingest.scenes.acquisition import acquisitions
from sarcast.ingest.scenes.fuse import read_fused
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.ingest.scenes.profile import SceneProfile, scene_profiles
from sarcast.io.cogs import write_cog
from sarcast.io.remote import RemoteOptions
from sarcast.sensor.conditions import PLATFORMS
from sarcast.sensor.orbits import relative_orbit

POWER = 0.1 * np.random.default_rng(7).gamma(20.0, 1 / 20.0, (2, *GRID.shape)).astype(np.float32)
DECIBELS = 10.0 * np.log10(POWER)
EE = "S1A_IW_GRDH_1SDV_20200301T051122_20200301T051147_031482_03A0B2_1B2C"

EXAMPLES = {
    "earth-engine": f"1_{EE}.VV.tif",
    "hyp3-rtc": "S1A_IW_20200301T051122_DVP_RTC30_G_gpuned_FD6A_VV.tif",
    "opera-rtc-s1": "OPERA_L2_RTC-S1_T058-123456-IW2_20200301T051122Z_20250101T000000Z_S1A_30_v1.0"
    "_VV.tif",
    "pyrosar": "S1A__IW___A_20150222T170750_VV_gamma0-rtc.tif",
    "s1tiling": "s1a_33NWB_vv_DES_007_20200108t044150_sigma.tif",
    "sentinel-1-name": "S1A_20200301T051122_VV.tif",
}


@pytest.mark.parametrize("letter", [platform[-1] for platform in PLATFORMS])
@pytest.mark.parametrize("name", EXAMPLES)
def test_names_of_every_satellite_and_polarisation(name: str, letter: str) -> None:
    example = EXAMPLES[name]
    renamed = example.replace("S1A", f"S1{letter.upper()}").replace("s1a", f"s1{letter}")
    profile = find_profile(SceneProfile, name)
    for band in POLARISATIONS:
        groups = profile.groups(renamed.replace("VV", band).replace("vv", band.lower()))
        assert groups is not None
        assert groups["band"].upper() == band
        assert groups["platform"].upper() == f"S1{letter.upper()}"
    matching = [each for each in scene_profiles() if each.groups(renamed) and not each.snap_header]
    assert matching[0].name == name


def test_every_profile_of_single_files_has_an_example() -> None:
    named = {
        each.name for each in shipped(SceneProfile) if each.files and "<platform>" in each.files
    }
    assert named == set(EXAMPLES)


def write(
    folder: Path,
    name: str,
    values: np.ndarray = POWER,
    bands: tuple[str, ...] = ("VV", "VH"),
    **tags: str,
) -> None:
    """One file a band, where the name contains {}, or else one file."""
    if "{}" not in name:
        write_cog(folder / name, values, GRID, bands=bands, tags=tags)
        return
    for band, layer in zip(bands, values, strict=True):
        write_cog(folder / name.format(band), layer, GRID, tags=tags)


def check(
    folder: Path,
    properties: Mapping[str, object],
    options: IndexOptions = IndexOptions(),  # noqa: B008
) -> None:
    """The folder has one scene with these properties, and the pixels that were written."""
    (item,) = find_items([folder], options)
    stated = {
        **item.properties,
        "id": item.id,
        "datetime": item.to_dict()["properties"]["datetime"],
    }
    stated |= {"quantity": acquisitions([item])[0].quantity}
    assert {key: stated.get(key) for key in properties} == properties
    for band, decibels in zip(("VV", "VH"), DECIBELS, strict=True):
        layers = acquisitions([item])[0].layers(band)
        found, _ = read_fused(layers, GRID, "nearest", RemoteOptions())[:2]
        np.testing.assert_allclose(found, decibels, atol=1e-3)


# --- Earth Engine ---------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "1_", "2_", "1_1_", "1_2_13_", "0_"])
def test_prefixes_of_merged_collections(prefix: str, tmp_path: Path) -> None:
    write(tmp_path, f"{prefix}{EE}.tif", DECIBELS)
    check(tmp_path, {"id": EE, "quantity": "sigma0", "sat:relative_orbit": 85})


def test_one_image_of_two_merged_collections_is_one_scene(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, f"2_{EE}.tif", DECIBELS)
    write(tmp_path, f"1_{EE}.tif", DECIBELS)
    check(tmp_path, {"id": EE})
    output = capsys.readouterr().err
    assert "1 left out (another processing of a scene that is used): " in output
    assert f"{tmp_path}/2_{EE}.tif" in output


def test_parts_of_an_exported_image_are_one_acquisition(tmp_path: Path) -> None:
    """Large exports are split, and each part has its offset in the name."""
    for column in (0, 40):
        part = GRID[:, column : column + 40]
        name = f"1_{EE}-0000000000-{column:010d}.tif"
        write_cog(tmp_path / name, DECIBELS[..., column : column + 40], part, bands=["VV", "VH"])
    (whole,) = acquisitions(find_items([tmp_path], IndexOptions()))
    found, _ = read_fused(whole.layers("VH"), GRID, "nearest", RemoteOptions())[:2]
    np.testing.assert_allclose(found, DECIBELS[1], atol=1e-3)


# --- pyroSAR --------------------------------------------------------------------------------------

BASE = "S1A__IW___D_20200301T051122"


@pytest.mark.parametrize(
    ("steps", "in_db", "quantity"),
    [
        ("_gamma0-rtc", False, "gamma0"),
        ("_gamma0-rtc_db", True, "gamma0"),
        ("_sigma0-elp", False, "sigma0"),
        ("_sigma0-rtc_geo_db", True, "sigma0"),
        ("_grd_mli_norm_geo_db", True, None),
        ("_grd_mli_geo_norm", False, None),
        ("_NR_Orb_Cal_ML_TF_TC_dB", True, None),
        ("_NR_Orb_Cal_ML_TF_TC", False, None),
        ("", False, None),
    ],
)
def test_pyrosar(steps: str, in_db: bool, quantity: str | None, tmp_path: Path) -> None:
    values = DECIBELS if in_db else POWER
    write(tmp_path, f"{BASE}_{{}}{steps}.tif", values)
    write_cog(tmp_path / f"{BASE}_inc_geo.tif", POWER[0], GRID)  # no backscatter
    expected = {
        "id": BASE,
        "platform": "sentinel-1a",
        "sat:orbit_state": "descending",
        "sar:instrument_mode": "IW",
        "datetime": "2020-03-01T05:11:22Z",
        "quantity": quantity or "sigma0",
    }
    if quantity is None:
        with pytest.raises(SarcastError, match="contains neither unit nor quantity; declare"):
            find_items([tmp_path], IndexOptions())
    check(tmp_path, expected, IndexOptions(quantity=None if quantity else "sigma0"))


@pytest.mark.parametrize(
    ("names", "unit"),
    [
        (("Sigma0_VV_db", "Sigma0_VH_db"), None),
        (("Gamma0_VV", "Gamma0_VH"), "linear power"),
        (("vv", "vh"), "linear power"),
    ],
)
def test_bands_of_snap_without_its_header(
    names: tuple[str, ...], unit: str | None, tmp_path: Path
) -> None:
    """As files that were copied by GDAL, which drops the header."""
    name = "S1A_IW_GRDH_1SDV_20200301T051122_20200301T051147_031480_03A0C1_AB12_Orb_Cal_TC"
    write(tmp_path, f"{name}.tif", POWER if unit else DECIBELS, names)
    quantity = "sigma0" if "Sigma0" in names[0] else "gamma0"
    stated = quantity if names[0] == "vv" else None
    check(tmp_path, {"quantity": quantity}, IndexOptions(unit=unit, quantity=stated))


def test_pyrosar_with_extensions_modes_and_angles(tmp_path: Path) -> None:
    """Other fields may stand between time and polarisation; names of modes are filled with _."""
    write(tmp_path, "S1B__S3___A_20200301T154005_149_manual_{}_gamma0-rtc.tif")
    angles = tmp_path / "S1B__S3___A_20200301T154005_149_manual_incidenceAngleFromEllipsoid.tif"
    write_cog(angles, np.full(GRID.shape, 38.5, np.float32), GRID)
    check(tmp_path, {"sar:instrument_mode": "SM", "sat:orbit_state": "ascending"})
    (item,) = find_items([tmp_path], IndexOptions())
    assert Path(item.assets["incidence"].href).name == angles.name


def test_of_several_variants_of_a_scene_one_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Gamma nought before sigma nought, unless declared; power before dB; the others are named."""
    write(tmp_path, f"{BASE}_{{}}_sigma0-elp.tif", POWER)
    write(tmp_path, f"{BASE}_{{}}_gamma0-rtc_db.tif", DECIBELS)
    write(tmp_path, f"{BASE}_{{}}_gamma0-rtc.tif", POWER)
    check(tmp_path, {"quantity": "gamma0"})
    assert "4 left out (another processing of a scene that is used): " in capsys.readouterr().err
    check(tmp_path, {"quantity": "sigma0"}, IndexOptions(quantity="sigma0"))


# --- S1Tiling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "tags", "quantity"),
    [
        ("_sigma", {}, "sigma0"),
        ("_gamma", {}, "gamma0"),
        ("_NormLim", {}, "sigma0"),
        ("_GammaNaughtRTC", {}, "gamma0"),
        ("", {"CALIBRATION": "gamma"}, "gamma0"),
        ("_sigma_filtered", {}, "sigma0"),
    ],
)
def test_s1tiling(suffix: str, tags: dict[str, str], quantity: str, tmp_path: Path) -> None:
    for band, layer in zip(("vv", "vh"), POWER, strict=True):
        name = f"s1a_33NWB_{band}_DES_007_20200108t044150{suffix}"
        write_cog(tmp_path / f"{name}.tif", layer, GRID, tags=tags)
        write_cog(tmp_path / f"{name}_BorderMask.tif", np.ones(GRID.shape, "u1"), GRID, nodata=None)
    write_cog(tmp_path / "sin_LIA_33NWB_007.tif", POWER[0], GRID)
    expected = {
        "id": "s1a_33NWB_DES_007_20200108t044150",
        "platform": "sentinel-1a",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 7,
        "datetime": "2020-01-08T04:41:50Z",
        "quantity": quantity,
    }
    check(tmp_path, expected)


def test_s1tiling_without_calibration_needs_a_quantity(tmp_path: Path) -> None:
    write(tmp_path, "s1a_33NWB_vv_DES_007_20200108t044150.tif", POWER[:1], ("VV",))
    with pytest.raises(SarcastError, match="declare them with --unit"):
        find_items([tmp_path], IndexOptions())
    (item,) = find_items([tmp_path], IndexOptions(quantity="sigma0"))
    assert item.assets["vv"].extra_fields["sarcast:quantity"] == "sigma0"
    write(tmp_path / "b", "s1a_33NWB_vv_DES_007_20200108t044150_beta.tif", POWER[:1], ("VV",))
    with pytest.raises(SarcastError, match="is declared as 'beta'; expected gamma0 or sigma0"):
        find_items([tmp_path / "b"], IndexOptions())


@pytest.mark.parametrize("text", ["2020:01:08T04:41:50Z", "2020:01:08 04:41:50"])
def test_the_time_of_two_joined_products_is_in_their_tag(text: str, tmp_path: Path) -> None:
    for band, layer in zip(("vv", "vh"), POWER, strict=True):
        name = f"s1a_33NWB_{band}_DES_007_20200108txxxxxx_sigma.tif"
        write_cog(tmp_path / name, layer, GRID, tags={"ACQUISITION_DATETIME": text})
    check(tmp_path, {"datetime": "2020-01-08T04:41:50Z", "sat:relative_orbit": 7})


def test_without_a_tag_only_the_date_is_known(tmp_path: Path) -> None:
    """A neighbouring tile of the same pass gives the time; without one it is 0 UTC."""
    joined = "s1a_33NWB_vv_DES_007_20200108txxxxxx_sigma.tif"
    write(tmp_path, joined, POWER[:1], ("VV",))
    (item,) = find_items([tmp_path], IndexOptions())
    assert item.datetime is None
    first = dt.datetime(2020, 1, 8, tzinfo=dt.UTC)
    assert item.common_metadata.start_datetime == first
    assert item.common_metadata.end_datetime == first + dt.timedelta(
        hours=23, minutes=59, seconds=59
    )
    (alone,) = acquisitions([item])
    assert (alone.time, alone.orbit_direction) == (np.datetime64("2020-01-08"), "descending")
    east = GeoBox(GRID.shape, GRID.transform * Affine.translation(80, 0), GRID.crs)
    write_cog(tmp_path / joined.replace("NWB", "NWC").replace("xxxxxx", "044150"), POWER[0], east)
    (both,) = acquisitions(find_items([tmp_path], IndexOptions()))
    assert len(both.items) == 2
    assert both.time == np.datetime64("2020-01-08T04:41:50")


def test_zeros_of_s1tiling_are_missing(tmp_path: Path) -> None:
    power = POWER[0].copy()
    power[:, :9] = 0.0
    write_cog(tmp_path / "s1a_33NWB_vv_DES_007_20200108t044150_sigma.tif", power, GRID, nodata=None)
    (whole,) = acquisitions(find_items([tmp_path], IndexOptions()))
    found = read_fused(whole.layers("VV"), GRID, "nearest", RemoteOptions())[0]
    assert np.isnan(found[:, :9]).all() and np.isfinite(found[:, 9:]).all()


# --- orbits ---------------------------------------------------------------------------------------


def test_a_stated_relative_orbit_wins_over_a_derived_one(tmp_path: Path) -> None:
    """By the tag of a file; the absolute orbit is only used where none is stated."""
    assert relative_orbit("sentinel-1c", 8791) == 118
    (tmp_path / "own.yaml").write_text(
        "title: Our own\nextends: earth-engine\ntags: {relative_orbit: TRACK}\n"
    )
    name = EE.replace("S1A", "S1C").replace("031482", "008791")
    options = IndexOptions(profile=(str(tmp_path / "own.yaml"),))
    for tag, expected in (("", 118), ("45", 45), ("45.0", 45), ("0", 118), ("unknown", 118)):
        write(tmp_path, f"{name}.tif", DECIBELS, TRACK=tag)
        check(tmp_path, {"sat:relative_orbit": expected}, options)


def test_complete_names_of_the_published_examples(tmp_path: Path) -> None:
    """Names as in the documentation of their sources, read without any option."""
    for name in ("S1A__IW___A_20150222T170750_VV_gamma0-rtc.tif", EXAMPLES["s1tiling"]):
        write_cog(tmp_path / name, POWER[0], GRID)
        with rasterio.open(tmp_path / name) as source:
            assert source.count == 1
    assert len(find_items([tmp_path], IndexOptions(strict=True))) == 2
