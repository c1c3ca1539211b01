"""Trials: windows with changes whose place is known, simulated here or read with samples."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from sarcast.arrays import Bool, Float
from sarcast.errors import SarcastError
from sarcast.evaluation.simulation.changes import (
    Change,
    Statistical,
    valid_in_target,
    where_change_may_be,
)
from sarcast.evaluation.simulation.shapes import ShapeOptions, change_mask
from sarcast.windows import Expected, Window

if TYPE_CHECKING:
    from sarcast.tfrecord import Sample

Within = Literal["forest", "anywhere"]
"""Where change is simulated: in the forest, where it is known, or wherever the target saw."""

STATISTICAL = Statistical.name
"""Name of the change that the published samples hold."""
PREDICTION = "recorded prediction"
"""Name of the expected image that samples may hold."""


@dataclass(frozen=True)
class Case:
    """A window with simulated changes.

    Attributes
    ----------
    window
        As it was before.
    changed
        Dims (y, x): where change was simulated.
    actual
        Target with the change, dims (band, y, x), dB, by the name of the change.
    expected
        Expected images that came with it, by the name of what made them.
    cluster
        What it shares with other windows, as their date; None where it is a world of its own.
    """

    window: Window
    changed: Bool
    actual: Mapping[str, Float]
    expected: Mapping[str, Expected] = field(default_factory=dict)
    cluster: str | None = None


def check_names(what: str, names: Iterable[str], repair: str = "") -> None:
    """Refuse two of one name, since figures go by the name.

    Parameters
    ----------
    what
        What is named, in the plural.
    names
        Of all that are compared.
    repair
        How one is given another name.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SarcastError(
                f"two {what} are called {name!r}, and figures go by the name; give one another"
                f"{repair} or leave one out"
            )
        seen.add(name)


def simulated_case(
    window: Window,
    changes: Sequence[Change],
    shapes: ShapeOptions,
    within: Within = "forest",
    *,
    rng: np.random.Generator,
) -> Case:
    """Put every change that fits a window into the same random shapes of it.

    Parameters
    ----------
    window
        Its target is changed in copies.
    changes
        Kinds of change; adding one moves no shape.
    shapes
        How shapes are drawn.
    within
        Where they may lie.
    rng
        Source of chance.
    """
    allowed = where_change_may_be(window) if within == "forest" else valid_in_target(window)
    changed = change_mask(allowed, shapes, rng=rng)
    actual = {
        change.name: change.apply(window, changed, rng=one)
        for change, one in zip(changes, rng.spawn(len(changes)), strict=True)
        if change.fits(window)
    }
    return Case(window, changed, actual)


def simulated_cases(
    windows: Iterable[Window],
    changes: Sequence[Change],
    shapes: ShapeOptions,
    within: Within = "forest",
    *,
    rng: np.random.Generator,
) -> Iterator[Case]:
    """Put changes into windows of a cube, which are clusters by their date.

    What a window gets depends on its number alone.

    Raises
    ------
    SarcastError
        If two changes have one name.
    """
    check_names("changes", [change.name for change in changes])
    for window, own in zip(windows, chances(rng), strict=False):
        yield _dated(simulated_case(window, changes, shapes, within, rng=own))


def chances(rng: np.random.Generator, first: int = 0) -> Iterator[np.random.Generator]:
    """Sources of chance of each window from number ``first`` on, without end.

    Parameters
    ----------
    rng
        The same state gives the same sources, whatever ``first`` is.
    first
        Number of the window that the first one is of.
    """
    (root,) = rng.spawn(1)
    root.spawn(first)
    while True:
        yield from root.spawn(1)


def sample_cases(
    samples: Iterable["Sample"],
    changes: Sequence[Change] = (),
    shapes: ShapeOptions | None = None,
    within: Within = "forest",
    *,
    rng: np.random.Generator,
) -> Iterator[Case]:
    """Trials of the published data set.

    Samples after simulation keep their shapes and their statistical change, and other changes are
    put into the same shapes. Those before simulation are changed as windows of a cube are, by
    ``simulated_cases``, so that both give the same cases. Samples of one date are a cluster.

    Parameters
    ----------
    samples
        Read one at a time.
    changes
        Changes to simulate, besides the statistical one that is there.
    shapes, within
        How shapes are drawn, and where, for samples before simulation.
    rng
        Source of chance.

    Raises
    ------
    SarcastError
        If two changes have one name.
    """
    check_names("changes", [change.name for change in changes])
    shapes = shapes or ShapeOptions()
    for sample, own in zip(samples, chances(rng), strict=False):
        if sample.shapes is None:
            yield _dated(simulated_case(sample.window, changes, shapes, within, rng=own))
        else:
            yield _dated(_recorded(sample, changes, own))


def _dated(case: Case) -> Case:
    """Join a case with those of the same acquisition time: they share their weather and view."""
    return replace(case, cluster=np.datetime_as_string(case.window.times[-1]))


def _recorded(sample: "Sample", changes: Sequence[Change], rng: np.random.Generator) -> Case:
    actual = {
        change.name: change.apply(sample.window, sample.changed, rng=rng)
        for change in changes
        if change.fits(sample.window)
    }
    if sample.simulated is not None:
        actual[STATISTICAL] = sample.simulated
    expected = {}
    if sample.prediction is not None:
        expected[PREDICTION] = Expected(sample.prediction)
    return Case(sample.window, sample.changed, actual, expected)
