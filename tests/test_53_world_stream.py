"""Windows of synthetic worlds: seeds, shapes, what is missing, and the bench."""

import dataclasses

import numpy as np
import pytest
import torch

from sarcast.errors import SarcastError
from sarcast.sensor.conditions import COLUMNS, HEADING, PRECIPITATION, RANGES, condition
from sarcast.windows import Batch
from sarcast.windows.synthetic import bench_windows, synthetic, to_batch, to_windows
from sarcast.world import presets
from sarcast.world.benchmark import BENCHES
from sarcast.world.options import StreamOptions
from sarcast.world.stream import BENCH, Drawn, WindowStream

SMALL = StreamOptions(preset="random", size=48, previous=3, batch=3)


def drawn(seed: int = 1, number: int = 0, rank: int = 0, **asked: object) -> Drawn:
    options = SMALL.model_copy(update=asked)
    return WindowStream(options, seed=seed).draw(number, rank)


def same(one: Drawn, other: Drawn, names: tuple[str, ...] | None = None) -> bool:
    names = names or tuple(field.name for field in dataclasses.fields(Drawn))
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return all(
        left is right if left is None else torch.equal(left.nan_to_num(), right.nan_to_num())
        for left, right in pairs
    )


def test_the_same_seed_gives_the_same_windows_and_others_give_others():
    assert same(drawn(), drawn())
    space = WindowStream(SMALL, seed=1, space=BENCH).draw(0)
    for other in (drawn(seed=2), drawn(number=1), drawn(rank=1), space):
        assert not same(drawn(), other, ("elevation",))
        assert not same(drawn(), other, ("target",))


def test_the_goal_is_what_the_sensor_makes_of_the_expected_image_in_the_mean():
    """Its departure from the expected image is speckle of so many looks, and the filter's bias."""
    one, many = (drawn(preset="boreal", batch=6, goal_looks=looks) for looks in (1, 16))
    assert drawn(preset="boreal", batch=6).goal is None
    assert same(one, many, ("previous", "target", "expected", "conditions"))
    rough, smooth = (found.goal - found.expected for found in (one, many))
    assert float(smooth.mean()) == pytest.approx(float(rough.mean()), abs=0.05)
    speckle = float(rough.var() - smooth.var()) * 16.0 / 15.0
    assert speckle > 0.8
    assert float(smooth.var()) < 0.35 * float(rough.var())


def test_other_conditions_are_other_rain_and_half_of_them_the_other_pass():
    plain, found = (drawn(preset="boreal", batch=80, counterfactual=o) for o in (False, True))
    assert plain.counterfactual_conditions is None
    assert found.counterfactual_conditions is not None and found.counterfactual_expected is not None
    assert same(plain, found, ("previous", "target", "expected", "conditions"))
    own, other = found.conditions[:, -1], found.counterfactual_conditions
    turned = own[:, HEADING] != other[:, HEADING]
    assert 0.25 < float(turned.float().mean()) < 0.75
    back = (other[turned, HEADING] + own[turned, HEADING]) % 360.0
    torch.testing.assert_close(back, torch.full_like(back, 180.0), rtol=0, atol=1e-3)
    kept = [COLUMNS.index(name) for name in ("temperature", "incidence", "platform")]
    assert torch.equal(own[:, kept], other[:, kept])
    moved = (found.counterfactual_expected - found.expected)[:, 0]
    open_land = [float(m[o].mean()) for m, o in zip(moved, found.open_land, strict=True)]
    forest = [float(m[f].mean()) for m, f in zip(moved, found.forest, strict=True)]
    warm = (own[:, 0] > 4.0) & (own[:, 1] == 0.0) & ~turned & found.open_land.any((1, 2))
    rain = (other - own)[:, PRECIPITATION].sum(-1)
    wetter, drier = ((warm & (sign * rain > 10.0)).nonzero()[:, 0] for sign in (1.0, -1.0))
    assert len(wetter) > 2 and len(drier) > 1
    assert all(open_land[k] > max(0.1, forest[k]) for k in wetter)
    assert all(open_land[k] < min(-0.1, forest[k]) for k in drier)


def test_windows_of_a_batch_are_of_worlds_of_their_own():
    found = drawn()
    assert len({float(each.std()) for each in found.elevation}) == 3


