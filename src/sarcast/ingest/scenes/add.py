"""Scenes on disk added to a catalogue."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from sarcast.catalogue import FolderCatalogue, open_writable
from sarcast.catalogue.location import time_range
from sarcast.catalogue.unusable import LeftOut
from sarcast.errors import hide
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.files import exclusive

_log = logging.getLogger(__name__)


def add_scenes(
    paths: Sequence[Path],
    to: str,
    options: IndexOptions,
    *,
    collection: str | None = None,
    unpack_to: Path | None = None,
    any_kind: bool = False,
) -> set[str]:
    """Make STAC items for the Sentinel-1 rasters found and add them to a catalogue.

    Parameters
    ----------
    paths
        Rasters, STAC items, or folders that are searched recursively.
    to
        Folder of the catalogue, or ``postgresql://`` URL of a pgstac database.
    options
        How the rasters are read.
    collection
        Collection of the items; by default the one named in each item.
    unpack_to
        Folder for the scenes of NetCDF series; by default ``scenes`` in the catalogue's folder.

    any_kind
        Whether scenes of every polarisation and mode are added, as for a cube whose own scenes
        decide which are used; by default those of the most scenes.

    Returns
    -------
    set of str
        Ids of the scenes added.

    Raises
    ------
    SarcastError
        If no usable scene is found, or another process writes to the catalogue.
    """
    catalogue = open_writable(to)
    folder = catalogue.folder if isinstance(catalogue, FolderCatalogue) else None
    if unpack_to is None and folder is not None:
        unpack_to = folder / "scenes"
    with nullcontext() if folder is None else exclusive(folder):
        items = find_items(paths, options, unpack_to=unpack_to, any_kind=any_kind)
        for item in items:
            item.collection_id = collection or item.collection_id
        left_out = LeftOut()
        total = catalogue.add(items, None if options.strict else left_out)
    added = [item for item in items if item.id not in left_out.names()]
    left_out.report(bool(added), strict=options.strict)
    times = sorted(time_range(item)[0] for item in added)
    noun = "scene" if len(added) == 1 else "scenes"
    _log.info(
        f"{len(added)} {noun} found ({times[0]} to {times[-1]}); {hide(to, to)} now holds {total}"
    )
    return {item.id for item in added}
