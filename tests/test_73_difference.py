import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sarcast.detection import difference as differences
from sarcast.errors import SarcastError
from sarcast.sensor.units import to_power

IMAGES = arrays(np.float32, (2, 3, 4), elements=st.floats(-30, 5, width=32))


@given(IMAGES, IMAGES)
def test_ratio_is_of_linear_power(actual, expected):
    plain = to_power(actual).astype(float) / to_power(expected).astype(float)
    np.testing.assert_allclose(differences.ratio(actual, expected), plain, rtol=1e-4)
    np.testing.assert_allclose(differences.log_ratio(actual, expected), np.log(plain), atol=1e-4)


@given(IMAGES, IMAGES)
def test_norm_equals_a_loop_over_pixels(actual, expected):
    norm = differences.norm(differences.subtract(actual, expected))
    for row in range(3):
        for column in range(4):
            residual = actual[:, row, column].astype(float) - expected[:, row, column]
            assert norm[row, column] == pytest.approx(np.hypot(*residual), abs=1e-4)


def test_leading_dims_are_kept():
    images = np.arange(5 * 2 * 3 * 4, dtype=np.float32).reshape(5, 2, 3, 4)
    each = np.stack([differences.norm(image) for image in images])
    np.testing.assert_array_equal(differences.norm(images), each)


def test_z_of_calibrated_noise_has_unit_variance():
    rng = np.random.default_rng(1)
    std = rng.uniform(0.5, 3.0, (2, 200, 200)).astype(np.float32)
    expected = np.full_like(std, -12.0)
    actual = expected + std * rng.standard_normal(std.shape, dtype=np.float32)
    z = differences.z(actual, expected, std)
    assert z.std() == pytest.approx(1.0, abs=0.01)
    assert differences.signed(z, "loss").std() == pytest.approx(1.0, abs=0.01)


def test_z_is_nan_where_the_deviation_is_not_above_zero():
    image = np.zeros((1, 1, 3), dtype=np.float32)
    std = np.array([[[1.0, 0.0, -1.0]]], dtype=np.float32)
    np.testing.assert_array_equal(np.isnan(differences.z(image + 1, image, std)), [[[0, 1, 1]]])


def test_signed_is_positive_in_its_direction():
    drop = np.full((2, 1, 1), -3.0, dtype=np.float32)
    assert differences.signed(drop, "loss") == pytest.approx(3.0 * np.sqrt(2.0))
    assert differences.signed(drop, "gain") == pytest.approx(-3.0 * np.sqrt(2.0))
    with pytest.raises(SarcastError, match="'loss' or 'gain', not 'down'"):
        differences.signed(drop, "down")


def test_shapes_must_agree():
    image = np.zeros((2, 3, 4), dtype=np.float32)
    with pytest.raises(SarcastError, match=r"\(2, 3, 4\), but the expected image has \(1, 3, 4\)"):
        differences.subtract(image, image[:1])
    with pytest.raises(SarcastError, match="the standard deviation has"):
        differences.z(image, image, image[:, :2])


def test_nan_stays_nan():
    image = np.zeros((2, 1, 2), dtype=np.float32)
    image[1, 0, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(differences.norm(image)), [[True, False]])


def test_smoothed_is_the_weighted_mean_of_valid_pixels():
    """A slow twin: every pixel's weight by its distance, over the mirrored image."""
    image = np.random.default_rng(4).normal(size=(2, 9, 11)).astype(np.float32)
    image[0, 2, 3] = np.nan
    smoothed = differences.smoothed(image, 1.5)
    mirrored = np.pad(image, ((0, 0), (6, 6), (6, 6)), mode="symmetric").astype(float)
    y, x = np.mgrid[-6:7, -6:7]
    weight = np.exp(-(y**2 + x**2) / (2 * 1.5**2))
    for band, row, column in np.ndindex(image.shape):
        around = mirrored[band, row : row + 13, column : column + 13]
        valid = np.isfinite(around)
        expected = (weight * np.where(valid, around, 0)).sum() / (weight * valid).sum()
        if np.isnan(image[band, row, column]):
            expected = np.nan
        assert smoothed[band, row, column] == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_smoothed_averages_speckle_and_keeps_wide_changes():
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((1, 2, 200, 200), dtype=np.float32)
    assert differences.smoothed(noise, 2.0).std() < 0.2
    np.testing.assert_allclose(differences.smoothed(noise * 0 + 3.0, 2.0), 3.0, rtol=1e-5)
    with pytest.raises(SarcastError, match="must be above 0 pixels, not 0"):
        differences.smoothed(noise, 0.0)


def test_levelled_removes_an_offset_of_the_whole_image():
    """A slow twin, image by image and band by band; a change of a quarter of the image remains."""
    rng = np.random.default_rng(6)
    image = rng.normal(size=(3, 2, 20, 20)).astype(np.float32)
    image[1, 0, :10, :10] -= 50.0
    image[2, 1, 3] = np.nan
    offsets = np.array([[4.0, -2.0], [0.5, 9.0], [1.0, -30.0]], dtype=np.float32)
    moved = image + offsets[..., None, None]
    for number, band in np.ndindex(3, 2):
        layer = moved[number, band]
        median = np.median(layer[np.isfinite(layer)])
        assert differences.level(moved)[number, band] == pytest.approx(median, abs=1e-6)
    np.testing.assert_allclose(
        differences.levelled(moved), differences.levelled(image), atol=1e-4, equal_nan=True
    )
    assert np.median(differences.levelled(moved)[1, 0, :10, :10]) == pytest.approx(-50.0, abs=0.8)


def test_a_band_without_data_has_no_level():
    image = np.ones((2, 3, 4), dtype=np.float32)
    image[1] = np.nan
    np.testing.assert_array_equal(differences.level(image), [1.0, np.nan])
    np.testing.assert_array_equal(np.isnan(differences.levelled(image)), np.isnan(image))
