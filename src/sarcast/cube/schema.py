"""The schema of a cube: its variables, their dims, units and types on disk."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Float
from sarcast.sensor import units
from sarcast.sensor.conditions import RANGES

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

VERSIONS = (1, 2)
"""Versions of the schema that can be read and extended. From 2 on, everything has a checksum, and
every chunk is a file, also without data."""
VERSION = VERSIONS[-1]
"""Version of new cubes, in the store's attribute ``sarcast_cube``."""
CHUNK = 256
"""Pixels a side of an inner chunk."""
SHARD = 2048
"""Pixels a side of a shard, one file, and of the blocks in which scenes are processed."""
PART = 2 * SHARD
"""Pixels a side of the parts in which terrain and land cover are read."""

SCALE_DB = 0.01
"""Step of the backscatter on disk, dB."""
MISSING = np.int16(-32768)
"""Backscatter on disk where there is no data."""
_LARGEST = np.float32(np.iinfo(np.int16).max)


@dataclass(frozen=True)
class Variable:
    """An array of the store: its dims, dtype on disk and attributes."""

    dims: tuple[str, ...]
    dtype: str
    attrs: dict[str, Any]

    @property
    def varies_in_time(self) -> bool:
        """Whether it has one layer for each time step."""
        return self.dims[0] == "time"


_DB = {"units": units.DB, "scale_factor": SCALE_DB, "_FillValue": int(MISSING)}
_MAPPED = {"grid_mapping": "spatial_ref"}
_MASK = {"dtype": "bool", **_MAPPED}

SCHEMA = {
    "backscatter": Variable(("time", "band", "y", "x"), "int16", {**_DB, **_MAPPED}),
    "expected": Variable(("time", "band", "y", "x"), "int16", {**_DB, **_MAPPED}),
    "elevation": Variable(("y", "x"), "float32", {"units": "m", **_MAPPED}),
    "forest": Variable(("y", "x"), "int8", _MASK),
    "open_land": Variable(("y", "x"), "int8", _MASK),
    "incidence": Variable(("time", "cy", "cx"), "float32", {"units": RANGES["incidence"].unit}),
    "temperature": Variable(("time", "cy", "cx"), "float32", {"units": RANGES["temperature"].unit}),
    "snow_depth": Variable(("time", "cy", "cx"), "float32", {"units": RANGES["snow_depth"].unit}),
    "precipitation": Variable(
        ("time", "lag", "cy", "cx"), "float32", {"units": RANGES["precipitation"].unit}
    ),
    "time": Variable(
        ("time",), "int64", {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    ),
    "seen": Variable(
        ("time", "band"), "int64", {"units": "1", "long_name": "pixels at which anything was seen"}
    ),
    "scene_id": Variable(("time",), "str", {}),
    "platform": Variable(("time",), "str", {}),
    "orbit_direction": Variable(("time",), "str", {}),
    "relative_orbit": Variable(("time",), "int16", {"comment": "0 where unknown"}),
    "heading": Variable(("time",), "float32", {"units": RANGES["heading"].unit}),
    "quantity": Variable(("time",), "str", {}),
}
OPTIONAL = ("expected", "forest", "open_land")
"""Variables that a cube may lack."""
COORDINATES = ("scene_id", "platform", "orbit_direction", "relative_orbit", "heading", "quantity")
"""Variables with the metadata of each time step."""


def pack(decibels: Float) -> npt.NDArray[np.int16]:
    """Pack backscatter for the disk: multiples of ``SCALE_DB``, ``MISSING`` for NaN.

    Values beyond the range of the type, ±327.67 dB, are clipped to it.
    """
    scaled = decibels * np.float32(1.0 / SCALE_DB)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -_LARGEST, _LARGEST, out=scaled)
    np.nan_to_num(scaled, copy=False, nan=float(MISSING))
    return scaled.astype(np.int16)


def unpack(packed: npt.NDArray[np.int16], scale: float, missing: int) -> Float:
    """Decibels of packed values, of which a step is ``scale``; NaN where they are ``missing``."""
    values = packed.astype(np.float32)
    values *= np.float32(scale)
    values[packed == missing] = np.nan
    return values


def describe_grid(grid: "GeoBox") -> str:
    """A grid in one line, which a store keeps to recognise the same grid."""
    rows, columns = grid.shape
    numbers = " ".join(f"{value:.9g}" for value in list(grid.transform)[:6])
    return f"{grid.crs} {rows}x{columns} [{numbers}]"
