"""Scene context of a whole scene: the blocks of all tiles, and the table of the region of each.

A tile alone would be a small sample of its scene: a change that covers a third of it could explain
itself, and neighbouring tiles would differ. The context of a tile is therefore fitted to the blocks
of the region around it.
"""

from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from sarcast.arrays import Box, Float
from sarcast.io.scratch import Scratch
from sarcast.prediction.networks.context import BLOCK_PX, PROPERTIES, Blocks, fit
from sarcast.windows import BANDS, PixelOffset, Predictor, Window

MARGIN_PX = 512
"""Pixels by which a region reaches beyond its tile on every side."""
_PARTS = [len(PROPERTIES), len(BANDS), len(BANDS)]


@runtime_checkable
class ScenePredictor(Predictor, Protocol):
    """A predictor whose scene context can be fitted to more than a window."""

    def scene_blocks(self, window: Window) -> Blocks:
        """Compute the blocks of a window, one window a batch, on the CPU."""
        ...


class Scene:
    """Blocks of a whole scene, or of a region of it.

    Parameters
    ----------
    region
        Rows and columns of the region in the cube.
    scratch
        Where the blocks are kept; default: in memory.
    """

    def __init__(self, region: Box, scratch: Scratch | None = None) -> None:
        self._origin = tuple(part.start for part in region)
        rows, columns = (-(-(part.stop - part.start) // BLOCK_PX) for part in region)
        self._blocks = (scratch or Scratch()).images((sum(_PARTS), rows, columns), np.float32)

    def add(self, offset: PixelOffset, blocks: Blocks) -> None:
        """Add the blocks of a tile; where tiles overlap, the later one stays.

        Parameters
        ----------
        offset
            Row and column of the tile in the cube, pixels, rounded to the block that contains it.
        blocks
            Of one window.
        """
        part = torch.cat(blocks, dim=1)[0].cpu().numpy()
        row, column = (pixels // BLOCK_PX for pixels in self._in_region(offset))
        height, width = (
            min(side, whole - first)
            for side, whole, first in zip(
                part.shape[1:], self._blocks.shape[1:], (row, column), strict=True
            )
        )
        self._blocks[:, row : row + height, column : column + width] = part[:, :height, :width]

    def context(self, offset: PixelOffset, size: int) -> Float:
        """Fit the table of the region around a tile, dims as ``Window.context``."""
        rows, columns = (
            slice(max(first - MARGIN_PX, 0) // BLOCK_PX, (first + size + MARGIN_PX) // BLOCK_PX)
            for first in self._in_region(offset)
        )
        region = torch.from_numpy(self._blocks[:, rows, columns])[None]
        table: Float = fit(Blocks(*torch.split(region, _PARTS, dim=1)))[0].numpy()
        return table

    def _in_region(self, offset: PixelOffset) -> PixelOffset:
        row, column = (pixels - first for pixels, first in zip(offset, self._origin, strict=True))
        return row, column


def with_context_of(window: Window, scene: Scene) -> Window:
    """Return a window with the scene context of the region around it."""
    return replace(window, context=scene.context(window.offset, max(window.target.shape[-2:])))
