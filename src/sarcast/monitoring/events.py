"""Events followed over acquisitions: connected alerts with an id that lasts.

Connected pixels with an alert (8 neighbours) continue the earlier event that they overlap most, and
keep its id. Where several earlier events grow together, the one with the greatest overlap keeps its
id and the others are merged into it; where one falls apart, the part with the greatest overlap
keeps the id and the others are new events with it as their parent. A finished event is over: an
alert in its place is a new event.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from odc.geo.geobox import GeoBox
from scipy import ndimage

from sarcast.arrays import Bool, Double, Labels
from sarcast.detection.joining import CONNECTIVITY
from sarcast.io.outlines import outlines_of
from sarcast.monitoring.layers import CONFIRMED, FINISHED, NO_DAY, Layers
from sarcast.monitoring.sequential import ACTIVE

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

ALERT, EVENT_CONFIRMED, EVENT_FINISHED = "alert", "confirmed", "finished"
DISMISSED, MERGED = "dismissed", "merged"
LIVE = (ALERT, EVENT_CONFIRMED)
"""States of an event that still has alerts."""
AREAS = {
    "alert_px": tuple(status for status in ACTIVE if status not in CONFIRMED),
    "confirmed_px": CONFIRMED,
    "finished_px": FINISHED,
}
"""Pixels of an event by the statuses that they have."""


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
        band; ``parents``, ids of the events that it comes from, and ``merged_into``, 0: none;
        ``outline``, of a finished event, as WKB in the CRS of the grid. Events that are over keep
        the values of their last acquisition.
    bands
        Names of the bands, in lower case.
    """

    labels: npt.NDArray[np.int32]
    table: pd.DataFrame
    bands: tuple[str, ...]

    @classmethod
    def none(cls, shape: tuple[int, int], bands: tuple[str, ...]) -> Self:
        """Return the tracking of an area without events."""
        names = tuple(band.lower() for band in bands)
        columns = {name: pd.Series([], dtype=kind) for name, kind in _kinds(names).items()}
        table = pd.DataFrame(columns, index=pd.Index([], dtype=np.int64, name="id"))
        return cls(np.zeros(shape, dtype=np.int32), table, names)

    @property
    def live(self) -> npt.NDArray[np.int64]:
        """Ids of the events that still have alerts, ascending."""
        return self.table.index[self.table["state"].isin(LIVE)].to_numpy(dtype=np.int64)

    def advance(self, layers: Layers, day: int, min_pixels: int, grid: GeoBox) -> "Step":
        """Join an acquisition.

        Parameters
        ----------
        layers
            After the acquisition.
        day
            Of the acquisition, since 1970-01-01.
        min_pixels
            Fewest pixels of a new event, and fewest confirmed ones of a confirmed event.
        grid
            Grid of the layers, for the outlines of finished events.
        """
        parts, count = ndimage.label(np.isin(layers.status, ACTIVE), CONNECTIVITY)
        match = _match(parts, count, self.labels, self.live, min_pixels, _next_id(self.table))
        labels = self._labels(parts, match, layers)
        table = _with_new(self.table, match)
        _measure(table, labels, layers, self.bands)
        changed = _judge(table, match, day, min_pixels)
        changed |= {"new": list(match.new)}
        finished = changed[EVENT_FINISHED]
        for number, outline in zip(finished, draw(self.labels, finished, grid), strict=True):
            table.at[number, "outline"] = outline.wkb  # the last one that it had
        return Step(Tracked(labels, table, self.bands), changed)

    def _labels(self, parts: Labels, match: "Match", layers: Layers) -> npt.NDArray[np.int32]:
        """Label alerts by their match; finished pixels keep their event."""
        finished = np.isin(layers.status, FINISHED)
        labels = np.where(parts > 0, match.ids[parts], np.where(finished, self.labels, 0))
        return labels.astype(np.int32)


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


def _match(
    parts: Labels, count: int, labels: Labels, live: Labels, min_pixels: int, first: int
) -> Match:
    """Match connected parts with events by overlap, the greatest first."""
    ids = np.zeros(count + 1, dtype=np.int64)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    pairs = _overlaps(parts, labels, live)
    kept: dict[int, int] = {}
    for part, event in pairs:
        if ids[part] == 0 and event not in kept:
            ids[part], kept[event] = event, part
    best: dict[int, int] = {}
    for part, event in pairs:
        best.setdefault(part, event)
    parents: dict[int, list[int]] = {}
    new: list[int] = []
    for part in range(1, count + 1):
        if ids[part] == 0 and (part in best or sizes[part] >= min_pixels):
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


