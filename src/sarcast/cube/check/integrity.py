"""The files of a cube checked: its metadata, and every chunk of every array that a build writes."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from sarcast.cube import chunks, metadata
from sarcast.cube.check.outliers import format_time
from sarcast.cube.chunks import Index
from sarcast.cube.executor import Workers
from sarcast.cube.metadata import OWN_ARRAYS, Json
from sarcast.cube.schema import OPTIONAL, SCHEMA
from sarcast.errors import first_line
from sarcast.io.progress import track
from sarcast.sensor.conditions import LAGS
from sarcast.sensor.polarisations import PAIRS

_DIRECTIONS = ("ascending", "descending", "")
_MOST_ORBITS = 175
"""Relative orbits of Sentinel-1 are 1 to 175; 0 where unknown."""
_TYPE_NAMES = {"str": "string"}
"""Zarr's names of types that it names otherwise than NumPy."""


class StoredArrays:
    """The arrays of a store that a build writes, as readers see them.

    Parameters
    ----------
    path
        Path of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = metadata.read_metadata(path)
        visible = metadata.visible_arrays(path, self._root)
        self.entries = {name: visible[name] for name in OWN_ARRAYS if name in visible}

    @property
    def is_complete(self) -> bool:
        """Whether everything has a checksum and every chunk is a file: not before version 2."""
        return metadata.has_checksums(self._root["attributes"])

    def values(self, name: str) -> npt.NDArray[Any]:
        """All values of a small array, in the order of the store."""
        return np.asarray(zarr.open_array(self.path / name, mode="r")[...])

    def time_of(self, step: int) -> str:
        """The time of a step as text."""
        return format_time(self.values("time")[step].astype("datetime64[s]"))

    def metadata_faults(self) -> Iterator[str]:
        """Metadata that was changed, or that contradicts itself or the schema."""
        if not metadata.is_unchanged(self._root):
            yield "zarr.json is not as sarcast wrote it: what it states was changed"
        for name in metadata.contradictions(self.path, self.entries):
            if not (self.path / name / metadata.METADATA).is_file():
                yield f"{name} has lost its files"
            else:
                yield f"{name}/zarr.json is damaged, or zarr.json is: they contradict each other"
        yield from _schema_faults(self.entries)

    def unchecked(self) -> list[str]:
        """Names of the arrays whose values have no checksum."""
        return [name for name, each in self.entries.items() if not _has_checksum(each["codecs"])]

    def is_unfinished(self) -> bool:
        """Whether arrays are longer than readers see: a build is running or was killed."""
        found = ((metadata.read_array_metadata(self.path, n), e) for n, e in self.entries.items())
        return any(own is not None and own["shape"] != entry["shape"] for own, entry in found)


def _schema_faults(entries: Mapping[str, Json]) -> Iterator[str]:
    for name, variable in SCHEMA.items():
        if name not in entries:
            if name not in (*OPTIONAL, "seen"):
                yield f"{name} is missing"
            continue
        attrs = entries[name]["attributes"]
        dtype = _TYPE_NAMES.get(variable.dtype, variable.dtype)
        if entries[name]["data_type"] != dtype:
            yield f"{name} is of type {entries[name]['data_type']}, not {dtype}"
        for key in ("units", "scale_factor", "_FillValue"):
            stored, expected = attrs.get(key), variable.attrs.get(key)
            if stored != expected:
                yield f"{name} has {key} {stored!r}, not {expected!r}"


def _has_checksum(codecs: object) -> bool:
    return '"checksum": true' in json.dumps(codecs)


# --- chunks ---------------------------------------------------------------------------------------


def lost_chunk_faults(arrays: StoredArrays) -> Iterator[str]:
    """Arrays of which files are missing or empty."""
    for name, entry in arrays.entries.items():
        lost = chunks.missing_count(arrays.path, name, entry)
        if not lost or not arrays.is_complete:
            continue
        line = f"{name} has lost {lost} of its files"
        if chunks.has_own_chunk_per_step(entry):
            steps = sorted(chunks.incomplete_steps(arrays.path, name, entry))
            line += f", on {len(steps)} dates ({arrays.time_of(steps[0])} first)"
        yield line


def damaged_chunk_faults(arrays: StoredArrays, workers: Workers) -> Iterator[str]:
    """Read every chunk but those of the backscatter, and name those that cannot be read."""
    calls = [
        (arrays.path, name, region(entry, index))
        for name, entry in arrays.entries.items()
        if name != "backscatter"
        for index in sorted(chunks.present_chunks(arrays.path, name, entry))
    ]
    futures = workers.submit_each(_read_error, track(calls, "reading conditions", len(calls)))
    for (_, name, where), future in zip(calls, futures, strict=True):
        error = future.result()
        if error:
            yield f"{name} cannot be read{_date_of(arrays, name, where)} ({error})"


def region(entry: Json, index: Index) -> tuple[slice, ...]:
    """The part of an array that a chunk covers."""
    sizes = zip(index, metadata.chunk_shape(entry), entry["shape"], strict=True)
    return tuple(slice(i * size, min((i + 1) * size, end)) for i, size, end in sizes)


def _read_error(path: Path, name: str, where: tuple[slice, ...]) -> str:
    """First line of the error of reading a part of an array; empty if it can be read."""
    try:
        _ = zarr.open_array(path / name, mode="r")[where]
    except Exception as error:  # a codec may raise anything on damaged bytes
        return first_line(error)
    return ""


def _date_of(arrays: StoredArrays, name: str, where: tuple[slice, ...]) -> str:
    if not chunks.has_own_chunk_per_step(arrays.entries[name]):
        return ""
    return f" on {arrays.time_of(where[0].start)}"


# --- values ---------------------------------------------------------------------------------------


def value_faults(arrays: StoredArrays) -> Iterator[str]:
    """Values that no build writes; the arrays must be readable."""
    values = cache(arrays.values)
    ids = [str(each) for each in values("scene_id")]
    doubled = sorted({each for each in ids if ids.count(each) > 1})
    if doubled:
        yield f"scene_id {doubled[0]!r} stands at {ids.count(doubled[0])} dates"
    elif "" in ids:
        yield f"scene_id is empty on {arrays.time_of(ids.index(''))}"
    if tuple(values("band")) not in [pair[: values("band").size] for pair in PAIRS]:
        yield f"band has the values {values('band').tolist()}, not {' or '.join(map(str, PAIRS))}"
    if values("lag").tolist() != list(range(LAGS)):
        yield f"lag has the values {values('lag').tolist()}, not 0 to {LAGS - 1}"
    wrong = sorted({*map(str, values("orbit_direction"))} - {*_DIRECTIONS})
    if wrong:
        yield f"orbit_direction has the value {wrong[0]!r}, expected ascending or descending"
    orbits = values("relative_orbit")
    if np.any((orbits < 0) | (orbits > _MOST_ORBITS)):
        yield f"relative_orbit has values outside 0 to {_MOST_ORBITS}"
