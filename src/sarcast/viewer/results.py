"""Result folders as they are shown: the layers of a detection and of alerts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pystac
from affine import Affine
from odc.geo.geobox import GeoBox
from pydantic import ValidationError

from sarcast.arrays import Box, Float
from sarcast.catalogue.location import MALFORMED, time_range
from sarcast.cube.dates import to_datetime64
from sarcast.detection import styles
from sarcast.detection.runs import ITEM, MODEL, Run, read_item, read_run
from sarcast.errors import SarcastError
from sarcast.sensor.units import DB
from sarcast.viewer.layers import (
    DIFFERENCE_RANGE,
    EVIDENCE_RANGE,
    UNCERTAINTY_RANGE,
    Z_RANGE,
    Layer,
)
from sarcast.viewer.pyramid import Pyramid
from sarcast.viewer.rasters import Raster
from sarcast.windows import BaselineOptions, PreviousOptions

VERBS = {"detect": "detection", "monitor": "alerts"}
"""Kinds of results that can be shown, by the verb that writes them."""
_UNITLESS = ""
_DAYS = "days"
_EPOCH = np.datetime64("1970-01-01", "D")


@dataclass(frozen=True)
class Result:
    """A detection folder or a monitoring folder.

    Attributes
    ----------
    folder
        The folder.
    run
        What it was made from.
    item
        Its STAC item.
    kind
        ``"detection"`` or ``"alerts"``.
    """

    folder: Path
    run: Run
    item: pystac.Item
    kind: str

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a folder that ``detect`` or ``monitor`` wrote.

        Raises
        ------
        SarcastError
            If it is another folder, or damaged.
        """
        run = read_run(folder)
        if run.verb not in VERBS:
            raise SarcastError(
                f"{folder} is a result of sarcast {run.verb}; expected a cube, or a folder that "
                f"sarcast {' or '.join(VERBS)} wrote"
            )
        return cls(folder, run, read_item(folder), VERBS[run.verb])

    @cached_property
    def grid(self) -> GeoBox:
        """Grid of its rasters."""
        properties = self.item.properties
        crs = properties.get("proj:code") or properties.get("proj:wkt2")
        try:
            rows, columns = (int(side) for side in properties["proj:shape"])
            transform = Affine(*properties["proj:transform"][:6])
            return GeoBox((rows, columns), transform, crs)
        except MALFORMED as error:
            raise SarcastError(
                f"{self.folder / ITEM} does not describe a grid ({error!r}); run sarcast "
                f"{self.run.verb} again"
            ) from error

    @property
    def pyramid(self) -> Pyramid:
        """Levels of its grid."""
        return Pyramid(*self.grid.shape)

    @property
    def baseline(self) -> str | None:
        """Time of the last image that the baseline of a detection could use, ISO 8601."""
        found = self.item.properties.get("sarcast:baseline")
        return None if found is None else str(found)

    @property
    def threshold(self) -> float | None:
        """Evidence above which a region of a detection is an event."""
        found = self.item.properties.get("sarcast:threshold")
        return float(found) if isinstance(found, int | float) else None

    @property
    def model(self) -> str:
        """Name of the model or strategy behind it."""
        return str(self.item.properties.get(MODEL, ""))

    @property
    def watched(self) -> tuple[np.datetime64, np.datetime64]:
        """Times of the first and the last watched acquisition."""
        first, last = (np.datetime64(t.replace(tzinfo=None), "s") for t in time_range(self.item))
        return first, last

    @property
    def end_of_baseline(self) -> np.datetime64 | None:
        """Time before which the images of the baseline of a detection were taken."""
        if self.baseline is None:
            return None
        return to_datetime64(self.baseline.removesuffix("Z")) + np.timedelta64(1, "s")

    @property
    def previous(self) -> PreviousOptions:
        """Which previous images it was made from, as far as its record says so."""
        recorded = {k: v for k, v in self.run.options.items() if k in PreviousOptions.model_fields}
        try:
            return BaselineOptions.model_validate({**PreviousOptions().model_dump(), **recorded})
        except ValidationError:
            return PreviousOptions()

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Bands of its images."""
        found = self.item.properties.get("sarcast:bands")
        if isinstance(found, list) and found:
            return tuple(map(str, found))
        with_bands = "magnitude" if self.kind == "alerts" else "expected"
        asset = self.item.assets.get(with_bands)
        described = asset.extra_fields.get("bands", ()) if asset else ()
        return tuple(str(band.get("description", "")).split(" ")[0] for band in described)

    def layers(self) -> list[Layer]:
        """Layers of the files that are there."""
        make = _detection_layers if self.kind == "detection" else _alert_layers
        return list(make(self))

    def raster(self, name: str, bands: Sequence[int] = (), **how: Any) -> Raster | None:
        """A raster of the folder; None if it is not there."""
        path = self.folder / f"{name}.tif"
        if not is_inside(path, self.folder):
            return None
        return Raster.open(path, self.pyramid, bands, **how)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is a file whose true location is inside a folder."""
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        return False


