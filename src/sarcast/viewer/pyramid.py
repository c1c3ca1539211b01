"""Tiles and levels of a grid: which pixels a tile shows, and their means.

Level 0 has the pixels of the grid; a pixel of level n is the mean of 2**n x 2**n of them. Tiles
have ``TILE`` pixels a side and are counted from the upper left corner of the grid.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Box, Float
from sarcast.viewer.requests import NotFoundError

TILE = 256
"""Side of a tile, pixels."""


@dataclass(frozen=True)
class Pyramid:
    """Levels of a grid.

    Attributes
    ----------
    rows, columns
        Size of the grid.
    """

    rows: int
    columns: int

    @property
    def levels(self) -> int:
        """Number of levels; the coarsest one is a single tile."""
        longest = max(self.rows, self.columns)
        return 1 + max(0, math.ceil(math.log2(longest / TILE)))

    def shape(self, level: int) -> tuple[int, int]:
        """Rows and columns of a level."""
        return -(-self.rows >> level), -(-self.columns >> level)

    def box(self, level: int, row: int, column: int) -> Box:
        """Rows and columns of a tile, in pixels of its level, cut at the edge of the grid.

        Raises
        ------
        NoSuchTileError
            If there is no such level or tile.
        """
        if not 0 <= level < self.levels:
            raise NoSuchTileError(f"expected a level of 0 to {self.levels - 1}, got {level}")
        rows, columns = self.shape(level)
        down, across = -(-rows // TILE), -(-columns // TILE)
        if not (0 <= row < down and 0 <= column < across):
            raise NoSuchTileError(
                f"expected a tile of {down} rows and {across} columns at level {level}, got row "
                f"{row} and column {column}"
            )
        return (
            slice(row * TILE, min((row + 1) * TILE, rows)),
            slice(column * TILE, min((column + 1) * TILE, columns)),
        )

    def full(self, level: int, box: Box) -> Box:
        """Rows and columns of the grid that a box of a level is made of."""
        rows, columns = (
            slice(part.start << level, min(part.stop << level, side))
            for part, side in zip(box, (self.rows, self.columns), strict=True)
        )
        return rows, columns


class NoSuchTileError(NotFoundError):
    """A tile that was asked for does not exist."""


def means(image: Float, level: int) -> Float:
    """Means of the valid pixels of squares of 2**level pixels, NaN where there is none.

    Parameters
    ----------
    image
        Dims (band, y, x), NaN where there is no data; squares are counted from its upper left
        corner, those at the other edges may be smaller.
    level
        From 0 on.
    """
    side = 1 << level
    if side == 1:
        return image
    rows, columns = image.shape[1:]
    beyond = (-rows % side, -columns % side)
    if any(beyond):
        edges = ((0, 0), (0, beyond[0]), (0, beyond[1]))
        image = np.pad(image, edges, constant_values=np.nan)
    mean = _sums(image, side) / np.float32(side * side)
    if np.isfinite(mean).all():
        return mean
    valid = np.isfinite(image)
    total = _sums(np.where(valid, image, np.float32(0.0)), side)
    count = _sums(valid.astype(np.float32), side)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0.0)


def _sums(image: Float, side: int) -> Float:
    """Sums of squares: first of their rows, which lie in memory one after the other."""
    bands, rows, columns = image.shape
    lines = image.reshape(bands, rows // side, side, columns).sum(axis=2, dtype=np.float32)
    sums: Float = lines.reshape(*lines.shape[:2], columns // side, side).sum(axis=3)
    return sums


@dataclass(frozen=True)
class Sums:
    """Sums of packed values in squares of pixels, from which those of larger squares are made.

    Attributes
    ----------
    total
        Sum of the values of each square, dims (band, y, x).
    count
        Number of them.
    """

    total: npt.NDArray[np.integer]
    count: npt.NDArray[np.integer]

    @classmethod
    def of(cls, packed: npt.NDArray[np.int16], level: int, missing: int) -> Self:
        """Sum squares of 2**level pixels.

        Parameters
        ----------
        packed
            Dims (band, y, x), ``missing`` where there is no data; squares are counted from its
            upper left corner, those at the other edges may be smaller.
        level
            From 0 to 7.
        missing
            Value without data.
        """
        valid = packed != missing
        if valid.all():
            return cls(_square_sums(packed, level, np.int32), _sizes(packed.shape, level))
        known = np.where(valid, packed, np.int16(0))
        return cls(_square_sums(known, level, np.int32), _square_sums(valid, level, np.int32))

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: type[np.integer] = np.int64) -> Self:
        """Sums of nothing, to which others are added."""
        return cls(np.zeros(shape, dtype=dtype), np.zeros(shape, dtype=dtype))

    def add(self, part: "Sums", place: tuple[int, int]) -> None:
        """Add sums that begin at a row and a column; what lies beyond is left out."""
        (top, left), (rows, columns) = place, part.total.shape[-2:]
        here = slice(max(top, 0), top + rows), slice(max(left, 0), left + columns)
        for own, other in ((self.total, part.total), (self.count, part.count)):
            down, across = own[:, *here].shape[1:]
            first = max(-top, 0), max(-left, 0)
            own[:, *here] += other[:, first[0] : first[0] + down, first[1] : first[1] + across]

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        return self.total.nbytes + self.count.nbytes

    def coarser(self, levels: int) -> "Sums":
        """Sums of squares of 2**levels of these squares."""
        if levels == 0:
            return self
        return Sums(*(_square_sums(each, levels, np.int64) for each in (self.total, self.count)))

    def means(self, scale: float) -> Float:
        """Means in units of which a step of the packed values is ``scale``; NaN of no value."""
        mean = np.full(self.total.shape, np.nan)
        np.divide(self.total * scale, self.count, out=mean, where=self.count > 0)
        return mean.astype(np.float32)


def _square_sums(values: npt.NDArray[Any], level: int, dtype: Any) -> npt.NDArray[Any]:
    """Sums of squares of 2**level values, by adding whole lines: faster than by reductions."""
    side = 1 << level
    beyond = (-values.shape[1] % side, -values.shape[2] % side)
    if any(beyond):
        values = np.pad(values, ((0, 0), (0, beyond[0]), (0, beyond[1])))
    bands, rows, columns = values.shape
    lines = values.reshape(bands, rows // side, side, columns)
    sums = lines[:, :, 0].astype(dtype)
    for line in range(1, side):
        sums += lines[:, :, line]
    for _ in range(level):
        sums = sums[..., 0::2] + sums[..., 1::2]
    return sums


def _sizes(shape: tuple[int, ...], level: int) -> npt.NDArray[np.int32]:
    """Number of pixels of each square of 2**level pixels."""
    side = 1 << level
    down, across = (np.diff(np.append(np.arange(0, length, side), length)) for length in shape[1:])
    sizes = np.multiply.outer(down, across).astype(np.int32)
    return np.broadcast_to(sizes, (shape[0], *sizes.shape))


def nearest(image: Float, level: int) -> Float:
    """Every 2**level-th pixel of an image, dims (band, y, x), as overviews of classes have."""
    side = 1 << level
    return image[:, ::side, ::side]


def padded(image: Float) -> Float:
    """A tile of full size: an image, dims (band, y, x), with NaN beyond its lower right edges."""
    if image.shape[1:] == (TILE, TILE):
        return np.ascontiguousarray(image, dtype=np.float32)
    tile = np.full((image.shape[0], TILE, TILE), np.nan, dtype=np.float32)
    tile[:, : image.shape[1], : image.shape[2]] = image
    return tile
