"""Cases: windows with changes at known locations, simulated here or read with samples."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from sarcast.arrays import Bool, Float
from sarcast.errors import SarcastError
from sarcast.evaluation.simulation.changes import Change, Statistical
from sarcast.evaluation.simulation.image import LandImage
from sarcast.evaluation.simulation.shapes import ShapeOptions, change_mask
from sarcast.windows import Expected, Window

if TYPE_CHECKING:
    from sarcast.tfrecord import Sample

Within = Literal["forest", "anywhere"]
"""Where change is simulated: in the forest, if its mask is known, or wherever there is data."""

STATISTICAL = Statistical.name
"""Name of the change in the published samples."""
PREDICTION = "recorded prediction"
"""Name of the expected image that published samples may contain."""


@dataclass(frozen=True)
class Case:
    """A window with simulated changes.

    Attributes
    ----------
    window
        The window before the change.
    changed
        Dims (y, x): where change was simulated.
    actual
        Target with the change, dims (band, y, x), dB, by the name of the change.
    expected
        Expected images that come with the window, by the name of the method.
    cluster
        Acquisition time, the same for all windows of one acquisition: clusters are what confidence
        intervals resample. None for a window that is independent of all others, such as
        one of a synthetic world of its own.
    """

    window: Window
    changed: Bool
    actual: Mapping[str, Float]
    expected: Mapping[str, Expected] = field(default_factory=dict)
    cluster: str | None = None


def check_unique_names(what: str, names: Iterable[str], repair: str = "") -> None:
    """Refuse duplicate names, since results are identified by name.

    Parameters
    ----------
    what
        What is named, in the plural.
    names
        Names of all objects that are compared.
    repair
        How an object is renamed.

    Raises
    ------
    SarcastError
        If two names are equal.
    """
    known: set[str] = set()
    for name in names:
        if name in known:
            raise SarcastError(
                f"two {what} are called {name!r}, but results are identified by name; "
                f"rename one{repair} or leave one out"
            )
        known.add(name)


def simulated_case(
    window: Window,
    changes: Sequence[Change],
    shapes: ShapeOptions,
    within: Within = "forest",
    *,
    rng: np.random.Generator,
) -> Case:
    """Simulate every applicable change in the same random shapes of a window.

    Parameters
    ----------
    window
        Changes are made in copies of its target.
    changes
        Kinds of change; the shapes do not depend on them.
    shapes
        How shapes are drawn.
    within
        Where shapes may lie.
    rng
        Random generator.
    """
    target = LandImage.from_window(window)
    allowed = target.changeable if within == "forest" else target.valid
    changed = change_mask(allowed, shapes, rng=rng)
    actual = {
        change.name: change.apply(target, changed, rng=change_rng)
        for change, change_rng in zip(changes, rng.spawn(len(changes)), strict=True)
        if change.fits(target)
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
    """Simulate changes in the windows of a cube; windows of one acquisition form a cluster.

    The shapes and changes of a window depend on ``rng`` and on the number of the window alone.

    Raises
    ------
    SarcastError
        If two changes have the same name.
    """
    check_unique_names("changes", [change.name for change in changes])
    for window, window_rng in zip(windows, window_rngs(rng), strict=False):
        yield _with_cluster(simulated_case(window, changes, shapes, within, rng=window_rng))


def window_rngs(rng: np.random.Generator, first: int = 0) -> Iterator[np.random.Generator]:
    """Give an independent random generator for each window, from number ``first`` on, endlessly.

    Parameters
    ----------
    rng
        Parent; the generator of a window depends on its state and on the window's number alone.
    first
        Number of the first window.
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
    """Make cases of the published data set; samples of one acquisition form a cluster.

    Samples that contain simulated change keep its shapes and their statistical change; further
    changes are put into the same shapes. In samples without it, change is simulated just as
    ``simulated_cases`` does in the windows of a cube.

    Parameters
    ----------
    samples
        Read one at a time.
    changes
        Changes to simulate, besides the statistical change that samples contain.
    shapes, within
        How and where shapes are drawn, for samples without simulated change.
    rng
        Random generator.

    Raises
    ------
    SarcastError
        If two changes have the same name.
    """
    check_unique_names("changes", [change.name for change in changes])
    shapes = shapes or ShapeOptions()
    for sample, rng_of_sample in zip(samples, window_rngs(rng), strict=False):
        if sample.shapes is None:
            case = simulated_case(sample.window, changes, shapes, within, rng=rng_of_sample)
        else:
            case = _sample_case(sample, changes, rng_of_sample)
        yield _with_cluster(case)


def _with_cluster(case: Case) -> Case:
    """Set the acquisition time as cluster: its windows share their weather and geometry."""
    return replace(case, cluster=np.datetime_as_string(case.window.times[-1]))


def _sample_case(sample: "Sample", changes: Sequence[Change], rng: np.random.Generator) -> Case:
    target = LandImage.from_window(sample.window)
    actual = {
        change.name: change.apply(target, sample.changed, rng=rng)
        for change in changes
        if change.fits(target)
    }
    if sample.simulated is not None:
        actual[STATISTICAL] = sample.simulated
    expected = {}
    if sample.prediction is not None:
        expected[PREDICTION] = Expected(sample.prediction)
    return Case(sample.window, sample.changed, actual, expected)
