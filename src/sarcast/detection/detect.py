"""Detection at one date: from a cube and a model to a change map and its polygons."""

import warnings
from collections.abc import Sequence
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
from sarcast.windows import BANDS, Predictor, PreviousOptions, bands_of, join_names, rank_previous

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
        description="Share of unchanged pixels that are called changed, according to the model's "
        "validation residuals; used if no threshold is given.",
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
        dB; ``changed``, dims (y, x), bool; on the cube's grid, with the date as ``time``. ``band``
        has the bands with data at the date and in the previous images.
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
        If the cube has no such date, too few images precede the date, no pixel has data, no
        threshold can be derived from the model, or it does not know the bands of the cube.

    Warns
    -----
    UserWarning
        If the whole scene is off the expected image by more than its standard deviation; if a band
        of the cube has no data at the date or before it, so that change is found in the other; or
        if the threshold is that of the norm over more bands.

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
    predicted, actual = _with_data(cube, predicted, index)
    bands = [str(band) for band in predicted["band"].values]
    if len(bands) < len(BANDS):
        threshold = _threshold_db(predictor, options, bands[0])
    expected, std = predicted["expected"].values, predicted["std"].values
    level = di.level(di.subtract(actual, expected))
    if options.level:
        expected = expected + level[:, np.newaxis, np.newaxis]
    else:
        _warn_of_level(bands, level, di.z(actual, expected, std))
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


def _threshold_db(predictor: Predictor, options: DetectOptions, band: str | None = None) -> float:
    """Threshold on the norm of the difference, dB, given or by the false-alarm rate.

    Of a single ``band``, that of its absolute difference or, with a warning, that of the norm.
    """
    if options.threshold is not None:
        return options.threshold
    scores = predictor.scores if isinstance(predictor, Model) else None
    if scores is None:
        raise SarcastError(
            f"{predictor.name} has no validation scores; set threshold (--threshold) in dB"
        )
    by_band = scores.band_quantiles_db or {}
    by_share = by_band.get(band or "", scores.norm_quantiles_db)
    shares, quantiles = zip(*sorted(by_share.items()), strict=True)
    wanted = 1.0 - options.false_alarm_rate
    if not shares[0] <= wanted <= shares[-1] + 1e-9:
        raise SarcastError(
            f"{predictor.name} has thresholds for false-alarm rates of {1.0 - shares[-1]:g} to "
            f"{1.0 - shares[0]:g}, not for {options.false_alarm_rate:g}; "
            f"set threshold (--threshold) in dB"
        )
    threshold = float(np.interp(wanted, shares, quantiles))
    if band is not None and band not in by_band:
        _warn_of_threshold(threshold, band)
    return threshold


def _with_data(cube: xr.Dataset, predicted: xr.Dataset, index: int) -> tuple[xr.Dataset, Float]:
    """Expected and actual image in the bands in which some pixel has data in both.

    Raises
    ------
    SarcastError
        If there is none.
    """
    images = cube["backscatter"].sel(band=predicted["band"].values).isel(time=index)
    actual: Float = images.transpose(*IMAGE).values
    known = np.isfinite(di.subtract(actual, predicted["expected"].values)).any(axis=(1, 2))
    date = np.datetime_as_string(cube["time"].values[index], unit="s")
    if not known.any():
        raise SarcastError(
            f"no pixel has data both at {date} and in the previous images; choose another date"
        )
    used = [str(band) for band in predicted["band"].values[known]]
    unused = [band for band in bands_of(cube) if band not in used]
    if unused:
        warnings.warn(
            f"{join_names(unused)} has no data at {date} or in the previous images: change is "
            f"found in {join_names(used)} alone",
            stacklevel=3,
        )
    return predicted.isel(band=known), actual[known]


def _warn_of_threshold(threshold_db: float, band: str) -> None:
    warnings.warn(
        f"the threshold of {threshold_db:.2f} dB holds for the norm over {join_names(BANDS)}; for "
        f"{band} alone it is strict: fewer unchanged pixels than the false-alarm rate exceed it, "
        f"and fewer changes; set threshold (--threshold) in dB for another",
        stacklevel=4,
    )


def _warn_of_level(bands: Sequence[str], level: Float, z: Float) -> None:
    if (np.abs(di.level(z)) > 1.0).any():
        offsets = " and ".join(
            f"{value:+.1f} dB ({band})" for band, value in zip(bands, level, strict=True)
        )
        warnings.warn(
            f"the whole scene is {offsets} off the expected image, more than its standard "
            f"deviation: perhaps weather that is not in the cube; level (--level) removes it",
            stacklevel=3,
        )
