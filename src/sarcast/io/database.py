"""Connections to PostgreSQL: one line for each fault, and never a password in it."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from sarcast.errors import SarcastError, UsageError, hide

SCHEMES = ("postgresql://", "postgres://")
EXPECTED = (
    "expected postgresql://HOST:PORT/DATABASE, with special characters of user and password "
    "percent-encoded"
)
TIMEOUT_S = 60.0
"""Seconds to wait for a connection, and for another run that writes."""


class Database:
    """A PostgreSQL database, named by its URL.

    Parameters
    ----------
    url
        ``postgresql://USER@HOST:PORT/DATABASE``. Missing parts come from the environment (such as
        ``PGPASSWORD``, recommended for the password) or ``~/.pgpass``.
    timeout
        Seconds to wait for a connection.

    Raises
    ------
    UsageError
        If it is another kind of URL, or cannot be parsed; no part of it is shown then.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT_S) -> None:
        if not url.startswith(SCHEMES):
            raise UsageError(f"the database is not named by a URL of PostgreSQL; {EXPECTED}")
        parameters = _parsed(url)
        name = parameters.get("dbname") or os.environ.get("PGDATABASE", "of the user's name")
        host = parameters.get("host") or os.environ.get("PGHOST", "localhost")
        self.label = f"{name} at {host}"
        self._url = url
        self._timeout = timeout

    @contextmanager
    def connect(
        self, advice: str, *, autocommit: bool = False
    ) -> Iterator[psycopg.Connection[Any]]:
        """Connect for one block; without ``autocommit`` it is one transaction: all or nothing.

        Parameters
        ----------
        advice
            What to do if the database refuses a command: which rights and tables it needs.
        autocommit
            Whether each command is a transaction of its own.

        Raises
        ------
        SarcastError
            If the database cannot be reached, or refuses a command.
        """
        seconds = max(2, math.ceil(self._timeout))  # libpq takes 1 as 2
        try:
            connection = psycopg.connect(self._url, autocommit=autocommit, connect_timeout=seconds)
        except psycopg.Error as error:
            raise SarcastError(
                f"the database {self.label} cannot be reached: check that it runs, and host, "
                f"name, user and password ({self._reason(error)})"
            ) from error
        try:
            with connection:
                yield connection
        except psycopg.Error as error:
            raise SarcastError(
                f"the database {self.label} refused a command ({self._reason(error)}); "
                f"{_advice(error, advice)}"
            ) from error

    def _reason(self, error: psycopg.Error) -> str:
        """Message without details, which quote the rows."""
        text = error.diag.message_primary or str(error)
        return hide(" ".join(text.split()), self._url) or type(error).__name__


def _parsed(url: str) -> dict[str, object]:
    """Parts of a URL; one whose password was not encoded is not taken apart at a wrong place."""
    authority, *rest = url.partition("://")[2].split("/", 1)
    try:
        if authority.count("@") > 1 or "@" in "".join(rest):
            raise psycopg.ProgrammingError
        return dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        raise UsageError(f"the URL of the database cannot be parsed; {EXPECTED}") from None


def _advice(error: psycopg.Error, advice: str) -> str:
    if isinstance(error, errors.DiskFull | errors.OutOfMemory):
        return "free some space on its server, and run this again"
    if isinstance(error, errors.LockNotAvailable):
        return "another run is writing there; wait for it to end, and run this again"
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return "check that it still runs, and run this again"
    return advice
