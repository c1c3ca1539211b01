"""Horizons and seasons of previous images, against a loop over the acquisitions of each world."""

import dataclasses
import math

import pytest
import torch

from sarcast.sensor.units import YEAR_DAYS
from sarcast.world import baseline, ground, presets, stream
from sarcast.world.options import StreamOptions
from sarcast.world.stream import WindowStream

EVERY_DAYS = 7.3
SMALL = StreamOptions(preset="monsoon", size=32, previous=5, batch=40)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def times(worlds: int = 60, most: int = 130, seed: int = 2) -> torch.Tensor:
    """Times of 1 to ``most`` acquisitions, some of them far apart; infinite after the last."""
    rng = generator(seed)
    apart = torch.empty(worlds, most, dtype=torch.float64).exponential_(
        1.0 / EVERY_DAYS, generator=rng
    )
    time = 2000.0 + apart.cumsum(1)
    count = torch.randint(1, most + 1, (worlds, 1), generator=rng)
    count[: worlds // 2] = most
    return torch.where(torch.arange(most) < count, time, torch.inf)


def chosen_by_a_loop(time: list[float], previous: int, left_out: int, seasonal: bool) -> list[int]:
    """The same of one world, from the definition of ``choose``."""
    time = [day for day in time if math.isfinite(day)]
    target = len(time) - 1
    within = [k for k in range(target) if 0.0 < time[target] - time[k] <= baseline.HORIZON_DAYS]
    left_out = min(left_out, max(0, len(within) - 1), max(0, target - previous))
    pool = list(range(target - left_out))
    kept = []
    if seasonal:
        recent = pool[len(pool) - (previous - previous // 2) :] if pool else []
        away = {
            k: min(abs(time[target] - time[k] - years * YEAR_DAYS) for years in (1, 2))
            for k in pool
            if k not in recent
        }
        near = sorted((days, k) for k, days in away.items() if days <= baseline.SEASON_DAYS)
        kept = recent + [k for _, k in near[: previous // 2]]
    others = [k for k in reversed(pool) if k not in kept]
    kept += others[: previous - len(kept)]
    return [*sorted(kept + [0] * (previous - len(kept))), target]


@pytest.mark.parametrize("previous", [1, 2, 7, 24])
def test_the_previous_images_are_those_of_a_loop_over_the_acquisitions(previous):
    time = times()
    rng = generator()
    left_out = torch.randint(13, (len(time),), generator=rng)
    seasonal = torch.rand(len(time), generator=rng) < 0.5
    found = baseline.choose(time, previous, left_out, seasonal)
    for world in range(len(time)):
        twin = (time[world].tolist(), previous, int(left_out[world]), bool(seasonal[world]))
        assert found[world].tolist() == chosen_by_a_loop(*twin)
    assert found.shape == (len(time), previous + 1)


def test_fewer_acquisitions_than_previous_images_repeat_the_oldest():
    time = torch.tensor([[10.0, 20.0, 30.0, torch.inf], [10.0, torch.inf, torch.inf, torch.inf]])
    none, never = torch.tensor([3, 3]), torch.tensor([True, False])
    found = baseline.choose(time.double(), 6, none, never)
    assert found.tolist() == [[0, 0, 0, 0, 0, 1, 2], [0] * 7]


def left_out_of(chosen: baseline.Baseline, time: torch.Tensor) -> torch.Tensor:
    indices = chosen.draw(time, rng=generator(3))
    return indices[:, -1] - indices[:, -2] - 1


def test_every_number_of_left_out_acquisitions_is_drawn_equally_often():
    time = (EVERY_DAYS * torch.arange(100).double()).expand(6500, -1)
    counts = torch.bincount(left_out_of(baseline.Baseline(4, horizon=12), time))
    assert len(counts) == 13 and counts.min() > 400 and counts.max() < 600
    assert left_out_of(baseline.Baseline(4), time).eq(0).all()


def test_a_horizon_in_days_leaves_out_all_acquisitions_of_a_uniform_number_of_days():
    time = torch.arange(400).double().expand(4000, -1)
    only = left_out_of(baseline.Baseline(4, horizon_days=150.0), time).float()
    assert only.mean() == pytest.approx(75.0, abs=3.0) and 145.0 < only.max() < 150.0
    both = left_out_of(baseline.Baseline(4, horizon=2, horizon_days=150.0), time).float()
    assert (both <= 2.0).float().mean() == pytest.approx(0.5 + 0.5 * 3.0 / 150.0, abs=0.03)


def test_no_horizon_is_longer_than_the_longest():
    time = times(most=60) * 4.0
    indices = baseline.Baseline(4, horizon=12, horizon_days=200.0).draw(time, rng=generator())
    days = time.gather(1, indices)
    gap = days[:, -1] - days[:, -2]
    out = indices[:, -1] - indices[:, -2] - 1
    assert (gap[out > 0] <= baseline.HORIZON_DAYS).all() and (out > 0).any()


def test_the_share_of_windows_with_images_of_the_season_is_as_given():
    time = (EVERY_DAYS * torch.arange(130).double()).expand(2000, -1)
    indices = baseline.Baseline(8, seasons=0.3).draw(time, rng=generator())
    age = time.gather(1, indices)
    age = age[:, -1:] - age[:, :-1]
    old = (age > 200.0).sum(1)
    assert set(old.tolist()) == {0, 4}
    assert (old == 4).float().mean() == pytest.approx(0.3, abs=0.03)
    away = torch.minimum((age - YEAR_DAYS).abs(), (age - 2.0 * YEAR_DAYS).abs())
    assert away[age > 200.0].max() < EVERY_DAYS


@pytest.mark.parametrize(
    ("changed", "least"), [({}, 270), ({"horizon": 1}, 470), ({"seasons": 0.1}, 790)]
)
def test_the_days_of_a_baseline_cover_its_horizon_and_its_seasons(changed, least):
    assert least <= baseline.Baseline(5, **changed).days <= least + 5
    assert baseline.Baseline(24, **changed).days >= 25 * baseline.DAYS_PER_IMAGE


def test_a_stream_without_horizons_is_that_of_a_baseline_without_them():
    plain = WindowStream(SMALL, seed=1).draw(0)
    for name, value in (("horizon", 6), ("horizon_days", 90.0), ("seasons", 0.9)):
        other = WindowStream(SMALL.model_copy(update={name: value}), seed=1).draw(0)
        assert not torch.equal(plain.days, other.days), name


def test_windows_of_a_stream_have_the_horizons_of_their_options():
    options = SMALL.model_copy(update={"horizon": 12, "seasons": 0.4})
    batch = WindowStream(options, seed=4).draw(0)
    gap = -batch.days[:, -2]
    assert gap.min() < 30.0 and 60.0 < gap.max() <= baseline.HORIZON_DAYS
    assert (batch.days[:, 1:] > batch.days[:, :-1]).all()
    assert ((batch.days[:, 0] < -300.0).float().mean()) == pytest.approx(0.4, abs=0.2)
    assert not batch.expected.isnan().any() and not batch.conditions.isnan().any()


def test_the_season_of_an_earlier_year_is_like_that_of_the_target():
    options = StreamOptions(preset="boreal", size=32, previous=8, batch=60, seasons=1.0)
    batch = WindowStream(options, seed=2).draw(0)
    temperature = batch.conditions[..., 0]
    early = batch.days[:, :-1] < -300.0
    assert (early.sum(1) == 4).all()
    difference = (temperature[:, :-1] - temperature[:, -1:]).abs()
    assert difference[early].mean() < 6.0  # a season's range is 24 to 30 degC
    away = (batch.days[:, :-1] + YEAR_DAYS).abs()
    assert torch.minimum(away, (batch.days[:, :-1] + 2 * YEAR_DAYS).abs())[early].max() < 10.0


def test_new_changes_fall_between_the_last_previous_image_and_the_target():
    options = SMALL.model_copy(update={"horizon": 12, "size": 64, "batch": 60})
    still, moved = (
        WindowStream(options.model_copy(update={"new_changes": new}), seed=3).draw(0)
        for new in (False, True)
    )
    assert torch.equal(still.previous.nan_to_num(), moved.previous.nan_to_num())
    assert torch.equal(still.expected, moved.expected)
    assert not still.changed.any() and moved.changed.any((1, 2)).float().mean() > 0.2
    differs = (still.target != moved.target).any(1) & ~still.target.isnan().any(1)
    around = torch.nn.functional.max_pool2d(moved.changed.float()[:, None], 7, 1, 3)[:, 0] > 0
    assert (around | ~differs).all()


def test_days_of_new_changes_are_spread_over_the_whole_horizon():
    preset = dataclasses.replace(presets.BOREAL, changes=1.0)
    parameters = presets.draw(preset, 400, rng=generator())
    land = ground.draw(parameters, (16, 16), 10.0, rng=generator())
    time = torch.tensor([[100.0, 200.0, 380.0]]).double().expand(400, -1)
    day = stream._changes(land, time, 1.0, rng=generator()).day
    new = day[day > 200.0]
    assert ((day > 200.0).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert day.min() >= 40.0 and day.max() <= 380.0
    assert new.mean() == pytest.approx(290.0, abs=8.0)
    assert new.quantile(0.25) == pytest.approx(245.0, abs=12.0)
