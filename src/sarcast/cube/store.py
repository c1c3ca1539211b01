"""The store of a cube as it is written: created, extended by steps, committed, rolled back.

The images of a step are written beyond the end of their arrays. Once they are complete, the arrays
are resized, and the store's consolidated metadata, one file that is replaced atomically, is
rewritten to include the step. A build that is killed therefore leaves the complete steps and no
part of the others, and can be run again.
"""

import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
import zarr.errors
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from zarr.codecs import ZstdCodec

from sarcast.arrays import Float
from sarcast.catalogue.scene import BANDS
from sarcast.cube.schema import CHUNK, OPTIONAL, SCHEMA, SHARD, VERSION, Variable, describe_grid
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
    group
        Its Zarr group, opened for writing.
    """

    def __init__(self, path: Path, group: zarr.Group) -> None:
        self.path = path
        self._group = group
        self._arrays: dict[str, zarr.Array[Any]] = dict(group.arrays())

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
            If something else is at the path, or a cube on another grid or of another resampling.
        """
        if is_half_created(path):
            _clear_folder(path)
        if not (path / "zarr.json").exists():
            _check_can_create(path)
            _delete_partial_files(path)
            return cls._create(path, grid, bands, has_truth=has_truth, attrs=attrs or {})
        _check_compatible(path, grid, attrs or {})
        _delete_partial_files(path)
        store = cls(path, zarr.open_group(path, mode="r+", use_consolidated=False))
        store._roll_back()
        return store

    @classmethod
    def _create(
        cls,
        path: Path,
        grid: GeoBox,
        bands: Sequence[str],
        *,
        has_truth: bool,
        attrs: Mapping[str, Any],
    ) -> "Store":
        schema = {"Conventions": "CF-1.11", "sarcast_cube": VERSION, "grid": describe_grid(grid)}
        group = zarr.create_group(path, zarr_format=3, attributes={**schema, **attrs})
        store = cls(path, group)
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
                store._create_array(name, variable, sizes)
        store._write_coordinates(grid, coarse, bands)
        store.commit()
        return store

    def _roll_back(self) -> None:
        """Discard steps that were not committed."""
        try:
            visible = zarr.open_group(self.path, mode="r", use_consolidated=True)["time"]
        except (ValueError, KeyError) as error:
            raise SarcastError(
                f"{self.path} is a damaged cube: its zarr.json does not list its arrays; remove it "
                f"and build it again"
            ) from error
        assert isinstance(visible, zarr.Array)
        self.resize(visible.shape[0])
        self.delete_images_beyond()

    def __contains__(self, name: str) -> bool:
        """Whether the store has a variable of this name."""
        return name in self._arrays

    @property
    def steps(self) -> int:
        """Number of time steps that the arrays have room for."""
        return int(self._arrays["time"].shape[0])

    def read(self, name: str, *index: int | slice) -> npt.NDArray[Any]:
        """Values of a variable at an index on its leading dims; all of them without an index."""
        return np.asarray(self._arrays[name][index or ...])

    def write(self, name: str, value: Any, *index: int | slice) -> None:
        """Write values of a variable at an index on its leading dims."""
        self._arrays[name][index or ...] = value

    def write_known(self, name: str, values: Float, *index: int | slice) -> None:
        """Write the finite values at an index; where they are NaN, stored values are kept."""
        unknown = np.isnan(values)
        self.write(name, np.where(unknown, self.read(name, *index), values), *index)

    def add_variable(self, name: str, rows: int, columns: int) -> None:
        """Create a variable that is constant in time, unless the store has it."""
        if name not in self:
            self._create_array(name, SCHEMA[name], {"y": rows, "x": columns})

    def resize(self, steps: int) -> None:
        """Make room for ``steps`` time steps; data of later ones is deleted."""
        for name, variable in SCHEMA.items():
            if variable.varies_in_time and name in self:
                array = self._arrays[name]
                if array.shape[0] != steps:
                    array.resize((steps, *array.shape[1:]))

    def delete_images_beyond(self) -> None:
        """Delete images of steps beyond the end of the arrays."""
        for name, variable in SCHEMA.items():
            if variable.varies_in_time and "y" in variable.dims:
                for step in (self.path / name / "c").glob("*"):
                    if int(step.name) >= self.steps:
                        shutil.rmtree(step)

    def commit(self) -> None:
        """Make everything that was written visible to readers, by replacing one file."""
        with warnings.catch_warnings():
            # Readers that ignore consolidated metadata use that of each array, which agrees with it
            # whenever no build is running.
            warnings.filterwarnings("ignore", "Consolidated metadata", zarr.errors.ZarrUserWarning)
            zarr.consolidate_metadata(self._group.store)

    def _create_array(self, name: str, variable: Variable, sizes: dict[str, int]) -> None:
        chunks, shards = [], []
        for dim in variable.dims:
            whole = max(sizes[dim], 1)
            if dim in ("y", "x"):
                chunks.append(CHUNK)
                shards.append(min(SHARD, -(-whole // CHUNK) * CHUNK))
            else:
                chunks.append((1 if len(variable.dims) > 2 else CHUNK) if dim == "time" else whole)
                shards.append(chunks[-1])
        fill: Any = {"str": "", "float32": np.nan}.get(variable.dtype, 0)
        self._arrays[name] = self._group.create_array(
            name,
            shape=[sizes[dim] for dim in variable.dims],
            dtype=variable.dtype,
            chunks=tuple(chunks),
            shards=tuple(shards) if variable.dims[-2:] == ("y", "x") else None,
            compressors=_ZSTD,
            fill_value=variable.attrs.get("_FillValue", fill),
            dimension_names=variable.dims,
            attributes=variable.attrs,
        )

    def _write_coordinates(self, grid: GeoBox, coarse: GeoBox, bands: Sequence[str]) -> None:
        coordinates = xr_coords(grid).values()
        for name, coordinate in zip(("y", "x", "spatial_ref"), coordinates, strict=True):
            dims = (name,) if coordinate.dims else ()
            self._create_coordinate(name, np.asarray(coordinate.values), dims, coordinate.attrs)
        for name, values in zip(("cy", "cx"), axes(coarse), strict=True):
            self._create_coordinate(name, values, (name,), {"units": grid.crs.units[0]})
        days = {"units": "days", "long_name": "days before"}
        self._create_coordinate("lag", np.arange(LAGS), ("lag",), days)
        band = self._group.create_array(
            "band", shape=(len(bands),), dtype="str", dimension_names=("band",)
        )
        band[:] = np.array(bands, dtype=object)

    def _create_coordinate(
        self,
        name: str,
        values: npt.NDArray[Any],
        dims: tuple[str, ...],
        attrs: dict[Any, Any],
    ) -> None:
        plain = {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in attrs.items()
        }
        self._group.create_array(name, data=values, dimension_names=dims, attributes=plain)


def stored_bands(path: Path) -> tuple[str, ...]:
    """Names of the bands of a store; none if there is no store, or its creation was stopped."""
    if not (path / "zarr.json").exists() or is_half_created(path):
        return ()
    array = zarr.open_group(path, mode="r").get("band")
    return tuple(map(str, np.asarray(array[:]))) if isinstance(array, zarr.Array) else ()


def is_half_created(path: Path) -> bool:
    """Whether a build was stopped while it created the store, so that no step is visible."""
    if not (path / "zarr.json").exists() or (path / "backscatter" / "c").exists():
        return False
    read_attributes(path)
    return zarr.open_group(path, mode="r").metadata.consolidated_metadata is None


def is_empty(path: Path) -> bool:
    """Whether there is a store in which no step is visible."""
    if not (path / "zarr.json").exists() or is_half_created(path):
        return (path / "zarr.json").exists()
    time = zarr.open_group(path, mode="r")["time"]
    return isinstance(time, zarr.Array) and time.shape[0] == 0


def _check_can_create(path: Path) -> None:
    """Make sure that the path has nothing but what a build killed at its start may have left."""
    names = {p.name for p in path.iterdir() if p.suffix != ".partial"} if path.is_dir() else set()
    variables = sorted({*SCHEMA} & names)
    if variables:
        raise SarcastError(
            f"{path} is a damaged cube: it contains {', '.join(variables)} but no zarr.json, which "
            f"describes them; restore that file, or remove {path} and build it again"
        )
    if names or path.is_file():
        raise SarcastError(f"{path} exists and is not a cube; give another path for the cube")


def _check_compatible(path: Path, grid: GeoBox, attrs: Mapping[str, Any]) -> None:
    """Make sure that an existing cube has the grid and resampling of this build."""
    stored = read_attributes(path)
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


def _clear_folder(path: Path) -> None:
    """Delete the contents of a folder, but not the folder itself, which may be locked."""
    for entry in path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _delete_partial_files(path: Path) -> None:
    """Delete files that were being written when a build was killed."""
    for partial in path.rglob("*.partial"):
        partial.unlink(missing_ok=True)


def read_attributes(path: Path) -> dict[str, Any]:
    """Read the attributes of a store.

    Raises
    ------
    SarcastError
        If there is no cube, or its metadata cannot be read.
    """
    cause: Exception | None = None
    try:
        attrs = dict(zarr.open_group(path, mode="r").attrs)
        if "sarcast_cube" in attrs:
            return attrs
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError) as error:
        cause = error
    if (path / "backscatter").is_dir():
        fault = "cannot be read" if (path / "zarr.json").exists() else "is missing"
        raise SarcastError(
            f"{path} is a damaged cube: its zarr.json {fault}; restore it, or remove {path} and "
            f"build it again"
        ) from cause
    raise SarcastError(
        f"{path} is not a cube; build one with: sarcast cube CATALOGUE --to {path}"
    ) from cause


def write_block(path: Path, name: str, values: npt.NDArray[Any], *slices: slice) -> None:
    """Write a block of images, from any process, at steps that may lie beyond the array's end.

    Parameters
    ----------
    path
        Path of the store.
    name
        Name of the variable.
    values
        Dims of the variable.
    slices
        One for each dim, time steps first.
    """
    array = zarr.open_array(path / name, mode="r+")
    extended: Any = array.metadata.update_shape((slices[0].stop, *array.shape[1:]))
    zarr.Array(zarr.AsyncArray(extended, array.store_path))[slices] = values
