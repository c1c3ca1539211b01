"""Changes of the ground: clear-cut, thinning, storm, fire, flood and construction.

A change turns the ground into another row of the table from its day on, each kind at its own rate;
the backscatter then depends on weather and view as that row does.

References
----------
Reiche et al. 2021, Rüetschi et al. 2019, Belenguer-Plomer et al. 2019, Tsyganskaya et al. 2018: as
in ``table``. Twele et al., Int. J. Remote Sensing 37 (2016) 2990: floods over open land.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sarcast.world import fields, table
from sarcast.world.ground import Ground
from sarcast.world.presets import Parameters

NO_RECOVERY_DAYS = 1.0e5
"""Time constant of recovery of a change that stays."""
REACH = 2.5
"""Greatest distance of the irregular outline of a change from its centre, in radii."""


@dataclass(frozen=True)
class Kind:
    """A kind of change: which covers it affects, what the ground becomes, and how fast.

    Attributes
    ----------
    covers
        Names of the covers that it affects.
    first, then
        Rows of the table: the ground right after the change, and after ``turn_days``.
    share
        Share of a pixel that changes, 0..1.
    onset_days, fades_days
        Time constants of its onset and of the recovery of the ground.
    radius_m
        Least and greatest mean radius.
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
        NO_RECOVERY_DAYS,
        (40, 160),
        True,
    ),
)
NAMES = tuple(kind.name for kind in KINDS)
_ROW = {row.name: index for index, row in enumerate(table.ROWS)}
_COLUMN = {name: index for index, name in enumerate(table.COLUMNS)}


@dataclass(frozen=True)
class Changes:
    """Changes of the ground of each world.

    Attributes
    ----------
    kind
        Dims (world, change), int64: index in ``KINDS``.
    day
        Dims (world, change), days after ``views.EPOCH``, float64; infinite for none.
    masks
        Dims (world, change, y, x), bool; within ``boxes`` if there are any.
    boxes
        Rows and columns of the area that the mask of each change spans, for a single world; empty
        if all masks span the whole area.
    """

    kind: torch.Tensor
    day: torch.Tensor
    masks: torch.Tensor
    boxes: tuple[fields.Box, ...] = ()

    def box(self, change: int) -> fields.Box:
        """Return the rows and columns of the area that the mask of a change spans."""
        return self.boxes[change] if self.boxes else fields.WHOLE


def draw(
    ground: Ground,
    count: int,
    first: torch.Tensor,
    last: torch.Tensor,
    *,
    boxed: bool = False,
    kinds: Sequence[str] = NAMES,
    rng: torch.Generator,
) -> Changes:
    """Draw ``count`` changes of each world, at any time from ``first`` to ``last`` (world).

    Parameters
    ----------
    ground
        Ground of each world.
    count
        Number of changes in each world.
    first, last
        Dims (world), days after ``views.EPOCH``.
    boxed
        Keep of each mask only the box around the change: a large area of a single world has many
        changes, and each is small.
    kinds
        Names of the kinds to draw from.
    rng
        Random generator.
    """
    worlds = len(ground.cover)
    among = torch.tensor([NAMES.index(name) for name in kinds], device=rng.device)
    kind = among[torch.randint(0, len(kinds), (worlds, count), generator=rng, device=rng.device)]
    chance = torch.rand(6, worlds, count, generator=rng, device=rng.device)
    day = first[:, None] + (last - first)[:, None] * chance[0]
    boxes = tuple(
        _box(ground, chance[2:4, 0, change].tolist()) if boxed else fields.WHOLE
        for change in range(count)
    )
    masks = [
        _mask(ground, kind[:, change], chance[1:, :, change], box, rng=rng)
        for change, box in enumerate(boxes)
    ]
    stacked = torch.stack(masks, dim=1) if masks else ground.cover.new_zeros((worlds, 0, 1, 1))
    return Changes(kind, day, stacked.bool(), boxes if boxed else ())


