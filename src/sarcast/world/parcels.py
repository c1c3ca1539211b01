"""Land use of parcels: sowing, growth, harvest and mowing, and unmodelled fluctuation.

All of it changes backscatter, and none of it counts as a change of the ground. In physics 1 all
crops are alike and grow on the same dates of every year; those of physics 2 are in ``crops``.

References
----------
Veloso et al., Remote Sensing of Environment 199 (2017) 415: crops from sowing to harvest.
De Vroey, Radoux, Defourny, Remote Sensing 13 (2021) 348, and Grant et al., ISPRS Archives XL-7/W3
(2015) 15: backscatter of grass before and after mowing.
"""

from dataclasses import dataclass

import torch

from sarcast.sensor.units import YEAR_DAYS
from sarcast.world import crops, fields, table
from sarcast.world.ground import Ground
from sarcast.world.presets import Parameters
from sarcast.world.weather import season_day

SPREAD_DAYS = 12.0
"""Standard deviation of the dates of sowing and harvest between parcels."""
GROWING_DAYS = 45.0
"""Days from sowing to a closed canopy."""
TILLAGE_DB = (1.5, 0.6)
"""Rough soil after harvest and tillage, VV and VH; fades within ``TILLAGE_FADES_DAYS``."""
TILLAGE_FADES_DAYS = 25.0
MOWN_DB = (-0.6, -1.2)
"""Grass after mowing, VV and VH; fades within ``MOWN_FADES_DAYS`` as it grows back."""
MOWN_FADES_DAYS = 18.0
_WAVES = 4
_FIELD = table.NAMES.index("field")
_OPEN = table.NAMES.index("open")
_SUMMER = table.COLUMNS.index("summer")


@dataclass(frozen=True)
class Calendar:
    """Land use of each parcel, and its unmodelled fluctuation.

    Attributes
    ----------
    start
        Dims (world), days after ``views.EPOCH``: origin of time for the fluctuation.
    chance
        Dims (world, 3, 1, parcel), in units of ``SPREAD_DAYS``: deviation of sowing, length of
        growth, and mowing, in physics 1.
    frequency, phase
        Dims (world, wave, 1, parcel), radians per day and radians.
    crops
        What the crops of all seasons differ in, as drawn by ``crops``; None in physics 1.
    """

    start: torch.Tensor
    chance: torch.Tensor
    frequency: torch.Tensor
    phase: torch.Tensor
    crops: torch.Tensor | None


def draw(
    ground: Ground, parameters: Parameters, start: torch.Tensor, *, rng: torch.Generator
) -> Calendar:
    """Draw the calendar of all parcels of each world; ``start`` in days after ``views.EPOCH``."""
    worlds, count = ground.parcel_cover.shape
    chance = fields.normal(worlds, 3, 1, count, rng=rng)
    shape = (worlds, 2 * _WAVES, 1, count)
    # Cauchy distributed frequencies give the autocorrelation exp(−lag / parcel_days)
    frequency = torch.tan(3.1 * (torch.rand(shape, generator=rng, device=rng.device) - 0.5))
    phase = 2.0 * torch.pi * torch.rand(shape, generator=rng, device=rng.device)
    drawn = None
    if parameters.preset.physics > 1:
        drawn = crops.draw(worlds, count, rng=fields.branch(rng, "crops"))
    return Calendar(start, chance, frequency / parameters.over("parcel_days", 3), phase, drawn)


def levels(
    calendar: Calendar, ground: Ground, parameters: Parameters, time: torch.Tensor
) -> torch.Tensor:
    """Compute the backscatter that the use of parcels adds at each view.

    Parameters
    ----------
    calendar, ground, parameters
        Those of each world.
    time
        Dims (world, view), days after ``views.EPOCH``.

    Returns
    -------
    Tensor
        Dims (world, band, view, parcel), dB.
    """
    crop = ground.parcel_cover == _FIELD
    meadow = ground.parcel_cover == _OPEN
    if calendar.crops is None:
        day = season_day(parameters, time)[..., None]
        grown = _crops(parameters, day, calendar.chance)
        mown = _mown(day, parameters.over("growth_day", 2), calendar.chance)
    else:
        grown, mown = crops.levels(calendar.crops, parameters, time)
    seasonal = grown * crop[:, None, None] + mown * meadow[:, None, None]
    return seasonal + _fluctuation(calendar, parameters, time, crop | meadow)


def _crops(parameters: Parameters, day: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
    summer = parameters.responses[:, _FIELD, _SUMMER]
    sown = parameters.over("growth_day", 2) + SPREAD_DAYS * chance[:, 0]
    age = (day - sown) % YEAR_DAYS
    length = (parameters.over("growth_days", 2) + SPREAD_DAYS * chance[:, 1]).clamp(min=30.0)
    rise = (age / GROWING_DAYS).clamp(max=1.0)
    standing = torch.where(age < length, rise * rise * (3.0 - 2.0 * rise), 0.0)
    since = age - length
    bare = torch.where(since >= 0.0, torch.exp(-since.clamp(min=0.0) / TILLAGE_FADES_DAYS), 0.0)
    tillage = torch.tensor(TILLAGE_DB, device=day.device)[:, None, None]
    return summer[:, :, None, None] * standing[:, None] + tillage * bare[:, None]


def _mown(day: torch.Tensor, growth_day: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
    cut = growth_day + 35.0 + SPREAD_DAYS * chance[:, 2]
    since = torch.minimum((day - cut) % YEAR_DAYS, (day - cut - 50.0) % YEAR_DAYS)
    short = torch.tensor(MOWN_DB, device=day.device)[:, None, None]
    return short * torch.exp(-since / MOWN_FADES_DAYS)[:, None]


def _fluctuation(
    calendar: Calendar, parameters: Parameters, time: torch.Tensor, tilled: torch.Tensor
) -> torch.Tensor:
    """Random waves in time, less strong where the land is not tilled."""
    worlds, _, _, count = calendar.phase.shape
    since = (time - calendar.start[:, None]).float()[:, None, :, None]
    waves = torch.cos(calendar.frequency * since + calendar.phase)
    total = waves.reshape(worlds, _WAVES, 2, -1, count).sum(1)
    strength = 0.3 + 0.7 * tilled[:, None, None]
    scale = parameters.over("parcel_db", 3) * float((2.0 / _WAVES) ** 0.5)
    return scale * strength * total
