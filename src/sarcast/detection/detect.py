"""Detection: from a cube and an expected image to events, dated and outlined."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from pydantic import ConfigDict, Field

from sarcast.arrays import Bool, Labels, Times
from sarcast.detection import difference as di
from sarcast.detection.events import Series, describe_events
from sarcast.detection.evidence import Residuals
from sarcast.detection.judged import crop, trim
from sarcast.detection.null import Null
from sarcast.detection.prepare import EvidenceOptions, in_memory, measure_null, observer_of
from sarcast.detection.regions import Regions
from sarcast.detection.residuals import looks_of, mean_over_looks, watched_bands
from sarcast.detection.strata import cover_masks
from sarcast.detection.watch import Watch, WatchOptions, plan_watch
from sarcast.errors import SarcastError, UsageError
from sarcast.io.grid import by_code
from sarcast.windows import Predictor

if TYPE_CHECKING:
    import geopandas

PARTLY_SEEN_SHARE = 0.05
"""Share of the judged pixels from which on missing looks are worth a warning."""


class DetectOptions(WatchOptions, EvidenceOptions):
    """What is watched, from which baseline, where, and how much evidence makes an event."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    false_pixels: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="Share of unchanged pixels whose evidence may exceed the threshold, in place "
        "of --false-events.",
    )


@dataclass(frozen=True)
class Detection:
    """What changed on the ground during the watched acquisitions.

    Attributes
    ----------
    images
        On the cube's grid, with the last watched acquisition as ``time``. Dims (band, y, x),
        float32, means over the watched acquisitions that see a pixel: ``expected``, ``actual``,
        ``difference`` and ``std`` in dB, ``z``. Dims (y, x): ``evidence``, -log10 of the p-value,
        and ``p_value``, NaN where not judged; ``looks``, watched acquisitions that see the pixel;
        ``changed``; ``event``, id of its event or 0; ``change_date``, the first acquisition that
        shows the change, NaT elsewhere.
    events
        One row per connected change, the greatest evidence first; columns as in
        ``events.describe_events``.
    watched
        Acquisition times of the watched acquisitions, oldest first.
    baseline
        Acquisition time of the latest image that the baseline could use.
    threshold
        Evidence above which a region is an event.
    null
        Null distributions behind the p-values; may be used again for the same cube.
    options
        How it was found.
    """

    images: xr.Dataset
    events: "geopandas.GeoDataFrame"
    watched: Times
    baseline: np.datetime64
    threshold: float
    null: Null
    options: DetectOptions

    @property
    def grid(self) -> GeoBox:
        """Grid of the images."""
        return self.images["expected"].odc.geobox

    @property
    def judged(self) -> Bool:
        """Pixels that were judged, dims (y, x)."""
        return np.asarray(np.isfinite(self.images["evidence"].values))

    @property
    def changed_share(self) -> float:
        """Changed pixels over judged pixels, 0..1."""
        return float(self.images["changed"].values.sum() / max(1, self.judged.sum()))


def detect(
    cube: xr.Dataset,
    predictor: Predictor,
    *,
    options: DetectOptions | None = None,
    null: Null | None = None,
    **settings: Any,
) -> Detection:
    """Find what changed on the ground during the last acquisitions of a cube.

    Residuals of the watched acquisitions against one baseline, fixed before them, give evidence of
    change (``evidence``); the same at earlier times of the cube says how much evidence unchanged
    ground shows (``replay``); regions that exceed it more often than a rate of false events allows
    are events.

    Parameters
    ----------
    cube
        The cube.
    predictor
        A model, a conventional strategy, or anything else with ``expect``.
    options
        What is watched, and how.
    null
        Null distributions of an earlier detection in the same cube, with the same predictor and
        number of acquisitions: the past is not replayed then.
    **settings
        Fields of ``DetectOptions``, in place of ``options``.

    Returns
    -------
    Detection
        ``images`` (Dataset) and ``events`` (GeoDataFrame).

    Raises
    ------
    SarcastError
        If a date cannot be read, too few acquisitions can be watched or precede them, no pixel can
        be judged, or the null distributions are those of something else.

    Warns
    -----
    UserWarning
        If part of the area is seen by fewer acquisitions, or the past is too short for replays.

    Examples
    --------
    >>> detection = sarcast.detect(cube, model, until="2024-12-24")  # doctest: +SKIP
    >>> detection.events.explore()  # doctest: +SKIP
    """
    if options is not None and settings:
        raise UsageError(f"give options, or {', '.join(settings)} alone: not both")
    options = options or DetectOptions(**settings)
    part = crop(cube, options.area)
    part = in_memory(part) if null is None else part
    watch = plan_watch(part.cube, options)
    bands = watched_bands(part.cube, watch, options.bands)
    options = options.model_copy(update={"bands": bands})
    conditions = _conditions_of(part.cube, predictor, watch, options)
    if null is None:
        null = replace(measure_null(part, predictor, watch, options), made_from=conditions)
    _check_same(null, conditions)
    observer = observer_of(part.cube, predictor, null.strata, options)
    images = observer.reader.images(watch)
    residuals = observer.reader.residuals(images)
    _check_looks(residuals, null.strata >= 0)
    observed = observer.observe_residuals(residuals)
    evidence = null.evidence(observed.statistics, observed.looks)
    threshold = _threshold(null, options)
    regions = observer.regions_of(evidence, observed.shift).above(threshold)
    before = part.cube["time"].values[part.cube["time"].values < watch.before].max()
    series = Series(images, residuals, evidence, cover_masks(part.cube), before)
    events, onsets = describe_events(regions, series, part.cube["backscatter"].odc.geobox)
    final = trim(_images(series, regions, onsets), part.inside)
    return Detection(final, events, series.times, before, threshold, null, options)


