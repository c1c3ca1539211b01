"""Groups of pixels that behaved alike, and water, on a cube of four known kinds of ground."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import binary_dilation
from scipy.spatial.distance import cdist

from sarcast.detection.smoothing import smooth
from sarcast.detection.strata import (
    AT_ONCE,
    MOST_IMAGES,
    Groups,
    Past,
    StrataOptions,
    features_of,
    find_water,
)
from small_changes import DATES, SIDE, as_cube, times

LATER = np.datetime64("2030-01-01")
HALF = SIDE // 2
KINDS = {
    "forest": (slice(None, HALF), slice(None, HALF)),
    "fields": (slice(None, HALF), slice(HALF, None)),
    "town": (slice(HALF, None), slice(None, HALF)),
    "lake": (slice(HALF, None), slice(HALF, None)),
}
LEVELS_DB = {"forest": (-9, -15), "fields": (-11, -18), "town": (-4, -11), "lake": (-17, -26)}


def find_strata(past: Past, options: StrataOptions) -> np.ndarray:
    """Groups of all pixels, -1 where nothing is known."""
    features = features_of(past)
    if not np.isfinite(features).any():
        return np.full(features.shape[1:], -1)
    return Groups.of(features.reshape(len(features), -1), options.strata).assign(features)


def four_kinds(dates: int = DATES, seed: int = 0) -> xr.Dataset:
    """Steady forest and town, fields of parcels that vary, a lake that the wind moves."""
    rng = np.random.default_rng(seed)
    values = np.empty((dates, 2, SIDE, SIDE))
    for name, place in KINDS.items():
        values[(..., *place)] = np.array(LEVELS_DB[name])[:, None, None]
    parcels = rng.normal(0.0, 2.5, (dates, 1, HALF // 8, HALF // 8))
    values[(..., *KINDS["fields"])] += parcels.repeat(8, axis=2).repeat(8, axis=3)
    values[(..., *KINDS["lake"])] += rng.normal(0.0, 2.5, (dates, 1, 1, 1))
    speckle = rng.gamma(16.0, 1.0 / 16.0, values.shape)
    return as_cube(values + 10.0 * np.log10(speckle))


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return four_kinds()


INNER = (slice(6, -6), slice(6, -6))


def purity(labels: np.ndarray, kind: np.ndarray) -> float:
    """Share of the pixels whose stratum is mostly of their own kind."""
    counts = [np.bincount(kind[labels == label]) for label in np.unique(labels)]
    return sum(each.max() for each in counts) / labels.size


def test_steady_and_moving_ground_are_in_different_strata(cube: xr.Dataset) -> None:
    labels = find_strata(Past(cube, LATER), StrataOptions())
    behaviour = {"forest": 0, "town": 0, "fields": 1, "lake": 2}
    pairs = [(labels[KINDS[name]][INNER], number) for name, number in behaviour.items()]
    found = np.concatenate([each.ravel() for each, _ in pairs])
    kind = np.concatenate([np.full(each.size, number) for each, number in pairs])
    assert purity(found, kind) > 0.97


def test_strata_turn_with_the_image(cube: xr.Dataset) -> None:
    options = StrataOptions(strata=4)
    plain = find_strata(Past(cube, LATER), options)
    turned = cube.copy(data={"backscatter": cube["backscatter"].values[..., ::-1, :]})
    flipped = find_strata(Past(turned, LATER), options)[::-1]
    common = [
        max(((plain == a) & (flipped == b)).sum() for b in range(4)) / (plain == a).sum()
        for a in range(4)
    ]
    assert min(common) > 0.97


def test_what_comes_after_the_baseline_is_not_read(cube: xr.Dataset) -> None:
    before = cube["time"].values[20]
    later = cube.copy(deep=True)
    later["backscatter"][20:] = 1e9
    for options in (StrataOptions(strata=3), StrataOptions()):
        np.testing.assert_array_equal(
            find_strata(Past(later, before), options), find_strata(Past(cube, before), options)
        )
    np.testing.assert_array_equal(find_water(Past(later, before)), find_water(Past(cube, before)))


def test_the_number_of_strata(cube: xr.Dataset) -> None:
    past = Past(cube, LATER)
    for number in (1, 2, 6):
        labels = find_strata(past, StrataOptions(strata=number))
        np.testing.assert_array_equal(np.unique(labels), np.arange(number))
    alike = Past(as_cube(np.full((6, 2, 2, 2), -12.0)), LATER)
    assert (find_strata(alike, StrataOptions()) == 0).all()


def test_pixels_without_a_past_have_no_stratum(cube: xr.Dataset) -> None:
    gaps = cube.copy(deep=True)
    gaps["backscatter"][:, :, :10] = np.nan
    gaps["backscatter"][:12, :, -10:] = np.nan  # seen in the later half alone
    labels = find_strata(Past(gaps, LATER), StrataOptions())
    assert (labels[:10] == -1).all()
    assert (labels[10:] >= 0).all()
    nothing = gaps.where(False)
    assert (find_strata(Past(nothing, LATER), StrataOptions()) == -1).all()


def test_land_cover_tells_kinds_apart_that_look_alike() -> None:
    rng = np.random.default_rng(0)
    cube = as_cube(-12.0 + rng.normal(0.0, 1.0, (12, 2, SIDE, SIDE)))
    left = np.broadcast_to(np.arange(SIDE) < HALF, (SIDE, SIDE))
    without = find_strata(Past(cube, LATER), StrataOptions())
    for name in ("forest", "open_land"):
        told = find_strata(Past(cube.assign({name: (("y", "x"), left)}), LATER), StrataOptions())
        assert purity(told, left.astype(int)) > 0.7 > 0.6 > purity(without, left.astype(int))


# --- water ----------------------------------------------------------------------------------------


def test_water_is_the_lake(cube: xr.Dataset) -> None:
    found = find_water(Past(cube, LATER))
    lake = np.zeros((SIDE, SIDE), dtype=bool)
    lake[KINDS["lake"]] = True
    assert found[KINDS["lake"]][4:, 4:].all()
    assert not (found & ~binary_dilation(lake, iterations=2)).any()


def test_dark_ground_that_the_wind_does_not_move_is_no_water() -> None:
    rng = np.random.default_rng(0)
    values = np.array([-17.0, -26.0])[:, None, None] + rng.normal(0.0, 1.0, (DATES, 2, 40, 40))
    assert not find_water(Past(as_cube(values), LATER)).any()
    wind = rng.normal(0.0, 2.5, (DATES, 1, 1, 1))
    assert find_water(Past(as_cube(values + wind), LATER)).all()


@pytest.mark.parametrize(
    ("bands", "known"), [(["HH", "HV"], True), (["VH", "VV"], False), (["VV"], False)]
)
def test_water_by_other_bands(cube: xr.Dataset, bands: list[str], known: bool) -> None:
    """The cross-polarised band is found by its name; one band alone shows none."""
    other = cube.isel(band=slice(len(bands))).assign_coords(band=bands)
    assert find_water(Past(other, LATER))[KINDS["lake"]][4:, 4:].any() == known


# --- the past -------------------------------------------------------------------------------------


def test_moments_are_those_of_the_smoothed_images() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(-12.0, 2.0, (9, 2, 12, 14)).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    cube = as_cube(values)
    shuffled = cube.isel(time=rng.permutation(9))
    past = Past(shuffled, times(9)[8])
    smoothed = smooth(values[:8], past.sigma_px)
    np.testing.assert_allclose(past.mean, np.nanmean(smoothed, axis=0), rtol=1e-5)
    np.testing.assert_allclose(past.std, np.nanstd(smoothed, axis=0), atol=1e-3)
    for quarter in range(4):
        with np.errstate(invalid="ignore"):
            count = np.isfinite(smoothed[2 * quarter : 2 * quarter + 2]).sum(axis=0)
            total = np.nansum(smoothed[2 * quarter : 2 * quarter + 2], axis=0)
            wanted = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        np.testing.assert_allclose(past.mean_of(slice(quarter, quarter + 1)), wanted, rtol=1e-5)
    assert past.sigma_px == pytest.approx((1.5, 1.5), rel=1e-3)


def test_a_long_past_is_sampled_evenly() -> None:
    """The trend of a long series is found from some of its images."""
    dates = 3 * MOST_IMAGES
    series = np.linspace(-14.0, -10.0, dates)
    past = Past(as_cube(np.broadcast_to(series[:, None, None, None], (dates, 2, 4, 4))), LATER)
    assert past.mean == pytest.approx(np.full((2, 4, 4), series.mean()), abs=0.1)
    assert past.mean_of(slice(0, 1)) == pytest.approx(-13.5 * np.ones((2, 4, 4)), abs=0.1)


def test_every_pixel_gets_the_nearest_group_however_many_there_are() -> None:
    rng = np.random.default_rng(2)
    side = int(np.sqrt(2.5 * AT_ONCE))
    features = rng.normal(size=(3, side, side)).astype(np.float32)
    features[:, rng.random((side, side)) < 0.1] = np.nan
    groups = Groups.of(features.reshape(3, -1), 5)
    scaled = (features.reshape(3, -1).T - groups.middle) / groups.spread
    known = np.isfinite(scaled[:, 0])
    nearest = np.full(side * side, -1)
    nearest[known] = cdist(scaled[known], groups.centres).argmin(axis=1)
    np.testing.assert_array_equal(groups.assign(features).ravel(), nearest)
