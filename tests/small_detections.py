"""A detection made by hand, whose images and events are known."""

import geopandas
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rasterio.features import shapes
from shapely.geometry import shape

from conftest import GRID
from sarcast.detection.detect import Detection, DetectOptions

BANDS = ("VV", "VH")
WATCHED = np.array(
    ["2020-08-16T04:51:02", "2020-08-22T15:40:05", "2020-08-28T04:51:02"], dtype="datetime64[s]"
)
BASELINE = np.datetime64("2020-08-10T15:40:05", "s")


def event_image() -> np.ndarray:
    """Events 1 (6 x 10 pixels), 2 (a ring of 24 pixels around one) and 3 (one pixel)."""
    event = np.zeros(GRID.shape, dtype=np.int32)
    event[10:16, 20:30] = 1
    event[40:45, 50:55], event[42, 52] = 2, 0
    event[30, 5] = 3
    return event


def by_hand(
    event: np.ndarray | None = None, grid: GeoBox = GRID, bands: tuple[str, ...] = BANDS
) -> Detection:
    """A loss of 3 dB, a gain of 2 dB, and VV falling while VH rises; pixel 0, 0 has no data."""
    event = event_image() if event is None else event
    shift = np.array([[0.0, 0.0], [-3.0, -3.0], [2.0, 2.0], [-1.0, 1.0]], dtype=np.float32)
    difference = np.moveaxis(shift[event], -1, 0)[: len(bands)].copy()
    difference[:, 0, 0] = np.nan
    evidence = np.where(event > 0, np.float32(5.0), np.float32(0.5))
    evidence[0, 0] = np.nan
    dates = np.array([np.datetime64("NaT", "s"), *WATCHED[[1, 2, 0]]])[event]
    looks = np.full(event.shape, 3, dtype=np.uint8)
    looks[0, 0] = 0
    expected = np.full(difference.shape, -12.0, dtype=np.float32)
    image, layer = ("band", *grid.dims), grid.dims
    images = xr.Dataset(
        {
            "expected": (image, expected),
            "actual": (image, expected + difference),
            "difference": (image, difference),
            "std": (image, np.full_like(expected, 0.5)),
            "z": (image, difference / np.float32(0.5)),
            "evidence": (layer, evidence),
            "p_value": (layer, np.float32(10.0) ** -evidence),
            "looks": (layer, looks),
            "changed": (layer, event > 0),
            "event": (layer, event),
            "change_date": (layer, dates),
        },
        {**xr_coords(grid), "band": list(bands)},
    ).rename(dict(zip(grid.dims, ("y", "x"), strict=True)))
    images = images.assign_coords(time=WATCHED[-1].astype("datetime64[ns]"))
    return Detection(
        images,
        events_of(event, grid, bands),
        watched=WATCHED,
        baseline=BASELINE,
        threshold=3.0,
        null=None,  # no distribution is behind evidence that is made by hand
        options=DetectOptions(),
    )


def events_of(event: np.ndarray, grid: GeoBox, bands: tuple[str, ...]) -> geopandas.GeoDataFrame:
    """Outlines and columns of the events of an image."""
    found = {int(v): shape(s) for s, v in shapes(event, mask=event > 0, transform=grid.transform)}
    rows = [ROWS[number] for number in sorted(found)]
    means = [f"{kind}_{band.lower()}_db" for band in bands for kind in ("mean", "before", "after")]
    names = [
        "id", "area_ha", "date", "previous_date", "earliest", "latest", "direction",
        *means, "evidence", "p_value", "looks", "cover",
    ]  # fmt: skip
    table = {name: [row[name] for row in rows] for name in names}
    outlines = [found[number] for number in sorted(found)]
    return geopandas.GeoDataFrame(table, geometry=outlines, crs=grid.crs.to_wkt())


def _row(number: int, area_ha: float, direction: str, vv: float, vh: float) -> dict[str, object]:
    times = [f"{time}Z" for time in np.datetime_as_string(np.append(BASELINE, WATCHED))]
    first = {1: 2, 2: 3, 3: 1}[number]
    means = {"vv": vv, "vh": vh, "hh": vv, "hv": vh}
    return {
        "id": number, "area_ha": area_ha, "date": times[first],
        "previous_date": times[first - 1], "earliest": times[first - 1], "latest": times[first],
        "direction": direction,
        **{f"mean_{band}_db": mean for band, mean in means.items()},
        **{f"before_{band}_db": -12.0 for band in means},
        **{f"after_{band}_db": -12.0 + mean for band, mean in means.items()},
        "evidence": 5.0, "p_value": 1e-5, "looks": 3.0, "cover": "forest" if number == 1 else "",
    }  # fmt: skip


ROWS = {
    1: _row(1, 0.6, "loss", -3.0, -3.0),
    2: _row(2, 0.24, "gain", 2.0, 2.0),
    3: _row(3, 0.01, "mixed", -1.0, 1.0),
}
