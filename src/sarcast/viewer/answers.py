"""Answers to what a page asks for, over HTTP or as messages of a notebook."""

import csv
import io
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sarcast.arrays import Float
from sarcast.errors import SarcastError, one_line
from sarcast.io.footprint import centre, footprint
from sarcast.sensor.conditions import COLUMNS, LAGS, read_conditions, set_conditions
from sarcast.viewer.events import Events, NoSuchEventError, Verdict
from sarcast.viewer.expected import MOST_WHAT_IF, CancelledError
from sarcast.viewer.pyramid import NoSuchTileError
from sarcast.viewer.view import Opened, View

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
_MOST_CLIENTS = 256


class ViewRequest(BaseModel):
    """What there is, unless its version is known."""

    model_config = _STRICT

    known: str | None = Field(None, max_length=64)


class TileRequest(BaseModel):
    """A tile: of which layer and acquisition, where, and of which version if that matters."""

    model_config = _STRICT

    layer: str = Field(max_length=64)
    index: int = Field(ge=0, lt=2**31)
    level: int = Field(ge=0, le=62)
    row: int = Field(ge=0, lt=2**31)
    column: int = Field(ge=0, lt=2**31)
    v: str | None = Field(None, max_length=64)


class SeriesRequest(BaseModel):
    """The series of a pixel."""

    model_config = _STRICT

    x: int = Field(ge=0, lt=2**31)
    y: int = Field(ge=0, lt=2**31)
    expected: bool = False
    format: Literal["json", "csv"] = "json"


class EventRequest(BaseModel):
    """An event."""

    model_config = _STRICT

    id: int = Field(ge=0, lt=2**62)


class VerdictRequest(EventRequest):
    """What people say of an event."""

    verdict: Verdict | None


class Conditions(BaseModel):
    """Conditions to set, as ``conditions.read_conditions`` takes them."""

    model_config = _STRICT

    temperature: float | None = None
    precipitation: tuple[float, ...] | None = Field(None, min_length=LAGS, max_length=LAGS)
    snow_depth: float | None = None
    orbit_direction: str | None = Field(None, max_length=32)
    incidence: float | None = None
    platform: str | None = Field(None, max_length=32)

    def values(self, latitude_deg: float) -> dict[str, float]:
        """Values by name of a condition or column; errors as of ``set_conditions``."""
        given = self.model_dump(exclude_none=True, exclude={"precipitation"})
        read = read_conditions({name: str(value) for name, value in given.items()}, latitude_deg)
        for lag, rain in enumerate(self.precipitation or ()):
            read[f"precipitation_{lag}"] = rain
        set_conditions(np.zeros(len(COLUMNS), dtype=np.float32), read)
        return read


class WhatIfRequest(BaseModel):
    """An image under other conditions: first row and column, rows and columns of its box."""

    model_config = _STRICT

    index: int = Field(ge=0, lt=2**31)
    box: tuple[int, int, int, int]
    conditions: Conditions = Conditions()
    client: str = Field("", max_length=64)


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes
    ----------
    content
        An object for JSON; an array; or text.
    status
        As in HTTP.
    version
        Version of the data that the answer is of, if it holds as long as they do not change.
    about
        Further fields: shape and box of an array, file name of text.
    """

    content: Any
    status: int = 200
    version: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Turns:
    """Which request of a client is its newest."""

    newest: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    number: int = 0

    def begin(self, client: str) -> Callable[[], bool]:
        """Begin a request; returns whether a newer one of the client has begun since."""
        with self.lock:
            self.number += 1
            own = self.number
            if client:
                self.newest.pop(client, None)
                self.newest[client] = own
                while len(self.newest) > _MOST_CLIENTS:
                    del self.newest[next(iter(self.newest))]
        return lambda: bool(client) and self.newest.get(client, own) != own


def refused(error: Exception) -> Answer:
    """The answer that explains an error: one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the request"
        return Answer({"error": one_line(f"{where}: {first['msg']}")}, 400)
    status = 404 if isinstance(error, NoSuchTileError | NoSuchEventError) else 400
    if isinstance(error, CancelledError):
        return Answer({"error": "a newer request has taken the place of this one"}, 409)
    return Answer({"error": one_line(str(error))}, status)


REFUSALS = (ValidationError, SarcastError, CancelledError)
"""Errors that are the fault of a request, or of the data, and are explained in one line."""


