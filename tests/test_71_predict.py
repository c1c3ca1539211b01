"""Prediction of a whole cube: tiles equal the whole, and dates are dates."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcast.errors import SarcastError
from sarcast.prediction import load_model
from sarcast.prediction.predict import (
    Chosen,
    predict,
    predict_date,
    predict_targets,
    predict_tiles,
)
from sarcast.prediction.strategies import STRATEGIES
from sarcast.prediction.tiles import TileOptions
from sarcast.windows import Expected, PreviousOptions, TrainedPredictor, Window
from sarcast.windows.masking import MaskedPredictor
from small_changes import quiet_cube
from small_cubes import coordinate_cube


@dataclass
class Spy:
    """Expects the latest image plus the temperature of the target."""

    size: int | None = None
    previous: int | None = 2
    name: str = "spy"
    uses_target: bool = False

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        return [
            Expected(
                w.previous[-1] + np.nan_to_num(w.conditions[-1, 0]),
                np.full_like(w.previous[-1], 0.5),
            )
            for w in windows
        ]


@settings(deadline=None, max_examples=15)
@given(st.integers(16, 70), st.floats(0.0, 0.75))
def test_tiles_equal_the_whole(tile: int, overlap: float) -> None:
    """For a predictor that works pixel by pixel, on an image whose pixels all differ."""
    cube = coordinate_cube()
    whole = np.nanmean(cube["backscatter"].values[:4], axis=0)
    tiles = TileOptions(tile=tile, overlap=overlap)
    predicted = predict(cube, STRATEGIES["mean"], "2021-01-25", tiles=tiles)
    np.testing.assert_allclose(predicted["expected"], whole, rtol=1e-5)
    assert np.isnan(predicted["std"]).all()


def test_a_fixed_size_larger_than_the_cube() -> None:
    cube = coordinate_cube()
    predicted = predict(cube, Spy(size=64), "2021-01-19")
    assert predicted["expected"].shape == (2, 40, 50)
    np.testing.assert_allclose(predicted["std"], 0.5)


def test_conditions_of_the_target_can_be_set() -> None:
    cube = coordinate_cube()
    cold = predict(cube, Spy(), "2021-01-19", conditions={"temperature": -20.0})
    warm = predict(cube, Spy(), "2021-01-19", conditions={"temperature": 15.0})
    np.testing.assert_allclose(warm["expected"] - cold["expected"], 35.0, atol=1e-2)


def test_too_few_previous_images() -> None:
    cube = coordinate_cube()
    with pytest.raises(SarcastError, match="5 previous images are needed, but 3 precede"):
        predict(cube, Spy(previous=5), "2021-01-19")


def test_the_grid_is_kept() -> None:
    cube = coordinate_cube()
    predicted = predict(cube, Spy(), "2021-01-19")
    np.testing.assert_array_equal(predicted["x"], cube["x"])
    assert predicted["expected"].attrs["units"] == "dB"


CUBE = coordinate_cube()  # every sixth day at 17:00 UTC, from 2021-01-01 on
FOURTH = "2021-01-19"
LATEST = STRATEGIES["latest"]
DATES: list[Any] = [
    FOURTH,
    "2021-01-19T17:00",
    dt.date(2021, 1, 19),
    dt.datetime(2021, 1, 19),
    dt.datetime(2021, 1, 19, 17),
    dt.datetime(2021, 1, 19, 19, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    np.datetime64("2021-01-19"),
    np.datetime64("2021-01-19T17:00", "ns"),
    pd.Timestamp("2021-01-19 17:00"),
    CUBE["time"][3],
    CUBE["time"].values[3],
]


@pytest.mark.parametrize("at", DATES, ids=lambda at: f"{type(at).__name__} {at!s:.20}")
def test_a_date_may_be_text_or_an_object(at: Any) -> None:
    predicted = predict(CUBE, LATEST, at, baseline=PreviousOptions(previous=1))
    np.testing.assert_allclose(predicted["expected"], CUBE["backscatter"][2], rtol=1e-6)


@pytest.mark.parametrize(
    "before", ["2021-01-13", dt.date(2021, 1, 13), np.datetime64("2021-01-13")]
)
def test_the_baseline_ends_before_a_date(before: Any) -> None:
    """The image of 2021-01-13 itself, at 17:00, is not before that date."""
    baseline = PreviousOptions(previous=1, chooser="recent")
    predicted = predict(CUBE, LATEST, FOURTH, baseline=baseline, before=before)
    np.testing.assert_allclose(predicted["expected"], CUBE["backscatter"][1], rtol=1e-6)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("2021-02-30", "'2021-02-30' is not a date; give one such as 2025-01-02"),
        ("yesterday", "'yesterday' is not a date"),
        (3, "3 is not a date; give one such as 2025-01-02"),
        (np.datetime64("NaT"), "is not a date"),
        ("2021-01-20", "no acquisition at 2021-01-20; the nearest is 2021-01-19T17:00:00"),
        ("0900-01-01", "no acquisition at 0900-01-01; the nearest is 2021-01-01T17:00:00"),
        ("2021-01", re.escape("6 acquisitions at 2021-01; name one of 2021-01-01T17:00:00, ")),
    ],
)
def test_a_date_that_cannot_be_predicted_is_an_error_of_one_line(at: Any, message: str) -> None:
    with pytest.raises(SarcastError, match=message) as error:
        predict(CUBE, LATEST, at)
    assert "\n" not in str(error.value)


def test_an_impossible_end_of_the_baseline_is_an_error() -> None:
    with pytest.raises(SarcastError, match="'2021-13-01' is not a date"):
        predict(CUBE, LATEST, FOURTH, before="2021-13-01")


def test_an_empty_cube_is_an_error() -> None:
    with pytest.raises(SarcastError, match="no acquisition at 2021-01-19; it has none at all"):
        predict(CUBE.isel(time=slice(0)), LATEST, FOURTH)


def test_a_model_records_its_training_and_a_strategy_has_none() -> None:
    model = load_model("base", device="cpu")
    assert isinstance(model, TrainedPredictor)
    assert not isinstance(LATEST, TrainedPredictor)
    masked = MaskedPredictor(model, ["temperature"])
    assert isinstance(masked, TrainedPredictor)
    assert masked.training == model.training != {}
    assert MaskedPredictor(LATEST, ["temperature"]).training == {}


@pytest.mark.parametrize("tile", [16, 64])
def test_targets_of_one_baseline_equal_each_predicted_alone(tile: int) -> None:
    """In the order that was asked for, each under its own conditions."""
    cube, tiles = coordinate_cube(), TileOptions(tile=tile)
    times = cube["time"].values
    order = np.argsort(times)
    targets = [int(order[-1]), int(order[-2])]
    together = predict_targets(cube, Spy(), targets, tiles=tiles)
    np.testing.assert_array_equal(together["time"], times[targets])
    for index, target in enumerate(targets):
        alone = predict(cube, Spy(), times[target], before=times[order[-2]], tiles=tiles)
        xr.testing.assert_equal(together.isel(time=index, drop=True), alone)


def test_a_target_does_not_become_the_baseline_of_a_later_one() -> None:
    cube = coordinate_cube()
    order = np.argsort(cube["time"].values)
    cube["backscatter"][{"time": order[-2]}] = 1e9
    together = predict_targets(cube, STRATEGIES["mean"], [int(order[-2]), int(order[-1])])
    assert float(together["expected"].max()) < 1e9 / 2


def test_a_target_that_does_not_see_a_tile_leaves_it_empty() -> None:
    cube = coordinate_cube()
    order = np.argsort(cube["time"].values)
    cube["backscatter"][{"time": order[-1], "x": slice(0, 25)}] = np.nan
    tiles = TileOptions(tile=16, overlap=0.0)
    seen = predict_targets(cube, Spy(), [int(order[-2]), int(order[-1])], tiles=tiles)["expected"]
    assert np.isfinite(seen[0]).all()
    assert np.isnan(seen[1, :, :, :16]).all()
    assert np.isfinite(seen[1, :, :, 25:]).all()


# --- large cubes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["mean", "latest"])
def test_a_large_cube_is_predicted_on_disk(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = quiet_cube(dates=12)
    words = (cube, STRATEGIES[strategy], cube["time"][-1].values)
    tiles = TileOptions(tile=48)
    whole = predict(*words, tiles=tiles)
    monkeypatch.setattr("sarcast.prediction.predict.MOST_IN_MEMORY", 100)
    chosen = Chosen(*words[:2], PreviousOptions(), tiles)
    lazy = predict_date(chosen, words[2], scratch=tmp_path)
    assert len([*tmp_path.iterdir()]) == 1
    for part in (
        {"y": slice(10, 61), "x": slice(40, None)},
        {"y": slice(5, 50, 7), "x": slice(0, 128, 5), "band": 1},
        {"y": 17, "x": [3, 99]},
        {},
    ):
        xr.testing.assert_identical(lazy.isel(part).load(), whole.isel(part))
    del lazy
    assert not [*tmp_path.iterdir()]


def test_regions_have_tiles_of_their_own() -> None:
    cube = quiet_cube(dates=12)
    chosen = Chosen(cube, STRATEGIES["mean"], PreviousOptions(previous=4), TileOptions(tile=32))
    regions = [(slice(0, 50), slice(8, 100)), (slice(60, 128), slice(30, 62))]
    found = predict_tiles(chosen, [10, 11], regions=regions)
    for rows, columns in regions:
        part = replace(chosen, cube=cube.isel(y=rows, x=columns))
        alone = predict_tiles(part, [10, 11]).read()
        xr.testing.assert_identical(found.read((rows, columns)), alone)
    assert found.blend.tiling.region_of((slice(61, 62), slice(40, 50))) == 1


@pytest.mark.parametrize(("overlap", "warned"), [(0.0, True), (0.05, True), (0.25, False)])
def test_tiles_of_a_network_that_hardly_overlap_are_warned_of(
    overlap: float, warned: bool, recwarn: pytest.WarningsRecorder
) -> None:
    cube, model = quiet_cube(dates=6), load_model("base")
    tiles = TileOptions(tile=64, overlap=overlap)
    previous = PreviousOptions(previous=2)
    predict(cube, model, cube["time"][-1].values, tiles=tiles, baseline=previous)
    assert any("steps of up to 1.5 dB" in str(each.message) for each in recwarn) == warned
