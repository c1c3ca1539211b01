"""Weather of a cube's time steps, read for a part of the dates at a time."""

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcast.arrays import Float
from sarcast.cube.store import Store
from sarcast.errors import SarcastError
from sarcast.ingest.weather import Weather
from sarcast.io.grid import conditions_grid
from sarcast.sensor.conditions import LAGS

_WEATHER_MIB = 64
"""Most weather in memory at a time, MiB."""


class StepWeather:
    """Weather of the stored steps and of those to be added, read once, a part of them at a time.

    Parameters
    ----------
    source
        The weather; None if there is none.
    grid
        Grid of the cube.
    times
        Times of the stored steps, then of those to be added.
    """

    def __init__(
        self, source: Weather | None, grid: GeoBox, times: Sequence[np.datetime64]
    ) -> None:
        self._source = source
        self._grid, self._times = conditions_grid(grid), times
        cells = self._grid.shape[0] * self._grid.shape[1]
        self._size = max(1, _WEATHER_MIB * 2**20 // (cells * 4 * (LAGS + 2)))
        self._start, self._part = -1, xr.Dataset()

    def check(self) -> None:
        """Make sure that the weather has a value in the area on any date.

        Raises
        ------
        SarcastError
            If it has none.
        """
        if self._source is None or not self._times:
            return
        for start in range(0, len(self._times), self._size):
            part = self._part_with(start)
            if any(np.isfinite(part[name].values).any() for name in part):
                return
        dates = " to ".join(str(end(self._times))[:10] for end in (min, max))
        raise SarcastError(
            f"the weather {self._source.names} has no value in the area on any of the "
            f"{len(self._times)} dates from {dates} (its own times run from "
            f"{self._source.period}): give weather of this area and time, or leave out --weather"
        )

    def parts(self, steps: int) -> Iterator[tuple[slice, xr.Dataset]]:
        """Slices of the first ``steps`` steps and their weather; nothing without a source."""
        if self._source is not None:
            for start in range(0, steps, self._size):
                stop = min(steps, start + self._size)
                yield slice(start, stop), self._part_with(start).isel(time=slice(0, stop - start))

    def layers(self, step: int) -> dict[str, Float]:
        """Weather of a step by variable, dims ([lag,] cy, cx); empty without a source."""
        if self._source is None:
            return {}
        part = self._part_with(step)
        return {str(name): part[name].values[step - self._start] for name in part}

    def _part_with(self, step: int) -> xr.Dataset:
        start = step - step % self._size
        if start != self._start:
            assert self._source is not None
            times = self._times[start : start + self._size]
            self._start, self._part = start, self._source.read(self._grid, times)
        return self._part

    def summarise(self) -> None:
        """Close the files, and report which weather is missing."""
        if self._source is not None:
            self._source.close()
            self._source.summarise()


def write_weather(store: Store, weather: StepWeather) -> None:
    """Write the weather of the stored steps; where it is missing, stored values are kept."""
    for steps, part in weather.parts(store.steps):
        for name in part:
            store.write_known(str(name), part[name].values, steps)
