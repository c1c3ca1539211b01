import numpy as np
import pytest

from sarcast.evaluation.report.scenarios import SCENARIOS, describe_conditions, expected_scenarios
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import Expected
from test_63_strategies import ASCENDING, DESCENDING, window


class Thermometer:
    """Expects the temperature and the heading of the target in every pixel."""

    name, size, previous, uses_target = "thermometer", None, None, False

    def expect(self, windows):
        columns = [COLUMNS.index(name) for name in ("temperature", "heading")]
        rows = [window.conditions[-1, columns] for window in windows]
        return [Expected(np.ones((2, 3, 3), "f4") * row[:, None, None]) for row in rows]


@pytest.mark.parametrize(
    ("heading", "opposite"), [(ASCENDING, DESCENDING), (DESCENDING, ASCENDING)]
)
def test_each_scenario_is_predicted_under_its_conditions(heading, opposite):
    observed = window([38.0] * 4, [heading] * 4)
    observed.conditions[:, COLUMNS.index("temperature")] = 7.0
    scenarios = {
        scenario.name: scenario for scenario in expected_scenarios(Thermometer(), observed)
    }
    assert list(scenarios) == [*SCENARIOS, "opposite pass"]
    for name, values in SCENARIOS.items():
        assert (scenarios[name].expected[0] == values.get("temperature", 7.0)).all()
        assert (scenarios[name].expected[1] == heading).all()
    assert scenarios["opposite pass"].expected[1] == pytest.approx(opposite, abs=1e-4)
    assert "7 °C" in scenarios["actual conditions"].conditions
    assert observed.conditions[-1, COLUMNS.index("heading")] == heading


def test_a_scenario_does_not_use_the_target():
    class Looking(Thermometer):
        uses_target = True

        def expect(self, windows):
            assert all(np.isnan(window.target).all() for window in windows)
            return super().expect(windows)

    observed = window([38.0] * 4, [ASCENDING] * 4)
    assert len(expected_scenarios(Looking(), observed)) == len(SCENARIOS) + 1
    assert np.isfinite(observed.target).all()


def test_unknown_conditions_are_left_out():
    row = np.full(len(COLUMNS), np.nan, dtype=np.float32)
    assert describe_conditions(row) == ""
    unknown = window([np.nan] * 4, [np.nan] * 4)
    names = {scenario.name for scenario in expected_scenarios(Thermometer(), unknown)}
    assert "opposite pass" not in names
    row[COLUMNS.index("heading")] = 348.0
    row[COLUMNS.index("precipitation_0")] = 2.25
    assert describe_conditions(row) == "2.2 mm a day, ascending"
