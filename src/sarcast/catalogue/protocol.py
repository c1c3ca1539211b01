"""Protocol of catalogues: search the items of an area and a time."""

import datetime as dt
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import pystac
from odc.geo.geom import Geometry

from sarcast.catalogue.unusable import LeftOut

TimeRange = tuple[dt.datetime | None, dt.datetime | None]
"""First and last time, both included; None leaves that side open, no time zone means UTC."""


class Catalogue(Protocol):
    """A searchable catalogue of scenes.

    Examples
    --------
    >>> catalogue = open_catalogue("scenes/")
    >>> items = catalogue.search(area, (datetime(2020, 1, 1), None))
    """

    def search(
        self,
        area: Geometry | None = None,
        time: TimeRange | None = None,
        left_out: LeftOut | None = None,
    ) -> list[pystac.Item]:
        """Items whose footprint touches ``area`` and whose time touches ``time``, oldest first.

        Parameters
        ----------
        area
            Any CRS; None for everywhere.
        time
            First and last time. The time of an item is the range from ``start_datetime`` to
            ``end_datetime`` if it has both, else its ``datetime``.
        left_out
            Collects malformed items, and those with hrefs that may not be opened; None to report
            them at the end of the search.

        Returns
        -------
        list of pystac.Item
            All matches, each once. Fields that a source does not state are absent; hrefs can be
            opened.

        Raises
        ------
        SarcastError
            If the catalogue cannot be read completely, or no item can be used and ``left_out`` is
            None.
        """
        ...


@runtime_checkable
class WritableCatalogue(Catalogue, Protocol):
    """A catalogue that items can be added to."""

    def check(self) -> None:
        """Check that items can be added, before the work of making them."""
        ...

    def add(self, items: Iterable[pystac.Item], left_out: LeftOut | None = None) -> int:
        """Add items, replacing those of the same collection and id; returns the new total.

        Those that cannot be stored beside the others are left out, or refused if ``left_out`` is
        None.
        """
        ...
