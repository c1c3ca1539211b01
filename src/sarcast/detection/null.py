"""Null distributions: how often unchanged ground shows as much evidence of change.

Of replays, the same watch at earlier times of a cube, histograms of every statistic are kept by
replay and group of pixels (stratum and number of looks). They give p-values (``p_values``), the
p-values regions, and the peaks of the regions, which are false, how high a threshold must be for a
given rate of false events.

A past has few replays, and chance decides what happened in them. What unchanged ground shows
elsewhere, the table of the weights, is therefore counted beside them, as so many further replays.

References
----------
Gelman et al. 2013, Bayesian Data Analysis, third edition, section 3.4 (a prior of a multinomial
distribution acts as further counts). Coles 2001, An Introduction to Statistical Modeling of Extreme
Values, section 4 (clusters of exceedances are counted once). Worsley et al. 1992, J. Cereb. Blood
Flow Metab. 12, 900-918 (a smoothed field has peaks in proportion to its resolution elements).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from sarcast.arrays import Double, Float, Floating, Labels
from sarcast.detection.p_values import (
    BINS,
    Counts,
    combined_table,
    evidence_tables,
    exact_evidence,
    greatest_evidence,
)
from sarcast.detection.regions import LEAST_PEAK
from sarcast.errors import SarcastError

CENSORED_PEAKS = 0.1
"""Share of the peaks, the highest, of which only the number is used: real changes."""
MOST_PEAKS = 60
"""Peaks of false regions, the highest, that the rate of false events is fitted to."""
UNSEEN_PEAKS, UNSEEN_SCALE = 5.0, float(np.log10(np.e))
"""The scale of peaks before any is seen, which is that of exact p-values, and its weight."""
KM2_PER_UNIT = 1000.0
PRIOR_REPLAYS = 10.0
"""Replays that the table of the weights counts as, beside those of the cube's own past."""
UNKNOWN_SEASON = 3.0
"""Times as many false events came as were asked for in worlds of half a year (docs/results/)."""


@dataclass(frozen=True)
class FalsePeaks:
    """Peaks of false regions, and where they were looked for.

    Attributes
    ----------
    evidence
        Dims (peak).
    number
        Dims (peak): how many peaks each counts as.
    exposure
        Area times acquisitions, thousands of km².
    """

    evidence: Double
    number: Double
    exposure: float

    def threshold(self, false_events: float) -> float:
        """Compute the evidence that ``false_events`` per 1 000 km² and acquisition exceed."""
        order = np.argsort(self.evidence)[::-1]
        every, number = self.evidence[order], self.number[order]
        rank = number.cumsum()
        accepted = false_events * self.exposure
        if accepted >= MOST_PEAKS:  # so many were seen: no tail is needed
            return _ranked(every, rank, accepted)
        start = _ranked(every, rank, MOST_PEAKS)
        above = every > start
        excess, number, rank = every[above] - start, number[above], rank[above]
        seen = rank[-1] if len(rank) else 0.0
        kept = rank > CENSORED_PEAKS * seen
        greatest = excess[kept][0] if kept.any() else 0.0
        total = (np.where(kept, excess, greatest) * number).sum()
        scale = (total + UNSEEN_PEAKS * UNSEEN_SCALE) / (number[kept].sum() + UNSEEN_PEAKS)
        rate = max(seen, 1.0) / self.exposure
        return start + float(scale * np.log(max(rate / false_events, 1.0)))


def _ranked(every: Double, rank: Double, number: float) -> float:
    """The peak that more than so many others reach; the lowest that is looked at if fewer do."""
    index = int(np.searchsorted(rank, number, side="right"))
    return float(every[index]) if index < len(every) else LEAST_PEAK


