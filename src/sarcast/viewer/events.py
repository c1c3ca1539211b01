"""Events of a result as they are shown, their history, and what people say of them.

Verdicts are kept in ``verdicts.gpkg`` beside the results. It has the columns that
``sarcast evaluate --truth`` reads, and leaves out events that are marked as false.
"""

import csv
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from sarcast.cube.dates import iso_time
from sarcast.detection import styles
from sarcast.detection.event_files import json_value, read_events
from sarcast.detection.runs import HISTORY
from sarcast.errors import SarcastError
from sarcast.io.files import explain_full_disk, new_file
from sarcast.viewer.requests import NoSuchEventError, Verdict
from sarcast.viewer.results import Result, is_inside

if TYPE_CHECKING:
    import geopandas

VERDICTS = "verdicts.gpkg"
"""File of the verdicts, beside the results."""
LAYER = "verdicts"
"""Its layer."""
_COLUMNS = ("run", "event", "verdict", "kind", "earliest", "latest")
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Events:
    """Events of a detection or of alerts.

    Attributes
    ----------
    result
        The folder.
    times
        Times of all acquisitions of the cube where they are known, ascending; by them the
        acquisition before an alert is found.
    """

    result: Result
    times: tuple[np.datetime64, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def can_be_judged(self) -> bool:
        """Whether verdicts can be written."""
        return os.access(self.result.folder, os.W_OK)

    def collection(self) -> dict[str, Any]:
        """All events as GeoJSON, in the CRS of the cube; ``verdict`` is one of them or None."""
        frame = self._frame()
        verdicts = self._verdicts()
        own = verdicts[verdicts["run"] == self.result.run.series_id]
        by_event = dict(zip(own["event"], own["verdict"], strict=True))
        rows = frame.drop(columns=frame.geometry.name).to_dict("records")
        column, colours = self._colours()
        return {
            "type": "FeatureCollection",
            "colour_by": column,
            "colours": {stop.label: stop.colour for stop in colours},
            "features": [
                {
                    "type": "Feature",
                    "id": int(row["id"]),
                    "properties": {
                        **{name: json_value(value) for name, value in row.items()},
                        "verdict": by_event.get(int(row["id"])),
                    },
                    "geometry": shapely.geometry.mapping(outline),
                }
                for row, outline in zip(rows, frame.geometry, strict=True)
            ],
        }

    def _colours(self) -> tuple[str, Sequence[styles.Stop]]:
        """Column that the colours of events follow, and its classes."""
        if self.result.kind == "detection":
            return "direction", tuple(styles.DIRECTIONS.values())
        from sarcast.monitoring.output import EVENT_STATES

        return "state", EVENT_STATES

    def pixel(self, event: int) -> tuple[int, int]:
        """Column and row of a pixel inside an event."""
        point = self._event(event).geometry.iloc[0].representative_point()
        column, row = ~self.result.grid.transform * (point.x, point.y)
        rows, columns = self.result.grid.shape
        return min(max(int(column), 0), columns - 1), min(max(int(row), 0), rows - 1)

    def history(self, event: int) -> list[dict[str, Any]]:
        """Rows of the history of an alert, the earliest first; empty for those of a detection."""
        self._event(event)
        path = self.result.folder / HISTORY
        if not is_inside(path, self.result.folder):
            return []
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("id") == str(event)]
        return [{name: _value(text) for name, text in row.items() if name} for row in rows]

    def judge(self, event: int, verdict: Verdict | None) -> None:
        """Write what people say of an event; None takes it back.

        Raises
        ------
        NoSuchEventError
            If there is no such event.
        SarcastError
            If the file cannot be read or written.
        """
        import geopandas

        with self.lock:
            row = self._event(event)
            verdicts = self._verdicts()
            is_own = (verdicts["run"] == self.result.run.series_id) & (verdicts["event"] == event)
            kept = verdicts[~is_own]
            if verdict is not None:
                new = geopandas.GeoDataFrame(
                    {name: [value] for name, value in self._judged(row, verdict).items()},
                    geometry=list(row.geometry),
                    crs=row.crs,
                )
                kept = new if kept.empty else pd.concat([kept, new], ignore_index=True)
            path = self.result.folder / VERDICTS
            try:
                with explain_full_disk(self.result.folder), new_file(path) as partial:
                    kept.to_file(
                        partial, layer=LAYER, driver="GPKG", geometry_type="MultiPolygon",
                        promote_to_multi=True,
                    )  # fmt: skip
            except OSError as error:
                raise SarcastError(
                    f"{path} cannot be written ({error.strerror or error}); make its folder "
                    f"writable, or copy the results to one that is"
                ) from error

    def _judged(self, row: "geopandas.GeoDataFrame", verdict: Verdict) -> dict[str, Any]:
        """Columns of a verdict: of what, and when the ground changed if it did."""
        event = row.iloc[0]
        if self.result.kind == "detection":
            kind, earliest, latest = event["direction"], event["earliest"], event["latest"]
        else:
            kind = "change"
            latest = next((row["date"] for row in self.history(event["id"])), event["first_date"])
            earliest = self._before(latest)
        return {
            "run": self.result.run.series_id,
            "event": int(event["id"]),
            "verdict": verdict,
            "kind": str(kind),
            "earliest": str(earliest),
            "latest": str(latest),
        }

    def _before(self, date: str) -> str:
        """Time of the last acquisition before another; a day before it, if none is known."""
        moment = np.datetime64(date.removesuffix("Z"), "s")
        earlier = (time.astype("datetime64[s]") for time in self.times)
        return iso_time(max((time for time in earlier if time < moment), default=moment - _DAY))

    def _frame(self) -> "geopandas.GeoDataFrame":
        return read_events(self.result.folder)

    def _event(self, event: int) -> "geopandas.GeoDataFrame":
        frame = self._frame()
        found = frame[frame["id"] == event]
        if found.empty:
            raise NoSuchEventError(f"there is no event {event}; read the list of events again")
        return found

    def _verdicts(self) -> "geopandas.GeoDataFrame":
        """Verdicts so far; an empty table where there is no file."""
        import geopandas
        from pyogrio.errors import DataSourceError

        path = self.result.folder / VERDICTS
        if not path.exists():
            empty = {name: pd.Series(dtype="object") for name in _COLUMNS}
            crs = self.result.grid.crs.to_wkt()
            return geopandas.GeoDataFrame(empty, geometry=geopandas.GeoSeries([], crs=crs), crs=crs)
        try:
            frame = geopandas.read_file(path, layer=LAYER)
        except (DataSourceError, ValueError) as error:
            raise SarcastError(f"{path} cannot be read ({error}); repair or delete it") from error
        if missing := [name for name in _COLUMNS if name not in frame]:
            raise SarcastError(f"{path} lacks the column {missing[0]}; repair or delete it")
        return frame


def _value(text: str | None) -> Any:
    """A field of a CSV file: a number, None where it is empty, or a text."""
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    if not np.isfinite(number):
        return None
    return int(number) if number.is_integer() else number
