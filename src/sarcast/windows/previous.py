"""The choice of the previous images of a target, and of the dates that can be targets."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from sarcast.arrays import Bool, Double, Times
from sarcast.errors import SarcastError
from sarcast.sensor.units import YEAR_DAYS
from sarcast.windows.options import Chooser

YEAR_AWAY_DAYS = 20.0
"""Distance in days that a whole year between two images counts as."""
SEASON_DAYS = 45.0
"""Days either side of the target's day of the year that count as its season."""
EARLIER_DAYS = 270.0
"""Days before the target from which on an image belongs to an earlier year."""


def rank_previous(
    times: Times, target: int, *, chooser: Chooser, before: np.datetime64 | None = None
) -> npt.NDArray[np.intp]:
    """Rank the images before the target, the first choice first.

    Parameters
    ----------
    times
        Dims (time), acquisition times in any order.
    target
        Index of the target in ``times``.
    chooser
        ``"nearest"``: smallest distance first, where an image of k years before is k times
        ``YEAR_AWAY_DAYS`` plus the days between both seasons away. ``"recent"``: latest first.
        ``"same-season"``: images of earlier years first, nearest in season, then the latest.
        ``"both"``: one of the latest and one of the season in turn.
    before
        Only images before this time: a baseline that stays fixed while a change is watched.

    Returns
    -------
    ndarray of int
        Indices into ``times``.
    """
    end = times[target] if before is None else min(times[target], before)
    earlier = np.flatnonzero(times < end)
    recent = earlier[np.argsort(times[earlier], kind="stable")[::-1]]
    if chooser == "recent":
        return recent
    ages = (times[target] - times[recent]) / np.timedelta64(1, "D")
    if chooser == "nearest":
        years = np.floor(ages / YEAR_DAYS) + np.array([[0.0], [1.0]])
        days = np.abs(ages - YEAR_DAYS * years) + YEAR_AWAY_DAYS * years
        return recent[np.argsort(days.min(axis=0), kind="stable")]
    away, seasonal = season_days(ages), is_same_season(ages)
    same = recent[seasonal][np.argsort(away[seasonal], kind="stable")]
    if chooser == "same-season":
        return np.concatenate([same, recent[~seasonal]])
    alternating = [index for pair in zip(recent, same, strict=False) for index in pair]
    return np.array(list(dict.fromkeys([*alternating, *same, *recent])), dtype=np.intp)


def season_days(ages: Double) -> Double:
    """Days within the year between a target and images of some age, 0..183; ages in days."""
    years = np.round(ages / YEAR_DAYS)
    days: Double = np.abs(ages - YEAR_DAYS * years)
    return days


def is_same_season(ages: Double) -> Bool:
    """Which ages, in days, are of an earlier year and within ``SEASON_DAYS`` of its season."""
    same: Bool = (ages >= EARLIER_DAYS) & (season_days(ages) <= SEASON_DAYS)
    return same


def choose_previous(
    times: Times,
    target: int,
    n: int,
    *,
    chooser: Chooser,
    before: np.datetime64 | None = None,
) -> npt.NDArray[np.intp]:
    """Choose ``n`` images before the target's acquisition.

    Parameters
    ----------
    times, target, chooser, before
        As in ``rank_previous``.
    n
        Number of images, 1 or more.

    Returns
    -------
    ndarray of int
        Indices into ``times``, oldest first.

    Raises
    ------
    SarcastError
        If fewer than ``n`` precede the target.
    """
    ranked = rank_previous(times, target, chooser=chooser, before=before)
    if len(ranked) < n:
        end = times[target] if before is None else min(times[target], before)
        raise SarcastError(
            f"{n} previous images are needed, but {len(ranked)} precede "
            f"{np.datetime_as_string(end, 's')}; "
            f"choose a later date, fewer images (--previous, for networks of any number), or a "
            f"network that needs fewer"
        )
    chosen = ranked[:n]
    return chosen[np.argsort(times[chosen], kind="stable")]


def target_dates(
    cube: xr.Dataset,
    n: int,
    *,
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
) -> npt.NDArray[np.intp]:
    """Return the indices on ``time`` of the dates that can be targets, oldest first.

    Parameters
    ----------
    cube
        The cube.
    n
        Number of images that must precede a target.
    start, end
        First and last acquisition time allowed; None for no bound.
    """
    times = cube["time"].values
    order = np.argsort(times, kind="stable")
    enough = np.array([np.sum(times < times[index]) >= n for index in order], dtype=bool)
    kept: npt.NDArray[np.intp] = order[enough]
    if start is not None:
        kept = kept[times[kept] >= start]
    if end is not None:
        kept = kept[times[kept] <= end]
    return kept
