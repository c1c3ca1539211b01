"""The store of a cube as it is written: made, grown by a step, made visible, taken back.

Images of a step are written past the end of their arrays. When all are there the arrays are
grown, and the store's consolidated metadata, one file that is replaced at once, tells of the step:
a build that is killed leaves the steps before it and nothing of those that it was at, and can be
started again.
"""

import shutil
import warnings
from collections.abc import Mapping
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
from sarcast.cube.schema import CHUNK, OPTIONAL, SCHEMA, SHARD, VERSION, Variable, describe
from sarcast.errors import SarcastError
from sarcast.io.grid import axes, conditions_grid
from sarcast.sensor.conditions import LAGS

RESAMPLING = "resampling"
"""Attribute of a store: how scenes on another grid were warped."""
_ZSTD = ZstdCodec(level=1, checksum=True)  # five times as fast on speckle as by default, no larger


class Store:
    """A cube that is being written.

    Parameters
    ----------
    path
        Where it lies.
    group
        Its Zarr group, opened for writing.
    """

    def __init__(self, path: Path, group: zarr.Group) -> None:
        self.path = path
        self._group = group
        self._arrays: dict[str, zarr.Array[Any]] = dict(group.arrays())

    @classmethod
    def open(
        cls, path: Path, grid: GeoBox, *, has_truth: bool, told: Mapping[str, Any] | None = None
    ) -> "Store":
        """Open or make the store, and take back what a killed run left half done.

        A store that is made has the attributes ``told`` besides its own.

        Raises
        ------
        SarcastError
            If something else is there, or a cube on another grid or of another resampling.
        """
        if is_begun(path):
            _empty(path)
        if not (path / "zarr.json").exists():
            _check_new(path)
            _clear_partial(path)
            return cls._create(path, grid, has_truth=has_truth, told=told or {})
        held = attributes(path)
        if held.get("grid") != describe(grid):
            raise SarcastError(
                f"{path} is a cube on another grid ({held.get('grid')}) than asked for "
                f"({describe(grid)}); name another target, or ask for the same area and resolution"
            )
        asked = (told or {}).get(RESAMPLING)
        if held.get(RESAMPLING, asked) != asked:
            raise SarcastError(
                f"{path} is a cube with the resampling {held[RESAMPLING]}, but {asked} is asked "
                f"for; ask for the same, or name another target"
            )
        _clear_partial(path)
        store = cls(path, zarr.open_group(path, mode="r+", use_consolidated=False))
        store._take_back()
        return store

    @classmethod
    def _create(
        cls, path: Path, grid: GeoBox, *, has_truth: bool, told: Mapping[str, Any]
    ) -> "Store":
        own = {"Conventions": "CF-1.11", "sarcast_cube": VERSION, "grid": describe(grid)}
        attrs = {**own, **told}
        store = cls(path, zarr.create_group(path, zarr_format=3, attributes=attrs))
        coarse = conditions_grid(grid)
        sizes = {
            "time": 0,
            "band": len(BANDS),
            "lag": LAGS,
            **dict(zip(("y", "x"), grid.shape, strict=True)),
            **dict(zip(("cy", "cx"), coarse.shape, strict=True)),
        }
        for name, variable in SCHEMA.items():
            if name not in OPTIONAL or (name == "expected" and has_truth):
                store._create_array(name, variable, sizes)
        store._write_coordinates(grid, coarse)
        store.commit()
        return store

    def _take_back(self) -> None:
        try:
            visible = zarr.open_group(self.path, mode="r", use_consolidated=True)["time"]
        except (ValueError, KeyError) as error:
            raise SarcastError(
                f"{self.path} is a damaged cube: its zarr.json does not tell its arrays; remove it "
                f"and build it again"
            ) from error
        assert isinstance(visible, zarr.Array)
        self.resize(visible.shape[0])
        self.tidy()

    def __contains__(self, name: str) -> bool:
        """Whether there is a variable of this name."""
        return name in self._arrays

    @property
    def steps(self) -> int:
        """Time steps that there is room for."""
        return int(self._arrays["time"].shape[0])

    def values(self, name: str, *place: int | slice) -> npt.NDArray[Any]:
        """Values of a variable at a place on its leading dims; all of them without one."""
        return np.asarray(self._arrays[name][place or ...])

    def put(self, name: str, value: Any, *place: int | slice) -> None:
        """Write values of a variable at a place on its leading dims."""
        self._arrays[name][place or ...] = value

    def fill(self, name: str, values: Float, *place: int | slice) -> None:
        """Write values that are known at a place; what is held stays where they are NaN."""
        unknown = np.isnan(values)
        self.put(name, np.where(unknown, self.values(name, *place), values), *place)

    def add(self, name: str, rows: int, columns: int) -> None:
        """Make room for a variable that does not change with time, unless it is there."""
        if name not in self:
            self._create_array(name, SCHEMA[name], {"y": rows, "x": columns})

    def resize(self, steps: int) -> None:
        """Make room for so many time steps; data of any beyond is deleted."""
        for name, variable in SCHEMA.items():
            if variable.grows and name in self:
                array = self._arrays[name]
                if array.shape[0] != steps:
                    array.resize((steps, *array.shape[1:]))

    def tidy(self) -> None:
        """Delete images of steps that there is no room for."""
        for name, variable in SCHEMA.items():
            if variable.grows and "y" in variable.dims:
                for step in (self.path / name / "c").glob("*"):
                    if int(step.name) >= self.steps:
                        shutil.rmtree(step)

    def commit(self) -> None:
        """Make all that was written visible, by replacing one file."""
        with warnings.catch_warnings():
            # Readers that know no consolidated metadata see each array's own, which agree with it
            # whenever no build is at work.
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

    def _write_coordinates(self, grid: GeoBox, coarse: GeoBox) -> None:
        told = xr_coords(grid).values()
        for name, coordinate in zip(("y", "x", "spatial_ref"), told, strict=True):
            dims = (name,) if coordinate.dims else ()
            self._create_coordinate(name, np.asarray(coordinate.values), dims, coordinate.attrs)
        for name, values in zip(("cy", "cx"), axes(coarse), strict=True):
            self._create_coordinate(name, values, (name,), {"units": grid.crs.units[0]})
        days = {"units": "days", "long_name": "days before"}
        self._create_coordinate("lag", np.arange(LAGS), ("lag",), days)
        band = self._group.create_array(
            "band", shape=(len(BANDS),), dtype="str", dimension_names=("band",)
        )
        band[:] = np.array(BANDS, dtype=object)

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


