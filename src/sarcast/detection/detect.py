"""Detection: from a cube and an expected image to events, dated and outlined."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from pydantic import ConfigDict, Field

from sarcast.arrays import Bool, Box, Labels, Times
from sarcast.detection.area import Area, Plots, open_area
from sarcast.detection.blocks import BlockOptions
from sarcast.detection.events import describe_events
from sarcast.detection.judged import crop, trim
from sarcast.detection.layers import SeriesLayers, images_of
from sarcast.detection.null import Null
from sarcast.detection.observation import ObservationLayers, Observer, Sighting
from sarcast.detection.p_values import Counts
from sarcast.detection.prepare import EvidenceOptions, measure_null, observer_of
from sarcast.detection.regions import Regions
from sarcast.detection.residuals import watched_bands
from sarcast.detection.watch import Watch, WatchOptions, plan_watch
from sarcast.errors import SarcastError, UsageError
from sarcast.io.footprint import by_code
from sarcast.io.images import grid_of_images
from sarcast.io.scratch import Array
from sarcast.windows import Predictor

if TYPE_CHECKING:
    import geopandas

HOW_MADE = ("strata", "replays")
"""Options of null distributions alone: those that are given may differ from the defaults."""
PARTLY_SEEN_SHARE = 0.05
"""Share of the judged pixels from which on missing looks are worth a warning."""


class DetectOptions(WatchOptions, EvidenceOptions, BlockOptions):
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
        return grid_of_images(self.images["expected"])

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
    scratch: Path | None = None,
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
    scratch
        Folder for the intermediate results and images of an area larger than a block, which are
        deleted with the images; the workers of a scheduler must see it. Default: that of the system
        for temporary files.
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
        be judged, the null distributions are those of something else, or a scheduler or its workers
        cannot be used (see ``start_workers`` and ``open_workers``).

    Warns
    -----
    UserWarning
        If part of the area is seen by fewer acquisitions, or the past is too short for replays.

    Examples
    --------
    >>> cube, model = sarcast.open_cube("area.zarr"), sarcast.load_model("base")
    >>> detection = sarcast.detect(cube, model, until="2024-12-24", acquisitions=3)
    >>> large = detection.events[detection.events.area_ha > 1.0]
    >>> detection.images["evidence"].dims
    ('y', 'x')
    """
    if options is not None and settings:
        raise UsageError(f"give options, or {', '.join(settings)} alone: not both")
    options = options or DetectOptions(**settings)
    part = crop(cube, options.area)
    with open_area(part, options, scratch) as area:
        return _detect(area, predictor, options, null)


def _detect(
    area: Area, predictor: Predictor, options: DetectOptions, null: Null | None
) -> Detection:
    cube = area.part.cube
    watch = plan_watch(cube, options)
    options = options.model_copy(update={"bands": watched_bands(cube, watch, options.bands)})
    conditions = _conditions_of(cube, predictor, watch, options)
    if null is None:
        null = replace(measure_null(area, predictor, watch, options), made_from=conditions)
    _check_same(null, conditions)
    observer = observer_of(cube, predictor, null.strata, options)
    plots = observer.plots(area)
    threshold = _threshold(null, options)
    before = cube["time"].values[cube["time"].values < watch.before].max()
    with area.with_scratch() as passing:
        sighting = observer.see(watch, passing, plots, means=area.scratch)
        evidence, regions = _found(observer, sighting, null, passing, plots)
        source = SeriesLayers(sighting, evidence, passing.kept(null.strata), cube, before)
        regions = regions.above(threshold)
        events, onsets = describe_events(regions, source, area.grid)
        images = images_of(source, regions, onsets, area)
    images = trim(images, area.part.inside)
    return Detection(images, events, source.times, before, threshold, null, options)


def _found(
    observer: Observer, sighting: Sighting, null: Null, area: Area, plots: Plots
) -> tuple[Array, Regions]:
    """Evidence of all pixels, dims (y, x), and its regions; statistics are not kept."""
    with area.with_scratch() as passing:
        observation = observer.measured(sighting.residuals, sighting.typical, passing, plots)
        evidence, counts = judge(observation, null, area, plots)
        _check_looks(counts, len(sighting.images.times))
        return evidence, observer.regions_in(area, plots, evidence, observation.shift)


def judge(
    observation: ObservationLayers, null: Null, area: Area, plots: Plots
) -> tuple[Array, Counts]:
    """Give all pixels their p-values, part by part.

    Parameters
    ----------
    observation
        Of a watch.
    null
        Null distributions of watches of as many targets.
    area, plots
        As in ``Observer.observe``.

    Returns
    -------
    evidence
        Dims (y, x), -log10 of the p-value; NaN where not judged.
    counts
        Number of pixels that could be judged, by looks from 0 to 255.
    """
    layer = area.scratch.images(area.shape, np.float32)
    tables = null.with_strata(np.zeros((0, 0), dtype=null.strata.dtype))
    task = _Judge(observation, tables, layer)
    calls = [(core, null.strata[core]) for core in plots.cores]
    return layer, np.sum(list(area.each(task, calls, "judging")), axis=0)


@dataclass(frozen=True)
class _Judge:
    """Gives the pixels of a part their p-values."""

    observation: ObservationLayers
    null: Null
    layer: Array

    def __call__(self, core: Box, strata: Labels) -> Counts:
        """Keep the evidence; give the number of pixels that could be judged, by looks from 0 on."""
        part = self.observation.read(core, strata)
        self.layer[core] = self.null.evidence(part.statistics, part.looks, strata)
        return np.bincount(part.looks[strata >= 0], minlength=256)


def _conditions_of(
    cube: xr.Dataset, predictor: Predictor, watch: Watch, options: DetectOptions
) -> dict[str, str]:
    """What null distributions hold for."""
    grid = by_code(grid_of_images(cube["backscatter"]))
    chosen = (
        *("previous", "chooser", "gap", "direction", "bands", "min_area"),
        *("area", "within", "outside"),
        *HOW_MADE,
    )
    return {
        "predictor": predictor.name,
        "acquisitions": str(len(watch.targets)),
        **{name: str(getattr(options, name)) for name in chosen},
        "grid": f"{grid.height} x {grid.width} pixels, {list(grid.transform)[:6]}, {grid.crs}",
    }


def _check_same(null: Null, conditions: Mapping[str, str]) -> None:
    """Check what null distributions hold for, and how they were made if that is asked for."""
    defaults = {name: str(DetectOptions.model_fields[name].default) for name in HOW_MADE}
    for name, wanted in conditions.items():
        if null.made_from.get(name) != wanted and defaults.get(name) != wanted:
            raise SarcastError(
                f"these null distributions are those of {name} {null.made_from.get(name)}, but "
                f"{name} is {wanted} here; replay the past anew (without --null)"
            )


def _threshold(null: Null, options: DetectOptions) -> float:
    if options.false_pixels is not None:
        return float(-np.log10(options.false_pixels))
    return null.threshold(options.false_events)


def _check_looks(counts: Counts, targets: int) -> None:
    """Check the number of pixels by looks, from 0 on."""
    if not counts[1:].any():
        raise SarcastError(
            "no pixel has data both in the watched acquisitions and in their baseline; choose "
            "another date (--until) or fewer previous images (--previous)"
        )
    share = float(counts[:targets].sum() / counts.sum())
    if share >= PARTLY_SEEN_SHARE:
        warnings.warn(
            f"{100.0 * share:.0f} % of the judged pixels are seen by fewer than the {targets} "
            f"watched acquisitions: change is harder to find there",
            stacklevel=4,
        )
