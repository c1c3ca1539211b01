"""Evaluation of detection on a cube: with simulated changes, or with true ones."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field

from sarcast.detection.detect import DetectOptions
from sarcast.detection.judged import crop, find_judged, trim
from sarcast.detection.strata import Past
from sarcast.errors import SarcastError
from sarcast.evaluation.detection.detectors import (
    RENEW_DAYS,
    REPLAYS,
    EvidenceDetector,
    RuleDetector,
    SharedSeries,
    conventional_detectors,
)
from sarcast.evaluation.detection.experiment import DetectionResult, Detector, run_detectors
from sarcast.evaluation.detection.rules import RULES, opera_confidence
from sarcast.evaluation.detection.scores import MatchOptions
from sarcast.evaluation.detection.simulation import PersistentOptions, default_changes
from sarcast.evaluation.detection.truth import watches_of, with_magnitudes
from sarcast.evaluation.detection.watches import WatchCase, simulated_watches, true_watches
from sarcast.evaluation.targets import dates_to_evaluate
from sarcast.prediction.model import Model
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import Predictor, bands_of

if TYPE_CHECKING:
    import geopandas

_log = logging.getLogger(__name__)


class DetectionTestOptions(BaseModel):
    """On which changes, and beside which rivals, detection is evaluated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    watches: int = Field(
        6,
        ge=1,
        le=1000,
        description="Times at which detection is evaluated, at most, evenly spread; each watches "
        "as many acquisitions as --detect.acquisitions.",
    )
    min_change: float = Field(
        0.5, gt=0.0, description="Smallest change of --truth that is to be found, hectares."
    )
    min_magnitude: float = Field(
        1.0, ge=0.0, description="Weakest change of --truth that is to be found, dB in a band."
    )
    rivals: bool = Field(
        True,
        description="Also evaluate means of previous images in the same way, and the rules of "
        "other systems; =false turns it off.",
    )
    renew_days: int = Field(
        RENEW_DAYS,
        ge=0,
        le=3650,
        description="Days of watches after which the past is replayed anew; 0: for each watch, as "
        "detect does, which takes longest; with more, more false events come from seasons that the "
        "replays have not seen.",
    )
    matching: MatchOptions = Field(MatchOptions(), description="When a change is found.")
    persistent: PersistentOptions = Field(
        PersistentOptions(), description="How changes are simulated, without --truth."
    )


@dataclass(frozen=True)
class Dates:
    """Dates that may be watched.

    Attributes
    ----------
    start, end
        First watched acquisition at the earliest, last one at the latest; ISO 8601, None for any.
    """

    start: str | None = None
    end: str | None = None


def evaluate_detection(
    cube: xr.Dataset,
    model: Model | None,
    options: DetectionTestOptions | None = None,
    detect: DetectOptions | None = None,
    *,
    truth: "geopandas.GeoDataFrame | None" = None,
    dates: Dates | None = None,
    rng: np.random.Generator,
) -> DetectionResult:
    """Evaluate how well ``detect`` finds changes in a cube, beside its rivals.

    Parameters
    ----------
    cube
        The cube; its backscatter is read into memory.
    model
        A network; None for conventional strategies alone.
    options
        On which changes, and beside which rivals.
    detect
        How change is found, and how many acquisitions are watched.
    truth
        True changes, as ``read_truth`` gives them; without them, changes are simulated.
    dates
        Dates that may be watched; default: those after the training of the model.
    rng
        Generator of the simulated changes.

    Raises
    ------
    SarcastError
        If no acquisitions can be watched, no true change is followed by enough of them, or no
        change fits into the area.
    """
    options, detect = options or DetectionTestOptions(), detect or DetectOptions()
    _check_dates(detect)
    part = crop(cube, detect.area)
    cube, detect = trim(part.cube, part.inside), detect.model_copy(update={"area": None})
    cube = cube.assign(backscatter=cube["backscatter"].load())
    until = _watchable(cube, model, detect, dates or Dates())
    if truth is None:
        until = _spread(until, options.watches)
        watches = _simulated(cube, until, options, detect, rng=rng)
    else:
        until = _spread(_after_changes(cube, truth, until, detect), options.watches)
        watches = true_watches(
            cube,
            with_magnitudes(truth, cube, detect.acquisitions),
            until,
            detect.acquisitions,
            min_area_ha=options.min_change,
            min_magnitude_db=options.min_magnitude,
        )
    detectors = detectors_of(model, options, detect)
    return run_detectors(watches, detectors, options.matching)


