"""The rasters of a pass, read block by block: slices fused, in decibels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from sarcast.arrays import Bool, Float
from sarcast.errors import SarcastError
from sarcast.io.rasters import read_thinned, warp_onto
from sarcast.io.remote import RemoteOptions, gdal_settings, is_remote
from sarcast.sensor import units

CACHE_MIB = 64
"""Memory that GDAL may keep blocks of rasters in, MiB, whatever the machine has."""
SAME_DB = 0.01
"""Values of two slices that differ by less are the same: half a step of what a cube keeps, dB."""

_THINNED = 8


class UnreadableError(SarcastError):
    """A raster that a catalogue names and that is gone, cut off, or does not answer."""


@dataclass(frozen=True)
class Layer:
    """A band of a raster, and what is needed to read it.

    Attributes
    ----------
    href
        Path or URL.
    band
        Number of the band in the file, from 1.
    unit
        One of ``units.SOURCE_UNITS`` for backscatter; another one, or none, for anything else.
    slice_id
        Id of the slice.
    nodata
        What marks a missing value if the raster does not tell it.
    """

    href: str
    band: int
    unit: str
    slice_id: str
    nodata: float | str | None = None

    @property
    def convert(self) -> Callable[[Float], Float] | None:
        """What makes linear power of the file's values; None for those that are kept as they are.

        Means make sense of power, not of decibels or amplitudes.
        """
        return _TO_POWER.get(self.unit)

    def other_unit(self, values: Float) -> str | None:
        """Unit that values of the file are clearly of, where it is another than declared."""
        if self.unit not in units.SOURCE_UNITS:
            return None
        kind = units.DB if self.unit == units.DB else units.LINEAR_POWER
        seen = units.guess_unit(values)
        return None if seen == kind else seen


_TO_POWER: dict[str, Callable[[Float], Float]] = {
    units.DB: units.to_power,
    units.AMPLITUDE: np.square,
}


@dataclass(frozen=True)
class Overlap:
    """What two slices of a pass both saw; overlaps add up.

    Attributes
    ----------
    pixels
        Number of values that two slices saw.
    differing
        Number of those at which they differ by over ``SAME_DB``.
    largest_db
        Largest difference, dB.
    """

    pixels: int = 0
    differing: int = 0
    largest_db: float = 0.0

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(
            self.pixels + other.pixels,
            self.differing + other.differing,
            max(self.largest_db, other.largest_db),
        )


def read_fused(
    layers: Sequence[Layer], grid: GeoBox, resampling: str, remote: RemoteOptions
) -> tuple[Float, Overlap]:
    """Read a band of all slices onto a grid; where two saw the same pixel, the later one wins.

    Parameters
    ----------
    layers
        The band in each slice, oldest slice first.
    grid
        The grid wanted, a block of a cube's.
    resampling
        A name of ``rasterio.enums.Resampling``.
    remote
        How patiently servers are asked.

    Returns
    -------
    ndarray
        Dims (y, x), dB, float32; NaN where no slice saw anything.
    Overlap
        How far the slices differ where they overlap.

    Raises
    ------
    UnreadableError
        If a raster is gone, cut off, or does not answer.
    SarcastError
        If its values are those of another unit than declared.
    """
    fused = np.full(grid.shape, np.nan, dtype=np.float32)
    overlap = Overlap()
    for layer in layers:
        decibels = units.to_db(read_layer(layer, grid, resampling, remote))
        seen = np.isfinite(decibels)
        if layer is not layers[0] and seen.any():
            overlap += _compare(fused, decibels, seen)
        np.copyto(fused, decibels, where=seen)
    return fused, overlap


def read_layer(layer: Layer, grid: GeoBox, resampling: str, remote: RemoteOptions) -> Float:
    """Read one raster onto a grid: backscatter as linear power, anything else as it is.

    Returns
    -------
    ndarray
        Dims (y, x), float32; NaN for what is missing.

    Raises
    ------
    UnreadableError
        If it is gone, cut off, or does not answer.
    SarcastError
        If the values of all of it, not of a part alone, are those of another unit than declared.
    """
    settings = gdal_settings(remote) if is_remote(layer.href) else {}
    nodata = None if layer.nodata is None else float(layer.nodata)
    doubts: set[str | None] = set()
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_MIB, **settings), rasterio.open(layer.href) as source:
            values = warp_onto(
                source,
                grid,
                resampling,
                band=layer.band,
                nodata=nodata,
                convert=layer.convert,
                inspect=lambda part: doubts.add(layer.other_unit(part[::_THINNED, ::_THINNED])),
            )
            if any(doubts):
                _check_unit(layer, read_thinned(source, band=layer.band, nodata=nodata))
            return values
    except RasterioError as error:
        tried = f" after {remote.tries} tries" if settings else ""
        raise UnreadableError(
            f"{layer.href} cannot be read{tried}, it may be gone, cut off or damaged: fetch it "
            f"again, or build without its date with --allow-missing "
            f"({' '.join(str(error).split())})"
        ) from error


def _check_unit(layer: Layer, values: Float) -> None:
    """Refuse another unit than declared, told by all of a raster: a part may be bright ground."""
    seen = layer.other_unit(values)
    if seen is not None:
        raise SarcastError(
            f"{layer.slice_id} is declared in {layer.unit}, but its values are those of {seen}; "
            f"index it again with --unit '{seen}'"
        )


def _compare(before: Float, after: Float, seen: Bool) -> Overlap:
    both = seen & np.isfinite(before)
    apart = np.abs(after[both] - before[both])
    return Overlap(int(both.sum()), int(np.sum(apart > SAME_DB)), float(np.max(apart, initial=0.0)))
