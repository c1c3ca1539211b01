"""Events followed over acquisitions: connected alerts with an id that lasts.

Connected pixels with an alert (8 neighbours) continue the earlier event that they overlap most, and
keep its id. Where several earlier events grow together, the one with the greatest overlap keeps its
id and the others are merged into it; where one falls apart, the part with the greatest overlap
keeps the id and the others are new events with it as their parent. A finished event is over: an
alert in its place is a new event.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from odc.geo.geobox import GeoBox

from sarcast.arrays import Box, Labels
from sarcast.io.boxes import within
from sarcast.io.outlines import outlines_of
from sarcast.io.scratch import Array, Readable
from sarcast.monitoring.alerts import (
    AREAS,
    BOX,
    Connected,
    Labelling,
    Measured,
    Site,
    find_alerts,
    label_alerts,
)
from sarcast.monitoring.layers import NO_DAY
from sarcast.monitoring.pixels import KINDS, Blank, part_around

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

ALERT, EVENT_CONFIRMED, EVENT_FINISHED = "alert", "confirmed", "finished"
DISMISSED, MERGED = "dismissed", "merged"
LIVE = (ALERT, EVENT_CONFIRMED)
"""States of an event that still has alerts."""


@dataclass(frozen=True)
class Tracked:
    """Events after an acquisition.

    Attributes
    ----------
    labels
        Dims (y, x), int32: id of each pixel's event, 0 where there is none.
    table
        One row per event ever, by id from 1 on: ``state``; ``first_day``, ``confirmed_day``,
        ``last_day`` (last detection) and ``ended_day``, since 1970-01-01, ``NO_DAY``; ``alert_px``,
        ``confirmed_px``, ``finished_px``; ``evidence``, the greatest metric; ``mean_vv_db``, ... by
        band; ``first_row``, ``end_row``, ``first_column`` and ``end_column`` around its pixels;
        ``parents``, ids of the events that it comes from, and ``merged_into``, 0: none;
        ``outline``, of a finished event, as WKB in the CRS of the grid. Events that are over keep
        the values of their last acquisition.
    bands
        Names of the bands, in lower case.
    """

    labels: Readable
    table: pd.DataFrame
    bands: tuple[str, ...]

    @classmethod
    def none(cls, shape: tuple[int, int], bands: tuple[str, ...]) -> Self:
        """Return the tracking of an area without events."""
        names = tuple(band.lower() for band in bands)
        columns = {name: pd.Series([], dtype=kind) for name, kind in _kinds(names).items()}
        table = pd.DataFrame(columns, index=pd.Index([], dtype=np.int64, name="id"))
        return cls(Blank(shape, KINDS["event"].dtype, 0), table, names)

    @property
    def live(self) -> npt.NDArray[np.int64]:
        """Ids of the events that still have alerts, ascending."""
        return _live(self.table)

    def advance(
        self, layers: Mapping[str, Readable], day: int, site: Site, target: Array
    ) -> "Step":
        """Join an acquisition, part by part.

        Parameters
        ----------
        layers
            Arrays of ``Layers`` by name, after the acquisition.
        day
            Of the acquisition, since 1970-01-01.
        site
            Where.
        target
            Dims (y, x), int32: receives the labels.
        """
        connected = find_alerts(layers["status"], self.labels, self.live, site)
        match = _match(connected, site.min_pixels, _next_id(self.table))
        table = _with_new(self.table, match)
        labelling = Labelling(layers, self.labels, target, _live(table))
        _measure(table, label_alerts(connected, match.ids, labelling, site), self.bands)
        changed = _judge(table, match, day, site.min_pixels) | {"new": list(match.new)}
        finished = self.table.loc[changed[EVENT_FINISHED]]
        outlines = draw(self.labels, finished, site.grid)
        for number, outline in zip(finished.index, outlines, strict=True):
            table.at[number, "outline"] = outline.wkb  # the last one that it had
        return Step(Tracked(target, table, self.bands), changed)


@dataclass(frozen=True)
class Match:
    """Which event each connected part continues.

    Attributes
    ----------
    ids
        Dims (part + 1): id of the event of each part; that of part 0, and of small new ones, is 0.
    parents
        Ids of the earlier events of each new or merged event.
    merged
        By id of an event that is merged: that of the event that it is merged into.
    """

    ids: npt.NDArray[np.int64]
    parents: dict[int, list[int]]
    merged: dict[int, int]
    new: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """Events after an acquisition, and what it changed.

    Attributes
    ----------
    tracked
        The events.
    changed
        Ids of the events that are new, confirmed, finished, dismissed or merged since the
        acquisition before, by what became of them.
    """

    tracked: Tracked
    changed: dict[str, list[int]]

    @property
    def touched(self) -> pd.DataFrame:
        """Rows of the table that the acquisition could change: live events and those that ended."""
        ended = {number for ids in self.changed.values() for number in ids}
        rows = sorted({*self.tracked.live.tolist(), *ended})
        return self.tracked.table.loc[rows]


def _match(connected: Connected, min_pixels: int, first: int) -> Match:
    """Match connected pixels with events by overlap, the greatest first."""
    pairs, count = connected.overlaps, len(connected.sizes)
    ids = np.zeros(count, dtype=np.int64)
    kept: dict[int, int] = {}
    for part, event in pairs:
        if ids[part] == 0 and event not in kept:
            ids[part], kept[event] = event, part
    best: dict[int, int] = {}
    for part, event in pairs:
        best.setdefault(part, event)
    parents: dict[int, list[int]] = {}
    new: list[int] = []
    for part in range(1, count):
        if ids[part] == 0 and (part in best or connected.sizes[part] >= min_pixels):
            ids[part] = first + len(new)
            new.append(int(ids[part]))
            if part in best:
                parents[int(ids[part])] = [best[part]]
    merged: dict[int, int] = {}
    for part, event in pairs:
        if event not in kept and event not in merged:
            merged[event] = int(ids[part])
            parents.setdefault(int(ids[part]), []).append(event)
    return Match(ids, parents, merged, tuple(new))


def _live(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    return table.index[table["state"].isin(LIVE)].to_numpy(dtype=np.int64)


def _next_id(table: pd.DataFrame) -> int:
    return int(table.index.max()) + 1 if len(table) else 1


def _kinds(bands: tuple[str, ...]) -> dict[str, Any]:
    """Types of the table's columns."""
    days = ("first_day", "confirmed_day", "last_day", "ended_day")
    return {
        "state": object,
        **dict.fromkeys(days, np.int64),
        **dict.fromkeys(AREAS, np.int64),
        "evidence": np.float64,
        **{f"mean_{band}_db": np.float64 for band in bands},
        **dict.fromkeys(BOX, np.int64),
        "parents": object,
        "merged_into": np.int64,
        "outline": object,
    }


