"""Windows of synthetic worlds: seeds, shapes, missing conditions, and the reference sets."""

import dataclasses
import datetime as dt

import numpy as np
import pytest
import torch

from sarcast.errors import SarcastError
from sarcast.sensor.conditions import COLUMNS, HEADING, PRECIPITATION, RANGES, condition
from sarcast.windows import Batch, collate, to_windows
from sarcast.windows.synthetic import reference_windows, synthetic
from sarcast.world import presets
from sarcast.world.options import StreamOptions
from sarcast.world.reference_windows import REFERENCE_SETS
from sarcast.world.stream import REFERENCE, WindowStream

SMALL = StreamOptions(preset="random", size=48, previous=3, batch=3)


def drawn(seed: int = 1, number: int = 0, rank: int = 0, **changed: object) -> Batch:
    options = SMALL.model_copy(update=changed)
    return WindowStream(options, seed=seed).draw(number, rank)


def same(one: Batch, other: Batch, names: tuple[str, ...] | None = None) -> bool:
    names = names or tuple(field.name for field in dataclasses.fields(Batch))
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return all(
        left is right if left is None else torch.equal(left.nan_to_num(), right.nan_to_num())
        for left, right in pairs
    )


def test_the_same_seed_gives_the_same_windows_and_others_give_others():
    assert same(drawn(), drawn())
    space = WindowStream(SMALL, seed=1, space=REFERENCE).draw(0)
    for other in (drawn(seed=2), drawn(number=1), drawn(rank=1), space):
        assert not same(drawn(), other, ("elevation",))
        assert not same(drawn(), other, ("target",))


def test_the_goal_is_the_mean_of_simulated_images_of_the_targets_backscatter():
    """It differs from the expected image by speckle of so many looks, which the target does not
    share, and by the unmodelled effects and the filter's bias, which it does."""
    one, many = (drawn(preset="boreal", batch=12, goal_looks=looks) for looks in (1, 16))
    assert drawn(preset="boreal", batch=12).goal is None
    assert same(one, many, ("previous", "target", "expected", "conditions"))
    rough, smooth = (found.goal - found.expected for found in (one, many))
    assert float(smooth.mean()) == pytest.approx(float(rough.mean()), abs=0.05)
    speckle = float(rough.var() - smooth.var()) * 16.0 / 15.0
    assert speckle > 0.8
    target = many.target - many.expected
    shared = float(((smooth - smooth.mean()) * (target - target.mean())).mean())
    assert shared == pytest.approx(float(smooth.var()) - speckle / 16.0, rel=0.1)
    level, of_target = (each.mean((2, 3)) for each in (smooth, target))
    assert level.numpy() == pytest.approx(of_target.numpy(), abs=0.3)
    assert float(level.std()) > 0.7 * presets.BOREAL.scene_db[0]


def test_counterfactual_conditions_are_other_rain_and_half_of_them_the_opposite_pass():
    end = dt.date(2021, 12, 15)
    plain, found = (
        drawn(preset="boreal", batch=80, end=end, counterfactual=on) for on in (False, True)
    )
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


def test_each_window_of_a_batch_has_its_own_world():
    assert len({float(elevation.std()) for elevation in drawn().elevation}) == 3


@pytest.mark.parametrize("preset", sorted(presets.PRESETS))
def test_every_preset_gives_possible_windows(preset):
    found = drawn(preset=preset, batch=6)
    assert found.previous.shape == (6, 3, 2, 48, 48)
    assert found.target.shape == found.expected.shape == (6, 2, 48, 48)
    assert (found.times[:, 1:] >= found.times[:, :-1]).all() and found.days.isfinite().all()
    assert (found.days[:, -1] - found.days[:, -2] > 0.0).float().mean() > 0.5
    images = found.previous[~found.previous.isnan()]
    assert images.min() > -60.0 and images.max() < 30.0
    assert not found.expected.isnan().any() and not (found.forest & found.open_land).any()
    for index, name in enumerate(COLUMNS):
        allowed, column = RANGES[condition(name)], found.conditions[..., index]
        assert ((column >= allowed.low) & (column <= allowed.high)).all()


def test_snow_depth_differs_between_presets():
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


def test_conditions_are_missing_at_the_given_rate_and_in_all_images():
    rows = drawn(missing=0.4, batch=64).conditions
    lost = rows.isnan()
    assert lost.float().mean() == pytest.approx(0.4, abs=0.08)
    assert (lost == lost[:, :1]).all()
    rain = [COLUMNS.index(f"precipitation_{lag}") for lag in range(4)]
    assert (lost[..., rain] == lost[..., rain[:1]]).all()
    assert not drawn().conditions.isnan().any()


def test_new_changes_are_only_within_the_mask():
    still, moved = (
        drawn(preset="boreal", batch=24, size=64, new_changes=new) for new in (False, True)
    )
    assert same(still, moved, ("previous", "elevation", "conditions", "times", "days", "forest"))
    assert not still.changed.any() and moved.changed.any()
    differs = (still.target != moved.target).any(1)
    around = torch.nn.functional.max_pool2d(moved.changed.float()[:, None], 5, 1, 2)[:, 0] > 0
    assert (around | ~differs).all()
    inside = differs & moved.changed
    assert inside.sum() > 0.9 * moved.changed.sum()
    assert torch.equal(still.expected, moved.expected)  # the oracle knows of no new change


