"""Kinds of worlds: the range of every parameter that is not in the table."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import torch

from sarcast.world import table

Span = tuple[float, float]

PHYSICS = 2
"""Newest version of the physics. Since 2, changed ground has the texture of its new state on a
pattern of its own, floods are rough in the wind, and each season of a field has a crop, dates and
tillage of its own; 1 is kept for the reference sets that were drawn with it."""


@dataclass(frozen=True)
class Preset:
    """Parameter ranges of one kind of world; each world draws uniformly from them.

    Attributes
    ----------
    latitude_deg, longitude_deg
        Location; written areas are at ``longitude_deg``, windows of a stream at any longitude.
    mixture, mixture_spread
        Mean share of each of ``table.COVERS``, and the standard deviation of its logarithm.
    spread
        Share of the table's half ranges that a world draws from, 0..1.
    relief_m, cell_m
        Standard deviation of the elevation; size of parcels of land and stands of trees.
    temperature_c, season_c, weather_c, diurnal_c
        Annual mean; amplitude of the season; standard deviation from day to day; range of a day.
    wet_days, rain_mm, monsoon
        Share of days with rain; mean of a wet day; how strongly rain is confined to the warm
        season, 0..1, or, below 0, to the cold one.
    growth_day, growth_days
        Mean day of the year on which crops come up, and days until their harvest.
    tracks, available
        Relative orbits that see the area; share of their acquisitions that exist.
    dates
        First and last date of a stream's targets; the last lies some years after the newest
        satellites began their service, so that each is in a share of the windows.
    residual_db, patch_db, scene_db, parcel_db
        Standard deviations of unmodelled effects: smooth in space; patches of moisture over open
        ground; of a whole scene; of parcels, with a correlation time of ``parcel_days``.
    looks, speckle_correlation, filters
        Equivalent number of looks; correlation of the normal numbers that are mapped to the
        speckle of adjacent pixels; relative frequency of each speckle filter.
    flattening, gamma0
        Share of the terrain's area effect that is removed; share of worlds in gamma0.
    jitter_px, strips
        Geolocation error, standard deviation in pixels; share of images with a strip of no data.
    changes
        Mean number of changes of the ground in a window during the time of its images.
    physics
        Version of the physics: see ``PHYSICS``.
    """

    name: str
    latitude_deg: Span
    longitude_deg: float
    mixture: tuple[float, ...]
    mixture_spread: Span = (0.5, 0.5)
    spread: Span = (0.0, 0.3)
    relief_m: Span = (10.0, 30.0)
    cell_m: Span = (110.0, 180.0)
    temperature_c: Span = (2.0, 4.0)
    season_c: Span = (12.0, 15.0)
    weather_c: Span = (3.0, 4.0)
    diurnal_c: Span = (2.0, 5.0)
    wet_days: Span = (0.35, 0.5)
    rain_mm: Span = (3.0, 6.0)
    monsoon: Span = (0.0, 0.2)
    growth_day: Span = (135.0, 150.0)
    growth_days: Span = (85.0, 110.0)
    tracks: tuple[int, int] = (3, 4)
    available: Span = (1.0, 1.0)
    dates: tuple[dt.date, dt.date] = (dt.date(2017, 6, 1), dt.date(2028, 12, 31))
    residual_db: Span = (0.2, 0.5)
    patch_db: Span = (0.3, 0.6)
    scene_db: Span = (0.1, 0.4)
    parcel_db: Span = (0.3, 0.3)
    parcel_days: Span = (20.0, 60.0)
    looks: Span = (4.4, 4.4)
    speckle_correlation: Span = (0.3, 0.6)
    filters: Mapping[str, float] = field(default_factory=lambda: {"lee": 1.0})
    flattening: Span = (0.9, 0.9)
    gamma0: float = 0.0
    jitter_px: Span = (0.0, 0.0)
    strips: float = 0.0
    changes: float = 1.0
    spacings_m: tuple[float, ...] = (10.0,)
    physics: int = PHYSICS


BOREAL = Preset(
    name="boreal",
    latitude_deg=(61.0, 64.0),
    longitude_deg=25.5,
    mixture=(0.60, 0.10, 0.13, 0.06, 0.07, 0.02, 0.02),
    spread=(0.0, 0.0),
    relief_m=(12.0, 35.0),
    residual_db=(0.55, 0.55),
    patch_db=(0.5, 0.5),
    scene_db=(0.32, 0.32),
    speckle_correlation=(0.6, 0.6),
    flattening=(0.0, 0.0),
)
"""Southern and central Finland, sigma nought without flattening. The last six have no source: they
are calibrated so that the conventional strategies reproduce the paper's figures."""
TEMPERATE = Preset(
    name="temperate",
    latitude_deg=(44.0, 54.0),
    longitude_deg=10.5,
    mixture=(0.30, 0.22, 0.34, 0.01, 0.03, 0.08, 0.02),
    relief_m=(5.0, 80.0),
    temperature_c=(8.0, 12.0),
    season_c=(8.0, 11.0),
    diurnal_c=(4.0, 8.0),
    wet_days=(0.3, 0.5),
    rain_mm=(3.0, 7.0),
    growth_day=(95.0, 135.0),
    growth_days=(90.0, 130.0),
    tracks=(2, 4),
    available=(0.8, 1.0),
    parcel_db=(0.3, 0.7),
    jitter_px=(0.0, 0.2),
)
MONSOON = Preset(
    name="monsoon",
    latitude_deg=(8.0, 24.0),
    longitude_deg=102.0,
    mixture=(0.42, 0.14, 0.33, 0.02, 0.04, 0.04, 0.01),
    relief_m=(5.0, 90.0),
    temperature_c=(24.0, 28.0),
    season_c=(1.0, 5.0),
    weather_c=(1.0, 2.0),
    diurnal_c=(6.0, 12.0),
    wet_days=(0.3, 0.5),
    rain_mm=(8.0, 16.0),
    monsoon=(0.7, 1.0),
    growth_day=(160.0, 200.0),
    growth_days=(100.0, 130.0),
    tracks=(1, 2),
    available=(0.6, 1.0),
    parcel_db=(0.4, 0.9),
    jitter_px=(0.0, 0.3),
)
DRYLAND = Preset(
    name="dryland",
    latitude_deg=(28.0, 38.0),
    longitude_deg=-5.5,
    mixture=(0.08, 0.45, 0.14, 0.0, 0.01, 0.04, 0.28),
    relief_m=(10.0, 180.0),
    temperature_c=(15.0, 21.0),
    season_c=(8.0, 11.0),
    diurnal_c=(9.0, 16.0),
    wet_days=(0.04, 0.15),
    rain_mm=(4.0, 10.0),
    monsoon=(-0.8, 0.3),
    growth_day=(20.0, 110.0),
    growth_days=(80.0, 130.0),
    tracks=(1, 3),
    available=(0.7, 1.0),
    parcel_db=(0.2, 0.6),
    jitter_px=(0.0, 0.3),
)
RANDOM = Preset(
    name="random",
    latitude_deg=(-60.0, 70.0),
    longitude_deg=20.0,
    mixture=(0.32, 0.20, 0.22, 0.06, 0.06, 0.07, 0.07),
    mixture_spread=(0.4, 1.6),
    spread=(0.3, 1.0),
    relief_m=(2.0, 180.0),
    cell_m=(60.0, 400.0),
    temperature_c=(-2.0, 28.0),
    season_c=(1.0, 16.0),
    weather_c=(1.0, 4.5),
    diurnal_c=(2.0, 14.0),
    wet_days=(0.05, 0.6),
    rain_mm=(2.0, 15.0),
    monsoon=(-0.8, 1.0),
    growth_day=(20.0, 250.0),
    growth_days=(60.0, 150.0),
    tracks=(1, 5),
    available=(0.5, 1.0),
    dates=(dt.date(2015, 6, 1), dt.date(2028, 12, 31)),
    residual_db=(0.1, 0.5),
    patch_db=(0.1, 0.8),
    scene_db=(0.0, 0.8),
    parcel_db=(0.0, 1.2),
    parcel_days=(8.0, 150.0),
    looks=(3.0, 60.0),
    speckle_correlation=(0.0, 0.6),
    filters={"none": 0.45, "lee": 0.3, "refined-lee": 0.15, "tv": 0.1},
    flattening=(0.0, 1.0),
    gamma0=0.5,
    jitter_px=(0.0, 0.5),
    strips=0.05,
    changes=1.0,
    spacings_m=(10.0, 20.0, 30.0),
)
PRESETS = {preset.name: preset for preset in (BOREAL, TEMPERATE, MONSOON, DRYLAND, RANDOM)}