def _overlaps(parts: Labels, labels: Labels, live: Labels) -> list[tuple[int, int]]:
    """Pairs of a part and a live event that overlap, by falling overlap."""
    both = (parts > 0) & _among(live, int(labels.max(initial=0)))[labels]
    step = int(parts.max(initial=0)) + 1
    keys = labels[both].astype(np.int64) * step + parts[both]
    pairs, sizes = np.unique(keys, return_counts=True)
    ordered = pairs[np.argsort(-sizes, kind="stable")]
    return [(int(key % step), int(key // step)) for key in ordered]


def _among(ids: Labels, most: int) -> Bool:
    """Whether each number from 0 to ``most`` is one of some ids."""
    among = np.zeros(most + 1, dtype=bool)
    among[ids] = True
    return among


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


def _measure(table: pd.DataFrame, labels: Labels, layers: Layers, bands: tuple[str, ...]) -> None:
    """Measure the live events of a table."""
    live = table["state"].isin(LIVE)
    table.loc[live, list(AREAS)] = 0
    most = int(table.index.max()) if len(table) else 0
    inside = _among(table.index[live].to_numpy(), most)[labels]
    numbers = np.flatnonzero(np.bincount(labels[inside]))
    positions = np.searchsorted(numbers, np.arange(most + 1))
    pixels = _Pixels(layers, inside, positions[labels[inside]], len(numbers))
    values: dict[str, Any] = {name: pixels.count(*codes) for name, codes in AREAS.items()}
    values["first_day"] = pixels.least(layers.first_day)
    values["last_day"] = pixels.greatest(layers.last_detection)
    values["evidence"] = pixels.greatest(layers.greatest_metric)
    for band, magnitude in zip(bands, layers.magnitude, strict=True):
        values[f"mean_{band}_db"] = pixels.mean(magnitude)
    for name, column in values.items():
        table.loc[numbers, name] = column.astype(table[name].dtype)


@dataclass(frozen=True)
class _Pixels:
    """Pixels with an event, and the position of the event of each."""

    layers: Layers
    inside: Bool
    positions: npt.NDArray[np.intp]
    events: int

    def count(self, *statuses: int) -> npt.NDArray[np.int64]:
        """Number of pixels of some statuses."""
        chosen = np.isin(self.layers.status[self.inside], statuses)
        return np.bincount(self.positions[chosen], minlength=self.events).astype(np.int64)

    def least(self, layer: npt.NDArray[Any]) -> Double:
        """Smallest value of each event."""
        return self._extreme(np.minimum, np.inf, layer)

    def greatest(self, layer: npt.NDArray[Any]) -> Double:
        """Greatest value of each event."""
        return self._extreme(np.maximum, -np.inf, layer)

    def mean(self, layer: npt.NDArray[Any]) -> Double:
        """Mean of the pixels that have a value; NaN where none has."""
        values = layer[self.inside].astype(np.float64)
        known = np.isfinite(values)
        count = np.bincount(self.positions[known], minlength=self.events)
        total = np.bincount(self.positions[known], values[known], minlength=self.events)
        mean: Double = np.divide(total, count, out=np.full(self.events, np.nan), where=count > 0)
        return mean

    def _extreme(self, function: np.ufunc, start: float, layer: npt.NDArray[Any]) -> Double:
        found = np.full(self.events, start)
        function.at(found, self.positions, layer[self.inside].astype(np.float64))
        return found


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


def draw(labels: Labels, ids: Sequence[int] | Labels, grid: GeoBox) -> list["BaseGeometry"]:
    """Outlines of events in their labels, in the order of their ids."""
    if len(ids) == 0:
        return []
    numbers = np.zeros(max(int(labels.max(initial=0)), *ids) + 1, dtype=np.int32)
    numbers[ids] = np.arange(1, len(ids) + 1)
    return outlines_of(numbers[labels], len(ids), grid)
