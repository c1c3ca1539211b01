"""The quicklook of a detection: actual, expected and difference with the outlines of events."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import xarray as xr

from sarcast.arrays import Double, Float
from sarcast.detection import styles
from sarcast.io.files import new_file
from sarcast.io.images import grid_of_images
from sarcast.windows import join_names

if TYPE_CHECKING:
    import geopandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sarcast.detection.detect import Detection

WIDTH_PIXELS = 1600
"""Width of the image."""
PANEL_PIXELS = 512
"""Most pixels per side of a panel; larger images are averaged down to it."""
NUMBERED_EVENTS = 12
"""Events whose id is shown, from the one of greatest evidence on."""

MOST_SHOWN = 2**22
"""Pixels that the range of the colours is found from, at most."""
_STRIP_PIXELS = 2**22
_DPI = 100
_TITLES_INCHES = 1.0
_BARS_INCHES = 2.2
_FLATTEST, _TALLEST = 0.25, 2.0
"""Least and most rows to one column of a panel, beyond which space stays empty around it."""
_NO_DATA = "#d4d4d4"


def write_quicklook(detection: "Detection", path: Path) -> None:
    """Write the quicklook as a PNG of ``WIDTH_PIXELS`` pixels width.

    Parameters
    ----------
    detection
        What changed, and the images behind it.
    path
        Target; an existing file is replaced.
    """
    with new_file(path) as partial:
        quicklook_figure(detection).savefig(partial, format="png", dpi=_DPI)


def quicklook_figure(detection: "Detection") -> "Figure":
    """Actual, expected and difference image, dB, as means over the bands, side by side.

    Outlines are in the colour of the event's direction, in all panels.
    """
    from matplotlib.figure import Figure

    images, factor = downsampled(detection.images[["actual", "expected", "difference"]])
    actual, expected, difference = (images[name].values for name in images)
    rows, columns = actual.shape
    width = WIDTH_PIXELS / _DPI
    ratio = np.clip(rows / columns, _FLATTEST, _TALLEST)
    height = (width - _BARS_INCHES) / 3.0 * ratio + _TITLES_INCHES
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(1, 3)
    grey = styles.grey_ramp(*styles.grey_range(actual, expected))
    figure.colorbar(_show(panels[0], actual, grey), ax=panels[:2], label="dB", shrink=0.8)
    _show(panels[1], expected, grey)
    shown = _show(panels[2], difference, styles.DIFFERENCE)
    figure.colorbar(shown, ax=panels[2], label="dB", extend="both", shrink=0.8)
    bands = join_names([str(band) for band in detection.images["band"].values])
    bands = f"mean of {bands}" if detection.images.sizes["band"] > 1 else bands
    for axes, name in zip(panels, ("actual", "expected", "actual − expected"), strict=True):
        axes.set(xticks=[], yticks=[], title=f"{name}, {bands}")
        _draw_events(axes, detection, factor, numbered=axes is panels[2])
    figure.suptitle(_title(detection))
    return figure


def downsampled(images: xr.Dataset, most: int = PANEL_PIXELS) -> tuple[xr.Dataset, int]:
    """Means over the bands and over square blocks of pixels, of the pixels with data.

    Parameters
    ----------
    images
        Dims (band, y, x), dB.
    most
        Most pixels per side.

    Returns
    -------
    Dataset, int
        Dims (y, x), dB, and the side of a block in pixels, 1 if the images are small.
    """
    factor = max(1, math.ceil(max(images.sizes["y"], images.sizes["x"]) / most))
    images = images.transpose("band", "y", "x")
    rows = factor * max(1, _STRIP_PIXELS // (factor * images.sizes["x"]))
    strips = [slice(first, first + rows) for first in range(0, images.sizes["y"], rows)]
    means = {
        name: np.concatenate([_means(image.isel(y=strip).values, factor) for strip in strips])
        for name, image in images.data_vars.items()
    }
    return xr.Dataset({name: (("y", "x"), image) for name, image in means.items()}), factor


def _means(values: Float, factor: int) -> Float:
    """Means over the bands, then over blocks, of the values that there are; NaN where none is."""
    image = _mean(values, (0,))
    padded = np.pad(image, [(0, -side % factor) for side in image.shape], constant_values=np.nan)
    rows, columns = (side // factor for side in padded.shape)
    return _mean(padded.reshape(rows, factor, columns, factor), (1, 3))


def _mean(values: Float, axes: tuple[int, ...]) -> Float:
    known = np.isfinite(values)
    count = known.sum(axis=axes)
    total = np.where(known, values, np.float32(0.0)).sum(axis=axes, dtype=np.float64)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    rounded: Float = mean.astype(np.float32)
    return rounded


def thinned(image: xr.DataArray) -> xr.DataArray:
    """Evenly spaced pixels of an image, at most ``MOST_SHOWN`` or all, dims (y, x)."""
    step = max(1, math.ceil(math.sqrt(image.size / MOST_SHOWN)))
    return image.isel(y=slice(None, None, step), x=slice(None, None, step))


def outlines(events: "geopandas.GeoDataFrame", to_pixels: Any) -> list[list[Double]]:
    """Rings of each event, holes included, dims (vertex, 2): columns and rows in pixels.

    Parameters
    ----------
    events
        As in ``Detection.events``.
    to_pixels
        Affine transform from the CRS of the events to columns and rows.
    """
    return [
        [
            np.column_stack(to_pixels * shapely.get_coordinates(ring).T)
            for part in shapely.get_parts(outline)
            for ring in (part.exterior, *part.interiors)
        ]
        for outline in events.geometry
    ]


def _show(axes: "Axes", image: Float, stops: tuple[styles.Stop, ...]) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    low, high = stops[0].value, stops[-1].value
    shares = [((stop.value - low) / (high - low), stop.colour) for stop in stops]
    colours = LinearSegmentedColormap.from_list("ramp", shares).with_extremes(bad=_NO_DATA)
    return axes.imshow(image, cmap=colours, vmin=low, vmax=high, interpolation="nearest")


def _draw_events(axes: "Axes", detection: "Detection", factor: int, *, numbered: bool) -> None:
    """Draw outlines over a panel whose pixels are blocks of ``factor`` pixels."""
    from matplotlib.collections import LineCollection

    transform = grid_of_images(detection.images["expected"]).transform
    rings = outlines(detection.events, ~transform)
    # the centre of the first block has the coordinates 0, 0
    lines = [[ring / factor - 0.5 for ring in event] for event in rings]
    for direction, stop in styles.DIRECTIONS.items():
        own = [
            ring
            for event, other in zip(lines, detection.events["direction"], strict=True)
            if other == direction
            for ring in event
        ]
        drawn = LineCollection(own, colors=stop.colour, linewidths=1.2, label=direction)
        axes.add_collection(drawn, autolim=False)
    if numbered:
        _number_events(axes, detection, lines)
        axes.legend(loc="lower right", fontsize="small")


def _number_events(axes: "Axes", detection: "Detection", lines: list[list[Double]]) -> None:
    """Write ids beside events, on the side where the panel has room."""
    width, height = (abs(end - start) for start, end in (axes.get_xlim(), axes.get_ylim()))
    for number, event in zip(detection.events["id"].head(NUMBERED_EVENTS), lines, strict=False):
        (left, top), (right, bottom) = event[0].min(axis=0), event[0].max(axis=0)
        is_right, is_top = right > 0.95 * width, top < 0.05 * height
        axes.annotate(
            str(number),
            (left if is_right else right, bottom if is_top else top),
            xytext=(-2 if is_right else 2, -2 if is_top else 2),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="top" if is_top else "bottom",
            fontsize=8,
        )


def _title(detection: "Detection") -> str:
    count, area = len(detection.events), float(detection.events["area_ha"].sum())
    first, last = (str(time.astype("datetime64[D]")) for time in detection.watched[[0, -1]])
    looked = last if first == last else f"{first} to {last}"
    events = "no event" if count == 0 else f"1 event, {area:.1f} ha"
    if count > 1:
        events = f"{count} events, {area:.1f} ha together"
    acquisitions = f"{len(detection.watched)} acquisition{'s' * (len(detection.watched) != 1)}"
    baseline = detection.baseline.astype("datetime64[D]")
    return f"{events}: {acquisitions}, {looked}, against a baseline until {baseline}"
