"""Arrays of intermediate results, which grow with an area: in memory, or on disk."""

import shutil
import tempfile
import weakref
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

CHUNK_PX = 512
"""Side of the chunks of images on disk, at most, pixels."""


class Readable(Protocol):
    """An array that is read by parts."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each dimension."""
        ...

    def __getitem__(self, key: Any) -> Any:
        """Read a part."""
        ...


class Array(Readable, Protocol):
    """What a NumPy and a Zarr array have in common."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write a part."""
        ...


class ScratchFolder:
    """A new folder for arrays, deleted when nothing refers to this object any more.

    Parameters
    ----------
    parent
        Folder of the folder; default: that of the system for temporary files.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="sarcast-", dir=parent)).absolute()
        self._remove = weakref.finalize(self, _delete, self.path)

    def remove(self) -> None:
        """Delete it now."""
        self._remove()


def _delete(folder: Path) -> None:
    """Delete a folder at once, also for processes that still write into it."""
    deleted = folder.with_name(f"{folder.name}.deleted")
    with suppress(OSError):
        folder.rename(deleted)
    for each in (deleted, folder):
        shutil.rmtree(each, ignore_errors=True)


class _Store(LocalStore):
    """A folder that is not made again by a process that does not know yet that it was deleted."""

    async def set(self, key: str, value: Buffer) -> None:
        """Write a value; ``FileNotFoundError`` if the folder is gone."""
        if not self.root.exists():
            raise FileNotFoundError(f"{self.root} was deleted")
        await super().set(key, value)


class _Lazy(BackendArray):
    """An array whose parts are read when they are used."""

    def __init__(self, inner: Readable, dtype: np.dtype[Any], owner: object) -> None:
        self._inner, self._owner = inner, owner
        self.shape, self.dtype = inner.shape, dtype

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the owner to this process: another one must not delete the folder."""
        return _Lazy, (self._inner, self.dtype, None)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        return indexing.explicit_indexing_adapter(  # type: ignore[no-any-return]
            key, self.shape, indexing.IndexingSupport.BASIC, self._inner.__getitem__
        )


@dataclass(frozen=True)
class Scratch:
    """Makes arrays of intermediate results.

    Attributes
    ----------
    folder
        Where they are kept, and stay until it is deleted; None to keep them in memory.
    chunk_px
        Side of the chunks of images on disk, pixels: parts that are written at the same time must
        not share one.
    owner
        What deletes the folder with itself; arrays that are read later keep it.
    """

    folder: Path | None = None
    chunk_px: int = CHUNK_PX
    owner: ScratchFolder | None = None
    _numbers: "count[int]" = field(default_factory=count, init=False, repr=False, compare=False)

    def images(self, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
        """Make an array of dims (..., y, x), read and written by parts of its rows and columns.

        Until they are written, floats are NaN, dates NaT and other numbers 0.
        """
        chunk = [min(side, self.chunk_px) for side in shape[-2:]]
        return self.array(shape, dtype, (*shape[:-2], *chunk))

    def array(self, shape: Sequence[int], dtype: npt.DTypeLike, chunk: Sequence[int]) -> Array:
        """Make an array whose parts of the shape ``chunk`` lie in a file each, where on disk."""
        kind = np.dtype(dtype).kind
        fill = {"f": np.nan, "M": np.datetime64("NaT")}.get(kind, 0)
        if self.folder is None:
            return np.full(shape, fill, dtype=dtype)
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        made: Array = zarr.create_array(
            _Store(folder),
            shape=tuple(shape),
            dtype=np.dtype(dtype),
            chunks=tuple(max(1, side) for side in chunk),
            compressors=None,
            fill_value=fill,
        )
        return made

    @classmethod
    def new(cls, parent: Path | None, chunk_px: int = CHUNK_PX) -> Self:
        """Make one in a new folder, which is deleted with all that was made in it."""
        owner = ScratchFolder(parent)
        return cls(owner.path, chunk_px, owner)

    def variable(
        self, dims: Sequence[Hashable], array: Readable, dtype: npt.DTypeLike
    ) -> xr.Variable:
        """Give an array as a variable of xarray; one on disk is read when it is used."""
        if isinstance(array, np.ndarray):
            return xr.Variable(dims, array)
        lazy = _Lazy(array, np.dtype(dtype), self.owner)
        return xr.Variable(dims, indexing.LazilyIndexedArray(lazy))

    def remove(self) -> None:
        """Delete the folder now."""
        if self.owner is not None:
            self.owner.remove()

    @contextmanager
    def part(self) -> Iterator[Self]:
        """Give a part whose arrays on disk are deleted at the end."""
        if self.folder is None:
            yield self
            return
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield type(self)(folder, self.chunk_px)
        finally:
            _delete(folder)
