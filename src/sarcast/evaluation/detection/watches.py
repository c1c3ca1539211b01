"""Watches: what detectors are scored on. A cube until a date, and the changes to be found in it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from sarcast.arrays import Bool, Float, Times
from sarcast.detection.regions import pixel_ha
from sarcast.evaluation.detection.scores import Match, MatchOptions, date_errors, match
from sarcast.evaluation.detection.simulation import PersistentOptions, with_persistent_changes
from sarcast.evaluation.detection.truth import counted_changes
from sarcast.evaluation.metrics import count_scores, roc
from sarcast.evaluation.metrics.events import DetectorScores, TruthScore, WatchScore
from sarcast.evaluation.simulation.changes import Change
from sarcast.io.images import grid_of_images
from sarcast.io.outlines import rasterized

if TYPE_CHECKING:
    import geopandas

HA_PER_KM2 = 100.0


@dataclass(frozen=True)
class WatchCase:
    """A cube until its last watched acquisition, and the changes in it.

    Attributes
    ----------
    cube
        What is detected on: with the changes, and nothing after the watch.
    watched
        Times of the watched acquisitions, ascending.
    truth
        Changes, as ``evaluation.detection.truth`` describes them.
    counted
        Dims (change): those to be found.
    area
        Name of the area, where watches of several are scored together.
    """

    cube: xr.Dataset
    watched: Times
    truth: "geopandas.GeoDataFrame"
    counted: Bool
    area: str = ""

    @property
    def name(self) -> str:
        """Area, and time of the last acquisition."""
        return f"{self.area} {np.datetime_as_string(self.watched[-1], unit='s')}".strip()


@dataclass(frozen=True)
class Findings:
    """What a detector found in a watch.

    Attributes
    ----------
    statistic
        Dims (y, x): higher where change is likelier; NaN where not judged.
    events
        From a level to the events at it, with a column ``date`` (datetime64[s], NaT if unknown).
    """

    statistic: Float
    events: Callable[[float], "geopandas.GeoDataFrame"]


def simulated_watches(
    cube: xr.Dataset,
    until: Sequence[int],
    acquisitions: int,
    changes: Sequence[Change],
    options: PersistentOptions | None = None,
    *,
    within: Bool | None = None,
    rng: np.random.Generator,
) -> Iterator[WatchCase]:
    """Put persistent changes into the last acquisitions before some dates.

    Parameters
    ----------
    cube
        The cube, sorted by time.
    until
        Indices on ``time`` of the last watched acquisitions.
    acquisitions
        Number K of watched acquisitions.
    changes, options, within
        As for ``with_persistent_changes``.
    rng
        Generator; each watch has a generator of its own.
    """
    times, options = cube["time"].values, options or PersistentOptions()
    looks = 1 if options.onset == "random" else None
    for index, child in zip(until, rng.spawn(len(until)), strict=True):
        watched = times[index - acquisitions + 1 : index + 1]
        changed = with_persistent_changes(cube, watched, changes, options, within=within, rng=child)
        counted = counted_changes(
            changed.truth,
            times[max(index - acquisitions, 0)],
            watched,
            min_area_ha=options.change_ha,
            looks=looks,
        )
        yield WatchCase(changed.cube, watched, changed.truth, counted)


def true_watches(
    cube: xr.Dataset,
    truth: "geopandas.GeoDataFrame",
    until: Sequence[int],
    acquisitions: int,
    *,
    min_area_ha: float,
    min_magnitude_db: float,
) -> Iterator[WatchCase]:
    """Watch true changes until their K-th acquisition.

    Parameters
    ----------
    cube
        The cube, sorted by time.
    truth
        True changes; those that are new in a watch are found or missed in it.
    until
        Indices on ``time`` of the last watched acquisitions, as of ``truth.watches_of``.
    acquisitions
        Number K of watched acquisitions.
    min_area_ha, min_magnitude_db
        Smallest and weakest change that is to be found.
    """
    times = cube["time"].values
    for index in until:
        watched = times[index - acquisitions + 1 : index + 1]
        counted = counted_changes(
            truth,
            times[index - acquisitions],
            watched,
            min_area_ha=min_area_ha,
            min_magnitude_db=min_magnitude_db,
        )
        yield WatchCase(cube.isel(time=slice(0, index + 1)), watched, truth, counted)


def score(
    watch: WatchCase,
    findings: Findings,
    detector: DetectorScores,
    options: MatchOptions | None = None,
) -> WatchScore:
    """Score what a detector found in a watch, at each of its levels.

    Parameters
    ----------
    watch
        What was watched.
    findings
        What was found.
    detector
        Levels of the detector; its watches are not used.
    options
        When a change is found, and how near an event must be.
    """
    grid = grid_of_images(watch.cube)
    matches = {
        level: match(
            findings.events(level),
            watch.truth,
            watch.counted,
            pixel=abs(grid.resolution.x),
            options=options,
        )
        for level in detector.levels
    }
    judged = int(np.isfinite(findings.statistic).sum())
    return WatchScore(
        watch=watch.name,
        km2=judged * pixel_ha(grid) / HA_PER_KM2,
        acquisitions=len(watch.watched),
        events=tuple(int(each.is_counted.sum()) for each in matches.values()),
        false_events=tuple(int(each.is_false.sum()) for each in matches.values()),
        truths=_truth_scores(watch, findings, matches, detector.own_level),
        auc=_pixel_auc(watch, findings.statistic),
    )


def _truth_scores(
    watch: WatchCase, findings: Findings, matches: dict[float, Match], own_level: float | None
) -> tuple[TruthScore, ...]:
    """Scores of the changes that count."""
    overlap: list[float | None] = [None] * len(watch.truth)
    errors: list[int | None] = list(overlap)  # type: ignore[arg-type]
    if own_level is not None:
        own, dates = matches[own_level], findings.events(own_level)["date"].to_numpy()
        times = watch.cube["time"].values
        errors = date_errors(own, dates.astype("datetime64[s]"), watch.truth, times)
        overlap = [
            float(value) if found else None
            for value, found in zip(own.overlap, own.found, strict=True)
        ]
    magnitudes = watch.truth.get("magnitude_db", pd.Series(np.nan, watch.truth.index)).to_numpy()
    return tuple(
        TruthScore(
            kind=str(watch.truth["kind"].iloc[number]),
            area_ha=float(watch.truth["area_ha"].iloc[number]),
            magnitude_db=float(magnitudes[number]) if np.isfinite(magnitudes[number]) else None,
            level=max((level for level, m in matches.items() if m.found[number]), default=None),
            overlap=overlap[number],
            date_error=errors[number],
        )
        for number in np.flatnonzero(watch.counted)
    )


def _pixel_auc(watch: WatchCase, statistic: Float) -> float | None:
    """Area under the ROC curve of the pixels; those of changes that do not count are left out."""
    grid, outlines = grid_of_images(watch.cube), watch.truth.geometry.to_numpy()
    changed = rasterized(list(outlines[watch.counted]), grid)
    other = rasterized(list(outlines[~watch.counted]), grid) & ~changed
    valid = np.isfinite(statistic) & ~other
    if not (changed & valid).any() or not (~changed & valid).any():
        return None
    return roc(count_scores(statistic, changed, valid)).auc
