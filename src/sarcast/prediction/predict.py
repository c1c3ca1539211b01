"""The expected image of a whole cube: any predictor, over overlapping tiles.

Tiles are read, predicted and blended a few at a time, so that only the result grows with the area.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Float
from sarcast.cube import Date, moment_of, time_index_of
from sarcast.errors import SarcastError
from sarcast.io.progress import track
from sarcast.prediction.model import Model
from sarcast.prediction.scene import Scene, ScenePredictor, with_context_of
from sarcast.sensor.units import DB
from sarcast.windows import (
    CubeReader,
    Expected,
    PixelOffset,
    PixelShape,
    Predictor,
    PreviousOptions,
    Window,
    choose_previous,
)

_log = logging.getLogger(__name__)

TILES_PER_BATCH = 4


class TileOptions(BaseModel):
    """How a cube is cut into tiles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tile: int = Field(
        512,
        ge=16,
        le=8192,
        description="Side of a tile in pixels, for predictors that take any size.",
    )
    overlap: float = Field(
        0.25,
        ge=0.0,
        le=0.75,
        description="Share of a tile that overlaps its neighbour in each direction.",
    )


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
        ``expected`` and ``std``, dims (band, y, x), dB, float32; NaN where nothing can be
        predicted, ``std`` all NaN from a predictor without standard deviation. ``band`` has the
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
    images = predict_targets(
        cube,
        predictor,
        [time_index_of(cube, at)],
        conditions=conditions,
        baseline=baseline,
        before=before,
        tiles=tiles,
    )
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
    baseline = baseline or PreviousOptions()
    if predictor.previous is not None:
        baseline = baseline.model_copy(update={"previous": predictor.previous})
    reader = CubeReader.from_cube(cube)
    first = min(targets, key=lambda target: reader.times[target])
    end = reader.times[first] if before is None else min(reader.times[first], moment_of(before))
    choose_previous(reader.times, first, baseline.previous, chooser=baseline.chooser, before=end)
    if conditions and predictor.uses_target:
        predictor = _without_context(predictor)
    series = _Series(reader, targets, baseline, end, tiles or TileOptions(), predictor.size)
    blends = {t: _Blend(reader.bands, reader.shape, series.size) for t in targets}
    for batch in series.predicted(predictor, conditions or {}):
        for target, offset, expected in batch:
            blends[target].add(offset, expected)
    if all(blend.is_empty for blend in blends.values()):
        date = np.datetime_as_string(end, "D")
        raise SarcastError(
            f"no part of the cube has {baseline.previous} previous images before {date}; choose a "
            f"later date, a later --before, or fewer images (--previous)"
        )
    mean, std = (
        np.stack(each) for each in zip(*(blends[t].result() for t in targets), strict=True)
    )
    like, units = reader.backscatter.isel(time=list(targets)), {"units": DB}
    layers = {"expected": mean, "std": std}
    return _in_predicted_bands(
        xr.Dataset(
            {
                name: xr.DataArray(values, like.coords, like.dims, attrs=units)
                for name, values in layers.items()
            }
        )
    )


@dataclass(frozen=True)
class _Series:
    """Tiles of several targets of one baseline, read and predicted one after the other."""

    reader: CubeReader
    targets: Sequence[int]
    baseline: PreviousOptions
    before: np.datetime64
    tiles: TileOptions
    only_size: int | None

    @property
    def size(self) -> int:
        """Side of a tile, pixels."""
        return self.only_size or min(self.tiles.tile, max(self.reader.shape))

    def predicted(
        self, predictor: Predictor, conditions: Mapping[str, float]
    ) -> Iterator[list[tuple[int, PixelOffset, Expected]]]:
        """Predict a few tiles at a time: target, offset and expected image of each."""
        offsets = list(_tile_offsets(self.reader.shape, self.size, self.tiles.overlap))
        scenes: dict[int, Scene] = {}
        if predictor.uses_target and len(offsets) > 1 and isinstance(predictor, ScenePredictor):
            scenes = self._scenes(predictor, offsets)
        one = len(offsets) == 1
        tracked = offsets if one else track(offsets, "predicting", len(offsets))
        pairs = (pair for cut in self._cut(tracked) for pair in cut)
        while batch := list(islice(pairs, TILES_PER_BATCH * len(self.targets))):
            windows = [window.with_conditions(conditions) for _, window in batch]
            if scenes:
                windows = [
                    with_context_of(window, scenes[target])
                    for (target, _), window in zip(batch, windows, strict=True)
                ]
            results = zip(batch, predictor.expect(windows), strict=True)
            yield [(target, window.offset, expected) for (target, window), expected in results]

    def _scenes(
        self, predictor: ScenePredictor, offsets: Sequence[PixelOffset]
    ) -> dict[int, Scene]:
        """Read the blocks of the whole scene of each target."""
        scenes = {target: Scene(self.reader.shape) for target in self.targets}
        for cut in self._cut(track(offsets, "reading the scene", len(offsets))):
            for target, window in cut:
                scenes[target].add(window.offset, predictor.scene_blocks(window))
        return scenes

    def _cut(self, offsets: Iterable[PixelOffset]) -> Iterator[list[tuple[int, Window]]]:
        """Cut the tiles that a target sees and of which there are enough previous images."""
        shape = (self.size, self.size)
        for offset in offsets:
            seen = [t for t in self.targets if self.reader.valid_share(t, offset, shape) > 0.0]
            if not seen:
                continue
            previous = self.reader.choose_previous(
                seen[0],
                offset,
                shape,
                self.baseline.previous,
                chooser=self.baseline.chooser,
                before=self.before,
            )
            if len(previous) == self.baseline.previous:
                windows = self.reader.cut_targets(seen, offset, shape, previous)
                yield list(zip(seen, windows, strict=True))


