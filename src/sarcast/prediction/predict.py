"""The expected image of a whole cube: any predictor, over overlapping tiles.

Tiles are read and predicted a few at a time, in tasks, so that only the result grows with the area.
The tasks of a network run one after the other on this machine, all of whose cores it uses itself.
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sarcast.arrays import Box
from sarcast.cube import Date, moment_of, time_index_of
from sarcast.cube.executor import WorkerOptions, Workers
from sarcast.cube.sharing import open_workers
from sarcast.errors import SarcastError
from sarcast.io.boxes import whole
from sarcast.io.progress import track
from sarcast.io.scratch import Scratch
from sarcast.prediction.model import Model
from sarcast.prediction.networks.context import Blocks
from sarcast.prediction.scene import Scene, ScenePredictor, with_context_of
from sarcast.prediction.strategies import Strategy
from sarcast.prediction.tiles import Blend, BlendLayer, TileOptions, Tiling, Written
from sarcast.sensor.units import DB
from sarcast.windows import (
    CubeReader,
    PixelOffset,
    Predictor,
    PreviousOptions,
    Window,
    choose_previous,
)

_log = logging.getLogger(__name__)

GROUP_SIDE = 3
"""Tiles along the side of a square of neighbours, at most, whose images are read as one."""
GROUP_IMAGES = 72
"""Images of a tile that such a square has at most, so that many previous images need no more
memory."""
LEAST_OVERLAP = 0.1
"""Overlap of tiles below which a network's expected image has seams."""
MOST_IN_MEMORY = 2**24
"""Pixels of a cube up to which its expected image is kept in memory."""


def predict(
    cube: xr.Dataset,
    predictor: Predictor,
    at: Date,
    *,
    conditions: Mapping[str, float] | None = None,
    baseline: PreviousOptions | None = None,
    before: Date | None = None,
    tiles: TileOptions | None = None,
) -> xr.Dataset:
    """Predict the expected image of a whole cube at one date.

    Parameters
    ----------
    cube
        The cube.
    predictor
        A model, a strategy, or any other object with the methods of ``windows.Predictor``.
    at
        Date or time of the target, UTC: ISO 8601 such as ``"2025-01-02"``, a ``datetime``, a
        ``datetime64``, or ``cube.time[-1]``.
    conditions
        Conditions of the target to replace, by name, units as in ``conditions.RANGES``: the
        expected image under counterfactual conditions. A model then uses no scene context, which
        would show the actual weather.
    baseline
        Which previous images; their number applies to predictors that take any.
    before
        Use only images before this date or time: a baseline that stays fixed while a change is
        watched.
    tiles
        How the cube is cut.

    Returns
    -------
    Dataset
        ``expected`` and ``std``, dims (band, y, x), dB, float32, of a large cube read when they are
        used; NaN where nothing can be predicted, ``std`` all NaN from a predictor without standard
        deviation. ``band`` has the
        bands that could be predicted: VV alone if the previous images lack VH.

    Raises
    ------
    SarcastError
        If ``at`` or ``before`` is not a date, the cube has no acquisition at ``at``, too few dates
        precede the target, no tile has enough previous images, or the predictor does not know the
        bands of the cube.

    Examples
    --------
    >>> cube, model = sarcast.open_cube("area.zarr"), sarcast.load_model("base")
    >>> expected = sarcast.predict(cube, model, at="2024-12-24")
    >>> expected["expected"].dims
    ('band', 'y', 'x')
    >>> frozen = sarcast.predict(cube, model, at="2024-12-24", conditions={"temperature": -15.0})
    >>> effect = frozen["expected"] - expected["expected"]  # dB
    """
    chosen = Chosen(cube, predictor, baseline or PreviousOptions(), tiles or TileOptions())
    return predict_date(chosen, at, conditions=conditions, before=before)


