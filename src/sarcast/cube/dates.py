"""Dates as people give them: their place in a cube, and the moments that they begin and end."""

import re

import numpy as np
import xarray as xr

from sarcast.errors import SarcastError, UsageError

_ISO = re.compile(r"\d{4}(-\d{2}(-\d{2}(T\d{2}(:\d{2}(:\d{2}(\.\d{1,9})?)?)?)?)?)?")


def time_index_of(cube: xr.Dataset, date: str) -> int:
    """Find the place on ``time`` of a date, or of a moment where a date has several acquisitions.

    Parameters
    ----------
    cube
        The cube.
    date
        ISO 8601, as ``2025-01-02`` or ``2025-01-02T01:58:24``; UTC.

    Raises
    ------
    SarcastError
        If the cube has no such date, or several acquisitions on it.
    """
    times = cube["time"].values
    wanted = _datetime(date)
    unit = np.datetime_data(wanted.dtype)[0]
    matches = np.flatnonzero(times.astype(f"datetime64[{unit}]") == wanted)
    if len(matches) == 1:
        return int(matches[0])
    if len(matches) == 0:
        nearest = times[np.argmin(np.abs(times - wanted.astype(times.dtype)))]
        raise SarcastError(
            f"the cube has no acquisition at {date}; the nearest is {_shown(nearest)} "
            f"(it holds {len(times)} from {_shown(times[0])} to {_shown(times[-1])})"
        )
    raise SarcastError(
        f"the cube has {len(matches)} acquisitions at {date}; name one of "
        f"{', '.join(_shown(time) for time in times[matches])}"
    )


def moment_of(date: str, *, last: bool = False) -> np.datetime64:
    """Read a date or a moment, ISO 8601, UTC: its start, or the last second of it.

    What is told to a fraction of a second is that moment.

    Raises
    ------
    UsageError
        If it is neither.
    """
    read = _datetime(date)
    start = read.astype("datetime64[s]")
    end = (read + 1).astype("datetime64[s]") - np.timedelta64(1, "s")
    moment: np.datetime64 = max(end if last else start, read)
    return moment


def _datetime(date: str) -> np.datetime64:
    try:
        if _ISO.fullmatch(date):
            return np.datetime64(date)
    except ValueError:
        pass
    raise UsageError(f"{date!r} is no date; give one such as 2025-01-02 or 2025-01-02T01:58:24")


def _shown(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, unit="s"))
