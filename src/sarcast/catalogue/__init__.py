"""Catalogues: what scenes there are, as STAC items."""

from sarcast.catalogue.folder import FolderCatalogue
from sarcast.catalogue.opening import open_catalogue, open_growing
from sarcast.catalogue.protocol import Catalogue, GrowingCatalogue, TimeRange
from sarcast.catalogue.scene import Raster, Scene

__all__ = [
    "Catalogue",
    "FolderCatalogue",
    "GrowingCatalogue",
    "Raster",
    "Scene",
    "TimeRange",
    "open_catalogue",
    "open_growing",
]
