"""The detection folder: rasters, events, styles, quicklook and STAC item on disk."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pystac
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from pystac.extensions.projection import ProjectionExtension

import sarcast
from sarcast.arrays import Box, Times
from sarcast.catalogue.scene import grid_fields
from sarcast.cube.dates import iso_time, utc_datetime
from sarcast.detection import styles
from sarcast.detection.event_files import write_events
from sarcast.detection.quicklook import thinned, write_quicklook
from sarcast.detection.runs import ITEM, MODEL, MODEL_SHA256
from sarcast.io.cogs import Cog, Parts, write_cogs
from sarcast.io.footprint import footprint, geojson
from sarcast.io.images import grid_of_images
from sarcast.windows import Predictor

if TYPE_CHECKING:
    import geopandas

    from sarcast.detection.detect import Detection

EPOCH = np.datetime64("1970-01-01", "D")
"""Day 0 of ``change-date.tif``."""

NO_DATE = np.iinfo(np.int32).min
"""Value of ``change-date.tif`` where nothing changed."""

PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"


@dataclass(frozen=True)
class Product:
    """A file of the folder as an asset of its STAC item: key, media type, role, title, fields."""

    key: str
    media: str
    role: str
    title: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def classes_of(stops: Sequence[styles.Stop]) -> dict[str, Any]:
    """Fields of an asset whose raster has classes, as STAC's classification extension has them."""
    return {_CLASSES: [_class(stop) for stop in stops]}


def _class(stop: styles.Stop) -> dict[str, Any]:
    return {
        "value": int(stop.value),
        "name": stop.label.replace(" ", "-"),
        "title": stop.label,
        "color_hint": stop.colour.removeprefix("#"),
        **({"nodata": True} if stop.value == styles.NOT_JUDGED else {}),
    }


def dates_since(epoch: np.datetime64) -> dict[str, Any]:
    """Fields of an asset whose raster has days since a date."""
    return {"unit": "d", "sarcast:epoch": f"{epoch}T00:00:00Z"}


_CLASSES = "classification:classes"
_COG = pystac.MediaType.COG

PRODUCTS = {
    "expected.tif": Product("expected", _COG, "data", "Expected image"),
    "uncertainty.tif": Product("uncertainty", _COG, "data", "Uncertainty of the expected image"),
    "difference.tif": Product("difference", _COG, "data", "Actual - expected image, and its z"),
    "evidence.tif": Product("evidence", _COG, "data", "Evidence of change and its p-value"),
    "change.tif": Product(
        "change", _COG, "data", "Where the ground changed, by direction", classes_of(styles.CHANGE)
    ),
    "change-date.tif": Product(
        "change-date", _COG, "data", "First acquisition with the change", dates_since(EPOCH)
    ),
    "looks.tif": Product("looks", _COG, "data", "Number of acquisitions that see each pixel"),
    "events.gpkg": Product("events", pystac.MediaType.GEOPACKAGE, "data", "Events"),
    "events.geojson": Product("events-geojson", pystac.MediaType.GEOJSON, "data", "Events"),
    "events.csv": Product("events-csv", "text/csv", "data", "Events without outlines"),
    "quicklook.png": Product("quicklook", pystac.MediaType.PNG, "overview", "Quicklook"),
}
"""Files of the folder that become assets, besides the styles."""

_STYLE_MEDIA = "application/x-qgis-layer-settings"


def write_detection(
    detection: "Detection", folder: Path, item_id: str, provenance: Mapping[str, Any]
) -> None:
    """Write rasters, events, their QGIS styles, the quicklook and the STAC item.

    All rasters are COGs on the grid of the cube:

    ===================  ==========================================================================
    ``expected.tif``     expected image by band, dB
    ``uncertainty.tif``  its standard deviation by band, dB
    ``difference.tif``   actual - expected by band, dB, then z by band, standard deviations
    ``evidence.tif``     evidence, -log10 of the p-value, then the p-value; NaN where not judged
    ``change.tif``       0 unchanged, 1 loss, 2 gain, 3 mixed, 255 not judged; with a colour table
    ``change-date.tif``  day of the first acquisition that shows the change, int32, days since
                         1970-01-01; -2147483648 where nothing changed. It is int32 because days
                         before 2021, the epoch of int16 dates, would be negative like their nodata
    ``looks.tif``        watched acquisitions that see the pixel, 0..255
    ===================  ==========================================================================

    Parameters
    ----------
    detection
        What changed, and the images behind it.
    folder
        An existing folder; it receives the rasters, ``events.gpkg``, ``events.geojson``,
        ``events.csv``, a ``.qml`` beside each raster and the events, ``quicklook.png`` and
        ``item.json``.
    item_id
        Id of the STAC item.
    provenance
        Further properties of the item: what it was made from.
    """
    images = detection.images
    write_cogs(
        [
            *expected_rasters(folder, images),
            *evidence_rasters(folder, images),
            *change_rasters(folder, detection),
        ]
    )
    write_events(detection.events, folder)
    for stem, qml in qgis_styles(detection).items():
        (folder / f"{stem}.qml").write_text(qml, encoding="utf-8")
    write_quicklook(detection, folder / "quicklook.png")
    properties = {
        "sarcast:baseline": iso_time(detection.baseline),
        "sarcast:events": len(detection.events),
        **provenance,
    }
    grid = grid_of_images(images["expected"])
    last = detection.watched[-1]
    write_item(folder, item_id, grid, last, properties, watched=detection.watched)


