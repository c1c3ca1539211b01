"""Outputs that are whole or absent: written beside their place and renamed."""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sarcast.errors import SarcastError

if TYPE_CHECKING:
    pass

RESULTS = ("run.yaml", "model.yaml")
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
    check_free(target, overwrite=overwrite, inputs=inputs)
    partial = beside(target)
    try:
        with full_disk_named(target):
            partial.mkdir(parents=True)
            yield partial
            _replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_result(folder: Path) -> bool:
    if any((folder / name).exists() for name in RESULTS[1:]):
        return True
    record = folder / RESULTS[0]
    return record.is_file() and _RECORD.match(record.read_text(errors="replace")) is not None


_RECORD = re.compile(r"[a-z]+:\n")
"""How a record of options begins: the verb alone on its line."""


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a path to write to, which takes the place of ``target`` when all went well."""
    partial = beside(target).with_suffix(target.suffix)
    try:
        with full_disk_named(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def check_free(target: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
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


def beside(target: Path) -> Path:
    """Give a hidden path next to ``target``, on the same disk, that nothing else uses."""
    resolved = target.resolve()
    return resolved.with_name(f".{resolved.stem}-{uuid.uuid4().hex[:8]}.partial")


@contextmanager
def full_disk_named(target: Path) -> Iterator[None]:
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
        old = beside(target)
        target.rename(old)
        partial.rename(target)
        shutil.rmtree(old)
    else:
        partial.rename(target)