def predict_date(
    chosen: "Chosen",
    at: Date,
    *,
    conditions: Mapping[str, float] | None = None,
    before: Date | None = None,
    scratch: Path | None = None,
    workers: WorkerOptions | None = None,
) -> xr.Dataset:
    """Predict the expected image of a whole cube at one date, as ``predict`` does.

    Parameters
    ----------
    chosen
        What is predicted.
    at, conditions, before
        As in ``predict``.
    scratch
        Folder for the tiles of a cube of more than ``MOST_IN_MEMORY`` pixels, or that a cluster
        predicts, which are deleted with the result; default: that of the system for temporary
        files.
    workers
        Who predicts; default: this process.

    Raises
    ------
    SarcastError
        As ``predict`` and ``open_workers`` do.
    """
    target = [time_index_of(chosen.cube, at)]
    workers = workers or WorkerOptions()
    pixels = chosen.cube.sizes["y"] * chosen.cube.sizes["x"]
    on_disk = pixels > MOST_IN_MEMORY or workers.scheduler is not None
    kept = Scratch.new(scratch) if on_disk else Scratch()
    try:
        with open_workers(chosen.cube, workers, kept) as (cube, started):
            found = predict_tiles(
                replace(chosen, cube=cube),
                target,
                before=before,
                conditions=conditions,
                scratch=kept,
                workers=started,
            )
    except BaseException:
        kept.remove()
        raise
    images = found.lazily(kept) if on_disk else found.read()
    return images.isel(time=0, drop=True)


def predict_targets(
    cube: xr.Dataset,
    predictor: Predictor,
    targets: Sequence[int],
    *,
    conditions: Mapping[str, float] | None = None,
    baseline: PreviousOptions | None = None,
    before: Date | None = None,
    tiles: TileOptions | None = None,
) -> xr.Dataset:
    """Predict the expected images of a whole cube at several dates, from one baseline.

    Each tile has one choice of previous images, made for the first target that sees it; a network
    encodes them once.

    Parameters
    ----------
    cube, predictor, conditions, baseline, before, tiles
        As in ``predict``; previous images precede all targets.
    targets
        Indices on ``time``, at least one.

    Returns
    -------
    Dataset
        As ``predict`` gives, dims (time, band, y, x), with the targets' coordinates, in their
        order; NaN where a target does not see a tile.

    Raises
    ------
    SarcastError
        As ``predict`` does.
    """
    chosen = Chosen(cube, predictor, baseline or PreviousOptions(), tiles or TileOptions())
    return predict_tiles(chosen, targets, before=before, conditions=conditions).read()


@dataclass(frozen=True)
class Chosen:
    """What is predicted, by what, and from which images.

    Attributes
    ----------
    cube, predictor, baseline, tiles
        As in ``predict``.
    """

    cube: xr.Dataset
    predictor: Predictor
    baseline: PreviousOptions
    tiles: TileOptions


