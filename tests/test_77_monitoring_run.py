"""Monitoring from end to end: a square that changes, runs one after another, kills, refusals."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

import sarcast
from sarcast.detection.area import Area
from sarcast.detection.blocks import BlockOptions
from sarcast.detection.judged import Part
from sarcast.detection.prepare import measure_null, observer_of
from sarcast.detection.watch import Watch, WatchOptions, plan_watch
from sarcast.errors import SarcastError, UsageError
from sarcast.io.files import exclusive
from sarcast.monitoring.baselines import FIRST_FIXED, MOVING, Baselines, Fixed
from sarcast.monitoring.layers import Status, day_of
from sarcast.monitoring.monitor import Monitored
from sarcast.monitoring.options import FREE, MonitorOptions
from sarcast.monitoring.schedule import first_of
from sarcast.monitoring.state import KEPT, StateFolder
from sarcast.monitoring.watcher import Watcher
from small_alerts import (
    DATES,
    FIRST,
    MEAN,
    SETTINGS,
    SIDE,
    SQUARE,
    START,
    alert_cube,
    day,
    times,
    watch,
)

CUBE = alert_cube()


@pytest.fixture(scope="module")
def alerts(tmp_path_factory: pytest.TempPathFactory) -> Monitored:
    """All acquisitions in one run, with notifications in a file."""
    folder = tmp_path_factory.mktemp("alerts")
    return watch(CUBE, folder / "alerts", notify=str(folder / "notes.jsonl"))


def content(folder: Path) -> dict[str, Any]:
    """What must not depend on how many runs wrote a folder, and whether they were killed."""
    rasters = {path.name: path.read_bytes() for path in folder.glob("*.tif")}
    texts = {
        name: (folder / name).read_text() for name in ("history.csv", "item.json", "events.geojson")
    }
    outbox = sorted(path.name for path in (folder / "outbox").iterdir())
    states = sorted(path.name for path in (folder / "state").iterdir())
    hidden = [path.name for path in folder.rglob(".*")]
    return {**rasters, **texts, "outbox": outbox, "states": states, "hidden": hidden}


# --- what is found --------------------------------------------------------------------------------


def test_the_change_is_confirmed_with_its_dates(alerts: Monitored) -> None:
    (event,) = alerts.events.itertuples()
    assert event.state == "confirmed"
    assert event.first_date == day(FIRST)
    assert event.confirmed_date == day(FIRST + 1)
    assert event.last_date == day(DATES - 1)
    assert event.finished_date == ""
    assert event.area_ha == pytest.approx(64 * 0.04, rel=0.25)
    assert event.confirmed_ha <= event.area_ha == event.alert_ha + event.confirmed_ha
    assert event.mean_vv_db == pytest.approx(-8.0, abs=2.0)
    layers = alerts.layers
    changed = np.zeros((SIDE, SIDE), dtype=bool)
    changed[SQUARE] = True
    confirmed = np.isin(layers.status, (Status.CONFIRMED_LOW, Status.CONFIRMED_HIGH))
    assert (confirmed & changed).sum() / (confirmed | changed).sum() > 0.7
    assert set(layers.first_day[confirmed & changed]) == {day_of(times()[FIRST])}
    assert set(layers.confirmed_day[confirmed & changed]) == {day_of(times()[FIRST + 1])}


def test_each_acquisition_is_summed_up_logged_and_noted_in_the_history(alerts: Monitored) -> None:
    summary = alerts.summary()
    assert [each["time"][:10] for each in summary["acquisitions"]] == [
        day(index) for index in range(START, DATES)
    ]
    by_date = {each["time"][:10]: each for each in summary["acquisitions"]}
    assert by_date[day(FIRST)]["new"] == [1]
    assert by_date[day(FIRST + 1)]["confirmed"] == [1]
    assert by_date[day(FIRST)]["seen"] == 1.0
    assert summary["events"] == {"confirmed": 1}
    json.dumps(summary)
    history = pd.read_csv(alerts.folder / "history.csv")
    assert history["date"].str[:10].tolist() == [day(index) for index in range(FIRST, DATES)]
    assert history["state"].tolist() == ["alert"] + ["confirmed"] * (DATES - FIRST - 1)
    assert history["evidence"].is_monotonic_increasing
    assert history["confirmed_ha"].iloc[-1] == pytest.approx(
        alerts.events["confirmed_ha"][0], rel=1e-3
    )
    log = (alerts.folder / "monitor.log").read_text().splitlines()
    assert len(log) == DATES - START
    assert "null distributions renewed" in log[0]
    assert "1 confirmed" in log[FIRST + 1 - START]


def test_a_run_without_anything_new_changes_nothing(
    alerts: Monitored, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(alerts.folder, tmp_path / "alerts")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = watch(CUBE, folder)
    assert again.processed == ()
    assert f"nothing new since {day(DATES - 1)}" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in before} == before
    pd.testing.assert_frame_equal(again.events, alerts.events)


def test_runs_night_by_night_equal_one_run(alerts: Monitored, tmp_path: Path) -> None:
    """The cube of a night has no later acquisitions: nothing of the future is used."""
    for dates in range(START + 1, DATES + 1):
        last = watch(alert_cube(dates), tmp_path / "alerts", notify=str(tmp_path / "notes.jsonl"))
        assert len(last.processed) == 1
    assert content(tmp_path / "alerts") == content(alerts.folder)
    notes = (alerts.folder.parent / "notes.jsonl").read_text()
    assert (tmp_path / "notes.jsonl").read_text() == notes
    kinds = [json.loads(line)["type"].rsplit(".", 1)[1] for line in notes.splitlines()]
    assert kinds == ["new", "confirmed"]


def test_a_change_that_ends_is_finished_against_its_old_baseline(tmp_path: Path) -> None:
    """By then the moving baseline has the changed images alone."""
    cube = alert_cube(until=DATES - 3)
    done = watch(cube, tmp_path / "alerts", previous=1)
    (event,) = done.events[done.events["first_date"] == day(FIRST)].itertuples()
    assert event.state == "finished"
    assert event.finished_date > event.last_date
    assert event.geometry.area == pytest.approx(64 * 400.0, rel=0.3)


# --- the baseline ---------------------------------------------------------------------------------


def plan_at(index: int) -> Watch:
    choice = WatchOptions(until=str(times()[index].astype("datetime64[s]")), acquisitions=2)
    return plan_watch(CUBE, choice)


def test_a_fixed_baseline_keeps_the_evidence_that_a_moving_one_loses() -> None:
    options = MonitorOptions(**{**SETTINGS, "previous": 1, "bands": ("VV", "VH")})
    part = Part(CUBE, np.ones((SIDE, SIDE), dtype=bool))
    null = measure_null(Area(part), MEAN, plan_at(START), options)
    observer = observer_of(CUBE, MEAN, null.strata, options)
    watcher, plan = Watcher(observer, null, Area(part)), plan_at(DATES - 1)
    inside = np.zeros((SIDE, SIDE), dtype=bool)
    inside[SQUARE] = True
    moving, codes = np.full((SIDE, SIDE), MOVING), np.where(inside, FIRST_FIXED, MOVING)
    fixed = Fixed.of([(str(times()[FIRST].astype("datetime64[s]")), False)])
    plain, kept = (watcher.look_at(plan, each, fixed) for each in (moving, codes))
    low, high = (np.median(watcher.evidence(each)[0][SQUARE]) for each in (plain, kept))
    assert low < 1.5 < 4.0 < high
    # each pixel has the residuals of its own baseline, exactly
    whole = watcher.look_at(replace(plan, before=times()[FIRST]), moving, fixed)
    box = slice(0, SIDE), slice(0, SIDE)
    found, old, new = (each.residuals.read(box, null.strata).z for each in (kept, whole, plain))
    np.testing.assert_array_equal(found[..., inside], old[..., inside])
    np.testing.assert_array_equal(found[..., ~inside], new[..., ~inside])
    np.testing.assert_array_equal(kept.difference[..., inside], whole.difference[..., inside])
    np.testing.assert_array_equal(kept.difference[..., ~inside], plain.difference[..., ~inside])
    # and its evidence is that of these residuals, computed at once
    twin = observer.observe_residuals(kept.residuals.read(box, null.strata))
    evidence = null.evidence(twin.statistics, twin.looks)
    np.testing.assert_array_equal(watcher.evidence(kept)[0], evidence)


def test_null_distributions_are_renewed_after_some_days(tmp_path: Path) -> None:
    folder = tmp_path / "alerts"
    watch(alert_cube(START + 3), folder, renew_days=12)
    records = [StateFolder(folder).record(number) for number in (2, 3)]
    assert [each.null_number for each in records] == [1, 3]
    assert records[1].null_time[:10] == day(START + 2)
    watch(alert_cube(START + 4), folder, renew_days=12, renew_null=True)
    assert StateFolder(folder).record(4).null_number == 4


@pytest.mark.parametrize("content", [None, b"PK damaged"])
def test_null_distributions_that_cannot_be_read_are_replayed_when_asked(
    tmp_path: Path, content: bytes | None
) -> None:
    folder = tmp_path / "alerts"
    watch(alert_cube(START + 1), folder)
    path = StateFolder(folder).null_path(1)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SarcastError, match=r"null-000001.npz are .* \(--renew-null\)$") as error:
        watch(alert_cube(START + 2), folder)
    assert "\n" not in str(error.value)
    assert StateFolder(folder).numbers() == [1]
    watch(alert_cube(START + 2), folder, renew_null=True)
    assert StateFolder(folder).record(2).null_number == 2


@pytest.mark.parametrize(("year_days", "renewed"), [(365.0, [0, 3]), (72.0, [0])])
def test_a_short_past_is_replayed_anew_when_it_is_a_quarter_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, year_days: float, renewed: list[int]
) -> None:
    """It begins with 72 days, and the fourth acquisition lies 18 days later."""
    monkeypatch.setattr("sarcast.monitoring.nulls.YEAR_DAYS", year_days)
    folder = tmp_path / "alerts"
    watch(alert_cube(START + 5), folder)
    log = (folder / "monitor.log").read_text().splitlines()
    assert len(log) == 5
    assert [k for k, line in enumerate(log) if "null distributions renewed" in line] == renewed


# --- kills ----------------------------------------------------------------------------------------


def visible(target: object) -> bool:
    """Whether a rename takes effect outside of the hidden folders of a run."""
    return not any(part in (".writing", ".outputs") for part in Path(str(target)).parts[:-1])


def killed_at(folder: Path, number: int, notes: Path, cube: xr.Dataset = CUBE) -> bool:
    """Run in a process that ends at once, as by SIGKILL, before its n-th visible rename."""
    child = os.fork()
    if child == 0:
        left = [number]
        originals = {name: getattr(os, name) for name in ("rename", "replace")}

        def dying(name: str) -> Any:
            def rename(source: Any, target: Any, **more: Any) -> None:
                left[0] -= visible(target)
                if left[0] < 0:
                    os._exit(9)
                originals[name](source, target, **more)

            return rename

        for name in originals:
            setattr(os, name, dying(name))
        try:
            watch(cube, folder, notify=str(notes))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


def test_a_run_that_is_killed_anywhere_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Killed at the acquisition that shows the change; the next run has one more."""
    base, cube = tmp_path / "base", alert_cube(FIRST + 2)
    watch(alert_cube(FIRST), base, notify=str(tmp_path / "base.jsonl"))
    whole = shutil.copytree(base, tmp_path / "whole")
    watch(cube, whole, notify=str(tmp_path / "whole.jsonl"))
    expected, notes = content(whole), (tmp_path / "whole.jsonl").read_bytes()
    for number in (0, 1, 2, 3, 16, 24):
        folder = shutil.copytree(base, tmp_path / f"killed-{number}")
        log = tmp_path / f"{number}.jsonl"
        assert killed_at(folder, number, log, alert_cube(FIRST + 1)), number
        watch(cube, folder, notify=str(log))
        assert content(folder) == expected, number
        assert log.read_bytes() == notes, number


