"""A tiny cube in which a square changes, and monitoring of it that takes a fraction of a second."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sarcast.monitoring.monitor import Monitored, monitor
from sarcast.prediction.strategies import STRATEGIES
from small_changes import FOREST_DB, LOOKS, as_cube

SIDE, DATES = 40, 18
START = 12
"""Index of the first acquisition that is processed."""
FIRST = 14
"""Index of the first acquisition with the change."""
STEP = np.timedelta64(6, "D")
LAST = np.datetime64("2021-06-20T04:51:02", "ns")
SQUARE = (slice(16, 24), slice(14, 22))
SETTINGS: dict[str, Any] = {
    "acquisitions": 2, "previous": 4, "replays": 3, "strata": 1, "outside": (), "misses": 2,
    "min_area": 0.3, "false_events": 100.0,
}  # fmt: skip
MEAN = STRATEGIES["mean"]


def times(dates: int = DATES) -> np.ndarray:
    """Every six days; the last one is the same for the full number of dates only."""
    first = LAST - (DATES - 1) * STEP
    return first + np.arange(dates) * STEP


def day(index: int) -> str:
    return str(times()[index].astype("datetime64[D]"))


def alert_cube(dates: int = DATES, *, until: int = DATES, shift_db: float = -8.0) -> xr.Dataset:
    """A cube of speckle; the square is lower from date ``FIRST`` until before date ``until``."""
    rng = np.random.default_rng(3)
    mean = np.broadcast_to(np.array(FOREST_DB)[:, None, None], (DATES, 2, SIDE, SIDE))
    values = mean + 10.0 * np.log10(rng.gamma(LOOKS, 1.0 / LOOKS, mean.shape))
    values[FIRST:until, :, SQUARE[0], SQUARE[1]] += shift_db
    by_time = {
        "platform": np.full(DATES, "sentinel-1a"),
        "orbit_direction": np.full(DATES, "descending"),
        "scene_id": np.array([f"scene {index}" for index in range(DATES)]),
    }
    cube = as_cube(values).assign_coords(
        time=times(), **{name: ("time", column) for name, column in by_time.items()}
    )
    return cube.isel(time=slice(0, dates))


def watch(cube: xr.Dataset, to: Path, **settings: Any) -> Monitored:
    """Monitor by the mean of previous images."""
    return monitor(cube, MEAN, to=to, **{**SETTINGS, "start": day(START), **settings})
