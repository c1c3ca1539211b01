"""A cube built from scenes, or extended by what it lacks: one task a scene and block.

Steps stand in the order in which they were written; ``open_cube`` gives them in the order of time.
"""

import logging
import shutil
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from pydantic import ConfigDict, Field

from sarcast.arrays import Float
from sarcast.cube import block, filtering
from sarcast.cube.block import Block, Written
from sarcast.cube.check.outliers import impossible
from sarcast.cube.executor import AHEAD, WorkerOptions, Workers, start_workers
from sarcast.cube.schema import COORDINATES, PART
from sarcast.cube.store import RESAMPLING, Store, is_empty
from sarcast.cube.weather import StepWeather, write_weather
from sarcast.errors import SarcastError
from sarcast.ingest.cover import CoverOptions, LandCover
from sarcast.ingest.dem import Dem
from sarcast.ingest.scenes.acquisition import Acquisition, acquisitions
from sarcast.ingest.scenes.fuse import Overlap, UnreadableError
from sarcast.ingest.weather import Weather, WeatherOptions
from sarcast.io.files import exclusive, explain_full_disk
from sarcast.io.progress import track
from sarcast.io.remote import RemoteOptions
from sarcast.speckle import SpeckleOptions

_log = logging.getLogger(__name__)


class CubeOptions(SpeckleOptions):
    """How scenes become a cube, and how their speckle is filtered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resampling: str = Field(
        "bilinear",
        pattern="^(nearest|bilinear|cubic|average)$",
        description="How scenes on another grid are warped: nearest, bilinear, cubic or average.",
    )
    allow_missing: bool = Field(
        False, description="Leave out the dates of which a raster cannot be read, and name them."
    )


@dataclass(frozen=True)
class Sources:
    """What else is known of the area: files of terrain, weather and land cover, and how to read it.

    Each is none, one or several paths or URLs.
    """

    dem: tuple[Path | str, ...] = ()
    weather: tuple[Path | str, ...] = ()
    cover: tuple[Path | str, ...] = ()
    weather_options: WeatherOptions = field(default_factory=WeatherOptions)
    cover_options: CoverOptions = field(default_factory=CoverOptions)


def build_cube(
    items: Sequence[pystac.Item],
    path: Path,
    grid: GeoBox,
    options: CubeOptions,
    sources: Sources,
    *,
    workers: WorkerOptions = WorkerOptions(),  # noqa: B008 - frozen
    remote: RemoteOptions = RemoteOptions(),  # noqa: B008 - frozen
) -> int:
    """Build a cube, or add to one what it lacks.

    Parameters
    ----------
    items
        Scenes, in any order; those of one pass are fused.
    path
        The store; a cube that is there must have the same grid.
    grid
        Grid of the cube.
    options
        How scenes are warped, and whether those that cannot be read are left out.
    sources
        Terrain, weather and land cover.
    workers
        Who works on the blocks.
    remote
        How patiently servers are asked.

    Returns
    -------
    int
        Number of acquisitions that were added.

    Raises
    ------
    SarcastError
        If no scene touches the grid, a source does not fit, a raster cannot be read or none at all
        is left, or the disk is full. Steps that were written stay.
    """
    found = _touching(acquisitions(items), grid)
    path = path.resolve()
    opened = _Opened.of(sources)
    with explain_full_disk(path), exclusive(path), _no_empty_store(path):
        speckle = filtering.agreed(path, found, grid, options.resampling, options, remote)
        has_truth = all(one.has_truth for one in found)
        told = {RESAMPLING: options.resampling, **filtering.recorded(speckle)}
        store = Store.open(path, grid, has_truth=has_truth, told=told)
        held = store.values("scene_id").tolist()
        todo = [one for one in found if one.scene_id not in set(held)]
        times = [*store.values("time").astype("datetime64[s]"), *(one.time for one in todo)]
        weather = StepWeather(opened.weather, grid, times)
        weather.check()
        _write_static(store, grid, opened)
        write_weather(store, weather)
        with start_workers(workers) as started:
            steps = _Steps(store, started, grid, options, remote, weather)
            steps.filter_with(speckle, filtering.joined(found, speckle))
            if not todo:
                _log.info(f"{path} holds all {len(found)} acquisitions already")
            total = len(held) + len(todo)
            for _ in track(steps.write(todo), "building the cube", total, done=len(held)):
                pass
        steps.check()
        weather.summarise()
        steps.summarise()
        return store.steps - len(held)


@contextmanager
def _no_empty_store(path: Path) -> Iterator[None]:
    """Remove a store that was made here and got no step because the work failed."""
    there = (path / "zarr.json").exists()
    try:
        yield
    except Exception:
        if not there and is_empty(path):
            shutil.rmtree(path, ignore_errors=True)
        raise


def _touching(found: list[Acquisition], grid: GeoBox) -> list[Acquisition]:
    area = grid.extent.to_crs("EPSG:4326")
    inside = [
        one
        for one in found
        if any(Geometry(item.geometry, "EPSG:4326").intersects(area) for item in one.items)
    ]
    if not inside:
        west, south, east, north = area.boundingbox.bbox
        raise SarcastError(
            f"no scene touches the area (west {west:.4f}, south {south:.4f}, east {east:.4f}, "
            f"north {north:.4f}); the catalogue was asked for {len(found)} acquisitions: "
            f"give another --area, or leave it out to take all that the scenes cover"
        )
    return inside


# --- what does not change with time ---------------------------------------------------------------


@dataclass(frozen=True)
class _Opened:
    """Sources that can be read; those that cannot are named before there is a store."""

    dem: Dem | None
    cover: LandCover | None
    weather: Weather | None

    @classmethod
    def of(cls, sources: Sources) -> "_Opened":
        return cls(
            Dem(sources.dem) if sources.dem else None,
            LandCover(sources.cover, sources.cover_options) if sources.cover else None,
            Weather(sources.weather, sources.weather_options) if sources.weather else None,
        )


def _write_static(store: Store, grid: GeoBox, opened: _Opened) -> None:
    """Write terrain and land cover, a part at a time; it is seen from the next commit on."""
    dem, cover = opened.dem, opened.cover
    for place in block.places(grid, PART):
        for name, layer in ({} if cover is None else cover.read(grid[place])).items():
            store.add(str(name), *grid.shape)
            store.put(str(name), layer.values, *place)
        if dem is not None:
            store.fill("elevation", dem.read(grid[place]).values, *place)
    for source in (dem, cover):
        if source is not None:
            source.summarise()
    if dem is not None or cover is not None:
        store.commit()


# --- steps ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """An acquisition that is being worked on."""

    place: int
    one: Acquisition
    blocks: list[Future[Written]]
    incidence: Future[Float]


class _Steps:
    """Steps on their way into the store: some are worked on at a time, each is made visible whole.

    Parameters
    ----------
    store, workers, grid
        Where to, by whom, and the grid.
    options, remote
        How scenes are read.
    weather
        Of the steps that are held, then of those to come.
    """

    def __init__(
        self,
        store: Store,
        workers: Workers,
        grid: GeoBox,
        options: CubeOptions,
        remote: RemoteOptions,
        weather: StepWeather,
    ) -> None:
        self._store, self._workers, self._grid = store, workers, grid
        self._options, self._remote, self._weather = options, remote, weather
        self._places = block.places(grid)
        self._overlaps: list[Overlap] = []
        self._left_out: list[str] = []
        self._dark_and_bright: dict[str, tuple[float, float]] = {}
        self._speckle, self._joined = SpeckleOptions(), dict[str, list[Acquisition]]()

    def filter_with(self, speckle: SpeckleOptions, joined: dict[str, list[Acquisition]]) -> None:
        """Filter speckle, each acquisition with those that are joined to its scene id."""
        self._speckle, self._joined = speckle, joined

    def write(self, todo: Sequence[Acquisition]) -> Iterator[Acquisition]:
        """Write steps; yield the acquisition of each that is there, or that was left out."""
        done = self._store.steps
        waiting = deque(enumerate(todo, start=done))
        flying: deque[_Step] = deque()
        try:
            while waiting or flying:
                while waiting and self._has_room(flying):
                    flying.append(self._launch(*waiting.popleft(), done + len(flying)))
                try:
                    self._finish(flying[0], done)
                    done += 1
                except UnreadableError as error:
                    self._leave_out(flying[0].one, error)
                    _settle(flying)
                    while len(flying) > 1:
                        later = flying.pop()
                        waiting.appendleft((later.place, later.one))
                yield flying.popleft().one
        finally:
            _settle(flying)
            self._store.resize(done)
            self._store.tidy()

    def _has_room(self, flying: Collection[_Step]) -> bool:
        return sum(len(step.blocks) + 1 for step in flying) < AHEAD * self._workers.size

    def _launch(self, place: int, one: Acquisition, step: int) -> _Step:
        """Hand out the blocks of an acquisition."""
        joined = self._joined.get(one.scene_id, [])
        before = [each for each in joined if each.scene_id not in self._left_out]
        blocks = [
            self._workers.submit(
                block.write,
                Block(
                    path=self._store.path,
                    step=step,
                    place=where,
                    grid=self._grid[where],
                    bands=block.rasters(one, with_truth="expected" in self._store),
                    resampling=self._options.resampling,
                    remote=self._remote,
                    speckle=self._speckle,
                    before=tuple(
                        block.rasters(each, with_truth=False)["backscatter"] for each in before
                    ),
                ),
            )
            for where in self._places
        ]
        incidence = self._workers.submit(block.read_incidence, one, self._grid, self._remote)
        return _Step(place, one, blocks, incidence)

    def _finish(self, flying: _Step, step: int) -> None:
        """Wait for the blocks of a step, write what it tells of itself, and make it visible."""
        written = reduce(add, (one.result() for one in flying.blocks))
        self._store.resize(step + 1)
        self._store.put("incidence", flying.incidence.result(), step)
        self._store.put("seen", written.seen, step)
        for name, layer in self._weather.layers(flying.place).items():
            self._store.put(name, layer, step)
        for name in COORDINATES:
            attribute = "heading_deg" if name == "heading" else name
            self._store.put(name, getattr(flying.one, attribute), step)
        self._store.put("time", flying.one.time.astype(np.int64), step)
        self._store.commit()
        if written.overlap.differing:
            self._overlaps.append(written.overlap)
        seen = max(1, sum(written.seen))
        self._dark_and_bright[flying.one.scene_id] = (written.dark / seen, written.bright / seen)

    def _leave_out(self, one: Acquisition, error: UnreadableError) -> None:
        if not self._options.allow_missing:
            raise error
        self._left_out.append(one.scene_id)
        _log.warning(f"{one.time} is left out: {error}")

    def check(self) -> None:
        """See that the store holds any step.

        Raises
        ------
        SarcastError
            If all that was to be written had to be left out.
        """
        if self._store.steps == 0:
            raise SarcastError(
                f"none of the {len(self._left_out)} dates can be read ({self._left_out[0]} first), "
                f"so there is no cube to build; fetch the rasters again or mend their catalogue"
            )

    def summarise(self) -> None:
        """Say what was done with slices that differ, what cannot be, and what was left out."""
        if self._overlaps:
            total = reduce(add, self._overlaps)
            _log.info(
                f"slices of {len(self._overlaps)} dates overlap with different values, by up to "
                f"{total.largest_db:.1f} dB at {100.0 * total.differing / total.pixels:.1f} % of "
                f"what two of them saw; the later slice is taken"
            )
        for line in impossible(self._dark_and_bright):
            _log.warning(f"{line}")
        if self._left_out:
            _log.warning(
                f"{len(self._left_out)} dates were left out ({self._left_out[0]} first); "
                f"the same command takes them up when they can be read"
            )


def _settle(flying: Iterable[_Step]) -> None:
    """Let go of what has not begun, and wait for what has."""
    futures: list[Future[Any]] = []
    for step in flying:
        futures += [*step.blocks, step.incidence]
    for future in futures:
        future.cancel()
    wait(futures)
