"""What networks make of data that is not as it should be."""

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
from sarcast.prediction.predict import TileOptions, predict
from sarcast.prediction.training.batches import sampled
from sarcast.prediction.training.fit import TrainOptions, fit
from sarcast.prediction.training_range import condition_ranges, merge_ranges
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import collate, split_by_date
from small_cubes import learnable_cube

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
    """The cube with a strip that no odd date saw."""
    holed = cube.copy(deep=True)
    holed["backscatter"][1::2, :, 5:9] = np.nan
    return holed


def test_training_on_strips_of_nan_stays_finite(tmp_path: Path) -> None:
    training, held = split_by_date([striped(learnable_cube())], size=16, previous=3, share=0.3)
    windows = held.draw(4, rng=np.random.default_rng(1))
    assert np.isnan(np.stack([window.target for window in windows])).any()
    learning = network()
    state = fit(sampled(training, batch=4, seed=0), windows, learning, OPTIONS, folder=tmp_path)
    assert np.isfinite(state.best_error_db2)
    assert all(tensor.isfinite().all() for tensor in learning.state_dict().values())


def test_the_loss_ignores_what_the_target_did_not_see() -> None:
    """Whatever is expected there, the loss and the gradients elsewhere are the same."""
    training, _ = split_by_date([striped(learnable_cube())], size=16, previous=3, share=0.3)
    batch = collate(training.draw(8, rng=np.random.default_rng(1)))
    seen = batch.target.isfinite()
    learning = network()
    with torch.no_grad():
        told = learning(*batch.inputs())
    losses, gradients = [], []
    for strange in (0.0, 40.0):
        base = torch.where(seen, -12.0, strange)
        mean = base.clone().requires_grad_()
        loss = learning.loss(told._replace(mean=mean), batch.target)
        loss.backward()
        losses.append(loss.item())
        assert mean.grad is not None
        gradients.append(mean.grad)
    assert losses[0] == losses[1]
    torch.testing.assert_close(gradients[0], gradients[1])
    assert (gradients[0][~seen] == 0).all()
    assert (gradients[0][seen] != 0).all()


def test_what_some_previous_images_saw_is_predicted() -> None:
    cube = striped(learnable_cube())
    found = predict(cube, Model(network(), "small"), 10)
    assert np.isfinite(found["expected"].values).all()
    blind = cube.copy(deep=True)
    blind["backscatter"][:10, :, 5:9] = np.nan
    found = predict(blind, Model(network(), "small"), 10)
    np.testing.assert_array_equal(
        np.isnan(found["expected"].values).all(axis=(0, 2)), np.isin(np.arange(24), range(5, 9))
    )


@pytest.mark.parametrize("unseen", ["platform", "temperature"])
def test_a_warning_comes_once_however_many_tiles(unseen: str) -> None:
    cube = learnable_cube(pixels=64).assign_coords(platform=("time", ["sentinel-1c"] * 12))
    known = {"platform": [0.0, 1.0], "temperature": [-10.0, 20.0]}
    if unseen == "temperature":
        cube = cube.drop_vars("platform")
        cube["temperature"] = cube["temperature"] + 60.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        tiles = TileOptions(tile=16, overlap=0.0)
        predict(cube, Model(network(), "small", {"seen_conditions": known}), 10, tiles=tiles)
    assert len(caught) == 1
    said = {"platform": "not trained on sentinel-1c", "temperature": "temperature lies far outside"}
    assert said[unseen] in str(caught[0].message)


def test_a_platform_never_seen_counts_as_missing() -> None:
    cube = learnable_cube()
    training, _ = split_by_date([cube], size=16, previous=3, share=0.3)
    (window,) = training.draw(1, rng=np.random.default_rng(1))
    strange = window.conditions.copy()
    strange[:, COLUMNS.index("platform")] = 3.0
    seen = {"platform": [0.0, 1.0], "temperature": [-10.0, 20.0]}
    model = Model(network(), "small", {"seen_conditions": seen})
    with pytest.warns(UserWarning, match="not trained on sentinel-1d"):
        found = model.expect([replace(window, conditions=strange)])[0]
    np.testing.assert_array_equal(found.mean, model.expect([window])[0].mean)


def test_platforms_are_known_one_by_one() -> None:
    """A network of S1A and S1D does not know S1C, whose number lies between."""
    training, _ = split_by_date([learnable_cube()], size=16, previous=3, share=0.3)
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


def test_a_condition_never_seen_counts_as_missing() -> None:
    """Weights of a condition that no training told are random: they must not be heard."""
    training, _ = split_by_date([learnable_cube()], size=16, previous=3, share=0.3)
    (window,) = training.draw(1, rng=np.random.default_rng(1))
    bare = replace(window, conditions=np.full_like(window.conditions, np.nan))
    hearing = network()
    for weights in hearing.parameters():
        weights.data += 0.1 * torch.randn_like(weights)
    told, untold = (Model(hearing, "small").expect([one])[0].mean for one in (window, bare))
    assert np.abs(told - untold).max() > 0.02
    for seen in ({}, {"heading": [-10.0, 190.0]}):
        model = Model(hearing, "small", {"seen_conditions": seen})
        with pytest.warns(UserWarning, match="not trained on temperature: .* counts as missing"):
            found = model.expect([window])[0]
        np.testing.assert_array_equal(found.mean, untold)


def test_data_without_a_valid_window() -> None:
    blind = learnable_cube()
    blind["backscatter"][:] = np.nan
    training, _ = split_by_date([blind], size=16, previous=3, share=0.3)
    with pytest.raises(SarcastError, match="no valid window: no 16 x 16 pixels were seen"):
        training.draw(1, rng=np.random.default_rng(0))
    with pytest.raises(SarcastError, match="at least 2 target dates with 11 previous images each"):
        split_by_date([blind], size=16, previous=11, share=0.3)
    late = np.datetime64("2030-01-01")
    with pytest.raises(SarcastError, match="has 0 from 2030-01-01 to the last"):
        split_by_date([blind], size=16, previous=3, share=0.3, start=late)
