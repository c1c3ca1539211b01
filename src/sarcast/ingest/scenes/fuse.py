"""Backscatter of a pass, read block by block: slices fused, in decibels."""

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
"""Limit of GDAL's raster block cache, MiB, whatever the machine's memory."""
SAME_DB = 0.01
"""Slices that differ by less than this agree, dB: the quantisation step of a cube."""

_THINNED = 8


class UnreadableError(SarcastError):
    """A raster of the catalogue is missing, truncated, or its server does not respond."""


@dataclass(frozen=True)
class Layer:
    """One band of one raster, and what is needed to read it.

    Attributes
    ----------
    href
        Path or URL.
    band
        Number of the band in the file, from 1.
    unit
        One of ``units.SOURCE_UNITS`` for backscatter; another unit or an empty string for
        anything else.
    slice_id
        Id of the slice.
    nodata
        Value of missing pixels, where the raster does not declare one.
    """

    href: str
    band: int
    unit: str
    slice_id: str
    nodata: float | str | None = None

    @property
    def convert(self) -> Callable[[Float], Float] | None:
        """Conversion to linear power, which alone may be averaged; None if none is needed."""
        return _TO_POWER.get(self.unit)

    def contradicting_unit(self, values: Float) -> str | None:
        """Unit that the values evidently have, if it is not the declared one; else None."""
        if self.unit not in units.SOURCE_UNITS:
            return None
        declared = units.DB if self.unit == units.DB else units.LINEAR_POWER
        apparent = units.guess_unit(values)
        return None if apparent == declared else apparent


_TO_POWER: dict[str, Callable[[Float], Float]] = {
    units.DB: units.to_power,
    units.AMPLITUDE: np.square,
}


@dataclass(frozen=True)
class Overlap:
    """Agreement of the slices of a pass where they overlap; overlaps can be added.

    Attributes
    ----------
    pixels
        Number of values that two slices cover.
    differing
        Number of those that differ by more than ``SAME_DB``.
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
    """Read one band of all slices onto a grid; where slices overlap, the later one is used.

    Parameters
    ----------
    layers
        The band in each slice, oldest slice first.
    grid
        Target grid, for instance a block of a cube.
    resampling
        A name of ``rasterio.enums.Resampling``.
    remote
        Retries and timeouts for remote files.

    Returns
    -------
    ndarray
        Dims (y, x), dB, float32; NaN where no slice has data.
    Overlap
        Agreement of the slices where they overlap.

    Raises
    ------
    UnreadableError
        If a raster is missing, truncated, or its server does not respond.
    SarcastError
        If the values are not in the declared unit.
    """
    fused = np.full(grid.shape, np.nan, dtype=np.float32)
    overlap = Overlap()
    for layer in layers:
        decibels = units.to_db(read_layer(layer, grid, resampling, remote))
        valid = np.isfinite(decibels)
        if layer is not layers[0] and valid.any():
            overlap += _compare(fused, decibels, valid)
        np.copyto(fused, decibels, where=valid)
    return fused, overlap


def read_layer(layer: Layer, grid: GeoBox, resampling: str, remote: RemoteOptions) -> Float:
    """Read one raster onto a grid: backscatter as linear power, anything else unchanged.

    Returns
    -------
    ndarray
        Dims (y, x), float32; NaN where missing.

    Raises
    ------
    UnreadableError
        If it is missing, truncated, or its server does not respond.
    SarcastError
        If the values of the whole raster, not just of this part, contradict the declared unit.
    """
    settings = gdal_settings(remote) if is_remote(layer.href) else {}
    nodata = None if layer.nodata is None else float(layer.nodata)
    contradictions: set[str | None] = set()

    def check_part(values: Float) -> None:
        contradictions.add(layer.contradicting_unit(values[::_THINNED, ::_THINNED]))

    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_MIB, **settings), rasterio.open(layer.href) as source:
            values = warp_onto(
                source,
                grid,
                resampling,
                band=layer.band,
                nodata=nodata,
                convert=layer.convert,
                inspect=check_part,
            )
            if any(contradictions):
                _check_unit(layer, read_thinned(source, band=layer.band, nodata=nodata))
            return values
    except RasterioError as error:
        retries = f" after {remote.tries} tries" if settings else ""
        raise UnreadableError(
            f"{layer.href} cannot be read{retries}; it may be missing, truncated or damaged: fetch "
            f"it again, or build without its date with --allow-missing "
            f"({' '.join(str(error).split())})"
        ) from error


def _check_unit(layer: Layer, values: Float) -> None:
    """Refuse a whole raster that contradicts its unit: a part of it may just be bright ground."""
    apparent = layer.contradicting_unit(values)
    if apparent is not None:
        raise SarcastError(
            f"{layer.slice_id} is declared in {layer.unit}, but its values are those of "
            f"{apparent}; index it again with --unit '{apparent}'"
        )


def _compare(before: Float, after: Float, valid: Bool) -> Overlap:
    both = valid & np.isfinite(before)
    difference = np.abs(after[both] - before[both])
    return Overlap(
        int(both.sum()),
        int(np.sum(difference > SAME_DB)),
        float(np.max(difference, initial=0.0)),
    )
