"""Atomic outputs: written to a hidden folder beside the target, then renamed. Folder locks."""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

from sarcast.errors import SarcastError

RECORD = "run.yaml"
"""File beside a result that contains its resolved options."""
RESULTS = (RECORD, "model.yaml")
"""Every result folder contains one of these; a folder without them is never replaced."""


@contextmanager
def new_folder(target: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> Iterator[Path]:
    """Give a folder to write into; it replaces ``target`` if the block ends without an error.

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
        If the target is not empty and may not be replaced, or if the disk is full.
    """
    target = target.resolve()
    remove_stale(target)
    check_target(target, overwrite=overwrite, inputs=inputs)
    with _hidden_folder(target) as partial:
        yield partial
        _replace(partial, target)


def _is_result(folder: Path) -> bool:
    if any((folder / name).exists() for name in RESULTS if name != RECORD):
        return True
    record = folder / RECORD
    return record.is_file() and _FIRST_LINE.match(record.read_text(errors="replace")) is not None


_FIRST_LINE = re.compile(r"[a-z]+:\n")
"""First line of a record of options: the verb alone."""


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
    resolved = target.resolve()
    for source in (path.resolve() for path in inputs):
        if resolved == source or resolved in source.parents or source in resolved.parents:
            raise SarcastError(
                f"{target} is, contains or lies in {source}, which is an input; name another target"
            )
    if target.is_file():
        raise SarcastError(f"{target} is a file, expected a folder; name another target")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not overwrite:
        raise SarcastError(f"{target} exists and is not empty; add --overwrite to replace it")
    if not _is_result(target):
        raise SarcastError(
            f"{target} contains none of {', '.join(RESULTS)}, so it is not a result of sarcast and "
            f"is not replaced; name another folder, or empty it yourself"
        )


# --- hidden folders beside a target ---------------------------------------------------------------


_PARTIAL, _REPLACED = "partial", "replaced"
"""Suffixes of hidden folders: a result being written, and an older result being replaced."""


def is_partial(path: Path) -> bool:
    """Whether a path lies in a hidden folder of an unfinished result, of a live or killed run."""
    return any(part.startswith(".") and part.endswith(f".{_PARTIAL}") for part in path.parts)


def remove_stale(target: Path) -> None:
    """Delete hidden folders of killed runs beside a target; restore a result they had moved away.

    A run locks its hidden folder, and the system releases the lock however the run ends. Locked
    folders are kept.
    """
    pattern = re.compile(rf"\.{re.escape(target.name)}-[0-9a-f]{{8}}\.({_PARTIAL}|{_REPLACED})")
    with suppress(OSError):
        for stale in [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]:
            with suppress(OSError), _locked(stale) as is_ours:
                if not is_ours:
                    continue
                if stale.suffix == f".{_REPLACED}" and not target.exists():
                    stale.rename(target)
                else:
                    shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def _hidden_folder(target: Path) -> Iterator[Path]:
    """Give a new, locked, hidden folder beside a target; it is deleted at the end."""
    partial = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}.{_PARTIAL}")
    try:
        with explain_full_disk(target), _name_target(target, partial):
            partial.mkdir(parents=True)
            with _locked(partial):
                yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


_FOLDERS_OPEN = os.name != "nt"
"""Whether the system opens a folder as a file, so that the folder itself can carry the lock."""


def _lock_path(folder: Path) -> Path:
    """Path whose lock stands for a folder.

    The folder itself; on Windows a hidden file beside it, which is deleted at the end and stays
    empty beside it after a kill. A hidden folder and the one that it replaces share that file.
    """
    if _FOLDERS_OPEN:
        return folder
    name = folder.name.removesuffix(f".{_PARTIAL}").removesuffix(f".{_REPLACED}")
    return folder.with_name(f".{name.removeprefix('.')}.lock")


@contextmanager
def _locked(folder: Path) -> Iterator[bool | None]:
    """Try to lock a folder without waiting; the system releases the lock of a killed process.

    Yields
    ------
    bool or None
        True if this process has the lock. False if another has it, or deleted the folder
        meanwhile. None if the disk has no locks.
    """
    path = _lock_path(folder)
    if not folder.exists():
        yield False
        return
    descriptor = os.open(path, os.O_RDONLY if path == folder else os.O_RDWR | os.O_CREAT)
    is_ours = _try_lock(descriptor, path)
    try:
        yield is_ours
    finally:
        os.close(descriptor)
        if path != folder and is_ours is not False:
            with suppress(OSError):  # Windows keeps a file that another process has open
                path.unlink()


def _try_lock(descriptor: int, path: Path) -> bool | None:
    try:
        locked = lock_descriptor(descriptor, blocking=False)
        return locked and os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
    except OSError:  # a disk without locks
        return None


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder that is deleted at the end; what a killed run left there goes first.

    For use inside a folder that is locked by ``exclusive``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock a folder for this process, if its disk has locks.

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
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as is_ours:
        if is_ours is False:
            raise SarcastError(
                f"another run is writing {folder}; wait for it to end, or name another target"
            )
        try:
            yield
        finally:
            with suppress(OSError):
                if is_new:
                    folder.rmdir()


@contextmanager
def _name_target(target: Path, partial: Path) -> Iterator[None]:
    """Name the target, not the hidden folder, when the system cannot write there."""
    try:
        yield
    except OSError as error:
        path = Path(error.filename or "")
        is_hidden = path.is_relative_to(partial) or (path.name and partial.is_relative_to(path))
        if _is_full_disk(error) or not is_hidden:
            raise
        raise SarcastError(
            f"{target} cannot be written: {error.strerror}; name another target, or make its "
            f"folder writable"
        ) from error


@contextmanager
def explain_full_disk(target: Path) -> Iterator[None]:
    """Turn the system's error for a full disk into one line that names the target."""
    try:
        yield
    except Exception as error:
        if _is_full_disk(error):
            raise SarcastError(
                f"no space left on the disk of {target}; unfinished output was not kept: "
                f"free some space or name a target on another disk, and run it again"
            ) from error
        raise


def _is_full_disk(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _replace(partial: Path, target: Path) -> None:
    if target.exists():
        replaced = partial.with_suffix(f".{_REPLACED}")
        with _locked(target):
            target.rename(replaced)
            partial.rename(target)
            shutil.rmtree(replaced)
    else:
        partial.rename(target)
