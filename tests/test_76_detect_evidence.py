"""Smoothing with gaps, standardised residuals, and the statistics of several acquisitions."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from sarcast.detection.evidence import (
    FEWEST_PIXELS,
    Direction,
    Residuals,
    looks_of,
    mean_over_looks,
    spread,
    standardise,
    statistics,
    typical_norms,
)
from sarcast.detection.residuals import mean_correlation
from sarcast.detection.smoothing import TRUNCATE, reach_px, smooth

PIXEL_M = (20.0, 20.0)
DIRECTIONS = ("both", "loss", "gain")


def found_in(
    z: np.ndarray, pixel_m: tuple[float, float] = PIXEL_M, direction: Direction = "both"
) -> dict[str, np.ndarray]:
    """Statistics of residuals without correlation, in one stratum."""
    strata = np.zeros(z.shape[-2:], dtype=np.int16)
    return statistics(Residuals(z, 0.0), pixel_m, strata, direction)


def noise(*shape: int, seed: int = 0, missing: float = 0.0, correlation: float = 0.0) -> np.ndarray:
    """Gaussian noise of dims (time, band, y, x); pixels of a target are missing in all bands."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=shape[1:])
    z = np.sqrt(1.0 - correlation) * rng.normal(size=shape) + np.sqrt(correlation) * common
    z[np.broadcast_to(rng.random((shape[0], 1, *shape[2:])) < missing, shape)] = np.nan
    return z.astype(np.float32)


# --- smoothing ------------------------------------------------------------------------------------


def smooth_slowly(image: np.ndarray, sigma: tuple[float, float]) -> np.ndarray:
    """Weighted sums over all pairs of pixels."""
    reach = [int(TRUNCATE * each + 0.5) for each in sigma]
    result = np.full(image.shape, np.nan)
    known = np.argwhere(np.isfinite(image))
    for row, column in known:
        rows, columns = known[:, 0] - row, known[:, 1] - column
        near = (np.abs(rows) <= reach[0]) & (np.abs(columns) <= reach[1])
        weight = near * np.exp(-0.5 * ((rows / sigma[0]) ** 2 + (columns / sigma[1]) ** 2))
        values = image[known[:, 0], known[:, 1]]
        result[row, column] = (weight * values).sum() / weight.sum()
    return result


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.95])
def test_smoothing_is_a_weighted_mean_of_the_pixels_with_data(missing: float) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(-12.0, 3.0, (2, 2, 17, 23)).astype(np.float32)
    images[rng.random(images.shape) < missing] = np.nan
    found = smooth(images, (1.5, 2.5))
    assert found.dtype == np.float32
    for index in itertools.product(range(2), range(2)):
        wanted = smooth_slowly(images[index], (1.5, 2.5))
        np.testing.assert_allclose(found[index], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.5, 3.0, 20.0])
def test_a_pixel_alone_keeps_its_value(sigma: float) -> None:
    image = np.full((41, 43), np.nan, dtype=np.float32)
    image[20, 5] = -7.5
    assert smooth(image, (sigma, sigma))[20, 5] == pytest.approx(-7.5, rel=1e-4)
    assert np.isfinite(smooth(image, (sigma, sigma))).sum() == 1


