"""The expected image of a whole cube: any predictor, over overlapping tiles.

Tiles are read, predicted and blended a few at a time; what grows with the area is the result alone.
"""

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Float
from sarcast.errors import SarcastError
from sarcast.io.progress import track
from sarcast.sensor.units import DB
from sarcast.windows import (
    BANDS,
    CubeReader,
    Expected,
    Predictor,
    PreviousOptions,
    Window,
    choose_previous,
)

TILES_AT_ONCE = 4


class TileOptions(BaseModel):
    """How a cube is cut into tiles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tile: int = Field(
        512,
        ge=16,
        le=8192,
        description="Pixels a side of a tile, for predictors that take any size.",
    )
    overlap: float = Field(
        0.25, ge=0.0, le=0.75, description="Share of a tile that overlaps the next, each way."
    )


def predict(
    cube: xr.Dataset,
    predictor: Predictor,
    at: int,
    *,
    conditions: Mapping[str, float] | None = None,
    given: PreviousOptions | None = None,
    before: np.datetime64 | None = None,
    tiles: TileOptions | None = None,
) -> xr.Dataset:
    """Predict the expected image of a whole cube at one date.

    Parameters
    ----------
    cube
        The cube.
    predictor
        A model, a strategy, or anything else with ``expect``.
    at
        Place of the target's date on ``time``.
    conditions
        Conditions of the target to be replaced, by name, units as in ``conditions.RANGES``: the
        expected image under conditions that never were.
    given
        Which previous images; their number counts where the predictor takes any.
    before
        Only images before this time: a baseline that stays while a change is watched.
    tiles
        How the cube is cut.

    Returns
    -------
    Dataset
        ``expected`` and ``std``, dims (band, y, x), dB, float32; NaN where nothing could be told,
        ``std`` all NaN from a predictor that tells none.

    Raises
    ------
    SarcastError
        If too few dates precede the target, or no tile has enough previous images.
    """
    tiles, given = tiles or TileOptions(), given or PreviousOptions()
    if predictor.previous is not None:
        given = given.model_copy(update={"previous": predictor.previous})
    source = CubeReader.of(cube)
    choose_previous(source.times, at, given.previous, chooser=given.chooser, before=before)
    size = predictor.size or min(tiles.tile, max(source.shape))
    places = list(_places(source.shape, size, tiles.overlap))
    blend = _Blend(source.shape, size)
    tracked = track(places, "predicting", len(places))
    found = _windows(source, at, tracked, size, given, before)
    while several := list(islice(found, TILES_AT_ONCE)):
        windows = [window.under(conditions or {}) for window in several]
        for window, expected in zip(windows, predictor.expect(windows), strict=True):
            blend.add(window.offset, expected)
    if not blend.any:
        raise SarcastError(
            f"no place of the cube was seen by {given.previous} images before "
            f"{np.datetime_as_string(source.times[at], 'D')}; choose a later date, a later "
            f"--before, or fewer images (--previous)"
        )
    return blend.result(cube["backscatter"].sel(band=list(BANDS)).isel(time=at, drop=True))


def _places(shape: tuple[int, int], size: int, overlap: float) -> Iterator[tuple[int, int]]:
    step = max(1, round(size * (1.0 - overlap)))
    for row in _starts(shape[0], size, step):
        for column in _starts(shape[1], size, step):
            yield row, column


def _starts(pixels: int, size: int, step: int) -> list[int]:
    """Starts of the tiles along one axis; the last one ends at the edge."""
    last = max(pixels - size, 0)
    return sorted({*range(0, last, step), last})


def _windows(
    source: CubeReader,
    at: int,
    places: Iterator[tuple[int, int]],
    size: int,
    given: PreviousOptions,
    before: np.datetime64 | None,
) -> Iterator[Window]:
    for place in places:
        if source.seen(at, place, (size, size)) == 0.0:
            continue
        chosen = source.previous(
            at, place, (size, size), given.previous, chooser=given.chooser, before=before
        )
        if len(chosen) == given.previous:
            yield source.cut(at, place, (size, size), chosen)


class _Blend:
    """Sums of overlapping tiles, each weighted by the distance to its edges."""

    def __init__(self, shape: tuple[int, int], size: int) -> None:
        ramp = np.minimum(np.arange(size) + 1, size - np.arange(size)).astype(np.float32)
        self._weight: Float = np.outer(ramp, ramp) / ramp.max() ** 2
        self._mean = np.zeros((len(BANDS), *shape), dtype=np.float32)
        self._std = np.zeros_like(self._mean)
        self._weights = np.zeros_like(self._mean)
        self._has_std = False
        self.any = False

    def add(self, place: tuple[int, int], expected: Expected) -> None:
        """Add the expected image of one tile; what hangs over the edge is left out."""
        rows, columns = self._weights.shape[1:]
        here = (
            slice(None),
            slice(place[0], min(place[0] + len(self._weight), rows)),
            slice(place[1], min(place[1] + len(self._weight), columns)),
        )
        inside = (slice(None), *(slice(0, s.stop - s.start) for s in here[1:]))
        mean = expected.mean[inside]
        weight = np.where(np.isfinite(mean), self._weight[inside[1:]], np.float32(0.0))
        self._mean[here] += weight * np.nan_to_num(mean)
        self._weights[here] += weight
        if expected.std is not None:
            self._std[here] += weight * np.nan_to_num(expected.std[inside])
            self._has_std = True
        self.any = True

    def result(self, like: xr.DataArray) -> xr.Dataset:
        """Weighted means, with the coordinates of an image of dims (band, y, x)."""
        mean = self._over(self._mean)
        std = self._over(self._std) if self._has_std else np.full_like(mean, np.nan)
        layers = {"expected": mean, "std": std}
        return xr.Dataset(
            {
                name: xr.DataArray(values, like.coords, like.dims, attrs={"units": DB})
                for name, values in layers.items()
            }
        )

    def _over(self, total: Float) -> Float:
        blank = np.full_like(total, np.nan)
        return np.divide(total, self._weights, out=blank, where=self._weights > 0.0)
