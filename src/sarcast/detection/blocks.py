"""Blocks of an area: the parts that are processed at a time, so that memory does not grow.

What is smoothed needs neighbours: a block gives the pixels of its core, from those of its outer
box, which reaches a halo beyond. The cores fill the area without overlap.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sarcast.arrays import Box
from sarcast.cube.executor import SchedulerOptions
from sarcast.io.boxes import cut, wider, within
from sarcast.windows import PixelOffset, PixelShape

Scalar = TypeVar("Scalar", bound=np.generic)

Each = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]], str], Iterable[Any]]
"""Does a task for each of some arguments, and gives the results in their order."""

MOST_SAMPLED = 2**22
"""Pixels of an area, about, that its medians are taken from; of a smaller area, all of them."""


class BlockOptions(SchedulerOptions):
    """How a large area is processed."""

    block: int = Field(
        2048,
        ge=64,
        le=8192,
        description="Side of the blocks that are processed at a time, pixels. An area of up to a "
        "block is kept in memory, a larger one on disk.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Blocks of a large area that are processed at a time, each in up to 1 GB of "
        "memory; default: the number of cores, at most 2.",
    )


@dataclass(frozen=True)
class Block:
    """A part of an area.

    Attributes
    ----------
    core
        Rows and columns of the area that the block gives.
    outer
        Those that it needs.
    """

    core: Box
    outer: Box

    @property
    def first(self) -> PixelOffset:
        """Row and column of the first pixel of the outer box."""
        return self.outer[0].start, self.outer[1].start

    @property
    def inner(self) -> Box:
        """Rows and columns of the core within the outer box."""
        return within(self.core, self.outer)


def blocks_of(shape: PixelShape, side: int, halo: Sequence[int]) -> tuple[Block, ...]:
    """Cut an area into blocks, row by row.

    Parameters
    ----------
    shape
        Rows and columns of the area.
    side
        Of a core, pixels; those at the lower and right edges may be smaller.
    halo
        Rows and columns by which an outer box reaches beyond its core, as far as the area does.
    """
    return tuple(Block(core, wider(core, halo, shape)) for core in cut(shape, side))


def each_in_turn(
    task: Callable[..., Any], calls: Sequence[tuple[Any, ...]], _label: str
) -> Iterator[Any]:
    """Do a task for each of the calls' arguments in this thread."""
    return (task(*arguments) for arguments in calls)


@dataclass(frozen=True)
class Sampling:
    """Evenly spaced pixels of an area, which its medians are taken from.

    Medians of blocks cannot be joined, and those of millions of pixels change little when more are
    added: the same pixels are used however the area is cut.

    Attributes
    ----------
    step
        Rows and columns from one sampled pixel to the next.
    """

    step: int

    @classmethod
    def of(cls, pixels: int) -> "Sampling":
        """Sample about ``MOST_SAMPLED`` of so many pixels, or all."""
        return cls(max(1, int(np.ceil(np.sqrt(pixels / MOST_SAMPLED)))))

    def take(self, images: npt.NDArray[Scalar], box: Box) -> npt.NDArray[Scalar]:
        """Values of the sampled pixels of a box, dims (..., pixel), from dims (..., y, x)."""
        rows, columns = (slice(-part.start % self.step, None, self.step) for part in box)
        sampled = images[..., rows, columns]
        return sampled.reshape(*sampled.shape[:-2], -1)

    def ranks(self, box: Box, shape: PixelShape) -> npt.NDArray[np.intp]:
        """Numbers of the sampled pixels of a box, counted row by row over an area."""
        numbers = [
            np.arange(part.start + -part.start % self.step, part.stop, self.step) for part in box
        ]
        ranks: npt.NDArray[np.intp] = (numbers[0][:, np.newaxis] * shape[1] + numbers[1]).ravel()
        return ranks
