"""``sarcast detect`` on speckle with a known change: its folder, its record, its errors."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml

import sarcast
from sarcast.prediction.strategies import STRATEGIES
from small_changes import DATES, acquired_cube, disc, times
from test_90_cli import fails, run

FIRST = DATES - 2


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return acquired_cube(FIRST)


@pytest.fixture
def store(cube: xr.Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A path that opens as the cube."""
    monkeypatch.setattr("sarcast.commands.detect.open_cube", lambda _: cube)
    (tmp_path / "cube.zarr").mkdir()
    return tmp_path / "cube.zarr"


def changed_in(folder: Path) -> np.ndarray:
    with rasterio.open(folder / "change.tif") as raster:
        values = raster.read(1)
    return (values > 0) & (values < 255)


def test_events_are_written_and_summed_up_in_one_line(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("detect", store, "--model", "mean", "--strata", "4", "--to",
        tmp_path / "change")  # fmt: skip
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("1 events of ")
    assert "in 3 acquisitions, 2020-05-08 to 2020-05-20" in lines[-1]
    assert "2 false events per 1 000 km2 and acquisition asked, " in lines[-1]
    assert "in held-out replays of the past" in lines[-1]
    row = next(geopandas.read_file(tmp_path / "change" / "events.gpkg").itertuples())
    assert str(row.date).startswith("2020-05-14")
    assert row.direction == "loss"
    changed = changed_in(tmp_path / "change")
    assert (changed & disc()).sum() / (changed | disc()).sum() > 0.7
    item = json.loads((tmp_path / "change" / "item.json").read_text())
    properties = item["properties"]
    assert properties["sarcast:model"] == "mean"
    assert properties["sarcast:scene"] == "scene 31"
    assert properties["sarcast:events"] == 1
    assert properties["sarcast:replays"] == 7
    assert properties["sarcast:false_events_asked"] == 2.0
    assert properties["sarcast:false_events_in_replays"] >= 0.0
    assert properties["sarcast:baseline"].startswith("2020-05-02")


def test_the_null_distributions_of_an_earlier_run_are_used(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run("--quiet", "detect", store, "--model", "mean", "--until", "2020-05-14", "--strata", "4",
        "--to", first)  # fmt: skip
    monkeypatch.setattr("sarcast.detection.prepare.replay", None)
    run("--quiet", "detect", store, "--model", "mean", "--null", first, "--to", second)
    assert len(geopandas.read_file(second / "events.gpkg")) >= 1
    thresholds = [
        json.loads((folder / "item.json").read_text())["properties"]["sarcast:threshold"]
        for folder in (first, second)
    ]
    assert thresholds[0] == thresholds[1]
    for message, words in {
        "those of predictor mean, but predictor is latest here": ("--model", "latest"),
        "acquisitions 3, but acquisitions is 1 here": ("--model", "mean", "--acquisitions", "1"),
    }.items():
        line = fails(capsys, 1, "detect", store, *words, "--null", first, "--to", tmp_path / "to")
        assert message in line
        assert not (tmp_path / "to").exists()


def test_the_record_of_a_run_repeats_it(store: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run("--quiet", "detect", store, "--model", "mean", "--since", "2020-05-14", "--direction",
        "loss", "--bands", "VH", "--min-area", "1", "--replays", "3", "--to", first)  # fmt: skip
    record = yaml.safe_load((first / "run.yaml").read_text())["detect"]
    assert record["since"] == "2020-05-14"
    assert record["bands"] == ["VH"]
    assert (record["direction"], record["min_area"], record["replays"]) == ("loss", 1.0, 3)
    run("--quiet", "detect", "--config", first / "run.yaml", "--to", second)
    run("--quiet", "detect", store, "--model", "mean", "--at", "2020-05-14", "--to",
        tmp_path / "third")  # fmt: skip
    run("--quiet", "detect", "--config", tmp_path / "third" / "run.yaml", "--to",
        tmp_path / "fourth")  # fmt: skip
    for name in ("evidence.tif", "change.tif", "difference.tif"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
        assert (tmp_path / "third" / name).read_bytes() == (tmp_path / "fourth" / name).read_bytes()


def test_flags_have_the_effect_of_the_settings_in_python(
    store: Path, cube: xr.Dataset, tmp_path: Path
) -> None:
    words = ("--at", "2020-05-14", "--gap", "1", "--previous", "5", "--false-pixels", "0.0001",
             "--strata", "2", "--outside", "water")  # fmt: skip
    run("--quiet", "detect", store, "--model", "mean", *words, "--to", tmp_path / "to")
    detection = sarcast.detect(
        cube, STRATEGIES["mean"], at="2020-05-14", gap=1, previous=5, false_pixels=1e-4, strata=2
    )
    np.testing.assert_array_equal(detection.watched, times()[FIRST : FIRST + 1])
    with rasterio.open(tmp_path / "to" / "evidence.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), detection.images["evidence"])
    np.testing.assert_array_equal(changed_in(tmp_path / "to"), detection.images["changed"])


@pytest.mark.parametrize(
    ("status", "words", "message"),
    [
        (2, ("--at", "2020-05-14", "--until", "2020-05-20"), "it excludes until"),
        (2, ("--at", "2020-05-14", "--acquisitions", "2"), "at (--at) is one acquisition"),
        (2, ("--since", "2020-05-14", "--acquisitions", "2"), "exclude each other"),
        (2, ("--false-events", "0"), "--false-events"),
        (2, ("--false-pixels", "1"), "--false-pixels"),
        (2, ("--false-pixels", "0"), "--false-pixels"),
        (2, ("--direction", "down"), "--direction"),
        (2, ("--threshold", "3"), "--threshold"),
        (2, ("--bands", "XX"), "--bands names XX, but the cube has VV and VH"),
        (2, ("--until", "yesterday"), "'yesterday' is not a date"),
        (1, ("--until", "2019-01-01"), "only 0 exist until 2019-01-01"),
        (1, ("--acquisitions", "40"), "40 acquisitions are to be watched, but only 32 exist"),
        (1, ("--within", "forest"), "the cube has no forest"),
        (1, ("--outside", "lakes.gpkg"), "is none of these and does not exist"),
        (1, ("--area", "0,0,1,1"), "does not touch the cube"),
        (1, ("--null", "nowhere"), "nowhere does not exist: expected the null.npz"),
    ],
)
def test_bad_input_is_one_line(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    status: int, words: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    to = tmp_path / "to"
    assert message in fails(capsys, status, "detect", store, "--model", "mean", *words, "--to", to)
    assert not to.exists()


def test_a_model_is_a_folder_or_a_strategy(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails(capsys, 1, "detect", store, "--model", "means", "--to", tmp_path / "to")
    assert "means" in line
    assert "season-mean" in line
