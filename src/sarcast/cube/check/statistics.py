"""What each date of a cube holds: read whole, a block at a time, and every chunk looked at."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zarr

from sarcast.arrays import Double, Float
from sarcast.cube.block import Slices
from sarcast.cube.schema import MISSING, SCALE_DB, SHARD
from sarcast.sensor import units

MOST_CELLS = 128
"""Coarse cells along a side of a cube, in which platforms are compared."""


@dataclass(frozen=True)
class Tally:
    """What some blocks of a date hold, one entry a band; tallies of other blocks add up.

    Attributes
    ----------
    count
        Pixels at which something was seen.
    dark, bright
        Pixels of those that hold power of 0 or less, and over ``units.CEILING_DB``.
    total, squares
        Sum of their backscatter and of its square, dB and dB².
    """

    count: npt.NDArray[np.int64]
    dark: npt.NDArray[np.int64]
    bright: npt.NDArray[np.int64]
    total: Double
    squares: Double

    def __add__(self, other: "Tally") -> "Tally":
        mine, theirs = (
            [getattr(one, each.name) for each in fields(Tally)] for one in (self, other)
        )
        return Tally(*map(np.add, mine, theirs))

    @property
    def mean_db(self) -> Double:
        """Mean backscatter, dB; NaN where nothing was seen."""
        return _ratio(self.total, self.count)

    @property
    def spread_db(self) -> Double:
        """Standard deviation, dB; NaN where nothing was seen."""
        variance = _ratio(self.squares, self.count) - self.mean_db**2
        spread: Double = np.sqrt(np.maximum(variance, 0.0))
        return spread


@dataclass(frozen=True)
class DateStatistics:
    """What a date of a cube holds.

    Attributes
    ----------
    time, platform, orbit_direction, relative_orbit
        Its name and view.
    seen
        Share of the area.
    dark, bright
        Shares of what was seen that are power of 0 or less, and over ``units.CEILING_DB``.
    mean_db, spread_db
        Mean and standard deviation by band.
    """

    time: np.datetime64
    platform: str
    orbit_direction: str
    relative_orbit: int
    seen: float
    dark: float
    bright: float
    mean_db: tuple[float, ...]
    spread_db: tuple[float, ...]


def nothing(bands: int) -> Tally:
    """The tally of no block."""
    return Tally(*np.zeros((3, bands), np.int64), *np.zeros((2, bands)))


def _ratio(total: Double, count: npt.NDArray[np.int64]) -> Double:
    mean: Double = np.full(total.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def cell_side(rows: int, columns: int) -> int:
    """Pixels a side of a coarse cell: a power of two, by which a shard can be divided."""
    side = 4
    while max(rows, columns) > MOST_CELLS * side:
        side *= 2
    return min(side, SHARD)


def tally(path: Path, step: int, place: Slices, side: int) -> tuple[Tally, Float]:
    """Read a block of a date.

    Returns
    -------
    Tally
        What it holds.
    ndarray
        Dims (band, cy, cx), mean dB of its coarse cells; NaN where under half of one was seen.

    Raises
    ------
    Exception
        Whatever a codec raises on a damaged chunk.
    """
    packed = np.asarray(
        zarr.open_array(path / "backscatter", mode="r")[(step, slice(None), *place)]
    )
    seen = packed != MISSING
    decibels = np.where(seen, packed, 0) * np.float32(SCALE_DB)
    sums = _cells(decibels, side)
    counts = _cells(seen.astype(np.float32), side)
    whole = counts >= _cells(np.ones(seen.shape, dtype=np.float32), side) / 2.0
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan, np.float32), where=whole)
    axes = (1, 2)
    return Tally(
        seen.sum(axis=axes),
        (seen & (packed <= units.FLOOR_DB / SCALE_DB)).sum(axis=axes),
        (packed > units.CEILING_DB / SCALE_DB).sum(axis=axes),
        decibels.sum(axis=axes, dtype=np.float64),
        np.square(decibels).sum(axis=axes, dtype=np.float64),
    ), means


def _cells(values: Float, side: int) -> Float:
    """Sums over square cells of the last two dims; those at the far edges may be cut off."""
    for axis in (1, 2):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], side), axis=axis)
    return values
