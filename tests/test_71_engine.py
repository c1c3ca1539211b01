"""Inference on CPUs: the engine gives what the network gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sarcast.prediction.engine import Engine
from sarcast.prediction.model import Model
from sarcast.prediction.networks.base import Prediction
from sarcast.prediction.networks.context import TABLE_SHAPE
from sarcast.prediction.networks.convolution import F2
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import Batch, to_windows

OPTIONS = TemporalOptions(
    widths=(8, F2.least_channels, 12, 16),
    blocks=(1, 1, 0, 2),
    decoder_width=8,
    decoder_blocks=(1, 1, 1, 1),
    fine_width=4,
    embedding=16,
)


def _network() -> Temporal:
    """A network in which every layer has an effect: none of its parameters is zero."""
    torch.manual_seed(0)
    network = Temporal(OPTIONS).eval()
    for parameter in network.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.2)
    return network


def _batch(windows: int = 1, images: int = 3, height: int = 64, width: int = 64) -> Batch:
    """Windows with gaps in images, terrain, conditions and context."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    previous = draw(windows, images, 2, height, width) * 2 - 12
    previous[0, -1, :, 3:9, 4:7] = torch.nan
    previous[0, :, 1, 20:24, 4:30] = torch.nan
    elevation = draw(windows, height, width) * 30
    elevation[0, :5, :5] = torch.nan
    conditions = draw(windows, images + 1, len(COLUMNS)).abs() * 4
    conditions[0, 0, 0] = torch.nan
    days = -12.0 * torch.arange(images, -1, -1.0).repeat(windows, 1)
    context = draw(windows, *TABLE_SHAPE)
    context[..., :-1, :, 0] = context[..., :-1, :, 0].sort(dim=-1).values
    context[0] = torch.nan
    return Batch(
        previous=previous,
        target=draw(windows, 2, height, width),
        elevation=elevation,
        conditions=conditions,
        times=(days.double() * 86_400e9).long(),
        days=days,
        day_of_year=torch.linspace(40, 200, windows),
        context=context,
    )


def _by_engine(network: Temporal, batch: Batch, targets: int = 1) -> Prediction:
    return Engine(network, torch.float32).predict_targets(batch, targets)


@torch.inference_mode()
def _by_network(network: Temporal, batch: Batch) -> Prediction:
    return network(*batch.inputs())


def _assert_alike(prediction: Prediction, expected: Prediction, tolerance: float = 1e-4) -> None:
    for ours, theirs in zip(prediction, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(64, 64), (40, 53), (16, 16)])
@pytest.mark.parametrize(("windows", "images"), [(1, 1), (2, 3)])
def test_the_engine_gives_what_the_network_gives(shape, windows, images) -> None:
    network, batch = _network(), _batch(windows, images, *shape)
    prediction = _by_engine(network, batch)
    assert prediction.mean.shape[-2:] == shape
    _assert_alike(prediction, _by_network(network, batch))


def test_scores_that_differ_by_hundreds() -> None:
    """As in trained weights: the softmax over images is exact where one outweighs all others."""
    network = _network()
    with torch.no_grad():
        for layer in (*(merge.score for merge in network.merge), network.weighted_sum.output):
            layer.weight.mul_(400.0)
    batch = _batch(images=5)
    with torch.inference_mode():
        plain = network(*batch.inputs())
        engine = Engine(network, torch.float32).predict_targets(batch, 1)
    spread = float(plain.mean[torch.isfinite(plain.mean)].std())
    assert torch.isfinite(engine.mean).equal(torch.isfinite(plain.mean))
    torch.testing.assert_close(engine.mean, plain.mean, atol=1e-3 * spread, rtol=1e-3)


def test_the_engine_gives_the_same_without_gaps_and_without_context() -> None:
    network, batch = _network(), _batch()
    batch = replace(batch, previous=batch.previous.nan_to_num(-12.0), context=None)
    _assert_alike(_by_engine(network, batch), _by_network(network, batch))