def test_a_full_disk_leaves_the_last_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alerts: Monitored
) -> None:
    folder = shutil.copytree(alerts.folder, tmp_path / "alerts")
    shutil.rmtree(folder / "state" / f"{DATES - START:06d}")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch, pytest.raises(SarcastError, match="no space left"):
        patch.setattr(pd.DataFrame, "to_parquet", full)
        watch(CUBE, folder)
    assert StateFolder(folder).numbers()[-1] == DATES - START - 1
    watch(CUBE, folder)
    assert content(folder) == content(alerts.folder)


def test_an_interrupt_leaves_the_last_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "alerts"
    calls: list[int] = []
    advance = Baselines.after

    def interrupted(self: Baselines, *more: Any) -> Baselines:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return advance(self, *more)

    monkeypatch.setattr(Baselines, "after", interrupted)
    with pytest.raises(KeyboardInterrupt):
        watch(alert_cube(START + 3), folder)
    assert StateFolder(folder).numbers() == [1]


# --- what is refused or named ---------------------------------------------------------------------


def test_two_monitors_on_one_folder(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "alerts"),
        pytest.raises(SarcastError, match="another run is writing"),
    ):
        watch(CUBE, tmp_path / "alerts")


def test_an_acquisition_that_is_late_is_refused_and_taken_by_going_back(
    alerts: Monitored, tmp_path: Path
) -> None:
    folder = tmp_path / "alerts"
    without = CUBE.isel(time=[i for i in range(DATES) if i != DATES - 2])
    watch(without, folder)
    with pytest.raises(
        SarcastError, match=rf"1 acquisitions that are older .*--replay-from {day(DATES - 2)}"
    ):
        watch(CUBE, folder)
    watch(CUBE, folder, replay_from=day(DATES - 2))
    assert content(folder) == content(alerts.folder)


