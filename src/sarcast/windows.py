"""Windows: a place and a target date cut from a cube, and what predicts their expected image."""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import xarray as xr

from sarcast.conditions import COLUMNS, LAGS, platform_number
from sarcast.errors import SarcastError

if TYPE_CHECKING:
    import torch

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
Times = npt.NDArray[np.datetime64]
Place = tuple[int, int]

BANDS = ("VV", "VH")
MIN_SEEN = 0.5
"""Share of a window's pixels that an image must have seen to count as one of its images."""
TRIES = 200
"""Places and dates tried for one window before the data counts as having none."""
IN_MEMORY_BYTES = 2**31
"""Backscatter of a cube up to this size is read once and kept for training."""


@dataclass(frozen=True)
class Window:
    """A place and a target date: n previous images, their conditions, terrain and the target.

    Attributes
    ----------
    previous
        Dims (image, band, y, x), dB, oldest first, NaN where nothing was seen.
    target
        Dims (band, y, x), dB: the actual image; NaN where nothing was seen.
    conditions
        Dims (image + 1, column), columns and units of ``conditions.COLUMNS``; the target is last.
    times
        Dims (image + 1), datetime64[ns], acquisition times; the target is last.
    elevation
        Dims (y, x), m; all NaN where the cube has no terrain.
    expected
        Dims (band, y, x), dB: the oracle, None outside a synthetic world.
    forest, open_land
        Dims (y, x): where changes are simulated, and whose distribution they take; None if unknown.
    place
        Row and column of the upper left pixel in the cube.
    """

    previous: Float
    target: Float
    conditions: Float
    times: Times
    elevation: Float
    expected: Float | None = None
    forest: Bool | None = None
    open_land: Bool | None = None
    place: Place = (0, 0)


@dataclass(frozen=True)
class Expected:
    """An expected image: ``mean`` and, where the predictor tells it, ``std``; (band, y, x), dB."""

    mean: Float
    std: Float | None = None


class Predictor(Protocol):
    """Whatever gives the expected image of a window: a network, a strategy, an oracle."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def size(self) -> int | None:
        """The one window size in pixels that it takes; None for any."""
        ...

    @property
    def previous(self) -> int | None:
        """Number of previous images that it needs; None for any from one up."""
        ...

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        """Give the expected image of each window; NaN where it cannot be told."""
        ...


@dataclass(frozen=True)
class Batch:
    """Windows of one size and one number of previous images, as tensors.

    Attributes
    ----------
    previous
        Dims (window, image, band, y, x), dB, oldest first, NaN where nothing was seen.
    target
        Dims (window, band, y, x), dB, NaN where nothing was seen.
    elevation
        Dims (window, y, x), m, NaN where unknown.
    conditions
        Dims (window, image + 1, column), as ``conditions.COLUMNS``, NaN where missing.
    days
        Dims (window, image + 1), days after the target's acquisition: 0 for the target, last.
    day_of_year
        Dims (window), 0..366, of the target.
    expected
        Dims (window, band, y, x), dB: the oracle, None outside a synthetic world.
    forest, open_land, changed
        Dims (window, y, x), bool, None if unknown; ``changed`` marks true changes of the ground.
    """

    previous: "torch.Tensor"
    target: "torch.Tensor"
    elevation: "torch.Tensor"
    conditions: "torch.Tensor"
    days: "torch.Tensor"
    day_of_year: "torch.Tensor"
    expected: "torch.Tensor | None" = None
    forest: "torch.Tensor | None" = None
    open_land: "torch.Tensor | None" = None
    changed: "torch.Tensor | None" = None

    def to(self, device: "torch.device | str") -> Self:
        """Give the same batch on a device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: tensor.to(device) for name, tensor in tensors.items() if tensor is not None}
        return replace(self, **moved)

    def inputs(self) -> "tuple[torch.Tensor, ...]":
        """Give what a network may see: previous, elevation, conditions, days, day_of_year."""
        return self.previous, self.elevation, self.conditions, self.days, self.day_of_year


