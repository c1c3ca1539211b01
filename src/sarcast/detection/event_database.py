"""Events and runs in PostgreSQL with PostGIS (extra ``postgis``), for more than files serve.

The tables are those of ``event_schema``. The columns of events are those of the event files, under
the same names: whole numbers, floats (missing ones are null) and text; times, which files hold as
text, are ``timestamptz``. A column that a table lacks is added with the first events that have it.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import psycopg
import shapely
from pandas.api import types as kinds
from psycopg import sql
from psycopg.types.json import Jsonb

from sarcast.cube.dates import iso_time, utc_datetime
from sarcast.detection.event_files import outlines_in_degrees
from sarcast.detection.event_schema import ADVICE, SCHEMA, may_write, prepare
from sarcast.detection.runs import Run
from sarcast.errors import SarcastError
from sarcast.io.database import Database

if TYPE_CHECKING:
    import geopandas

SRID = 4326
TIME = "timestamp with time zone"
_GEOMETRY = "USER-DEFINED"
_HISTORY_KEY = {"series_id": "text", "id": "bigint", "date": TIME}


@dataclass(frozen=True)
class Written:
    """Rows of events that a run changed in the database: new or updated ones, removed ones."""

    changed: int
    removed: int


class EventDatabase:
    """A database that receives the events of runs.

    Parameters
    ----------
    url
        As for ``io.database.Database``.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    @property
    def label(self) -> str:
        """Name of the database in messages."""
        return self._database.label

    def check(self) -> None:
        """Check that events can be written, before the work of finding them; changes nothing.

        Raises
        ------
        SarcastError
            If the database cannot be reached, has no PostGIS, or a schema of another version, or
            if the user may not write.
        """
        with self._database.connect(ADVICE) as connection:
            prepare(connection, self.label)
            if not may_write(connection):
                raise SarcastError(f"no right to write events to {self.label}; {ADVICE}")
            connection.rollback()

    def write(
        self,
        run: Run,
        events: "geopandas.GeoDataFrame",
        history: pd.DataFrame | None = None,
        *,
        overwrite: bool = False,
    ) -> Written:
        """Write a run in one transaction: all of it, or nothing.

        The events that the database holds of the same series (run or monitor) become ``events``,
        and their history becomes ``history``: rows that differ are updated, others added, absent
        ones removed. The same run written twice changes nothing.

        Parameters
        ----------
        run
            The run.
        events
            All events of the series, with a column ``id``; any CRS.
        history
            Of a monitor: a row for each event and acquisition, with ``id`` and ``date``.
        overwrite
            Replace a later state of the same monitor.

        Raises
        ------
        SarcastError
            If the database fails, refuses the rows, or knows a later state of the series.
        """
        with self._database.connect(ADVICE) as connection:
            prepare(connection, self.label)
            if not overwrite:
                self._refuse_older(connection, run)
            _write(connection, _run_rows(run))
            rows = _event_rows(run, events)
            written = Written(_write(connection, rows), _remove_absent(connection, run, rows))
            if history is not None:
                rows = _history_rows(run, history)
                _write(connection, rows)
                _remove_absent(connection, run, rows)
            _forget_later(connection, run)
        return written

    def _refuse_older(self, connection: psycopg.Connection[Any], run: Run) -> None:
        row = connection.execute(
            f"SELECT max(last_acquisition) FROM {SCHEMA}.runs WHERE series_id = %s",
            (run.series_id,),
        ).fetchone()
        if row is not None and row[0] is not None and row[0] > utc_datetime(run.last):
            known = row[0].astimezone(dt.UTC)
            raise SarcastError(
                f"the database {self.label} holds the state of {run.series_id} after "
                f"{known:%Y-%m-%dT%H:%M:%SZ}, but this one is after {iso_time(run.last)}; add "
                f"--overwrite to replace it"
            )


# --- rows -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """Rows for a table: the columns with their types, and those that are its key."""

    table: str
    key: Sequence[str]
    types: dict[str, str]
    values: Sequence[Sequence[Any]]

    @property
    def target(self) -> sql.Identifier:
        return sql.Identifier(SCHEMA, self.table)

    @property
    def incoming(self) -> sql.Identifier:
        """Temporary table that receives the rows."""
        return sql.Identifier(f"incoming_{self.table}")


def _names(names: Iterable[str], prefix: str = "") -> sql.Composed:
    """Names of columns, separated by commas."""
    return sql.SQL(", ").join(sql.SQL(prefix) + sql.Identifier(name) for name in names)


def _run_rows(run: Run) -> _Rows:
    row = {
        "run_id": run.run_id,
        "series_id": run.series_id,
        "verb": run.verb,
        "cube": run.cube,
        "grid": Jsonb(run.grid),
        "model": run.model,
        "model_sha256": run.model_sha256,
        "options": Jsonb(run.options),
        "first_acquisition": utc_datetime(run.first),
        "last_acquisition": utc_datetime(run.last),
        "software": run.software,
        "geometry": _ewkb([run.footprint])[0],
    }
    return _Rows("runs", ["run_id"], dict.fromkeys(row, ""), [list(row.values())])


def _event_rows(run: Run, events: "geopandas.GeoDataFrame") -> _Rows:
    table = pd.DataFrame(events.drop(columns=events.geometry.name))
    if "date" not in table:
        table["date"] = table["first_date"]
    table.insert(0, "series_id", run.series_id)
    table.insert(1, "run_id", run.run_id)
    types = {name: _type_of(table[name]) for name in table.columns}
    values = [*_values(table, types), _ewkb(outlines_in_degrees(events))]
    types["geometry"] = _GEOMETRY
    return _Rows("events", ["series_id", "id"], types, list(zip(*values, strict=True)))


