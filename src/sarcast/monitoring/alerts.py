"""Connected alerts of an area: found, labelled by their event and measured, part by part.

Alerts that reach into several parts are joined by the keys along the edges of parts (see
``detection/joining.py``). What is measured of an event does not depend on the parts: extremes,
and sums of whole numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from sarcast.arrays import Box, Double, Labels
from sarcast.detection.blocks import Each, each_in_turn
from sarcast.detection.joining import Edges, edges_of, joined, keyed
from sarcast.io.scratch import Array, Readable
from sarcast.monitoring.layers import CONFIRMED, FINISHED
from sarcast.monitoring.pixels import KINDS, parts_of
from sarcast.monitoring.sequential import ACTIVE

AREAS = {
    "alert_px": tuple(status for status in ACTIVE if status not in CONFIRMED),
    "confirmed_px": CONFIRMED,
    "finished_px": FINISHED,
}
"""Pixels of an event by the statuses that they have."""
BOX = ("first_row", "end_row", "first_column", "end_column")
"""Rows and columns around the pixels of an event."""
DB_STEPS = 2**20
"""Steps of a dB in which differences are added up: as whole numbers, whose sum does not depend on
the parts that an event is cut into."""


@dataclass(frozen=True)
class Site:
    """Where events are followed.

    Attributes
    ----------
    grid
        Grid of the pixels.
    min_pixels
        Fewest pixels of a new event, and fewest confirmed ones of a confirmed event.
    each
        Does a task for each of some arguments.
    """

    grid: GeoBox
    min_pixels: int
    each: Each = each_in_turn

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.grid.shape.yx
        return rows, columns


@dataclass(frozen=True)
class _Found:
    """Connected alerts of a part, by the key that they have in it.

    Attributes
    ----------
    keys, sizes
        Their keys, ascending, and pixels.
    overlaps
        Dims (3, pair): a live event, the key of connected pixels that overlap it, common pixels.
    edges
        Keys along the edges of the part.
    """

    keys: Labels
    sizes: Labels
    overlaps: Labels
    edges: Edges


@dataclass(frozen=True)
class _Find:
    """Finds the connected alerts of a part, and the live events that they overlap."""

    status: Readable
    labels: Readable
    live: npt.NDArray[np.int64]
    shape: tuple[int, int]

    def __call__(self, part: Box) -> _Found:
        found = _alerts(self.status[part], part, self.shape)
        labels = np.asarray(self.labels[part])
        keys, sizes = np.unique(found[found > 0], return_counts=True)
        both = (found > 0) & np.isin(labels, self.live)
        pairs, common = np.unique(_pair(labels[both], found[both]), return_counts=True)
        return _Found(
            keys, sizes, np.stack([*_unpair(pairs), common]), edges_of(found, part, self.shape)
        )


@dataclass(frozen=True)
class Connected:
    """Connected alerts of all parts.

    They are numbered from 1 on by their first pixel, row by row.

    Attributes
    ----------
    keys, number
        All keys of parts, ascending, and the number of the connected pixels that each belongs to.
    sizes
        Dims (number): their pixels; 0 of number 0, which is none.
    overlaps
        Pairs of a number and a live event that overlap, by falling overlap.
    found
        Those of each part.
    """

    keys: Labels
    number: Labels
    sizes: Labels
    overlaps: list[tuple[int, int]]
    found: Sequence[_Found]

    @classmethod
    def of(cls, found: Sequence[_Found], parts: Sequence[Box], shape: tuple[int, int]) -> Self:
        """Join those of all parts across their edges."""
        keys = np.sort(np.concatenate([each.keys for each in found]))
        groups = joined(keys.tolist(), parts, [each.edges for each in found], shape)
        number = np.zeros(len(keys), dtype=np.int64)
        for index, group in enumerate(groups, start=1):
            number[np.searchsorted(keys, group)] = index
        sizes = np.zeros(len(groups) + 1, dtype=np.int64)
        for each in found:
            np.add.at(sizes, number[np.searchsorted(keys, each.keys)], each.sizes)
        events, their, common = np.concatenate([each.overlaps for each in found], axis=1)
        pairs, which = np.unique(
            _pair(events, number[np.searchsorted(keys, their)]), return_inverse=True
        )
        pixels = np.zeros(len(pairs), dtype=np.int64)
        np.add.at(pixels, which, common)
        order = np.argsort(-pixels, kind="stable")
        overlaps = [(int(n), int(event)) for event, n in zip(*_unpair(pairs[order]), strict=True)]
        return cls(keys, number, sizes, overlaps, found)

    def labels(self, ids: Labels) -> list[tuple[Labels, Labels]]:
        """Keys of each part, ascending, and what is theirs of the ids of all numbers."""
        keys = [each.keys for each in self.found]
        return [(each, ids[self.number[np.searchsorted(self.keys, each)]]) for each in keys]


def find_alerts(
    status: Readable, labels: Readable, live: npt.NDArray[np.int64], site: Site
) -> Connected:
    """Find connected alerts, and which live events they overlap.

    Parameters
    ----------
    status
        Dims (y, x), ``Status``.
    labels
        Dims (y, x): id of each pixel's event before.
    live
        Ids of the live events.
    site
        Where.
    """
    parts = parts_of(site.shape)
    find = _Find(status, labels, live, site.shape)
    return Connected.of(
        [*site.each(find, [(part,) for part in parts], "finding alerts")], parts, site.shape
    )


def label_alerts(connected: Connected, ids: Labels, label: "Labelling", site: Site) -> "Measured":
    """Label connected alerts by their events, and measure the live ones.

    Parameters
    ----------
    connected
        As ``find_alerts`` gives them.
    ids
        Dims (number): id of the event of each; 0 where there is none.
    label
        From and to which arrays.
    site
        Where.
    """
    parts = parts_of(site.shape)
    calls = [(part, *each) for part, each in zip(parts, connected.labels(ids), strict=True)]
    return Measured.together([*site.each(label, calls, "measuring events")])


def _alerts(status: Any, part: Box, shape: tuple[int, int]) -> Labels:
    """Keys of the connected alerts of a part, dims (y, x), 0 elsewhere."""
    return keyed(np.isin(status, ACTIVE), part, shape)


def _pair(first: Labels, second: Labels) -> npt.NDArray[np.int64]:
    """Two numbers below 2³² as one, ordered by the first."""
    return (first.astype(np.int64) << 32) | second.astype(np.int64)


def _unpair(pairs: npt.NDArray[np.int64]) -> tuple[Labels, Labels]:
    return pairs >> 32, pairs & (2**32 - 1)


@dataclass(frozen=True)
class Measured:
    """What the pixels of events give in a part, or in several parts together.

    Attributes
    ----------
    events
        Ids, ascending.
    added
        Dims (event) by name: what is added up. ``sum`` and ``known`` of each band: its differences
        in steps of ``1 / DB_STEPS`` dB, and their number.
    least, greatest
        Dims (event) by name: smallest and greatest values.
    """

    events: npt.NDArray[np.int64]
    added: Mapping[str, npt.NDArray[np.int64]]
    least: Mapping[str, Double]
    greatest: Mapping[str, Double]

    def mean_db(self, band: int) -> Double:
        """Mean difference in a band of each event, dims (event); NaN where none is known."""
        known, total = self.added[f"known {band}"], self.added[f"sum {band}"]
        mean = np.full(len(self.events), np.nan)
        np.divide(total / DB_STEPS, known, out=mean, where=known > 0)
        return mean

    @classmethod
    def together(cls, parts: Sequence["Measured"]) -> Self:
        """Join what several parts give."""
        events, which = np.unique(
            np.concatenate([part.events for part in parts]), return_inverse=True
        )

        def gathered(
            function: np.ufunc, start: float, columns: Sequence[Mapping[str, npt.NDArray[Any]]]
        ) -> dict[str, npt.NDArray[Any]]:
            every = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
            return {
                name: _gathered(function, start, len(events), which, values)
                for name, values in every.items()
            }

        return cls(
            events,
            gathered(np.add, 0, [part.added for part in parts]),
            gathered(np.minimum, np.inf, [part.least for part in parts]),
            gathered(np.maximum, -np.inf, [part.greatest for part in parts]),
        )


def _gathered(
    function: np.ufunc, start: float, count: int, which: Labels, values: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Apply a function of two numbers to the values of each event."""
    found = np.full(count, start, dtype=values.dtype)
    function.at(found, which, values)
    return found


