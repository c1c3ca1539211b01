"""Detection at one date: from a cube and a model to a change map and its polygons."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Bool, Float
from sarcast.cube import Date, moment_of, time_index_of
from sarcast.detection import difference as di
from sarcast.detection.regions import region_polygons, remove_small_regions
from sarcast.detection.thresholds import Threshold
from sarcast.errors import SarcastError
from sarcast.prediction.model import Model
from sarcast.prediction.predict import TileOptions, predict
from sarcast.prediction.uncertainty import with_validation_std
from sarcast.sensor.units import DB
from sarcast.windows import BANDS, Predictor, PreviousOptions, rank_previous

if TYPE_CHECKING:
    import geopandas

IMAGE = ("band", "y", "x")


class DetectOptions(BaseModel):
    """When a pixel counts as changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    threshold: float | None = Field(
        None, ge=0.0, description="Norm of the difference above which a pixel is changed, dB."
    )
    false_alarm_rate: float = Field(
        0.001,
        gt=0.0,
        lt=1.0,
        description="Share of unchanged pixels that are called changed, by the model's validation "
        "residuals; used where no threshold is given.",
    )
    min_pixels: int = Field(
        8, ge=1, description="Smallest change that is kept, in connected pixels (8 neighbours)."
    )
    level: bool = Field(
        False,
        description="First shift the expected image by the median difference of each band: this "
        "removes unmodelled weather over a whole scene, if less than half of it changed.",
    )


@dataclass(frozen=True)
class Detection:
    """What changed on the ground at one date.

    Attributes
    ----------
    images
        ``actual``, ``expected``, ``std`` and ``difference`` (actual - expected), dims (band, y, x),
        dB; ``changed``, dims (y, x), bool; on the cube's grid, with the date as ``time``.
    previous_date
        Acquisition time of the latest image before the target.
    threshold_db
        Norm of the difference above which a pixel is changed, dB.
    level_db
        Dims (band), dB: median of actual - expected, before a shift by ``DetectOptions.level``.
    """

    images: xr.Dataset
    previous_date: np.datetime64
    threshold_db: float
    level_db: Float

    @cached_property
    def polygons(self) -> "geopandas.GeoDataFrame":
        """One row per connected change; columns as in ``regions.region_polygons``."""
        return region_polygons(self.images, self.previous_date)

    @property
    def grid(self) -> GeoBox:
        """Grid of the images."""
        return self.images["expected"].odc.geobox

    @property
    def date(self) -> np.datetime64:
        """Acquisition time of the target."""
        date: np.datetime64 = self.images["time"].values.flat[0]
        return date

    @cached_property
    def valid(self) -> Bool:
        """Pixels whose difference is known in every band, dims (y, x)."""
        return np.asarray(np.isfinite(self.images["difference"].values).all(axis=0))

    @property
    def changed_share(self) -> float:
        """Changed pixels over valid pixels, 0..1."""
        return float(self.images["changed"].values.sum() / max(1, self.valid.sum()))


