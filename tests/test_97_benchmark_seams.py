"""The benchmark of seams: what it measures of an image whose steps are known."""

import numpy as np
import pytest

from benchmarks.seams import borders, step_ratio
from sarcast.prediction.tiles import TileOptions, Tiling


def test_steps_across_the_edges_of_tiles_are_chosen() -> None:
    tiling = Tiling.of([(slice(0, 40), slice(0, 24))], TileOptions(tile=16, overlap=0.25), None)
    assert sorted({row for row, _ in tiling.offsets}) == [0, 12, 24]
    assert borders(tiling, 0, 40) == [11, 15, 23, 27]
    assert borders(tiling, 1, 24) == [7, 15]  # tiles at 0 and 8


def test_an_image_without_seams_has_a_ratio_of_1() -> None:
    slope = np.add.outer(np.arange(40.0), np.arange(24.0))
    assert step_ratio(slope[np.newaxis], [11, 23], [7]) == pytest.approx(1.0)


def test_a_seam_shows_as_far_as_it_steps() -> None:
    image = np.add.outer(np.arange(40.0), np.arange(24.0))
    image[12:] += 1.5
    # across rows: 24 steps of 2.5; across columns, where there is no seam, 40 of 1
    assert step_ratio(image, [11], [7]) == pytest.approx((24 * 2.5 + 40) / 64)


def test_unknown_pixels_count_nowhere() -> None:
    image = np.add.outer(np.arange(40.0), np.arange(24.0))
    image[:, 5] = np.nan
    assert step_ratio(image, [11], [7]) == pytest.approx(1.0)
