"""A fixed baseline: errors, deviations and detection of targets one to six acquisitions later.

Used by ``benchmarks.context``. All targets of a start are predicted from the images before the
start, as a detector does while it watches for a change.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from benchmarks.rival_scores import CHANGES_DB, area_under_curve, discs, with_offset
from benchmarks.rival_systems import ALL, SMOOTHING_PX, Baseline
from benchmarks.rivals import window_of
from sarcast.arrays import Bool, Float
from sarcast.detection.difference import levelled, norm, smoothed, subtract, z
from sarcast.evaluation.metrics import count_calibration
from sarcast.evaluation.metrics.statistics import LEVELS
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import CubeReader, Expected, Predictor, Window

HORIZON = 6
"""Acquisitions after a start that are targets, the start included."""
LOOKS = (1, 3, 6)
"""Numbers of acquisitions over which residuals are averaged."""
CHANGED_SHARE = 0.05
ONE_SIGMA, TWO_SIGMA = LEVELS.index(0.6827), LEVELS.index(0.9545)
GIVEN = (Baseline("recent", 4), Baseline("recent", 8), Baseline("recent", 16))
"""Previous images of the networks."""
MANY = Baseline("nearest", 64)
"""More of them, where a series is long enough."""


@dataclass(frozen=True)
class Method:
    """A predictor with the images that it is given."""

    name: str
    given: Baseline
    predictor: Predictor


@dataclass(frozen=True)
class Target:
    """The residual of a target that is ``horizon`` acquisitions after a baseline, 1 or more.

    Attributes
    ----------
    start
        Index of the first acquisition after the baseline.
    residual
        Dims (band, y, x), dB.
    z
        The same over the standard deviation; None if the method gives none.
    """

    start: int
    horizon: int
    residual: Float
    z: Float | None


@dataclass(frozen=True)
class ErrorRow:
    """Mean squared error in dB² at a horizon, as it is and with the level of the scene removed."""

    series: str
    method: str
    given: str
    horizon: int
    mse_db2: float
    mse_levelled_db2: float
    targets: int


@dataclass(frozen=True)
class CoverageRow:
    """Shares of the residuals within one and two standard deviations at a horizon."""

    series: str
    method: str
    given: str
    horizon: int
    one_sigma: float
    two_sigma: float


@dataclass(frozen=True)
class CorrelationRow:
    """Correlation of z of targets of one baseline that are ``lag`` acquisitions apart."""

    series: str
    method: str
    given: str
    lag: int
    correlation: float
    correlation_levelled: float


@dataclass(frozen=True)
class PersistentRow:
    """Area under the curve of residuals averaged over ``looks`` acquisitions with a change."""

    series: str
    system: str
    decibels: float
    looks: int
    level_removed: bool
    auc: float
    starts: int


def methods_of(systems: Mapping[str, Predictor], given: Sequence[Baseline] = GIVEN) -> list[Method]:
    """List every mean, and the systems with each choice of previous images."""
    mean, season = STRATEGIES["mean"], STRATEGIES["season-mean"]
    every = Baseline("recent", ALL)
    means = [Method("mean", images, mean) for images in (*given, every)]
    networks = [Method(name, images, each) for name, each in systems.items() for images in given]
    return [*means, Method("season-mean", every, season), *networks]


def windows_after(reader: CubeReader, start: int, given: Baseline) -> list[Window]:
    """Cut the target at ``start`` and the next ones, with the images before ``start``."""
    stop = min(start + HORIZON, len(reader.times))
    return [window_of(reader, target, given, reader.times[start]) for target in range(start, stop)]


def follow(
    reader: CubeReader, method: Method, starts: Iterable[int], valid: Bool | None = None
) -> list[Target]:
    """Predict the targets of each start; those without a pixel to compare are left out.

    Parameters
    ----------
    reader
        A series in the order of time.
    method
        What predicts.
    starts
        Indices of the first acquisitions after the baselines; each needs an image before it.
    valid
        Dims (y, x): pixels that are compared; others become NaN. By default all.
    """
    numbered = [
        (start, horizon, window)
        for start in starts
        for horizon, window in enumerate(windows_after(reader, start, method.given), start=1)
    ]
    images = method.predictor.expect([window for *_, window in numbered])
    targets = [
        Target(start, horizon, *differences(window, image, valid))
        for (start, horizon, window), image in zip(numbered, images, strict=True)
    ]
    return [target for target in targets if np.isfinite(target.residual).any()]


def differences(
    window: Window, expected: Expected, valid: Bool | None = None
) -> tuple[Float, Float | None]:
    """Residual and z of a window, dims (band, y, x); z is None if there are no deviations."""
    residual = subtract(window.target, expected.mean)
    if valid is not None:
        residual = np.where(valid, residual, np.float32(np.nan))
    return residual, None if expected.std is None else residual / expected.std


def error_rows(series: str, method: Method, targets: Sequence[Target]) -> list[ErrorRow]:
    """Average the squared errors of the targets at each horizon."""
    rows = []
    for horizon, group in by_horizon(targets).items():
        plain = [_mean_square(target.residual) for target in group]
        of_parts = [_mean_square(levelled(target.residual)) for target in group]
        rows.append(
            ErrorRow(
                series, method.name, str(method.given), horizon,
                float(np.mean(plain)), float(np.mean(of_parts)), len(group),
            )
        )  # fmt: skip
    return rows


def coverage_rows(series: str, method: Method, targets: Sequence[Target]) -> list[CoverageRow]:
    """Count the values within one and two standard deviations; none without deviations."""
    rows = []
    for horizon, group in by_horizon(targets).items():
        counts = [count_calibration(target.z) for target in group if target.z is not None]
        if counts:
            shares = reduce(add, counts).coverage
            one, two = float(shares[ONE_SIGMA]), float(shares[TWO_SIGMA])
            rows.append(CoverageRow(series, method.name, str(method.given), horizon, one, two))
    return rows


def correlation_rows(
    series: str, method: Method, targets: Sequence[Target]
) -> list[CorrelationRow]:
    """Correlate the z of targets of one start; none without deviations."""
    images = {(t.start, t.horizon): t.z for t in targets if t.z is not None}
    of_parts = {key: levelled(image) for key, image in images.items()}
    return [
        CorrelationRow(
            series, method.name, str(method.given), lag,
            lag_correlation(images, lag), lag_correlation(of_parts, lag),
        )
        for lag in range(1, HORIZON)
        if any((start, horizon + lag) in images for start, horizon in images)
    ]  # fmt: skip


def lag_correlation(images: Mapping[tuple[int, int], Float], lag: int) -> float:
    """Correlate images of one start that are ``lag`` acquisitions apart, about a mean of zero.

    Σ e_j e_{j+lag} / sqrt(Σ e_j² Σ e_{j+lag}²), over all pixels, bands, starts and horizons j.

    Parameters
    ----------
    images
        Dims (band, y, x) by start and horizon.
    lag
        Acquisitions, 1 or more.
    """
    pairs = [
        (image, images[start, horizon + lag])
        for (start, horizon), image in images.items()
        if (start, horizon + lag) in images
    ]
    first, second = (np.stack(each).astype(np.float64) for each in zip(*pairs, strict=True))
    known = np.isfinite(first) & np.isfinite(second)
    first, second = first[known], second[known]
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def independent_looks(correlations: Sequence[float], looks: int) -> float:
    """Number of independent looks that the mean of ``looks`` acquisitions is worth.

    k² / (k + 2 Σ (k − l) r_l), with the correlation r_l at lag l: the variance of one over that of
    the mean.

    Parameters
    ----------
    correlations
        At lags 1, 2, ..., ``looks`` − 1 at least.
    looks
        k.
    """
    lags = np.arange(1, looks)
    return float(looks**2 / (looks + 2.0 * ((looks - lags) @ np.array(correlations)[lags - 1])))


def by_horizon(targets: Iterable[Target]) -> dict[int, list[Target]]:
    """Group targets by their horizon, ascending."""
    groups: dict[int, list[Target]] = {}
    for target in sorted(targets, key=lambda target: target.horizon):
        groups.setdefault(target.horizon, []).append(target)
    return groups


def persistent_rows(
    series: str,
    reader: CubeReader,
    system: tuple[str, Predictor],
    given: Baseline,
    starts: Sequence[int],
    valid: Bool,
) -> list[PersistentRow]:
    """Put a change into the targets of each start, and score their averaged residuals.

    Scores are z, or decibels where there is no deviation, averaged over the acquisitions, smoothed,
    and the norm over the bands. Where the level is removed, it is that of each acquisition.

    Parameters
    ----------
    series
        Name in tables.
    reader
        A series in the order of time.
    system
        Name and predictor.
    given
        Previous images before each start.
    starts
        Indices of the first acquisitions with the change.
    valid
        Dims (y, x): pixels that are scored.
    """
    name, predictor = system
    found: dict[tuple[float, int, bool], list[tuple[Float, Bool]]] = {}
    for start in starts:
        windows = windows_after(reader, start, given)
        changed = discs(reader.shape, CHANGED_SHARE, rng=np.random.default_rng(start))
        shared = None if predictor.uses_target else predictor.expect(windows)
        for decibels in CHANGES_DB:
            after = [with_offset(window, changed, decibels) for window in windows]
            images = deviations(after, shared or predictor.expect(after))
            for (looks, removed), score in mean_scores(images).items():
                pair = score[valid], changed[valid]
                found.setdefault((decibels, looks, removed), []).append(pair)
    return [
        PersistentRow(series, name, *key, _area(pairs), len(pairs)) for key, pairs in found.items()
    ]


def deviations(windows: Sequence[Window], expected: Sequence[Expected]) -> list[Float]:
    """Z (dB without a deviation) of targets, dims (band, y, x) each."""
    return [
        subtract(window.target, image.mean)
        if image.std is None
        else z(window.target, image.mean, image.std)
        for window, image in zip(windows, expected, strict=True)
    ]


def mean_scores(images: Sequence[Float]) -> dict[tuple[int, bool], Float]:
    """Scores of the first images of ``LOOKS``, by their number and whether levels are removed."""
    scores = {}
    for removed in (False, True):
        each = np.stack([levelled(image) if removed else image for image in images])
        for looks in LOOKS:
            if looks <= len(each):
                scores[looks, removed] = norm(smoothed(each[:looks].mean(axis=0), SMOOTHING_PX))
    return scores


def _area(pairs: Sequence[tuple[Float, Bool]]) -> float:
    scores, changed = map(np.concatenate, zip(*pairs, strict=True))
    return area_under_curve(scores, changed)


def _mean_square(image: Float) -> float:
    return float(np.nanmean(np.square(image, dtype=np.float64)))
