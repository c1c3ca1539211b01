"""Which acquisitions of a cube a run processes, and which it must not pass over in silence."""

import logging
from collections.abc import Sequence

import numpy as np
import xarray as xr

from sarcast.arrays import Times
from sarcast.cube.dates import iso_time, moment_of
from sarcast.detection.watch import FEW_REPLAYS, WatchOptions, plan_replays, plan_watch
from sarcast.errors import SarcastError
from sarcast.monitoring.options import MonitorOptions
from sarcast.monitoring.state import Known, seconds_of
from sarcast.sensor.orbits import PASS_GAP
from sarcast.sensor.units import YEAR_DAYS

_log = logging.getLogger(__name__)

VIEW = ("platform", "orbit_direction", "relative_orbit")
LAST_SHARE = 0.75
"""Monitoring begins after this share of the acquisitions where the past is too short."""


def acquisitions_of(cube: xr.Dataset) -> list[Known]:
    """List the acquisitions of a cube, sorted by time."""
    times = cube["time"].values
    scenes = cube["scene_id"].values if "scene_id" in cube else np.full(len(times), "")
    views = [cube[name].values for name in VIEW if name in cube]
    return [
        Known(iso_time(times[i]), str(scenes[i]), " ".join(str(view[i]) for view in views))
        for i in np.argsort(times, kind="stable")
    ]


def first_of(cube: xr.Dataset, options: MonitorOptions, previous: int) -> str:
    """Choose the time of the first acquisition that is processed.

    Parameters
    ----------
    cube
        Its ``time`` is used.
    options
        ``start``, or how much past is needed.
    previous
        Images of a baseline.

    Raises
    ------
    SarcastError
        If no acquisition follows ``start``, or all are needed for the first baseline.
    """
    times = np.sort(cube["time"].values)
    if options.start is not None:
        later = times[times >= moment_of(options.start)]
        if len(later) == 0:
            raise SarcastError(
                f"no acquisition follows {options.start} (--start); the cube ends at "
                f"{iso_time(times[-1])}"
                if len(times)
                else "the cube has no acquisition"
            )
        return iso_time(later[0])
    earliest = previous + options.acquisitions - 1
    if len(times) <= earliest:
        raise SarcastError(
            f"{earliest + 1} acquisitions are needed, {previous} of them as the first baseline "
            f"(--previous), but the cube has {len(times)}"
        )
    index, reason = _default_start(cube, times, options, previous, earliest)
    _log.info(f"monitoring begins at {iso_time(times[index])}: {reason}")
    return iso_time(times[index])


def _default_start(
    cube: xr.Dataset, times: Times, options: MonitorOptions, previous: int, earliest: int
) -> tuple[int, str]:
    """Index of the first acquisition that is processed, and why it is that one."""
    year = np.timedelta64(round(YEAR_DAYS * 24), "h")
    candidates = range(max(earliest, int(np.searchsorted(times, times[0] + year))), len(times))
    for indices, reason in (
        (candidates, "a year that can be replayed precedes it"),
        (range(earliest, len(times)), "its past can be replayed, but has not seen all seasons"),
    ):
        for index in indices:
            watch = plan_watch(cube, watch_options(iso_time(times[index]), options.acquisitions))
            replays = plan_replays(cube["time"].values, watch, previous=previous, most=FEW_REPLAYS)
            if len(replays) >= FEW_REPLAYS:
                return index, reason
    return max(earliest, int(LAST_SHARE * len(times))), (
        f"the past is too short for {FEW_REPLAYS} replays, so that the last quarter of the cube "
        f"is taken"
    )


def watch_options(time: str, acquisitions: int) -> WatchOptions:
    """Options of the watch of so many acquisitions until one."""
    return WatchOptions(until=time.removesuffix("Z"), acquisitions=acquisitions)


def new_acquisitions(
    present: Sequence[Known], processed: Sequence[Known], first: str
) -> list[Known]:
    """Return the acquisitions after the last one that was processed.

    Parameters
    ----------
    present
        Those of the cube, sorted by time.
    processed
        Those of earlier runs, in order.
    first
        Time of the first one that is processed if none was.

    Raises
    ------
    SarcastError
        If the cube has one that is older than the last processed but was not.

    Warns
    -----
    UserWarning
        Of acquisitions that are another scene now, or no longer in the cube.
    """
    if not processed:
        return [each for each in present if each.time >= first]
    exact = {(each.time, each.view): each for each in processed}
    twins = {
        each.time: exact.get((each.time, each.view)) or _twin(each, processed) for each in present
    }
    fresh = [each for each in present if twins[each.time] is None]
    _check_order(fresh, processed)
    known = [(each, twin) for each in present if (twin := twins[each.time]) is not None]
    changed = [each for each, twin in known if each.scene_id != twin.scene_id]
    if changed:
        _log.warning(
            f"processed already, but another scene now: {_names(changed)}; its result stays "
            f"(process it anew: --replay-from {changed[0].time[:10]})"
        )
    gone = {each.time for each in processed} - {twin.time for _, twin in known}
    if gone:
        _log.warning(f"processed, but no longer in the cube: {', '.join(sorted(gone))}")
    return [each for each in fresh if each.time > processed[-1].time]


def _check_order(fresh: Sequence[Known], processed: Sequence[Known]) -> None:
    late = [each for each in fresh if processed[0].time < each.time <= processed[-1].time]
    if late:
        raise SarcastError(
            f"the cube has {len(late)} acquisitions that are older than the last one processed, "
            f"{processed[-1].time}, but were not processed: {_names(late)}; process them and what "
            f"follows with --replay-from {late[0].time[:10]}"
        )


def _twin(acquisition: Known, processed: Sequence[Known]) -> Known | None:
    """Return the processed acquisition of the same pass, perhaps with fewer slices then."""
    time = seconds_of(acquisition.time)
    for each in reversed(processed):
        apart = time - seconds_of(each.time)
        if abs(apart) <= np.timedelta64(PASS_GAP) and each.view == acquisition.view:
            return each
    return None


def _names(acquisitions: Sequence[Known]) -> str:
    shown = ", ".join(each.time for each in acquisitions[:3])
    return shown + (", ..." if len(acquisitions) > 3 else "")
