"""Windows, samplers and predictors without some of the conditions."""

from dataclasses import replace

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
def test_a_window_without_a_condition_keeps_everything_else(name):
    whole = window(coordinate_cube())
    before = whole.conditions.copy()
    masked = mask_conditions(whole, [name])
    kept = np.array([condition(column) != name for column in COLUMNS])
    assert np.isnan(masked.conditions[:, ~kept]).all()
    np.testing.assert_array_equal(masked.conditions[:, kept], before[:, kept])
    np.testing.assert_array_equal(whole.conditions, before)
    np.testing.assert_array_equal(masked.previous, whole.previous)


def test_windows_of_a_masked_sampler_lack_the_condition():
    class SameWindow:
        def draw(self, count, *, rng):  # noqa: ARG002
            return [window(coordinate_cube())] * count

    drawn = MaskedSampler(SameWindow(), ["incidence"]).draw(3, rng=np.random.default_rng(0))
    column = COLUMNS.index("incidence")
    assert len(drawn) == 3
    assert all(np.isnan(masked.conditions[:, column]).all() for masked in drawn)


class Echo:
    """Returns the conditions that it gets as the expected image."""

    name, size, previous, uses_target = "echo", 16, 4, False

    def expect(self, windows):
        return [Expected(w.conditions) for w in windows]


def test_a_masked_predictor_does_not_get_the_conditions():
    masked = MaskedPredictor(Echo(), ["heading", "precipitation"])
    assert (masked.name, masked.size, masked.previous) == (
        "echo without heading, precipitation",
        16,
        4,
    )
    whole = window(coordinate_cube())
    (expected,) = masked.expect([whole])
    missing = np.isnan(expected.mean) & ~np.isnan(whole.conditions)
    assert {COLUMNS[c] for c in np.flatnonzero(missing.any(axis=0))} == {
        "heading",
        *(f"precipitation_{lag}" for lag in range(4)),
    }
    assert MaskedPredictor(Echo(), ["heading"], "other").name == "other"


def test_a_masked_predictor_uses_the_target_if_its_predictor_does():
    class Looking(Echo):
        uses_target = True

    assert MaskedPredictor(Looking(), ["heading"]).uses_target
    assert not MaskedPredictor(Echo(), ["heading"]).uses_target


def test_a_masked_predictor_keeps_the_record_of_its_training():
    class Trained(Echo):
        training = {"seen_until": "2021-06-01"}  # noqa: RUF012

    assert MaskedPredictor(Trained(), ["heading"]).training == {"seen_until": "2021-06-01"}
    assert MaskedPredictor(Echo(), ["heading"]).training == {}


def test_an_unknown_condition_is_an_error():
    with pytest.raises(SarcastError, match="no condition 'wind'; known are temperature"):
        MaskedSampler(None, ["wind"])


def test_conditions_of_the_target_alone_can_be_replaced():
    whole = window(coordinate_cube())
    changed = whole.with_conditions({"temperature": -5.0})
    column = COLUMNS.index("temperature")
    assert changed.conditions[-1, column] == -5.0
    rest = replace(changed, conditions=changed.conditions[:-1])
    np.testing.assert_array_equal(rest.conditions, whole.conditions[:-1])
    assert whole.conditions[-1, column] != -5.0
