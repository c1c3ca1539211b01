"""Locks of folders, which the system releases however a process ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from filelock import lock_descriptor

PARTIAL, REPLACED = ".partial", ".replaced"
"""Suffixes of hidden folders: a result being written, and an older result being replaced."""
FOLDERS_OPEN = os.name != "nt"
"""Whether the system opens a folder as a file, so that the folder itself can carry the lock.

Such a system also renames a folder to the name of an empty one.
"""


@contextmanager
def locked(folder: Path) -> Iterator[bool | None]:
    """Try to lock a folder without waiting.

    Yields
    ------
    bool or None
        True if this process has the lock. False if another has it, or deleted the folder
        meanwhile. None if the disk has no locks.
    """
    path = _lock_path(folder)
    is_ours: bool | None = False
    descriptor = None
    try:
        if folder.exists():
            with suppress(FileNotFoundError):
                descriptor = os.open(path, _FLAGS[path == folder])
                is_ours = _try_lock(descriptor, path)
        yield is_ours
    finally:
        if descriptor is not None:
            os.close(descriptor)
            if path != folder and is_ours is not False:
                with suppress(OSError):  # Windows keeps a file that another process has open
                    path.unlink()


_FLAGS = {True: os.O_RDONLY, False: os.O_RDWR | os.O_CREAT}
"""Flags to open a folder, and to open or create a lock file."""


def _lock_path(folder: Path) -> Path:
    """Path whose lock stands for a folder.

    The folder itself; on Windows a hidden file beside it, which is deleted at the end and stays
    empty beside it after a kill. A hidden folder and the one that it replaces share that file.
    """
    if FOLDERS_OPEN:
        return folder
    name = folder.name.removesuffix(PARTIAL).removesuffix(REPLACED)
    return folder.with_name(f".{name.removeprefix('.')}.lock")


def _try_lock(descriptor: int, path: Path) -> bool | None:
    try:
        has_lock = lock_descriptor(descriptor, blocking=False)
        return has_lock and os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
    except OSError:  # a disk without locks
        return None


def remove_unused(target: Path) -> None:
    """Delete the lock files of hidden folders of a target that are gone."""
    with suppress(OSError):
        for path in target.parent.glob(f".{escape(target.name)}-{'[0-9a-f]' * 8}.lock"):
            if not any(path.with_suffix(end).exists() for end in (PARTIAL, REPLACED)):
                path.unlink(missing_ok=True)
