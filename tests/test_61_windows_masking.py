import numpy as np
import pytest

from sarcast.errors import SarcastError
from sarcast.sensor.conditions import COLUMNS, CONDITIONS, condition
from sarcast.windows import Expected, cut_window
from sarcast.windows.masking import MaskedPredictor, MaskedSampler, mask_conditions
from small_cubes import coordinate_cube

PREVIOUS = [2, 3, 4, 5]


def window(cube):
    return cut_window(cube, 6, (4, 4), (16, 16), PREVIOUS)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_window_without_a_condition_keeps_all_else(name):
    whole = window(coordinate_cube())
    before = whole.conditions.copy()
    blind = mask_conditions(whole, [name])
    kept = np.array([condition(column) != name for column in COLUMNS])
    assert np.isnan(blind.conditions[:, ~kept]).all()
    np.testing.assert_array_equal(blind.conditions[:, kept], before[:, kept])
    np.testing.assert_array_equal(whole.conditions, before)
    np.testing.assert_array_equal(blind.previous, whole.previous)


def test_a_sampler_is_blinded():
    class One:
        def draw(self, count, *, rng):  # noqa: ARG002
            return [window(coordinate_cube())] * count

    drawn = MaskedSampler(One(), ["incidence"]).draw(3, rng=np.random.default_rng(0))
    column = COLUMNS.index("incidence")
    assert len(drawn) == 3
    assert all(np.isnan(one.conditions[:, column]).all() for one in drawn)


def test_a_predictor_is_not_told():
    class Told:
        name, size, previous = "told", 16, 4

        def expect(self, windows):
            return [Expected(w.conditions) for w in windows]

    blind = MaskedPredictor(Told(), ["heading", "precipitation"])
    assert (blind.name, blind.size, blind.previous) == (
        "told without heading, precipitation",
        16,
        4,
    )
    whole = window(coordinate_cube())
    (found,) = blind.expect([whole])
    gone = np.isnan(found.mean) & ~np.isnan(whole.conditions)
    assert {COLUMNS[c] for c in np.flatnonzero(gone.any(axis=0))} == {
        "heading",
        *(f"precipitation_{lag}" for lag in range(4)),
    }
    assert MaskedPredictor(Told(), ["heading"], "other").name == "other"


def test_an_unknown_condition_is_told():
    with pytest.raises(SarcastError, match="no condition 'wind'; known are temperature"):
        MaskedSampler(None, ["wind"])
