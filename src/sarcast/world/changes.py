"""What changes on the ground: clear-cut, thinning, storm, fire, flood and construction.

A change turns the ground, from a day on, into another row of the table, at a pace of its own; its
backscatter then answers to weather and view as that row does.

References
----------
Reiche et al. 2021, Rüetschi et al. 2019, Belenguer-Plomer et al. 2019, Tsyganskaya et al. 2018: as
in ``table``. Twele et al., Int. J. Remote Sensing 37 (2016) 2990: floods over open land.
"""

import math
from dataclasses import dataclass

import torch

from sarcast.world import fields, table
from sarcast.world.ground import Ground
from sarcast.world.presets import Parameters

FOREVER_DAYS = 1.0e5
REACH = 2.5
"""Farthest that the ragged outline of a change can lie from its middle, in radii."""


@dataclass(frozen=True)
class Kind:
    """A kind of change: where it strikes, what the ground becomes, and how fast.

    Attributes
    ----------
    covers
        Names of the covers that it strikes.
    first, then
        Rows of the table: the ground at once, and after ``turn_days``.
    share
        How much of a pixel changes, 0..1.
    onset_days, fades_days
        Time constants of its growth and of the ground's return.
    radius_m
        Mean radius, least and most.
    square
        Whether its outline is straight.
    """

    name: str
    covers: tuple[str, ...]
    first: str
    then: str
    share: float
    onset_days: float
    turn_days: float
    fades_days: float
    radius_m: tuple[float, float]
    square: bool = False


KINDS = (
    Kind("clear-cut", ("forest",), "slash", "cleared", 1.0, 3.0, 90.0, 4000.0, (60, 220), True),
    Kind("thinning", ("forest",), "cleared", "cleared", 0.35, 5.0, 1.0, 1500.0, (80, 250), True),
    Kind("storm", ("forest",), "windthrow", "slash", 0.8, 1.0, 120.0, 3000.0, (60, 260)),
    Kind("fire", ("forest", "open", "mire"), "burnt", "burnt", 0.9, 1.0, 1.0, 500.0, (80, 350)),
    Kind("flood", ("open", "field", "mire"), "water", "water", 0.95, 1.0, 1.0, 12.0, (80, 350)),
    Kind(
        "forest flood",
        ("forest",),
        "flooded forest",
        "flooded forest",
        0.9,
        1.0,
        1.0,
        15.0,
        (80, 300),
    ),
    Kind(
        "construction",
        ("forest", "open", "field"),
        "earthworks",
        "built-up",
        1.0,
        5.0,
        200.0,
        FOREVER_DAYS,
        (40, 160),
        True,
    ),
)
NAMES = tuple(kind.name for kind in KINDS)
_ROW = {row.name: place for place, row in enumerate(table.ROWS)}
_COLUMN = {name: place for place, name in enumerate(table.COLUMNS)}


@dataclass(frozen=True)
class Changes:
    """Changes of the ground of each world.

    Attributes
    ----------
    kind
        Dims (world, change), int64: place in ``KINDS``.
    day
        Dims (world, change), days after ``views.EPOCH``, float64; infinite for none.
    masks
        Dims (world, change, y, x), bool; in ``boxes``, one to a change of a single world, where it
        has some.
    boxes
        Rows and columns of the area that the mask of each change spans; none where all span it.
    """

    kind: torch.Tensor
    day: torch.Tensor
    masks: torch.Tensor
    boxes: tuple[fields.Box, ...] = ()

    def box(self, change: int) -> fields.Box:
        """Rows and columns of the area that the mask of a change spans."""
        return self.boxes[change] if self.boxes else fields.WHOLE


def draw(
    ground: Ground,
    count: int,
    first: torch.Tensor,
    last: torch.Tensor,
    *,
    boxed: bool = False,
    rng: torch.Generator,
) -> Changes:
    """Draw ``count`` changes of each world, at any time from ``first`` to ``last`` (world).

    Parameters
    ----------
    ground
        Of each world.
    count
        Changes of each world.
    first, last
        Dims (world), days after ``views.EPOCH``.
    boxed
        Keep of each mask the box around the change alone: a large area of a single world has
        many changes, and each is small.
    rng
        Source of chance.
    """
    worlds = len(ground.cover)
    kind = torch.randint(0, len(KINDS), (worlds, count), generator=rng, device=rng.device)
    chance = torch.rand(6, worlds, count, generator=rng, device=rng.device)
    day = first[:, None] + (last - first)[:, None] * chance[0]
    boxes = tuple(
        _box(ground, chance[2:4, 0, one].tolist()) if boxed else fields.WHOLE
        for one in range(count)
    )
    masks = [
        _mask(ground, kind[:, one], chance[1:, :, one], box, rng=rng)
        for one, box in enumerate(boxes)
    ]
    stacked = torch.stack(masks, dim=1) if masks else ground.cover.new_zeros((worlds, 0, 1, 1))
    return Changes(kind, day, stacked.bool(), boxes if boxed else ())