def _in_predicted_bands(images: xr.Dataset) -> xr.Dataset:
    """Leave out bands in which nothing was predicted at any date, unless that is all of them."""
    predicted = np.isfinite(images["expected"].values).any(axis=(0, 2, 3))
    return images.isel(band=predicted) if predicted.any() else images


def _without_context(predictor: Predictor) -> Predictor:
    """A model that does not see the weather of the target; other predictors stay as they are."""
    if not isinstance(predictor, Model):
        return predictor
    _log.info("conditions are set: the scene context, which shows the actual ones, is not used")
    return replace(predictor, context="none")


def _tile_offsets(shape: PixelShape, size: int, overlap: float) -> Iterator[PixelOffset]:
    step = max(1, round(size * (1.0 - overlap)))
    for row in _tile_starts(shape[0], size, step):
        for column in _tile_starts(shape[1], size, step):
            yield row, column


def _tile_starts(pixels: int, size: int, step: int) -> list[int]:
    """Compute the starts of tiles along one axis; the last tile ends at the edge."""
    last = max(pixels - size, 0)
    return sorted({*range(0, last, step), last})


class _Blend:
    """Mean of overlapping tiles, weighted by the distance of a pixel to the edges of its tile."""

    def __init__(self, bands: Sequence[str], shape: PixelShape, size: int) -> None:
        ramp = np.minimum(np.arange(size) + 1, size - np.arange(size)).astype(np.float32)
        self._tile_weight: Float = np.outer(ramp, ramp) / ramp.max() ** 2
        self._mean = np.zeros((len(bands), *shape), dtype=np.float32)
        self._std = np.zeros_like(self._mean)
        self._weight = np.zeros_like(self._mean)
        self._has_std = False
        self.is_empty = True

    def add(self, offset: PixelOffset, expected: Expected) -> None:
        """Add the expected image of one tile; pixels beyond the edge of the cube are ignored."""
        rows, columns = self._weight.shape[1:]
        size = len(self._tile_weight)
        height, width = min(size, rows - offset[0]), min(size, columns - offset[1])
        in_tile = (slice(None), slice(0, height), slice(0, width))
        in_cube = (
            slice(None),
            slice(offset[0], offset[0] + height),
            slice(offset[1], offset[1] + width),
        )
        mean = expected.mean[in_tile]
        weight = np.where(np.isfinite(mean), self._tile_weight[in_tile[1:]], np.float32(0.0))
        self._mean[in_cube] += weight * np.nan_to_num(mean)
        self._weight[in_cube] += weight
        if expected.std is not None:
            self._std[in_cube] += weight * np.nan_to_num(expected.std[in_tile])
            self._has_std = True
        self.is_empty = False

    def result(self) -> tuple[Float, Float]:
        """Give the weighted means of expected image and standard deviation."""
        mean = self._weighted_mean(self._mean)
        std = self._weighted_mean(self._std) if self._has_std else np.full_like(mean, np.nan)
        return mean, std

    def _weighted_mean(self, total: Float) -> Float:
        empty = np.full_like(total, np.nan)
        return np.divide(total, self._weight, out=empty, where=self._weight > 0.0)