@dataclass(frozen=True)
class Prior:
    """What unchanged ground shows elsewhere, counted beside the replays of a cube.

    Attributes
    ----------
    counts
        Dims (statistic, bin): pixels.
    combined
        Dims (bin): pixels by the greatest evidence of their statistics.
    peaks
        Evidence of the peaks of false regions.
    exposure_km2
        Area that shows so many peaks, times the acquisitions of a watch.
    """

    counts: Counts
    combined: Counts
    peaks: Double
    exposure_km2: float

    @classmethod
    def of(cls, null: "Null") -> "Prior":
        """Take the null distributions of all strata together."""
        return cls(
            null.counts.sum(axis=(0, 2, 3)),
            null.combined.sum(axis=0),
            np.concatenate([np.zeros(0), *null.peaks]),
            sum(null.area_km2) * null.looks,
        )

    def at_scale(self, ratio: float) -> "Prior":
        """Return the same with the peaks of statistics whose finest scale is wider by a ratio.

        An area shows peaks in proportion to its independent averages: to its size over the square
        of their scale (Worsley et al. 1992).
        """
        return replace(self, exposure_km2=self.exposure_km2 * ratio**2)

    def counts_beside(self, counts: Counts) -> Double:
        """Give as many pixels as ``PRIOR_REPLAYS`` replays have in each group.

        Parameters
        ----------
        counts
            Of the replays, dims (replay, statistic, stratum, looks, bin).

        Returns
        -------
        ndarray
            Dims (statistic, stratum, looks, bin); where there is no replay, all its pixels in each.

        Raises
        ------
        SarcastError
            If the replays are of another number of statistics.
        """
        if counts.shape[1] != len(self.counts):
            raise SarcastError(
                f"the table of the weights is of {len(self.counts)} statistics, but "
                f"{counts.shape[1]} are computed here; measure the table anew "
                f"(python -m benchmarks.null_table)"
            )
        pixels = np.full(counts.shape[2:-1], self.combined.sum(), dtype=np.float64)
        if len(counts):
            pixels = PRIOR_REPLAYS * counts[:, 0].sum(axis=-1).mean(axis=0)
        shares = self.counts / self.counts.sum(axis=-1, keepdims=True)
        beside: Double = shares[:, None, None] * pixels[..., None]
        return beside

    def combined_beside(self, combined: Counts) -> Double:
        """Give the same of the greatest evidence, dims (bin), from dims (replay, bin)."""
        if not len(combined):
            return self.combined.astype(np.float64)
        pixels = PRIOR_REPLAYS * combined.sum(axis=-1).mean()
        beside: Double = self.combined / self.combined.sum() * pixels
        return beside

    def peaks_beside(self, exposures: Sequence[float]) -> FalsePeaks:
        """Give the peaks of as many replays of the mean of some exposures, thousands of km²."""
        exposure = self.exposure_km2 / KM2_PER_UNIT
        wanted = PRIOR_REPLAYS * float(np.mean(exposures)) if len(exposures) else exposure
        return FalsePeaks(self.peaks, np.full(len(self.peaks), wanted / exposure), wanted)


