"""The expected image of a whole cube: any predictor, over overlapping tiles.

Tiles are read, predicted and blended a few at a time, so that only the result grows with the area.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Float
from sarcast.cube import Date, moment_of, time_index_of
from sarcast.errors import SarcastError
from sarcast.io.progress import track
from sarcast.prediction.model import Model
from sarcast.prediction.scene import ScenePredictor, read_scene, with_context_of
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
    tiles, baseline = tiles or TileOptions(), baseline or PreviousOptions()
    if predictor.previous is not None:
        baseline = baseline.model_copy(update={"previous": predictor.previous})
    target = time_index_of(cube, at)
    end = None if before is None else moment_of(before)
    reader = CubeReader.from_cube(cube)
    choose_previous(reader.times, target, baseline.previous, chooser=baseline.chooser, before=end)
    size = predictor.size or min(tiles.tile, max(reader.shape))
    offsets = list(_tile_offsets(reader.shape, size, tiles.overlap))
    blend = _Blend(reader.bands, reader.shape, size)
    if conditions and predictor.uses_target:
        predictor = _without_context(predictor)

    def windows_of(doing: str) -> Iterator[Window]:
        tracked = track(offsets, doing, len(offsets))
        return _windows(reader, target, tracked, (size, size), baseline, end)

    windows = windows_of("predicting")
    if predictor.uses_target and len(offsets) > 1 and isinstance(predictor, ScenePredictor):
        scene = read_scene(predictor, reader.shape, windows_of("reading the scene"))
        windows = (with_context_of(window, scene) for window in windows)
    while batch := list(islice(windows, TILES_PER_BATCH)):
        batch = [window.with_conditions(conditions or {}) for window in batch]
        for window, expected in zip(batch, predictor.expect(batch), strict=True):
            blend.add(window.offset, expected)
    if blend.is_empty:
        date = np.datetime_as_string(reader.times[target], "D")
        raise SarcastError(
            f"no part of the cube has {baseline.previous} previous images before {date}; choose a "
            f"later date, a later --before, or fewer images (--previous)"
        )
    return blend.result(reader.backscatter.isel(time=target, drop=True))


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


def _windows(
    reader: CubeReader,
    target: int,
    offsets: Iterable[PixelOffset],
    shape: PixelShape,
    baseline: PreviousOptions,
    before: np.datetime64 | None,
) -> Iterator[Window]:
    """Cut the tiles where the target has data and there are enough previous images."""
    for offset in offsets:
        if reader.valid_share(target, offset, shape) == 0.0:
            continue
        previous = reader.choose_previous(
            target, offset, shape, baseline.previous, chooser=baseline.chooser, before=before
        )
        if len(previous) == baseline.previous:
            yield reader.cut(target, offset, shape, previous)


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

    def result(self, like: xr.DataArray) -> xr.Dataset:
        """Give the weighted means, with the coordinates of an image of dims (band, y, x).

        Bands in which nothing was predicted are left out, unless that is all of them.
        """
        mean = self._weighted_mean(self._mean)
        std = self._weighted_mean(self._std) if self._has_std else np.full_like(mean, np.nan)
        layers = {"expected": mean, "std": std}
        images = xr.Dataset(
            {
                name: xr.DataArray(values, like.coords, like.dims, attrs={"units": DB})
                for name, values in layers.items()
            }
        )
        predicted = np.isfinite(mean).any(axis=(1, 2))
        return images.isel(band=predicted) if predicted.any() else images

    def _weighted_mean(self, total: Float) -> Float:
        empty = np.full_like(total, np.nan)
        return np.divide(total, self._weight, out=empty, where=self._weight > 0.0)
