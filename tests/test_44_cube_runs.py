"""Runs of a build: several at once, one that finds nothing, one that adds, and what is left."""

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pystac
import pytest
import xarray as xr

from conftest import GRID, opera_name
from sarcast.cli import main
from sarcast.cube import CubeOptions, Sources, build_cube, open_cube
from sarcast.cube.block import Block, BlockStatistics, process_block
from sarcast.cube.executor import WorkerOptions
from sarcast.cube.store import Store, is_half_created
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.files import exclusive
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
    items: list[pystac.Item], to: Path, *, weather: Path | None = None, gone: bool = False
) -> int:
    sources = Sources(weather=() if weather is None else (weather,))
    one = WorkerOptions(workers=1)
    return build_cube(items, to, GRID, CubeOptions(allow_missing=gone), sources, workers=one)


def run(*words: object) -> object:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def test_a_cube_of_which_every_raster_is_gone_is_an_error_and_leaves_nothing(
    scene_folder: Scenes, tmp_path: Path
) -> None:
    folder = written(scene_folder, 3)
    items = items_of(folder)
    build(items[:1], tmp_path / "held.zarr")
    shutil.rmtree(folder)
    with pytest.raises(SarcastError, match=r"none of the 3 dates can be read \(OPERA.* first\)"):
        build(items, tmp_path / "cube.zarr", gone=True)
    assert not (tmp_path / "cube.zarr").exists()
    assert build(items, tmp_path / "held.zarr", gone=True) == 0
    assert open_cube(tmp_path / "held.zarr").sizes["time"] == 1


