"""Missing pixels as a raster marks them: by a mask, alpha, a mask band, nodata, or no number."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from sarcast.arrays import Bool, Float
from sarcast.errors import SarcastError

LARGEST = 1e30
"""No quantity here reaches this size: larger values mark missing pixels, as ±3.4e38 (the largest
float), 9.97e36 (NetCDF's default) and infinity do."""

_MASK_NAME = re.compile(
    r"(?i)(data|valid|validity|alpha)?[ _-]?mask|valid(ity)?([ _-]?pixels?)?|alpha([ _-]?band)?"
)


class ComplexRasterError(SarcastError):
    """A raster holds complex numbers."""


def is_mask_name(name: str | None) -> bool:
    """Whether the description of a band says that it is a mask, 0 where pixels are missing.

    For example ``dataMask`` (Sentinel Hub), ``mask``, ``valid`` or ``alpha``.
    """
    return _MASK_NAME.fullmatch((name or "").strip()) is not None


def mask_band(source: rasterio.DatasetReader) -> int | None:
    """Number of the band that masks the others: named as a mask, or alpha without another name."""
    for number, (name, colour) in enumerate(
        zip(source.descriptions, source.colorinterp, strict=True), start=1
    ):
        if is_mask_name(name) or (colour == ColorInterp.alpha and not name):
            return number if source.count > 1 else None
    return None


def check_real(source: rasterio.DatasetReader, band: int) -> None:
    """Refuse a band of complex numbers, whatever its values.

    Raises
    ------
    ComplexRasterError
        If its data type is complex.
    """
    dtype = source.dtypes[band - 1]
    if dtype.startswith("complex"):
        raise ComplexRasterError(
            f"{source.name} holds complex numbers ({dtype}), as single-look complex images do, "
            f"but real values are expected; convert it to power, |z|², and multilook it"
        )


@dataclass(frozen=True)
class MissingMarks:
    """What marks the missing pixels of a band.

    Attributes
    ----------
    values
        Stored values of missing pixels, before scale and offset.
    has_mask
        Whether the file has a mask beside its bands: an internal one, or a sidecar ``.msk``.
    mask_band
        Number of the band that is a mask; None if there is none.
    is_declared
        Whether the file itself declares a value and has neither kind of mask, so that GDAL leaves
        missing pixels out when it averages.
    """

    values: tuple[float, ...]
    has_mask: bool
    mask_band: int | None
    is_declared: bool

    @classmethod
    def of(
        cls, source: rasterio.DatasetReader, band: int, nodata: float | None = None
    ) -> "MissingMarks":
        """The marks of a band of an open raster.

        Parameters
        ----------
        source
            The raster.
        band
            Number of the band, from 1.
        nodata
            Stored value that marks missing pixels too, whatever the raster declares.

        Raises
        ------
        ComplexRasterError
            If the band is complex.
        """
        check_real(source, band)
        declared = source.nodatavals[band - 1]
        flags = source.mask_flag_enums[band - 1]
        plain = ([MaskFlags.all_valid], [MaskFlags.nodata])
        has_mask = flags not in plain and MaskFlags.alpha not in flags
        number = mask_band(source)
        number = None if number == band else number
        values = {value for value in (declared, nodata) if value is not None}
        return cls(
            tuple(value for value in values if not np.isnan(value)),
            has_mask,
            number,
            declared is not None and not has_mask and number is None,
        )

    def clear(
        self,
        values: Float,
        source: rasterio.DatasetReader,
        band: int,
        window: Window | None = None,
    ) -> None:
        """Set missing values to NaN.

        Parameters
        ----------
        values
            Dims (y, x), stored values of the window, or fewer of them, evenly spaced.
        source, band
            Where they were read from.
        window
            None for the whole raster.
        """
        if self.has_mask:
            mask = source.read_masks(band, window=window, out_shape=values.shape)
            values[mask == 0] = np.nan
        if self.mask_band is not None:
            mask = source.read(
                self.mask_band, window=window, out_shape=values.shape, out_dtype="float32"
            )
            values[~(mask > 0.0)] = np.nan
        for value in self.values:
            values[_equals(values, value)] = np.nan
        lowest, highest = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
        if not -LARGEST < lowest <= highest < LARGEST:
            values[~(np.abs(values) < LARGEST)] = np.nan


def _equals(values: Float, stored: float) -> Bool:
    """Where values equal a stored one that may be beyond the range of 32-bit floats."""
    with np.errstate(over="ignore"):
        equal: npt.NDArray[np.bool_] = values == np.float32(stored)
    return equal
