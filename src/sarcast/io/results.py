"""Result folders, known by their content: which of their files are ours, and which are the user's.

The record beside a result, ``run.yaml``, lists the files of the result. All other files belong to
the user, such as a QGIS project saved beside the rasters, and stay when a result is replaced.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sarcast.io.documents import MalformedError, read_yaml

RECORD = "run.yaml"
"""File beside a result that contains its resolved options, and the list of its files."""
RESULTS = (RECORD, "model.yaml")
"""Every result folder contains one of these; a folder without them is never replaced."""
FILES = "files"
"""Key of the list of files in a record."""
RECORDED = (
    *("ablate", "bench", "demo", "detect", "evaluate", "predict", "tfrecord", "train", "view"),
    "world",
)
"""Verbs that write a record."""
CLUTTER = (".DS_Store", "Thumbs.db", "desktop.ini", ".directory")
"""Files that file managers write into every folder that they show."""

_OF_ANY_RESULT = (*RESULTS, "model.safetensors")
_OF_TRAINING = re.compile(r"training/(stage-\d+/)?(checkpoints/|logs/|model/|run\.yaml$)")
_SIDECARS = (".aux.xml", ".ovr", ".msk", "-wal", "-shm", "-journal")
"""Ends of files that GDAL and SQLite write beside a file; they are of no use to another content."""


def is_result(folder: Path) -> bool:
    """Whether a folder holds a result: a record that names a verb of ours, or a model's card."""
    return _read_record(folder) is not None or _is_model(folder)


def is_free(folder: Path) -> bool:
    """Whether a folder is empty, apart from what file managers write."""
    return all(path.name in CLUTTER for path in folder.iterdir())


def add_file_list(folder: Path) -> None:
    """Add the list of all files of a result to its record, if it has one."""
    record = folder / RECORD
    if record.is_file():
        listed = yaml.safe_dump({FILES: sorted(_entries(folder))}, allow_unicode=True, width=10000)
        with record.open("a", encoding="utf-8") as file:
            file.write(f"# --overwrite replaces these, and keeps all others.\n{listed}")


def foreign_files(folder: Path, newer: Path) -> list[Path]:
    """List the files in a result folder that are not of the result, relative to it.

    Parameters
    ----------
    folder
        The result folder.
    newer
        Folder of the result that replaces it. A record of an earlier version lists no files: then
        those are ours that the newer result has too.
    """
    record = _read_record(folder) or {}
    listed = record.get(FILES)
    own = {str(name) for name in listed} if isinstance(listed, list) else set(_entries(newer))
    own.update(_OF_ANY_RESULT)
    is_model = _is_model(folder)
    return [
        Path(entry)
        for entry in sorted(_entries(folder))
        if entry not in own
        and _described_file(entry) not in own
        and not (is_model and _OF_TRAINING.match(entry))
    ]


def taken_name(names: list[Path], folder: Path) -> Path | None:
    """Give the first of some names that another file or folder already has in a folder."""
    for name in names:
        if os.path.lexists(folder / name) or any((folder / p).is_file() for p in name.parents):
            return name
    return None


def link_files(names: list[Path], folder: Path, target: Path) -> None:
    """Make files of one folder appear in another too, by links where the disk has them.

    Parameters
    ----------
    names
        The files, relative to both folders; no such file may exist in the other.
    folder, target
        The folders.
    """
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        _link(folder / name, target / name)


def _link(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, copy_function=_link_file)
    else:
        _link_file(source, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    """Link a file, or copy it where that is not possible; links are linked and not followed."""
    try:
        os.link(source, target, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(source, target, follow_symlinks=False)


def _entries(folder: Path, parent: str = "") -> Iterator[str]:
    """Names of all files below a folder, relative to it; a Zarr store is one, ``name/``."""
    for path in (folder / parent).iterdir():
        name = f"{parent}{path.name}"
        if path.is_symlink() or not path.is_dir():
            yield name
        elif (path / "zarr.json").is_file():
            yield f"{name}/"
        else:
            yield from _entries(folder, f"{name}/")


def _described_file(entry: str) -> str | None:
    """Name of the file that a sidecar belongs to; None for other files."""
    for end in _SIDECARS:
        if entry.endswith(end):
            return entry.removesuffix(end)
    return None


def _read_record(folder: Path) -> dict[str, Any] | None:
    """Read the record of a folder; None if there is none, or none of ours."""
    record = _read_mapping(folder / RECORD)
    is_ours = any(isinstance(record.get(verb, ""), dict | None) for verb in RECORDED)
    return record if is_ours else None


def _is_model(folder: Path) -> bool:
    card = _read_mapping(folder / "model.yaml")
    return isinstance(card.get("format"), int) and isinstance(card.get("network"), str)


def _read_mapping(path: Path) -> dict[str, Any]:
    """Read a file of YAML; empty if it cannot be read, or is no mapping."""
    try:
        content = read_yaml(path)
    except (OSError, MalformedError):
        return {}
    return content if isinstance(content, dict) else {}
