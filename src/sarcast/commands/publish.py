"""``sarcast publish``: events, runs and items of finished folders in databases."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from sarcast.commands.config import FLAT, Config
from sarcast.detection.publish import (
    COLLECTION,
    open_event_database,
    publish_events,
    publish_item,
)
from sarcast.errors import UsageError


class PublishConfig(Config):
    """Options of ``sarcast publish``."""

    events: str | None = Field(
        None,
        description="postgresql:// URL of a database with PostGIS that receives the run and its "
        "events; the password is better kept in PGPASSWORD or ~/.pgpass.",
    )
    catalogue: str | None = Field(
        None,
        description="Catalogue that receives the STAC item: a folder, or postgresql:// URL of a "
        "pgstac database.",
    )
    overwrite: bool = Field(
        False, description="Replace a later state of the same monitor in the database."
    )
    collection: str = Field(COLLECTION, description="Collection of the STAC item.")


_DEFAULT = PublishConfig()


def publish(
    folders: tuple[Path, ...], *, config: Annotated[PublishConfig, FLAT] = _DEFAULT
) -> None:
    """Write finished detections to databases: their events and runs, their STAC items.

    Parameters
    ----------
    folders
        Folders that ``sarcast detect`` wrote.
    """
    if config.events is None and config.catalogue is None:
        raise UsageError("nothing to publish to: give --events or --catalogue, or both")
    database = None if config.events is None else open_event_database(config.events)
    for folder in folders:
        if database is not None:
            publish_events(folder, database, overwrite=config.overwrite)
        if config.catalogue is not None:
            publish_item(folder, config.catalogue, config.collection)
