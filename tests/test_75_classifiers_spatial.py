from itertools import product

import numpy as np
import pytest

from sarcast.detection import spatial
from sarcast.detection.classifiers import BestThreshold
from sarcast.detection.spatial import MarkovField, PcaKMeans
from sarcast.errors import SarcastError


def images(count=2, size=48, step=-2.5, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.zeros((size, size), dtype=bool)
    mask[10:30, 12:34] = True
    noise = rng.standard_normal((count, 2, size, size)) * 1.2
    return [(image + step * mask).astype(np.float32) for image in noise], [mask] * count


@pytest.mark.parametrize("classifier", [PcaKMeans(rng=np.random.default_rng(0)), MarkovField()])
def test_a_spatial_classifier_beats_the_best_threshold(classifier):
    differences, masks = images()
    fitted = classifier.fresh().fit(differences, masks)
    threshold = BestThreshold().fit(differences, masks)
    accuracy, by_pixel = (
        (each.predict(differences[0]) == masks[0]).mean() for each in (fitted, threshold)
    )
    assert accuracy > by_pixel + 0.05
    assert accuracy > 0.9


@pytest.mark.parametrize("classifier", [PcaKMeans(rng=np.random.default_rng(0)), MarkovField()])
def test_fits_without_masks(classifier):
    differences, masks = images(step=-5.0)
    changed_map = classifier.fresh().fit(differences).predict(differences[1])
    assert (changed_map == masks[1]).mean() > 0.95


@pytest.mark.parametrize("classifier", [PcaKMeans(rng=np.random.default_rng(0)), MarkovField()])
def test_pixels_without_data_are_unchanged(classifier):
    differences, masks = images()
    differences[0][0, 15:20, 15:20] = np.nan
    changed_map = classifier.fresh().fit(differences, masks).predict(differences[0])
    assert not changed_map[15:20, 15:20].any()
    assert changed_map[21:28, 14:32].mean() > 0.9
    assert not classifier.fresh().fit(differences, masks).predict(differences[0] * np.nan).any()


@pytest.mark.parametrize("neighbours", [4, 8])
def test_graph_cut_finds_the_least_energy_of_all_labellings(neighbours):
    rng = np.random.default_rng(3)
    unchanged, changed = rng.uniform(0, 2, (2, 3, 4))
    steps = [(0, 1), (1, 0)] + ([(1, 1), (1, -1)] if neighbours == 8 else [])

    def energy(labels):
        total = np.where(labels, changed, unchanged).sum()
        for row, column in np.ndindex(3, 4):
            for down, right in steps:
                if row + down < 3 and 0 <= column + right < 4:
                    total += 0.4 * (labels[row, column] != labels[row + down, column + right])
        return total

    best = min((np.reshape(bits, (3, 4)) for bits in product([False, True], repeat=12)), key=energy)
    labels = spatial._cut(unchanged, changed, 0.4, neighbours)
    np.testing.assert_array_equal(labels, best)


def test_without_smoothness_the_field_is_the_likelier_class():
    differences, masks = images()
    by_field = MarkovField(smoothness=0.0).fit(differences, masks).predict(differences[0])
    from scipy.stats import multivariate_normal

    pixels = np.concatenate([image.reshape(2, -1) for image in differences], axis=1)
    truth = np.concatenate([mask.ravel() for mask in masks])
    flat, densities = differences[0].reshape(2, -1).T, []
    for kind in (False, True):
        members = pixels[:, truth == kind]
        densities.append(multivariate_normal(members.mean(axis=1), np.cov(members)).pdf(flat))
    likelier = (densities[1] > densities[0]).reshape(48, 48)
    assert (by_field == likelier).mean() > 0.999


def test_blocks_are_the_neighbours_of_each_pixel():
    image = np.arange(30, dtype=np.float32).reshape(1, 5, 6)
    blocks = PcaKMeans(3, 2, rng=np.random.default_rng(0))._blocks(image)
    assert blocks.shape == (30, 9)
    np.testing.assert_array_equal(blocks[2 * 6 + 3].reshape(3, 3), image[0, 1:4, 2:5])


def test_of_many_pixels_a_sample_is_fitted(monkeypatch):
    """Pixel numbers as an image: blocks of side 1 are the pixels that were drawn, each once."""
    monkeypatch.setattr(spatial, "MAX_FIT_BLOCKS", 40)
    images = np.arange(3 * 64, dtype=np.float32).reshape(3, 1, 8, 8)
    images[1, :, :4] = np.nan
    classifier = PcaKMeans(1, 1, rng=np.random.default_rng(0))
    drawn = classifier._fit_blocks(list(images))[:, 0]
    assert len(np.unique(drawn)) == 40
    assert set(drawn) <= set(images[np.isfinite(images)])
    assert {int(value) // 64 for value in drawn} == {0, 1, 2}
    monkeypatch.setattr(spatial, "MAX_FIT_BLOCKS", 1000)
    np.testing.assert_array_equal(
        classifier._fit_blocks(list(images))[:, 0], images[np.isfinite(images)]
    )


def test_same_seed_same_map():
    differences, _ = images()
    maps = [
        PcaKMeans(rng=np.random.default_rng(4)).fit(differences).predict(differences[0])
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*maps)


def test_options_are_checked():
    with pytest.raises(SarcastError, match="odd side"):
        PcaKMeans(4, rng=np.random.default_rng(0))
    with pytest.raises(SarcastError, match="neighbours 4 or 8"):
        MarkovField(neighbours=6)
    with pytest.raises(SarcastError, match="10 pixels or more, but has 0"):
        differences, masks = images()
        MarkovField().fit(differences, [np.zeros_like(mask) for mask in masks])
    with pytest.raises(SarcastError, match="6 pixels with data or more, but there are 0"):
        empty = np.full((2, 8, 8), np.nan, dtype=np.float32)
        PcaKMeans(rng=np.random.default_rng(0)).fit([empty])
