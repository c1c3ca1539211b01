"""Speckle filtering during a build: the same filter in all blocks, runs and dates of a cube."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcast.arrays import Float
from sarcast.cube.metadata import read_attributes
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.acquisition import Acquisition
from sarcast.ingest.scenes.fuse import Layer, ReadStatistics, read_fused, with_companions
from sarcast.io.remote import RemoteOptions
from sarcast.sensor import units
from sarcast.sensor.polarisations import PAIRS
from sarcast.speckle import (
    SpeckleOptions,
    despeckle_block,
    equivalent_looks,
    estimate_missing_looks,
)

_log = logging.getLogger(__name__)


ATTRIBUTE = "speckle"
"""Attribute of a store: the filter's options, with the number of looks that was estimated."""
_SAMPLE_SIDE = 1024
"""Pixels a side of the part of a scene in which looks are estimated."""
_MAX_SCENES = 4
"""Most scenes in which looks are estimated, the latest first."""

Dates = Sequence[Sequence[Layer]]
"""A band's rasters at some dates, the one to be filtered last; of each date, oldest slice first."""


def read_filtered(
    dates: Dates, grid: GeoBox, resampling: str, speckle: SpeckleOptions, remote: RemoteOptions
) -> tuple[Float, ReadStatistics]:
    """Read a band of the last date onto a grid, as ``read_fused``, and filter its speckle.

    The filter also uses pixels around the grid, so that blocks show no borders.
    """
    if speckle.speckle == "none":
        return read_fused(dates[-1], grid, resampling, remote)
    wide = grid.pad(speckle.reach)
    read = [read_fused(layers, wide, resampling, remote) for layers in dates]
    stack = np.stack([values for values, _ in read])
    return despeckle_block(stack, speckle), read[-1][1]


def earlier_acquisitions(
    acquisitions: Sequence[Acquisition], speckle: SpeckleOptions
) -> dict[str, list[Acquisition]]:
    """By scene id, the acquisitions before each that its filter uses, oldest first.

    Later acquisitions are never used: a change must not reach into the past, and an extension must
    not alter the dates that a cube has.
    """
    count = speckle.dates - 1
    return {
        acquisition.scene_id: list(acquisitions[max(0, k - count) : k])
        for k, acquisition in enumerate(acquisitions)
    }


def choose_filter(
    path: Path,
    acquisitions: Sequence[Acquisition],
    grid: GeoBox,
    resampling: str,
    requested: SpeckleOptions,
    remote: RemoteOptions,
) -> SpeckleOptions:
    """Choose the filter of a cube: that of an existing cube, or the one requested.

    The equivalent number of looks is estimated where a new cube's filter needs it.

    Parameters
    ----------
    path
        Path of the store, which need not exist.
    acquisitions
        Of the area, oldest first.
    grid, resampling
        Of the cube.
    requested
        The filter.
    remote
        Retries and timeouts for remote rasters.

    Raises
    ------
    SarcastError
        If the existing cube has another filter, or the looks cannot be estimated.
    """
    if (path / "zarr.json").exists():
        return _stored_filter(path, read_attributes(path).get(ATTRIBUTE, {}), requested)
    if requested.speckle == "none":
        return requested
    candidates = product(acquisitions[: -_MAX_SCENES - 1 : -1], _sample_slices(grid))
    for acquisition, slices in islice(candidates, _MAX_SCENES**2):
        try:
            image = _read_sample([acquisition], grid[slices], resampling, SpeckleOptions(), remote)
            looks, chosen = equivalent_looks(image), estimate_missing_looks(requested, image)
        except SarcastError:  # no data there; the build reports what it cannot read
            continue
        dates = [*earlier_acquisitions(acquisitions, chosen)[acquisition.scene_id], acquisition]
        after = equivalent_looks(_read_sample(dates, grid[slices], resampling, chosen, remote))
        _log.info(
            f"speckle filter {chosen.label}: equivalent number of looks {looks:.1f} before and "
            f"{after:.1f} after, in {acquisition.scene_id}"
        )
        return chosen
    if requested.speckle == "lee" and requested.looks is None:
        raise SarcastError(
            "the latest scenes show too little of the area to estimate their looks; "
            "give them with --looks"
        )
    return requested


def filter_attributes(speckle: SpeckleOptions) -> dict[str, Any]:
    """Attributes that record the filter in a store; none without a filter."""
    if speckle.speckle == "none":
        return {}
    options = speckle.model_dump(include=set(SpeckleOptions.model_fields), exclude_none=True)
    return {ATTRIBUTE: options, "speckle_filter": speckle.label}


def _stored_filter(
    path: Path, options: Mapping[str, Any], requested: SpeckleOptions
) -> SpeckleOptions:
    stored = SpeckleOptions(**options)
    estimate_looks = requested.speckle == "lee" and requested.looks is None
    estimated = {"looks": stored.looks} if estimate_looks else {}
    if requested.model_copy(update=estimated).label != stored.label:
        raise SarcastError(
            f"{path} is a cube with the speckle filter {stored.label}, but {requested.label} was "
            f"requested; request the same, or give another path"
        )
    return stored


def _sample_slices(grid: GeoBox) -> Iterator[tuple[slice, slice]]:
    """Parts of a grid, those in the middle first."""
    starts = [range(0, size, _SAMPLE_SIDE) for size in grid.shape]
    corners = [(row, column) for row in starts[0] for column in starts[1]]
    middle = [(size - _SAMPLE_SIDE) / 2 for size in grid.shape]
    for row, column in sorted(
        corners, key=lambda corner: abs(corner[0] - middle[0]) + abs(corner[1] - middle[1])
    ):
        yield (
            slice(row, min(row + _SAMPLE_SIDE, grid.height)),
            slice(column, min(column + _SAMPLE_SIDE, grid.width)),
        )


def _read_sample(
    dates: Sequence[Acquisition],
    grid: GeoBox,
    resampling: str,
    speckle: SpeckleOptions,
    remote: RemoteOptions,
) -> xr.DataArray:
    """The last date, filtered, on a part of the grid, dims (band, y, x), dB; bands it has."""
    names = [band for pair in PAIRS for band in pair if dates[-1].layers(band)]
    layers = [with_companions([date.layers(band) for band in names]) for date in dates]
    bands = [
        read_filtered([bands[index] for bands in layers], grid, resampling, speckle, remote)[0]
        for index in range(len(names))
    ]
    return xr.DataArray(np.stack(bands), dims=("band", "y", "x"), attrs={"units": units.DB})
