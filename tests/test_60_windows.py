"""Windows cut from coordinate cubes, in which the value of a pixel encodes its position."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcast.errors import SarcastError
from sarcast.sensor.conditions import COLUMNS as NAMES
from sarcast.windows import (
    CubeReader,
    WindowSampler,
    choose_previous,
    collate,
    concatenate,
    cut_window,
    group_by_shape,
    rank_previous,
    target_dates,
    tile_windows,
    to_windows,
)
from small_cubes import COLUMNS, DATES, ROWS, code, coordinate_cube

CUBE = coordinate_cube()


def _coded(times, row, column, size):
    indices = np.meshgrid(
        times, (0, 1), np.arange(size[0]) + row, np.arange(size[1]) + column, indexing="ij"
    )
    return code(*indices)


@settings(max_examples=30)
@given(
    row=st.integers(-10, ROWS - 1), column=st.integers(-10, COLUMNS - 1), size=st.integers(1, 30)
)
def test_pixels_come_from_their_position_and_are_nan_outside(row, column, size) -> None:
    window = cut_window(CUBE, 7, (row, column), (size, size + 2), [1, 4])
    stack = np.concatenate([window.previous, window.target[None]])
    wanted = _coded([1, 4, 7], row, column, (size, size + 2)).astype("f4")
    rows = np.arange(size) + row
    columns = np.arange(size + 2) + column
    inside = ((rows >= 0) & (rows < ROWS))[:, None] & ((columns >= 0) & (columns < COLUMNS))
    np.testing.assert_array_equal(stack, np.where(inside, wanted, np.nan))
    np.testing.assert_array_equal(
        window.elevation, np.where(inside, code(0, 0, rows[:, None], columns), np.nan)
    )
    np.testing.assert_array_equal(window.forest, inside & (rows < 20)[:, None])
    assert window.open_land is None
    assert window.expected is None


def test_a_reader_gives_each_thread_its_own_windows() -> None:
    reader = CubeReader.from_cube(CUBE)
    offsets = [(row, column) for row in (0, 5, 9) for column in (0, 3, 11)] * 20

    def stack(offset: tuple[int, int]) -> np.ndarray:
        previous = reader.choose_previous(7, offset, (8, 8), 3, chooser="recent")
        return reader.cut(7, offset, (8, 8), previous).previous

    with ThreadPoolExecutor(4) as threads:
        for offset, found in zip(offsets, threads.map(stack, offsets), strict=True):
            np.testing.assert_array_equal(found, _coded([4, 5, 6], *offset, (8, 8)).astype("f4"))
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(
        again.cut(7, (1, 2), (8, 8), [4]).target, _coded([7], 1, 2, (8, 8))[0]
    )


def test_conditions_are_those_of_the_cell_at_the_centre() -> None:
    window = cut_window(CUBE, 7, (22, 30), (10, 12), [1, 4])
    row, column = 27, 36  # y -275: second of cy -100, -300; x 365: third of cx 80, 250, 420
    cell = 1 * 3 + 2
    assert (CUBE.y[row].item(), CUBE.x[column].item()) == (-275.0, 365.0)
    incidence = [date * 6 + cell for date in (1, 4, 7)]
    np.testing.assert_array_equal(window.conditions[:, NAMES.index("incidence")], incidence)
    rain = window.conditions[:, NAMES.index("precipitation_2")]
    np.testing.assert_array_equal(rain, np.array(incidence) + 200)
    np.testing.assert_array_equal(window.conditions[:, NAMES.index("platform")], [1, 1, 1])
    heading = CUBE["heading"].values[[1, 4, 7]]
    np.testing.assert_array_equal(window.conditions[:, NAMES.index("heading")], heading)
    assert np.isnan(window.conditions[:, NAMES.index("temperature")]).all()
    np.testing.assert_array_equal(window.times, CUBE.time.values[[1, 4, 7]])


@pytest.mark.parametrize(("offset", "size"), [((0, 0), 200), ((-150, -150), 200), ((-80, 0), 200)])
def test_a_window_larger_than_the_cube_takes_the_conditions_of_its_middle(offset, size) -> None:
    """Row 20 is nearer to the second of cy, at -300; column 25 to the second of cx, at 250."""
    incidence = CUBE["incidence"].isel(time=7).sel(cy=-205.0, cx=255.0, method="nearest")
    window = cut_window(CUBE, 7, offset, (size, size), [1, 4])
    assert window.conditions[-1, NAMES.index("incidence")] == incidence


def test_a_window_beyond_the_edge_takes_the_conditions_of_the_part_inside() -> None:
    """Column 20, where the middle of the whole window is column 15, nearer to the first of cx."""
    window = cut_window(CUBE, 7, (0, -10), (40, 50), [1, 4])
    incidence = CUBE["incidence"].isel(time=7).sel(cy=-205.0, cx=205.0, method="nearest")
    assert window.conditions[-1, NAMES.index("incidence")] == incidence


def test_unknown_platform_is_missing() -> None:
    window = cut_window(CUBE, 2, (0, 0), (4, 4), [0, 1])
    np.testing.assert_array_equal(window.conditions[:, NAMES.index("platform")], [0, 1, np.nan])


def test_bands_and_dims_may_have_any_order() -> None:
    swapped = CUBE.isel(band=[1, 0]).transpose("x", "y", "band", "time", ...)
    window = cut_window(swapped, 7, (3, 4), (5, 6), [1, 4])
    np.testing.assert_array_equal(window.target, _coded([7], 3, 4, (5, 6))[0])


def test_cutting_reads_lazily(tmp_path) -> None:
    CUBE.drop_vars("platform").to_netcdf(tmp_path / "cube.nc", engine="h5netcdf")
    import xarray as xr

    with xr.open_dataset(tmp_path / "cube.nc", engine="h5netcdf", chunks=None) as lazy:
        window = cut_window(lazy, 7, (3, 4), (5, 6), [1, 4])
        assert not lazy["backscatter"]._in_memory
    np.testing.assert_array_equal(window.previous, _coded([1, 4], 3, 4, (5, 6)))


def test_latest_images_before_the_target_are_chosen_oldest_first() -> None:
    times = np.array(
        ["2021-03", "2021-01", "2021-05", "2021-02", "2021-04"], dtype="datetime64[ns]"
    )
    np.testing.assert_array_equal(choose_previous(times, 4, 2, chooser="recent"), [3, 0])
    with pytest.raises(SarcastError, match=r"4 previous images are needed, but 3 precede 2021-04"):
        choose_previous(times, 4, 4, chooser="recent")


def test_target_dates_have_enough_before_them_and_lie_within_bounds() -> None:
    np.testing.assert_array_equal(target_dates(CUBE, 4), np.arange(4, DATES))
    times = CUBE.time.values
    bounded = target_dates(CUBE, 4, start=times[6], end=times[8])
    np.testing.assert_array_equal(bounded, [6, 7, 8])
    backwards = CUBE.isel(time=slice(None, None, -1))
    np.testing.assert_array_equal(target_dates(backwards, 10), [1, 0])


def test_tiles_cover_every_pixel() -> None:
    covered = np.zeros((ROWS, COLUMNS), dtype=int)
    for window in tile_windows(CUBE, 7, 16, 4, chooser="recent"):
        row, column = window.offset
        covered[row : row + 16, column : column + 16] += 1
        np.testing.assert_array_equal(window.previous, _coded([3, 4, 5, 6], row, column, (16, 16)))
    assert covered.min() == 1


def test_tiles_take_images_that_see_the_window() -> None:
    holed = CUBE.copy(deep=True)
    holed["backscatter"][5, :, :, :20] = np.nan
    chosen = {
        window.offset[1]: window.times for window in tile_windows(holed, 7, 16, 2, chooser="recent")
    }
    np.testing.assert_array_equal(chosen[0], CUBE.time.values[[4, 6, 7]])
    np.testing.assert_array_equal(chosen[32], CUBE.time.values[[5, 6, 7]])


def test_cube_smaller_than_the_window_is_padded() -> None:
    (window,) = tile_windows(CUBE, 7, 64, 2, chooser="recent")
    assert window.target.shape == (2, 64, 64)
    np.testing.assert_array_equal(window.target[:, :ROWS, :COLUMNS], CUBE["backscatter"][7])
    assert np.isnan(window.target[:, ROWS:]).all()


def test_sampler_gives_the_same_windows_for_the_same_seed() -> None:
    sampler = WindowSampler([CUBE], [target_dates(CUBE, 3)], size=8, previous=3, chooser="recent")
    first = sampler.draw(20, rng=np.random.default_rng(3))
    again = sampler.draw(20, rng=np.random.default_rng(3))
    other = sampler.draw(20, rng=np.random.default_rng(4))
    assert [window.offset for window in first] == [window.offset for window in again]
    assert [window.offset for window in first] != [window.offset for window in other]
    for window in first:
        index = np.searchsorted(CUBE.time.values, window.times)
        np.testing.assert_array_equal(np.diff(index), 1)
        np.testing.assert_array_equal(window.previous, _coded(index[:-1], *window.offset, (8, 8)))


def test_sampler_keeps_to_its_targets_and_draws_cubes_by_their_size() -> None:
    small = CUBE.isel(x=slice(0, 10))
    targets = [np.array([5]), np.array([9])]
    windows = WindowSampler([CUBE, small], targets, size=8, previous=3, chooser="recent").draw(
        600, rng=np.random.default_rng(0)
    )
    dates = np.array([window.times[-1] for window in windows])
    assert set(dates) == {CUBE.time.values[5], CUBE.time.values[9]}
    assert np.mean(dates == CUBE.time.values[5]) == pytest.approx(5 / 6, abs=0.05)


def test_a_sampler_without_valid_windows_is_an_error() -> None:
    with pytest.raises(SarcastError, match=r"no valid window: a target needs 20 previous images"):
        WindowSampler([CUBE], [target_dates(CUBE, 20)], size=8, previous=20, chooser="recent")
    empty = CUBE.copy()
    empty["backscatter"] = CUBE["backscatter"] * np.nan
    sampler = WindowSampler([empty], [target_dates(CUBE, 3)], size=8, previous=3, chooser="recent")
    with pytest.raises(SarcastError, match=r"no 8 x 8 pixels .* cubes of 40 x 50 pixels"):
        sampler.draw(1, rng=np.random.default_rng(0))


def test_batch_contains_windows_days_and_season() -> None:
    windows = [
        cut_window(CUBE, target, (2, 3), (8, 8), [target - 3, target - 1]) for target in (5, 10)
    ]
    batch = collate(windows)
    np.testing.assert_array_equal(batch.previous[1], windows[1].previous)
    np.testing.assert_array_equal(batch.conditions[0], windows[0].conditions)
    np.testing.assert_array_equal(batch.days, [[-18, -6, 0]] * 2)
    np.testing.assert_allclose(batch.day_of_year, [30 + 17 / 24, 60 + 17 / 24], rtol=1e-6)
    assert batch.forest is not None
    assert batch.forest.dtype == torch.bool
    assert batch.expected is None
    assert batch.to("cpu").target.equal(batch.target)


def test_windows_that_share_arrays_share_their_memory_in_a_batch() -> None:
    window = cut_window(CUBE, 7, (0, 0), (8, 8), [1, 4])
    later = replace(window, target=window.target + 1.0)
    batch, copied = (
        collate([window, later]),
        collate([window, replace(later, previous=window.previous.copy())]),
    )
    assert batch.previous[0].data_ptr() == batch.previous[1].data_ptr()
    assert copied.previous[0].data_ptr() != copied.previous[1].data_ptr()
    torch.testing.assert_close(batch.previous, copied.previous)
    torch.testing.assert_close(batch.target, copied.target)
    assert not torch.equal(batch.target[0], batch.target[1])


def test_batch_refuses_windows_of_different_shapes() -> None:
    windows = [cut_window(CUBE, 5, (2, 3), (size, 8), [1, 2]) for size in (8, 9)]
    with pytest.raises(
        SarcastError, match=r"windows of one shape .*\(2, 2, 8, 8\), \(2, 2, 9, 8\)"
    ):
        collate(windows)


def test_a_cube_of_images_alone_is_enough() -> None:
    bare = CUBE[["backscatter"]].drop_vars(["platform", "heading", "cy", "cx"], errors="ignore")
    window = CubeReader.from_cube(bare).cut(7, (3, 4), (5, 6), [1, 4])
    assert np.isnan(window.conditions).all()
    assert np.isnan(window.elevation).all()
    np.testing.assert_array_equal(window.target, _coded([7], 3, 4, (5, 6))[0])


def test_windows_are_grouped_by_shape_in_order() -> None:
    sizes = [8, 8, 8, 9, 9, 8]
    windows = [cut_window(CUBE, 5, (2, 3), (size, 8), [1, 2]) for size in sizes]
    runs = list(group_by_shape(windows, 2))
    assert [len(run) for run in runs] == [2, 1, 2, 1]
    assert [window for run in runs for window in run] == windows
    assert list(group_by_shape([], 2)) == []


def _season_times():
    days = [-760, -735, -700, -380, -365, -350, -200, -24, -12, 0]
    return np.datetime64("2023-06-15", "ns") + np.array(days, dtype="timedelta64[D]")


def test_nearest_counts_a_year_as_twenty_days_of_season() -> None:
    """By hand, days away of 24 and 12 days ago: 24 and 12; of 365, 350, 380: 20.2, 35.2 and 34.8;
    of 735, 700, 760: 44.5, 70.5 and 69.5; of 200 days: 185.2, next year's season being nearer."""
    ranked = rank_previous(_season_times(), 9, chooser="nearest")
    np.testing.assert_array_equal(ranked, [8, 4, 7, 3, 5, 1, 0, 2, 6])
    dense = np.datetime64("2023-06-15", "ns") + np.arange(-900, 1, 6) * np.timedelta64(1, "D")
    np.testing.assert_array_equal(
        choose_previous(dense, 150, 3, chooser="nearest"), [147, 148, 149]
    )