def is_begun(path: Path) -> bool:
    """Whether a store was being made when its build was stopped, so that nothing is visible."""
    if not (path / "zarr.json").exists() or (path / "backscatter" / "c").exists():
        return False
    attributes(path)
    return zarr.open_group(path, mode="r").metadata.consolidated_metadata is None


def is_empty(path: Path) -> bool:
    """Whether there is a store in which no step is visible."""
    if not (path / "zarr.json").exists() or is_begun(path):
        return (path / "zarr.json").exists()
    time = zarr.open_group(path, mode="r")["time"]
    return isinstance(time, zarr.Array) and time.shape[0] == 0


def _check_new(path: Path) -> None:
    """See that nothing is there but what a killed build can have left of its very start."""
    held = {one.name for one in path.iterdir() if one.suffix != ".partial"} if path.is_dir() else ()
    parts = sorted({*SCHEMA} & {*held})
    if parts:
        raise SarcastError(
            f"{path} is a damaged cube: it holds {', '.join(parts)} but no zarr.json, which tells "
            f"what they are; put that file back, or remove {path} and build it again"
        )
    if held or path.is_file():
        raise SarcastError(f"{path} exists and is no cube; name another target for the cube")


def _empty(path: Path) -> None:
    """Delete all that a folder holds; the folder itself, which may be locked, stays."""
    for one in path.iterdir():
        if one.is_dir():
            shutil.rmtree(one)
        else:
            one.unlink()


def _clear_partial(path: Path) -> None:
    """Delete files that were being written when a build was killed."""
    for left in path.rglob("*.partial"):
        left.unlink(missing_ok=True)


def attributes(path: Path) -> dict[str, Any]:
    """Attributes of a store.

    Raises
    ------
    SarcastError
        If there is no cube, or its metadata cannot be read.
    """
    why: Exception | None = None
    try:
        told = dict(zarr.open_group(path, mode="r").attrs)
        if "sarcast_cube" in told:
            return told
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError) as error:
        why = error
    if (path / "backscatter").is_dir():
        lost = "cannot be read" if (path / "zarr.json").exists() else "is gone"
        raise SarcastError(
            f"{path} is a damaged cube: its zarr.json {lost}; put it back, or remove {path} and "
            f"build it again"
        ) from why
    raise SarcastError(
        f"{path} is no cube; build one with: sarcast cube CATALOGUE --to {path}"
    ) from why


def write_block(path: Path, name: str, values: npt.NDArray[Any], *place: slice) -> None:
    """Write a block of images, from whatever process, at steps that there may be no room for yet.

    Parameters
    ----------
    path
        Of the store.
    name
        Of the variable.
    values
        Dims of the variable.
    place
        Where on each dim; steps on the first.
    """
    held = zarr.open_array(path / name, mode="r+")
    taller: Any = held.metadata.update_shape((place[0].stop, *held.shape[1:]))
    zarr.Array(zarr.AsyncArray(taller, held.store_path))[place] = values
