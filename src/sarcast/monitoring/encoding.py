"""Layers as other systems encode them: DIST-ALERT's products, Global Forest Watch's alert code.

References
----------
OPERA Land Surface Disturbance Alert from Sentinel-1 (DIST-ALERT-S1), product documentation: layers,
types and values without data.
Global Forest Watch, "Integrated deforestation alerts", data set ``gfw_integrated_alerts``: code.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Bool
from sarcast.errors import SarcastError
from sarcast.monitoring.layers import CONFIRMED, FINISHED, NO_DAY, Int, Layers, Status, clean_so_far

DIST_EPOCH = np.datetime64("2020-12-31", "D")
"""Day 0 of the dates of DIST-ALERT, which is also its value where there is no date."""
DIST_NO_DATA = -1
"""Value of dates and durations of DIST-ALERT where nothing was seen."""
GFW_EPOCH = np.datetime64("2014-12-31", "D")
"""Day 0 of the alert code of Global Forest Watch."""
GFW_ALERT, GFW_CONFIRMED = 20_000, 30_000
"""What the code adds to the day of an alert of low confidence, and of high confidence."""
_GFW_LAST = 9_999
_BYTE_NO_DATA = 255

DIST_LAYERS = {
    "GEN-DIST-STATUS": ("status", np.uint8, Status.NO_DATA),
    "GEN-DIST-STATUS-ACQ": ("acquisition_status", np.uint8, Status.NO_DATA),
    "GEN-METRIC": ("metric", np.float32, np.nan),
    "GEN-METRIC-MAX": ("greatest_metric", np.float32, np.nan),
    "GEN-DIST-CONF": ("confidence", np.float32, np.nan),
    "GEN-DIST-DATE": ("first_day", np.int16, DIST_NO_DATA),
    "GEN-DIST-LAST-DATE": ("last_day", np.int16, DIST_NO_DATA),
    "GEN-DIST-COUNT": ("count", np.uint8, _BYTE_NO_DATA),
    "GEN-DIST-PERC": ("percentage", np.uint8, _BYTE_NO_DATA),
    "GEN-DIST-DUR": ("duration", np.int16, DIST_NO_DATA),
}
"""Layers of DIST-ALERT: the layer here, the type there, and the value where nothing was seen."""
_DAYS = ("first_day", "last_day")


def encode_dist(layers: Layers) -> dict[str, npt.NDArray[Any]]:
    """Return the layers of a DIST-ALERT product by their names there.

    Counts above 254 are written as 254.

    Raises
    ------
    SarcastError
        If a day is before 2021-01-01 or after 2110-09-18.
    """
    unseen = layers.status == Status.NO_DATA
    arrays = layers.arrays()
    arrays["count"] = np.minimum(arrays["count"], _BYTE_NO_DATA - 1)
    arrays |= {name: encode_days(arrays[name], layers.status) for name in _DAYS}
    return {
        there: np.where(unseen, no_data, arrays[here]).astype(dtype)
        for there, (here, dtype, no_data) in DIST_LAYERS.items()
    }


def decode_dist(product: Mapping[str, npt.NDArray[Any]], bands: int) -> Layers:
    """Return the layers that a DIST-ALERT product holds, from which monitoring can go on.

    What a product does not hold stays empty: magnitudes, and days of confirmation. Of the
    acquisitions since the last detection, one is known at most.

    Parameters
    ----------
    product
        Layers of a product by their names there, each of dims (y, x).
    bands
        Number of bands of the acquisitions to come.
    """
    missing = sorted(DIST_LAYERS.keys() - product)
    if missing:
        raise SarcastError(
            f"expected the layers of a DIST-ALERT product, but {', '.join(missing)} are missing; "
            "name a whole product"
        )
    empty = Layers.empty(product["GEN-DIST-STATUS"].shape, bands)
    seen = product["GEN-DIST-STATUS"] != Status.NO_DATA
    arrays = {here: product[there] for there, (here, _, _) in DIST_LAYERS.items()}
    arrays |= {name: decode_days(arrays[name]) for name in _DAYS}
    layers = empty.updated(seen, **arrays)
    looks = layers.count + clean_so_far(layers.count, layers.percentage)
    clean = layers.last_day > layers.last_detection
    return layers.updated(seen & layers.has_alert, looks=looks, clean_looks=clean)


def encode_days(days: Int, status: Int) -> npt.NDArray[np.int16]:
    """Return days since 1970-01-01 as DIST-ALERT writes them.

    Parameters
    ----------
    days
        ``NO_DAY`` where there is none.
    status
        ``Status`` of each pixel.

    Returns
    -------
    numpy.ndarray
        Days since 2020-12-31, int16; 0 where there is none, -1 where nothing was seen.

    Raises
    ------
    SarcastError
        If a day is before 2021-01-01 or after 2110-09-18.
    """
    since = _since(days, DIST_EPOCH, np.iinfo(np.int16).max, "--encoding gfw")
    return np.where(status == Status.NO_DATA, DIST_NO_DATA, since).astype(np.int16)


def decode_days(days: Int) -> npt.NDArray[np.int32]:
    """Return dates of DIST-ALERT as days since 1970-01-01; ``NO_DAY`` for 0 and -1."""
    return _from(days, DIST_EPOCH, days > 0)


def encode_gfw(status: Int, first_day: Int) -> npt.NDArray[np.uint16]:
    """Return alerts in the integrated-alert code of Global Forest Watch.

    The first digit is 2 where an alert is not confirmed, and 3 where it is or was; four digits
    follow, days from 2014-12-31 to the first detection. So 20001 is an alert of 2015-01-01 that is
    not confirmed, 30055 a confirmed one of 2015-02-24.

    Parameters
    ----------
    status
        ``Status`` of each pixel.
    first_day
        First detections, days since 1970-01-01.

    Returns
    -------
    numpy.ndarray
        uint16; 0 where there is no alert and where nothing was seen.

    Raises
    ------
    SarcastError
        If a day is before 2015-01-01 or after 2042-05-17.
    """
    alert = ~np.isin(status, (Status.NONE, Status.NO_DATA))
    days = _since(np.where(alert, first_day, NO_DAY), GFW_EPOCH, _GFW_LAST, "the default encoding")
    level = np.where(np.isin(status, (*CONFIRMED, *FINISHED)), GFW_CONFIRMED, GFW_ALERT)
    return np.where(alert, level + days, 0).astype(np.uint16)


def decode_gfw(code: Int) -> tuple[Bool, npt.NDArray[np.int32]]:
    """Return where an alert is confirmed, and its day since 1970-01-01, ``NO_DAY`` without alert.

    A first digit of 4, which Global Forest Watch gives to alerts of several systems, is confirmed.
    """
    level, days = np.divmod(code.astype(np.int64), GFW_ALERT // 2)
    if not np.isin(level[code != 0], (2, 3, 4)).all():
        wrong = code[(code != 0) & ~np.isin(level, (2, 3, 4))].flat[0]
        raise SarcastError(
            "expected codes of Global Forest Watch, 0 or 20001 to 49999, "
            f"got {wrong}; name a raster of integrated alerts"
        )
    return level > 2, _from(days, GFW_EPOCH, code != 0)


def _since(days: Int, epoch: np.datetime64, last: int, other: str) -> Int:
    """Days since an epoch, 0 where there is none; refuse days that the encoding cannot hold."""
    known = days != NO_DAY
    since = np.where(known, days.astype(np.int64) - epoch.astype(np.int64), 0)
    beyond = known & ((since < 1) | (since > last))
    if beyond.any():
        raise SarcastError(
            f"expected dates from {epoch + 1} to {epoch + last} in this encoding, "
            f"got {np.datetime64(int(days[beyond][0]), 'D')}; use {other}"
        )
    return since


def _from(days: Int, epoch: np.datetime64, known: Bool) -> npt.NDArray[np.int32]:
    """Days since 1970-01-01 of days since an epoch."""
    return np.where(known, days + epoch.astype(np.int64), NO_DAY).astype(np.int32)
