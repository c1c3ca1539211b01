"""Backscatter values that cannot be: missing pixels that no mask marks, and other units."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sarcast.arrays import Bool, Float
from sarcast.sensor import units

DEGREE = "degree"
"""Unit of incidence angles."""
LOWEST_MEDIAN_DB = -50.0
"""Half of a scene is never below this, dB: the noise of Sentinel-1 is equivalent to -22 dB or a
little less (Torres et al. 2012), and what lies below it has lost its thermal noise by
subtraction."""
HIGHEST_MEDIAN_DB = 20.0
"""Half of a scene is never above this, dB: cities and steep slopes reach about 10 dB, and only
single pixels more. Digital numbers of GRD products, not calibrated, are at 25 to 50 dB."""
MAX_NEGATIVE_SHARE = 0.4
"""Largest share of negative values in power: half of the real parts of complex images are."""
_MARKER = 9999.0
"""Marks missing pixels, although as power it is possible (40 dB)."""
_SAME = 0.5
"""One value marks missing pixels if it is at least this share of the impossible ones."""
_FEW = 10
"""So many zeros of one polarisation alone are values like others; ..."""
_FAR_MORE = 4
"""... more are, unless they are more than so many times as frequent as any other value."""

_POSSIBLE = {
    units.DB: (units.FLOOR_DB, units.CEILING_DB),
    units.LINEAR_POWER: (0.0, 10.0 ** (units.CEILING_DB / 10.0)),
    units.AMPLITUDE: (0.0, 10.0 ** (units.CEILING_DB / 20.0)),
    DEGREE: (10.0, 90.0),
}
"""By unit, the possible values: those above the first and up to the second."""


@dataclass(frozen=True)
class Excluded:
    """Values taken as missing although no mask and no nodata value marks them; they add up.

    Attributes
    ----------
    read
        Number of values that were read and not marked as missing.
    zero
        Number of zeros.
    impossible
        Number of other values outside the possible range of their unit.
    example
        One of these; NaN if there is none.
    undershoot
        Number of pixels at which cubic resampling gave negative power.
    """

    read: int = 0
    zero: int = 0
    impossible: int = 0
    example: float = math.nan
    undershoot: int = 0

    def __add__(self, other: "Excluded") -> "Excluded":
        return Excluded(
            self.read + other.read,
            self.zero + other.zero,
            self.impossible + other.impossible,
            other.example if math.isnan(self.example) else self.example,
            self.undershoot + other.undershoot,
        )


def exclude(values: Float, unit: str) -> Excluded:
    """Set values that are impossible in a unit to NaN, and count them.

    Zero is impossible as power, amplitude and angle; in dB it may be a value like others, see
    ``marks_missing``.

    Parameters
    ----------
    values
        Any dims; changed in place.
    unit
        One of ``units.SOURCE_UNITS`` or ``DEGREE``; values in another unit are left as they are.
    """
    if unit not in _POSSIBLE:
        return Excluded(values.size)
    low, high = (np.float32(limit) for limit in _POSSIBLE[unit])
    lowest, highest = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    given = ~np.isnan(values)
    if low < lowest and highest <= min(high, np.float32(_MARKER - 1.0)):
        return Excluded(int(given.sum()))
    outside = given & ~((values > low) & (values <= high) & (values != np.float32(_MARKER)))
    zero = outside & (values == 0.0)
    others = values[outside & ~zero]
    example = float(others[0]) if others.size else math.nan
    values[outside] = np.nan
    return Excluded(int(given.sum()), int(zero.sum()), others.size, example)


def trust_overview(power: Float) -> bool:
    """Whether linear power from an overview can be used: only if all of it is positive.

    Overviews that were made by cubic resampling contain negative power, and others have averaged
    zeros that mark missing pixels.
    """
    return not bool((power <= 0.0).any())


def marks_missing(zeros: Bool, others: list[Float], values: Float) -> Bool:
    """Which zeros in dB mark missing pixels: those that all polarisations share.

    Zeros of one polarisation alone are values like others, unless there are far more of them than
    of any other value near 0 dB.

    Parameters
    ----------
    zeros
        Dims (y, x), where the values of a band are exactly 0 dB.
    others
        The other polarisations of the scene, same dims; NaN where missing.
    values
        Those of the band.
    """
    shared = zeros.copy()
    for other in others:
        shared &= (other == 0.0) | np.isnan(other)
    alone = zeros & ~shared
    count = int(alone.sum())
    if count > _FEW:
        near = values[(np.abs(values) <= 1.0) & ~zeros]
        _, counts = np.unique(near, return_counts=True)
        if count > _FAR_MORE * counts.max(initial=1):
            return zeros
    return shared


def implausible(values: Float, unit: str) -> str | None:
    """What is implausible about values in their declared unit, and what to do; None if nothing.

    The text continues a sentence that begins with the name of the scene.

    Parameters
    ----------
    values
        A sample of a raster, any dims; NaN where missing.
    unit
        One of ``units.SOURCE_UNITS``.
    """
    given = np.asarray(values[np.isfinite(values) & (values != 0.0)], dtype=np.float32)
    possible = given.copy()
    impossible = exclude(possible, unit).impossible if given.size else 0
    possible = possible[~np.isnan(possible)]
    apparent = units.guess_unit(given)
    if apparent not in (None, units.DB if unit == units.DB else units.LINEAR_POWER):
        return (
            f"is declared in {unit}, but its values are those of {apparent}; index it again with "
            f"--unit '{apparent}'"
        )
    negative = given[(given < 0.0) & (given > -1.0)].size
    if unit != units.DB and negative > MAX_NEGATIVE_SHARE * given.size:
        return (
            f"is declared in {unit}, which is never negative, but "
            f"{100.0 * negative / given.size:.0f} % of its values are; check what the file contains"
        )
    if impossible > 0.5 * given.size and not _is_one_marker(given, possible.size):
        return _impossible_line(given, unit)
    median = float(np.median(possible)) if possible.size else math.nan
    level = _to_db(median, unit)
    if level < LOWEST_MEDIAN_DB or level > HIGHEST_MEDIAN_DB:
        return _impossible_line(possible, unit)
    return None


def _is_one_marker(given: Float, possible: int) -> bool:
    """Whether most impossible values are the same one, which then marks missing pixels."""
    _, counts = np.unique(given, return_counts=True)
    return possible > 0 and counts.max() >= _SAME * (given.size - possible)


def _impossible_line(values: Float, unit: str) -> str:
    median = float(np.median(values))
    low = median <= 0.0 or _to_db(median, unit) < 0.0
    cause = "" if low else "calibrate digital numbers first, "
    return (
        f"is declared in {unit}, but half of its values are {median:g} or "
        f"{'less' if low else 'more'}, {'lower' if low else 'higher'} than any backscatter; "
        f"check its unit and scale, {cause}or give the value of missing pixels with --nodata"
    )


def _to_db(value: float, unit: str) -> float:
    """A backscatter value in decibels; minus infinity for power of 0 or less, NaN for NaN."""
    if unit == units.DB or math.isnan(value):
        return value
    factor = 20.0 if unit == units.AMPLITUDE else 10.0
    return factor * math.log10(value) if value > 0.0 else -math.inf


def zero_lines(excluded: Mapping[str, Excluded]) -> Iterator[str]:
    """Report zeros that were taken as missing, by date."""
    with_zeros = {date: each for date, each in excluded.items() if each.zero}
    if with_zeros:
        date, most = max(with_zeros.items(), key=lambda pair: pair[1].zero / pair[1].read)
        yield (
            f"values of exactly 0 are taken as missing on {len(with_zeros)} dates, most on {date}: "
            f"{100.0 * most.zero / most.read:.2g} % of its values"
        )


def impossible_lines(excluded: Mapping[str, Excluded]) -> Iterator[str]:
    """Warn of other values that were taken as missing, by date."""
    impossible = {date: each for date, each in excluded.items() if each.impossible}
    if impossible:
        date, most = max(impossible.items(), key=lambda pair: pair[1].impossible / pair[1].read)
        yield (
            f"values that no backscatter has, such as {most.example:g}, are taken as missing on "
            f"{len(impossible)} dates: {sum(each.impossible for each in impossible.values())} "
            f"values, most on {date} ({100.0 * most.impossible / most.read:.2g} %); if one value "
            f"marks missing pixels, give it with --nodata"
        )
    undershoot = {date: each.undershoot for date, each in excluded.items() if each.undershoot}
    if undershoot:
        yield (
            f"cubic resampling gave negative power at {sum(undershoot.values())} pixels of "
            f"{len(undershoot)} dates, which are missing now; --resampling bilinear avoids it"
        )
