from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcast.errors import SarcastError
from sarcast.prediction.predict import TileOptions, predict
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import Expected, Window
from small_cubes import coordinate_cube


@dataclass
class Spy:
    """Expects the latest image plus the temperature and the heading of the target."""

    size: int | None = None
    previous: int | None = 2
    name: str = "spy"

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        return [
            Expected(
                w.previous[-1] + np.nan_to_num(w.conditions[-1, 0]),
                np.full_like(w.previous[-1], 0.5),
            )
            for w in windows
        ]


@settings(deadline=None, max_examples=15)
@given(st.integers(16, 70), st.floats(0.0, 0.75))
def test_tiles_equal_the_whole(tile: int, overlap: float) -> None:
    """For a predictor that works pixel by pixel, on an image whose every pixel is another."""
    cube = coordinate_cube()
    whole = np.nanmean(cube["backscatter"].values[:4], axis=0)
    found = predict(cube, STRATEGIES["mean"], 4, tiles=TileOptions(tile=tile, overlap=overlap))
    np.testing.assert_allclose(found["expected"], whole, rtol=1e-5)
    assert np.isnan(found["std"]).all()


def test_a_fixed_size_larger_than_the_cube() -> None:
    cube = coordinate_cube()
    found = predict(cube, Spy(size=64), 3)
    assert found["expected"].shape == (2, 40, 50)
    np.testing.assert_allclose(found["std"], 0.5)


def test_conditions_of_the_target_can_be_set() -> None:
    cube = coordinate_cube()
    cold = predict(cube, Spy(), 3, conditions={"temperature": -20.0})
    warm = predict(cube, Spy(), 3, conditions={"temperature": 15.0})
    np.testing.assert_allclose(warm["expected"] - cold["expected"], 35.0, atol=1e-2)


def test_too_few_previous_images() -> None:
    cube = coordinate_cube()
    with pytest.raises(SarcastError, match="5 previous images are needed, but 3 precede"):
        predict(cube, Spy(previous=5), 3)


def test_the_grid_is_kept() -> None:
    cube = coordinate_cube()
    found = predict(cube, Spy(), 3)
    np.testing.assert_array_equal(found["x"], cube["x"])
    assert found["expected"].attrs["units"] == "dB"