_SPANS = tuple(item.name for item in fields(Preset) if item.type is Span)
STEEP_M = 60.0
"""Relief from which layover and shadow are simulated."""


@dataclass(frozen=True)
class Parameters:
    """Parameters that the worlds of a batch drew.

    Attributes
    ----------
    preset
        Kind of the worlds.
    responses
        Dims (world, row, column, band), dB: ``table.ROWS`` as each world has it.
    mixture
        Dims (world, cover): shares of the covers, sum 1.
    values
        Dims (world): each of the preset's ranges by name, and ``gamma0``, 0 or 1.
    """

    preset: Preset
    responses: torch.Tensor
    mixture: torch.Tensor
    values: dict[str, torch.Tensor]

    def __getitem__(self, name: str) -> torch.Tensor:
        """Return the value of a parameter in each world, dims (world)."""
        return self.values[name]

    def over(self, name: str, dims: int) -> torch.Tensor:
        """Return a parameter of each world, with ``dims`` further dims of length 1."""
        return self.values[name].reshape(-1, *[1] * dims)


def draw(preset: Preset, worlds: int, *, rng: torch.Generator) -> Parameters:
    """Draw the parameters of a batch of worlds, uniformly from the preset's ranges."""
    values = {name: _uniform(getattr(preset, name), worlds, rng) for name in _SPANS}
    values["gamma0"] = (_uniform((0.0, 1.0), worlds, rng) < preset.gamma0).float()
    share = torch.tensor(preset.mixture, device=rng.device).clamp(min=1e-6).log()
    noise = torch.randn(worlds, len(share), generator=rng, device=rng.device)
    mixture = torch.softmax(share + values["mixture_spread"][:, None] * noise, dim=1)
    return Parameters(preset, _responses(values["spread"], rng), mixture, values)


def _uniform(span: Span, worlds: int, rng: torch.Generator) -> torch.Tensor:
    low, high = span
    return low + (high - low) * torch.rand(worlds, generator=rng, device=rng.device)


def _responses(spread: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    cells = [[getattr(cover, column) for column in table.COLUMNS] for cover in table.ROWS]
    value = torch.tensor([[(c.vv, c.vh) for c in row] for row in cells], device=rng.device)
    half = torch.tensor([[c.half_range for c in row] for row in cells], device=rng.device)
    noise = 2.0 * torch.rand(len(spread), *value.shape, generator=rng, device=rng.device) - 1.0
    drawn = value + spread[:, None, None, None] * half[..., None] * noise
    drawn[:, :, table.COLUMNS.index("texture")].clamp_(min=0.0)
    return drawn
