"""Pass, heading and relative orbit of a scene, derived from Sentinel-1's orbit.

The orbit is sun-synchronous and nearly circular, so they follow from its geometry without guessing.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Bool, Double
from sarcast.errors import SarcastError

Angle = TypeVar("Angle", bound=Any)
"""Degrees: a number, an array or a tensor."""

PASS_GAP = dt.timedelta(minutes=10)
"""Longest time between the starts of successive slices of a pass; an orbit takes 98.7 minutes."""
ASCENDING = "ascending"
DESCENDING = "descending"

INCLINATION_DEG = 98.18
"""Orbit inclination, degrees (Sentinel-1 product definition; ESA S1-OP orbit description)."""
HIGHEST_LATITUDE_DEG = 180.0 - INCLINATION_DEG
"""Highest latitude north and south of the ground track, degrees."""
REPEAT_DAYS = 12
"""Days between two flights of a satellite on the same relative orbit."""
ORBITS_PER_CYCLE = 175
"""Relative orbits in one repeat cycle of 12 days."""
NODE_LOCAL_TIME_H = 18.0
"""Mean local solar time of the ascending node, hours."""
LOOK_OFFSET_DEG = 90.0
"""Look direction less heading, degrees: the antenna looks to the right of the track."""
FIRST_ORBITS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "sentinel-1a": ((0, 73),),
    "sentinel-1b": ((0, 27),),
    "sentinel-1c": ((0, 172), (8019, 99)),
    "sentinel-1d": ((0, 42),),
}
"""By platform, pairs of an absolute orbit and the offset that is valid from it on: relative orbit =
(absolute orbit − offset) mod 175 + 1 (ESA, Sentinel-1 annotations). Sentinel-1C moved to another
position in its orbit in June 2026."""


def orbit_direction(time: dt.datetime, longitude_deg: float) -> str:
    """Pass of an acquisition, from its local solar time.

    The ascending node is crossed at 18:00 mean local time. Between 80 S and 80 N the ascending half
    of the orbit lies within 4 hours of 18:00 and the descending half within 4 hours of 06:00, so
    the two never overlap.

    Parameters
    ----------
    time
        Acquisition time; UTC if it has no time zone.
    longitude_deg
        Longitude of the scene, degrees east.

    Returns
    -------
    str
        ``"ascending"`` or ``"descending"``.
    """
    utc = time.astimezone(dt.UTC) if time.tzinfo else time
    hours = utc.hour + utc.minute / 60.0 + longitude_deg / 15.0
    from_node = (hours - NODE_LOCAL_TIME_H + 12.0) % 24.0 - 12.0
    return ASCENDING if abs(from_node) < 6.0 else DESCENDING


def heading_deg(latitude_deg: float, direction: str) -> float:
    """Heading of the ground track, degrees clockwise from north, −180..180.

    Parameters
    ----------
    latitude_deg
        Geodetic latitude of the ground track, −81..81.
    direction
        ``"ascending"`` or ``"descending"``.

    Returns
    -------
    float
        Negative for Sentinel-1: about −12 ascending and −168 descending at mid latitudes.

    Raises
    ------
    SarcastError
        If the orbit does not reach that latitude.

    References
    ----------
    Capderou, "Handbook of Satellite Orbits", 2014, chapter 8: tan(azimuth) =
    (cos i − cos² φ / Q) / sqrt(cos² φ − cos² i), Q the revolutions a day.
    """
    if not abs(latitude_deg) < HIGHEST_LATITUDE_DEG:
        raise SarcastError(
            f"Sentinel-1 flies between 81.8 S and 81.8 N; at latitude {latitude_deg:.2f} "
            f"there is no heading"
        )
    cos_inclination = np.cos(np.radians(INCLINATION_DEG))
    cos_latitude = np.cos(np.radians(latitude_deg))
    across = cos_latitude**2 - cos_inclination**2
    revolutions = ORBITS_PER_CYCLE / REPEAT_DAYS
    east = cos_inclination - cos_latitude**2 / revolutions
    azimuth = float(np.degrees(np.arctan2(east, np.sqrt(across))))
    return azimuth if direction == ASCENDING else -180.0 - azimuth


def is_descending(heading: npt.ArrayLike) -> Bool:
    """Whether headings, degrees clockwise from north, point south; False where they are NaN."""
    south: Bool = np.cos(np.radians(heading)) < 0.0
    return south


def direction_of(heading: float) -> str:
    """Pass of a heading of the ground track, degrees clockwise from north."""
    return DESCENDING if is_descending(heading) else ASCENDING


def wrap_heading(heading: Angle) -> Angle:
    """Wrap a heading to −180..180 degrees."""
    wrapped: Angle = (heading + 180.0) % 360.0 - 180.0
    return wrapped


def opposite_heading(heading: Angle) -> Angle:
    """Heading of the opposite pass over the same latitude, −180..180 degrees."""
    opposite: Angle = -heading % 360.0 - 180.0
    return opposite


def relative_orbit(platform: str, absolute_orbit: int) -> int | None:
    """Relative orbit (1..175) of an absolute orbit; None if the platform's offset is unknown."""
    offsets = [
        offset for first, offset in FIRST_ORBITS.get(platform, ()) if absolute_orbit >= first
    ]
    return (absolute_orbit - offsets[-1]) % ORBITS_PER_CYCLE + 1 if offsets else None


def same_pass(first: int, later: int) -> bool:
    """Whether two relative orbits can belong to one pass, which may cross the ascending node."""
    return (later - first) % ORBITS_PER_CYCLE in (0, 1)


def look_direction_deg(heading: npt.ArrayLike) -> Double:
    """Azimuth of the antenna's look direction, degrees clockwise from north, 0..360."""
    azimuth: Double = (np.asarray(heading, dtype=float) + LOOK_OFFSET_DEG) % 360.0
    return azimuth
