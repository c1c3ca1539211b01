"""``sarcast index``: STAC items for the Sentinel-1 rasters found."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from sarcast.commands.config import FLAT, Config
from sarcast.ingest.scenes.add import add_scenes
from sarcast.ingest.scenes.index import IndexOptions


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
    add_scenes(
        paths,
        config.to,
        config.names,
        collection=config.collection,
        unpack_to=config.unpack_to,
    )
