"""Backscatter of a pass, read block by block: slices fused, in decibels."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window

from sarcast.arrays import Bool, Float
from sarcast.errors import SarcastError, hide
from sarcast.ingest.scenes.values import (
    Excluded,
    exclude,
    implausible,
    marks_missing,
    trust_overview,
)
from sarcast.io.formats import open_dataset
from sarcast.io.masks import MissingMarks
from sarcast.io.raster_checks import check_band
from sarcast.io.rasters import decode, read_thinned
from sarcast.io.remote import RemoteOptions, gdal_settings
from sarcast.io.warp import warp_onto
from sarcast.sensor import units

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
        Value of missing pixels, besides what the raster itself marks as missing.
    companions
        Href and band number of the other polarisations of the slice.
    """

    href: str
    band: int
    unit: str
    slice_id: str
    nodata: float | str | None = None
    companions: tuple[tuple[str, int], ...] = ()

    @property
    def nodata_value(self) -> float | None:
        """``nodata`` as a number."""
        return None if self.nodata is None else float(self.nodata)


def with_companions(bands: Sequence[Sequence[Layer]]) -> tuple[tuple[Layer, ...], ...]:
    """Layers of a pass by polarisation, each with those of its slice in the other polarisations."""
    return tuple(
        tuple(
            replace(
                layer,
                companions=tuple(
                    (each.href, each.band)
                    for other in bands
                    for each in other
                    if each.slice_id == layer.slice_id
                    and (each.href, each.band) != (layer.href, layer.band)
                ),
            )
            for layer in layers
        )
        for layers in bands
    )


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


@dataclass(frozen=True)
class ReadStatistics:
    """What was read; statistics of several parts add up.

    Attributes
    ----------
    overlap
        Agreement of the slices.
    excluded
        Values taken as missing.
    """

    overlap: Overlap = field(default_factory=Overlap)
    excluded: Excluded = field(default_factory=Excluded)

    def __add__(self, other: "ReadStatistics") -> "ReadStatistics":
        return ReadStatistics(self.overlap + other.overlap, self.excluded + other.excluded)


def read_fused(
    layers: Sequence[Layer], grid: GeoBox, resampling: str, remote: RemoteOptions
) -> tuple[Float, ReadStatistics]:
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
    ReadStatistics
        Agreement of the slices where they overlap, and values taken as missing.

    Raises
    ------
    UnreadableError
        If a raster is missing, truncated, or its server does not respond.
    SarcastError
        If a raster is complex, or its values are not in the declared unit.
    """
    fused = np.full(grid.shape, np.nan, dtype=np.float32)
    statistics = ReadStatistics()
    for layer in layers:
        power, excluded = _read(layer, grid, resampling, remote)
        if resampling == "cubic":
            negative = exclude(power, units.LINEAR_POWER)
            excluded += Excluded(undershoot=negative.zero + negative.impossible)
        decibels = units.to_db(power)
        valid = np.isfinite(decibels)
        overlap = Overlap()
        if layer is not layers[0] and valid.any():
            overlap = _compare(fused, decibels, valid)
        statistics += ReadStatistics(overlap, excluded)
        np.copyto(fused, decibels, where=valid)
    return fused, statistics


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
        If it is complex, or the values of the whole raster, not just of this part, contradict the
        declared unit.
    """
    return _read(layer, grid, resampling, remote)[0]


def _read(
    layer: Layer, grid: GeoBox, resampling: str, remote: RemoteOptions
) -> tuple[Float, Excluded]:
    """As ``read_layer``, and what was taken as missing."""
    settings = gdal_settings(layer.href, remote)
    try:
        with rasterio.Env(**settings), open_dataset(layer.href) as source:
            check_band(source, layer.band)
            converter = _Converter(layer, source)
            values = warp_onto(
                source,
                grid,
                resampling,
                band=layer.band,
                nodata=layer.nodata_value,
                convert=converter,
                trust=trust_overview if layer.unit == units.LINEAR_POWER else None,
            )
            if converter.is_suspicious:
                _check_unit(layer, source)
            return values, converter.excluded
    except RasterioError as error:
        retries = f" after {remote.tries} tries" if settings else ""
        raise UnreadableError(
            f"{hide(layer.href, layer.href)} cannot be read{retries}; it may be missing, truncated "
            f"or damaged: fetch it again, or build without its date with --allow-missing "
            f"({hide(' '.join(str(error).split()), layer.href)})"
        ) from error


class _Converter:
    """Converts windows of a layer to linear power, without values that cannot be.

    Attributes
    ----------
    excluded
        Values taken as missing so far.
    is_suspicious
        Whether the values of some window contradict the declared unit.
    """

    def __init__(self, layer: Layer, source: rasterio.DatasetReader) -> None:
        self._layer, self._source = layer, source
        self.excluded, self.is_suspicious = Excluded(), False

    def __call__(self, values: Float, window: Window) -> Float:
        """Linear power of the values of a window; angles stay as they are."""
        unit = self._layer.unit
        if unit in units.SOURCE_UNITS:
            few = values[::_THINNED, ::_THINNED]
            self.is_suspicious |= implausible(few, unit) is not None
        excluded = exclude(values, unit)
        if unit == units.DB:
            excluded += self._exclude_zeros(values, window)
        self.excluded += excluded
        if unit == units.DB:
            return units.to_power(values)
        return np.square(values) if unit == units.AMPLITUDE else values

    def _exclude_zeros(self, values: Float, window: Window) -> Excluded:
        """Set zeros in dB that mark missing pixels to NaN, and count them."""
        zeros = values == 0.0
        if not zeros.any():
            return Excluded()
        missing = marks_missing(zeros, self._read_companions(values, window), values)
        values[missing] = np.nan
        return Excluded(zero=int(missing.sum()))

    def _read_companions(self, values: Float, window: Window) -> list[Float]:
        """The other polarisations of a window of the slice, as far as they lie on its grid."""
        read = []
        for href, band in self._layer.companions:
            if href == self._layer.href:
                read.append(self._read_companion(self._source, band, values, window))
                continue
            with open_dataset(href) as other:
                grid = (self._source.shape, self._source.transform, self._source.crs)
                if (other.shape, other.transform, other.crs) == grid:
                    read.append(self._read_companion(other, band, values, window))
        return read

    def _read_companion(
        self, source: rasterio.DatasetReader, band: int, values: Float, window: Window
    ) -> Float:
        marks = MissingMarks.of(source, band, self._layer.nodata_value)
        other: Float = source.read(band, window=window, out_shape=values.shape, out_dtype="float32")
        marks.clear(other, source, band, window)
        return decode(other, source, band)


def _check_unit(layer: Layer, source: rasterio.DatasetReader) -> None:
    """Refuse a whole raster that contradicts its unit: a part of it may just be bright ground."""
    sample = read_thinned(source, band=layer.band, nodata=layer.nodata_value)
    fault = implausible(sample, layer.unit)
    if fault is not None:
        raise SarcastError(f"{layer.slice_id} {fault}")


def _compare(before: Float, after: Float, valid: Bool) -> Overlap:
    both = valid & np.isfinite(before)
    difference = np.abs(after[both] - before[both])
    return Overlap(
        int(both.sum()),
        int(np.sum(difference > SAME_DB)),
        float(np.max(difference, initial=0.0)),
    )
