"""Windows cut from cubes: a single one, tiles that cover a cube, or any with a ``CubeReader``."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import xarray as xr

from sarcast.arrays import Bool, Double, Float, Times
from sarcast.sensor.conditions import COLUMNS, LAGS, platform_number
from sarcast.windows.bands import bands_of
from sarcast.windows.options import Chooser
from sarcast.windows.previous import choose_previous, rank_previous
from sarcast.windows.window import PixelOffset, PixelShape, Window

MIN_VALID_SHARE = 0.5
"""Least valid share of a previous image in a window, relative to that of the target."""
MOST_KEPT_BYTES = 2**28
"""Size, at most, of the images that a thread keeps: those that were looked at when previous images
were chosen."""

Place = tuple[PixelOffset, PixelShape]
"""Row and column of the upper left pixel of a part of a cube; its rows and columns."""


class _Kept(threading.local):
    """Images of the place that a thread read last, by their time; other processes get none."""

    def __init__(self) -> None:
        self.place: Place | None = None
        self.images: dict[int, Float] = {}

    def at(self, place: Place) -> dict[int, Float]:
        """Images of a place; those of another one are forgotten, and so are many."""
        size = sum(image.nbytes for image in self.images.values())
        if self.place != place or size > MOST_KEPT_BYTES:
            self.place, self.images = place, {}
        return self.images

    def __reduce__(self) -> tuple[Any, ...]:
        return _Kept, ()


@dataclass(frozen=True)
class CubeReader:
    """Cuts windows from a cube: images as stored, conditions and masks in memory.

    Attributes
    ----------
    backscatter
        Dims (time, band, y, x), dB; read at each cut, or kept in memory.
    conditions
        Dims (time, column, cy, cx), units as in ``conditions.RANGES``; one cell where the cube has
        no conditions grid.
    rows, columns
        Dims (y) and (x): the row and the column of the conditions grid at each pixel.
    around
        A place whose images are read as one, and then cut into the windows that lie in it; None to
        read each window.
    """

    backscatter: xr.DataArray
    times: Times
    conditions: Float
    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    elevation: xr.DataArray | None = None
    expected: xr.DataArray | None = None
    forest: xr.DataArray | None = None
    open_land: xr.DataArray | None = None
    around: Place | None = None
    _kept: _Kept = field(default_factory=_Kept, init=False, repr=False, compare=False)

    @classmethod
    def from_cube(cls, cube: xr.Dataset, *, in_memory: bool = False) -> Self:
        """Prepare a cube; ``in_memory`` reads its images now and keeps them."""
        bands = list(bands_of(cube))
        if bands != cube["band"].values.tolist():  # choosing them copies the images
            cube = cube.sel(band=bands)
        cube = cube.transpose("time", "band", ..., "y", "x", missing_dims="ignore")
        backscatter = cube["backscatter"]
        optional = {
            name: cube.get(name) for name in ("elevation", "expected", "forest", "open_land")
        }
        if in_memory:
            backscatter = backscatter.astype(np.float32).compute()
            optional = {
                name: part.compute() if part is not None and name != "expected" else part
                for name, part in optional.items()
            }
        return cls(
            backscatter=backscatter,
            times=cube["time"].values,
            conditions=_conditions(cube),
            rows=_nearest(cube, "y", "cy"),
            columns=_nearest(cube, "x", "cx"),
            elevation=optional["elevation"],
            expected=optional["expected"],
            forest=optional["forest"],
            open_land=optional["open_land"],
        )

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands: those of the cube that hold data on any date."""
        return tuple(map(str, self.backscatter["band"].values))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the cube."""
        return self.backscatter.sizes["y"], self.backscatter.sizes["x"]

    def valid_shares(self, time: int, offset: PixelOffset, size: PixelShape) -> Double:
        """Return the share, 0..1, of the window's pixels inside the cube with data, by band."""
        rows, columns = _inside(offset, size, self.shape)
        pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
        valid = np.isfinite(self._image(time, offset, size))
        shares: Double = np.array([np.count_nonzero(band) for band in valid]) / max(1, pixels)
        return shares

    def valid_share(self, time: int, offset: PixelOffset, size: PixelShape) -> float:
        """Return the greatest of ``valid_shares``."""
        return float(self.valid_shares(time, offset, size).max())

    def choose_previous(
        self,
        target: int,
        offset: PixelOffset,
        size: PixelShape,
        n: int,
        *,
        chooser: Chooser,
        before: np.datetime64 | None = None,
    ) -> list[int]:
        """Choose ``n`` images before the target that see the window; indices, oldest first.

        An image sees the window if it has data in at least half as many pixels as the target.
        Images that see it in every band of the target come before those that see it in one.
        Fewer than ``n`` where there are not so many. ``chooser`` and ``before`` as in
        ``rank_previous``.
        """
        chosen: list[int] = []
        partial: list[int] = []
        least = MIN_VALID_SHARE * self.valid_shares(target, offset, size)
        for time in rank_previous(self.times, target, chooser=chooser, before=before).tolist():
            if len(chosen) == n:
                break
            enough = self.valid_shares(time, offset, size) >= least
            if enough.all():
                chosen.append(time)
            elif enough[least > 0.0].any():
                partial.append(time)
        chosen = (chosen + partial)[:n]
        return sorted(chosen, key=lambda time: self.times[time])

    def cut(
        self, target: int, offset: PixelOffset, size: PixelShape, previous: Sequence[int]
    ) -> Window:
        """Cut one window; pixels beyond the cube's edge are NaN, or False in masks."""
        images = [*previous, target]
        centre = _centre(offset, size, self.shape)
        cell = self.rows[centre[0]], self.columns[centre[1]]
        stack = np.stack([self._image(time, offset, size) for time in images])
        elevation = np.full(size, np.nan, dtype=np.float32)
        if self.elevation is not None:
            elevation = _read(self.elevation, offset, size).astype(np.float32)
        expected = None
        if self.expected is not None:
            expected = _read(self.expected, offset, size, time=target).astype(np.float32)
        return Window(
            previous=stack[:-1],
            target=stack[-1],
            conditions=self.conditions[images, :, cell[0], cell[1]],
            times=self.times[images],
            elevation=elevation,
            expected=expected,
            forest=_read_mask(self.forest, offset, size),
            open_land=_read_mask(self.open_land, offset, size),
            offset=offset,
            bands=self.bands,
        )

    def _image(self, time: int, offset: PixelOffset, size: PixelShape) -> Float:
        """Read a window of one image, dims (band, y, x), dB; NaN beyond the cube's edge."""
        place = self.around or (offset, size)
        images = self._kept.at(place)
        if time not in images:
            image = _read(self.backscatter, *place, time=time)
            images[time] = image.astype(np.float32, copy=False)
        row, column = (start - first for start, first in zip(offset, place[0], strict=True))
        return images[time][:, row : row + size[0], column : column + size[1]]

    def cut_targets(
        self,
        targets: Sequence[int],
        offset: PixelOffset,
        size: PixelShape,
        previous: Sequence[int],
    ) -> list[Window]:
        """Cut windows of several targets and one baseline, whose arrays they share.

        A model encodes a shared baseline once for all of them. Arguments as in ``cut``.
        """
        first = self.cut(targets[0], offset, size, previous)
        others = (self.cut(target, offset, size, ()) for target in targets[1:])
        return [first, *(_with_baseline_of(first, other) for other in others)]


