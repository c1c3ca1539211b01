"""Augmentation of training batches, so that one set of weights serves whatever is known."""

from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from sarcast.prediction.networks.base import Network
from sarcast.sensor.conditions import COLUMNS, CONDITIONS, HEADING, WEATHER, condition
from sarcast.sensor.orbits import wrap_heading
from sarcast.windows import Batch

CONTEXT_DISCS = 3
"""Discs of simulated change in the target that scene context is computed from."""
DISC_RADII = (0.03, 0.35)
"""Radii of these discs, shares of the window's side, drawn evenly in their logarithm."""
DISC_COMMON_DB, DISC_BAND_DB = 3.0, 1.5
"""Standard deviations of a disc's change, dB: in common to the bands, and of each band."""
MIRRORED_SHARE = 0.5
"""Share of the targets whose level is mirrored: above and below become equally likely."""


class AugmentOptions(BaseModel):
    """How training batches are augmented."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fewest: int = Field(2, ge=1, le=64, description="Fewest previous images kept.")
    usual: int = Field(4, ge=1, le=64, description="Number of previous images kept most often.")
    usual_share: float = Field(0.5, ge=0.0, le=1.0, description="Share of batches with it.")
    no_condition: float = Field(
        0.08, ge=0.0, le=1.0, description="Share of windows without each single condition."
    )
    no_weather: float = Field(
        0.15,
        ge=0.0,
        le=1.0,
        description="Share of windows without temperature, snow depth and precipitation.",
    )
    no_conditions: float = Field(
        0.05, ge=0.0, le=1.0, description="Share of windows without any condition."
    )
    no_elevation: float = Field(
        0.15, ge=0.0, le=1.0, description="Share of windows without elevation."
    )
    strips: float = Field(
        0.03, ge=0.0, le=1.0, description="Share of previous images with a strip of no data."
    )
    no_context: float = Field(
        0.25, ge=0.0, le=1.0, description="Share of windows without scene context."
    )
    context_changes: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="Share of windows whose scene context is computed with simulated changes in "
        "the target, which the image to be predicted lacks.",
    )
    mirror: bool = Field(
        True,
        description="Mirror windows east to west and north to south, with the look directions; "
        "=false turns it off.",
    )


def augment(batch: Batch, options: AugmentOptions, *, generator: torch.Generator) -> Batch:
    """Augment a batch by missing conditions and elevation, strips of no data, and mirroring.

    Parameters
    ----------
    batch
        Windows; the batch itself is not changed.
    options
        Shares of windows.
    generator
        Generator on the CPU.
    """
    batch = _hide_conditions(batch, options, generator)
    no_elevation = _draw(options.no_elevation, batch, (1, 1), generator)
    batch = replace(
        batch,
        elevation=batch.elevation.masked_fill(no_elevation, torch.nan),
        previous=batch.previous.masked_fill(_strips(batch, options, generator), torch.nan),
    )
    if options.mirror:
        for axis in (-1, -2):
            if torch.rand((), generator=generator) < 0.5:
                batch = mirror(batch, axis)
    return batch


def add_context(
    batch: Batch, network: Network, options: AugmentOptions, *, generator: torch.Generator
) -> Batch:
    """Add the scene context of the targets, hidden in part, and computed with changes in part.

    Parameters
    ----------
    batch
        Windows; those with counterfactual conditions get no context, which would contradict them.
    network
        The network that uses the context.
    options
        Shares of windows.
    generator
        Generator on the CPU.
    """
    if not _takes_context(batch, network):
        return batch
    changes = _discs(batch, generator)
    changed = _draw(options.context_changes, batch, (1, 1, 1), generator)
    target = batch.target + torch.where(changed, changes, 0.0)
    context = network.scene_context(replace(batch, target=target))
    hidden = _draw(options.no_context, batch, (1, 1, 1), generator)
    return replace(batch, context=context.masked_fill(hidden, torch.nan))


def with_context(batch: Batch, network: Network) -> Batch:
    """Add the scene context of the targets as they are, for networks that use it."""
    if not _takes_context(batch, network):
        return batch
    return replace(batch, context=network.scene_context(batch))


def _takes_context(batch: Batch, network: Network) -> bool:
    """Whether the network uses scene context, and no counterfactual conditions contradict it."""
    return network.uses_context and batch.counterfactual_conditions is None


def _discs(batch: Batch, generator: torch.Generator) -> Tensor:
    """Draw discs of change in each window, dims (window, band, y, x), dB."""
    windows, bands, height, width = batch.target.shape
    device = batch.target.device
    chance = torch.rand(3, windows, CONTEXT_DISCS, 1, 1, generator=generator).to(device)
    common = torch.randn(windows, CONTEXT_DISCS, 1, generator=generator)
    of_band = torch.randn(windows, CONTEXT_DISCS, bands, generator=generator)
    change = (DISC_COMMON_DB * common + DISC_BAND_DB * of_band).to(device)
    rows = torch.arange(height, device=device)[:, None] / height
    columns = torch.arange(width, device=device) / width
    small, large = DISC_RADII
    radius = small * (large / small) ** chance[2]
    inside = (rows - chance[0]).square() + (columns - chance[1]).square() <= radius.square()
    return torch.einsum("wdyx,wdb->wbyx", inside.float(), change)


def _draw(share: float, batch: Batch, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw True with a probability, dims (window, *shape), on the device of the batch."""
    drawn = torch.rand(len(batch.target), *shape, generator=generator) < share
    return drawn.to(batch.target.device)


