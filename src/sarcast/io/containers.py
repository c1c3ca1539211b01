"""Folders and zips whose content names files: no name leads out of its container.

A name from a manifest, a header or a zip is data of somebody else. It may point elsewhere by
``..``, by an absolute path, or through a link.
"""

import errno
import lzma
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from sarcast.errors import SarcastError

MOST_MEMBERS = 1000
"""Most files in a zip; a Sentinel-1 product has about 60, a year of daily weather 365."""
MOST_RATIO = 200.0
"""Most bytes that a byte of a large zip may expand to; packed weather stays below 100."""

_LARGE = 2**30
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_COPY_BYTES = 2**20
_DIRECTORY_BYTES = 2**20
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error),
    *(NotImplementedError, ValueError, OverflowError, RuntimeError),
)
_DRIVE = re.compile(r"[A-Za-z]:")


def inside(folder: Path, name: str, container: Path | None = None) -> Path:
    """Path of a file in a folder, by the name that some content of the folder gives it.

    Parameters
    ----------
    folder
        The folder.
    name
        The name.
    container
        What the error names: the zip that is unpacked into the folder; default: the folder.

    Raises
    ------
    SarcastError
        If the name leads out of the folder, by itself or through a link.
    """
    if not _is_relative(name):
        raise SarcastError(
            f"{container or folder} refers to {name!r}, which does not lie in it: expected a "
            f"relative path without '..'; fetch it again from a source that you trust"
        )
    path = folder / name
    try:
        real, root = path.resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise SarcastError(f"{path} cannot be followed: {error}; fetch {folder} again") from error
    if not real.is_relative_to(root):
        raise SarcastError(
            f"{path} is a link to {real}, outside of {folder}; put the file itself in its place"
        )
    return path


def _is_relative(name: str) -> bool:
    """Whether a name is a path below some folder, on every system."""
    return not (
        not name
        or "\0" in name
        or "\\" in name
        or _DRIVE.match(name)
        or PurePosixPath(name).is_absolute()
        or ".." in PurePosixPath(name).parts
    )


# --- zips -----------------------------------------------------------------------------------------


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip does, whatever its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in _ZIP


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; whatever its damage raises, also while it is read, becomes one line.

    Raises
    ------
    SarcastError
        If it is damaged, or has more than ``MOST_MEMBERS`` files.
    """
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as packed:
            yield packed
    except _DAMAGED as error:
        reason = " ".join(str(error).split())
        raise SarcastError(f"{path} is a damaged zip, fetch it again ({reason})") from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # of bz2, and of a place before the start
            raise
        raise SarcastError(f"{path} is a damaged zip, fetch it again ({error})") from error


def _check_directory(path: Path) -> None:
    """Raise if the list of members is so long that reading it would take much memory."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 2**16 - 22))
        end = file.read()
    start = end.rfind(b"PK\x05\x06")
    if start < 0 or len(end) < start + 22:
        raise zipfile.BadZipFile("it has no end; it may be truncated")
    # zipfile reads everything between the list's start and the end, whatever count is stated
    (stated,) = struct.unpack("<L", end[start + 12 : start + 16])
    if stated == 2**32 - 1:
        locator = end.rfind(b"PK\x06\x06", 0, start)
        stated = struct.unpack("<Q", end[locator + 40 : locator + 48])[0] if locator >= 0 else 0
    if stated > _DIRECTORY_BYTES:
        raise SarcastError(
            f"{path} contains more than {MOST_MEMBERS} files; unzip it and name what it contains"
        )


def members(packed: zipfile.ZipFile, path: Path, folder: Path) -> list[zipfile.ZipInfo]:
    """Files in a zip, after a check that they can be unpacked into a folder.

    Raises
    ------
    SarcastError
        If a file is encrypted, a link, without a name or named twice, or if the files are too many,
        or expand to more than the disk has free or than ``MOST_RATIO`` times their size.
    """
    if not all(member.filename for member in packed.infolist()):
        raise SarcastError(
            f"{path} is a damaged zip: it contains a file without a name; fetch it again"
        )
    files = [member for member in packed.infolist() if not member.is_dir()]
    if any(member.flag_bits & 0x1 for member in files):
        raise SarcastError(f"{path} is an encrypted zip; unzip it and name what it contains")
    if len(files) > MOST_MEMBERS:
        raise SarcastError(
            f"{path} contains {len(files)} files, expected at most {MOST_MEMBERS}; unzip it and "
            f"name what it contains"
        )
    _check_unique([member.filename for member in packed.infolist()], path)
    linked = next((each for each in files if stat.S_ISLNK(each.external_attr >> 16)), None)
    if linked is not None:
        raise SarcastError(f"{path} contains a link, {linked.filename}; fetch it without links")
    _check_size(sum(member.file_size for member in files), path, folder)
    return files


def _check_unique(names: Sequence[str], path: Path) -> None:
    """Raise if a name occurs twice, or is both a file and a folder."""
    files = [PurePosixPath(name) for name in names if not name.endswith("/")]
    folders = {PurePosixPath(name) for name in names if name.endswith("/")}
    folders |= {parent for file in files for parent in file.parents}
    twice = next(iter([*_repeated(files), *(folders & {*files})]), None)
    if twice is not None:
        raise SarcastError(
            f"{path} is a damaged zip: it contains {str(twice)!r} twice; fetch it again"
        )


def _repeated(files: Iterable[PurePosixPath]) -> Iterator[PurePosixPath]:
    seen: set[PurePosixPath] = set()
    for file in files:
        if file in seen:
            yield file
        seen.add(file)


def _check_size(size: int, path: Path, folder: Path) -> None:
    ratio = size / max(1, path.stat().st_size)
    free = shutil.disk_usage(folder).free
    if size > free or (size > _LARGE and ratio > MOST_RATIO):
        raise SarcastError(
            f"{path} expands to {size / _LARGE:.3g} GiB, {ratio:.0f} times its size, and "
            f"{folder.parent} has {free / _LARGE:.3g} GiB free; unzip it on another disk and name "
            f"what it contains"
        )


def unpack_member(packed: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Unpack a file of a zip, at most as many bytes as the zip states; its checksum is checked."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(member) as file, target.open("wb") as copy:
        shutil.copyfileobj(file, copy, _COPY_BYTES)