def _box(ground: Ground, centre: list[float]) -> fields.Box:
    """Rows and columns around the centre of a change, of the same number for all changes."""
    widest = REACH * max(kind.radius_m[1] for kind in KINDS) / ground.spacing_m
    side = 2 * math.ceil(widest) + 1
    box = []
    for pixels, share in zip(ground.cover.shape[1:], centre, strict=True):
        start = min(max(round(pixels * share) - side // 2, 0), max(pixels - side, 0))
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
    """Pixels of one change in each world: a warped disc or block within the affected covers."""
    size = (ground.cover.shape[1], ground.cover.shape[2])
    affected = torch.tensor(
        [[name in each.covers for name in table.NAMES] for each in KINDS], device=kind.device
    )
    square = torch.tensor([each.square for each in KINDS], device=kind.device)[kind, None, None]
    nodes = (max(1, size[0] // 12), max(1, size[1] // 12))
    rough = 0.3 * fields.smooth((len(kind),), size, nodes, part=box, rng=rng)
    distance = _distance(ground, kind, chance, box)
    inside = distance + torch.where(square, 0.2, 1.0) * rough < 1.0
    return torch.logical_and(inside, affected[kind[:, None, None], ground.cover[:, *box]])


def _distance(
    ground: Ground, kind: torch.Tensor, chance: torch.Tensor, box: fields.Box
) -> torch.Tensor:
    """Distance from the centre of a rotated disc or block, in radii, dims (world, y, x)."""
    square = torch.tensor([each.square for each in KINDS], device=kind.device)[kind, None, None]
    low, high = torch.tensor([each.radius_m for each in KINDS], device=kind.device)[kind].T
    radius: torch.Tensor = (low + (high - low) * chance[0]) / ground.spacing_m
    down, right = (
        torch.arange(pixels, device=kind.device)[part] - (pixels * centre)[:, None]
        for pixels, part, centre in zip(ground.cover.shape[1:], box, chance[1:3], strict=True)
    )
    turn = torch.pi * chance[3][:, None, None]
    along = down[:, :, None] * torch.cos(turn) + right[:, None] * torch.sin(turn)
    across = right[:, None] * torch.cos(turn) - down[:, :, None] * torch.sin(turn)
    across = across * (1.0 + chance[4])[:, None, None]
    block, disc = torch.maximum(along.abs(), across.abs()), torch.hypot(along, across)
    return torch.where(square, block, disc) / radius[:, None, None]


def progress(
    changes: Changes, time: torch.Tensor, until: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute how far each change has progressed at each view.

    Parameters
    ----------
    changes
        Changes of each world.
    time
        Dims (world, view), days after ``views.EPOCH``.
    until
        Same dims: changes after this day are not shown.

    Returns
    -------
    share : Tensor
        Dims (world, change, view), 0..1: share of the pixel that has changed.
    turned : Tensor
        Same dims, 0..1: progress of the changed part from ``first`` to ``then``.
    """
    columns = torch.tensor(
        [(k.share, k.onset_days, k.turn_days, k.fades_days) for k in KINDS], device=time.device
    )[changes.kind]
    share, onset, turn, fades = (column[..., None] for column in columns.unbind(-1))
    since = (time[:, None] - changes.day[..., None]).float()
    after = since.clamp(min=0.0)
    happened = (since > 0.0) & (changes.day[..., None] <= until[:, None])
    onset_share = torch.where(happened, 0.6 + 0.4 * (1.0 - torch.exp(-after / onset)), 0.0)
    return share * onset_share * torch.exp(-after / fades), (after / turn).clamp(max=1.0)


def apply(
    backscatter: torch.Tensor,
    changes: Changes,
    progress: tuple[torch.Tensor, torch.Tensor],
    levels: torch.Tensor,
    texture: torch.Tensor,
    pattern: torch.Tensor,
) -> torch.Tensor:
    """Replace backscatter where the ground changed; the tensor is modified.

    Parameters
    ----------
    backscatter
        Dims (world, view, band, y, x), dB.
    changes
        Changes of each world.
    progress
        Result of ``progress`` for the views.
    levels
        Dims (world, row, view, band), dB: backscatter of each row of the table at each view.
    texture
        Dims (world, row, band), dB: standard deviation within each row of the table.
    pattern
        Dims (world, band, y, x): unit noise of changed ground.

    Returns
    -------
    Tensor
        Same dims as ``backscatter``.
    """
    share, turned = progress
    device = backscatter.device
    rows = torch.tensor([(_ROW[k.first], _ROW[k.then]) for k in KINDS], device=device)
    world = torch.arange(len(share), device=device)
    for change in range(changes.kind.shape[1]):
        if changes.boxes and not bool(share[:, change].any()):
            continue
        first, then = rows[changes.kind[:, change]].T
        onward = turned[:, change, :, None]
        level = torch.lerp(levels[world, first], levels[world, then], onward)
        spread = torch.lerp(texture[world, first, None], texture[world, then, None], onward)
        part = share[:, change, :, None, None, None] * changes.masks[:, change, None, None]
        box = changes.box(change)
        after = torch.addcmul(
            level[..., None, None], spread[..., None, None], pattern[:, None, :, *box]
        )
        backscatter[..., *box].lerp_(after, part)
    return backscatter


def row_textures(parameters: Parameters) -> torch.Tensor:
    """Return the standard deviation within each row of the table, dims (world, row, band), dB.

    In physics 1 it is 1 dB on all changed ground.
    """
    texture = parameters.responses[:, :, _COLUMN["texture"]]
    return texture if parameters.preset.physics > 1 else torch.ones_like(texture)


def row_levels(
    parameters: Parameters, weights: torch.Tensor, incidence_deg: torch.Tensor
) -> torch.Tensor:
    """Compute the backscatter of each row of the table at each view, without texture.

    Parameters
    ----------
    parameters
        Parameters of each world.
    weights
        Dims (world, view, column): the weight of each of ``table.COLUMNS`` at each view.
    incidence_deg
        Dims (world, view).

    Returns
    -------
    Tensor
        Dims (world, row, view, band), dB.
    """
    weights = weights.clone()
    weights[..., _COLUMN["base"]] = 1.0
    weights[..., _COLUMN["texture"]] = 0.0
    weights[..., _COLUMN["per_degree"]] = incidence_deg - table.REFERENCE_INCIDENCE_DEG
    return torch.einsum("wvc,wrcb->wrvb", weights, parameters.responses)
