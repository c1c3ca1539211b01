"""The protocol buffers of TFRecord samples: tf.train.Example and TensorProto, read and written.

Only what these two messages use of the wire format is here. Reading copies nothing and allocates no
more than the message has bytes; every length is checked before it is used.

References
----------
Protocol Buffers, "Encoding"; TensorFlow, ``example.proto``, ``feature.proto``, ``tensor.proto``.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

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
"""numpy's names of the numeric types of a TensorProto, little endian."""
STRING = 7
"""Number of the string type of a TensorProto."""
MOST_DIMS = 8
"""Dims of a tensor that are read."""

Value = memoryview | int
Feature = Sequence[bytes | memoryview] | npt.NDArray[np.float32] | npt.NDArray[np.int64]
Tensor = npt.NDArray[Any]


def fields(message: memoryview) -> Iterator[tuple[int, int, Value]]:
    """Yield number, wire type and value of each field of a message.

    Raises
    ------
    SarcastError
        If a length leaves the message, a varint is too long or a wire type unknown.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield key >> 3, kind, value
            continue
        if kind == BYTES:
            size, at = _varint(message, at)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise SarcastError(f"a field of the sample has the unknown wire type {kind}")
        if size > len(message) - at:
            raise SarcastError(
                f"a field of the sample is {size} bytes long, but only {len(message) - at} are left"
            )
        yield key >> 3, kind, message[at : at + size]
        at += size


def read_example(message: memoryview) -> dict[str, Feature]:
    """Read a tf.train.Example: its features by name, as bytes, float32 or int64 lists.

    Raises
    ------
    SarcastError
        If the message is no such example.
    """
    features: dict[str, Feature] = {}
    for container in _messages(message, 1):
        for entry in _messages(container, 1):
            name = b"".join(bytes(part) for part in _messages(entry, 1))
            for feature in _messages(entry, 2):
                features[name.decode("utf-8", errors="replace")] = _feature(feature)
    return features


def write_example(features: Mapping[str, Feature]) -> bytes:
    """Write a tf.train.Example, its features in the order of their names."""
    parts = []
    for name in sorted(features):
        entry = _field(1, name.encode("utf-8")) + _field(2, _feature_bytes(features[name]))
        parts.append(_field(1, entry))
    return _field(1, b"".join(parts))


def read_tensor(message: memoryview) -> Tensor:
    """Read a TensorProto as ``tf.io.serialize_tensor`` writes it; numbers are not copied.

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
    for number, wire, value in fields(message):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2 and wire == BYTES:
            shape = _shape(value)
        elif number == 4 and isinstance(value, memoryview):
            content = value
        elif number == 8 and isinstance(value, memoryview):
            strings.append(bytes(value))
    return _strings(shape, strings) if kind == STRING else _numbers(kind, shape, content)


def write_tensor(tensor: Tensor) -> bytes:
    """Write a TensorProto as ``tf.io.serialize_tensor`` does.

    Raises
    ------
    SarcastError
        If the type of the array has no number there.
    """
    dims = b"".join(_field(2, b"\x08" + _varint_bytes(size)) for size in tensor.shape)
    if tensor.dtype.kind in "OSU":
        texts = [one if isinstance(one, bytes) else str(one).encode() for one in tensor.ravel()]
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
        raise SarcastError(f"a tensor of shape {shape} has {len(strings)} strings")
    tensor = np.empty(len(strings), dtype=object)
    tensor[:] = strings
    return tensor.reshape(shape)


def _shape(message: Value) -> tuple[int, ...]:
    sizes = []
    for dim in _messages(_bytes(message), 2):
        size = 0
        for number, _, value in fields(dim):
            if number == 1 and isinstance(value, int):
                size = value
        if size >= 1 << 40:
            raise SarcastError(f"a tensor has a dim of {size}")
        sizes.append(size)
    if len(sizes) > MOST_DIMS:
        raise SarcastError(f"a tensor has {len(sizes)} dims; at most {MOST_DIMS} are read")
    return tuple(sizes)


def _feature(message: memoryview) -> Feature:
    for number, wire, value in fields(message):
        if wire != BYTES:
            break
        inner = _bytes(value)
        if number == 1:
            return list(_messages(inner, 1))
        if number == 2:
            return _floats(inner)
        if number == 3:
            return _integers(inner)
    raise SarcastError("a feature of the sample is no list of bytes, floats or integers")


def _floats(message: memoryview) -> npt.NDArray[np.float32]:
    packed = b"".join(bytes(_bytes(v)) for number, _, v in fields(message) if number == 1)
    if len(packed) % 4:
        raise SarcastError(f"a list of floats has {len(packed)} bytes")
    return np.frombuffer(packed, dtype="<f4")


def _integers(message: memoryview) -> npt.NDArray[np.int64]:
    values: list[int] = []
    for number, _, value in fields(message):
        if number != 1:
            continue
        if isinstance(value, int):
            values.append(value)
            continue
        at = 0
        while at < len(value):
            one, at = _varint(value, at)
            values.append(one)
    return np.array(values, dtype=np.uint64).view(np.int64)


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, _, value in fields(message):
        if number == wanted:
            yield _bytes(value)


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise SarcastError("a field of the sample is a number where bytes were expected")
    return value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + place + 1
    raise SarcastError("a number of the sample is cut off or too long")


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
