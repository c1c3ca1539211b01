"""The images of a cube as layers, its acquisitions, and the series of a pixel."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pyproj import CRS

from sarcast.arrays import Box, Double, Float, Times
from sarcast.cache import Cache
from sarcast.cube.dates import iso_time
from sarcast.cube.schema import SCHEMA
from sarcast.cube.stored import StoredCube
from sarcast.detection import styles
from sarcast.errors import SarcastError
from sarcast.io.boxes import cut, moved
from sarcast.sensor.conditions import LAGS
from sarcast.viewer.grid import MapGrid
from sarcast.viewer.layers import Layer
from sarcast.viewer.pyramid import TILE, Pyramid, Sums, means
from sarcast.windows.bands import bands_of, bands_with_data

if TYPE_CHECKING:
    import xarray as xr

PART = 1024
"""Rows and columns of a cube that are read at a time, so that memory does not grow with a level."""
KEPT_LEVEL = 3
"""Level whose tiles, of one shard each, are kept as sums, from which coarser ones are made."""
MOST_PREPARED = 25
"""Tiles of this level that are made before a page asks for them, at most."""
SAMPLED = 9
"""Parts of the last acquisition that the range of the colours is found from."""
_SAMPLE_PX = 256
_KEPT_BYTES = 2**25
_DIGITS = 3
_NO_CRS = "the cube has no CRS, so it cannot be shown as a map; build it again"


class CubeImages(ABC):
    """A cube as it is shown."""

    @property
    @abstractmethod
    def cube(self) -> "xr.Dataset":
        """The cube as ``open_cube`` gives it."""

    @property
    @abstractmethod
    def bands(self) -> tuple[str, ...]:
        """Bands that hold data."""

    @property
    @abstractmethod
    def grid(self) -> MapGrid:
        """Its grid."""

    @property
    @abstractmethod
    def times(self) -> Times:
        """Times of the acquisitions."""

    @abstractmethod
    def values(self, name: str) -> npt.NDArray[Any] | None:
        """Values of a small variable, dims as in the schema; None where there is none."""

    @abstractmethod
    def image(self, index: int, box: Box) -> Float:
        """Backscatter of an acquisition, dims (band, y, x), dB."""

    @abstractmethod
    def history(self, column: int, row: int) -> Float:
        """Backscatter of a pixel, dims (time, band), dB."""

    @abstractmethod
    def _means(self, index: int, level: int, box: Box) -> Float:
        """Means of a part of a level that is read at once, as ``read``."""

    @property
    def pyramid(self) -> Pyramid:
        """Levels of its grid."""
        return Pyramid(*self.grid.shape)

    def read(self, index: int, level: int, box: Box) -> Float:
        """Means of the backscatter in dB, as ``layers.Reader``: a layer of this cube."""
        shape = [part.stop - part.start for part in box]
        image = np.full((len(self.bands), *shape), np.nan, dtype=np.float32)
        for inner in cut(shape, max(1, PART >> level)):
            image[:, *inner] = self._means(index, level, moved(inner, box))
        return image

    def actual(self) -> Layer:
        """The layer of the actual images."""
        return Layer(
            "actual",
            "actual image",
            self.bands,
            self.read,
            ranges=self.ranges,
            ramp="grey",
            dated=True,
        )

    @cached_property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """Backscatter shown as black and as white by band, dB, from the last acquisition."""
        rows, columns = self.pyramid.rows, self.pyramid.columns
        side = math.isqrt(SAMPLED)
        starts = [
            [min(k * total // side, max(total - _SAMPLE_PX, 0)) for k in range(side)]
            for total in (rows, columns)
        ]
        last = len(self.times) - 1
        parts = [
            self.image(last, (slice(y, y + _SAMPLE_PX), slice(x, x + _SAMPLE_PX))).reshape(
                len(self.bands), -1
            )
            for y in dict.fromkeys(starts[0])
            for x in dict.fromkeys(starts[1])
        ]
        return tuple(map(styles.grey_range, np.concatenate(parts, axis=1)))

    # --- acquisitions -----------------------------------------------------------------------------

    def acquisitions(self) -> list[dict[str, Any]]:
        """Time, pass and mean conditions of each acquisition, as JSON."""
        columns = {
            "time": [iso_time(time) for time in self.times],
            "orbit_direction": self._coordinate("orbit_direction", ""),
            "relative_orbit": self._coordinate("relative_orbit", 0),
            "platform": self._coordinate("platform", ""),
            "temperature": numbers(self._mean("temperature")),
            "snow_depth": numbers(self._mean("snow_depth")),
            "incidence": numbers(self._mean("incidence")),
            "precipitation": self._precipitation(),
            "seen_share": self._seen_shares(),
        }
        return [
            {name: column[k] for name, column in columns.items()} for k in range(len(self.times))
        ]

    def _coordinate(self, name: str, missing: Any) -> list[Any]:
        values = self.values(name)
        return [missing] * len(self.times) if values is None else list(values.tolist())

    def _mean(self, name: str) -> Double:
        """Mean over the cells of the conditions grid that are known, dims (time, ...)."""
        values = self.values(name)
        if values is None:
            return np.full(len(self.times), np.nan)
        known = np.isfinite(values)
        count = known.sum(axis=(-2, -1))
        total = np.where(known, values, 0.0).sum(axis=(-2, -1), dtype=np.float64)
        mean: Double = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return mean

    def _precipitation(self) -> list[list[float | None]]:
        mean = self._mean("precipitation")
        return [numbers(row) if mean.ndim > 1 else [None] * LAGS for row in mean]

    def _seen_shares(self) -> list[float | None]:
        """Share of the pixels that each acquisition sees in any band."""
        seen = self.values("seen")
        if seen is None:
            return [None] * len(self.times)
        return numbers(seen.max(axis=1) / (self.pyramid.rows * self.pyramid.columns))

    # --- a pixel ----------------------------------------------------------------------------------

    def series(self, column: int, row: int) -> dict[str, Any]:
        """Actual backscatter and conditions of a pixel at each acquisition, as JSON."""
        values = self.history(column, row)
        acquisitions = self.acquisitions()
        names = (
            "orbit_direction",
            "relative_orbit",
            "platform",
            "temperature",
            "snow_depth",
            "precipitation",
        )
        return {
            "times": [each["time"] for each in acquisitions],
            **{name: [each[name] for each in acquisitions] for name in names},
            "bands": list(self.bands),
            "actual": {band: numbers(values[:, k]) for k, band in enumerate(self.bands)},
        }


@dataclass(frozen=True)
class DatasetImages(CubeImages):
    """A cube that is open, which may differ from any on disk.

    Attributes
    ----------
    dataset
        Dims (time, band, y, x) in any order.
    """

    dataset: "xr.Dataset"

    @property
    def cube(self) -> "xr.Dataset":
        """The cube as ``open_cube`` gives it."""
        return self.dataset

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Bands that hold data."""
        return bands_of(self.dataset)

    @cached_property
    def grid(self) -> MapGrid:
        """Its grid."""
        from sarcast.io.images import grid_of_images

        box = grid_of_images(self.dataset["backscatter"])
        if box is None or box.crs is None:
            raise SarcastError(_NO_CRS)
        return MapGrid.of(box)

    @property
    def times(self) -> Times:
        """Times of the acquisitions."""
        times: Times = self.dataset["time"].values
        return times

    def values(self, name: str) -> npt.NDArray[Any] | None:
        """Values of a small variable, dims as in the schema; None where there is none."""
        if name not in self.dataset:
            return None
        values: npt.NDArray[Any] = self.dataset[name].transpose(*SCHEMA[name].dims).values
        return values

    @cached_property
    def _backscatter(self) -> "xr.DataArray":
        """Dims (time, band, y, x), dB, of the bands that hold data."""
        images = self.dataset["backscatter"].sel(band=list(self.bands))
        return images.transpose("time", "band", "y", "x")

    def image(self, index: int, box: Box) -> Float:
        """Backscatter of an acquisition, dims (band, y, x), dB."""
        image: Float = self._backscatter[index, :, *box].values.astype(np.float32, copy=False)
        return image

    def history(self, column: int, row: int) -> Float:
        """Backscatter of a pixel, dims (time, band), dB."""
        values: Float = self._backscatter[:, :, row, column].values
        return values

    def _means(self, index: int, level: int, box: Box) -> Float:
        """Means of a part of a level that is read at once, as ``read``."""
        return means(self.image(index, self.pyramid.full(level, box)), level)


