"""An acquisition joined to what is known of each pixel, part by part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sarcast.arrays import Box, Float, Labels
from sarcast.detection import difference as di
from sarcast.detection.area import Area
from sarcast.detection.blocks import Block
from sarcast.detection.observation import ResidualLayers
from sarcast.detection.regions import Regions
from sarcast.detection.smoothing import reach_px, smooth
from sarcast.io.scratch import Array
from sarcast.monitoring.baselines import NEW, Fixed
from sarcast.monitoring.confirmation import ConfirmationRule
from sarcast.monitoring.layers import Look
from sarcast.monitoring.pixels import Pixels, blocks_with, replace_codes, write_part
from sarcast.monitoring.sequential import region_metric

_LAST = slice(-1, None)


class Metric(Protocol):
    """The metric of a rule at an acquisition, read by parts."""

    def read(self, box: Box, strata: Labels) -> Float:
        """Read a part, dims (y, x); what the acquisition does not see is not used.

        Parameters
        ----------
        box
            Rows and columns.
        strata
            Dims (y, x), of the part.
        """
        ...


@dataclass(frozen=True)
class PeakMetric:
    """Metric of ``sequential``: peak evidence of the region of each pixel.

    Attributes
    ----------
    evidence
        Dims (y, x).
    regions
        Found in it.
    """

    evidence: Array
    regions: Regions

    def read(self, box: Box, strata: Labels) -> Float:  # noqa: ARG002
        """Read a part."""
        numbers = self.regions.numbered(box)
        return region_metric(self.evidence[box], numbers, self.regions.peaks)


@dataclass(frozen=True)
class NormMetric:
    """Metric of ``opera``: norm over bands of the last acquisition's z."""

    residuals: ResidualLayers

    def read(self, box: Box, strata: Labels) -> Float:
        """Read a part."""
        return di.norm(self.residuals.read(box, strata, _LAST).z[-1])


@dataclass(frozen=True)
class Shown:
    """What an acquisition shows.

    Attributes
    ----------
    time
        Of the acquisition, UTC.
    metric
        Of the rule.
    difference
        Dims (band, y, x): actual - expected, dB; NaN where it does not see the pixel.
    smooth_px
        Standard deviation of the Gaussian by which differences are averaged, rows and columns.
    """

    time: np.datetime64
    metric: Metric
    difference: Array
    smooth_px: tuple[float, ...]

    @property
    def halo(self) -> tuple[int, ...]:
        """Rows and columns around a pixel that its mean difference depends on."""
        return reach_px(self.smooth_px)

    def read(self, block: Block, strata: Labels) -> Look:
        """Give a part to a rule; strata of its core, dims (y, x)."""
        difference = self.difference[(slice(None), *block.outer)]
        averaged = smooth(difference, self.smooth_px, block.first)
        magnitude = averaged[(slice(None), *block.inner)]
        seen = np.isfinite(magnitude).all(axis=0)
        metric = np.where(seen, self.metric.read(block.core, strata), np.float32(np.nan))
        return Look(self.time, metric, magnitude)


def advance_pixels(
    before: Pixels,
    shown: Shown,
    rule: ConfirmationRule,
    area: Area,
    strata: Labels,
    target: Mapping[str, Array],
) -> tuple[int, "Unfixed"]:
    """Advance layers and baselines.

    Parameters
    ----------
    before
        Before the acquisition.
    shown
        What it shows.
    rule
        Of confirmation.
    area
        Whose workers do it.
    strata
        Dims (y, x).
    target
        Receives layers and baselines, by name as in ``Pixels``.

    Returns
    -------
    seen
        Number of pixels that the acquisition sees.
    unfixed
        The baselines of new alerts, which are still to be fixed.
    """
    blocks = blocks_with(area.shape, shown.halo)
    task = _Advance(before, shown, rule, target)
    calls = [(block, strata[block.core]) for block in blocks]
    found = list(area.each(task, calls, "joining the acquisition"))
    codes = [(block.core, each.codes) for block, each in zip(blocks, found, strict=True)]
    return sum(each.seen for each in found), Unfixed(codes)


@dataclass(frozen=True)
class Unfixed:
    """Codes of the baselines of each part, with those of new alerts."""

    codes: Sequence[tuple[Box, Sequence[int]]]

    def fix(self, fixed: Fixed, end: np.datetime64, target: Mapping[str, Array]) -> Fixed:
        """Fix the baselines of new alerts.

        Parameters
        ----------
        fixed
            Those before.
        end
            End of the moving baseline.
        target
            Its ``baseline`` receives their codes.
        """
        in_use = {code for _, codes in self.codes for code in codes}
        fixed, by_new = fixed.with_new(in_use, end)
        boxes = (box for box, codes in self.codes if not set(NEW).isdisjoint(codes))
        replace_codes(target, boxes, by_new)
        return fixed


@dataclass(frozen=True)
class _Advanced:
    """What a part gives: pixels that the acquisition sees, codes of baselines."""

    seen: int
    codes: tuple[int, ...]


@dataclass(frozen=True)
class _Advance:
    """Advances a part."""

    before: Pixels
    shown: Shown
    rule: ConfirmationRule
    target: Mapping[str, Array]

    def __call__(self, block: Block, strata: Labels) -> _Advanced:
        look, core = self.shown.read(block, strata), block.core
        layers = self.rule.advance(self.before.layers(core), look)
        baselines = self.before.baselines(core).after(layers.status, look.time)
        write_part(self.target, core, layers, baselines)
        return _Advanced(int(look.seen.sum()), tuple(baselines.in_use))
