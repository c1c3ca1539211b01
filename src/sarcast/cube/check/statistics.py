"""Statistics of each date of a cube, read block by block so that every chunk is decoded."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zarr

from sarcast.arrays import Double, Float
from sarcast.cube.block import Slices
from sarcast.cube.schema import MISSING, SCALE_DB, SHARD
from sarcast.sensor import units

MAX_CELLS = 128
"""Most coarse cells along a side of a cube; platforms are compared on them."""
LOWEST_DB = -50.0
"""Hardly any backscatter lies below this, dB: see ``values.LOWEST_MEDIAN_DB``."""
HIGHEST_DB = 20.0
"""No scene lies above this in the mean, dB: see ``values.HIGHEST_MEDIAN_DB``."""
NEAR_ZERO_DB = 0.5
"""The frequency of values within this of 0 dB is compared with that of 0 dB itself."""
_FAR_MORE = 10.0
"""Zeros are conspicuous if they are more than so many times as frequent as each value near 0."""


@dataclass(frozen=True)
class PixelStatistics:
    """Pixel statistics of some blocks of a date, one entry a band.

    They are an evaluation state: ``zero`` plus those of each block gives those of the whole date.

    Attributes
    ----------
    count
        Number of valid pixels.
    marker
        Number of valid pixels below ``units.FLOOR_DB``, where values such as -9999 are stored.
    dark
        Number of valid pixels at ``units.FLOOR_DB``, where power of 0 or less is stored.
    low
        Number of other valid pixels below ``LOWEST_DB``.
    bright
        Number of valid pixels over ``units.CEILING_DB``.
    zeros, near_zero
        Number of valid pixels at exactly 0 dB, and of others within ``NEAR_ZERO_DB`` of it.
    total, squares
        Sum of their backscatter and of its square, dB and dB².
    """

    count: npt.NDArray[np.int64]
    marker: npt.NDArray[np.int64]
    dark: npt.NDArray[np.int64]
    low: npt.NDArray[np.int64]
    bright: npt.NDArray[np.int64]
    zeros: npt.NDArray[np.int64]
    near_zero: npt.NDArray[np.int64]
    total: Double
    squares: Double

    @classmethod
    def zero(cls, bands: int) -> "PixelStatistics":
        """The statistics of no block."""
        return cls(*np.zeros((7, bands), np.int64), *np.zeros((2, bands)))

    def __add__(self, other: "PixelStatistics") -> "PixelStatistics":
        names = [each.name for each in fields(PixelStatistics)]
        return PixelStatistics(*(getattr(self, name) + getattr(other, name) for name in names))

    def share(self, kind: str) -> float:
        """Share of the valid pixels of all bands that are ``marker``, ``dark`` and so on, 0..1."""
        return float(getattr(self, kind).sum()) / max(1, int(self.count.sum()))

    @property
    def zero_share(self) -> float:
        """Share of the valid pixels at exactly 0 dB; 0 if no more than smooth values would give."""
        frequent = self.zeros > _FAR_MORE * SCALE_DB / NEAR_ZERO_DB / 2.0 * self.near_zero
        return float(self.zeros[frequent].sum()) / max(1, int(self.count.sum()))

    @property
    def mean_db(self) -> Double:
        """Mean backscatter, dB; NaN without valid pixels."""
        return _ratio(self.total, self.count)

    @property
    def spread_db(self) -> Double:
        """Standard deviation, dB; NaN without valid pixels."""
        variance = _ratio(self.squares, self.count) - self.mean_db**2
        spread: Double = np.sqrt(np.maximum(variance, 0.0))
        return spread


@dataclass(frozen=True)
class DateStatistics:
    """Statistics of a date of a cube.

    Attributes
    ----------
    time, platform, orbit_direction, relative_orbit
        Metadata of the acquisition.
    valid_share
        Share of the area with data, 0..1.
    dark_share, bright_share
        Shares of the valid pixels with power of 0 or less, and over ``units.CEILING_DB``, 0..1.
    mean_db, spread_db
        Mean and standard deviation by band.
    marker_share, low_share, zero_share
        Shares of the valid pixels below ``units.FLOOR_DB``, between it and ``LOWEST_DB``, and at
        exactly 0 dB where these are more frequent than values near them, 0..1.
    """

    time: np.datetime64
    platform: str
    orbit_direction: str
    relative_orbit: int
    valid_share: float
    dark_share: float
    bright_share: float
    mean_db: tuple[float, ...]
    spread_db: tuple[float, ...]
    marker_share: float = 0.0
    low_share: float = 0.0
    zero_share: float = 0.0


def _ratio(total: Double, count: npt.NDArray[np.int64]) -> Double:
    mean: Double = np.full(total.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def cell_side(rows: int, columns: int) -> int:
    """Pixels a side of a coarse cell: a power of two, so that a shard has whole cells."""
    side = 4
    while max(rows, columns) > MAX_CELLS * side:
        side *= 2
    return min(side, SHARD)


def read_block(path: Path, step: int, slices: Slices, side: int) -> tuple[PixelStatistics, Float]:
    """Read a block of a date.

    Returns
    -------
    PixelStatistics
        Of the block.
    ndarray
        Dims (band, cy, cx), mean of its coarse cells, dB; NaN where under half of one is valid.

    Raises
    ------
    Exception
        Whatever a codec raises on a damaged chunk.
    """
    packed = np.asarray(
        zarr.open_array(path / "backscatter", mode="r")[(step, slice(None), *slices)]
    )
    valid = packed != MISSING
    decibels = np.where(valid, packed, 0) * np.float32(SCALE_DB)
    sums = _cell_sums(decibels, side)
    counts = _cell_sums(valid.astype(np.float32), side)
    usable = counts >= _cell_sums(np.ones(valid.shape, dtype=np.float32), side) / 2.0
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan, np.float32), where=usable)
    axes = (1, 2)
    floor = round(units.FLOOR_DB / SCALE_DB)
    zeros = (packed == 0).sum(axis=axes)
    return PixelStatistics(
        valid.sum(axis=axes),
        (valid & (packed < floor)).sum(axis=axes),
        (packed == floor).sum(axis=axes),
        ((packed > floor) & (packed < LOWEST_DB / SCALE_DB)).sum(axis=axes),
        (packed > units.CEILING_DB / SCALE_DB).sum(axis=axes),
        zeros,
        (np.abs(decibels) <= NEAR_ZERO_DB).sum(axis=axes, where=valid) - zeros,
        decibels.sum(axis=axes, dtype=np.float64),
        np.square(decibels).sum(axis=axes, dtype=np.float64),
    ), means


def _cell_sums(values: Float, side: int) -> Float:
    """Sums over square cells of the last two dims; those at the far edges may be smaller."""
    for axis in (1, 2):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], side), axis=axis)
    return values