def _history_rows(run: Run, history: pd.DataFrame) -> _Rows:
    """Rows of a history; where there are none, a file of text says nothing about their types."""
    table = history.assign(series_id=run.series_id)
    others = [name for name in history.columns if name not in _HISTORY_KEY and len(history)]
    types = _HISTORY_KEY | {name: _type_of(table[name]) for name in others}
    values = list(zip(*_values(table, types), strict=True))
    return _Rows("event_history", list(_HISTORY_KEY), types, values)


def _type_of(column: "pd.Series[Any]") -> str:
    """Type of a column in PostgreSQL; times are known by name, as files hold them as text."""
    name, kind = str(column.name), column.dtype
    if name in ("date", "earliest", "latest") or name.endswith("_date"):
        return TIME
    if kinds.is_datetime64_any_dtype(kind):
        return TIME
    if kinds.is_bool_dtype(kind):
        return "boolean"
    if kinds.is_integer_dtype(kind):
        return "bigint"
    return "double precision" if kinds.is_float_dtype(kind) else "text"


def _values(table: pd.DataFrame, types: dict[str, str]) -> list[list[Any]]:
    """Values by column as objects of Python, None for missing ones."""
    columns = []
    for name, kind in types.items():
        column = table[name]
        if kind == TIME:
            column = pd.to_datetime(column.replace("", None), utc=True, format="ISO8601")
        columns.append(column.astype(object).where(column.notna(), None).tolist())
    return columns


def _ewkb(shapes: Sequence[shapely.Geometry]) -> list[str]:
    """Outlines in degrees as PostGIS reads them from text."""
    whole = [shapely.MultiPolygon(list(shapely.get_parts(shape))) for shape in shapes]
    return list(shapely.to_wkb(shapely.set_srid(whole, SRID), hex=True, include_srid=True))


# --- statements -----------------------------------------------------------------------------------


def _write(connection: psycopg.Connection[Any], rows: _Rows) -> int:
    """Insert rows, and update those of a known key that differ; number of rows changed.

    A row that differs in ``run_id`` alone stays that of the run that wrote it.
    """
    _add_columns(connection, rows)
    _copy(connection, rows)
    values = [name for name in rows.types if name not in rows.key]
    compared = [name for name in values if name != "run_id"]
    action: sql.Composable = sql.SQL("NOTHING")
    if compared:
        action = sql.SQL(
            "UPDATE SET ({names}) = ROW({new}) WHERE ROW({old}) IS DISTINCT FROM ROW({kept})"
        ).format(
            names=_names(values),
            new=_names(values, "EXCLUDED."),
            old=_names(compared, "known."),
            kept=_names(compared, "EXCLUDED."),
        )
    command = sql.SQL("INSERT INTO {} AS known ({}) SELECT {} FROM {} ON CONFLICT ({}) DO ").format(
        rows.target, *[_names(rows.types)] * 2, rows.incoming, _names(rows.key)
    )
    return connection.execute(command + action).rowcount


def _copy(connection: psycopg.Connection[Any], rows: _Rows) -> None:
    """Send rows into a temporary table."""
    names = _names(rows.types)
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
            rows.incoming, names, rows.target
        )
    )
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(rows.incoming, names)
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        for row in rows.values:
            copy.write_row(row)


def _add_columns(connection: psycopg.Connection[Any], rows: _Rows) -> None:
    """Add the columns that a table lacks; refuse those that have another type there."""
    present = dict(
        connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = %s AND table_name = %s",
            (SCHEMA, rows.table),
        ).fetchall()
    )
    for name, kind in rows.types.items():
        if name not in present:
            command = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}")
            name_of = sql.Identifier(name)
            connection.execute(command.format(rows.target, name_of, sql.SQL(kind)))
        elif kind and kind != present[name]:
            raise SarcastError(
                f"the column {name} of {SCHEMA}.{rows.table} has type {present[name]}, expected "
                f"{kind}; rename it in the database, or name another database"
            )


def _remove_absent(connection: psycopg.Connection[Any], run: Run, rows: _Rows) -> int:
    """Remove what a table holds of a series and is not among the rows; number of rows removed."""
    same = sql.SQL(" AND ").join(
        sql.SQL("new.{0} = known.{0}").format(sql.Identifier(name)) for name in rows.key
    )
    command = sql.SQL(
        "DELETE FROM {} AS known WHERE series_id = %s "
        "AND NOT EXISTS (SELECT FROM {} AS new WHERE {})"
    ).format(rows.target, rows.incoming, same)
    return connection.execute(command, (run.series_id,)).rowcount


def _forget_later(connection: psycopg.Connection[Any], run: Run) -> None:
    """Remove the runs of a series after one; events that they wrote are now that one's."""
    later = f"SELECT run_id FROM {SCHEMA}.runs WHERE series_id = %s AND last_acquisition > %s"
    known = (run.series_id, utc_datetime(run.last))
    connection.execute(
        f"UPDATE {SCHEMA}.events SET run_id = %s WHERE run_id IN ({later})", (run.run_id, *known)
    )
    connection.execute(f"DELETE FROM {SCHEMA}.runs WHERE run_id IN ({later})", known)
