"""NetCDF files in a zip, as the Climate Data Store packs them, whatever the zip is named."""

import logging
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from sarcast.errors import SarcastError
from sarcast.io.containers import members, opened_zip, unpack_member
from sarcast.io.files import explain_full_disk

_log = logging.getLogger(__name__)

_NETCDF = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF")


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
        If the zip cannot be unpacked (see ``containers.members``), or contains no NetCDF.
    """
    folder = TemporaryDirectory(prefix="sarcast-")
    try:
        with explain_full_disk(Path(folder.name)), opened_zip(Path(source)) as packed:
            files = _unpack(packed, source, Path(folder.name))
    except BaseException:
        folder.cleanup()
        raise
    return folder, files


def _unpack(packed: zipfile.ZipFile, source: str, folder: Path) -> dict[str, Path]:
    files = {}
    others = []
    for number, member in enumerate(members(packed, Path(source), folder)):
        with packed.open(member) as file:
            if file.read(4) not in _NETCDF:
                others.append(member.filename)
                continue
        target = folder / f"{number}.nc"
        unpack_member(packed, member, target)
        files[member.filename] = target
    if not files:
        raise SarcastError(
            f"{source} is a zip without NetCDF files: it contains "
            f"{', '.join(others) or 'nothing'}; unzip it, or request NetCDF"
        )
    if others:
        _log.warning(f"{source}: no NetCDF, left out: {', '.join(others)}")
    return files
