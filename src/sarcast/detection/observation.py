"""Observations: the statistics of any watch of a cube, made in one way, part by part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from sarcast.arrays import Box, Float, Floating, Labels
from sarcast.detection import difference as di
from sarcast.detection.area import Area, Plots
from sarcast.detection.blocks import Block, Sampling
from sarcast.detection.evidence import (
    Direction,
    Levels,
    Residuals,
    halo_px,
    levels_of,
    looks_of,
    mean_over_looks,
    names_of,
    relative,
    sizes_of,
    statistics,
    time_means,
    typical_norms,
    unscaled,
)
from sarcast.detection.regions import RegionFinder, RegionOptions, Regions
from sarcast.detection.residuals import Reader, WatchedImages, mean_correlation
from sarcast.detection.smoothing import smooth
from sarcast.detection.watch import Watch
from sarcast.io.footprint import pixel_size_m
from sarcast.io.images import grid_of_images
from sarcast.io.scratch import Array, Scratch

MEANS = ("actual", "expected", "difference", "std")
"""Images whose means over the targets can be kept."""
OUTLINE_M = 25.0
"""Standard deviation of the average of the shift that outlines regions, metres: where pixels are
coarse, less than that of any evidence, which spreads beyond a change."""
_ALL = slice(None)


@dataclass(frozen=True)
class Observation:
    """Statistics of one watch.

    Attributes
    ----------
    statistics
        By name, dims (y, x); NaN where not judged.
    shift
        Dims (band, y, x), averaged over ``OUTLINE_M``.
    looks
        Dims (y, x): targets that see a pixel.
    """

    statistics: Mapping[str, Floating]
    shift: Floating
    looks: Labels


@dataclass(frozen=True)
class ObservationLayers:
    """An observation, read by parts.

    Attributes
    ----------
    statistics, shift, looks
        As in ``Observation``; the statistics are still to be divided by their sizes.
    sizes
        Dims (statistic, stratum); None if they are divided already.
    """

    statistics: Mapping[str, Array]
    shift: Array
    looks: Array
    sizes: Float | None = None

    @classmethod
    def of(cls, observation: Observation) -> "ObservationLayers":
        """Give an observation in memory as one that is read by parts."""
        return cls(observation.statistics, observation.shift, observation.looks)

    def read(self, box: Box, strata: Labels) -> Observation:
        """Read a part; strata of dims (y, x)."""
        found = {name: np.asarray(values[box]) for name, values in self.statistics.items()}
        if self.sizes is not None:
            sized = zip(found.items(), self.sizes, strict=True)
            found = {name: relative(values, size, strata) for (name, values), size in sized}
        return Observation(found, self.shift[(slice(None), *box)], self.looks[box])


@dataclass(frozen=True)
class ResidualLayers:
    """Residuals of a watch, read by parts.

    Attributes
    ----------
    raw
        Dims (time, band, y, x), before they are levelled.
    levels
        Their levels.
    correlation
        As in ``Residuals``.
    levelled
        Dims (y, x): where ``raw`` is levelled already; None for nowhere.
    """

    raw: Array
    levels: Levels
    correlation: float
    levelled: Array | None = None

    def read(self, box: Box, strata: Labels, times: slice = _ALL) -> Residuals:
        """Levelled residuals of a part, of all targets or some; strata of dims (y, x)."""
        z = self.raw[(times, slice(None), *box)]
        if isinstance(self.raw, np.ndarray):  # then it is a view
            z = z.copy()
        levelled = None if self.levelled is None else self.levelled[box]
        self.levels.of(times).apply_to(z, strata, levelled)
        return Residuals(z, self.correlation)


@dataclass(frozen=True)
class Sighting:
    """A watch by parts: its images and their residuals.

    Attributes
    ----------
    images, residuals
        By parts.
    typical
        Typical norm of the residuals of each target, as ``typical_norms`` gives it.
    means
        Of ``MEANS``, dims (band, y, x), dB, over the targets that see a pixel; none if they were
        not asked for.
    """

    images: WatchedImages
    residuals: ResidualLayers
    typical: Sequence[float]
    means: Mapping[str, Array]


@dataclass(frozen=True)
class Observer:
    """Makes the statistics of any watch of a cube in one way.

    Attributes
    ----------
    reader
        Predicts the targets.
    direction
        Of the changes that are looked for.
    regions
        Which regions are events.
    """

    reader: Reader
    direction: Direction
    regions: RegionOptions

    @property
    def strata(self) -> Labels:
        """Strata of the cube, dims (y, x), -1 outside."""
        return self.reader.strata

    @property
    def pixel_m(self) -> tuple[float, float]:
        """Height and width of a pixel, metres."""
        return pixel_size_m(grid_of_images(self.reader.cube))

    @property
    def outline_px(self) -> tuple[float, ...]:
        """Scale of the shift that outlines regions in rows and columns, pixels."""
        return tuple(OUTLINE_M / size for size in self.pixel_m)

    @property
    def pixel_area_m2(self) -> float:
        """Area of a pixel."""
        height, width = self.pixel_m
        return height * width

    def plots(self, area: Area) -> Plots:
        """All of an area, in blocks with the halo that the statistics need."""
        return Plots.all_of(area, halo_px(self.pixel_m))

    def see(self, watch: Watch, area: Area, plots: Plots, means: Scratch | None = None) -> Sighting:
        """Predict the targets of a watch, and compare them with the actual images.

        Parameters
        ----------
        watch
            What is watched.
        area
            The area of the cube, and where the results are kept.
        plots
            The parts of it that are observed.
        means
            Where means of the images are kept; None if they are not needed.
        """
        images = self.reader.watched(watch, plots.regions, area.scratch, area.workers)
        shape = len(images.bands), *area.shape
        kept = {name: means.images(shape, np.float32) for name in MEANS} if means else {}
        residuals, typical = self.levelled(images, area, plots, means=kept)
        return Sighting(images, residuals, typical, kept)

    def observe(self, watch: Watch, area: Area, plots: Plots) -> ObservationLayers:
        """Compute the statistics of a watch; arguments as in ``see``."""
        seen = self.see(watch, area, plots)
        return self.measured(seen.residuals, seen.typical, area, plots)

    def observe_residuals(self, residuals: Residuals) -> Observation:
        """Compute the statistics of the residuals of a watch, of the whole cube at once."""
        found = statistics(residuals, self.pixel_m, self.strata, self.direction)
        shifts = smooth(residuals.shift, self.outline_px)
        return Observation(found, shifts, looks_of(residuals.seen))

    def regions_in(self, area: Area, plots: Plots, evidence: Array, shifts: Array) -> Regions:
        """Find the regions of an area, part by part."""
        ids = area.scratch.images(area.shape, np.int32)
        finder = RegionFinder(evidence, shifts, ids, self.pixel_area_m2, self.regions)
        return finder.find(plots.blocks, area.each)

    def levelled(
        self,
        images: WatchedImages,
        area: Area,
        plots: Plots,
        *,
        last: Array | None = None,
        means: Mapping[str, Array] | None = None,
    ) -> tuple[ResidualLayers, list[float]]:
        """Compare images part by part, and level the residuals.

        Parameters
        ----------
        images
            Of the targets.
        area, plots
            As in ``see``.
        last
            Dims (band, y, x): receives actual - expected of the last target, dB; NaN where it is
            not judged in every band.
        means
            Receive the means of ``MEANS``, as in ``Sighting``.

        Returns
        -------
        residuals
            With their levels.
        typical
            Typical norm at each target, as ``typical_norms`` gives it.
        """
        shape = (len(images.times), len(images.bands), *area.shape)
        raw = area.scratch.images(shape, np.float32)
        task = _ReadResiduals(images, raw, plots.sampling, last, means or {})
        cores = plots.cores
        calls = [(core, self.strata[core]) for core in cores]
        sample = np.concatenate([*area.each(task, calls, "comparing")], axis=-1)
        strata = plots.sample(self.strata, cores)
        levels = levels_of(sample, strata, images.has_std)
        correlation = mean_correlation(self.reader.predictor, images.times)
        return ResidualLayers(raw, levels, correlation), typical_norms(levels.apply(sample, strata))

    def measured(
        self, residuals: ResidualLayers, typical: Sequence[float], area: Area, plots: Plots
    ) -> ObservationLayers:
        """Compute the statistics of levelled residuals, block by block; arguments as in ``see``."""
        targets, bands, *shape = residuals.raw.shape
        names = names_of(targets, self.direction)
        found = ObservationLayers(
            {name: area.scratch.images(shape, np.float32) for name in names},
            area.scratch.images((bands, *shape), np.float32),
            area.scratch.images(shape, np.uint8),
        )
        measures = _Measures(self.pixel_m, tuple(typical), self.direction, self.outline_px)
        task = _Measure(measures, residuals, found, plots.sampling)
        calls = [(block, self.strata[block.outer]) for block in plots.blocks]
        sample = np.concatenate([*area.each(task, calls, "measuring evidence")], axis=-1)
        sizes = sizes_of(sample, plots.sample(self.strata))
        return replace(found, sizes=sizes)


@dataclass(frozen=True)
class _ReadResiduals:
    """Compares actual and expected images of a part, and keeps the residuals."""

    images: WatchedImages
    raw: Array
    sampling: Sampling
    last: Array | None
    means: Mapping[str, Array]

    def __call__(self, core: Box, strata: Labels) -> Float:
        """Give the residuals of the sampled pixels, dims (time, band, pixel)."""
        images, raw = self.images.compared(core, strata)
        self.raw[(slice(None), slice(None), *core)] = raw
        if self.last is not None:
            last = images.isel(time=-1)
            difference = di.subtract(last["actual"].values, last["expected"].values)
            self.last[(slice(None), *core)] = where_judged(difference, raw[-1])
        for name, values in _means(images, raw).items() if self.means else ():
            self.means[name][(slice(None), *core)] = values
        return self.sampling.take(raw, core)


def _means(images: xr.Dataset, residuals: Float) -> dict[str, Float]:
    """Compute ``MEANS``, dims (band, y, x), over the targets that have residuals."""
    seen = np.asarray(np.isfinite(residuals).all(axis=1))
    found = {
        name: mean_over_looks(images[name].values, seen) for name in ("actual", "expected", "std")
    }
    return {**found, "difference": di.subtract(found["actual"], found["expected"])}


def where_judged(difference: Float, residuals: Float) -> Float:
    """Differences of one target, dims (band, y, x), NaN where a band has no residual."""
    return np.where(np.isfinite(residuals).all(axis=0), difference, np.float32(np.nan))


@dataclass(frozen=True)
class _Measures:
    """How residuals are measured: arguments of what computes the statistics and the shift."""

    pixel_m: tuple[float, float]
    typical: tuple[float, ...]
    direction: Direction
    outline_px: tuple[float, ...]


@dataclass(frozen=True)
class _Measure:
    """Computes the statistics of a block, and keeps them."""

    measures: _Measures
    residuals: ResidualLayers
    found: ObservationLayers
    sampling: Sampling

    def __call__(self, block: Block, strata: Labels) -> Float:
        """Give the statistics of the sampled pixels, dims (statistic, pixel)."""
        how, inner, core = self.measures, block.inner, block.core
        residuals = self.residuals.read(block.outer, strata)
        means = time_means(residuals, how.typical, how.direction)
        del residuals  # as much as all that follows
        samples = []
        for name, values in unscaled(means, how.pixel_m, how.direction, inner, block.first):
            self.found.statistics[name][core] = values
            samples.append(self.sampling.take(values, core))
        smoothed = smooth(means.shift, how.outline_px, block.first, inner)
        self.found.shift[(slice(None), *core)] = smoothed
        self.found.looks[core] = means.looks[inner]
        return np.stack(samples)