def test_going_back_as_far_as_states_are_kept(alerts: Monitored, tmp_path: Path) -> None:
    folder = shutil.copytree(alerts.folder, tmp_path / "alerts")
    kept = StateFolder(folder).numbers()
    # the last ones, and the last one of May
    assert kept == [2, *range(DATES - START - KEPT + 1, DATES - START + 1)][-len(kept) :]
    with pytest.raises(SarcastError, match="no state before .* is kept"):
        watch(CUBE, folder, replay_from=day(START + 1))
    assert StateFolder(folder).numbers() == kept
    watch(CUBE, folder, replay_from=day(START))
    assert content(folder) == content(alerts.folder)


def test_reprocessed_and_lost_acquisitions_are_named(
    alerts: Monitored, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(alerts.folder, tmp_path / "alerts")
    scenes = CUBE["scene_id"].values.astype("U20").copy()
    scenes[FIRST] = "reprocessed"
    moved = CUBE["time"].values.copy()
    moved[FIRST] += np.timedelta64(25, "s")  # a slice more, earlier or later
    cube = CUBE.assign_coords(scene_id=("time", scenes), time=moved)
    assert watch(cube, folder).processed == ()
    assert f"another scene now: {day(FIRST)}" in caplog.text
    assert f"--replay-from {day(FIRST)}" in caplog.text
    caplog.clear()
    watch(CUBE.isel(time=[i for i in range(DATES) if i != FIRST]), folder)
    assert f"no longer in the cube: {day(FIRST)}" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"misses": 3}, "with misses 2, but misses is 3 here"),
        ({"rule": "opera"}, "with rule sequential, but rule is opera here"),
        ({"bands": ("VH",)}, "with bands VV VH, but bands is VH here"),
    ],
)
def test_other_options_are_refused(
    alerts: Monitored, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SarcastError, match=f"{message}; use what it was begun with"):
        watch(CUBE, alerts.folder, **change)


