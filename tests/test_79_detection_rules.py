"""Rules of other systems, against SciPy and against what their published code computes."""

import numpy as np
import pytest
from scipy import stats

from sarcast.evaluation.detection.rules import (
    OPERA_CONFIRMED,
    RULES,
    Series,
    above,
    one_date_norm,
    opera_confidence,
    pixel_t,
    pooled_t,
)
from sarcast.monitoring.confirmation import Opera
from sarcast.monitoring.layers import Layers, Look, Status


def series(z=None, residual=None, images=None, tracks=None, spacing_m=10.0) -> Series:
    z = np.zeros((3, 2, 4, 4), dtype=np.float32) if z is None else z
    residual = z if residual is None else residual
    count = len(z) + 8
    images = np.zeros((count, *z.shape[1:]), dtype=np.float32) if images is None else images
    times = np.datetime64("2020-01-01", "s") + np.arange(len(images)) * np.timedelta64(6, "D")
    return Series(times, tracks or [1] * len(images), images, residual, z, spacing_m)


def test_pooled_t_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(9, 2, 5, 6)), rng.normal(0.5, 1.0, size=(4, 2, 5, 6))
    expected = np.abs(stats.ttest_ind(after, before, axis=0, equal_var=True).statistic)
    np.testing.assert_allclose(pooled_t(before, after), expected, rtol=1e-5)


def test_pooled_t_leaves_missing_values_out() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.normal(size=(9, 1, 1, 3)), rng.normal(size=(3, 1, 1, 3))
    before[::2, 0, 0, 1] = np.nan
    before[1:, 0, 0, 2] = np.nan  # one value is too few
    result = pooled_t(before, after)[0, 0]
    alone = stats.ttest_ind(after[:, 0, 0, 1], before[1::2, 0, 0, 1]).statistic
    assert result[1] == pytest.approx(abs(alone), rel=1e-5)
    assert np.isnan(result[2])
    assert np.isfinite(pooled_t(before, after[:1])[0, 0, 0])  # a single image after is enough


def test_pixel_t_takes_the_greatest_of_tracks_and_bands() -> None:
    rng = np.random.default_rng(2)
    images = rng.normal(size=(24, 2, 40, 40)).astype(np.float32)
    tracks = [1, 2] * 12
    images[21:, 1] += 50.0 * (np.array(tracks[21:]) == 2)[:, None, None]
    given = series(np.zeros((3, 2, 40, 40), np.float32), images=images, tracks=tracks)
    second = np.array(tracks) == 2
    before, after = np.flatnonzero(second[:21]), 21 + np.flatnonzero(second[21:])
    strongest = pooled_t(images[before, 1:], images[after, 1:])
    # a change of the whole area: means over discs keep its level
    assert pixel_t(given).mean() == pytest.approx(strongest.mean(), rel=0.05)


def test_pixel_t_compares_with_the_year_before_only() -> None:
    rng = np.random.default_rng(3)
    images = rng.normal(size=(80, 1, 12, 12)).astype(np.float32)
    changed = images.copy()
    changed[:10] += 100.0  # more than a year before the watch, which begins with image 77
    same = [
        pixel_t(series(np.zeros((3, 1, 12, 12), np.float32), images=each))
        for each in (images, changed)
    ]
    np.testing.assert_array_equal(*same)


def test_pixel_t_needs_two_images_of_a_track_before() -> None:
    images = np.zeros((4, 1, 6, 6), dtype=np.float32)
    assert np.isnan(pixel_t(series(np.zeros((3, 1, 6, 6), np.float32), images=images))).all()


def test_opera_confidence_by_hand() -> None:
    """C' = trunc(c² (C / c² (c + n) + m) / (c + n + 1)) from the first detection's metric on."""
    z = np.zeros((3, 2, 1, 7), dtype=np.float32)
    z[:, 0, 0, 0] = [2.5, -2.5, 2.5]  # 2.5, 5, 9
    z[:, 1, 0, 1] = [7.0, -7.0, 7.0]  # 7, 14, 26: confirmed
    z[:, 1, 0, 2] = [9.0, 1.0, 0.0]  # ends at the second acquisition
    z[2, 0, 0, 3] = 50.0  # the rule confirms nothing on its first day
    z[1:, 0, 0, 4] = 500.0  # capped at 100: 100, 200
    z[:, 0, 0, 5] = [8.0, 8.0, 0.0]  # 8, 16, and less after the third: the greatest counts
    z[:, :, 0, 6] = np.nan
    found = opera_confidence(series(z))[0]
    np.testing.assert_array_equal(found, [9.0, 26.0, 0.0, 0.0, 200.0, 16.0, np.nan])
    assert above(found, OPERA_CONFIRMED).tolist() == [False, True, False, False, True, False, False]


def test_opera_confidence_confirms_what_the_rule_confirms() -> None:
    """Of low magnitude, where the rule never takes a confirmation back."""
    rng = np.random.default_rng(4)
    z = rng.normal(3.1, 0.6, size=(6, 1, 60, 60)).clip(0.0, 4.4).astype(np.float32)
    given = series(z)
    layers = Layers.empty((60, 60), 1)
    for time, each in zip(given.times[-6:], z, strict=True):
        layers = Opera().advance(layers, Look(time, each[0], each))
    confirmed = layers.status == Status.CONFIRMED_LOW
    assert 0.1 < confirmed.mean() < 0.9
    np.testing.assert_array_equal(above(opera_confidence(given), OPERA_CONFIRMED), confirmed)


def test_one_date_takes_the_last_residual() -> None:
    residual = np.zeros((3, 2, 1, 1), dtype=np.float32)
    residual[0], residual[-1, :, 0, 0] = 9.0, (3.0, 4.0)
    assert one_date_norm(series(residual=residual)) == pytest.approx(5.0)


def test_levels_ascend_and_contain_the_published_one() -> None:
    for rule in RULES:
        assert list(rule.levels) == sorted(set(rule.levels))
        assert rule.published is None or rule.published in rule.levels


def test_unknown_pixels_are_not_above_a_level() -> None:
    assert above(np.array([np.nan, 1.0, 3.0], dtype=np.float32), 2.0).tolist() == [
        False,
        False,
        True,
    ]
