"""Catalogues of scenes as STAC items: a folder, a STAC API, or a pgstac database."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sarcast.catalogue.protocol import Catalogue, TimeRange, WritableCatalogue
from sarcast.catalogue.scene import Raster, Scene

if TYPE_CHECKING:
    from sarcast.catalogue.folder import FolderCatalogue
    from sarcast.catalogue.opening import open_catalogue, open_writable

__all__ = [
    "Catalogue",
    "FolderCatalogue",
    "Raster",
    "Scene",
    "TimeRange",
    "WritableCatalogue",
    "open_catalogue",
    "open_writable",
]

_HOMES = {"FolderCatalogue": "folder", "open_catalogue": "opening", "open_writable": "opening"}


def __getattr__(name: str) -> Any:
    """Import what opens catalogues on its first use: readers of cubes need none."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