def _check_dates(detect: DetectOptions) -> None:
    """Refuse dates of a single watch: an evaluation has several."""
    names = ("until", "since", "at", "baseline")
    given = [n for n in names if getattr(detect, n) != DetectOptions.model_fields[n].default]
    if given:
        raise SarcastError(
            f"an evaluation of detection chooses its own dates, but {', '.join(given)} came; "
            f"choose them by start, end and watches (--start, --end, --watches)"
        )


def _watchable(
    cube: xr.Dataset, model: Model | None, detect: DetectOptions, dates: Dates
) -> list[int]:
    """Indices of the acquisitions until which can be watched, ascending.

    Where the cube is long enough, a past for replays precedes them.
    """
    needed = detect.for_network(model.previous if model else None).fewest + detect.gap
    replays = min(REPLAYS, detect.replays) * detect.acquisitions
    if needed + replays + detect.acquisitions <= cube.sizes["time"]:
        needed += replays
    after = None if model is None else model.training.get("seen_until")
    targets = dates_to_evaluate(cube, needed, start=dates.start, after=after, end=dates.end)
    if len(targets) < detect.acquisitions:
        raise SarcastError(
            f"{detect.acquisitions} acquisitions are to be watched, but only {len(targets)} can be "
            f"evaluated; watch fewer (--detect.acquisitions), or choose another --start or --end"
        )
    return targets[detect.acquisitions - 1 :]


def _spread(indices: list[int], most: int) -> list[int]:
    """Some of the indices, evenly spread, the last one among them."""
    count = min(most, len(indices))
    chosen = np.linspace(len(indices) - 1, 0, count).round().astype(int)
    return sorted(indices[index] for index in chosen)


def _after_changes(
    cube: xr.Dataset,
    truth: "geopandas.GeoDataFrame",
    watchable: list[int],
    detect: DetectOptions,
) -> list[int]:
    """Those of the indices that are the K-th acquisition after a change."""
    times = cube["time"].values
    until = watches_of(truth, times, detect.acquisitions)
    kept = sorted({*until} & {*watchable})
    if not kept:
        first, last = (np.datetime_as_string(times[i], "D") for i in (watchable[0], watchable[-1]))
        raise SarcastError(
            f"no change of the {len(truth)} is followed by {detect.acquisitions} acquisitions that "
            f"can be watched: the last one of a watch must lie between {first} and {last}, the "
            f"changes lie between {truth['earliest'].min():%Y-%m-%d} and "
            f"{truth['latest'].max():%Y-%m-%d}"
        )
    return kept


def _simulated(
    cube: xr.Dataset,
    until: list[int],
    options: DetectionTestOptions,
    detect: DetectOptions,
    *,
    rng: np.random.Generator,
) -> Iterator[WatchCase]:
    first = cube["time"].values[until[0] - detect.acquisitions + 1]
    return simulated_watches(
        cube,
        until,
        detect.acquisitions,
        default_changes(bands_of(cube)),
        options.persistent,
        within=find_judged(crop(cube, None), Past(cube, first), detect),
        rng=rng,
    )


def detectors_of(
    model: Model | None, options: DetectionTestOptions, detect: DetectOptions
) -> list[Detector]:
    """The network first, then its rivals; only the strategies without a network."""
    found: list[Detector] = []
    if model is not None:
        found.append(EvidenceDetector(model, "network", detect, options.renew_days))
    strategies = conventional_detectors(detect, renew_days=options.renew_days)
    if model is None:
        found += strategies if options.rivals else strategies[:1]
    elif options.rivals:
        found += strategies
    if options.rivals:
        found += _rule_detectors(model or STRATEGIES["mean"], detect)
    return found


def _rule_detectors(predictor: Predictor, detect: DetectOptions) -> list[Detector]:
    """The rules of other systems, on the residuals of a predictor."""
    series = SharedSeries(predictor, baseline=detect, tiles=detect)
    has_std = isinstance(predictor, Model)
    rules = [rule for rule in RULES if has_std or rule.statistic is not opera_confidence]
    return [RuleDetector(rule, series, detect.min_area) for rule in rules]
