"""Scenarios: what a place is expected to look like under conditions that are set."""

import warnings
from collections.abc import Mapping

import numpy as np

from sarcast.arrays import Float
from sarcast.evaluation.report.figures import Scenario
from sarcast.sensor.conditions import COLUMNS, HEADING
from sarcast.sensor.orbits import direction_of, other_pass
from sarcast.windows import Predictor, Window

OTHER_PASS = "the other pass"
SCENARIOS: Mapping[str, Mapping[str, float]] = {
    "as it was": {},
    "frost": {"temperature": -15.0, "precipitation": 0.0},
    "dry and warm": {"temperature": 18.0, "precipitation": 0.0, "snow_depth": 0.0},
    "rain": {"temperature": 12.0, "precipitation": 15.0, "snow_depth": 0.0},
    "wet snow": {"temperature": 2.0, "precipitation": 5.0, "snow_depth": 40.0},
}
"""Conditions that are set, units as in ``conditions.RANGES``, by the name of the scenario."""


def views_of(predictor: Predictor, window: Window) -> list[Scenario]:
    """Expected image of a window under its own conditions and under each scenario.

    Parameters
    ----------
    predictor
        A network that is told conditions.
    window
        Its target's conditions are replaced; the previous images stay.

    Returns
    -------
    list of Scenario
        The first is under the window's own conditions; the other pass is last, where the heading
        is known.
    """
    heading = float(window.conditions[-1, HEADING])
    wanted = dict(SCENARIOS)
    if np.isfinite(heading):
        wanted[OTHER_PASS] = {"heading": other_pass(heading)}
    windows = [window.under(values) for values in wanted.values()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = predictor.expect(windows)
    return [
        Scenario(name, told(one.conditions[-1]), expected.mean)
        for name, one, expected in zip(wanted, windows, found, strict=True)
    ]


def told(row: Float) -> str:
    """Conditions of a row in words with their units; what is not known is left out."""
    known = {name: float(value) for name, value in zip(COLUMNS, row, strict=True)}
    words = {
        "temperature": "{:.0f} °C",
        "precipitation_0": "{:.1f} mm a day",
        "snow_depth": "{:.0f} cm of snow",
        "incidence": "{:.0f}° incidence",
    }
    parts = [text.format(known[n]) for n, text in words.items() if np.isfinite(known[n])]
    if np.isfinite(known["heading"]):
        parts.append(direction_of(known["heading"]))
    return ", ".join(parts)
