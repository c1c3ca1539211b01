"""Views: times, geometry and platforms of the Sentinel-1 acquisitions of a location.

The geometry is that of a circular orbit over a spherical, rotating earth: latitude and longitude
give the relative orbits that see the location, their passes, times and incidence angles. The phase
of the cycle is anchored to one real acquisition.

References
----------
Capderou, "Handbook of Satellite Orbits", 2014, chapters 5 and 8: ground tracks.
Torres et al., Remote Sensing of Environment 120 (2012) 9: orbit and swath of Sentinel-1.
"""

import datetime as dt
import math
from dataclasses import dataclass, replace

import torch

from sarcast.sensor.conditions import PLATFORMS
from sarcast.sensor.orbits import INCLINATION_DEG, ORBITS_PER_CYCLE, REPEAT_DAYS, opposite_heading
from sarcast.world import fields

EPOCH = dt.date(2014, 1, 1)
"""Origin of all day counts of the synthetic world, UTC."""
EARTH_RADIUS_KM = 6371.0
ALTITUDE_KM = 700.0
SWATH_DEG = (29.1, 46.0)
"""Incidence angles of the interferometric wide swath [Torres]."""
NODE_STEP_DEG = 360.0 * REPEAT_DAYS / ORBITS_PER_CYCLE
"""Westward shift of the ascending node from one orbit to the next."""
ANCHOR_ORBIT = 137
ANCHOR_DAY = (dt.date(2021, 11, 19) - EPOCH).days + 1.0 / 24.0 + 49.5 / 1440.0
"""Time at which Sentinel-1A crossed the ascending node of relative orbit 137, days after ``EPOCH``:
computed back from the acquisition of burst T137-292318-IW2 at 2021-11-19T01:58:55."""
ANCHOR_NODE_DEG = -117.4
"""Longitude of that node, where the mean solar time was 18:00."""
SLOT_DAYS = 6
"""Days by which the second satellite follows the first: half a cycle."""
SERVICE = (
    ("sentinel-1a", 0, dt.date(2014, 10, 3), dt.date(2026, 6, 1)),
    ("sentinel-1b", 1, dt.date(2016, 9, 26), dt.date(2021, 12, 23)),
    ("sentinel-1c", 1, dt.date(2025, 3, 26), dt.date(2100, 1, 1)),
    ("sentinel-1d", 0, dt.date(2026, 6, 1), dt.date(2100, 1, 1)),
)
"""Platform, its half of the cycle, and the first and last day of its routine acquisitions (ESA,
Sentinel-1 mission status): 1B failed on 2021-12-23 and 1C replaced it; the date on which 1D
replaced 1A, June 2026, is accurate to the month at best."""


@dataclass(frozen=True)
class Tracks:
    """Relative orbits that see each world; entries with ``in_swath`` false are padding.

    Attributes
    ----------
    in_swath, ascending
        Dims (world, track), bool.
    relative_orbit
        Dims (world, track), int64, 1..175.
    incidence_deg, heading_deg
        Dims (world, track), at the world's centre.
    phase
        Dims (world, track), days after ``EPOCH`` of one acquisition by Sentinel-1A.
    """

    in_swath: torch.Tensor
    ascending: torch.Tensor
    relative_orbit: torch.Tensor
    incidence_deg: torch.Tensor
    heading_deg: torch.Tensor
    phase: torch.Tensor


@dataclass(frozen=True)
class Views:
    """Acquisitions of each world in order of time; all dims (world, view).

    Attributes
    ----------
    time
        Days after ``EPOCH``, float64; infinite for padding, which comes last.
    platform
        Index in ``conditions.PLATFORMS``, int64.
    ascending
        Bool.
    relative_orbit
        int64.
    incidence_deg, heading_deg
        Degrees.
    """

    time: torch.Tensor
    platform: torch.Tensor
    ascending: torch.Tensor
    relative_orbit: torch.Tensor
    incidence_deg: torch.Tensor
    heading_deg: torch.Tensor

    def take(self, indices: torch.Tensor) -> "Views":
        """Return the views at ``indices``, dims (world, view)."""
        return Views(*(getattr(self, name).gather(1, indices) for name in self.__annotations__))

    def from_other_pass(self, which: torch.Tensor) -> "Views":
        """Return the same views, those marked in ``which`` (world, view) from the opposite pass."""
        return replace(
            self,
            ascending=self.ascending ^ which,
            heading_deg=torch.where(which, opposite_heading(self.heading_deg), self.heading_deg),
        )


