"""Scenarios: the expected image of a window under conditions that are set."""

import warnings
from collections.abc import Mapping

import numpy as np

from sarcast.arrays import Float
from sarcast.evaluation.report.figures import Scenario
from sarcast.sensor.conditions import COLUMNS, HEADING
from sarcast.sensor.orbits import direction_of, opposite_heading
from sarcast.windows import Predictor, Window

ACTUAL = "actual conditions"
OPPOSITE_PASS = "opposite pass"
SCENARIOS: Mapping[str, Mapping[str, float]] = {
    ACTUAL: {},
    "frost": {"temperature": -15.0, "precipitation": 0.0},
    "dry and warm": {"temperature": 18.0, "precipitation": 0.0, "snow_depth": 0.0},
    "rain": {"temperature": 12.0, "precipitation": 15.0, "snow_depth": 0.0},
    "wet snow": {"temperature": 2.0, "precipitation": 5.0, "snow_depth": 40.0},
}
"""Conditions that are set, in the units of ``conditions.RANGES``, by the name of the scenario."""


def expected_scenarios(predictor: Predictor, window: Window) -> list[Scenario]:
    """Predict a window under its actual conditions and under each scenario.

    The target itself is not given to the predictor: its scene context shows the actual weather.

    Parameters
    ----------
    predictor
        A network that takes conditions.
    window
        The conditions of its target are replaced; its previous images are kept.

    Returns
    -------
    list of Scenario
        The actual conditions come first; the opposite pass comes last, if the heading is known.
    """
    heading = float(window.conditions[-1, HEADING])
    wanted = dict(SCENARIOS)
    if np.isfinite(heading):
        wanted[OPPOSITE_PASS] = {"heading": opposite_heading(heading)}
    hidden = window.with_target(np.full_like(window.target, np.nan))
    windows = [hidden.with_conditions(values) for values in wanted.values()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        images = predictor.expect(windows)
    return [
        Scenario(name, describe_conditions(changed.conditions[-1]), image.mean, window.bands)
        for name, changed, image in zip(wanted, windows, images, strict=True)
    ]


def describe_conditions(row: Float) -> str:
    """Describe a row of conditions as text with units, as ``"7 °C, ascending"``, without NaN."""
    known = {name: float(value) for name, value in zip(COLUMNS, row, strict=True)}
    formats = {
        "temperature": "{:.0f} °C",
        "precipitation_0": "{:.1f} mm a day",
        "snow_depth": "{:.0f} cm of snow",
        "incidence": "{:.0f}° incidence",
    }
    parts = [form.format(known[n]) for n, form in formats.items() if np.isfinite(known[n])]
    if np.isfinite(known["heading"]):
        parts.append(direction_of(known["heading"]))
    return ", ".join(parts)