def test_a_batch_has_its_times_the_days_before_the_target_and_its_day_of_year():
    batch = drawn()
    windows = to_windows(batch)
    first, last = presets.PRESETS[SMALL.preset].dates
    for index, window in enumerate(windows):
        apart = (window.times - window.times[-1]) / np.timedelta64(1, "D")
        assert batch.days[index].numpy() == pytest.approx(apart, abs=1e-3)
        target = window.times[-1]
        assert np.datetime64(first) <= target <= np.datetime64(last)
        day = (target - target.astype("datetime64[Y]")) / np.timedelta64(1, "D")
        assert float(batch.day_of_year[index]) == pytest.approx(day, abs=1e-3)
        assert window.target.dtype == np.float32 and window.forest.dtype == bool


def test_collating_the_windows_of_a_stream_gives_its_batch():
    batch = drawn()
    again = collate(to_windows(batch))
    names = ("previous", "target", "elevation", "conditions", "times", "expected", "forest")
    assert same(batch, again, names)
    torch.testing.assert_close(again.days, batch.days, rtol=0, atol=1e-4)
    torch.testing.assert_close(again.day_of_year, batch.day_of_year, rtol=0, atol=1e-4)


def test_a_training_step_gets_its_own_batch():
    batches = synthetic(SMALL, seed=5)
    assert torch.equal(batches(3, 0).target.nan_to_num(), batches(3, 0).target.nan_to_num())
    assert not torch.equal(batches(3, 0).elevation, batches(3, 1).elevation)
    gain = torch.ones((), requires_grad=True)
    (gain * batches(3, 0).elevation).sum().backward()
    assert gain.grad == batches(3, 0).elevation.sum()


# whatever changes these numbers changes the sets: increase the number in their names
REFERENCE_MEANS = {"boreal-1": -13.2157, "boreal-2": -13.2152}
SMALL_MEANS = {"boreal-1-small": (-13.5137, -13.6070), "boreal-2-small": (-13.5090, -13.5919)}


@pytest.mark.parametrize("name", sorted(REFERENCE_MEANS))
def test_a_reference_set_has_512_windows_and_keeps_its_values(name):
    assert REFERENCE_SETS[name].windows >= 512
    first, moved, changed = next(reference_windows(name))
    assert first.previous.shape == (4, 2, 256, 256) and changed.shape == (256, 256)
    assert first.target.mean() == pytest.approx(REFERENCE_MEANS[name], abs=2e-4)
    assert moved.previous is not moved.target


@pytest.mark.parametrize("name", sorted(SMALL_MEANS))
def test_a_small_reference_set_keeps_its_values(name):
    pairs = list(reference_windows(name))
    found = [np.nanmean([pair[index].target for pair in pairs]) for index in (0, 1)]
    assert len(pairs) == 16 and found == pytest.approx(SMALL_MEANS[name], abs=1e-3)


def test_the_newer_set_differs_in_fields_meadows_and_changed_ground_alone():
    forest, open_land = [], []
    for (old, _, changed), (new, _, also) in zip(
        reference_windows("boreal-1-small"), reference_windows("boreal-2-small"), strict=True
    ):
        np.testing.assert_array_equal(old.elevation, new.elevation)
        np.testing.assert_array_equal(old.conditions, new.conditions)
        np.testing.assert_array_equal(old.times, new.times)
        np.testing.assert_array_equal(changed, also)
        differs = np.abs(old.expected - new.expected).max(0) > 1e-4
        forest += [differs[old.forest].mean()] if old.forest.any() else []
        open_land += [differs[old.open_land].mean()] if old.open_land.any() else []
    # forest differs where it changed before the last previous image
    assert np.mean(forest) < 0.2 and 0.0 in forest
    assert np.mean(open_land) > 3.0 * np.mean(forest)


def test_windows_end_on_the_last_date_of_the_options():
    early, late = (
        drawn(preset="boreal", batch=20, end=end).times[:, -1].numpy().astype("datetime64[ns]")
        for end in (dt.date(2017, 9, 1), None)
    )
    assert early.max() <= np.datetime64("2017-09-01") < late.max()


def test_every_satellite_is_in_a_share_of_the_windows_of_every_preset():
    for name in presets.PRESETS:
        platform = drawn(preset=name, batch=150, size=32).conditions[
            :, -1, COLUMNS.index("platform")
        ]
        counts = torch.bincount(platform.long(), minlength=4)
        assert (counts >= 5).all(), (name, counts)


def test_the_physics_of_the_options_are_those_of_the_world():
    old, new = (drawn(preset="temperate", batch=8, size=64, physics=k) for k in (1, 2))
    assert same(old, new, ("elevation", "times", "conditions", "forest", "open_land"))
    assert not same(old, new, ("expected",))


def test_an_unknown_reference_set_is_named():
    with pytest.raises(SarcastError, match="there is no bench 'borea'; known are boreal-1"):
        next(reference_windows("borea"))
