"""How the chunks of cubes are decoded: by zarrs, whose threads need no Python.

A process that is forked from one that has used these threads does not have them, and would wait
for them without end: there, Zarr's own pipeline decodes.

Zarr takes the pipeline of an array from its configuration, which all threads share, when the array
is opened. One thread at a time therefore changes it, and an array that another thread opens
meanwhile is written as without.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zarr
from zarr.registry import register_pipeline
from zarrs import ZarrsCodecPipeline


class _Threads:
    """Whether this process has used the threads of zarrs, or has lost them by a fork."""

    are_used = False
    are_lost = False

    @classmethod
    def after_fork(cls) -> None:
        """Note what a new process lacks."""
        cls.are_lost = cls.are_used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Threads.after_fork)


class ChunkDecoder(ZarrsCodecPipeline):
    """Decodes chunks by zarrs, where its threads are."""

    async def read(self, *arguments: Any, **named: Any) -> None:
        """Read and decode chunks, as Zarr asks for them."""
        if _Threads.are_lost:
            self.impl = None  # then zarrs leaves it to Zarr
        else:
            _Threads.are_used = True
        await super().read(*arguments, **named)

    async def write(self, *arguments: Any, **named: Any) -> None:
        """Write chunks as Zarr does without this decoder."""
        write = super().write if self.python_impl is None else self.python_impl.write
        await write(*arguments, **named)


register_pipeline(ChunkDecoder)

_PATH = f"{ChunkDecoder.__module__}.{ChunkDecoder.__qualname__}"
_CHANGING = threading.Lock()


@contextmanager
def chunk_decoder() -> Iterator[None]:
    """Have the arrays that are opened meanwhile decoded by zarrs; by one thread at a time."""
    with _CHANGING, zarr.config.set({"codec_pipeline.path": _PATH}):
        yield
