"""Kinds of worlds: every parameter that is not in the table, as a range that a world draws from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import torch

from sarcast.world import table

Span = tuple[float, float]


@dataclass(frozen=True)
class Preset:
    """Ranges of one kind of worlds; units are in the names, others are given here.

    ``mixture`` is the share of each cover before it is drawn, in the order of ``table.COVERS``;
    ``mixture_spread`` the standard deviation of the logarithm of a share. ``spread`` is how much of
    the table's half ranges a world draws from, 0..1. ``wet_days`` is the share of days with rain,
    ``monsoon`` how much of it falls in one season. ``looks`` is the equivalent number of looks of
    the speckle, ``speckle_correlation`` that of adjacent pixels. ``flattening`` is the share of
    the terrain's area effect that the product has taken out.
    """

    name: str
    latitude_deg: Span
    longitude_deg: float
    mixture: tuple[float, ...]
    mixture_spread: Span = (0.5, 0.5)
    spread: Span = (0.0, 0.0)
    relief_m: Span = (10.0, 30.0)
    cell_m: Span = (110.0, 180.0)
    temperature_c: Span = (2.0, 4.0)
    season_c: Span = (12.0, 15.0)
    weather_c: Span = (3.0, 4.0)
    diurnal_c: Span = (2.0, 5.0)
    wet_days: Span = (0.35, 0.5)
    rain_mm: Span = (3.0, 6.0)
    monsoon: Span = (0.0, 0.2)
    tracks: tuple[int, int] = (3, 4)
    incidence_deg: Span = (30.0, 45.0)
    residual_db: Span = (0.25, 0.25)
    patch_db: Span = (0.35, 0.35)
    scene_db: Span = (0.1, 0.1)
    parcel_db: Span = (0.3, 0.3)
    looks: Span = (4.4, 4.4)
    speckle_correlation: Span = (0.45, 0.45)
    flattening: Span = (0.9, 0.9)
    filters: Mapping[str, float] = field(default_factory=lambda: {"lee": 1.0})


BOREAL = Preset(
    name="boreal",
    latitude_deg=(62.5, 62.5),
    longitude_deg=25.5,
    mixture=(0.60, 0.10, 0.13, 0.06, 0.07, 0.02, 0.02),
)
PRESETS = {preset.name: preset for preset in (BOREAL,)}

_SPANS = tuple(
    name
    for name in (each.name for each in fields(Preset))
    if name not in ("name", "longitude_deg", "mixture", "tracks", "filters")
)


@dataclass(frozen=True)
class Parameters:
    """What the worlds of a batch drew.

    Attributes
    ----------
    responses
        Dims (world, cover, column, band), dB: the table as each world has it.
    mixture
        Dims (world, cover): shares of the covers, sum 1.
    values
        Dims (world): each of the preset's other parameters by name.
    """

    responses: torch.Tensor
    mixture: torch.Tensor
    values: dict[str, torch.Tensor]

    def __getitem__(self, name: str) -> torch.Tensor:
        """Value of a parameter in each world, dims (world)."""
        return self.values[name]


def draw(preset: Preset, worlds: int, *, rng: torch.Generator) -> Parameters:
    """Draw the parameters of a batch of worlds, uniformly from the preset's ranges."""
    values = {name: _uniform(getattr(preset, name), worlds, rng) for name in _SPANS}
    share = torch.tensor(preset.mixture, device=rng.device).log()
    noise = torch.randn(worlds, len(share), generator=rng, device=rng.device)
    mixture = torch.softmax(share + values["mixture_spread"][:, None] * noise, dim=1)
    return Parameters(_responses(values["spread"], rng), mixture, values)


def _uniform(span: Span, worlds: int, rng: torch.Generator) -> torch.Tensor:
    low, high = span
    return low + (high - low) * torch.rand(worlds, generator=rng, device=rng.device)


def _responses(spread: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    cells = [[getattr(cover, column) for column in table.COLUMNS] for cover in table.COVERS]
    value = torch.tensor([[(c.vv, c.vh) for c in row] for row in cells], device=rng.device)
    half = torch.tensor([[c.half_range for c in row] for row in cells], device=rng.device)
    noise = 2.0 * torch.rand(len(spread), *value.shape, generator=rng, device=rng.device) - 1.0
    return value + spread[:, None, None, None] * half[..., None] * noise
