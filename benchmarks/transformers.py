"""The published transformers of distmetrics as rivals, with input and scores as in DIST-S1.

Only the inference of the package is imported: its own ``__init__`` imports tools that download and
map scenes, which are not needed here.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scipy.special import expit, logit

from sarcast.arrays import Float
from sarcast.detection.difference import levelled
from sarcast.sensor.units import to_db, to_power
from sarcast.windows import BANDS, Window

MODELS = ("transformer_original", "transformer_optimized", "transformer_anniversary_trained")
LEAST, MOST = 1e-7, 1.0 - 1e-6
"""Bounds of gamma nought before its logit, which is infinite at 0 and 1."""


class Transformer:
    """One of the transformers.

    Parameters
    ----------
    name
        One of ``MODELS``.
    site
        Folder in which distmetrics, einops, tqdm, scikit-image and lazy_loader are installed.
    stride
        Pixels between the patches of 16 x 16 pixels, which are predicted singly and averaged.
    """

    def __init__(self, name: str, site: Path, *, stride: int) -> None:
        load, self._inference, self._despeckle = _import_parts(site)
        self._model = load.load_transformer_model(name, device="cpu")
        self._stride = stride
        self.name = name
        self.context = int(load.get_model_context_length(name))

    def predict(self, window: Window) -> "TransformerPrediction":
        """Predict mean and deviation of the despeckled target, in logits of gamma nought."""
        images = [self.logits(image) for image in window.previous]
        mean, deviation = self._inference.estimate_normal_params(
            self._model,
            *([image[band] for image in images] for band in range(len(BANDS))),
            stride=self._stride,
            tqdm_enabled=False,
            device="cpu",
        )
        return TransformerPrediction(self, mean, deviation)

    def logits(self, image: Float) -> Float:
        """Despeckle an image, (band, y, x) in dB, with the package's total variation filter."""
        despeckle = self._despeckle.despeckle_one_rtc_arr_with_tv
        filtered = np.stack([despeckle(band) for band in to_power(image)])
        filled = np.nan_to_num(filtered, nan=LEAST)
        logits: Float = logit(np.clip(filled, LEAST, MOST)).astype(np.float32)
        return logits


class TransformerPrediction:
    """What a transformer expects of one target."""

    def __init__(self, rival: Transformer, mean: Float, deviation: Float) -> None:
        self._rival, self._mean, self._deviation = rival, mean, deviation
        self.expected: Float = to_db(expit(mean))

    def scores(self, target: Float) -> dict[str, Float]:
        """Compute the package's score: the greater of the bands' distances in deviations.

        The second score is the same for the levelled difference, as our predictions are scored.
        """
        z = (self._rival.logits(target) - self._mean) / self._deviation
        images = {"own": z, "own, levelled": levelled(z)}
        return {name: np.abs(image).max(axis=0) for name, image in images.items()}


def _import_parts(site: Path) -> tuple[Any, Any, Any]:
    if str(site) not in sys.path:
        sys.path.append(str(site))
    package = ModuleType("distmetrics")
    package.__path__ = [str(site / "distmetrics")]
    sys.modules.setdefault("distmetrics", package)
    convolution = ModuleType("astropy.convolution")
    convolution.convolve = None  # type: ignore[attr-defined]
    sys.modules.setdefault("astropy", ModuleType("astropy"))
    sys.modules.setdefault("astropy.convolution", convolution)
    load, inference, despeckle = (
        importlib.import_module(f"distmetrics.{name}")
        for name in ("model_load", "tf_inference", "despeckle")
    )
    return load, inference, despeckle
