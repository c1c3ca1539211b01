"""Speckle, filters, geolocation error and missing data of product images."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats

from sarcast.world import presets, sensor


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(looks: float, correlation: float, size: int = 400) -> np.ndarray:
    shape = torch.Size((1, 1, 1, size, size))
    return sensor.draw_speckle(
        shape, torch.tensor([looks]), torch.tensor([correlation]), rng=generator()
    )[0, 0, 0].numpy()


@pytest.mark.parametrize("looks", [1.0, 4.4, 20.0, 60.0])
@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_speckle_has_the_given_number_of_looks(looks, correlation):
    values = drawn(looks, correlation)
    assert values.mean() == pytest.approx(1.0, abs=0.01)
    assert values.mean() ** 2 / values.var() == pytest.approx(looks, rel=0.06)


def test_speckle_is_gamma_distributed():
    values = drawn(4.4, 0.0, size=100).ravel()
    assert stats.kstest(values, stats.gamma(4.4, scale=1 / 4.4).cdf).pvalue > 0.01


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6])
def test_adjacent_speckle_has_the_given_correlation(correlation):
    values = drawn(30.0, correlation)
    for first, second in ((values[1:], values[:-1]), (values[:, 1:], values[:, :-1])):
        assert np.corrcoef(first.ravel(), second.ravel())[0, 1] == pytest.approx(
            correlation, abs=0.02
        )


@pytest.mark.parametrize("name", ["lee", "refined-lee", "tv"])
def test_filters_smooth_flat_ground_and_keep_its_level(name):
    power = torch.as_tensor(drawn(4.4, 0.0, size=120))[None, None, None]
    smooth = sensor.filter_each(power, torch.tensor([4.4]), [name])
    assert smooth.var() < 0.35 * power.var()
    assert smooth.mean() == pytest.approx(1.0, abs=0.02 if name != "tv" else 0.15)


def test_each_world_has_its_own_filter():
    power = torch.as_tensor(drawn(4.4, 0.0, size=64)).expand(4, 1, 1, 64, 64).clone()
    looks = torch.full((4,), 4.4)
    names = list(sensor.FILTERS)
    mixed = sensor.filter_each(power.clone(), looks, names)
    for world, name in enumerate(names):
        alone = sensor.filter_each(power[world : world + 1].clone(), looks[:1], [name])
        assert (mixed[world] == alone[0]).all()
    assert len({float(image.var()) for image in mixed}) == 4


def test_a_shift_moves_a_point_by_as_much():
    image = torch.zeros(1, 1, 1, 9, 9)
    image[..., 4, 4] = 1.0
    moved = sensor.shift(image, torch.tensor([[[0.25, -0.5]]]))[0, 0, 0]
    y, x = ((torch.arange(9.0) * moved.sum(dim)).sum() / moved.sum() for dim in (1, 0))
    assert (float(y), float(x)) == pytest.approx((4.25, 3.5), abs=1e-5)
    assert moved.sum() == pytest.approx(1.0)


def observed(**changed: object) -> torch.Tensor:
    preset = dataclasses.replace(presets.BOREAL, **changed)
    parameters = presets.draw(preset, 6, rng=generator())
    level = torch.full((6, 5, 2, 64, 64), -10.0)
    level[..., 32:] = -14.0
    return sensor.observe(level, parameters, ["none"] * 6, rng=generator(2))


def test_strips_of_no_data_have_the_given_frequency_and_are_the_same_in_both_bands():
    images = observed(strips=0.5)
    lost = images.isnan()
    assert (lost[:, :, 0] == lost[:, :, 1]).all()
    hit = lost.any(-1).any(-1)[:, :, 0].float().mean()
    assert 0.25 < hit < 0.75 and lost.float().mean() < 0.2
    assert not observed().isnan().any()


def test_jitter_moves_edges():
    still, moved = (
        observed(looks=(400.0, 400.0)),
        observed(looks=(400.0, 400.0), jitter_px=(0.5, 0.5)),
    )
    at_edge = (10 * moved.log10() - 10 * still.log10())[..., 31:33].abs().mean()
    inside = (10 * moved.log10() - 10 * still.log10())[..., 4:28].abs().mean()
    assert at_edge > inside + 0.3