def expected_rasters(folder: Path, images: xr.Dataset) -> Iterator[Cog]:
    """``expected.tif`` and ``uncertainty.tif`` of ``expected`` and ``std``, dims (band, y, x)."""
    for file, name, label in (
        ("expected.tif", "expected", "mean"),
        ("uncertainty.tif", "std", "standard deviation"),
    ):
        names = [f"{band} {label}, dB" for band in images["band"].values]
        yield Cog(folder / file, _stacked(images, (name,)), _grid(images), bands=names)


def evidence_rasters(folder: Path, images: xr.Dataset) -> Iterator[Cog]:
    """``difference.tif`` and ``evidence.tif``; images as in ``Detection.images``."""
    grid, bands = _grid(images), images["band"].values
    names = [
        *(f"{band} actual - expected, dB" for band in bands),
        *(f"{band} z, standard deviations" for band in bands),
    ]
    yield Cog(folder / "difference.tif", _stacked(images, ("difference", "z")), grid, bands=names)
    names = ["evidence, -log10 of the p-value", "p-value"]
    yield Cog(folder / "evidence.tif", _stacked(images, ("evidence", "p_value")), grid, bands=names)


def change_rasters(folder: Path, detection: "Detection") -> Iterator[Cog]:
    """``change.tif``, ``change-date.tif`` and ``looks.tif``."""
    images = detection.images
    grid = _grid(images)
    yield Cog(
        folder / "change.tif",
        _layer(images, np.uint8, lambda part: change_map(part, detection.events)),
        grid,
        nodata=styles.NOT_JUDGED,
        bands=[", ".join(f"{stop.value:.0f} {stop.label}" for stop in styles.CHANGE)],
        colours={int(stop.value): stop.rgba for stop in styles.CHANGE},
    )
    yield Cog(
        folder / "change-date.tif",
        _layer(images, np.int32, lambda part: days_since_epoch(part["change_date"].values)),
        grid,
        nodata=NO_DATE,
        bands=[f"first acquisition with the change, days since {EPOCH}"],
        tags={"EPOCH": str(EPOCH), "UNIT": "day"},
    )
    looks = _layer(images, np.uint8, lambda part: part["looks"].values)
    names = ["watched acquisitions that see the pixel"]
    yield Cog(folder / "looks.tif", looks, grid, nodata=None, bands=names)


def _grid(images: xr.Dataset) -> GeoBox:
    return grid_of_images(images["expected"])


def _stacked(images: xr.Dataset, names: Sequence[str]) -> Parts:
    """Images one above the other, to be read by parts, float32."""
    sizes = images.sizes
    count = sum(sizes["band"] if "band" in images[name].dims else 1 for name in names)

    def read(box: Box) -> npt.NDArray[Any]:
        parts = [images[name].isel(y=box[0], x=box[1]).values for name in names]
        return np.concatenate([part.reshape(-1, *part.shape[-2:]) for part in parts])

    return Parts((count, sizes["y"], sizes["x"]), np.float32, read)


def _layer(
    images: xr.Dataset, dtype: npt.DTypeLike, made: Callable[[xr.Dataset], npt.NDArray[Any]]
) -> Parts:
    """A layer that is made of a part of the images."""
    shape = 1, images.sizes["y"], images.sizes["x"]
    return Parts(shape, dtype, lambda box: made(images.isel(y=box[0], x=box[1])))


def change_map(images: xr.Dataset, events: "geopandas.GeoDataFrame") -> npt.NDArray[np.uint8]:
    """Class of each pixel as in ``styles.CHANGE``, dims (y, x): the direction of its event.

    Parameters
    ----------
    images
        ``event`` and ``evidence`` as in ``Detection.images``, or a part of them.
    events
        As in ``Detection.events``.
    """
    event = images["event"].values
    codes = np.zeros(1 + max([0, *events["id"]]), dtype=np.uint8)
    codes[events["id"].to_numpy(dtype=np.int64)] = [
        styles.DIRECTIONS[direction].value for direction in events["direction"]
    ]
    change: npt.NDArray[np.uint8] = codes[event]
    change[np.isnan(images["evidence"].values) & (event == 0)] = styles.NOT_JUDGED
    return change


