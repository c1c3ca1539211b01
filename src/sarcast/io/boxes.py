"""Boxes: rows and columns of a part of an image, moved, and cut into smaller ones."""

import math
from collections.abc import Iterator, Sequence

from sarcast.arrays import Box


def whole(shape: Sequence[int]) -> Box:
    """The box of all rows and columns of dims (..., y, x)."""
    return slice(0, shape[-2]), slice(0, shape[-1])


def cut(shape: Sequence[int], side: int) -> Iterator[Box]:
    """Cut an image of dims (..., y, x) into squares, row by row; the last ones may be smaller."""
    rows, columns = shape[-2:]
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            yield slice(top, min(top + side, rows)), slice(left, min(left + side, columns))


def even_side(shape: Sequence[int], most: int, unit: int = 1) -> int:
    """Side of the squares that an image is cut into, such that they are as equal as can be.

    Parameters
    ----------
    shape
        Rows and columns of the image.
    most
        Longest side, pixels: no more squares than of this side are needed.
    unit
        What a side that is shorter is a multiple of.
    """
    counts = [math.ceil(pixels / most) for pixels in shape]
    sides = [
        math.ceil(pixels / count / unit) * unit for pixels, count in zip(shape, counts, strict=True)
    ]
    return min(most, max(sides))


def moved(box: Box, place: Box) -> Box:
    """A box within another, in the rows and columns that the other is counted in."""
    rows, columns = (
        slice(start.start + part.start, start.start + part.stop)
        for part, start in zip(box, place, strict=True)
    )
    return rows, columns


def within(box: Box, outer: Box) -> Box:
    """A box in the rows and columns of an outer one, counted from its first."""
    rows, columns = (
        slice(part.start - start.start, part.stop - start.start)
        for part, start in zip(box, outer, strict=True)
    )
    return rows, columns


def wider(box: Box, by: Sequence[int], shape: Sequence[int]) -> Box:
    """A box and so many rows and columns around it, as far as an image of dims (..., y, x) does."""
    rows, columns = (
        slice(max(part.start - margin, 0), min(part.stop + margin, side))
        for part, margin, side in zip(box, by, shape[-2:], strict=True)
    )
    return rows, columns
