"""Expected backscatter of ground under a view: without speckle, in dB.

References
----------
Ulander, IEEE TGRS 34 (1996) 1115: the area that a slope shows to the radar, equation 9.
Small, IEEE TGRS 49 (2011) 3081: gamma nought and terrain flattening.
"""

import math
from dataclasses import dataclass

import torch

from sarcast.world import fields, table
from sarcast.world.ground import TERMS, Ground
from sarcast.world.presets import Parameters
from sarcast.world.views import Views
from sarcast.world.weather import States

NOISE_FLOOR_DB = -28.0
"""What is left of thermal noise in shadow, dB: noise equivalent sigma nought is −22 dB or better
(Torres et al. 2012), and products take its mean out."""
SIGMA0, GAMMA0 = "sigma0", "gamma0"
_BANDS = 2
_DB = 10.0 / math.log(10.0)


@dataclass(frozen=True)
class Unknown:
    """What no condition tells: a part of each image, but of no expected image.

    Attributes
    ----------
    wind
        Dims (world, view): wind over water, standard normal.
    scene
        Dims (world, band, view), dB: offset of the whole scene.
    field
        Dims (world, view, band, y, x), dB: what varies smoothly from place to place.
    moisture
        Dims (world, view, y, x): the same of the ground's wetness, in units of its response.
    """

    wind: torch.Tensor
    scene: torch.Tensor
    field: torch.Tensor
    moisture: torch.Tensor


def draw_unknown(
    parameters: Parameters, views: int, size: fields.Size, spacing_m: float, *, rng: torch.Generator
) -> Unknown:
    """Draw what no condition tells of each of ``views`` views of each world."""
    worlds = len(parameters.mixture)
    nodes = tuple(max(2, round(pixels * spacing_m / 600.0)) for pixels in size)
    patches = tuple(max(2, round(pixels * spacing_m / 250.0)) for pixels in size)
    field = fields.smooth((worlds, views, _BANDS), size, (nodes[0], nodes[1]), rng=rng)
    moisture = fields.smooth((worlds, views), size, (patches[0], patches[1]), rng=rng)
    scene = fields.normal(worlds, _BANDS, views, rng=rng)
    return Unknown(
        fields.normal(worlds, views, rng=rng),
        parameters["scene_db"][:, None, None] * scene,
        parameters["residual_db"][:, None, None, None, None] * field,
        # the table's wet response of open ground in VV turns dB into a share of the response
        parameters["patch_db"][:, None, None, None] / table.OPEN.wet.vv * moisture,
    )


def expected(
    ground: Ground,
    parameters: Parameters,
    views: Views,
    states: States,
    incidence_deg: torch.Tensor,
    *,
    quantity: str = SIGMA0,
    unknown: Unknown | None = None,
) -> torch.Tensor:
    """Backscatter of each view.

    Parameters
    ----------
    ground
        Of each world.
    parameters
        Of each world.
    views, states
        Dims (world, view): the acquisitions, and what the weather left at their times.
    incidence_deg
        Dims (world, view, y, x): of the ellipsoid.
    quantity
        ``"sigma0"`` or ``"gamma0"``.
    unknown
        What no condition tells; None for the expected image.

    Returns
    -------
    Tensor
        Dims (world, view, band, y, x), dB.
    """
    numbers = _numbers(views, states, unknown)
    maps = ground.maps.flatten(3)
    worlds, views_count = views.time.shape
    rows, columns = ground.elevation.shape[1:]
    sums = torch.matmul(numbers, maps).reshape(worlds, _BANDS, views_count, rows, columns)
    backscatter = sums.transpose(1, 2)
    local, area = _geometry(ground, views.heading_deg, incidence_deg)
    backscatter = torch.addcmul(
        backscatter, ground.per_degree[:, None], (local - table.REFERENCE_INCIDENCE_DEG)[:, :, None]
    )
    left = (1.0 - parameters["flattening"])[:, None, None, None]
    shared = left * area
    if quantity == GAMMA0:
        shared = shared - _DB * torch.log(torch.cos(torch.deg2rad(incidence_deg)))
    wet = _local_wet(states, (rows, columns))
    if unknown is not None:
        backscatter = backscatter + unknown.field
        moisture = (1.0 - states.frozen_soil)[:, :, None, None] * unknown.moisture
        wet = moisture if wet is None else wet + moisture
    if wet is not None:
        place = TERMS.index("wet")
        backscatter = torch.addcmul(backscatter, ground.maps[:, None, :, place], wet[:, :, None])
    return backscatter + shared[:, :, None]


def _numbers(views: Views, states: States, unknown: Unknown | None) -> torch.Tensor:
    """One number a scene for each of ``TERMS``, dims (world, band, view, term)."""
    look = torch.deg2rad(views.heading_deg + 90.0)
    calibration = torch.tensor(table.PLATFORM_DB, device=look.device)[views.platform]
    scene = calibration.permute(0, 2, 1)
    wind = torch.zeros_like(look)
    if unknown is not None:
        scene = scene + unknown.scene
        wind = unknown.wind * (1.0 - states.frozen_soil)
    shared = {
        "base": torch.ones_like(look),
        "wet": states.wet.mean((2, 3)),
        "frozen_canopy": states.frozen_canopy,
        "frozen_soil": states.frozen_soil,
        "wet_snow": states.wet_snow,
        "dry_snow": states.dry_snow,
        "summer": states.summer,
        "wind": wind,
        "edge_east": torch.sin(look),
        "edge_north": torch.cos(look),
        "corner_cos": torch.cos(4.0 * look),
        "corner_sin": torch.sin(4.0 * look),
    }
    columns = [
        scene if name == "scene" else shared[name][:, None].expand_as(scene) for name in TERMS
    ]
    return torch.stack(columns, dim=-1)


def _local_wet(states: States, size: fields.Size) -> torch.Tensor | None:
    """Wetness over its mean of the area, dims (world, view, y, x); None on a grid of one cell."""
    if states.wet.shape[2:] == (1, 1):
        return None
    fine = torch.nn.functional.interpolate(
        states.wet, size=size, mode="bilinear", align_corners=False
    )
    return fine - states.wet.mean((2, 3), keepdim=True)


def _geometry(
    ground: Ground, heading_deg: torch.Tensor, incidence_deg: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Local incidence, degrees, and the area effect of slopes, dB; dims (world, view, y, x)."""
    look = torch.deg2rad(heading_deg + 90.0)[..., None, None]
    theta = torch.deg2rad(incidence_deg)
    east, north = ground.slope_east[:, None], ground.slope_north[:, None]
    toward = east * torch.sin(look) + north * torch.cos(look)
    length = torch.sqrt(1.0 + east**2 + north**2)
    sine, cosine = torch.sin(theta), torch.cos(theta)
    local = torch.acos(((cosine + toward * sine) / length).clamp(0.0, 1.0))
    shown = (sine - toward * cosine).clamp(min=0.15) / length
    return torch.rad2deg(local), _DB * torch.log(sine / shown)
