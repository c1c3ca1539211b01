"""Expected images while they are looked at: predicted in squares, kept, and read by parts.

A square is predicted with a margin around it that is cut off, so that squares join without seams.
Its scene context is fitted to it and the squares around it.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.arrays import Box, Double, Float
from sarcast.cache import Cache
from sarcast.io.boxes import cut, even_side, moved, wider, within
from sarcast.io.memory import release_memory
from sarcast.sensor.units import DB
from sarcast.viewer.cubes import CubeImages, numbers
from sarcast.viewer.layers import DIFFERENCE_RANGE, UNCERTAINTY_RANGE, Z_RANGE, Layer
from sarcast.viewer.pyramid import means
from sarcast.viewer.requests import CancelledError
from sarcast.windows import (
    BANDS,
    CubeReader,
    PixelShape,
    Predictor,
    PreviousOptions,
    TrainedPredictor,
    Window,
    rank_previous,
)
from sarcast.windows.cut import MIN_VALID_SHARE

if TYPE_CHECKING:
    import xarray as xr

    from sarcast.prediction.model import Remembered
    from sarcast.prediction.networks.context import Blocks
    from sarcast.prediction.scene import ScenePredictor

SQUARE = 256
"""Side of the squares, pixels, and what scene context sees around each."""
MARGIN = 32
"""Pixels around a square that are predicted with it and cut off."""
COARSEST = 2
"""Coarsest level at which predicted layers are read: a tile there shows four squares."""
MOST_WHAT_IF = 768
"""Most rows and columns of an image under other conditions."""
WHAT_IF_SQUARE = 512
"""Longest side of the squares that an image under other conditions is cut into, pixels."""
SERIES_BATCH = 16
"""Windows of a series that are predicted together."""
SERIES_SIDE = 128
"""Side of the windows around a pixel in which its series is predicted, pixels."""
_KEPT_BYTES = 2**25
_ENCODED_BYTES = 2**28
"""Size of the encoded baselines: four previous images of ``MOST_WHAT_IF`` rows and columns."""


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
    kept, blocks
        Squares that were predicted, and what their context is fitted to.
    windows, encoded
        Windows of the image under other conditions, and their encoded previous images, which a
        model finds again by the arrays of the windows.
    """

    images: CubeImages
    predictor: Predictor
    baseline: PreviousOptions
    before: np.datetime64 | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: Cache[Float] = field(default_factory=lambda: Cache(_KEPT_BYTES))
    blocks: "Cache[_Blocks]" = field(default_factory=lambda: Cache(_KEPT_BYTES))
    windows: "Cache[_Cut]" = field(default_factory=lambda: Cache(2 * _KEPT_BYTES))
    encoded: "Cache[Remembered]" = field(default_factory=lambda: Cache(_ENCODED_BYTES))

    @property
    def has_std(self) -> bool:
        """Whether there is a standard deviation: strategies give none."""
        return isinstance(self.predictor, TrainedPredictor)

    @property
    def previous(self) -> int:
        """Number of previous images, at most."""
        return self.baseline.for_network(self.predictor.previous).previous

    @property
    def fewest(self) -> int:
        """Number of previous images without which nothing is predicted."""
        return self.baseline.for_network(self.predictor.previous).fewest

    def can_predict(self) -> list[bool]:
        """Whether enough images precede each acquisition."""
        times = self.images.times
        ranked = (
            rank_previous(times, k, chooser=self.baseline.chooser, before=self.before)
            for k in range(len(times))
        )
        return [len(indices) >= self.fewest for indices in ranked]

    def prepare(self) -> None:
        """Open the cube as predictions read it, before the first one is asked for."""
        _ = self.images.cube

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

    def predicted(self, index: int, box: Box, conditions: Mapping[str, float]) -> Float:
        """Predict a box of an acquisition with a margin around it; dims (2, band, y, x), dB.

        NaN where there are not enough previous images. ``conditions`` as in ``predict``.
        """
        region = self._region(box, MARGIN)
        rows, columns = within(box, region)
        window = self._cut(index, region, is_kept=bool(conditions))
        if window is None:
            shape = (part.stop - part.start for part in box)
            return np.full((2, len(self.images.bands), *shape), np.nan, dtype=np.float32)
        hidden = bool(conditions) or not self.predictor.uses_target
        context = None if hidden else self._context(index, box)
        window = replace(window.with_conditions(conditions), context=context)
        predictor = self._counterfactual if conditions else self.predictor
        return self._expect(predictor, [window])[0][:, :, rows, columns]

    def _cut(self, index: int, region: Box, *, is_kept: bool) -> Window | None:
        """Cut the window of a region; None if nothing can be predicted there."""

        def cut_window() -> _Cut:
            return _Cut(self._read_part(index, region).window(region))

        if not is_kept:
            return cut_window().window
        return self.windows.get((index, *_corners(region)), cut_window).window

    def _region(self, box: Box, margin: int) -> Box:
        """A box with a margin, moved into the cube; of one size for networks that take one alone.

        It reaches beyond the cube where that is smaller.
        """
        sides = self.images.pyramid.rows, self.images.pyramid.columns
        region = []
        for part, side in zip(box, sides, strict=True):
            length = self.predictor.size or min(part.stop - part.start + 2 * margin, side)
            start = part.start - (length - (part.stop - part.start)) // 2
            start = max(min(start, side - length), 0)
            region.append(slice(start, start + length))
        return region[0], region[1]

    def _read_part(self, index: int, region: Box) -> "_Part":
        """A region of an acquisition and of its previous images; empty if these are too few."""
        cube = self._inputs.isel(y=region[0], x=region[1])
        times, n = cube["time"].values, self.previous
        how: dict[str, Any] = {"chooser": self.baseline.chooser, "before": self.before}
        ranked = rank_previous(times, index, **how).tolist()
        if len(ranked) < self.fewest:
            return _Part(None)
        first = _Part.read(cube, [*ranked[:n], index])
        if first.sees_all():
            return first
        reader = CubeReader.from_cube(cube)
        chosen = reader.choose_previous(index, (0, 0), first.size, n, **how)
        return _Part.read(cube, [*chosen, index]) if len(chosen) >= self.fewest else _Part(None)

    @cached_property
    def _inputs(self) -> "xr.Dataset":
        """What predictors read of a cube."""
        return self.images.cube.drop_vars(["expected", "forest", "open_land"], errors="ignore")

    def _expect(self, predictor: Predictor, windows: Sequence[Window]) -> list[Float]:
        """Expected image and standard deviation of windows, dims (2, band, y, x) each."""
        images, found = [], predictor.expect(windows)
        release_memory()
        for window, expected in zip(windows, found, strict=True):
            image = np.full((2, len(self.images.bands), *window.target.shape[-2:]), np.nan)
            for number, band in enumerate(window.bands):
                at = self.images.bands.index(band)
                image[0, at] = expected.mean[number]
                image[1, at] = (
                    self._errors.get(band, np.nan) if expected.std is None else expected.std[number]
                )
            images.append(image.astype(np.float32))
        return images

    @cached_property
    def _errors(self) -> dict[str, float]:
        """Validation error by band of a model, the standard deviation where it predicts none."""
        if not self.has_std:
            return {}
        from sarcast.prediction.model import Model

        if not isinstance(self.predictor, Model) or self.predictor.scores is None:
            return {}
        return dict(zip(BANDS, self.predictor.scores.rmse_db, strict=True))

    # --- scene context ----------------------------------------------------------------------------

    def _context(self, index: int, box: Box) -> Float | None:
        """Scene context of a box, from the squares around it; None if the predictor takes none."""
        from sarcast.prediction.scene import Scene, ScenePredictor

        if not isinstance(self.predictor, ScenePredictor):
            return None
        sides = self.images.pyramid.rows, self.images.pyramid.columns
        squares = list(self._squares(wider(box, (SQUARE, SQUARE), sides)))
        around = (
            slice(squares[0][0].start, squares[-1][0].stop),
            slice(squares[0][1].start, squares[-1][1].stop),
        )
        scene = Scene(around)
        for square in squares:
            make = partial(self._read_blocks, self.predictor, index, square)
            blocks = self.blocks.get((index, *_corners(square)), make).blocks
            if blocks is not None:
                scene.add((square[0].start, square[1].start), blocks)
        return scene.context((box[0].start, box[1].start), max(p.stop - p.start for p in box))

    def _read_blocks(self, predictor: "ScenePredictor", index: int, square: Box) -> "_Blocks":
        part = self._read_part(index, square)
        whole = slice(square[0].start, square[0].start + SQUARE)
        across = slice(square[1].start, square[1].start + SQUARE)
        window = part.window((whole, across))
        return _Blocks(None if window is None else predictor.scene_blocks(window))

    @cached_property
    def _counterfactual(self) -> Predictor:
        """The predictor under other conditions.

        It has no scene context, which would show the actual weather, and keeps the encoded previous
        images of the last view.
        """
        if not self.has_std:
            return self.predictor
        from sarcast.prediction.model import Model

        if not isinstance(self.predictor, Model):
            return self.predictor
        return self.predictor.without_context(self.encoded)

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
            Between squares and at the end, once it is cancelled.
        """
        shape = [part.stop - part.start for part in box]
        image = np.full((2, len(self.images.bands), *shape), np.nan, dtype=np.float32)
        inner = [*cut(shape, even_side(shape, WHAT_IF_SQUARE))]
        squares = [moved(each, box) for each in inner]
        with self.lock:
            self._forget_others(index, squares)
        for place, square in zip(inner, squares, strict=True):
            with self.lock:
                if is_cancelled():
                    raise CancelledError
                image[:, :, *place] = self.predicted(index, square, conditions)
        if is_cancelled():
            raise CancelledError
        return image

    def _forget_others(self, index: int, squares: Sequence[Box]) -> None:
        """Drop what was kept for another view, unless some of it serves this one: memory."""
        regions = (self._region(square, MARGIN) for square in squares)
        if all(self.windows.peek((index, *_corners(region))) is None for region in regions):
            self.windows.clear()
            self.encoded.clear()

    # --- a pixel ----------------------------------------------------------------------------------

    def series(self, column: int, row: int, is_cancelled: Callable[[], bool]) -> dict[str, Any]:
        """Expected backscatter and its standard deviation of a pixel at each acquisition, as JSON.

        Each is predicted from the ``SERIES_SIDE`` pixels around it, which show less of the scene
        than the map's squares do; where the map was computed, its values are taken.

        Raises
        ------
        CancelledError
            Between acquisitions, once it is cancelled.
        """
        side = self.predictor.size or SERIES_SIDE
        pixel = slice(row, row + 1), slice(column, column + 1)
        region = self._region(pixel, side // 2)
        (at,), (across,) = (range(p.start, p.stop) for p in within(pixel, region))
        size = region[0].stop - region[0].start, region[1].stop - region[1].start
        reader = CubeReader.from_cube(self._inputs.isel(y=region[0], x=region[1]), in_memory=True)
        values = np.full((2, len(self.images.bands), len(reader.times)), np.nan)
        windows = {k: w for k in range(len(reader.times)) if (w := self._window(reader, k, size))}
        waiting = iter(windows.items())
        while batch := list(islice(waiting, SERIES_BATCH)):
            with self.lock:
                if is_cancelled():
                    raise CancelledError
                images = self._expect(self.predictor, [window for _, window in batch])
            for (index, _), image in zip(batch, images, strict=True):
                values[:, :, index] = image[:, :, at, across]
        self._take_kept(values, column, row)
        return {
            name: {band: numbers(part[k]) for k, band in enumerate(self.images.bands)}
            for name, part in zip(("expected", "std"), values, strict=True)
        }

    def _take_kept(self, values: Double, column: int, row: int) -> None:
        """Replace values of a series, dims (2, band, time), by those that the map shows."""
        (square,) = self._squares((slice(row, row + 1), slice(column, column + 1)))
        for index in range(values.shape[-1]):
            found = self.kept.peek((index, *_corners(square)))
            if found is not None:
                values[:, :, index] = found[:, :, row - square[0].start, column - square[1].start]

    def _window(self, reader: CubeReader, index: int, size: PixelShape) -> Window | None:
        """Window of an acquisition; None if it or enough previous images do not see it."""
        if not reader.valid_share(index, (0, 0), size) > 0.0:
            return None
        how: dict[str, Any] = {"chooser": self.baseline.chooser, "before": self.before}
        chosen = reader.choose_previous(index, (0, 0), size, self.previous, **how)
        return reader.cut(index, (0, 0), size, chosen) if len(chosen) >= self.fewest else None


@dataclass(frozen=True)
class _Part:
    """A region of an acquisition, the last, and of its previous images in memory, oldest first.

    Attributes
    ----------
    reader
        Of these acquisitions; None if there are too few.
    """

    reader: CubeReader | None

    @classmethod
    def read(cls, cube: "xr.Dataset", indices: Sequence[int]) -> "_Part":
        """Read acquisitions; the last index is that of the target."""
        times = cube["time"].values
        *previous, target = indices
        ordered = [*sorted(previous, key=lambda index: times[index]), target]
        return cls(CubeReader.from_cube(cube.isel(time=ordered), in_memory=True))

    @property
    def size(self) -> PixelShape:
        """Rows and columns."""
        return (0, 0) if self.reader is None else self.reader.shape

    def window(self, region: Box) -> Window | None:
        """Cut the window of a region that begins where the part does; None if it is not seen."""
        if self.reader is None:
            return None
        *previous, target = range(len(self.reader.times))
        size = region[0].stop - region[0].start, region[1].stop - region[1].start
        if not self.reader.valid_share(target, (0, 0), size) > 0.0:
            return None
        return self.reader.cut(target, (0, 0), size, previous)

    def sees_all(self) -> bool:
        """Whether all of the previous images see the region as well as ``choose_previous`` asks."""
        assert self.reader is not None
        *previous, target = range(len(self.reader.times))
        least = MIN_VALID_SHARE * self.reader.valid_shares(target, (0, 0), self.size)
        shares = [self.reader.valid_shares(index, (0, 0), self.size) for index in previous]
        return all((share >= least).all() for share in shares)


@dataclass(frozen=True)
class _Cut:
    """A window; None where nothing can be predicted."""

    window: Window | None

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        return 0 if self.window is None else int(self.window.previous.nbytes)


@dataclass(frozen=True)
class _Blocks:
    """Blocks of a square, from which scene context is fitted; None where there are none."""

    blocks: "Blocks | None"

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        return 0 if self.blocks is None else sum(t.nbytes for t in self.blocks)


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


def _shared(box: Box, square: Box) -> tuple[Box, Box]:
    """Rows and columns that two boxes share, counted in each."""
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, square, strict=True)
    )
    return within((rows, columns), box), within((rows, columns), square)