@dataclass(frozen=True)
class Predicted:
    """Expected images of several targets, read by parts.

    Attributes
    ----------
    like
        Actual images of the targets, dims (time, band, y, x), with their coordinates.
    blend
        Their tiles.
    """

    like: xr.DataArray
    blend: Blend

    def lazily(self, scratch: Scratch) -> xr.Dataset:
        """Images as ``read`` gives them, each part read when it is used from its tiles."""
        dims, like = self.like.dims, self.like.sel(band=list(self.bands))
        bands = np.flatnonzero(np.isin(self.like["band"].values, self.bands))
        images = {}
        for number, name in enumerate(("expected", "std")):
            layer = BlendLayer(self.blend, number, bands, self.like.shape[-2:])
            images[name] = scratch.variable(dims, layer, np.float32)
            images[name].attrs["units"] = DB
        return xr.Dataset(images, like.coords)

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands in which something was predicted at any date; all if that is none."""
        names = self.like["band"].values
        some = names[self.blend.bands]
        return tuple(map(str, some if some.size else names))

    def read(self, box: Box | None = None) -> xr.Dataset:
        """Read a part of a region that was predicted, by default of all that there is.

        Returns
        -------
        Dataset
            As ``predict_targets`` gives.
        """
        box = box or whole(self.like.shape)
        like = self.like.isel(y=box[0], x=box[1])
        layers = zip(("expected", "std"), self.blend.read(box), strict=True)
        images = xr.Dataset(
            {
                name: xr.DataArray(values, like.coords, like.dims, attrs={"units": DB})
                for name, values in layers
            }
        )
        return images.sel(band=list(self.bands))


def predict_tiles(
    chosen: Chosen,
    targets: Sequence[int],
    *,
    before: Date | None = None,
    conditions: Mapping[str, float] | None = None,
    regions: Sequence[Box] | None = None,
    scratch: Scratch | None = None,
    workers: Workers | None = None,
) -> Predicted:
    """Predict the expected images of parts of a cube at several dates, from one baseline.

    Parameters
    ----------
    chosen
        What is predicted.
    targets, before, conditions
        As in ``predict_targets``.
    regions
        Parts of the cube that do not touch; default: all of it. Each has tiles and scene context of
        its own.
    scratch
        Where tiles are kept; default: in memory.
    workers
        Who predicts them: those of a cluster any tiles, those of this process the tiles of
        strategies; default: this thread.

    Raises
    ------
    SarcastError
        As ``predict`` does.
    """
    predictor = chosen.predictor
    baseline = chosen.baseline.for_network(predictor.previous)
    reader = CubeReader.from_cube(chosen.cube)
    first = min(targets, key=lambda target: reader.times[target])
    end = reader.times[first] if before is None else min(reader.times[first], moment_of(before))
    choose_previous(reader.times, first, baseline.fewest, chooser=baseline.chooser, before=end)
    if conditions and predictor.uses_target:
        predictor = _without_context(predictor)
    regions = regions or [whole(reader.shape)]
    tiling = Tiling.of(regions, chosen.tiles, predictor.size)
    if chosen.tiles.overlap < LEAST_OVERLAP and tiling.has_seams and isinstance(predictor, Model):
        warnings.warn(
            f"tiles overlap by {chosen.tiles.overlap:g} of their side: the expected image has "
            f"steps of up to 1.5 dB where they meet; give --overlap {TileOptions().overlap:g}",
            stacklevel=3,
        )
    scratch = scratch or Scratch()
    series = _Series(reader, targets, baseline, end, tiling)
    blend = Blend.of(tiling, len(targets), len(reader.bands), scratch)
    run = _Run(predictor, tiling, workers, _group_side(baseline.previous))
    scenes = _scenes(series, run, scratch)
    for written in run.each(_PredictTiles(series, blend, conditions or {}, scenes), "predicting"):
        blend.note(written)
    if not blend.predicted:
        date = np.datetime_as_string(end, "D")
        raise SarcastError(
            f"no part of the cube has {baseline.fewest} previous images before {date}; choose a "
            f"later date, a later --before, or fewer images (--previous)"
        )
    return Predicted(reader.backscatter.isel(time=list(targets)), blend)


def _group_side(previous: int) -> int:
    """Tiles along the side of a square whose images, so many a tile, fit into memory.

    >>> [_group_side(previous) for previous in (1, 8, 16, 24, 64)]
    [3, 3, 2, 1, 1]
    """
    return max(1, min(GROUP_SIDE, isqrt(GROUP_IMAGES // previous)))


@dataclass(frozen=True)
class _Run:
    """How tasks for a few tiles each are done.

    Attributes
    ----------
    predictor
        Their first argument; the second one is the numbers of neighbouring tiles, row by row.
    tiling
        All tiles.
    workers
        Who may do them; None for this thread.
    side
        Tiles along the side of a square of neighbours.
    """

    predictor: Predictor
    tiling: Tiling
    workers: Workers | None
    side: int

    def each(self, task: Callable[..., Iterable[Any]], label: str) -> Iterator[Any]:
        """Do a task for all tiles; give the elements of its results, in the order of the tiles."""
        groups, workers = self.tiling.groups(self.side), self.workers
        if workers and (workers.cluster is not None or isinstance(self.predictor, Strategy)):
            predictor = workers.share(self.predictor)
            for found in workers.each(task, [(predictor, group) for group in groups], label):
                yield from found
            return
        lines = [[line] for group in groups for line in group]
        for line in lines if len(self.tiling) == 1 else track(lines, label, len(lines)):
            yield from task(self.predictor, line)


@dataclass(frozen=True)
class _Cut:
    """A window of a tile at a target, with the numbers of both."""

    tile: int
    target: int
    window: Window


@dataclass(frozen=True)
class _Series:
    """Tiles of several targets of one baseline."""

    reader: CubeReader
    targets: Sequence[int]
    baseline: PreviousOptions
    before: np.datetime64
    tiling: Tiling

    def cut(self, lines: Sequence[Sequence[int]]) -> Iterator[list[_Cut]]:
        """Cut rows of neighbouring tiles at the targets that see them, one row after the other.

        Where there are not enough previous images, none is cut.
        """
        around = self.tiling.around([tile for line in lines for tile in line])
        reader = replace(self.reader, around=around)
        return ([cut for tile in line for cut in self._cut(reader, tile)] for line in lines)

    def _cut(self, reader: CubeReader, tile: int) -> Iterator[_Cut]:
        offset, shape = self.tiling.offsets[tile], (self.tiling.size, self.tiling.size)
        seen = [
            number
            for number, target in enumerate(self.targets)
            if reader.valid_share(target, offset, shape) > 0.0
        ]
        if not seen:
            return
        previous = reader.choose_previous(
            self.targets[seen[0]],
            offset,
            shape,
            self.baseline.previous,
            chooser=self.baseline.chooser,
            before=self.before,
        )
        if len(previous) >= self.baseline.fewest:
            targets = [self.targets[number] for number in seen]
            windows = reader.cut_targets(targets, offset, shape, previous)
            yield from (_Cut(tile, *pair) for pair in zip(seen, windows, strict=True))


Scenes = dict[tuple[int, int], Scene]
"""By region and target; empty where the predictor uses no scene context, or sees all at once."""


@dataclass(frozen=True)
class _PredictTiles:
    """Predicts tiles, and keeps their expected images."""

    series: _Series
    blend: Blend
    conditions: Mapping[str, float]
    scenes: Scenes

    def __call__(self, predictor: Predictor, lines: Sequence[Sequence[int]]) -> list[Written]:
        """Give what was predicted."""
        written = []
        for cuts in self.series.cut(lines):
            results = predictor.expect([self._window(cut) for cut in cuts])
            for cut, expected in zip(cuts, results, strict=True):
                written.append(self.blend.write(cut.tile, cut.target, expected))
        return written

    def _window(self, cut: _Cut) -> Window:
        window = cut.window.with_conditions(self.conditions)
        if not self.scenes:
            return window
        region = self.series.tiling.region_of_tile(cut.tile)
        return with_context_of(window, self.scenes[region, cut.target])


@dataclass(frozen=True)
class _ReadScene:
    """Computes the blocks of tiles that scene context is fitted to."""

    series: _Series

    def __call__(
        self, predictor: ScenePredictor, lines: Sequence[Sequence[int]]
    ) -> list[tuple[int, int, PixelOffset, Blocks]]:
        """Give number of tile and target, offset and blocks."""
        return [
            (
                cut.tile,
                cut.target,
                cut.window.offset,
                Blocks(*(part.cpu() for part in predictor.scene_blocks(cut.window))),
            )
            for cuts in self.series.cut(lines)
            for cut in cuts
        ]


def _scenes(series: _Series, run: _Run, scratch: Scratch) -> Scenes:
    """Read the blocks of the whole scene of each region and target."""
    predictor, tiling = run.predictor, series.tiling
    if not (predictor.uses_target and len(tiling) > 1 and isinstance(predictor, ScenePredictor)):
        return {}
    scenes = {
        (region, target): Scene(box, scratch)
        for region, box in enumerate(tiling.regions)
        for target in range(len(series.targets))
    }
    for tile, target, offset, blocks in run.each(_ReadScene(series), "reading the scene"):
        scenes[tiling.region_of_tile(tile), target].add(offset, blocks)
    return scenes


def _without_context(predictor: Predictor) -> Predictor:
    """A model that does not see the weather of the target; other predictors stay as they are."""
    if not isinstance(predictor, Model):
        return predictor
    _log.info("conditions are set: the scene context, which shows the actual ones, is not used")
    return predictor.without_context()
