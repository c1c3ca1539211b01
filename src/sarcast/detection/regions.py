"""Regions: connected pixels of high evidence, and how far the change that they show extends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from sarcast.arrays import Bool, Box, Double, Float, Labels
from sarcast.detection.blocks import Block, Each, each_in_turn
from sarcast.detection.joining import CONNECTIVITY, Edges, edges_of, joined, key_of
from sarcast.io.boxes import moved, whole
from sarcast.io.footprint import pixel_size_m
from sarcast.io.scratch import Array

LOW_EVIDENCE = 2.0
"""Evidence that connects the pixels around a peak: p below 0.01."""
LEAST_PEAK = 3.0
"""Peaks below this are not looked at; rates of false events are fitted above it."""
CORE_SHARE = 0.7
"""The core of a region has at least this share of its peak's evidence and greatest shift."""
EDGE_SHARE = 0.4
"""A change ends where this share of its core's shift, or of its peak's evidence, is left."""
M2_PER_HA = 1e4


def pixel_ha(grid: GeoBox) -> float:
    """Area of a pixel, hectares."""
    height, width = pixel_size_m(grid)
    return height * width / M2_PER_HA


class RegionOptions(BaseModel):
    """Which regions are events."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    min_area: float = Field(
        0.3, gt=0.0, description="Smallest change that is reported, hectares (8 neighbours)."
    )


@dataclass(frozen=True)
class Regions:
    """Regions of an image.

    Attributes
    ----------
    ids
        Dims (y, x): in each region its id; elsewhere 0, or anything that is not in ``known``.
    known
        Dims (region): their ids.
    peaks
        Dims (region): greatest evidence of each.
    boxes
        Rows and columns of each.
    """

    ids: Array
    known: Labels
    peaks: Double
    boxes: tuple[Box, ...]

    @classmethod
    def of(cls, labels: Labels, peaks: Double) -> "Regions":
        """Give the regions of an image of labels 1, 2, ... in the order of the peaks."""
        boxes = ndimage.find_objects(labels, len(peaks))
        return cls(labels, np.arange(1, len(peaks) + 1), peaks, tuple(boxes))

    def __len__(self) -> int:
        """Number of regions."""
        return len(self.peaks)

    def above(self, threshold: float) -> "Regions":
        """Return the regions whose peak exceeds a threshold, the highest first."""
        order = np.lexsort((self.known, -self.peaks))
        kept = order[self.peaks[order] > threshold]
        boxes = tuple(self.boxes[index] for index in kept)
        return Regions(self.ids, self.known[kept], self.peaks[kept], boxes)

    def numbered(self, box: Box) -> Labels:
        """Number of each pixel's region in a part of the image, dims (y, x): 1, 2, ... or 0."""
        ids = np.asarray(self.ids[box])
        numbers = np.zeros(ids.shape, dtype=np.int32)
        if len(self):
            order = np.argsort(self.known)
            found = order[np.searchsorted(self.known[order], ids).clip(max=len(self) - 1)]
            numbers = np.where(self.known[found] == ids, found + 1, 0).astype(np.int32)
        return numbers

    @property
    def labels(self) -> Labels:
        """``numbered`` of the whole image, which must fit into memory."""
        return self.numbered(whole(self.ids.shape))


def find_regions(
    evidence: Float, shift: Float, pixel_area_m2: float, options: RegionOptions
) -> Regions:
    """Find connected changes in an image, as ``RegionFinder`` does.

    Parameters
    ----------
    evidence
        Dims (y, x), -log10 of p; NaN where not judged.
    shift
        Dims (band, y, x): smoothed shift in standard deviations.
    pixel_area_m2
        Area of a pixel.
    options
        Smallest region.

    Returns
    -------
    Regions
        The highest first.
    """
    ids = np.zeros(evidence.shape, dtype=np.int32)
    box = whole(evidence.shape)
    return RegionFinder(evidence, shift, ids, pixel_area_m2, options).find([Block(box, box)])


@dataclass(frozen=True)
class _Region:
    """A region: its id, the evidence of its peak, its rows and columns."""

    id: int
    peak: float
    box: Box


@dataclass(frozen=True)
class _Open:
    """Connected pixels of a block that reach an edge where another block begins.

    Attributes
    ----------
    edges
        Their keys, which are negative, along the edges of the block.
    peaks, boxes
        By key: greatest evidence, and rows and columns.
    """

    edges: Edges
    peaks: dict[int, float]
    boxes: dict[int, Box]


