"""The benchmark of Dask workers: equal results, and a table of how many times as fast they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from benchmarks import scheduler
from benchmarks.scenes import repeated
from benchmarks.scheduler import Outcome, compared, table
from sarcast.detection.detect import DetectOptions
from sarcast.prediction.strategies import STRATEGIES
from small_changes import DATES, changed_cube


def test_a_table_of_outcomes() -> None:
    """Twice the workers in 5 s in place of 9."""
    nothing = np.zeros((1, 1), dtype=np.float32)
    text = table({2: Outcome(5.0, 1.0, nothing), 1: Outcome(9.0, 1.5, nothing)})
    assert text.splitlines()[2:] == ["| 1 | 9.0 | 1.00 | 1.5 |", "| 2 | 5.0 | 1.80 | 1.0 |"]


def test_workers_are_compared_on_the_same_detection() -> None:
    cube, by = changed_cube(DATES - 2), STRATEGIES["mean"]
    found = compared(cube, by, DetectOptions(block=64, strata=4, replays=2), [1])
    assert found[1].seconds > found[1].own_seconds > 0.0
    here = scheduler.timed(cube, by, DetectOptions(block=64, strata=4, replays=2))
    np.testing.assert_array_equal(found[1].evidence, here.evidence)


def test_results_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outcomes = iter(Outcome(1.0, 0.5, np.full((1, 1), k, np.float32)) for k in (0, 1, 0, 2))
    monkeypatch.setattr(scheduler, "timed", lambda *_: next(outcomes))
    monkeypatch.setattr(scheduler, "cluster", _none)
    with pytest.raises(ValueError, match="2 workers find other evidence than 1"):
        compared(changed_cube(DATES - 2), STRATEGIES["mean"], DetectOptions(), [1, 2])


def _none(_: int) -> Any:
    from contextlib import nullcontext

    return nullcontext("tcp://127.0.0.1:1")


def test_a_repeated_cube_is_the_cube_side_by_side() -> None:
    """By an image whose pixels all differ, also across the edges of its repetitions."""
    small = changed_cube(DATES - 2).isel(y=slice(20), x=slice(30))
    small = small.assign_coords(cy=[0.0], cx=[0.0]).odc.assign_crs("EPSG:32635")
    values = np.arange(small["backscatter"].size, dtype=np.float32)
    small["backscatter"][:] = values.reshape(small["backscatter"].shape)
    large = repeated(small, 50, 70)["backscatter"]
    whole = np.tile(small["backscatter"].values, (1, 1, 3, 3))[..., :50, :70]
    for rows, columns in ((slice(3, 9), slice(31, 40)), (slice(15, 45), slice(0, 70))):
        part = large.isel(y=rows, x=columns)
        xr.testing.assert_equal(part, part.copy(data=whole[..., rows, columns]))
