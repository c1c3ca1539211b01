"""What a page may ask for: one list for HTTP and for the messages of a notebook.

What answers is in ``answers``, which is loaded when something has been opened: a page can be sent
before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sarcast.arrays import Float
from sarcast.errors import SarcastError, one_line
from sarcast.sensor.conditions import COLUMNS, LAGS, read_conditions, set_conditions

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

Verdict = Literal["true", "false"]
"""What people say of an event."""


class NoRequest(BaseModel):
    """A request without arguments."""


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


class Kind(NamedTuple):
    """How a request is made.

    Attributes
    ----------
    method, path
        Over HTTP; other methods than GET have arguments in their body.
    model
        Its arguments.
    """

    method: Literal["GET", "PUT", "POST"]
    path: str
    model: type[BaseModel]


KINDS = {
    "view": Kind("GET", "/api/view", ViewRequest),
    "tile": Kind("GET", "/api/tile/{layer}/{index}/{level}/{row}/{column}", TileRequest),
    "series": Kind("GET", "/api/series", SeriesRequest),
    "events": Kind("GET", "/api/events", NoRequest),
    "history": Kind("GET", "/api/events/{id}/history", EventRequest),
    "verdict": Kind("PUT", "/api/events/{id}/verdict", VerdictRequest),
    "what-if": Kind("POST", "/api/what-if", WhatIfRequest),
}
"""All requests, by their names in messages of a notebook."""


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


def as_bytes(image: Float) -> bytes:
    """An array as little-endian float32, row by row."""
    return np.ascontiguousarray(image, dtype="<f4").tobytes()


class NotFoundError(SarcastError):
    """What was asked for does not exist."""


class NoSuchEventError(NotFoundError):
    """An event that was asked for does not exist."""


class NothingToShowError(SarcastError):
    """A path has nothing that can be shown."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is nothing that can be shown; expected a cube, or a folder that sarcast "
            f"detect or sarcast monitor wrote"
        )


class CancelledError(Exception):
    """A newer request of the same client has taken the place of this one."""


REFUSALS = (ValidationError, SarcastError, CancelledError)
"""Errors that are the fault of a request, or of the data, and are explained in one line."""


def refused(error: Exception) -> Answer:
    """The answer that explains an error: one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the request"
        return Answer({"error": one_line(f"{where}: {first['msg']}")}, 400)
    if isinstance(error, CancelledError):
        return Answer({"error": "a newer request has taken the place of this one"}, 409)
    status = 404 if isinstance(error, NotFoundError) else 400
    return Answer({"error": one_line(str(error))}, status)
