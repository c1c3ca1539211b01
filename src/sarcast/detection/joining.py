"""Connected pixels of an image that is cut into blocks, joined where they touch across an edge.

In each block the pixels that are connected within it share a key, a number that no other pixels of
the image have, such as that of their first pixel row by row (``key_of``). Only the keys along the
edges of blocks, and which of them touch, need to meet.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sarcast.arrays import Bool, Box, Labels

CONNECTIVITY = np.ones((3, 3), dtype=int)
"""A pixel is connected to its 8 neighbours."""

Edges = tuple[Labels, ...]
"""Keys in the first and last row and the first and last column of a block; 0 where there is none,
and where no other block follows."""


def key_of(row: int, column: int, columns: int) -> int:
    """Key of connected pixels of which this is the first, row by row: 1 for that of the image."""
    return 1 + row * columns + column


def keyed(mask: Bool, core: Box, shape: Sequence[int]) -> Labels:
    """Give the pixels that are connected within a block the key of their first one.

    Parameters
    ----------
    mask
        Dims (y, x): the pixels of the block.
    core
        Rows and columns of the block in the image.
    shape
        Rows and columns of the image.

    Returns
    -------
    ndarray of int64
        Dims (y, x); 0 outside of the mask.
    """
    labels, count = ndimage.label(mask, CONNECTIVITY)
    flat = np.flatnonzero(labels)[::-1]  # of each label, the first pixel is written last
    first = np.zeros(count + 1, dtype=np.int64)
    first[labels.ravel()[flat]] = flat
    rows, columns = np.divmod(first, mask.shape[1])
    keys = 1 + (core[0].start + rows) * shape[1] + core[1].start + columns
    keys[0] = 0
    found: Labels = keys[labels]
    return found


def edges_of(image: Labels, core: Box, shape: Sequence[int]) -> Edges:
    """Take the values of a block along its edges; 0 where no other block follows.

    Parameters
    ----------
    image
        Dims (y, x): of the block.
    core, shape
        As in ``keyed``.
    """
    rows, columns = core
    edges = image[0], image[-1], image[:, 0], image[:, -1]
    ends = rows.start > 0, rows.stop < shape[0], columns.start > 0, columns.stop < shape[1]
    return tuple(np.where(follows, edge, 0) for edge, follows in zip(edges, ends, strict=True))


def joined(
    keys: Sequence[int], cores: Sequence[Box], edges: Sequence[Edges], shape: Sequence[int]
) -> list[list[int]]:
    """Group the keys of pixels that are connected across the edges of blocks.

    Parameters
    ----------
    keys
        Of all blocks.
    cores, edges
        Rows and columns of each block, and the keys along its edges.
    shape
        Rows and columns of the image.

    Returns
    -------
    list
        Keys of each group, ascending; groups by their first key.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    order = np.sort(np.array(keys, dtype=np.int64))
    ends = np.searchsorted(order, _touching(cores, edges, shape))
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(order),) * 2)
    _, groups = connected_components(links, directed=False)
    by_group: dict[int, list[int]] = {}
    for key, group in zip(order.tolist(), groups.tolist(), strict=True):
        by_group.setdefault(group, []).append(key)
    return list(by_group.values())


def _touching(
    cores: Sequence[Box], edges: Sequence[Edges], shape: Sequence[int]
) -> npt.NDArray[np.int64]:
    """Pairs of keys whose pixels touch across the edges of blocks, dims (pair, 2)."""
    lines: dict[tuple[bool, int], npt.NDArray[np.int64]] = {}
    for (rows, columns), parts in zip(cores, edges, strict=True):
        keys = (
            (False, rows.start),
            (False, rows.stop - 1),
            (True, columns.start),
            (True, columns.stop - 1),
        )
        along = columns, columns, rows, rows
        for key, edge, part in zip(keys, parts, along, strict=True):
            line = lines.setdefault(key, np.zeros(shape[0 if key[0] else 1], dtype=np.int64))
            line[part] = np.where(edge != 0, edge, line[part])
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for (is_column, position), line in lines.items():
        other = lines.get((is_column, position + 1))
        if other is not None:
            pairs += [np.stack(pair, axis=1) for pair in _neighbours(line, other)]
    found = np.concatenate(pairs)
    touching: npt.NDArray[np.int64] = found[(found != 0).all(axis=1)]
    return touching


def _neighbours(line: Labels, other: Labels) -> list[tuple[Labels, Labels]]:
    """Each pixel of a row or column with the three next to it in the next one."""
    return [(line, other), (line[1:], other[:-1]), (line[:-1], other[1:])]
