"""Residuals of watched acquisitions against the expected images of their baseline."""

import warnings
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
from sarcast.windows import Predictor, PreviousOptions, bands_of
from sarcast.windows.bands import join_names

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
            predicted = predicted.sel(band=self._chosen(predicted))
        actual = self.cube["backscatter"].isel(time=list(watch.targets))
        actual = actual.sel(band=predicted["band"]).transpose(*IMAGES).astype(np.float32)
        return predicted.assign(actual=(IMAGES, actual.values))

    def _chosen(self, predicted: xr.Dataset) -> list[str]:
        bands = list(self.bands or ())
        lost = [band for band in bands if band not in predicted["band"].values]
        if lost:
            raise SarcastError(
                f"{join_names(lost)} has no data in the baseline; choose other bands (--bands)"
            )
        return bands

    def residuals(self, images: xr.Dataset) -> Residuals:
        """Standardise the residuals of ``images``."""
        difference = di.subtract(images["actual"].values, images["expected"].values)
        z = standardise(difference, images["std"].values, self.strata)
        return Residuals(z, mean_correlation(self.predictor, images["time"].values))


def watched_bands(cube: xr.Dataset, watch: Watch, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Choose the bands that are judged: those that are wanted, or those with watched data.

    Parameters
    ----------
    cube, watch
        What is watched.
    wanted
        Bands; empty for all.

    Returns
    -------
    tuple
        Empty for all that can be predicted.

    Raises
    ------
    SarcastError
        If a band that is wanted is not in the cube, or has no data in the watched acquisitions.

    Warns
    -----
    UserWarning
        If a band of the cube has no data in the watched acquisitions.
    """
    known = [str(band) for band in cube["band"].values]
    unknown = [band for band in wanted if band not in known]
    if unknown:
        raise UsageError(
            f"--bands names {', '.join(unknown)}, but the cube has {join_names(known)}"
        )
    present = bands_of(cube.isel(time=list(watch.targets)))
    lost = [band for band in wanted or bands_of(cube) if band not in present]
    if not lost:
        return tuple(dict.fromkeys(wanted))
    missing = f"{join_names(lost)} has no data in the watched acquisitions"
    if wanted:
        raise SarcastError(f"{missing}; choose other bands (--bands) or dates (--until)")
    warnings.warn(f"{missing}: change is found in {join_names(present)} alone", stacklevel=3)
    return present


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
