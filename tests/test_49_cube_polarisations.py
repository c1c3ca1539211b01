"""Cubes of one polarisation or of HH and HV: built, extended, checked, and used by every verb."""

import json
import logging
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pystac
import pytest
import rasterio

import sarcast
from conftest import GRID, opera_name
from sarcast.cli import main
from sarcast.cube import CubeOptions, Sources, build_cube, open_cube, time_index_of
from sarcast.cube.check.outliers import level_deviations
from sarcast.cube.check.report import check_cube
from sarcast.errors import SarcastError
from sarcast.evaluation.metrics import Evaluation
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import bands_of

DATES = [f"2020030{day}T154005" for day in range(1, 8)]
LEVELS = {"VV": 0.1, "VH": 0.02, "HH": 0.08, "HV": 0.01}


def run(*words: object) -> None:
    """Run the command line and expect success."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code in (0, None)


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run the command line, expect an error, and return its last line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 1
    return capsys.readouterr().err.strip().splitlines()[-1]


def power(band: str, time: str) -> np.ndarray:
    """Speckle of 20 looks; a loss of 12 dB in 8 x 10 pixels at the last date."""
    rng = np.random.default_rng([int(time[6:8]), list(LEVELS).index(band)])
    image = LEVELS[band] * rng.gamma(20.0, 1.0 / 20.0, GRID.shape)
    if time == DATES[-1]:
        image[20:28, 30:40] *= 10.0**-1.2
    return image.astype(np.float32)


def scenes(folder: Path, bands: str, dates: list[str] = DATES) -> Path:
    """Scenes of some bands, as ``"HH HV"``, one file a band."""
    for time in dates:
        for band in bands.split():
            write_cog(folder / f"{opera_name(time)}_{band}.tif", power(band, time), GRID)
    return folder


def items(folder: Path) -> list[pystac.Item]:
    return list(find_items([folder], IndexOptions()))


def build(folder: Path, to: Path, **options: object) -> int:
    return build_cube(items(folder), to, GRID, CubeOptions(**options), Sources())


@pytest.mark.parametrize("bands", ["VV", "VH", "HH", "HV", "HH HV"])
def test_a_cube_of_the_bands_there_are(tmp_path: Path, bands: str) -> None:
    """Values are those of the scenes; the check finds no fault and shows no other band."""
    build(scenes(tmp_path / "scenes", bands), tmp_path / "cube.zarr")
    cube = open_cube(tmp_path / "cube.zarr")
    assert bands_of(cube) == tuple(bands.split())
    for band in bands.split():
        stored = cube["backscatter"].sel(band=band, time=cube["time"][2])
        np.testing.assert_allclose(stored, 10.0 * np.log10(power(band, DATES[2])), atol=0.006)
    report = check_cube(tmp_path / "cube.zarr")
    assert report.faults == ()
    assert report.bands == tuple(bands.split())
    for date in report.dates:
        assert date.valid_share == 1.0
        assert np.isfinite(date.mean_db).all()
    assert not [line for line in report.warnings if "nan" in line]


@pytest.mark.parametrize("bands", ["VV", "HH HV"])
@pytest.mark.parametrize("speckle", ["lee", "quegan"])
def test_the_speckle_of_the_bands_there_are_is_filtered(
    tmp_path: Path, bands: str, speckle: str
) -> None:
    folder = scenes(tmp_path / "scenes", bands, DATES[:3])
    build(folder, tmp_path / "plain.zarr")
    build(folder, tmp_path / "filtered.zarr", speckle=speckle)
    plain, filtered = (open_cube(tmp_path / f"{n}.zarr") for n in ("plain", "filtered"))
    for band in bands.split():
        before, after = (
            float(each["backscatter"].sel(band=band)[-1].std()) for each in (plain, filtered)
        )
        assert after < 0.8 * before


def test_dual_polarisation_follows_single(tmp_path: Path) -> None:
    """A cube of VV alone is extended by VV and VH; the check compares what each date has."""
    folder = scenes(tmp_path / "scenes", "VV", DATES[:4])
    build(folder, tmp_path / "cube.zarr")
    assert build(scenes(folder, "VV VH", DATES[4:]), tmp_path / "cube.zarr") == 3
    cube = open_cube(tmp_path / "cube.zarr")
    known = np.isfinite(cube["backscatter"]).all(("y", "x")).values
    np.testing.assert_array_equal(known[:, 0], True)
    np.testing.assert_array_equal(known[:, 1], np.arange(7) > 3)
    report = check_cube(tmp_path / "cube.zarr")
    assert report.faults == ()
    assert report.bands == ("VV", "VH")
    detection = sarcast.detect(cube, STRATEGIES["mean"], at="2020-03-07", previous=2)
    assert detection.images["band"].values.tolist() == ["VV", "VH"]
    difference = detection.images["difference"][:, 20:28, 30:40].mean(("y", "x"))
    np.testing.assert_allclose(difference, -12.0, atol=0.5)


def test_levels_of_dates_that_lack_a_band() -> None:
    """The deviation of a band is the same as if only its own dates existed."""
    times = np.datetime64("2020-01-01", "ns") + np.arange(10) * np.timedelta64(6, "D")
    means = np.random.default_rng(0).normal(-12.0, 1.0, (10, 2))
    means[:4, 1] = np.nan
    found = level_deviations(times, means)
    np.testing.assert_array_equal(found[:, 0], level_deviations(times, means[:, :1])[:, 0])
    np.testing.assert_array_equal(found[4:, 1], level_deviations(times[4:], means[4:, 1:])[:, 0])
    assert np.isnan(found[:4, 1]).all()


def test_platforms_are_compared_in_one_band(tmp_path: Path) -> None:
    """Sentinel-1B is 1 dB brighter, in VV, the only band."""
    for number in range(8):
        time = f"202003{1 + 3 * number:02d}T154005"
        image = power("VV", DATES[number % 6]) * (10.0**0.1 if number % 2 else 1.0)
        name = opera_name(time, "S1B" if number % 2 else "S1A")
        write_cog(tmp_path / "scenes" / f"{name}_VV.tif", image.astype(np.float32), GRID)
    build(tmp_path / "scenes", tmp_path / "cube.zarr")
    (comparison,) = check_cube(tmp_path / "cube.zarr").platforms
    assert comparison.dates >= 3
    assert comparison.level_db == pytest.approx([1.0], abs=0.2)


@pytest.mark.parametrize(("first", "others"), [("HH HV", "VV VH"), ("VV", "HH")])
def test_a_cube_keeps_its_polarisations(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first: str, others: str
) -> None:
    """Scenes of others are left out and named, or refused if there are no more."""
    used = items(scenes(tmp_path / "first", first, DATES[:3]))
    unused = items(scenes(tmp_path / "others", others, DATES[3:]))
    sources = (GRID, CubeOptions(), Sources())
    build_cube(used, tmp_path / "cube.zarr", *sources)
    with caplog.at_level(logging.WARNING):
        assert build_cube([*used, *unused], tmp_path / "cube.zarr", *sources) == 0
    assert "4 acquisitions left out (no" in caplog.text
    with pytest.raises(SarcastError, match=r"none of the 4 acquisitions, such as OPERA.*, has "):
        build_cube(unused, tmp_path / "cube.zarr", *sources)
    assert open_cube(tmp_path / "cube.zarr").sizes["time"] == 3


# --- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize("band", ["VV", "VH"])
def test_every_verb_on_one_polarisation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], band: str
) -> None:
    cube, other = tmp_path / "cube.zarr", "VH" if band == "VV" else "VV"
    run("--quiet", "index", scenes(tmp_path / "scenes", band), "--to", tmp_path / "catalogue")
    run("--quiet", "cube", tmp_path / "catalogue", "--to", cube)
    run("cube", "--check", cube)
    shown = capsys.readouterr().out
    assert f"{band}, dB" in shown
    assert f"{other}, dB" not in shown
    run("predict", cube, "--model", "base", "--at", "2020-03-07", "--to", tmp_path / "expected")
    assert f"the network base predicts without it, less precisely, and gives no {other}" in (
        capsys.readouterr().err
    )
    with rasterio.open(tmp_path / "expected" / "expected.tif") as raster:
        assert raster.descriptions == (f"{band} mean, dB",)
    run("detect", cube, "--model", "base", "--at", "2020-03-07", "--previous", "2", "--to",
        tmp_path / "change")  # fmt: skip
    with rasterio.open(tmp_path / "change" / "difference.tif") as raster:
        assert raster.read(1)[20:28, 30:40].mean() == pytest.approx(-12.0, abs=1.0)
    events = geopandas.read_file(tmp_path / "change" / "events.gpkg")
    assert f"mean_{band.lower()}_db" in events
    assert f"mean_{other.lower()}_db" not in events
    properties = json.loads((tmp_path / "change" / "item.json").read_text())["properties"]
    assert properties["sarcast:bands"] == [band]
    run("--quiet", "evaluate", cube, "--model", "base", "--to", tmp_path / "report",
        "--window", "32", "--offset", "-2", "--offset", "-3", "--within", "anywhere",
        "--fit-windows", "1", "--classifiers")  # fmt: skip
    evaluation = Evaluation.read(tmp_path / "report" / "evaluation.json")
    assert evaluation.changes == (f"offset {'-2' if band == 'VV' else '-3'} dB",)
    assert {result.role for result in evaluation.results} == {"network", "strategy"}
    assert evaluation.provenance["cube"].endswith(f"pixels, {band}")
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    line = fails(capsys, "train", cube, "--to", tmp_path / "model", "--previous", "2")
    assert f"a network is trained on VV and VH, but the cube has {band}; train on" in line


def test_hh_and_hv_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Strategies are evaluated; a network says that it was not trained on them."""
    cube = tmp_path / "cube.zarr"
    run("--quiet", "cube", scenes(tmp_path / "scenes", "HH HV"), "--to", cube)
    run("--quiet", "evaluate", cube, "--to", tmp_path / "report", "--window", "32",
        "--within", "anywhere")  # fmt: skip
    evaluation = Evaluation.read(tmp_path / "report" / "evaluation.json")
    assert min(result.auc for result in evaluation.results) > 0.8
    at = ("--model", "base", "--at", "2020-03-07", "--to", tmp_path / "to")
    for words in (
        ("detect", cube, *at, "--previous", "2"),
        ("predict", cube, *at),
        ("evaluate", cube, "--model", "base", "--to", tmp_path / "to"),
        ("train", cube, "--to", tmp_path / "to", "--previous", "2"),
        ("train", cube, "--from", "base", "--to", tmp_path / "to", "--previous", "2"),
    ):
        line = fails(capsys, *words)
        assert "trained on VV and VH, but the cube has HH and HV" in line
        shutil.rmtree(tmp_path / "to", ignore_errors=True)


