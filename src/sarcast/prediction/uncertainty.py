"""Standard deviation of the expected image where the network itself predicts none."""

import numpy as np
import xarray as xr

from sarcast.prediction.model import Model
from sarcast.windows import BANDS


def with_validation_std(images: xr.Dataset, model: Model) -> xr.Dataset:
    """Fill a missing standard deviation with the model's validation error.

    Parameters
    ----------
    images
        ``expected`` and ``std``, dims (..., band, y, x), dB, as ``predict`` returns them.
    model
        The model that predicted them.

    Returns
    -------
    Dataset
        If ``std`` is NaN everywhere and the model has validation scores, ``std`` is the root mean
        squared error of each band, the same for every pixel; otherwise ``images`` unchanged.
    """
    if model.scores is None or not np.isnan(images["std"]).all():
        return images
    by_band = dict(zip(BANDS, model.scores.rmse_db, strict=True))
    errors = [by_band[str(band)] for band in images["band"].values]
    rmse = xr.DataArray(np.array(errors, dtype=np.float32), dims="band")
    std = (xr.zeros_like(images["expected"]) + rmse).astype(np.float32)
    return images.assign(std=std.assign_attrs(images["std"].attrs))
