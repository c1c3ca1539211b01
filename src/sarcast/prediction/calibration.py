"""How well a model predicts images that it was not trained on, and how honest its deviation is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sarcast.arrays import Double
from sarcast.errors import SarcastError
from sarcast.prediction.model import Model, ValidationScores
from sarcast.prediction.strategies import mean
from sarcast.windows import BANDS, Window

QUANTILES = (0.5, 0.68, 0.9, 0.95, 0.99, 0.995, 0.999)
"""Shares of unchanged pixels whose residual norm is kept, for thresholds by false-alarm rate."""
ONE_SIGMA = 0.6827
"""Share of a normal distribution within one standard deviation."""


def check_bands(windows: Sequence[Window]) -> None:
    """See that windows can be scored.

    Raises
    ------
    SarcastError
        If there is no pixel whose every band was seen by a target and by a previous image.
    """
    seen = [np.isfinite(w.target) & np.isfinite(w.previous).any(axis=0) for w in windows]
    if not any(each.all(axis=0).any() for each in seen):
        bands = [any(each[place].any() for each in seen) for place in range(len(BANDS))]
        blind = [band for band, found in zip(BANDS, bands, strict=True) if not found]
        raise SarcastError(
            f"training data with no valid window: no pixel of the validation windows was seen in "
            f"{' or '.join(blind) or 'both bands at once'}; sarcast needs {' and '.join(BANDS)}"
        )


def residual_scores(model: Model, windows: Sequence[Window]) -> ValidationScores:
    """Score a model's expected images against the actual ones.

    Parameters
    ----------
    model
        The model.
    windows
        Windows whose target the model was not trained on, taken as unchanged.

    Raises
    ------
    SarcastError
        If no pixel is there of which every band is known.
    """
    check_bands(windows)
    expected = model.expect(windows)
    residuals = _pixels([w.target - e.mean for w, e in zip(windows, expected, strict=True)])
    conventional = _pixels([window.target - mean(window) for window in windows])
    seen = np.isfinite(residuals).all(axis=0)
    values = residuals[:, seen]
    norm = np.sqrt(np.square(values).sum(axis=0))
    within = None
    if expected[0].std is not None:
        ratio = np.abs(values) / _pixels([each.std for each in expected])[:, seen]
        within = (float(np.mean(ratio <= 1.0)), float(np.mean(ratio <= 2.0)))
    return ValidationScores(
        rmse_db=tuple(float(rmse) for rmse in np.sqrt(np.square(values).mean(axis=1))),
        norm_quantiles_db={share: float(np.quantile(norm, share)) for share in QUANTILES},
        pixels=values.shape[1],
        of_mean=float(np.square(values).sum() / np.square(conventional[:, seen]).sum()),
        within_std=within,
    )


def calibrated(model: Model, windows: Sequence[Window]) -> Model:
    """Scale a model's standard deviation so that it holds as many residuals as a normal one.

    Parameters
    ----------
    model
        A model that tells a standard deviation; one that does not is given back.
    windows
        Windows whose target the model was not trained on, taken as unchanged.
    """
    if model.expect(windows[:1])[0].std is None:
        return model
    expected = model.expect(windows)
    ratio = _pixels(
        [
            np.abs(window.target - each.mean) / each.std
            for window, each in zip(windows, expected, strict=True)
        ]
    )
    factor = float(np.quantile(ratio[np.isfinite(ratio)], ONE_SIGMA))
    return replace(model, std_factor=model.std_factor * factor)


def _pixels(images: Sequence[Any]) -> Double:
    """Put the pixels of images, (band, y, x) each, in one row for each band."""
    rows = [np.asarray(image, dtype=np.float64).reshape(len(BANDS), -1) for image in images]
    return np.concatenate(rows, axis=1)
