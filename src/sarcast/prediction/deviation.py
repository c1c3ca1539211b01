"""Corrections of a network's standard deviation, and the correlation of its errors over time."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Double
from sarcast.errors import SarcastError

SHORTEST_DAYS = 1.0
"""Times in days below this one count as this one, so that they have a logarithm."""


@dataclass(frozen=True)
class ByDays:
    """A number as a function of a time, linear in its logarithm between knots, constant beyond.

    Attributes
    ----------
    days
        Knots, rising, days.
    values
        Value at each knot.

    Examples
    --------
    >>> ByDays((10.0, 40.0), (1.0, 1.2))([5.0, 20.0, 400.0])
    array([1. , 1.1, 1.2])
    """

    days: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(first < second for first, second in pairwise((*self.days, math.inf)))
        if not self.days or len(self.days) != len(self.values) or not rising:
            raise ValueError(
                f"days (must rise, with a value for each, not {self.values} for {self.days})"
            )

    @classmethod
    def constant(cls, value: float) -> Self:
        """Make a function that has one value at all times."""
        return cls((SHORTEST_DAYS,), (value,))

    def __call__(self, days: npt.ArrayLike) -> Double:
        """Interpolate at times, days, of any dims."""
        times = np.log(np.maximum(np.asarray(days, dtype=np.float64), SHORTEST_DAYS))
        knots = np.log(np.maximum(self.days, SHORTEST_DAYS))
        values: Double = np.asarray(np.interp(times, knots, self.values))
        return values


@dataclass(frozen=True)
class Deviation:
    """How a model's errors are distributed, as measured on windows that it was not trained on.

    Attributes
    ----------
    std_factor
        Factor for the network's standard deviation, by the horizon.
    error_correlation
        Correlation of the errors of two targets of one baseline at a pixel, by the days between
        the targets, 0..1; None if it was not measured.
    without_context
        The same where the scene context is hidden; None if the network uses none.
    """

    std_factor: ByDays = field(default_factory=lambda: ByDays.constant(1.0))
    error_correlation: ByDays | None = None
    without_context: "Deviation | None" = None

    def factors(self, horizon_days: npt.ArrayLike, context: npt.ArrayLike) -> Double:
        """Give the factor of each window's standard deviation.

        Parameters
        ----------
        horizon_days
            Dims (window).
        context
            Dims (window), bool: whether its expected image knows the scene context.
        """
        without = self.of(context=False).std_factor(horizon_days)
        factors: Double = np.where(context, self.std_factor(horizon_days), without)
        return factors

    def of(self, *, context: bool) -> "Deviation":
        """Give the deviation of predictions with or without scene context."""
        return self if context or self.without_context is None else self.without_context

    def independent_looks(self, days: npt.ArrayLike) -> float:
        """Compute how many independent targets the targets of one baseline are worth.

        The mean of k errors of variance σ² has the variance σ² / n with n = k² / Σ_ij ρ_ij, where
        ρ_ij is the correlation of the errors i and j, 1 if i = j. For equal correlations ρ this is
        k / (1 + (k − 1) ρ).

        Parameters
        ----------
        days
            Dims (target), time of each target in days from any date.

        Returns
        -------
        float
            1..k.

        Raises
        ------
        SarcastError
            If the correlation was not measured.

        Examples
        --------
        >>> deviation = Deviation(error_correlation=ByDays.constant(0.5))
        >>> deviation.independent_looks([0.0, 12.0, 24.0])
        1.5
        """
        if self.error_correlation is None:
            raise SarcastError(
                "independent looks need a model with an error correlation, but this one has none; "
                "take base, or train a model by a recipe"
            )
        times = np.asarray(days, dtype=np.float64)
        correlation = self.error_correlation(np.abs(times[:, np.newaxis] - times))
        np.fill_diagonal(correlation, 1.0)
        return float(len(times) ** 2 / correlation.sum())

    def record(self) -> dict[str, Any]:
        """Give the entries of ``model.yaml``."""
        entries: dict[str, Any] = {"std_factor": _entry(self.std_factor)}
        if self.error_correlation is not None:
            entries["error_correlation"] = _entry(self.error_correlation)
        if self.without_context is not None:
            entries["without_context"] = self.without_context.record()
        return entries

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read the entries of ``model.yaml``.

        Raises
        ------
        KeyError, TypeError, ValueError
            If an entry is missing or not possible.
        """
        factor = _read(
            "std_factor", record["std_factor"], lambda value: 0.0 < value < math.inf, "above 0"
        )
        correlation = without_context = None
        if (entry := record.get("error_correlation")) is not None:
            correlation = _read(
                "error_correlation", entry, lambda value: 0.0 <= value <= 1.0, "0 to 1"
            )
        if (entry := record.get("without_context")) is not None:
            without_context = cls.from_record(entry)
        return cls(factor, correlation, without_context)


def _entry(function: ByDays) -> float | dict[str, list[float]]:
    """A number if the function is constant, else its knots."""
    if len(function.days) == 1:
        return function.values[0]
    return {"days": list(function.days), "values": list(function.values)}


def _read(name: str, entry: Any, possible: Callable[[float], bool], must: str) -> ByDays:
    if isinstance(entry, Mapping):
        function = ByDays(_numbers(entry["days"]), _numbers(entry["values"]))
    else:
        function = ByDays.constant(float(entry))
    for value in function.values:
        if not possible(value):
            raise ValueError(f"{name} (must be {must}, not {value})")
    return function


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(map(float, values))