def _with_baseline_of(window: Window, other: Window) -> Window:
    """Give a window without previous images those of another at the same offset."""
    return replace(
        other,
        previous=window.previous,
        elevation=window.elevation,
        conditions=np.concatenate([window.conditions[:-1], other.conditions]),
        times=np.concatenate([window.times[:-1], other.times]),
    )


def cut_window(
    cube: xr.Dataset, target: int, offset: PixelOffset, size: PixelShape, previous: Sequence[int]
) -> Window:
    """Cut one window from a cube; only its own pixels are read.

    Parameters
    ----------
    cube
        The cube; elevation, conditions, masks and oracle may be absent.
    target
        Index of the target image on ``time``.
    offset
        Row and column of the upper left pixel.
    size
        Rows and columns; pixels beyond the cube's edge are NaN.
    previous
        Indices of the previous images on ``time``, oldest first.
    """
    return CubeReader.from_cube(cube).cut(target, offset, size, previous)


def tile_windows(
    cube: xr.Dataset, target: int, size: int, n: int, *, chooser: Chooser
) -> Iterator[Window]:
    """Cut the windows that cover a cube at one date, side by side, row by row.

    The last window of a row or column ends at the cube's edge and overlaps the one before it.
    Windows are left out where the target has no data, or where fewer than ``n`` previous images
    have enough.

    Parameters
    ----------
    cube
        The cube.
    target
        Index of the target image on ``time``.
    size
        Rows and columns of a window.
    n
        Number of previous images.
    chooser
        Which previous images, as in ``rank_previous``.

    Raises
    ------
    SarcastError
        If fewer than ``n`` images precede the target.
    """
    reader = CubeReader.from_cube(cube)
    choose_previous(reader.times, target, n, chooser=chooser)
    shape = (size, size)
    for row in _starts(reader.shape[0], size):
        for column in _starts(reader.shape[1], size):
            previous = reader.choose_previous(target, (row, column), shape, n, chooser=chooser)
            if len(previous) == n and reader.valid_share(target, (row, column), shape) > 0.0:
                yield reader.cut(target, (row, column), shape, previous)


