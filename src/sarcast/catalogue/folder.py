"""The embedded catalogue: a folder with one stac-geoparquet file, and the protocol of all."""

import datetime as dt
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pystac
import stac_geoparquet.arrow
from odc.geo.geom import Geometry

from sarcast.errors import SarcastError
from sarcast.files import new_file

TimeRange = tuple[dt.datetime | None, dt.datetime | None]
"""First and last moment, both included; None leaves that side open."""


class Catalogue(Protocol):
    """Whatever tells which scenes there are of an area and a time."""

    def search(
        self, area: Geometry | None = None, time: TimeRange | None = None
    ) -> list[pystac.Item]:
        """Items that touch ``area`` and lie in ``time``, oldest first; hrefs can be opened."""
        ...


class FolderCatalogue:
    """A folder with ``items.parquet``, in the stac-geoparquet layout.

    Assets below the folder are kept by relative path, so that the folder can be moved with its
    scenes; others by absolute path.

    Parameters
    ----------
    folder
        Where the catalogue lies, or is to be made by the first ``add``.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._file = self.folder / "items.parquet"

    def add(self, items: Iterable[pystac.Item]) -> int:
        """Add items, replacing those of the same id; gives the number now held."""
        held = {item.id: item for item in self._read()} if self._file.exists() else {}
        held.update({item.id: self._portable(item) for item in items})
        if not held:
            raise SarcastError(f"no items to write to {self.folder}; give at least one")
        ordered = sorted(held.values(), key=_order)
        table = stac_geoparquet.arrow.parse_stac_items_to_arrow([i.to_dict() for i in ordered])
        with new_file(self._file) as partial:
            stac_geoparquet.arrow.to_parquet(table, partial)
        return len(ordered)

    def search(
        self, area: Geometry | None = None, time: TimeRange | None = None
    ) -> list[pystac.Item]:
        """Items that touch ``area`` and lie in ``time``, oldest first.

        Parameters
        ----------
        area
            Any CRS; None for everywhere.
        time
            First and last moment, both included; without a time zone they are UTC.

        Raises
        ------
        SarcastError
            If the folder holds no catalogue.
        """
        box = None if area is None else area.to_crs("EPSG:4326").boundingbox.bbox
        found = [_absolute(item, self.folder) for item in self._read(box, time)]
        if area is None:
            return found
        outline = area.to_crs("EPSG:4326")
        return [i for i in found if Geometry(i.geometry, "EPSG:4326").intersects(outline)]

    def _read(
        self,
        box: tuple[float, float, float, float] | None = None,
        time: TimeRange | None = None,
    ) -> list[pystac.Item]:
        if not self._file.is_file():
            raise SarcastError(
                f"{self.folder} is no catalogue: it lacks items.parquet; "
                f"make one with: sarcast index PATH... --to {self.folder}"
            )
        try:
            table = pq.read_table(self._file, filters=_filter(box, time))
            dicts = stac_geoparquet.arrow.stac_table_to_items(table)
            return sorted((pystac.Item.from_dict(found) for found in dicts), key=_order)
        except (pa.ArrowException, ValueError, KeyError) as error:
            raise SarcastError(
                f"{self._file} is damaged or no stac-geoparquet; remove it and index again "
                f"({str(error).splitlines()[0]})"
            ) from error

    def _portable(self, item: pystac.Item) -> pystac.Item:
        copy = item.clone()
        copy.clear_links()
        for asset in copy.assets.values():
            path = Path(asset.href)
            if path.is_absolute() and path.is_relative_to(self.folder.resolve()):
                asset.href = "./" + path.relative_to(self.folder.resolve()).as_posix()
        return copy


def _order(item: pystac.Item) -> tuple[dt.datetime, str]:
    assert item.datetime is not None
    return item.datetime, item.id


def _absolute(item: pystac.Item, folder: Path) -> pystac.Item:
    for asset in item.assets.values():
        if not urlsplit(asset.href).scheme and not Path(asset.href).is_absolute():
            asset.href = os.path.normpath(folder.resolve() / asset.href)
    return item


def _filter(
    box: tuple[float, float, float, float] | None, time: TimeRange | None
) -> pc.Expression | None:
    parts = []
    if box is not None:
        left, bottom, right, top = box
        parts += [
            pc.field("bbox", "xmin") <= right,
            pc.field("bbox", "xmax") >= left,
            pc.field("bbox", "ymin") <= top,
            pc.field("bbox", "ymax") >= bottom,
        ]
    first, last = time or (None, None)
    if first is not None:
        parts.append(pc.field("datetime") >= _utc(first))
    if last is not None:
        parts.append(pc.field("datetime") <= _utc(last))
    joined: pc.Expression | None = None
    for part in parts:
        joined = part if joined is None else joined & part
    return joined


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment
