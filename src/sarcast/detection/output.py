"""The detection folder: expected image, difference image, change map and polygons on disk."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pystac
from odc.geo.geobox import GeoBox
from pystac.extensions.projection import ProjectionExtension
from scipy import ndimage

import sarcast
from sarcast.arrays import Bool, Double, Float
from sarcast.catalogue.scene import grid_fields
from sarcast.detection import difference as di
from sarcast.io.rasters import write_cog
from sarcast.sensor.units import DB
from sarcast.windows import BANDS

if TYPE_CHECKING:
    import geopandas

UNSEEN = 255
"""Value of the change map where nothing could be told; 0 is unchanged and 1 changed."""
NEIGHBOURS = np.ones((3, 3), dtype=int)
"""A pixel is connected with its 8 neighbours."""
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"


@dataclass(frozen=True)
class Detection:
    """What was found at one date.

    Attributes
    ----------
    grid
        Of all rasters.
    actual, expected, std
        Dims (band, y, x), dB; the standard deviation of the expected image.
    changed
        Dims (y, x): the change map.
    date, previous_date
        Acquisition times of the target and of the latest image before it.
    """

    grid: GeoBox
    actual: Float
    expected: Float
    std: Float
    changed: Bool
    date: np.datetime64
    previous_date: np.datetime64

    @cached_property
    def difference(self) -> Float:
        """Actual less expected, dims (band, y, x), dB."""
        return di.subtract(self.actual, self.expected)

    @property
    def seen(self) -> Bool:
        """Pixels of which the difference is known, dims (y, x)."""
        return np.asarray(np.isfinite(self.difference).all(axis=0))

    @property
    def share(self) -> float:
        """Share of the seen pixels that changed, 0..1."""
        return float(self.changed.sum() / max(1, self.seen.sum()))


def without_specks(changed: Bool, min_pixels: int) -> Bool:
    """Change map without connected changes (8 neighbours) of fewer pixels, dims (y, x)."""
    labels, count = _labels(changed)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    large = sizes >= min_pixels
    large[0] = False
    kept: Bool = large[labels]
    return kept


def polygons(detection: Detection) -> "geopandas.GeoDataFrame":
    """One row a connected change.

    Returns
    -------
    GeoDataFrame
        ``area_m2``, ``mean_vv_db`` and ``mean_vh_db`` (mean difference), ``strongest_z`` (greatest
        norm over bands of difference over standard deviation), ``date`` and ``previous_date``, and
        the outline in the cube's CRS; the strongest first.
    """
    import geopandas
    from rasterio.features import shapes
    from shapely.geometry import shape
    from shapely.ops import unary_union

    labels, count = _labels(detection.changed)
    parts: dict[int, list[Any]] = {}
    outlines = shapes(labels, mask=detection.changed, transform=detection.grid.transform)
    for outline, label in outlines:
        parts.setdefault(int(label), []).append(shape(outline))
    geometry = [unary_union(parts[label]) for label in range(1, count + 1)]
    frame = geopandas.GeoDataFrame(
        {
            **_measures(detection, labels, count),
            "date": [_iso(detection.date)] * count,
            "previous_date": [_iso(detection.previous_date)] * count,
        },
        geometry=geometry,
        crs=detection.grid.crs.to_wkt(),
    )
    frame.insert(0, "area_m2", _area(frame))
    return frame.sort_values("strongest_z", ascending=False, ignore_index=True)


def write_detection(
    detection: Detection, folder: Path, item_id: str, provenance: Mapping[str, Any]
) -> None:
    """Write rasters, polygons and the STAC item into a folder that exists.

    Parameters
    ----------
    detection
        What was found.
    folder
        Gets ``expected.tif``, ``uncertainty.tif``, ``difference.tif``, ``change.tif``,
        ``change.gpkg`` and ``item.json``.
    item_id
        Id of the STAC item.
    provenance
        Properties of the item that tell what it was made from.
    """
    grid, difference = detection.grid, detection.difference
    write_expected(folder, grid, detection.expected, detection.std)
    layers = np.concatenate([difference, di.norm(difference)[np.newaxis]])
    names = [*(f"{band} actual - expected, dB" for band in BANDS), "norm over bands, dB"]
    write_cog(folder / "difference.tif", layers, grid, bands=names)
    seen = detection.seen
    change = np.where(seen, detection.changed, UNSEEN).astype(np.uint8)
    write_cog(folder / "change.tif", change, grid, nodata=UNSEEN, bands=["1 where changed"])
    polygons(detection).to_file(folder / "change.gpkg", layer="change", driver="GPKG")
    write_item(folder, item_id, grid, detection.date, provenance)


def write_expected(folder: Path, grid: GeoBox, expected: Float, std: Float) -> None:
    """Write ``expected.tif`` and ``uncertainty.tif``, dims (band, y, x), dB."""
    write_cog(folder / "expected.tif", expected, grid, bands=[f"{b} mean, dB" for b in BANDS])
    names = [f"{band} standard deviation, dB" for band in BANDS]
    write_cog(folder / "uncertainty.tif", std, grid, bands=names)


def write_item(
    folder: Path,
    item_id: str,
    grid: GeoBox,
    date: np.datetime64,
    provenance: Mapping[str, Any],
) -> None:
    """Write ``item.json``, the STAC item of what lies in a folder, with relative addresses."""
    footprint = grid.extent.to_crs("EPSG:4326")
    item = pystac.Item(
        id=item_id,
        geometry=json.loads(json.dumps(footprint.json)),
        bbox=list(footprint.boundingbox.bbox),
        datetime=_moment(date),
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


def _labels(changed: Bool) -> tuple[npt.NDArray[np.int32], int]:
    """Number each connected change 1, 2, ...; dims (y, x), 0 elsewhere."""
    labels, count = ndimage.label(changed, NEIGHBOURS)
    return labels.astype(np.int32), count


def _measures(
    detection: Detection, labels: npt.NDArray[np.int32], count: int
) -> dict[str, Sequence[float]]:
    numbers = np.arange(1, count + 1)
    difference = detection.difference
    z = di.norm(di.z(detection.actual, detection.expected, detection.std))
    means = {
        f"mean_{band.lower()}_{DB.lower()}": ndimage.mean(layer, labels, numbers)
        for band, layer in zip(BANDS, difference, strict=True)
    }
    return {**means, "strongest_z": ndimage.maximum(z, labels, numbers)}


def _area(frame: "geopandas.GeoDataFrame") -> Double:
    """Area of each outline in square metres, on an equal-area grid unless the CRS is of UTM."""
    metric = frame if frame.crs.utm_zone else frame.to_crs("EPSG:6933")
    area: Double = metric.area.to_numpy()
    return area


def _moment(date: np.datetime64) -> dt.datetime:
    seconds = int(date.astype("datetime64[s]").astype(np.int64))
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)


def _iso(date: np.datetime64) -> str:
    return _moment(date).strftime("%Y-%m-%dT%H:%M:%SZ")