def test_what_was_added_is_said(
    scene_folder: Scenes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, to = written(scene_folder, 5), tmp_path / "cube.zarr"
    run("index", folder, "--to", tmp_path / "catalogue")
    for end, added, count in (("02", 2, 2), ("05", 3, 5), ("05", 0, 5)):
        capsys.readouterr()
        assert run("cube", tmp_path / "catalogue", "--to", to, "--end", f"2020-03-{end}") == 0
        told = capsys.readouterr().err
        assert f"{to}: added {added} acquisitions; it has {count} dates, 60 x 80 pixels" in told
    assert "already has all 5 acquisitions" in told


# --- weather that tells nothing -------------------------------------------------------------------


def test_weather_without_any_value_is_an_error_before_scenes_are_read(
    scene_folder: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = items_of(written(scene_folder, 3))
    weather(tmp_path / "whole.nc")
    with xr.open_dataset(tmp_path / "whole.nc", decode_coords="all") as held:
        names = ["temperature", "precipitation", "snow_depth"]
        held.assign({name: held[name] * np.nan for name in names}).to_netcdf(tmp_path / "empty.nc")
        later = held["time"] + np.timedelta64(3650, "D")
        held.assign_coords(time=later).to_netcdf(tmp_path / "later.nc")
    with monkeypatch.context() as patched:
        patched.setattr("sarcast.cube.block.process_block", lambda _: pytest.fail("a scene was read"))
        for name, period in (("empty", "2020-03-01 to 2020-03-10"), ("later", "2030-02-27 to ")):
            said = rf"{name}\.nc has no value in the area on any of the 3 dates from 2020-03-01 to "
            with pytest.raises(SarcastError, match=said + rf"2020-03-03 \(its own .* {period}"):
                build(items, tmp_path / "cube.zarr", weather=tmp_path / f"{name}.nc")
            assert not (tmp_path / "cube.zarr").exists()
    build(items, tmp_path / "cube.zarr", weather=tmp_path / "whole.nc")
    assert np.isfinite(open_cube(tmp_path / "cube.zarr")["temperature"]).all()


def test_weather_of_one_date_among_many_is_enough(
    scene_folder: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read a date at a time, the last of which alone has weather."""
    items = items_of(written(scene_folder, 3))
    weather(tmp_path / "whole.nc")
    with xr.open_dataset(tmp_path / "whole.nc", decode_coords="all") as held:
        held[["temperature"]].isel(time=slice(2, None)).to_netcdf(tmp_path / "late.nc")
    monkeypatch.setattr("sarcast.cube.weather._WEATHER_MIB", 0)
    build(items, tmp_path / "cube.zarr", weather=tmp_path / "late.nc")
    known = np.isfinite(open_cube(tmp_path / "cube.zarr")["temperature"]).all(("cy", "cx"))
    assert known.values.tolist() == [False, False, True]


def test_later_weather_leaves_that_of_earlier_dates(scene_folder: Scenes, tmp_path: Path) -> None:
    """Extended by new dates and their weather alone, as one does each year."""
    items = items_of(written(scene_folder, 4))
    weather(tmp_path / "whole.nc")
    with xr.open_dataset(tmp_path / "whole.nc", decode_coords="all") as held:
        early = held["time"] < np.datetime64("2020-03-03")
        held.isel(time=early).to_netcdf(tmp_path / "early.nc")
        held.isel(time=~early).to_netcdf(tmp_path / "late.nc")
    build(items, tmp_path / "at-once.zarr", weather=tmp_path / "whole.nc")
    build(items[:2], tmp_path / "cube.zarr", weather=tmp_path / "early.nc")
    build(items, tmp_path / "cube.zarr", weather=tmp_path / "late.nc")
    names = ["temperature", "snow_depth"]
    xr.testing.assert_equal(
        open_cube(tmp_path / "cube.zarr")[names].load(),
        open_cube(tmp_path / "at-once.zarr")[names].load(),
    )


# --- parts of a cube ------------------------------------------------------------------------------


def test_a_cube_that_lost_its_metadata_is_named_with_what_is_missing(
    scene_folder: Scenes, tmp_path: Path
) -> None:
    items, to = items_of(written(scene_folder, 2)), tmp_path / "cube.zarr"
    build(items, to)
    kept = (to / "zarr.json").read_bytes()
    (to / "zarr.json").unlink()
    with pytest.raises(SarcastError, match=r"damaged cube: it contains backscatter, .* no zarr\.json"):
        build(items, to)
    with pytest.raises(SarcastError, match=r"damaged cube: its zarr\.json is missing; restore it"):
        open_cube(to)
    (to / "zarr.json").write_bytes(kept)
    assert build(items, to) == 0


# --- two runs at once -----------------------------------------------------------------------------


def test_a_second_build_at_once_is_refused_and_nothing_is_lost(
    scene_folder: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a block is written, and again on a cube that is there."""
    items, to = items_of(written(scene_folder, 3)), tmp_path / "cube.zarr"
    refused = []
    asking = threading.Lock()

    def meanwhile(block: Block) -> BlockStatistics:
        if asking.acquire(blocking=False):  # else this is a block of that second build
            with pytest.raises(SarcastError, match=r"another run is writing .*cube\.zarr; wait"):
                build(items, to)
            refused.append(block.step)
            asking.release()
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


def test_a_build_goes_on_in_the_folder_that_it_has_locked(
    scene_folder: Scenes, tmp_path: Path
) -> None:
    """Also where it begins anew, since a killed one had just made the store."""
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


def test_a_lock_is_that_of_the_folder_that_is_there(tmp_path: Path) -> None:
    """One that was deleted while its lock was asked for is none; empty ones go, others stay."""
    with exclusive(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
        with (
            pytest.raises(SarcastError, match="another run is writing"),
            exclusive(tmp_path / "a" / "b"),
        ):
            pytest.fail("two hold one lock")
        assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a" / "b").exists()
    (tmp_path / "file").touch()
    with exclusive(tmp_path / "file"):
        (tmp_path / "file").unlink()
    with exclusive(tmp_path / "a"), pytest.raises(ZeroDivisionError), exclusive(tmp_path / "c"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_deleted_as_it_is_locked_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(opened: int, how: int) -> None:
        (tmp_path / "a").rmdir()

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(SarcastError, match="another run is writing"), exclusive(tmp_path / "a"):
        pytest.fail("a lock of nothing was held")


def test_a_disk_without_locks_is_worked_on_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(opened: int, how: int) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(fcntl, "flock", none)
    with exclusive(tmp_path / "a"):
        (tmp_path / "a" / "file").touch()
    assert (tmp_path / "a" / "file").exists()
