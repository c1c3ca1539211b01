"""An area that is processed by blocks: its cube, its intermediate results, and its workers."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcast.arrays import Box, Labels
from sarcast.cube.executor import WorkerOptions, Workers, cores
from sarcast.cube.sharing import open_workers
from sarcast.detection.blocks import (
    Block,
    BlockOptions,
    Sampling,
    Scalar,
    blocks_of,
    each_in_turn,
)
from sarcast.detection.judged import Part
from sarcast.io.boxes import cut, even_side, moved, whole
from sarcast.io.images import grid_of_images
from sarcast.io.memory import release_memory
from sarcast.io.scratch import CHUNK_PX, Array, Scratch
from sarcast.windows import PixelShape

R = TypeVar("R")
T = TypeVar("T")

MOST_BYTES_IN_MEMORY = 2**29
"""Size of a variable of an area of one block up to which it is kept in memory, bytes."""
ITEMS_AT_A_TIME = 2
"""Items, such as replays, whose tasks a cluster is given at a time."""
MOST_WORKERS = 2
"""Default of blocks processed at a time: each takes up to 1 GB."""
MOST_REPLAYED = 2**24
"""Pixels of an area up to which all of it is replayed."""
PIECE_PX = 1024
"""Side of the pieces, at most, in which images of several acquisitions are read."""
SQUARE_PX = 1024
"""Side of the squares that are replayed of a larger area."""
LEAST_JUDGED = 0.1
"""Least share of a square that must be judged, unless a stratum lies nowhere else."""
ENOUGH_PIXELS = 20_000
"""Pixels of a stratum that the squares should have together."""


@dataclass(frozen=True)
class Area:
    """A part of a cube, and how it is processed.

    Attributes
    ----------
    part
        The part with its margin.
    side
        Of a block, pixels.
    scratch
        Where intermediate results are kept; in memory where the area is one block.
    workers
        Who works on the blocks; None for this thread.
    """

    part: Part
    side: int = field(default_factory=lambda: BlockOptions().block)
    scratch: Scratch = field(default_factory=Scratch)
    workers: Workers | None = None

    @property
    def grid(self) -> GeoBox:
        """Grid of the part."""
        return grid_of_images(self.part.cube["backscatter"])

    @property
    def shape(self) -> PixelShape:
        """Rows and columns."""
        rows, columns = self.part.inside.shape
        return rows, columns

    @property
    def is_one_block(self) -> bool:
        """Whether the area is one block."""
        return max(self.shape) <= self.side

    def blocks(self, halo: Sequence[int] = (0, 0), most: int | None = None) -> tuple[Block, ...]:
        """Its blocks, with a halo of so many rows and columns; of a side of ``most`` at most."""
        longest = min(self.side, most or self.side)
        return blocks_of(self.shape, even_side(self.shape, longest, self.scratch.chunk_px), halo)

    @property
    def sampling(self) -> Sampling:
        """The pixels that medians are taken from."""
        return Sampling.of(self.shape[0] * self.shape[1])

    @contextmanager
    def with_scratch(self) -> Iterator[Self]:
        """Give the same area, whose intermediate results are deleted at the end."""
        with self.scratch.part() as scratch:
            yield replace(self, scratch=scratch)

    def each(
        self, task: Callable[..., R], calls: Sequence[tuple[Any, ...]], label: str
    ) -> Iterator[R]:
        """Do a task for each of the calls' arguments, and give the results in their order."""
        for result in (self.workers.each if self.workers else each_in_turn)(task, calls, label):
            release_memory()
            yield result

    def overlapping(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Do for each item what consists of several steps of tasks; give the results in order.

        A cluster is given those of two items at a time: while this process joins what a step of
        one has found, and while the last task of it runs, the workers are at the other.
        """
        if self.workers is None or self.workers.cluster is None:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(ITEMS_AT_A_TIME) as threads:
            futures = [threads.submit(work, item) for item in items]
            try:
                for future in futures:
                    yield future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                self.workers.close()
                raise

    def kept(self, image: npt.NDArray[Scalar]) -> Array:
        """An image of the whole area, dims (y, x), as tasks can carry it."""
        if self.workers is None or self.workers.cluster is None:
            return image
        array = self.scratch.images(image.shape, image.dtype)
        array[...] = image
        return array


@contextmanager
def open_area(part: Part, options: BlockOptions, folder: Path | None = None) -> Iterator[Area]:
    """Prepare a part of a cube: start workers, and make room for intermediate results.

    Parameters
    ----------
    part
        The part with its margin.
    options
        How it is processed.
    folder
        Folder for a new one with the results of an area larger than a block, or of one that a
        cluster works on; it is deleted with the images that are read from it, or after an error.
        Default: that of the system for temporary files.

    Raises
    ------
    SarcastError
        As ``open_workers``.
    """
    area = Area(part, options.block)
    if area.is_one_block and options.scheduler is None:
        yield replace(area, part=in_memory(part))
        return
    scratch = Scratch.new(folder, math.gcd(options.block, CHUNK_PX))
    size = options.workers or min(cores(), MOST_WORKERS)
    try:
        how = WorkerOptions(workers=size, scheduler=options.scheduler)
        with open_workers(part.cube, how, scratch) as (cube, workers):
            part = in_memory(replace(part, cube=cube), images=False)
            yield replace(area, part=part, scratch=scratch, workers=workers)
    except BaseException:
        scratch.remove()
        raise


def in_memory(part: Part, *, images: bool = True) -> Part:
    """Read what is used many times and is small: conditions and, of one block, all images.

    The oracle of a world, which is used once if ever, is not read.

    Parameters
    ----------
    part
        The part.
    images
        Whether images are read: what grows with the area does not belong in memory, and is sent to
        the workers of a cluster.
    """
    cube = part.cube
    most = MOST_BYTES_IN_MEMORY / np.dtype(np.float32).itemsize
    chosen = [
        name
        for name, values in cube.data_vars.items()
        if name != "expected" and values.size <= most and (images or "y" not in values.dims)
    ]
    read = {
        name: _by_date(cube[name]) if name == "backscatter" else cube[name].compute()
        for name in chosen
    }
    return replace(part, cube=cube.assign(read))


def _by_date(images: xr.DataArray) -> xr.DataArray:
    """Read images date by date, since what is read at once is held several times meanwhile."""
    values = np.empty(images.shape, dtype=np.float32)
    by_date = np.moveaxis(values, images.get_axis_num("time"), 0)
    for index in range(images.sizes["time"]):
        by_date[index] = images.isel(time=index).values
    return images.copy(data=values)


@dataclass(frozen=True)
class Plots:
    """The parts of an area that are observed.

    Attributes
    ----------
    blocks
        The parts.
    regions
        Rows and columns that are predicted as one, each with tiles of its own; every block lies in
        one of them.
    sampling
        The pixels that medians are taken from.
    """

    blocks: tuple[Block, ...]
    regions: tuple[Box, ...]
    sampling: Sampling

    @classmethod
    def all_of(cls, area: Area, halo: Sequence[int]) -> Self:
        """All of an area, in blocks with a halo."""
        return cls(area.blocks(halo), (whole(area.shape),), area.sampling)

    @classmethod
    def sample_of(cls, area: Area, strata: Labels) -> Self | None:
        """Squares of a large area, drawn among those that are judged in part; None if it is small.

        For every stratum that they miss, the square with most of it is added. Each square is seen
        as if nothing lay around it.
        """
        if area.shape[0] * area.shape[1] <= MOST_REPLAYED:
            return None
        squares = [*cut(area.shape, SQUARE_PX)]
        groups = int(strata.max(initial=-1)) + 1
        counts = np.array(
            [np.bincount(strata[square].ravel() + 1, minlength=groups + 1) for square in squares]
        )[:, 1:]
        judged = np.flatnonzero(counts.sum(axis=1) > LEAST_JUDGED * SQUARE_PX**2)
        rng = np.random.default_rng(0)
        chosen = set(rng.permutation(judged)[: MOST_REPLAYED // SQUARE_PX**2].tolist())
        for stratum in range(groups):
            if counts[[*chosen], stratum].sum() < ENOUGH_PIXELS:
                chosen.add(int(counts[:, stratum].argmax()))
        drawn = tuple(squares[index] for index in sorted(chosen))
        if not drawn:
            return None
        blocks = tuple(Block(square, square) for square in drawn)
        return cls(blocks, drawn, Sampling.of(len(drawn) * SQUARE_PX**2))

    @property
    def cores(self) -> list[Box]:
        """The parts without halos, in pieces of at most ``PIECE_PX`` a side."""
        return [
            moved(piece, block.core)
            for block in self.blocks
            for piece in cut([part.stop - part.start for part in block.core], PIECE_PX)
        ]

    def sample(
        self, image: npt.NDArray[Scalar], boxes: Sequence[Box] | None = None
    ) -> npt.NDArray[Scalar]:
        """Values of the sampled pixels of an image, dims (y, x): dims (pixel).

        Parameters
        ----------
        image
            Of the whole area.
        boxes
            The parts in the order in which they are sampled; default: those of the blocks.
        """
        boxes = boxes or [block.core for block in self.blocks]
        return np.concatenate([self.sampling.take(image[box], box) for box in boxes])