def _conditions_of(
    cube: xr.Dataset, predictor: Predictor, watch: Watch, options: DetectOptions
) -> dict[str, str]:
    """What null distributions hold for."""
    grid = by_code(cube["backscatter"].odc.geobox)
    chosen = (
        *("previous", "chooser", "gap", "direction", "bands", "min_area"),
        *("area", "within", "outside"),
    )
    return {
        "predictor": predictor.name,
        "acquisitions": str(len(watch.targets)),
        **{name: str(getattr(options, name)) for name in chosen},
        "grid": f"{grid.height} x {grid.width} pixels, {list(grid.transform)[:6]}, {grid.crs}",
    }


def _check_same(null: Null, conditions: Mapping[str, str]) -> None:
    for name, wanted in conditions.items():
        if null.made_from.get(name) != wanted:
            raise SarcastError(
                f"these null distributions are those of {name} {null.made_from.get(name)}, but "
                f"{name} is {wanted} here; replay the past anew (without --null)"
            )


def _threshold(null: Null, options: DetectOptions) -> float:
    if options.false_pixels is not None:
        return float(-np.log10(options.false_pixels))
    return null.threshold(options.false_events)


def _images(series: Series, regions: Regions, onsets: Labels) -> xr.Dataset:
    """Images of a ``Detection``."""
    seen = series.residuals.seen
    actual, expected, std = (
        mean_over_looks(series.images[name].values, seen) for name in ("actual", "expected", "std")
    )
    by_band = {
        "expected": expected,
        "actual": actual,
        "difference": di.subtract(actual, expected),
        "std": std,
        "z": mean_over_looks(series.residuals.z, seen),
    }
    dates = np.concatenate([[np.datetime64("NaT")], series.times[onsets]]).astype("datetime64[s]")
    by_pixel = {
        "evidence": series.evidence,
        "p_value": series.p_value,
        "looks": looks_of(seen),
        "changed": regions.labels > 0,
        "event": regions.labels.astype(np.int32),
        "change_date": dates[regions.labels],
    }
    like = series.images["expected"].isel(time=-1).transpose("band", "y", "x")
    images = {name: like.copy(data=values) for name, values in by_band.items()}
    images["z"].attrs = {}
    flat = like.isel(band=0, drop=True)
    masks = {
        name: flat.copy(data=values).drop_attrs(deep=False) for name, values in by_pixel.items()
    }
    return xr.Dataset({**images, **masks})


def _check_looks(residuals: Residuals, judged: Bool) -> None:
    looks = residuals.seen.sum(axis=0)[judged]
    count = len(residuals.z)
    if not looks.any():
        raise SarcastError(
            "no pixel has data both in the watched acquisitions and in their baseline; choose "
            "another date (--until) or fewer previous images (--previous)"
        )
    share = float((looks < count).mean())
    if share >= PARTLY_SEEN_SHARE:
        warnings.warn(
            f"{100.0 * share:.0f} % of the judged pixels are seen by fewer than the {count} "
            f"watched acquisitions: change is harder to find there",
            stacklevel=3,
        )
