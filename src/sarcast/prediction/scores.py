"""Scores of a network on its validation windows, as ``model.yaml`` stores them."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Quantiles = Annotated[dict[float, float], Field(min_length=1)]
"""Quantiles by share of the values below."""


@dataclass(frozen=True)
class ValidationScores:
    """How well a network predicts images that it was not trained on.

    Attributes
    ----------
    rmse_db
        Root mean squared residual of each band, dB.
    norm_quantiles_db
        Quantiles, dB, of the norm over bands of the residual, by share of pixels below.
    pixels
        Number of pixels that were scored.
    of_mean
        Mean squared residual divided by that of the mean of the same previous images.
    within_std
        Share of residuals within one and two standard deviations; None from a network without.
    band_quantiles_db
        By band, quantiles of the absolute residual, dB, where the previous images have that band
        alone; None in models of earlier versions.
    """

    rmse_db: tuple[float, ...]
    norm_quantiles_db: Quantiles
    pixels: int
    of_mean: float
    within_std: tuple[float, float] | None = None
    band_quantiles_db: dict[str, Quantiles] | None = None