def test_same_season_images_come_from_earlier_years_nearest_in_season_first() -> None:
    ranked = rank_previous(_season_times(), 9, chooser="same-season")
    # 365 and 735 days before are 0.25 and 4.5 days from a whole number of years, 350 and 380 are
    # 15.25 and 14.75, 700 and 760 are 30.5 and 29.5; then the others, the latest first
    np.testing.assert_array_equal(ranked, [4, 1, 3, 5, 0, 2, 8, 7, 6])


def test_both_choosers_take_turns_without_repeating() -> None:
    times = _season_times()
    np.testing.assert_array_equal(choose_previous(times, 9, 4, chooser="both"), [1, 4, 7, 8])
    everything = choose_previous(times, 9, 9, chooser="both")
    np.testing.assert_array_equal(everything, np.arange(9))
    only_recent = choose_previous(times[6:], 3, 3, chooser="both")
    np.testing.assert_array_equal(only_recent, [0, 1, 2])


def test_a_baseline_takes_images_before_a_time() -> None:
    times = _season_times()
    chosen = choose_previous(times, 9, 2, chooser="recent", before=times[7])
    np.testing.assert_array_equal(chosen, [5, 6])
    found = CubeReader.from_cube(CUBE).choose_previous(
        9, (0, 0), (8, 8), 2, chooser="recent", before=CUBE.time.values[4]
    )
    assert found == [2, 3]


