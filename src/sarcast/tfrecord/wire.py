"""Protocol buffers of TFRecord samples: reads and writes tf.train.Example and TensorProto.

Only those parts of the wire format are implemented that these two messages use. Reading copies no
numbers and allocates no more memory than the message has bytes; lengths are checked before use.

References
----------
Protocol Buffers, "Encoding"; TensorFlow, ``example.proto``, ``feature.proto``, ``tensor.proto``.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Float
from sarcast.errors import SarcastError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""
_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10

DTYPES: dict[int, npt.DTypeLike] = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "<u1",
    5: "<i2",
    6: "<i1",
    9: "<i8",
    10: "?",
    17: "<u2",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}
"""NumPy dtypes of the numeric types of a TensorProto, little endian."""
STRING = 7
"""String type of a TensorProto."""
MOST_DIMS = 8
"""Greatest number of dims of a tensor."""

Value = memoryview | int
Feature = Sequence[bytes | memoryview] | Float | npt.NDArray[np.int64]
Tensor = npt.NDArray[Any]


def fields(message: memoryview) -> list[tuple[int, Value]]:
    """Parse a message into the number and value of each field: bytes, or an int for a varint.

    Raises
    ------
    SarcastError
        If a length exceeds the message, a varint is too long or a wire type unknown.
    """
    parsed: list[tuple[int, Value]] = []
    offset, end = 0, len(message)
    while offset < end:
        key = message[offset]
        if key < 0x80:
            offset += 1
        else:
            key, offset = _varint(message, offset)
        kind = key & 7
        if kind == VARINT:
            number, offset = _varint(message, offset)
            parsed.append((key >> 3, number))
            continue
        if kind == BYTES:
            size, offset = _varint(message, offset)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise SarcastError(f"a field of the sample has the unknown wire type {kind}")
        if size > end - offset:
            raise SarcastError(
                f"a field of the sample is {size} bytes long, but only {end - offset} are left"
            )
        parsed.append((key >> 3, message[offset : offset + size]))
        offset += size
    return parsed


def read_example(message: memoryview) -> dict[str, Feature]:
    """Read a tf.train.Example: its features by name, as bytes, float32 or int64 lists.

    Raises
    ------
    SarcastError
        If the message is not such an example.
    """
    features: dict[str, Feature] = {}
    for container in _messages(message, 1):
        for entry in _messages(container, 1):
            name, value = b"", memoryview(b"")
            for number, part in fields(entry):
                if not isinstance(part, int):
                    name, value = (bytes(part), value) if number == 1 else (name, part)
            features[name.decode("utf-8", errors="replace")] = _feature(value)
    return features


def write_example(features: Mapping[str, Feature]) -> bytes:
    """Write a tf.train.Example, with features sorted by name."""
    parts = []
    for name in sorted(features):
        entry = _field(1, name.encode("utf-8")) + _field(2, _feature_bytes(features[name]))
        parts.append(_field(1, entry))
    return _field(1, b"".join(parts))


def read_tensor(message: memoryview) -> Tensor:
    """Read a TensorProto written by ``tf.io.serialize_tensor``; numbers are not copied.

    Returns
    -------
    ndarray
        Read-only for numbers; objects of type bytes for strings.

    Raises
    ------
    SarcastError
        If the type is unknown, or the shape does not fit the bytes.
    """
    kind, shape, content = 0, tuple[int, ...](), memoryview(b"")
    strings: list[bytes] = []
    for number, value in fields(message):
        if isinstance(value, int):
            kind = value if number == 1 else kind
        elif number == 2:
            shape = _shape(bytes(value))
        elif number == 4:
            content = value
        elif number == 8:
            strings.append(bytes(value))
    return _strings(shape, strings) if kind == STRING else _numbers(kind, shape, content)


def write_tensor(tensor: Tensor) -> bytes:
    """Write a TensorProto as ``tf.io.serialize_tensor`` does.

    Raises
    ------
    SarcastError
        If TensorProto has no type for the dtype of the array.
    """
    dims = b"".join(_field(2, b"\x08" + _varint_bytes(size)) for size in tensor.shape)
    if tensor.dtype.kind in "OSU":
        texts = [text if isinstance(text, bytes) else str(text).encode() for text in tensor.ravel()]
        return _head(STRING, dims) + b"".join(_field(8, text) for text in texts)
    little = tensor.astype(tensor.dtype.newbyteorder("<"), copy=False)
    for kind, dtype in DTYPES.items():
        if little.dtype == np.dtype(dtype):
            return _head(kind, dims) + _field(4, np.ascontiguousarray(little).tobytes())
    raise SarcastError(f"a tensor of type {tensor.dtype} cannot be written to a TFRecord")


def _numbers(kind: int, shape: tuple[int, ...], content: memoryview) -> Tensor:
    if kind not in DTYPES:
        raise SarcastError(f"a tensor has the unknown type {kind}")
    dtype = np.dtype(DTYPES[kind])
    if math.prod(shape) * dtype.itemsize != len(content):
        raise SarcastError(
            f"a tensor of shape {shape} and type {dtype} takes "
            f"{math.prod(shape) * dtype.itemsize} bytes, but has {len(content)}"
        )
    return np.frombuffer(content, dtype=dtype).reshape(shape)


def _strings(shape: tuple[int, ...], strings: list[bytes]) -> Tensor:
    if math.prod(shape) != len(strings):
        count = math.prod(shape)
        raise SarcastError(
            f"a tensor of shape {shape} must have {count} strings, but has {len(strings)} strings"
        )
    tensor = np.empty(len(strings), dtype=object)
    tensor[:] = strings
    return tensor.reshape(shape)


@lru_cache(maxsize=256)
def _shape(message: bytes) -> tuple[int, ...]:
    sizes = []
    for dim in _messages(memoryview(message), 2):
        size = 0
        for number, value in fields(dim):
            if number == 1 and isinstance(value, int):
                size = value
        if size >= 1 << 40:
            raise SarcastError(f"a tensor has a dim of impossible size {size}")
        sizes.append(size)
    if len(sizes) > MOST_DIMS:
        raise SarcastError(f"a tensor has {len(sizes)} dims; at most {MOST_DIMS} are supported")
    return tuple(sizes)


def _feature(message: memoryview) -> Feature:
    for number, value in fields(message):
        if isinstance(value, int):
            break
        if number == 1:
            return _messages(value, 1)
        if number == 2:
            return _floats(value)
        if number == 3:
            return _integers(value)
    raise SarcastError("a feature of the sample must be a list of bytes, floats or integers")


def _floats(message: memoryview) -> Float:
    packed = b"".join(_messages(message, 1))
    if len(packed) % 4:
        raise SarcastError(
            f"a list of floats must have a multiple of 4 bytes, but has {len(packed)}"
        )
    return np.frombuffer(packed, dtype="<f4")


def _integers(message: memoryview) -> npt.NDArray[np.int64]:
    values: list[int] = []
    for number, value in fields(message):
        if number != 1:
            continue
        if isinstance(value, int):
            values.append(value)
            continue
        offset = 0
        while offset < len(value):
            integer, offset = _varint(value, offset)
            values.append(integer)
    return np.array(values, dtype=np.uint64).view(np.int64)


def _messages(message: memoryview, wanted: int) -> list[memoryview]:
    messages = []
    for number, value in fields(message):
        if number == wanted:
            if isinstance(value, int):
                raise SarcastError("a field of the sample is a number where bytes were expected")
            messages.append(value)
    return messages


def _varint(message: memoryview, offset: int) -> tuple[int, int]:
    """Read a varint; return its value and the offset after it."""
    if offset < len(message) and message[offset] < 0x80:
        return message[offset], offset + 1
    value = 0
    for index, byte in enumerate(message[offset : offset + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, offset + index + 1
    raise SarcastError("a number of the sample is truncated or too long")


def _varint_bytes(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _field(number: int, content: bytes | memoryview) -> bytes:
    return b"".join((_varint_bytes(number << 3 | BYTES), _varint_bytes(len(content)), content))


def _head(kind: int, dims: bytes) -> bytes:
    return b"\x08" + _varint_bytes(kind) + _field(2, dims)


def _feature_bytes(feature: Feature) -> bytes:
    if not isinstance(feature, np.ndarray):
        return _field(1, b"".join(_field(1, value) for value in feature))
    if feature.dtype.kind == "f":
        return _field(2, _field(1, struct.pack(f"<{feature.size}f", *feature.tolist())))
    return _field(3, _field(1, b"".join(_varint_bytes(int(value)) for value in feature)))
