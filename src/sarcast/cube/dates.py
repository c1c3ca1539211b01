"""Dates as text or as objects: their time index in a cube, and when they begin and end."""

import datetime as dt
import re
from typing import TYPE_CHECKING, Annotated, Any, Union

import numpy as np
from pydantic import BeforeValidator

from sarcast.errors import SarcastError, UsageError

if TYPE_CHECKING:
    import xarray as xr

Date = Union[str, dt.date, np.datetime64, "xr.DataArray"]
"""A date or time, UTC: ISO 8601 as ``"2025-01-02"`` or ``"2025-01-02T01:58:24"``, a ``date``, a
``datetime``, a ``datetime64``, or one time of a cube as ``cube.time[-1]``. A ``datetime`` at
midnight stands for its whole day; one with a time zone is converted to UTC."""


def _to_iso(date: Any) -> Any:
    """Convert date objects to ISO 8601 text; text is checked where it is used."""
    return date if date is None or isinstance(date, str) else str(to_datetime64(date))


IsoDate = Annotated[str, BeforeValidator(_to_iso)]
"""ISO 8601 text in options; date objects are converted."""
_ISO = re.compile(r"\d{4}(-\d{2}(-\d{2}(T\d{2}(:\d{2}(:\d{2}(\.\d{1,9})?)?)?)?)?)?")


def time_index_of(cube: "xr.Dataset", date: Date) -> int:
    """Find the time index of a date, or of a time where a date has several acquisitions.

    Parameters
    ----------
    cube
        The cube.
    date
        The date, or the time to any precision.

    Raises
    ------
    SarcastError
        If it is not a date, or the cube has no acquisition on it, or several.
    """
    times = cube["time"].values
    wanted = to_datetime64(date)
    if len(times) == 0:
        raise SarcastError(f"the cube has no acquisition at {date}; it has none at all")
    unit = np.datetime_data(wanted.dtype)[0]
    matches = np.flatnonzero(times.astype(f"datetime64[{unit}]") == wanted)
    if len(matches) == 1:
        return int(matches[0])
    if len(matches) == 0:
        apart = times.astype("datetime64[s]") - wanted.astype("datetime64[s]")
        nearest = times[np.argmin(np.abs(apart))]
        raise SarcastError(
            f"the cube has no acquisition at {date}; the nearest is {_to_text(nearest)} "
            f"(it has {len(times)} from {_to_text(times[0])} to {_to_text(times[-1])})"
        )
    raise SarcastError(
        f"the cube has {len(matches)} acquisitions at {date}; name one of "
        f"{', '.join(_to_text(time) for time in times[matches])}"
    )


def moment_of(date: Date, *, last: bool = False) -> np.datetime64:
    """Convert a date or time to its first second, or with ``last`` to its last second.

    ``"2025-01"`` gives 2025-01-01T00:00:00, and with ``last`` 2025-01-31T23:59:59. A time with a
    fraction of a second is returned as it is.

    Raises
    ------
    UsageError
        If it is not a date.
    """
    read = to_datetime64(date)
    start = read.astype("datetime64[s]")
    end = (read + 1).astype("datetime64[s]") - np.timedelta64(1, "s")
    moment: np.datetime64 = max(end if last else start, read)
    return moment


def to_datetime64(date: Date) -> np.datetime64:
    """Convert to a ``datetime64`` whose unit is the precision of the date."""
    if not isinstance(date, str | dt.date | np.datetime64):
        date = _only_value(date)
    if isinstance(date, np.datetime64) and not np.isnat(date):
        return date
    if isinstance(date, dt.datetime) and date.tzinfo is not None:
        date = date.astimezone(dt.UTC).replace(tzinfo=None)
    if isinstance(date, dt.datetime) and date.time() == dt.time():
        date = date.date()
    try:
        if isinstance(date, dt.date) or (isinstance(date, str) and _ISO.fullmatch(date)):
            return np.datetime64(date)
    except ValueError:
        pass
    raise UsageError(f"{date!r} is not a date; give one such as 2025-01-02 or 2025-01-02T01:58:24")


def _only_value(date: Any) -> Any:
    """Value of an array without dims; anything else as it is."""
    import xarray as xr

    return date.values.flat[0] if isinstance(date, xr.DataArray) and date.ndim == 0 else date


def utc_datetime(time: np.datetime64) -> dt.datetime:
    """Time to the second, with its time zone."""
    seconds = int(time.astype("datetime64[s]").astype(np.int64))
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)


def iso_time(time: np.datetime64) -> str:
    """Time to the second, as ``"2020-03-01T15:40:05Z"``."""
    return utc_datetime(time).strftime("%Y-%m-%dT%H:%M:%SZ")


def _to_text(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, unit="s"))
