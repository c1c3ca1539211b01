"""What is looked at: a cube, a detection or alerts, opened again whenever it has changed."""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.arrays import Float
from sarcast.cache import Cache
from sarcast.cube.metadata import METADATA
from sarcast.cube.stored import StoredCube
from sarcast.errors import SarcastError
from sarcast.sensor.conditions import PLATFORMS
from sarcast.sensor.orbits import ASCENDING, DESCENDING
from sarcast.viewer.cubes import CubeImages, DatasetImages, StoredImages
from sarcast.viewer.grid import MapGrid
from sarcast.viewer.layers import RAMPS, Layer
from sarcast.viewer.pyramid import TILE, NoSuchTileError, Pyramid, padded
from sarcast.viewer.requests import NothingToShowError
from sarcast.windows.options import PreviousOptions

if TYPE_CHECKING:
    import xarray as xr

    from sarcast.viewer.events import Events
    from sarcast.viewer.expected import Forecast
    from sarcast.viewer.results import Result
    from sarcast.windows import Predictor

POLL_S = 5.0
"""Seconds after which a page asks again whether the data have changed."""
_CHECK_S = 0.5
_TILE_BYTES = 2**25
OF_A_DATE = "-at"
"""What the names of predicted layers end with where a result has layers of the same names."""


@dataclass(frozen=True)
class Shown:
    """How something is shown.

    Attributes
    ----------
    predictor
        What predicts expected images; None shows none but those stored.
    baseline
        Which previous images; None: those that a detection used, else the defaults.
    cube
        Cube of a detection or of alerts; None: the one that its record names, where it exists.
    """

    predictor: "Predictor | None" = None
    baseline: PreviousOptions | None = None
    cube: Path | None = None


