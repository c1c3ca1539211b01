"""P-values of the statistics of evidence, from histograms of what unchanged ground shows.

Tails are exponential above the 98 % quantile, fitted without the greatest values, so that a few
changes in the past do not hide those that are watched:

    p(x) = p(u) exp(-(x - u) / β),  x > u

References
----------
Coles 2001, An Introduction to Statistical Modeling of Extreme Values, section 4 (exceedances of a
threshold). Epstein and Sobel 1953, doi 10.1080/01621459.1953.10483488 (β of a censored exponential
sample).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Double, Float, Floating, Labels

BINS = 2048
GREATEST_EVIDENCE = 32.0
TAIL_SHARE = 0.02
"""Share of the values, the greatest, that the exponential tail is fitted to."""
CENSORED_SHARE = 0.25
"""Share of the tail, the greatest values, of which only the number is used: real changes."""
FEWEST_VALUES = 2000
"""A group with fewer values takes the null distribution of its stratum."""
LEAST_SCALE = 1e-6
"""Scale of a tail whose values all lie in one bin, where real changes fill it."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bins:
    """Bins of a histogram.

    Attributes
    ----------
    edges
        Lower edges of all bins but the first, rising; the first holds everything below, the last
        everything above.
    """

    edges: Double

    @cached_property
    def centres(self) -> Double:
        """Middle of each bin; the edge of the first and of the last."""
        inner = (self.edges[1:] + self.edges[:-1]) / 2.0
        return np.concatenate([self.edges[:1], inner, self.edges[-1:]])

    def of(self, values: Floating) -> npt.NDArray[np.intp]:
        """Bin of each value; NaN gives the first."""
        return np.searchsorted(self.edges, np.nan_to_num(values, nan=-np.inf), side="right")

    def of_rounded(self, values: Floating) -> npt.NDArray[np.intp]:
        """Bin of each value as half precision rounds it, by 0.05 % at most: far faster."""
        with np.errstate(over="ignore"):  # beyond the range of half precision lies infinity
            bits = np.asarray(values, dtype=np.float16).view(np.uint16)
        return self._of_bits[bits]

    @cached_property
    def _of_bits(self) -> npt.NDArray[np.intp]:
        """Bin of each number of half precision, by its bits."""
        return self.of(np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64))


STATISTIC_BINS = Bins(np.geomspace(0.01, 200.0, BINS - 1))
"""Bins of statistics: 0.5 % wide, since their sizes differ with the scale of their average."""
EVIDENCE_BINS = Bins(np.linspace(0.0, GREATEST_EVIDENCE, BINS)[1:])


def count_values(
    statistics: Mapping[str, Floating], strata: Labels, looks: Labels, shape: Sequence[int]
) -> Counts:
    """Count the pixels by statistic, stratum, looks and bin.

    Parameters
    ----------
    statistics
        Dims (y, x); NaN where not judged.
    strata, looks
        Dims (y, x), from 0 (-1 outside) and from 1 on.
    shape
        Numbers of strata and of looks.

    Returns
    -------
    ndarray
        Dims (statistic, stratum, looks, bin).
    """
    groups, most_looks = shape
    counts = np.zeros((len(statistics), groups, most_looks, BINS), dtype=np.int64)
    for index, values in enumerate(statistics.values()):
        judged = np.isfinite(values) & (strata >= 0) & (looks > 0)
        group = strata[judged].astype(np.int64) * most_looks + looks[judged] - 1
        flat = group * BINS + STATISTIC_BINS.of_rounded(values[judged])
        counts[index] = np.bincount(flat, minlength=counts[0].size).reshape(counts.shape[1:])
    return counts


def evidence_tables(counts: Counts | Double) -> Double:
    """Compute -log10 p by bin, dims as ``counts``, (statistic, stratum, looks, bin).

    Groups of too few values take the table of all looks of their stratum, and strata of too few
    that of all strata.
    """
    by_stratum, all_pixels = counts.sum(axis=2), counts.sum(axis=(1, 2))
    tables = np.empty(counts.shape, dtype=np.float64)
    for index in np.ndindex(counts.shape[:3]):
        candidates = (counts[index], by_stratum[index[:2]], all_pixels[index[0]])
        enough = [each for each in candidates if each.sum() >= FEWEST_VALUES]
        tables[index] = _exponential_tail((enough or [all_pixels[index[0]]])[0], STATISTIC_BINS)
    return tables


def combined_table(counts: Counts | Double) -> Double:
    """Compute -log10 p of the greatest evidence of several statistics, dims (bin)."""
    return _exponential_tail(counts, EVIDENCE_BINS)


def exact_evidence(table: Double, greatest: Float) -> Float:
    """Look up -log10 p of the greatest evidence in ``combined_table``, dims (y, x); NaN stays."""
    evidence: Float = table.astype(np.float32)[EVIDENCE_BINS.of(greatest)]
    return np.where(np.isfinite(greatest), evidence, np.float32(np.nan))


def greatest_evidence(
    tables: Double, statistics: Mapping[str, Floating], strata: Labels, looks: Labels
) -> Float:
    """Look up the greatest -log10 p of all statistics, dims (y, x); NaN where not judged."""
    most_looks = tables.shape[2]
    group = np.maximum(strata, 0).astype(np.intp) * most_looks + np.clip(looks, 1, most_looks) - 1
    first = group * BINS
    greatest, known = np.zeros(strata.shape, dtype=np.float32), np.zeros(strata.shape, dtype=bool)
    for table, values in zip(tables.astype(np.float32), statistics.values(), strict=True):
        evidence = table.ravel().take(first + STATISTIC_BINS.of_rounded(values))
        np.fmax(greatest, evidence, out=greatest)  # NaN has that of the lowest values: 0
        known |= np.isfinite(values)
    greatest[~known | (strata < 0) | (looks == 0)] = np.nan
    return greatest


def _exponential_tail(counts: Counts | Double, bins: Bins) -> Double:
    """Compute -log10 of the share of values at or above each bin, dims (bin)."""
    total = counts.sum()
    if total == 0:
        return np.zeros(len(counts))
    at_or_above = counts[::-1].cumsum()[::-1]
    table = -np.log10(np.maximum(at_or_above, 0.5) / total)
    tail = int(np.flatnonzero(at_or_above >= TAIL_SHARE * total)[-1])
    exceedances = counts[tail:].astype(np.float64)
    excess = bins.centres[tail:] - bins.edges[max(tail - 1, 0)]
    seen = exceedances.cumsum()
    last = int(np.searchsorted(seen, (1.0 - CENSORED_SHARE) * seen[-1]))
    kept = (exceedances[: last + 1] * excess[: last + 1]).sum()
    scale = max((kept + (seen[-1] - seen[last]) * excess[last]) / seen[last], LEAST_SCALE)
    table[tail:] = table[tail] + excess / scale * np.log10(np.e)
    return np.asarray(table, dtype=np.float64)
