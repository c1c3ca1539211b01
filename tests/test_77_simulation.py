from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from rasterio.features import rasterize
from scipy import stats

from sarcast.errors import SarcastError
from sarcast.evaluation.simulation.changes import (
    Deterministic,
    Gaussian,
    Offset,
    Statistical,
    simulate,
    simulate_in_window,
)
from sarcast.evaluation.simulation.distributions import QUANTILES, _quantiles, map_distribution
from sarcast.evaluation.simulation.effects import add_noise, add_offset, copy_regions
from sarcast.evaluation.simulation.image import LandImage
from sarcast.evaluation.simulation.shapes import ShapeOptions, change_mask, filled, random_polygon
from sarcast.windows import Window

ONE = ShapeOptions(least=1, most=1)


def land_image(size=128, seed=0):
    """Forest above, open land below, with a strip without data."""
    rng = np.random.default_rng(seed)
    forest = np.zeros((size, size), dtype=bool)
    forest[: size // 2] = True
    level = np.where(forest, -9.0, -14.0) + np.array([0.0, -6.0])[:, None, None]
    spread = np.where(forest, 1.2, 2.0)
    target = (level + spread * rng.standard_normal((2, size, size))).astype(np.float32)
    target[:, :, :4] = np.nan
    return LandImage(target, forest, ~forest)


CHANGES = [Offset(), Statistical(), Gaussian(), Deterministic()]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_changes_only_the_mask_inside_the_forest(change):
    before = land_image()
    kept = before.backscatter.copy()
    after = simulate(before, change, ONE, rng=np.random.default_rng(2))
    np.testing.assert_array_equal(before.backscatter, kept)
    assert after.changed.any()
    assert not (after.changed & ~before.forest).any()
    np.testing.assert_array_equal(after.backscatter[:, ~after.changed], kept[:, ~after.changed])
    assert (after.backscatter[:, after.changed] != kept[:, after.changed]).all()
    assert after.backscatter.dtype == np.float32


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_same_seed_same_bytes(change):
    first, second, other = (
        simulate(land_image(), change, ONE, rng=np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert first.backscatter.tobytes() == second.backscatter.tobytes()
    assert (first.changed != other.changed).any()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_window_is_changed_as_its_target(change):
    """The previous images and the oracle stay as they are."""
    image = land_image()
    size = image.forest.shape
    window = Window(
        previous=image.backscatter[None].repeat(4, axis=0),
        target=image.backscatter,
        conditions=np.zeros((5, 9), dtype=np.float32),
        times=np.arange(5).astype("datetime64[D]").astype("datetime64[ns]"),
        elevation=np.zeros(size, dtype=np.float32),
        expected=np.zeros_like(image.backscatter),
        forest=image.forest,
        open_land=image.open_land,
    )
    window = replace(window, context=np.zeros((2, 3), dtype=np.float32))
    plain = simulate(image, change, ONE, rng=np.random.default_rng(2))
    after = simulate_in_window(window, change, ONE, rng=np.random.default_rng(2))
    assert after.window.context is None
    assert after.window.target.tobytes() == plain.backscatter.tobytes()
    np.testing.assert_array_equal(after.changed, plain.changed)
    np.testing.assert_array_equal(after.window.previous, window.previous)
    np.testing.assert_array_equal(after.window.expected, window.expected)


def test_offset_by_hand():
    image = np.array([[[1.0, 2.0]], [[3.0, np.nan]]], dtype=np.float32)
    changed = np.array([[True, True]])
    np.testing.assert_array_equal(
        add_offset(image, changed, (-2.5, 1.0)), [[[-1.5, -0.5]], [[4.0, np.nan]]]
    )
    assert Offset().name == "offset -2.5 dB"
    assert Offset((-2.5, 1.0)).name == "offset -2.5/+1 dB"


def test_offset_refuses_other_bands_and_masks():
    image = np.zeros((2, 3, 3), dtype=np.float32)
    with pytest.raises(SarcastError, match="2 are needed, but 1 came"):
        add_offset(image, np.ones((3, 3), dtype=bool), (-2.5,))
    with pytest.raises(SarcastError, match=r"shape \(3, 3\), but has \(2, 3\)"):
        add_offset(image, np.ones((2, 3), dtype=bool), (-2.5, -2.5))


def test_map_between_gaussians_is_the_affine_one():
    """Mapping N(a, s) to N(b, t) through both distributions is b + (x - a) t / s."""
    rng = np.random.default_rng(3)
    source = rng.normal(-9.0, 1.2, 200_000).astype(np.float32)
    target = rng.normal(-14.0, 2.0, 200_000).astype(np.float32)
    values = np.linspace(-12.0, -6.0, 50).astype(np.float32)
    mapped = map_distribution(values, source, target)
    np.testing.assert_allclose(mapped, -14.0 + (values + 9.0) * 2.0 / 1.2, atol=0.12)


def test_density_equals_the_plain_kernel_estimate():
    sample = np.random.default_rng(4).gamma(3.0, 2.0, 400).astype(np.float32)
    low, high = np.percentile(sample, [25, 75])
    bandwidth = 1.059 * min(sample.std(), (high - low) / 1.349) * sample.size**-0.2
    quantiles = _quantiles(sample)
    plain = stats.norm.cdf((quantiles[:, None] - sample) / bandwidth).mean(axis=1)
    np.testing.assert_allclose(plain, QUANTILES, atol=2e-3)


def test_mapping_keeps_order_also_beyond_the_samples():
    rng = np.random.default_rng(5)
    source, target = rng.normal(size=(2, 500)).astype(np.float32)
    values = np.linspace(-20, 20, 400).astype(np.float32)
    assert (np.diff(map_distribution(values, source, target)) > 0).all()


def test_statistical_change_takes_the_distribution_of_open_land():
    before = land_image(256)
    after = simulate(before, Statistical(), ONE, rng=np.random.default_rng(1))
    changed = after.backscatter[:, after.changed]
    for band, level in enumerate((-14.0, -20.0)):
        assert stats.kstest(changed[band], stats.norm(level, 2.0).cdf).statistic < 0.08


def test_statistical_change_needs_open_land_or_a_sample_of_it():
    bare = replace(land_image(), open_land=None)
    assert not Statistical().fits(bare)
    with pytest.raises(SarcastError, match="at least 100 pixels with data, but there are 0"):
        simulate(bare, Statistical(), ONE, rng=np.random.default_rng(1))
    sample = land_image().backscatter[:, 100:].reshape(2, -1)
    assert Statistical(sample).fits(bare)
    changed = simulate(bare, Statistical(sample), ONE, rng=np.random.default_rng(1))
    assert changed.backscatter[0, changed.changed].mean() == pytest.approx(-14.0, abs=0.5)


def test_nearest_open_land_is_taken():
    wide = land_image(512)
    near = wide.backscatter.copy()
    near[:, 256:320] += 4.0
    changed = np.zeros((512, 512), dtype=bool)
    changed[250:256, 100:400] = True
    after = Statistical().apply(
        replace(wide, backscatter=near), changed, rng=np.random.default_rng(0)
    )
    assert after[0, changed].mean() == pytest.approx(-10.0, abs=0.7)


def test_gaussian_keeps_the_mean_and_adds_variance():
    image = np.full((2, 300, 300), -10.0, dtype=np.float32)
    everywhere = np.ones((300, 300), dtype=bool)
    noisy = add_noise(image, everywhere, 2.5, rng=np.random.default_rng(0))
    assert noisy.mean() == pytest.approx(-10.0, abs=0.03)
    assert noisy.std() == pytest.approx(2.5, abs=0.03)


def test_copying_moves_each_region_as_one():
    """On an image of pixel coordinates the shift of every pixel of a shape is one."""
    rows, columns = np.mgrid[:60, :80].astype(np.float32)
    image = np.stack([rows, columns])
    changed = np.zeros((60, 80), dtype=bool)
    changed[5:15, 5:12] = True
    changed[40:44, 60:79] = True
    donors = np.zeros_like(changed)
    donors[20:35] = True
    moved = copy_regions(image, changed, donors, rng=np.random.default_rng(1))
    for part in (np.s_[:, 5:15, 5:12], np.s_[:, 40:44, 60:79]):
        assert np.unique((moved - image)[part].reshape(2, -1), axis=1).shape[1] == 1
    assert (moved[0][changed] >= 20).mean() > 0.9
    assert (moved[0][changed] < 35).mean() > 0.9


def test_no_forest_known_means_the_whole_valid_area():
    anywhere = replace(land_image(), forest=None)
    np.testing.assert_array_equal(anywhere.changeable, np.isfinite(anywhere.backscatter[0]))


def test_an_image_without_data_is_not_changed():
    empty = land_image()
    empty.backscatter[:] = np.nan
    after = simulate(empty, Offset(), ONE, rng=np.random.default_rng(0))
    assert not after.changed.any()


def test_number_of_shapes_is_uniform_over_its_range():
    rng = np.random.default_rng(0)
    field = np.ones((128, 128), dtype=bool)
    drawn = [change_mask(field, ShapeOptions(size=0.05), rng=rng).any() for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(0.75, abs=0.03)


def test_size_is_a_share_of_the_window():
    rng = np.random.default_rng(0)
    inside = np.zeros((512, 512), dtype=bool)
    inside[200:300, 200:300] = True
    radius = 25.0
    areas = [
        filled(random_polygon(radius, ONE, rng=rng) + 256.0, (512, 512)).sum() for _ in range(200)
    ]
    assert np.mean(areas) == pytest.approx(np.pi * radius**2, rel=0.08)
    drawn = [change_mask(np.ones((512, 512), dtype=bool), ONE, rng=rng).sum() for _ in range(100)]
    assert np.mean(drawn) == pytest.approx(np.mean(areas), rel=0.12)


def test_polygon_parameters_each_change_it():
    def radii(**options):
        shape = ShapeOptions(**options)
        polygon = random_polygon(10.0, shape, rng=np.random.default_rng(0))
        return np.hypot(*polygon.T)

    assert radii().size == 16
    assert radii(vertices=5).size == 5
    np.testing.assert_allclose(radii(spikiness=0.0), 10.0)
    assert radii(spikiness=1.0).std() > radii().std()

    def steps(irregularity):
        shape = ShapeOptions(irregularity=irregularity, spikiness=0.0)
        y, x = random_polygon(10.0, shape, rng=np.random.default_rng(0)).T
        return np.diff(np.unwrap(np.arctan2(y, x)))

    np.testing.assert_allclose(steps(0.0), 2 * np.pi / 16)
    assert steps(0.35).std() > 0.0


def test_options_are_checked():
    with pytest.raises(ValidationError, match=r"least \(3\) must not exceed most \(2\)"):
        ShapeOptions(least=3, most=2)


@pytest.mark.parametrize("seed", range(6))
def test_filled_equals_gdals_burning_of_all_touched_pixels(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(20, 200))
    shape = ShapeOptions(spikiness=float(rng.uniform(0, 0.9)), irregularity=float(rng.uniform()))
    polygon = random_polygon(size / 5, shape, rng=rng) + rng.uniform(0, size, 2)
    ring = [(float(x), float(y)) for y, x in [*polygon, polygon[0]]]
    burnt = rasterize(
        [{"type": "Polygon", "coordinates": [ring]}], out_shape=(size, size + 7), all_touched=True
    )
    np.testing.assert_array_equal(filled(polygon, (size, size + 7)), burnt > 0)


def test_a_shape_outside_the_image_fills_nothing():
    polygon = random_polygon(5.0, ONE, rng=np.random.default_rng(0))
    for away in ([-50.0, 10.0], [10.0, 90.0], [200.0, 200.0]):
        assert not filled(polygon + away, (30, 40)).any()
