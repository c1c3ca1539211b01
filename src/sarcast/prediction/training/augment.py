"""Changes to training batches, so that one set of weights serves whatever is known."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from sarcast.sensor.conditions import COLUMNS, CONDITIONS, HEADING, WEATHER, condition
from sarcast.sensor.orbits import wrap_heading
from sarcast.windows import Batch

MIRRORED_SHARE = 0.5
"""Share of the targets whose level is mirrored, so that above and below are as likely."""


class AugmentOptions(BaseModel):
    """How training batches are varied."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fewest: int = Field(2, ge=1, le=64, description="fewest previous images kept")
    usual: int = Field(4, ge=1, le=64, description="number of previous images kept most often")
    usual_share: float = Field(0.5, ge=0.0, le=1.0, description="share of batches with that number")
    no_condition: float = Field(
        0.08, ge=0.0, le=1.0, description="share of windows without each single condition"
    )
    no_weather: float = Field(
        0.15, ge=0.0, le=1.0, description="share of windows without temperature, snow, rain"
    )
    no_conditions: float = Field(
        0.05, ge=0.0, le=1.0, description="share of windows without any condition"
    )
    no_elevation: float = Field(0.15, ge=0.0, le=1.0, description="share without elevation")
    strips: float = Field(
        0.03, ge=0.0, le=1.0, description="share of previous images with an unseen strip"
    )
    mirror: bool = Field(
        True,
        description="mirror east to west and north to south, with the looks; =false turns it off",
    )


def augment(batch: Batch, options: AugmentOptions, *, generator: torch.Generator) -> Batch:
    """Vary a batch: missing conditions, missing elevation, unseen strips, mirrors.

    Parameters
    ----------
    batch
        Windows; those given are not changed.
    options
        How.
    generator
        Generator on the CPU.
    """
    windows = batch.conditions.shape[0]
    device = batch.target.device

    def chance(share: float, *shape: int) -> Tensor:
        return (torch.rand(*shape, generator=generator) < share).to(device)

    hidden = chance(options.no_condition, windows, len(CONDITIONS))
    hidden |= chance(options.no_weather, windows, 1) & _is_in(WEATHER, device)
    hidden |= chance(options.no_conditions, windows, 1)
    places = [CONDITIONS.index(condition(column)) for column in COLUMNS]
    gone, other = hidden[:, places], batch.counterfactual_conditions
    bare = chance(options.no_elevation, windows)[:, None, None]
    batch = replace(
        batch,
        conditions=batch.conditions.masked_fill(gone[:, None], torch.nan),
        counterfactual_conditions=None if other is None else other.masked_fill(gone, torch.nan),
        elevation=batch.elevation.masked_fill(bare, torch.nan),
        previous=batch.previous.masked_fill(_strips(batch, options, generator), torch.nan),
    )
    if options.mirror:
        for axis in (-1, -2):
            if torch.rand((), generator=generator) < 0.5:
                batch = mirror(batch, axis)
    return batch


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

    def turned(rows: Tensor) -> Tensor:
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
        conditions=turned(batch.conditions),
        counterfactual_conditions=None if other is None else turned(other),
        **flipped,
    )


def mirror_levels(batch: Batch, which: Tensor) -> Batch:
    """Mirror the level of targets about the median level of their previous images, by bands.

    A target that lies above its previous images comes to lie as far below them, or the other way
    round: where half of the targets are mirrored, no level can be learned by heart.

    Parameters
    ----------
    batch
        Windows; those given are not changed.
    which
        Dims (window), bool: the windows whose target is mirrored.
    """
    departure = (batch.target[:, None] - batch.previous).nanmean(dim=(3, 4)).nanquantile(0.5, dim=1)
    shift = torch.where(which[:, None], 2.0 * departure, 0.0).nan_to_num(0.0)
    return replace(batch, target=batch.target - shift[..., None, None])


def fewer_images(batch: Batch, options: AugmentOptions, *, generator: torch.Generator) -> Batch:
    """Keep some of a batch's previous images, the same ones in every window.

    Parameters
    ----------
    batch
        Windows; those given are not changed.
    options
        How many.
    generator
        Generator on the CPU; the same on every device keeps their work equal.
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


def _is_in(names: Sequence[str], device: torch.device) -> Tensor:
    return torch.tensor([name in names for name in CONDITIONS], device=device)


def _strips(batch: Batch, options: AugmentOptions, generator: torch.Generator) -> Tensor:
    """Mark, (window, image, 1, y, x), what a strip across an image does not see."""
    windows, images, _, height, width = batch.previous.shape
    shape = (windows, images, 1, 1, 1)
    angle = torch.rand(shape, generator=generator) * torch.pi
    centre, reach = torch.rand(2, *shape, generator=generator)
    hit = torch.rand(shape, generator=generator) < options.strips
    device = batch.previous.device
    rows = torch.linspace(-0.5, 0.5, height, device=device)[:, None]
    columns = torch.linspace(-0.5, 0.5, width, device=device)
    angle, centre, reach, hit = (part.to(device) for part in (angle, centre, reach, hit))
    across = rows * torch.sin(angle) + columns * torch.cos(angle)
    return hit & ((across - centre + 0.5).abs() < 0.3 * reach)