def test_another_grid_model_or_version_is_refused(alerts: Monitored, tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match="was monitored with grid .*40x40"):
        watch(CUBE.isel(y=slice(0, 30)), alerts.folder)
    other = sarcast.prediction.strategies.STRATEGIES["latest"]
    with pytest.raises(SarcastError, match="with model mean, but model is latest"):
        sarcast.monitor(CUBE, other, to=alerts.folder, **SETTINGS)
    folder = shutil.copytree(alerts.folder, tmp_path / "alerts")
    last = StateFolder(folder).path / f"{DATES - START:06d}"
    record = json.loads((last / "record.json").read_text())
    (last / "record.json").write_text(json.dumps({**record, "version": 99}))
    with pytest.raises(SarcastError, match="is of version 99, this sarcast reads 2"):
        watch(CUBE, folder)


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("events.parquet", b"nothing"),
        ("layers.zarr/status/c/0/0", b"nothing"),
        ("layers.zarr/first_day/c/0/0", None),
        ("record.json", b"{"),
    ],
)
def test_a_damaged_state_is_named_and_the_one_before_goes_on(
    alerts: Monitored, tmp_path: Path, file: str, value: bytes | None
) -> None:
    folder = shutil.copytree(alerts.folder, tmp_path / "alerts")
    last = StateFolder(folder).path / f"{DATES - START:06d}"
    if value is None:
        (last / file).unlink()
    else:
        (last / file).write_bytes(value)
    with pytest.raises(SarcastError, match=rf"{last.name} is damaged .*remove this folder"):
        watch(CUBE, folder)
    if file == "events.parquet":
        shutil.rmtree(last)
        watch(CUBE, folder)
        assert content(folder) == content(alerts.folder)


