"""One task: a block of an acquisition, read, warped, fused, and written."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from odc.geo.geobox import GeoBox

from sarcast.arrays import Float
from sarcast.catalogue.scene import BANDS
from sarcast.cube.filtering import read_filtered
from sarcast.cube.schema import SHARD, pack
from sarcast.cube.store import write_block
from sarcast.ingest.scenes.acquisition import TRUTH, Acquisition
from sarcast.ingest.scenes.fuse import Layer, Overlap, read_layer
from sarcast.io.grid import conditions_grid
from sarcast.io.remote import RemoteOptions
from sarcast.sensor import units
from sarcast.speckle import SpeckleOptions

Slices = tuple[slice, slice]
"""Rows and columns of a block."""


@dataclass(frozen=True)
class Block:
    """A block of an acquisition, and all that a worker needs to know of it.

    Attributes
    ----------
    path
        Of the store.
    step
        Time step that it belongs to.
    place
        Rows and columns in the cube.
    grid
        Grid of the block.
    bands
        By variable, the rasters of each band, oldest slice first.
    resampling
        A name of ``rasterio.enums.Resampling``.
    remote
        How patiently servers are asked.
    speckle
        Filter of the backscatter.
    before
        Of each earlier acquisition that the filter joins, the rasters of each band of backscatter.
    """

    path: Path
    step: int
    place: Slices
    grid: GeoBox
    bands: dict[str, tuple[tuple[Layer, ...], ...]]
    resampling: str
    remote: RemoteOptions
    speckle: SpeckleOptions
    before: tuple[tuple[tuple[Layer, ...], ...], ...] = ()


@dataclass(frozen=True)
class Written:
    """What a block held; what its bands saw adds up over blocks.

    Attributes
    ----------
    seen
        Number of backscatter values, one a band.
    dark, bright
        Number of those that are power of 0 or less, and over ``units.CEILING_DB``.
    overlap
        Of slices.
    """

    seen: tuple[int, ...]
    dark: int
    bright: int
    overlap: Overlap

    def __add__(self, other: "Written") -> "Written":
        seen = tuple(a + b for a, b in zip(self.seen, other.seen, strict=True))
        return Written(
            seen,
            self.dark + other.dark,
            self.bright + other.bright,
            self.overlap + other.overlap,
        )


def places(grid: GeoBox, side: int = SHARD) -> list[Slices]:
    """Blocks of a grid, ``side`` pixels square: each the place of one shard, or of several."""
    rows, columns = ([slice(s, min(s + side, n)) for s in range(0, n, side)] for n in grid.shape)
    return [(row, column) for row in rows for column in columns]


def rasters(one: Acquisition, *, with_truth: bool) -> dict[str, tuple[tuple[Layer, ...], ...]]:
    """Rasters of an acquisition by variable and band."""
    found = {"backscatter": tuple(one.layers(band) for band in BANDS)}
    if with_truth and one.has_truth:
        found["expected"] = tuple(one.layers(key) for key in TRUTH)
    return found


def write(block: Block) -> Written:
    """Read a block of an acquisition and write it into the store.

    Raises
    ------
    UnreadableError
        If a raster is gone, cut off, or does not answer.
    SarcastError
        If values are those of another unit than declared.
    """
    overlap = Overlap()
    seen: tuple[int, ...] = ()
    dark = bright = 0
    for name, bands in block.bands.items():
        packed = np.empty((1, len(bands), *block.grid.shape), dtype=np.int16)
        counts = []
        for number, layers in enumerate(bands):
            noisy = name == "backscatter"
            values, shared = read_filtered(
                [*(bands[number] for bands in block.before if noisy), layers],
                block.grid,
                block.resampling,
                block.speckle if noisy else SpeckleOptions(),
                block.remote,
            )
            packed[0, number] = pack(values)
            counts.append(int(np.isfinite(values).sum()))
            if noisy:
                dark += int(np.sum(values <= units.FLOOR_DB))
                bright += int(np.sum(values > units.CEILING_DB))
            overlap += shared
        step = slice(block.step, block.step + 1)
        write_block(block.path, name, packed, step, slice(None), *block.place)
        seen = seen or tuple(counts)
    return Written(seen, dark, bright, overlap)


def read_incidence(one: Acquisition, grid: GeoBox, remote: RemoteOptions) -> Float:
    """Incidence angle of an acquisition on the conditions grid of a cube's grid.

    Returns
    -------
    ndarray
        Dims (cy, cx), degrees; NaN where it is not told.
    """
    coarse = conditions_grid(grid)
    layers = one.layers("incidence")
    if len(layers) < len(one.items):
        return np.full(coarse.shape, one.incidence_deg, dtype=np.float32)
    angles = np.full(coarse.shape, np.nan, dtype=np.float32)
    for layer in layers:
        values = read_layer(layer, coarse, "average", remote)
        np.copyto(angles, values, where=np.isfinite(values))
    return angles
