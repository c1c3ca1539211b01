"""The cube: all scenes of an area on one grid, with terrain and conditions; a Zarr v3 store."""

from sarcast.cube.build import CubeOptions, Sources, build_cube
from sarcast.cube.dates import Date, moment_of, time_index_of
from sarcast.cube.opening import open_cube

__all__ = [
    "CubeOptions",
    "Date",
    "Sources",
    "build_cube",
    "moment_of",
    "open_cube",
    "time_index_of",
]
