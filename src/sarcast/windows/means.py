"""Means over images of which some miss pixels."""

import numpy as np

from sarcast.arrays import Bool, Float


def mean_where(images: Float, known: Bool) -> Float:
    """Mean over the first axis of the values that are known; NaN where none is.

    Parameters
    ----------
    images
        Dims (image, ...).
    known
        The same dims, or dims that broadcast to them.
    """
    count = known.sum(axis=0, dtype=np.uint16)
    missing = count == 0
    if (missing | (count == len(known))).all():  # the same numbers, far faster
        mean: Float = images.mean(axis=0, dtype=np.float32)
        np.copyto(mean, np.nan, where=missing)
    else:
        total = np.where(known, images, np.float32(0.0)).sum(axis=0, dtype=np.float32)
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=~missing)
    return mean
