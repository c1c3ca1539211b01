"""Regions of evidence around changes of known shape."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sarcast.detection.blocks import blocks_of
from sarcast.detection.regions import (
    LEAST_PEAK,
    LOW_EVIDENCE,
    RegionFinder,
    RegionOptions,
    Regions,
    find_regions,
)
from sarcast.detection.smoothing import smooth
from sarcast.io.scratch import Scratch
from small_changes import disc

SIDE = 80
PIXEL_M2 = 400.0
NOISE = 0.4
"""Standard deviation of the smoothed shift where nothing changed."""
ANY_SIZE = RegionOptions(min_area=0.01)


def shift_of(mask: np.ndarray, size: tuple[float, float] = (-4.0, -4.0)) -> np.ndarray:
    """Smoothed shift of a change without noise, in standard deviations."""
    image = np.float32(size)[:, None, None] * mask.astype(np.float32)
    return smooth(image, (1.25, 1.25))


def evidence_of(shift: np.ndarray) -> np.ndarray:
    """-log10 of the p-value of the norm of two Gaussian bands, about, after smoothing."""
    norm = np.linalg.norm(shift, axis=0) / NOISE
    return (-stats.chi(2).logsf(norm) / np.log(10.0)).astype(np.float32)


def found_in(shift: np.ndarray, options: RegionOptions = ANY_SIZE) -> Regions:
    return find_regions(evidence_of(shift), shift, PIXEL_M2, options)


def at(row: int, column: int, radius: float) -> np.ndarray:
    return disc((row, column), radius, SIDE)


@pytest.mark.parametrize("radius", [4, 6, 12, 20])
@pytest.mark.parametrize("size", [(-4.0, -4.0), (3.0, 3.0), (0.0, -5.0), (9.0, -9.0)])
def test_the_outline_is_midway(radius: int, size: tuple[float, float]) -> None:
    """As large as the change, however strong it is and however far its evidence reaches."""
    mask = at(40, 40, radius)
    found = found_in(shift_of(mask, size))
    assert len(found.peaks) == 1
    overlap = (found.labels > 0) & mask
    union = (found.labels > 0) | mask
    assert overlap.sum() / union.sum() > 0.8
    assert (found.labels > 0).sum() == pytest.approx(mask.sum(), rel=0.2)
    assert found.peaks[0] == pytest.approx(evidence_of(shift_of(mask, size)).max(), rel=1e-6)


def test_holes_stay_and_specks_are_closed() -> None:
    ring = at(40, 40, 20) & ~at(40, 40, 9)
    speck = ring.copy()
    speck[40, 25] = False
    found = found_in(shift_of(ring))
    assert found.labels[40, 40] == 0
    assert (found.labels > 0).sum() == pytest.approx(ring.sum(), rel=0.1)
    np.testing.assert_array_equal(found_in(shift_of(speck)).labels > 0, found.labels > 0)


def test_changes_apart_are_regions_of_falling_evidence() -> None:
    strong, middle, weak = at(15, 15, 7), at(15, 60, 7), at(60, 40, 7)
    shift = shift_of(weak, (-3.0, -3.0)) + shift_of(strong, (8.0, 8.0)) + shift_of(middle)
    found = found_in(shift)
    assert (np.diff(found.peaks) < 0.0).all()
    assert [found.labels[place] for place in ((15, 15), (15, 60), (60, 40))] == [1, 2, 3]
    assert set(np.unique(found.labels)) == {0, 1, 2, 3}


def test_a_loss_beside_a_gain_is_not_part_of_it() -> None:
    shift = shift_of(at(40, 30, 8), (-5.0, -5.0)) + shift_of(at(40, 50, 8), (4.0, 4.0))
    shift[:, 40, 38:43] = -2.2  # a bridge of evidence between them
    assert evidence_of(shift)[40, 38:43].min() > LOW_EVIDENCE
    labels = found_in(shift).labels
    assert labels[40, 30] > 0
    assert labels[40, 50] != labels[40, 30]


def test_a_spread_without_shift_is_outlined_by_its_evidence() -> None:
    evidence = (8.0 * smooth(at(40, 40, 9).astype(np.float32), (1.5, 1.5))).astype(np.float32)
    found = find_regions(evidence, np.zeros((2, SIDE, SIDE), np.float32), PIXEL_M2, ANY_SIZE)
    assert (found.labels > 0).sum() == pytest.approx(at(40, 40, 9).sum(), rel=0.1)


@pytest.mark.parametrize("pixel_m2", [100.0, 400.0, 901.0])
def test_the_least_area_is_one_of_ground(pixel_m2: float) -> None:
    sizes = {radius: int(at(40, 40, radius).sum()) for radius in range(1, 9)}
    for radius in (3, 5, 8):
        mask = at(40, 40, radius)
        shift = 6.0 * np.stack([mask, mask]).astype(np.float32)  # not smoothed: the outline is it
        area_ha = sizes[radius] * pixel_m2 / 1e4
        for factor, count in ((0.999, 1), (1.001, 0)):
            options = RegionOptions(min_area=factor * area_ha)
            found = find_regions(evidence_of(shift), shift, pixel_m2, options)
            assert len(found.peaks) == count


def test_pixels_that_touch_at_corners_are_connected() -> None:
    shift = np.zeros((2, SIDE, SIDE), dtype=np.float32)
    shift[:, range(10, 20), range(10, 20)] = 6.0
    found = found_in(shift)
    assert len(found.peaks) == 1
    assert (found.labels > 0).sum() == 10
    assert len(found_in(shift, RegionOptions(min_area=11 * PIXEL_M2 / 1e4)).peaks) == 0


def test_nothing_is_found_in_nothing() -> None:
    nothing = np.zeros((2, SIDE, SIDE), dtype=np.float32)
    below = np.full((SIDE, SIDE), LEAST_PEAK - 0.1, dtype=np.float32)
    missing = np.full((SIDE, SIDE), np.nan, dtype=np.float32)
    for evidence in (nothing[0], below, missing):
        found = find_regions(evidence, nothing, PIXEL_M2, ANY_SIZE)
        assert found.peaks.shape == (0,)
        assert not found.labels.any()
        assert not found.above(5.0).labels.any()


def test_what_is_not_judged_belongs_to_no_region() -> None:
    shift = shift_of(at(40, 40, 10))
    evidence = evidence_of(shift)
    hidden = np.zeros((SIDE, SIDE), dtype=bool)
    hidden[:, 42:] = True
    evidence[hidden], shift[:, hidden] = np.nan, np.nan
    found = find_regions(evidence, shift, PIXEL_M2, ANY_SIZE)
    assert found.labels[40, 38] == 1
    assert not found.labels[hidden].any()


@given(threshold=st.floats(0.0, 30.0))
def test_regions_above_a_threshold(threshold: float) -> None:
    rng = np.random.default_rng(0)
    peaks = rng.uniform(3.0, 25.0, 9)
    labels = rng.integers(0, 10, (30, 30)).astype(np.int32)
    above = Regions.of(labels, peaks).above(threshold)
    wanted = np.sort(peaks[peaks > threshold])[::-1]
    np.testing.assert_array_equal(above.peaks, wanted)
    for number, peak in enumerate(wanted, start=1):
        old = int(np.flatnonzero(peaks == peak)[0]) + 1
        np.testing.assert_array_equal(above.labels == number, labels == old)
    assert ((above.labels > 0) <= (labels > 0)).all()


@settings(max_examples=25)
@given(seed=st.integers(0, 200), turns=st.integers(1, 3), mirrored=st.booleans())
def test_regions_turn_with_the_image(seed: int, turns: int, mirrored: bool) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, 1.0, (2, SIDE, SIDE)).astype(np.float32)
    shift = 3.0 * smooth(noise, (1.25, 1.25)) + shift_of(at(*rng.integers(10, 70, 2), 6))

    def turned(image: np.ndarray) -> np.ndarray:
        image = np.rot90(image, turns, axes=(-2, -1))
        return np.ascontiguousarray(image[..., ::-1] if mirrored else image)

    plain, other = found_in(shift), found_in(turned(shift))
    np.testing.assert_allclose(other.peaks, plain.peaks, rtol=1e-6)
    np.testing.assert_array_equal(other.labels, turned(plain.labels))


def test_the_least_area_is_above_0() -> None:
    for area in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="min_area"):
            RegionOptions(min_area=area)


@pytest.mark.parametrize("side", [64, 37, 20])
def test_regions_are_the_same_however_the_image_is_cut(side: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    shape = (96, 130)
    shift = smooth(rng.normal(size=(2, *shape)).astype(np.float32), (3.0, 3.0)) * 25.0
    evidence = np.square(np.linalg.norm(shift, axis=0)) / 4.0
    evidence[20:24, 30:40] = np.nan
    whole = find_regions(evidence, shift, 100.0, RegionOptions(min_area=0.1))
    scratch = Scratch(tmp_path)
    layers = [scratch.images(each.shape, np.float32) for each in (evidence, shift)]
    for layer, values in zip(layers, (evidence, shift), strict=True):
        layer[...] = values
    ids = scratch.images(shape, np.int32)
    finder = RegionFinder(*layers, ids, 100.0, RegionOptions(min_area=0.1))
    found = finder.find(blocks_of(shape, side, (0, 0)))
    assert len(whole) > 20
    np.testing.assert_array_equal(found.labels, whole.labels)
    np.testing.assert_array_equal(found.peaks, whole.peaks)
    assert found.boxes == whole.boxes
    for number, box in enumerate(whole.boxes, start=1):
        rows, columns = np.nonzero(whole.labels == number)
        assert (rows.min(), rows.max() + 1) == (box[0].start, box[0].stop)
        assert (columns.min(), columns.max() + 1) == (box[1].start, box[1].stop)
