"""The cube: all scenes of an area on one grid, with terrain and conditions; a Zarr v3 store."""

from typing import TYPE_CHECKING

from sarcast.lazy import lazy_names

if TYPE_CHECKING:
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

# what looks at a cube alone needs no xarray
__getattr__ = lazy_names(
    __name__,
    {
        "build": ("CubeOptions", "Sources", "build_cube"),
        "dates": ("Date", "moment_of", "time_index_of"),
        "opening": ("open_cube",),
    },
)
