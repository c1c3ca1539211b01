"""What a network makes of its task when conditions are kept from it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from sarcast.errors import SarcastError
from sarcast.sensor.conditions import CONDITIONS, column_indices
from sarcast.windows.window import Expected, Predictor, Window


def window_without(window: Window, names: Sequence[str]) -> Window:
    """Give a window whose images lack some conditions."""
    rows = window.conditions.copy()
    rows[:, column_indices(names)] = np.nan
    return replace(window, conditions=rows)


class Sampler(Protocol):
    """Whatever windows for training can be drawn from: cubes, or imported samples."""

    def draw(self, count: int, *, rng: np.random.Generator) -> list[Window]:
        """So many windows."""
        ...


class BlindSampler:
    """Windows of a sampler, without some conditions."""

    def __init__(self, sampler: Sampler, names: Sequence[str]) -> None:
        _check(names)
        self._sampler = sampler
        self._names = tuple(names)

    def draw(self, count: int, *, rng: np.random.Generator) -> list[Window]:
        """So many windows."""
        return [window_without(w, self._names) for w in self._sampler.draw(count, rng=rng)]


class Without:
    """A predictor from which some conditions are kept.

    Parameters
    ----------
    predictor
        Whose expected images are wanted.
    names
        Conditions that it is not told.
    name
        As it stands in tables; by default that of the predictor and of the conditions.
    """

    def __init__(self, predictor: Predictor, names: Sequence[str], name: str | None = None) -> None:
        _check(names)
        self.name = name or f"{predictor.name} without {', '.join(names)}"
        self.size = predictor.size
        self.previous = predictor.previous
        self.training = getattr(predictor, "training", {})
        self._predictor = predictor
        self._names = tuple(names)

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        """Expected image of each window."""
        return self._predictor.expect([window_without(one, self._names) for one in windows])


def _check(names: Sequence[str]) -> None:
    for name in names:
        if name not in CONDITIONS:
            raise SarcastError(f"there is no condition {name!r}; known are {', '.join(CONDITIONS)}")
