"""Difference images: the residual of an actual image against the expected one.

With the actual image y, the expected image m and its standard deviation s, in dB, for B bands b:

    subtract    d_b = y_b - m_b                      dB
    norm        sqrt(sum over b of d_b²)             dB
    ratio       10^(d_b / 10)                        of linear power
    log_ratio   ln 10^(d_b / 10)                     of linear power
    z           d_b / s_b                            standard deviations
    signed      ∓ (sum over b of d_b) / sqrt(B)      dB, or standard deviations from z

Arrays in, arrays out. Images have dims (..., band, y, x); NaN in any input gives NaN.

>>> actual = np.array([[[-13.0]], [[-20.0]]], dtype=np.float32)      # VV and VH of one pixel
>>> expected = np.array([[[-10.0]], [[-16.0]]], dtype=np.float32)
>>> norm(subtract(actual, expected))
array([[5.]], dtype=float32)
"""

import math

import numpy as np
from scipy import ndimage

from sarcast.arrays import Float
from sarcast.errors import SarcastError
from sarcast.sensor.units import DB_PER_NEPER

BAND_AXIS = -3

DIRECTIONS = {"loss": -1.0, "gain": 1.0}
"""Directions of a change in backscatter, and the sign that makes its score positive."""


def subtract(actual: Float, expected: Float) -> Float:
    """Actual minus expected image.

    Parameters
    ----------
    actual, expected
        Dims (..., band, y, x), dB.

    Returns
    -------
    Float
        The same dims, dB, float32.

    Raises
    ------
    SarcastError
        If the shapes differ.
    """
    _check_one_shape(actual, expected, "the expected image")
    return np.subtract(actual, expected, dtype=np.float32)


def norm(difference: Float) -> Float:
    """Euclidean norm over the bands: the difference image that the paper thresholds.

    Parameters
    ----------
    difference
        Dims (..., band, y, x), dB or z.

    Returns
    -------
    Float
        Dims (..., y, x), the unit of the input, 0 or more.

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, section IV-A.
    """
    squares = np.square(difference, dtype=np.float32)
    total: Float = squares.sum(axis=BAND_AXIS, dtype=np.float32)
    return np.sqrt(total, out=total)


def ratio(actual: Float, expected: Float) -> Float:
    """Actual over expected backscatter, as linear power.

    Parameters
    ----------
    actual, expected
        Dims (..., band, y, x), dB.

    Returns
    -------
    Float
        The same dims, dimensionless; 1 where nothing changed.

    Raises
    ------
    SarcastError
        If the shapes differ.

    References
    ----------
    Rignot, van Zyl 1993, doi 10.1109/36.239913: the ratio of intensities, whose distribution under
    speckle does not depend on the intensity.
    """
    return np.exp(log_ratio(actual, expected))


def log_ratio(actual: Float, expected: Float) -> Float:
    """Natural logarithm of the ratio of linear powers, in nepers of power.

    Parameters
    ----------
    actual, expected
        Dims (..., band, y, x), dB.

    Returns
    -------
    Float
        The same dims, dimensionless; 0 where nothing changed, symmetric in loss and gain.

    Raises
    ------
    SarcastError
        If the shapes differ.

    References
    ----------
    Bazi, Bruzzone, Melgani 2005, doi 10.1109/TGRS.2004.842441, equation 1.
    """
    return subtract(actual, expected) * np.float32(1.0 / DB_PER_NEPER)


def z(actual: Float, expected: Float, std: Float) -> Float:
    """Difference over the predicted standard deviation.

    Parameters
    ----------
    actual, expected, std
        Dims (..., band, y, x), dB; where ``std`` is not above 0 the result is NaN.

    Returns
    -------
    Float
        The same dims, dimensionless; of unit variance where nothing changed, if the standard
        deviation is calibrated.

    Raises
    ------
    SarcastError
        If the shapes differ.
    """
    _check_one_shape(actual, std, "the standard deviation")
    positive = np.where(std > 0.0, std, np.float32(np.nan))
    return np.divide(subtract(actual, expected), positive, dtype=np.float32)


def smoothed(difference: Float, radius_px: float) -> Float:
    """Gaussian-weighted mean around each pixel: averages speckle, keeps wider changes.

    Parameters
    ----------
    difference
        Dims (..., band, y, x), dB or z.
    radius_px
        Standard deviation of the Gaussian weights, pixels, above 0; about the radius of the
        smallest change of interest.

    Returns
    -------
    Float
        The same dims and unit; a NaN has no weight and stays NaN.

    Raises
    ------
    SarcastError
        If the radius is not above 0.
    """
    if not radius_px > 0.0:
        raise SarcastError(f"the radius of smoothing must be above 0 pixels, not {radius_px}")
    valid = np.isfinite(difference)
    radii = [0.0] * (difference.ndim - 2) + [radius_px] * 2
    total = ndimage.gaussian_filter(np.where(valid, difference, np.float32(0.0)), radii)
    weight = ndimage.gaussian_filter(valid.astype(np.float32), radii)
    result = np.full(difference.shape, np.nan, dtype=np.float32)
    np.divide(total, weight, out=result, where=valid)
    return result


def level(difference: Float) -> Float:
    """Median of each band over the image: the offset that unmodelled weather gives a whole scene.

    Parameters
    ----------
    difference
        Dims (..., band, y, x), dB or z.

    Returns
    -------
    Float
        Dims (..., band), the unit of the input; NaN for a band without data. Changes hardly move it
        while they cover well below half of the pixels.
    """
    pixels = difference.reshape(*difference.shape[:-2], -1)
    valid = np.isfinite(pixels).any(axis=-1)
    result = np.full(valid.shape, np.nan, dtype=np.float32)
    result[valid] = np.nanmedian(pixels[valid], axis=-1)
    return result


def levelled(difference: Float) -> Float:
    """Difference minus its level, band by band: only changes of a part of the image remain.

    Parameters
    ----------
    difference
        Dims (..., band, y, x), dB or z.

    Returns
    -------
    Float
        The same dims and unit.
    """
    return difference - level(difference)[..., np.newaxis, np.newaxis]


def signed(difference: Float, direction: str) -> Float:
    """Score of a change whose direction is known: high for it, low for its opposite.

    The sum over the bands divided by the root of their number, so that independent bands of unit
    variance give unit variance; the sign is turned for a loss.

    Parameters
    ----------
    difference
        Dims (..., band, y, x), dB or z.
    direction
        ``"loss"`` or ``"gain"`` of backscatter.

    Returns
    -------
    Float
        Dims (..., y, x), the unit of the input.

    Raises
    ------
    SarcastError
        If the direction is neither.
    """
    if direction not in DIRECTIONS:
        raise SarcastError(f"the direction of a change is 'loss' or 'gain', not {direction!r}")
    scale = np.float32(DIRECTIONS[direction] / math.sqrt(difference.shape[BAND_AXIS]))
    summed: Float = difference.sum(axis=BAND_AXIS, dtype=np.float32)
    return summed * scale


def _check_one_shape(actual: Float, other: Float, what: str) -> None:
    if actual.shape != other.shape:
        raise SarcastError(
            f"the actual image has shape {actual.shape}, but {what} has {other.shape}; "
            f"put both on one grid with the same bands"
        )
