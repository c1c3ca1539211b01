"""Validation windows of several targets that share one baseline."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sarcast.errors import SarcastError
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.recipe import WorldSource
from sarcast.prediction.training.trainer import SEED_STRIDE
from sarcast.windows import Window, WindowSampler, to_windows
from sarcast.windows.synthetic import synthetic

TARGETS = 7
"""Most targets of a baseline: with 0 to 6 acquisitions in between."""
MOST_PREVIOUS = 16
"""Most images of a baseline."""

_log = logging.getLogger(__name__)


def split_targets(window: Window, previous: int) -> list[Window]:
    """Take a window of many images as several windows of one baseline.

    Parameters
    ----------
    window
        Its first images are the baseline; each later one is a target, its own target the last.
    previous
        Number of images of the baseline.
    """
    images = np.concatenate([window.previous, window.target[np.newaxis]])
    baseline = images[:previous]  # one array, by which a model encodes it once for all targets
    return [
        replace(
            window,
            previous=baseline,
            target=images[target],
            conditions=window.conditions[[*range(previous), target]],
            times=window.times[[*range(previous), target]],
            expected=None,
        )
        for target in range(previous, len(images))
    ]


def world_baselines(
    sources: Sequence[WorldSource], count: int, options: TrainOptions, *, device: str
) -> list[list[Window]]:
    """Draw about ``count`` baselines of worlds never used in training, by the sources' weights."""
    total = sum(source.weight for source in sources)
    groups = []
    for source in sources:
        previous = min(source.worlds.previous, MOST_PREVIOUS)
        worlds = source.worlds.model_copy(
            update={
                "batch": max(1, round(count * source.weight / total)),
                "previous": previous + TARGETS - 1,
                "horizon": 0,
                "horizon_days": 0.0,
                "seasons": 0.0,
                "counterfactual": False,
                "goal_looks": 0,
            }
        )
        batches = synthetic(worlds, seed=options.seed + 2 * SEED_STRIDE, device=device)
        groups += [split_targets(window, previous) for window in to_windows(batches(0, 0))]
    return groups


def series_baselines(sampler: WindowSampler, count: int, *, seed: int) -> list[list[Window]]:
    """Draw baselines of real series, all of whose targets are among those of a sampler.

    They have as many targets as the longest series allows; a series of fewer has no part. None,
    with a message, if no place has enough images with data.
    """
    previous = min(sampler.previous, MOST_PREVIOUS)
    most = min(TARGETS, max(map(len, sampler.targets)))
    last = [targets[most - 1 :] for targets in sampler.targets]
    drawn_from = sampler.with_targets(last).with_latest(previous + most - 1)
    try:
        windows = drawn_from.draw(count, rng=np.random.default_rng([seed, 5]))
    except SarcastError as error:
        _log.warning(f"errors of consecutive targets are not compared there: {error}")
        return []
    return [split_targets(window, previous) for window in windows]
