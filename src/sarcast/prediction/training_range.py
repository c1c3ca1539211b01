"""The training range: conditions that training covered, and what a network cannot know of others.

A training range maps names of condition columns to ``[lowest, highest]``, and ``"platform"`` to
the numbers of all platforms; a condition that no training image had is absent. ``"horizon"`` has
the shortest horizon in days, and the one that ``HORIZON_SHARE`` of the windows do not exceed; it is
absent in models of earlier versions. ``model.yaml`` stores it as ``seen_conditions``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from sarcast.arrays import Bool, Float
from sarcast.sensor.conditions import COLUMNS, PLATFORM, PLATFORMS, condition
from sarcast.windows import Batch

TOLERANCE = 0.25
"""Share of the width of a range by which a condition may lie outside it without a warning."""
HORIZON = "horizon"
"""Name of the range of horizons."""
HORIZON_SHARE = 0.99
"""Share of the windows whose horizons make the range."""
REPEAT_DAYS = 12.0
"""Repeat cycle of a Sentinel-1 satellite: a horizon may be so much longer without a warning."""


def condition_ranges(batches: Iterable[Batch]) -> dict[str, list[float]]:
    """Compute the training range of batches."""
    rows, horizons = [], []
    for batch in batches:
        rows.append(batch.conditions.flatten(0, 1).cpu().numpy())
        horizons.append(-batch.days[:, -2].cpu().numpy())
    columns = zip(COLUMNS, np.concatenate(rows).T, strict=True)
    known = {name: column[np.isfinite(column)] for name, column in columns}
    ranges = {name: _range(name, values.tolist()) for name, values in known.items() if values.size}
    days = np.concatenate(horizons)
    return {**ranges, HORIZON: [float(days.min()), float(np.quantile(days, HORIZON_SHARE))]}


def merge_ranges(
    first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    """Compute the training range of two training runs together.

    Where one of them, of an earlier version, has no horizon, both together have none.
    """
    names = dict.fromkeys([*first, *second])
    if first and second and not (HORIZON in first and HORIZON in second):
        names.pop(HORIZON, None)
    return {name: _range(name, [*first.get(name, ()), *second.get(name, ())]) for name in names}


def _range(name: str, values: Sequence[float]) -> list[float]:
    return sorted(set(values)) if name == "platform" else [min(values), max(values)]


def far_outside(rows: Float, ranges: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Describe each column of rows, dims (image, column), that lies far outside its range."""
    for name, values in ranges.items():
        if name == HORIZON:
            continue
        column, low, high = rows[:, COLUMNS.index(name)], min(values), max(values)
        margin = TOLERANCE * (high - low)
        if name != "platform" and np.any((column < low - margin) | (column > high + margin)):
            yield f"{name} lies far outside the {low:g} to {high:g}"


def far_beyond(
    horizon_days: Sequence[float], ranges: Mapping[str, Sequence[float]]
) -> Iterator[str]:
    """Describe horizons, of which one lies far beyond the training range."""
    if HORIZON not in ranges:
        return
    low, high = ranges[HORIZON]
    if max(horizon_days) > (1.0 + TOLERANCE) * high + REPEAT_DAYS:
        yield (
            f"the time from the last previous image to the target lies far beyond the {low:.0f} "
            f"to {high:.0f} days"
        )


def unknown_conditions(rows: Float, ranges: Mapping[str, Sequence[float]]) -> Bool:
    """Mark the conditions that no training image had: whole columns, and single platforms.

    Parameters
    ----------
    rows
        Dims (..., column), as ``conditions.COLUMNS``, NaN where missing.
    ranges
        The training range.

    Returns
    -------
    ndarray of bool
        Dims as ``rows``; False where ``rows`` is NaN.
    """
    unknown = np.isfinite(rows)
    unknown[..., [name in ranges for name in COLUMNS]] = False
    if "platform" in ranges:
        numbers = rows[..., PLATFORM]
        unknown[..., PLATFORM] = np.isfinite(numbers) & ~np.isin(numbers, ranges["platform"])
    return unknown


def names_of_unknown(rows: Float, unknown: Bool) -> list[str]:
    """Name the conditions that ``unknown_conditions`` marked in rows, and each such platform."""
    columns = [COLUMNS[index] for index in np.unique(np.nonzero(unknown)[1])]
    numbers = np.unique(rows[unknown[:, PLATFORM], PLATFORM])
    platforms = [PLATFORMS[int(number)] for number in numbers]
    return [*dict.fromkeys(condition(name) for name in columns if name != "platform"), *platforms]
