"""Detection and prediction on a Dask cluster: the results of this machine, and how a cluster fails.

Workers are processes of one thread each, on loopback.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import geopandas.testing
import numpy as np
import pytest
import xarray as xr
from distributed import Client

import sarcast
from benchmarks.scheduler import cluster
from sarcast.cli import main
from sarcast.cube import open_cube
from sarcast.cube.executor import WorkerOptions
from sarcast.detection.detect import Detection
from sarcast.errors import SarcastError
from sarcast.prediction import load_model
from sarcast.prediction.predict import Chosen, predict_date
from sarcast.prediction.strategies import STRATEGIES
from sarcast.prediction.tiles import TileOptions
from sarcast.windows import Expected, Predictor, PreviousOptions, Window
from small_changes import DATES, changed_cube, quiet_cube

MEAN = STRATEGIES["mean"]
FIRST = DATES - 2
SETTINGS: Mapping[str, Any] = {"strata": 4, "block": 64, "tile": 48}


@dataclass(frozen=True)
class Hesitant:
    """The mean; the first process that predicts leaves its number in a file, and waits."""

    file: Path
    seconds: float
    name: str = "mean"
    size: int | None = None
    previous: int | None = None
    uses_target: bool = False

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        try:
            with self.file.open("x") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(self.seconds)
        except FileExistsError:
            pass
        return MEAN.expect(windows)


class Counting:
    """Expects the number of its calls."""

    name = "counting"
    size = None
    previous = None
    uses_target = False

    def __init__(self) -> None:
        self.calls = 0

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        self.calls += 1
        return [Expected(np.full_like(each.target, self.calls)) for each in windows]


class Fatal(Counting):
    """Ends the process that predicts, as if it had used up its memory."""

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        os._exit(len(windows))


def started(file: Path) -> int:
    """Wait for the number of the process that began to predict."""
    until = time.monotonic() + 300.0
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < until
        time.sleep(0.01)
    return int(file.read_text())


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with cluster(2) as address:
        yield address


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return changed_cube(FIRST)


@pytest.fixture(scope="module")
def here(cube: xr.Dataset) -> Detection:
    return sarcast.detect(cube, MEAN, **SETTINGS)


def detect(cube: xr.Dataset, scheduler: str, scratch: Path, by: Predictor = MEAN) -> Detection:
    return sarcast.detect(cube, by, scheduler=scheduler, scratch=scratch, **SETTINGS)


def assert_same(found: Detection, expected: Detection) -> None:
    assert len(expected.events) > 0
    xr.testing.assert_identical(found.images.load(), expected.images.load())
    geopandas.testing.assert_geodataframe_equal(found.events, expected.events)
    for name in ("strata", "counts", "combined"):
        np.testing.assert_array_equal(getattr(found.null, name), getattr(expected.null, name))


# --- the same results -----------------------------------------------------------------------------


def test_a_cluster_finds_the_same_changes(
    cube: xr.Dataset, here: Detection, scheduler: str, tmp_path: Path
) -> None:
    found = detect(cube, scheduler, tmp_path)
    assert_same(found, here)
    del found
    assert not [*tmp_path.iterdir()]


def test_an_area_of_one_block_is_computed_by_the_cluster_as_well(
    cube: xr.Dataset, here: Detection, scheduler: str, tmp_path: Path
) -> None:
    """By another process than this one."""
    by, settings = Hesitant(tmp_path / "process", 0.0), {**SETTINGS, "block": 2048}
    found = sarcast.detect(cube, by, scheduler=scheduler, scratch=tmp_path, **settings)
    assert_same(found, here)
    assert started(by.file) != os.getpid()


def test_a_network_predicts_the_same_on_a_cluster(scheduler: str, tmp_path: Path) -> None:
    """With scene context of all tiles, of dates that are set, and from a cube in memory."""
    cube, tiles = quiet_cube(dates=6), TileOptions(tile=64)
    workers, date = WorkerOptions(scheduler=scheduler), cube["time"][-1].values
    for conditions in ({}, {"temperature": 20.0}):
        chosen = Chosen(cube, load_model("base"), PreviousOptions(), tiles)
        local = predict_date(chosen, date, conditions=conditions)
        found = predict_date(chosen, date, conditions=conditions, workers=workers, scratch=tmp_path)
        assert np.isfinite(local["expected"]).all()
        xr.testing.assert_identical(found.load(), local)
    del found
    assert not [*tmp_path.iterdir()]


def test_weights_are_sent_once(scheduler: str, tmp_path: Path) -> None:
    """However many tasks use them: each worker has one predictor, the same for all its tiles."""
    cube, by = quiet_cube(dates=6), Counting()
    chosen = Chosen(cube, by, PreviousOptions(), TileOptions(tile=32, overlap=0.0))
    workers = WorkerOptions(scheduler=scheduler)
    found = predict_date(chosen, cube["time"][-1].values, workers=workers, scratch=tmp_path)
    # two workers do four tasks: one of them does two, and counts on
    assert found["expected"].values.max() >= 2.0
    assert by.calls == 0


# --- the command line -----------------------------------------------------------------------------


def run(*words: object) -> object:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def test_commands_run_on_a_cluster(world_cube: Path, scheduler: str, tmp_path: Path) -> None:
    """From a cube on disk, with the same files."""
    date = str(open_cube(world_cube)["time"].values[-1])[:10]
    words = "--model", "mean", "--acquisitions", 2, "--replays", 2, "--block", 64
    for name, more in (("here", ()), ("there", ("--scheduler", scheduler))):
        assert run("detect", world_cube, "--to", tmp_path / name, *words, *more) == 0
    for file in ("evidence.tif", "difference.tif", "events.geojson", "change.tif"):
        here, there = (tmp_path / name / file for name in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()
    for name, more in (("one", ()), ("two", ("--scheduler", scheduler))):
        model = "--model", "base", "--at", date, "--tile", 64
        assert run("predict", world_cube, "--to", tmp_path / name, *model, *more) == 0
    expected = [(tmp_path / name / "expected.tif").read_bytes() for name in ("one", "two")]
    assert expected[0] == expected[1]


# --- clusters that fail ---------------------------------------------------------------------------


def error_of(
    cube: xr.Dataset, scheduler: str, scratch: Path, by: Predictor = MEAN, **settings: Any
) -> str:
    """The one line that is shown; nothing is left in the folder."""
    scratch.mkdir(exist_ok=True)
    with pytest.raises(SarcastError) as error:
        sarcast.detect(cube, by, scheduler=scheduler, scratch=scratch, **{**SETTINGS, **settings})
    assert not [*scratch.iterdir()]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_no_scheduler_answers(
    cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sarcast.cube.executor.CONNECT_TIMEOUT_S", 0.5)
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in error_of(
        cube, "tcp://127.0.0.1:1", tmp_path / "scratch"
    )


@contextmanager
def processes(folder: Path, workers: int) -> Iterator[tuple[str, list[int]]]:
    """A scheduler and workers as they are started from a shell: address, numbers of processes."""
    file, started_here = folder / "scheduler.json", []
    common = "--scheduler-file", str(file), "--no-dashboard"
    scheduler = ["dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common]
    worker = ["dask_worker", "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1", *common]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    try:
        for number, words in enumerate([scheduler, *[worker] * workers]):
            command = [sys.executable, "-m", f"distributed.cli.{words[0]}", *words[1:]]
            with (folder / f"{number}.log").open("wb") as log:
                started_here.append(
                    subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
                )
            while not file.exists():
                assert started_here[0].poll() is None
                time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
        yield address, [each.pid for each in started_here]
    finally:
        for each in reversed(started_here):
            each.kill()
            each.wait()


def test_a_scheduler_that_dies(
    cube: xr.Dataset,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sarcast.cube.executor.CONNECT_TIMEOUT_S", 3.0)
    by = Hesitant(tmp_path / "process", 3.0)
    with processes(tmp_path, 2) as (address, numbers):

        def kill() -> None:
            started(by.file)
            os.kill(numbers[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        said = error_of(cube, address, tmp_path / "scratch", by)
        killer.join()
        assert f"the connection to the Dask scheduler {address} was lost" in said
        time.sleep(4.0)  # workers that end what they are at write nothing
        assert not [*(tmp_path / "scratch").iterdir()]
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


def test_a_worker_that_dies_changes_nothing(
    cube: xr.Dataset, here: Detection, tmp_path: Path
) -> None:
    """Also the only one that had received the task and the predictor."""
    by = Hesitant(tmp_path / "process", 1.0)
    with cluster(1) as address:

        def kill() -> None:
            os.kill(started(by.file), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        found = detect(cube, address, tmp_path, by)
        killer.join()
    assert_same(found, here)


def test_a_task_that_ends_every_worker(cube: xr.Dataset, tmp_path: Path) -> None:
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), cluster(1) as address:
        said = error_of(cube, address, tmp_path / "scratch", Fatal())
    assert "ended one after the other at the same task" in said
    assert "--block" in said


def test_workers_of_another_version(cube: xr.Dataset, tmp_path: Path) -> None:
    other = tmp_path / "other" / "sarcast-99.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: sarcast\nVersion: 99.1\n")
    first = f"import sys\nsys.path.insert(0, {str(other.parent)!r})"
    with cluster(1, preload=[first]) as address:
        said = error_of(cube, address, tmp_path / "scratch")
    assert "has sarcast of another version (version 99.1) than this process" in said
    assert version("sarcast") in said


HERE = "tcp://127.0.0.1:"
HIDING = """
import io, os
def opened(file, *words, original=io.open, **more):
    if isinstance(file, (str, os.PathLike)) and os.fspath(file).startswith({folder!r}):
        raise FileNotFoundError(2, "No such file or directory", os.fspath(file))
    return original(file, *words, **more)