def test_batches_are_taken_apart_into_the_windows_they_were_made_of() -> None:
    """Times included: here of the years 1999 and 2024, to the nanosecond."""
    windows = [
        cut_window(CUBE, target, (2, 3), (8, 8), [target - 3, target - 1]) for target in (5, 10)
    ]
    apart = [np.timedelta64(-22 * 365, "D"), np.timedelta64(3 * 365 * 86_400 * 10**9 + 1, "ns")]
    windows = [
        replace(window, times=window.times + shift)
        for window, shift in zip(windows, apart, strict=True)
    ]
    for window, other in zip(windows, to_windows(collate(windows)), strict=True):
        np.testing.assert_array_equal(window.previous, other.previous)
        np.testing.assert_array_equal(window.target, other.target)
        np.testing.assert_array_equal(window.conditions, other.conditions)
        np.testing.assert_array_equal(window.times, other.times)
        assert window.times.dtype == other.times.dtype
        assert other.expected is None


def test_true_changes_are_masked_in_the_target() -> None:
    windows = [
        cut_window(CUBE, target, (2, 3), (8, 8), [target - 3, target - 1]) for target in (5, 10)
    ]
    batch = collate(windows)
    assert batch.mask_changes() is batch
    changed = torch.zeros(2, 8, 8, dtype=torch.bool)
    changed[1, 2, 3] = True
    masked = to_windows(replace(batch, changed=changed).mask_changes())
    np.testing.assert_array_equal(masked[0].target, windows[0].target)
    assert np.isnan(masked[1].target).sum() == 2
    assert np.isnan(masked[1].target[:, 2, 3]).all()


def test_some_previous_images_of_a_batch_are_kept_with_all_that_belongs_to_them() -> None:
    windows = [cut_window(CUBE, target, (2, 3), (8, 8), [1, 2, 3, 4]) for target in (5, 10)]
    fewer = [cut_window(CUBE, target, (2, 3), (8, 8), [1, 4]) for target in (5, 10)]
    kept, expected = collate(windows).keep_images(torch.tensor([0, 3])), collate(fewer)
    for name in ("previous", "target", "conditions", "times", "days", "day_of_year"):
        assert torch.equal(getattr(kept, name).nan_to_num(), getattr(expected, name).nan_to_num())


def test_batches_of_one_shape_are_concatenated_in_order() -> None:
    windows = [cut_window(CUBE, target, (2, 3), (8, 8), [1, 2]) for target in (5, 10, 8)]
    whole, parts = collate(windows), concatenate([collate(windows[:1]), collate(windows[1:])])
    assert parts.previous.equal(whole.previous) and parts.times.equal(whole.times)
    assert parts.expected is None