def tracks(latitude_deg: torch.Tensor, longitude_deg: torch.Tensor) -> Tracks:
    """Return all relative orbits of both passes, few of which see a location; dims (world, 350)."""
    orbit = torch.arange(1, ORBITS_PER_CYCLE + 1, device=latitude_deg.device)
    parts = [_passes(latitude_deg, longitude_deg, orbit, ascending=up) for up in (True, False)]
    return Tracks(*(torch.cat(columns, dim=1) for columns in zip(*parts, strict=True)))


def _passes(
    latitude_deg: torch.Tensor, longitude_deg: torch.Tensor, orbit: torch.Tensor, *, ascending: bool
) -> tuple[torch.Tensor, ...]:
    inclination = math.radians(INCLINATION_DEG)
    latitude = torch.deg2rad(latitude_deg.double())[:, None]
    along = torch.asin((torch.sin(latitude) / math.sin(inclination)).clamp(-1.0, 1.0))
    along = along if ascending else math.pi - along
    drift = math.radians(NODE_STEP_DEG) * along / (2.0 * math.pi)
    swing = torch.atan2(math.cos(inclination) * torch.sin(along), torch.cos(along)) - drift
    steps = (orbit - ANCHOR_ORBIT).double()
    nadir = ANCHOR_NODE_DEG - NODE_STEP_DEG * steps + torch.rad2deg(swing)
    east = (longitude_deg.double()[:, None] - nadir + 180.0) % 360.0 - 180.0
    heading = _heading(latitude, ascending=ascending)
    right = torch.deg2rad(east) * torch.cos(latitude) * torch.cos(heading)
    incidence = _incidence(right)
    on_side = (right > 0.0) if ascending else (right < 0.0)
    in_swath = on_side & (incidence > SWATH_DEG[0]) & (incidence < SWATH_DEG[1])
    phase = ANCHOR_DAY + (steps + along / (2.0 * math.pi)) * REPEAT_DAYS / ORBITS_PER_CYCLE
    shape = in_swath.shape
    return (
        in_swath,
        torch.full_like(in_swath, ascending),
        orbit.expand(shape),
        incidence.float(),
        torch.rad2deg(heading).float().expand(shape),
        phase.expand(shape),
    )


def _heading(latitude: torch.Tensor, *, ascending: bool) -> torch.Tensor:
    """The same as ``orbits.heading_deg`` for tensors, radians."""
    cos_inclination = math.cos(math.radians(INCLINATION_DEG))
    across = (torch.cos(latitude) ** 2 - cos_inclination**2).clamp(min=1e-6).sqrt()
    turns = ORBITS_PER_CYCLE / REPEAT_DAYS
    azimuth = torch.atan2(cos_inclination - torch.cos(latitude) ** 2 / turns, across)
    return azimuth if ascending else -math.pi - azimuth


def _incidence(across: torch.Tensor) -> torch.Tensor:
    """Incidence, degrees, at ``across`` radians off the track, seen from the earth's centre."""
    ratio = (EARTH_RADIUS_KM + ALTITUDE_KM) / EARTH_RADIUS_KM
    angle = across.abs()
    look = torch.atan2(torch.sin(angle), ratio - torch.cos(angle))
    return torch.rad2deg(look + angle)


