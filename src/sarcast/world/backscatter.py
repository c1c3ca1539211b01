"""Backscatter of the ground in each view, without speckle, in dB.

References
----------
Ulander, IEEE TGRS 34 (1996) 1115: the area that a slope shows to the radar, equation 9.
Small, IEEE TGRS 49 (2011) 3081: gamma nought and terrain flattening.
"""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from sarcast.sensor.units import DB_PER_NEPER
from sarcast.world import changes, fields, parcels, relief, table
from sarcast.world.ground import TERMS, Ground
from sarcast.world.presets import STEEP_M, Parameters
from sarcast.world.views import Views
from sarcast.world.weather import States

NOISE_FLOOR_DB = -30.0
"""Residual thermal noise, dB: noise equivalent sigma nought is −22 dB or better (Torres et al.
2012), and products have its mean subtracted."""
RESIDUAL_M = 600.0
PATCH_M = 250.0
"""Correlation lengths of unmodelled effects: of the smooth residual, and of moisture."""
_BANDS = 2
_WATER = table.NAMES.index("water")


@dataclass(frozen=True)
class World:
    """A batch of worlds, independent of when and from where they are observed."""

    parameters: Parameters
    ground: Ground
    calendar: parcels.Calendar
    changes: changes.Changes


@dataclass(frozen=True)
class Observations:
    """Acquisitions of a batch of worlds, with the state of the ground at each.

    Attributes
    ----------
    views, states
        Dims (world, view): the acquisitions, and the state of the ground at their times.
    incidence_deg
        Dims (world, view, y, x): incidence on the ellipsoid.
    until
        Dims (world, view), days after ``views.EPOCH``: later changes of the ground are not shown.
    """

    views: Views
    states: States
    incidence_deg: torch.Tensor
    until: torch.Tensor

    def last(self) -> "Observations":
        """Return the last view of each world."""
        only = torch.full_like(self.views.platform[:, :1], self.views.platform.shape[1] - 1)
        return replace(
            self,
            views=self.views.take(only),
            states=self.states.take(slice(-1, None)),
            incidence_deg=self.incidence_deg[:, -1:],
            until=self.until[:, -1:],
        )


@dataclass(frozen=True)
class UnmodelledEffects:
    """Effects that no condition describes: part of each image, but of no expected image.

    Attributes
    ----------
    wind
        Dims (world, view): wind over water, standard normal.
    scene
        Dims (world, band, view), dB: offset of the whole scene.
    field
        Dims (world, view, band, y, x), dB: smooth residual.
    moisture
        Dims (world, view, y, x): patches of wetness, in units of the wet response.
    """

    wind: torch.Tensor
    scene: torch.Tensor
    field: torch.Tensor
    moisture: torch.Tensor


def draw_unmodelled(world: World, views: int, *, rng: torch.Generator) -> UnmodelledEffects:
    """Draw the unmodelled effects in each of ``views`` views of each world."""
    parameters, ground = world.parameters, world.ground
    worlds, rows, columns = ground.elevation.shape
    size, side_m = (rows, columns), (rows * ground.spacing_m, columns * ground.spacing_m)
    nodes, patches = (
        tuple(max(1, round(side / length)) for side in side_m) for length in (RESIDUAL_M, PATCH_M)
    )
    field = fields.smooth((worlds, views, _BANDS), size, (nodes[0], nodes[1]), rng=rng)
    moisture = fields.smooth((worlds, views), size, (patches[0], patches[1]), rng=rng)
    return UnmodelledEffects(
        fields.normal(worlds, views, rng=rng),
        parameters.over("scene_db", 2) * fields.normal(worlds, _BANDS, views, rng=rng),
        field.mul_(parameters.over("residual_db", 4)),
        # the wet response of open ground in VV turns dB into a share of the response
        moisture.mul_(parameters.over("patch_db", 3) / table.OPEN.wet.vv),
    )