def collate(windows: Sequence[Window]) -> Batch:
    """Stack windows of one size and one number of previous images.

    An optional part is kept where every window has it.

    Raises
    ------
    SarcastError
        If there is no window, or sizes or numbers of previous images differ.
    """
    import torch

    shapes = {window.previous.shape for window in windows}
    if len(shapes) != 1:
        raise SarcastError(
            f"a batch holds windows of one shape (image, band, y, x), but {sorted(shapes)} came; "
            f"batch windows of each shape apart"
        )

    def stack(parts: Iterable[npt.NDArray[Any]]) -> torch.Tensor:
        return torch.from_numpy(np.stack(list(parts)))

    def stack_if_all(name: str) -> torch.Tensor | None:
        parts = [getattr(window, name) for window in windows]
        return None if any(part is None for part in parts) else stack(parts)

    return Batch(
        previous=stack(window.previous for window in windows),
        target=stack(window.target for window in windows),
        elevation=stack(window.elevation for window in windows),
        conditions=stack(window.conditions for window in windows),
        days=stack(_days(window.times) for window in windows),
        day_of_year=stack(_day_of_year(window.times) for window in windows),
        expected=stack_if_all("expected"),
        forest=stack_if_all("forest"),
        open_land=stack_if_all("open_land"),
    )


def _days(times: Times) -> Float:
    return np.asarray((times - times[-1]) / np.timedelta64(1, "D"), dtype=np.float32)


def _day_of_year(times: Times) -> Float:
    target = times[-1]
    since = (target - target.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    return np.asarray(since, dtype=np.float32)


def choose_previous(
    times: Times, target: int, n: int, *, seen: Bool | None = None
) -> npt.NDArray[np.intp]:
    """Choose the ``n`` latest images before the target's acquisition.

    Parameters
    ----------
    times
        Dims (time), acquisition times in any order.
    target
        Place of the target in ``times``.
    n
        Number of images, 1 or more.
    seen
        Dims (time), the images that may be chosen; all where None.

    Returns
    -------
    ndarray of int
        Places in ``times``, oldest first.

    Raises
    ------
    SarcastError
        If fewer than ``n`` precede the target.
    """
    allowed = times < times[target]
    if seen is not None:
        allowed &= seen
    candidates = np.flatnonzero(allowed)
    if len(candidates) < n:
        raise SarcastError(
            f"{n} previous images are needed, but {len(candidates)} precede "
            f"{np.datetime_as_string(times[target], 's')}; "
            f"choose a later date, or a network that needs fewer"
        )
    return candidates[np.argsort(times[candidates], kind="stable")][-n:]


def target_dates(
    cube: xr.Dataset,
    n: int,
    *,
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
) -> npt.NDArray[np.intp]:
    """Places on ``time`` that can be targets, oldest first.

    Parameters
    ----------
    cube
        The cube.
    n
        Number of images that must precede a target.
    start, end
        First and last acquisition time allowed; None for no bound.
    """
    times = cube["time"].values
    order = np.argsort(times, kind="stable")
    enough = np.array([np.sum(times < times[place]) >= n for place in order], dtype=bool)
    kept: npt.NDArray[np.intp] = order[enough]
    if start is not None:
        kept = kept[times[kept] >= start]
    if end is not None:
        kept = kept[times[kept] <= end]
    return kept


@dataclass(frozen=True)
class Source:
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

    def seen(self, time: int, place: Place, size: Place) -> float:
        """Give the share of the window's pixels inside the cube that an image saw."""
        rows, columns = _inside(place, size, self.shape)
        image = self.backscatter[time, 0, rows, columns].values
        return float(np.isfinite(image).mean()) if image.size else 0.0

    def previous(self, target: int, place: Place, size: Place, n: int) -> list[int]:
        """Choose the ``n`` latest images before the target that see the window; fewer if so few."""
        earlier = np.flatnonzero(self.times < self.times[target])
        chosen: list[int] = []
        for time in earlier[np.argsort(self.times[earlier], kind="stable")][::-1]:
            if len(chosen) == n:
                break
            if self.seen(int(time), place, size) >= MIN_SEEN:
                chosen.append(int(time))
        return chosen[::-1]

    def cut(self, target: int, place: Place, size: Place, previous: Sequence[int]) -> Window:
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
            place=place,
        )


def cut(
    cube: xr.Dataset, target: int, place: Place, size: Place, previous: Sequence[int]
) -> Window:
    """Cut one window from a cube; only what it needs is read.

    Parameters
    ----------
    cube
        The cube; elevation, conditions, masks and oracle may be absent.
    target
        Place of the target image on ``time``.
    place
        Row and column of the upper left pixel.
    size
        Rows and columns; what hangs over the cube's edge is NaN.
    previous
        Places of the previous images on ``time``, oldest first.
    """
    return Source.of(cube).cut(target, place, size, previous)


