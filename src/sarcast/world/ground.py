"""The ground of many worlds at once: terrain, cover, and the response of each pixel."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from sarcast.world import fields, table
from sarcast.world.presets import Parameters

TERMS = (
    "base",
    "scene",
    "wet",
    "frozen_canopy",
    "frozen_soil",
    "wet_snow",
    "dry_snow",
    "summer",
    "wind",
    "edge_east",
    "edge_north",
    "corner_cos",
    "corner_sin",
)
"""Terms of a pixel's backscatter: each is a map of the ground times one weight per scene."""

LARGEST_FIELD_M = 1500.0
"""Largest length scale of terrain and landscape."""
CHANGED_M = 100.0
"""Length scale of half of the variance of changed ground, m: about that of a parcel."""

_BLOCKS = 512
_COLUMN = {name: index for index, name in enumerate(table.COLUMNS)}
_COVER = {name: index for index, name in enumerate(table.NAMES)}


@dataclass(frozen=True)
class Ground:
    """Properties that do not change from scene to scene.

    Attributes
    ----------
    spacing_m
        Pixel spacing, m.
    elevation, slope_east, slope_north
        Dims (world, y, x): m; m per m, 0 on water.
    cover
        Dims (world, y, x), int64: index in ``table.COVERS``.
    parcels
        Dims (world, y, x), int64: number of the parcel.
    parcel_cover
        Dims (world, parcel), int64: cover of each parcel.
    land
        Dims (world, y, x): share of a pixel covered by parcels, without water and mire.
    rough
        Dims (world, band, y, x): noise of unit variance, the texture of changed ground; in physics
        1 it is that of unchanged ground too.
    maps
        Dims (world, band, term, y, x), dB: see ``TERMS``.
    per_degree
        Dims (world, band, y, x), dB per degree of local incidence.
    """

    spacing_m: float
    elevation: torch.Tensor
    slope_east: torch.Tensor
    slope_north: torch.Tensor
    cover: torch.Tensor
    parcels: torch.Tensor
    parcel_cover: torch.Tensor
    land: torch.Tensor
    rough: torch.Tensor
    maps: torch.Tensor
    per_degree: torch.Tensor


def draw(
    parameters: Parameters, size: fields.Size, spacing_m: float, *, rng: torch.Generator
) -> Ground:
    """Draw the ground of a batch of worlds of ``size`` (rows, columns) pixels."""
    worlds = len(parameters.mixture)
    nodes = _nodes(size, spacing_m)
    count = _octaves(spacing_m)
    relief = fields.octaves((worlds,), size, nodes, count, gain=0.45, rng=rng)
    elevation = parameters["relief_m"][:, None, None] * relief
    elevation = elevation + 120.0 - elevation.flatten(1).min(1).values[:, None, None].clamp(max=0)
    cell = (parameters["cell_m"] / spacing_m).clamp(min=4.0)
    parcels, shape = fields.cells(size, cell, rng=rng)
    by_parcel = _parcel_cover(parameters.mixture, shape, rng=rng)
    cover = _cover(parameters.mixture, relief, fields.lookup(by_parcel, parcels), shape, rng=rng)
    east, north = _slopes(elevation, spacing_m)
    share = shares(cover)
    noise = _texture(parcels, shape, rng)
    maps, per_degree = _maps(parameters, share, noise, parcels, rng=rng)
    if parameters.preset.physics > 1:
        noise = _changed_texture(worlds, size, spacing_m, rng=fields.branch(rng, "changed texture"))
    dry = 1.0 - share[:, _COVER["water"]]
    wet = share[:, _COVER["water"]] + share[:, _COVER["mire"]]
    return Ground(
        spacing_m,
        elevation,
        east * dry,
        north * dry,
        cover,
        parcels,
        by_parcel,
        1.0 - wet,
        noise,
        maps,
        per_degree,
    )


def _nodes(size: fields.Size, spacing_m: float) -> fields.Size:
    rows, columns = (max(1, round(pixels * spacing_m / LARGEST_FIELD_M)) for pixels in size)
    return rows, columns


def _octaves(spacing_m: float) -> int:
    return max(1, round(math.log2(LARGEST_FIELD_M / (4.0 * spacing_m))))


def _slopes(elevation: torch.Tensor, spacing_m: float) -> tuple[torch.Tensor, torch.Tensor]:
    down, right = torch.gradient(elevation, spacing=spacing_m, dim=(1, 2))
    return right, -down


def _parcel_cover(
    mixture: torch.Tensor, shape: fields.Size, *, rng: torch.Generator
) -> torch.Tensor:
    """Assign the covers of dry land to parcels, in clumps; dims (world, parcel)."""
    worlds, covers = mixture.shape
    dry = mixture.clone()
    dry[:, [_COVER["water"], _COVER["mire"]]] = 0.0
    clumped = fields.smooth((worlds, covers), shape, _coarse(shape, 5), rng=rng)
    white = fields.normal(worlds, covers, *shape, rng=rng)
    uniform = torch.special.ndtr(0.75 * clumped + 0.66 * white).clamp(1e-6, 1.0 - 1e-6)
    # Gumbel-max trick: argmax of log share plus Gumbel noise picks each cover with its share
    score = dry.log()[:, :, None, None] - torch.log(-torch.log(uniform))
    return score.argmax(1).flatten(1)