@dataclass(frozen=True)
class Null:
    """Null distributions of one watch.

    Attributes
    ----------
    strata
        Dims (y, x), -1 outside.
    names
        The statistics.
    looks
        Greatest number of looks.
    counts
        Dims (replay, statistic, stratum, looks, bin): pixels with 1, 2, ... looks.
    combined
        Dims (replay, bin): pixels by the greatest evidence of their statistics.
    peaks
        Evidence of the peak of each false region, one array a replay.
    area_km2
        Judged area of each replay.
    made_from
        What they hold for, by name: predictor, number of acquisitions, grid, ...
    knows_season
        Whether a replay lies in the same season of an earlier year. If none does, fields may do
        what they never did in the past: a rate of false events is asked for that is smaller by
        ``UNKNOWN_SEASON``.
    prior
        What is counted beside the replays; None for nothing.
    """

    strata: Labels
    names: tuple[str, ...]
    counts: Counts
    combined: Counts
    peaks: tuple[Double, ...]
    area_km2: tuple[float, ...]
    made_from: Mapping[str, str] = field(default_factory=dict)
    knows_season: bool = True
    prior: Prior | None = None

    @classmethod
    def without_replays(
        cls, strata: Labels, names: Sequence[str], looks: int, prior: Prior
    ) -> "Null":
        """Give the null distributions of a past that cannot be replayed: those of the prior."""
        groups = max(int(strata.max(initial=0)) + 1, 1)
        counts = np.zeros((0, len(names), groups, looks, BINS), dtype=np.int64)
        combined = np.zeros((0, BINS), dtype=np.int64)
        return cls(strata, tuple(names), counts, combined, (), (), prior=prior)

    @property
    def looks(self) -> int:
        """Greatest number of looks."""
        looks: int = self.counts.shape[3]
        return looks

    @cached_property
    def _tables(self) -> Double:
        return evidence_tables(summed_counts(self.counts, self.prior))

    @cached_property
    def _combined_table(self) -> Double:
        return combined_table(summed_combined(self.combined, self.prior))

    def evidence(
        self, statistics: Mapping[str, Floating], looks: Labels, strata: Labels | None = None
    ) -> Float:
        """Compute -log10 of the p-value of each pixel, dims (y, x); NaN where not judged.

        Parameters
        ----------
        statistics, looks
            Of an observation, or of a part of it.
        strata
            Of that part; default: all.

        Raises
        ------
        SarcastError
            If it is not of as many statistics.
        """
        if len(statistics) != len(self.names):
            raise SarcastError(
                f"these null distributions are those of {len(self.names)} statistics, but there "
                f"are {len(statistics)}: another version made them; replay the past anew"
            )
        strata = self.strata if strata is None else strata
        greatest = greatest_evidence(self._tables, statistics, strata, looks)
        return exact_evidence(self._combined_table, greatest)

    def threshold(self, false_events: float) -> float:
        """Compute the evidence that the given rate of false events exceeds.

        Parameters
        ----------
        false_events
            False events per 1 000 km² and acquisition.
        """
        return self._false_peaks().threshold(self._asked(false_events))

    def _false_peaks(self, but: int | None = None) -> FalsePeaks:
        """Those of all replays but one, and of the prior."""
        kept = [index for index in range(len(self.peaks)) if index != but]
        evidence = np.concatenate([np.zeros(0), *(self.peaks[index] for index in kept)])
        exposures = [self.area_km2[index] * self.looks / KM2_PER_UNIT for index in kept]
        own = FalsePeaks(evidence, np.ones(len(evidence)), sum(exposures))
        if self.prior is None:
            return own
        other = self.prior.peaks_beside(exposures)
        return FalsePeaks(
            np.concatenate([own.evidence, other.evidence]),
            np.concatenate([own.number, other.number]),
            own.exposure + other.exposure,
        )

    def _asked(self, false_events: float) -> float:
        return false_events if self.knows_season else false_events / UNKNOWN_SEASON

    def came_true(self, false_events: float) -> float:
        """Compute the rate of false events in replays, each at the threshold of all others.

        Returns
        -------
        float
            Events per 1 000 km² and acquisition; NaN with fewer than two replays.
        """
        if len(self.peaks) < 2:
            return float("nan")
        events = 0
        for index, peaks in enumerate(self.peaks):
            threshold = self._false_peaks(but=index).threshold(self._asked(false_events))
            events += int((peaks > threshold).sum())
        return events / (sum(self.area_km2) / KM2_PER_UNIT * self.looks)

    def with_strata(self, strata: Labels) -> "Null":
        """Return the same distributions for other pixels."""
        return replace(self, strata=strata)


def summed_counts(counts: Counts, prior: Prior | None, but: int | None = None) -> Double | Counts:
    """Sum over all replays but one, and what the prior counts beside them.

    Parameters
    ----------
    counts
        Dims (replay, statistic, stratum, looks, bin).
    prior
        None for none: then the only replay is not left out.
    but
        The replay that is left out.

    Returns
    -------
    ndarray
        Dims (statistic, stratum, looks, bin).
    """
    beside = None if prior is None else prior.counts_beside(counts)
    return _summed(counts, beside, but)


def summed_combined(
    combined: Counts, prior: Prior | None, but: int | None = None
) -> Double | Counts:
    """Sum the same of the greatest evidence, dims (bin), from dims (replay, bin)."""
    beside = None if prior is None else prior.combined_beside(combined)
    return _summed(combined, beside, but)


def _summed(counts: Counts, beside: Double | None, but: int | None) -> Double | Counts:
    total: Counts = counts.sum(axis=0)
    if but is not None and (len(counts) > 1 or beside is not None):
        total = total - counts[but]
    return total if beside is None else total + beside