# --- detection ------------------------------------------------------------------------------------


def _detection_layers(result: Result) -> Iterator[Layer]:
    bands, count = result.bands, len(result.bands)
    first, second = range(1, count + 1), range(count + 1, 2 * count + 1)
    expected = result.raster("expected", first)
    std = result.raster("uncertainty", first)
    difference = result.raster("difference", first)
    z = result.raster("difference", second)
    grey = _grey_ranges(result, expected)
    if expected and difference:
        actual = _sum_of(expected, difference)
        yield Layer("actual-mean", "actual image, mean", bands, actual, DB, grey, "grey")
    if expected:
        yield Layer("expected", "expected image", bands, expected.read, DB, grey, "grey")
    for name, label, raster, units, limits, ramp in (
        ("std", "standard deviation", std, DB, UNCERTAINTY_RANGE, "uncertainty"),
        ("difference", "actual − expected", difference, DB, DIFFERENCE_RANGE, "difference"),
        ("z", "z: difference / standard deviation", z, _UNITLESS, Z_RANGE, "difference"),
    ):
        if raster and _has_data(result, raster):
            yield Layer(name, label, bands, raster.read, units, (limits,) * count, ramp)
    yield from _evidence_layers(result)


def _evidence_layers(result: Result) -> Iterator[Layer]:
    if evidence := result.raster("evidence", [1]):
        label, units = "evidence of change", "−log10 p"
        yield Layer(
            "evidence", label, ("evidence",), evidence.read, units, (EVIDENCE_RANGE,), "evidence"
        )
    if change := result.raster("change", [1], is_classes=True):
        classes = tuple(stop for stop in styles.CHANGE if stop.value != styles.NOT_JUDGED)
        yield Layer("change", "change", ("change",), change.read, _UNITLESS, classes=classes)
    if date := result.raster("change-date", [1], is_classes=True):
        days = tuple(float(time.astype("datetime64[D]").astype(int)) for time in result.watched)
        yield _dates("change-date", "date of the change", date, _span(*days))
    if looks := result.raster("looks", [1], is_classes=True):
        yield _counts("looks", "acquisitions that see the pixel", looks)


def _sum_of(expected: Raster, difference: Raster) -> Callable[[int, int, Box], Float]:
    """Reader of the actual image: expected image plus difference."""

    def read(index: int, level: int, box: Box) -> Float:
        image: Float = expected.read(index, level, box) + difference.read(index, level, box)
        return image

    return read


def _grey_ranges(result: Result, raster: Raster | None) -> tuple[tuple[float, float], ...]:
    """Backscatter that is shown as black and as white, from the coarsest level."""
    if raster is None:
        return ()
    coarsest = result.pyramid.levels - 1
    image = raster.read(0, coarsest, result.pyramid.box(coarsest, 0, 0))
    return tuple(map(styles.grey_range, image))


