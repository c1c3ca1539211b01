"""Crops, tillage and mowing of parcels: another crop on other dates in each season.

The roughness of bare soil follows from its last tillage, by plough after the harvest or by harrow
before sowing, and from the rain since then; backscatter follows from it as a power.

References
----------
.. [VMB] Veloso et al., Remote Sensing of Environment 199 (2017) 415: crops from sowing to harvest.
.. [BEM] Baghdadi, Choker, Zribi et al., Remote Sensing 8 (2016) 920: bare soil at C band by
   roughness, moisture and incidence, equations 6 (VV) and 7 (HV).
.. [ZO] Zobeck, Onstad, Soil and Tillage Research 9 (1987) 1: roughness after tillage by implement,
   and its decay with rain; the values here were not checked against the paper.
.. [VRD] De Vroey, Radoux, Defourny, Remote Sensing 13 (2021) 348, and Grant et al., ISPRS Archives
   XL-7/W3 (2015) 15: grass before and after mowing.
"""

import math

import torch

from sarcast.sensor.units import YEAR_DAYS
from sarcast.world import fields, table
from sarcast.world.presets import Parameters
from sarcast.world.weather import season_time

SEASONS = 6
"""Seasons with crops and dates of their own; after them they repeat."""
LEAD_DAYS = 60.0
"""Days by which a season begins before its crops come up on average."""
SPREAD_DAYS = 12.0
"""Standard deviation of the dates of sowing, harvest and mowing between parcels and seasons."""
GROWING_DAYS = 45.0
"""Days from sowing to a closed canopy."""
CROP_DB = (2.0, 1.2)
"""Standard deviation of the response to full growth between crops, VV and VH, dB: from wheat, which
darkens VV by 3 to 5 dB, to rapeseed and maize, which brighten both
[VMB, figures 5 to 9, roughly]."""
HARROWED_DAYS = 8.0
"""Days from harrowing to sowing."""
PLOUGHED_DAYS = 25.0
"""Mean days from harvest to ploughing."""
PLOUGHED_CM, HARROWED_CM = (2.8, 0.4), (1.3, 0.2)
"""Root mean square height of the soil after ploughing, from chisel (2.3) to mouldboard plough
(3.2), and after harrowing and planting (1.0 to 1.5): mean and standard deviation [ZO, table 1]."""
SMOOTH_CM = 0.65
"""Least height, of untilled or rain-beaten soil [ZO, table 1]."""
SETTLED, DECAY_PER_CM = 0.89, 0.026
"""Share of the height left after rain R in cm: ``SETTLED exp(−DECAY_PER_CM R)`` [ZO]."""
MEAN_CM = 1.2
"""Height at which bare soil has the level of the table."""
ROUGHNESS_POWER = (0.71, 0.44)
"""Backscatter grows as height to this power times the sine of incidence, VV and VH [BEM]."""
CUT_DAYS = (35.0, 85.0)
"""Mean days from the start of growth to the first and second mowing."""
MOWN_DB = (-0.6, -1.2)
"""Grass after mowing, VV and VH; fades within ``MOWN_FADES_DAYS`` as it grows back [VRD]."""
MOWN_FADES_DAYS = 18.0
_CHANCES = ("sown", "length", "cut", "vv", "vh", "delay", "ploughed", "harrowed")


def draw(worlds: int, parcels: int, *, rng: torch.Generator) -> torch.Tensor:
    """Draw what the crops of all seasons differ in, dims (world, season, parcel, 8), normal."""
    return fields.normal(worlds, SEASONS, parcels, len(_CHANCES), rng=rng)