def choose(all_tracks: Tracks, least: int, most: int, *, rng: torch.Generator) -> Tracks:
    """Keep ``least`` to ``most`` of the tracks that see each world, from both passes in turn."""
    worlds, count = all_tracks.in_swath.shape
    chance = torch.rand(worlds, count, generator=rng, device=rng.device)
    key = torch.where(all_tracks.in_swath, chance, 9.0)
    half = count // 2
    rank = torch.cat([part.argsort(1).argsort(1) for part in (key[:, :half], key[:, half:])], dim=1)
    first = torch.randint(0, 2, (worlds, 1), generator=rng, device=rng.device)
    order = 2 * rank + (all_tracks.ascending.long() + first) % 2
    order = torch.where(all_tracks.in_swath, order, 10**6)
    kept = order.argsort(1)[:, :most]
    wanted = torch.randint(least, most + 1, (worlds, 1), generator=rng, device=rng.device)
    parts = {name: getattr(all_tracks, name).gather(1, kept) for name in Tracks.__annotations__}
    parts["in_swath"] = parts["in_swath"] & (torch.arange(most, device=rng.device) < wanted)
    return Tracks(**parts)


def acquisitions(
    chosen: Tracks,
    first_day: torch.Tensor,
    days: int,
    *,
    available: torch.Tensor,
    rng: torch.Generator,
) -> Views:
    """Return all acquisitions within ``days`` days by the platforms in service, in order of time.

    Parameters
    ----------
    chosen
        Tracks of each world.
    first_day
        Dims (world): whole days after ``EPOCH``.
    days
        Number of days.
    available
        Dims (world): share of the acquisitions that exist, 0..1.
    rng
        Random generator.
    """
    cycle = torch.arange(days // REPEAT_DAYS + 1, device=rng.device)
    columns: list[list[torch.Tensor]] = []
    for platform, slot, start, end in SERVICE:
        since = chosen.phase + slot * SLOT_DAYS - first_day[:, None]
        time = first_day[:, None, None] + since[..., None] % REPEAT_DAYS + cycle * REPEAT_DAYS
        made = torch.rand(time.shape, generator=rng, device=rng.device) < available[:, None, None]
        in_service = (time >= (start - EPOCH).days) & (time < (end - EPOCH).days)
        valid = (
            chosen.in_swath[..., None]
            & in_service
            & made
            & (time < first_day[:, None, None] + days)
        )
        time = torch.where(valid, time, torch.inf)
        number = torch.full_like(time, PLATFORMS.index(platform), dtype=torch.int64)
        columns.append([part.flatten(1) for part in (time, number, *_expand(chosen, time.shape))])
    unsorted = Views(*(torch.cat(parts, dim=1) for parts in zip(*columns, strict=True)))
    return unsorted.take(unsorted.time.argsort(dim=1, stable=True))


def _expand(chosen: Tracks, shape: torch.Size) -> list[torch.Tensor]:
    names = ("ascending", "relative_orbit", "incidence_deg", "heading_deg")
    return [getattr(chosen, name)[..., None].expand(shape) for name in names]


def smooth_incidence(
    incidence_deg: torch.Tensor, heading_deg: torch.Tensor, size: fields.Size, spacing_m: float
) -> torch.Tensor:
    """Compute the incidence over the area from that at its centre; it grows with ground range.

    Parameters
    ----------
    incidence_deg, heading_deg
        Dims (...).
    size
        Rows and columns.
    spacing_m
        Spacing of rows and columns, m.

    Returns
    -------
    Tensor
        Dims (..., y, x), degrees.
    """
    rows, columns = size
    device = incidence_deg.device
    north = (rows - 1) / 2.0 - torch.arange(rows, device=device)[:, None]
    east = torch.arange(columns, device=device) - (columns - 1) / 2.0
    look = torch.deg2rad(heading_deg + 90.0)[..., None, None]
    range_km = (east * torch.sin(look) + north * torch.cos(look)) * spacing_m / 1000.0
    theta = torch.deg2rad(incidence_deg)[..., None, None]
    return torch.rad2deg(theta + range_km * _incidence_per_km(theta))


def _incidence_per_km(theta: torch.Tensor) -> torch.Tensor:
    """d(incidence) / d(ground range), radians per km: 1/R + cos(look) / slant range."""
    ratio = EARTH_RADIUS_KM / (EARTH_RADIUS_KM + ALTITUDE_KM)
    look = torch.asin(ratio * torch.sin(theta))
    slant = EARTH_RADIUS_KM * torch.sin(theta - look) / torch.sin(look)
    return 1.0 / EARTH_RADIUS_KM + torch.cos(theta) / slant