def _has_data(result: Result, raster: Raster) -> bool:
    """Whether a raster has any data: a strategy gives no standard deviation."""
    coarsest = result.pyramid.levels - 1
    return bool(np.isfinite(raster.read(0, coarsest, result.pyramid.box(coarsest, 0, 0))).any())


def _dates(name: str, label: str, raster: Raster, limits: tuple[float, float]) -> Layer:
    return Layer(name, label, ("date",), raster.read, _DAYS, (limits,), "dates", form="date")


def _counts(name: str, label: str, raster: Raster, units: str = _UNITLESS) -> Layer:
    limits = (0.0, max(_greatest(raster), 1.0))
    return Layer(name, label, (name,), raster.read, units, (limits,), "counts")


def _span(first: float, last: float) -> tuple[float, float]:
    return first, max(last, first + 1.0)


def _greatest(raster: Raster) -> float:
    """Greatest value at the coarsest overview; 0 where there is none."""
    level = raster.overviews[-1].bit_length() - 1 if raster.overviews else 0
    rows, columns = raster.size
    values = raster.read(0, level, (slice(0, -(-rows >> level)), slice(0, -(-columns >> level))))
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else 0.0


# --- alerts ---------------------------------------------------------------------------------------


def _alert_layers(result: Result) -> Iterator[Layer]:
    from sarcast.monitoring.output import METRIC, STATUS

    classes = tuple(stop for stop in STATUS if stop.label != "not seen")
    for name, label in (
        ("status", "status"),
        ("status-acquisition", "status in the last acquisition alone"),
    ):
        if raster := result.raster(name, [1], is_classes=True):
            yield Layer(name, label, ("status",), raster.read, _UNITLESS, classes=classes)
    limits = (METRIC[0].value, METRIC[-1].value)
    for name, label in (
        ("metric", "metric of the last acquisition"),
        ("greatest-metric", "greatest metric of the alert"),
        ("confidence", "confidence"),
    ):
        if raster := result.raster(name, [1]):
            yield Layer(name, label, (name,), raster.read, _UNITLESS, (limits,), "evidence")
    if raster := result.raster("magnitude"):
        ranges = (DIFFERENCE_RANGE,) * len(raster.bands)
        label = "magnitude: mean of actual − expected"
        yield Layer("magnitude", label, result.bands, raster.read, DB, ranges, "difference")
    yield from _alert_numbers(result)


def _alert_numbers(result: Result) -> Iterator[Layer]:
    from sarcast.monitoring.output import DAY_LAYERS

    first, last = (
        float((time.astype("datetime64[D]") - _EPOCH).astype(int)) for time in result.watched
    )
    for name, (_, label) in DAY_LAYERS.items():
        if raster := result.raster(name, [1], is_classes=True):
            dated = raster.with_decoder(_days_of(raster.tags))
            yield _dates(name, label, dated, _span(first, last))
    for name, label, units in (
        ("count", "detections of the alert", _UNITLESS),
        ("percentage", "share of detections", "%"),
        ("duration", "days from first to last detection", _DAYS),
    ):
        if raster := result.raster(name, [1], is_classes=True):
            yield _counts(name, label, raster, units)


def _days_of(tags: Mapping[str, str]) -> Callable[[npt.NDArray[Any]], Float]:
    """Decoder of days since the epoch of a file to days since 1970-01-01; 0 is no date."""
    epoch = to_datetime64(tags.get("EPOCH", str(_EPOCH))).astype("datetime64[D]")
    later = int((epoch - _EPOCH).astype(int))

    def decode(stored: npt.NDArray[Any]) -> Float:
        days = (stored.astype(np.int64) + later).astype(np.float32)
        return np.where(stored == 0, np.float32(np.nan), days)

    return decode
