"""Networks given data with gaps, conditions outside their training range, or no data at all."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sarcast.errors import SarcastError
from sarcast.prediction import Model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.predict import predict
from sarcast.prediction.tiles import TileOptions
from sarcast.prediction.training.batches import sampled
from sarcast.prediction.training.fit import fit
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training_range import condition_ranges, merge_ranges
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import Window, WindowSampler, collate, split_by_date
from small_cubes import learnable_cube

DATE = "2021-05-01"
OPTIONS = TrainOptions(
    steps=4, batch=4, learning_rate=1e-3, validate_every=2, validation_windows=4, accelerator="cpu"
)


def network() -> Temporal:
    torch.manual_seed(0)
    options = TemporalOptions(
        widths=(16, 8, 8, 8), blocks=(1, 1, 1, 1), decoder_width=16,
        decoder_blocks=(1, 1, 1, 1), fine_width=8, embedding=16,
    )  # fmt: skip
    return Temporal(options).eval()


def striped(cube: xr.Dataset) -> xr.Dataset:
    """The cube with a strip without data at every second date."""
    cube = cube.copy(deep=True)
    cube["backscatter"][1::2, :, 5:9] = np.nan
    return cube


def samplers(cube: xr.Dataset) -> tuple[WindowSampler, WindowSampler]:
    return split_by_date([cube], size=16, previous=3, share=0.3, chooser="recent")


def draw_window() -> Window:
    training, _ = samplers(learnable_cube())
    (window,) = training.draw(1, rng=np.random.default_rng(1))
    return window


def test_training_on_strips_of_nan_stays_finite(tmp_path: Path) -> None:
    training, validation = samplers(striped(learnable_cube()))
    windows = validation.draw(4, rng=np.random.default_rng(1))
    assert np.isnan(np.stack([window.target for window in windows])).any()
    trained = network()
    state = fit(sampled(training, batch=4, seed=0), windows, trained, OPTIONS, folder=tmp_path)
    assert np.isfinite(state.best_error_db2)
    assert all(tensor.isfinite().all() for tensor in trained.state_dict().values())


def test_the_loss_ignores_pixels_without_target() -> None:
    """Whatever is expected there, the loss and the gradients elsewhere are the same."""
    training, _ = samplers(striped(learnable_cube()))
    batch = collate(training.draw(8, rng=np.random.default_rng(1)))
    valid = batch.target.isfinite()
    trained = network()
    with torch.no_grad():
        prediction = trained(*batch.inputs())
    losses, gradients = [], []
    for value in (0.0, 40.0):
        mean = torch.where(valid, -12.0, value).requires_grad_()
        loss = trained.loss(prediction._replace(mean=mean), batch.target)
        loss.backward()
        losses.append(loss.item())
        assert mean.grad is not None
        gradients.append(mean.grad)
    assert losses[0] == losses[1]
    torch.testing.assert_close(gradients[0], gradients[1])
    assert (gradients[0][~valid] == 0).all()
    assert (gradients[0][valid] != 0).all()


def test_pixels_with_any_previous_image_are_predicted() -> None:
    cube = striped(learnable_cube())
    predicted = predict(cube, Model(network(), "small"), DATE)
    assert np.isfinite(predicted["expected"].values).all()
    empty = cube.copy(deep=True)
    empty["backscatter"][:10, :, 5:9] = np.nan
    predicted = predict(empty, Model(network(), "small"), DATE)
    np.testing.assert_array_equal(
        np.isnan(predicted["expected"].values).all(axis=(0, 2)),
        np.isin(np.arange(24), range(5, 9)),
    )


@pytest.mark.parametrize("outside", ["platform", "temperature"])
def test_a_warning_comes_once_however_many_tiles(outside: str) -> None:
    cube = learnable_cube(pixels=64).assign_coords(platform=("time", ["sentinel-1c"] * 12))
    known = {"platform": [0.0, 1.0], "temperature": [-10.0, 20.0]}
    if outside == "temperature":
        cube = cube.drop_vars("platform")
        cube["temperature"] = cube["temperature"] + 60.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        tiles = TileOptions(tile=16, overlap=0.2)
        predict(cube, Model(network(), "small", {"seen_conditions": known}), DATE, tiles=tiles)
    assert len(caught) == 1
    messages = {
        "platform": "not trained on sentinel-1c",
        "temperature": "temperature lies far outside",
    }
    assert messages[outside] in str(caught[0].message)


def test_a_horizon_far_beyond_the_training_range_is_named_once() -> None:
    """Trained on 12 to 40 days: 62 days are within a quarter and a repeat cycle, 63 are not."""
    window = draw_window()
    ranges = {**condition_ranges([collate([window])]), "horizon": [12.0, 40.0]}
    model = Model(network(), "small", {"seen_conditions": ranges})

    def at(days: int) -> Window:
        times = window.times.copy()
        times[-1] = times[-2] + np.timedelta64(days, "D")
        return replace(window, times=times)

    model.expect([at(12), at(62)])
    beyond = r"last previous image to the target lies far beyond the 12 to 40 days that the network"
    with pytest.warns(UserWarning, match=beyond):
        model.expect([at(12), at(63)])
    model.expect([at(200)])


def test_the_training_range_has_the_horizons_of_nearly_all_windows() -> None:
    window = draw_window()
    batch = collate([window] * 200)
    batch.days[:, -2] = torch.linspace(-205.0, -6.0, 200)
    batch.days[7, -2] = -5000.0
    low, high = condition_ranges([batch])["horizon"]
    assert low == 6.0
    assert 200.0 < high < 206.0
    old = {"temperature": [1.0, 2.0]}
    assert merge_ranges(old, {"temperature": [0.0, 1.0], "horizon": [6.0, 12.0]}) == {
        "temperature": [0.0, 2.0]
    }
    assert merge_ranges({"horizon": [6.0, 9.0]}, {"horizon": [7.0, 12.0]}) == {
        "horizon": [6.0, 12.0]
    }
    assert merge_ranges({}, {"horizon": [7.0, 12.0]}) == {"horizon": [7.0, 12.0]}


def test_a_platform_outside_the_training_range_counts_as_missing() -> None:
    window = draw_window()
    rows = window.conditions.copy()
    rows[:, COLUMNS.index("platform")] = 3.0
    ranges = {"platform": [0.0, 1.0], "temperature": [-10.0, 20.0]}
    model = Model(network(), "small", {"seen_conditions": ranges})
    with pytest.warns(UserWarning, match="not trained on sentinel-1d"):
        expected = model.expect([replace(window, conditions=rows)])[0]
    np.testing.assert_array_equal(expected.mean, model.expect([window])[0].mean)


def test_platforms_are_known_one_by_one() -> None:
    """A network trained on S1A and S1D does not know S1C, whose number lies between."""
    training, _ = samplers(learnable_cube())
    batch = collate(training.draw(3, rng=np.random.default_rng(1)))
    batch.conditions[..., COLUMNS.index("platform")] = torch.tensor([0.0, 3.0, 0.0])[:, None]
    assert condition_ranges([batch])["platform"] == [0.0, 3.0]
    assert merge_ranges({"platform": [0.0, 1.0]}, {"platform": [0.0, 3.0]}) == {
        "platform": [0.0, 1.0, 3.0]
    }
    model = Model(network(), "small", {"seen_conditions": condition_ranges([batch])})
    (window,) = training.draw(1, rng=np.random.default_rng(1))
    window.conditions[:, COLUMNS.index("platform")] = 2.0
    with pytest.warns(UserWarning, match="not trained on sentinel-1c"):
        model.expect([window])


def test_a_condition_without_training_range_counts_as_missing() -> None:
    """Weights of a condition that training never had are random: they must have no effect."""
    window = draw_window()
    bare = replace(window, conditions=np.full_like(window.conditions, np.nan))
    sensitive = network()
    for weights in sensitive.parameters():
        weights.data += 0.1 * torch.randn_like(weights)
    model = Model(sensitive, "small")
    with_conditions, without = (model.expect([each])[0].mean for each in (window, bare))
    assert np.abs(with_conditions - without).max() > 0.02
    for ranges in ({}, {"heading": [-10.0, 190.0]}):
        model = Model(sensitive, "small", {"seen_conditions": ranges})
        with pytest.warns(UserWarning, match="not trained on temperature: .* counts as missing"):
            expected = model.expect([window])[0]
        np.testing.assert_array_equal(expected.mean, without)


def test_data_without_a_valid_window() -> None:
    empty = learnable_cube()
    empty["backscatter"][:] = np.nan
    training, _ = samplers(empty)
    with pytest.raises(SarcastError, match="no valid window: no 16 x 16 pixels have data"):
        training.draw(1, rng=np.random.default_rng(0))
    with pytest.raises(SarcastError, match="at least 2 target dates with 11 previous images each"):
        split_by_date([empty], size=16, previous=11, share=0.3, chooser="recent")
    late = np.datetime64("2030-01-01")
    with pytest.raises(SarcastError, match="has 0 from 2030-01-01 to the last"):
        split_by_date([empty], size=16, previous=3, share=0.3, start=late, chooser="recent")
