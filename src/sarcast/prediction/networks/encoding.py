"""Conditions, dates and terrain encoded as inputs of the conditional temporal network."""

import math

import torch
from torch import Tensor

from sarcast.sensor.conditions import (
    CONDITIONS,
    HEADING,
    INCIDENCE,
    LAGS,
    PLATFORM,
    PLATFORMS,
    PRECIPITATION,
    SNOW_DEPTH,
    TEMPERATURE,
    column_indices,
)
from sarcast.sensor.units import YEAR_DAYS

ROW_LENGTH = 6 + LAGS + len(PLATFORMS)
"""Values of one encoded row: temperature 2, snow, heading 2, incidence, rain, platforms."""
STATISTICS_LENGTH = 10
"""Values of ``scaling.statistics``."""
SEASON_LENGTH = 2
DAYS_LENGTH = 4
IMAGE_LENGTH = (
    3 * ROW_LENGTH + 2 * len(CONDITIONS) + DAYS_LENGTH + SEASON_LENGTH + STATISTICS_LENGTH
)
"""Values that describe a previous image and how the target differs from it."""
OWN_LENGTH = ROW_LENGTH + len(CONDITIONS) + SEASON_LENGTH + STATISTICS_LENGTH
"""Values that describe a previous image by itself."""
TARGET_LENGTH = ROW_LENGTH + len(CONDITIONS) + SEASON_LENGTH
"""Values that describe the target."""


def encode_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Encode rows of conditions as values of order 1; missing ones become 0.

    Parameters
    ----------
    rows
        Dims (..., column), as ``conditions.COLUMNS``, NaN where missing.

    Returns
    -------
    values : Tensor
        Dims (..., value).
    present : Tensor
        Dims (..., condition), 0..1: share of the condition's columns that are not missing.
    """
    temperature = rows[..., TEMPERATURE, None]
    heading = torch.deg2rad(rows[..., HEADING, None])
    numbers = torch.arange(len(PLATFORMS), device=rows.device)
    values = [
        temperature / 15.0,
        torch.tanh(temperature / 3.0),
        torch.log1p(rows[..., SNOW_DEPTH, None].clamp(min=0.0) / 5.0),
        torch.sin(heading),
        torch.cos(heading),
        (rows[..., INCIDENCE, None] - 38.0) / 6.0,
        torch.log1p(rows[..., PRECIPITATION].clamp(min=0.0)),
        (rows[..., PLATFORM, None] == numbers).to(rows.dtype),
    ]
    known = torch.isfinite(rows).to(rows.dtype)
    present = [known[..., column_indices((name,))] for name in CONDITIONS]
    flags = torch.stack([columns.mean(dim=-1) for columns in present], dim=-1)
    return torch.cat(values, dim=-1).nan_to_num(0.0), flags


def encode_images(conditions: Tensor, days: Tensor, day_of_year: Tensor) -> Tensor:
    """Encode each previous image by itself, whatever the target.

    Parameters
    ----------
    conditions, days, day_of_year
        As in ``encode_target``.

    Returns
    -------
    Tensor
        Dims (window, image, value): conditions and season.
    """
    values, present = encode_rows(conditions[:, :-1])
    season = _on_circle(day_of_year[:, None] + days[:, :-1])
    return torch.cat([values, present, season], dim=-1)


def encode_target(conditions: Tensor, days: Tensor, day_of_year: Tensor) -> tuple[Tensor, Tensor]:
    """Encode each previous image together with the target, and the target by itself.

    Parameters
    ----------
    conditions
        Dims (window, image + 1, column), the target last.
    days
        Dims (window, image + 1), days after the target's acquisition, 0 or negative.
    day_of_year
        Dims (window), of the target.

    Returns
    -------
    pairs : Tensor
        Dims (window, image, value): conditions of both, their difference, days between, season.
    target : Tensor
        Dims (window, value).
    """
    values, present = encode_rows(conditions)
    images = values.shape[1] - 1
    previous, target = values[:, :-1], values[:, -1:].expand(-1, images, -1)
    both_known = _flags_of_values(present[:, :-1] * present[:, -1:])
    season = _on_circle(day_of_year)
    days = days[:, :-1, None]
    between = [(days / YEAR_DAYS).clamp(-3.0, 3.0), torch.log1p(days.abs()) / 4.0]
    pairs = torch.cat(
        [
            previous,
            target,
            (target - previous) * both_known,
            present[:, :-1],
            present[:, -1:].expand(-1, images, -1),
            *between,
            _on_circle(days[..., 0]),
            season[:, None].expand(-1, images, -1),
        ],
        dim=-1,
    )
    return pairs, torch.cat([values[:, -1], present[:, -1], season], dim=-1)


def _flags_of_values(present: Tensor) -> Tensor:
    """Repeat the flag of each condition for all values that ``encode_rows`` gives for it."""
    counts = {"temperature": 2, "heading": 2, "precipitation": LAGS}
    counts["platform"] = len(PLATFORMS)
    repeats = torch.tensor([counts.get(name, 1) for name in CONDITIONS], device=present.device)
    return (present > 0).to(present.dtype).repeat_interleave(repeats, dim=-1)


def _on_circle(days: Tensor) -> Tensor:
    """Sine and cosine of days within the year."""
    angle = days * (2.0 * math.pi / YEAR_DAYS)
    return torch.stack([torch.sin(angle), torch.cos(angle)], dim=-1)


def slope_along_look(elevation: Tensor, heading: Tensor) -> Tensor:
    """Compute the rise of the ground along the look direction, m per pixel; 0 where unknown.

    Parameters
    ----------
    elevation
        Dims (window, y, x), m; y runs south, x runs east.
    heading
        Dims (window, image), degrees clockwise from north; the radar looks to the right.

    Returns
    -------
    Tensor
        Dims (window, image, y, x); positive where the ground rises away from the radar.
    """
    padded = torch.nn.functional.pad(elevation[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    east = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2.0
    north = (padded[:, :-2, 1:-1] - padded[:, 2:, 1:-1]) / 2.0
    look = torch.deg2rad(heading + 90.0)[..., None, None]
    slope = east[:, None] * torch.sin(look) + north[:, None] * torch.cos(look)
    return slope.nan_to_num(0.0)
