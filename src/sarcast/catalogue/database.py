"""Catalogue in PostgreSQL with pgstac, for more items than a folder serves (extra ``pgstac``)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pystac
from odc.geo.geom import Geometry
from pypgstac import __version__ as PYPGSTAC
from pypgstac.db import PgstacDB
from pypgstac.load import Loader, Methods

from sarcast.catalogue.api import interval
from sarcast.catalogue.hrefs import Places
from sarcast.catalogue.location import with_location
from sarcast.catalogue.parse import parse_items
from sarcast.catalogue.protocol import TimeRange
from sarcast.catalogue.unusable import LeftOut
from sarcast.errors import SarcastError
from sarcast.io.database import Database
from sarcast.io.footprint import canonical
from sarcast.io.remote import RemoteOptions

COLLECTION = "sentinel-1"
"""Collection of items without one; pgstac requires one."""
PAGE = 1000
"""Items per page."""
ADVICE = "check that the user may read and write in the schema pgstac"


class DatabaseCatalogue:
    """A pgstac database, which a STAC API can serve at the same time.

    Parameters
    ----------
    url
        ``postgresql://USER@HOST:PORT/DATABASE``. Missing parts come from the environment (such as
        ``PGPASSWORD``, recommended for the password) or ``~/.pgpass``.
    collections
        Collections to search; empty for all.
    options
        Timeout of the connection.
    allow
        Folders and starts of URLs that assets may lie in. Every file of this machine may be read
        anyway: whoever may write to the database is trusted as far as that.
    """

    def __init__(
        self,
        url: str,
        collections: Sequence[str],
        options: RemoteOptions,
        allow: Sequence[str] = (),
    ) -> None:
        self.collections = tuple(collections)
        self._places = Places(allowed=tuple(allow), any_place=True)
        self._database = Database(url, options.timeout)
        self._label = self._database.label

    def check(self) -> None:
        """Check that the database can be reached and contains pgstac."""
        with self._connect():
            pass

    def add(self, items: Iterable[pystac.Item], left_out: LeftOut | None = None) -> int:  # noqa: ARG002 - a database stores all
        """Add items, replacing those of the same collection and id; returns the new total.

        Missing collections are created, and the extents of the collections are updated.
        """
        contents = (_to_content(with_location(item)) for item in items)
        added = {(content["collection"], content["id"]): content for content in contents}
        if not added:
            raise SarcastError(f"no items to write to {self._label}; give at least one")
        names = sorted({name for name, _ in added})
        with self._connect() as db:
            loader = Loader(db)
            loader.load_collections(iter(map(_collection, names)), Methods.insert_ignore)
            loader.load_items(iter(added.values()), Methods.delsert)
            return sum(_update_extent(db, name) for name in names)

    def search(
        self,
        area: Geometry | None = None,
        time: TimeRange | None = None,
        left_out: LeftOut | None = None,
    ) -> list[pystac.Item]:
        """Items that touch ``area`` and ``time``, oldest first; see ``Catalogue.search``."""
        query: dict[str, Any] = {"limit": PAGE}
        if self.collections:
            query["collections"] = list(self.collections)
        if area is not None:
            query["intersects"] = canonical(area).json
        if within := interval(time):
            query["datetime"] = within
        with self._connect() as db:
            features = [feature for page in _pages(db, query) for feature in page]
        return parse_items(features, self._places, lambda _: "", left_out)

    @contextmanager
    def _connect(self) -> Iterator[PgstacDB]:
        """Connect to the database, and check its version of pgstac."""
        with self._database.connect(ADVICE, autocommit=True) as connection:
            connection.execute("SET search_path TO pgstac, public")
            db = PgstacDB(connection=connection)
            with db.get_pool():  # stays empty, since a connection was given
                self._check(db.version)
                yield db

    def _check(self, version: str | None) -> None:
        if version is not None and version.split(".")[:2] == PYPGSTAC.split(".")[:2]:
            return
        present = "no pgstac" if version is None else f"pgstac {version}"
        raise SarcastError(
            f"the database {self._label} contains {present}, expected {PYPGSTAC}; "
            f"set it up with: pypgstac migrate --dsn postgresql://..."
        )


def _pages(db: PgstacDB, query: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Pages of a search; the last one has no link to a next one."""
    token: str | None = None
    while True:
        (page,) = next(db.func("search", {**query, "token": token} if token else query))
        yield page["features"]
        links = [link["href"] for link in page["links"] if link["rel"] == "next"]
        if not links:
            return
        token = links[0].partition("token=")[2]


def _to_content(item: pystac.Item) -> dict[str, Any]:
    """An item as pgstac stores it: in a collection, and without links, which its API generates."""
    content: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    return {**content, "collection": item.collection_id or COLLECTION, "links": []}


def _collection(name: str) -> dict[str, Any]:
    """A collection of scenes or results; its extent is computed in the database."""
    world = pystac.SpatialExtent([[-180.0, -90.0, 180.0, 90.0]])
    everywhere = pystac.Extent(world, pystac.TemporalExtent([None, None]))
    collection = pystac.Collection(name, "Scenes of Sentinel-1, or results of sarcast", everywhere)
    content: dict[str, Any] = collection.to_dict(include_self_link=False)
    return {**content, "links": []}


def _update_extent(db: PgstacDB, name: str) -> int:
    """Recompute the extent of a collection; returns the number of its items."""
    connection = db.connect()
    connection.execute(
        "UPDATE collections SET content = content || "
        "jsonb_build_object('extent', collection_extent(id, true)) WHERE id = %s",
        (name,),
    )
    counts = connection.execute("SELECT count(*) FROM items WHERE collection = %s", (name,))
    return int(next(counts)[0])
