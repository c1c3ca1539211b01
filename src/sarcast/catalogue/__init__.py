"""Catalogues: what scenes there are, as STAC items."""

from sarcast.catalogue.folder import Catalogue, FolderCatalogue, TimeRange
from sarcast.catalogue.scene import Raster, Scene

__all__ = ["Catalogue", "FolderCatalogue", "Raster", "Scene", "TimeRange"]
