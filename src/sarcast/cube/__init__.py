"""The cube: all scenes of an area on one grid, with terrain and conditions; a Zarr v3 store."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sarcast.cube.dates import Date, moment_of, time_index_of
from sarcast.cube.opening import open_cube

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


def __getattr__(name: str) -> Any:
    """Import what builds cubes on its first use: to read one, less is needed."""
    if name not in ("CubeOptions", "Sources", "build_cube"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.build"), name)
