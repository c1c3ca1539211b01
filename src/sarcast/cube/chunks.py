"""The files of a store's arrays: which chunks exist, which are missing, and what others put there.

Zarr reads a chunk without a file as fill values. A build writes every chunk, also one of nothing
but fill values, so that a missing file is a damage; cubes of version 1 lack files that had no data.
"""

import math
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sarcast.cube.metadata import METADATA, OWN_ARRAYS, Json, chunk_shape, dims_of
from sarcast.errors import SarcastError

Index = tuple[int, ...]
"""Indices of a chunk, one for each dim of its array."""
NEVER_EMPTY = ("time", "scene_id", "band", "y", "x", "cy", "cx", "lag")
"""Arrays without a chunk of nothing but fill values, so that no cube may lack a file of theirs."""
WRITE_ALL: Any = {"write_empty_chunks": True}
"""Configuration of Zarr arrays that write every chunk."""
_CHUNKS = "c"
"""Folder of an array's chunks; the file of a chunk without dims."""
_PARTIAL_FILE = re.compile(r".+\.[0-9a-f]+\.partial")
"""Name of a file that was being written when a build was killed."""
_DESKTOP_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Files that file managers leave in folders."""


def chunk_counts(entry: Json) -> Index:
    """Number of chunks of an array along each dim."""
    sizes = zip(entry["shape"], chunk_shape(entry), strict=True)
    return tuple(-(-size // chunk) for size, chunk in sizes)


def present_chunks(path: Path, name: str, entry: Json) -> set[Index]:
    """Indices of the chunks of an array that have a file with content."""
    counts = chunk_counts(entry)
    found = _files(path / name / _CHUNKS, len(counts))
    return {
        index
        for index in found
        if all(number < count for number, count in zip(index, counts, strict=True))
    }


def _files(folder: Path, depth: int) -> Iterator[Index]:
    if depth == 0:
        if folder.is_file() and folder.stat().st_size:
            yield ()
        return
    for number, entry in _numbered(folder):
        for rest in _files(entry, depth - 1):
            yield (number, *rest)


def _numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    """Entries of a folder whose name is an index; others are not ours."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if re.fullmatch(r"0|[1-9][0-9]{0,9}", entry.name):
            yield int(entry.name), entry


def missing_count(path: Path, name: str, entry: Json) -> int:
    """Number of chunks of an array without a file."""
    return math.prod(chunk_counts(entry)) - len(present_chunks(path, name, entry))


def check_small_arrays(path: Path, visible: Mapping[str, Json], *, every: bool) -> None:
    """Make sure that no chunk of a coordinate is missing.

    Parameters
    ----------
    path
        Path of the store.
    visible
        Metadata of its arrays.
    every
        Whether every chunk should be a file, as from version 2 on.

    Raises
    ------
    SarcastError
        If a chunk is missing.
    """
    for name in OWN_ARRAYS if every else NEVER_EMPTY:
        is_small = name in visible and (len(visible[name]["shape"]) < 2 or name == "seen")
        if is_small and missing_count(path, name, visible[name]):
            raise SarcastError(
                f"{path} is a damaged cube: {name} is stated to have the shape "
                f"{visible[name]['shape']}, but values of it are missing; restore "
                f"{path / name}, or remove {path} and build it again"
            )


def has_own_chunk_per_step(entry: Json) -> bool:
    """Whether each time step of an array has files of its own."""
    return dims_of(entry)[:1] == ("time",) and chunk_shape(entry)[0] == 1


def incomplete_steps(path: Path, name: str, entry: Json) -> set[int]:
    """Time steps of which an array lacks a chunk."""
    steps, *others = chunk_counts(entry)
    present = dict.fromkeys(range(steps), 0)
    for step, *_ in present_chunks(path, name, entry):
        present[step] += 1
    return {step for step, count in present.items() if count < math.prod(others)}


# --- what a build may delete ----------------------------------------------------------------------


def delete_chunks_beyond(path: Path, name: str, entry: Json) -> None:
    """Delete the chunks of an array that varies in time beyond its last step."""
    (steps, *_), (size, *_) = entry["shape"], chunk_shape(entry)
    for number, chunk in _numbered(path / name / _CHUNKS):
        if number * size >= steps:
            delete(chunk)


def delete_partial_files(path: Path) -> None:
    """Delete files that were being written when a build was killed."""
    for partial in path.rglob("*.partial"):
        if _PARTIAL_FILE.fullmatch(partial.name) and partial.is_file():
            partial.unlink(missing_ok=True)


def foreign_names(path: Path) -> set[str]:
    """Names in the folder of a store that neither a build nor a file manager leaves there."""
    names = {p.name for p in path.iterdir() if p.suffix != ".partial"} if path.is_dir() else set()
    return names - {*OWN_ARRAYS, METADATA, *_DESKTOP_FILES}


def own_arrays(path: Path) -> list[str]:
    """Names of the arrays of a build that have a folder in a store."""
    return sorted(name for name in OWN_ARRAYS if (path / name).is_dir())


def delete(entry: Path) -> None:
    """Delete a file or a folder."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
