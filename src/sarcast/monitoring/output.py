"""The files of a monitoring folder: layers, events, QGIS styles and STAC item, from the state."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pystac
import shapely
from odc.geo.geobox import GeoBox

from sarcast.arrays import Box
from sarcast.detection import styles
from sarcast.detection.event_files import write_outlines
from sarcast.detection.output import Product, classes_of, dates_since, write_item
from sarcast.detection.regions import pixel_ha
from sarcast.detection.runs import ITEM
from sarcast.io.cogs import Cog, Parts, write_cogs
from sarcast.io.files import explain_full_disk, scratch_folder
from sarcast.monitoring.alerts import AREAS
from sarcast.monitoring.encoding import (
    DIST_EPOCH,
    DIST_NO_DATA,
    GFW_EPOCH,
    encode_days,
    encode_gfw,
)
from sarcast.monitoring.events import DISMISSED, MERGED, Tracked, draw
from sarcast.monitoring.layers import NO_DAY, NO_PERCENTAGE, Int, Status
from sarcast.monitoring.pixels import KINDS, Pixels
from sarcast.monitoring.state import State

if TYPE_CHECKING:
    import geopandas

    from sarcast.monitoring.options import Encoding

_SCRATCH = ".outputs"
STATUS = (
    styles.Stop(Status.NONE, "#ffffff", "none", alpha=0),
    styles.Stop(Status.FIRST_LOW, "#fde68a", "first low"),
    styles.Stop(Status.PROVISIONAL_LOW, "#fbbf24", "provisional low"),
    styles.Stop(Status.CONFIRMED_LOW, "#ea580c", "confirmed low"),
    styles.Stop(Status.FIRST_HIGH, "#f9a8d4", "first high"),
    styles.Stop(Status.PROVISIONAL_HIGH, "#ec4899", "provisional high"),
    styles.Stop(Status.CONFIRMED_HIGH, "#be123c", "confirmed high"),
    styles.Stop(Status.FINISHED_LOW, "#94a3b8", "finished low"),
    styles.Stop(Status.FINISHED_HIGH, "#475569", "finished high"),
    styles.Stop(Status.NO_DATA, "#d4d4d4", "not seen", alpha=0),
)
"""Classes of ``status.tif`` and ``status-acquisition.tif``."""
EVENT_STATES = (
    styles.Stop(0, "#fbbf24", "alert"),
    styles.Stop(1, "#be123c", "confirmed"),
    styles.Stop(2, "#475569", "finished"),
)
"""Colours of events by their state."""
METRIC = tuple(styles.Stop(s.value, s.colour, f"{s.value:g}", s.alpha) for s in styles.EVIDENCE)
_NO_BYTE = 255
_NO_COUNT = int(np.iinfo(np.uint16).max)
DAY_LAYERS = {
    "first-date": ("first_day", "first detection of the present alert"),
    "confirmation-date": ("confirmed_day", "acquisition that confirmed it"),
    "last-date": ("last_day", "last acquisition that saw the pixel"),
}
"""Layers of dates, by file."""
_COG = pystac.MediaType.COG


def products(encoding: "Encoding") -> dict[str, Product]:
    """Files that become assets of the STAC item."""
    dates = dates_since(epoch_of(encoding))
    status = classes_of(STATUS)
    rasters = {
        "status": ("Status of each pixel", status),
        "status-acquisition": ("Status of each pixel in the last acquisition alone", status),
        "metric": ("Metric of the last acquisition", {}),
        "greatest-metric": ("Greatest metric of the present alert", {}),
        "confidence": ("What the rule compares with its threshold of confirmation", {}),
        **{name: (f"Date: {text}", dates) for name, (_, text) in DAY_LAYERS.items()},
        "count": ("Detections of the present alert", {}),
        "percentage": ("Share of detections of the acquisitions since the first, %", {}),
        "duration": ("Days from the first to the last detection", {"unit": "d"}),
        "magnitude": ("Mean of actual - expected over the detections, dB", {"unit": "dB"}),
        "event": ("Id of the event", {}),
    }
    if encoding == "gfw":
        rasters["alert"] = ("Integrated-alert code of Global Forest Watch", {})
    return {
        **{f"{k}.tif": Product(k, _COG, "data", *v) for k, v in rasters.items()},
        "events.gpkg": Product("events", pystac.MediaType.GEOPACKAGE, "data", "Events"),
        "events.geojson": Product("events-geojson", pystac.MediaType.GEOJSON, "data", "Events"),
    }


def epoch_of(encoding: "Encoding") -> np.datetime64:
    """Day 0 of the dates."""
    return GFW_EPOCH if encoding == "gfw" else DIST_EPOCH


def is_current(folder: Path, state_id: str) -> bool:
    """Whether the files of a folder are those of a state."""
    try:
        item = json.loads((folder / ITEM).read_text(encoding="utf-8"))
        return bool(item["properties"]["sarcast:state"] == state_id)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def write_outputs(
    folder: Path,
    state: State,
    grid: GeoBox,
    encoding: "Encoding",
    provenance: Mapping[str, Any],
) -> None:
    """Write all files beside their targets, then rename them, the STAC item last.

    Parameters
    ----------
    folder
        The monitoring folder, locked.
    state
        What is known.
    grid
        Of the layers.
    encoding
        Of the dates.
    provenance
        Further properties of the item.

    Raises
    ------
    SarcastError
        If a date is out of the range of the encoding, or the disk is full.
    """
    with explain_full_disk(folder), scratch_folder(folder / _SCRATCH) as scratch:
        write_cogs([*_layers(scratch, state, grid, encoding)])
        write_outlines(events_frame(state.tracked, grid), scratch)
        _write_styles(scratch)
        record = state.record
        times = np.array([each.time.removesuffix("Z") for each in record.known], "datetime64[s]")
        properties = {"sarcast:state": record.id, "sarcast:previous": record.previous, **provenance}
        stem = f"monitor-{record.known[-1].time}"
        assets = products(encoding)
        write_item(scratch, stem, grid, times[-1], properties, watched=times, products=assets)
        for path in sorted(scratch.iterdir(), key=lambda path: (path.name == ITEM, path.name)):
            path.replace(folder / path.name)


def _layers(folder: Path, state: State, grid: GeoBox, encoding: "Encoding") -> Iterator[Cog]:
    """The rasters, each read from the state part by part."""
    pixels, bands = state.pixels, [band.upper() for band in state.tracked.bands]
    yield from _status(folder, pixels, grid)
    yield from _dates(folder, pixels, grid, encoding)
    for name, layer, text in (
        ("metric", "metric", "metric of the last acquisition"),
        ("greatest-metric", "greatest_metric", "greatest metric of the present alert"),
        ("confidence", "confidence", "confidence"),
    ):
        yield Cog(folder / f"{name}.tif", _as_it_is(pixels, layer), grid, bands=[text])
    names = [f"{band} mean of actual - expected, dB" for band in bands]
    yield Cog(folder / "magnitude.tif", _as_it_is(pixels, "magnitude"), grid, bands=names)
    for name, dtype, none, text in (
        ("count", np.uint16, _NO_COUNT, "detections of the present alert"),
        ("percentage", np.uint8, NO_PERCENTAGE, "detections, % of acquisitions"),
        ("duration", np.int16, DIST_NO_DATA, "days of detections"),
    ):
        known = _made(pixels, dtype, (name, "status"), _where_seen(dtype, none))
        yield Cog(folder / f"{name}.tif", known, grid, nodata=none, bands=[text])
    names = ["id of the event"]
    yield Cog(folder / "event.tif", _as_it_is(pixels, "event"), grid, nodata=0, bands=names)


def _as_it_is(pixels: Pixels, name: str) -> Parts:
    """An array of the state as an image that is read by parts."""
    array = pixels.arrays[name]
    shape = pixels.bands if len(array.shape) > 2 else 1, *pixels.shape
    return Parts(shape, KINDS[name].dtype, lambda box: array[(..., *box)])


def _made(
    pixels: Pixels,
    dtype: npt.DTypeLike,
    names: Sequence[str],
    made: Callable[..., npt.NDArray[Any]],
) -> Parts:
    """An image that is made of arrays of the state, part by part."""
    arrays = [pixels.arrays[name] for name in names]

    def read(box: Box) -> npt.NDArray[Any]:
        return made(*(np.asarray(array[box]) for array in arrays))

    return Parts((1, *pixels.shape), dtype, read)


def _where_seen(dtype: type[np.integer], none: int) -> Callable[[Int, Int], Int]:
    """Limits numbers to the range of a type, with a value where nothing was seen."""

    def limited(numbers: Int, status: Int) -> Int:
        known = np.clip(numbers, 0, np.iinfo(dtype).max)
        return np.where(status == Status.NO_DATA, none, known).astype(dtype)

    return limited


def _status(folder: Path, pixels: Pixels, grid: GeoBox) -> Iterator[Cog]:
    text = ", ".join(f"{stop.value:.0f} {stop.label}" for stop in STATUS)
    colours = {int(stop.value): stop.rgba for stop in STATUS}
    for name, layer in (("status", "status"), ("status-acquisition", "acquisition_status")):
        path, values = folder / f"{name}.tif", _as_it_is(pixels, layer)
        yield Cog(path, values, grid, nodata=_NO_BYTE, bands=[text], colours=colours)


def _dates(folder: Path, pixels: Pixels, grid: GeoBox, encoding: "Encoding") -> Iterator[Cog]:
    """Dates as int16, days since the epoch of the encoding."""
    epoch = epoch_of(encoding)
    tags = {"EPOCH": str(epoch), "UNIT": "day", "ENCODING": encoding}

    def encoded(days: Int, status: Int) -> npt.NDArray[np.int16]:
        return encode_dates(days, status, encoding)

    for name, (layer, text) in DAY_LAYERS.items():
        days = _made(pixels, np.int16, (layer, "status"), encoded)
        names = [f"{text}, days since {epoch}, 0 none, -1 not seen"]
        path = folder / f"{name}.tif"
        yield Cog(path, days, grid, nodata=DIST_NO_DATA, bands=names, tags=tags)
    if encoding == "gfw":
        code = _made(pixels, np.uint16, ("status", "first_day"), encode_gfw)
        names = [f"2 alert or 3 confirmed, then four digits: days since {epoch}; 0 none"]
        yield Cog(folder / "alert.tif", code, grid, nodata=0, bands=names, tags=tags)


def encode_dates(days: Int, status: Int, encoding: "Encoding") -> npt.NDArray[np.int16]:
    """Days since the epoch of an encoding from days since 1970-01-01; 0 none, -1 not seen.

    Raises
    ------
    SarcastError
        If a day is out of the range of the encoding.
    """
    if encoding == "opera":
        return encode_days(days, status)
    later = int((DIST_EPOCH - GFW_EPOCH).astype(np.int64))
    shifted = np.where(days == NO_DAY, NO_DAY, days.astype(np.int64) + later)
    return encode_days(shifted.astype(np.int32), status)


# --- events ---------------------------------------------------------------------------------------


def events_frame(
    tracked: Tracked, grid: GeoBox, among: Sequence[int] | None = None
) -> "geopandas.GeoDataFrame":
    """Events that are alerts, confirmed or finished, with their outlines; columns do not vary.

    Parameters
    ----------
    tracked
        The events.
    grid
        Of their labels.
    among
        Only events of these ids.
    """
    import geopandas

    table = tracked.table[~tracked.table["state"].isin((DISMISSED, MERGED))]
    table = table if among is None else table[table.index.isin(among)]
    hectares = pixel_ha(grid)
    days = {
        "first_date": table["first_day"],
        "confirmed_date": table["confirmed_day"],
        "last_date": table["last_day"],
        "finished_date": table["ended_day"],
    }
    total = table[list(AREAS)].sum(axis=1)
    columns = {
        "id": table.index.to_numpy(dtype=np.int64),
        "state": table["state"].astype("str"),
        **{name: _as_dates(values) for name, values in days.items()},
        "area_ha": (total * hectares).astype(np.float64),
        **{n.replace("_px", "_ha"): (table[n] * hectares).astype(np.float64) for n in AREAS},
        **{f"mean_{band}_db": table[f"mean_{band}_db"] for band in tracked.bands},
        "evidence": table["evidence"],
        "parents": table["parents"].astype("str"),
    }
    geometry = geopandas.GeoSeries(
        _outlines(tracked, table, grid), index=table.index, crs=grid.crs and grid.crs.to_wkt()
    )
    return geopandas.GeoDataFrame(columns, geometry=geometry).reset_index(drop=True)


def _outlines(tracked: Tracked, table: pd.DataFrame, grid: GeoBox) -> list[Any]:
    """Outlines of events: those kept at their end, or those of their pixels."""
    stored = table["outline"] != b""
    live = table[~stored]
    drawn = dict(zip(live.index, draw(tracked.labels, live, grid), strict=True))
    kept = table.loc[stored, "outline"].map(shapely.from_wkb)
    return [kept[number] if number in kept.index else drawn[number] for number in table.index]


def _as_dates(days: "pd.Series[int]") -> "pd.Series[str]":
    """ISO dates of days since 1970-01-01; empty where there is none."""
    known = days != NO_DAY
    dates = days.where(known, 0).to_numpy().astype("datetime64[D]").astype(str)
    return pd.Series(dates, days.index).where(known, "").astype("str")


def _write_styles(folder: Path) -> None:
    status, metric = styles.palette_qml(STATUS), styles.ramp_qml(METRIC)
    texts = {
        "status": status,
        "status-acquisition": status,
        "metric": metric,
        "greatest-metric": metric,
        "magnitude": styles.ramp_qml(styles.DIFFERENCE),
        "events": styles.events_qml("state", EVENT_STATES),
    }
    for name, text in texts.items():
        (folder / f"{name}.qml").write_text(text, encoding="utf-8")
