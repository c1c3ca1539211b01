"""The benchmark of a country: tasks of a night by hand, bounds of its makespan, a simulation."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.scale import (
    MEASURED,
    Country,
    Rates,
    Task,
    as_graph,
    by_executor,
    estimate,
    measure,
    night_of,
    paper,
    run,
)
from sarcast.monitoring.nulls import NullKeeper
from small_alerts import SETTINGS, alert_cube

RATES = Rates(1.0, 2.0, 3.0, 4.0, 5.0, 60.0, 2.0, 60.0, 0.1, 3.0, 1.0, 2.0)
SMALL = Country(area_km2=6 * 15 * 0.01, block_px=10, revisit_days=6.0, renew_days=90.0)
"""A night of fifteen blocks of 100 pixels, one of which replays its past."""


def test_a_night_by_hand() -> None:
    night = night_of(SMALL, RATES, np.random.default_rng(0))
    assert len(night) == SMALL.blocks == 15
    assert [task.stage for task in night[0]] == ["extend", "evidence", "join", "write"]
    chains = sorted(sum(task.seconds for task in block) for block in night)
    np.testing.assert_allclose(chains, [15e-4] * 14 + [75e-4])


def test_bounds_of_the_makespan() -> None:
    night = [[Task(0, "a", 1.0), Task(0, "b", 2.0)], [Task(1, "a", 5.0)]]
    found = estimate(night, 2, scale=10.0)
    assert (found.core_s, found.least_s, found.most_s) == (80.0, 40.0, 65.0)


def test_the_table_on_paper() -> None:
    """667 megapixels of 15 s, and a fifteenth of them 60 s more."""
    text = paper(Country(), RATES, 64)
    hours = (4000 / 6) * (15.0 + 60.0 / 15.0) / 3600.0
    assert f"core hours a night | {hours:.1f}: extend 0.19" in text
    assert f"beside GPUs | {hours - (4000 / 6) * (2.0 + 4.0) / 3600.0:.1f}" in text
    assert f"in one night | {(4000 / 6) * 75.0 / 3600.0:.1f}" in text
    assert "cube, a year | 0.73 TB" in text.replace("0.730", "0.73")
    assert Country().cubes == 160
    assert paper(Country(), MEASURED, 64).count("\n") == 10


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Any, str]]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=4,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as started,
        Client(started) as client,
    ):
        yield client, started.scheduler_address


def test_a_simulated_night_lies_within_the_bounds(cluster: tuple[Any, str]) -> None:
    client, address = cluster
    night = night_of(SMALL, RATES, np.random.default_rng(0))
    expected = estimate(night, 4, 100.0)
    for work in (
        lambda log: as_graph(client, night, 100.0, log),
        lambda log: by_executor(address, night, 100.0, log),
    ):
        found = run(work)
        assert found.executions == 60
        assert expected.least_s <= found.makespan_s < expected.most_s + 2.0


def test_core_seconds_are_measured_by_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay that is slow on purpose counts for replays alone."""
    measured, original = 0.5, NullKeeper._measured

    def slow(self: NullKeeper, *words: Any) -> Any:
        until = time.process_time() + measured
        while time.process_time() < until:
            pass
        return original(self, *words)

    monkeypatch.setattr("benchmarks.scale.open_cube", lambda _: alert_cube())
    (tmp_path / "backscatter").mkdir()
    (tmp_path / "backscatter" / "c").write_bytes(bytes(18 * 1600 * 3))
    before = measure(tmp_path, "mean", 5, SETTINGS)
    monkeypatch.setattr(NullKeeper, "_measured", slow)
    found = measure(tmp_path, "mean", 5, SETTINGS)
    assert found["cube_bytes"] == 3.0
    assert found["replays"] > measured / 1600e-6
    assert found["join"] < 0.5 * measured / 1600e-6 + before["join"]
    assert all(value > 0.0 for value in found.values())
    assert NullKeeper._measured is slow


def test_rates_are_those_of_the_document() -> None:
    text = Path("docs/results/scale.md").read_text(encoding="utf-8")
    for value in (MEASURED.residuals, MEASURED.evidence, MEASURED.join, MEASURED.write):
        assert f"{value:.2f}" in text
    assert paper(Country(), MEASURED, 64) in text
    assert replace(MEASURED, gpu=0.0) != MEASURED
