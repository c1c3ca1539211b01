"""A cube opened: lazily, in the order of time, each acquisition once."""

from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rioxarray  # noqa: F401 - registers the accessor that reads the CRS
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from sarcast.cube.schema import COORDINATES, VERSION
from sarcast.cube.store import attributes, is_begun
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.acquisition import PASS_GAP


def open_cube(path: Path | str) -> xr.Dataset:
    """Open a cube, lazily.

    Parameters
    ----------
    path
        A store made by ``build_cube``.

    Returns
    -------
    Dataset
        ``backscatter`` (time, band, y, x) dB and what else the schema holds, in the order of time.
        Of an acquisition that was written anew, with another version of a slice or with a slice
        more, the last written stands for it.

    Raises
    ------
    SarcastError
        If there is no cube, one of another version, or a damaged one; also later, when data is
        read that turns out damaged.
    """
    path = Path(path)
    version = attributes(path).get("sarcast_cube")
    if is_begun(path):
        raise SarcastError(
            f"{path} holds nothing yet: its build was stopped at the start; run it again"
        )
    if version != VERSION:
        raise SarcastError(
            f"{path} is a cube of version {version}; this program reads {VERSION}: build it again"
        )
    try:
        packed = xr.open_zarr(
            path, chunks=None, consolidated=True, mask_and_scale=False, decode_times=False
        )
        guarded = xr.Dataset({str(n): _guard(v, str(n), path) for n, v in packed.variables.items()})
        told = guarded.assign_attrs(packed.attrs)
        cube = xr.decode_cf(told, decode_coords="all", decode_timedelta=False)
        cube = cube.set_coords([name for name in COORDINATES if name in cube])
        order = _in_order(cube)
        if not np.array_equal(order, np.arange(cube.sizes["time"])):
            cube = cube.isel(time=order)
    except SarcastError:
        raise
    except Exception as error:  # a codec may raise anything on bytes that are not its own
        raise SarcastError(_damaged(path, "its coordinates", error)) from error
    for name in ("forest", "open_land"):
        if name in cube:
            cube[name] = cube[name].astype(bool)
    return cube


def _in_order(cube: xr.Dataset) -> npt.NDArray[np.intp]:
    """Places of the steps in the order of time, without those that later ones stand for."""
    times = cube["time"].values
    views = list(
        zip(
            *(cube[name].values for name in ("platform", "orbit_direction", "relative_orbit")),
            strict=True,
        )
    )
    gap = np.timedelta64(PASS_GAP)
    kept: list[int] = []
    for place in np.argsort(times, kind="stable").tolist():
        near = takewhile(lambda k: times[place] - times[k] <= gap, reversed(kept))  # noqa: B023
        twin = next((k for k in near if views[k] == views[place]), None)
        if twin is None:
            kept.append(place)
        elif place > twin:
            kept[kept.index(twin)] = place
    return np.asarray(kept, dtype=np.intp)


class _Guarded(BackendArray):
    """An array of a store that names itself when it cannot be read."""

    def __init__(self, inner: xr.Variable, what: str, path: Path) -> None:
        self.shape = inner.shape
        self.dtype = inner.dtype
        self._inner, self._what, self._path = inner, what, path

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._inner[key].values)
        except Exception as error:  # a codec may raise anything on bytes that are not its own
            raise SarcastError(_damaged(self._path, self._what, error)) from error


def _guard(variable: xr.Variable, what: str, path: Path) -> xr.Variable:
    attrs = dict(variable.attrs)
    if "scale_factor" in attrs:  # so that decibels are unpacked to float32
        attrs["scale_factor"] = np.float32(attrs["scale_factor"])
    lazy = indexing.LazilyIndexedArray(_Guarded(variable, what, path))
    return xr.Variable(variable.dims, indexing.MemoryCachedArray(lazy), attrs)  # type: ignore[no-untyped-call]


def _damaged(path: Path, what: str, error: Exception) -> str:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"{path} is damaged: {what} cannot be read ({first}); look at it with "
        f"sarcast cube --check {path}, or remove it and build it again"
    )
