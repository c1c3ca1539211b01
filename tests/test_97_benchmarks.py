"""The benchmark of real series, on a series small enough to be computed by hand."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import roc_auc_score

from benchmarks import rival_scores, rival_systems, rivals
from sarcast.detection.difference import norm
from sarcast.windows import CubeReader, Expected, Window

DAYS = np.arange(0, 30 * 24, 24)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Thirty dates, the last ten of which are test dates; one of these lacks data in a corner."""
    rng = np.random.default_rng(2)
    images = rng.normal(-12.0, 2.0, (30, 2, 40, 32)).astype("f4")
    images[25, :, :3, :4] = np.nan
    cube = xr.Dataset(
        {"backscatter": (("time", "band", "y", "x"), images)},
        coords={
            "time": np.datetime64("2022-09-10T05:00", "ns") + DAYS * np.timedelta64(1, "D"),
            "band": ["VV", "VH"],
            "y": np.arange(40.0),
            "x": np.arange(32.0),
        },
    )
    cube.to_netcdf(tmp_path / "opera-1.nc", engine="h5netcdf")
    return tmp_path / "opera-1.nc"


def rows_of(series: Path, kind: str) -> dict:
    task = rival_systems.Task(
        kind=kind,
        path=series,
        model="base",
        precision="float32",
        threads=1,
        training={},
        crop=64,
        baseline=rival_systems.Baseline("recent", 4),
        site=None,
        stride=4,
    )
    return {(row.system, row.given): row for row in rivals.run(task)}


def test_strategies_are_scored_as_a_loop_over_dates_would(series: Path) -> None:
    rows = rows_of(series, "strategies")
    cube = xr.load_dataset(series, engine="h5netcdf")
    images = cube["backscatter"].values
    valid = np.ones((40, 32), dtype=bool)
    valid[:3, :4] = False
    tests = np.flatnonzero(cube["time"].values >= rival_systems.FIRST_TEST)
    assert len(tests) == 10
    squares, scores, truths = [], [], []
    for date in tests:
        expected = np.nanmean(images[date - 4 : date], axis=0)
        squares.append(np.square(images[date] - expected)[:, valid].mean())
        changed = rival_scores.discs((40, 32), rng=np.random.default_rng(date))
        assert 0.2 <= changed.mean() < 0.6
        scores.append(norm(images[date] - 2.5 * changed - expected)[valid])
        truths.append(changed[valid])
    row = rows["mean", "recent 4"]
    assert row.mse_db2 == pytest.approx(np.mean(squares), rel=1e-5)
    area = roc_auc_score(np.concatenate(truths), np.concatenate(scores))
    assert row.auc["-2.5 dB"]["norm"] == pytest.approx(area, abs=1e-6)
    assert (
        row.auc["-1 dB"]["norm"] < row.auc["-2.5 dB"]["norm"] < row.auc["-2.5 dB"]["norm, smoothed"]
    )
    latest = [np.square(images[k] - images[k - 1])[:, valid].mean() for k in tests]
    assert rows["latest", "recent 1"].mse_db2 == pytest.approx(np.mean(latest), rel=1e-5)


def with_offsets(series: Path) -> xr.Dataset:
    """Add an offset to each date, the same for all its pixels."""
    cube = xr.load_dataset(series, engine="h5netcdf")
    cube["backscatter"] += 4.0 * np.sin(DAYS).astype("f4")[:, None, None, None]
    cube.to_netcdf(series, engine="h5netcdf")
    return cube


def test_offsets_of_whole_images_do_not_affect_a_levelled_score(series: Path) -> None:
    """The score without levelling falls, that with levelling stays."""
    before = rows_of(series, "strategies")["mean", "recent 16"].auc["-2.5 dB"]
    with_offsets(series)
    after = rows_of(series, "strategies")["mean", "recent 16"].auc["-2.5 dB"]
    levelled = "norm, levelled, smoothed"
    assert after[levelled] == pytest.approx(before[levelled], abs=1e-4)
    assert after["norm, smoothed"] < before["norm, smoothed"] - 0.1


def test_bounds_use_all_other_dates_and_the_level(series: Path) -> None:
    cube = with_offsets(series)
    rows = {system: row.mse_db2 for (system, _), row in rows_of(series, "bounds").items()}
    images = cube["backscatter"].values[..., 3:, 4:]
    plain, at_level = [], []
    for date in np.flatnonzero(cube["time"].values >= rival_systems.FIRST_TEST):
        residual = images[date] - np.delete(images, date, axis=0).mean(axis=0)
        plain.append(np.square(residual).mean())
        at_level.append(residual.var(axis=(1, 2)).mean())
    assert rows["bound: mean"] == pytest.approx(np.mean(plain), rel=0.01)
    assert rows["bound: mean at the target's level"] == pytest.approx(np.mean(at_level), rel=0.01)
    assert rows["bound: mean at the target's level"] < 0.5 * rows["bound: mean"]


def test_a_system_that_uses_the_target_predicts_each_changed_one(series: Path) -> None:
    """One that repeats the target finds nothing; a prediction without change would find all."""

    def repeat(window: Window) -> rival_systems.PlainPrediction:
        return rival_systems.PlainPrediction(Expected(window.target.copy()))

    baseline = rival_systems.Baseline("recent", 4)
    reader = CubeReader.from_cube(xr.load_dataset(series, engine="h5netcdf"), in_memory=True)
    areas = []
    for uses_target in (True, False):
        system = rival_systems.System("repeats", baseline, repeat, uses_target)
        areas.append(rivals.measure("1", reader, system).auc["-2.5 dB"]["norm"])
    assert areas == [0.5, 1.0]


def test_the_season_mean_is_given_all_images(series: Path) -> None:
    row = rows_of(series, "strategies")["season-mean", "recent all"]
    cube = xr.load_dataset(series, engine="h5netcdf")
    images, times = cube["backscatter"].values, cube["time"].values
    squares = []
    for date in np.flatnonzero(times >= rival_systems.FIRST_TEST):
        days = (times[date] - times[:date]) / np.timedelta64(1, "D")
        near = (days <= 30) | (np.abs(days - 365) <= 30) | (np.abs(days - 730) <= 30)
        expected = np.nanmean(images[:date][near], axis=0)
        squares.append(np.square(images[date] - expected)[..., 3:, 4:].mean())
    assert row.mse_db2 == pytest.approx(np.mean(squares), rel=0.02)


def test_ties_count_half() -> None:
    rng = np.random.default_rng(0)
    score, changed = rng.integers(0, 5, 500), rng.random(500) < 0.3
    area = rival_scores.area_under_curve(score, changed)
    assert area == pytest.approx(roc_auc_score(changed, score))


def test_the_table_sets_errors_beside_the_best_conventional() -> None:
    def row(series: str, system: str, mse: float):
        auc = {"-1 dB": {"norm": 0.6}, "-2.5 dB": {"norm": 0.8}}
        return rival_scores.Row(series, system, "recent 8", mse, {}, auc, 2.0)

    rows = [row("a", "latest", 5.0), row("a", "mean", 4.0), row("a", "base", 3.0),
            row("b", "latest", 1.0), row("b", "mean", 2.0), row("b", "base", 1.5)]  # fmt: skip
    (line,) = [line for line in rival_scores.table(rows).splitlines() if line.startswith("| base")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[3:6] == ["2.250", "0.750", "1.125"]
    assert cells[-2:] == ["0.750", "1.500"]