def test_a_history_that_was_cut_is_refused(alerts: Monitored, tmp_path: Path) -> None:
    folder = shutil.copytree(alerts.folder, tmp_path / "alerts")
    shutil.rmtree(folder / "state" / f"{DATES - START:06d}")
    (folder / "history.csv").write_text("date\n")
    with pytest.raises(SarcastError, match=r"history.csv has 5 bytes, expected at least"):
        watch(CUBE, folder)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SarcastError, match="is not empty and has no folder state"):
        watch(CUBE, tmp_path)
    with pytest.raises(SarcastError, match="is a file, expected a folder"):
        watch(CUBE, tmp_path / "thesis.txt")


def test_dates_before_the_epoch_are_refused_at_once(tmp_path: Path) -> None:
    old = CUBE.assign_coords(time=CUBE["time"].values - np.timedelta64(730, "D"))
    with pytest.raises(SarcastError, match=r"opera has dates after 2020-12-31.*--encoding gfw"):
        watch(old, tmp_path / "alerts", start=None)
    assert not (tmp_path / "alerts").exists()


def test_too_short_a_past(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SarcastError, match="6 acquisitions are needed, 4 of them as the first"):
        watch(alert_cube(5), tmp_path / "alerts", start=None)
    with pytest.raises(SarcastError, match=r"no acquisition follows 2031-01-01 \(--start\)"):
        watch(CUBE, tmp_path / "alerts", start="2031-01-01")
    with pytest.raises(UsageError, match="give options, or misses alone"):
        sarcast.monitor(CUBE, MEAN, to=tmp_path, options=MonitorOptions(), misses=3)


def test_options_that_may_change_are_the_few_that_say_so() -> None:
    changed = {"encoding": "gfw", "notify": "x", "renew_null": True, "replay_from": "2021"}
    blocks = {"block": 64, "workers": 3, "scheduler": "tcp://127.0.0.1:8786"}
    assert set(blocks) == set(BlockOptions.model_fields)
    assert {*changed, *blocks, "start", "bands"} == FREE
    assert MonitorOptions(**changed, **blocks).fixed == MonitorOptions().fixed


# --- files ----------------------------------------------------------------------------------------