def days_since_epoch(dates: Times) -> npt.NDArray[np.int32]:
    """Days from ``EPOCH`` to dates of any dims; ``NO_DATE`` for NaT."""
    days = (dates.astype("datetime64[D]") - EPOCH).astype(np.int64)
    return np.where(np.isnat(dates), NO_DATE, days).astype(np.int32)


def qgis_styles(detection: "Detection") -> dict[str, str]:
    """QGIS style by name of the raster or vector files, without suffix."""
    images = detection.images
    first = thinned(images["expected"].isel(band=0))
    grey = styles.grey_ramp(*styles.grey_range(first.values))
    days = days_since_epoch(detection.watched).tolist()
    return {
        "expected": styles.ramp_qml(grey),
        "uncertainty": styles.ramp_qml(styles.UNCERTAINTY),
        "difference": styles.ramp_qml(styles.DIFFERENCE),
        "evidence": styles.ramp_qml(styles.EVIDENCE),
        "change": styles.palette_qml(styles.CHANGE),
        "change-date": styles.palette_qml(styles.date_palette(days)),
        "looks": styles.palette_qml(styles.looks_palette(len(detection.watched))),
        "events": styles.events_qml(),
    }


def model_properties(predictor: Predictor) -> dict[str, str]:
    """Properties of an item: name of a model or strategy, and hash of its weights if it has any."""
    from sarcast.prediction import Model  # brings torch, which readers of results do not need

    named = {MODEL: predictor.name}
    if isinstance(predictor, Model):
        named[MODEL_SHA256] = predictor.weights_sha256
    return named


def write_item(
    folder: Path,
    item_id: str,
    grid: GeoBox,
    date: np.datetime64,
    provenance: Mapping[str, Any],
    *,
    watched: Times | None = None,
    products: Mapping[str, Product] = PRODUCTS,
) -> None:
    """Write ``item.json``, the STAC item of the files in a folder, with relative links.

    Parameters
    ----------
    folder
        Contains the files; those in ``products``, and the styles, become assets.
    item_id
        Id of the item.
    grid
        Grid of the rasters.
    date
        Acquisition time of the (last) actual image.
    provenance
        Further properties of the item.
    watched
        Acquisition times that it spans, oldest first; None for that of ``date`` alone.
    products
        Files that become assets, by name.
    """
    geometry, bbox = geojson(footprint(grid).geom)
    item = pystac.Item(
        id=item_id,
        geometry=geometry,
        bbox=bbox,
        datetime=utc_datetime(date),
        start_datetime=None if watched is None else utc_datetime(watched[0]),
        end_datetime=None if watched is None else utc_datetime(watched[-1]),
        properties={"processing:software": {"sarcast": sarcast.__version__}, **provenance},
    )
    item.stac_extensions.append(PROCESSING)
    ProjectionExtension.add_to(item)
    item.properties.update(grid_fields(grid))
    for path in sorted(folder.iterdir()):
        if product := _product(path, products):
            item.add_asset(product.key, _asset(path, product))
    if any(_CLASSES in asset.extra_fields for asset in item.assets.values()):
        item.stac_extensions.append(CLASSIFICATION)
    text = json.dumps(item.to_dict(include_self_link=False), indent=1, allow_nan=False)
    (folder / ITEM).write_text(text + "\n", encoding="utf-8")


def _product(path: Path, products: Mapping[str, Product]) -> Product | None:
    """What a file is as an asset; None if it is none."""
    if path.suffix == ".qml":
        return Product(f"{path.stem}-style", _STYLE_MEDIA, "style", f"QGIS style of {path.stem}")
    return products.get(path.name)


def _asset(path: Path, product: Product) -> pystac.Asset:
    fields = _raster_fields(path) if path.suffix == ".tif" else {}
    return pystac.Asset(
        href=f"./{path.name}",
        title=product.title,
        media_type=product.media,
        roles=[product.role],
        extra_fields={**fields, **product.fields},
    )


def _raster_fields(path: Path) -> dict[str, Any]:
    """Bands, data type and value of missing pixels, as STAC's common metadata has them."""
    with rasterio.open(path) as source:
        nodata, data_type = source.nodata, source.dtypes[0]
        bands = [{"description": text} for text in source.descriptions]
    missing = {} if nodata is None else {"nodata": "nan" if np.isnan(nodata) else int(nodata)}
    return {"bands": bands, "data_type": data_type, **missing}
