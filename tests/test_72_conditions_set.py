"""Counterfactual conditions, against the true expected image of a world under them."""

import numpy as np
import pytest

from benchmarks import amounts
from benchmarks.amounts import Area, by_pass, by_rain, means, predicted, predicted_each, slope
from sarcast.prediction import Model, load_model


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("base", device="cpu", context="none")


@pytest.fixture(scope="module")
def area() -> Area:
    return amounts.draw(4, 15.0, seed=3)


def test_swapping_the_orbit_direction_moves_slopes_edges_and_corners(
    area: Area, model: Model
) -> None:
    """They move as in the world, and little else does."""
    true, moved = by_pass(area, model)
    assert np.corrcoef(moved.ravel(), true.ravel())[0, 1] > 0.85
    assert 0.65 < slope(true, moved) < 1.15
    assert np.square(moved - true).mean() < 0.25 * np.square(true).mean()
    large = np.abs(true) > 1.5
    assert (np.sign(moved) == np.sign(true))[large].mean() > 0.95
    small = np.abs(true) < 0.1
    assert np.abs(moved[small]).mean() < 0.3 * np.abs(moved[large]).mean()


def test_rain_moves_open_ground_more_than_forest(area: Area, model: Model) -> None:
    true, moved = by_rain(area, model)
    assert (means(area, moved, "forest") > 0.1).all()
    for name, tolerance in (("open", 0.3), ("field", 0.55), ("mire", 0.3)):
        assert (means(area, true, name) > 1.5 * means(area, true, "forest")).all()
        assert (means(area, moved, name) > 1.3 * means(area, moved, "forest")).all()
        assert (np.abs(means(area, moved, name) / means(area, true, name) - 1.0) < tolerance).all()
    assert (np.abs(means(area, moved, "forest") - means(area, true, "forest")) < 0.45).all()
    assert 0.7 < slope(true, moved) < 1.2
    assert np.square(moved - true).mean() < 0.3 * np.square(true).mean()


def test_set_conditions_apply_to_the_target_alone(area: Area, model: Model) -> None:
    """Setting a condition to its actual value has no effect."""
    headings = [cube["heading"].values[-1] for cube in area.cubes]
    settings = [{"heading": f"{float(heading)!r}"} for heading in headings]
    same = predicted_each(area, model, settings)
    np.testing.assert_allclose(same, predicted(area, model), atol=1e-4)
