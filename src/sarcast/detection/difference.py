"""Difference images: what is left of an actual image when the expected one is taken away.

Arrays in, arrays out. Images have dims (..., band, y, x) and dB; NaN in any input is NaN in the
result.
"""

import math

import numpy as np
from scipy import ndimage

from sarcast.arrays import Float
from sarcast.errors import SarcastError
from sarcast.sensor.units import DB_PER_NEPER

BAND_AXIS = -3

DIRECTIONS = {"loss": -1.0, "gain": 1.0}
"""Known directions of a change, and the sign of their difference in backscatter."""


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
        If the two are not of one shape.
    """
    _check_one_shape(actual, expected, "the expected image")
    return np.subtract(actual, expected, dtype=np.float32)


def norm(difference: Float) -> Float:
    """Euclidean norm over the bands: the threshold difference image of the paper.

    Parameters
    ----------
    difference
        Dims (..., band, y, x), dB, or a z difference.

    Returns
    -------
    Float
        Dims (..., y, x), the unit of the input, 0 or more.

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, section IV-A.
    """
    squares = np.square(difference, dtype=np.float32)
    result: Float = np.sqrt(squares.sum(axis=BAND_AXIS, dtype=np.float32))
    return result


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
        If the two are not of one shape.

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
        If the two are not of one shape.

    References
    ----------
    Bazi, Bruzzone, Melgani 2005, doi 10.1109/TGRS.2004.842441, equation 1.
    """
    return subtract(actual, expected) * np.float32(1.0 / DB_PER_NEPER)


def z(actual: Float, expected: Float, std: Float) -> Float:
    """Difference over the standard deviation that the predictor expects.

    Parameters
    ----------
    actual, expected, std
        Dims (..., band, y, x), dB; ``std`` above 0 (NaN comes of any other).

    Returns
    -------
    Float
        The same dims, dimensionless; of unit variance where nothing changed, if sigma is
        calibrated.

    Raises
    ------
    SarcastError
        If the three are not of one shape.
    """
    _check_one_shape(actual, std, "the standard deviation")
    positive = np.where(std > 0.0, std, np.float32(np.nan))
    return np.divide(subtract(actual, expected), positive, dtype=np.float32)


def smoothed(difference: Float, radius_px: float) -> Float:
    """Mean over the neighbourhood of each pixel: what is wider than speckle stands out.

    Parameters
    ----------
    difference
        Dims (..., band, y, x), dB, or a z difference.
    radius_px
        Standard deviation of the Gaussian weights, pixels, above 0; about the radius of the
        smallest change sought.

    Returns
    -------
    Float
        The same dims and unit; a NaN counts nowhere and stays.

    Raises
    ------
    SarcastError
        If the radius is not above 0.
    """
    if not radius_px > 0.0:
        raise SarcastError(f"the radius of a smoothing must be above 0 pixels, not {radius_px}")
    seen = np.isfinite(difference)
    radii = [0.0] * (difference.ndim - 2) + [radius_px] * 2
    total = ndimage.gaussian_filter(np.where(seen, difference, np.float32(0.0)), radii)
    weight = ndimage.gaussian_filter(seen.astype(np.float32), radii)
    result = np.full(difference.shape, np.nan, dtype=np.float32)
    np.divide(total, weight, out=result, where=seen)
    return result


def level(difference: Float) -> Float:
    """Median of each band over the image: what weather that nobody told of does to a whole scene.

    Parameters
    ----------
    difference
        Dims (..., band, y, x), dB, or a z difference.

    Returns
    -------
    Float
        Dims (..., band), the unit of the input; what changed does not move it far as long as it is
        well below half of the pixels. NaN where nothing was seen.
    """
    pixels = difference.reshape(*difference.shape[:-2], -1)
    seen = np.isfinite(pixels).any(axis=-1)
    result = np.full(seen.shape, np.nan, dtype=np.float32)
    result[seen] = np.nanmedian(pixels[seen], axis=-1)
    return result


def levelled(difference: Float) -> Float:
    """Difference less its level, band by band: what changed in a part of the image stands out.

    Parameters
    ----------
    difference
        Dims (..., band, y, x), dB, or a z difference.

    Returns
    -------
    Float
        The same dims and unit.
    """
    return difference - level(difference)[..., np.newaxis, np.newaxis]


def signed(difference: Float, direction: str) -> Float:
    """Score of a change whose direction is known: high for it, low for its opposite.

    The mean over bands, scaled so that independent bands of unit variance give unit variance.

    Parameters
    ----------
    difference
        Dims (..., band, y, x): a z difference (signed z), or a plain one in dB.
    direction
        ``"loss"`` or ``"gain"`` of backscatter.

    Returns
    -------
    Float
        Dims (..., y, x), the unit of the input.

    Raises
    ------
    SarcastError
        If the direction is another word.
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
            f"bring both onto one grid and the same bands"
        )
