"""``sarcast index``: STAC items for the Sentinel-1 rasters found."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sarcast.catalogue import FolderCatalogue, WritableCatalogue, open_writable
from sarcast.catalogue.protocol import time_range
from sarcast.commands.config import FLAT, Config
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.files import exclusive

_log = logging.getLogger(__name__)


class IndexConfig(Config):
    """Options of ``sarcast index``."""

    to: str = Field(
        description="Folder of the catalogue, or postgresql:// URL of a pgstac database; items are "
        "added to an existing catalogue."
    )
    collection: str | None = Field(
        None, description="Collection of the items; default: the one named in each item."
    )
    unpack_to: Path | None = Field(
        None,
        description="Folder for the scenes of NetCDF series, written as one GeoTIFF each; default: "
        "the folder scenes in the catalogue.",
    )
    names: Annotated[IndexOptions, FLAT] = Field(default_factory=IndexOptions)


def index(paths: tuple[Path, ...], *, config: Annotated[IndexConfig, FLAT]) -> None:
    """Make STAC items for the Sentinel-1 rasters found.

    Parameters
    ----------
    paths
        Rasters, STAC items, or folders that are searched recursively.
    """
    add_scenes(paths, config)


def add_scenes(paths: tuple[Path, ...], config: IndexConfig) -> set[str]:
    """Index scenes as ``index`` does, and return their ids."""
    catalogue = open_writable(config.to)
    folder = catalogue.folder if isinstance(catalogue, FolderCatalogue) else None
    with nullcontext() if folder is None else exclusive(folder):
        return _add(catalogue, paths, config)


def _add(catalogue: WritableCatalogue, paths: tuple[Path, ...], config: IndexConfig) -> set[str]:
    unpack_to = config.unpack_to
    if unpack_to is None and isinstance(catalogue, FolderCatalogue):
        unpack_to = catalogue.folder / "scenes"
    items = find_items(paths, config.names, unpack_to=unpack_to)
    for item in items:
        item.collection_id = config.collection or item.collection_id
    total = catalogue.add(items)
    times = sorted(time_range(item)[0] for item in items)
    noun = "scene" if len(items) == 1 else "scenes"
    _log.info(
        f"{len(items)} {noun} found ({times[0]} to {times[-1]}); {config.to} now holds {total}"
    )
    return {item.id for item in items}