def _conditions(cube: xr.Dataset) -> Float:
    cells = cube.sizes.get("cy", 1), cube.sizes.get("cx", 1)
    table = np.full((cube.sizes["time"], len(COLUMNS), *cells), np.nan, dtype=np.float32)
    for name in ("temperature", "snow_depth", "incidence"):
        if name in cube:
            table[:, COLUMNS.index(name)] = cube[name].transpose("time", "cy", "cx").values
    if "precipitation" in cube:
        rain = cube["precipitation"].transpose("time", "lag", "cy", "cx").values
        first = COLUMNS.index("precipitation_0")
        table[:, first : first + LAGS] = rain[:, :LAGS]
    if "heading" in cube.coords:
        heading = cube["heading"].values.astype(np.float32)
        table[:, COLUMNS.index("heading")] = heading[:, None, None]
    if "platform" in cube.coords:
        numbers = [platform_number(str(platform)) for platform in cube["platform"].values]
        table[:, COLUMNS.index("platform")] = np.array(numbers)[:, None, None]
    return table


def _nearest(cube: xr.Dataset, fine: str, coarse: str) -> npt.NDArray[np.intp]:
    """Index on the conditions grid of each row or column of pixels."""
    if coarse not in cube.coords:
        return np.zeros(cube.sizes[fine], dtype=np.intp)
    centres, pixels = cube[coarse].values, cube[fine].values
    distances = np.abs(pixels[:, None] - centres[None, :])
    return np.asarray(distances.argmin(axis=1), dtype=np.intp)


def _starts(pixels: int, size: int) -> list[int]:
    starts = list(range(0, pixels - size + 1, size))
    if not starts:
        return [0]
    return starts if starts[-1] + size == pixels else [*starts, pixels - size]


def _centre(offset: PixelOffset, size: PixelShape, shape: PixelShape) -> PixelOffset:
    """Middle of the part inside the cube; of a window that lies outside, the nearest pixel."""
    row, column = (
        min((part.start + part.stop) // 2, end - 1)
        for part, end in zip(_inside(offset, size, shape), shape, strict=True)
    )
    return row, column


def _inside(offset: PixelOffset, size: PixelShape, shape: PixelShape) -> tuple[slice, slice]:
    """Rows and columns of the cube that a window covers."""
    rows, columns = (
        slice(max(start, 0), max(min(start + pixels, end), 0))
        for start, pixels, end in zip(offset, size, shape, strict=True)
    )
    return rows, columns


def _read(
    array: xr.DataArray, offset: PixelOffset, size: PixelShape, **chosen: int
) -> npt.NDArray[Any]:
    """Read a window; pixels beyond the edge are NaN, or False in a mask."""
    rows, columns = _inside(offset, size, (array.sizes["y"], array.sizes["x"]))
    values: npt.NDArray[Any] = array.isel(y=rows, x=columns).isel(chosen).values
    if values.shape[-2:] == tuple(size):
        return values
    outside = np.nan if values.dtype.kind == "f" else 0
    padded = np.full((*values.shape[:-2], *size), outside, dtype=values.dtype)
    row, column = rows.start - offset[0], columns.start - offset[1]
    padded[..., row : row + values.shape[-2], column : column + values.shape[-1]] = values
    return padded


def _read_mask(mask: xr.DataArray | None, offset: PixelOffset, size: PixelShape) -> Bool | None:
    return None if mask is None else _read(mask, offset, size).astype(bool)
