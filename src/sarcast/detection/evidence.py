"""Evidence of change: statistics of the residuals of several acquisitions, pooled in space.

With the residuals z of k acquisitions t and bands b, standardised as ``standardise`` does:

    shift    |G * S|,  S_b = sqrt(n) mean over t of z_bt      residuals that agree in sign
    spread   G * mean over t of |z_t| / median |z_t|          residuals that grow in size

where |.| is the norm over bands, G * a Gaussian average over pixels, n how many independent looks
the k acquisitions are worth, and the median is that of all pixels of the date. A change of common
sign shows in the shift, one that roughens or mixes the ground in the spread.

The averages are of several scales in metres. None is finer than 1.5 pixels, which would leave the
outliers of single pixels as they are. From S its background, an average over 500 m, is subtracted,
since patches of wet ground are larger than most changes; at the greatest scale it is also taken as
it is, for changes of a square kilometre. A change that begins while it is watched is diluted by the
acquisitions before it: the shift is also taken over the last half of four or more acquisitions, and
over the last quarter of eight or more. The distribution of all of these where nothing changed comes
from ``replay``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Bool, Box, Float, Labels
from sarcast.detection import difference as di
from sarcast.detection.blocks import Sampling
from sarcast.detection.smoothing import reach_px, smooth
from sarcast.io.boxes import whole
from sarcast.windows import PixelOffset
from sarcast.windows.means import mean_where

Direction = Literal["loss", "gain", "both"]

SHIFT_SCALES_M = (25.0, 50.0, 100.0, 200.0)
SPREAD_SCALES_M = (25.0, 50.0)
"""Standard deviations of the Gaussian averages, metres."""
FINEST_PX = 1.5
"""The least of them, pixels: less leaves the outliers of single pixels as they are."""
BACKGROUND_M = 500.0
GREATEST_BACKGROUND = 2.0
"""Standard deviation of the average that is the background of a shift, and the greatest shift that
counts in it, standard deviations."""
FEWEST_TARGETS = 4
"""Targets from which on the last half of them is looked at as well; the last quarter of twice as
many."""
FEWEST_PIXELS = 500
"""Strata of fewer pixels are levelled with the whole scene."""
GAUSSIAN_MAD = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""
LEAST_STD = 1e-3


@dataclass(frozen=True)
class Residuals:
    """Residuals of the targets of one baseline.

    Attributes
    ----------
    z
        Dims (time, band, y, x): residuals over their standard deviation; NaN where unknown.
    correlation
        Mean correlation of the errors of two of the targets, 0..1.
    """

    z: Float
    correlation: float

    @cached_property
    def seen(self) -> Bool:
        """Where a target is judged, in every band, dims (time, y, x)."""
        return np.asarray(np.isfinite(self.z).all(axis=1))

    def latest(self, targets: int) -> "Residuals":
        """Those of the last targets alone."""
        if targets == len(self.z):
            return self
        return Residuals(self.z[-targets:], self.correlation)

    @cached_property
    def shift(self) -> Float:
        """Mean of the targets' z times the root of their independent looks, dims (band, y, x).

        Of variance 1 where nothing changed, if the standard deviation and the correlation are
        right.
        """
        shift: Float = mean_over_looks(self.z, np.isfinite(self.z))
        shift *= np.sqrt(self.independent_looks())
        return shift

    def independent_looks(self) -> Float:
        """Independent looks that the targets seen at a pixel are worth, dims (y, x).

        n = k / (1 + (k - 1) ρ) for k targets whose errors have the correlation ρ.
        """
        looks = np.arange(len(self.z) + 1, dtype=np.float32)
        independent: Float = looks / (1.0 + np.maximum(looks - 1.0, 0.0) * self.correlation)
        return independent[looks_of(self.seen)]


@dataclass(frozen=True)
class TimeMeans:
    """Residuals averaged over the targets: all that the averages in space are taken of.

    Attributes
    ----------
    shifts
        Dims (band, y, x), as ``Residuals.shift``, by how many of the last targets it is taken over;
        that of all targets first.
    spread
        Dims (y, x), as ``spread`` gives it; None where no statistic needs it.
    looks
        Dims (y, x): targets that see a pixel.
    """

    shifts: Mapping[int, Float]
    spread: Float | None
    looks: Labels

    @property
    def shift(self) -> Float:
        """That of all targets."""
        return next(iter(self.shifts.values()))


@dataclass(frozen=True)
class Levels:
    """Level and spread of the residuals of each target, by stratum: weather of all of it.

    Attributes
    ----------
    level, spread
        Dims (stratum, time, band): what is subtracted, and what is then divided by.
    """

    level: Float
    spread: Float

    def of(self, times: slice) -> "Levels":
        """Return the levels of some of the targets."""
        return Levels(self.level[:, times], self.spread[:, times])

    def apply(self, residuals: Float, strata: Labels) -> Float:
        """Level residuals as ``raw`` gives them, dims (time, band, y, x)."""
        z = residuals.astype(np.float32)
        self.apply_to(z, strata)
        return z

    def apply_to(self, residuals: Float, strata: Labels, levelled: Bool | None = None) -> None:
        """Level residuals, float32, in place, but for pixels that are levelled, dims (y, x)."""
        groups = strata.astype(np.intp)
        for time, band in np.ndindex(residuals.shape[:2]):
            level, spread = (part[:, time, band].take(groups) for part in (self.level, self.spread))
            if levelled is not None:
                level[levelled], spread[levelled] = 0.0, 1.0
            residuals[time, band] -= level
            residuals[time, band] /= spread


def standardise(difference: Float, std: Float, strata: Labels) -> Float:
    """Divide residuals by their standard deviation and level them within each stratum.

    At each target, in each band and stratum, the median is subtracted, and where the residuals
    spread more than their standard deviation says, they are divided by how much more (median
    absolute deviation): weather of the whole stratum is not change. Where the standard deviation
    is unknown, that spread takes its place.

    Parameters
    ----------
    difference, std
        Dims (time, band, y, x), dB; ``std`` NaN where unknown.
    strata
        Dims (y, x), -1 outside: NaN there.

    Returns
    -------
    ndarray of float32
        Dims as ``difference``.
    """
    known_std = bool(np.isfinite(std).any())
    residuals = raw(difference, std if known_std else None, strata)
    sampling, box = Sampling.of(strata.size), whole(strata.shape)
    levels = levels_of(sampling.take(residuals, box), sampling.take(strata, box), known_std)
    levels.apply_to(residuals, strata)
    return residuals


def raw(difference: Float, std: Float | None, strata: Labels) -> Float:
    """Divide residuals by their standard deviation, if it is known, before they are levelled.

    Parameters
    ----------
    difference, std
        Dims (time, band, y, x), dB.
    strata
        Dims (y, x), -1 outside: NaN there.
    """
    residuals: Float = difference.astype(np.float32)
    if std is not None:
        residuals /= np.maximum(std, LEAST_STD)
    residuals[..., strata < 0] = np.nan
    return residuals


def levels_of(residuals: Float, strata: Labels, known_std: bool) -> Levels:
    """Find level and spread of the pixels of each stratum.

    Parameters
    ----------
    residuals
        Dims (time, band, pixel), as ``raw`` gives them.
    strata
        Dims (pixel); strata of few pixels are levelled with the whole scene.
    known_std
        Whether residuals are divided by their standard deviation: what they spread less than it
        says is then left.
    """
    pixels = _ByStratum.of(strata)
    found = [
        [_level_and_spread(group) for group in pixels.groups(residuals[index])]
        for index in np.ndindex(residuals.shape[:-1])
    ]
    by_stratum = np.array(found, dtype=np.float32).reshape(*residuals.shape[:-1], -1, 2)
    level, spread = np.moveaxis(by_stratum, (-1, -2), (0, 1))
    return Levels(level, np.maximum(spread, np.float32(1.0 if known_std else LEAST_STD)))


def looks_of(seen: Bool) -> Labels:
    """Number of targets that see a pixel, from dims (time, ...), uint8."""
    looks: Labels = seen.sum(axis=0, dtype=np.uint8)
    return looks


def mean_over_looks(images: Float, seen: Bool) -> Float:
    """Mean over the targets that see a pixel, dims (..., y, x); NaN where none does.

    Parameters
    ----------
    images
        Dims (time, ..., y, x).
    seen
        Dims (time, y, x), or those of the images.
    """
    return mean_where(images, seen if seen.ndim == images.ndim else seen[:, np.newaxis])


def typical_norms(z: Float) -> list[float]:
    """Median over the pixels that are seen of the norm of z, of each target; NaN if none is.

    Parameters
    ----------
    z
        Dims (time, band, pixel).
    """
    norms = di.norm(z[..., np.newaxis, :])[:, 0]
    known = [norm[np.isfinite(norm)] for norm in norms]
    return [float(np.median(norm)) if norm.size else float("nan") for norm in known]


def spread(residuals: Residuals, typical: Sequence[float]) -> Float:
    """Mean over the targets of the norm of z over its median at the target, dims (y, x).

    Parameters
    ----------
    residuals
        Of the watched acquisitions.
    typical
        That median, as ``typical_norms`` gives it for the whole area.
    """
    sizes = np.fmax(np.array(typical, dtype=np.float32), np.float32(LEAST_STD))
    norms = np.empty(residuals.seen.shape, dtype=np.float32)
    for into, z, size in zip(norms, residuals.z, sizes, strict=True):
        np.divide(di.norm(z), size, out=into)
    return mean_over_looks(norms, residuals.seen)


def time_means(residuals: Residuals, typical: Sequence[float], direction: Direction) -> TimeMeans:
    """Average residuals over the targets; arguments as in ``spread`` and ``statistics``."""
    means = spread(residuals, typical) if direction == "both" else None
    shifts = {last: residuals.latest(last).shift for last in spans(len(residuals.z))}
    return TimeMeans(shifts, means, looks_of(residuals.seen))


def statistics(
    residuals: Residuals,
    pixel_m: tuple[float, float],
    strata: Labels,
    direction: Direction = "both",
) -> dict[str, Float]:
    """Compute every statistic at every scale, by name.

    Each is divided by its median size within the stratum: after rain all of it is larger, and
    watches become comparable.

    Parameters
    ----------
    residuals
        Of the watched acquisitions.
    pixel_m
        Height and width of a pixel, metres.
    strata
        Dims (y, x), -1 outside.
    direction
        ``"loss"`` and ``"gain"``: the shift signed, ∓ sum over bands / sqrt(bands), and no spread,
        which has no direction.

    Returns
    -------
    dict
        Dims (y, x), greater where there is more evidence; NaN where no target is judged.
    """
    sampling, box = Sampling.of(strata.size), whole(strata.shape)
    typical = typical_norms(sampling.take(residuals.z, box))
    maps = dict(unscaled(time_means(residuals, typical, direction), pixel_m, direction, box))
    names, sampled = list(maps), sampling.take(strata, box)
    sizes = sizes_of(np.stack([sampling.take(maps[name], box) for name in names]), sampled)
    return {name: relative(maps[name], sizes[k], strata) for k, name in enumerate(names)}


def unscaled(
    means: TimeMeans,
    pixel_m: tuple[float, float],
    direction: Direction,
    part: Box,
    first: PixelOffset = (0, 0),
) -> Iterator[tuple[str, Float]]:
    """Compute every statistic at every scale, not yet divided by its size in the stratum.

    They are computed one after the other, so that few are in memory at a time.

    Parameters
    ----------
    means
        Of the residuals.
    pixel_m, direction
        As in ``statistics``.
    part, first
        As in ``smooth``: the statistics are those of the part.
    """

    def averaged(images: Float, scale: float) -> Float:
        return smooth(images, _scale_px(scale, pixel_m), first, part)

    for last, shift in means.shifts.items():
        local = background(shift, pixel_m, first)
        np.subtract(shift, local, out=local)
        for scale in SHIFT_SCALES_M:
            yield f"shift of {last}, {scale:g} m", _pooled(averaged(local, scale), direction)
        with_background = _pooled(averaged(shift, SHIFT_SCALES_M[-1]), direction)
        yield f"shift of {last} with background", with_background
    if means.spread is not None:
        for scale in SPREAD_SCALES_M:
            yield f"spread {scale:g} m", averaged(means.spread, scale)


def names_of(targets: int, direction: Direction) -> tuple[str, ...]:
    """Names of the statistics of a watch of so many targets."""
    nothing = Residuals(np.full((targets, 1, 1, 1), np.nan, dtype=np.float32), 0.0)
    means = time_means(nothing, [1.0] * targets, direction)
    made = unscaled(means, (1.0, 1.0), direction, whole((1, 1)))
    return tuple(name for name, _ in made)


def sizes_of(statistics: Float, strata: Labels) -> Float:
    """Median size of each statistic in each stratum, or of all where few pixels are.

    Parameters
    ----------
    statistics
        Dims (statistic, pixel).
    strata
        Dims (pixel), -1 outside.

    Returns
    -------
    ndarray of float32
        Dims (statistic, stratum), at least one stratum.
    """
    pixels = _ByStratum.of(strata)
    sizes = [[_median_size(group) for group in pixels.groups(values)] for values in statistics]
    return np.array(sizes, dtype=np.float32)


def relative(statistic: Float, sizes: Float, strata: Labels) -> Float:
    """Divide a statistic, dims (y, x), by its size in each stratum, dims (stratum)."""
    divided: Float = statistic / sizes[strata]
    return divided


def _median_size(values: Float) -> float:
    known = np.abs(values[np.isfinite(values)])
    return max(float(np.median(known)), LEAST_STD) if len(known) else 1.0


def halo_px(pixel_m: tuple[float, float]) -> tuple[int, ...]:
    """Rows and columns around a pixel that its statistics depend on."""
    scales = BACKGROUND_M, max(SHIFT_SCALES_M)
    reaches = (reach_px(_scale_px(scale, pixel_m)) for scale in scales)
    return tuple(sum(each) + 2 for each in zip(*reaches, strict=True))


def background(shifts: Float, pixel_m: tuple[float, float], first: PixelOffset = (0, 0)) -> Float:
    """Average the shift over the surroundings, which share weather that a change does not.

    Parameters
    ----------
    shifts
        Dims (band, y, x); values beyond ``GREATEST_BACKGROUND`` count as that, so that a strong
        change hardly moves the background around it.
    pixel_m
        Height and width of a pixel, metres.
    first
        As in ``smooth``.
    """
    limited = np.clip(shifts, -GREATEST_BACKGROUND, GREATEST_BACKGROUND)
    return smooth(limited, _scale_px(BACKGROUND_M, pixel_m), first)


def _pooled(shifts: Float, direction: Direction) -> Float:
    return di.norm(shifts) if direction == "both" else di.signed(shifts, direction)


def spans(count: int) -> list[int]:
    """Numbers of the last targets that the shift is taken over.

    >>> spans(3), spans(4), spans(8)
    ([3], [4, 2], [8, 4, 2])
    """
    return [count // part for part in (1, 2, 4) if part == 1 or count >= FEWEST_TARGETS * part / 2]


def finest_m(pixel_m: tuple[float, float]) -> float:
    """Finest scale of a shift, the geometric mean of rows and columns, metres.

    >>> finest_m((10.0, 10.0)), finest_m((30.0, 30.0))
    (25.0, 45.0)
    """
    return math.sqrt(math.prod(_scale_px(SHIFT_SCALES_M[0], pixel_m)) * math.prod(pixel_m))


def _scale_px(scale_m: float, pixel_m: tuple[float, float]) -> tuple[float, ...]:
    """Standard deviation of an average in rows and columns, pixels."""
    return tuple(max(scale_m / size, FINEST_PX) for size in pixel_m)


@dataclass(frozen=True)
class _ByStratum:
    """Pixels in the order of their strata, of which each is a slice.

    Attributes
    ----------
    order
        Numbers of the judged pixels, stratum by stratum.
    starts
        Where each stratum starts in that order, and where the last one ends.
    """

    order: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]

    @classmethod
    def of(cls, strata: Labels) -> "_ByStratum":
        """Sort pixels, dims (pixel), of strata 0, 1, ...; those of -1 are left out."""
        order = np.argsort(strata, kind="stable")
        starts = np.searchsorted(strata[order], np.arange(int(strata.max(initial=0)) + 2))
        return cls(order[starts[0] :], starts - starts[0])

    def groups(self, values: Float) -> Iterator[Float]:
        """Values of each stratum, of all where it has few pixels; at least one."""
        values = values[self.order]
        for start, stop in pairwise(self.starts.tolist()):
            yield values[start:stop] if stop - start >= FEWEST_PIXELS else values


def _level_and_spread(values: Float) -> tuple[float, float]:
    """Median and spread; 0 and 1 where nothing is known."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    level = np.median(known)
    return float(level), float(GAUSSIAN_MAD * np.median(np.abs(known - level)))
