"""What precedes a detection: how evidence is made, and the null distributions of a cube's past."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace

import xarray as xr
from pydantic import ConfigDict, Field

from sarcast.arrays import Labels, Times
from sarcast.detection.area import Area
from sarcast.detection.evidence import Direction, finest_m, names_of
from sarcast.detection.ground import survey
from sarcast.detection.judged import JudgedOptions
from sarcast.detection.null import PRIOR_REPLAYS, Null
from sarcast.detection.null_file import shipped_prior
from sarcast.detection.observation import Observer
from sarcast.detection.regions import RegionOptions
from sarcast.detection.replay import replay
from sarcast.detection.residuals import Reader
from sarcast.detection.strata import StrataOptions
from sarcast.detection.watch import Watch, knows_season, plan_replays
from sarcast.prediction.tiles import TileOptions
from sarcast.windows import BaselineOptions, Predictor

_log = logging.getLogger(__name__)

FEWEST_REPLAYS = 2
"""With fewer replays than this, a warning says that the table of the weights decides."""
VALUES_A_STRATUM = 2500
"""Pixels of all replays together, those of the table among them, that a stratum should have: small
areas have fewer strata."""


class EvidenceOptions(JudgedOptions, RegionOptions, StrataOptions, BaselineOptions, TileOptions):
    """Where evidence is looked for, from which baseline, and how much of it is an event."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    direction: Direction = Field("both", description="Find losses of backscatter, gains, or both.")
    bands: tuple[str, ...] = Field(
        (), description="Use these bands alone, such as VH; default: all that have data."
    )
    false_events: float = Field(
        2.0,
        gt=0.0,
        le=1e6,
        description="False events per 1 000 km2 and acquisition that are accepted.",
    )
    replays: int = Field(
        8,
        ge=0,
        le=64,
        description="Earlier times of the cube, at most, at which the same watch is repeated to "
        "learn what unchanged ground shows, beside the table of the weights; 0: by that alone.",
    )


def observer_of(
    cube: xr.Dataset, predictor: Predictor, strata: Labels, options: EvidenceOptions
) -> Observer:
    """Make the observer of any watch of a cube; strata of dims (y, x), -1 outside."""
    bands = options.bands or None
    reader = Reader(cube, predictor, previous=options, tiles=options, strata=strata, bands=bands)
    return Observer(reader, options.direction, options)


def measure_null(area: Area, predictor: Predictor, watch: Watch, options: EvidenceOptions) -> Null:
    """Measure null distributions by replay, beside the table of the weights.

    Parameters
    ----------
    area
        The area of the cube; acquisitions from the end of the baseline on are not used.
    predictor
        The expected image.
    watch
        What is repeated.
    options
        How.

    Raises
    ------
    SarcastError
        If no pixel is left to be judged, or no replay could be judged.

    Warns
    -----
    UserWarning
        If the past is too short for replays, so that the table of the weights decides.
    """
    cube = area.part.cube
    previous = options.for_network(predictor.previous).fewest
    times = cube["time"].values
    watches = plan_replays(times, watch, previous=previous, most=options.replays)
    if len(watches) < min(FEWEST_REPLAYS, options.replays):
        warnings.warn(
            f"the past of the cube has room for {len(watches)} replays of {len(watch.targets)} "
            f"acquisitions: p-values come mostly from the table of the weights, which does not "
            f"know this area",
            stacklevel=3,
        )
    with area.with_scratch() as passing:
        ground = survey(passing, watch.before, options)
        room = int(ground.pixels * (len(watches) + PRIOR_REPLAYS)) // VALUES_A_STRATUM
        strata = ground.strata(max(1, min(options.strata, room)))
        observer = observer_of(cube, predictor, strata, options)
        finest = finest_m(observer.pixel_m)
        prior = shipped_prior(len(watch.targets), options.direction, finest)
        if watches:
            null = replay(observer, watches, passing, prior)
        else:
            names = names_of(len(watch.targets), options.direction)
            null = Null.without_replays(strata, names, len(watch.targets), prior)
    return replace(null, knows_season=_knows_season(times, watch, watches))


def _knows_season(times: Times, watch: Watch, replays: Sequence[Watch]) -> bool:
    known = knows_season(times, watch, replays)
    if not known:
        _log.info(
            "the past of the cube has not seen this season: more evidence is asked for, since "
            "fields may do what they never did before"
        )
    return known
