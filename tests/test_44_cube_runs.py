"""Runs of a build: simultaneous ones, ones that add steps or find no data, and their remains."""

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pystac
import pytest
import xarray as xr

from conftest import GRID, opera_name
from sarcast.cli import main
from sarcast.cube import CubeOptions, Sources, build_cube, open_cube
from sarcast.cube.block import Block, BlockStatistics, process_block
from sarcast.cube.executor import WorkerOptions, start_workers
from sarcast.cube.metadata import is_half_created
from sarcast.cube.steps import BuildPlan, BuildSummary, StepOutcome, StepWriter
from sarcast.cube.store import Store
from sarcast.cube.weather import StepWeather
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.acquisition import acquisitions
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.files import exclusive
from sarcast.io.remote import RemoteOptions
from sarcast.speckle import SpeckleOptions
from small_weather import weather

Scenes = Callable[..., Path]


def power(seed: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).gamma(4.4, 1 / 4.4, (2, *GRID.shape))


def written(scene_folder: Scenes, days: int) -> Path:
    return scene_folder(
        {opera_name(f"202003{day:02d}T154005"): power(day) for day in range(1, days + 1)}
    )


def items_of(folder: Path) -> list[pystac.Item]:
    return list(find_items([folder], IndexOptions()))


def build(
    items: list[pystac.Item], to: Path, *, weather: Path | None = None, allow_missing: bool = False
) -> int:
    sources = Sources(weather=() if weather is None else (weather,))
    options = CubeOptions(allow_missing=allow_missing)
    return build_cube(items, to, GRID, options, sources, workers=WorkerOptions(workers=1))


def run(*words: object) -> object:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def test_a_cube_without_any_readable_raster_is_an_error_and_leaves_nothing(
    scene_folder: Scenes, tmp_path: Path
) -> None:
    folder = written(scene_folder, 3)
    items = items_of(folder)
    build(items[:1], tmp_path / "existing.zarr")
    shutil.rmtree(folder)
    with pytest.raises(SarcastError, match=r"none of the 3 dates can be read \(OPERA.* first\)"):
        build(items, tmp_path / "cube.zarr", allow_missing=True)
    assert not (tmp_path / "cube.zarr").exists()
    assert build(items, tmp_path / "existing.zarr", allow_missing=True) == 0
    assert open_cube(tmp_path / "existing.zarr").sizes["time"] == 1


