"""Monitoring that goes on: scenes dropped into a folder, an API with faults, signals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import xarray as xr

from sarcast.cube import CubeOptions, Sources, open_cube
from sarcast.cube.extend import Request, build_from, extend_by_new
from sarcast.errors import SarcastError
from sarcast.io.remote import RemoteOptions
from sarcast.monitoring.arrivals import Polled, Watched, belongs_to_scene, has_scenes
from sarcast.monitoring.follow import Feed, follow, last_processed
from sarcast.monitoring.monitor import Monitored, monitor
from sarcast.monitoring.options import MonitorOptions
from sarcast.monitoring.state import StateFolder
from services import Answer, web
from services import Request as WebRequest
from small_alerts import MEAN
from test_22_catalogue_api import json_answer
from test_90_cli import fails, run

SETTINGS = {"previous": 3, "acquisitions": 2, "replays": 2, "strata": 1, "outside": ()}
FLAGS = ("--previous", "3", "--acquisitions", "2", "--replays", "2", "--strata", "1")
OPTIONS = MonitorOptions(**SETTINGS)
LATER = 3
"""Scenes that come after the cube was built."""
SOON_S, LONGEST_S = 0.2, 60.0


@dataclass(frozen=True)
class Area:
    """A world, a folder in which some of its scenes have arrived, and a cube of these."""

    scenes: Path
    arriving: Path
    cube: Path
    alerts: Path

    @property
    def names(self) -> list[str]:
        """Ids of the scenes, oldest first."""
        names = (path.stem for path in self.scenes.glob("*.json"))
        return sorted(names, key=lambda name: name.split("_")[1])

    def drop(self, name: str) -> None:
        """Copy a scene into the folder, its rasters first."""
        for path in sorted(self.scenes.glob(f"{name}*"), reverse=True):
            shutil.copy(path, self.arriving)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "world"
    words = ("--size-km", "0.64", "--start", "2021-01-01", "--end", "2021-05-10", "--tracks", "1")
    run("--quiet", "world", folder, *words)
    return folder


@pytest.fixture(scope="module")
def built(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Area:
    """The cube of all scenes but the last."""
    folder = tmp_path_factory.mktemp("area")
    area = Area(world / "scenes", folder / "in", folder / "cube.zarr", folder / "alerts")
    area.arriving.mkdir()
    for name in area.names[:-LATER]:
        area.drop(name)
    build_from(str(area.arriving), area.cube, Request())
    return area


@pytest.fixture
def area(built: Area, tmp_path: Path) -> Area:
    """A copy of it."""
    shutil.copytree(built.arriving.parent, tmp_path / "area")
    names = {name: tmp_path / "area" / name for name in ("in", "cube.zarr", "alerts")}
    return Area(built.scenes, *names.values())


@pytest.fixture(scope="module")
def expected(built: Area, tmp_path_factory: pytest.TempPathFactory) -> Monitored:
    """One run on a cube that is extended by all scenes at once."""
    folder = tmp_path_factory.mktemp("expected")
    cube = shutil.copytree(built.cube, folder / "cube.zarr")
    monitor(open_cube(cube), MEAN, to=folder / "alerts", options=OPTIONS)
    build_from(str(built.scenes), cube, Request())
    return monitor(open_cube(cube), MEAN, to=folder / "alerts", options=OPTIONS)


def follow_until(
    area: Area, feed: Feed, scenes: int, acts: dict[int, Callable[[], None]] | None = None
) -> list[Monitored]:
    """Follow until so many acquisitions are known; act in another thread after a round."""
    rounds: list[Monitored] = []
    deadline = time.monotonic() + LONGEST_S
    for alerts in follow(area.cube, MEAN, to=area.alerts, feed=feed, options=OPTIONS):
        if act := (acts or {}).get(len(rounds)):
            threading.Thread(target=act).start()
        rounds.append(alerts)
        if open_cube(area.cube).sizes["time"] == scenes:
            return rounds
        assert time.monotonic() < deadline, "the scenes were never added"
    raise AssertionError("follow ended")


def feed_of(source: object, **changed: Any) -> Feed:
    return Feed(str(source), **{"every_minutes": 0.01, "settle_s": SOON_S, **changed})


def assert_same(alerts: Monitored, expected: Monitored) -> None:
    assert alerts.state.record.hash == expected.state.record.hash
    for name in ("status.tif", "metric.tif", "events.geojson", "history.csv"):
        found = (alerts.folder / name).read_bytes()
        assert found == (expected.folder / name).read_bytes(), name


# --- a folder -------------------------------------------------------------------------------------


def test_scenes_dropped_into_a_folder_are_added_and_processed(
    area: Area, expected: Monitored
) -> None:
    """One at a time; between them nothing is processed twice."""
    first, second, third = area.names[-LATER:]
    drops = {n: (lambda name=name: area.drop(name)) for n, name in enumerate((first, second))}
    feed = feed_of(area.arriving, every_minutes=10.0)
    rounds = follow_until(area, feed, len(area.names) - 1, drops)
    times = [each["time"] for alerts in rounds for each in alerts.processed]
    assert len(times) == len(set(times))
    assert len(rounds[0].processed) >= 1
    assert [len(alerts.processed) for alerts in rounds[1:]] == [1, 1]
    area.drop(third)  # while nobody watches
    (last,) = follow_until(area, feed, len(area.names))
    assert_same(last, expected)


def test_rasters_that_still_grow_are_waited_for(area: Area, expected: Monitored) -> None:
    """Of a scene without an item, the first band alone would be taken for all of it."""
    name = area.names[-LATER]
    monitor(open_cube(area.cube), MEAN, to=area.alerts, options=OPTIONS)
    platform, moment, _ = name.split("_")
    scene = f"OPERA_L2_RTC-S1_T058-123456-IW2_{moment}Z_20250101T000000Z_{platform}_30_v1.0"

    def arrive() -> None:
        for band in ("VH", "VV"):
            content = (area.scenes / f"{name}_{band}.tif").read_bytes()
            with (area.arriving / f"{scene}_{band}.tif").open("wb", buffering=0) as file:
                for start in range(0, len(content), 1 + len(content) // 4):
                    file.write(content[start : start + 1 + len(content) // 4])
                    time.sleep(0.25)

    feed = feed_of(area.arriving, every_minutes=10.0, settle_s=0.8)
    follow_until(area, feed, len(area.names) - LATER + 1, {0: arrive})
    cube, whole = open_cube(area.cube), open_cube(expected.folder.parent / "cube.zarr")
    assert scene in str(cube["scene_id"].values[-1])
    np.testing.assert_array_equal(cube["backscatter"][-1], whole["backscatter"][-LATER])


def test_an_unreadable_raster_is_tried_again(
    area: Area, expected: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    """It is damaged in the first rounds and whole later; nothing is lost meanwhile."""
    first, *others = area.names[-LATER:]
    area.drop(first)
    (damaged,) = area.arriving.glob(f"{first}_VH.tif")
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    seen: list[int] = []

    def repair() -> None:
        seen.append(open_cube(area.cube).sizes["time"])
        damaged.write_bytes(content)

    follow_until(area, feed_of(area.arriving), len(area.names) - LATER + 1, {2: repair})
    assert seen == [len(area.names) - LATER]
    assert first in caplog.text
    for name in others:
        area.drop(name)
    (last,) = follow_until(area, feed_of(area.arriving), len(area.names))
    assert_same(last, expected)


def test_scenes_that_come_late_are_left_out_and_named_once(
    area: Area, expected: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    first, late, last = area.names[-LATER:]
    area.drop(first)
    area.drop(last)
    follow_until(area, feed_of(area.arriving), len(area.names) - 1)
    area.drop(late)
    rounds = iter(
        follow(area.cube, MEAN, to=area.alerts, feed=feed_of(area.arriving), options=OPTIONS)
    )
    for _ in range(3):
        assert next(rounds).processed == ()
    rounds.close()
    warnings = [text for text in caplog.messages if "are left out" in text]
    assert len(warnings) == 1
    assert (
        f"1 scenes came after a later acquisition was processed, and are left out: {late}"
        in (warnings[0])
    )
    # the way out that it names
    build_from(str(area.arriving), area.cube, Request())
    when = f"{late[4:8]}-{late[8:10]}-{late[10:12]}"
    options = OPTIONS.model_copy(update={"replay_from": when})
    again = follow(area.cube, MEAN, to=area.alerts, feed=feed_of(area.arriving), options=options)
    assert_same(next(again), expected)
    assert next(again).processed == ()  # it goes back once
    again.close()


def test_weather_of_new_scenes_is_added(area: Area, world: Path) -> None:
    area.drop(area.names[-LATER])
    request = Request(sources=Sources(weather=(str(world / "weather.nc"),)))
    follow_until(area, feed_of(area.arriving, request=request), len(area.names) - LATER + 1)
    temperature = open_cube(area.cube)["temperature"]
    assert np.isfinite(temperature[-1]).all()


def test_an_empty_folder_and_one_that_vanishes_do_not_end_it(
    area: Area, caplog: pytest.LogCaptureFixture
) -> None:
    empty = area.arriving.with_name("empty")
    empty.mkdir()
    acts = {0: lambda: shutil.rmtree(empty), 3: lambda: shutil.copytree(area.scenes, empty)}
    last = follow_until(area, feed_of(empty), len(area.names), acts)[-1]
    assert last.state.record.known[-1].scene_id == area.names[-1]
    assert f"not all scenes of {empty} were added: {empty} does not exist" in caplog.text


# --- what a folder announces ----------------------------------------------------------------------


def test_a_watched_folder_wakes_at_a_raster_and_not_at_other_files(tmp_path: Path) -> None:
    with Watched(tmp_path, 0.1) as arrivals:
        arrivals.wait(0.5)
        started = time.monotonic()
        threading.Timer(0.3, lambda: (tmp_path / "note.txt").write_text("-")).start()
        arrivals.wait(1.5)
        assert time.monotonic() - started > 1.5
        started = time.monotonic()
        threading.Timer(0.3, lambda: (tmp_path / "a.tif").write_text("-")).start()
        arrivals.wait(20.0)
        assert 0.3 < time.monotonic() - started < 10.0


def test_waiting_lasts_until_nothing_has_changed_for_so_long(tmp_path: Path) -> None:
    raster, ended = tmp_path / "a.tif", []

    def grow() -> None:
        for _ in range(8):
            with raster.open("a") as file:
                file.write("-")
            time.sleep(0.2)
        ended.append(time.monotonic())

    writer = threading.Thread(target=grow)
    writer.start()
    with Watched(tmp_path, 0.6) as arrivals:
        arrivals.wait(0.0)
        returned = time.monotonic()
    writer.join()
    assert returned > ended[0] + 0.3


def test_what_belongs_to_scenes(tmp_path: Path) -> None:
    assert not has_scenes(tmp_path)
    (tmp_path / ".in-0123abcd.partial").mkdir()
    (tmp_path / ".in-0123abcd.partial" / "a.tif").touch()
    (tmp_path / "a.tif.part").touch()
    assert not has_scenes(tmp_path)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "A.TIFF").touch()
    assert has_scenes(tmp_path)
    assert belongs_to_scene(Path("items.parquet"))


# --- an API ---------------------------------------------------------------------------------------


class Api:
    """A STAC API with the scenes whose names are ``offered``; every request fails if ``down``."""

    def __init__(self, scenes: Path) -> None:
        self.scenes, self.offered, self.down = scenes, [], False

    def __call__(self, request: WebRequest) -> Answer:
        base = f"http://{request.headers['host']}"
        if self.down:
            return Answer(b"no", status=503)
        if request.path == "/search":
            items = [self._item(name, base) for name in self.offered]
            return json_answer({"type": "FeatureCollection", "features": items, "links": []})
        if request.path.startswith("/scenes/"):
            return Answer((self.scenes / Path(request.path).name).read_bytes())
        search = {"rel": "search", "href": f"{base}/search", "type": "application/geo+json",
                  "method": "POST"}  # fmt: skip
        return json_answer(
            {"type": "Catalog", "id": "scenes", "description": "-", "stac_version": "1.0.0",
             "conformsTo": ["https://api.stacspec.org/v1.0.0/core",
                            "https://api.stacspec.org/v1.0.0/item-search"],
             "links": [{"rel": "root", "href": base, "type": "application/json"}, search]}
        )  # fmt: skip

    def _item(self, name: str, base: str) -> dict[str, Any]:
        item = pystac.Item.from_file(self.scenes / f"{name}.json").to_dict(transform_hrefs=False)
        for asset in item["assets"].values():
            asset["href"] = f"{base}/scenes/{Path(asset['href']).name}"
        item["links"] = [{"rel": "self", "href": f"{base}/items/{name}"}]
        return item


@pytest.fixture
def api(area: Area) -> Iterator[tuple[str, Api]]:
    answers = Api(area.scenes)
    with web(answers) as (url, _):
        yield url, answers


def test_an_api_is_polled_and_its_outages_are_outlived(
    area: Area, api: tuple[str, Api], expected: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    url, answers = api
    answers.down = True
    server = RemoteOptions(tries=2, timeout=5.0, pause=0.0)
    feed = feed_of(url, request=Request(server=server))

    def recover() -> None:
        answers.down, answers.offered = False, area.names[:-2]

    def offer_all() -> None:
        answers.offered = area.names

    last = follow_until(area, feed, len(area.names), {1: recover, 4: offer_all})[-1]
    assert_same(last, expected)
    failures = [text for text in caplog.messages if "were added" in text]
    assert len(failures) >= 2
    assert "HTTP 503, tried 2 times" in failures[0]
    assert "tried again within" in failures[0]


def test_pauses_grow_up_to_the_time_between_rounds(area: Area, api: tuple[str, Api]) -> None:
    from sarcast.monitoring.follow import _Rounds

    url, answers = api
    answers.down = True
    server = RemoteOptions(tries=1, timeout=5.0, pause=0.0)
    feed = feed_of(url, every_minutes=5.0, request=Request(server=server))
    rounds = _Rounds(area.cube, MEAN, area.alerts, feed)
    pauses = [rounds.pause_s]
    for _ in range(5):
        rounds.next(OPTIONS)
        pauses.append(rounds.pause_s)
    assert pauses == [300.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    answers.down = False
    rounds.next(OPTIONS)
    assert rounds.pause_s == 300.0


def test_polling_lets_time_pass() -> None:
    started = time.monotonic()
    with Polled() as arrivals:
        arrivals.wait(0.3)
    assert time.monotonic() - started >= 0.3


# --- monitoring that fails ------------------------------------------------------------------------


def test_monitoring_that_fails_later_is_tried_again(
    area: Area, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from sarcast.monitoring import follow as module

    calls: list[int] = []
    real = module.monitor

    def failing(*words: Any, **more: Any) -> Monitored:
        calls.append(1)
        if len(calls) == 2:
            raise SarcastError("another run is writing")
        return real(*words, **more)

    monkeypatch.setattr(module, "monitor", failing)
    area.drop(area.names[-LATER])
    rounds = follow(area.cube, MEAN, to=area.alerts, feed=feed_of(area.arriving), options=OPTIONS)
    next(rounds)
    next(rounds)
    rounds.close()
    assert len(calls) == 3
    assert "nothing was monitored: another run is writing" in caplog.text
    calls[:] = [1]
    with pytest.raises(SarcastError, match="another run is writing"):  # in the first round
        next(follow(area.cube, MEAN, to=area.alerts, feed=feed_of(area.arriving), options=OPTIONS))


# --- the extension --------------------------------------------------------------------------------


def test_an_extension_takes_what_the_cube_records(area: Area, tmp_path: Path) -> None:
    """Its filter, which combines dates, and its resampling, on its own grid."""
    filtered = CubeOptions(resampling="nearest", speckle="quegan", speckle_dates=3)
    whole, grown = tmp_path / "whole.zarr", tmp_path / "grown.zarr"
    bounds = pystac.Item.from_file(area.scenes / f"{area.names[0]}.json").bbox
    west, south, east, north = bounds
    request = Request(area=f"{west},{south},{(west + east) / 2},{north}", building=filtered)
    build_from(str(area.scenes), whole, request)
    build_from(str(area.arriving), grown, request)
    for name in area.names[-LATER:]:
        area.drop(name)
    extension = extend_by_new(str(area.arriving), grown, Request(), None)
    assert extension.added == LATER
    assert extension.late == ()
    xr.testing.assert_equal(open_cube(grown)["backscatter"], open_cube(whole)["backscatter"])


def test_nothing_new_leaves_the_cube_untouched(area: Area) -> None:
    before = {path: path.stat().st_mtime_ns for path in area.cube.rglob("*")}
    assert extend_by_new(str(area.arriving), area.cube, Request(), None).added == 0
    assert {path: path.stat().st_mtime_ns for path in area.cube.rglob("*")} == before


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signals_end_the_command_with_its_state_whole(
    area: Area, expected: Monitored, name: str, status: int
) -> None:
    """A second process drops scenes in while the first one runs; then the first is stopped."""
    words = ("monitor", area.cube, "--model", "mean", "--to", area.alerts, *FLAGS, "--outside",
             "water", "--json", "--watch", area.arriving, "--settle-seconds", SOON_S)  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "sarcast.cli", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        first = json.loads(process.stdout.readline())
        assert len(first["acquisitions"]) >= 1
        copy = "import shutil, sys; [shutil.copy(path, sys.argv[1]) for path in sys.argv[2:]]"
        paths = sorted(area.scenes.glob(f"{area.names[-LATER]}*"))
        subprocess.run(
            [sys.executable, "-c", copy, str(area.arriving), *map(str, paths)], check=True
        )
        second = json.loads(process.stdout.readline())
        assert len(second["acquisitions"]) == 1
        assert second["state"] != first["state"]
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == status
    assert errors.strip().splitlines()[-1].startswith("sarcast: ")
    assert "Traceback" not in errors
    known = StateFolder(area.alerts).record(StateFolder(area.alerts).numbers()[-1]).known
    assert known[-1].scene_id == area.names[-LATER]
    assert not [path for path in area.alerts.rglob(".*") if path.is_dir()]


def test_what_cannot_be_watched_is_one_line(area: Area, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("monitor", area.cube, "--model", "mean", "--to", area.alerts)
    line = fails(capsys, 2, *words, "--weather", "weather.nc", "--settle-seconds", "3")
    assert "--settle-seconds, --weather can be given with --watch only" in line
    line = fails(capsys, 1, *words, "--watch", area.cube.with_name("none"))
    assert "none is not a folder (--watch)" in line
    line = fails(capsys, 1, *words, "--watch", area.cube.parent)
    assert "is, contains or lies in" in line
    line = fails(capsys, 2, *words, "--watch", area.arriving, "--every-minutes", "0")
    assert "--every-minutes" in line
    line = fails(capsys, 2, *words, "--watch", "ftp://example.com")
    assert "ftp:// is not a catalogue" in line
    assert not area.alerts.exists()


def test_the_last_acquisition_of_a_folder(area: Area, expected: Monitored) -> None:
    assert last_processed(area.alerts) is None
    last = last_processed(expected.folder)
    assert last == open_cube(expected.folder.parent / "cube.zarr")["time"].values[-1]