def _with_new(table: pd.DataFrame, match: Match) -> pd.DataFrame:
    """Add rows of new events, and the parents of those that others are merged into."""
    blank: dict[Any, Any] = {
        "state": ALERT,
        **dict.fromkeys(("first_day", "confirmed_day", "last_day", "ended_day"), NO_DAY),
        **{"parents": "", "outline": b""},
    }
    new = pd.DataFrame(
        {
            name: pd.Series([blank.get(name, 0)] * len(match.new), dtype=kind)
            for name, kind in table.dtypes.items()
        }
    )
    new.index = pd.Index(match.new, dtype=np.int64, name="id")
    table = pd.concat([table, new]) if len(table) else new
    for event, parents in match.parents.items():
        known = [*str(table.at[event, "parents"]).split(), *map(str, parents)]
        table.at[event, "parents"] = " ".join(dict.fromkeys(known))
    return table


def _measure(table: pd.DataFrame, found: Measured, bands: tuple[str, ...]) -> None:
    """Enter what is measured of the live events into a table."""
    table.loc[table["state"].isin(LIVE), list(AREAS)] = 0
    values: dict[str, Any] = {
        **{name: found.added[name] for name in AREAS},
        **found.least,
        **found.greatest,
        **{f"mean_{band}_db": found.mean_db(index) for index, band in enumerate(bands)},
    }
    for name, column in values.items():
        table.loc[found.events, name] = column.astype(table[name].dtype)


def _judge(table: pd.DataFrame, match: Match, day: int, min_pixels: int) -> dict[str, list[int]]:
    """Derive the states of the live events, and return the ids of those whose state changed."""
    changed: dict[str, list[int]] = {}
    merged = table.index.isin(list(match.merged))
    table.loc[list(match.merged), "merged_into"] = list(match.merged.values())
    over = (table["alert_px"] + table["confirmed_px"] == 0) & ~merged
    enough = table["confirmed_px"] + table["finished_px"] >= min_pixels
    for state, then, where in (
        (ALERT, EVENT_CONFIRMED, enough & ~merged),
        (EVENT_CONFIRMED, EVENT_FINISHED, over),
        (ALERT, DISMISSED, over),
        (None, MERGED, merged),
    ):
        ids = table.index[
            where & (table["state"].isin(LIVE) if state is None else table["state"] == state)
        ]
        table.loc[ids, "state"] = then
        table.loc[ids, "confirmed_day" if then == EVENT_CONFIRMED else "ended_day"] = day
        changed[then] = [int(number) for number in ids]
    return changed


def draw(labels: Readable, rows: pd.DataFrame, grid: GeoBox) -> list["BaseGeometry"]:
    """Outlines of events in their labels, each from the pixels in its rows and columns.

    Parameters
    ----------
    labels
        Dims (y, x).
    rows
        Rows of the events in the table that belongs to the labels.
    grid
        Grid of the labels.

    Returns
    -------
    list
        In the order of the rows.
    """
    boxes = {
        int(number): (slice(top, bottom), slice(left, right))
        for number, top, bottom, left, right in rows[list(BOX)].itertuples()
    }
    drawn = {
        number: outlines_of(values == number, 1, grid[boxes[number]])[0]
        for number, values in _each_read(labels, boxes)
    }
    return [drawn[number] for number in boxes]


def _each_read(labels: Readable, boxes: Mapping[int, Box]) -> Iterator[tuple[int, Labels]]:
    """Read the labels in each of some boxes; those of a part together."""
    by_part: dict[tuple[int, int], list[int]] = {}
    for number, box in boxes.items():
        part = part_around(box, labels.shape)
        by_part.setdefault((part[0].start, part[1].start), []).append(number)
    for numbers in by_part.values():
        part = part_around(boxes[numbers[0]], labels.shape)
        read = np.asarray(labels[part])
        for number in numbers:
            box = boxes[number]
            fits = all(a.stop <= b.stop for a, b in zip(box, part, strict=True))
            yield number, read[within(box, part)] if fits else np.asarray(labels[box])