@dataclass(frozen=True)
class StoredImages(CubeImages):
    """A cube on disk, whose tiles are made from its packed values.

    Attributes
    ----------
    stored
        The cube.
    kept
        Sums of tiles of the level ``KEPT_LEVEL``.
    """

    stored: StoredCube
    kept: Cache[Sums] = field(default_factory=lambda: Cache(_KEPT_BYTES))

    @cached_property
    def cube(self) -> "xr.Dataset":
        """The cube as ``open_cube`` gives it."""
        from sarcast.cube.opening import open_cube

        return open_cube(self.stored.path)

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Bands that hold data."""
        return bands_with_data(self.stored.bands, self._has_data)

    def _has_data(self, band: str) -> bool:
        seen, at = self.values("seen"), self.stored.bands.index(band)
        if seen is not None:
            return bool((seen[:, at] > 0).any())
        return any(
            (self.stored.packed(index, part)[at] != self.stored.missing).any()
            for index in range(len(self.times))
            for part in cut(self.stored.shape, PART)
        )

    @cached_property
    def grid(self) -> MapGrid:
        """Its grid."""
        if not self.stored.crs_wkt:
            raise SarcastError(_NO_CRS)
        crs = CRS.from_wkt(self.stored.crs_wkt)
        return MapGrid(self.stored.shape, self.stored.transform, crs)

    @property
    def times(self) -> Times:
        """Times of the acquisitions."""
        return self.stored.times

    def values(self, name: str) -> npt.NDArray[Any] | None:
        """Values of a small variable, dims as in the schema; None where there is none."""
        return self.stored.values(name) if name in self.stored else None

    def image(self, index: int, box: Box) -> Float:
        """Backscatter of an acquisition, dims (band, y, x), dB."""
        return self.stored.unpack(self._packed(index, box))

    def history(self, column: int, row: int) -> Float:
        """Backscatter of a pixel, dims (time, band), dB."""
        packed = self.stored.history(row, column)
        return self.stored.unpack(packed[:, self._numbers])

    def _packed(self, index: int, box: Box) -> npt.NDArray[np.int16]:
        """Packed backscatter of the bands that hold data."""
        packed = self.stored.packed(index, box)
        return packed if self.bands == self.stored.bands else packed[self._numbers]

    @property
    def _numbers(self) -> list[int]:
        """Indices in the store of the bands that hold data."""
        return [self.stored.bands.index(band) for band in self.bands]

    def _means(self, index: int, level: int, box: Box) -> Float:
        """Means of a part of a level that is read at once, as ``read``."""
        if level == 0:
            return self.image(index, box)
        packed = self._packed(index, self.pyramid.full(level, box))
        return Sums.of(packed, level, self.stored.missing).means(self.stored.scale)

    def read(self, index: int, level: int, box: Box) -> Float:
        """Means of the backscatter in dB, as ``layers.Reader``: a layer of this cube."""
        if level < KEPT_LEVEL:
            return super().read(index, level, box)
        levels, side = level - KEPT_LEVEL, TILE << KEPT_LEVEL
        sums = Sums.zeros((len(self.bands), *(part.stop - part.start for part in box)))
        down, across = (
            range(part.start // side, -(-part.stop // side))
            for part in self.pyramid.full(level, box)
        )
        for row, column in product(down, across):
            tile = self._kept_tile(index, row, column)
            top, left = (number * TILE >> levels for number in (row, column))
            sums.add(
                tile.coarser(min(levels, TILE.bit_length() - 1)),
                (top - box[0].start, left - box[1].start),
            )
        return sums.means(self.stored.scale)

    def prepare(self, is_cancelled: Callable[[], bool]) -> None:
        """Make what the first image is made from, unless that is very much."""
        sides = (-(-size // (TILE << KEPT_LEVEL)) for size in self.grid.shape)
        places = list(product(*map(range, sides)))
        last = len(self.times) - 1
        for row, column in places if 1 < len(places) <= MOST_PREPARED else ():
            if is_cancelled():
                return
            self._kept_tile(last, row, column)

    def _kept_tile(self, index: int, row: int, column: int) -> Sums:
        return self.kept.get((index, row, column), partial(self._tile, index, row, column))

    def _tile(self, index: int, row: int, column: int) -> Sums:
        """Sums of a tile of the level ``KEPT_LEVEL``."""
        place = slice(row * TILE, (row + 1) * TILE), slice(column * TILE, (column + 1) * TILE)
        full = self.pyramid.full(KEPT_LEVEL, place)
        shape = [part.stop - part.start for part in full]
        cells = (-(-length >> KEPT_LEVEL) for length in shape)
        sums = Sums.zeros((len(self.bands), *cells), np.int32)
        for inner in cut(shape, PART):
            packed = self._packed(index, moved(inner, full))
            top, left = (part.start >> KEPT_LEVEL for part in inner)
            sums.add(Sums.of(packed, KEPT_LEVEL, self.stored.missing), (top, left))
        return sums


def numbers(values: npt.NDArray[Any]) -> list[float | None]:
    """Numbers as JSON has them: rounded, None where one is not finite."""
    rounded = np.round(np.asarray(values, dtype=np.float64), _DIGITS)
    return [float(value) if np.isfinite(value) else None for value in rounded]
