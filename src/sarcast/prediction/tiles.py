"""Tiles: an area is predicted in overlapping squares, which are blended where they are read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Bool, Box, Float
from sarcast.io.boxes import cut
from sarcast.io.scratch import Array, Scratch
from sarcast.windows import Expected, PixelOffset, PixelShape


class TileOptions(BaseModel):
    """How a cube is cut into tiles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tile: int = Field(
        512,
        ge=16,
        le=8192,
        description="Side of a tile in pixels, for predictors that take any size.",
    )
    overlap: float = Field(
        0.25,
        ge=0.0,
        le=0.75,
        description="Share of a tile that overlaps its neighbour in each direction.",
    )


@dataclass(frozen=True)
class Tiling:
    """The tiles of some regions of a cube; regions share none.

    Attributes
    ----------
    regions
        Rows and columns of each.
    size
        Side of a tile, pixels.
    offsets
        Row and column of each tile, region by region, row by row.
    counts
        Number of tiles of each region.
    """

    regions: tuple[Box, ...]
    size: int
    offsets: tuple[PixelOffset, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, regions: Sequence[Box], options: TileOptions, only_size: int | None) -> "Tiling":
        """Cut regions into tiles, of the size that the predictor takes if it takes one alone."""
        longest = max(part.stop - part.start for region in regions for part in region)
        size = only_size or min(options.tile, longest)
        offsets = [list(_offsets(region, size, options.overlap)) for region in regions]
        return cls(tuple(regions), size, sum(map(tuple, offsets), ()), tuple(map(len, offsets)))

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.offsets)

    @property
    def has_seams(self) -> bool:
        """Whether tiles meet within a region."""
        return max(self.counts) > 1

    def region_of(self, box: Box) -> int:
        """Number of the region that a box lies in."""
        return next(
            number
            for number, region in enumerate(self.regions)
            if all(
                a.start <= b.start and b.stop <= a.stop for a, b in zip(region, box, strict=True)
            )
        )

    def region_of_tile(self, tile: int) -> int:
        """Number of the region of a tile."""
        return int(np.searchsorted(np.cumsum(self.counts), tile, side="right"))

    def groups(self, side: int) -> list[list[list[int]]]:
        """Squares of at most ``side`` x ``side`` neighbouring tiles: their numbers, row by row."""
        found = []
        for region in range(len(self.regions)):
            tiles = self.tiles_of(region)
            columns = len({self.offsets[tile][1] for tile in tiles})
            numbers = np.reshape(tiles, (-1, columns))
            found += [numbers[box].tolist() for box in cut(numbers.shape, side)]
        return found

    def around(self, tiles: Sequence[int]) -> tuple[PixelOffset, PixelShape]:
        """Row and column of the upper left pixel of some tiles; rows and columns of all of them."""
        offsets = np.array([self.offsets[tile] for tile in tiles])
        first, last = offsets.min(axis=0), offsets.max(axis=0) + self.size
        (row, column), (rows, columns) = first.tolist(), (last - first).tolist()
        return (row, column), (rows, columns)

    def tiles_of(self, region: int) -> range:
        """Numbers of the tiles of a region."""
        first = sum(self.counts[:region])
        return range(first, first + self.counts[region])


@dataclass(frozen=True)
class Written:
    """What was predicted of a tile: bands with data, dims (band), and whether with deviations."""

    tile: int
    bands: Bool
    has_std: bool