def _cover(
    mixture: torch.Tensor,
    relief: torch.Tensor,
    cover: torch.Tensor,
    shape: fields.Size,
    *,
    rng: torch.Generator,
) -> torch.Tensor:
    """Replace the parcels' cover by water and mire where the land is low, with smooth shores."""
    size = (relief.shape[1], relief.shape[2])
    wetness = fields.octaves((len(mixture),), size, _coarse(shape, 6), 4, rng=rng)
    low = torch.special.ndtr(0.8 * wetness + 0.6 * relief)
    water, mire = (_COVER[name] for name in ("water", "mire"))
    share_water, share_mire = (mixture[:, index, None, None] for index in (water, mire))
    cover = torch.where(low < share_water + share_mire, mire, cover)
    return torch.where(low < share_water, water, cover)


def _coarse(shape: fields.Size, cells: int) -> fields.Size:
    return max(1, shape[0] // cells), max(1, shape[1] // cells)


def _maps(
    parameters: Parameters,
    share: torch.Tensor,
    noise: torch.Tensor,
    parcels: torch.Tensor,
    *,
    rng: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps of ``TERMS``, and the dependence on incidence; crops vary by parcel, not by scene."""
    responses = parameters.responses[:, : len(table.COVERS)].clone()
    responses[:, _COVER["field"], _COLUMN["summer"]] = 0.0
    mixed = torch.einsum("wkcb,wkyx->wbcyx", responses, share)
    maps = mixed.new_zeros((*mixed.shape[:2], len(TERMS), *share.shape[2:]))
    term_maps = {name: maps[:, :, number] for number, name in enumerate(TERMS)}
    torch.addcmul(
        mixed[:, :, _COLUMN["base"]], mixed[:, :, _COLUMN["texture"]], noise, out=term_maps["base"]
    )
    term_maps["scene"].fill_(1.0)
    for name in ("wet", "wet_snow", "dry_snow", "summer"):
        term_maps[name].copy_(mixed[:, :, _COLUMN[name]])
    frozen, trees = mixed[:, :, _COLUMN["frozen"]], share[:, None, _COVER["forest"]]
    term_maps["frozen_canopy"].copy_(frozen * trees)
    term_maps["frozen_soil"].copy_(frozen * (1.0 - trees))
    per_band = torch.tensor([table.WIND_DB, table.CORNER_DB], device=share.device)
    term_maps["wind"].copy_(per_band[0, :, None, None] * share[:, None, _COVER["water"]])
    _edges(term_maps, trees)
    _corners(
        term_maps, share[:, None, _COVER["built-up"]] * per_band[1, :, None, None], parcels, rng
    )
    return maps, mixed[:, :, _COLUMN["per_degree"]]


def shares(cover: torch.Tensor) -> torch.Tensor:
    """Compute the share of each cover in each pixel, from the pixel and its neighbours."""
    hard = functional.one_hot(cover, len(table.COVERS)).permute(0, 3, 1, 2).float()
    return functional.avg_pool2d(hard, 3, 1, 1, count_include_pad=False)


def _texture(parcels: torch.Tensor, shape: fields.Size, rng: torch.Generator) -> torch.Tensor:
    """Unit noise, dims (world, band, y, x): half of its variance between parcels, half within."""
    worlds, size = len(parcels), (parcels.shape[1], parcels.shape[2])
    stand = fields.normal(worlds, 2, shape[0] * shape[1], rng=rng)
    stand[:, 1] = 0.8 * stand[:, 0] + 0.6 * stand[:, 1]
    by_parcel = torch.stack([fields.lookup(stand[:, band], parcels) for band in (0, 1)], 1)
    within = fields.smooth((worlds, 1), size, (size[0] // 3, size[1] // 3), rng=rng)
    pixel = fields.normal(worlds, 2, *size, rng=rng)
    return pixel.mul_(0.2**0.5).add_(within, alpha=0.3**0.5).add_(by_parcel, alpha=0.5**0.5)


def _changed_texture(
    worlds: int, size: fields.Size, spacing_m: float, *, rng: torch.Generator
) -> torch.Tensor:
    """Unit noise of changed ground, in which no border of an old parcel is left."""
    wide, near = (
        (max(1, round(size[0] / pixels)), max(1, round(size[1] / pixels)))
        for pixels in (CHANGED_M / spacing_m, 3.0)
    )
    stand = fields.smooth((worlds, 2), size, wide, rng=rng)
    stand[:, 1].mul_(0.6).add_(stand[:, 0], alpha=0.8)
    within = fields.smooth((worlds, 1), size, near, rng=rng)
    pixel = fields.normal(worlds, 2, *size, rng=rng)
    return pixel.mul_(0.2**0.5).add_(within, alpha=0.3**0.5).add_(stand, alpha=0.5**0.5)


def _edges(term_maps: dict[str, torch.Tensor], trees: torch.Tensor) -> None:
    """Brighten edges where forest begins along the look direction, darken those where it ends."""
    down, right = torch.gradient(trees, dim=(2, 3))
    # after averaging over 3 x 3 pixels, the tree share has a gradient of at most 1/3 per pixel
    term_maps["edge_east"].copy_(3.0 * table.EDGE_DB * right)
    term_maps["edge_north"].copy_(-3.0 * table.EDGE_DB * down)


def _corners(
    term_maps: dict[str, torch.Tensor],
    strength: torch.Tensor,
    parcels: torch.Tensor,
    rng: torch.Generator,
) -> None:
    """Brighten walls that face the radar; streets of a block repeat every quarter turn."""
    block = parcels // 3 % _BLOCKS
    orientation = (
        2.0 * torch.pi * torch.rand(len(parcels), _BLOCKS, generator=rng, device=rng.device)
    )
    angle = fields.lookup(orientation, block)[:, None]
    term_maps["corner_cos"].copy_(0.5 * strength * torch.cos(angle))
    term_maps["corner_sin"].copy_(0.5 * strength * torch.sin(angle))
