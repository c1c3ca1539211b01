"""Random fields of many worlds at once: smooth noise in octaves, and patchworks of cells."""

import functools
import math
import zlib
from collections.abc import Sequence

import torch
from torch.nn import functional

Size = tuple[int, int]
Box = tuple[slice, slice]
"""Rows and columns of a part of a field."""
WHOLE: Box = (slice(None), slice(None))


def normal(*shape: int, rng: torch.Generator) -> torch.Tensor:
    """Draw standard normal numbers on the generator's device, float32."""
    return torch.randn(shape, generator=rng, device=rng.device)


def branch(rng: torch.Generator, name: str) -> torch.Generator:
    """Return a generator of its own for one purpose; the numbers of ``rng`` stay as they are."""
    own = torch.Generator(rng.device)
    return own.manual_seed((rng.initial_seed() + zlib.crc32(name.encode())) % 2**63)


def smooth(
    lead: Sequence[int],
    size: Size,
    nodes: Size,
    *,
    part: Box = WHOLE,
    rng: torch.Generator,
) -> torch.Tensor:
    """Draw noise with a length scale of ``size / nodes`` pixels, mean 0 and variance 1.

    Parameters
    ----------
    lead
        Leading dims, one field for each element.
    size
        Rows and columns of the field, pixels.
    nodes
        Rows and columns of the coarse grid that is interpolated, 1 or more each.
    part
        Rows and columns of the field that are returned.
    rng
        Random generator; its device is that of the result.

    Returns
    -------
    Tensor
        Dims (*lead, y, x), float32.
    """
    rows, columns = (min(node + 3, pixels + 1) for node, pixels in zip(nodes, size, strict=True))
    coarse = normal(math.prod(lead), 1, rows, columns, rng=rng)
    # one node beyond each border, so that the field is not smoother there
    down = _row_weights(size[0], rows, rng.device)[part[0]]
    right = _row_weights(size[1], columns, rng.device)[part[1]]
    return (down @ coarse @ right.mT).reshape(*lead, len(down), len(right))


def octaves(
    lead: Sequence[int],
    size: Size,
    nodes: Size,
    count: int,
    *,
    gain: float = 0.5,
    rng: torch.Generator,
) -> torch.Tensor:
    """Draw the sum of ``count`` smooth fields, each twice as fine and ``gain`` times as strong.

    The variance of the sum is 1.
    """
    total = torch.zeros((*lead, *size), device=rng.device)
    for octave in range(count):
        finer = (nodes[0] << octave, nodes[1] << octave)
        total += gain**octave * smooth(lead, size, finer, rng=rng)
    return total / math.sqrt(sum(gain ** (2 * octave) for octave in range(count)))


@functools.lru_cache(maxsize=64)
def _row_weights(pixels: int, nodes: int, device: torch.device) -> torch.Tensor:
    """Cubic B-spline weights, dims (pixel, node), rows of unit Euclidean length."""
    position = (torch.arange(pixels, device=device) + 0.5) / pixels * (nodes - 3) + 1.0
    distance = (position[:, None] - torch.arange(nodes, device=device)).abs()
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = (2.0 - distance).clamp(min=0.0) ** 3 / 6.0
    return functional.normalize(torch.where(distance < 1.0, near, far), dim=1)


def cells(size: Size, cell: torch.Tensor, *, rng: torch.Generator) -> tuple[torch.Tensor, Size]:
    """Divide the area into irregular cells, like stands of trees and parcels of land.

    Each pixel belongs to the nearest of the four seeds in the grid squares around it (a Voronoi
    diagram of a jittered grid), after its coordinates were warped smoothly.

    Parameters
    ----------
    size
        Rows and columns, pixels.
    cell
        Dims (world), pixels: size of a cell in each world, 4 or more.

    Returns
    -------
    labels : Tensor of int64
        Dims (world, y, x): number of the cell, row by row in the grid of ``shape``.
    shape : tuple of int
        Rows and columns of the grid of cells.
    """
    worlds = len(cell)
    shape = tuple(math.ceil(pixels / float(cell.min())) + 4 for pixels in size)
    seeds = torch.rand(worlds, 2, shape[0] * shape[1], generator=rng, device=rng.device)
    warp = 0.35 * smooth((worlds, 2), size, (max(2, size[0] // 20), max(2, size[1] // 20)), rng=rng)
    grid = torch.stack(
        torch.meshgrid(*(torch.arange(n, device=rng.device) for n in size), indexing="ij")
    )
    position = (grid / cell[:, None, None, None] + 2.0 + warp).clamp(min=1.0)
    limit = torch.tensor(shape, device=rng.device)[:, None, None] - 2.0
    position = torch.minimum(position, limit)
    return _nearest_seed(position, seeds, shape[1]), (shape[0], shape[1])


def _nearest_seed(position: torch.Tensor, seeds: torch.Tensor, columns: int) -> torch.Tensor:
    corner = torch.floor(position - 0.5).long()
    best = torch.full_like(position[:, 0], torch.inf)
    label = torch.zeros_like(corner[:, 0])
    for down in (0, 1):
        for right in (0, 1):
            row, column = corner[:, 0] + down, corner[:, 1] + right
            number = row * columns + column
            seed_y, seed_x = (lookup(seeds[:, axis], number) for axis in (0, 1))
            squared = (row + seed_y - position[:, 0]) ** 2 + (column + seed_x - position[:, 1]) ** 2
            label = torch.where(squared < best, number, label)
            best = torch.minimum(best, squared)
    return label


def lookup(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Look up each pixel's cell: ``values`` (world, cell), ``labels`` (world, y, x)."""
    return values.gather(1, labels.flatten(1)).reshape(labels.shape)
