"""The metadata of a store: one file that decides which arrays and steps readers see.

``zarr.json`` has the attributes of the store and a copy of the metadata of each array, which Zarr
calls consolidated. It is replaced in one rename, so that a step is visible or not. From version 2
on it contains a checksum of itself.
"""

import hashlib
import json
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sarcast.cube.schema import SCHEMA
from sarcast.errors import SarcastError, first_line

METADATA = "zarr.json"
"""File with the metadata of a store or of an array."""
COORDINATE_ARRAYS = ("y", "x", "spatial_ref", "cy", "cx", "lag", "band")
"""Arrays of the grid, besides those of the schema."""
OWN_ARRAYS = (*SCHEMA, *COORDINATE_ARRAYS)
"""Arrays that a build writes; any other in a store is somebody else's."""

_DIMS = {
    **{name: variable.dims for name, variable in SCHEMA.items()},
    **{name: (name,) for name in COORDINATE_ARRAYS if name != "spatial_ref"},
    "spatial_ref": (),
}
"""Dims of the arrays that a build writes."""
_CHECKSUM = "checksum"
"""Attribute of a store: the checksum of its metadata."""
_LONGEST_AXIS = 10**7
"""No dim is longer: a parallel of the Earth has fewer pixels of 4 m."""
_LARGEST_CHUNK = 2**25
"""Most values of a chunk."""

Json = dict[str, Any]


# --- read -----------------------------------------------------------------------------------------


def read_metadata(path: Path) -> Json:
    """Read the metadata of a store.

    Raises
    ------
    SarcastError
        If there is no cube, or its metadata cannot be read.
    """
    cause: Exception | None = None
    try:
        metadata = _read_json(path / METADATA)
        if metadata["node_type"] == "group" and "sarcast_cube" in dict(metadata["attributes"]):
            return metadata
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError) as error:
        cause = error
    if (path / "backscatter").is_dir():
        fault = "cannot be read" if (path / METADATA).exists() else "is missing"
        raise SarcastError(
            f"{path} is a damaged cube: its {METADATA} {fault}; restore it, or remove {path} and "
            f"build it again"
        ) from cause
    raise SarcastError(
        f"{path} is not a cube; build one with: sarcast cube CATALOGUE --to {path}"
    ) from cause


def _read_json(path: Path) -> Json:
    """Read an object; anything else in the file is a ``ValueError``."""
    try:
        found = json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def read_attributes(path: Path) -> Json:
    """Read the attributes of a store; errors as in ``read_metadata``."""
    return dict(read_metadata(path)["attributes"])


def is_listed(metadata: Json) -> bool:
    """Whether the metadata of a store lists its arrays: its creation was completed."""
    return metadata.get("consolidated_metadata") is not None


def is_half_created(path: Path) -> bool:
    """Whether a build was stopped while it created the store, so that no step is visible."""
    if not (path / METADATA).exists() or (path / "backscatter" / "c").exists():
        return False
    return not is_listed(read_metadata(path))


def visible_arrays(path: Path, metadata: Json) -> dict[str, Json]:
    """Metadata of each array that readers see, checked for what reading them relies on.

    Raises
    ------
    SarcastError
        If it is damaged, or states sizes that contradict each other or that no cube has.
    """
    try:
        listed = {
            name: entry
            for name, entry in dict(metadata["consolidated_metadata"]["metadata"]).items()
            if entry["node_type"] == "array"
        }
        fault = next(_layout_faults(listed), None)
    except (KeyError, TypeError, ValueError) as error:
        raise SarcastError(
            f"{path} is a damaged cube: its {METADATA} does not list its arrays; restore it, or "
            f"remove {path} and build it again"
        ) from error
    if fault is not None:
        raise SarcastError(f"{path} is a damaged cube: {fault}; remove it and build it again")
    return listed


def _layout_faults(listed: Mapping[str, Json]) -> Iterator[str]:
    """Arrays that are too large to be true, or whose sizes contradict each other."""
    missing = sorted({"time", "scene_id", "band", "y", "x"} - {*listed})
    if missing:
        yield f"its {METADATA} does not list {missing[0]}"
    sizes: dict[str, tuple[int, str]] = {}
    for name, entry in listed.items():
        if name not in OWN_ARRAYS:
            continue
        shape, chunk = entry["shape"], chunk_shape(entry)
        dims = dims_of(entry)
        known_dims = _DIMS.get(name, dims)
        if not isinstance(entry["attributes"], dict) or "data_type" not in entry:
            yield f"{name} lacks its attributes or its type"
        elif dims != known_dims:
            yield f"{name} has the dims {dims}, not {known_dims}"
        if not _are_sizes(shape, least=0) or not _are_sizes(chunk, least=1):
            yield f"{name} has the shape {shape} and chunks of {chunk}"
        elif len({len(shape), len(chunk), len(dims)}) != 1:
            yield f"{name} has the shape {shape}, the dims {dims} and chunks of {chunk}"
        elif max(shape, default=0) > _LONGEST_AXIS or math.prod(chunk) > _LARGEST_CHUNK:
            yield f"{name} claims the shape {shape} in chunks of {chunk}, larger than any cube"
        for dim, size in zip(dims, shape, strict=False):
            known, other = sizes.setdefault(dim, (size, name))
            if known != size:
                yield f"{name} has {size} values along {dim}, but {other} has {known}"