def expected(
    world: World, observed: Observations, *, unmodelled: UnmodelledEffects | None = None
) -> torch.Tensor:
    """Compute the backscatter of each view.

    Parameters
    ----------
    world
        The worlds.
    observed
        Their acquisitions.
    unmodelled
        Unmodelled effects; None for the expected image.

    Returns
    -------
    Tensor
        Dims (world, view, band, y, x), dB.
    """
    ground, parameters = world.ground, world.parameters
    term_weights = _term_weights(observed, unmodelled)
    worlds, views = observed.views.time.shape
    size = (ground.elevation.shape[1], ground.elevation.shape[2])
    total = torch.matmul(term_weights, ground.maps.flatten(3)).reshape(worlds, _BANDS, views, *size)
    levels = parcels.levels(world.calendar, ground, parameters, observed.views.time)
    total.addcmul_(_on_pixels(levels, ground), ground.land[:, None, None])
    local, area = relief.slopes(ground, observed.views.heading_deg, observed.incidence_deg)
    total.addcmul_(ground.per_degree[:, :, None], (local - table.REFERENCE_INCIDENCE_DEG)[:, None])
    wet = _local_wet(observed.states, unmodelled, size)
    if wet is not None:
        total.addcmul_(ground.maps[:, :, TERMS.index("wet"), None], wet[:, None])
    backscatter = total.transpose(1, 2)
    if unmodelled is not None:
        backscatter = backscatter + unmodelled.field
    backscatter = _changed(backscatter, world, observed, term_weights)
    backscatter = backscatter + _quantity(area, parameters, observed.incidence_deg)[:, :, None]
    if parameters.preset.relief_m[1] >= STEEP_M:
        backscatter = relief.hide(backscatter, ground, observed.views, parameters, NOISE_FLOOR_DB)
    return backscatter.clamp(min=NOISE_FLOOR_DB)


def _term_weights(observed: Observations, unmodelled: UnmodelledEffects | None) -> torch.Tensor:
    """Weight of each of ``TERMS`` in each view, dims (world, band, view, term)."""
    states = observed.states
    look = torch.deg2rad(observed.views.heading_deg + 90.0)
    calibration = torch.tensor(table.PLATFORM_DB, device=look.device)[observed.views.platform]
    scene = calibration.permute(0, 2, 1)
    wind = torch.zeros_like(look)
    if unmodelled is not None:
        scene = scene + unmodelled.scene
        wind = unmodelled.wind * (1.0 - states.frozen_soil)
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


def _on_pixels(levels: torch.Tensor, ground: Ground) -> torch.Tensor:
    """Levels of parcels, (world, band, view, parcel), on pixels: (world, band, view, y, x)."""
    worlds, bands, views, _ = levels.shape
    labels = ground.parcels.flatten(1)[:, None].expand(-1, bands * views, -1)
    return (
        levels.flatten(1, 2)
        .gather(2, labels)
        .reshape(worlds, bands, views, *ground.parcels.shape[1:])
    )


def _local_wet(
    states: States, unmodelled: UnmodelledEffects | None, size: fields.Size
) -> torch.Tensor | None:
    """Wetness minus its mean over the area, dims (world, view, y, x); None if it is uniform."""
    wet = None
    if states.wet.shape[2:] != (1, 1):
        fine = functional.interpolate(states.wet, size=size, mode="bilinear", align_corners=False)
        wet = fine - states.wet.mean((2, 3), keepdim=True)
    if unmodelled is None:
        return wet
    moisture = (1.0 - states.frozen_soil)[:, :, None, None] * unmodelled.moisture
    return moisture if wet is None else wet + moisture


def _changed(
    backscatter: torch.Tensor, world: World, observed: Observations, term_weights: torch.Tensor
) -> torch.Tensor:
    """Replace backscatter where the ground changed; changed ground freezes as soil does."""
    if world.changes.kind.shape[1] == 0:
        return backscatter
    zero = torch.zeros_like(term_weights[:, 0, :, 0])
    columns = {
        name: term_weights[:, 0, :, TERMS.index(name)] for name in table.COLUMNS if name in TERMS
    }
    columns["frozen"] = term_weights[:, 0, :, TERMS.index("frozen_soil")]
    weights = torch.stack([columns.get(name, zero) for name in table.COLUMNS], dim=-1)
    levels = changes.row_levels(world.parameters, weights, observed.views.incidence_deg)
    levels = levels + term_weights[:, :, :, TERMS.index("scene")].permute(0, 2, 1)[:, None]
    if world.parameters.preset.physics > 1:
        wind = term_weights[:, 0, :, TERMS.index("wind"), None]
        levels[:, _WATER] += wind * torch.tensor(table.WIND_DB, device=wind.device)
    progress = changes.progress(world.changes, observed.views.time, observed.until)
    textures = changes.row_textures(world.parameters)
    return changes.apply(backscatter, world.changes, progress, levels, textures, world.ground.rough)


def _quantity(
    area: torch.Tensor, parameters: Parameters, incidence_deg: torch.Tensor
) -> torch.Tensor:
    """Add to local sigma nought for the product's quantity, dB, dims (world, view, y, x)."""
    unflattened = area * (1.0 - parameters.over("flattening", 3))
    cosine = torch.log(torch.cos(torch.deg2rad(incidence_deg)))
    return unflattened - DB_PER_NEPER * parameters.over("gamma0", 3) * cosine
