"""The conditional temporal network: inputs have the effect they should, and no other."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sarcast.errors import SarcastError
from sarcast.prediction import NumberFormat
from sarcast.prediction.calibration import calibrated, residual_scores
from sarcast.prediction.deviation import ByDays, Deviation
from sarcast.prediction.model import Model
from sarcast.prediction.model_folder import load_model, save_model, weights
from sarcast.prediction.networks import encoding
from sarcast.prediction.networks.base import Prediction
from sarcast.prediction.networks.scaling import scale, statistics
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.training.augment import AugmentOptions, augment, fewer_images, mirror
from sarcast.prediction.training.average import average_in_use, averaged_model
from sarcast.prediction.training.batches import sampled
from sarcast.prediction.training.fit import TrainOptions, fit
from sarcast.sensor.conditions import COLUMNS, CONDITIONS, HEADING
from sarcast.windows import Batch, cut_window, split_by_date
from small_cubes import learnable_cube

SMALL = TemporalOptions(
    widths=(8, 8, 12, 12),
    blocks=(1, 1, 1, 1),
    decoder_width=8,
    decoder_blocks=(1, 1, 1, 1),
    fine_width=4,
    embedding=16,
)


def _network(seed: int = 0) -> Temporal:
    """A network in which every layer has an effect: none of its parameters is zero."""
    torch.manual_seed(seed)
    network = Temporal(SMALL).eval()
    for parameter in network.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.2)
    return network


def _batch(images: int = 3, height: int = 32, width: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(1)
    rows = torch.rand(2, images + 1, len(COLUMNS), generator=generator) * 4
    rows[..., COLUMNS.index("heading")] = torch.tensor([-12.0, -168.0]).repeat(9)[: images + 1]
    rows[..., COLUMNS.index("incidence")] += 36.0
    rows[..., COLUMNS.index("platform")] = torch.tensor([0.0, 1.0]).repeat(9)[: images + 1]
    days = -12.0 * torch.arange(images, -1, -1.0).repeat(2, 1)
    return Batch(
        previous=torch.randn(2, images, 2, height, width, generator=generator) * 2 - 12,
        target=torch.randn(2, 2, height, width, generator=generator) * 2 - 12,
        elevation=torch.rand(2, height, width, generator=generator) * 30,
        conditions=rows,
        times=(days.double() * 86_400e9).long(),
        days=days,
        day_of_year=torch.tensor([40.0, 200.0]),
    )


def _mean(network: Temporal, batch: Batch) -> torch.Tensor:
    with torch.inference_mode():
        return network(*batch.inputs()).mean


def test_an_untrained_network_gives_the_mean_of_the_previous_images() -> None:
    batch = _batch()
    batch.previous[0, 1, :, 3:9, 4:7] = torch.nan
    prediction = Temporal(SMALL)(*batch.inputs())
    torch.testing.assert_close(
        prediction.mean.detach(), batch.previous.nanmean(dim=1), rtol=0, atol=1e-4
    )


def test_order_of_images_before_the_latest_has_no_effect() -> None:
    network, batch = _network(), _batch(images=4)
    order = torch.tensor([2, 0, 1, 3])
    shuffled = batch.keep_images(order)
    torch.testing.assert_close(_mean(network, shuffled), _mean(network, batch), rtol=0, atol=1e-4)


@pytest.mark.parametrize("images", [1, 2, 7])
@pytest.mark.parametrize("shape", [(16, 48), (33, 21)])
def test_any_number_of_images_and_any_size(images: int, shape: tuple[int, int]) -> None:
    prediction = _network()(*_batch(images, *shape).inputs())
    assert prediction.log_variance is not None
    assert prediction.mean.shape == prediction.log_variance.shape == (2, 2, *shape)
    assert prediction.mean.isfinite().all()
    assert prediction.log_variance.isfinite().all()


@pytest.mark.parametrize("row", [0, -1])
@pytest.mark.parametrize("column", range(len(COLUMNS)))
def test_every_condition_of_previous_and_target_has_an_effect(row: int, column: int) -> None:
    network, batch = _network(), _batch()
    before = _mean(network, batch)
    batch.conditions[:, row, column] = torch.nan
    assert (_mean(network, batch) - before).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["elevation", "days", "day_of_year"])
def test_terrain_and_time_have_an_effect(name: str) -> None:
    network, batch = _network(), _batch()
    changed = replace(batch, **{name: getattr(batch, name) * 8.0})
    assert (_mean(network, changed) - _mean(network, batch)).abs().max() > 1e-3


def test_ignored_conditions_have_no_effect_on_a_copy() -> None:
    network, batch = _network(), _batch()
    ignoring = network.with_ignored(["temperature"])
    before = _mean(ignoring, batch)
    batch.conditions[..., COLUMNS.index("temperature")] += 9.0
    torch.testing.assert_close(_mean(ignoring, batch), before, rtol=0, atol=0)
    assert network.ignored == ()
    assert (_mean(network, batch) - before).abs().max() > 1e-3


def test_everything_may_be_missing() -> None:
    network, batch = _network(), _batch()
    batch.conditions[:] = torch.nan
    batch.elevation[:] = torch.nan
    batch.previous[0] = torch.nan
    prediction = network(*batch.inputs())
    assert prediction.mean.isfinite().all()
    assert prediction.log_variance.isfinite().all()


def test_scaling_shifts_and_stretches_with_the_image() -> None:
    """A window times 1.5 plus 3 dB is the same window after scaling."""
    batch = _batch()
    scaled, other = scale(batch.previous), scale(batch.previous * 1.5 + 3.0)
    torch.testing.assert_close(scaled.images, other.images, rtol=0, atol=1e-4)
    torch.testing.assert_close(other.level, scaled.level * 1.5 + 3.0, rtol=0, atol=1e-4)


def test_variance_over_images_has_no_bias() -> None:
    generator = torch.Generator().manual_seed(0)
    pattern = 3.0 * torch.randn(1, 1, 2, 64, 64, generator=generator)
    images = pattern + torch.randn(1, 3, 2, 64, 64, generator=generator)
    scaled = scale(images)
    in_db2 = scaled.variance * scaled.spread.square()
    torch.testing.assert_close(in_db2, torch.ones_like(in_db2), rtol=0.05, atol=0)


def test_slope_is_the_rise_away_from_the_radar() -> None:
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    rising_east = (2.0 * x)[None]
    headings = torch.tensor([[0.0, 180.0, -90.0, torch.nan]])  # looks east, west, north
    slope = encoding.slope_along_look(rising_east, headings)[0, :, 4, 4]
    torch.testing.assert_close(slope, torch.tensor([2.0, -2.0, 0.0, 0.0]), rtol=0, atol=1e-5)
    rising_north = (-3.0 * y)[None]
    slope = encoding.slope_along_look(rising_north, headings)[0, :, 4, 4]
    torch.testing.assert_close(slope, torch.tensor([0.0, 0.0, 3.0, 0.0]), rtol=0, atol=1e-5)


def test_loss_is_least_at_the_mean_and_the_spread_of_the_target() -> None:
    """Mean and log-variance are fitted freely to samples of known mean and spread."""
    network = Temporal(SMALL)
    generator = torch.Generator().manual_seed(0)
    target = 1.5 * torch.randn(64, 2, 16, 16, generator=generator) - 11.0
    target[:, :, :4] = torch.nan
    mean = torch.full((2,), -9.0, requires_grad=True)
    log_variance = torch.zeros(2, requires_grad=True)
    optimiser = torch.optim.Adam([mean, log_variance], lr=0.05)
    for _ in range(400):
        fitted = [part[:, None, None].expand(target.shape) for part in (mean, log_variance)]
        prediction = Prediction(*fitted, window_variance=torch.ones(64, 2, 1, 1))
        optimiser.zero_grad()
        network.loss(prediction, target).backward()
        optimiser.step()
    torch.testing.assert_close(mean, torch.tensor([-11.0, -11.0]), rtol=0, atol=0.05)
    sigma = (log_variance / 2).exp()
    torch.testing.assert_close(sigma, torch.tensor([1.5, 1.5]), rtol=0, atol=0.05)


def test_goal_replaces_the_target_for_the_mean_alone() -> None:
    network, batch = Temporal(SMALL), _batch()
    prediction = network(*batch.inputs())
    at_goal = network.loss(prediction, batch.target, prediction.mean.detach())
    assert at_goal < network.loss(prediction, batch.target)
    (gradient,) = torch.autograd.grad(at_goal, prediction.log_variance)
    residual = (prediction.mean - batch.target).detach().square()
    expected = 0.1 * (1.0 - residual * torch.exp(-prediction.log_variance.detach()))
    torch.testing.assert_close(gradient, expected / gradient.numel(), rtol=1e-3, atol=1e-9)


def test_contrast_is_the_error_of_the_difference_between_two_conditions() -> None:
    network, batch = Temporal(SMALL), _batch()
    with torch.inference_mode():
        first = network(*batch.inputs())
    moved = torch.tensor([1.0, -2.0])[:, None, None, None].expand(first.mean.shape)
    exact = first._replace(mean=first.mean + moved)
    half = first._replace(mean=first.mean + 0.5 * moved)
    both = torch.ones_like(first.mean[:, :1])
    second = both * torch.tensor([0.0, 1.0])[:, None, None, None]
    assert float(network.contrast(first, exact, moved, both)) < 1e-9
    expected = torch.tensor([0.25, 1.0]) / first.window_variance.mean(dim=(1, 2, 3))
    torch.testing.assert_close(network.contrast(first, half, moved, both), expected.mean())
    torch.testing.assert_close(network.contrast(first, half, moved, second), expected[1])
    assert float(network.contrast(first, half, moved, 0.0 * both)) == 0.0


def test_pixels_of_the_contrast_count_by_their_weights() -> None:
    network, batch = Temporal(SMALL), _batch()
    with torch.inference_mode():
        first = network(*batch.inputs())
    generator = torch.Generator().manual_seed(5)
    error = torch.randn(first.mean.shape, generator=generator)
    weight = torch.rand(first.mean[:, :1].shape, generator=generator)
    other = first._replace(mean=first.mean + error)
    found = float(network.contrast(first, other, torch.zeros_like(error), weight))
    square = error.double().numpy() ** 2 / first.window_variance.mean(dim=1, keepdim=True).numpy()
    expected = np.average(square.mean(axis=1), weights=weight[:, 0].double().numpy())
    assert found == pytest.approx(expected, rel=1e-5)


def test_mirrored_windows_keep_their_slopes_along_the_look() -> None:
    batch = _batch()
    batch = replace(
        batch,
        counterfactual_conditions=batch.conditions[:, 0],
        counterfactual_expected=batch.target,
    )
    headings = batch.conditions[..., HEADING]
    slopes = encoding.slope_along_look(batch.elevation, headings)
    for axis in (-1, -2):
        mirrored = mirror(batch, axis)
        headings = mirrored.conditions[..., HEADING]
        same_slopes = encoding.slope_along_look(mirrored.elevation, headings).flip(axis)
        torch.testing.assert_close(same_slopes, slopes, rtol=0, atol=1e-4)
        torch.testing.assert_close(mirrored.previous.flip(axis), batch.previous)
        torch.testing.assert_close(mirrored.counterfactual_expected.flip(axis), batch.target)
        torch.testing.assert_close(mirrored.counterfactual_conditions, mirrored.conditions[:, 0])
    east = mirror(batch, -1).conditions[0, :2, HEADING]
    torch.testing.assert_close(east, torch.tensor([-168.0, -12.0]), rtol=0, atol=1e-4)


def _augmented(seed: int, images: int = 8, **changes: float) -> Batch:
    none_hidden = {name: 0.0 for name in AugmentOptions.model_fields if name.startswith("no_")}
    options = AugmentOptions(**{**none_hidden, "strips": 0.0, "mirror": False, **changes})
    generator = torch.Generator().manual_seed(seed)
    batch = fewer_images(_batch(images, 16, 16), options, generator=generator)
    return augment(batch, options, generator=generator)


def test_augmentation_draws_the_usual_number_and_others() -> None:
    numbers = [_augmented(seed, fewest=2, usual=4).previous.shape[1] for seed in range(200)]
    assert set(numbers) == {2, 3, 4, 5, 6, 7, 8}
    assert np.mean(np.array(numbers) == 4) == pytest.approx(0.5 + 0.5 / 7, abs=0.1)
    kept = _augmented(3, fewest=2, usual=4)
    assert kept.days.shape[1] == kept.conditions.shape[1] == kept.previous.shape[1] + 1
    whole = _batch(8, 16, 16)
    for image, day in zip(kept.previous[0], kept.days[0], strict=False):
        torch.testing.assert_close(image, whole.previous[0, int(8 + day / 12)])


def test_augmentation_hides_what_its_options_name() -> None:
    everything = _augmented(0, no_conditions=1.0)
    assert everything.conditions.isnan().all()
    weather = _augmented(0, no_weather=1.0).conditions.isnan()[0, 0]
    missing = {name for name, is_nan in zip(COLUMNS, weather, strict=True) if is_nan}
    assert missing == {"temperature", "snow_depth", *(f"precipitation_{lag}" for lag in range(4))}
    assert _augmented(0, no_elevation=1.0).elevation.isnan().all()
    batch = _batch()
    with_counterfactual = replace(
        batch,
        counterfactual_conditions=batch.conditions[:, -1],
        counterfactual_expected=batch.target,
    )
    hidden = augment(
        with_counterfactual, AugmentOptions(), generator=torch.Generator().manual_seed(3)
    )
    assert hidden.conditions.isnan().any()
    torch.testing.assert_close(
        hidden.counterfactual_conditions, hidden.conditions[:, -1], equal_nan=True
    )
    single = torch.cat([_augmented(seed, no_condition=0.3).conditions[:, 0] for seed in range(200)])
    assert single.isnan().float().mean() == pytest.approx(0.3, abs=0.05)
    strips = _augmented(0, strips=1.0).previous.isnan().float().mean(dim=(2, 3, 4))
    assert 0.0 < strips.mean() < 0.6
    unchanged = _augmented(0, usual=8, usual_share=1.0)
    torch.testing.assert_close(unchanged.conditions, _batch(8, 16, 16).conditions)


def test_average_follows_the_weights() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    average = averaged_model(layer, 0.75)
    expected = 1.0
    for step, value in enumerate([2.0, 4.0, 8.0] * 20):
        layer.weight.data.fill_(value)
        average.update_parameters(layer)
        decay = min(0.75, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with average_in_use(layer, average):
        assert layer.weight.item() == pytest.approx(expected, rel=1e-5)
    assert layer.weight.item() == 8.0


def test_model_folder_in_half_precision_gives_nearly_the_same(tmp_path: Path) -> None:
    model = Model(_network(), "small", {"steps": 1}, deviation=Deviation(ByDays.constant(1.2)))
    save_model(model, tmp_path / "model", half=True)
    loaded = load_model(tmp_path / "model", device="cpu", precision="float32")
    window = cut_window(learnable_cube(), 5, (2, 3), (20, 22), [1, 3, 4])
    first, second = model.expect([window])[0], loaded.expect([window])[0]
    np.testing.assert_allclose(first.mean, second.mean, atol=0.02)
    np.testing.assert_allclose(first.std, second.std, rtol=0.02)
    assert (loaded.size, loaded.previous) == (None, None)


def test_weights_of_other_names_are_refused(tmp_path: Path) -> None:
    save_model(Model(_network(), "small"), tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    tensors = load_file(path)
    tensors["unknown.weight"] = tensors.pop("downsample.0.weight")
    save_file(tensors, path)
    with pytest.raises(SarcastError, match="does not contain the weights that model.yaml"):
        load_model(tmp_path / "model", device="cpu")


def test_checkpoints_name_weights_as_model_folders_do(tmp_path: Path) -> None:
    network = Temporal(SMALL)
    training, validation = split_by_date(
        [learnable_cube()], size=16, previous=3, share=0.3, chooser="recent"
    )
    windows = validation.draw(2, rng=np.random.default_rng(1))
    options = TrainOptions(steps=1, batch=2, average=0.9, accelerator="cpu")
    fit(sampled(training, batch=2, seed=0), windows, network, options, folder=tmp_path)
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    for part in ("network", "best", "average"):
        assert load_file(checkpoint / f"{part}.safetensors").keys() == weights(network).keys()


def test_bfloat16_moves_the_shipped_expected_image_by_less_than_its_noise() -> None:
    models = [load_model("base", device="cpu", precision=name) for name in get_args(NumberFormat)]
    window = cut_window(learnable_cube(), 5, (2, 3), (20, 22), [1, 3, 4])
    first, second = (model.expect([window])[0] for model in models)
    moved = np.nanstd(first.mean - second.mean)
    assert 0.0 < moved < 0.01 * np.nanmean(first.std)
    np.testing.assert_allclose(first.std, second.std, rtol=0.02)


def test_windows_of_several_shapes_are_predicted_in_their_order() -> None:
    model = Model(_network(), "small")
    cube = learnable_cube()
    windows = [
        cut_window(cube, 8, (2, 3), (16, 16), images) for images in ([1, 3], [5, 6, 7], [6, 7])
    ]
    together = model.expect(windows)
    for window, expected in zip(windows, together, strict=True):
        np.testing.assert_allclose(expected.mean, model.expect([window])[0].mean, atol=1e-4)


@pytest.mark.parametrize(("pixels", "runs"), [(1, [4, 1]), (16, [4, 1]), (20, [1] * 5)])
def test_one_forward_pass_takes_a_limited_number_of_pixels(monkeypatch, pixels, runs) -> None:
    """The padding of small windows counts too."""
    network, passes = _network(), []
    network.register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))
    cube = learnable_cube()
    windows = [cut_window(cube, 8, (0, 0), (pixels, pixels), [6, 7]) for _ in range(5)]
    monkeypatch.setattr("sarcast.prediction.model.MAX_PIXELS_PER_PASS", 4 * 2 * 16 * 16)
    Model(network, "small").expect(windows)
    assert passes == runs


def test_calibrated_std_covers_one_sigma_of_the_residuals() -> None:
    cube = learnable_cube()
    windows = [cut_window(cube, 8, (row, 3), (16, 16), [5, 6, 7]) for row in (0, 4, 8)]
    model = calibrated(Model(_network(), "small"), windows)
    within = residual_scores(model, windows).within_std
    assert within is not None
    assert within[0] == pytest.approx(0.6827, abs=0.005)
    assert calibrated(model, windows).deviation == model.deviation


def test_of_mean_compares_with_the_mean_of_the_same_images() -> None:
    windows = [cut_window(learnable_cube(), 8, (0, 3), (16, 16), [5, 6, 7])]
    untrained = residual_scores(Model(Temporal(SMALL).eval(), "small"), windows)
    assert untrained.of_mean == pytest.approx(1.0, abs=1e-4)


def test_conditions_outside_the_training_range_are_named_in_a_warning() -> None:
    ranges = {"temperature": [-10.0, 20.0], "platform": [0.0, 1.0]}
    model = Model(_network(), "small", {"seen_conditions": ranges})
    window = cut_window(learnable_cube(), 8, (0, 3), (16, 16), [5, 6, 7])
    plain = model.expect([window])[0].mean
    window.conditions[-1, COLUMNS.index("platform")] = 2.0
    with pytest.warns(UserWarning, match=r"not trained on sentinel-1c: .* counts as missing"):
        hidden = model.expect([window])[0].mean
    np.testing.assert_allclose(hidden, plain, atol=1e-5)
    window.conditions[-1, COLUMNS.index("platform")] = np.nan
    window.conditions[0, COLUMNS.index("temperature")] = 31.0
    with pytest.warns(UserWarning, match=r"temperature lies far outside the -10 to 20"):
        model.expect([window])


def test_present_flags_are_those_of_the_conditions() -> None:
    rows = torch.full((1, len(COLUMNS)), torch.nan)
    rows[0, COLUMNS.index("incidence")] = 38.0
    rows[0, COLUMNS.index("precipitation_1")] = 2.0
    values, present = encoding.encode_rows(rows)
    shares = [float({"incidence": 1, "precipitation": 0.25}.get(name, 0)) for name in CONDITIONS]
    torch.testing.assert_close(present[0], torch.tensor(shares))
    assert values.isfinite().all()
    assert values.count_nonzero() == 1  # the rain; 38 degrees is the middle


def test_images_without_data_at_a_pixel_have_no_weight_there() -> None:
    network, batch = _network(), _batch()
    batch.previous[0, 1, :, 3:9, 4:7] = torch.nan
    scaled = scale(batch.previous)
    other = replace(scaled, images=torch.where(scaled.valid > 0, scaled.images, 1e3))
    generator = torch.Generator().manual_seed(2)
    fine = torch.randn(2, 3, 8, 16, 16, generator=generator)
    coarse = torch.randn(2, 3, 8, 8, 8, generator=generator)
    decoded = torch.randn(2, 8, 16, 16, generator=generator)
    embeddings = torch.randn(2, 3, SMALL.embedding, generator=generator)
    with torch.inference_mode():
        sums = [
            network.weighted_sum(images, fine, coarse, decoded, embeddings)
            for images in (scaled, other)
        ]
    torch.testing.assert_close(sums[0], sums[1])


def test_the_level_of_a_window_is_limited_to_that_of_the_worlds() -> None:
    """Levels beyond the brightest and the darkest world give the same; those between differ."""
    noise = torch.randn(1, 4, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    bands = torch.tensor([0.0, -6.5])[:, None, None]
    bright, brighter, dark, darker, usual, lower = (
        statistics(scale(noise + bands + level)) for level in (0.0, 9.0, -40.0, -50.0, -10.0, -11.0)
    )
    torch.testing.assert_close(bright, brighter, atol=1e-4, rtol=0.0)
    torch.testing.assert_close(dark, darker, atol=1e-4, rtol=0.0)
    assert ((usual - lower).abs().amax(dim=(0, 1)) > 0.1).sum() == 2
