"""The store of a cube as it is written: created, extended by steps, committed, rolled back.

The images of a step are written beyond the end of their arrays. Once they are complete, the arrays
are resized, and the store's consolidated metadata, one file that is replaced atomically, is
rewritten to include the step. A build that is killed or interrupted therefore leaves the complete
steps and no part of the others, and can be run again. What is discarded depends on that file alone,
never on what a running build believes.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from zarr.codecs import ZstdCodec
from zarr.core.sync import sync

from sarcast.arrays import Float
from sarcast.catalogue.scene import BANDS
from sarcast.cube import chunks, metadata
from sarcast.cube.block import block_slices
from sarcast.cube.metadata import is_half_created
from sarcast.cube.schema import (
    CHUNK,
    MISSING,
    OPTIONAL,
    PART,
    SCHEMA,
    SHARD,
    VERSION,
    Variable,
    describe_grid,
)
from sarcast.errors import SarcastError
from sarcast.io.grid import axes, conditions_grid
from sarcast.sensor.conditions import LAGS

RESAMPLING = "resampling"
"""Attribute of a store: the resampling of scenes on another grid."""
_ZSTD = ZstdCodec(level=1, checksum=True)  # five times as fast on speckle as by default, no larger


class Store:
    """A cube that is being written.

    Parameters
    ----------
    path
        Path of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrays: dict[str, zarr.Array[Any]] = {}

    @classmethod
    def open(
        cls,
        path: Path,
        grid: GeoBox,
        *,
        bands: Sequence[str] = BANDS,
        has_truth: bool,
        attrs: Mapping[str, Any] | None = None,
    ) -> "Store":
        """Open or create the store, and discard what a killed build left incomplete.

        A new store has the bands ``bands``, and the attributes ``attrs`` besides its own.

        Raises
        ------
        SarcastError
            If something else is at the path, a cube on another grid or of another resampling, or
            one that is damaged so that it cannot be extended.
        """
        if is_half_created(path):
            discard(path)
        store = cls(path)
        if not (path / metadata.METADATA).exists():
            _check_can_create(path)
            chunks.delete_partial_files(path)
            store._create(grid, bands, has_truth=has_truth, attrs=attrs or {})
            return store
        _check_compatible(path, grid, attrs or {})
        _check_whole(path)
        store.roll_back()
        return store

    def _create(
        self, grid: GeoBox, bands: Sequence[str], *, has_truth: bool, attrs: Mapping[str, Any]
    ) -> None:
        schema = {"Conventions": "CF-1.11", "sarcast_cube": VERSION, "grid": describe_grid(grid)}
        group = zarr.create_group(self.path, zarr_format=3, attributes={**schema, **attrs})
        coarse = conditions_grid(grid)
        sizes = {
            "time": 0,
            "band": len(bands),
            "lag": LAGS,
            **dict(zip(("y", "x"), grid.shape, strict=True)),
            **dict(zip(("cy", "cx"), coarse.shape, strict=True)),
        }
        for name, variable in SCHEMA.items():
            if name not in OPTIONAL or (name == "expected" and has_truth):
                self._create_array(group, name, variable, sizes)
        for slices in block_slices(grid.shape, PART):
            self.write("elevation", np.nan, *slices)
        _write_coordinates(group, grid, coarse, bands)
        self.commit()

    def roll_back(self) -> None:
        """Discard everything that is not visible to readers: steps, arrays, partial files."""
        _finish_interrupted_calls()
        visible = _visible(self.path)
        metadata.restore_array_metadata(self.path, visible)
        for name in chunks.own_arrays(self.path):
            if name in OPTIONAL and name not in visible:
                chunks.delete(self.path / name)
            elif name in SCHEMA and SCHEMA[name].varies_in_time:
                chunks.delete_chunks_beyond(self.path, name, visible[name])
        chunks.delete_partial_files(self.path)
        self._arrays = {name: self._open_array(name) for name in SCHEMA if name in visible}

    def _open_array(self, name: str) -> "zarr.Array[Any]":
        try:
            array = zarr.open_array(self.path / name, mode="r+").async_array
            return zarr.Array(
                zarr.AsyncArray(array.metadata, array.store_path, config=chunks.WRITE_ALL)
            )
        except Exception as error:  # Zarr may raise anything on damaged metadata
            raise metadata.damaged(self.path, name, error) from error

    def __contains__(self, name: str) -> bool:
        """Whether the store has a variable of this name."""
        return name in self._arrays

    @property
    def steps(self) -> int:
        """Number of time steps that the arrays have room for."""
        return int(self._arrays["time"].shape[0])

    def read(self, name: str, *index: int | slice) -> npt.NDArray[Any]:
        """Values of a variable at an index on its leading dims; all of them without an index."""
        try:
            return np.asarray(self._arrays[name][index or ...])
        except Exception as error:  # a codec may raise anything on damaged bytes
            raise metadata.damaged(self.path, name, error) from error

    def write(self, name: str, value: Any, *index: int | slice) -> None:
        """Write values of a variable at an index on its leading dims."""
        try:
            self._arrays[name][index or ...] = value
        except OSError:
            raise
        except Exception as error:  # a codec may raise anything on damaged bytes around the index
            raise metadata.damaged(self.path, name, error) from error

    def write_known(self, name: str, values: Float, *index: int | slice) -> None:
        """Write the finite values at an index; where they are NaN, stored values are kept."""
        unknown = np.isnan(values)
        self.write(name, np.where(unknown, self.read(name, *index), values), *index)

    def add_variable(self, name: str, rows: int, columns: int) -> None:
        """Create a variable that is constant in time, unless the store has it."""
        if name not in self:
            group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
            self._create_array(group, name, SCHEMA[name], {"y": rows, "x": columns})

    def extend(self, steps: int) -> None:
        """Make room for ``steps`` time steps, if there is less."""
        for name, array in self._arrays.items():
            if SCHEMA[name].varies_in_time and array.shape[0] < steps:
                array.resize((steps, *array.shape[1:]))

    def commit(self) -> None:
        """Make everything that was written visible to readers, by replacing one file."""
        metadata.write_metadata(self.path, chunks.own_arrays(self.path))

    def incomplete_steps(self) -> list[int]:
        """Visible time steps that lost files which their scenes are written into."""
        visible = _visible(self.path)
        every = metadata.has_checksums(metadata.read_attributes(self.path))
        lacking: set[int] = set()
        for name in ("backscatter", "expected", "incidence") if every else ("backscatter",):
            if name in visible:
                lacking |= chunks.incomplete_steps(self.path, name, visible[name])
        return [step for step in sorted(lacking) if every or self._lost_pixels(step)]

    def lost_arrays(self) -> list[str]:
        """Names of the visible arrays that lost files; unknown in cubes of version 1."""
        if not metadata.has_checksums(metadata.read_attributes(self.path)):
            return []
        visible = _visible(self.path)
        return [n for n in self._arrays if chunks.missing_count(self.path, n, visible[n])]

    def _lost_pixels(self, step: int) -> bool:
        """Whether a step has fewer valid pixels than were written; unknown in the oldest cubes."""
        if "seen" not in self:
            return False
        *_, rows, columns = self._arrays["backscatter"].shape
        counts = [
            np.sum(self.read("backscatter", step, slice(None), *slices) != MISSING, axis=(1, 2))
            for slices in block_slices((rows, columns))
        ]
        return bool(np.any(np.sum(counts, axis=0) < self.read("seen", step)))

    def _create_array(
        self, group: zarr.Group, name: str, variable: Variable, sizes: dict[str, int]
    ) -> None:
        inner, shards = [], []
        for dim in variable.dims:
            whole = max(sizes[dim], 1)
            if dim in ("y", "x"):
                inner.append(CHUNK)
                shards.append(min(SHARD, -(-whole // CHUNK) * CHUNK))
            else:
                inner.append((1 if len(variable.dims) > 2 else CHUNK) if dim == "time" else whole)
                shards.append(inner[-1])
        fill: Any = {"str": "", "float32": np.nan}.get(variable.dtype, 0)
        self._arrays[name] = group.create_array(
            name,
            shape=[sizes[dim] for dim in variable.dims],
            dtype=variable.dtype,
            chunks=tuple(inner),
            shards=tuple(shards) if variable.dims[-2:] == ("y", "x") else None,
            compressors=_ZSTD,
            fill_value=variable.attrs.get("_FillValue", fill),
            dimension_names=variable.dims,
            attributes=variable.attrs,
            config=chunks.WRITE_ALL,
        )


def _write_coordinates(
    group: zarr.Group, grid: GeoBox, coarse: GeoBox, bands: Sequence[str]
) -> None:
    coordinates = xr_coords(grid).values()
    for name, coordinate in zip(("y", "x", "spatial_ref"), coordinates, strict=True):
        _create_coordinate(group, name, np.asarray(coordinate.values), coordinate.attrs)
    for name, values in zip(("cy", "cx"), axes(coarse), strict=True):
        _create_coordinate(group, name, values, {"units": grid.crs.units[0]})
    days = {"units": "days", "long_name": "days before"}
    _create_coordinate(group, "lag", np.arange(LAGS), days)
    _create_coordinate(group, "band", np.array(bands, dtype=object), {})


def _create_coordinate(
    group: zarr.Group, name: str, values: npt.NDArray[Any], attrs: Mapping[Any, Any]
) -> None:
    plain = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in attrs.items()
    }
    array = group.create_array(
        name,
        shape=values.shape,
        dtype="str" if values.dtype == object else values.dtype,
        compressors=_ZSTD,
        dimension_names=(name,) if values.ndim else (),
        attributes=plain,
        config=chunks.WRITE_ALL,
    )
    array[...] = values


def _finish_interrupted_calls() -> None:
    """Wait for calls of Zarr that were interrupted: its own thread carries them to their end."""

    async def finish() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)

    sync(finish())


def _visible(path: Path) -> dict[str, metadata.Json]:
    return metadata.visible_arrays(path, metadata.read_metadata(path))


def stored_bands(path: Path) -> tuple[str, ...]:
    """Names of the bands of a store; none if there is no store, or its creation was stopped."""
    if not (path / metadata.METADATA).exists() or is_half_created(path):
        return ()
    try:
        return tuple(map(str, np.asarray(zarr.open_array(path / "band", mode="r")[:])))
    except Exception as error:  # a codec may raise anything on damaged bytes
        raise metadata.damaged(path, "band", error) from error


def is_empty(path: Path) -> bool:
    """Whether there is a store in which no step is visible."""
    if not (path / metadata.METADATA).exists() or is_half_created(path):
        return (path / metadata.METADATA).exists()
    return bool(_visible(path)["time"]["shape"] == [0])


def discard(path: Path) -> None:
    """Delete a store without steps, but neither its folder, which may be locked, nor foreign files.

    Whenever this is interrupted, what is left counts as a store whose creation was stopped.
    """
    chunks.delete(path / "backscatter")
    metadata.hide_arrays(path)
    for name in chunks.own_arrays(path):
        chunks.delete(path / name)
    chunks.delete_partial_files(path)
    (path / metadata.METADATA).unlink()


def _check_can_create(path: Path) -> None:
    """Make sure that the path has nothing but what a build killed at its start may have left."""
    variables = chunks.own_arrays(path)
    if variables:
        raise SarcastError(
            f"{path} is a damaged cube: it contains {', '.join(variables)} but no zarr.json, which "
            f"describes them; restore that file, or remove {path} and build it again"
        )
    if chunks.foreign_names(path) or path.is_file():
        raise SarcastError(f"{path} exists and is not a cube; give another path for the cube")


def _check_compatible(path: Path, grid: GeoBox, attrs: Mapping[str, Any]) -> None:
    """Make sure that an existing cube has the grid and resampling of this build."""
    stored = metadata.read_attributes(path)
    if stored.get("grid") != describe_grid(grid):
        raise SarcastError(
            f"{path} is a cube on another grid ({stored.get('grid')}) than requested "
            f"({describe_grid(grid)}); give another path, or request the same area and resolution"
        )
    requested = attrs.get(RESAMPLING)
    if stored.get(RESAMPLING, requested) != requested:
        raise SarcastError(
            f"{path} is a cube with the resampling {stored[RESAMPLING]}, but {requested} was "
            f"requested; request the same, or give another path"
        )


def _check_whole(path: Path) -> None:
    """Make sure that an existing cube is not damaged in what an extension relies on."""
    visible = _visible(path)
    every = metadata.has_checksums(metadata.read_attributes(path))
    chunks.check_small_arrays(path, visible, every=every)
    missing = sorted({*SCHEMA} - {*OPTIONAL, "seen"} - {*visible})
    fault = f"its zarr.json does not list {missing[0]}" if missing else ""
    if not metadata.is_unchanged(metadata.read_metadata(path)):
        fault = "its zarr.json is not as sarcast wrote it"
    elif not every:
        for name in metadata.contradictions(path, visible):
            fault = f"its zarr.json and {name}/zarr.json contradict each other"
    if fault:
        raise SarcastError(
            f"{path} is a damaged cube, so it is not extended: {fault}; restore the file, or "
            f"remove {path} and build it again"
        )
