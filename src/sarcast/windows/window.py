"""A window, what is expected of it, and what predicts that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sarcast.arrays import Bool, Float, Times
from sarcast.sensor.conditions import set_conditions

PixelOffset = tuple[int, int]

BANDS = ("VV", "VH")


@dataclass(frozen=True)
class Window:
    """A place and a target date: n previous images, their conditions, terrain and the target.

    Attributes
    ----------
    previous
        Dims (image, band, y, x), dB, oldest first, NaN where nothing was seen.
    target
        Dims (band, y, x), dB: the actual image; NaN where nothing was seen.
    conditions
        Dims (image + 1, column), columns and units of ``conditions.COLUMNS``; the target is last.
    times
        Dims (image + 1), datetime64[ns], acquisition times; the target is last.
    elevation
        Dims (y, x), m; all NaN where the cube has no terrain.
    expected
        Dims (band, y, x), dB: the oracle, None outside a synthetic world.
    forest, open_land
        Dims (y, x): where changes are simulated, and whose distribution they take; None if unknown.
    offset
        Row and column of the upper left pixel in the cube.
    """

    previous: Float
    target: Float
    conditions: Float
    times: Times
    elevation: Float
    expected: Float | None = None
    forest: Bool | None = None
    open_land: Bool | None = None
    offset: PixelOffset = (0, 0)

    def under(self, values: Mapping[str, float]) -> "Window":
        """Give the window with conditions of its target replaced, as ``set_conditions`` does."""
        rows = self.conditions.copy()
        rows[-1] = set_conditions(rows[-1], dict(values))
        return replace(self, conditions=rows)


@dataclass(frozen=True)
class Expected:
    """An expected image: ``mean`` and, where the predictor tells it, ``std``; (band, y, x), dB."""

    mean: Float
    std: Float | None = None


class Predictor(Protocol):
    """Whatever gives the expected image of a window: a network, a strategy, an oracle."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def size(self) -> int | None:
        """The one window size in pixels that it takes; None for any."""
        ...

    @property
    def previous(self) -> int | None:
        """Number of previous images that it needs; None for any from one up."""
        ...

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        """Give the expected image of each window; NaN where it cannot be told."""
        ...
