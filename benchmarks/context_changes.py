"""Changes of all sizes: how much of a change the expected image takes up, and how well it shows.

A change of some decibels is put into discs of the target. Where the expected image m depends on the
target, it follows the change in part:

    taken up = mean of (m with the change − m without it) / decibels

inside the discs, which hides the change there, and outside of them, which shows change where there
is none. Used by ``benchmarks.context``.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.rival_scores import CHANGES_DB, area_under_curve, with_offset
from benchmarks.rival_systems import SMOOTHING_PX
from sarcast.arrays import Bool, Float
from sarcast.detection.difference import norm, smoothed, subtract, z
from sarcast.sensor.conditions import WEATHER
from sarcast.windows import Expected, Predictor, Window
from sarcast.windows.batch import to_windows
from sarcast.windows.masking import mask_conditions
from sarcast.windows.synthetic import synthetic
from sarcast.world.options import StreamOptions

DIAMETERS_PX = (3, 5, 10, 20, 50, 100, 200)
LEAST_SHARE = 0.003
"""Discs of one diameter are drawn until they cover this share of the scene, one at least."""
MOST_SHARE = 0.5
"""A diameter is left out if one disc covers more than this share of the scene."""
SHARES = (0.003, 0.01, 0.05, 0.13, 0.28, 0.5)
"""Shares of the scene that one disc covers."""

Draw = Callable[[tuple[int, int], np.random.Generator], Bool]
"""Draws changed pixels, dims (y, x), of a scene of some shape."""


@dataclass(frozen=True)
class ChangeRow:
    """What becomes of discs of change, averaged over the targets of a series.

    Attributes
    ----------
    discs
        Diameter of the discs or the share that one disc covers, as in ``draws``.
    covered
        Share of the pixels that changed.
    inside, outside
        Share of the change that the expected image takes up inside and outside the discs.
    auc
        Area under the curve of the norm of z, smoothed, over the pixels of all targets.
    """

    series: str
    system: str
    discs: str
    decibels: float
    covered: float
    inside: float
    outside: float
    auc: float
    targets: int


@dataclass(frozen=True)
class Effect:
    """What becomes of a change in one target; scores and changed pixels have dims (pixel)."""

    covered: float
    inside: float
    outside: float
    scores: Float
    changed: Bool


def draws(shape: tuple[int, int]) -> dict[str, Draw]:
    """Name all kinds of discs that a scene is large enough for."""
    area = math.prod(shape)
    fitting = [d for d in DIAMETERS_PX if math.pi / 4.0 * d**2 <= MOST_SHARE * area]
    kinds: dict[str, Draw] = {f"{d} px": partial(_discs_of_diameter, d) for d in fitting}
    return kinds | {f"{100.0 * share:g} %": partial(_disc_of_share, share) for share in SHARES}


def _discs_of_diameter(
    diameter_px: float, shape: tuple[int, int], rng: np.random.Generator
) -> Bool:
    """Discs whose centres keep half a diameter from the edge, as far as the scene is so wide."""
    changed = np.zeros(shape, dtype=bool)
    while not changed.any() or changed.mean() < LEAST_SHARE:
        margins = [min(diameter_px, side) / 2.0 for side in shape]
        centre = [
            rng.uniform(margin - 0.5, side - margin - 0.5)
            for side, margin in zip(shape, margins, strict=True)
        ]
        changed |= _distance(shape, centre) <= diameter_px / 2.0
    return changed


def _disc_of_share(share: float, shape: tuple[int, int], rng: np.random.Generator) -> Bool:
    """One disc about any pixel, cut off at the edge, of the radius that covers the share."""
    distance = _distance(shape, [rng.uniform(0.0, side - 1.0) for side in shape])
    return np.asarray(distance <= np.quantile(distance, share))


def _distance(shape: tuple[int, int], centre: Sequence[float]) -> Float:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(y - centre[0], x - centre[1])


def world_windows(size: int, previous: int, count: int, *, seed: int) -> Iterator[Window]:
    """Draw windows of synthetic worlds of all presets, without weather, as real series have none.

    Parameters
    ----------
    size
        Rows and columns.
    previous
        Previous images.
    count
        Number of windows, each of a world of its own.
    seed
        Seed of the worlds.
    """
    batch_of = synthetic(StreamOptions(size=size, previous=previous, batch=1), seed=seed)
    for number in range(count):
        (window,) = to_windows(batch_of(number, 0))
        yield mask_conditions(window, WEATHER)


def measure_changes(
    series: str, windows: Iterable[Window], systems: Mapping[str, Predictor]
) -> list[ChangeRow]:
    """Put discs of every kind and of ``CHANGES_DB`` into each window, and see what becomes of them.

    The discs are the same for all systems.

    Parameters
    ----------
    series
        Name in tables.
    windows
        Whole scenes.
    systems
        By name; each must give a standard deviation.
    """
    found: dict[tuple[str, str, float], list[Effect]] = {}
    for number, window in enumerate(windows):
        rng = np.random.default_rng(number)
        shape: tuple[int, int] = window.target.shape[1:]
        masks = {name: draw(shape, rng) for name, draw in draws(shape).items()}
        for system, predictor in systems.items():
            for (discs, decibels), effect in effects(window, masks, predictor).items():
                found.setdefault((system, discs, decibels), []).append(effect)
    return [_row(series, *key, each) for key, each in found.items()]


def effects(
    window: Window, masks: Mapping[str, Bool], predictor: Predictor
) -> dict[tuple[str, float], Effect]:
    """Effect of a change of every kind and number of decibels, by both; only if it is seen."""
    after = {
        (discs, decibels): with_offset(window, changed, decibels)
        for discs, changed in masks.items()
        for decibels in CHANGES_DB
    }
    before, images = expect_changed(predictor, window, list(after.values()))
    found = {}
    for ((discs, decibels), changed), image in zip(after.items(), images, strict=True):
        effect = _effect(changed, masks[discs], decibels, before, image)
        if effect is not None:
            found[discs, decibels] = effect
    return found


def expect_changed(
    predictor: Predictor, window: Window, changed: Sequence[Window]
) -> tuple[Expected, list[Expected]]:
    """Predict a window, and the same window with changed targets."""
    if predictor.uses_target:
        before, *after = predictor.expect([window, *changed])
        return before, after
    (before,) = predictor.expect([window])
    return before, [before] * len(changed)


def smoothed_score(window: Window, expected: Expected) -> Float:
    """Norm over the bands of z, smoothed; dims (y, x)."""
    assert expected.std is not None
    return norm(smoothed(z(window.target, expected.mean, expected.std), SMOOTHING_PX))


def _effect(
    after: Window, changed: Bool, decibels: float, before: Expected, expected: Expected
) -> Effect | None:
    """Effect of a change; None without a pixel with data inside and one outside."""
    scores = smoothed_score(after, expected)
    taken_up = subtract(expected.mean, before.mean).mean(axis=0) / np.float32(decibels)
    valid = np.isfinite(scores) & np.isfinite(taken_up)
    inside, outside = valid & changed, valid & ~changed
    if not (inside.any() and outside.any()):
        return None
    return Effect(
        covered=float(changed[valid].mean()),
        inside=float(taken_up[inside].mean()),
        outside=float(taken_up[outside].mean()),
        scores=scores[valid],
        changed=changed[valid],
    )


def _row(
    series: str, system: str, discs: str, decibels: float, each: Sequence[Effect]
) -> ChangeRow:
    scores = np.concatenate([effect.scores for effect in each])
    changed = np.concatenate([effect.changed for effect in each])
    return ChangeRow(
        series,
        system,
        discs,
        decibels,
        covered=float(np.mean([effect.covered for effect in each])),
        inside=float(np.mean([effect.inside for effect in each])),
        outside=float(np.mean([effect.outside for effect in each])),
        auc=area_under_curve(scores, changed),
        targets=len(each),
    )