io.open = opened
"""
"""A worker of another machine, which lacks a folder."""


def test_workers_that_do_not_see_the_folder_of_the_result(world_cube: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    with cluster(1, preload=[HIDING.format(folder=str(folder))]) as address:
        said = error_of(open_cube(world_cube), address, folder)
    assert said.startswith(f"the Dask worker {HERE}")
    assert f"cannot use the folder {folder}/sarcast-" in said
    assert "must see the same files at the same paths" in said


@pytest.mark.skipif(sys.platform != "linux", reason="paths differ by process on Linux alone")
def test_workers_that_do_not_see_the_cube(
    world_cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its path leads through the current folder of each process; lost files count as no data."""
    with cluster(1) as address:
        monkeypatch.chdir(world_cube.parent)
        cube = open_cube(Path("/proc/self/cwd") / world_cube.name)
        said = error_of(cube, address, tmp_path / "scratch")
    assert said.startswith(f"the Dask worker {HERE}")
    assert "cannot read the cube (it finds nan where -" in said
    assert "must see the same files at the same paths" in said


def test_a_folder_of_the_same_name_is_not_the_same(
    cube: xr.Dataset, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a local disk of each machine, such as that for temporary files."""
    monkeypatch.setattr("sarcast.cube.sharing._see_folder", _see_another)
    said = error_of(cube, scheduler, tmp_path / "scratch")
    assert "it has another one of this name" in said


def _see_another(_folder: Path) -> tuple[str, str]:
    return "other", "file"


def test_errors_of_tasks_come_back(cube: xr.Dataset, scheduler: str, tmp_path: Path) -> None:
    """As they are raised here."""
    nowhere = cube.assign(forest=(("y", "x"), np.zeros(cube["backscatter"].shape[-2:], dtype=bool)))
    said = error_of(nowhere, scheduler, tmp_path / "scratch", within=("forest",))
    assert "no pixel is left to be judged" in said
