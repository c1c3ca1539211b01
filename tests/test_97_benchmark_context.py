"""The benchmark of the scene context, on predictors whose effect on a change is known."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image
from sklearn.metrics import roc_auc_score

from benchmarks import context, context_changes, context_figures, context_horizons, context_tables
from benchmarks.context_horizons import ErrorRow, Method, Target
from benchmarks.rival_scores import discs, with_offset
from benchmarks.rival_systems import ALL, Baseline
from sarcast.detection.difference import norm, smoothed
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import CubeReader, Expected, Window

RECENT = Baseline("recent", 4)
ROWS, COLUMNS = 40, 32


def cube(dates: int = 14, *, seed: int = 2) -> xr.Dataset:
    """Independent noise about −12 dB every twelve days; the last eight dates are after 2023."""
    images = np.random.default_rng(seed).normal(-12.0, 1.0, (dates, 2, ROWS, COLUMNS)).astype("f4")
    first = np.datetime64("2024-01-02T05:00", "ns") - np.timedelta64(12 * (dates - 8), "D")
    return xr.Dataset(
        {"backscatter": (("time", "band", "y", "x"), images)},
        coords={
            "time": first + 12 * np.arange(dates) * np.timedelta64(1, "D"),
            "band": ["VV", "VH"],
            "y": np.arange(float(ROWS)),
            "x": np.arange(float(COLUMNS)),
        },
    )


@pytest.fixture
def reader() -> CubeReader:
    return CubeReader.from_cube(cube(), in_memory=True)


@dataclass(frozen=True)
class Follows:
    """Takes up a share of each pixel's departure from the mean, and of the scene's mean departure.

    ``share`` and ``of_scene`` are 0..1; the standard deviation is 0.5 dB. Without context, neither.
    """

    share: float = 0.0
    of_scene: float = 0.0
    context: str = "scene"
    name: str = "follows"
    size: int | None = None
    previous: int | None = None

    @property
    def uses_target(self) -> bool:
        return self.context == "scene"

    def expect(self, windows):
        images = []
        for window in windows:
            mean = STRATEGIES["mean"].expect([window])[0].mean
            departure = (window.target - mean) * self.uses_target
            level = self.of_scene * np.nanmean(departure, axis=(1, 2), keepdims=True)
            images.append(Expected(mean + self.share * departure + level, np.full_like(mean, 0.5)))
        return images


def window_at(reader: CubeReader, date: int) -> Window:
    return context.window_of(reader, date, RECENT)


def test_discs_have_their_diameter_and_cover_their_share() -> None:
    shape = (300, 400)
    rng = np.random.default_rng(0)
    masks = {name: draw(shape, rng) for name, draw in context_changes.draws(shape).items()}
    assert list(masks)[:7] == [f"{d} px" for d in (3, 5, 10, 20, 50, 100, 200)]
    assert list(masks)[7:] == ["0.3 %", "1 %", "5 %", "13 %", "28 %", "50 %"]
    for share in context_changes.SHARES:
        assert masks[f"{100 * share:g} %"].mean() == pytest.approx(share, abs=2e-4)
    for diameter in (50, 100, 200):
        mask = masks[f"{diameter} px"]
        assert mask.sum() == pytest.approx(np.pi / 4 * diameter**2, rel=0.03)
        rows, columns = np.nonzero(mask)
        for pixels in (rows, columns):
            assert diameter - 2 <= np.ptp(pixels) + 1 <= diameter + 1
    for diameter in (3, 5, 10):
        covered = masks[f"{diameter} px"].mean()
        assert 0.003 <= covered <= 0.003 + np.pi / 4 * (diameter + 1) ** 2 / 120_000
    assert "200 px" not in context_changes.draws((150, 400))


def test_the_share_taken_up_inside_and_outside_is_measured(reader: CubeReader) -> None:
    windows = [window_at(reader, date) for date in (8, 9)]
    systems = {"inside": Follows(share=0.3), "scene": Follows(of_scene=0.5), "none": Follows()}
    rows = context_changes.measure_changes("bursts: a", windows, systems)
    assert {row.targets for row in rows} == {2}
    assert {(row.discs, row.decibels) for row in rows if row.system == "none"} == {
        (name, decibels)
        for name in context_changes.draws((ROWS, COLUMNS))
        for decibels in (-1.0, -2.5)
    }
    for row in rows:
        known = {
            "inside": (0.3, 0.0),
            "scene": (0.5 * row.covered, 0.5 * row.covered),
            "none": (0.0, 0.0),
        }[row.system]
        assert (row.inside, row.outside) == pytest.approx(known, abs=1e-5)
    shared = context_changes.measure_changes("a", windows, {"n": Follows(0.3, context="none")})
    assert {(row.inside, row.outside) for row in shared} == {(0.0, 0.0)}


def test_the_auc_of_a_change_is_that_of_the_target_with_the_change(reader: CubeReader) -> None:
    window = window_at(reader, 9)
    system = Follows(share=0.6)
    (row,) = (
        row
        for row in context_changes.measure_changes("a", [window], {"f": system})
        if (row.discs, row.decibels) == ("13 %", -1.0)
    )
    rng = np.random.default_rng(0)
    drawn = {n: draw((ROWS, COLUMNS), rng) for n, draw in context_changes.draws((40, 32)).items()}
    changed = drawn["13 %"]
    residual = 0.4 * (window.target - changed - window.previous.mean(axis=0))
    score = norm(smoothed(residual / 0.5, 2.0))
    assert row.auc == pytest.approx(roc_auc_score(changed.ravel(), score.ravel()), abs=1e-6)
    assert row.auc < 0.999


def test_worlds_are_drawn_without_weather() -> None:
    first, second = context_changes.world_windows(32, 3, 2, seed=4)
    assert first.previous.shape == (3, 2, 32, 32)
    assert not np.array_equal(first.target, second.target)
    assert np.isnan(first.conditions[:, :1]).all()
    assert np.isfinite(first.times.astype(float)).all()


def test_targets_of_a_start_have_one_baseline(reader: CubeReader) -> None:
    windows = context_horizons.windows_after(reader, 6, RECENT)
    assert len(windows) == 6
    for number, window in enumerate(windows):
        np.testing.assert_array_equal(window.times[:-1], reader.times[2:6])
        assert window.times[-1] == reader.times[6 + number]
    assert len(context_horizons.windows_after(reader, 12, RECENT)) == 2
    (every,) = context_horizons.windows_after(reader, 13, Baseline("recent", ALL))
    assert len(every.previous) == 13


def test_errors_by_horizon_equal_a_loop(reader: CubeReader) -> None:
    images = reader.backscatter.values
    images[9] += 3.0
    valid = np.ones((ROWS, COLUMNS), dtype=bool)
    valid[:5] = False
    (method,) = (
        m
        for m in context_horizons.methods_of({"f": Follows(context="none")})
        if (m.name, m.given) == ("mean", RECENT)
    )
    targets = context_horizons.follow(reader, method, [6, 8, 10], valid)
    rows = context_horizons.error_rows("bursts: a", method, targets)
    assert [row.horizon for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.targets for row in rows] == [3, 3, 3, 3, 2, 2]
    for row in rows:
        squares, levelled = [], []
        for start in (6, 8, 10):
            if start + row.horizon <= len(images):
                target = images[start + row.horizon - 1]
                residual = (target - images[start - 4 : start].mean(axis=0))[:, 5:]
                squares.append(np.square(residual).mean())
                medians = np.median(residual, axis=(1, 2), keepdims=True)
                levelled.append(np.square(residual - medians).mean())
        assert row.mse_db2 == pytest.approx(np.mean(squares), rel=1e-5)
        assert row.mse_levelled_db2 == pytest.approx(np.mean(levelled), rel=1e-5)


def test_every_mean_and_each_network_is_a_method() -> None:
    methods = context_horizons.methods_of({"with": Follows(), "without": Follows()})
    assert [(method.name, str(method.given)) for method in methods] == [
        ("mean", "recent 4"),
        ("mean", "recent 8"),
        ("mean", "recent 16"),
        ("mean", "recent all"),
        ("season-mean", "recent all"),
        *((name, f"recent {n}") for name in ("with", "without") for n in (4, 8, 16)),
    ]


def correlated(common: float, rng: np.random.Generator) -> list[Target]:
    """Targets of four starts whose z share a part of the variance ``common`` for each start."""
    targets = []
    for start in range(4):
        shared = rng.normal(0.0, np.sqrt(common), (2, 60, 50))
        for horizon in range(1, 7):
            z = shared + rng.normal(0.0, np.sqrt(1.0 - common), shared.shape)
            targets.append(Target(start, horizon, 2.0 * z, z.astype(np.float32)))
    return targets


def test_coverage_and_correlation_of_known_deviations() -> None:
    targets = correlated(0.3, np.random.default_rng(3))
    method = Method("f", RECENT, Follows())
    for row in context_horizons.coverage_rows("a: b", method, targets):
        assert (row.one_sigma, row.two_sigma) == pytest.approx((0.6827, 0.9545), abs=0.01)
    rows = context_horizons.correlation_rows("a: b", method, targets)
    assert [row.lag for row in rows] == [1, 2, 3, 4, 5]
    for row in rows:
        assert row.correlation == pytest.approx(0.3, abs=0.02)
    other = [Target(t.start + t.horizon, t.horizon, t.residual, t.z) for t in targets]
    assert context_horizons.correlation_rows("a: b", method, other[:1]) == []
    without = [Target(t.start, t.horizon, t.residual, None) for t in targets]
    assert context_horizons.coverage_rows("a: b", method, without) == []
    assert context_horizons.correlation_rows("a: b", method, without) == []


def test_targets_of_different_starts_are_not_correlated() -> None:
    rng = np.random.default_rng(4)
    shared = rng.normal(size=(2, 30, 30)).astype(np.float32)
    images = {(start, 1 + start % 2): shared for start in range(4)}
    images |= {(4, 1): shared, (4, 2): -shared}
    assert context_horizons.lag_correlation(images, 1) == pytest.approx(-1.0)


def test_independent_looks_are_the_gain_of_the_variance() -> None:
    rng = np.random.default_rng(5)
    correlations = [0.4, 0.3, 0.1]
    matrix = sum(np.eye(4, k=lag) * r for lag, r in enumerate(correlations, start=1))
    draws = rng.multivariate_normal(np.zeros(4), np.eye(4) + matrix + matrix.T, 400_000)
    looks = context_horizons.independent_looks(correlations, 4)
    assert looks == pytest.approx(1.0 / draws.mean(axis=1).var(), rel=0.02)
    assert context_horizons.independent_looks([0.0, 0.0], 3) == 3.0


def test_persistent_changes_are_scored_as_a_loop_would(reader: CubeReader) -> None:
    valid = np.ones((ROWS, COLUMNS), dtype=bool)
    valid[:, :4] = False
    starts = [7, 9, 12]
    system = ("f", Follows(share=0.5))
    rows = context_horizons.persistent_rows("a: b", reader, system, RECENT, starts, valid)
    found = {(row.decibels, row.looks, row.level_removed): row for row in rows}
    assert {key: row.starts for key, row in found.items()} == {
        (decibels, looks, removed): {1: 3, 3: 2, 6: 1}[looks]
        for decibels in (-1.0, -2.5)
        for looks in (1, 3, 6)
        for removed in (False, True)
    }
    images = reader.backscatter.values
    for removed in (False, True):
        scores, truths = [], []
        for start in starts[:2]:
            changed = discs((ROWS, COLUMNS), 0.05, rng=np.random.default_rng(start))
            assert 0.05 <= changed.mean() < 0.35
            after = images[start : start + 3] - changed - images[start - 4 : start].mean(axis=0)
            z = 0.5 * after / 0.5
            if removed:
                z = z - np.median(z, axis=(2, 3), keepdims=True)
            scores.append(norm(smoothed(z.mean(axis=0), 2.0))[valid])
            truths.append(changed[valid])
        area = roc_auc_score(np.concatenate(truths), np.concatenate(scores))
        assert found[-1.0, 3, removed].auc == pytest.approx(area, abs=1e-5)


def test_a_predictor_that_repeats_the_target_finds_no_persistent_change(
    reader: CubeReader,
) -> None:
    """A prediction shared with the unchanged targets would find all of it."""
    valid = np.ones((ROWS, COLUMNS), dtype=bool)
    rows = context_horizons.persistent_rows(
        "a: b", reader, ("f", Follows(share=1.0)), RECENT, [8], valid
    )
    assert [row.auc for row in rows] == [pytest.approx(0.5, abs=0.02)] * len(rows)
    before, after = context_changes.expect_changed(
        Follows(share=1.0), window_at(reader, 8), [with_offset(window_at(reader, 8), valid, -2.5)]
    )
    np.testing.assert_allclose(after[0].mean - before.mean, -2.5, atol=1e-5)


def test_the_table_of_errors_compares_with_the_best_mean() -> None:
    def rows(series: str, method: str, errors: list[float]) -> list[ErrorRow]:
        return [
            ErrorRow(f"bursts: {series}", method, "recent 4", horizon, error, 10.0 * error, 3)
            for horizon, error in enumerate(errors, start=1)
        ]

    every = [
        *rows("a", "mean", [4.0, 6.0]),
        *rows("b", "mean", [2.0, 2.0]),
        *rows("a", "season-mean", [5.0, 5.0]),
        *rows("b", "season-mean", [1.0, 5.0]),
        *rows("a", "f", [3.0, 3.5]),
        *rows("b", "f", [3.0, 3.1]),
    ]
    for levelled in (False, True):
        text = context_tables.errors_table(every, levelled=levelled)
        cells = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
        scale = 10.0 if levelled else 1.0
        assert cells[:3] == ["bursts", "f", "recent 4"]
        assert [float(cell) for cell in cells[3:5]] == [3.0 * scale, 3.3 * scale]
        assert cells[5:9] == [""] * 4
        assert cells[9:] == [f"{3.15 / 3.5:.3f}", "1 of 2", "1 of 2"]


def sites_table() -> pd.DataFrame:
    """Two sites of nine pixels, of which the first is for tests, from 2021 to the end of 2022."""
    rng = np.random.default_rng(8)
    times = pd.date_range("2021-01-03", "2022-12-30", freq="12D")
    frames = []
    for site in (1, 2):
        values = {
            f"{band}{k}": rng.uniform(0.02, 0.06, len(times))
            for band in ("vv", "vh")
            for k in range(9)
        }
        known = {"site": site, "burst": "T1", "datetime": times, "change_time": None}
        frames.append(pd.DataFrame({**known, "lat": 40.0, "orbit": "ascending", **values}))
    return pd.concat(frames, ignore_index=True)


def test_all_parts_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube(18).to_netcdf(tmp_path / "opera-1.nc", engine="h5netcdf")
    sites_table().to_parquet(tmp_path / "sites.parquet")
    monkeypatch.setattr(context, "load_model", lambda *_, **__: Follows(of_scene=0.5))
    out = tmp_path / "out"
    arguments = f"context {tmp_path} --to {out} --sites {tmp_path / 'sites.parquet'} --threads 1"
    worlds = "--worlds 1 --world-size 32 --previous 4"
    monkeypatch.setattr("sys.argv", f"{arguments} {worlds}".split())
    context.main()
    record = json.loads((out / "context.json").read_text())
    systems = {"with context", "without context"}
    assert {row["system"] for row in record["changes"]} == systems
    assert {row["series"] for row in record["changes"]} == {"bursts: opera-1", "worlds: 32 px"}
    assert {row["system"] for row in record["persistent"]} == {*systems, "mean"}
    groups = {row["series"].split(":")[0] for row in record["errors"]}
    assert groups == {"bursts", "one track", "all tracks"}
    assert record["coverage"]
    assert record["correlation"]
    text = (out / "context.md").read_text()
    assert text.count("## ") == 6
    for block in text.split("## ")[1:]:
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len(lines) > 2
        assert len({line.count("|") for line in lines}) == 1
    for name in ("changes.png", "wet.png"):
        with Image.open(out / name) as image:
            assert min(image.size) > 200


def test_only_the_parts_that_are_asked_for_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube().to_netcdf(tmp_path / "opera-1.nc", engine="h5netcdf")
    monkeypatch.setattr(context, "load_model", lambda *_, **__: Follows(context="none"))
    out = tmp_path / "out"
    monkeypatch.setattr(
        "sys.argv", f"context {tmp_path} --to {out} --only persistent --threads 1".split()
    )
    context.main()
    record = json.loads((out / "context.json").read_text())
    assert {row["system"] for row in record["persistent"]} == {"without context", "mean"}
    assert not record["changes"]
    assert (out / "context.md").read_text().startswith("## AUC of persistent changes")
    assert not (out / "wet.png").exists()


def test_levels_are_medians_of_the_departure_from_the_mean(reader: CubeReader) -> None:
    images = reader.backscatter.values
    images[10] += 1.5
    levels = context_figures.scene_levels(reader, np.datetime64("2024-01-01"), RECENT)
    assert list(levels) == list(range(6, 14))
    departure = images[10] - images[6:10].mean(axis=0)
    known = np.median(departure, axis=(1, 2)).mean()
    assert levels[10] == max(levels.values()) == pytest.approx(known, abs=1e-5)


def test_a_change_that_no_pixel_shows_is_left_out(reader: CubeReader) -> None:
    window = window_at(reader, 9)
    window.target[:, :, 16:] = np.nan
    changed = np.zeros((ROWS, COLUMNS), dtype=bool)
    changed[5:9, 20:] = True
    assert context_changes.effects(window, {"hidden": changed}, Follows(0.3)) == {}
    changed[5:9, 10:] = True
    found = context_changes.effects(window, {"seen": changed}, Follows(0.3))
    assert found["seen", -1.0].covered == 4 * 6 / (16 * ROWS)
    assert found["seen", -1.0].inside == pytest.approx(0.3, abs=1e-5)
