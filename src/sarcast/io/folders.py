"""Folders searched recursively, with links followed."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from sarcast.errors import SarcastError

_log = logging.getLogger(__name__)

Report = Callable[[str, Path], None]
"""Called with a reason and a path that cannot be searched."""

LOOP = "link to a folder that contains it"
BROKEN = "link to a file that does not exist"
DENIED = "permission denied"


def log_problem(reason: str, path: Path) -> None:
    """Report that a path cannot be searched, as a warning."""
    _log.warning(f"{path} is left out: {reason}")


def walk(folder: Path, report: Report = log_problem) -> Iterator[tuple[Path, list[Path]]]:
    """Folders below a folder, and the files in each; links to folders and files are followed.

    A folder that can be reached by several paths is searched once.

    Parameters
    ----------
    folder
        Folder to search.
    report
        Called for links that form a loop or lead nowhere, and for folders that cannot be read;
        default: a warning.

    Yields
    ------
    Path, list of Path
        A folder and its files, sorted by name.

    Raises
    ------
    SarcastError
        If the folder itself cannot be read.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise SarcastError(f"{folder} cannot be read: permission denied; check its mode")
    yield from _walk(folder, frozenset(), set(), report)


def _walk(
    folder: Path, above: frozenset[str], searched: set[str], report: Report
) -> Iterator[tuple[Path, list[Path]]]:
    real = os.path.realpath(folder)
    if real in above:
        report(LOOP, folder)
        return
    if real in searched:
        return
    searched.add(real)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_symlink(), entry.name))
    except PermissionError:
        report(DENIED, folder)
        return
    paths = [Path(entry.path) for entry in entries]
    for path in paths:
        if path.is_symlink() and not os.path.exists(path):  # noqa: PTH110 - Path raises on loops
            report(BROKEN, path)
    yield folder, [path for path in paths if os.path.isfile(path)]  # noqa: PTH113
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112
            yield from _walk(path, above | {real}, searched, report)