@dataclass(frozen=True)
class RegionFinder:
    """Finds connected changes block by block, and joins those that reach into several blocks.

    Pixels above ``LOW_EVIDENCE`` are connected; of each such region whose peak is high enough,
    the change is the part where the shift, projected on that of the region's core, is at least
    ``EDGE_SHARE`` of the core's: about midway between unchanged and changed. Where the core has no
    shift to speak of, it is the part with at least that share of the peak's evidence.

    Attributes
    ----------
    evidence
        Dims (y, x), -log10 of p; NaN where not judged.
    shift
        Dims (band, y, x): smoothed shift in standard deviations.
    ids
        Dims (y, x), 0: receives the ids of regions, 1 + the number of their first pixel row by row.
    pixel_area_m2
        Area of a pixel.
    options
        Smallest region.
    """

    evidence: Array
    shift: Array
    ids: Array
    pixel_area_m2: float
    options: RegionOptions

    def find(self, blocks: Sequence[Block], each: Each = each_in_turn) -> Regions:
        """Find the regions of an image.

        Parameters
        ----------
        blocks
            Their cores fill it, row by row.
        each
            Does a task for each of some arguments.

        Returns
        -------
        Regions
            The highest first; the same however the image is cut.
        """
        found = list(each(self._within, [(block,) for block in blocks], "finding regions"))
        regions = [region for closed, _ in found for region in closed]
        regions += self._across(blocks, [parts for _, parts in found])
        return Regions(
            self.ids,
            np.array([region.id for region in regions], dtype=np.int64),
            np.array([region.peak for region in regions], dtype=np.float64),
            tuple(region.box for region in regions),
        ).above(LEAST_PEAK)

    def _within(self, block: Block) -> tuple[list[_Region], _Open]:
        """Regions that end within a block, and the connected pixels that may not."""
        core = block.core
        evidence, shift = self._read(core)
        labels, count = ndimage.label(evidence > LOW_EVIDENCE, CONNECTIVITY)
        peaks = np.atleast_1d(ndimage.maximum(evidence, labels, np.arange(1, count + 1)))
        is_open = np.zeros(count + 1, dtype=bool)
        is_open[np.concatenate(edges_of(labels, core, self.ids.shape))] = True
        ids = np.zeros(labels.shape, dtype=np.int32)
        regions: list[_Region] = []
        opened: dict[int, tuple[float, Box]] = {}
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            inside, peak, place = labels[box] == number, float(peaks[number - 1]), moved(box, core)
            if is_open[number]:
                key = -self._id(inside, place)
                ids[box][inside] = key
                opened[key] = peak, place
            elif peak > LEAST_PEAK:
                parts = self._parts(inside, evidence[box], shift[(slice(None), *box)], place)
                for region, part in parts:
                    ids[box][part] = region.id
                    regions.append(region)
        self.ids[core] = ids
        edges = tuple(np.minimum(edge, 0) for edge in edges_of(ids, core, self.ids.shape))
        return regions, _Open(
            edges,
            {key: peak for key, (peak, _) in opened.items()},
            {key: box for key, (_, box) in opened.items()},
        )

    def _across(self, blocks: Sequence[Block], opened: Sequence[_Open]) -> list[_Region]:
        """Regions of the connected pixels that reach an edge of a block, joined across it."""
        peaks = {key: peak for parts in opened for key, peak in parts.peaks.items()}
        boxes = {key: box for parts in opened for key, box in parts.boxes.items()}
        cores, edges = [block.core for block in blocks], [parts.edges for parts in opened]
        regions = []
        for keys in joined(list(peaks), cores, edges, self.ids.shape):
            if max(peaks[key] for key in keys) > LEAST_PEAK:
                regions += self._of_parts(keys, _around([boxes[key] for key in keys]))
        return regions

    def _of_parts(self, keys: Sequence[int], box: Box) -> list[_Region]:
        evidence, shift = self._read(box)
        ids = np.array(self.ids[box])
        regions = []
        inside = np.isin(ids, keys)
        ids[inside] = 0
        for region, part in self._parts(inside, evidence, shift, box):
            ids[part] = region.id
            regions.append(region)
        self.ids[box] = ids
        return regions

    def _read(self, box: Box) -> tuple[Float, Float]:
        """Evidence and shift of a part of the image, 0 where unknown."""
        evidence, shift = self.evidence[box], self.shift[(slice(None), *box)]
        return np.nan_to_num(evidence, nan=0.0), np.nan_to_num(shift, nan=0.0)

    def _parts(
        self, inside: Bool, evidence: Float, shift: Float, place: Box
    ) -> Iterator[tuple[_Region, Bool]]:
        """Regions of connected pixels, and which pixels of their box belong to each."""
        fewest = max(1, int(np.ceil(self.options.min_area * M2_PER_HA / self.pixel_area_m2)))
        labels, _ = ndimage.label(_extent(inside, evidence, shift), CONNECTIVITY)
        sizes = np.bincount(labels.ravel())
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            if sizes[number] >= fewest:
                part = labels == number
                tight = moved(box, place)
                peak = float(evidence[part].max())
                yield _Region(self._id(part[box], tight), peak, tight), part

    def _id(self, inside: Bool, place: Box) -> int:
        """Id of pixels in their box: 1 + the number of the first, row by row."""
        column = place[1].start + int(np.argmax(inside[0]))
        return key_of(place[0].start, column, self.ids.shape[1])


def _around(boxes: Sequence[Box]) -> Box:
    """The box around boxes."""
    rows, columns = (
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*boxes, strict=True)
    )
    return rows, columns


def _extent(inside: Bool, evidence: Float, shift: Float) -> Bool:
    """Pixels of a region that belong to the change of its core."""
    peak = evidence[inside].max()
    core = inside & (evidence >= CORE_SHARE * peak)
    mean = shift[:, core].mean(axis=1)
    size = float(np.linalg.norm(mean))
    if size < 2.0:
        changed = inside & (evidence >= EDGE_SHARE * peak)
    else:
        along = np.einsum("b,byx->yx", mean / size, shift)
        # smoothing carries great evidence far beyond a strong change
        core &= along >= CORE_SHARE * along[core].max()
        changed = inside & (along >= EDGE_SHARE * along[core].mean())
    filled: Bool = ndimage.binary_closing(np.pad(changed, 1), CONNECTIVITY)[1:-1, 1:-1] & inside
    changed_and_core: Bool = filled | core
    return changed_and_core
