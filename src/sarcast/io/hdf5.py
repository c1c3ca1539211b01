"""HDF5 files with damage at which the HDF5 library does not end."""

import mmap
import struct
from pathlib import Path

SEARCHED_BYTES = 2**28
"""How far a file is searched for collections of strings."""

_COLLECTION = b"GCOL\x01\x00\x00\x00"
_OBJECT = struct.Struct("<HHIQ")


def check_heaps(path: Path) -> None:
    """Check the collections that hold the strings of a file, which begin with ``GCOL``.

    Raises
    ------
    ValueError
        If the free space of one has the size 0: HDF5 2.0 then reads it again and again.

    References
    ----------
    HDF5 File Format Specification 3.0, III.E, Disk Format: Level 1E, Global Heap.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(_COLLECTION, 0, SEARCHED_BYTES)
        while start >= 0:
            _check_collection(data, start)
            start = data.find(_COLLECTION, start + 1, SEARCHED_BYTES)


def _check_collection(data: mmap.mmap, start: int) -> None:
    (size,) = struct.unpack("<Q", data[start + 8 : start + 16].ljust(8, b"\x00"))
    end = min(start + size, len(data)) - _OBJECT.size
    at = start + 16
    while at <= end:
        index, _, _, length = _OBJECT.unpack_from(data, at)
        if index == 0 and length == 0:
            raise ValueError("the free space among its strings is damaged")
        at += length if index == 0 else _OBJECT.size + -(-length // 8) * 8
