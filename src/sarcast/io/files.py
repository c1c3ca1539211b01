"""Outputs that are whole or absent: written beside their place and renamed."""

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
"""The file beside a result that holds its resolved options."""
RESULTS = (RECORD, "model.yaml")
"""Every folder that is written holds one of these; a folder without is never replaced."""


@contextmanager
def new_folder(target: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> Iterator[Path]:
    """Give a folder to write into, which takes the place of ``target`` when all went well.

    Parameters
    ----------
    target
        The folder to make; one that exists must be empty, or ``overwrite`` true.
    overwrite
        Replace what is there, at the end and at once.
    inputs
        What the work reads, which must not be replaced.

    Raises
    ------
    SarcastError
        If the target is not empty and may not be replaced, or the disk is full.
    """
    target = target.resolve()
    remove_stale(target)
    check_target(target, overwrite=overwrite, inputs=inputs)
    with _workplace(target) as partial:
        yield partial
        _replace(partial, target)


def _is_result(folder: Path) -> bool:
    if any((folder / name).exists() for name in RESULTS if name != RECORD):
        return True
    record = folder / RECORD
    return record.is_file() and _BEGINNING.match(record.read_text(errors="replace")) is not None


_BEGINNING = re.compile(r"[a-z]+:\n")
"""How a record of options begins: the verb alone on its line."""


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a path to write to, which takes the place of ``target`` when all went well."""
    target = target.parent.resolve() / target.name
    remove_stale(target)
    with _workplace(target) as folder:
        yield folder / target.name
        (folder / target.name).replace(target)


def check_target(target: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Raise if ``target`` is a file, or a folder that holds something and may not be replaced."""
    there = target.resolve()
    for one in (path.resolve() for path in inputs):
        if there == one or there in one.parents or one in there.parents:
            raise SarcastError(
                f"{target} is, holds or lies in {one}, which is to be read; name another target"
            )
    if target.is_file():
        raise SarcastError(f"{target} is a file, but a folder is to be written; name another")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not overwrite:
        raise SarcastError(f"{target} exists and is not empty; add --overwrite to replace it")
    if not _is_result(target):
        raise SarcastError(
            f"{target} holds none of {', '.join(RESULTS)}, so it is no result of sarcast and is "
            f"not replaced; name another folder, or empty it yourself"
        )


# --- hidden folders beside a target ---------------------------------------------------------------


_PARTIAL, _REPLACED = "partial", "replaced"
"""Ends of hidden names: what is being written, and what was there before."""


def is_partial(path: Path) -> bool:
    """Whether a path lies in a hidden folder that is being written, or was left by a killed run."""
    return any(part.startswith(".") and part.endswith(f".{_PARTIAL}") for part in path.parts)


def remove_stale(target: Path) -> None:
    """Delete what killed runs left beside a target, and put back what they had taken away.

    A run holds a lock on its hidden folder, which the system lets go of when the run ends, however
    it ends: what is locked is left alone.
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
def _workplace(target: Path) -> Iterator[Path]:
    """Give a hidden folder beside a target that nothing else uses; it is gone at the end."""
    partial = _beside(target, _PARTIAL)
    try:
        with explain_full_disk(target), _target_named(target, partial):
            partial.mkdir(parents=True)
            with _locked(partial):
                yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _beside(target: Path, end: str) -> Path:
    return target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}.{end}")


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
    """Give an empty folder that goes away, and with it what a killed run left there.

    For work in a folder that is held by ``exclusive``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Work in a folder alone, as far as its disk has locks.

    Parameters
    ----------
    folder
        Made if it is not there; gone again if it is empty at the end. A file in its place is left
        to the work, which refuses it in its own words.

    Raises
    ------
    SarcastError
        If another run works in it; that one is never waited for.
    """
    if folder.is_file():
        yield
        return
    made = not folder.exists()
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
                if made:
                    folder.rmdir()


@contextmanager
def _target_named(target: Path, partial: Path) -> Iterator[None]:
    """Name the target in what the system says of the hidden folder, of which nobody knows."""
    try:
        yield
    except OSError as error:
        named = Path(error.filename or "")
        ours = named.is_relative_to(partial) or (named.name and partial.is_relative_to(named))
        if _is_full_disk(error) or not ours:
            raise
        raise SarcastError(
            f"{target} cannot be written: {error.strerror}; name another target, or see to it "
            f"that its folder can be written to"
        ) from error


@contextmanager
def explain_full_disk(target: Path) -> Iterator[None]:
    """Turn the system's word for a full disk into one line that names what was being written."""
    try:
        yield
    except Exception as error:
        if _is_full_disk(error):
            raise SarcastError(
                f"no space left on the disk of {target}; what was not finished is not kept: "
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
