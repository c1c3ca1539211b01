"""Monitoring of areas larger than a block: the same states, events and files as at once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from sarcast.errors import SarcastError
from sarcast.monitoring import pixels, watcher
from sarcast.monitoring.layers import Layers
from sarcast.monitoring.monitor import Monitored
from sarcast.monitoring.pixels import Pixels
from sarcast.monitoring.state import StateFolder
from sarcast.monitoring.watcher import CELL_PX, MOST_CELLS
from small_alerts import watch
from small_changes import CENTRE, SIDE, acquired_cube, disc
from test_77_monitoring_run import content

FIRST, START = 26, 24
"""Indices of the first acquisition with the change, and of the first one that is processed."""
UNSEEN = (slice(50, 90), slice(20, 40))
"""Rows and columns, in the disc that changes and around it, that ``HALF_SEEN`` does not see."""
HALF_SEEN = 28
RULES = ("sequential", "opera")


def partly_seen_cube(dates: int | None = None) -> xr.Dataset:
    """The disc, which lies across the edges of blocks of 64, changes; two dates see a part only."""
    cube = acquired_cube(FIRST)
    values = cube["backscatter"].values.copy()
    values[HALF_SEEN, :, UNSEEN[0], UNSEEN[1]] = np.nan
    values[30, :, :50] = np.nan
    cube = cube.assign(backscatter=(cube["backscatter"].dims, values, cube["backscatter"].attrs))
    later = cube["time"].values + np.timedelta64(600, "D")
    return cube.assign_coords(time=later).isel(time=slice(0, dates))


CUBE = partly_seen_cube()
SETTINGS: dict[str, Any] = {
    "start": str(CUBE["time"].values[START].astype("datetime64[D]")),
    **{"strata": 3, "previous": 6, "acquisitions": 3, "min_area": 0.1, "false_events": 3000.0},
}


def run(to: Path, cube: xr.Dataset = CUBE, **settings: Any) -> Monitored:
    return watch(cube, to, **{**SETTINGS, **settings})


@pytest.fixture(scope="module", params=RULES)
def at_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Monitored:
    """All of the area as one block."""
    return run(tmp_path_factory.mktemp("whole") / "alerts", rule=request.param)


def rule_of(alerts: Monitored) -> str:
    return alerts.state.record.made_from["rule"]


def test_the_change_is_found_under_fixed_baselines(at_once: Monitored) -> None:
    """What the tests below compare: events, of which one lies across blocks, and all baselines."""
    inside = np.asarray(at_once.state.tracked.labels)[disc(radius=2)]
    (number,) = np.unique(inside)
    row = at_once.state.tracked.table.loc[number]
    assert row["state"] == "confirmed"
    assert row["first_row"] < CENTRE[0] < row["end_row"]
    codes = np.unique(at_once.state.pixels.arrays["baseline"])
    assert len(codes) >= 2
    assert len(at_once.state.tracked.table) > 3


def test_blocks_give_what_the_whole_gives(at_once: Monitored, tmp_path: Path) -> None:
    found = run(tmp_path / "alerts", rule=rule_of(at_once), block=64, workers=3)
    assert found.processed == at_once.processed
    assert content(found.folder) == content(at_once.folder)
    # with the hashes of all pixels, and of all states before
    assert found.state.record == at_once.state.record
    assert not found.state.is_in_memory


def test_parts_give_what_the_whole_gives(
    at_once: Monitored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States in parts of 32 pixels; other chunks have other hashes."""
    monkeypatch.setattr(pixels, "PART_PX", 32)
    found = run(tmp_path / "alerts", rule=rule_of(at_once), block=64)
    chunks = [*(found.folder / "state").glob("000007/layers.zarr/status/c/*/*")]
    assert len(chunks) == 16
    for name, values in at_once.state.pixels.arrays.items():
        np.testing.assert_array_equal(found.state.pixels.arrays[name][...], values, err_msg=name)
    assert found.state.record.fixed == at_once.state.record.fixed
    pd.testing.assert_frame_equal(
        found.state.tracked.table, at_once.state.tracked.table, check_exact=True
    )
    assert found.processed == at_once.processed
    for name in ("history.csv", "events.geojson"):
        assert (found.folder / name).read_text() == (at_once.folder / name).read_text()
    for path in at_once.folder.glob("*.tif"):
        assert (found.folder / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_blocks_may_change_between_runs(tmp_path: Path) -> None:
    start = {"start": str(CUBE["time"].values[FIRST - 1].astype("datetime64[D]"))}
    whole = run(tmp_path / "whole", partly_seen_cube(FIRST + 1), **start)
    run(tmp_path / "parts", partly_seen_cube(FIRST), block=96, **start)
    parts = run(tmp_path / "parts", partly_seen_cube(FIRST + 1), block=100, **start)
    assert content(parts.folder) == content(whole.folder)


@pytest.mark.parametrize("rule", RULES)
def test_an_acquisition_that_does_not_see_a_pixel_detects_nothing_there(
    rule: str, tmp_path: Path
) -> None:
    """Even where those before it show a change, whose region reaches there."""
    to = tmp_path / "alerts"
    before = run(to, partly_seen_cube(HALF_SEEN), rule=rule).layers
    after = run(to, partly_seen_cube(HALF_SEEN + 1), rule=rule).layers
    unseen = np.zeros(before.shape, dtype=bool)
    unseen[UNSEEN] = True
    assert np.isnan(after.metric[unseen]).all()
    assert np.isfinite(after.metric[~unseen]).all()
    assert np.median(before.count[unseen & disc()]) == HALF_SEEN - FIRST
    for name in ("count", "looks", "last_day", "greatest_metric", "magnitude_looks"):
        old, new = (layers.arrays()[name][..., unseen] for layers in (before, after))
        np.testing.assert_array_equal(new, old, err_msg=name)


def test_a_cluster_gives_what_this_process_gives(at_once: Monitored, tmp_path: Path) -> None:
    """Also of an area of one block, whose tasks and results then go through files."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        found = run(tmp_path / "alerts", rule=rule_of(at_once), scheduler=cluster.scheduler_address)
    assert content(found.folder) == content(at_once.folder)
    assert found.state.record == at_once.state.record


def test_what_was_on_disk_is_read_as_long_as_it_is_kept(tmp_path: Path) -> None:
    cube = partly_seen_cube(START + 1)
    found = run(tmp_path / "alerts", cube, block=64)
    assert found.layers.shape == (SIDE, SIDE)
    again = run(tmp_path / "alerts", cube, block=64)
    assert again.processed == ()
    StateFolder(found.folder).remove([found.state.record.number])
    with pytest.raises(SarcastError, match="later runs have removed state 1"):
        _ = again.layers
    with pytest.raises(SarcastError, match="use what the last run gave"):
        _ = again.events
    assert found.layers.shape == (SIDE, SIDE)  # read before


def test_intermediate_results_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    draft = StateFolder.draft

    def spied(self: StateFolder, *more: Any) -> Any:
        seen.append(any((self.path / ".scratch").iterdir()))
        return draft(self, *more)

    monkeypatch.setattr(StateFolder, "draft", spied)
    run(tmp_path / "alerts", partly_seen_cube(START + 1), block=64)
    assert seen == [True]
    assert not [*(tmp_path / "alerts").rglob(".*")]
    monkeypatch.setattr(StateFolder, "draft", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "other", partly_seen_cube(FIRST), block=64)
    assert not [*(tmp_path / "other").rglob(".scratch*")]


# --- pixels ---------------------------------------------------------------------------------------


def test_blank_pixels_are_those_that_nothing_has_seen() -> None:
    blank, empty = Pixels.blank((5, 7), 2), Layers.empty((5, 7), 2)
    blank.check((5, 7), 2)
    for name, values in empty.arrays().items():
        np.testing.assert_array_equal(blank.layers().arrays()[name], values, strict=True)
    part = blank.layers((slice(1, 3), slice(2, 7)))
    assert part.shape == (2, 5)
    assert blank.baselines().in_use == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": np.zeros((5, 7), np.int32)}, "count is .*int32.*expected .*uint16"),
        ({"magnitude": np.zeros((1, 5, 7), np.float32)}, r"magnitude is .*\(1, 5, 7\)"),
        ({"unknown": np.zeros((5, 7))}, "unknown is .*expected None"),
    ],
)
def test_other_arrays_are_refused(change: dict[str, Any], message: str) -> None:
    arrays = {**Pixels.blank((5, 7), 2).in_memory().arrays, **change}
    with pytest.raises(ValueError, match=message):
        Pixels(arrays).check((5, 7), 2)


def test_the_hash_depends_on_every_value() -> None:
    blank = Pixels.blank((5, 7), 2).in_memory()
    hashes = {blank.digest()}
    for name, values in blank.arrays.items():
        changed = np.array(values)
        changed.flat[-1] = 3
        hashes.add(Pixels({**blank.arrays, name: changed}).digest())
    assert len(hashes) == len(blank.arrays) + 1
    assert Pixels.blank((5, 7), 2).digest() in hashes


def test_a_state_of_another_shape_is_damaged(tmp_path: Path) -> None:
    found = run(tmp_path / "alerts", partly_seen_cube(START + 1))
    path = tmp_path / "alerts" / "state" / "000001" / "layers.zarr" / "count" / "zarr.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps({**metadata, "data_type": "int32"}))
    with pytest.raises(SarcastError, match="000001 is damaged .*remove this folder"):
        StateFolder(found.folder).read(1, ("VV", "VH"))


# --- boxes of fixed baselines ---------------------------------------------------------------------


@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 30 * CELL_PX),
    columns=st.integers(1, 30 * CELL_PX),
    share=st.sampled_from([0.0, 0.01, 0.2, 1.0]),
)
def test_boxes_hold_each_pixel_once_with_its_margin(
    seed: int, rows: int, columns: int, share: float
) -> None:
    shape = (-(-rows // CELL_PX), -(-columns // CELL_PX))
    cells = np.random.default_rng(seed).random(shape) < share
    count = np.zeros(shape, dtype=int)
    for box, held in watcher._boxes(cells, (rows, columns)):
        own = watcher._pixels_of(held, box)
        for part, pixels_ in zip(box, (rows, columns), strict=True):
            assert 0 <= part.start < part.stop <= pixels_
            assert part.stop - part.start <= (MOST_CELLS + 2) * CELL_PX
        assert own.shape == tuple(part.stop - part.start for part in box)
        first = [part.start // CELL_PX for part in box]
        inside = own[::CELL_PX, ::CELL_PX]
        count[first[0] : first[0] + inside.shape[0], first[1] : first[1] + inside.shape[1]] += (
            inside
        )
        for cell in np.argwhere(inside):
            for index, part, at, pixels_ in zip(cell, box, first, (rows, columns), strict=True):
                start = (at + index) * CELL_PX
                assert part.start <= max(start - CELL_PX, 0)
                assert part.stop >= min(start + 2 * CELL_PX, pixels_)
    np.testing.assert_array_equal(count, cells)


def test_cells_hold_the_pixels_of_each_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "PART_PX", 100)
    codes = np.zeros((300, 400), dtype=np.uint16)
    codes[127, 128], codes[128:130, 399], codes[299, 0] = 1, 5, 5
    cells = watcher._cells_of(codes)
    assert sorted(cells) == [1, 5]
    assert np.argwhere(cells[1]).tolist() == [[0, 1]]
    assert np.argwhere(cells[5]).tolist() == [[1, 3], [2, 0]]