def detect(
    cube: xr.Dataset,
    predictor: Predictor,
    at: Date,
    *,
    options: DetectOptions | None = None,
    baseline: PreviousOptions | None = None,
    before: Date | None = None,
    tiles: TileOptions | None = None,
) -> Detection:
    """Find what changed on the ground at one date of a cube.

    A pixel is changed where the norm over the bands of actual - expected exceeds a threshold, in
    connected regions of at least ``min_pixels`` pixels.

    Parameters
    ----------
    cube
        The cube.
    predictor
        A model, a strategy, or anything else with ``expect``; without validation scores it needs
        ``options.threshold``.
    at
        Date or time of the target, UTC, as in ``predict``.
    options
        Threshold, smallest region, and removal of the offset of the whole scene.
    baseline
        Which previous images; their number applies to predictors that take any number.
    before
        Only previous images before this date: a baseline that stays fixed while a change is
        watched.
    tiles
        How the cube is tiled.

    Returns
    -------
    Detection
        ``images`` (Dataset) and ``polygons`` (GeoDataFrame).

    Raises
    ------
    SarcastError
        If the cube has no such date or lacks a band, too few images precede the date, no pixel of a
        band has data, or no threshold can be derived from the model.

    Warns
    -----
    UserWarning
        If the whole scene is off the expected image by more than its standard deviation.

    Examples
    --------
    >>> detection = sarcast.detect(cube, model, at="2024-12-24")  # doctest: +SKIP
    >>> detection.images["changed"].plot()  # doctest: +SKIP
    >>> detection.polygons.explore()  # doctest: +SKIP
    """
    options = options or DetectOptions()
    index, end = time_index_of(cube, at), None if before is None else moment_of(before)
    times, threshold = cube["time"].values, _threshold_db(predictor, options)
    predicted = predict(cube, predictor, at, baseline=baseline, before=before, tiles=tiles)
    if isinstance(predictor, Model):
        predicted = with_validation_std(predicted, predictor)
    actual = cube["backscatter"].sel(band=list(BANDS)).isel(time=index).transpose(*IMAGE).values
    expected, std = predicted["expected"].values, predicted["std"].values
    level = _level_db(actual, expected, times[index])
    if options.level:
        expected = expected + level[:, np.newaxis, np.newaxis]
    else:
        _warn_of_level(level, di.z(actual, expected, std))
    changed = Threshold(threshold).predict(di.subtract(actual, expected))
    images = detection_images(
        predicted.assign(expected=predicted["expected"].copy(data=expected)),
        actual,
        remove_small_regions(changed, options.min_pixels),
        times[index],
    )
    latest = rank_previous(times, index, before=end, chooser="recent")[0]
    return Detection(images, times[latest], threshold, level)


def detection_images(
    predicted: xr.Dataset, actual: Float, changed: Bool, date: np.datetime64
) -> xr.Dataset:
    """Images of a ``Detection``: the predicted ones with the actual image and the change map.

    Parameters
    ----------
    predicted
        ``expected`` and ``std``, dims (band, y, x), dB.
    actual
        Dims (band, y, x), dB.
    changed
        Dims (y, x).
    date
        Acquisition time of the actual image.
    """
    expected = predicted["expected"]
    difference = di.subtract(actual, expected.values)
    mask = expected.isel(band=0, drop=True).copy(data=changed).drop_attrs(deep=False)
    return predicted.assign(
        actual=expected.copy(data=actual),
        difference=expected.copy(data=difference).assign_attrs(units=DB),
        changed=mask,
    ).assign_coords(time=date)


def _threshold_db(predictor: Predictor, options: DetectOptions) -> float:
    """Threshold on the norm of the difference, dB, given or by the false-alarm rate."""
    if options.threshold is not None:
        return options.threshold
    scores = predictor.scores if isinstance(predictor, Model) else None
    if scores is None:
        raise SarcastError(
            f"{predictor.name} has no validation scores; set threshold (--threshold) in dB"
        )
    shares, quantiles = zip(*sorted(scores.norm_quantiles_db.items()), strict=True)
    wanted = 1.0 - options.false_alarm_rate
    if not shares[0] <= wanted <= shares[-1] + 1e-9:
        raise SarcastError(
            f"{predictor.name} has thresholds for false-alarm rates of {1.0 - shares[-1]:g} to "
            f"{1.0 - shares[0]:g}, not for {options.false_alarm_rate:g}; "
            f"set threshold (--threshold) in dB"
        )
    return float(np.interp(wanted, shares, quantiles))


def _level_db(actual: Float, expected: Float, date: np.datetime64) -> Float:
    """Median difference of each band, dims (band)."""
    level = di.level(di.subtract(actual, expected))
    empty = [band for band, value in zip(BANDS, level, strict=True) if np.isnan(value)]
    if empty:
        raise SarcastError(
            f"no pixel of {', '.join(empty)} has data both at "
            f"{np.datetime_as_string(date, unit='s')} and in the previous images; "
            f"choose another date, or a cube with both bands"
        )
    return level


def _warn_of_level(level: Float, z: Float) -> None:
    if (np.abs(di.level(z)) > 1.0).any():
        offsets = " and ".join(
            f"{value:+.1f} dB ({band})" for band, value in zip(BANDS, level, strict=True)
        )
        warnings.warn(
            f"the whole scene is {offsets} off the expected image, more than its standard "
            f"deviation: perhaps weather that is not in the cube; level (--level) removes it",
            stacklevel=3,
        )
