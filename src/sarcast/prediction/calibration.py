"""Validation scores of a model, and its deviation: std factor and correlation of errors."""

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Double, Float
from sarcast.errors import SarcastError
from sarcast.prediction.deviation import ByDays, Deviation
from sarcast.prediction.model import Model
from sarcast.prediction.scores import ValidationScores
from sarcast.prediction.strategies import mean
from sarcast.windows import BANDS, Window

QUANTILES = (0.5, 0.68, 0.9, 0.95, 0.99, 0.995, 0.999)
"""Shares of unchanged pixels whose residual norm is stored, for thresholds by false-alarm rate."""
ONE_SIGMA = 0.6827
"""Share of a normal distribution within one standard deviation."""
HORIZON_BOUNDS_DAYS = (15.0, 40.0, 90.0)
"""Bounds of the bins of horizons in which the standard deviation is calibrated."""
LAG_BOUNDS_DAYS = (9.0, 18.0, 36.0, 72.0)
"""Bounds of the bins of days between two targets in which their errors are correlated."""
FEWEST_IN_BIN = 30
"""Fewest windows, or pairs of windows, of a bin; one with fewer is joined with the next."""
PIXELS_PER_WINDOW = 4096
"""Pixels of a window that calibration uses at most."""

Indices = npt.NDArray[np.intp]


def check_bands(windows: Sequence[Window]) -> None:
    """Check that windows can be scored.

    Raises
    ------
    SarcastError
        If no pixel has data of every band in both its target and a previous image.
    """
    valid = [np.isfinite(w.target) & np.isfinite(w.previous).any(axis=0) for w in windows]
    if not any(mask.all(axis=0).any() for mask in valid):
        has_data = [any(mask[band].any() for mask in valid) for band in range(len(BANDS))]
        empty = [band for band, found in zip(BANDS, has_data, strict=True) if not found]
        raise SarcastError(
            f"training data with no valid window: no pixel of the validation windows has data in "
            f"{' or '.join(empty) or 'both bands at once'}; sarcast needs {' and '.join(BANDS)}"
        )


def residual_scores(model: Model, windows: Sequence[Window]) -> ValidationScores:
    """Score a model's expected images against the actual ones.

    Parameters
    ----------
    model
        The model.
    windows
        Windows on whose targets the model was not trained, assumed unchanged.

    Raises
    ------
    SarcastError
        If no pixel has data of every band.
    """
    check_bands(windows)
    expected = model.expect(windows)
    residuals = _pixels([w.target - e.mean for w, e in zip(windows, expected, strict=True)])
    of_mean = _pixels([window.target - mean(window) for window in windows])
    valid = np.isfinite(residuals).all(axis=0)
    values = residuals[:, valid]
    norm = np.sqrt(np.square(values).sum(axis=0))
    within = None
    if expected[0].std is not None:
        ratio = np.abs(values) / _pixels([image.std for image in expected])[:, valid]
        within = (float(np.mean(ratio <= 1.0)), float(np.mean(ratio <= 2.0)))
    return ValidationScores(
        rmse_db=tuple(float(rmse) for rmse in np.sqrt(np.square(values).mean(axis=1))),
        norm_quantiles_db={share: float(np.quantile(norm, share)) for share in QUANTILES},
        pixels=values.shape[1],
        of_mean=float(np.square(values).sum() / np.square(of_mean[:, valid]).sum()),
        within_std=within,
        band_quantiles_db={band: _quantiles_of_band(model, windows, band) for band in BANDS},
    )


