"""Catalogues of scenes as STAC items: a folder, a STAC API, or a pgstac database."""

from typing import TYPE_CHECKING

from sarcast.catalogue.protocol import Catalogue, TimeRange, WritableCatalogue
from sarcast.catalogue.scene import Raster, Scene
from sarcast.lazy import lazy_names

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

__getattr__ = lazy_names(
    __name__, {"folder": ("FolderCatalogue",), "opening": ("open_catalogue", "open_writable")}
)
