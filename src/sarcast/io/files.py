"""Atomic outputs: written to a hidden folder beside the target, then renamed.

A run locks its target. Whatever a killed run left beside it is removed by the next one.
"""

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from sarcast.errors import SarcastError
from sarcast.io import locks
from sarcast.io.locks import PARTIAL, REPLACED
from sarcast.io.partials import (
    put_beside,
    remove,
    remove_stale,
    remove_stale_in,
    restore,
)
from sarcast.io.results import (
    RESULTS,
    add_file_list,
    foreign_files,
    is_free,
    is_result,
    link_files,
    taken_name,
)


@contextmanager
def new_folder(target: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> Iterator[Path]:
    """Give a folder to write into; it replaces ``target`` if the block ends without an error.

    The target is locked meanwhile. Files in it that are not of the result stay.

    Parameters
    ----------
    target
        Folder to create; an existing one must be empty unless ``overwrite`` is true.
    overwrite
        Replace an existing result, by two renames at the end.
    inputs
        Paths that the work reads; they must not be replaced.

    Raises
    ------
    SarcastError
        If the target is not empty and may not be replaced, another run is writing it, it was
        changed meanwhile, or the disk is full.
    """
    target = target.resolve()
    check_inputs(target, inputs)
    with ExitStack() as stack:
        with _name_target(target, target):
            stack.enter_context(exclusive(target))
        check_target(target, overwrite=overwrite)
        _check_replaceable(target)
        found = _Found.of(target)
        partial = stack.enter_context(_hidden_folder(target))
        yield partial
        add_file_list(partial)
        _replace(partial, target, found)


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a path to write to; the file replaces ``target`` if the block ends without an error."""
    target = target.parent.resolve() / target.name
    remove_stale(target)
    with _hidden_folder(target) as folder:
        yield folder / target.name
        (folder / target.name).replace(target)


def check_target(target: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Raise if ``target`` is a file, or a folder that is not empty and may not be replaced."""
    check_inputs(target, inputs)
    if target.is_file():
        raise SarcastError(f"{target} is a file, expected a folder; name another target")
    if not target.is_dir() or is_free(target):
        return
    if not overwrite:
        raise SarcastError(f"{target} exists and is not empty; add --overwrite to replace it")
    if not is_result(target):
        raise SarcastError(
            f"{target} contains no {' or '.join(RESULTS)} that sarcast wrote, so it is not a "
            f"result of sarcast and is not replaced; name another folder, or empty it yourself"
        )


def check_inputs(target: Path, inputs: Sequence[Path]) -> None:
    """Raise if a target is, contains or lies in one of the inputs."""
    resolved = target.resolve()
    for source in (path.resolve() for path in inputs):
        if resolved == source or resolved in source.parents or source in resolved.parents:
            raise SarcastError(
                f"{target} is, contains or lies in {source}, which is an input; name another target"
            )


def _check_replaceable(target: Path) -> None:
    """Raise if a target cannot be renamed, or is the current folder of the shell."""
    reason = ""
    if target.is_dir() and os.path.ismount(target):
        reason = "a disk is mounted there"
    elif Path.cwd().is_relative_to(target):
        reason = "this command runs in it"
    if reason:
        raise SarcastError(
            f"{target} cannot be replaced as a whole, since {reason}; name a folder inside it"
        )


# --- a finished result takes its place ------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """A target as it was found at first.

    Attributes
    ----------
    identity
        Which folder it was.
    is_free
        Whether it was empty; otherwise it held a result, which may be replaced.
    """

    identity: os.stat_result
    is_free: bool

    @classmethod
    def of(cls, target: Path) -> "_Found":
        return cls(target.stat(), is_free(target))

    def is_unchanged(self, target: Path) -> bool:
        """Whether a target is the same folder, and as empty as before or a result as before."""
        try:
            now = target.lstat()
        except FileNotFoundError:
            return False
        is_same = os.path.samestat(self.identity, now) and stat.S_ISDIR(now.st_mode)
        return is_same and (is_free(target) if self.is_free else is_result(target))


def _replace(partial: Path, target: Path, found: _Found) -> None:
    """Put a finished result in the place of its target, and the files of others into it.

    Raises
    ------
    SarcastError
        If the target was changed meanwhile, cannot be renamed, or has a file of the user with the
        name of a new one; then the result is kept beside it.
    """
    if not found.is_unchanged(target):
        _keep_beside(partial, target, "was changed during the run")
    foreign = foreign_files(target, partial)
    if name := taken_name(foreign, partial):
        _keep_beside(partial, target, f"has a file {name} that sarcast did not write")
    try:
        link_files(foreign, target, partial)
        if any(target.iterdir()):
            _swap(partial, target)
        else:
            _fill(partial, target)
    except OSError as error:
        if _disk_limit(error):
            raise
        _keep_beside(partial, target, f"could not be replaced ({error.strerror})")


def _fill(partial: Path, target: Path) -> None:
    """Put a result in the place of an empty folder."""
    if not locks.FOLDERS_OPEN:
        target.rmdir()
    partial.rename(target)


def _swap(partial: Path, target: Path) -> None:
    """Put a result in the place of an older one, which is deleted then."""
    replaced = partial.with_suffix(REPLACED)
    try:
        target.rename(replaced)
        partial.rename(target)
    finally:
        if not partial.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        elif replaced.exists():
            put_beside(replaced, target)


def _keep_beside(partial: Path, target: Path, reason: str) -> NoReturn:
    kept = put_beside(partial, target.with_name(f"{target.name}-new"))
    raise SarcastError(
        f"{target} {reason}, so it was left as it is; the new result is in {kept}: "
        f"move it to where you want it"
    )


# --- folders that are deleted at the end ----------------------------------------------------------


@contextmanager
def _hidden_folder(target: Path) -> Iterator[Path]:
    """Give a new, locked, hidden folder beside a target; it is deleted at the end."""
    partial = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        with explain_full_disk(target), _name_target(target, partial):
            partial.mkdir(parents=True)
            with locks.locked(partial):
                yield partial
    finally:
        remove(partial)


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder that is deleted at the end; what a killed run left there goes first.

    For use inside a folder that is locked by ``exclusive``.
    """
    try:
        remove(folder)
        folder.mkdir(parents=True)
        yield folder
    finally:
        remove(folder)


# --- locked targets -------------------------------------------------------------------------------


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock a folder for this process, if its disk has locks, and clear what killed runs left.

    Parameters
    ----------
    folder
        Created if it does not exist, and then removed at the end if it is still empty. A file of
        this name is not locked: the work itself refuses it.

    Raises
    ------
    SarcastError
        If another run has locked it; there is no waiting.
    """
    if folder.is_file():
        yield
        return
    folder = folder.resolve()
    restore(folder)
    made: list[Path] = []
    is_refused = False
    try:
        _make(folder, made)
        with locks.locked(folder) as has_lock:
            is_refused = has_lock is False or remove_stale(folder)
            if is_refused:
                raise SarcastError(
                    f"another run is writing {folder}; wait for it to end, or name another target"
                )
            remove_stale_in(folder)
            yield
    finally:
        if not is_refused:
            with suppress(OSError):
                for path in made:
                    path.rmdir()


def _make(folder: Path, made: list[Path]) -> None:
    """Create a folder and its parents; put those created into ``made``, innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        made.insert(0, path)
        try:
            path.mkdir()
        except FileExistsError:  # another run created it meanwhile
            made.remove(path)


# --- errors of the disk ---------------------------------------------------------------------------


@contextmanager
def _name_target(target: Path, hidden: Path) -> Iterator[None]:
    """Name the target, not the hidden folder, when the system cannot write there."""
    try:
        yield
    except OSError as error:
        path = Path(error.filename or "")
        is_hidden = path.is_relative_to(hidden) or (path.name and hidden.is_relative_to(path))
        if _disk_limit(error) or not is_hidden:
            raise
        raise SarcastError(
            f"{target} cannot be written: {error.strerror}; name another target, or make its "
            f"folder writable"
        ) from error


@contextmanager
def explain_full_disk(target: Path) -> Iterator[None]:
    """Turn the system's error for a full disk, or a file too large for it, into one line.

    The line names the target.
    """
    try:
        yield
    except Exception as error:
        limit = _disk_limit(error)
        if limit is not None:
            raise SarcastError(limit.format(target=target)) from error
        raise


_FULL = (
    "no space left on the disk of {target}; unfinished output was not kept: free some space or "
    "name a target on another disk, and run it again"
)
_TOO_LARGE = (
    "a file is too large for the disk of {target}, or for the limit of this process (ulimit -f); "
    "unfinished output was not kept: name a target on another disk, or raise the limit, and run "
    "it again"
)
_LIMITS = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EFBIG: _TOO_LARGE}


def _disk_limit(error: BaseException | None) -> str | None:
    """Line for an error that a limit of the disk caused, directly or not; None for others."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _LIMITS:
            return _LIMITS[error.errno]
        for number, line in _LIMITS.items():
            if os.strerror(number) in str(error):
                return line
        error = error.__cause__ or error.__context__
    return None
