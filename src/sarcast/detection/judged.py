"""Which pixels are judged: area, land cover, polygons and water."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Bool, Box
from sarcast.detection.strata import COVERS, Past, find_water
from sarcast.errors import SarcastError
from sarcast.io.grid import read_area
from sarcast.io.images import grid_of_images
from sarcast.io.outlines import rasterized
from sarcast.io.polygons import to_crs
from sarcast.prediction.scene import MARGIN_PX

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

WATER = "water"


class JudgedOptions(BaseModel):
    """Where change is looked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    area: str | None = Field(
        None,
        description="Part of the cube: west,south,east,north in degrees, a vector file, or a "
        "raster file for its extent; default: all of it.",
    )
    within: tuple[str, ...] = Field(
        (),
        description="Only within these: forest or open_land, if the cube has land cover, water, or "
        "a vector file; may be repeated.",
    )
    outside: tuple[str, ...] = Field(
        (WATER,),
        description="Not within these, as for --within, in place of water, which is found from the "
        "series itself.",
    )


@dataclass(frozen=True)
class Part:
    """A part of a cube with a margin around it.

    Attributes
    ----------
    cube
        The part with its margin, which gives scene context and neighbours.
    inside
        Dims (y, x) of ``cube``: the part itself.
    """

    cube: xr.Dataset
    inside: Bool


def crop(cube: xr.Dataset, area: str | None) -> Part:
    """Cut the part of a cube that an area touches.

    Raises
    ------
    SarcastError
        If the area cannot be read or does not touch the cube.
    """
    grid: GeoBox = grid_of_images(cube["backscatter"])
    if area is None:
        return Part(cube, np.broadcast_to(np.True_, grid.shape.yx))
    outline = _outline(area, grid)
    box, burnt = _burnt(outline, grid)
    touched = (np.flatnonzero(burnt.any(axis=axis)) for axis in (1, 0))
    rows, columns = (
        slice(
            max(part.start + int(where[0]) - MARGIN_PX, 0),
            min(part.start + int(where[-1]) + 1 + MARGIN_PX, pixels),
        )
        for part, where, pixels in zip(box, touched, grid.shape.yx, strict=True)
    )
    return Part(cube.isel(y=rows, x=columns), rasterized([outline], grid[rows, columns]))


def part_of(part: Part, box: Box) -> Part:
    """Cut rows and columns of a part."""
    return Part(part.cube.isel(y=box[0], x=box[1]), part.inside[box])


def trim(images: xr.Dataset, inside: Bool) -> xr.Dataset:
    """Leave out the rows and columns of a margin."""
    rows, columns = inner_box(inside)
    return images.isel(y=rows, x=columns)


def inner_box(inside: Bool) -> Box:
    """Rows and columns of a part without its margin."""
    touched = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(int(where[0]), int(where[-1]) + 1) for where in touched)
    return rows, columns


@dataclass(frozen=True)
class Selection:
    """What ``--within`` and ``--outside`` name.

    Attributes
    ----------
    within, outside
        Names of land cover or water, and outlines in the CRS of the cube.
    """

    within: "tuple[str | BaseGeometry, ...]"
    outside: "tuple[str | BaseGeometry, ...]"

    @classmethod
    def of(cls, cube: xr.Dataset, options: JudgedOptions) -> "Selection":
        """Check names and read files.

        Raises
        ------
        SarcastError
            If a cover is not in the cube, or a file cannot be read or does not touch the cube.
        """
        within, outside = (
            tuple(_named(cube, name) for name in names)
            for names in (options.within, options.outside)
        )
        return cls(within, outside)

    def judged(self, part: Part, past: Past) -> Bool:
        """Which pixels of a part of the cube are judged, dims (y, x)."""
        judged = part.inside.copy()
        if self.within:
            judged &= _any(part, past, self.within)
        judged &= ~_any(part, past, self.outside)
        return judged


def find_judged(part: Part, past: Past, options: JudgedOptions) -> Bool:
    """Find the pixels that are judged, dims (y, x).

    Parameters
    ----------
    part
        The part of the cube.
    past
        Its past, which shows water.
    options
        Where change is looked for.

    Raises
    ------
    SarcastError
        If a cover is not in the cube, a file cannot be read, or no pixel is left.
    """
    judged = Selection.of(part.cube, options).judged(part, past)
    check_judged(bool(judged.any()), options)
    return judged


def check_judged(is_any: bool, options: JudgedOptions) -> None:
    """Raise if no pixel is left."""
    if not is_any:
        raise SarcastError(
            "no pixel is left to be judged: --within and --outside exclude the whole area; check "
            f"them ({_list(options.within) or 'everywhere'}; not {_list(options.outside)})"
        )


def _any(part: Part, past: Past, places: "Sequence[str | BaseGeometry]") -> Bool:
    union = np.zeros(part.inside.shape, dtype=bool)
    for place in places:
        if not isinstance(place, str):
            union |= rasterized([place], grid_of_images(part.cube["backscatter"]))
        elif place == WATER:
            union |= find_water(past)
        else:
            union |= np.asarray(part.cube[place].values, dtype=bool)
    return union


def _named(cube: xr.Dataset, name: str) -> "str | BaseGeometry":
    if name == WATER:
        return name
    if name in COVERS:
        if name not in cube:
            raise SarcastError(
                f"the cube has no {name}: build it with land cover (sarcast cube --cover), or name "
                f"a vector file"
            )
        return name
    if not Path(name).exists():
        raise SarcastError(
            f"--within and --outside take {', '.join(COVERS)}, {WATER} or a vector file; {name!r} "
            f"is none of these and does not exist"
        )
    return _outline(name, grid_of_images(cube["backscatter"]))


def _outline(name: str, grid: GeoBox) -> "BaseGeometry":
    """An area in the CRS of a cube, which it must touch."""
    area = read_area(name)
    outline = to_crs(area.extent if isinstance(area, GeoBox) else area, grid.crs, name).geom
    _, burnt = _burnt(outline, grid)
    if not burnt.any():
        raise SarcastError(
            f"{name} does not touch the cube, whose bounds are "
            f"{', '.join(f'{edge:.4f}' for edge in grid.geographic_extent.boundingbox.bbox)} "
            f"(west, south, east, north)"
        )
    return outline


def _burnt(outline: "BaseGeometry", grid: GeoBox) -> tuple[Box, Bool]:
    """Rows and columns around an outline, and which of their pixels have their centre in it."""
    west, south, east, north = outline.bounds
    corners = [~grid.transform * corner for corner in ((west, north), (east, south))]
    columns, rows = (
        slice(*np.clip((math.floor(min(pair)), math.ceil(max(pair))), 0, pixels).tolist())
        for pair, pixels in zip(zip(*corners, strict=True), grid.shape.xy, strict=True)
    )
    box = rows, columns
    empty = rows.start == rows.stop or columns.start == columns.stop
    shape = [part.stop - part.start for part in box]
    return box, np.zeros(shape, dtype=bool) if empty else rasterized([outline], grid[box])


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
