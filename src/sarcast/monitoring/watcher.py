"""What an acquisition shows: evidence of its last acquisitions, each pixel by its baseline."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from scipy import ndimage

from sarcast.arrays import Bool, Box, Float, Labels
from sarcast.detection import difference as di
from sarcast.detection.area import Area, Plots
from sarcast.detection.blocks import Each, Sampling, each_in_turn
from sarcast.detection.detect import judge
from sarcast.detection.evidence import Residuals, typical_norms
from sarcast.detection.joining import CONNECTIVITY
from sarcast.detection.null import Null
from sarcast.detection.observation import Observer, ResidualLayers, where_judged
from sarcast.detection.regions import Regions
from sarcast.detection.residuals import Reader
from sarcast.detection.watch import Watch
from sarcast.errors import SarcastError
from sarcast.io.boxes import cut, moved, wider, within
from sarcast.io.scratch import Array, Readable
from sarcast.monitoring.baselines import MOVING, Fixed
from sarcast.monitoring.pixels import parts_of
from sarcast.prediction.strategies import Strategy

_log = logging.getLogger(__name__)

CELL_PX = 128
"""Pixels around those of a fixed baseline that are predicted with them, and level them; side of the
cells in which such pixels are found."""
MOST_CELLS = 6
"""Cells a side that share a prediction, besides one more on each side: 1024 pixels in all."""


@dataclass(frozen=True)
class Sight:
    """What an acquisition shows, with the acquisitions watched before it; read by parts.

    Attributes
    ----------
    residuals
        Of all watched acquisitions, each pixel by its baseline; the last one is the acquisition.
    typical
        Typical norm at each of them against the moving baseline, as ``typical_norms`` gives it.
    difference
        Dims (band, y, x): actual - expected of the acquisition, dB; NaN in all bands where it does
        not see the pixel.
    """

    residuals: ResidualLayers
    typical: Sequence[float]
    difference: Array


@dataclass(frozen=True)
class Watcher:
    """Looks at the acquisitions of a cube.

    Attributes
    ----------
    observer
        Makes statistics of residuals.
    null
        Null distributions of watches of as many acquisitions.
    area
        The area of the cube, and where what is seen is kept.
    """

    observer: Observer
    null: Null
    area: Area

    @property
    def plots(self) -> Plots:
        """The blocks."""
        return self.observer.plots(self.area)

    def look_at(self, watch: Watch, codes: Readable, fixed: Fixed) -> Sight:
        """Compare the last watched acquisition, and those before it, with their baselines.

        Parameters
        ----------
        watch
            What is watched, from the moving baseline.
        codes
            Dims (y, x): which baseline each pixel has, as in ``Baselines``.
        fixed
            The fixed ones.
        """
        area, reader = self.area, self.observer.reader
        with area.with_scratch() as temporary:  # images are not needed again
            images = reader.watched(watch, self.plots.regions, temporary.scratch, area.workers)
            difference = area.scratch.images((len(images.bands), *area.shape), np.float32)
            residuals, typical = self.observer.levelled(images, area, self.plots, last=difference)
        kept = _Kept(residuals.raw, difference, area.scratch.images(area.shape, bool))
        places = [
            (code, box, own)
            for code, cells in sorted(_cells_of(codes).items())
            for box, own in _boxes(cells, area.shape)
        ]
        compare = _CompareBox(reader, watch, fixed)
        calls = [(code, box) for code, box, _ in places]
        compared = self._each(compare, calls, "comparing with fixed baselines")
        for (code, box, own), found in zip(places, compared, strict=True):
            kept.put(found, box, _pixels_of(own, box) & (codes[box] == code))
        if kept.boxes:
            residuals = replace(residuals, levelled=kept.levelled)
        return Sight(residuals, typical, difference)

    def evidence(self, sight: Sight) -> tuple[Array, Regions]:
        """Evidence, dims (y, x), NaN where no acquisition is judged, and its regions."""
        residuals, plots = sight.residuals, self.plots
        typical = sight.typical if residuals.levelled is None else self._typical(residuals)
        observation = self.observer.measured(residuals, typical, self.area, plots)
        evidence, _ = judge(observation, self.null, self.area, plots)
        regions = self.observer.regions_in(self.area, plots, evidence, observation.shift)
        return evidence, regions

    def _typical(self, residuals: ResidualLayers) -> list[float]:
        plots = self.plots
        calls = [(core, self.null.strata[core]) for core in plots.cores]
        task = _Sample(residuals, plots.sampling)
        return typical_norms(np.concatenate([*self.area.each(task, calls, "comparing")], axis=-1))

    @property
    def _each(self) -> Each:
        """Who compares boxes: threads, but for networks, which use all cores themselves."""
        workers = self.area.workers
        shared = workers is not None and workers.cluster is None
        if shared and isinstance(self.observer.reader.predictor, Strategy):
            return self.area.each
        return each_in_turn


@dataclass(frozen=True)
class _CompareBox:
    """Compares a part of the cube with a fixed baseline.

    Attributes
    ----------
    reader
        Of the whole cube.
    watch
        What is watched, from the moving baseline.
    fixed
        The fixed ones.
    """

    reader: Reader
    watch: Watch
    fixed: Fixed

    def __call__(self, code: int, box: Box) -> tuple[Float, Float] | None:
        """Give what ``_Kept.put`` takes; None where the baseline cannot be predicted."""
        watch = replace(self.watch, before=self.fixed.end_of(code, self.watch.before))
        try:
            return _compared(self._part(box, latest=self.fixed.is_latest(code)), watch)
        except SarcastError as error:
            _log.warning(f"the moving baseline replaces a fixed one: {error}")
            return None

    def _part(self, box: Box, *, latest: bool) -> Reader:
        """Reader of a part of the cube."""
        reader, previous = self.reader, self.reader.previous
        if latest:
            previous = previous.model_copy(update={"chooser": "recent"})
        cube: xr.Dataset = reader.cube.isel(y=box[0], x=box[1])
        return replace(reader, cube=cube, strata=reader.strata[box], previous=previous)


@dataclass(frozen=True)
class _Sample:
    """Takes the residuals of the sampled pixels of a part, dims (time, band, pixel)."""

    residuals: ResidualLayers
    sampling: Sampling

    def __call__(self, core: Box, strata: Labels) -> Float:
        return self.sampling.take(self.residuals.read(core, strata).z, core)


@dataclass
class _Kept:
    """Puts residuals of fixed baselines in the place of those of the moving one.

    Attributes
    ----------
    raw
        Dims (time, band, y, x); receives levelled residuals.
    difference
        Dims (band, y, x); receives differences of the last target.
    levelled
        Dims (y, x): where this was done.
    boxes
        Number of boxes in which it was done.
    """

    raw: Array
    difference: Array
    levelled: Array
    boxes: int = 0

    def put(self, compared: tuple[Float, Float] | None, box: Box, where: Bool) -> None:
        """Put what was compared in a box, if it could be, into some of its pixels."""
        if compared is None:
            return
        for array, values in zip((self.raw, self.difference), compared, strict=True):
            found = np.array(array[(..., *box)])
            found[..., where] = values[..., where]
            array[(..., *box)] = found
        self.levelled[box] = self.levelled[box] | where
        self.boxes += 1


def _compared(reader: Reader, watch: Watch) -> tuple[Float, Float]:
    """Levelled residuals, dims (time, band, y, x), and differences of the last target, in dB."""
    images = reader.images(watch)
    residuals: Residuals = reader.residuals(images)
    last = images.isel(time=-1)
    difference = di.subtract(last["actual"].values, last["expected"].values)
    return residuals.z, where_judged(difference, residuals.z[-1])


def _cells_of(codes: Readable) -> dict[int, Bool]:
    """Cells of ``CELL_PX`` a side that hold pixels of each code but ``MOVING``, dims (row, column).

    Parameters
    ----------
    codes
        Dims (y, x); read by parts.
    """
    rows, columns = codes.shape
    cells: dict[int, Bool] = {}
    for part in parts_of((rows, columns)):
        found = np.asarray(codes[part])
        for code in np.unique(found[found != MOVING]).tolist():
            held = cells.setdefault(
                code, np.zeros((-(-rows // CELL_PX), -(-columns // CELL_PX)), bool)
            )
            inside = np.nonzero(found == code)
            held[tuple((i + p.start) // CELL_PX for i, p in zip(inside, part, strict=True))] = True
    return cells


def _boxes(cells: Bool, shape: tuple[int, int]) -> Iterator[tuple[Box, Bool]]:
    """Rows and columns around pixels in some cells, and in which of their cells these lie.

    Cells whose margins overlap share a box, within squares of ``MOST_CELLS`` a side: neither does a
    box grow with the area, nor does it depend on how the area is cut otherwise.
    """
    for square in cut(cells.shape, MOST_CELLS):
        if not cells[square].any():
            continue
        around = wider(square, (1, 1), cells.shape)
        held = np.zeros([part.stop - part.start for part in around], dtype=bool)
        held[within(square, around)] = cells[square]
        labels, _ = ndimage.label(ndimage.binary_dilation(held, CONNECTIVITY), CONNECTIVITY)
        for number, group in enumerate(ndimage.find_objects(labels), start=1):
            rows, columns = (
                slice(part.start * CELL_PX, min(part.stop * CELL_PX, pixels))
                for part, pixels in zip(moved(group, around), shape, strict=True)
            )
            yield (rows, columns), (held & (labels == number))[group]


def _pixels_of(cells: Bool, box: Box) -> Bool:
    """Which pixels of a box lie in some of its cells, dims (y, x)."""
    rows, columns = box
    pixels = cells.repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)
    return pixels[: rows.stop - rows.start, : columns.stop - columns.start]
