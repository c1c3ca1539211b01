"""Conditions that a training saw, and what of others a network cannot know."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from sarcast.arrays import Bool, Float
from sarcast.sensor.conditions import COLUMNS, PLATFORM, PLATFORMS, condition
from sarcast.windows import Batch

FAR = 0.25
"""Share of the training's range by which a condition may lie outside it without a warning."""


def condition_ranges(batches: Iterable[Batch]) -> dict[str, list[float]]:
    """Find the range of each column that batches ever tell, and the number of each platform."""
    rows = np.concatenate([batch.conditions.flatten(0, 1).cpu().numpy() for batch in batches])
    columns = zip(COLUMNS, rows.T, strict=True)
    known = {name: column[np.isfinite(column)] for name, column in columns}
    return {name: _extent(name, values.tolist()) for name, values in known.items() if values.size}


def merge_ranges(
    known: Mapping[str, Sequence[float]], others: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    """Give what two trainings saw together, each as ``seen_conditions`` tells it."""
    names = dict.fromkeys([*known, *others])
    return {name: _extent(name, [*known.get(name, ()), *others.get(name, ())]) for name in names}


def _extent(name: str, values: Sequence[float]) -> list[float]:
    return sorted(set(values)) if name == "platform" else [min(values), max(values)]


def far_outside(rows: Float, seen: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Name the columns of rows, dims (image, column), that leave the training's range by far."""
    for name, known in seen.items():
        column, low, high = rows[:, COLUMNS.index(name)], min(known), max(known)
        margin = FAR * (high - low)
        if name != "platform" and np.any((column < low - margin) | (column > high + margin)):
            yield f"{name} lies far outside the {low:g} to {high:g}"


def unknown_conditions(rows: Float, seen: Mapping[str, Sequence[float]]) -> Bool:
    """Mark, dims as ``rows``, conditions that no training saw: whole columns, and platforms."""
    strange = np.isfinite(rows)
    strange[..., [name in seen for name in COLUMNS]] = False
    if "platform" in seen:
        numbers = rows[..., PLATFORM]
        strange[..., PLATFORM] = np.isfinite(numbers) & ~np.isin(numbers, seen["platform"])
    return strange


def named(rows: Float, strange: Bool) -> list[str]:
    """Name what is strange in rows: conditions, and platforms each by itself."""
    columns = [COLUMNS[place] for place in np.unique(np.nonzero(strange)[1])]
    numbers = np.unique(rows[strange[:, PLATFORM], PLATFORM])
    platforms = [PLATFORMS[int(number)] for number in numbers]
    return [*dict.fromkeys(condition(name) for name in columns if name != "platform"), *platforms]
