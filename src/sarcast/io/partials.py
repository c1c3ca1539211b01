"""Hidden folders beside a target: results being written, and what killed runs left of them."""

import asyncio
import concurrent.futures
import logging
import os
import re
import shutil
import sys
import threading
import time
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

from sarcast.io import locks
from sarcast.io.locks import PARTIAL, REPLACED

_log = logging.getLogger(__name__)

_UNFINISHED = rf"-[0-9a-f]{{8}}{re.escape(PARTIAL)}"
_HIDDEN = re.compile(
    rf"\.+(?P<name>.+?)({_UNFINISHED})*({_UNFINISHED}|-[0-9a-f]{{8}}{re.escape(REPLACED)})"
)
"""Names of hidden folders of the target ``name``; earlier versions nested them."""


def is_partial(path: Path) -> bool:
    """Whether a path lies in a hidden folder of an unfinished result, of a live or killed run."""
    return any(part.startswith(".") and part.endswith(PARTIAL) for part in path.parts)


def remove_stale(target: Path) -> bool:
    """Delete hidden folders of killed runs beside a target; restore a result they had moved away.

    A run locks its hidden folder, and the system releases the lock however the run ends. Locked
    folders are kept.

    Returns
    -------
    bool
        Whether another run still writes the target.
    """
    restore(target)
    is_live = any([_remove_hidden(path) for path in _hidden_folders(target)])
    locks.remove_unused(target)
    return is_live


def remove_stale_in(folder: Path) -> None:
    """Remove what killed runs left beside any file or folder in a folder."""
    for name in {match["name"] for path in folder.iterdir() if (match := _hidden(path))}:
        remove_stale(folder / name)


def _hidden(path: Path) -> re.Match[str] | None:
    return _HIDDEN.fullmatch(path.name)


def _hidden_folders(target: Path) -> list[Path]:
    """List the hidden folders of a target."""
    with suppress(OSError):
        found = [(path, _hidden(path)) for path in target.parent.iterdir()]
        return [path for path, match in found if match and match["name"] == target.name]
    return []


def _remove_hidden(folder: Path) -> bool:
    """Delete a hidden folder unless a run holds its lock; return whether one does."""
    with suppress(OSError), locks.locked(folder) as is_ours:
        if is_ours:
            remove(folder)
        return is_ours is False and folder.exists()
    return False


def restore(target: Path) -> None:
    """Put an older result back that a killed run had moved away before the newer took its place."""
    for stale in _hidden_folders(target):
        if stale.suffix != REPLACED:
            continue
        is_lost = not target.exists() or stale.with_suffix(PARTIAL).exists()
        with suppress(OSError), locks.locked(stale) as is_ours:
            if is_ours and is_lost and put_beside(stale, target) != target:
                _log.warning(f"an older result that a killed run had moved away is beside {target}")


def put_beside(folder: Path, target: Path) -> Path:
    """Rename a folder to its target or, where that is taken, to a free name beside it."""
    others = (target.with_name(f"{target.name}-{number}") for number in count(2))
    return folder.rename(next(p for p in chain((target,), others) if not os.path.lexists(p)))


def remove(folder: Path) -> None:
    """Delete a folder, into which threads of an interrupted run may still write for a moment."""
    if os.path.lexists(folder):
        _await_zarr()
    for _ in range(_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(_PAUSE_S)


_ATTEMPTS, _PAUSE_S, _SETTLE_S = 40, 0.05, 5.0
"""Attempts to delete a folder, seconds between them, and the longest wait for Zarr, seconds."""


def _await_zarr() -> None:
    """Let Zarr's thread finish what an interrupted call left to it: it would write once more."""
    sync = sys.modules.get("zarr.core.sync")
    loop = None if sync is None else sync.loop[0]
    if sync is None or loop is None or not loop.is_running():
        return
    if threading.current_thread() is not sync.iothread[0]:
        with suppress(concurrent.futures.TimeoutError):
            asyncio.run_coroutine_threadsafe(_all_others(), loop).result(_SETTLE_S)


async def _all_others() -> None:
    """Wait for all other tasks of this loop."""
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(tasks, timeout=_SETTLE_S)