def _box(ground: Ground, middle: list[float]) -> fields.Box:
    """Rows and columns around the middle of a change, as many for one change as for another."""
    widest = REACH * max(each.radius_m[1] for each in KINDS) / ground.spacing_m
    side = 2 * math.ceil(widest) + 1
    box = []
    for pixels, place in zip(ground.cover.shape[1:], middle, strict=True):
        start = min(max(round(pixels * place) - side // 2, 0), max(pixels - side, 0))
        box.append(slice(start, min(start + side, pixels)))
    return box[0], box[1]


def _mask(
    ground: Ground,
    kind: torch.Tensor,
    chance: torch.Tensor,
    box: fields.Box,
    *,
    rng: torch.Generator,
) -> torch.Tensor:
    """Pixels of one change in each world: a warped disc or block, cut to the covers it strikes."""
    size = (ground.cover.shape[1], ground.cover.shape[2])
    struck = torch.tensor(
        [[name in each.covers for name in table.NAMES] for each in KINDS], device=kind.device
    )
    square = torch.tensor([each.square for each in KINDS], device=kind.device)[kind, None, None]
    nodes = (max(1, size[0] // 12), max(1, size[1] // 12))
    rough = 0.3 * fields.smooth((len(kind),), size, nodes, part=box, rng=rng)
    away = _away(ground, kind, chance, box)
    inside = away + torch.where(square, 0.2, 1.0) * rough < 1.0
    return torch.logical_and(inside, struck[kind[:, None, None], ground.cover[:, *box]])


def _away(
    ground: Ground, kind: torch.Tensor, chance: torch.Tensor, box: fields.Box
) -> torch.Tensor:
    """Distance from the middle of a turned disc or block, in radii, dims (world, y, x)."""
    square = torch.tensor([each.square for each in KINDS], device=kind.device)[kind, None, None]
    low, high = torch.tensor([each.radius_m for each in KINDS], device=kind.device)[kind].T
    radius: torch.Tensor = (low + (high - low) * chance[0]) / ground.spacing_m
    down, right = (
        torch.arange(pixels, device=kind.device)[part] - (pixels * place)[:, None]
        for pixels, part, place in zip(ground.cover.shape[1:], box, chance[1:3], strict=True)
    )
    turn = torch.pi * chance[3][:, None, None]
    along = down[:, :, None] * torch.cos(turn) + right[:, None] * torch.sin(turn)
    across = right[:, None] * torch.cos(turn) - down[:, :, None] * torch.sin(turn)
    across = across * (1.0 + chance[4])[:, None, None]
    away = torch.where(square, torch.maximum(along.abs(), across.abs()), torch.hypot(along, across))
    return away / radius[:, None, None]


def progress(
    changes: Changes, time: torch.Tensor, until: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far each change has come at each view.

    Parameters
    ----------
    changes
        Of each world.
    time
        Dims (world, view), days after ``views.EPOCH``.
    until
        Same dims: changes of a later day have not happened.

    Returns
    -------
    share : Tensor
        Dims (world, change, view), 0..1: how much of the pixel has changed.
    turned : Tensor
        Same dims, 0..1: how far the changed part is on from ``first`` to ``then``.
    """
    columns = torch.tensor(
        [(k.share, k.onset_days, k.turn_days, k.fades_days) for k in KINDS], device=time.device
    )[changes.kind]
    share, onset, turn, fades = (column[..., None] for column in columns.unbind(-1))
    since = (time[:, None] - changes.day[..., None]).float()
    after = since.clamp(min=0.0)
    happened = (since > 0.0) & (changes.day[..., None] <= until[:, None])
    grown = torch.where(happened, 0.6 + 0.4 * (1.0 - torch.exp(-after / onset)), 0.0)
    return share * grown * torch.exp(-after / fades), (after / turn).clamp(max=1.0)


def apply(
    backscatter: torch.Tensor,
    changes: Changes,
    pace: tuple[torch.Tensor, torch.Tensor],
    states_of_rows: torch.Tensor,
    roughness: torch.Tensor,
) -> torch.Tensor:
    """Change backscatter, in place, where the ground changed.

    Parameters
    ----------
    backscatter
        Dims (world, view, band, y, x), dB.
    changes
        Of each world.
    pace
        What ``progress`` told of the views.
    states_of_rows
        Dims (world, row, view, band), dB: what each row of the table scatters at each view.
    roughness
        Dims (world, band, y, x): unit noise that the changed ground keeps.

    Returns
    -------
    Tensor
        Same dims as ``backscatter``.
    """
    share, turned = pace
    device = backscatter.device
    rows = torch.tensor([(_ROW[k.first], _ROW[k.then]) for k in KINDS], device=device)
    world = torch.arange(len(share), device=device)
    for one in range(changes.kind.shape[1]):
        if changes.boxes and not bool(share[:, one].any()):
            continue
        first, then = (states_of_rows[world, row] for row in rows[changes.kind[:, one]].T)
        level = torch.lerp(first, then, turned[:, one, :, None])[..., None, None]
        part = share[:, one, :, None, None, None] * changes.masks[:, one, None, None]
        box = changes.box(one)
        backscatter[..., *box].lerp_(level + roughness[:, None, :, *box], part)
    return backscatter


def row_levels(
    parameters: Parameters, numbers: torch.Tensor, incidence_deg: torch.Tensor
) -> torch.Tensor:
    """What each row of the table scatters at each view, without texture.

    Parameters
    ----------
    parameters
        Of each world.
    numbers
        Dims (world, view, column): the weight of each of ``table.COLUMNS`` at each view.
    incidence_deg
        Dims (world, view).

    Returns
    -------
    Tensor
        Dims (world, row, view, band), dB.
    """
    weights = numbers.clone()
    weights[..., _COLUMN["base"]] = 1.0
    weights[..., _COLUMN["texture"]] = 0.0
    weights[..., _COLUMN["per_degree"]] = incidence_deg - table.REFERENCE_INCIDENCE_DEG
    return torch.einsum("wvc,wrcb->wrvb", weights, parameters.responses)
