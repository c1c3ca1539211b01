"""What is seen of the viewer's page in a browser, and what should be seen."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.image import imread
from odc.geo.geobox import GeoBox

from sarcast.detection import styles

LOW, HIGH = -20.0, -4.0
TOLERANCE = 2
"""Of 255: the GPU and NumPy round differently."""

Opener = Callable[..., Any]
"""``open_page`` of the fixtures: address, state of the link, options of the browser."""


def side(layer: str, band: str = "", time: str = "") -> str:
    return f"{layer}~{band}~{time}"


def where(grid: GeoBox, column: float, row: float, per_pixel: float) -> str:
    """Link to a view that is centred within a pixel of the grid, off its middle and its edges.

    ``per_pixel`` is the width of a pixel of the screen in the units of the grid.
    """
    x, y = grid.transform * (column + 0.27, row + 0.27)
    return f"{x},{y},{per_pixel}"


def settle(page: Any) -> None:
    """Wait until the map shows all that is asked for."""
    page.evaluate("() => viewer.settled()")


class Screen:
    """Colours of the map, without what lies above it, and where its pixels are in the grid."""

    def __init__(self, page: Any, grid: GeoBox, density: int = 1) -> None:
        hidden = page.add_style_tag(content=".map-area > :not(.map) { visibility: hidden }")
        page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 60)))"
        )
        picture = page.screenshot(clip=page.locator(".map-area").bounding_box())
        hidden.evaluate("(element) => element.remove()")
        self.colours = np.round(255.0 * imread(io.BytesIO(picture), format="png")[..., :3])
        x, y, resolution = page.evaluate("() => viewer.map.place")
        rows, columns = self.colours.shape[:2]
        width, height = page.evaluate("() => viewer.map.map.getSize()")
        step = resolution / grid.resolution.x / density
        column, row = ~grid.transform * (x, y)
        self.columns = np.floor(column + (np.arange(columns) + 0.5 - width * density / 2) * step)
        self.rows = np.floor(row + (np.arange(rows) + 0.5 - height * density / 2) * step)

    def compare(self, expected: np.ndarray, part: slice = slice(None)) -> int:
        """Compare with colours of the grid, dims (y, x, RGB); gives the number of pixels compared.

        ``part`` are columns of the screen. Pixels of the grid that are NaN are left out.
        """
        rows = (self.rows >= 0) & (self.rows < len(expected))
        columns = (self.columns >= 0) & (self.columns < expected.shape[1])
        columns &= np.isin(np.arange(columns.size), np.arange(columns.size)[part])
        wanted = expected[np.ix_(self.rows[rows].astype(int), self.columns[columns].astype(int))]
        found = self.colours[np.ix_(rows, columns)]
        known = np.isfinite(wanted).all(axis=-1)
        difference = np.abs(found - wanted)[known]
        assert difference.size, "nothing of the grid is on the screen"
        assert difference.max() <= TOLERANCE, f"{(difference > TOLERANCE).mean():.1%} differ"
        return int(known.sum())


def shades(values: np.ndarray, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """Grey of values from black at ``low`` to white at ``high``, dims (..., RGB)."""
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.repeat(255.0 * share[..., None], 3, axis=-1)


def on_ramp(values: np.ndarray, stops: tuple[styles.Stop, ...]) -> np.ndarray:
    """Colours of values on a ramp that is opaque, dims (..., RGB)."""
    rgb = np.array([stop.rgba[:3] for stop in stops], dtype=float).T
    at = [stop.value for stop in stops]
    return np.stack([np.interp(values, at, channel) for channel in rgb], axis=-1)


def stretch(*bands: str, low: float = LOW, high: float = HIGH) -> str:
    return ";".join(f"dB|grey|{band}~{low}~{high}" for band in bands)
