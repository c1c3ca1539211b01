"""Residuals of watched acquisitions against the expected images of their baseline."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from sarcast.arrays import Box, Float, Labels, Times
from sarcast.cube.executor import Workers
from sarcast.detection import difference as di
from sarcast.detection.evidence import Residuals, raw, standardise
from sarcast.detection.watch import Watch
from sarcast.errors import SarcastError, UsageError
from sarcast.io.scratch import Scratch
from sarcast.prediction.model import Model
from sarcast.prediction.predict import Chosen, Predicted, predict_tiles
from sarcast.prediction.scores import ValidationScores
from sarcast.prediction.tiles import TileOptions
from sarcast.prediction.uncertainty import with_validation_std
from sarcast.windows import BaselineOptions, Predictor, bands_of
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
    previous: BaselineOptions
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
        return self.watched(watch).read()

    def watched(
        self,
        watch: Watch,
        regions: Sequence[Box] | None = None,
        scratch: Scratch | None = None,
        workers: Workers | None = None,
    ) -> "WatchedImages":
        """Predict the targets of a watch, to be read by parts.

        Parameters
        ----------
        watch
            What is watched.
        regions, scratch, workers
            As in ``predict_tiles``.
        """
        predicted = predict_tiles(
            Chosen(self.cube, self.predictor, self.previous, self.tiles),
            watch.targets,
            before=watch.before,
            regions=regions,
            scratch=scratch,
            workers=workers,
        )
        scores = self.predictor.scores if isinstance(self.predictor, Model) else None
        images = WatchedImages(self.cube, scores, predicted, watch.targets)
        return images if self.bands is None else replace(images, bands=self._chosen(images))

    def _chosen(self, images: "WatchedImages") -> tuple[str, ...]:
        bands = tuple(self.bands or ())
        lost = [band for band in bands if band not in images.bands]
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


@dataclass(frozen=True)
class WatchedImages:
    """Actual and expected images of the targets of a watch, read by parts.

    Attributes
    ----------
    cube
        As in ``Reader``.
    scores
        Of the predictor, if it has any: not the predictor itself, since tasks carry this.
    predicted
        Expected images.
    targets
        Indices on ``time``.
    bands
        Those that are read; default: all that could be predicted.
    """

    cube: xr.Dataset
    scores: ValidationScores | None
    predicted: Predicted
    targets: Sequence[int]
    bands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Take the bands that could be predicted."""
        if not self.bands:
            object.__setattr__(self, "bands", self.predicted.bands)

    @property
    def times(self) -> Times:
        """Acquisition times of the targets."""
        times: Times = self.predicted.like["time"].values
        return times

    @property
    def has_std(self) -> bool:
        """Whether the standard deviation of the expected images is known."""
        return self.predicted.blend.has_std or self.scores is not None

    def read(self, box: Box | None = None) -> xr.Dataset:
        """Read a part, by default all: ``actual``, ``expected`` and ``std`` as in ``images``."""
        predicted = self.predicted.read(box).transpose(*IMAGES)
        if not self.predicted.blend.has_std:
            predicted = with_validation_std(predicted, self.scores)
        predicted = predicted.sel(band=list(self.bands))
        actual = self.cube["backscatter"].isel(time=list(self.targets))
        actual = actual if box is None else actual.isel(y=box[0], x=box[1])
        actual = actual.sel(band=predicted["band"]).transpose(*IMAGES).astype(np.float32)
        return predicted.assign(actual=(IMAGES, actual.values))

    def compared(self, box: Box, strata: Labels) -> tuple[xr.Dataset, Float]:
        """Read and compare a part; strata of dims (y, x).

        Returns
        -------
        images, residuals
            As ``read`` gives them; and the residuals before they are levelled, dims (time, band, y,
            x), as ``raw`` gives them.
        """
        images = self.read(box)
        difference = di.subtract(images["actual"].values, images["expected"].values)
        std = images["std"].values if self.has_std else None
        return images, raw(difference, std, strata)


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
