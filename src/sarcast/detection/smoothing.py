"""Gaussian smoothing of images with missing pixels."""

import numpy as np
from scipy import ndimage

from sarcast.arrays import Float

TRUNCATE = 3.0
"""Reach of the Gaussian, standard deviations."""
LEAST_WEIGHT = 1e-12
"""Divisor where no pixel has data; that of a pixel alone is its own weight."""


def smooth(images: Float, sigma_px: tuple[float, ...]) -> Float:
    """Average the pixels with data around each pixel with data, with Gaussian weights.

    With the Gaussian G, the mask m of pixels with data, and * for convolution:

        smooth(v) = G * (m v) / G * m      where m, else NaN

    Parameters
    ----------
    images
        Dims (..., y, x); NaN where missing.
    sigma_px
        Standard deviation of the Gaussian in rows and columns, pixels.

    Returns
    -------
    ndarray of float32
        The same dims.
    """
    valid = np.isfinite(images)
    first = valid.reshape(-1, *valid.shape[-2:])[0] if valid.size else valid
    masks = first if (valid == first).all() else valid  # one mask for all is smoothed once
    sigma = (*(0.0,) * (images.ndim - 2), *sigma_px)
    values = np.where(valid, images, np.float32(0.0)).astype(np.float32, copy=False)
    total = ndimage.gaussian_filter(values, sigma, truncate=TRUNCATE, mode="constant")
    flat = (*(0.0,) * (masks.ndim - 2), *sigma_px)
    weight = ndimage.gaussian_filter(
        masks.astype(np.float32), flat, truncate=TRUNCATE, mode="constant"
    )
    weight = np.broadcast_to(weight, valid.shape)
    averaged: Float = np.divide(
        total, np.maximum(weight, LEAST_WEIGHT), out=np.full_like(values, np.nan), where=valid
    )
    return averaged
