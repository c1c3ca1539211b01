"""The cube: all scenes of an area on one grid, with terrain and conditions; a Zarr v3 store."""

from typing import TYPE_CHECKING

from sarcast.cube.dates import Date, moment_of, time_index_of
from sarcast.cube.opening import open_cube
from sarcast.lazy import lazy_names

if TYPE_CHECKING:
    from sarcast.cube.build import CubeOptions, Sources, build_cube

__all__ = [
    "CubeOptions",
    "Date",
    "Sources",
    "build_cube",
    "moment_of",
    "open_cube",
    "time_index_of",
]

__getattr__ = lazy_names(__name__, {"build": ("CubeOptions", "Sources", "build_cube")})