def _hide_conditions(batch: Batch, options: AugmentOptions, generator: torch.Generator) -> Batch:
    """Hide conditions of windows, in all their images: single ones, the weather, or all."""
    device, other = batch.target.device, batch.counterfactual_conditions
    weather = torch.tensor([name in WEATHER for name in CONDITIONS], device=device)
    hidden = _draw(options.no_condition, batch, (len(CONDITIONS),), generator)
    hidden |= _draw(options.no_weather, batch, (1,), generator) & weather
    hidden |= _draw(options.no_conditions, batch, (1,), generator)
    columns = hidden[:, [CONDITIONS.index(condition(column)) for column in COLUMNS]]
    return replace(
        batch,
        conditions=batch.conditions.masked_fill(columns[:, None], torch.nan),
        counterfactual_conditions=None if other is None else other.masked_fill(columns, torch.nan),
    )


def mirror(batch: Batch, axis: int) -> Batch:
    """Mirror all windows along one axis, the look directions with them.

    Parameters
    ----------
    batch
        The windows.
    axis
        −1: east becomes west; −2: north becomes south.

    Notes
    -----
    With heading h the antenna looks to azimuth h + 90. East to west, azimuth a becomes −a, so h
    becomes −h − 180: an ascending pass becomes a descending one. North to south, a becomes
    180 − a, so h becomes −h.
    """

    def mirrored(rows: Tensor) -> Tensor:
        rows = rows.clone()
        rows[..., HEADING] = wrap_heading(-rows[..., HEADING] - (180.0 if axis == -1 else 0.0))
        return rows

    other = batch.counterfactual_conditions
    images = (
        "previous",
        "target",
        "elevation",
        "expected",
        "counterfactual_expected",
        "goal",
        "forest",
        "open_land",
        "changed",
    )
    parts = {name: getattr(batch, name) for name in images}
    flipped = {name: part.flip(axis) for name, part in parts.items() if part is not None}
    return replace(
        batch,
        conditions=mirrored(batch.conditions),
        counterfactual_conditions=None if other is None else mirrored(other),
        **flipped,
    )


def mirror_levels(batch: Batch, which: Tensor) -> Batch:
    """Mirror the level of targets about the median level of their previous images, by bands.

    A target with mean level l, whose previous images have the median level m, gets the level
    2 m − l; its pattern stays. Where half of the targets are mirrored, a network cannot memorise
    the levels of dates.

    Parameters
    ----------
    batch
        Windows; the batch itself is not changed.
    which
        Dims (window), bool: the windows whose target is mirrored.
    """
    difference = (batch.target[:, None] - batch.previous).nanmean(dim=(3, 4))
    median = difference.nanquantile(0.5, dim=1)
    shift = torch.where(which[:, None], 2.0 * median, 0.0).nan_to_num(0.0)
    return replace(batch, target=batch.target - shift[..., None, None])


def fewer_images(batch: Batch, options: AugmentOptions, *, generator: torch.Generator) -> Batch:
    """Keep some of a batch's previous images, the same ones in every window.

    Parameters
    ----------
    batch
        Windows; the batch itself is not changed.
    options
        Numbers of images.
    generator
        Generator on the CPU; with the same on every device, all have the same amount of work.
    """
    images = batch.previous.shape[1]
    fewest = min(options.fewest, images)
    number = int(torch.randint(fewest, images + 1, (), generator=generator))
    if torch.rand((), generator=generator) < options.usual_share:
        number = min(options.usual, images)
    if number == images:
        return batch
    latest = torch.rand((), generator=generator) < 0.5
    kept = torch.randperm(images, generator=generator)[:number].sort().values
    if latest:
        kept = torch.arange(images - number, images)
    return batch.keep_images(kept)


def _strips(batch: Batch, options: AugmentOptions, generator: torch.Generator) -> Tensor:
    """Draw strips across images, where they have no data; dims (window, image, 1, y, x), bool."""
    windows, images, _, height, width = batch.previous.shape
    shape = (windows, images, 1, 1, 1)
    angle = torch.rand(shape, generator=generator) * torch.pi
    centre, width_share = torch.rand(2, *shape, generator=generator)
    drawn = torch.rand(shape, generator=generator) < options.strips
    device = batch.previous.device
    rows = torch.linspace(-0.5, 0.5, height, device=device)[:, None]
    columns = torch.linspace(-0.5, 0.5, width, device=device)
    angle, centre, width_share, drawn = (
        part.to(device) for part in (angle, centre, width_share, drawn)
    )
    across = rows * torch.sin(angle) + columns * torch.cos(angle)
    return drawn & ((across - centre + 0.5).abs() < 0.3 * width_share)
