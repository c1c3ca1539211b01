"""One task of a cube build: a block of an acquisition, read, warped, fused, and written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from odc.geo.geobox import GeoBox

from sarcast.arrays import Float
from sarcast.cube.chunks import WRITE_ALL
from sarcast.cube.filtering import read_filtered
from sarcast.cube.schema import SHARD, pack
from sarcast.ingest.scenes.acquisition import TRUTH, Acquisition
from sarcast.ingest.scenes.fuse import Layer, ReadStatistics, read_layer, with_companions
from sarcast.io.grid import conditions_grid
from sarcast.io.remote import RemoteOptions
from sarcast.speckle import SpeckleOptions

Slices = tuple[slice, slice]
"""Rows and columns of a block."""


@dataclass(frozen=True)
class Block:
    """A block of an acquisition, with everything that a worker needs to process it.

    Attributes
    ----------
    path
        Path of the store.
    step
        Index of the time step in the store.
    slices
        Rows and columns in the cube.
    grid
        Grid of the block.
    bands
        By variable, the rasters of each band, oldest slice first.
    resampling
        A name of ``rasterio.enums.Resampling``.
    remote
        Retries and timeouts for remote rasters.
    speckle
        Filter of the backscatter.
    earlier
        Of each earlier acquisition that the filter uses, the backscatter rasters of each band.
    """

    path: Path
    step: int
    slices: Slices
    grid: GeoBox
    bands: dict[str, tuple[tuple[Layer, ...], ...]]
    resampling: str
    remote: RemoteOptions
    speckle: SpeckleOptions
    earlier: tuple[tuple[tuple[Layer, ...], ...], ...] = ()


@dataclass(frozen=True)
class BlockStatistics:
    """Pixel counts of a block. Statistics of several blocks add up to those of the whole.

    Attributes
    ----------
    valid
        Number of valid backscatter values, one a band.
    reading
        Agreement of slices, and values taken as missing.
    """

    valid: tuple[int, ...]
    reading: ReadStatistics

    def __add__(self, other: "BlockStatistics") -> "BlockStatistics":
        valid = tuple(a + b for a, b in zip(self.valid, other.valid, strict=True))
        return BlockStatistics(valid, self.reading + other.reading)


def block_slices(shape: tuple[int, int], side: int = SHARD) -> list[Slices]:
    """Split rows and columns into blocks of ``side`` pixels a side, of one or several shards."""
    rows, columns = ([slice(s, min(s + side, n)) for s in range(0, n, side)] for n in shape)
    return [(row, column) for row in rows for column in columns]


def layers_by_variable(
    acquisition: Acquisition, bands: Sequence[str], *, with_truth: bool
) -> dict[str, tuple[tuple[Layer, ...], ...]]:
    """Rasters of an acquisition by variable and band; none of a band that it lacks."""
    layers = {"backscatter": with_companions([acquisition.layers(band) for band in bands])}
    if with_truth:
        has_truth = acquisition.has_truth
        layers["expected"] = tuple(acquisition.layers(key) if has_truth else () for key in TRUTH)
    return layers


def process_block(block: Block) -> BlockStatistics:
    """Read a block of an acquisition and write it into the store.

    Raises
    ------
    UnreadableError
        If a raster is missing, truncated, or does not answer.
    SarcastError
        If values are in another unit than declared.
    """
    statistics = {name: _process_variable(block, name) for name in block.bands}
    reading = sum((each.reading for each in statistics.values()), ReadStatistics())
    return BlockStatistics(statistics["backscatter"].valid, reading)


def _process_variable(block: Block, name: str) -> BlockStatistics:
    """Read and write all bands of one variable; only the backscatter is filtered."""
    is_backscatter = name == "backscatter"
    speckle = block.speckle if is_backscatter else SpeckleOptions()
    packed = np.empty((1, len(block.bands[name]), *block.grid.shape), dtype=np.int16)
    valid, reading = [], ReadStatistics()
    for band, layers in enumerate(block.bands[name]):
        dates = [*(bands[band] for bands in block.earlier if is_backscatter), layers]
        values, read = read_filtered(dates, block.grid, block.resampling, speckle, block.remote)
        packed[0, band] = pack(values)
        valid.append(int(np.isfinite(values).sum()))
        reading += read
    step = slice(block.step, block.step + 1)
    _write(block.path, name, packed, step, slice(None), *block.slices)
    return BlockStatistics(tuple(valid), reading)


def _write(path: Path, name: str, values: npt.NDArray[Any], *slices: slice) -> None:
    """Write a block of images, from any process, at steps that may lie beyond the array's end.

    Parameters
    ----------
    path
        Path of the store.
    name
        Name of the variable.
    values
        Dims of the variable.
    slices
        One for each dim, time steps first.
    """
    array = zarr.open_array(path / name, mode="r+")
    extended: Any = array.metadata.update_shape((slices[0].stop, *array.shape[1:]))
    zarr.Array(zarr.AsyncArray(extended, array.store_path, config=WRITE_ALL))[slices] = values


def read_incidence(acquisition: Acquisition, grid: GeoBox, remote: RemoteOptions) -> Float:
    """Incidence angle of an acquisition on the conditions grid of a cube's grid.

    Returns
    -------
    ndarray
        Dims (cy, cx), degrees; NaN where it is unknown.
    """
    coarse = conditions_grid(grid)
    layers = acquisition.layers("incidence")
    if len(layers) < len(acquisition.items):
        return np.full(coarse.shape, acquisition.incidence_deg, dtype=np.float32)
    angles = np.full(coarse.shape, np.nan, dtype=np.float32)
    for layer in layers:
        values = read_layer(layer, coarse, "average", remote)
        np.copyto(angles, values, where=np.isfinite(values))
    return angles
