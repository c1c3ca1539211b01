"""The ground before it is watched: which pixels are judged, and which behaved alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sarcast.arrays import Box, Float, Labels
from sarcast.detection.area import Area
from sarcast.detection.blocks import Block, Sampling
from sarcast.detection.judged import JudgedOptions, Part, Selection, check_judged, part_of
from sarcast.detection.strata import Groups, Past, feature_count, features_of, past_halo_px
from sarcast.io.scratch import Array

SIDE_PX = 1024
"""Side of the blocks, at most: their moments over time take 200 bytes a pixel."""


@dataclass(frozen=True)
class Ground:
    """The pixels of an area.

    Attributes
    ----------
    area
        The area.
    judged
        Dims (y, x): where change is looked for.
    pixels
        Number of judged pixels.
    features
        Dims (feature, y, x), as ``features_of`` gives them.
    sample
        Dims (feature, pixel): those of sampled pixels.
    """

    area: Area
    judged: Array
    pixels: int
    features: Array
    sample: Float

    def strata(self, most: int) -> Labels:
        """Group the judged pixels, at most so many groups: dims (y, x), -1 elsewhere."""
        groups = Groups.of(self.sample, most) if np.isfinite(self.sample).any() else None
        task = _Group(groups, self.judged, self.features)
        labels = np.full(self.area.shape, -1, dtype=np.int8)
        boxes = [block.core for block in self.area.blocks(most=SIDE_PX)]
        found = self.area.each(task, [(box,) for box in boxes], "grouping pixels")
        for box, part in zip(boxes, found, strict=True):
            labels[box] = part
        return labels


@dataclass(frozen=True)
class _Group:
    """Groups the judged pixels of a part."""

    groups: Groups | None
    judged: Array
    features: Array

    def __call__(self, box: Box) -> Labels:
        """Give dims (y, x), int8; -1 where not judged."""
        judged = np.asarray(self.judged[box])
        found = np.int8(-1) if self.groups is None else self.groups.assign(self.features[..., *box])
        return np.where(judged, found, np.int8(-1))


def survey(area: Area, before: np.datetime64, options: JudgedOptions) -> Ground:
    """Look at the past of an area.

    Parameters
    ----------
    area
        The area.
    before
        Only images before this time are used.
    options
        Where change is looked for.

    Raises
    ------
    SarcastError
        If a cover is not in the cube, a file cannot be read, or no pixel is left to be judged.
    """
    cube = area.part.cube
    blocks = area.blocks(past_halo_px(area.grid), SIDE_PX)
    judged = area.scratch.images(area.shape, bool)
    features = area.scratch.images((feature_count(cube), *area.shape), np.float32)
    task = _Survey(Selection.of(cube, options), before, area.sampling, judged, features)
    calls = [(part_of(area.part, block.outer), block) for block in blocks]
    results = list(area.each(task, calls, "reading the past"))
    pixels = sum(result.pixels for result in results)
    check_judged(pixels > 0, options)
    return Ground(area, judged, pixels, features, _joined(results, blocks, area))


@dataclass(frozen=True)
class _Found:
    """What a block gives: number of judged pixels, features of its sampled pixels."""

    pixels: int
    sample: Float


@dataclass(frozen=True)
class _Survey:
    """Looks at the past of blocks."""

    selection: Selection
    before: np.datetime64
    sampling: Sampling
    judged: Array
    features: Array

    def __call__(self, part: Part, block: Block) -> _Found:
        past = Past(part.cube, self.before, block.first)
        judged = self.selection.judged(part, past)[block.inner]
        features = features_of(past)[(..., *block.inner)]
        self.judged[block.core], self.features[(..., *block.core)] = judged, features
        return _Found(int(judged.sum()), self.sampling.take(features, block.core))


def _joined(found: Sequence[_Found], blocks: Sequence[Block], area: Area) -> Float:
    """Features of the sampled pixels, dims (feature, pixel), row by row as if not cut."""
    order = np.concatenate([area.sampling.ranks(block.core, area.shape) for block in blocks])
    sample: Float = np.concatenate([each.sample for each in found], axis=1)
    return sample[:, np.argsort(order, kind="stable")]
