"""What a folder holds, without what differs between any two runs."""

import hashlib
import re
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pyarrow.parquet

Contents = Mapping[str, str]
"""Digest of each file by its path; of a folder, of a link and of what runs differ in, a word."""

_VARYING = re.compile(rb"\b(seconds|created|updated|inode|overwrite)(['\"]?: ?)['\"]?[^\s,'\"}]+")
"""What differs between runs in text: times, and the flag that a message may ask for."""
_LOGS = re.compile(r"training/(stage-\d+/)?logs/|(^|/)monitor\.log$")
"""Logs: of TensorBoard, each named by the time and process of its run, and of monitoring."""


def contents(folder: Path) -> Contents:
    """Digests of all files below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if _LOGS.search(name):
            continue
        if path.is_dir():
            found[f"{name}/"] = "folder"
        else:
            found[name] = _digest(path)
    return found


def states(folder: Path) -> Contents:
    """Size and time of change of all files below a folder, which show that none was touched."""
    return {
        path.relative_to(folder).as_posix(): f"{path.stat().st_size} {path.stat().st_mtime_ns}"
        for path in sorted(folder.rglob("*"))
    }


def differences(found: Contents, expected: Contents) -> list[str]:
    """Name the files that are missing, differ or are left over."""
    names = sorted(found.keys() | expected.keys())
    return [
        f"{name} ({_word(found.get(name), expected.get(name))})"
        for name in names
        if found.get(name) != expected.get(name)
    ]


def _word(found: str | None, expected: str | None) -> str:
    if found is None:
        return "missing"
    return "left over" if expected is None else "differs"


def _digest(path: Path) -> str:
    data = _READERS.get(path.suffix, Path.read_bytes)(path)
    if path.suffix in (".yaml", ".json", ".html"):
        # an evaluation holds its command line
        data = _VARYING.sub(rb"\1\2", data).replace(b" --overwrite", b"")
    return hashlib.sha256(data).hexdigest()[:16]


def _rows(path: Path) -> bytes:
    """Content of a GeoPackage, without its time stamp and its index."""
    with closing(sqlite3.connect(path.resolve().as_uri() + "?mode=ro", uri=True)) as base:
        names = base.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        kept = [n for (n,) in names if not n.startswith(("gpkg_contents", "rtree_", "sqlite_"))]
        return repr([(n, base.execute(f'SELECT * FROM "{n}"').fetchall()) for n in kept]).encode()


def _items(path: Path) -> bytes:
    """Content of a catalogue, without the times at which its items were made."""
    table = pyarrow.parquet.read_table(path, use_threads=False)
    kept = [name for name in table.column_names if name not in ("created", "updated")]
    return repr(table.select(kept).to_pylist()).encode()


_READERS: Mapping[str, Callable[[Path], bytes]] = {".gpkg": _rows, ".parquet": _items}
"""Files of which parts differ between runs, and what of them must not."""
