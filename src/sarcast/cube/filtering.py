"""Speckle filtered as a cube is built: the same in all blocks, in later runs, and at all dates."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcast.arrays import Float
from sarcast.catalogue.scene import BANDS
from sarcast.cube.store import attributes
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.acquisition import Acquisition
from sarcast.ingest.scenes.fuse import Layer, Overlap, read_fused
from sarcast.io.remote import RemoteOptions
from sarcast.sensor import units
from sarcast.speckle import SpeckleOptions, despeckle_block, equivalent_looks, settle

_log = logging.getLogger(__name__)


ATTRIBUTE = "speckle"
"""Attribute of a store: the filter's options, with the looks that were estimated."""
_SAMPLE = 1024
"""Pixels a side of the part of a scene in which looks are estimated."""
_TRIED = 4
"""Most scenes that are tried, the latest first."""

Dates = Sequence[Sequence[Layer]]
"""A band's rasters at the date wanted, the last, and at those before it: slices, oldest first."""


def read_filtered(
    dates: Dates, grid: GeoBox, resampling: str, speckle: SpeckleOptions, remote: RemoteOptions
) -> tuple[Float, Overlap]:
    """Read a band of a date onto a grid, as ``read_fused``, and filter its speckle.

    What lies around the grid lends to the filter too, so that blocks show no borders.
    """
    if speckle.speckle == "none":
        return read_fused(dates[-1], grid, resampling, remote)
    wide = grid.pad(speckle.reach)
    read = [read_fused(layers, wide, resampling, remote) for layers in dates]
    stack = np.stack([values for values, _ in read])
    return despeckle_block(stack, speckle), read[-1][1]


def joined(found: Sequence[Acquisition], speckle: SpeckleOptions) -> dict[str, list[Acquisition]]:
    """By scene id, the acquisitions before each that its filter joins, oldest first.

    Never one after it: a change does not reach into the past, nor a later extension.
    """
    before = speckle.dates - 1
    return {one.scene_id: list(found[max(0, k - before) : k]) for k, one in enumerate(found)}


def agreed(
    path: Path,
    found: Sequence[Acquisition],
    grid: GeoBox,
    resampling: str,
    asked: SpeckleOptions,
    remote: RemoteOptions,
) -> SpeckleOptions:
    """Filter of a cube: as asked, with looks estimated where needed, or that of the cube held.

    Parameters
    ----------
    path
        Of the store, which need not exist.
    found
        Acquisitions of the area, oldest first.
    grid, resampling
        Of the cube.
    asked
        The filter.
    remote
        How patiently servers are asked.

    Raises
    ------
    SarcastError
        If the cube that is there is filtered otherwise, or looks cannot be estimated.
    """
    if (path / "zarr.json").exists():
        return _held(path, attributes(path).get(ATTRIBUTE, {}), asked)
    if asked.speckle == "none":
        return asked
    for place, (one, part) in enumerate(product(found[: -_TRIED - 1 : -1], _samples(grid))):
        if place == _TRIED * _TRIED:
            break
        try:
            image = _sample([one], grid[part], resampling, SpeckleOptions(), remote)
            looks, chosen = equivalent_looks(image), settle(asked, image)
        except (
            SarcastError
        ):  # nothing to be read or seen there; the build names what it cannot read
            continue
        dates = [*joined(found, chosen)[one.scene_id], one]
        after = equivalent_looks(_sample(dates, grid[part], resampling, chosen, remote))
        _log.info(
            f"speckle filter {chosen.label}: equivalent number of looks {looks:.1f} before and "
            f"{after:.1f} after, in {one.scene_id}"
        )
        return chosen
    if asked.speckle == "lee" and asked.looks is None:
        raise SarcastError(
            "the latest scenes show too little of the area to estimate their looks; "
            "give them with --looks"
        )
    return asked


def recorded(speckle: SpeckleOptions) -> dict[str, Any]:
    """Attributes of a store that is filtered."""
    if speckle.speckle == "none":
        return {}
    told = speckle.model_dump(include=set(SpeckleOptions.model_fields), exclude_none=True)
    return {ATTRIBUTE: told, "speckle_filter": speckle.label}


def _held(path: Path, told: Mapping[str, Any], asked: SpeckleOptions) -> SpeckleOptions:
    held = SpeckleOptions(**told)
    estimated = {"looks": held.looks} if asked.speckle == "lee" and asked.looks is None else {}
    if asked.model_copy(update=estimated).label != held.label:
        raise SarcastError(
            f"{path} is a cube with the speckle filter {held.label}, but {asked.label} is asked "
            f"for; ask for the same, or name another target"
        )
    return held


def _samples(grid: GeoBox) -> Iterator[tuple[slice, slice]]:
    """Parts of a grid, those in the middle first."""
    starts = [range(0, size, _SAMPLE) for size in grid.shape]
    corners = [(row, column) for row in starts[0] for column in starts[1]]
    middle = [(size - _SAMPLE) / 2 for size in grid.shape]
    for row, column in sorted(
        corners, key=lambda corner: abs(corner[0] - middle[0]) + abs(corner[1] - middle[1])
    ):
        yield (
            slice(row, min(row + _SAMPLE, grid.height)),
            slice(column, min(column + _SAMPLE, grid.width)),
        )


def _sample(
    dates: Sequence[Acquisition],
    grid: GeoBox,
    resampling: str,
    speckle: SpeckleOptions,
    remote: RemoteOptions,
) -> xr.DataArray:
    """All bands of the last of some dates on a part of the grid, dims (band, y, x), dB."""
    bands = [
        read_filtered([one.layers(band) for one in dates], grid, resampling, speckle, remote)[0]
        for band in BANDS
    ]
    return xr.DataArray(np.stack(bands), dims=("band", "y", "x"), attrs={"units": units.DB})
