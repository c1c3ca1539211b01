import numpy as np
import pytest

from sarcast.conditions import COLUMNS, CONDITIONS, condition
from sarcast.errors import SarcastError
from sarcast.windows import Expected, cut
from sarcast.windows.without import Without, cube_without, window_without
from small_cubes import coordinate_cube

PREVIOUS = [2, 3, 4, 5]


def window(cube):
    return cut(cube, 6, (4, 4), (16, 16), PREVIOUS)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_cube_without_a_condition_gives_windows_without_it(name):
    cube = coordinate_cube()
    whole, blind = window(cube), window(cube_without(cube, [name]))
    kept = [condition(column) != name for column in COLUMNS]
    assert np.isnan(blind.conditions[:, np.logical_not(kept)]).all()
    np.testing.assert_array_equal(blind.conditions[:, kept], whole.conditions[:, kept])
    np.testing.assert_array_equal(blind.conditions, window_without(whole, [name]).conditions)
    np.testing.assert_array_equal(blind.previous, whole.previous)


def test_nothing_is_changed_in_place():
    cube = coordinate_cube()
    before = cube.copy(deep=True)
    cube_without(cube, CONDITIONS)
    assert cube.identical(before)
    whole = window(cube)
    kept = whole.conditions.copy()
    window_without(whole, CONDITIONS)
    np.testing.assert_array_equal(whole.conditions, kept)


def test_a_predictor_is_not_told():
    class Told:
        name, size, previous = "told", 16, 4

        def expect(self, windows):
            return [Expected(w.conditions) for w in windows]

    blind = Without(Told(), ["heading", "precipitation"])
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
    assert Without(Told(), ["heading"], "other").name == "other"


def test_an_unknown_condition_is_told():
    with pytest.raises(SarcastError, match="no condition 'wind'; known are temperature"):
        cube_without(coordinate_cube(), ["wind"])
