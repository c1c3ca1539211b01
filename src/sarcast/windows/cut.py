"""Windows cut from cubes: one, those that cover a cube, or several at places of one's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import xarray as xr

from sarcast.arrays import Bool, Float, Times
from sarcast.sensor.conditions import COLUMNS, LAGS, platform_number
from sarcast.windows.previous import Chooser, choose_previous, ranked_previous
from sarcast.windows.window import BANDS, PixelOffset, Window

MIN_SEEN = 0.5
"""Share of what its target saw that an image must have seen to count as one of a window's."""


@dataclass(frozen=True)
class CubeReader:
    """A cube made ready for cutting: images as they lie, conditions and masks in memory.

    Attributes
    ----------
    backscatter
        Dims (time, band, y, x), dB; read at each cut, or held in memory.
    conditions
        Dims (time, column, cy, cx), units as in ``conditions.RANGES``; one cell where the cube has
        no conditions grid.
    rows, columns
        Dims (y) and (x): the row and the column of the conditions grid at each pixel.
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

    @classmethod
    def of(cls, cube: xr.Dataset, *, in_memory: bool = False) -> Self:
        """Make a cube ready; ``in_memory`` reads its images now and keeps them."""
        cube = cube.sel(band=list(BANDS)).transpose(
            "time", "band", ..., "y", "x", missing_dims="ignore"
        )
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
            **optional,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the cube."""
        return self.backscatter.sizes["y"], self.backscatter.sizes["x"]

    def seen(self, time: int, place: PixelOffset, size: PixelOffset) -> float:
        """Give the share of the window's pixels inside the cube that an image saw."""
        rows, columns = _inside(place, size, self.shape)
        image = self.backscatter[time, 0, rows, columns].values
        return float(np.isfinite(image).mean()) if image.size else 0.0

    def previous(
        self,
        target: int,
        place: PixelOffset,
        size: PixelOffset,
        n: int,
        *,
        chooser: Chooser = "recent",
        before: np.datetime64 | None = None,
    ) -> list[int]:
        """Choose ``n`` images before the target that see the window, oldest first.

        An image sees it if it saw at least half of what the target saw. Fewer where not so many
        see it; ``chooser`` and ``before`` as in ``ranked_previous``.
        """
        chosen: list[int] = []
        least = MIN_SEEN * self.seen(target, place, size)
        for time in ranked_previous(self.times, target, chooser=chooser, before=before):
            if len(chosen) == n:
                break
            if self.seen(int(time), place, size) >= least:
                chosen.append(int(time))
        return sorted(chosen, key=lambda time: self.times[time])

    def cut(
        self, target: int, place: PixelOffset, size: PixelOffset, previous: Sequence[int]
    ) -> Window:
        """Cut one window; what hangs over the cube's edge is NaN, or False in masks."""
        images = [*previous, target]
        centre = _centre(place, size, self.shape)
        cell = self.rows[centre[0]], self.columns[centre[1]]
        stack = _read(self.backscatter, place, size, time=images).astype(np.float32, copy=False)
        elevation = np.full(size, np.nan, dtype=np.float32)
        if self.elevation is not None:
            elevation = _read(self.elevation, place, size).astype(np.float32)
        expected = None
        if self.expected is not None:
            expected = _read(self.expected, place, size, time=target).astype(np.float32)
        return Window(
            previous=stack[:-1],
            target=stack[-1],
            conditions=self.conditions[images, :, cell[0], cell[1]],
            times=self.times[images],
            elevation=elevation,
            expected=expected,
            forest=_read_mask(self.forest, place, size),
            open_land=_read_mask(self.open_land, place, size),
            offset=place,
        )


def cut(
    cube: xr.Dataset, target: int, place: PixelOffset, size: PixelOffset, previous: Sequence[int]
) -> Window:
    """Cut one window from a cube; only what it needs is read.

    Parameters
    ----------
    cube
        The cube; elevation, conditions, masks and oracle may be absent.
    target
        PixelOffset of the target image on ``time``.
    place
        Row and column of the upper left pixel.
    size
        Rows and columns; what hangs over the cube's edge is NaN.
    previous
        Places of the previous images on ``time``, oldest first.
    """
    return CubeReader.of(cube).cut(target, place, size, previous)


def grid(
    cube: xr.Dataset, target: int, size: int, n: int, *, chooser: Chooser = "recent"
) -> Iterator[Window]:
    """Cut the windows that cover a cube at one date, row by row.

    The last window of a row or column ends at the cube's edge and overlaps the one before it.
    Windows that the target or ``n`` previous images do not see are left out.

    Parameters
    ----------
    cube
        The cube.
    target
        PixelOffset of the target image on ``time``.
    size
        Rows and columns of a window.
    n
        Number of previous images.
    chooser
        Which, as in ``ranked_previous``.

    Raises
    ------
    SarcastError
        If fewer than ``n`` images precede the target.
    """
    source = CubeReader.of(cube)
    choose_previous(source.times, target, n, chooser=chooser)
    shape = (size, size)
    for row in _starts(source.shape[0], size):
        for column in _starts(source.shape[1], size):
            previous = source.previous(target, (row, column), shape, n, chooser=chooser)
            if len(previous) == n and source.seen(target, (row, column), shape) > 0.0:
                yield source.cut(target, (row, column), shape, previous)


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
    """Place on the conditions grid of each row or column of pixels."""
    if coarse not in cube.coords:
        return np.zeros(cube.sizes[fine], dtype=np.intp)
    centres, pixels = cube[coarse].values, cube[fine].values
    distances = np.abs(pixels[:, None] - centres[None, :])
    return np.asarray(distances.argmin(axis=1), dtype=np.intp)


def _starts(pixels: int, size: int) -> list[int]:
    whole = list(range(0, pixels - size + 1, size))
    if not whole:
        return [0]
    return whole if whole[-1] + size == pixels else [*whole, pixels - size]


def _centre(place: PixelOffset, size: PixelOffset, shape: PixelOffset) -> PixelOffset:
    """Middle of what lies inside; of a window that lies outside, the nearest pixel."""
    row, column = (
        min((part.start + part.stop) // 2, end - 1)
        for part, end in zip(_inside(place, size, shape), shape, strict=True)
    )
    return row, column


def _inside(place: PixelOffset, size: PixelOffset, shape: PixelOffset) -> tuple[slice, slice]:
    rows, columns = (
        slice(max(start, 0), max(min(start + pixels, end), 0))
        for start, pixels, end in zip(place, size, shape, strict=True)
    )
    return rows, columns


def _read(
    array: xr.DataArray, place: PixelOffset, size: PixelOffset, **chosen: int | list[int]
) -> npt.NDArray[Any]:
    """Read a window; what hangs over the edge is NaN, or False in a mask."""
    rows, columns = _inside(place, size, (array.sizes["y"], array.sizes["x"]))
    values: npt.NDArray[Any] = array.isel(y=rows, x=columns).isel(chosen).values
    if values.shape[-2:] == tuple(size):
        return values
    outside = False if values.dtype == np.bool_ else np.nan
    padded = np.full((*values.shape[:-2], *size), outside, dtype=values.dtype)
    row, column = rows.start - place[0], columns.start - place[1]
    padded[..., row : row + values.shape[-2], column : column + values.shape[-1]] = values
    return padded


def _read_mask(mask: xr.DataArray | None, place: PixelOffset, size: PixelOffset) -> Bool | None:
    return None if mask is None else _read(mask.astype(bool), place, size)
