"""Tiles and levels of a grid: which pixels a tile shows, and their means.

Level 0 has the pixels of the grid; a pixel of level n is the mean of 2**n x 2**n of them. Tiles
have ``TILE`` pixels a side and are counted from the upper left corner of the grid.
"""

import math
from dataclasses import dataclass

import numpy as np

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