@dataclass
class Blend:
    """Tiles of several targets, and their means where they overlap.

    Tiles are weighted by the distance of a pixel to their edges.

    Attributes
    ----------
    tiling
        Which tiles.
    layers
        Dims (tile, target, 2, band, y, x): expected image and standard deviation; NaN where
        nothing is predicted.
    """

    tiling: Tiling
    layers: Array
    has_std: bool = False
    predicted: set[int] = field(default_factory=set)
    bands: Bool = field(init=False)

    @classmethod
    def of(cls, tiling: Tiling, targets: int, bands: int, scratch: Scratch) -> "Blend":
        """Make one without tiles."""
        tile = (targets, 2, bands, tiling.size, tiling.size)
        image = (1, 1, 1, *tile[2:])  # what is written at a time
        return cls(tiling, scratch.array((len(tiling), *tile), np.float32, image))

    def __post_init__(self) -> None:
        """Start without bands."""
        self.bands = np.zeros(self.layers.shape[3], dtype=bool)

    def write(self, tile: int, target: int, expected: Expected) -> Written:
        """Write the expected image of one tile, in any process; ``note`` then makes it known."""
        self.layers[tile, target, 0] = expected.mean
        if expected.std is not None:
            self.layers[tile, target, 1] = expected.std
        bands: Bool = np.asarray(np.isfinite(expected.mean).any(axis=(1, 2)))
        return Written(tile, bands, expected.std is not None)

    def note(self, written: Written) -> None:
        """Count a tile as predicted."""
        self.has_std |= written.has_std
        self.bands |= written.bands
        self.predicted.add(written.tile)

    def read(self, box: Box) -> tuple[Float, Float]:
        """Expected image and standard deviation of a part of a region.

        Returns
        -------
        mean, std
            Dims (target, band, y, x); ``std`` is NaN where the predictor gives none.
        """
        shape = [part.stop - part.start for part in box]
        targets, _, bands, *_ = self.layers.shape[1:]
        total = np.zeros((1 + self.has_std, targets, bands, *shape), dtype=np.float32)
        weight = np.zeros(total.shape[1:], dtype=np.float32)
        for tile in self.tiling.tiles_of(self.tiling.region_of(box)):
            if tile in self.predicted and (found := self._overlap(tile, box)):
                self._add_part(total, weight, tile, *found)
        known = weight > 0.0
        mean, *deviations = (
            np.divide(each, weight, out=np.full_like(each, np.nan), where=known) for each in total
        )
        return mean, deviations[0] if deviations else np.full_like(mean, np.nan)

    def _overlap(self, tile: int, box: Box) -> tuple[Box, Box] | None:
        """Rows and columns that a tile and a box share, counted in the tile and in the box."""
        in_tile, in_box = [], []
        for start, part in zip(self.tiling.offsets[tile], box, strict=True):
            first, last = max(start, part.start), min(start + self.tiling.size, part.stop)
            if first >= last:
                return None
            in_tile.append(slice(first - start, last - start))
            in_box.append(slice(first - part.start, last - part.start))
        return (in_tile[0], in_tile[1]), (in_box[0], in_box[1])

    def _add_part(self, total: Float, weight: Float, tile: int, in_tile: Box, in_box: Box) -> None:
        images = self.layers[(tile, slice(None), slice(len(total)), ..., *in_tile)]
        finite = np.isfinite(images)
        part: Float = self._weights[in_tile]
        if not finite.all():
            part = np.where(finite[:, 0], part, np.float32(0.0))
            images = np.where(finite, images, np.float32(0.0))
        inside = (..., *in_box)
        for sums, image in zip(total, np.moveaxis(images, 1, 0), strict=True):
            sums[inside] += part * image
        weight[inside] += part

    @cached_property
    def _weights(self) -> Float:
        size = self.tiling.size
        ramp = np.minimum(np.arange(size) + 1, size - np.arange(size)).astype(np.float32)
        weights: Float = np.outer(ramp, ramp) / ramp.max() ** 2
        return weights


@dataclass(frozen=True)
class BlendLayer:
    """The expected image or the standard deviation of tiles, as an array that is read by parts.

    Attributes
    ----------
    blend
        The tiles.
    number
        0 for the expected image, 1 for the standard deviation.
    bands
        Indices of the bands.
    size
        Rows and columns.
    """

    blend: Blend
    number: int
    bands: npt.NDArray[np.intp]
    size: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Targets, bands, rows and columns."""
        return self.blend.layers.shape[1], len(self.bands), *self.size

    def __getitem__(self, key: Any) -> Any:
        """Read a part, by slices and indices of all dims."""
        targets, bands, rows, columns = map(_as_slice, key, self.shape)
        box = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
        image = self.blend.read(box)[self.number][:, self.bands]
        part = image[targets, bands, :: rows.step, :: columns.step]
        return part[tuple(slice(None) if isinstance(each, slice) else 0 for each in key)]


def _as_slice(key: Any, side: int) -> slice:
    """An index or a slice as a slice from its first to beyond its last element."""
    if isinstance(key, slice):
        return slice(*key.indices(side))
    first = int(key) % side
    return slice(first, first + 1, 1)


def _offsets(region: Box, size: int, overlap: float) -> Iterator[PixelOffset]:
    step = max(1, round(size * (1.0 - overlap)))
    rows, columns = (_starts(part, size, step) for part in region)
    for row in rows:
        for column in columns:
            yield row, column


def _starts(part: slice, size: int, step: int) -> list[int]:
    """Compute the starts of tiles along one axis; the last tile ends at the edge."""
    last = max(part.stop - size, part.start)
    return sorted({*range(part.start, last, step), last})