@dataclass(frozen=True)
class Labelling:
    """Labels the alerts of a part by their event, and measures the live events in it.

    Attributes
    ----------
    layers
        Arrays of ``Layers`` by name.
    before
        Dims (y, x): labels before; finished pixels keep theirs.
    target
        Dims (y, x), int32: receives the labels.
    live
        Ids of the live events.
    """

    layers: Mapping[str, Readable]
    before: Readable
    target: Array
    live: npt.NDArray[np.int64]

    def __call__(self, part: Box, keys: Labels, ids: Labels) -> Measured:
        """Label and measure.

        Parameters
        ----------
        part
            Rows and columns.
        keys, ids
            Keys of its connected alerts, ascending, and the ids of their events; 0 for none.
        """
        status = np.asarray(self.layers["status"][part])
        rows, columns = self.target.shape
        found = _alerts(status, part, (rows, columns))
        kept = np.where(np.isin(status, FINISHED), self.before[part], 0)
        if len(keys):
            kept = np.where(
                found > 0, ids[np.searchsorted(keys, found).clip(max=len(keys) - 1)], kept
            )
        labels = kept.astype(KINDS["event"].dtype)
        self.target[part] = labels
        return self._measured(labels, status, part)

    def _measured(self, labels: Labels, status: Labels, part: Box) -> Measured:
        inside = np.isin(labels, self.live)
        if not inside.any():  # nothing has to be read
            part = (slice(0, 0), slice(0, 0))
            inside, status = inside[part], status[part]
        events, which = np.unique(labels[inside].astype(np.int64), return_inverse=True)
        rows, columns = (
            index + each.start for index, each in zip(np.nonzero(inside), part, strict=True)
        )

        def gathered(function: np.ufunc, start: float, values: npt.NDArray[Any]) -> Any:
            return _gathered(function, start, len(events), which, values.astype(np.float64))

        def counted(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
            return np.bincount(which, values, len(events)).astype(np.int64)

        def read(name: str) -> npt.NDArray[Any]:
            return np.asarray(self.layers[name][(..., *part)])[..., inside]

        added = {name: counted(np.isin(status[inside], codes)) for name, codes in AREAS.items()}
        for band, values in enumerate(read("magnitude")):
            known = np.isfinite(values)
            steps = np.where(known, values, 0.0).astype(np.float64) * DB_STEPS
            added |= {f"known {band}": counted(known), f"sum {band}": counted(np.rint(steps))}
        first = read("first_day")
        return Measured(
            events,
            added,
            {
                "first_day": gathered(np.minimum, np.inf, first),
                "first_row": gathered(np.minimum, np.inf, rows),
                "first_column": gathered(np.minimum, np.inf, columns),
            },
            {
                "last_day": gathered(np.maximum, -np.inf, first + read("duration") - 1),
                "evidence": gathered(np.maximum, -np.inf, read("greatest_metric")),
                "end_row": gathered(np.maximum, -np.inf, rows + 1),
                "end_column": gathered(np.maximum, -np.inf, columns + 1),
            },
        )
