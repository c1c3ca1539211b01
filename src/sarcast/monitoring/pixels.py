"""What is known of the pixels of an area, read and written by parts: it may not fit into memory.

The parts are squares of ``PART_PX`` pixels a side, whatever the blocks of the detection. On disk
each is a chunk, so that parts can be written at the same time.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Box
from sarcast.detection.blocks import Block, Each, blocks_of, each_in_turn
from sarcast.io.boxes import cut, whole
from sarcast.io.scratch import Array, Readable
from sarcast.monitoring.baselines import MOVING, Baselines
from sarcast.monitoring.layers import LAYERS, NO_DAY, Layer, Layers

PART_PX = 1024
"""Side of the parts, pixels: the rule takes about 200 bytes a pixel."""

KINDS: Mapping[str, Layer] = {
    **LAYERS,
    "baseline": Layer(np.uint16, MOVING),
    "renewed_day": Layer(np.int32, NO_DAY),
    "event": Layer(np.int32, 0),
}
"""Type of each array, and its value before the first acquisition."""


def parts_of(shape: tuple[int, int]) -> list[Box]:
    """Rows and columns of the parts of an area, row by row."""
    return [*cut(shape, PART_PX)]


def blocks_with(shape: tuple[int, int], halo: Sequence[int]) -> tuple[Block, ...]:
    """The parts of an area as blocks with a halo of so many rows and columns."""
    return blocks_of(shape, PART_PX, halo)


def part_around(box: Box, shape: Sequence[int]) -> Box:
    """Rows and columns of the part that the first pixel of a box lies in."""
    rows, columns = (
        slice(start, min(start + PART_PX, side))
        for start, side in zip(
            (each.start // PART_PX * PART_PX for each in box), shape, strict=True
        )
    )
    return rows, columns


def chunk_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the chunks of an array of dims (..., y, x) on disk: those of a part."""
    return (*shape[:-2], *(min(PART_PX, side) for side in shape[-2:]))


@dataclass(frozen=True)
class Blank:
    """An array of one value."""

    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    value: float

    def __getitem__(self, key: Any) -> Any:
        """Read a part."""
        return np.broadcast_to(np.array(self.value, self.dtype), self.shape)[key]


@dataclass(frozen=True)
class Pixels:
    """Layers, baselines and events of the pixels of an area.

    Attributes
    ----------
    arrays
        By name: those of ``Layers``, dims (y, x) or (band, y, x); and of dims (y, x) ``baseline``
        and ``renewed_day``, as in ``Baselines``, and ``event``, the id of each pixel's event, 0
        where there is none.
    """

    arrays: Mapping[str, Readable]

    @classmethod
    def blank(cls, shape: tuple[int, int], bands: int) -> Self:
        """Pixels before the first acquisition."""
        return cls(
            {
                name: Blank(kind.shape(shape, bands), kind.dtype, kind.blank)
                for name, kind in KINDS.items()
            }
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.arrays["status"].shape
        return rows, columns

    @property
    def bands(self) -> int:
        """Number of bands of ``magnitude``."""
        return self.arrays["magnitude"].shape[0]

    def check(self, shape: tuple[int, int], bands: int) -> None:
        """Raise if an array is missing, or of another type or shape.

        Raises
        ------
        ValueError
            If so.
        """
        expected = {
            name: (np.dtype(kind.dtype), kind.shape(shape, bands)) for name, kind in KINDS.items()
        }
        found = {
            name: (np.dtype(getattr(values, "dtype", None)), values.shape)
            for name, values in self.arrays.items()
        }
        for name in sorted(expected.keys() | found):
            if expected.get(name) != found.get(name):
                raise ValueError(f"{name} is {found.get(name)}, expected {expected.get(name)}")

    def layers(self, box: Box | None = None) -> Layers:
        """Read the layers of a part, by default of all."""
        return Layers.from_arrays({name: self._read(name, box) for name in LAYERS})

    def baselines(self, box: Box | None = None) -> Baselines:
        """Read the baselines of a part, by default of all."""
        return Baselines(self._read("baseline", box), self._read("renewed_day", box))

    def in_memory(self) -> Self:
        """Read all arrays; they must fit."""
        return type(self)({name: self._read(name) for name in self.arrays})

    def digest(self, each: Each = each_in_turn) -> str:
        """SHA-256 of names, types, shapes and values, computed part by part."""
        calls = [(part,) for part in parts_of(self.shape)]
        found = [*each(_Digest(self.arrays), calls, "checking the state")]
        digest = hashlib.sha256()
        for name, values in sorted(self.arrays.items()):
            digest.update(f"{name} {np.dtype(KINDS[name].dtype).str} {values.shape}".encode())
            for hashes in found:
                digest.update(hashes[name])
        return digest.hexdigest()

    def _read(self, name: str, box: Box | None = None) -> npt.NDArray[Any]:
        return np.asarray(self.arrays[name][(..., *(box or whole(self.shape)))])


@dataclass(frozen=True)
class _Digest:
    """Hashes each array of a part."""

    arrays: Mapping[str, Readable]

    def __call__(self, part: Box) -> dict[str, bytes]:
        hashes = {}
        for name, array in self.arrays.items():
            values = np.ascontiguousarray(array[(..., *part)])
            hashes[name] = hashlib.sha256(values.view(np.uint8).data).digest()
        return hashes


def write_part(arrays: Mapping[str, Array], box: Box, layers: Layers, baselines: Baselines) -> None:
    """Write layers and baselines of a part."""
    known = layers.arrays() | {"baseline": baselines.code, "renewed_day": baselines.renewed_day}
    for name, values in known.items():
        arrays[name][(..., *box)] = values


def replace_codes(
    arrays: Mapping[str, Array], boxes: Iterable[Box], codes: Mapping[int, int]
) -> None:
    """Replace codes of baselines by others in some parts."""
    for box in boxes:
        found = np.array(arrays["baseline"][box])
        for old, new in codes.items():
            found[found == old] = new
        arrays["baseline"][box] = found
