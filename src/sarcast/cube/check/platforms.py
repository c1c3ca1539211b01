"""Platforms compared over unchanged ground: differences in level, and shifts."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Bool, Floating, Times
from sarcast.cube.check.registration import MIN_CLEARNESS, Correlation

MAX_LEVEL_DB = 0.3
"""Differences in level between platforms over this are a warning, dB."""
MAX_SHIFT = 0.5
"""Shifts between platforms over this are a warning, pixels."""
NEAR_DAYS = 36
"""Dates of two platforms are compared if they lie no further apart, days."""
MIN_DATES = 3
"""Comparisons of dates from which a difference in level is estimated."""

_QUIET_SHARE = 0.5
_ERROR_OF_MEDIAN = 1.2533
_SIGMA_OF_MAD = 1.4826


@dataclass(frozen=True)
class PlatformSeries:
    """Coarse backscatter of the acquisitions of a cube, with their platforms and views.

    Attributes
    ----------
    times
        Dims (time), datetime64.
    platforms
        Dims (time), names.
    views
        Dims (time), orbit direction and track; equal for acquisitions of the same geometry.
    fields
        Dims (time, band, cell), mean dB of coarse cells; NaN without data.
    """

    times: Times
    platforms: Sequence[str]
    views: Sequence[Hashable]
    fields: Floating

    def dates_of(self, platform: str, view: Hashable) -> npt.NDArray[np.intp]:
        """Time indices of the dates of a platform in a view."""
        pairs = zip(self.platforms, self.views, strict=True)
        matches = [index for index, pair in enumerate(pairs) if pair == (platform, view)]
        return np.array(matches, dtype=np.intp)


@dataclass(frozen=True)
class PlatformComparison:
    """One platform compared with another, over the views that they share.

    Attributes
    ----------
    platform, reference
        Names; differences are platform minus reference.
    dates
        Number of dates compared.
    level_db
        Difference in level over unchanged ground, one a band, dB; NaN with too few dates.
    error_db
        Standard error of each, from the scatter between dates.
    shift
        Rows down and columns right, pixels; None if the images do not correlate.
    """

    platform: str
    reference: str
    dates: int
    level_db: tuple[float, ...]
    error_db: tuple[float, ...]
    shift: tuple[float, float] | None

    @property
    def level_differs(self) -> bool:
        """Whether a band differs by over ``MAX_LEVEL_DB`` and over twice its standard error."""
        bands = zip(self.level_db, self.error_db, strict=True)
        return any(abs(level) > max(MAX_LEVEL_DB, 2.0 * error) for level, error in bands)

    @property
    def is_shifted(self) -> bool:
        """Whether the shift is over ``MAX_SHIFT``."""
        return self.shift is not None and float(np.hypot(*self.shift)) > MAX_SHIFT


ReadImages = Callable[[npt.NDArray[np.intp]], Iterator[Floating]]
"""Yields the mean images of some dates, dims (band, y, x), for one square window after another."""


def compare(series: PlatformSeries, read_images: ReadImages) -> tuple[PlatformComparison, ...]:
    """Compare every pair of platforms that share a view.

    Parameters
    ----------
    series
        The acquisitions.
    read_images
        Yields the mean images of some dates, in the same windows each time.
    """
    comparisons = []
    for reference, platform in combinations(sorted(set(series.platforms) - {""}), 2):
        views = [
            view
            for view in dict.fromkeys(series.views)
            if _shared(series, platform, reference, view)
        ]
        if views:
            levels = np.concatenate([_levels(series, platform, reference, v) for v in views])
            shift = _shift(series, platform, reference, views, read_images)
            comparisons.append(_summarise(platform, reference, levels, shift))
    return tuple(comparisons)


def _shared(series: PlatformSeries, platform: str, reference: str, view: Hashable) -> bool:
    return min(series.dates_of(platform, view).size, series.dates_of(reference, view).size) > 0


def _levels(series: PlatformSeries, platform: str, reference: str, view: Hashable) -> Floating:
    """Difference in level, dims (date, band), of each date to the reference's dates around it."""
    ours, theirs = series.dates_of(platform, view), series.dates_of(reference, view)
    dates = np.concatenate([ours, theirs])
    fields = series.fields[dates]
    valid = np.isfinite(fields).all(axis=1)
    whole = valid.sum(axis=1) >= _QUIET_SHARE * valid.sum(axis=1).max()
    cells = valid[whole].all(axis=0)
    if not cells.any():
        return np.empty((0, fields.shape[1]))
    quiet = _quiet(fields[whole][..., cells])
    usable = {
        date: field[..., cells] for date, field in zip(dates[whole], fields[whole], strict=True)
    }
    times = {date: series.times[date] for date in usable}
    levels = []
    for date in ours:
        weights = _neighbour_weights(times, date, [other for other in theirs if other in usable])
        if date in usable and weights:
            expected = sum(weight * usable[other] for other, weight in weights.items())
            differences = np.where(quiet, usable[date] - expected, np.nan)
            levels.append(np.nanmedian(differences, axis=-1))
    return np.array(levels).reshape(len(levels), fields.shape[1])


def _quiet(fields: Floating) -> Bool:
    """Unchanged ground, dims (band, cell): the half of the cells that vary least over the dates."""
    centred = fields - np.median(fields, axis=-1, keepdims=True)
    spread = np.std(centred, axis=0)
    quiet: Bool = spread <= np.quantile(spread, _QUIET_SHARE, axis=-1, keepdims=True)
    return quiet


def _neighbour_weights(
    times: dict[Any, np.datetime64], date: Any, others: Sequence[Any]
) -> dict[Any, float]:
    """Weights that interpolate linearly between the dates next before and after; none if far."""
    if date not in times:
        return {}
    days = {other: (times[other] - times[date]) / np.timedelta64(1, "D") for other in others}
    near = {other: lag for other, lag in days.items() if abs(lag) <= NEAR_DAYS}
    sides = (
        [other for other, lag in near.items() if lag <= 0.0],
        [other for other, lag in near.items() if lag > 0.0],
    )
    neighbours = [min(side, key=lambda other: abs(near[other])) for side in sides if side]
    if len(neighbours) < 2:
        return dict.fromkeys(neighbours, 1.0)
    before, after = neighbours
    share = -near[before] / (near[after] - near[before])
    return {before: 1.0 - share, after: share}


def _shift(
    series: PlatformSeries,
    platform: str,
    reference: str,
    views: Sequence[Hashable],
    read_images: ReadImages,
) -> tuple[float, float] | None:
    correlation: Correlation | None = None
    for view in views:
        ours, theirs = (read_images(series.dates_of(name, view)) for name in (platform, reference))
        for image, other in zip(ours, theirs, strict=True):
            correlation = correlation or Correlation(image.shape[-1])
            for band, other_band in zip(image, other, strict=True):
                correlation.add(band, other_band)
    clear = correlation is not None and correlation.clearness() > MIN_CLEARNESS
    return correlation.shift() if correlation is not None and clear else None


def _summarise(
    platform: str, reference: str, levels: Floating, shift: tuple[float, float] | None
) -> PlatformComparison:
    dates, bands = levels.shape
    level, error = np.full(bands, np.nan), np.full(bands, np.nan)
    if dates >= MIN_DATES:
        level = np.median(levels, axis=0)
        spread = _SIGMA_OF_MAD * np.median(np.abs(levels - level), axis=0)
        error = _ERROR_OF_MEDIAN * spread / np.sqrt(dates)
    return PlatformComparison(
        platform, reference, dates, tuple(level.tolist()), tuple(error.tolist()), shift
    )