@pytest.mark.parametrize("preset", sorted(presets.PRESETS))
def test_every_preset_gives_possible_windows(preset):
    found = drawn(preset=preset, batch=6)
    assert found.previous.shape == (6, 3, 2, 48, 48)
    assert found.target.shape == found.expected.shape == (6, 2, 48, 48)
    assert (found.time[:, 1:] >= found.time[:, :-1]).all() and found.time.isfinite().all()
    assert (found.time[:, -1] - found.time[:, -2] > 0.0).float().mean() > 0.5
    images = found.previous[~found.previous.isnan()]
    assert images.min() > -60.0 and images.max() < 30.0
    assert not found.expected.isnan().any() and not (found.forest & found.open_land).any()
    for place, name in enumerate(COLUMNS):
        allowed, column = RANGES[condition(name)], found.conditions[..., place]
        assert ((column >= allowed.low) & (column <= allowed.high)).all()


def test_presets_are_worlds_apart():
    boreal, dryland = (
        drawn(preset=name, batch=16).conditions[..., COLUMNS.index("snow_depth")]
        for name in ("boreal", "dryland")
    )
    assert boreal.mean() > 5.0 > 1.0 > dryland.mean()


def test_the_oracle_is_nearer_to_the_target_than_any_image_is():
    found = drawn(preset="boreal", batch=12, size=64)
    to_oracle = (found.target - found.expected).pow(2).mean()
    to_latest = (found.target - found.previous[:, -1]).pow(2).mean()
    assert to_oracle < 0.6 * to_latest
    assert (found.target - found.expected).mean().abs() < 0.5


def test_conditions_are_missing_as_often_as_asked_and_in_all_images():
    rows = drawn(missing=0.4, batch=64).conditions
    lost = rows.isnan()
    assert lost.float().mean() == pytest.approx(0.4, abs=0.08)
    assert (lost == lost[:, :1]).all()
    rain = [COLUMNS.index(f"precipitation_{lag}") for lag in range(4)]
    assert (lost[..., rain] == lost[..., rain[:1]]).all()
    assert not drawn().conditions.isnan().any()


def test_new_changes_are_only_where_the_mask_says():
    still, moved = (
        drawn(preset="boreal", batch=24, size=64, new_changes=new) for new in (False, True)
    )
    assert same(still, moved, ("previous", "elevation", "conditions", "time", "forest"))
    assert not still.changed.any() and moved.changed.any()
    differs = (still.target != moved.target).any(1)
    around = torch.nn.functional.max_pool2d(moved.changed.float()[:, None], 5, 1, 2)[:, 0] > 0
    assert (around | ~differs).all()
    inside = differs & moved.changed
    assert inside.sum() > 0.9 * moved.changed.sum()
    assert torch.equal(still.expected, moved.expected)  # the oracle knows of no new change


def test_a_batch_has_days_before_the_target_and_its_day_of_year():
    found = drawn()
    batch = to_batch(found)
    assert isinstance(batch, Batch) and batch.expected is found.expected
    windows = to_windows(found)
    for place, window in enumerate(windows):
        apart = (window.times - window.times[-1]) / np.timedelta64(1, "D")
        assert batch.days[place].numpy() == pytest.approx(apart, abs=1e-3)
        first = window.times[-1].astype("datetime64[Y]")
        day = (window.times[-1] - first) / np.timedelta64(1, "D")
        assert float(batch.day_of_year[place]) == pytest.approx(day, abs=1e-3)
        assert window.target.dtype == np.float32 and window.forest.dtype == bool


def test_a_training_step_gets_its_own_batch():
    batches = synthetic(SMALL, seed=5)
    assert torch.equal(batches(3, 0).target.nan_to_num(), batches(3, 0).target.nan_to_num())
    assert not torch.equal(batches(3, 0).elevation, batches(3, 1).elevation)
    gain = torch.ones((), requires_grad=True)
    (gain * batches(3, 0).elevation).sum().backward()
    assert gain.grad == batches(3, 0).elevation.sum()


def test_the_bench_has_512_windows_and_keeps_its_values():
    assert BENCHES["boreal-1"].windows >= 512
    first, moved, changed = next(bench_windows("boreal-1"))
    assert first.previous.shape == (4, 2, 256, 256) and changed.shape == (256, 256)
    # a change of these numbers is a change of the bench: count its name up
    assert first.target.mean() == pytest.approx(BENCH_MEAN, abs=2e-3)
    assert moved.previous is not moved.target


BENCH_MEAN = -13.2157


def test_unknown_benches_are_named():
    with pytest.raises(SarcastError, match="there is no bench 'borea'; known are boreal-1"):
        next(bench_windows("borea"))
