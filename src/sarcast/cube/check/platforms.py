"""Platforms compared over unchanged ground: their level, and where they put it."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Bool, Floating, Times
from sarcast.cube.check.registration import CLEAR, Correlation

LARGEST_LEVEL_DB = 0.3
"""Difference in level between platforms that is worth a warning, dB."""
LARGEST_SHIFT = 0.5
"""Shift between platforms that is worth a warning, pixels."""
NEAR_DAYS = 36
"""Dates of two platforms are compared where they lie no further apart, days."""
FEWEST_DATES = 3
"""Comparisons of dates from which a level can be told."""

_QUIET_SHARE = 0.5
_ERROR_OF_MEDIAN = 1.2533
_SIGMA_OF_MAD = 1.4826


@dataclass(frozen=True)
class Series:
    """Acquisitions of a cube, as far as platforms are compared by them.

    Attributes
    ----------
    times
        Dims (time), datetime64.
    platforms
        Dims (time), names.
    views
        Dims (time), what acquisitions that see the ground alike have in common.
    fields
        Dims (time, band, cell), mean dB of coarse cells; NaN where nothing was seen.
    """

    times: Times
    platforms: Sequence[str]
    views: Sequence[Hashable]
    fields: Floating

    def of(self, platform: str, view: Hashable) -> npt.NDArray[np.intp]:
        """Places of the dates of a platform in a view."""
        told = zip(self.platforms, self.views, strict=True)
        return np.array([n for n, one in enumerate(told) if one == (platform, view)], dtype=np.intp)


@dataclass(frozen=True)
class Comparison:
    """One platform against another, over the views that they share.

    Attributes
    ----------
    platform, reference
        Names; differences are the first's less the second's.
    dates
        Number of dates compared.
    level_db
        Difference in level over unchanged ground, one a band, dB; NaN where it cannot be told.
    error_db
        Standard error of each, from the scatter between dates.
    shift
        Rows down and columns right, pixels; None where the images have too little in common.
    """

    platform: str
    reference: str
    dates: int
    level_db: tuple[float, ...]
    error_db: tuple[float, ...]
    shift: tuple[float, float] | None

    @property
    def level_differs(self) -> bool:
        """Whether a band differs by over ``LARGEST_LEVEL_DB``, and twice its standard error."""
        told = zip(self.level_db, self.error_db, strict=True)
        return any(abs(level) > max(LARGEST_LEVEL_DB, 2.0 * error) for level, error in told)

    @property
    def is_shifted(self) -> bool:
        """Whether the images lie over ``LARGEST_SHIFT`` apart."""
        return self.shift is not None and float(np.hypot(*self.shift)) > LARGEST_SHIFT


ReadImages = Callable[[npt.NDArray[np.intp]], Iterator[Floating]]
"""Gives the mean images of some dates, dims (band, y, x), of one square window after another."""


def compare(series: Series, read_images: ReadImages) -> tuple[Comparison, ...]:
    """Compare every pair of platforms that share a view.

    Parameters
    ----------
    series
        The acquisitions.
    read_images
        Gives the mean images of some dates, in the same windows each time.
    """
    found = []
    for reference, platform in combinations(sorted(set(series.platforms) - {""}), 2):
        views = [view for view in set(series.views) if _shared(series, platform, reference, view)]
        if views:
            levels = np.concatenate([_levels(series, platform, reference, v) for v in views])
            shift = _shift(series, platform, reference, views, read_images)
            found.append(_summary(platform, reference, levels, shift))
    return tuple(found)


def _shared(series: Series, platform: str, reference: str, view: Hashable) -> bool:
    return min(series.of(platform, view).size, series.of(reference, view).size) > 0


def _levels(series: Series, platform: str, reference: str, view: Hashable) -> Floating:
    """Difference in level, dims (date, band), of each date to the reference's dates around it."""
    ours, theirs = series.of(platform, view), series.of(reference, view)
    dates = np.concatenate([ours, theirs])
    fields = series.fields[dates]
    seen = np.isfinite(fields).all(axis=1)
    whole = seen.sum(axis=1) >= _QUIET_SHARE * seen.sum(axis=1).max()
    cells = seen[whole].all(axis=0)
    if not cells.any():
        return np.empty((0, fields.shape[1]))
    quiet = _quiet(fields[whole][..., cells])
    held = {
        date: field[..., cells] for date, field in zip(dates[whole], fields[whole], strict=True)
    }
    times = {date: series.times[date] for date in held}
    found = []
    for date in ours:
        around = _around(times, date, [one for one in theirs if one in held])
        if date in held and around:
            expected = sum(weight * held[one] for one, weight in around.items())
            apart = np.where(quiet, held[date] - expected, np.nan)
            found.append(np.nanmedian(apart, axis=-1))
    return np.array(found).reshape(len(found), fields.shape[1])


def _quiet(fields: Floating) -> Bool:
    """Unchanged ground, dims (band, cell): the half of the cells that vary least over the dates."""
    apart = fields - np.median(fields, axis=-1, keepdims=True)
    spread = np.std(apart, axis=0)
    quiet: Bool = spread <= np.quantile(spread, _QUIET_SHARE, axis=-1, keepdims=True)
    return quiet


def _around(times: dict[Any, np.datetime64], date: Any, others: Sequence[Any]) -> dict[Any, float]:
    """The dates next before and after one, and their weights by nearness; none if none is near."""
    if date not in times:
        return {}
    days = {other: (times[other] - times[date]) / np.timedelta64(1, "D") for other in others}
    near = {other: apart for other, apart in days.items() if abs(apart) <= NEAR_DAYS}
    sides = (
        [other for other, apart in near.items() if apart <= 0.0],
        [other for other, apart in near.items() if apart > 0.0],
    )
    next_to = [min(side, key=lambda other: abs(near[other])) for side in sides if side]
    if len(next_to) < 2:
        return dict.fromkeys(next_to, 1.0)
    before, after = next_to
    share = -near[before] / (near[after] - near[before])
    return {before: 1.0 - share, after: share}


def _shift(
    series: Series,
    platform: str,
    reference: str,
    views: Sequence[Hashable],
    read_images: ReadImages,
) -> tuple[float, float] | None:
    correlation: Correlation | None = None
    for view in views:
        ours, theirs = (read_images(series.of(one, view)) for one in (platform, reference))
        for image, other in zip(ours, theirs, strict=True):
            correlation = correlation or Correlation(image.shape[-1])
            for band, other_band in zip(image, other, strict=True):
                correlation.add(band, other_band)
    clear = correlation is not None and correlation.clearness() > CLEAR
    return correlation.shift() if correlation is not None and clear else None


def _summary(
    platform: str, reference: str, levels: Floating, shift: tuple[float, float] | None
) -> Comparison:
    dates, bands = levels.shape
    level, error = np.full(bands, np.nan), np.full(bands, np.nan)
    if dates >= FEWEST_DATES:
        level = np.median(levels, axis=0)
        spread = _SIGMA_OF_MAD * np.median(np.abs(levels - level), axis=0)
        error = _ERROR_OF_MEDIAN * spread / np.sqrt(dates)
    return Comparison(
        platform, reference, dates, tuple(level.tolist()), tuple(error.tolist()), shift
    )
