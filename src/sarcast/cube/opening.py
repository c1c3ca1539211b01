"""Cubes opened lazily, sorted by time, with each acquisition once."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from sarcast.cube.decoding import chunk_decoder
from sarcast.cube.metadata import damaged
from sarcast.cube.schema import COORDINATES, unpack
from sarcast.cube.stored import check_can_open, time_order
from sarcast.errors import SarcastError
from sarcast.io.images import grid_of_images


def open_cube(path: Path | str) -> xr.Dataset:
    """Open a cube lazily: values are read when they are used.

    Parameters
    ----------
    path
        A store made by ``build_cube``.

    Returns
    -------
    Dataset
        ``backscatter`` (time, band, y, x) dB and the other variables of the schema, sorted by time.
        If an acquisition was written more than once, because a newer version of a slice or a
        further slice became available, only the last one is returned.

    Raises
    ------
    SarcastError
        If there is no cube, or it is damaged or of another version. Reading damaged values later
        raises it too.

    Examples
    --------
    The mean VH level of the last date, in dB:

    >>> cube = sarcast.open_cube("area.zarr")
    >>> level = cube["backscatter"].sel(band="VH").isel(time=-1).mean()
    >>> -30.0 < float(level) < 0.0
    True
    """
    return open_with_steps(Path(path))[0]


def open_with_steps(path: Path) -> tuple[xr.Dataset, npt.NDArray[np.intp]]:
    """Open a cube as ``open_cube``; also give the index in the store of each of its dates."""
    check_can_open(path)
    try:
        with chunk_decoder():
            packed = xr.open_zarr(
                path, chunks=None, consolidated=True, mask_and_scale=False, decode_times=False
            )
        checked = xr.Dataset(
            {str(n): _checked(v, str(n), path) for n, v in packed.variables.items()}
        )
        checked = checked.assign_attrs(packed.attrs)
        cube = xr.decode_cf(checked, decode_coords="all", decode_timedelta=False)
        cube = cube.set_coords([name for name in COORDINATES if name in cube])
        if grid_of_images(cube["backscatter"]) is None:
            raise ValueError("y and x are no grid")
        views = ("platform", "orbit_direction", "relative_orbit")
        order = time_order(cube["time"].values, [cube[name].values.tolist() for name in views])
        if not np.array_equal(order, np.arange(cube.sizes["time"])):
            cube = cube.isel(time=order)
    except SarcastError:
        raise
    except Exception as error:  # a codec may raise anything on damaged bytes
        raise damaged(path, "its coordinates", error) from error
    for name in ("forest", "open_land"):
        if name in cube and cube[name].dtype != bool:  # else decoded already, when it is read
            cube[name] = cube[name].astype(bool)
    return cube, order


class _CheckedArray(BackendArray):
    """A lazy array of a store whose read errors give the variable and the path."""

    def __init__(self, inner: xr.Variable, name: str, path: Path) -> None:
        self.shape = inner.shape
        self.dtype = inner.dtype
        self._inner, self._name, self._path = inner, name, path

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        """Read by slices, and one time step after the other: by lists, Zarr takes far longer."""
        parts = tuple(map(_as_slice, key))
        try:
            if len(parts) > 2 and isinstance(parts[0], np.ndarray) and parts[0].size:
                steps = (self._inner[(step, *parts[1:])].values for step in parts[0].tolist())
                return np.stack(list(steps))
            return np.asarray(self._inner[parts].values)
        except Exception as error:  # a codec may raise anything on damaged bytes
            raise damaged(self._path, self._name, error) from error


def _as_slice(part: Any) -> Any:
    """A list of indices as the slice that selects them, where there is one."""
    if not isinstance(part, np.ndarray) or not part.size:
        return part
    step = int(part[1] - part[0]) if part.size > 1 else 1
    if step < 1 or part[0] < 0 or (np.diff(part) != step).any():
        return part
    return slice(int(part[0]), int(part[-1]) + 1, step)


class _Unpacked(BackendArray):
    """Decibels packed in integers, as CF conventions have them; xarray takes longer to unpack."""

    def __init__(self, packed: _CheckedArray, scale: float, missing: int) -> None:
        self.shape = packed.shape
        self.dtype = np.dtype(np.float32)
        self._packed, self._scale, self._missing = packed, scale, missing

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return unpack(np.asarray(self._packed[key]), self._scale, self._missing)


def _checked(variable: xr.Variable, name: str, path: Path) -> xr.Variable:
    attrs = dict(variable.attrs)
    checked = _CheckedArray(variable, name, path)
    values: BackendArray = checked
    if "scale_factor" in attrs:
        values = _Unpacked(checked, attrs.pop("scale_factor"), attrs.pop("_FillValue"))
    lazy = indexing.LazilyIndexedArray(values)
    return xr.Variable(variable.dims, indexing.MemoryCachedArray(lazy), attrs)  # type: ignore[no-untyped-call]
