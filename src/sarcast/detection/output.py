"""The detection folder: expected image, difference image, change map and polygons on disk."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import xarray as xr
from odc.geo.geobox import GeoBox
from pystac.extensions.projection import ProjectionExtension

import sarcast
from sarcast.catalogue.scene import grid_fields
from sarcast.detection import difference as di
from sarcast.detection.detect import Detection
from sarcast.detection.regions import utc_datetime
from sarcast.io.footprint import footprint, geojson
from sarcast.io.rasters import write_cog

NO_DATA = 255
"""Value of the change map where the difference is not known; 0 is unchanged and 1 changed."""
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"


def write_detection(
    detection: Detection, folder: Path, item_id: str, provenance: Mapping[str, Any]
) -> None:
    """Write rasters, polygons and the STAC item into a folder that exists.

    Parameters
    ----------
    detection
        What changed, and the images behind it.
    folder
        Receives ``expected.tif``, ``uncertainty.tif``, ``difference.tif``, ``change.tif``,
        ``change.gpkg`` and ``item.json``.
    item_id
        Id of the STAC item.
    provenance
        Further properties of the item: what it was made from.
    """
    grid, images = detection.grid, detection.images
    difference = images["difference"].values
    write_expected(folder, images)
    layers = np.concatenate([difference, di.norm(difference)[np.newaxis]])
    bands = images["band"].values
    names = [*(f"{band} actual - expected, dB" for band in bands), "norm over bands, dB"]
    write_cog(folder / "difference.tif", layers, grid, bands=names)
    change = np.where(detection.valid, images["changed"].values, NO_DATA).astype(np.uint8)
    write_cog(folder / "change.tif", change, grid, nodata=NO_DATA, bands=["1 where changed"])
    detection.polygons.to_file(folder / "change.gpkg", layer="change", driver="GPKG")
    write_item(folder, item_id, grid, detection.date, provenance)


def write_expected(folder: Path, images: xr.Dataset) -> None:
    """Write ``expected.tif`` and ``uncertainty.tif`` of ``expected`` and ``std``, (band, y, x)."""
    grid = images["expected"].odc.geobox
    for file, name, label in (
        ("expected.tif", "expected", "mean"),
        ("uncertainty.tif", "std", "standard deviation"),
    ):
        names = [f"{band} {label}, dB" for band in images["band"].values]
        write_cog(folder / file, images[name].values, grid, bands=names)


def write_item(
    folder: Path,
    item_id: str,
    grid: GeoBox,
    date: np.datetime64,
    provenance: Mapping[str, Any],
) -> None:
    """Write ``item.json``, the STAC item of the files in a folder, with relative links."""
    geometry, bbox = geojson(footprint(grid).geom)
    item = pystac.Item(
        id=item_id,
        geometry=geometry,
        bbox=bbox,
        datetime=utc_datetime(date),
        properties={"processing:software": {"sarcast": sarcast.__version__}, **provenance},
    )
    item.stac_extensions.append(PROCESSING)
    ProjectionExtension.add_to(item)
    item.properties.update(grid_fields(grid))
    for path in sorted(folder.iterdir()):
        if path.suffix in _MEDIA:
            item.add_asset(path.stem if path.suffix == ".tif" else "polygons", _asset(path))
    text = json.dumps(item.to_dict(include_self_link=False), indent=1, allow_nan=False)
    (folder / "item.json").write_text(text + "\n", encoding="utf-8")


_MEDIA = {".tif": pystac.MediaType.COG, ".gpkg": pystac.MediaType.GEOPACKAGE}


def _asset(path: Path) -> pystac.Asset:
    return pystac.Asset(href=f"./{path.name}", media_type=_MEDIA[path.suffix], roles=["data"])
