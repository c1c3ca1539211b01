"""How the chunks of cubes are decoded: by zarrs, whose threads need no Python.

A process that is forked from one that has used these threads does not have them, and would wait
for them without end: there, Zarr's own pipeline decodes.
"""

import os
from typing import Any

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


register_pipeline(ChunkDecoder)

BY_CHUNK_DECODER = {"codec_pipeline.path": f"{ChunkDecoder.__module__}.{ChunkDecoder.__qualname__}"}
"""Configuration of Zarr under which arrays are opened that it shall decode."""
