"""Regions: connected pixels of high evidence, and how far the change that they show extends."""

from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from sarcast.arrays import Bool, Double, Float, Labels
from sarcast.io.footprint import pixel_size_m

CONNECTIVITY = np.ones((3, 3), dtype=int)
"""A pixel is connected to its 8 neighbours."""
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
    """Regions of an evidence image.

    Attributes
    ----------
    labels
        Dims (y, x): 1, 2, ... in each region, 0 elsewhere.
    peaks
        Dims (region): greatest evidence of each.
    """

    labels: Labels
    peaks: Double

    def above(self, threshold: float) -> "Regions":
        """Return the regions whose peak exceeds a threshold, numbered by falling peak."""
        kept = np.flatnonzero(self.peaks > threshold)
        kept = kept[np.argsort(-self.peaks[kept], kind="stable")]
        numbers = np.zeros(len(self.peaks) + 1, dtype=np.int32)
        numbers[kept + 1] = np.arange(1, len(kept) + 1)
        return Regions(numbers[self.labels], self.peaks[kept])


def find_regions(
    evidence: Float, shift: Float, pixel_area_m2: float, options: RegionOptions
) -> Regions:
    """Find connected changes.

    Pixels above ``LOW_EVIDENCE`` are connected; of each such region whose peak is high enough,
    the change is the part where the shift, projected on that of the region's core, is at least
    ``EDGE_SHARE`` of the core's: about midway between unchanged and changed. Where the core has no
    shift to speak of, it is the part with at least that share of the peak's evidence.

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
        In no particular order.
    """
    evidence = np.nan_to_num(evidence, nan=0.0)
    shift = np.nan_to_num(shift, nan=0.0)
    joined, count = ndimage.label(evidence > LOW_EVIDENCE, CONNECTIVITY)
    labels = np.zeros(evidence.shape, dtype=np.int32)
    peaks: list[float] = []
    fewest = max(1, int(np.ceil(options.min_area * M2_PER_HA / pixel_area_m2)))
    highest = np.atleast_1d(ndimage.maximum(evidence, joined, np.arange(1, count + 1)))
    for number, box in enumerate(ndimage.find_objects(joined), start=1):
        if count and highest[number - 1] > LEAST_PEAK:
            inside = joined[box] == number
            changed = _extent(inside, evidence[box], shift[(slice(None), *box)])
            for part in _parts(changed, fewest):
                peaks.append(float(evidence[box][part].max()))
                labels[box][part] = len(peaks)
    found = Regions(labels, np.array(peaks, dtype=np.float64))
    return found.above(LEAST_PEAK)


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


def _parts(changed: Bool, fewest: int) -> list[Bool]:
    """Connected parts of at least so many pixels."""
    labels, _ = ndimage.label(changed, CONNECTIVITY)
    sizes = np.bincount(labels.ravel())
    return [labels == part for part in np.flatnonzero(sizes >= fewest) if part > 0]
