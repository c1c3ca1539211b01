"""Parts of a weather source joined: files on the same grid, and the versions of ERA5."""

from collections.abc import Iterable, Sequence
from functools import reduce

import numpy as np
import pandas as pd
import xarray as xr

from sarcast.arrays import Double

VERSION = "expver"
"""Name under which ERA5 contains its version: 1 is final, 5 preliminary (ERA5T)."""

_COORDS = {"time", "y", "x", "lat", "lon"}


def versions(data: xr.Dataset) -> list[xr.Dataset]:
    """Split a dataset by the version of ERA5, the final one first.

    The version is a dim of the fields, each layer missing where another has values, or a
    coordinate along time. Without it the dataset itself is returned.
    """
    plain = data.drop_vars(VERSION, errors="ignore")
    if VERSION in data.dims:
        order = range(data.sizes[VERSION])
        if VERSION in data.variables:
            order = np.argsort(_numbers(data), kind="stable").tolist()
        return [plain.isel({VERSION: layer}) for layer in order]
    if VERSION in data.variables and data[VERSION].dims == ("time",):
        numbers = _numbers(data)
        return [plain.isel(time=np.flatnonzero(numbers == each)) for each in np.unique(numbers)]
    return [plain]


def _numbers(data: xr.Dataset) -> Double:
    """Numbers of the versions; infinity for those without a number, so that they come last."""
    texts = [text.decode() if isinstance(text, bytes) else text for text in data[VERSION].values]
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(np.float64)
    return np.where(np.isnan(numbers), np.inf, numbers)


def join(parts: Sequence[xr.Dataset], fields: Iterable[str]) -> xr.Dataset:
    """Join fields of datasets on the same grid along time; the first value is taken.

    Parameters
    ----------
    parts
        Dims (time, y, x) or (time, station), and others of size 1; the first have priority.
    fields
        Variables to be joined, each in at least one part.

    Returns
    -------
    Dataset
        On the union of their times, sorted; NaN where a field is in no part.
    """
    split = [version for part in parts for version in versions(part)]
    if len(split) == 1:
        return split[0][list(fields)]
    joined = {}
    for field in fields:
        layers = [_without_other_coords(part[field]) for part in split if field in part]
        joined[field] = reduce(xr.DataArray.combine_first, layers)
    return xr.Dataset(joined).sortby("time")


def _without_other_coords(field: xr.DataArray) -> xr.DataArray:
    """A field without coordinates such as ``number``, which may differ between parts."""
    return field.drop_vars([str(name) for name in field.coords if name not in _COORDS])