class Answers:
    """Answers about something that was opened.

    Parameters
    ----------
    opened
        What is looked at.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._turns = _Turns()

    @property
    def view(self) -> View:
        """What is looked at, as it is now."""
        return self._opened.current()

    def description(self, request: ViewRequest) -> Answer:
        """Layers, acquisitions, grid; 204 if the version is known."""
        view = self.view
        if request.known == view.version:
            return Answer(None, 204)
        return Answer(view.description())

    def tile(self, request: TileRequest) -> Answer:
        """Read a tile; 409 if it was asked of another version of the data."""
        view = self.view
        if request.v is not None and request.v != view.version:
            return Answer({"error": "the data have changed; read /api/view again"}, 409)
        where = request.layer, request.index, request.level, request.row, request.column
        return Answer(view.tile(*where), version=request.v)

    def series(
        self, request: SeriesRequest, is_cancelled: Callable[[], bool] | None = None
    ) -> Answer:
        """Read the series of a pixel, as an object or as CSV."""
        series = self.view.series(
            request.x, request.y, expected=request.expected, is_cancelled=is_cancelled
        )
        if request.format == "json":
            return Answer(series)
        name = f"series-{request.x}-{request.y}.csv"
        return Answer(as_csv(series), about={"file": name})

    def events(self) -> Answer:
        """Read all events."""
        return Answer(self._events.collection())

    def history(self, request: EventRequest) -> Answer:
        """Read the history of an event."""
        return Answer(self._events.history(request.id))

    def judge(self, request: VerdictRequest) -> Answer:
        """Write a verdict."""
        self._events.judge(request.id, request.verdict)
        return Answer({"id": request.id, "verdict": request.verdict})

    def begin(self, request: WhatIfRequest) -> Callable[[], bool]:
        """Begin a request, which takes the place of older ones of its client.

        Returns
        -------
        callable
            Whether a newer one has begun since.
        """
        return self._turns.begin(request.client)

    def what_if(self, request: WhatIfRequest, is_cancelled: Callable[[], bool]) -> Answer:
        """Predict a box under other conditions."""
        view = self.view
        if view.forecast is None:
            raise SarcastError("no model was given; start sarcast view with --model")
        if request.index >= len(view.acquisitions):
            raise NoSuchTileError(
                f"expected an acquisition of 0 to {len(view.acquisitions) - 1}, got {request.index}"
            )
        row, column, rows, columns = request.box
        if not (0 < rows <= MOST_WHAT_IF and 0 < columns <= MOST_WHAT_IF):
            raise SarcastError(
                f"expected a box of up to {MOST_WHAT_IF} x {MOST_WHAT_IF} pixels, got {rows} x "
                f"{columns}; zoom in"
            )
        height, width = view.pyramid.rows, view.pyramid.columns
        box = (
            slice(max(row, 0), min(row + rows, height)),
            slice(max(column, 0), min(column + columns, width)),
        )
        if any(part.start >= part.stop for part in box):
            raise NoSuchTileError("the box lies outside the grid; move back to it")
        _, latitude = centre(footprint(view.grid))
        conditions = request.conditions.values(latitude)
        image = view.forecast.what_if(request.index, box, conditions, is_cancelled)
        corner = [box[0].start, box[1].start, *image.shape[-2:]]
        return Answer(image, about={"shape": list(image.shape), "box": corner})

    @property
    def _events(self) -> Events:
        events = self.view.events
        if events is None:
            raise NoSuchEventError("a cube has no events; open a detection or alerts")
        return events


def as_bytes(image: Float) -> bytes:
    """An array as little-endian float32, row by row."""
    return np.ascontiguousarray(image, dtype="<f4").tobytes()


def as_json(content: Any) -> bytes:
    """An object as JSON."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def as_csv(series: Mapping[str, Any]) -> str:
    """A series as a table: one row for each acquisition."""
    bands = series["bands"]
    names = ("orbit_direction", "relative_orbit", "platform", "temperature", "snow_depth")
    columns: dict[str, Any] = {"time": series["times"], **{name: series[name] for name in names}}
    for lag in range(LAGS):
        columns[f"precipitation_{lag}"] = [rain[lag] for rain in series["precipitation"]]
    for kind in ("actual", "expected", "std"):
        if series[kind]:
            columns |= {
                f"{kind}_{band.lower()}_db": series[kind][band]
                for band in bands
                if band in series[kind]
            }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
