"""The record of a folder catalogue: the folders outside it whose rasters were indexed into it.

It counts only where it was written: for the folder at the same path, or the same folder after it
was moved. A catalogue from somebody else has its record from another path and another disk.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sarcast.io.documents import parse_json
from sarcast.io.files import new_file

NAME = "folders.json"
_MOST_BYTES = 16 * 2**20


def recorded_folders(catalogue: Path) -> tuple[str, ...]:
    """Folders in the record of a catalogue; none if it has no record, or one from elsewhere."""
    try:
        with (catalogue / NAME).open("rb") as file:
            record = parse_json(file.read(_MOST_BYTES))
        if record["path"] != _path(catalogue) and record["inode"] != catalogue.stat().st_ino:
            return ()
        return tuple(folder for folder in record["folders"] if isinstance(folder, str))
    except (OSError, ValueError, LookupError, TypeError):
        return ()


def record_folders(catalogue: Path, files: Iterable[Path]) -> None:
    """Add the folders of files to the record of a catalogue, except those that lie in it."""
    own = Path(_path(catalogue))
    found = {folder for folder in {path.parent for path in files} if _is_outside(folder, own)}
    before = recorded_folders(catalogue)
    folders = _outermost({*before, *map(str, found)})
    if not found or folders == sorted(before):
        return
    content: dict[str, Any] = {
        "path": str(own),
        "inode": catalogue.stat().st_ino,
        "folders": folders,
    }
    with new_file(catalogue / NAME) as partial:
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _path(catalogue: Path) -> str:
    return os.path.realpath(catalogue)


def _is_outside(folder: Path, catalogue: Path) -> bool:
    return folder != catalogue and catalogue not in folder.parents


def _outermost(folders: set[str]) -> list[str]:
    """Folders that lie in no other of them, sorted."""
    kept: list[str] = []
    for folder in sorted(folders, key=lambda folder: (len(Path(folder).parts), folder)):
        if not any(str(parent) in kept for parent in Path(folder).parents):
            kept.append(folder)
    return sorted(kept)