def _are_sizes(found: object, *, least: int) -> bool:
    return isinstance(found, list) and all(type(each) is int and each >= least for each in found)


def dims_of(entry: Json) -> tuple[str, ...]:
    """Names of the dims of an array; Zarr leaves them out where there is none."""
    return tuple(entry.get("dimension_names") or ())


def chunk_shape(entry: Json) -> list[int]:
    """Shape of the chunks of an array that are files of their own."""
    shape: list[int] = entry["chunk_grid"]["configuration"]["chunk_shape"]
    return shape


def damaged(path: Path, part: str, error: Exception) -> SarcastError:
    """The error for a part of a cube that cannot be read."""
    return SarcastError(
        f"{path} is damaged: {part} cannot be read ({first_line(error)}); check it with "
        f"sarcast cube --check {path}, or remove it and build it again"
    )


# --- write ----------------------------------------------------------------------------------------


def write_metadata(path: Path, arrays: Iterable[str]) -> None:
    """Make the present metadata of the own ``arrays`` visible; arrays of others stay listed."""
    metadata = read_metadata(path)
    listed = dict((metadata.get("consolidated_metadata") or {"metadata": {}})["metadata"])
    for name in arrays:
        listed[name] = _read_json(path / name / METADATA)
    visible = {"kind": "inline", "must_understand": False, "metadata": listed}
    new = {**metadata, "consolidated_metadata": visible}
    if has_checksums(metadata["attributes"]):
        new["attributes"] = {**metadata["attributes"], _CHECKSUM: _checksum(new)}
    replace_json(path / METADATA, new)


def hide_arrays(path: Path) -> None:
    """Make a store look like one whose creation was stopped, before it is deleted."""
    metadata = read_metadata(path)
    replace_json(path / METADATA, {**metadata, "consolidated_metadata": None})


def contradictions(path: Path, visible: Mapping[str, Json]) -> Iterator[str]:
    """Names of the arrays whose own metadata differs from what readers see, other than in size.

    While a build runs, and after one was killed, arrays that vary in time may be longer.
    """
    for name, entry in visible.items():
        found = read_array_metadata(path, name)
        varies = name in SCHEMA and SCHEMA[name].varies_in_time
        if found is None or not (found == entry or (varies and _is_longer(found, entry))):
            yield name


def _is_longer(found: Json, entry: Json) -> bool:
    shape = found.get("shape")
    if not _are_sizes(shape, least=0) or not shape:
        return False
    return bool(
        shape > entry["shape"] and {**found, "shape": [entry["shape"][0], *shape[1:]]} == entry
    )


def restore_array_metadata(path: Path, visible: Mapping[str, Json]) -> None:
    """Give each array the metadata that readers see, where it has another or none."""
    for name, entry in visible.items():
        if name in OWN_ARRAYS and read_array_metadata(path, name) != entry:
            (path / name).mkdir(exist_ok=True)
            replace_json(path / name / METADATA, entry)


def read_array_metadata(path: Path, name: str) -> Json | None:
    """Read the metadata of an array; None if it is missing or damaged."""
    try:
        return _read_json(path / name / METADATA)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def replace_json(path: Path, content: Json) -> None:
    """Replace a file in one rename, in the calling thread: once this returns, it is done."""
    partial = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_text(json.dumps(content, indent=2))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


# --- checksum -------------------------------------------------------------------------------------


def has_checksums(attributes: Mapping[str, Any]) -> bool:
    """Whether a cube of this version has checksums of everything, and every chunk as a file."""
    return bool(attributes["sarcast_cube"] != 1)


def is_unchanged(metadata: Json) -> bool:
    """Whether metadata has its checksum; that of a cube of version 1 may have none."""
    attributes = metadata["attributes"]
    if _CHECKSUM not in attributes:
        return not has_checksums(attributes)
    return bool(attributes[_CHECKSUM] == _checksum(metadata))


def _checksum(metadata: Json) -> str:
    attributes = {k: v for k, v in metadata["attributes"].items() if k != _CHECKSUM}
    text = json.dumps({**metadata, "attributes": attributes}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
