"""pgstac on PostgreSQL with PostGIS: for those who outgrow a folder (extra ``pgstac``)."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pystac
from odc.geo.geom import Geometry
from psycopg.conninfo import conninfo_to_dict
from pypgstac import __version__ as PYPGSTAC
from pypgstac.db import PgstacDB
from pypgstac.load import Loader, Methods

from sarcast.catalogue.api import interval
from sarcast.catalogue.protocol import TimeRange, in_order, placed
from sarcast.errors import SarcastError, UsageError
from sarcast.io.remote import RemoteOptions

COLLECTION = "sentinel-1"
"""Collection of items that name none: in pgstac each item belongs to one."""
PAGE = 1000
"""Items that are fetched at once."""


class DatabaseCatalogue:
    """The items of a pgstac database, which a STAC API can serve at the same time.

    Parameters
    ----------
    url
        ``postgresql://USER@HOST:PORT/DATABASE``; what it leaves out, the password best of all,
        comes from the environment (``PGPASSWORD``) or ``~/.pgpass``.
    collections
        Collections that are searched; none for all.
    options
        How long the database may take to let us in.
    """

    def __init__(self, url: str, collections: Sequence[str], options: RemoteOptions) -> None:
        self.collections = tuple(collections)
        self._url = url
        self._options = options
        try:
            told = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise UsageError(
                "the URL of the database cannot be read; expected postgresql://HOST:PORT/DATABASE, "
                "where special characters of user and password are percent-encoded"
            ) from None
        name = told.get("dbname") or os.environ.get("PGDATABASE", "of the user's name")
        self._where = f"{name} at {told.get('host') or os.environ.get('PGHOST', 'localhost')}"

    def check(self) -> None:
        """See that the database can be reached and holds pgstac."""
        with self._opened():
            pass

    def add(self, items: Iterable[pystac.Item]) -> int:
        """Add items, replacing those of the same collection and id; gives the number now held.

        A collection that is not there is made; the extents of those that grow are kept true.
        """
        filed = (_filed(placed(item)) for item in items)
        found = {(item["collection"], item["id"]): item for item in filed}
        if not found:
            raise SarcastError(f"no items to write to {self._where}; give at least one")
        names = sorted({name for name, _ in found})
        with self._opened() as db:
            loader = Loader(db)
            loader.load_collections(iter(map(_collection, names)), Methods.insert_ignore)
            loader.load_items(iter(found.values()), Methods.delsert)
            return sum(_grown(db, name) for name in names)

    def search(
        self, area: Geometry | None = None, time: TimeRange | None = None
    ) -> list[pystac.Item]:
        """Items that touch ``area`` and ``time``, oldest first; see ``Catalogue.search``."""
        query: dict[str, Any] = {"limit": PAGE}
        if self.collections:
            query["collections"] = list(self.collections)
        if area is not None:
            query["intersects"] = area.to_crs("EPSG:4326").json
        if within := interval(time):
            query["datetime"] = within
        with self._opened() as db:
            found = [pystac.Item.from_dict(one) for page in _pages(db, query) for one in page]
        return in_order(found)

    @contextmanager
    def _opened(self) -> Iterator[PgstacDB]:
        """A connection to the database, which holds pgstac of our version."""
        seconds = math.ceil(self._options.timeout)
        try:
            with psycopg.connect(self._url, autocommit=True, connect_timeout=seconds) as connection:
                connection.execute("SET search_path TO pgstac, public")
                db = PgstacDB(connection=connection)
                with db.get_pool():  # which stays empty: the connection is ours
                    self._check(db.version)
                    yield db
        except psycopg.OperationalError as error:
            raise SarcastError(
                f"the database {self._where} cannot be reached: see that it runs, and that host, "
                f"name, user and password are right ({_line(error)})"
            ) from error
        except psycopg.Error as error:
            raise SarcastError(
                f"the database {self._where} refused what pgstac asked of it ({_line(error)}); "
                f"see that the user may read and write in the schema pgstac"
            ) from error

    def _check(self, version: str | None) -> None:
        if version is not None and version.split(".")[:2] == PYPGSTAC.split(".")[:2]:
            return
        found = "no pgstac" if version is None else f"pgstac {version}"
        raise SarcastError(
            f"the database {self._where} holds {found}, expected {PYPGSTAC}; "
            f"set it up with: pypgstac migrate --dsn postgresql://..."
        )


def _pages(db: PgstacDB, query: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Pages of a search, until one has no next."""
    token: str | None = None
    while True:
        (page,) = next(db.func("search", {**query, "token": token} if token else query))
        yield page["features"]
        links = [link["href"] for link in page["links"] if link["rel"] == "next"]
        if not links:
            return
        token = links[0].partition("token=")[2]


def _filed(item: pystac.Item) -> dict[str, Any]:
    """An item as pgstac keeps it: in a collection, and without links, which its API makes."""
    content: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    return {**content, "collection": item.collection_id or COLLECTION, "links": []}


def _collection(name: str) -> dict[str, Any]:
    """A collection of Sentinel-1 scenes; its extent is told by the database."""
    world = pystac.SpatialExtent([[-180.0, -90.0, 180.0, 90.0]])
    everywhere = pystac.Extent(world, pystac.TemporalExtent([None, None]))
    made = pystac.Collection(name, "Sentinel-1 scenes, indexed by sarcast", everywhere)
    content: dict[str, Any] = made.to_dict(include_self_link=False)
    return {**content, "links": []}


def _grown(db: PgstacDB, name: str) -> int:
    """Tell the database a collection's extent anew; gives the number of its items."""
    connection = db.connect()
    connection.execute(
        "UPDATE collections SET content = content || "
        "jsonb_build_object('extent', collection_extent(id, true)) WHERE id = %s",
        (name,),
    )
    counted = connection.execute("SELECT count(*) FROM items WHERE collection = %s", (name,))
    return int(next(counted)[0])


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
