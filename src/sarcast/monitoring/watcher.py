"""What an acquisition shows: evidence of its last acquisitions, each pixel by its baseline."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from scipy import ndimage

from sarcast.arrays import Bool, Box, Float
from sarcast.detection import difference as di
from sarcast.detection.evidence import Residuals
from sarcast.detection.joining import CONNECTIVITY
from sarcast.detection.null import Null
from sarcast.detection.observation import Observer
from sarcast.detection.regions import Regions
from sarcast.detection.smoothing import smooth
from sarcast.detection.watch import Watch
from sarcast.errors import SarcastError
from sarcast.monitoring.baselines import Baselines
from sarcast.windows import PreviousOptions

_log = logging.getLogger(__name__)

CROP_MARGIN_PX = 128
"""Pixels around those of a fixed baseline that are predicted with them, and level them."""


@dataclass(frozen=True)
class Sight:
    """What an acquisition shows, with the acquisitions watched before it.

    Attributes
    ----------
    residuals
        Of all watched acquisitions, each pixel by its baseline; the last one is the acquisition.
    difference
        Dims (band, y, x): actual - expected of the acquisition, averaged over 25 m, dB; NaN where
        it does not see the pixel.
    """

    residuals: Residuals
    difference: Float

    @property
    def seen(self) -> Bool:
        """Where the acquisition itself is judged, dims (y, x)."""
        return np.asarray(np.isfinite(self.residuals.z[-1]).all(axis=0))


@dataclass(frozen=True)
class Watcher:
    """Looks at the acquisitions of a cube.

    Attributes
    ----------
    observer
        Makes statistics of residuals.
    null
        Null distributions of watches of as many acquisitions.
    """

    observer: Observer
    null: Null

    def look_at(self, watch: Watch, baselines: Baselines) -> Sight:
        """Compare the last watched acquisition, and those before it, with their baselines."""
        z, difference, correlation = self._residuals(self.observer, watch)
        for code in baselines.in_use:
            fixed = replace(watch, before=baselines.end_of(code, watch.before))
            where = baselines.code == code
            for box in _boxes(where):
                observer = self._of(box, latest=baselines.is_latest(code))
                try:
                    found = self._residuals(observer, fixed)
                except SarcastError as error:
                    _log.warning(f"the moving baseline replaces a fixed one: {error}")
                    continue
                for whole, part in zip((z, difference), found[:2], strict=True):
                    whole[(..., *box)][..., where[box]] = part[..., where[box]]
        return self._smoothed(Sight(Residuals(z, correlation), difference))

    def evidence(self, sight: Sight) -> tuple[Float, Regions]:
        """Evidence, dims (y, x), NaN where the acquisition does not see the pixel; its regions."""
        observed = self.observer.observe_residuals(sight.residuals)
        evidence = self.null.evidence(observed.statistics, observed.looks)
        regions = self.observer.regions_of(evidence, observed.shift)
        return np.where(sight.seen, evidence, np.float32(np.nan)), regions

    def _residuals(self, observer: Observer, watch: Watch) -> tuple[Float, Float, float]:
        """Residuals in standard deviations, dims (time, band, y, x), and the last ones in dB."""
        images = observer.reader.images(watch)
        residuals = observer.reader.residuals(images)
        last = images.isel(time=-1)
        difference = di.subtract(last["actual"].values, last["expected"].values)
        return residuals.z, difference, residuals.correlation

    def _smoothed(self, sight: Sight) -> Sight:
        seen = np.where(sight.seen, sight.difference, np.float32(np.nan))
        return replace(sight, difference=smooth(seen, self.observer.finest_px))

    def _of(self, box: Box, *, latest: bool) -> Observer:
        """Observer of a part of the cube."""
        reader = self.observer.reader
        previous = reader.previous
        if latest:
            previous = PreviousOptions(previous=previous.previous, chooser="recent")
        cube: xr.Dataset = reader.cube.isel(y=box[0], x=box[1])
        part = replace(reader, cube=cube, strata=reader.strata[box], previous=previous)
        return replace(self.observer, reader=part)


def _boxes(where: Bool) -> Iterator[Box]:
    """Rows and columns around pixels; those whose margins overlap share a box."""
    around = ndimage.binary_dilation(_coarse(where), CONNECTIVITY)
    labels, _ = ndimage.label(around, CONNECTIVITY)
    for box in ndimage.find_objects(labels):
        rows, columns = (
            slice(part.start * CROP_MARGIN_PX, min(part.stop * CROP_MARGIN_PX, pixels))
            for part, pixels in zip(box, where.shape, strict=True)
        )
        yield rows, columns


def _coarse(where: Bool) -> Bool:
    """Blocks of ``CROP_MARGIN_PX`` that hold such pixels."""
    rows, columns = (-(-pixels // CROP_MARGIN_PX) for pixels in where.shape)
    coarse = np.zeros((rows, columns), dtype=bool)
    coarse[tuple(index // CROP_MARGIN_PX for index in np.nonzero(where))] = True
    return coarse
