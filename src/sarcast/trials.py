"""Trials of the published data set: its samples as windows with simulated change."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sarcast.assess import Trial, simulated_trials
from sarcast.shapes import ShapeOptions
from sarcast.simulate import Change, Statistical
from sarcast.tfrecord import Sample
from sarcast.windows import Expected

STATISTICAL = Statistical.name
"""Name of the change that the published samples hold."""
PREDICTION = "recorded prediction"
"""Name of the expected image that samples may hold."""


def sample_trials(
    samples: Iterable[Sample],
    changes: Sequence[Change] = (),
    *,
    rng: np.random.Generator,
) -> Iterator[Trial]:
    """Trials of the published data set.

    Samples after simulation keep their shapes and their statistical change, and other changes are
    put into the same shapes; for samples before simulation shapes are drawn.

    Parameters
    ----------
    samples
        Read one at a time.
    changes
        Changes to simulate, besides the statistical one that is there.
    rng
        Source of chance.
    """
    for sample in samples:
        (own,) = rng.spawn(1)
        if sample.shapes is None:
            yield from simulated_trials([sample.window], changes, ShapeOptions(), rng=own)
        else:
            yield _trial(sample, changes, own)


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
