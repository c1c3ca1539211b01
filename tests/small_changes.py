"""A cube of speckle over two kinds of ground, in which a disc changes from a known date on."""

import numpy as np
import odc.geo.xr  # noqa: F401 - registers the accessor
import xarray as xr

DATES, SIDE, PIXEL_M = 32, 128, 20.0
STEP_DAYS = 6
LOOKS = 16.0
"""Equivalent number of looks of the speckle."""
FOREST_DB = (-9.0, -15.0)
FIELD_STD_DB = 1.5
"""Fields of 8 x 8 pixels move by this from date to date; forest does not."""
CENTRE, RADIUS = (64, 32), 5
"""Row and column of the disc, in the forest, and its radius, pixels."""


def times(dates: int = DATES) -> np.ndarray:
    """Every six days, until the same day for every number of dates."""
    last = np.datetime64("2020-05-20T04:51:02", "ns")
    return last - np.arange(dates)[::-1] * np.timedelta64(STEP_DAYS, "D")


def disc(centre: tuple[int, int] = CENTRE, radius: float = RADIUS, side: int = SIDE) -> np.ndarray:
    rows, columns = np.ogrid[:side, :side]
    mask: np.ndarray = np.hypot(rows - centre[0], columns - centre[1]) <= radius
    return mask


def forest() -> np.ndarray:
    """The left half is forest, the right half fields."""
    return np.broadcast_to(np.arange(SIDE) < SIDE // 2, (SIDE, SIDE)).copy()


def quiet_cube(seed: int = 0, dates: int = DATES) -> xr.Dataset:
    """A cube in which nothing changes, dB."""
    rng = np.random.default_rng(seed)
    mean = np.broadcast_to(np.array(FOREST_DB)[:, None, None], (dates, 2, SIDE, SIDE)).copy()
    fields = rng.normal(0.0, FIELD_STD_DB, (dates, 1, SIDE // 8, SIDE // 8))
    mean += np.where(forest(), 0.0, fields.repeat(8, axis=2).repeat(8, axis=3) - 2.0)
    speckle = rng.gamma(LOOKS, 1.0 / LOOKS, mean.shape)
    return as_cube(mean + 10.0 * np.log10(speckle))


def changed_cube(
    first: int,
    shift_db: tuple[float, float] = (-4.0, -4.0),
    mask: np.ndarray | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """``quiet_cube`` in which the disc is moved from date ``first`` on."""
    cube = quiet_cube(seed)
    moved = np.float32(shift_db)[:, None, None] * (disc() if mask is None else mask)
    cube["backscatter"][first:] += moved
    return cube


def acquired_cube(first: int) -> xr.Dataset:
    """``changed_cube`` with the labels of acquisitions that the verbs record."""
    by_time = {
        "platform": np.full(DATES, "sentinel-1a"),
        "orbit_direction": np.full(DATES, "descending"),
        "scene_id": np.array([f"scene {index}" for index in range(DATES)]),
    }
    labels = {name: ("time", values) for name, values in by_time.items()}
    return changed_cube(first).assign_coords(labels)


def as_cube(values: np.ndarray) -> xr.Dataset:
    """A cube in EPSG:32635 from values of dims (time, band, y, x), dB."""
    dates, _, rows, columns = values.shape
    return xr.Dataset(
        {
            "backscatter": (
                ("time", "band", "y", "x"), values.astype(np.float32), {"units": "dB"},
            ),
        },
        coords={
            "time": times(dates),
            "band": ["VV", "VH"],
            "y": 6_900_000.0 - PIXEL_M * (np.arange(rows) + 0.5),
            "x": 500_000.0 + PIXEL_M * (np.arange(columns) + 0.5),
        },
    ).odc.assign_crs("EPSG:32635")  # fmt: skip
