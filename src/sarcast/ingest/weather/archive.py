"""NetCDF files in a zip, as the Climate Data Store packs them, whatever the zip is named."""

import logging
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sarcast.errors import SarcastError
from sarcast.io.files import explain_full_disk

_log = logging.getLogger(__name__)

MAX_MEMBERS = 1000
"""Most files in a zip of weather."""
MAX_RATIO = 200.0
"""Most bytes that a byte of a large zip may expand to; packed weather stays below 100."""

_LARGE = 2**30
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_NETCDF = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF")
_COPY_BYTES = 2**20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


def is_zip(source: str) -> bool:
    """Whether a file begins as a zip does, whatever its name."""
    path = Path(source)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in _ZIP


def unpack(source: str) -> tuple[TemporaryDirectory[str], dict[str, Path]]:
    """Unpack the NetCDF files of a zip into a temporary folder.

    Files are written under names of their own, so that no path in the zip leads elsewhere. Other
    members are left out and named in a warning.

    Parameters
    ----------
    source
        Path of the zip.

    Returns
    -------
    TemporaryDirectory
        To be cleaned up when the files are closed.
    dict
        Unpacked file by its name in the zip.

    Raises
    ------
    SarcastError
        If the zip is damaged, encrypted, contains no NetCDF, or expands beyond the free disk space
        or beyond ``MAX_RATIO``.
    """
    folder = TemporaryDirectory(prefix="sarcast-")
    try:
        with explain_full_disk(Path(folder.name)), _opened(source) as packed:
            files = _unpack(packed, source, Path(folder.name))
    except BaseException:
        folder.cleanup()
        raise
    return folder, files


def _unpack(packed: zipfile.ZipFile, source: str, folder: Path) -> dict[str, Path]:
    members = [member for member in packed.infolist() if not member.is_dir()]
    _check(members, source, folder)
    files = {}
    others = []
    for number, member in enumerate(members):
        with packed.open(member) as file:
            if file.read(4) not in _NETCDF:
                others.append(member.filename)
                continue
        target = folder / f"{number}.nc"
        with packed.open(member) as file, target.open("wb") as copy:
            shutil.copyfileobj(file, copy, _COPY_BYTES)
        files[member.filename] = target
    if not files:
        raise SarcastError(
            f"{source} is a zip without NetCDF files: it contains "
            f"{', '.join(others) or 'nothing'}; unzip it, or request NetCDF"
        )
    if others:
        _log.warning(f"{source}: no NetCDF, left out: {', '.join(others)}")
    return files


def _check(members: list[zipfile.ZipInfo], source: str, folder: Path) -> None:
    """Raise if members are encrypted, too many, or expand to more than a disk or a file can be."""
    if any(member.flag_bits & 0x1 for member in members):
        raise SarcastError(f"{source} is an encrypted zip; unzip it and give its NetCDF files")
    if len(members) > MAX_MEMBERS:
        raise SarcastError(
            f"{source} contains {len(members)} files, expected at most {MAX_MEMBERS}; unzip it "
            f"and give its NetCDF files"
        )
    size = sum(member.file_size for member in members)
    ratio = size / max(1, Path(source).stat().st_size)
    free = shutil.disk_usage(folder).free
    if size > free or (size > _LARGE and ratio > MAX_RATIO):
        raise SarcastError(
            f"{source} expands to {size / _LARGE:.3g} GiB, {ratio:.0f} times its size, and "
            f"{folder.parent} has {free / _LARGE:.3g} GiB free; unzip it elsewhere (TMPDIR) and "
            f"give its NetCDF files"
        )


@contextmanager
def _opened(source: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(source) as packed:
            yield packed
    except _DAMAGED as error:
        raise SarcastError(f"{source} is a damaged zip, fetch it again ({error})") from error