@dataclass(frozen=True)
class View:
    """A cube, a detection or alerts, as they are at one time.

    Attributes
    ----------
    title
        Name for people.
    kind
        ``"cube"``, ``"detection"`` or ``"alerts"``.
    version
        Differs once the data have changed.
    grid
        Their grid.
    images
        The cube, where there is one.
    forecast
        Expected images of the cube, if a predictor was given.
    result
        The detection or the alerts; None of a cube alone.
    tiles
        Tiles that were read.
    """

    title: str
    kind: str
    version: str
    grid: MapGrid
    images: CubeImages | None = None
    forecast: "Forecast | None" = None
    result: "Result | None" = None
    events: "Events | None" = None
    tiles: Cache[Float] | None = None

    @property
    def pyramid(self) -> Pyramid:
        """Levels of the grid."""
        return Pyramid(*self.grid.shape)

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """Layers by name."""
        found: list[Layer] = []
        if self.result is not None:
            found += self.result.layers()
        if self.images is not None:
            found.append(self.images.actual())
        if self.forecast is not None:
            found += self.forecast.layers("" if self.result is None else OF_A_DATE)
        return {layer.name: layer for layer in found}

    @cached_property
    def acquisitions(self) -> list[dict[str, Any]]:
        """Acquisitions of the cube as JSON; ``expected``: whether one can be predicted."""
        if self.images is None:
            return []
        found = self.images.acquisitions()
        can = self.forecast.can_predict() if self.forecast else [False] * len(found)
        return [{**each, "expected": bool(k)} for each, k in zip(found, can, strict=True)]

    def description(self) -> dict[str, Any]:
        """All that a page needs to begin, as JSON."""
        result = self.result
        return {
            "version": self.version,
            "title": self.title,
            "kind": self.kind,
            "grid": self.grid.description(),
            "levels": self.pyramid.levels,
            "finest": 0,
            "tile": TILE,
            "poll_s": POLL_S,
            "ramps": RAMPS,
            "layers": [layer.description() for layer in self.layers.values()],
            "default": self._default_sides(),
            "acquisitions": self.acquisitions,
            "baseline": result.baseline if result else None,
            "threshold": result.threshold if result else None,
            "model": self.forecast.predictor.name if self.forecast else (result and result.model),
            "what_if": _sliders() if self.forecast else [],
            "events": self.events is not None,
            "verdicts": self.events is not None and self.events.can_be_judged,
        }

    def _default_sides(self) -> dict[str, str]:
        """Layers that are shown first, left and right."""
        wanted = {
            "cube": (("actual",), ("expected", "actual")),
            "detection": (("actual-mean",), ("expected",)),
            "alerts": (("actual", "magnitude"), ("status",)),
        }[self.kind]
        first = next(iter(self.layers))
        left, right = (next((n for n in names if n in self.layers), first) for names in wanted)
        return {"left": left, "right": right}

    def prepare(self, is_cancelled: Callable[[], bool]) -> None:
        """Make what the first images are made from, before a page asks for it."""
        if self.kind == "cube" and isinstance(self.images, StoredImages):
            self.images.prepare(is_cancelled)
        if self.forecast is not None:
            self.forecast.prepare()

    def tile(self, layer: str, index: int, level: int, row: int, column: int) -> Float:
        """Read a tile, dims (band, y, x), ``TILE`` pixels a side, NaN where there is no data.

        Raises
        ------
        NoSuchTileError
            If there is no such layer, acquisition, level or tile.
        SarcastError
            If the data cannot be read.
        """
        chosen = self.layers.get(layer)
        if chosen is None:
            raise NoSuchTileError(
                f"there is no layer {layer!r}; there are {', '.join(self.layers)}"
            )
        most = len(self.acquisitions) if chosen.dated else 1
        if not 0 <= index < most:
            raise NoSuchTileError(f"expected an acquisition of 0 to {most - 1}, got {index}")
        box = self.pyramid.box(level, row, column)
        if chosen.coarsest is not None and level > chosen.coarsest:
            raise NoSuchTileError(
                f"{layer} is computed up to level {chosen.coarsest}, not at {level}; zoom in"
            )
        return self._kept(
            (layer, index, level, row, column), lambda: padded(chosen.read(index, level, box))
        )

    def _kept(self, key: tuple[Any, ...], make: Callable[[], Float]) -> Float:
        return make() if self.tiles is None else self.tiles.get((self.version, *key), make)

    def series(
        self,
        column: int,
        row: int,
        *,
        expected: bool = False,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:
        """Series of a pixel, as JSON; with ``expected`` what the predictor expects at each date.

        Raises
        ------
        NoSuchTileError
            If there is no such pixel, or no cube to read it from.
        requests.CancelledError
            Once it is cancelled.
        """
        if not (0 <= column < self.pyramid.columns and 0 <= row < self.pyramid.rows):
            raise NoSuchTileError(
                f"expected a column below {self.pyramid.columns} and a row below "
                f"{self.pyramid.rows}, got {column} and {row}"
            )
        series: dict[str, Any] = {
            "x": column,
            "y": row,
            "coordinates": self.grid.coordinate(column + 0.5, row + 0.5),
            **_NO_SERIES,
            "has_model": self.forecast is not None,
        }
        if self.images is not None:
            series |= self.images.series(column, row)
        if self.result is not None:
            series |= self._of_result(column, row, series)
        if expected and self.forecast is not None:
            series |= self.forecast.series(column, row, is_cancelled or (lambda: False))
        return series

    def _of_result(self, column: int, row: int, series: dict[str, Any]) -> dict[str, Any]:
        """What a result knows of a pixel."""
        assert self.result is not None
        first, last = self.result.watched
        times = [np.datetime64(time.removesuffix("Z"), "s") for time in series["times"]]
        watched = [first <= time <= last for time in times]
        found: dict[str, Any] = {
            "baseline": self.result.baseline,
            "threshold": self.result.threshold,
            "watched": [
                t for t, is_watched in zip(series["times"], watched, strict=True) if is_watched
            ],
            "at_pixel": {},
        }
        box = slice(row, row + 1), slice(column, column + 1)
        for name, layer in self.layers.items():
            if layer.dated:
                continue
            values = layer.read(0, 0, box)[:, 0, 0]
            known = [float(value) if np.isfinite(value) else None for value in values]
            found["at_pixel"][name] = known
            if name == "evidence":
                found["evidence"] = known[0]
            if name in ("expected", "std") and self.kind == "detection":
                found[name] = {
                    band: [value if is_watched else None for is_watched in watched]
                    for band, value in zip(layer.bands, known, strict=True)
                }
        return found


_NO_SERIES: dict[str, Any] = {
    **{
        name: []
        for name in (
            "times", "orbit_direction", "relative_orbit", "platform", "temperature", "snow_depth",
            "precipitation", "bands", "watched",
        )
    },
    "actual": {},
    **dict.fromkeys(("expected", "std", "evidence", "threshold", "baseline")),
}  # fmt: skip


def _sliders() -> list[dict[str, Any]]:
    """Conditions that can be set, with the ranges of their sliders."""

    def number(
        name: str, label: str, unit: str, limits: Sequence[float], lags: int | None = None
    ) -> dict[str, Any]:
        low, high, step, default = limits
        return {
            "name": name, "label": label, "unit": unit, "kind": "range", "min": low, "max": high,
            "step": step, "default": default, "choices": None, "lags": lags,
        }  # fmt: skip

    def choice(name: str, label: str, values: Sequence[str]) -> dict[str, Any]:
        return {
            "name": name, "label": label, "unit": "", "kind": "choice", "min": None, "max": None,
            "step": None, "default": None, "lags": None,
            "choices": [{"value": value, "label": value} for value in values],
        }  # fmt: skip

    return [
        number("temperature", "temperature", "°C", (-30.0, 35.0, 0.5, 10.0)),
        number("precipitation", "precipitation", "mm per day", (0.0, 60.0, 0.5, 0.0), 4),
        number("snow_depth", "snow depth", "cm", (0.0, 100.0, 1.0, 0.0)),
        choice("orbit_direction", "pass", (ASCENDING, DESCENDING)),
        number("incidence", "incidence angle", "°", (29.0, 46.0, 0.1, 38.0)),
        choice("platform", "satellite", PLATFORMS),
    ]


# --- opened ---------------------------------------------------------------------------------------


class Opened:
    """Something that was opened, and is opened again when it has changed on disk.

    Parameters
    ----------
    open_view
        Opens it.
    stamps
        Files whose change means that it has changed.
    """

    def __init__(self, open_view: Callable[[str], View], stamps: Sequence[Path] = ()) -> None:
        self._open, self._stamps = open_view, stamps
        self._lock = threading.Lock()
        self._stamp = self._now()
        self._checked = time.monotonic()
        self._view = open_view(self._stamp)

    def current(self) -> View:
        """The view as it is now; the last one that could be read while it cannot."""
        with self._lock:
            if time.monotonic() - self._checked < _CHECK_S:
                return self._view
            self._checked = time.monotonic()
            stamp = self._now()
            if stamp != self._stamp:
                try:
                    self._view = self._open(stamp)
                    self._stamp = stamp
                except (SarcastError, OSError):  # it is being replaced: try again later
                    pass
            return self._view

    def _now(self) -> str:
        found = [(s.st_mtime_ns, s.st_size, s.st_ino) for s in map(_stat, self._stamps) if s]
        return hashlib.sha256(repr(found).encode()).hexdigest()[:12]


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:
        return None


def open_path(path: Path, how: Shown) -> Opened:
    """Open a cube, a detection folder or a monitoring folder.

    Raises
    ------
    SarcastError
        If it is none of these, or damaged.
    """
    tiles: Cache[Float] = Cache(_TILE_BYTES)
    if (path / METADATA).exists():
        return _open_cube(path, how, tiles)
    from sarcast.detection.runs import ITEM

    if not (path / ITEM).exists():
        if not (path / "backscatter").exists():
            raise NothingToShowError(path)
        return _open_cube(path, how, tiles)
    cube = how.cube or _recorded_cube(path)

    def open_result(version: str) -> View:
        return replace(_view_of_result(path, cube, how), version=version, tiles=tiles)

    stamps = [path / ITEM, *([] if cube is None else [cube / METADATA])]
    return Opened(open_result, stamps)


def _open_cube(path: Path, how: Shown, tiles: Cache[Float]) -> Opened:
    if how.cube is not None:
        raise SarcastError(f"{path} is a cube itself; --cube is for detections and alerts")

    def open_view(version: str) -> View:
        view = _view_of_images(StoredImages(StoredCube.open(path)), path.resolve().stem, how)
        return replace(view, version=version, tiles=tiles)

    return Opened(open_view, [path / METADATA])


def view_of_cube(cube: "xr.Dataset", title: str, how: Shown) -> View:
    """View of a cube that is open.

    Raises
    ------
    SarcastError
        If it has no grid, no band of Sentinel-1 or no acquisition.
    """
    return _view_of_images(DatasetImages(cube), title, how)


def _view_of_images(images: CubeImages, title: str, how: Shown) -> View:
    grid, forecast = images.grid, None
    if len(images.times) == 0:
        raise SarcastError("the cube has no acquisition yet; add scenes with sarcast cube")
    if how.predictor is not None:
        from sarcast.viewer.expected import Forecast

        forecast = Forecast(images, how.predictor, how.baseline or PreviousOptions())
    return View(title, "cube", "0", grid, images, forecast)


def _view_of_result(path: Path, cube: Path | None, how: Shown) -> View:
    from sarcast.viewer.events import Events
    from sarcast.viewer.expected import Forecast
    from sarcast.viewer.results import Result

    result = Result.open(path)
    images = None if cube is None else StoredImages(StoredCube.open(cube))
    if images is not None and images.grid.box != result.grid:
        if how.cube is not None:
            raise SarcastError(
                f"{cube} has another grid than {path}; name the cube that it was made from"
            )
        images = None
    forecast = None
    if how.predictor is not None:
        if images is None:
            raise SarcastError(f"the cube of {path} was not found; name it with --cube")
        baseline = how.baseline or result.previous
        forecast = Forecast(images, how.predictor, baseline, result.end_of_baseline)
    times = () if images is None else tuple(images.times)
    return View(
        path.resolve().name,
        result.kind,
        "0",
        MapGrid.of(result.grid),
        images,
        forecast,
        result,
        Events(result, times),
    )


def _recorded_cube(path: Path) -> Path | None:
    """The cube that the record of a result names, where it exists."""
    from sarcast.viewer.results import Result

    recorded = Result.open(path).run.cube
    for found in (Path(recorded), path / recorded, path.parent / recorded):
        if (found / METADATA).is_file():
            return found
    return None
