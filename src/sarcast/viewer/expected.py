"""Expected images while they are looked at: predicted in squares, kept, and read by parts.

A square is predicted with a margin around it that is cut off, so that squares join without seams.
Scene context is fitted to a square and its margin.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.arrays import Box, Float
from sarcast.errors import SarcastError
from sarcast.io.boxes import cut, moved, within
from sarcast.prediction.tiles import TileOptions
from sarcast.sensor.units import DB
from sarcast.viewer.cache import Cache
from sarcast.viewer.cubes import CubeImages, numbers
from sarcast.viewer.layers import DIFFERENCE_RANGE, UNCERTAINTY_RANGE, Z_RANGE, Layer
from sarcast.viewer.pyramid import means
from sarcast.windows import (
    CubeReader,
    Predictor,
    PreviousOptions,
    TrainedPredictor,
    rank_previous,
)
from sarcast.windows.cut import MIN_VALID_SHARE

if TYPE_CHECKING:
    import xarray as xr

SQUARE = 512
"""Side of the squares, pixels."""
MARGIN = 64
"""Pixels around a square that are predicted with it and cut off."""
COARSEST = 2
"""Coarsest level at which predicted layers are read: a tile there shows four squares."""
MOST_WHAT_IF = 1024
"""Most rows and columns of an image under other conditions."""
SERIES_SIDE = 128
"""Side of the windows around a pixel in which its series is predicted, pixels."""
_KEPT_BYTES = 2**26


class CancelledError(Exception):
    """A newer request of the same client has taken the place of this one."""


@dataclass(frozen=True)
class Forecast:
    """Expected images of a cube by one predictor.

    Attributes
    ----------
    images
        The cube.
    predictor
        A model or a strategy.
    baseline
        Which previous images.
    before
        Only images before this time, a baseline that stays fixed; None for those before each
        acquisition.
    lock
        Held while something is predicted: a network uses all cores itself.
    kept, parts
        Squares that were predicted, and what was read for them.
    """

    images: CubeImages
    predictor: Predictor
    baseline: PreviousOptions
    before: np.datetime64 | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: Cache[Float] = field(default_factory=lambda: Cache(_KEPT_BYTES))
    parts: "Cache[_Part]" = field(default_factory=lambda: Cache(_KEPT_BYTES))

    @property
    def has_std(self) -> bool:
        """Whether there is a standard deviation: strategies give none."""
        return isinstance(self.predictor, TrainedPredictor)

    @property
    def previous(self) -> int:
        """Number of previous images."""
        return self.predictor.previous or self.baseline.previous

    def can_predict(self) -> list[bool]:
        """Whether enough images precede each acquisition."""
        times = self.images.cube["time"].values
        ranked = (
            rank_previous(times, k, chooser=self.baseline.chooser, before=self.before)
            for k in range(len(times))
        )
        return [len(indices) >= self.previous for indices in ranked]

    # --- layers -----------------------------------------------------------------------------------

    def layers(self, suffix: str = "") -> list[Layer]:
        """Expected image, standard deviation, difference and z of each acquisition.

        Parameters
        ----------
        suffix
            What the names end with, where a result has layers of the same names.
        """
        count = len(self.images.bands)
        difference, spread = (DIFFERENCE_RANGE,) * count, (UNCERTAINTY_RANGE,) * count
        rows = [
            ("expected", "expected image", DB, self.images.ranges, "grey", _mean),
            ("std", "standard deviation", DB, spread, "uncertainty", _std),
            ("difference", "actual − expected", DB, difference, "difference", _difference),
            ("z", "z: difference / standard deviation", "", (Z_RANGE,) * count, "difference", _z),
        ]
        rows = rows if self.has_std else [row for row in rows if row[0] not in ("std", "z")]
        return [
            Layer(
                f"{name}{suffix}",
                f"{label} of a date" if suffix else label,
                self.images.bands,
                partial(self._read, make),
                units,
                ranges,
                ramp,
                dated=True,
                coarsest=COARSEST,
                slow=True,
            )
            for name, label, units, ranges, ramp, make in rows
        ]

    def _read(
        self, make: Callable[[Float, Float], Float], index: int, level: int, box: Box
    ) -> Float:
        """Read a part of a layer that is made of actual images, expected ones and their std."""
        full = self.images.pyramid.full(level, box)
        expected = self.read(index, full)
        return means(make(self.images.image(index, full), expected), level)

    def read(self, index: int, box: Box) -> Float:
        """Read a part of an expected image and its standard deviation.

        Returns
        -------
        ndarray
            Dims (2, band, y, x), dB; NaN where nothing can be predicted.
        """
        shape = [part.stop - part.start for part in box]
        image = np.full((2, len(self.images.bands), *shape), np.nan, dtype=np.float32)
        for square in self._squares(box):
            found = self.kept.get((index, *_corners(square)), partial(self._square, index, square))
            in_box, in_square = _shared(box, square)
            image[:, :, *in_box] = found[:, :, *in_square]
        return image

    def _squares(self, box: Box) -> Iterator[Box]:
        """Squares that a box touches."""
        rows, columns = (range(part.start // SQUARE, -(-part.stop // SQUARE)) for part in box)
        sides = self.images.pyramid.rows, self.images.pyramid.columns
        for row in rows:
            for column in columns:
                yield (
                    slice(row * SQUARE, min((row + 1) * SQUARE, sides[0])),
                    slice(column * SQUARE, min((column + 1) * SQUARE, sides[1])),
                )

    def _square(self, index: int, square: Box) -> Float:
        with self.lock:
            return self.predicted(index, square, {})

    def predicted(
        self, index: int, box: Box, conditions: Mapping[str, float], margin: int = MARGIN
    ) -> Float:
        """Predict a box of an acquisition with a margin around it; dims (2, band, y, x), dB.

        NaN where there are not enough previous images. ``conditions`` as in ``predict``.
        """
        region = _wider(box, margin, (self.images.pyramid.rows, self.images.pyramid.columns))
        rows, columns = within(box, region)
        part = self.parts.get((index, *_corners(region)), partial(self._part, index, region))
        return self._predict(part, conditions)[:, :, rows, columns]

    def _part(self, index: int, region: Box) -> "_Part":
        """Read a region of an acquisition and of its previous images."""
        cube = self._inputs.isel(y=region[0], x=region[1])
        times, n = cube["time"].values, self.previous
        how: dict[str, Any] = {"chooser": self.baseline.chooser, "before": self.before}
        ranked = rank_previous(times, index, **how).tolist()
        if len(ranked) < n:
            return _Part(None, (0, 0))
        first = _Part.read(cube, [*ranked[:n], index])
        if first.sees_all():
            return first
        size = cube.sizes["y"], cube.sizes["x"]
        reader = CubeReader.from_cube(cube)
        chosen = reader.choose_previous(index, (0, 0), size, n, **how)
        return _Part.read(cube, [*chosen, index]) if len(chosen) == n else _Part(None, size)

    @cached_property
    def _inputs(self) -> "xr.Dataset":
        """What predictors read of a cube."""
        return self.images.cube.drop_vars(["expected", "forest", "open_land"], errors="ignore")

    def _predict(self, part: "_Part", conditions: Mapping[str, float], index: int = -1) -> Float:
        """Predict one acquisition of a part, by default the last; NaN if it cannot be."""
        from sarcast.prediction.predict import Chosen, predict_tiles

        bands = self.images.bands
        image = np.full((2, len(bands), *part.size), np.nan, dtype=np.float32)
        if part.cube is None:
            return image
        tiles = TileOptions(tile=max(16, *part.size))
        predictor = self._without_context if conditions else self.predictor
        chosen = Chosen(part.cube, predictor, self.baseline, tiles)
        target = range(part.cube.sizes["time"])[index]
        try:
            found = predict_tiles(chosen, [target], before=self.before, conditions=conditions)
        except SarcastError:  # the acquisition or its previous images do not see this part
            return image
        images = self._with_std(found.read().isel(time=0))
        for number, name in enumerate(("expected", "std")):
            for band in images["band"].values:
                image[number, bands.index(str(band))] = images[name].sel(band=band).values
        return image

    def _with_std(self, images: "xr.Dataset") -> "xr.Dataset":
        """Standard deviations of a network that gives none itself: its validation error."""
        if not self.has_std:
            return images
        from sarcast.prediction.model import Model
        from sarcast.prediction.uncertainty import with_validation_std

        return (
            with_validation_std(images, self.predictor)
            if isinstance(self.predictor, Model)
            else images
        )

    @cached_property
    def _without_context(self) -> Predictor:
        """The predictor without the scene context, which would show the actual weather."""
        if not self.predictor.uses_target:
            return self.predictor
        from sarcast.prediction.model import Model

        predictor = self.predictor
        return replace(predictor, context="none") if isinstance(predictor, Model) else predictor

    # --- other conditions -------------------------------------------------------------------------

    def what_if(
        self,
        index: int,
        box: Box,
        conditions: Mapping[str, float],
        is_cancelled: Callable[[], bool],
    ) -> Float:
        """Predict a box of an acquisition under other conditions; dims (2, band, y, x), dB.

        Raises
        ------
        CancelledError
            Between squares, once it is cancelled.
        """
        shape = [part.stop - part.start for part in box]
        image = np.full((2, len(self.images.bands), *shape), np.nan, dtype=np.float32)
        margin = 0 if max(shape) <= SQUARE else MARGIN
        for inner in cut(shape, SQUARE):
            with self.lock:
                if is_cancelled():
                    raise CancelledError
                place = moved(inner, box)
                image[:, :, *inner] = self.predicted(index, place, conditions, margin)
        return image

    # --- a pixel ----------------------------------------------------------------------------------

    def series(self, column: int, row: int, is_cancelled: Callable[[], bool]) -> dict[str, Any]:
        """Expected backscatter and its standard deviation of a pixel at each acquisition, as JSON.

        Raises
        ------
        CancelledError
            Between acquisitions, once it is cancelled.
        """
        pixel = slice(row, row + 1), slice(column, column + 1)
        sides = self.images.pyramid.rows, self.images.pyramid.columns
        region = _wider(pixel, SERIES_SIDE // 2, sides)
        (at,), (across,) = (range(p.start, p.stop) for p in within(pixel, region))
        cube = self._inputs.isel(y=region[0], x=region[1])
        part = _Part.read(cube, range(cube.sizes["time"]))
        values = []
        for index in range(cube.sizes["time"]):
            with self.lock:
                if is_cancelled():
                    raise CancelledError
                values.append(self._predict(part, {}, index)[:, :, at, across])
        both = np.stack(values, axis=-1)  # dims (2, band, time)
        return {
            name: {band: numbers(part[k]) for k, band in enumerate(self.images.bands)}
            for name, part in zip(("expected", "std"), both, strict=True)
        }


@dataclass(frozen=True)
class _Part:
    """A region of some acquisitions in memory, the target last; without them if there are too few.

    Attributes
    ----------
    cube
        Those acquisitions.
    size
        Rows and columns.
    """

    cube: "xr.Dataset | None"
    size: tuple[int, int]

    @classmethod
    def read(cls, cube: "xr.Dataset", indices: Sequence[int]) -> "_Part":
        """Read acquisitions in the order of time."""
        times = cube["time"].values
        ordered = sorted(indices, key=lambda index: times[index])
        return cls(cube.isel(time=ordered).load(), (cube.sizes["y"], cube.sizes["x"]))

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        return 0 if self.cube is None else int(self.cube.nbytes)

    def sees_all(self) -> bool:
        """Whether all of the previous images see the region as well as ``choose_previous`` asks."""
        assert self.cube is not None
        reader = CubeReader.from_cube(self.cube)
        *previous, target = range(self.cube.sizes["time"])
        least = MIN_VALID_SHARE * reader.valid_shares(target, (0, 0), self.size)
        shares = [reader.valid_shares(index, (0, 0), self.size) for index in previous]
        return all((share >= least).all() for share in shares)


def _mean(_actual: Float, expected: Float) -> Float:
    mean: Float = expected[0]
    return mean


def _std(_actual: Float, expected: Float) -> Float:
    std: Float = expected[1]
    return std


def _difference(actual: Float, expected: Float) -> Float:
    difference: Float = actual - expected[0]
    return difference


def _z(actual: Float, expected: Float) -> Float:
    z: Float = (actual - expected[0]) / expected[1]
    return z


def _corners(box: Box) -> tuple[int, ...]:
    return box[0].start, box[1].start, box[0].stop, box[1].stop


def _wider(box: Box, margin: int, sides: Sequence[int]) -> Box:
    """A box with a margin, cut at the edges of an image."""
    rows, columns = (
        slice(max(part.start - margin, 0), min(part.stop + margin, side))
        for part, side in zip(box, sides, strict=True)
    )
    return rows, columns


def _shared(box: Box, square: Box) -> tuple[Box, Box]:
    """Rows and columns that two boxes share, counted in each."""
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, square, strict=True)
    )
    return within((rows, columns), box), within((rows, columns), square)
