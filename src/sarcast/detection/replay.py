"""Replays: the same watch at earlier times of the same cube, where nothing or little changed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sarcast.arrays import Box, Double, Float, Labels
from sarcast.detection.area import Area, Plots
from sarcast.detection.null import (
    BINS,
    EVIDENCE_BINS,
    Counts,
    Null,
    combined_table,
    count_values,
    evidence_tables,
    exact_evidence,
    greatest_evidence,
)
from sarcast.detection.observation import Observation, ObservationLayers, Observer
from sarcast.detection.watch import Watch
from sarcast.errors import SarcastError
from sarcast.io.progress import track
from sarcast.io.scratch import Array

_log = logging.getLogger(__name__)

M2_PER_KM2 = 1e6


@dataclass(frozen=True)
class Seen:
    """An observation of parts of an area, and what made it."""

    observer: Observer
    observation: ObservationLayers
    area: Area
    plots: Plots

    @property
    def boxes(self) -> list[Box]:
        """Rows and columns of the parts."""
        return [block.core for block in self.plots.blocks]

    def read(self, box: Box) -> tuple[Observation, Labels]:
        """Observation of a part, and its strata."""
        strata = self.observer.strata[box]
        return self.observation.read(box, strata), strata


def replay(observer: Observer, watches: Sequence[Watch], area: Area) -> Null:
    """Replay a watch at earlier times and measure its null distributions.

    The p-values of a replay, its regions and their peaks come from the distributions of all other
    replays, as those of the watched acquisitions do. Of a large area, a sample of squares is
    replayed.

    Parameters
    ----------
    observer
        How.
    watches
        Earlier watches of as many targets, at least one.
    area
        The area of the cube.

    Returns
    -------
    Null
        Of those replays in which some pixel could be judged.

    Raises
    ------
    SarcastError
        If there is none.
    """
    plots = Plots.sample_of(area, observer.strata) or observer.plots(area)
    failures: list[SarcastError] = []
    seen = []
    for watch in track(watches, "replaying", len(watches)):
        try:
            seen.append(_observed(observer, watch, area, plots))
        except SarcastError as error:
            _log.info(f"a replay is left out: {error}")
            failures.append(error)
    judged = [each for each in seen if _most_looks(each) > 0]
    if not judged:
        if len({str(each) for each in failures}) == 1:  # nothing that depends on the date
            raise failures[0]
        raise SarcastError(
            "no replay of the past could be judged: too few previous images see the area; choose "
            "fewer (--previous), or the table of the weights (--replays 0)"
        )
    return null_of(judged)


def null_of(seen: Sequence[Seen]) -> Null:
    """Measure the null distributions of several observations, each by those of all others.

    Parameters
    ----------
    seen
        Observations of one or several areas, at least one; strata of the same number mean the same
        in all areas.

    Returns
    -------
    Null
        With the strata of the first one.
    """
    looks = max(_most_looks(each) for each in seen)
    counts = np.stack([_counted(each, looks) for each in seen])
    greatest = [
        _greatest(each, evidence_tables(_others(counts, index))) for index, each in enumerate(seen)
    ]
    combined = np.stack([histogram for _, histogram in greatest])
    peaks, areas = [], []
    for index, each in enumerate(seen):
        evidence, histogram = greatest[index]
        peaks.append(_peaks(each, evidence, combined_table(_others(combined, index))))
        areas.append(float(histogram.sum() * each.observer.pixel_area_m2 / M2_PER_KM2))
    names = tuple(seen[0].observation.statistics)
    return Null(seen[0].observer.strata, names, counts, combined, tuple(peaks), tuple(areas))


def _observed(observer: Observer, watch: Watch, area: Area, plots: Plots) -> Seen:
    with area.with_scratch() as temporary:
        observation = observer.observe(watch, temporary, plots).observation
        return packed(Seen(observer, observation, area, plots))


def packed(seen: Seen) -> Seen:
    """Half the memory, at a relative precision of 0.05 %; statistics are divided by their sizes."""
    scratch, found = seen.area.scratch, seen.observation
    copy = ObservationLayers(
        {name: scratch.images(each.shape, np.float16) for name, each in found.statistics.items()},
        scratch.images(found.shift.shape, np.float16),
        scratch.images(found.looks.shape, np.uint8),
    )
    for box in seen.boxes:
        part, _ = seen.read(box)
        for name, values in part.statistics.items():
            copy.statistics[name][box] = values.astype(np.float16)
        copy.shift[(slice(None), *box)] = part.shift.astype(np.float16)
        copy.looks[box] = part.looks
    return Seen(seen.observer, copy, seen.area, seen.plots)


def _most_looks(seen: Seen) -> int:
    return max(int(seen.observation.looks[box].max()) for box in seen.boxes)


def _counted(seen: Seen, looks: int) -> Counts:
    """Pixels by statistic, stratum, looks and bin."""
    groups = int(seen.observer.strata.max(initial=-1)) + 1
    counts: Counts = np.zeros((len(seen.observation.statistics), groups, looks, BINS), np.int64)
    for box in seen.boxes:
        part, strata = seen.read(box)
        counts += count_values(part.statistics, strata, part.looks, counts.shape[1:3])
    return counts


def _greatest(seen: Seen, tables: Double) -> tuple[Array, Counts]:
    """Greatest evidence of the statistics, dims (y, x), and its histogram."""
    greatest = seen.area.scratch.images(seen.area.shape, np.float32)
    histogram: Counts = np.zeros(BINS, dtype=np.int64)
    for box in seen.boxes:
        part, strata = seen.read(box)
        greatest[box] = found = greatest_evidence(tables, part.statistics, strata, part.looks)
        histogram += _histogram(found)
    return greatest, histogram


def _peaks(seen: Seen, greatest: Array, table: Double) -> Double:
    """Evidence of the peaks of regions, which are false."""
    with seen.area.with_scratch() as area:
        evidence = area.scratch.images(area.shape, np.float32)
        for box in seen.boxes:
            evidence[box] = exact_evidence(table, greatest[box])
        shifts = seen.observation.shift
        return seen.observer.regions_in(area, seen.plots, evidence, shifts).peaks


def _others(counts: Counts, index: int) -> Counts:
    """Sum over all replays but one; of all where it is the only one."""
    total = counts.sum(axis=0)
    others: Counts = total if len(counts) == 1 else total - counts[index]
    return others


def _histogram(evidence: Float) -> Counts:
    judged = evidence[np.isfinite(evidence)]
    counts: Counts = np.bincount(EVIDENCE_BINS.of(judged), minlength=BINS)
    return counts
