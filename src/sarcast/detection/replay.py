"""Replays: the same watch at earlier times of the same cube, where nothing or little changed."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from sarcast.arrays import Box, Double, Float, Labels
from sarcast.detection.area import Area, Plots
from sarcast.detection.null import Null, Prior, summed_combined, summed_counts
from sarcast.detection.observation import ObservationLayers, Observer
from sarcast.detection.p_values import (
    BINS,
    EVIDENCE_BINS,
    Counts,
    combined_table,
    count_values,
    evidence_tables,
    exact_evidence,
    greatest_evidence,
)
from sarcast.detection.watch import Watch
from sarcast.errors import SarcastError
from sarcast.io.progress import track
from sarcast.io.scratch import Array

_log = logging.getLogger(__name__)

R = TypeVar("R")

M2_PER_KM2 = 1e6


@dataclass(frozen=True)
class Seen:
    """An observation of parts of an area, and what made it.

    Attributes
    ----------
    observer, area, plots
        What made it.
    observation
        Its statistics are divided by their sizes.
    looks
        Most targets that see a pixel of the parts.
    """

    observer: Observer
    observation: ObservationLayers
    area: Area
    plots: Plots
    looks: int

    def each(self, task: Callable[[Box, Labels], R], label: str) -> Iterator[R]:
        """Do a task for the rows and columns of each part, and for its strata."""
        strata = self.observer.strata
        return self.area.each(task, [(box, strata[box]) for box in self.plots.cores], label)


def replay(
    observer: Observer, watches: Sequence[Watch], area: Area, prior: Prior | None = None
) -> Null:
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
    prior
        What is counted beside the replays.

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
    found = area.overlapping(_Replay(observer, area, plots), watches)
    outcomes = [*track(found, "replaying", len(watches))]
    failures = [each for each in outcomes if isinstance(each, SarcastError)]
    seen = [each for each in outcomes if isinstance(each, Seen)]
    judged = [each for each in seen if each.looks > 0]
    if not judged:
        if len({str(each) for each in failures}) == 1:  # nothing that depends on the date
            raise failures[0]
        raise SarcastError(
            "no replay of the past could be judged: too few previous images see the area; choose "
            "fewer (--previous), or the table of the weights (--replays 0)"
        )
    return null_of(judged, prior)


def null_of(seen: Sequence[Seen], prior: Prior | None = None) -> Null:
    """Measure the null distributions of several observations, each by those of all others.

    Parameters
    ----------
    seen
        Observations of one or several areas, at least one; strata of the same number mean the same
        in all areas.
    prior
        What is counted beside them.

    Returns
    -------
    Null
        With the strata of the first one.
    """
    looks, overlapping = max(each.looks for each in seen), seen[0].area.overlapping
    counts = np.stack([*overlapping(lambda each: _counted(each, looks), seen)])

    def greatest_of(index: int) -> tuple[Array, Counts]:
        return _greatest(seen[index], evidence_tables(summed_counts(counts, prior, index)))

    greatest = [*overlapping(greatest_of, range(len(seen)))]
    combined = np.stack([histogram for _, histogram in greatest])

    def peaks_of(index: int) -> Double:
        table = combined_table(summed_combined(combined, prior, index))
        return _peaks(seen[index], greatest[index][0], table)

    peaks = tuple(overlapping(peaks_of, range(len(seen))))
    areas = [
        float(histogram.sum() * each.observer.pixel_area_m2 / M2_PER_KM2)
        for each, histogram in zip(seen, combined, strict=True)
    ]
    names = tuple(seen[0].observation.statistics)
    strata = seen[0].observer.strata
    return Null(strata, names, counts, combined, peaks, tuple(areas), prior=prior)


@dataclass(frozen=True)
class _Replay:
    """Replays a watch."""

    observer: Observer
    area: Area
    plots: Plots

    def __call__(self, watch: Watch) -> Seen | SarcastError:
        """Give what was seen, or why nothing was."""
        try:
            with self.area.with_scratch() as temporary:
                found = self.observer.observe(watch, temporary, self.plots)
                return packed(self.observer, found, self.area, self.plots)
        except SarcastError as error:
            _log.info(f"a replay is left out: {error}")
            return error


def packed(observer: Observer, found: ObservationLayers, area: Area, plots: Plots) -> Seen:
    """Keep an observation in half the memory, at a relative precision of 0.05 %."""
    scratch = area.scratch
    copy = ObservationLayers(
        {name: scratch.images(each.shape, np.float16) for name, each in found.statistics.items()},
        scratch.images(found.shift.shape, np.float16),
        scratch.images(found.looks.shape, np.uint8),
    )
    seen = Seen(observer, copy, area, plots, looks=0)
    return replace(seen, looks=max(seen.each(_Pack(found, copy), "keeping a replay")))


@dataclass(frozen=True)
class _Pack:
    """Copies the parts of an observation."""

    found: ObservationLayers
    copy: ObservationLayers

    def __call__(self, box: Box, strata: Labels) -> int:
        """Give the most looks."""
        part = self.found.read(box, strata)
        for name, values in part.statistics.items():
            self.copy.statistics[name][box] = values.astype(np.float16)
        self.copy.shift[(slice(None), *box)] = part.shift.astype(np.float16)
        self.copy.looks[box] = part.looks
        return int(part.looks.max())


def _counted(seen: Seen, looks: int) -> Counts:
    """Pixels by statistic, stratum, looks and bin."""
    shape = int(seen.observer.strata.max(initial=-1)) + 1, looks
    return sum(seen.each(_Count(seen.observation, shape), "counting"), np.zeros((), np.int64))


@dataclass(frozen=True)
class _Count:
    """Counts the pixels of parts; numbers of strata and of looks."""

    observation: ObservationLayers
    shape: tuple[int, int]

    def __call__(self, box: Box, strata: Labels) -> Counts:
        part = self.observation.read(box, strata)
        return count_values(part.statistics, strata, part.looks, self.shape)


def _greatest(seen: Seen, tables: Double) -> tuple[Array, Counts]:
    """Greatest evidence of the statistics, dims (y, x), and its histogram."""
    greatest = seen.area.scratch.images(seen.area.shape, np.float32)
    task = _Greatest(seen.observation, tables, greatest)
    return greatest, sum(seen.each(task, "comparing replays"), np.zeros(BINS, np.int64))


@dataclass(frozen=True)
class _Greatest:
    """Keeps the greatest evidence of parts."""

    observation: ObservationLayers
    tables: Double
    greatest: Array

    def __call__(self, box: Box, strata: Labels) -> Counts:
        """Give its histogram."""
        part = self.observation.read(box, strata)
        found = greatest_evidence(self.tables, part.statistics, strata, part.looks)
        self.greatest[box] = found
        return _histogram(found)


def _peaks(seen: Seen, greatest: Array, table: Double) -> Double:
    """Evidence of the peaks of regions, which are false."""
    with seen.area.with_scratch() as area:
        evidence = area.scratch.images(area.shape, np.float32)
        for _ in seen.each(_Exact(table, greatest, evidence), "judging replays"):
            pass
        shifts = seen.observation.shift
        return seen.observer.regions_in(area, seen.plots, evidence, shifts).peaks


@dataclass(frozen=True)
class _Exact:
    """Keeps the evidence of parts."""

    table: Double
    greatest: Array
    evidence: Array

    def __call__(self, box: Box, _strata: Labels) -> None:
        self.evidence[box] = exact_evidence(self.table, self.greatest[box])


def _histogram(evidence: Float) -> Counts:
    judged = evidence[np.isfinite(evidence)]
    counts: Counts = np.bincount(EVIDENCE_BINS.of(judged), minlength=BINS)
    return counts
