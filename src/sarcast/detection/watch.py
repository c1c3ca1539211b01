"""Which acquisitions are watched, from which baseline, and the replays of the same in the past."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sarcast.arrays import Double, Times
from sarcast.cube.dates import IsoDate, moment_of, time_index_of
from sarcast.errors import SarcastError
from sarcast.sensor.units import YEAR_DAYS
from sarcast.windows.previous import YEAR_AWAY_DAYS, is_same_season, season_days

LATEST = "latest"
DAYS_PER_FACTOR = 100.0
"""A time from the baseline that is longer or shorter by the factor e counts as so many days in
season."""
SHORTEST_DAYS = 1.0
FEW_REPLAYS = 4


class WatchOptions(BaseModel):
    """Which acquisitions are searched for change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    until: IsoDate = Field(
        LATEST,
        description="Last watched acquisition: the last one up to this date, ISO 8601; latest: the "
        "last one of the cube.",
    )
    acquisitions: int = Field(
        3,
        ge=1,
        le=64,
        description="Number of watched acquisitions, of all tracks together, up to --until.",
    )
    since: IsoDate | None = Field(
        None,
        description="Watch all acquisitions from this date on, ISO 8601, in place of a number.",
    )
    at: IsoDate | None = Field(
        None, description="Watch the acquisition of this date alone, ISO 8601."
    )
    baseline: IsoDate | None = Field(
        None,
        description="Use only previous images before this date, ISO 8601; default: all before the "
        "first watched acquisition.",
    )
    gap: int = Field(
        0,
        ge=0,
        le=64,
        description="Acquisitions between the last previous image and the first watched one that "
        "are not used.",
    )

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        # the record of a run, which can be given again, has the defaults as well
        fields = type(self).model_fields
        given = {n for n in self.model_fields_set if getattr(self, n) != fields[n].default}
        if self.at is not None and given & {"until", "acquisitions", "since"}:
            raise ValueError("at (--at) is one acquisition: it excludes until, acquisitions, since")
        if self.since is not None and "acquisitions" in given:
            raise ValueError("since and acquisitions exclude each other; give one of them")
        return self


@dataclass(frozen=True)
class Watch:
    """Watched acquisitions and the end of their baseline.

    Attributes
    ----------
    targets
        Indices on ``time``, oldest first.
    before
        Previous images are taken before this time.
    """

    targets: tuple[int, ...]
    before: np.datetime64


def plan_watch(cube: xr.Dataset, options: WatchOptions) -> Watch:
    """Choose the watched acquisitions.

    Parameters
    ----------
    cube
        Its ``time`` is used.
    options
        Which.

    Raises
    ------
    SarcastError
        If a date cannot be read, no acquisition is watched, fewer than asked for follow the
        baseline, or nothing precedes it.
    """
    times = cube["time"].values
    order = np.argsort(times, kind="stable")
    if options.at is not None:
        watched = [time_index_of(cube, options.at)]
    else:
        watched = _watched(times, order, options)
    first = int(np.flatnonzero(order == watched[0])[0])
    end = times[order[first - options.gap]] if first >= options.gap else times[order[0]]
    if options.baseline is not None:
        end = min(end, moment_of(options.baseline))
    if not (times < end).any():
        raise SarcastError(
            f"no image precedes the watched acquisitions from {_day(times[watched[0]])} on"
            + (f" and the baseline's end, {_day(end)}" if options.baseline else "")
            + "; watch later or fewer acquisitions (--until, --acquisitions), or a shorter gap"
        )
    return Watch(tuple(watched), end)


