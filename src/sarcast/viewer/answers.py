"""Answers to what a page asks for, over HTTP or as messages of a notebook."""

import csv
import io
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from sarcast.errors import SarcastError
from sarcast.sensor.conditions import LAGS
from sarcast.viewer.pyramid import NoSuchTileError
from sarcast.viewer.requests import (
    Answer,
    EventRequest,
    NoSuchEventError,
    SeriesRequest,
    TileRequest,
    VerdictRequest,
    ViewRequest,
    WhatIfRequest,
)
from sarcast.viewer.view import Opened, View

if TYPE_CHECKING:
    from sarcast.viewer.events import Events

_MOST_CLIENTS = 256


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

    def work(
        self, kind: str, asked: Any, is_cancelled: Callable[[], bool] | None = None
    ) -> Callable[[], Answer]:
        """What answers a request, to be called in a thread.

        Parameters
        ----------
        kind
            Key of ``requests.KINDS``.
        asked
            Its arguments. An image under other conditions begins here: it takes the place of older
            ones of its client.
        is_cancelled
            Whether nobody waits for the answer any more.
        """
        if kind == "series":
            return partial(self.series, asked, is_cancelled)
        if kind == "what-if":
            return partial(self.what_if, asked, self._turns.begin(asked.client))
        answers: dict[str, Callable[[Any], Answer]] = {
            "view": self.description,
            "tile": self.tile,
            "events": self.events,
            "history": self.history,
            "verdict": self.judge,
        }
        return partial(answers[kind], asked)

    def needs_model(self, kind: str, asked: Any) -> bool:
        """Whether a network computes the answer."""
        if kind == "tile":
            layer = self.view.layers.get(asked.layer)
            return layer is not None and layer.slow
        return kind == "what-if" or (kind == "series" and bool(asked.expected))

    def file(self, name: str) -> Path | None:
        """A file that the STAC item of a result names; None if there is none."""
        result = self.view.result
        if result is None or not any(a.href == f"./{name}" for a in result.item.assets.values()):
            return None
        from sarcast.viewer.results import is_inside

        return result.folder / name if is_inside(result.folder / name, result.folder) else None

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

    def events(self, _request: BaseModel) -> Answer:
        """Read all events."""
        return Answer(self._events.collection())

    def history(self, request: EventRequest) -> Answer:
        """Read the history of an event."""
        return Answer(self._events.history(request.id))

    def judge(self, request: VerdictRequest) -> Answer:
        """Write a verdict."""
        self._events.judge(request.id, request.verdict)
        return Answer({"id": request.id, "verdict": request.verdict})

    def what_if(self, request: WhatIfRequest, is_cancelled: Callable[[], bool]) -> Answer:
        """Predict a box under other conditions."""
        from sarcast.io.footprint import centre, footprint
        from sarcast.viewer.expected import MOST_WHAT_IF

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
        _, latitude = centre(footprint(view.grid.box))
        conditions = request.conditions.values(latitude)
        image = view.forecast.what_if(request.index, box, conditions, is_cancelled)
        corner = [box[0].start, box[1].start, *image.shape[-2:]]
        return Answer(image, about={"shape": list(image.shape), "box": corner})

    @property
    def _events(self) -> "Events":
        events = self.view.events
        if events is None:
            raise NoSuchEventError("a cube has no events; open a detection or alerts")
        return events


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
