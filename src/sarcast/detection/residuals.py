"""Residuals of watched acquisitions against the expected images of their baseline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sarcast.arrays import Bool, Float, Labels, Times
from sarcast.detection import difference as di
from sarcast.detection.evidence import Residuals, standardise
from sarcast.detection.watch import Watch
from sarcast.errors import SarcastError, UsageError
from sarcast.prediction.model import Model
from sarcast.prediction.predict import TileOptions, predict_targets
from sarcast.prediction.uncertainty import with_validation_std
from sarcast.windows import Predictor, PreviousOptions

IMAGES = ("time", "band", "y", "x")


@dataclass(frozen=True)
class Reader:
    """Predicts the targets of any watch of one cube in one way.

    Attributes
    ----------
    cube
        The cube.
    predictor
        The expected image.
    previous, tiles
        As in ``predict``.
    strata
        Dims (y, x), -1 outside.
    bands
        Bands that are judged; None for all.
    """

    cube: xr.Dataset
    predictor: Predictor
    previous: PreviousOptions
    tiles: TileOptions
    strata: Labels
    bands: tuple[str, ...] | None = None

    def images(self, watch: Watch) -> xr.Dataset:
        """Read and predict the targets of a watch.

        Returns
        -------
        Dataset
            ``actual``, ``expected`` and ``std``, dims (time, band, y, x), dB, in the bands that
            could be predicted.
        """
        predicted = predict_targets(
            self.cube,
            self.predictor,
            watch.targets,
            baseline=self.previous,
            before=watch.before,
            tiles=self.tiles,
        ).transpose(*IMAGES)
        if isinstance(self.predictor, Model):
            predicted = with_validation_std(predicted, self.predictor)
        if self.bands is not None:
            predicted = predicted.sel(band=_chosen(predicted, self.bands))
        actual = self.cube["backscatter"].isel(time=list(watch.targets))
        actual = actual.sel(band=predicted["band"]).transpose(*IMAGES).astype(np.float32)
        return predicted.assign(actual=(IMAGES, actual.values))

    def residuals(self, images: xr.Dataset) -> Residuals:
        """Standardise the residuals of ``images``."""
        difference = di.subtract(images["actual"].values, images["expected"].values)
        z = standardise(difference, images["std"].values, self.strata)
        return Residuals(z, mean_correlation(self.predictor, images["time"].values))


def check_bands(cube: xr.Dataset, bands: Sequence[str]) -> None:
    """Raise a ``UsageError`` if a band is not in the cube."""
    known = [str(band) for band in cube["band"].values]
    unknown = [band for band in bands if band not in known]
    if unknown:
        raise UsageError(
            f"--bands names {', '.join(unknown)}, but the cube has {' and '.join(known)}"
        )


def _chosen(predicted: xr.Dataset, bands: Sequence[str]) -> list[str]:
    """Bands, each once; a ``SarcastError`` if one could not be predicted."""
    for band in bands:
        if band not in predicted["band"].values:
            raise SarcastError(
                f"{band} has no data in the watched acquisitions or their baseline; choose other "
                f"bands (--bands)"
            )
    return list(dict.fromkeys(bands))


def mean_correlation(predictor: Predictor, times: Times) -> float:
    """Mean correlation of the errors of two targets; 0 where it was not measured."""
    if not isinstance(predictor, Model) or len(times) < 2:
        return 0.0
    correlation = predictor.deviation.of(context=predictor.uses_target).error_correlation
    if correlation is None:
        return 0.0
    days = (times - times.min()) / np.timedelta64(1, "D")
    apart = np.abs(days[:, np.newaxis] - days)[~np.eye(len(days), dtype=bool)]
    return float(correlation(apart).mean())


def looks_of(seen: Bool) -> Labels:
    """Number of targets that see a pixel, dims (y, x), from (time, y, x)."""
    looks: Labels = seen.sum(axis=0).astype(np.uint8)
    return looks


def mean_over_looks(images: Float, seen: Bool) -> Float:
    """Mean over the targets that see a pixel, dims (band, y, x); NaN where none does."""
    looks = seen.sum(axis=0)
    total = np.where(seen[:, np.newaxis], images, np.float32(0.0)).sum(axis=0, dtype=np.float32)
    mean: Float = np.divide(total, looks, out=np.full_like(total, np.nan), where=looks > 0)
    return mean
