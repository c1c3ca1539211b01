"""Finished result folders in databases: events and runs in PostGIS, items in a catalogue."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sarcast.catalogue import open_writable
from sarcast.detection.event_files import read_events
from sarcast.detection.runs import HISTORY, read_item, read_run
from sarcast.errors import SarcastError

if TYPE_CHECKING:
    from sarcast.detection.event_database import EventDatabase

_log = logging.getLogger(__name__)

COLLECTION = "sarcast-detections"
"""Collection of the items of detections."""


def open_event_database(url: str) -> "EventDatabase":
    """Open a database for events; nothing is written yet.

    Parameters
    ----------
    url
        ``postgresql://`` of a database with PostGIS.

    Raises
    ------
    UsageError
        If it is another URL.
    SarcastError
        If a package needed for it is not installed.
    """
    try:
        from sarcast.detection.event_database import EventDatabase
    except ModuleNotFoundError as error:
        raise SarcastError(
            f"events in PostgreSQL need {error.name}; install it with: "
            f"pip install 'sarcast[postgis]'"
        ) from error
    return EventDatabase(url)


def checked_event_database(url: str | None) -> "EventDatabase | None":
    """Open a database and check that it takes events, before the work of finding them.

    Parameters
    ----------
    url
        As for ``open_event_database``; None gives None.
    """
    database = None if url is None else open_event_database(url)
    if database is not None:
        database.check()
    return database


def publish_events(folder: Path, database: "EventDatabase", *, overwrite: bool = False) -> None:
    """Write the run and the events of a result folder to a database, all or nothing.

    Parameters
    ----------
    folder
        As ``sarcast detect`` writes it; of a monitor, the history of its events is written, too.
    database
        The database.
    overwrite
        Replace a later state of the same monitor.

    Raises
    ------
    SarcastError
        If the folder holds no events, or the database fails; the folder stays as it is, and the
        message says how to write its events later.
    """
    run, events = read_run(folder), read_events(folder)
    try:
        written = database.write(run, events, _read_history(folder), overwrite=overwrite)
    except SarcastError as error:
        raise SarcastError(
            f"{error}. None of the events of {folder} were written; the folder is complete, so "
            f"write them later with: sarcast publish {folder} --events postgresql://..."
        ) from error
    change = "nothing changed"
    if written.changed or written.removed:
        change = f"{written.changed} new or changed, {written.removed} removed"
    _log.info(f"{len(events)} events of run {run.run_id} are in {database.label} ({change})")


def _read_history(folder: Path) -> pd.DataFrame | None:
    """History of the events of a monitor; None in the folder of a single detection."""
    path = folder / HISTORY
    if not path.exists():
        return None
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:  # what pandas raises for a damaged file is a ValueError
        raise SarcastError(f"{path} cannot be read: {error}") from error


def publish_item(folder: Path, catalogue: str, collection: str = COLLECTION) -> None:
    """Add the STAC item of a result folder to a catalogue.

    Its hrefs become absolute, and its id that of the run (of the monitor, for each of its runs),
    whose item it replaces.

    Parameters
    ----------
    folder
        As ``sarcast detect`` writes it.
    catalogue
        Folder of a catalogue, or ``postgresql://`` of a database with pgstac.
    collection
        Collection of the item.
    """
    item, run = read_item(folder), read_run(folder)
    item.id = f"{run.verb}-{run.series_id}"
    item.collection_id = collection
    item.properties["sarcast:run"] = run.run_id
    item.make_asset_hrefs_absolute()
    total = open_writable(catalogue).add([item])
    _log.info(f"{item.id} is in the collection {collection} of {catalogue}, which holds {total}")
