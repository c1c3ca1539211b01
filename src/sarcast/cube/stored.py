"""A cube read without xarray, array by array: what only looks at a cube is open sooner."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from affine import Affine

from sarcast.arrays import Box, Float, Times
from sarcast.cube.chunks import check_small_arrays
from sarcast.cube.decoding import chunk_decoder
from sarcast.cube.metadata import (
    Json,
    damaged,
    has_checksums,
    is_half_created,
    read_metadata,
    visible_arrays,
)
from sarcast.cube.schema import SCHEMA, VERSIONS, unpack
from sarcast.errors import SarcastError
from sarcast.sensor.orbits import PASS_GAP

_SAME = 1e-6
"""Difference of two transforms that are the same but for rounding, pixels."""
_UNKNOWN = Affine(*[math.nan] * 6)


@dataclass(frozen=True)
class StoredCube:
    """The arrays of a cube, sorted by time, with each acquisition once.

    Attributes
    ----------
    path
        The store.
    arrays
        Metadata of its arrays.
    """

    path: Path
    arrays: Mapping[str, Json]
    _opened: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def open(cls, path: Path) -> "StoredCube":
        """Open a cube; errors as in ``open_cube``."""
        cube = cls(path, check_can_open(path))
        try:
            is_grid = np.isfinite([*cube.transform, *cube.times.astype(np.int64)]).all()
        except (TypeError, ValueError) as error:
            raise damaged(path, "its coordinates", error) from error
        if not (is_grid and cube.bands):
            raise damaged(path, "its coordinates", ValueError("y and x are no grid"))
        return cube

    @cached_property
    def order(self) -> npt.NDArray[np.intp]:
        """Index in the store of each date."""
        names = ("platform", "orbit_direction", "relative_orbit")
        return time_order(self._stored_times, [self._read(name).tolist() for name in names])

    @cached_property
    def times(self) -> Times:
        """Times of the dates, ascending."""
        return self._stored_times[self.order]

    @cached_property
    def _stored_times(self) -> Times:
        return self._read("time").astype("datetime64[s]")

    @cached_property
    def _group(self) -> "zarr.Group":
        try:
            return zarr.open_group(self.path, mode="r", use_consolidated=True)
        except Exception as error:  # Zarr may raise anything on damaged metadata
            raise damaged(self.path, "its metadata", error) from error

    def _read(self, name: str, *index: Any) -> npt.NDArray[Any]:
        """Stored values of an array at an index on its leading dims."""
        try:
            return np.asarray(self._array(name)[index or ...])
        except Exception as error:  # a codec may raise anything on damaged bytes
            raise damaged(self.path, name, error) from error

    def _array(self, name: str) -> Any:
        """An array, opened at its first use."""
        if name not in self._opened:
            with chunk_decoder():
                self._opened[name] = self._group[name]
        return self._opened[name]

    def __contains__(self, name: str) -> bool:
        """Whether it has a variable of this name."""
        return name in self.arrays

    def values(self, name: str) -> npt.NDArray[Any]:
        """All values of a small variable, dims as in the schema, by date if it varies in time."""
        stored = self._read(name)
        return stored[self.order] if SCHEMA[name].varies_in_time else stored

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Names of all bands."""
        return tuple(map(str, self._read("band").tolist()))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.arrays["backscatter"]["shape"][-2:]
        return rows, columns

    @cached_property
    def transform(self) -> Affine:
        """From columns and rows to coordinates, as ``odc.geo`` finds it."""
        stated = self._grid_mapping.get("GeoTransform")
        given = Affine.from_gdal(*map(float, str(stated).split())) if stated else _UNKNOWN
        width, left = _step(self._read("x"), given.a)
        height, top = _step(self._read("y"), given.e)
        found = Affine(width, 0.0, left, 0.0, height, top)
        return given if found.almost_equals(given, _SAME * width) else found

    @property
    def crs_wkt(self) -> str:
        """Its CRS; empty where it has none."""
        return str(self._grid_mapping.get("crs_wkt", ""))

    @property
    def _grid_mapping(self) -> Json:
        attributes: Json = self.arrays.get("spatial_ref", {}).get("attributes", {})
        return attributes

    @property
    def scale(self) -> float:
        """Decibels of a step of the packed backscatter."""
        return float(self.arrays["backscatter"]["attributes"]["scale_factor"])

    @property
    def missing(self) -> int:
        """Packed backscatter where there is no data."""
        return int(self.arrays["backscatter"]["attributes"]["_FillValue"])

    def packed(self, index: int, box: Box) -> npt.NDArray[np.int16]:
        """Packed backscatter of a date, dims (band, y, x)."""
        return self._read("backscatter", int(self.order[index]), slice(None), *box)

    def history(self, row: int, column: int) -> npt.NDArray[np.int16]:
        """Packed backscatter of a pixel, dims (time, band)."""
        return self._read("backscatter", slice(None), slice(None), row, column)[self.order]

    def unpack(self, packed: npt.NDArray[np.int16]) -> Float:
        """Decibels of packed backscatter, NaN where there is no data."""
        return unpack(packed, self.scale, self.missing)


def _step(axis: npt.NDArray[Any], alone: float) -> tuple[float, float]:
    """Distance of pixels along an axis, or ``alone`` of a single one, and where it begins."""
    if len(axis) > 1:
        first, second = map(float, axis[:2])
        return second - first, (3.0 * first - second) / 2.0
    return alone, float(axis[0]) - 0.5 * alone


def check_can_open(path: Path) -> dict[str, Json]:
    """Make sure that the metadata describes a cube, and that its coordinates exist.

    Returns
    -------
    dict
        Metadata of its arrays.

    Raises
    ------
    SarcastError
        If there is no cube, or it is damaged or of another version.
    """
    metadata = read_metadata(path)
    if is_half_created(path):
        raise SarcastError(f"{path} is empty: its build was stopped at the start; run it again")
    version = metadata["attributes"]["sarcast_cube"]
    if version not in VERSIONS:
        raise SarcastError(
            f"{path} is a cube of version {version}, expected {' or '.join(map(str, VERSIONS))}: "
            f"build it again, or use the version of sarcast that wrote it"
        )
    visible = visible_arrays(path, metadata)
    check_small_arrays(path, visible, every=has_checksums(metadata["attributes"]))
    return visible


def time_order(times: Times, views: list[list[Any]]) -> npt.NDArray[np.intp]:
    """Indices of the steps sorted by time, without those that were written again later.

    Parameters
    ----------
    times
        Dims (step).
    views
        Lists of values by step that two steps of one acquisition share.
    """
    keys = list(zip(*views, strict=True))
    gap = np.timedelta64(PASS_GAP)
    kept: list[int] = []
    for index in np.argsort(times, kind="stable").tolist():
        near = takewhile(lambda k: times[index] - times[k] <= gap, reversed(kept))  # noqa: B023
        twin = next((k for k in near if keys[k] == keys[index]), None)
        if twin is None:
            kept.append(index)
        elif index > twin:
            kept[kept.index(twin)] = index
    return np.asarray(kept, dtype=np.intp)
