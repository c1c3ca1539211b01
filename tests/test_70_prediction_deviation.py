"""Deviations: measured on errors of known spread and correlation, kept in the model folder."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from sarcast.errors import SarcastError
from sarcast.prediction import load_model, save_model
from sarcast.prediction.calibration import calibrated
from sarcast.prediction.deviation import ByDays, Deviation
from sarcast.prediction.model import Model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.training.baselines import (
    TARGETS,
    series_baselines,
    split_targets,
    world_baselines,
)
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.recipe import Stage, WorldSource
from sarcast.prediction.training.sources import make_calibration, split_series
from sarcast.windows import Expected, Window, WindowSampler, cut_window, target_dates
from small_cubes import coordinate_cube, learnable_cube

FIRST_DAY = np.datetime64("2021-01-01", "ns")
WINDOW = Window(
    previous=np.zeros((2, 2, 8, 8), np.float32),
    target=np.zeros((2, 8, 8), np.float32),
    conditions=np.zeros((3, 9), np.float32),
    times=FIRST_DAY + np.arange(3) * np.timedelta64(6, "D"),
    elevation=np.zeros((8, 8), np.float32),
)


@dataclass(frozen=True)
class Flat:
    """Expects 0 dB with a standard deviation of 1 dB everywhere."""

    deviation: Deviation = field(default_factory=Deviation)
    uses_target = False

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        images = [np.zeros_like(window.target) for window in windows]
        return [Expected(image, np.ones_like(image)) for image in images]


def _window(horizon_days: float, target: np.ndarray) -> Window:
    times = WINDOW.times.copy()
    times[-1] = times[-2] + np.timedelta64(round(horizon_days * 24), "h")
    return replace(WINDOW, target=target.astype(np.float32), times=times)


def test_a_function_of_days_is_linear_in_their_logarithm() -> None:
    function = ByDays((4.0, 16.0, 64.0), (1.0, 2.0, 0.0))
    np.testing.assert_allclose(function([0.0, 4.0, 8.0, 16.0, 32.0]), [1.0, 1.0, 1.5, 2.0, 1.0])
    np.testing.assert_allclose(function([[64.0, 1e4]]), [[0.0, 0.0]])
    assert ByDays.constant(3.0)(17.0) == 3.0
    for days, values in (((4.0, 4.0), (1.0, 1.0)), ((), ()), ((1.0,), (1.0, 2.0))):
        with pytest.raises(ValueError, match="must rise, with a value for each"):
            ByDays(days, values)


def test_independent_looks_are_those_of_the_mean_of_correlated_errors() -> None:
    """The oracle is the variance of the mean of many drawn errors."""
    correlation = ByDays((6.0, 60.0), (0.6, 0.1))
    deviation = Deviation(error_correlation=correlation)
    days = np.array([0.0, 6.0, 18.0, 30.0])
    matrix = correlation(np.abs(days[:, None] - days))
    np.fill_diagonal(matrix, 1.0)
    rng = np.random.default_rng(0)
    means = rng.multivariate_normal(np.zeros(4), matrix, size=200_000).mean(axis=1)
    assert deviation.independent_looks(days) == pytest.approx(1.0 / means.var(), rel=0.01)
    constant = Deviation(error_correlation=ByDays.constant(0.3))
    assert constant.independent_looks(days) == pytest.approx(4 / (1 + 3 * 0.3))
    assert constant.independent_looks([5.0]) == 1.0
    with pytest.raises(SarcastError, match="none; take base, or train a model by a recipe"):
        Deviation().independent_looks(days)


def test_the_factor_follows_the_spread_at_each_horizon() -> None:
    rng = np.random.default_rng(1)
    spread = {6.0: 0.8, 24.0: 1.0, 60.0: 1.5, 150.0: 2.0}
    windows = [
        _window(days, rng.normal(0.0, std, (2, 40, 40)))
        for days, std in spread.items()
        for _ in range(40)
    ]
    factor = calibrated(Flat(), windows).deviation.std_factor
    assert factor.days == tuple(spread)
    np.testing.assert_allclose(factor.values, list(spread.values()), rtol=0.02)
    few = calibrated(Flat(), windows[::8]).deviation.std_factor  # 5 windows of each horizon
    assert len(few.days) == 1
    joined = calibrated(Flat(), [*windows[:40], *windows[40:60], *windows[80:100]])
    assert joined.deviation.std_factor.days == (6.0, 42.0)  # the two bins of 20 windows


def test_every_window_counts_the_same_whatever_its_size() -> None:
    rng = np.random.default_rng(2)
    small = [_window(6.0, rng.normal(0.0, 1.0, (2, 8, 8))) for _ in range(99)]
    large = _window(6.0, rng.normal(0.0, 9.0, (2, 256, 256)))
    empty = _window(6.0, np.full((2, 8, 8), np.nan))
    factor = calibrated(Flat(), [large, empty, *small]).deviation.std_factor(6.0)
    assert factor == pytest.approx(1.0, abs=0.05)


def _baseline(rng: np.random.Generator) -> list[Window]:
    """Targets each 12 days whose errors have the correlation 0.7 exp(-days / 40)."""
    days = 12.0 * np.arange(1, 6)
    matrix = 0.7 * np.exp(-np.abs(days[:, None] - days) / 40.0) + 0.3 * np.eye(5)
    errors = rng.multivariate_normal(np.zeros(5), matrix, size=(2, 24, 24))
    errors[:, :3, :6] += 6.0  # ground that changed: 3 % of the pixels, in all targets
    return [_window(day, errors[..., index]) for index, day in enumerate(days)]


def test_the_correlation_of_errors_follows_the_days_between_targets() -> None:
    rng = np.random.default_rng(3)
    baselines = [_baseline(rng) for _ in range(30)]
    deviation = calibrated(Flat(), baselines[0], baselines).deviation
    assert deviation.error_correlation is not None
    np.testing.assert_allclose(deviation.error_correlation.days, [12.0, 24.0, 36.0])
    true = [0.7 * np.exp(-days / 40.0) for days in (12.0, 24.0, 40.0)]
    changed = 3 * 6 / 24**2
    signs = (1.0 - changed) * 2.0 / np.pi * np.arcsin(true) + changed
    values = deviation.error_correlation.values
    np.testing.assert_allclose(values, np.sin(np.pi / 2.0 * signs), atol=0.012)
    np.testing.assert_allclose(values, true, atol=0.05)
    kept = calibrated(Flat(deviation), baselines[0]).deviation
    assert kept.error_correlation == deviation.error_correlation


def _model(deviation: Deviation) -> Model:
    torch.manual_seed(0)
    options = TemporalOptions(
        widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), decoder_width=8,
        decoder_blocks=(1, 1, 1, 1), fine_width=4, embedding=8,
    )  # fmt: skip
    return Model(Temporal(options).eval(), "small", deviation=deviation)


def test_the_standard_deviation_is_corrected_by_the_horizon() -> None:
    model = _model(Deviation(ByDays((12.0, 48.0), (2.0, 4.0))))
    near, far = (cut_window(learnable_cube(), last, (0, 0), (16, 16), [1, 2]) for last in (3, 6))
    for window, factor in ((near, 2.0), (far, 4.0)):
        plain = replace(model, deviation=Deviation()).expect([window])[0].std
        np.testing.assert_allclose(model.expect([window])[0].std, factor * plain, rtol=1e-6)
    both = [image.std for image in model.expect([near, far])]
    assert (both[0] == model.expect([near])[0].std).all()


def test_deviations_with_and_without_scene_context_are_measured_apart() -> None:
    """Each covers one sigma; a window too small for context gets the factor without."""
    cube = learnable_cube(dates=10, pixels=64)
    cube["backscatter"][9] += 3.0  # rain that only the scene shows
    windows = [cut_window(cube, 9, (row, 5), (48, 48), [6, 7, 8]) for row in (0, 8, 16)]
    small = cut_window(cube, 9, (3, 4), (16, 16), [6, 7, 8])
    model = calibrated(_model(Deviation()), windows)
    assert model.deviation.without_context is not None
    assert model.deviation.std_factor != model.deviation.without_context.std_factor
    for each in (model, replace(model, context="none")):
        images = zip(windows, each.expect(windows), strict=True)
        z = np.abs([(window.target - image.mean) / image.std for window, image in images])
        assert np.mean(z <= 1.0) == pytest.approx(0.6827, abs=0.005)
    hidden = replace(model, context="none").expect([small])[0].std
    np.testing.assert_array_equal(model.expect([small])[0].std, hidden)
    only_small = calibrated(_model(Deviation()), [small]).deviation
    assert only_small.without_context is not None
    assert only_small.std_factor == only_small.without_context.std_factor


def test_a_model_folder_keeps_the_deviation(tmp_path: Path) -> None:
    without = Deviation(ByDays((6.0, 60.0), (1.1, 1.3)), ByDays.constant(0.2))
    deviation = Deviation(ByDays.constant(0.9), ByDays((6.0, 24.0), (0.5, 0.3)), without)
    save_model(_model(deviation), tmp_path / "model")
    assert load_model(tmp_path / "model", device="cpu").deviation == deviation
    assert deviation.of(context=True) is deviation
    assert deviation.of(context=False) is without
    assert without.of(context=False) is without


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"std_factor": {"days": [6, 3], "values": [1, 1]}}, "must rise, with a value for each"),
        ({"std_factor": {"days": [6, 9], "values": [1, -1]}}, r"std_factor \(must be above 0"),
        ({"error_correlation": 1.2}, r"error_correlation \(must be 0 to 1, not 1.2"),
        ({"without_context": {}}, "misstates 'std_factor'"),
    ],
)
def test_a_deviation_that_cannot_be_is_refused(tmp_path: Path, entry: dict, message: str) -> None:
    save_model(_model(Deviation()), tmp_path / "model")
    card = yaml.safe_load((tmp_path / "model" / "model.yaml").read_text())
    (tmp_path / "model" / "model.yaml").write_text(yaml.safe_dump({**card, **entry}))
    with pytest.raises(SarcastError, match=message):
        load_model(tmp_path / "model", device="cpu")


def test_the_targets_of_a_baseline_are_the_windows_cut_one_by_one() -> None:
    cube = coordinate_cube()
    images = [0, 2, 3, 5, 6]
    windows = split_targets(cut_window(cube, 8, (3, 4), (8, 8), images), 3)
    assert len(windows) == 3
    for window, target in zip(windows, (5, 6, 8), strict=True):
        cut = cut_window(cube, target, (3, 4), (8, 8), images[:3])
        for name in ("previous", "target", "conditions", "times", "elevation", "forest"):
            np.testing.assert_array_equal(getattr(window, name), getattr(cut, name))


def test_baselines_of_series_have_all_their_targets_after_training() -> None:
    cube = learnable_cube(dates=24)
    late = target_dates(cube, 4)[-9:]
    sampler = WindowSampler([cube], [late], size=16, previous=4, chooser="nearest")
    groups = series_baselines(sampler, 40, seed=3)
    assert [len(group) for group in groups] == [TARGETS] * 40
    times = cube["time"].values
    firsts = set()
    for group in groups:
        first = int(np.searchsorted(times, group[0].times[-1]))
        firsts.add(first)
        for index, window in enumerate(group):
            expected = [*range(first - 4, first), first + index]
            np.testing.assert_array_equal(window.times, times[expected])
    assert firsts == set(late[:3].tolist())
    fewer = series_baselines(sampler.with_targets([late[-5:]]), 4, seed=3)
    assert [len(group) for group in fewer] == [5] * 4
    assert fewer[0][0].times[-1] == times[late[-5]]


def test_series_without_data_before_their_targets_have_no_baselines(caplog) -> None:
    cube = learnable_cube(dates=24)
    cube["backscatter"][:20] = np.nan
    late = target_dates(cube, 4)[-3:]
    sampler = WindowSampler([cube], [late], size=16, previous=4, chooser="recent")
    assert series_baselines(sampler, 4, seed=3) == []
    assert "errors of consecutive targets are not compared there" in caplog.text


def test_a_stage_is_calibrated_on_its_series_and_else_on_its_worlds() -> None:
    cubes, series = {"a": learnable_cube(dates=24)}, {"cubes": ["a"], "size": 16, "previous": 3}
    content = {
        "training": {"validation_windows": 6, "validation_share": 0.4},
        "worlds": [{"weight": 1.0, "worlds": {"preset": "boreal", "size": 32, "previous": 2}}],
        "series": [{"weight": 1.0, **series, "end": "2021-12-31", "horizon": 3}],
    }
    stage = Stage.model_validate(content)
    windows, baselines = make_calibration(stage, cubes, device="cpu")
    times = cubes["a"]["time"].values
    first = times[split_series(stage.series[0], cubes, stage.training)[1].targets[0][0]]
    assert (len(windows), len(baselines)) == (6, 3)
    assert len({window.horizon_days for window in windows}) > 1
    for window in (*windows, *itertools.chain(*baselines)):
        assert np.isin(window.times, times).all()
        assert window.times[-1] >= first
    worlds = Stage.model_validate({**content, "series": []})
    windows, baselines = make_calibration(worlds, {}, device="cpu")
    assert [window.target.shape for window in windows] == [(2, 32, 32)] * 6
    assert [len(group) for group in baselines] == [TARGETS] * 3


def test_baselines_of_worlds_are_drawn_by_weight() -> None:
    sources = [
        WorldSource(weight=weight, worlds={"preset": "boreal", "size": 32, "previous": previous})
        for weight, previous in ((3.0, 2), (1.0, 4))
    ]
    groups = world_baselines(sources, 8, TrainOptions(), device="cpu")
    assert [group[0].previous.shape[0] for group in groups] == [2] * 6 + [4] * 2
    for group in groups:
        assert len(group) == TARGETS
        horizons = [window.horizon_days for window in group]
        assert (np.diff([0.0, *horizons]) > 0).all()
        assert len({window.previous.tobytes() for window in group}) == 1
        assert len({window.target.tobytes() for window in group}) == TARGETS