def _quantiles_of_band(model: Model, windows: Sequence[Window], band: str) -> dict[float, float]:
    """Quantiles of the absolute residual, dB, where the previous images have one band alone."""
    alone = [window.with_bands((band,)) for window in windows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = replace(model, warned=set()).expect(alone)
    images = [np.abs(w.target - e.mean).ravel() for w, e in zip(alone, expected, strict=True)]
    residuals = np.concatenate(images)
    residuals = residuals[np.isfinite(residuals)]
    return {share: float(np.quantile(residuals, share)) for share in QUANTILES}


def calibrated(
    model: Model, windows: Sequence[Window], baselines: Sequence[Sequence[Window]] = ()
) -> Model:
    """Measure the deviation of a model, and correct its standard deviation by it.

    At each horizon, the standard deviation then covers 68.27 % of the residuals: its factor is the
    0.6827 quantile of abs(residual) / std. Every window counts the same, whatever its size, so that
    a few large series do not outweigh many small ones. With and without scene context are measured
    apart.

    Parameters
    ----------
    model
        The model; one without standard deviation is returned as it is.
    windows
        Windows on whose targets the model was not trained, assumed unchanged.
    baselines
        Likewise, groups of windows, each of one place and one baseline with several targets.
        Without them, the correlation of errors stays that of the model.
    """
    if model.expect(windows[:1])[0].std is None:
        return model
    if not model.uses_target:
        return replace(model, deviation=_measured(model, windows, baselines))
    without = _measured(replace(model, context="none"), windows, baselines)
    shown = [window for window in windows if model.shows_context(window)]
    if not shown:
        return replace(model, deviation=replace(without, without_context=without))
    groups = [[window for window in group if model.shows_context(window)] for group in baselines]
    deviation = _measured(model, shown, [group for group in groups if group])
    return replace(model, deviation=replace(deviation, without_context=without))


def _measured(
    model: Model, windows: Sequence[Window], baselines: Sequence[Sequence[Window]]
) -> Deviation:
    """Measure the deviation of a model with or without scene context, as it is set."""
    uncorrected = replace(model, deviation=Deviation())
    z = [_thinned(image) for image in _standardised(uncorrected, windows)]
    every, pairs = [*windows], []
    for group in baselines:
        of_group = _standardised(uncorrected, group)
        z += [_thinned(image) for image in of_group]
        every += group
        pairs += _agreements(group, of_group)
    known = model.deviation.of(context=model.uses_target).error_correlation
    horizons = np.array([window.horizon_days for window in every])
    return Deviation(_std_factor(horizons, z), _correlation(pairs) if pairs else known)


def _standardised(model: Model, windows: Sequence[Window]) -> list[Float]:
    """Residuals divided by the standard deviation, dims (band, y, x) each."""
    errors = []
    for window, image in zip(windows, model.expect(windows), strict=True):
        assert image.std is not None
        errors.append((window.target - image.mean) / image.std)
    return errors


def _thinned(z: Float) -> Float:
    """Absolute values of the pixels with data, of at most ``PIXELS_PER_WINDOW`` evenly spread."""
    values = np.abs(z[np.isfinite(z)])
    if values.size <= PIXELS_PER_WINDOW:
        return values
    return values[np.linspace(0, values.size - 1, PIXELS_PER_WINDOW).astype(np.intp)]


def _std_factor(horizons: Double, z: Sequence[Float]) -> ByDays:
    """Factor of the standard deviation, from the horizon and absolute z of each window."""
    seen = [index for index, values in enumerate(z) if values.size]

    def quantile(indices: Indices) -> float:
        values = [z[seen[index]] for index in indices]
        weights = np.concatenate([np.full(part.size, 1.0 / part.size) for part in values])
        pixels = np.concatenate(values)
        order = np.argsort(pixels)
        share = np.cumsum(weights[order]) / len(values)
        return float(pixels[order][np.searchsorted(share, ONE_SIGMA)])

    return _by_days(horizons[seen], HORIZON_BOUNDS_DAYS, quantile)


def _agreements(windows: Sequence[Window], z: Sequence[Float]) -> list[tuple[float, float]]:
    """Days between each two targets, and the mean product of the signs of their z."""
    found = []
    for (first, z1), (second, z2) in itertools.combinations(zip(windows, z, strict=True), 2):
        products = np.sign(z1) * np.sign(z2)
        if np.isfinite(products).any():
            days = abs(second.times[-1] - first.times[-1]) / np.timedelta64(1, "D")
            found.append((float(days), float(np.nanmean(products))))
    return found


def _correlation(pairs: Sequence[tuple[float, float]]) -> ByDays:
    """Correlation by the days between two targets, 0..1, from ``_agreements``.

    Of two normal variables with correlation ρ, the mean product of signs is (2 / π) arcsin ρ,
    which a few pixels that did change hardly move.

    References
    ----------
    Kruskal, J. Am. Stat. Assoc. 53 (1958) 814, section 3: the quadrant measure.
    """
    days, products = np.array(pairs).T

    def correlation(indices: Indices) -> float:
        return float(np.clip(np.sin(0.5 * np.pi * products[indices].mean()), 0.0, 1.0))

    return _by_days(days, LAG_BOUNDS_DAYS, correlation)


def _by_days(days: Double, bounds: Sequence[float], value: Callable[[Indices], float]) -> ByDays:
    """Compute a value of the items of each bin of days; bins of few items are joined."""
    order = np.argsort(days, kind="stable")
    bins: list[Indices] = []
    few = np.empty(0, dtype=np.intp)
    for part in np.split(order, np.searchsorted(days[order], bounds)):
        few = np.concatenate([few, part])
        if len(few) >= FEWEST_IN_BIN:
            bins.append(few)
            few = few[:0]
    if not bins:
        return ByDays.constant(value(few))
    bins[-1] = np.concatenate([bins[-1], few])
    if len(bins) == 1:
        return ByDays.constant(value(bins[0]))
    return ByDays(
        tuple(float(np.median(days[each])) for each in bins), tuple(value(each) for each in bins)
    )


def _pixels(images: Sequence[Any]) -> Double:
    """Collect the pixels of images, (band, y, x) each; dims (band, pixel)."""
    rows = [np.asarray(image, dtype=np.float64).reshape(len(BANDS), -1) for image in images]
    return np.concatenate(rows, axis=1)
