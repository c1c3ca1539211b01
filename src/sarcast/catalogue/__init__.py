"""Catalogues of scenes as STAC items: a folder, a STAC API, or a pgstac database."""

from sarcast.catalogue.folder import FolderCatalogue
from sarcast.catalogue.opening import open_catalogue, open_writable
from sarcast.catalogue.protocol import Catalogue, TimeRange, WritableCatalogue
from sarcast.catalogue.scene import Raster, Scene

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
