"""Standard deviation of the expected image where the network itself predicts none."""

import numpy as np
import xarray as xr

from sarcast.prediction.scores import ValidationScores
from sarcast.windows import BANDS

STRIP_PX = 512
"""Rows of an image that are looked at together."""


def with_validation_std(images: xr.Dataset, scores: ValidationScores | None) -> xr.Dataset:
    """Fill a missing standard deviation with a model's validation error.

    Parameters
    ----------
    images
        ``expected`` and ``std``, dims (..., band, y, x), dB, as ``predict`` returns them.
    scores
        Validation scores of the model that predicted them; None if there are none.

    Returns
    -------
    Dataset
        If ``std`` is NaN everywhere and there are validation scores, ``std`` is the root mean
        squared error of each band, the same for every pixel; otherwise ``images`` unchanged.
    """
    if scores is None or _has_values(images["std"]):
        return images
    by_band = dict(zip(BANDS, scores.rmse_db, strict=True))
    errors = [by_band[str(band)] for band in images["band"].values]
    rmse = xr.DataArray(np.array(errors, dtype=np.float32), dims="band")
    std = (xr.zeros_like(images["expected"]) + rmse).astype(np.float32)
    return images.assign(std=std.assign_attrs(images["std"].attrs))


def _has_values(image: xr.DataArray) -> bool:
    """Whether any value is not NaN, read strip by strip up to the first one."""
    strips = range(0, image.sizes["y"], STRIP_PX)
    return any(
        np.isfinite(image.isel(y=slice(first, first + STRIP_PX)).values).any() for first in strips
    )