# --- real data ----------------------------------------------------------------------------------


def test_the_real_vv_of_bolivia(data_dir: Path, tmp_path: Path) -> None:
    """Twelve weeks of dry forest without a time of day or platform in the file names."""
    folder = data_dir / "bolivia-vv"
    if not folder.is_dir():
        pytest.skip(f"no bolivia-vv in {data_dir}")
    (tmp_path / "bolivia.yaml").write_text(
        "title: VV of Bolivia, one GeoTIFF a date\n"
        "files: '(?P<scene>(?P<time>\\d{4}-\\d{2}-\\d{2})-s1(?P<band>vv))\\.tif'\n"
        "time_format: '%Y-%m-%d'\n"
        "facts: {unit: dB, quantity: sigma0}\n"
    )
    catalogue, cube = tmp_path / "catalogue", tmp_path / "cube.zarr"
    run("--quiet", "index", folder, "--profile", tmp_path / "bolivia.yaml", "--to", catalogue)
    run("--quiet", "cube", catalogue, "--to", cube)
    opened = open_cube(cube)
    assert opened.sizes["time"] == 17  # five of 22 hold no data
    assert bands_of(opened) == ("VV",)
    with rasterio.open(folder / "2016-04-23-s1vv.tif") as raster:
        actual = raster.read(1, masked=True).filled(np.nan)
    stored = opened["backscatter"].sel(band="VV")[time_index_of(opened, "2016-04-23")]
    np.testing.assert_allclose(stored, actual, atol=0.006)
    assert check_cube(cube).faults == ()
    run("--quiet", "evaluate", cube, "--model", "base", "--to", tmp_path / "report",
        "--window", "64", "--start", "2016-03-01")  # fmt: skip
    results = Evaluation.read(tmp_path / "report" / "evaluation.json").results
    errors = {result.method: result.mse_db2 for result in results}
    assert errors["base"] < 0.8 * errors["latest"]
    run("--quiet", "detect", cube, "--model", "base", "--at", "2016-05-04", "--to",
        tmp_path / "change")  # fmt: skip
    frame = geopandas.read_file(tmp_path / "change" / "events.gpkg")
    assert "mean_vv_db" in frame
    assert "mean_vh_db" not in frame