def test_the_files_agree_with_the_layers(alerts: Monitored) -> None:
    layers, folder = alerts.layers, alerts.folder
    epoch = np.datetime64("2020-12-31")
    with rasterio.open(folder / "status.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), layers.status)
        assert raster.nodata == 255
        assert raster.colormap(1)[int(Status.CONFIRMED_HIGH)][:3] == (190, 18, 60)
        assert "6 confirmed high" in raster.descriptions[0]
        assert raster.crs.to_epsg() == 32635
    for name, values in (
        ("first-date", layers.first_day),
        ("confirmation-date", layers.confirmed_day),
        ("last-date", layers.last_day),
    ):
        with rasterio.open(folder / f"{name}.tif") as raster:
            days = raster.read(1)
            assert (raster.dtypes[0], raster.nodata) == ("int16", -1)
            assert "days since 2020-12-31" in raster.descriptions[0]
            assert raster.tags()["EPOCH"] == "2020-12-31"
        known = days > 0
        np.testing.assert_array_equal(known, values != np.iinfo(np.int32).min)
        dates = epoch + days[known].astype("timedelta64[D]")
        np.testing.assert_array_equal(dates, values[known].astype("datetime64[D]"))
    for name in ("metric", "greatest_metric", "confidence", "magnitude"):
        with rasterio.open(folder / f"{name.replace('_', '-')}.tif") as raster:
            stored = raster.read() if name == "magnitude" else raster.read(1)
        np.testing.assert_array_equal(stored, getattr(layers, name))


def test_events_and_item_are_complete(alerts: Monitored) -> None:
    folder = alerts.folder
    events = geopandas.read_file(folder / "events.gpkg")
    collection = json.loads((folder / "events.geojson").read_text())
    assert events["id"].tolist() == [each["id"] for each in collection["features"]] == [1]
    assert set(collection["features"][0]["properties"]) == set(events.columns) - {"geometry"}
    item = json.loads((folder / "item.json").read_text())
    assert item["properties"]["sarcast:state"] == alerts.state.record.id
    assert item["properties"]["start_datetime"][:10] == day(START)
    assert item["properties"]["end_datetime"][:10] == day(DATES - 1)
    named = {asset["href"].removeprefix("./") for asset in item["assets"].values()}
    written = {path.name for path in folder.iterdir() if path.suffix in (".tif", ".qml", ".gpkg")}
    assert named == written | {"events.geojson"}
    assert item["assets"]["first-date"]["sarcast:epoch"] == "2020-12-31T00:00:00Z"
    classes = item["assets"]["status"]["classification:classes"]
    assert [each["value"] for each in classes] == [*range(9), 255]
    for name in ("events", "status", "metric"):
        assert (folder / f"{name}.qml").read_text().startswith("<!DOCTYPE qgis")


def test_no_event_and_the_other_encoding(tmp_path: Path) -> None:
    quiet = alert_cube(START + 1, shift_db=0.0)
    done = watch(quiet, tmp_path / "alerts", encoding="gfw", false_events=1.0)
    events = geopandas.read_file(tmp_path / "alerts" / "events.gpkg")
    assert events.empty
    assert json.loads((tmp_path / "alerts" / "events.geojson").read_text())["features"] == []
    assert set(events.columns) == set(done.events.columns)
    with rasterio.open(tmp_path / "alerts" / "last-date.tif") as raster:
        days = np.unique(raster.read(1))
    first = times()[START].astype("datetime64[D]") - np.datetime64("2014-12-31")
    assert days.tolist() == [first.astype(int)]
    with rasterio.open(tmp_path / "alerts" / "alert.tif") as raster:
        assert raster.read(1).max() == 0


def test_the_rule_of_dist_alert_runs_on_the_norm_of_z(tmp_path: Path) -> None:
    done = watch(CUBE, tmp_path / "alerts", rule="opera")
    layers = done.layers
    assert np.nanmedian(layers.metric[SQUARE]) > 4.5
    assert (layers.status[SQUARE] == Status.CONFIRMED_HIGH).mean() > 0.8
    assert len(done.events) >= 1


def test_monitoring_begins_where_the_past_has_seen_every_season(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    options = MonitorOptions(acquisitions=2, previous=4)
    dates = 90
    long = xr.Dataset(coords={"time": times()[0] + np.arange(dates) * np.timedelta64(6, "D")})
    first = first_of(long, options, 4)
    assert first[:10] == str((times()[0] + np.timedelta64(366, "D")).astype("datetime64[D]"))
    assert "a year that can be replayed precedes it" in caplog.text
    # 4 images, 2 acquisitions, and 4 replays of 2 of them before
    assert first_of(long.isel(time=slice(0, 40)), options, 4)[:10] == day(4 + 4 * 2 + 1)
    assert "has not seen all seasons" in caplog.text
    assert first_of(long.isel(time=slice(0, 8)), options, 4)[:10] == day(6)
    assert "the last quarter of the cube is taken" in caplog.text
