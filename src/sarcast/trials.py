"""Where trials come from besides windows of cubes: the bench of a synthetic world, and samples.

A trial is a window with simulated changes; ``assess`` makes those of plain windows.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from sarcast.assess import Trial, simulated_trials
from sarcast.shapes import ShapeOptions
from sarcast.simulate import Change
from sarcast.tfrecord import Faults, Sample, read_samples
from sarcast.windows import Expected
from sarcast.windows.synthetic import to_windows
from sarcast.world.bench import draw_bench

STATISTICAL = "statistical"
"""Name of the change that the published samples hold."""
PHYSICAL = "physical"
"""Name of the changes of the ground that a world makes."""
PREDICTION = "recorded prediction"
"""Name of the expected image that samples may hold."""


def sample_trials(
    paths: Iterable[Path],
    changes: Sequence[Change] = (),
    faults: Faults = "fatal",
    *,
    rng: np.random.Generator,
) -> Iterator[Trial]:
    """Trials of the published data set.

    Samples after simulation keep their shapes and their statistical change, and other changes are
    put into the same shapes; for samples before simulation shapes are drawn.

    Parameters
    ----------
    paths
        TFRecord files.
    changes
        Changes to simulate, besides the statistical one that is there.
    faults
        What is done with corrupted records.
    rng
        Source of chance.
    """
    for sample in read_samples(paths, faults):
        (own,) = rng.spawn(1)
        if sample.shapes is None:
            yield from simulated_trials([sample.window], changes, ShapeOptions(), rng=own)
        else:
            yield _trial(sample, changes, own)


def bench_trials(
    name: str,
    changes: Sequence[Change],
    windows: int | None = None,
    *,
    rng: np.random.Generator,
) -> Iterator[Trial]:
    """Trials of a bench, in two parts a window: simulated changes, and changes of the ground.

    Parameters
    ----------
    name
        Name of the bench, as ``"boreal-1"``.
    changes
        Changes to simulate.
    windows
        Only so many windows, from the first on; all by default.
    rng
        Source of chance of the simulated changes.
    """
    return islice(_bench_trials(name, changes, rng), None if windows is None else 2 * windows)


def _bench_trials(
    name: str, changes: Sequence[Change], rng: np.random.Generator
) -> Iterator[Trial]:
    for still, moved in draw_bench(name):
        grounds = zip(to_windows(still), to_windows(moved), moved.changed.numpy(), strict=True)
        for window, after, changed in grounds:
            yield from simulated_trials([window], changes, ShapeOptions(), rng=rng)
            yield Trial(window, changed, {PHYSICAL: after.target})


def _trial(sample: Sample, changes: Sequence[Change], rng: np.random.Generator) -> Trial:
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
    return Trial(sample.window, sample.changed, actual, expected)
