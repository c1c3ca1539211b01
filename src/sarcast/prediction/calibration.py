"""Validation scores of a model, and calibration of its standard deviation."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sarcast.arrays import Double
from sarcast.errors import SarcastError
from sarcast.prediction.model import Model
from sarcast.prediction.scores import ValidationScores
from sarcast.prediction.strategies import mean
from sarcast.windows import BANDS, Window

QUANTILES = (0.5, 0.68, 0.9, 0.95, 0.99, 0.995, 0.999)
"""Shares of unchanged pixels whose residual norm is stored, for thresholds by false-alarm rate."""
ONE_SIGMA = 0.6827
"""Share of a normal distribution within one standard deviation."""


def check_bands(windows: Sequence[Window]) -> None:
    """Check that windows can be scored.

    Raises
    ------
    SarcastError
        If no pixel has data of every band in both its target and a previous image.
    """
    valid = [np.isfinite(w.target) & np.isfinite(w.previous).any(axis=0) for w in windows]
    if not any(mask.all(axis=0).any() for mask in valid):
        has_data = [any(mask[band].any() for mask in valid) for band in range(len(BANDS))]
        empty = [band for band, found in zip(BANDS, has_data, strict=True) if not found]
        raise SarcastError(
            f"training data with no valid window: no pixel of the validation windows has data in "
            f"{' or '.join(empty) or 'both bands at once'}; sarcast needs {' and '.join(BANDS)}"
        )


def residual_scores(model: Model, windows: Sequence[Window]) -> ValidationScores:
    """Score a model's expected images against the actual ones.

    Parameters
    ----------
    model
        The model.
    windows
        Windows on whose targets the model was not trained, assumed unchanged.

    Raises
    ------
    SarcastError
        If no pixel has data of every band.
    """
    check_bands(windows)
    expected = model.expect(windows)
    residuals = _pixels([w.target - e.mean for w, e in zip(windows, expected, strict=True)])
    of_mean = _pixels([window.target - mean(window) for window in windows])
    valid = np.isfinite(residuals).all(axis=0)
    values = residuals[:, valid]
    norm = np.sqrt(np.square(values).sum(axis=0))
    within = None
    if expected[0].std is not None:
        ratio = np.abs(values) / _pixels([image.std for image in expected])[:, valid]
        within = (float(np.mean(ratio <= 1.0)), float(np.mean(ratio <= 2.0)))
    return ValidationScores(
        rmse_db=tuple(float(rmse) for rmse in np.sqrt(np.square(values).mean(axis=1))),
        norm_quantiles_db={share: float(np.quantile(norm, share)) for share in QUANTILES},
        pixels=values.shape[1],
        of_mean=float(np.square(values).sum() / np.square(of_mean[:, valid]).sum()),
        within_std=within,
        band_quantiles_db={band: _quantiles_of_band(model, windows, band) for band in BANDS},
    )


def _quantiles_of_band(model: Model, windows: Sequence[Window], band: str) -> dict[float, float]:
    """Quantiles of the absolute residual, dB, where the previous images have one band alone."""
    alone = [window.with_bands((band,)) for window in windows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = replace(model, warned=set()).expect(alone)
    images = [np.abs(w.target - e.mean).ravel() for w, e in zip(alone, expected, strict=True)]
    residuals = np.concatenate(images)
    residuals = residuals[np.isfinite(residuals)]
    return {share: float(np.quantile(residuals, share)) for share in QUANTILES}


def calibrated(model: Model, windows: Sequence[Window]) -> Model:
    """Scale a model's standard deviation so that it covers 68.27 % of the residuals.

    The factor is the 0.6827 quantile of abs(residual) / std.

    Parameters
    ----------
    model
        The model; one without standard deviation is returned as it is.
    windows
        Windows on whose targets the model was not trained, assumed unchanged.
    """
    if model.expect(windows[:1])[0].std is None:
        return model
    expected = model.expect(windows)
    ratio = _pixels(
        [
            np.abs(window.target - image.mean) / image.std
            for window, image in zip(windows, expected, strict=True)
        ]
    )
    factor = float(np.quantile(ratio[np.isfinite(ratio)], ONE_SIGMA))
    return replace(model, std_factor=model.std_factor * factor)


def _pixels(images: Sequence[Any]) -> Double:
    """Collect the pixels of images, (band, y, x) each; dims (band, pixel)."""
    rows = [np.asarray(image, dtype=np.float64).reshape(len(BANDS), -1) for image in images]
    return np.concatenate(rows, axis=1)
