"""What a network makes of its task when conditions are kept from it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from sarcast.conditions import COLUMNS, CONDITIONS, condition
from sarcast.errors import SarcastError
from sarcast.windows.window import Expected, Predictor, Window

WEATHER = ("temperature", "snow_depth", "precipitation")
"""The conditions that the weather makes."""
_UNKNOWN = {"heading": np.float32(np.nan), "platform": ""}


def cube_without(cube: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    """Give a cube whose scenes lack some conditions, as if its sources had not told them.

    Parameters
    ----------
    cube
        As ``open_cube`` gives it.
    names
        Conditions, as in ``conditions.CONDITIONS``.

    Raises
    ------
    SarcastError
        If there is no such condition.
    """
    _check(names)
    gone = [name for name in names if name in cube.data_vars]
    blank = {
        name: ("time", np.full_like(cube[name].values, value))
        for name, value in _UNKNOWN.items()
        if name in names and name in cube.coords
    }
    return cube.drop_vars(gone).assign_coords(blank)


def window_without(window: Window, names: Sequence[str]) -> Window:
    """Give a window whose images lack some conditions."""
    rows = window.conditions.copy()
    rows[:, [condition(column) in names for column in COLUMNS]] = np.nan
    return replace(window, conditions=rows)


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
        self._predictor = predictor
        self._names = tuple(names)

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        """Expected image of each window."""
        return self._predictor.expect([window_without(one, self._names) for one in windows])


def _check(names: Sequence[str]) -> None:
    for name in names:
        if name not in CONDITIONS:
            raise SarcastError(f"there is no condition {name!r}; known are {', '.join(CONDITIONS)}")