@pytest.mark.parametrize("sigma", [(8.0, 8.0), (20.0, 14.0), (50.0, 50.0)])
def test_wide_gaussians_are_nearly_those_of_every_pixel(sigma: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(size=(300, 340)).astype(np.float32)
    image[rng.random(image.shape) < 0.1] = np.nan
    image[40:90, 100:220] = np.nan
    image[200:230, 50:80] += 3.0
    found, known = smooth(image, sigma), np.isfinite(image)
    exact = [
        gaussian_filter(np.where(known, values, 0.0), sigma, truncate=TRUNCATE, mode="constant")
        for values in (image.astype(np.float64), np.ones_like(image, dtype=np.float64))
    ]
    wanted = exact[0][known] / exact[1][known]
    np.testing.assert_array_equal(np.isfinite(found), known)
    # of noise that differs from pixel to pixel; a patch of 30 pixels is averaged much better
    assert np.std(found[known] - wanted) < 0.05 * np.std(wanted)
    assert np.std(found[known]) == pytest.approx(np.std(wanted), rel=0.02)


@pytest.mark.parametrize("sigma", [(22.0, 17.0), (2.5, 4.0)])
def test_parts_are_smoothed_as_the_whole(sigma: tuple[float, float]) -> None:
    rng = np.random.default_rng(2)
    images = rng.normal(size=(2, 400, 390)).astype(np.float32)
    images[:, rng.random(images.shape[1:]) < 0.1] = np.nan
    whole, (rows, columns) = smooth(images, sigma), reach_px(sigma)
    part = smooth(images[:, 97:, 61:], sigma, (97, 61))
    inner = part[:, rows:, columns:]
    np.testing.assert_array_equal(inner, whole[:, 97 + rows :, 61 + columns :])
    box = slice(0, 140), slice(201, 390)
    np.testing.assert_array_equal(smooth(images, sigma, part=box), whole[(..., *box)])


def test_smoothing_of_nothing_is_nothing() -> None:
    assert np.isnan(smooth(np.full((2, 4, 4), np.nan, dtype=np.float32), (1.0, 1.0))).all()


# --- residuals ------------------------------------------------------------------------------------


def standardise_slowly(d: np.ndarray, std: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """One target, band and stratum at a time, from the definition."""
    known_std = np.isfinite(std).any()
    z = d / std if known_std else d.astype(np.float64)
    result = np.full(d.shape, np.nan)
    for time, band, stratum in np.ndindex(d.shape[0], d.shape[1], int(strata.max()) + 1):
        inside = strata == stratum
        large = inside.sum() >= FEWEST_PIXELS
        reference = z[time, band][inside if large else strata >= 0]
        reference = reference[np.isfinite(reference)]
        if reference.size:
            level = np.median(reference)
            deviation = 1.4826 * np.median(np.abs(reference - level))
            deviation = max(deviation, 1.0) if known_std else deviation
            result[time, band][inside] = (z[time, band][inside] - level) / deviation
    return result


def halves(side: int = 40) -> np.ndarray:
    """Two large strata, a small one of 25 pixels between them, and an edge outside of all."""
    strata = np.repeat([[0] * (side // 2) + [1] * (side // 2)], side, axis=0).astype(np.int16)
    strata[10:15, side // 2 : side // 2 + 5] = 2
    strata[0] = -1
    return strata


@pytest.mark.parametrize("known_std", [True, False])
def test_residuals_are_levelled_by_target_band_and_stratum(known_std: bool) -> None:
    rng = np.random.default_rng(1)
    strata = halves()
    difference = noise(3, 2, 40, 40, missing=0.1) * np.where(strata == 1, 3.0, 0.7) + strata
    difference = difference.astype(np.float32)
    std = rng.uniform(0.5, 1.5, difference.shape).astype(np.float32)
    std = std if known_std else np.full_like(std, np.nan)
    before = difference.copy()
    found = standardise(difference, std, strata)
    np.testing.assert_array_equal(difference, before)
    wanted = standardise_slowly(difference, std, strata)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
    assert np.isnan(found[..., strata < 0]).all()


@given(numbers=st.permutations([0, 1, 2]))
def test_the_numbers_of_the_strata_have_no_effect(numbers: list[int]) -> None:
    difference, strata = noise(1, 1, 40, 40) + 5.0, halves()
    unknown = np.full_like(difference, np.nan)
    renumbered = np.where(strata < 0, -1, np.array(numbers)[strata]).astype(np.int16)
    np.testing.assert_allclose(
        standardise(difference, unknown, renumbered),
        standardise(difference, unknown, strata),
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip


@given(offset_db=st.floats(-20.0, 20.0), target=st.integers(0, 2), stratum=st.integers(0, 1))
def test_weather_over_a_whole_stratum_is_no_change(
    offset_db: float, target: int, stratum: int
) -> None:
    strata = np.where(halves() == 2, 1, halves())
    difference = noise(3, 2, 40, 40)
    std = np.full_like(difference, 0.8)
    wet = difference.copy()
    wet[target] += np.where(strata == stratum, np.float32(offset_db), np.float32(0.0))
    np.testing.assert_allclose(
        standardise(wet, std, strata), standardise(difference, std, strata), atol=1e-4
    )


def test_a_change_of_a_fifth_of_a_stratum_keeps_most_of_its_size() -> None:
    strata = np.zeros((60, 60), dtype=np.int16)
    difference = noise(1, 1, 60, 60)
    difference[..., :12] -= 8.0
    found = standardise(difference, np.ones_like(difference), strata)
    assert np.nanmean(found[..., :12]) < -5.0
    assert abs(np.nanmean(found[..., 12:])) < 0.5


def test_a_small_standard_deviation_is_corrected_and_a_large_one_believed() -> None:
    strata, difference = np.zeros((60, 60), dtype=np.int16), noise(1, 1, 60, 60)
    for std_db, wanted in ((0.25, 1.0), (1.0, 1.0), (4.0, 0.25)):
        z = standardise(difference, np.full_like(difference, std_db), strata)
        assert z.std() == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize("partly", [True, False])
def test_looks_and_means_over_the_targets_that_see_a_pixel(partly: bool) -> None:
    rng = np.random.default_rng(2)
    seen = rng.random((4 if partly else 1, 6, 7)).repeat(1 if partly else 4, axis=0) < 0.5
    seen[:, 0, 0] = False
    images = rng.normal(size=(4, 2, 6, 7)).astype(np.float32)
    looks, mean = looks_of(seen), mean_over_looks(images, seen)
    assert looks.dtype == np.uint8
    for row, column in np.ndindex(6, 7):
        chosen = images[seen[:, row, column], :, row, column]
        assert looks[row, column] == len(chosen)
        wanted = chosen.mean(axis=0) if len(chosen) else np.full(2, np.nan)
        np.testing.assert_allclose(mean[:, row, column], wanted, rtol=1e-5, atol=1e-6)


def test_only_a_model_has_correlated_errors() -> None:
    times = np.datetime64("2020-01-01") + np.arange(3) * np.timedelta64(6, "D")
    assert mean_correlation(SimpleNamespace(name="mean"), times) == 0.0


# --- statistics -----------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("targets", [1, 2, 6])
def test_independent_looks(targets: int, correlation: float) -> None:
    """The variance of the mean of k values of equal correlation, from their covariance matrix."""
    residuals = Residuals(np.zeros((targets, 2, 1, 2), dtype=np.float32), correlation)
    residuals.z[:, 0, 0, 1] = np.nan
    covariance = np.full((targets, targets), correlation) + (1.0 - correlation) * np.eye(targets)
    looks = residuals.independent_looks()
    assert looks[0, 0] == pytest.approx(targets**2 / covariance.sum(), rel=1e-5)
    assert looks[0, 1] == 0.0


@pytest.mark.parametrize("correlation", [0.0, 0.4])
@pytest.mark.parametrize("targets", [1, 3, 8])
def test_the_shift_of_unchanged_ground_has_variance_1(targets: int, correlation: float) -> None:
    z = noise(targets, 2, 100, 100, correlation=correlation, missing=0.2)
    assert np.nanvar(Residuals(z, correlation).shift) == pytest.approx(1.0, rel=0.05)


def test_a_target_that_sees_nothing_counts_as_none() -> None:
    z = noise(3, 2, 30, 30, missing=0.1)
    blind = np.concatenate([z, np.full_like(z[:1], np.nan)])
    np.testing.assert_array_equal(Residuals(blind, 0.2).shift, Residuals(z, 0.2).shift)
    sizes = [
        spread(Residuals(each, 0.2), typical_norms(each.reshape(*each.shape[:2], -1)))
        for each in (blind, z)
    ]
    np.testing.assert_array_equal(*sizes)


def test_the_spread_is_the_mean_size_over_the_typical_size_of_its_date() -> None:
    z = noise(3, 2, 20, 20, missing=0.2)
    z[1] *= 5.0
    found = spread(Residuals(z, 0.0), typical_norms(z.reshape(*z.shape[:2], -1)))
    sizes = np.sqrt(np.square(z).sum(axis=1))
    typical = [np.median(size[np.isfinite(size)]) for size in sizes]
    for row, column in np.ndindex(20, 20):
        ratios = [s[row, column] / t for s, t in zip(sizes, typical, strict=True)]
        ratios = [ratio for ratio in ratios if np.isfinite(ratio)]
        wanted = np.mean(ratios) if ratios else np.nan
        np.testing.assert_allclose(found[row, column], wanted, rtol=1e-5)


def test_a_shift_shows_in_the_shift_and_a_spread_in_the_spread() -> None:
    """Each change is the strongest in the statistic that is meant for it."""
    inside = np.zeros((64, 64), dtype=bool)
    inside[20:40, 20:40] = True
    rough = np.where(inside, 2.5 * np.sign(noise(3, 2, 64, 64, seed=9)), 0.0)
    for kind, change in (("shift", np.where(inside, -1.0, 0.0)), ("spread", rough)):
        found = found_in(noise(3, 2, 64, 64) + change.astype(np.float32))
        contrast = {
            name: (np.median(image[inside]) - np.median(image[~inside])) / image[~inside].std()
            for name, image in found.items()
        }
        assert max(contrast, key=lambda name: contrast[name]).startswith(kind)
        assert max(contrast.values()) > 4.0


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_each_statistic_is_known_where_a_target_sees_the_pixel(direction: str) -> None:
    z = noise(3, 2, 32, 32, missing=0.3)
    found = found_in(z, PIXEL_M, direction)
    seen = np.isfinite(z).all(axis=1).any(axis=0)
    for image in found.values():
        np.testing.assert_array_equal(np.isfinite(image), seen)
    assert any(name.startswith("spread") for name in found) == (direction == "both")


def test_a_loss_is_the_gain_of_the_opposite() -> None:
    z = noise(3, 2, 32, 32)
    losses = found_in(z, PIXEL_M, "loss")
    gains = found_in(-z, PIXEL_M, "gain")
    both, opposite = (found_in(sign * z) for sign in (1, -1))
    for name in losses:
        np.testing.assert_allclose(losses[name], gains[name], atol=1e-6)
    for name in both:
        np.testing.assert_allclose(both[name], opposite[name], atol=1e-6)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_statistics_of_a_flipped_image_are_flipped(direction: str) -> None:
    z = noise(4, 2, 24, 40, missing=0.2)
    plain = found_in(z, (10.0, 30.0), direction)
    for flip in (np.fliplr, np.flipud, np.transpose):
        turned = np.stack([[flip(image) for image in target] for target in z])
        size = (30.0, 10.0) if flip is np.transpose else (10.0, 30.0)
        for name, image in found_in(turned, size, direction).items():
            np.testing.assert_allclose(image, flip(plain[name]), atol=1e-4)


def test_statistics_are_relative_to_their_size_in_the_stratum() -> None:
    """Weather that moves all of a stratum more is no evidence."""
    strata = np.repeat([[0] * 30 + [1] * 30], 60, axis=0).astype(np.int16)
    strata[:, -2:] = -1
    z = noise(3, 2, 60, 60) * np.where(strata == 1, np.float32(4.0), np.float32(1.0))
    for image in statistics(Residuals(z, 0.0), PIXEL_M, strata).values():
        for number in (0, 1):
            assert np.median(image[strata == number]) == pytest.approx(1.0, rel=1e-4)


def test_scales_are_in_metres() -> None:
    """Twice the pixels of half the size show the same, away from the edges of pixels."""
    coarse = noise(2, 1, 24, 24)
    fine = coarse.repeat(2, axis=2).repeat(2, axis=3)
    of_coarse = found_in(coarse, (40.0, 40.0), "gain")
    of_fine = found_in(fine, (20.0, 20.0), "gain")
    widest = list(of_coarse)[-1]
    means = of_fine[widest].reshape(24, 2, 24, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(means, of_coarse[widest], atol=0.1)


@pytest.mark.parametrize(("pixel", "sigma_px"), [(10.0, 2.5), (20.0, 1.5), (30.0, 1.5)])
def test_no_average_is_finer_than_pixels_allow(pixel: float, sigma_px: float) -> None:
    z = noise(3, 1, 40, 40)
    shift = z.mean(axis=0) * np.sqrt(3.0)
    local = shift - smooth(np.clip(shift, -2.0, 2.0), (500.0 / pixel, 500.0 / pixel))
    wanted = gaussian_filter(local[0], sigma_px)[10:-10, 10:-10]
    found = found_in(z, (pixel, pixel), "gain")["shift of 3, 25 m"][10:-10, 10:-10]
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.9995


def test_an_outlier_of_one_pixel_shows_less_than_a_change_of_a_hectare() -> None:
    """In pixels of 30 m, a car park or the bank of a pond."""
    shown = []
    for seed in range(4):
        z = noise(6, 2, 96, 96, seed=seed)
        z[:, :, 20, 20] += 4.0
        z[:, :, 60:63, 60:64] += 1.0
        found = [image / np.quantile(image, 0.98) for image in found_in(z, (30.0, 30.0)).values()]
        parts = np.s_[16:25, 16:25], np.s_[56:67, 56:68]
        shown.append([max(image[part].max() for image in found) for part in parts])
    outlier, change = np.mean(shown, axis=0)
    assert change > 1.4 * outlier
