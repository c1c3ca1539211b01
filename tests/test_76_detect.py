"""Detection at one date in Python, on a small cube with a change of known pixels."""

import datetime as dt
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import torch
import xarray as xr

import sarcast
from sarcast.detection.detect import DetectOptions
from sarcast.detection.difference import norm
from sarcast.errors import SarcastError
from sarcast.prediction.model import Model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.predict import TileOptions
from sarcast.prediction.scores import ValidationScores
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import Expected, PreviousOptions
from small_cubes import cube_with_loss, loss_mask

AT = "2021-05-13"
MEAN = STRATEGIES["mean"]
LEVELLED = DetectOptions(threshold=6.0, level=True)


@pytest.fixture
def changed() -> np.ndarray:
    return loss_mask()


@pytest.fixture
def cube() -> xr.Dataset:
    return cube_with_loss()


class Sharp:
    """The mean of the previous images with a standard deviation of 0.6 dB."""

    name, size, previous, uses_target = "sharp", None, 4, False

    def expect(self, windows):
        return [Expected(w.previous.mean(axis=0), np.full_like(w.target, 0.6)) for w in windows]


def test_detect_finds_the_change_and_measures_it(cube: xr.Dataset, changed: np.ndarray) -> None:
    detection = sarcast.detect(cube, MEAN, AT, options=LEVELLED)
    images = detection.images
    np.testing.assert_array_equal(images["changed"], changed)
    assert images["changed"].dtype == bool
    assert images["time"] == cube["time"][-1]
    actual, expected = cube["backscatter"][-1], images["expected"]
    np.testing.assert_array_equal(images["actual"], actual)
    np.testing.assert_array_equal(images["difference"], images["actual"] - expected)
    for name in ("actual", "expected", "std", "difference"):
        assert images[name].dims == ("band", "y", "x")
        assert images[name].attrs["units"] == "dB"
    plain = sarcast.predict(cube, MEAN, AT)["expected"]
    median = (actual.drop_vars("time") - plain).median(("y", "x"))
    np.testing.assert_allclose(detection.level_db, median, atol=1e-5)
    np.testing.assert_allclose(expected, plain + median, atol=1e-5)
    assert detection.changed_share == changed.mean()
    assert detection.previous_date == cube["time"].values[-2]
    (row,) = detection.polygons.itertuples()
    assert row.area_m2 == 30 * 100.0
    assert row.mean_vv_db == pytest.approx(-8.0, abs=0.3)
    assert row.date == "2021-05-13T17:00:00Z"
    assert row.previous_date == "2021-05-01T17:00:00Z"
    assert detection.polygons.crs.to_epsg() == 32635


def test_a_date_can_be_text_or_any_date_object(cube: xr.Dataset) -> None:
    first = sarcast.detect(cube, MEAN, AT, options=LEVELLED)
    for date in (dt.date(2021, 5, 13), np.datetime64(AT), cube["time"][-1]):
        again = sarcast.detect(cube, MEAN, at=date, options=LEVELLED)
        assert again.images.identical(first.images)


def test_each_option_has_its_effect(cube: xr.Dataset) -> None:
    def detect(**words: object) -> sarcast.detection.detect.Detection:
        return sarcast.detect(cube, MEAN, AT, **{"options": LEVELLED, **words})

    def share(**options: object) -> float:
        return detect(options=LEVELLED.model_copy(update=options)).changed_share

    assert share(min_pixels=30) > 0.0 == share(min_pixels=31)
    assert share(threshold=0.5) > share(threshold=6.0) > share(threshold=30.0)
    latest = detect(baseline=PreviousOptions(previous=1), options=DetectOptions(threshold=6.0))
    np.testing.assert_allclose(latest.images["expected"], cube["backscatter"][-2], atol=1e-5)
    fixed = detect(before="2021-03-20", options=DetectOptions(threshold=6.0))
    assert fixed.previous_date == np.datetime64("2021-03-14T17:00")
    assert not fixed.images["expected"].equals(detect().images["expected"])
    tiled = detect(tiles=TileOptions(tile=16), options=DetectOptions(threshold=6.0))
    whole = detect(options=DetectOptions(threshold=6.0))
    np.testing.assert_allclose(tiled.images["expected"], whole.images["expected"], atol=1e-5)


def test_a_scene_that_is_off_as_a_whole_is_warned_of(cube: xr.Dataset) -> None:
    """9 dB everywhere, as wet ground gives: with ``level`` the same change is found without it."""
    dry = sarcast.detect(cube, Sharp(), AT, options=LEVELLED)
    wet = cube.copy(deep=True)
    wet["backscatter"][-1] += 9.0
    with pytest.warns(UserWarning, match=r"the whole scene is \+.* off the expected image"):
        sarcast.detect(wet, Sharp(), AT, options=DetectOptions(threshold=6.0))
    found = sarcast.detect(wet, Sharp(), AT, options=LEVELLED)
    np.testing.assert_array_equal(found.images["changed"], dry.images["changed"])
    np.testing.assert_allclose(found.level_db - dry.level_db, 9.0, atol=1e-5)


def zero_model(scores: ValidationScores | None) -> Model:
    """A network whose weights are 0: it expects the mean."""
    options = TemporalOptions(
        widths=(16, 8, 8, 8), blocks=(1, 1, 1, 1), decoder_width=16,
        decoder_blocks=(1, 1, 1, 1), fine_width=8, embedding=16,
    )  # fmt: skip
    network = Temporal(options).eval()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    return Model(network, "average", scores=scores)


def test_the_threshold_follows_from_the_false_alarm_rate(cube: xr.Dataset) -> None:
    scores = ValidationScores((1.0, 1.0), {0.9: 2.0, 0.99: 5.0, 0.999: 9.0}, 1000, 1.0)
    model = zero_model(scores)

    def detect(rate: float) -> sarcast.detection.detect.Detection:
        options = DetectOptions(false_alarm_rate=rate, level=True)
        return sarcast.detect(cube, model, AT, options=options)

    assert detect(0.01).threshold_db == pytest.approx(5.0)
    assert detect(0.055).threshold_db == pytest.approx(3.5)
    images = detect(0.01).images
    above = norm(images["difference"].values) > 5.0
    assert not (images["changed"].values & ~above).any()
    with pytest.raises(SarcastError, match=r"rates of 0\.001 to 0\.1, not for 0\.5; set threshold"):
        detect(0.5)
    with pytest.raises(SarcastError, match="average has no validation scores; set threshold"):
        sarcast.detect(cube, zero_model(None), AT)
    with pytest.raises(SarcastError, match="mean has no validation scores; set threshold"):
        sarcast.detect(cube, MEAN, AT)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("2031-01-01", "no acquisition at 2031-01-01; the nearest is 2021-05-13"),
        ("yesterday", "'yesterday' is not a date"),
        ("2021-01-13", "4 previous images are needed, but 1 precede"),
    ],
)
def test_dates_that_cannot_be_are_one_line(cube: xr.Dataset, at: str, message: str) -> None:
    with pytest.raises(SarcastError, match=message) as error:
        sarcast.detect(cube, MEAN, at, options=LEVELLED)
    assert "\n" not in str(error.value)


def test_a_detection_can_be_written(cube: xr.Dataset, tmp_path: Path) -> None:
    from sarcast.detection.output import write_detection

    write_detection(sarcast.detect(cube, MEAN, AT, options=LEVELLED), tmp_path, "change", {})
    assert {path.suffix for path in tmp_path.iterdir()} == {".tif", ".gpkg", ".json"}
