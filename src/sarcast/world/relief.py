"""Effects of slopes: local incidence, foreshortening, layover and shadow.

References
----------
Ulander, IEEE TGRS 34 (1996) 1115: illuminated area of a slope, equation 9.
Kropatsch, Strobl, IEEE TGRS 28 (1990) 98: layover and shadow from a terrain model.
"""

import torch

from sarcast.sensor.units import DB_PER_NEPER
from sarcast.world.ground import Ground
from sarcast.world.presets import Parameters
from sarcast.world.views import Views

LAYOVER_DB = 4.0
"""Brightening where several slopes fall into one range cell, before flattening."""
_LEAST_COSINE = 0.15
"""Least cosine of the projection angle; a slope below it is in layover: 8 dB at 40 degrees."""


def slopes(
    ground: Ground, heading_deg: torch.Tensor, incidence_deg: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute local incidence and the area effect of slopes.

    Parameters
    ----------
    ground
        Ground of each world.
    heading_deg
        Dims (world, view).
    incidence_deg
        Dims (world, view, y, x): incidence on the ellipsoid.

    Returns
    -------
    local : Tensor
        Dims (world, view, y, x), degrees.
    area : Tensor
        Same dims, dB: sigma nought on the ellipsoid over that on the slope; above 0 on slopes
        that face the sensor and are foreshortened.

    References
    ----------
    Ulander 1996, equation 9: the ratio of the projection angles' cosines.
    """
    look = torch.deg2rad(heading_deg + 90.0)[..., None, None]
    theta = torch.deg2rad(incidence_deg)
    east, north = ground.slope_east[:, None], ground.slope_north[:, None]
    toward = east * torch.sin(look) + north * torch.cos(look)
    length = torch.sqrt(1.0 + east**2 + north**2)
    sine, cosine = torch.sin(theta), torch.cos(theta)
    local = torch.acos(((cosine + toward * sine) / length).clamp(0.0, 1.0))
    projection = (sine - toward * cosine).clamp(min=_LEAST_COSINE) / length
    return torch.rad2deg(local), DB_PER_NEPER * torch.log(sine / projection)


def hide(
    backscatter: torch.Tensor,
    ground: Ground,
    views: Views,
    parameters: Parameters,
    floor_db: float,
) -> torch.Tensor:
    """Brighten layover, less so in a flattened product, and darken shadow to the noise floor."""
    layover, shadow = overlaps(
        ground.elevation, ground.spacing_m, views.incidence_deg, views.ascending
    )
    unflattened = LAYOVER_DB * (1.0 - parameters.over("flattening", 3))
    brighter = backscatter + (unflattened * layover)[:, :, None]
    return torch.where(shadow[:, :, None], floor_db, brighter)


def overlaps(
    elevation: torch.Tensor,
    spacing_m: float,
    incidence_deg: torch.Tensor,
    ascending: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find layover and shadow.

    The beam is assumed to run along rows: east for ascending, west for descending passes.

    Parameters
    ----------
    elevation
        Dims (world, y, x), m.
    spacing_m
        Spacing of columns, m.
    incidence_deg, ascending
        Dims (world, view).

    Returns
    -------
    layover, shadow : Tensor of bool
        Dims (world, view, y, x).
    """
    east = ascending[..., None, None]
    ahead = torch.where(east, elevation[:, None], elevation[:, None].flip(-1))
    ground_range = spacing_m * torch.arange(elevation.shape[2], device=elevation.device)
    theta = torch.deg2rad(incidence_deg)[..., None, None]
    slant = ground_range * torch.sin(theta) - ahead * torch.cos(theta)
    behind_crest = slant < torch.cummax(slant, dim=-1).values
    before_foot = slant > torch.cummin(slant.flip(-1), dim=-1).values.flip(-1)
    ray = ahead + ground_range / torch.tan(theta)
    shaded = ray < torch.cummax(ray, dim=-1).values
    layover = behind_crest | before_foot
    return tuple(torch.where(east, mask, mask.flip(-1)) for mask in (layover, shaded))  # type: ignore[return-value]
