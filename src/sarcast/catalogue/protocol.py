"""What every catalogue does: tell the items of an area and a time."""

import datetime as dt
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

import pystac
from odc.geo.geom import Geometry

from sarcast.errors import SarcastError

TimeRange = tuple[dt.datetime | None, dt.datetime | None]
"""First and last moment, both included; None leaves that side open, no time zone means UTC."""
MALFORMED = (
    pystac.STACError,
    pystac.STACTypeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)
"""What is raised over an item that is not what STAC says."""


class Catalogue(Protocol):
    """Whatever tells which scenes there are of an area and a time."""

    def search(
        self, area: Geometry | None = None, time: TimeRange | None = None
    ) -> list[pystac.Item]:
        """Items whose footprint touches ``area`` and whose time touches ``time``, oldest first.

        Parameters
        ----------
        area
            Any CRS; None for everywhere.
        time
            First and last moment; an item that tells a start and an end has that range for its
            time, any other its ``datetime``.

        Returns
        -------
        list of pystac.Item
            All of them, each once; a field that was not told is absent, and hrefs can be opened.

        Raises
        ------
        SarcastError
            If the catalogue cannot be read to the end.
        """
        ...


@runtime_checkable
class WritableCatalogue(Catalogue, Protocol):
    """A catalogue that items can be added to."""

    def check(self) -> None:
        """See that items can be added, before the work of making them."""
        ...

    def add(self, items: Iterable[pystac.Item]) -> int:
        """Add items, replacing those of the same collection and id; gives the number now held."""
        ...


def span(item: pystac.Item) -> tuple[dt.datetime, dt.datetime]:
    """First and last moment of an item, UTC.

    Raises
    ------
    SarcastError
        If it tells no time, or a range that runs backwards.
    """
    told = item.common_metadata
    if told.start_datetime is not None and told.end_datetime is not None:
        first, last = utc(told.start_datetime), utc(told.end_datetime)
    elif item.datetime is not None:
        first = last = utc(item.datetime)
    else:
        raise SarcastError(
            f"item {item.id} tells no time: expected datetime, or start_datetime and end_datetime"
        )
    if last < first:
        raise SarcastError(f"item {item.id} ends at {last}, before its start at {first}")
    return first, last


def read_items(path: Path) -> list[pystac.Item]:
    """Items of a JSON file, one or a collection of them; hrefs are relative to the file.

    Raises
    ------
    SarcastError
        If it cannot be read, or holds no STAC item.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        features = content["features"] if content["type"] == "FeatureCollection" else [content]
        items = [pystac.Item.from_dict(feature) for feature in features]
    except (OSError, *MALFORMED) as error:
        raise SarcastError(f"{path} is no STAC item: {' '.join(repr(error).split())}") from error
    for item in items:
        item.set_self_href(path.resolve().as_posix())
    return items


def in_order(items: Iterable[pystac.Item]) -> list[pystac.Item]:
    """Items by time and then by name, each once: of two with one name the later one given."""
    once = {(item.collection_id, item.id): item for item in items}
    return sorted(once.values(), key=lambda item: (utc(item.datetime or span(item)[0]), item.id))


def placed(item: pystac.Item) -> pystac.Item:
    """Give an item back that tells when and where it is, as a catalogue needs.

    Raises
    ------
    SarcastError
        If it tells no time or no footprint.
    """
    span(item)
    if item.geometry is None:
        raise SarcastError(f"item {item.id} tells no place: expected a geometry")
    return item


def utc(moment: dt.datetime) -> dt.datetime:
    """Give a moment its time zone, UTC where it has none."""
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
