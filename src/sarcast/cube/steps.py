"""The time steps that a build adds to a cube: the plan, the work, and the summary of it."""

import logging
from collections import deque
from collections.abc import Collection, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from odc.geo.geobox import GeoBox

from sarcast.arrays import Float
from sarcast.cube import block
from sarcast.cube.block import Block, BlockStatistics, layers_by_variable
from sarcast.cube.executor import TASKS_PER_WORKER, Workers
from sarcast.cube.schema import COORDINATES
from sarcast.cube.store import Store
from sarcast.cube.weather import StepWeather
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.acquisition import Acquisition
from sarcast.ingest.scenes.fuse import UnreadableError
from sarcast.ingest.scenes.values import impossible_lines, zero_lines
from sarcast.io.remote import RemoteOptions
from sarcast.sensor.conditions import WEATHER
from sarcast.speckle import SpeckleOptions

_log = logging.getLogger(__name__)


# --- plan -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BuildPlan:
    """What a build adds to a cube, fixed before the first block is read.

    Attributes
    ----------
    path
        Path of the store.
    grid
        Grid of the cube.
    bands
        Names of the cube's bands.
    acquisitions
        Acquisitions to be added, oldest first.
    repairs
        By time step of the store, acquisitions to be written again, since the step is incomplete.
    earlier
        By scene id, the acquisitions before it that its speckle filter uses, oldest first.
    speckle
        The filter, with the looks that were estimated.
    resampling
        A name of ``rasterio.enums.Resampling``.
    with_truth
        Whether the cube has the variable ``expected``.
    allow_missing
        Whether acquisitions that cannot be read are left out.
    remote
        Retries and timeouts for remote rasters.
    """

    path: Path
    grid: GeoBox
    bands: tuple[str, ...]
    acquisitions: Sequence[Acquisition]
    repairs: Mapping[int, Acquisition]
    earlier: Mapping[str, Sequence[Acquisition]]
    speckle: SpeckleOptions
    resampling: str
    with_truth: bool
    allow_missing: bool
    remote: RemoteOptions

    def blocks(self, acquisition: Acquisition, step: int, without: Collection[str]) -> list[Block]:
        """Blocks of an acquisition at a time step; the filter uses no scene id of ``without``."""
        earlier = [
            layers_by_variable(each, self.bands, with_truth=False)["backscatter"]
            for each in self.earlier.get(acquisition.scene_id, ())
            if each.scene_id not in without
        ]
        return [
            Block(
                path=self.path,
                step=step,
                slices=slices,
                grid=self.grid[slices],
                bands=layers_by_variable(acquisition, self.bands, with_truth=self.with_truth),
                resampling=self.resampling,
                remote=self.remote,
                speckle=self.speckle,
                earlier=tuple(earlier),
            )
            for slices in block.block_slices(self.grid.shape)
        ]


# --- work -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepOutcome:
    """The statistics of an acquisition that was written; None if it was left out."""

    acquisition: Acquisition
    statistics: BlockStatistics | None


@dataclass(frozen=True)
class _PendingStep:
    """An acquisition whose blocks are being processed.

    ``time_index`` is that of its weather; ``step`` the time step of the store that it becomes.
    """

    time_index: int
    step: int
    acquisition: Acquisition
    blocks: list[Future[BlockStatistics]]
    incidence: Future[Float]


