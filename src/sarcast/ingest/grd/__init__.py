"""Radiometric terrain correction of Sentinel-1 GRD products to gamma nought."""

from sarcast.ingest.grd.locate import find_products, unzipped
from sarcast.ingest.grd.product import GrdProduct, open_product
from sarcast.ingest.grd.rtc import RtcOptions, Terrain, make_scene, product_grid

__all__ = [
    "GrdProduct",
    "RtcOptions",
    "Terrain",
    "find_products",
    "make_scene",
    "open_product",
    "product_grid",
    "unzipped",
]
