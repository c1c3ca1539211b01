"""Replays: the same watch at earlier times of the same cube, where nothing or little changed."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sarcast.arrays import Float, Floating, Labels
from sarcast.detection.evidence import SHIFT_SCALES_M, Direction, Residuals, shift, statistics
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
from sarcast.detection.regions import RegionOptions, Regions, find_regions
from sarcast.detection.residuals import Reader, looks_of
from sarcast.detection.smoothing import smooth
from sarcast.detection.watch import Watch
from sarcast.errors import SarcastError
from sarcast.io.footprint import pixel_size_m
from sarcast.io.progress import track

_log = logging.getLogger(__name__)

M2_PER_KM2 = 1e6


@dataclass(frozen=True)
class Observation:
    """Statistics of one watch.

    Attributes
    ----------
    statistics
        By name, dims (y, x); NaN where not judged.
    shift
        Dims (band, y, x), smoothed at the finest scale.
    looks
        Dims (y, x): targets that see a pixel.
    """

    statistics: Mapping[str, Floating]
    shift: Floating
    looks: Labels


@dataclass(frozen=True)
class Observer:
    """Makes the statistics of any watch of a cube in one way.

    Attributes
    ----------
    reader
        Predicts the targets.
    direction
        Of the changes that are looked for.
    regions
        Which regions are events.
    """

    reader: Reader
    direction: Direction
    regions: RegionOptions

    @property
    def pixel_m(self) -> tuple[float, float]:
        """Height and width of a pixel, metres."""
        return pixel_size_m(self.reader.cube.odc.geobox)

    @property
    def finest_px(self) -> tuple[float, ...]:
        """Finest scale of a shift in rows and columns, pixels."""
        return tuple(SHIFT_SCALES_M[0] / size for size in self.pixel_m)

    @property
    def pixel_area_m2(self) -> float:
        """Area of a pixel."""
        height, width = self.pixel_m
        return height * width

    def observe(self, watch: Watch) -> Observation:
        """Predict the targets of a watch and compute its statistics."""
        return self.observe_residuals(self.reader.residuals(self.reader.images(watch)))

    def observe_residuals(self, residuals: Residuals) -> Observation:
        """Compute the statistics of the residuals of a watch."""
        found = statistics(residuals, self.pixel_m, self.reader.strata, self.direction)
        shifts = smooth(shift(residuals), self.finest_px)
        return Observation(found, shifts, looks_of(residuals.seen))

    def regions_of(self, evidence: Float, shifts: Float) -> Regions:
        """Find regions from evidence, dims (y, x), and the ``shift`` of an observation."""
        return find_regions(evidence, shifts, self.pixel_area_m2, self.regions)


def replay(observer: Observer, watches: Sequence[Watch]) -> Null:
    """Replay a watch at earlier times and measure its null distributions.

    The p-values of a replay, its regions and their peaks come from the distributions of all other
    replays, as those of the watched acquisitions do.

    Parameters
    ----------
    observer
        How.
    watches
        Earlier watches of as many targets, at least one.

    Returns
    -------
    Null
        Of those replays in which some pixel could be judged.

    Raises
    ------
    SarcastError
        If there is none.
    """
    tracked = track(watches, "replaying", len(watches))
    failures: list[SarcastError] = []
    seen = [(observer, packed(each)) for each in _observed(observer, tracked, failures)]
    if not seen:
        if len({str(each) for each in failures}) == 1:  # nothing that depends on the date
            raise failures[0]
        raise SarcastError(
            "no replay of the past could be judged: too few previous images see the area; choose "
            "fewer (--previous), or the table of the weights (--replays 0)"
        )
    return null_of(seen)


def null_of(seen: Sequence[tuple[Observer, Observation]]) -> Null:
    """Measure the null distributions of several observations, each by those of all others.

    Parameters
    ----------
    seen
        Observations of one or several areas, with what made them, at least one; strata of the
        same number mean the same in all areas.

    Returns
    -------
    Null
        With the strata of the first one.
    """
    first, _ = seen[0]
    looks = max(int(each.looks.max()) for _, each in seen)
    counts = np.stack(
        [
            count_values(each.statistics, observer.reader.strata, each.looks, looks)
            for observer, each in seen
        ]
    )
    greatest = [
        greatest_evidence(
            evidence_tables(_others(counts, index)),
            each.statistics,
            observer.reader.strata,
            each.looks,
        )
        for index, (observer, each) in enumerate(seen)
    ]
    combined = np.stack([_histogram(each) for each in greatest])
    peaks, areas = [], []
    for index, (evidence, (observer, each)) in enumerate(zip(greatest, seen, strict=True)):
        exact = exact_evidence(combined_table(_others(combined, index)), evidence)
        peaks.append(observer.regions_of(exact, each.shift.astype(np.float32)).peaks)
        areas.append(float(np.isfinite(evidence).sum() * observer.pixel_area_m2 / M2_PER_KM2))
    names = tuple(seen[0][1].statistics)
    return Null(first.reader.strata, names, counts, combined, tuple(peaks), tuple(areas))


def _observed(
    observer: Observer, watches: Iterable[Watch], failures: list[SarcastError]
) -> Iterable[Observation]:
    for watch in watches:
        try:
            observation = observer.observe(watch)
        except SarcastError as error:
            _log.info(f"a replay is left out: {error}")
            failures.append(error)
            continue
        if observation.looks.any():
            yield observation


def packed(observation: Observation) -> Observation:
    """Half the memory, at a relative precision of 0.05 %."""
    packed = {name: values.astype(np.float16) for name, values in observation.statistics.items()}
    return Observation(packed, observation.shift.astype(np.float16), observation.looks)


def _others(counts: Counts, index: int) -> Counts:
    """Sum over all replays but one; of all where it is the only one."""
    total = counts.sum(axis=0)
    others: Counts = total if len(counts) == 1 else total - counts[index]
    return others


def _histogram(evidence: Float) -> Counts:
    judged = evidence[np.isfinite(evidence)]
    counts: Counts = np.bincount(EVIDENCE_BINS.of(judged), minlength=BINS)
    return counts