class StepWriter:
    """Writes the steps of a plan: several in progress at a time, each made visible whole.

    Where a run ends early, what it wrote beyond the visible steps is left to ``Store.roll_back``.

    Parameters
    ----------
    plan
        What is to be written.
    store
        Where it is written.
    workers
        Who reads and writes the blocks.
    weather
        Of the steps in the store, then of those of the plan.
    """

    def __init__(
        self, plan: BuildPlan, store: Store, workers: Workers, weather: StepWeather
    ) -> None:
        self._plan, self._store, self._workers, self._weather = plan, store, workers, weather
        self._stored = store.steps
        self._left_out: set[str] = set()

    def run(self) -> Generator[StepOutcome, None, None]:
        """Write the steps in order; yield each once it is visible, or known to be left out.

        Closing the generator cancels what is in progress.

        Raises
        ------
        UnreadableError
            If a raster cannot be read and the plan leaves no acquisition out.
        """
        done = self._stored
        new = enumerate(self._plan.acquisitions, start=done)
        waiting = deque([*self._plan.repairs.items(), *new])
        pending: deque[_PendingStep] = deque()
        try:
            while waiting or pending:
                while waiting and self._has_room(pending):
                    ahead = sum(self._is_new(step.time_index) for step in pending)
                    pending.append(self._submit(*waiting.popleft(), done + ahead))
                statistics = None
                try:
                    statistics = self._commit(pending[0])
                    done += self._is_new(pending[0].time_index)
                except UnreadableError as error:
                    self._leave_out(pending[0].acquisition, error)
                    self._workers.cancel()
                    while len(pending) > 1:  # they were meant for the steps after this one
                        later = pending.pop()
                        waiting.appendleft((later.time_index, later.acquisition))
                yield StepOutcome(pending.popleft().acquisition, statistics)
        finally:
            self._workers.cancel()

    def _is_new(self, time_index: int) -> bool:
        return time_index >= self._stored

    def _has_room(self, pending: Collection[_PendingStep]) -> bool:
        tasks = sum(len(step.blocks) + 1 for step in pending)
        return tasks < TASKS_PER_WORKER * self._workers.size

    def _submit(self, time_index: int, acquisition: Acquisition, free: int) -> _PendingStep:
        """Hand the blocks of an acquisition to the workers; a new one takes the ``free`` step."""
        plan, step = self._plan, free if self._is_new(time_index) else time_index
        blocks = [
            self._workers.submit(block.process_block, each)
            for each in plan.blocks(acquisition, step, self._left_out)
        ]
        incidence = self._workers.submit(block.read_incidence, acquisition, plan.grid, plan.remote)
        return _PendingStep(time_index, step, acquisition, blocks, incidence)

    def _commit(self, pending: _PendingStep) -> BlockStatistics:
        """Wait for the blocks of a step, write its conditions and metadata, make it visible."""
        statistics = reduce(add, (future.result() for future in pending.blocks))
        incidence = pending.incidence.result()
        store, acquisition, step = self._store, pending.acquisition, pending.step
        store.extend(step + 1)
        store.write("incidence", incidence, step)
        if "seen" in store:
            store.write("seen", statistics.valid, step)
        weather = self._weather.layers(pending.time_index)
        if self._is_new(step):
            for name in WEATHER:
                store.write(name, weather.get(name, np.nan), step)
        else:
            for name, layer in weather.items():
                store.write_known(name, layer, step)
        for name in COORDINATES:
            attribute = "heading_deg" if name == "heading" else name
            store.write(name, getattr(acquisition, attribute), step)
        store.write("time", acquisition.time.astype(np.int64), step)
        store.commit()
        if not self._is_new(pending.time_index):
            _log.warning(f"{acquisition.time} was incomplete in the cube and was written again")
        return statistics

    def _leave_out(self, acquisition: Acquisition, error: UnreadableError) -> None:
        if not self._plan.allow_missing:
            raise error
        self._left_out.add(acquisition.scene_id)
        _log.warning(f"{acquisition.time} is left out: {error}")


# --- summary --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BuildSummary:
    """What a build wrote and what it left out."""

    outcomes: Sequence[StepOutcome]

    @property
    def written(self) -> dict[str, BlockStatistics]:
        """Statistics of the acquisitions that were written, by scene id."""
        return {
            outcome.acquisition.scene_id: outcome.statistics
            for outcome in self.outcomes
            if outcome.statistics is not None
        }

    @property
    def left_out(self) -> list[str]:
        """Scene ids of the acquisitions that could not be read."""
        return [each.acquisition.scene_id for each in self.outcomes if each.statistics is None]

    def check(self, steps: int) -> None:
        """Make sure that the store has any of its ``steps``.

        Raises
        ------
        SarcastError
            If every acquisition had to be left out.
        """
        if steps == 0:
            raise SarcastError(
                f"none of the {len(self.left_out)} dates can be read ({self.left_out[0]} first), "
                f"so there is no cube to build; fetch the rasters again or correct the catalogue"
            )

    def log(self) -> None:
        """Report slices that differ, values taken as missing, and dates without data."""
        readings = {scene_id: each.reading for scene_id, each in self.written.items()}
        overlaps = [each.overlap for each in readings.values() if each.overlap.differing]
        if overlaps:
            total = reduce(add, overlaps)
            _log.info(
                f"slices of {len(overlaps)} dates overlap with different values, by up to "
                f"{total.largest_db:.1f} dB at {100.0 * total.differing / total.pixels:.1f} % of "
                f"the pixels that both cover; the later slice is used"
            )
        excluded = {scene_id: each.excluded for scene_id, each in readings.items()}
        for line in zero_lines(excluded):
            _log.info(line)
        for line in impossible_lines(excluded):
            _log.warning(line)
        empty = [scene_id for scene_id, each in self.written.items() if not any(each.valid)]
        if empty:
            _log.warning(f"{len(empty)} dates have no data in the area ({empty[0]} first)")
        if self.left_out:
            _log.warning(
                f"{len(self.left_out)} dates were left out ({self.left_out[0]} first); "
                f"run the same command again to add them once they can be read"
            )
