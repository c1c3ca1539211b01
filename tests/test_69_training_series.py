"""Batches of real series on the device, against windows that are cut one by one."""

import numpy as np
import pytest
import torch
import xarray as xr

from sarcast.prediction.training.series import SeriesBatches
from sarcast.windows import Chooser, CubeReader, WindowSampler, choose_previous
from small_cubes import COLUMNS, ROWS, code, coordinate_cube


def drawn(order: slice = slice(None), **changed: int):
    cube = coordinate_cube().isel(time=order)
    targets = np.flatnonzero(np.argsort(np.argsort(cube["time"].values)) >= 4)
    options = {"size": 8, "batch": 64, **changed}
    sampler = WindowSampler(
        [cube], [targets], size=options.pop("size"), previous=4, chooser="recent"
    )
    return cube, SeriesBatches(sampler, seed=3, device="cpu", **options)


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_every_pixel_comes_from_where_it_was_cut(order: slice) -> None:
    """Times rise to the target, bands, rows and columns follow each other, whatever the order."""
    _, batches = drawn(order)
    batch = batches(0, 0)
    images = np.concatenate([batch.previous, batch.target[:, None]], axis=1).astype(int)
    time, band, row, column = np.unravel_index(images, (12, 2, ROWS, COLUMNS))
    assert (np.diff(time[:, :, 0, 0, 0], axis=1) > 0).all()
    assert (band == np.arange(2)[:, None, None]).all()
    assert (np.diff(row, axis=-2) == 1).all()
    assert (np.diff(column, axis=-1) == 1).all()
    assert (row[:, :1, :1] == row).all()
    np.testing.assert_array_equal(batch.elevation, code(0, 0, row[:, 0, 0], column[:, 0, 0]))
    np.testing.assert_allclose(batch.days, 6.0 * (time - time[:, -1:])[:, :, 0, 0, 0])


def test_conditions_are_those_of_the_cut() -> None:
    """Each window is that which cutting it one by one gives."""
    cube, batches = drawn()
    batch, source = batches(5, 0), CubeReader.from_cube(cube)
    for number in range(8):
        first = batch.previous[number, :, 0, 0, 0].numpy().astype(int)
        times, _, rows, columns = np.unravel_index(first, (12, 2, ROWS, COLUMNS))
        target = int(
            np.unravel_index(int(batch.target[number, 0, 0, 0]), (12, 2, ROWS, COLUMNS))[0]
        )
        window = source.cut(target, (rows[0], columns[0]), (8, 8), list(times))
        np.testing.assert_array_equal(batch.conditions[number], window.conditions)
        np.testing.assert_array_equal(batch.previous[number], window.previous)


@pytest.mark.parametrize("chooser", ["nearest", "recent", "same-season", "both"])
def test_half_take_what_the_chooser_gives(chooser: Chooser) -> None:
    """The other half takes any four of 24 earlier dates, hardly ever those of the chooser."""
    cube = coordinate_cube()
    long = cube.isel(time=np.arange(25) % 12)
    long["time"] = cube["time"].values[0] + np.arange(25) * np.timedelta64(30, "D")
    long = long.isel(time=np.random.default_rng(0).permutation(25))
    target = int(np.argmax(long["time"].values))
    sampler = WindowSampler([long], [np.array([target])], size=8, previous=4, chooser=chooser)
    series = SeriesBatches(sampler, batch=400, seed=3, device="cpu")
    chosen = choose_previous(long["time"].values, target, 4, chooser=chooser)
    ages = (long["time"].values[[*chosen, target]] - long["time"].values[target]).astype(float)
    as_chosen = (series(0, 0).days.numpy() == ages / 86400e9).all(axis=1)
    assert 0.42 < as_chosen.mean() < 0.58


def _long_cube(dates: int = 60) -> xr.Dataset:
    """A coordinate cube of single pixels, a date each 30 days."""
    cube = coordinate_cube().isel(time=np.arange(dates) % 12)
    cube["time"] = cube["time"].values[0] + np.arange(dates) * np.timedelta64(30, "D")
    return cube.isel(time=np.random.default_rng(1).permutation(dates))


@pytest.mark.parametrize("chooser", ["nearest", "recent", "same-season", "both"])
def test_the_latest_images_are_left_out_up_to_the_horizon(chooser: Chooser) -> None:
    """A plain loop over every number left out gives the choices; each is as frequent."""
    cube = _long_cube()
    times = cube["time"].values
    target = int(np.argsort(times)[40])
    sampler = WindowSampler([cube], [np.array([target])], size=2, previous=6, chooser=chooser)
    days = SeriesBatches(sampler.with_horizon(5), batch=3000, seed=3, device="cpu")(0, 0).days
    allowed = []
    for left_out in range(6):
        before = np.sort(times)[40 - left_out]
        chosen = choose_previous(times, target, 6, chooser=chooser, before=before)
        ages = (times[[*chosen, target]] - times[target]) / np.timedelta64(1, "D")
        allowed.append((days.numpy() == ages.astype(np.float32)).all(axis=1))
    as_chosen = np.array(allowed)
    assert 0.46 < as_chosen.any(axis=0).mean() < 0.56
    assert (as_chosen.mean(axis=1) > 0.06).all()
    others = days[~as_chosen.any(axis=0)]
    assert sorted({-30 * (1 + k) for k in range(6)}) == sorted(set(others[:, -2].tolist()))[-6:]
    assert float(days[:, -2].max()) == -30.0


