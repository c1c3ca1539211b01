import numpy as np
import pytest

from sarcast.evaluation.report.scenarios import SCENARIOS, told, views_of
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import Expected
from test_63_strategies import ASCENDING, DESCENDING, window


class Thermometer:
    """Expects the temperature and the heading of the target everywhere."""

    name, size, previous = "thermometer", None, None

    def expect(self, windows):
        columns = [COLUMNS.index(name) for name in ("temperature", "heading")]
        rows = [one.conditions[-1, columns] for one in windows]
        return [Expected(np.ones((2, 3, 3), "f4") * row[:, None, None]) for row in rows]


@pytest.mark.parametrize(("own", "other"), [(ASCENDING, DESCENDING), (DESCENDING, ASCENDING)])
def test_each_scenario_is_under_its_own_conditions(own, other):
    of = window([38.0] * 4, [own] * 4)
    of.conditions[:, COLUMNS.index("temperature")] = 7.0
    views = {view.name: view for view in views_of(Thermometer(), of)}
    assert list(views) == [*SCENARIOS, "the other pass"]
    for name, values in SCENARIOS.items():
        assert (views[name].expected[0] == values.get("temperature", 7.0)).all()
        assert (views[name].expected[1] == own).all()
    assert views["the other pass"].expected[1] == pytest.approx(other, abs=1e-4)
    assert "7 °C" in views["as it was"].conditions
    assert of.conditions[-1, COLUMNS.index("heading")] == own


def test_what_is_not_known_is_not_told():
    row = np.full(len(COLUMNS), np.nan, dtype=np.float32)
    assert told(row) == ""
    of = window([np.nan] * 4, [np.nan] * 4)
    assert "the other pass" not in {view.name for view in views_of(Thermometer(), of)}
    row[COLUMNS.index("heading")] = 348.0
    row[COLUMNS.index("precipitation_0")] = 2.25
    assert told(row) == "2.2 mm a day, ascending"
