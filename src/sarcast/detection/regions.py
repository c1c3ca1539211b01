"""Regions: the connected changes of a change map, their sizes and their outlines."""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.crs import CRS
from scipy import ndimage

from sarcast.arrays import Bool, Double
from sarcast.detection import difference as di
from sarcast.sensor.units import DB

if TYPE_CHECKING:
    import geopandas

CONNECTIVITY = np.ones((3, 3), dtype=int)
"""A pixel is connected to its 8 neighbours."""

Labels = npt.NDArray[np.int32]


def label_regions(changed: Bool) -> tuple[Labels, int]:
    """Number the connected changes 1, 2, ...; dims (y, x), 0 elsewhere; and their count."""
    labels, count = ndimage.label(changed, CONNECTIVITY)
    return labels.astype(np.int32), count


def remove_small_regions(changed: Bool, min_pixels: int) -> Bool:
    """Change map, dims (y, x), without connected changes of fewer than ``min_pixels`` pixels."""
    labels, count = label_regions(changed)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    large = sizes >= min_pixels
    large[0] = False
    kept: Bool = large[labels]
    return kept


def region_polygons(images: xr.Dataset, previous_date: np.datetime64) -> "geopandas.GeoDataFrame":
    """Outline and measure every connected change.

    Parameters
    ----------
    images
        As in ``Detection.images``.
    previous_date
        Acquisition time of the latest previous image.

    Returns
    -------
    GeoDataFrame
        One row per region, the greatest ``strongest_z`` first: ``area_m2``, the mean difference in
        each band of the images, as ``mean_vv_db`` and ``mean_vh_db``, ``strongest_z`` (greatest
        norm over the bands of the difference over the standard deviation), ``date`` and
        ``previous_date``, and the outline in the CRS of the images.
    """
    import geopandas
    from rasterio.features import shapes
    from shapely.geometry import shape
    from shapely.ops import unary_union

    changed, grid = images["changed"].values, images["expected"].odc.geobox
    labels, count = label_regions(changed)
    parts: dict[int, list[Any]] = {}
    for outline, label in shapes(labels, mask=changed, transform=grid.transform):
        parts.setdefault(int(label), []).append(shape(outline))
    frame = geopandas.GeoDataFrame(
        {
            **_measures(images, labels, count),
            "date": [iso_time(images["time"].values.flat[0])] * count,
            "previous_date": [iso_time(previous_date)] * count,
        },
        geometry=[unary_union(parts[label]) for label in range(1, count + 1)],
        crs=grid.crs.to_wkt(),
    )
    frame.insert(0, "area_m2", _area(frame))
    return frame.sort_values("strongest_z", ascending=False, ignore_index=True)


def utc_datetime(time: np.datetime64) -> dt.datetime:
    """Time to the second, with its time zone."""
    seconds = int(time.astype("datetime64[s]").astype(np.int64))
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)


def iso_time(time: np.datetime64) -> str:
    """Time to the second, as ``"2020-03-01T15:40:05Z"``."""
    return utc_datetime(time).strftime("%Y-%m-%dT%H:%M:%SZ")


def _measures(images: xr.Dataset, labels: Labels, count: int) -> dict[str, Sequence[float]]:
    """Columns of the measures of each region."""
    numbers, bands = np.arange(1, count + 1), map(str, images["band"].values)
    actual, expected, std = (images[name].values for name in ("actual", "expected", "std"))
    means = {
        f"mean_{band.lower()}_{DB.lower()}": ndimage.mean(layer, labels, numbers)
        for band, layer in zip(bands, images["difference"].values, strict=True)
    }
    z_norm = di.norm(di.z(actual, expected, std))
    return {**means, "strongest_z": ndimage.maximum(z_norm, labels, numbers)}


def _equal_area_crs(frame: "geopandas.GeoDataFrame") -> str:
    """Equal-area projection around the outlines, so that 180 degrees does not cut them."""
    west, south, east, north = frame.total_bounds
    to_degrees = CRS(frame.crs).transformer_to_crs(CRS("EPSG:4326"))
    longitude, latitude = to_degrees((west + east) / 2.0, (south + north) / 2.0)
    return f"+proj=laea +lon_0={longitude:.6f} +lat_0={latitude:.6f} +datum=WGS84"


def _area(frame: "geopandas.GeoDataFrame") -> Double:
    """Area of each outline in square metres."""
    metric = frame if frame.empty or frame.crs.utm_zone else frame.to_crs(_equal_area_crs(frame))
    area: Double = metric.area.to_numpy()
    return area