def plan_replays(times: Times, watch: Watch, *, previous: int, most: int) -> list[Watch]:
    """Choose earlier watches of as many acquisitions, none of which overlap.

    Each has as many acquisitions between its baseline and its first target as ``watch``. Those are
    taken whose season, and whose days from baseline to first and to last target, are nearest to
    those of ``watch``: a watch across a gap in the series is not like one without.

    Parameters
    ----------
    times
        Acquisition times.
    watch
        What is repeated.
    previous
        Images that must precede a replay's targets.
    most
        Number of replays at most.

    Returns
    -------
    list
        Latest first; empty where the past is too short.
    """
    order = np.argsort(times, kind="stable")
    ascending = times[order]
    count, first = len(watch.targets), int(np.searchsorted(ascending, watch.before))
    skipped = int(np.searchsorted(ascending, times[watch.targets[0]])) - first
    wanted = _days_to_targets(ascending, np.array([first + skipped]), skipped, count)
    starts = np.arange(first - count, previous + skipped - 1, -1)
    unlike = np.abs(np.log(_days_to_targets(ascending, starts, skipped, count) / wanted)).sum(
        axis=0
    )
    away = _season_days(ascending[starts], times[watch.targets[0]])
    cost = away + DAYS_PER_FACTOR * unlike
    chosen = _apart(starts[np.argsort(cost, kind="stable")], count, most)
    if len(chosen) < FEW_REPLAYS:  # likeness leaves gaps between them: rather more of them
        chosen = max(chosen, _apart(starts, count, most), key=len)
    return [
        Watch(
            tuple(int(index) for index in order[start : start + count]), ascending[start - skipped]
        )
        for start in sorted(chosen, reverse=True)
    ]


def knows_season(times: Times, watch: Watch, replays: Sequence[Watch]) -> bool:
    """Whether a replay lies in the season of a watch, in an earlier year.

    Parameters
    ----------
    times
        Acquisition times.
    watch
        What is repeated.
    replays
        As ``plan_replays`` gives them.
    """
    last = times[watch.targets[-1]]
    ages = np.array([(last - times[each.targets[-1]]) / np.timedelta64(1, "D") for each in replays])
    return bool(is_same_season(ages).any())


def _apart(starts: npt.NDArray[np.intp], count: int, most: int) -> list[int]:
    """Take starts in their order, none of which is less than ``count`` from another."""
    chosen: list[int] = []
    for start in starts.tolist():
        if len(chosen) < most and all(abs(start - other) >= count for other in chosen):
            chosen.append(start)
    return chosen


def _days_to_targets(
    times: Times, starts: npt.NDArray[np.intp], skipped: int, count: int
) -> Double:
    """Days from the last baseline image to the first and the last target, dims (end, start)."""
    before = times[starts - skipped - 1]
    ends = np.stack([times[starts] - before, times[starts + count - 1] - before])
    days: Double = np.maximum(ends / np.timedelta64(1, "D"), SHORTEST_DAYS)
    return days


def _watched(times: Times, order: npt.NDArray[np.intp], options: WatchOptions) -> list[int]:
    last = times.max() if options.until == LATEST else moment_of(options.until, last=True)
    until = [int(index) for index in order if times[index] <= last]
    if options.since is not None:
        since = moment_of(options.since)
        watched = [index for index in until if times[index] >= since]
        if not watched:
            raise SarcastError(
                f"no acquisition lies between {options.since} (--since) and {options.until} "
                f"(--until); the cube has {_day(times.min())} to {_day(times.max())}"
            )
        return watched
    if options.baseline is not None:
        until = [index for index in until if times[index] >= moment_of(options.baseline)]
    if len(until) < options.acquisitions:
        after = f"from {options.baseline} (--baseline) " if options.baseline else ""
        raise SarcastError(
            f"{options.acquisitions} acquisitions are to be watched, but only {len(until)} exist "
            f"{after}until {options.until}; choose fewer (--acquisitions) or a later --until"
        )
    return until[-options.acquisitions :]


def _season_days(times: Times, target: np.datetime64) -> Double:
    """Days from a time in the season, each year between them counted as some days."""
    ages = (target - times) / np.timedelta64(1, "D")
    return season_days(ages) + YEAR_AWAY_DAYS * np.round(ages / YEAR_DAYS)


def _day(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, "D"))
