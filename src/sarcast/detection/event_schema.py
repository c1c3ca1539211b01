"""The schema ``sarcast`` in PostgreSQL with PostGIS: its tables, its version."""

from typing import Any

import psycopg

from sarcast.errors import SarcastError

SCHEMA = "sarcast"
VERSION = 1
"""Of the tables below; a database with a newer one is refused."""
LOCK = 0x5A5CA57
"""Key of the advisory lock that one writer at a time holds, so that runs do not mix."""
LOCK_TIMEOUT = "60s"

TABLES = f"""
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.schema_version (version integer NOT NULL);
INSERT INTO {SCHEMA}.schema_version VALUES ({VERSION});

CREATE TABLE {SCHEMA}.runs (
    run_id text PRIMARY KEY,
    series_id text NOT NULL,
    verb text NOT NULL,
    cube text NOT NULL,
    grid jsonb NOT NULL,
    model text NOT NULL,
    model_sha256 text,
    options jsonb NOT NULL,
    first_acquisition timestamptz NOT NULL,
    last_acquisition timestamptz NOT NULL,
    software text NOT NULL,
    created timestamptz NOT NULL DEFAULT now(),
    geometry geometry(MultiPolygon, 4326) NOT NULL
);
CREATE INDEX ON {SCHEMA}.runs (series_id, last_acquisition);
CREATE INDEX ON {SCHEMA}.runs USING gist (geometry);

CREATE TABLE {SCHEMA}.events (
    series_id text NOT NULL,
    id bigint NOT NULL,
    feature_id text GENERATED ALWAYS AS (series_id || '-' || id) STORED UNIQUE,
    run_id text NOT NULL REFERENCES {SCHEMA}.runs,
    date timestamptz,
    geometry geometry(MultiPolygon, 4326) NOT NULL,
    PRIMARY KEY (series_id, id)
);
CREATE INDEX ON {SCHEMA}.events (run_id);
CREATE INDEX ON {SCHEMA}.events (date);
CREATE INDEX ON {SCHEMA}.events USING gist (geometry);

CREATE TABLE {SCHEMA}.event_history (
    series_id text NOT NULL,
    id bigint NOT NULL,
    date timestamptz NOT NULL,
    PRIMARY KEY (series_id, id, date)
);

COMMENT ON TABLE {SCHEMA}.runs IS 'One row a run of sarcast: what it was made from.';
COMMENT ON COLUMN {SCHEMA}.runs.series_id IS
    'The monitor whose run it is; of a single detection its run_id.';
COMMENT ON TABLE {SCHEMA}.events IS 'Events as in events.gpkg of a run, in degrees.';
COMMENT ON COLUMN {SCHEMA}.events.date IS 'First acquisition that shows the change.';
COMMENT ON TABLE {SCHEMA}.event_history IS 'State of an event after each acquisition.';
"""

ADVICE = (
    f"check that the user may create the schema {SCHEMA}, or owns it, and that its tables are as "
    f"sarcast made them"
)
"""What to do if the database refuses a command."""


def prepare(connection: psycopg.Connection[Any], label: str) -> None:
    """Lock the schema for this transaction; create it where it is absent.

    Parameters
    ----------
    connection
        In a transaction.
    label
        Name of the database in messages.

    Raises
    ------
    SarcastError
        If there is no PostGIS, or a schema of another version or of another program.
    """
    postgis = connection.execute(
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'postgis'"
    ).fetchone()
    if postgis is None:
        raise SarcastError(
            f"the database {label} has no PostGIS; run in it, as its owner or a superuser: "
            f"CREATE EXTENSION postgis"
        )
    connection.execute("SELECT set_config('search_path', quote_ident(%s), true)", postgis)
    connection.execute("SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    if connection.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone() == (None,):
        connection.execute(TABLES)
    _check_version(connection, label)


def _check_version(connection: psycopg.Connection[Any], label: str) -> None:
    found = connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.schema_version",)).fetchone()
    if found == (None,):
        raise SarcastError(
            f"the schema {SCHEMA} in the database {label} is not of this program; rename it, or "
            f"name another database"
        )
    row = connection.execute(f"SELECT max(version) FROM {SCHEMA}.schema_version").fetchone()
    if row != (VERSION,):
        version = row[0] if row else None
        raise SarcastError(
            f"the events in the database {label} have version {version}, expected {VERSION}: "
            f"update sarcast, or name another database"
        )


def may_write(connection: psycopg.Connection[Any]) -> bool:
    """Whether the user may change the rows of all tables, by way of temporary ones."""
    row = connection.execute(
        f"SELECT has_database_privilege(current_database(), 'TEMPORARY') "
        f"AND bool_and(has_table_privilege('{SCHEMA}.' || name, privilege)) "
        f"FROM unnest(ARRAY['runs', 'events', 'event_history']) AS name, "
        f"unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege"
    ).fetchone()
    return row == (True,)