def grid(cube: xr.Dataset, target: int, size: int, n: int) -> Iterator[Window]:
    """Cut the windows that cover a cube at one date, row by row.

    The last window of a row or column ends at the cube's edge and overlaps the one before it.
    Windows that the target or ``n`` previous images do not see are left out.

    Parameters
    ----------
    cube
        The cube.
    target
        Place of the target image on ``time``.
    size
        Rows and columns of a window.
    n
        Number of previous images.

    Raises
    ------
    SarcastError
        If fewer than ``n`` images precede the target.
    """
    source = Source.of(cube)
    choose_previous(source.times, target, n)
    shape = (size, size)
    for row in _starts(source.shape[0], size):
        for column in _starts(source.shape[1], size):
            previous = source.previous(target, (row, column), shape, n)
            if len(previous) == n and source.seen(target, (row, column), shape) > 0.0:
                yield source.cut(target, (row, column), shape, previous)


class WindowSampler:
    """Random windows of one or several cubes.

    Parameters
    ----------
    cubes
        The cubes.
    targets
        For each cube, places on ``time`` of the dates that may be targets (``target_dates``).
    size
        Rows and columns of a window.
    previous
        Number of previous images.

    Raises
    ------
    SarcastError
        If no date may be a target.
    """

    def __init__(
        self,
        cubes: Sequence[xr.Dataset],
        targets: Sequence[npt.NDArray[np.intp]],
        *,
        size: int,
        previous: int,
    ) -> None:
        if sum(len(places) for places in targets) == 0:
            dates = ", ".join(str(cube.sizes["time"]) for cube in cubes)
            raise SarcastError(
                f"training data with no valid window: a target needs {previous} previous images, "
                f"but no date of the chosen ones has them (the cubes have {dates} dates); "
                f"add dates, or train a network that needs fewer"
            )
        self.sources = [
            Source.of(cube, in_memory=cube["backscatter"].size * 4 <= IN_MEMORY_BYTES)
            for cube in cubes
        ]
        self.targets = targets
        self.size = size
        self.previous = previous

    def of_targets(self, targets: Sequence[npt.NDArray[np.intp]]) -> Self:
        """Give a sampler of the same cubes with other dates as targets; images stay in memory."""
        other = copy(self)
        other.targets = targets
        return other

    def draw(self, count: int, *, rng: np.random.Generator) -> list[Window]:
        """Draw windows, each anew.

        Raises
        ------
        SarcastError
            If no place and date was found that enough images see.
        """
        return [self._draw(rng) for _ in range(count)]

    def _draw(self, rng: np.random.Generator) -> Window:
        size = (self.size, self.size)
        pixel_dates = np.array(
            [
                len(places) * source.shape[0] * source.shape[1]
                for places, source in zip(self.targets, self.sources, strict=True)
            ]
        )
        for _ in range(TRIES):
            cube = int(rng.choice(len(self.sources), p=pixel_dates / pixel_dates.sum()))
            source = self.sources[cube]
            target = int(rng.choice(self.targets[cube]))
            row, column = (
                int(rng.integers(max(pixels - self.size, 0) + 1)) for pixels in source.shape
            )
            if source.seen(target, (row, column), size) < MIN_SEEN:
                continue
            previous = source.previous(target, (row, column), size, self.previous)
            if len(previous) == self.previous:
                return source.cut(target, (row, column), size, previous)
        shapes = ", ".join(
            f"{rows} x {columns}" for rows, columns in {s.shape for s in self.sources}
        )
        raise SarcastError(
            f"training data with no valid window: no {self.size} x {self.size} pixels were seen by "
            f"a target and {self.previous} previous images in cubes of {shapes} pixels; "
            f"use smaller windows, more dates, or fewer previous images"
        )


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


def _centre(place: Place, size: Place, shape: Place) -> Place:
    row, column = (
        min(max(start + pixels // 2, 0), end - 1)
        for start, pixels, end in zip(place, size, shape, strict=True)
    )
    return row, column


def _inside(place: Place, size: Place, shape: Place) -> tuple[slice, slice]:
    rows, columns = (
        slice(max(start, 0), max(min(start + pixels, end), 0))
        for start, pixels, end in zip(place, size, shape, strict=True)
    )
    return rows, columns


def _read(
    array: xr.DataArray, place: Place, size: Place, **chosen: int | list[int]
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


def _read_mask(mask: xr.DataArray | None, place: Place, size: Place) -> Bool | None:
    return None if mask is None else _read(mask.astype(bool), place, size)