def test_the_engine_ignores_what_the_network_ignores() -> None:
    network, batch = _network().with_ignored(["temperature"]), _batch()
    first = _by_engine(network, batch)
    batch.conditions[..., COLUMNS.index("temperature")] = 30.0
    _assert_alike(_by_engine(network, batch), first, tolerance=0.0)


def test_targets_of_one_baseline_are_predicted_as_each_alone(monkeypatch) -> None:
    """Three targets, 12 days apart; the second baseline has three of its own."""
    network, batch = _network(), _batch(windows=2)
    both = torch.tensor([0, 0, 0, 1, 1, 1])
    later = 12.0 * torch.arange(3).repeat(2)
    batch = batch.each(lambda tensor: tensor[both].clone())
    batch.conditions[:, -1] = torch.rand(6, len(COLUMNS), generator=torch.manual_seed(2))
    batch.days[:, :-1] -= later[:, None]
    batch.day_of_year.add_(later)
    encoded: list[int] = []
    encode = Engine._encode
    monkeypatch.setattr(
        Engine, "_encode", lambda self, baseline: encoded.append(1) or encode(self, baseline)
    )
    together = _by_engine(network, batch, targets=3)
    assert len(encoded) == 2
    _assert_alike(together, _by_network(network, batch))
    assert not torch.allclose(together.mean[0], together.mean[1], atol=0.01)


@pytest.mark.parametrize("engine_pixels", [0, 10**6])
def test_a_model_predicts_targets_of_one_baseline_as_each_alone(monkeypatch, engine_pixels) -> None:
    """Scene context too: each target has its own."""
    monkeypatch.setattr("sarcast.prediction.model.ENGINE_PIXELS", engine_pixels)
    (window,) = to_windows(_batch(height=48, width=44))
    windows = []
    for number in range(3):
        times = window.times.copy()
        times[-1] += number * np.timedelta64(12, "D")
        windows.append(replace(window, target=window.target - 12.0 + number, times=times))
    model = Model(_network(), "small")
    together = model.expect(windows)
    for window, expected in zip(windows, together, strict=True):
        (alone,) = model.expect([window])
        np.testing.assert_allclose(expected.mean, alone.mean, rtol=0, atol=2e-3)
        np.testing.assert_allclose(expected.std, alone.std, rtol=2e-3)
    assert np.nanmean(np.abs(together[0].mean - together[2].mean)) > 0.5


def test_bfloat16_moves_the_expected_image_by_less_than_speckle() -> None:
    network, batch = _network(), _batch(windows=2)
    prediction = Engine(network, torch.bfloat16).predict_targets(batch, 1)
    expected = _by_network(network, batch)
    assert prediction.mean.dtype == torch.float32
    assert 0.0 < (prediction.mean - expected.mean).std() < 0.02 * expected.mean.std()


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 300.0), (1.0, -300.0), (30.0, 0.0)])
def test_scores_of_any_size_give_what_the_softmax_gives(gain, offset) -> None:
    """The exponentials of such scores overflow or vanish."""
    network, batch = _network(), _batch()
    for layer in [*(merge.score for merge in network.merge), network.weighted_sum.output]:
        layer.weight.data *= gain
        layer.bias.data += offset
    _assert_alike(_by_engine(network, batch), _by_network(network, batch), tolerance=1e-3)


def test_predicting_changes_no_input() -> None:
    network, batch = _network(), _batch()
    before = batch.each(torch.clone)
    _by_engine(network, batch)
    network.scene_context(batch)
    for ours, theirs in zip(batch.inputs(), before.inputs(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def test_the_engine_keeps_the_weights_that_it_was_made_with() -> None:
    network, batch = _network(), _batch()
    engine = Engine(network, torch.float32)
    before = engine.predict_targets(batch, 1)
    for parameter in network.parameters():
        parameter.data += 0.1
    _assert_alike(engine.predict_targets(batch, 1), before, tolerance=0.0)


def test_making_an_engine_uses_no_random_numbers() -> None:
    network = _network()
    state = torch.get_rng_state()
    Engine(network, torch.float32)
    torch.testing.assert_close(torch.get_rng_state(), state)
