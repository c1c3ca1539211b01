"""Windows drawn at random from cubes, for training."""

from collections.abc import Sequence
from copy import copy
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import xarray as xr

from sarcast.arrays import Times
from sarcast.errors import SarcastError
from sarcast.windows.bands import join_names
from sarcast.windows.cut import MIN_VALID_SHARE, CubeReader
from sarcast.windows.options import Chooser
from sarcast.windows.previous import target_dates
from sarcast.windows.window import BANDS, Window

MAX_ATTEMPTS = 2000
"""Offsets and dates tried for one window before the data is taken to have none."""
IN_MEMORY_BYTES = 2**31
"""Backscatter of a cube up to this size is read once and kept for training."""


class Sampler(Protocol):
    """Whatever windows for training can be drawn from: cubes, or imported samples."""

    def draw(self, count: int, *, rng: np.random.Generator) -> list[Window]:
        """Draw ``count`` windows."""
        ...


class WindowSampler:
    """Random windows of one or several cubes.

    Parameters
    ----------
    cubes
        The cubes.
    targets
        For each cube, indices on ``time`` of the dates that may be targets (``target_dates``).
    size
        Rows and columns of a window.
    previous
        Number of previous images.
    chooser
        Which previous images, as in ``rank_previous``.

    Raises
    ------
    SarcastError
        If no date may be a target.
    """

    def __init__(
        self,
        cubes: Sequence[xr.Dataset],
        targets: Sequence[npt.NDArray[np.intp]],
        *,
        size: int,
        previous: int,
        chooser: Chooser,
    ) -> None:
        if sum(len(indices) for indices in targets) == 0:
            dates = ", ".join(str(cube.sizes["time"]) for cube in cubes)
            raise SarcastError(
                f"training data with no valid window: a target needs {previous} previous images, "
                f"but no date of the chosen ones has them (the cubes have {dates} dates); "
                f"add dates, or train a network that needs fewer"
            )
        self.sources = [
            _reader_of_both_bands(cube, in_memory=cube["backscatter"].size * 4 <= IN_MEMORY_BYTES)
            for cube in cubes
        ]
        self.targets = targets
        self.size = size
        self.previous = previous
        self.chooser = chooser
        self.horizon = 0

    def with_targets(self, targets: Sequence[npt.NDArray[np.intp]]) -> Self:
        """Return a sampler of the same cubes with other target dates; they are not read again."""
        other = copy(self)
        other.targets = targets
        return other

    def with_latest(self, previous: int) -> Self:
        """Return a sampler whose previous images are so many of the latest ones."""
        other = copy(self)
        other.previous, other.chooser, other.horizon = previous, "recent", 0
        return other

    def with_horizon(self, acquisitions: int) -> Self:
        """Return a sampler that leaves out up to so many of the latest images before a target.

        The number left out is drawn for each window, uniformly from 0 on. It is lower where fewer
        than ``previous`` images would remain.
        """
        other = copy(self)
        other.horizon = acquisitions
        return other

    def dates(self) -> list[str]:
        """Return the first and the last date of the targets, ISO 8601."""
        pairs = zip(self.sources, self.targets, strict=True)
        times = np.concatenate([source.times[indices] for source, indices in pairs])
        return [str(np.datetime_as_string(time, unit="D")) for time in (times.min(), times.max())]

    def draw(self, count: int, *, rng: np.random.Generator) -> list[Window]:
        """Draw windows, independently of each other.

        Raises
        ------
        SarcastError
            If no offset and date was found for which enough images have data.
        """
        return [self._draw(rng) for _ in range(count)]

    def _draw(self, rng: np.random.Generator) -> Window:
        size = (self.size, self.size)
        pixel_dates = np.array(
            [
                len(indices) * source.shape[0] * source.shape[1]
                for indices, source in zip(self.targets, self.sources, strict=True)
            ]
        )
        for _ in range(MAX_ATTEMPTS):
            cube = int(rng.choice(len(self.sources), p=pixel_dates / pixel_dates.sum()))
            source = self.sources[cube]
            target = int(rng.choice(self.targets[cube]))
            row, column = (
                int(rng.integers(max(pixels - self.size, 0) + 1)) for pixels in source.shape
            )
            if source.valid_share(target, (row, column), size) < MIN_VALID_SHARE:
                continue
            previous = source.choose_previous(
                target,
                (row, column),
                size,
                self.previous,
                chooser=self.chooser,
                before=self._baseline_end(source.times, target, rng),
            )
            if len(previous) == self.previous:
                return source.cut(target, (row, column), size, previous)
        shapes = ", ".join(
            f"{rows} x {columns}" for rows, columns in {s.shape for s in self.sources}
        )
        raise SarcastError(
            f"training data with no valid window: no {self.size} x {self.size} pixels have data in "
            f"a target and {self.previous} previous images in cubes of {shapes} pixels; "
            f"use smaller windows, more dates, or fewer previous images"
        )

    def _baseline_end(
        self, times: Times, target: int, rng: np.random.Generator
    ) -> np.datetime64 | None:
        """Draw the time before which the previous images lie; None for the target's."""
        earlier = np.sort(times[times < times[target]])
        most = min(self.horizon, len(earlier) - self.previous)
        left_out = int(rng.integers(most + 1)) if most > 0 else 0
        return earlier[-left_out] if left_out else None


def _reader_of_both_bands(cube: xr.Dataset, *, in_memory: bool) -> CubeReader:
    reader = CubeReader.from_cube(cube, in_memory=in_memory)
    if reader.bands != BANDS:
        raise SarcastError(
            f"a network is trained on {join_names(BANDS)}, but the cube has "
            f"{join_names(reader.bands)}; train on a cube with both, or use a network that was "
            f"trained elsewhere, such as base, on this one"
        )
    return reader


def split_by_date(
    cubes: Sequence[xr.Dataset],
    *,
    size: int,
    previous: int,
    share: float,
    chooser: Chooser,
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
) -> tuple[WindowSampler, WindowSampler]:
    """Make a sampler for training and one for validation, of each cube's last target dates.

    Parameters
    ----------
    cubes, size, previous, chooser
        As in ``WindowSampler``.
    share
        Share of the target dates of each cube for validation, above 0 and below 1.
    start, end
        First and last acquisition time of a target; None for no bound.

    Raises
    ------
    SarcastError
        If a cube has fewer than two target dates.
    """
    early, late = [], []
    for cube in cubes:
        targets = target_dates(cube, previous, start=start, end=end)
        kept = min(max(len(targets) - round(len(targets) * share), 1), len(targets) - 1)
        if kept < 1:
            bounds = ["the first" if start is None else start, "the last" if end is None else end]
            raise SarcastError(
                f"training needs at least 2 target dates with {previous} previous images each, one "
                f"to train and one to validate, but a cube of {cube.sizes['time']} dates has "
                f"{len(targets)} from {bounds[0]} to {bounds[1]}"
            )
        early.append(targets[:kept])
        late.append(targets[kept:])
    training = WindowSampler(cubes, early, size=size, previous=previous, chooser=chooser)
    return training, training.with_targets(late)
