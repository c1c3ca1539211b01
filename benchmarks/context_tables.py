"""Tables of ``benchmarks.context`` in Markdown; the series of a group are averaged.

The group of a series is what stands before the colon in its name, such as ``bursts``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from benchmarks.context_changes import ChangeRow
from benchmarks.context_horizons import (
    HORIZON,
    LOOKS,
    CorrelationRow,
    CoverageRow,
    ErrorRow,
    PersistentRow,
    independent_looks,
)
from benchmarks.rival_scores import CHANGES_DB, change_name

EMPTY_LINES = 2
"""Lines of a table without rows."""
CONVENTIONAL = ("mean", "season-mean")
"""Methods whose least error others are compared with."""


class Row(Protocol):
    """A result of one series."""

    @property
    def series(self) -> str:
        """Group and name of the series."""
        ...


R = TypeVar("R", bound=Row)
K = TypeVar("K", int, str)


def changes_table(rows: Sequence[ChangeRow]) -> str:
    """Share of a change taken up inside and outside its discs, and AUC, by discs and decibels."""
    systems = list(dict.fromkeys(row.system for row in rows))
    measures = ("taken up inside, %", "outside, %", "AUC")
    head = ["series", "discs", "covered, %", "change",
            *(f"{system}: {name}" for system in systems for name in measures)]  # fmt: skip
    lines = []
    for (group, discs, decibels), each in grouped(rows, lambda r: (r.discs, r.decibels)):
        cells = [group, discs, f"{100 * mean(r.covered for r in each):.1f}", change_name(decibels)]
        for system in systems:
            of_system = [row for row in each if row.system == system]
            cells += [
                f"{100 * mean(row.inside for row in of_system):.1f}",
                f"{100 * mean(row.outside for row in of_system):.1f}",
                f"{mean(row.auc for row in of_system):.3f}",
            ]
        lines.append(cells)
    return table(head, lines)


def persistent_table(rows: Sequence[PersistentRow]) -> str:
    """AUC of residuals averaged over acquisitions, by system and whether levels are removed."""
    columns = [(decibels, looks) for decibels in CHANGES_DB for looks in LOOKS]
    head = ["series", "system", "level", *(f"{change_name(d)} after {k}" for d, k in columns)]
    lines = []
    for (group, system, removed), each in grouped(rows, lambda r: (r.system, r.level_removed)):
        areas: dict[tuple[float, int], list[float]] = {column: [] for column in columns}
        for row in each:
            areas[row.decibels, row.looks].append(row.auc)
        cells = [f"{mean(area):.3f}" if area else "" for area in areas.values()]
        lines.append([group, system, "removed" if removed else "as it is", *cells])
    return table(head, lines)


def errors_table(rows: Sequence[ErrorRow], *, levelled: bool) -> str:
    """Errors of every method by horizon, and beside the means.

    The last columns: the error over all horizons as a share of that of the best mean, and how many
    horizons and series have a smaller error than every mean.

    Parameters
    ----------
    rows
        Of all methods, horizons and series.
    levelled
        Take the errors with the level of the scene removed.
    """

    def error(row: ErrorRow) -> float:
        return row.mse_levelled_db2 if levelled else row.mse_db2

    head = ["series", "method", "previous images", *map(str, range(1, HORIZON + 1)),
            "of the best mean", "horizons with less", "series with less"]  # fmt: skip
    groups = {key: each for key, each in grouped(rows, lambda r: (r.method, r.given))}
    lines = []
    for key, each in groups.items():
        means = [g for k, g in groups.items() if k[0] == key[0] and k[1] in CONVENTIONAL]
        errors = by_key(each, lambda r: r.horizon, error)
        others = [by_key(group, lambda r: r.horizon, error) for group in means]
        of_series = by_key(each, lambda r: r.series, error)
        other_series = [by_key(group, lambda r: r.series, error) for group in means]
        share = mean(errors.values()) / min(mean(other.values()) for other in others)
        cells = [f"{errors[h]:.3f}" if h in errors else "" for h in range(1, HORIZON + 1)]
        less = count_less(errors, others), count_less(of_series, other_series)
        lines.append([*key, *cells, f"{share:.3f}", *less])
    return table(head, lines)


def count_less(values: Mapping[K, float], others: Sequence[Mapping[K, float]]) -> str:
    """Count the keys whose value is less than in all others, as ``"5 of 6"``."""
    less = [value < min(other[key] for other in others) for key, value in values.items()]
    return f"{sum(less)} of {len(less)}"


def coverage_table(rows: Sequence[CoverageRow]) -> str:
    """Share of residuals within one and two standard deviations, by horizon."""
    head = ["series", "method", "previous images", *map(str, range(1, HORIZON + 1))]
    lines = []
    for (group, method, given), each in grouped(rows, lambda r: (r.method, r.given)):
        one = by_key(each, lambda r: r.horizon, lambda r: r.one_sigma)
        two = by_key(each, lambda r: r.horizon, lambda r: r.two_sigma)
        cells = [f"{one[h]:.3f}, {two[h]:.3f}" if h in one else "" for h in range(1, HORIZON + 1)]
        lines.append([group, method, given, *cells])
    return table(head, lines)


def correlation_table(rows: Sequence[CorrelationRow]) -> str:
    """Correlation by lag, and the number of independent looks that it leaves."""
    several = [looks for looks in LOOKS if looks > 1]
    head = ["series", "method", "previous images", "level",
            *(f"lag {lag}" for lag in range(1, HORIZON)),
            *(f"looks of {looks}" for looks in several)]  # fmt: skip
    lines = []
    for (group, method, given), each in grouped(rows, lambda r: (r.method, r.given)):
        for name, value in (
            ("as it is", lambda r: r.correlation),
            ("removed", lambda r: r.correlation_levelled),
        ):
            lags = list(by_key(each, lambda r: r.lag, value).values())
            looks = [
                f"{independent_looks(lags, k):.2f}" if k <= len(lags) + 1 else "" for k in several
            ]
            padded = [f"{lag:.3f}" for lag in lags] + [""] * (HORIZON - 1 - len(lags))
            lines.append([group, method, given, name, *padded, *looks])
    return table(head, lines)


def grouped(
    rows: Iterable[R], key: Callable[[R], tuple[Any, ...]]
) -> Iterator[tuple[tuple[Any, ...], list[R]]]:
    """Collect the rows of each group of series and each key, in the order of the rows."""
    groups: dict[tuple[Any, ...], list[R]] = {}
    for row in rows:
        groups.setdefault((row.series.split(":")[0], *key(row)), []).append(row)
    yield from groups.items()


def by_key(rows: Iterable[R], key: Callable[[R], K], value: Callable[[R], float]) -> dict[K, float]:
    """Average the values of each key, such as a horizon, in ascending order of the keys."""
    values: dict[K, list[float]] = {}
    for row in rows:
        values.setdefault(key(row), []).append(value(row))
    return {name: mean(values[name]) for name in sorted(values)}


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"


def mean(values: Iterable[float]) -> float:
    """Mean of some numbers, NaN of none."""
    listed = list(values)
    return float(np.mean(listed)) if listed else float("nan")
