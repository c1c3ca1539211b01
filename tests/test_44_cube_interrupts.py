"""A build that is interrupted, at every line that decides what stays, and run again."""

import asyncio
import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pystac
import pytest
import xarray as xr
import zarr
import zarr.core.sync

from conftest import GRID, opera_name
from interrupts import interrupt_at_line, interrupted_runs
from sarcast.cube import (
    CubeOptions,
    Sources,
    build_cube,
    chunks,
    metadata,
    open_cube,
    steps,
    store,
)
from sarcast.cube.check.report import check_cube
from sarcast.cube.executor import WorkerOptions
from sarcast.cube.store import Store
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog

TINY = GRID[:8, :8]


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[pystac.Item]:
    """Scenes of three dates."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    for day in (1, 2, 3):
        for band in ("VV", "VH"):
            power = 0.1 * rng.gamma(4.4, 1 / 4.4, TINY.shape).astype(np.float32)
            write_cog(folder / f"{opera_name(f'2020030{day}T154005')}_{band}.tif", power, TINY)
    return list(find_items([folder], IndexOptions()))


def build(items: list[pystac.Item], to: Path, sources: Sources | None = None) -> int:
    workers = WorkerOptions(workers=1)
    return build_cube(items, to, TINY, CubeOptions(), sources or Sources(), workers=workers)


def files(path: Path) -> dict[str, bytes]:
    """Content of every file of a store."""
    found = sorted(each for each in path.rglob("*") if each.is_file())
    return {str(each.relative_to(path)): each.read_bytes() for each in found}


def dates(path: Path) -> int:
    """Number of visible dates that have all their values."""
    with suppress(Exception):
        cube = open_cube(path)
        assert np.isfinite(cube["backscatter"].values).all()
        return cube.sizes["time"]
    return 0


@pytest.fixture(scope="module")
def whole(items: list[pystac.Item], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed cube of two dates."""
    to = tmp_path_factory.mktemp("whole") / "cube.zarr"
    build(items[:2], to)
    return to


