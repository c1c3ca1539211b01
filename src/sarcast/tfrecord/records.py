"""TFRecord files: a sequence of records with checksums, usually compressed.

A record is its length (8 bytes), a checksum of the length, its data and a checksum of the data.
Files are read as a stream; no more than one record is in memory.

References
----------
TensorFlow, ``tensorflow/core/lib/io/record_writer.h``; Castagnoli et al. 1993, doi
10.1109/26.231911 (CRC-32C).
"""

import gzip
import logging
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, Protocol

import google_crc32c

from sarcast.errors import SarcastError
from sarcast.io.files import new_file

_log = logging.getLogger(__name__)


LARGEST_RECORD = 1 << 28
"""Longest record that is read, bytes: ten times a sample of 512 × 512 pixels."""
_MASK_DELTA = 0xA282EAD8
_HEAD = struct.Struct("<QI")
_CHUNK = 1 << 20
_SOURCE_CHUNK = 1 << 15
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS

Faults = Literal["fatal", "skip"]
"""Handling of a truncated or corrupted record: an error, or skipped with a log message."""


def read_records(
    path: Path, faults: Faults = "fatal", *, largest: int = LARGEST_RECORD
) -> Iterator[tuple[int, bytes]]:
    """Yield the offset and the data of each record of a file.

    Parameters
    ----------
    path
        A TFRecord file: GZIP, ZLIB or uncompressed, detected from its first bytes.
    faults
        ``"fatal"`` raises at the first fault; ``"skip"`` leaves out a record with a wrong checksum
        and stops where the start of the next record is unknown; both are logged.
    largest
        Greatest length of a record, bytes.

    Yields
    ------
    offset : int
        Offset of the record in the decompressed file, bytes.
    data : bytes
        Content of the record.

    Raises
    ------
    SarcastError
        With file and offset of the fault.
    """
    offset = 0
    with _opened(path) as stream:
        while True:
            try:
                head = _read(stream, _HEAD.size)
                if not head:
                    return
                data, size = _record(head, stream, largest)
            except _Fault as fault:
                line = f"{path}, record at byte {offset}: {fault}"
                if faults == "fatal":
                    raise SarcastError(
                        f"{line}; fetch the file again, or skip such records with --faults skip"
                    ) from fault
                _log.info(f"skipped: {line}")
                if fault.next_after is None:
                    return
                offset += fault.next_after
                continue
            yield offset, data
            offset += size


def write_records(path: Path, records: Iterable[bytes], *, level: int = 6) -> int:
    """Write records to a GZIP file, complete or not at all; return their number."""
    count = 0
    with (
        new_file(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile("", "wb", level, raw, mtime=0) as stream,
    ):
        for record in records:
            length = struct.pack("<Q", len(record))
            for part in (length, _checksum(length), record, _checksum(record)):
                stream.write(part)
            count += 1
    return count


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Fault(Exception):
    """A faulty record; ``next_after`` is the distance to the next record, None if unknown."""

    def __init__(self, message: str, next_after: int | None = None) -> None:
        super().__init__(message)
        self.next_after = next_after


def _record(head: bytes, stream: _Stream, largest: int) -> tuple[bytes, int]:
    if len(head) < _HEAD.size:
        raise _Fault("the file ends within the length")
    length, checksum = _HEAD.unpack(head)
    if checksum != _masked(head[:8]):
        raise _Fault("the checksum of the length is wrong")
    if length > largest:
        raise _Fault(f"the record is {length} bytes long, more than the {largest} allowed")
    data = _read(stream, length)
    tail = _read(stream, 4)
    if len(data) < length or len(tail) < 4:
        raise _Fault("the file ends within the record")
    size = _HEAD.size + length + 4
    if struct.unpack("<I", tail)[0] != _masked(data):
        raise _Fault("the checksum of the data is wrong", next_after=size)
    return data, size


def _read(stream: _Stream, size: int) -> bytes:
    """Read ``size`` bytes, or fewer at the end; memory grows with the bytes that exist."""
    parts, left = [], size
    try:
        while left and (data := stream.read(min(left, _CHUNK))):
            parts.append(data)
            left -= len(data)
    except (OSError, EOFError, zlib.error) as error:
        raise _Fault(f"the file cannot be decompressed ({error})") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


@contextmanager
def _opened(path: Path) -> Iterator[_Stream]:
    try:
        raw = path.open("rb")
    except OSError as error:
        raise SarcastError(f"{path} cannot be read: {error.strerror}") from error
    with raw:
        start = raw.peek(2)[:2]
        zlib_head = len(start) == 2 and start[0] == 0x78 and int.from_bytes(start, "big") % 31 == 0
        if start == b"\x1f\x8b" or zlib_head:
            yield _Inflated(raw)
        else:
            yield raw


class _Inflated:
    """A GZIP file of one or several members or a ZLIB stream, decompressed as it is read.

    No more is decompressed at once than is requested. The input is read in chunks of 32 KiB, which
    is faster than ``gzip`` of Python 3.11 with 8 KiB.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._source = b""

    def read(self, size: int, /) -> bytes:
        """Return at least one and at most ``size`` bytes; none at the end."""
        while True:
            self._source = self._source or self._raw.read(_SOURCE_CHUNK)
            if self._inflate.eof:
                if not self._source.strip(b"\0"):
                    return b""
                self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
            elif not self._source:
                raise EOFError("the compressed stream is cut off")
            data = self._inflate.decompress(self._source, size)
            self._source = self._inflate.unconsumed_tail or self._inflate.unused_data
            if data:
                return data


def _masked(data: bytes) -> int:
    checksum: int = google_crc32c.value(data)
    return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", _masked(data))