def test_where_images_are_few_fewer_are_left_out() -> None:
    """Of the eighth date, seven images precede: with five needed at most two are left out."""
    cube = _long_cube(12)
    order = np.argsort(cube["time"].values)
    sampler = WindowSampler([cube], [order[[7]]], size=2, previous=5, chooser="recent")
    days = SeriesBatches(sampler.with_horizon(12), batch=600, seed=3, device="cpu")(0, 0).days
    assert (days.diff(dim=1) > 0).all()
    gaps, counts = np.unique(days[:, -2].numpy(), return_counts=True)
    assert gaps.tolist() == [-90.0, -60.0, -30.0]
    assert (counts > 150).all()


def test_validation_windows_of_a_horizon_are_those_of_the_plain_choice() -> None:
    """Windows cut one by one leave out as many images, and never more than remain."""
    cube = _long_cube()
    times = cube["time"].values
    target = int(np.argsort(times)[8])
    sampler = WindowSampler([cube], [np.array([target])], size=2, previous=6, chooser="nearest")
    windows = sampler.with_horizon(5).draw(90, rng=np.random.default_rng(0))
    counts = []
    for left_out in range(3):
        before = np.sort(times)[8 - left_out]
        chosen = choose_previous(times, target, 6, chooser="nearest", before=before)
        counts.append(sum((w.times[:-1] == times[chosen]).all() for w in windows))
    assert sum(counts) == 90
    assert min(counts) > 15
    plain = sampler.draw(3, rng=np.random.default_rng(0))
    again = sampler.with_horizon(0).draw(3, rng=np.random.default_rng(0))
    assert all((a.previous == b.previous).all() for a, b in zip(plain, again, strict=True))


def test_the_calendar_cannot_be_memorised() -> None:
    """Whatever the target's date, every day of the year is drawn as often."""
    _, batches = drawn(batch=4000)
    batch = batches(0, 0)
    date = np.unravel_index(batch.target[:, 0, 0, 0].numpy().astype(int), (12, 2, ROWS, COLUMNS))[0]
    for target in (4, 11):
        days = batch.day_of_year.numpy()[date == target]
        assert 0.0 <= days.min() < 10.0 < 355.0 < days.max() < 366.0
        assert abs(days.mean() - 182.6) < 5.0 * 105.0 / np.sqrt(len(days))


def test_the_same_step_gives_the_same_batch() -> None:
    _, batches = drawn()
    np.testing.assert_array_equal(batches(7, 0).target, batches(7, 0).target)
    assert (batches(7, 0).target != batches(8, 0).target).any()
    assert (batches(7, 0).target != batches(7, 1).target).any()


def test_a_window_larger_than_the_cube_sees_nothing_beyond_it() -> None:
    batch = drawn(size=64)[1](0, 0)
    assert batch.target.shape == (64, 2, 64, 64)
    assert batch.elevation.shape == (64, 64, 64)
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[:ROWS, :COLUMNS] = True
    assert (batch.target.isfinite() == inside).all()


def test_a_batch_holds_windows_of_several_cubes_by_their_share() -> None:
    """Cubes differ by their values; one with three times the targets gives most windows."""
    cube = coordinate_cube()
    cubes = [cube, cube.assign(backscatter=cube["backscatter"] + 1e6)]
    sampler = WindowSampler(
        cubes, [np.array([5]), np.array([6, 7, 8])], size=8, previous=4, chooser="recent"
    )
    batches = SeriesBatches(sampler, batch=64, seed=3, device="cpu")
    drawn_from = np.concatenate([batches(k, 0).target[:, 0, 0, 0] > 9e5 for k in range(200)])
    assert abs(drawn_from.mean() - 0.75) < 0.08
    several = [batches(k, 0).target[:, 0, 0, 0] > 9e5 for k in range(20)]
    assert any(0 < one.sum() < 64 for one in several)


def test_mirrored_levels_do_not_reveal_the_date() -> None:
    """Targets 3 dB above all earlier images are 3 dB above or below; the pattern stays."""
    cube = coordinate_cube()
    pattern = np.random.default_rng(0).normal(size=(2, ROWS, COLUMNS))
    images = np.broadcast_to(pattern, cube["backscatter"].shape).copy()
    images[8] += 3.0
    cube["backscatter"] = cube["backscatter"].copy(data=images.astype(np.float32))
    sampler = WindowSampler([cube], [np.array([8])], size=8, previous=4, chooser="recent")
    batch = SeriesBatches(sampler, batch=400, seed=3, device="cpu", mirror_levels=True)(0, 0)
    above = (batch.target - batch.previous[:, 0]).numpy()
    np.testing.assert_allclose(np.abs(above), 3.0, atol=1e-5)
    assert 0.4 < (above[:, 0, 0, 0] > 0).mean() < 0.6
    plain = SeriesBatches(sampler, batch=50, seed=3, device="cpu")(0, 0)
    np.testing.assert_allclose(plain.target - plain.previous[:, 0], 3.0, atol=1e-5)
