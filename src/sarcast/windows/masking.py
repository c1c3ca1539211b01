"""Windows, samplers and predictors without some of the conditions.

For example, a network that is trained and evaluated without weather: its sampler and its predictor
both set temperature, precipitation and snow depth to missing (NaN) in every image.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sarcast.errors import SarcastError
from sarcast.sensor.conditions import CONDITIONS, column_indices
from sarcast.windows.sampler import Sampler
from sarcast.windows.window import Expected, Predictor, TrainedPredictor, Window


def mask_conditions(window: Window, names: Sequence[str]) -> Window:
    """Return a window in which some conditions of all images are missing."""
    rows = window.conditions.copy()
    rows[:, column_indices(names)] = np.nan
    return replace(window, conditions=rows)


class MaskedSampler:
    """A sampler whose windows lack some conditions."""

    def __init__(self, sampler: Sampler, names: Sequence[str]) -> None:
        _check(names)
        self._sampler = sampler
        self._names = tuple(names)

    def draw(self, count: int, *, rng: np.random.Generator) -> list[Window]:
        """Draw ``count`` windows."""
        windows = self._sampler.draw(count, rng=rng)
        return [mask_conditions(window, self._names) for window in windows]


class MaskedPredictor:
    """A predictor that does not get some of the conditions.

    Parameters
    ----------
    predictor
        The predictor of the expected images.
    names
        Conditions that are masked before each prediction.
    name
        Name in tables; by default that of the predictor and of the conditions.
    """

    def __init__(self, predictor: Predictor, names: Sequence[str], name: str | None = None) -> None:
        _check(names)
        self.name = name or f"{predictor.name} without {', '.join(names)}"
        self.size = predictor.size
        self.previous = predictor.previous
        self.uses_target = predictor.uses_target
        self.training = predictor.training if isinstance(predictor, TrainedPredictor) else {}
        self._predictor = predictor
        self._names = tuple(names)

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        """Return the expected image of each window."""
        masked = [mask_conditions(window, self._names) for window in windows]
        return self._predictor.expect(masked)


def _check(names: Sequence[str]) -> None:
    for name in names:
        if name not in CONDITIONS:
            raise SarcastError(f"there is no condition {name!r}; known are {', '.join(CONDITIONS)}")