def test_the_number_of_added_acquisitions_is_reported(
    scene_folder: Scenes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, to = written(scene_folder, 5), tmp_path / "cube.zarr"
    run("index", folder, "--to", tmp_path / "catalogue")
    for end, added, count in (("02", 2, 2), ("05", 3, 5), ("05", 0, 5)):
        capsys.readouterr()
        assert run("cube", tmp_path / "catalogue", "--to", to, "--end", f"2020-03-{end}") == 0
        output = capsys.readouterr().err
        assert f"{to}: added {added} acquisitions; it has {count} dates, 60 x 80 pixels" in output
    assert "already has all 5 acquisitions" in output


def test_each_step_of_a_plan_is_visible_when_its_outcome_is_known(
    scene_folder: Scenes, tmp_path: Path
) -> None:
    """Outcomes come in the order of the plan; the second acquisition cannot be read."""
    folder = written(scene_folder, 4)
    wanted = acquisitions(items_of(folder))
    next(folder.glob("*20200302*VH.tif")).unlink()
    store = Store.open(tmp_path / "cube.zarr", GRID, has_truth=False)
    plan = BuildPlan(
        path=store.path,
        grid=GRID,
        bands=("VV", "VH"),
        acquisitions=wanted,
        repairs={},
        earlier={},
        speckle=SpeckleOptions(),
        resampling="nearest",
        with_truth=False,
        allow_missing=True,
        remote=RemoteOptions(),
    )
    weather = StepWeather(None, GRID, [each.time for each in wanted])
    outcomes, visible = [], []
    with start_workers(WorkerOptions(workers=2)) as workers:
        for outcome in StepWriter(plan, store, workers, weather).run():
            outcomes.append(outcome)
            visible.append(open_cube(store.path)["scene_id"].values.tolist())
    names = [each.scene_id for each in wanted]
    assert [outcome.acquisition.scene_id for outcome in outcomes] == names
    assert visible == [names[:1], names[:1], [names[0], names[2]], [names[0], *names[2:]]]
    summary = BuildSummary(outcomes)
    assert summary.left_out == names[1:2]
    assert {name: each.valid for name, each in summary.written.items()} == dict.fromkeys(
        [names[0], *names[2:]], (4800, 4800)
    )
    with pytest.raises(SarcastError, match=r"none of the 1 dates can be read"):
        BuildSummary(outcomes[1:2]).check(0)


def test_an_interrupt_between_steps_leaves_only_visible_steps(
    scene_folder: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of later steps, which are processed ahead, are deleted before the lock is released."""

    def stop(steps: Iterable[StepOutcome], *_: object, **__: object) -> Iterator[StepOutcome]:
        for outcome in steps:
            yield outcome
            raise KeyboardInterrupt

    items, to = items_of(written(scene_folder, 4)), tmp_path / "cube.zarr"
    with monkeypatch.context() as patched:
        patched.setattr("sarcast.cube.build.track", stop)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            build_cube(items, to, GRID, CubeOptions(), Sources(), workers=WorkerOptions(workers=4))
        assert open_cube(to).sizes["time"] == 1
        assert [path.name for path in (to / "backscatter" / "c").iterdir()] == ["0"]
        assert interrupted.tb is not None  # which keeps the frames of the build alive until here
    assert build(items, to) == 3


# --- weather without values -----------------------------------------------------------------------


def test_weather_without_any_value_is_an_error_before_scenes_are_read(
    scene_folder: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = items_of(written(scene_folder, 3))
    weather(tmp_path / "whole.nc")
    with xr.open_dataset(tmp_path / "whole.nc", decode_coords="all") as opened:
        names = ["temperature", "precipitation", "snow_depth"]
        opened.assign({name: opened[name] * np.nan for name in names}).to_netcdf(
            tmp_path / "empty.nc"
        )
        later = opened["time"] + np.timedelta64(3650, "D")
        opened.assign_coords(time=later).to_netcdf(tmp_path / "later.nc")
    with monkeypatch.context() as patched:
        patched.setattr("sarcast.cube.block.process_block", lambda _: pytest.fail("scene read"))
        for name, period in (("empty", "2020-03-01 to 2020-03-10"), ("later", "2030-02-27 to ")):
            message = (
                rf"{name}\.nc has no value in the area on any of the 3 dates from 2020-03-01 to "
            )
            with pytest.raises(SarcastError, match=message + rf"2020-03-03 \(its own .* {period}"):
                build(items, tmp_path / "cube.zarr", weather=tmp_path / f"{name}.nc")
            assert not (tmp_path / "cube.zarr").exists()
    build(items, tmp_path / "cube.zarr", weather=tmp_path / "whole.nc")
    assert np.isfinite(open_cube(tmp_path / "cube.zarr")["temperature"]).all()


def test_weather_of_one_date_among_many_is_enough(
    scene_folder: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weather is read one date at a time, and only the last date has values."""
    items = items_of(written(scene_folder, 3))
    weather(tmp_path / "whole.nc")
    with xr.open_dataset(tmp_path / "whole.nc", decode_coords="all") as opened:
        opened[["temperature"]].isel(time=slice(2, None)).to_netcdf(tmp_path / "late.nc")
    monkeypatch.setattr("sarcast.cube.weather._WEATHER_MIB", 0)
    build(items, tmp_path / "cube.zarr", weather=tmp_path / "late.nc")
    known = np.isfinite(open_cube(tmp_path / "cube.zarr")["temperature"]).all(("cy", "cx"))
    assert known.values.tolist() == [False, False, True]


def test_later_weather_keeps_that_of_earlier_dates(scene_folder: Scenes, tmp_path: Path) -> None:
    """Extended by new dates, with a weather file of these dates only."""
    items = items_of(written(scene_folder, 4))
    weather(tmp_path / "whole.nc")
    with xr.open_dataset(tmp_path / "whole.nc", decode_coords="all") as opened:
        early = opened["time"] < np.datetime64("2020-03-03")
        opened.isel(time=early).to_netcdf(tmp_path / "early.nc")
        opened.isel(time=~early).to_netcdf(tmp_path / "late.nc")
    build(items, tmp_path / "at-once.zarr", weather=tmp_path / "whole.nc")
    build(items[:2], tmp_path / "cube.zarr", weather=tmp_path / "early.nc")
    build(items, tmp_path / "cube.zarr", weather=tmp_path / "late.nc")
    names = ["temperature", "snow_depth"]
    xr.testing.assert_equal(
        open_cube(tmp_path / "cube.zarr")[names].load(),
        open_cube(tmp_path / "at-once.zarr")[names].load(),
    )


# --- parts of a cube ------------------------------------------------------------------------------


def test_the_error_of_a_cube_without_metadata_lists_its_variables(
    scene_folder: Scenes, tmp_path: Path
) -> None:
    items, to = items_of(written(scene_folder, 2)), tmp_path / "cube.zarr"
    build(items, to)
    kept = (to / "zarr.json").read_bytes()
    (to / "zarr.json").unlink()
    with pytest.raises(SarcastError, match=r"it contains backscatter, .* no zarr\.json"):
        build(items, to)
    with pytest.raises(SarcastError, match=r"cube: its zarr\.json is missing; restore it"):
        open_cube(to)
    (to / "zarr.json").write_bytes(kept)
    assert build(items, to) == 0


# --- two runs at once -----------------------------------------------------------------------------


def test_a_simultaneous_second_build_is_refused_and_nothing_is_lost(
    scene_folder: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a block is written, in a new cube and in one that is extended."""
    items, to = items_of(written(scene_folder, 3)), tmp_path / "cube.zarr"
    refused = []
    only_first = threading.Lock()

    def meanwhile(block: Block) -> BlockStatistics:
        if only_first.acquire(blocking=False):  # otherwise this is a block of the second build
            with pytest.raises(SarcastError, match=r"another run is writing .*cube\.zarr; wait"):
                build(items, to)
            refused.append(block.step)
            only_first.release()
        return process_block(block)

    monkeypatch.setattr("sarcast.cube.block.process_block", meanwhile)
    assert [build(items[:2], to), build(items, to)] == [2, 1]
    assert refused == [0, 1, 2]
    monkeypatch.undo()
    build(items, tmp_path / "alone.zarr")
    xr.testing.assert_identical(open_cube(to).load(), open_cube(tmp_path / "alone.zarr").load())


def test_a_catalogue_is_written_by_one_run_at_a_time(
    scene_folder: Scenes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, to = written(scene_folder, 2), tmp_path / "catalogue"
    with exclusive(to):
        assert run("index", folder, "--to", to) == 1
    assert f"another run is writing {to}; wait for it to end" in capsys.readouterr().err
    assert run("index", tmp_path, "--to", to) == 0
    (tmp_path / "empty").mkdir()
    assert run("index", tmp_path / "empty", "--to", tmp_path / "none") == 1
    assert not (tmp_path / "none").exists()


def test_a_build_resumes_in_the_folder_that_it_has_locked(
    scene_folder: Scenes, tmp_path: Path
) -> None:
    """Also where it starts again because a killed build had only created the store."""
    items, to = items_of(written(scene_folder, 1)), tmp_path / "cube.zarr"
    Store.open(to, GRID, has_truth=False)
    metadata = json.loads((to / "zarr.json").read_text())
    del metadata["consolidated_metadata"]
    (to / "zarr.json").write_text(json.dumps(metadata))
    assert is_half_created(to)
    opened = os.open(to, os.O_RDONLY)  # so that its number is given to no other folder
    try:
        assert build(items, to) == 1
        assert os.path.samestat(os.fstat(opened), to.stat())
    finally:
        os.close(opened)


def test_a_lock_belongs_to_the_existing_folder(tmp_path: Path) -> None:
    """Folders that were created for a lock are removed if they stay empty."""
    with exclusive(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
        with (
            pytest.raises(SarcastError, match="another run is writing"),
            exclusive(tmp_path / "a" / "b"),
        ):
            pytest.fail("two runs have one lock")
        assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a" / "b").exists()
    (tmp_path / "file").touch()
    with exclusive(tmp_path / "file"):
        (tmp_path / "file").unlink()
    with exclusive(tmp_path / "a"), pytest.raises(ZeroDivisionError), exclusive(tmp_path / "c"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_folder_deleted_while_it_is_locked_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(opened: int, how: int) -> None:
        (tmp_path / "a").rmdir()

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(SarcastError, match="another run is writing"), exclusive(tmp_path / "a"):
        pytest.fail("a deleted folder was locked")


def test_a_file_system_without_locks_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(opened: int, how: int) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(fcntl, "flock", none)
    with exclusive(tmp_path / "a"):
        (tmp_path / "a" / "file").touch()
    assert (tmp_path / "a" / "file").exists()


# --- the executor ---------------------------------------------------------------------------------


def test_a_slow_task_does_not_hold_up_the_others() -> None:
    """The first task ends only when the last one has begun; results stay in their order."""
    begun, count = threading.Event(), 20

    def task(number: int) -> int:
        if number == count - 1:
            begun.set()
        if number == 0:
            assert begun.wait(30.0)
        return number

    with start_workers(WorkerOptions(workers=2)) as workers:
        futures = workers.submit_each(task, [(number,) for number in range(count)])
        assert [future.result() for future in futures] == list(range(count))
        found = workers.each(task, [(number,) for number in range(count)], "counting")
        assert list(found) == list(range(count))


def test_results_that_wait_for_a_slow_task_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sarcast.cube.executor.RESULTS_PER_WORKER", 4)
    end, taken, most = threading.Event(), [], 8

    def calls() -> Iterator[tuple[int]]:
        for number in range(100):
            taken.append(number)
            if len(taken) > most:
                end.set()  # else the first task would end only after its patience
            yield (number,)

    def task(number: int) -> int:
        if number == 0:
            end.wait(1.0)
        return number

    with start_workers(WorkerOptions(workers=2)) as workers:
        futures = workers.submit_each(task, calls())
        assert next(futures).result() == 0
        assert len(taken) == most
        assert [future.result() for future in futures] == list(range(1, 100))


def test_an_error_comes_in_its_turn() -> None:
    def task(number: int) -> float:
        return 1.0 / (number - 3)

    with start_workers(WorkerOptions(workers=2)) as workers:
        found = workers.each(task, [(number,) for number in range(9)], "dividing")
        assert [next(found) for _ in range(3)] == [-1.0 / 3.0, -0.5, -1.0]
        with pytest.raises(ZeroDivisionError):
            next(found)
