"""The expected image of a whole cube: any predictor, over overlapping tiles.

Tiles are read, predicted and blended a few at a time, so that only the result grows with the area.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import xarray as xr

from sarcast.arrays import Box
from sarcast.cube import Date, moment_of, time_index_of
from sarcast.errors import SarcastError
from sarcast.io.boxes import whole
from sarcast.io.progress import track
from sarcast.io.scratch import Scratch
from sarcast.prediction.model import Model
from sarcast.prediction.scene import Scene, ScenePredictor, with_context_of
from sarcast.prediction.tiles import Blend, BlendLayer, TileOptions, Tiling
from sarcast.sensor.units import DB
from sarcast.windows import (
    CubeReader,
    Expected,
    Predictor,
    PreviousOptions,
    Window,
    choose_previous,
)

_log = logging.getLogger(__name__)

TILES_PER_BATCH = 4
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
    ::

        cube, model = sarcast.open_cube("cube.zarr"), sarcast.load_model("base")
        expected = sarcast.predict(cube, model, at="2025-07-01")
        warmer = sarcast.predict(cube, model, at="2025-07-01", conditions={"temperature": 25.0})
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
) -> xr.Dataset:
    """Predict the expected image of a whole cube at one date, as ``predict`` does.

    Parameters
    ----------
    chosen
        What is predicted.
    at, conditions, before
        As in ``predict``.
    scratch
        Folder for the tiles of a cube of more than ``MOST_IN_MEMORY`` pixels, which are deleted
        with the result; default: that of the system for temporary files.
    """
    target = [time_index_of(chosen.cube, at)]
    is_large = chosen.cube.sizes["y"] * chosen.cube.sizes["x"] > MOST_IN_MEMORY
    kept = Scratch.new(scratch) if is_large else Scratch()
    found = predict_tiles(chosen, target, before=before, conditions=conditions, scratch=kept)
    images = found.lazily(kept) if is_large else found.read()
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

    Raises
    ------
    SarcastError
        As ``predict`` does.
    """
    predictor, baseline = chosen.predictor, chosen.baseline
    if predictor.previous is not None:
        baseline = baseline.model_copy(update={"previous": predictor.previous})
    reader = CubeReader.from_cube(chosen.cube)
    first = min(targets, key=lambda target: reader.times[target])
    end = reader.times[first] if before is None else min(reader.times[first], moment_of(before))
    choose_previous(reader.times, first, baseline.previous, chooser=baseline.chooser, before=end)
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
    series = _Series(reader, targets, baseline, end, tiling, scratch)
    blend = Blend.of(tiling, len(targets), len(reader.bands), scratch)
    for batch in series.predicted(predictor, conditions or {}):
        for tile, target, expected in batch:
            blend.add(tile, target, expected)
    if not blend.predicted:
        date = np.datetime_as_string(end, "D")
        raise SarcastError(
            f"no part of the cube has {baseline.previous} previous images before {date}; choose a "
            f"later date, a later --before, or fewer images (--previous)"
        )
    return Predicted(reader.backscatter.isel(time=list(targets)), blend)


@dataclass(frozen=True)
class _Cut:
    """A window of a tile at a target, with the numbers of both."""

    tile: int
    target: int
    window: Window


@dataclass(frozen=True)
class _Series:
    """Tiles of several targets of one baseline, read and predicted one after the other."""

    reader: CubeReader
    targets: Sequence[int]
    baseline: PreviousOptions
    before: np.datetime64
    tiling: Tiling
    scratch: Scratch

    def predicted(
        self, predictor: Predictor, conditions: Mapping[str, float]
    ) -> Iterator[list[tuple[int, int, Expected]]]:
        """Predict a few tiles at a time: numbers of tile and target, expected image of each."""
        count = len(self.tiling)
        scenes: dict[tuple[int, int], Scene] = {}
        if predictor.uses_target and count > 1 and isinstance(predictor, ScenePredictor):
            scenes = self._scenes(predictor)
        tracked = range(count) if count == 1 else track(range(count), "predicting", count)
        cuts = (cut for tile in tracked for cut in self._cut(tile))
        while batch := list(islice(cuts, TILES_PER_BATCH * len(self.targets))):
            windows = [cut.window.with_conditions(conditions) for cut in batch]
            if scenes:
                windows = [
                    with_context_of(window, scenes[self._region(cut), cut.target])
                    for cut, window in zip(batch, windows, strict=True)
                ]
            results = zip(batch, predictor.expect(windows), strict=True)
            yield [(cut.tile, cut.target, expected) for cut, expected in results]

    def _scenes(self, predictor: ScenePredictor) -> dict[tuple[int, int], Scene]:
        """Read the blocks of the whole scene of each region and target."""
        scenes = {
            (region, target): Scene(box, self.scratch)
            for region, box in enumerate(self.tiling.regions)
            for target in range(len(self.targets))
        }
        tiles = range(len(self.tiling))
        for tile in track(tiles, "reading the scene", len(tiles)):
            for cut in self._cut(tile):
                blocks = predictor.scene_blocks(cut.window)
                scenes[self._region(cut), cut.target].add(cut.window.offset, blocks)
        return scenes

    def _region(self, cut: _Cut) -> int:
        return self.tiling.region_of_tile(cut.tile)

    def _cut(self, tile: int) -> Iterator[_Cut]:
        """Cut a tile at the targets that see it, if there are enough previous images of it."""
        offset, shape = self.tiling.offsets[tile], (self.tiling.size, self.tiling.size)
        seen = [
            number
            for number, target in enumerate(self.targets)
            if self.reader.valid_share(target, offset, shape) > 0.0
        ]
        if not seen:
            return
        previous = self.reader.choose_previous(
            self.targets[seen[0]],
            offset,
            shape,
            self.baseline.previous,
            chooser=self.baseline.chooser,
            before=self.before,
        )
        if len(previous) == self.baseline.previous:
            targets = [self.targets[number] for number in seen]
            windows = self.reader.cut_targets(targets, offset, shape, previous)
            yield from (_Cut(tile, *pair) for pair in zip(seen, windows, strict=True))


def _without_context(predictor: Predictor) -> Predictor:
    """A model that does not see the weather of the target; other predictors stay as they are."""
    if not isinstance(predictor, Model):
        return predictor
    _log.info("conditions are set: the scene context, which shows the actual ones, is not used")
    return replace(predictor, context="none")