@pytest.fixture(scope="module")
def first(items: list[pystac.Item], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube of the first date."""
    to = tmp_path_factory.mktemp("first") / "cube.zarr"
    build(items[:1], to)
    return to


COMMIT = (steps.StepWriter.run, steps.StepWriter._commit, Store.commit, metadata.write_metadata)
ROLLBACK = (Store.roll_back, metadata.restore_array_metadata, chunks.delete_chunks_beyond)


def test_an_interrupt_at_any_line_of_an_extension_loses_no_date(
    items: list[pystac.Item], first: Path, whole: Path, tmp_path: Path
) -> None:
    """The rerun's store equals an undisturbed one, file by file; a visible date stays visible."""
    to, undisturbed = tmp_path / "cube.zarr", files(whole)

    def extend() -> None:
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(first, to)
        build(items[:2], to)

    visible = []
    for line in interrupted_runs(extend, *COMMIT, metadata.replace_json):
        visible.append(dates(to))
        assert build(items[:2], to) == 2 - visible[-1], line
        assert files(to) == undisturbed, line
    assert {*visible} == {1, 2}


def test_a_second_interrupt_while_rolling_back(
    items: list[pystac.Item],
    first: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one comes when the arrays were extended, but the step is not visible yet."""
    to, roll_back, undisturbed = tmp_path / "cube.zarr", Store.roll_back, files(whole)
    commit = Store.commit

    def stop(_: Store) -> None:
        monkeypatch.setattr(Store, "roll_back", again)
        raise SystemExit

    def again(store: Store) -> None:
        with interrupt_at_line(number, *ROLLBACK, error=SystemExit) as interrupt:
            roll_back(store)
        assert not interrupt.line
        finished.append(number)

    finished: list[int] = []
    number = 0
    while not finished:
        number += 1
        shutil.copytree(first, to)
        monkeypatch.setattr(Store, "commit", stop)
        with pytest.raises(SystemExit):
            build(items[:2], to)
        monkeypatch.setattr(Store, "roll_back", roll_back)
        monkeypatch.setattr(Store, "commit", commit)
        assert dates(to) == 1
        build(items[:2], to)
        assert files(to) == undisturbed
        shutil.rmtree(to)
    assert number > 10


def test_calls_of_zarr_that_outlive_their_interrupt_end_before_a_store_is_rolled_back(
    tmp_path: Path,
) -> None:
    created, ended = Store.open(tmp_path / "cube.zarr", TINY, has_truth=False), []

    async def write() -> None:
        await asyncio.sleep(0.3)
        ended.append(True)

    asyncio.run_coroutine_threadsafe(write(), zarr.core.sync._get_loop())
    created.roll_back()
    assert ended


def test_an_interrupt_at_any_line_of_a_creation(tmp_path: Path) -> None:
    """Also while the next run deletes what it left: the store is created in the end."""
    Store.open(tmp_path / "whole.zarr", TINY, has_truth=False)
    undisturbed, to = files(tmp_path / "whole.zarr"), tmp_path / "cube.zarr"

    def create() -> None:
        Store.open(to, TINY, has_truth=False)

    for line in interrupted_runs(create, Store._create, Store._create_array, Store.commit):
        for again in interrupted_runs(create, store.discard, metadata.hide_arrays):
            assert dates(to) == 0, (line, again)
        assert files(to) == undisturbed, line
        shutil.rmtree(to)


def test_an_interrupt_at_any_line_while_an_empty_store_is_removed(tmp_path: Path) -> None:
    Store.open(tmp_path / "whole.zarr", TINY, has_truth=False)
    undisturbed, to = files(tmp_path / "whole.zarr"), tmp_path / "cube.zarr"

    def remove() -> None:
        Store.open(to, TINY, has_truth=False)
        store.discard(to)

    for line in interrupted_runs(remove, store.discard, metadata.hide_arrays):
        Store.open(to, TINY, has_truth=False)
        assert files(to) == undisturbed, line
    assert not files(to)


def test_a_variable_that_no_run_finished_is_discarded(
    items: list[pystac.Item], first: Path, whole: Path, tmp_path: Path
) -> None:
    """Land cover is half written when the run is interrupted; the next run has no land cover."""
    to = tmp_path / "cube.zarr"
    shutil.copytree(first, to)
    write_cog(tmp_path / "cover.tif", np.full(TINY.shape, 10, np.uint8), TINY, nodata=0)
    with (
        suppress(KeyboardInterrupt),
        interrupt_at_line(1, Store.commit) as interrupt,
    ):
        build(items[:2], to, Sources(cover=(tmp_path / "cover.tif",)))
    assert interrupt.line and (to / "forest").is_dir()
    build(items[:2], to)
    assert files(to) == files(whole)


# --- dates that lost files ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["backscatter/c/0/0/0/0", "incidence/c/0/0/0"])
@pytest.mark.parametrize("is_empty", [False, True])
def test_a_date_that_lost_a_file_is_written_again(
    items: list[pystac.Item],
    whole: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    is_empty: bool,
) -> None:
    """The file is gone, or empty as after a power failure; a new date is added as well."""
    to = tmp_path / "cube.zarr"
    shutil.copytree(whole, to)
    if is_empty:
        (to / name).write_bytes(b"")
    else:
        (to / name).unlink()
    assert build(items[1:2], to) == 0
    assert "1 dates are incomplete in the cube and stay so, since their scenes" in caplog.text
    assert build(items, to) == 1
    assert "2020-03-01T15:40:05 was incomplete in the cube and was written again" in caplog.text
    build(items, tmp_path / "undisturbed.zarr")
    assert files(to) == files(tmp_path / "undisturbed.zarr")
    assert check_cube(to).faults == ()


def test_lost_conditions_stay_missing_and_are_named(
    items: list[pystac.Item], whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A build without weather does not put missing values in their place."""
    to = tmp_path / "cube.zarr"
    shutil.copytree(whole, to)
    (to / "temperature" / "c" / "0" / "0" / "0").unlink()
    (to / "backscatter" / "c" / "0" / "0" / "0" / "0").unlink()
    build(items[:2], to)
    assert "has lost files of temperature, which stay missing: give its scenes" in caplog.text
    assert "temperature has lost 1 of its files" in check_cube(to).faults[0]


@pytest.mark.parametrize("name", ["heading", "seen", "spatial_ref"])
def test_a_cube_that_lost_values_of_all_dates_is_not_extended(
    items: list[pystac.Item], whole: Path, tmp_path: Path, name: str
) -> None:
    to = tmp_path / "cube.zarr"
    shutil.copytree(whole, to)
    shutil.rmtree(to / name / "c", ignore_errors=True)
    (to / name / "c").unlink(missing_ok=True)
    before = files(to)
    with pytest.raises(SarcastError, match=rf"{name} is stated to have the shape .* are missing"):
        build(items, to)
    assert files(to) == before


def test_the_weather_of_a_repaired_date_is_kept(
    items: list[pystac.Item], whole: Path, tmp_path: Path
) -> None:
    to = tmp_path / "cube.zarr"
    shutil.copytree(whole, to)
    zarr.open_array(to / "temperature", mode="r+")[0] = 7.0
    (to / "backscatter" / "c" / "0" / "0" / "0" / "0").unlink()
    build(items[:2], to)
    np.testing.assert_array_equal(open_cube(to)["temperature"][0], 7.0)


def as_version_1(path: Path) -> None:
    """Make a cube look like one of version 1: few checksums, no chunks without data."""
    shutil.rmtree(path / "lag")
    zarr.create_array(path / "lag", data=np.arange(4), dimension_names=("lag",))
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"].update(sarcast_cube=1)
    del root["attributes"]["checksum"]
    lag = json.loads((path / "lag" / "zarr.json").read_text())
    root["consolidated_metadata"]["metadata"]["lag"] = lag
    (path / "zarr.json").write_text(json.dumps(root))
    for name in ("temperature", "precipitation", "snow_depth", "elevation", "incidence"):
        shutil.rmtree(path / name / "c")


def test_a_cube_of_version_1_is_read_checked_extended_and_repaired(
    items: list[pystac.Item], whole: Path, tmp_path: Path
) -> None:
    to = tmp_path / "cube.zarr"
    shutil.copytree(whole, to)
    as_version_1(to)
    report = check_cube(to)
    assert report.faults == ()
    assert "it was built by an earlier version: damages of lag and of the" in report.warnings[0]
    assert build(items[:2], to) == 0
    assert build(items, to) == 1
    shutil.rmtree(to / "backscatter" / "c" / "1")
    (fault,) = check_cube(to).faults
    assert "2020-03-02T15:40:05 has [0, 0] valid pixels, not the [64, 64]" in fault
    assert build(items, to) == 0
    assert check_cube(to).faults == ()
    build(items, tmp_path / "undisturbed.zarr")
    xr.testing.assert_equal(open_cube(to).load(), open_cube(tmp_path / "undisturbed.zarr").load())


# --- files of others ------------------------------------------------------------------------------


def test_files_of_others_in_a_store_are_kept_and_disturb_nothing(
    items: list[pystac.Item], tmp_path: Path
) -> None:
    to = tmp_path / "cube.zarr"
    to.mkdir()
    (to / ".DS_Store").write_text("mine")
    build(items[:1], to)
    kept = [
        ".DS_Store",
        "x.partial/note",
        "backscatter/c/.DS_Store",
        "backscatter/c/Thumbs.db",
        "backscatter/c/y.partial/note",
        "incidence/c/0/Thumbs.db",
        "notes.txt",
    ]
    for name in kept:
        (to / name).parent.mkdir(exist_ok=True)
        (to / name).write_text("mine")
    build(items[:2], to)
    assert open_cube(to).sizes["time"] == 2
    assert check_cube(to).faults == ()
    assert all((to / name).read_text() == "mine" for name in kept)
    store.discard(to)
    assert (to / "notes.txt").exists() and not (to / "zarr.json").exists()