def levels(
    chance: torch.Tensor, parameters: Parameters, time: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the backscatter that crops and mowing add at each view.

    Parameters
    ----------
    chance
        Result of ``draw``.
    parameters
        Parameters of each world.
    time
        Dims (world, view), days after ``views.EPOCH``.

    Returns
    -------
    field, meadow : Tensor
        Dims (world, band, view, parcel), dB.
    """
    since = season_time(parameters, time) - parameters.over("growth_day", 1) + LEAD_DAYS
    season = torch.floor(since / YEAR_DAYS).long()
    age = (since % YEAR_DAYS - LEAD_DAYS).float()[..., None]
    own, before = (_of_season(chance, season - back) for back in (0, 1))
    standing = _standing(parameters, age, own)
    height = _height_cm(parameters, age, own, before)
    summer = parameters.responses[:, table.NAMES.index("field"), table.COLUMNS.index("summer")]
    crops, meadows = [], []
    for band, name in enumerate(("vv", "vh")):
        response = summer[:, band, None, None] + CROP_DB[band] * own[name]
        bare = roughness_db(height, band) * (1.0 - standing)
        crops.append(response * standing + bare)
        meadows.append(MOWN_DB[band] * _mown(age, own))
    return torch.stack(crops, 1), torch.stack(meadows, 1)


def _of_season(chance: torch.Tensor, season: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the crops of a season (world, view) differ in, by name, dims (world, view, parcel)."""
    world = torch.arange(len(chance), device=chance.device)[:, None]
    return dict(zip(_CHANCES, chance[world, season % SEASONS].unbind(-1), strict=True))


def _sown(of: dict[str, torch.Tensor]) -> torch.Tensor:
    """Day of sowing, relative to the mean of the world."""
    return SPREAD_DAYS * of["sown"]


def _length(parameters: Parameters, of: dict[str, torch.Tensor]) -> torch.Tensor:
    """Days from sowing to harvest."""
    return (parameters.over("growth_days", 2) + SPREAD_DAYS * of["length"]).clamp(min=30.0)


def _ploughed(parameters: Parameters, of: dict[str, torch.Tensor]) -> torch.Tensor:
    """Day of ploughing, relative to the mean day of sowing."""
    return _sown(of) + _length(parameters, of) + PLOUGHED_DAYS * of["delay"].square()


def _standing(
    parameters: Parameters, age: torch.Tensor, own: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Share of the ground that the crop covers, 0..1."""
    since = age - _sown(own)
    rise = (since / GROWING_DAYS).clamp(0.0, 1.0)
    return torch.where(since < _length(parameters, own), rise * rise * (3.0 - 2.0 * rise), 0.0)


def _height_cm(
    parameters: Parameters,
    age: torch.Tensor,
    own: dict[str, torch.Tensor],
    before: dict[str, torch.Tensor],
) -> torch.Tensor:
    """Root mean square height of the soil, cm, after the last of three tillages."""
    since = age + YEAR_DAYS - _ploughed(parameters, before)
    height = _first_height(PLOUGHED_CM, before["ploughed"])
    for later, first in (
        (age - _sown(own) + HARROWED_DAYS, _first_height(HARROWED_CM, own["harrowed"])),
        (age - _ploughed(parameters, own), _first_height(PLOUGHED_CM, own["ploughed"])),
    ):
        height = torch.where(later >= 0.0, first, height)
        since = torch.where(later >= 0.0, later, since)
    rain_cm = 0.1 * parameters.over("rain_mm", 2) * parameters.over("wet_days", 2) * since
    left = height * SETTLED * torch.exp(-DECAY_PER_CM * rain_cm.clamp(min=0.0))
    return torch.where(since >= 0.0, left, 0.0).clamp(min=SMOOTH_CM)


def _first_height(span_cm: tuple[float, float], chance: torch.Tensor) -> torch.Tensor:
    mean, spread = span_cm
    return mean + spread * chance


def roughness_db(height_cm: torch.Tensor, band: int) -> torch.Tensor:
    """Backscatter of bare soil relative to soil of ``MEAN_CM``, dB, at the reference incidence."""
    sine = math.sin(math.radians(table.REFERENCE_INCIDENCE_DEG))
    return 10.0 * ROUGHNESS_POWER[band] * sine * torch.log10(height_cm / MEAN_CM)


def _mown(age: torch.Tensor, own: dict[str, torch.Tensor]) -> torch.Tensor:
    """How short the grass is, from 0 to 1 on the day of mowing."""
    first, second = (age - mean - SPREAD_DAYS * own["cut"] for mean in CUT_DAYS)
    since = torch.minimum(first % YEAR_DAYS, second % YEAR_DAYS)
    return torch.exp(-since / MOWN_FADES_DAYS)
