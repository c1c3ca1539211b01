"""Which pixels are judged: area, land cover, polygons and water."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Bool
from sarcast.detection.strata import COVERS, Past, find_water
from sarcast.errors import SarcastError
from sarcast.io.grid import read_area
from sarcast.io.outlines import rasterized
from sarcast.io.polygons import to_crs
from sarcast.prediction.scene import MARGIN_PX

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
    grid: GeoBox = cube["backscatter"].odc.geobox
    if area is None:
        return Part(cube, np.ones(grid.shape, dtype=bool))
    inside = _mask(grid, read_area(area), area)
    rows, columns = (
        slice(max(int(where.min()) - MARGIN_PX, 0), int(where.max()) + 1 + MARGIN_PX)
        for where in np.nonzero(inside)
    )
    return Part(cube.isel(y=rows, x=columns), inside[rows, columns])


def trim(images: xr.Dataset, inside: Bool) -> xr.Dataset:
    """Leave out the rows and columns of a margin."""
    rows, columns = (slice(int(where.min()), int(where.max()) + 1) for where in np.nonzero(inside))
    return images.isel(y=rows, x=columns)


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
    grid: GeoBox = part.cube["backscatter"].odc.geobox
    judged = part.inside.copy()
    if options.within:
        judged &= _any(part, grid, past, options.within)
    judged &= ~_any(part, grid, past, options.outside)
    if not judged.any():
        raise SarcastError(
            "no pixel is left to be judged: --within and --outside exclude the whole area; check "
            f"them ({_list(options.within) or 'everywhere'}; not {_list(options.outside)})"
        )
    return judged


def _any(part: Part, grid: GeoBox, past: Past, names: Sequence[str]) -> Bool:
    union = np.zeros(part.inside.shape, dtype=bool)
    for name in names:
        union |= _named(part, grid, past, name)
    return union


def _named(part: Part, grid: GeoBox, past: Past, name: str) -> Bool:
    if name == WATER:
        return find_water(past)
    if name in COVERS:
        if name not in part.cube:
            raise SarcastError(
                f"the cube has no {name}: build it with land cover (sarcast cube --cover), or name "
                f"a vector file"
            )
        return np.asarray(part.cube[name].values, dtype=bool)
    if not Path(name).exists():
        raise SarcastError(
            f"--within and --outside take {', '.join(COVERS)}, {WATER} or a vector file; {name!r} "
            f"is none of these and does not exist"
        )
    return _mask(grid, read_area(name), name)


def _mask(grid: GeoBox, area: Geometry | GeoBox, name: str) -> Bool:
    """Pixels whose centre lies in an area."""
    outline = area.extent if isinstance(area, GeoBox) else area
    inside = rasterized([to_crs(outline, grid.crs, name).geom], grid)
    if not inside.any():
        raise SarcastError(
            f"{name} does not touch the cube, whose bounds are "
            f"{', '.join(f'{edge:.4f}' for edge in grid.geographic_extent.boundingbox.bbox)} "
            f"(west, south, east, north)"
        )
    return inside


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
