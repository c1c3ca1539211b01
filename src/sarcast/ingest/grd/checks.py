"""Numbers of a GRD product that its geometry and calibration rest on: finite, ordered, possible."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Floating

if TYPE_CHECKING:
    from sarcast.ingest.grd.image import Image, Vectors
    from sarcast.ingest.grd.product import GrdProduct

MOST_VECTORS = 10_000
"""Most calibration or noise vectors of an image; products have 30 to 300."""
_ORBIT_M = (6.9e6, 7.3e6)
"""Possible distances of Sentinel-1 from the centre of the Earth, m: 693 km above it."""
_FEWEST_STATES = 4
_SPACINGS = ("range_pixel_spacing", "azimuth_time_interval", "incidence_angle_mid_swath")
_YEARS = (2014, 2100)


def check_product(product: "GrdProduct") -> None:
    """Check the metadata of a product.

    Raises
    ------
    ValueError
        Names what is impossible.
    """
    for name in _SPACINGS:
        _within(name, float(product.attrs[name]), 0.0, 1e4, open_below=True)
    if not _YEARS[0] <= product.time.year <= _YEARS[1]:
        raise ValueError(f"the acquisition started in the year {product.time.year}")
    _ = product.first_line, product.processed
    _within("platformHeading", product.heading_deg, -360.0, 360.0)
    _check_orbit(product)
    _check_conversion(product)
    _check_points(product)
    for band, image in product.images.items():
        _check_image(band, image)


def _check_orbit(product: "GrdProduct") -> None:
    position = product.position.transpose("axis", "azimuth_time")
    _ascending("the times of the state vectors", position["azimuth_time"].values)
    if position.shape[0] != 3 or position.shape[1] < _FEWEST_STATES:
        raise ValueError(f"expected {_FEWEST_STATES} state vectors, found {position.shape[1]}")
    distance = np.sqrt((position.values.astype(float) ** 2).sum(axis=0))
    _within("the distance of the satellite, m,", distance, *_ORBIT_M)


def _check_conversion(product: "GrdProduct") -> None:
    conversion = product.conversion
    _ascending("the times of the ranges", conversion["azimuth_time"].values)
    _within("sr0", conversion["sr0"].values, 0.0, 1e7)
    _within("srgrCoefficients", conversion["srgrCoefficients"].values, -1e9, 1e9)


def _check_points(product: "GrdProduct") -> None:
    points = product.points
    if min(points.lines.size, points.pixels.size) < 2:
        raise ValueError("expected a grid of geolocation points")
    for name, values, low, high in (
        ("line", points.lines, 0.0, 1e7),
        ("pixel", points.pixels, 0.0, 1e7),
        ("latitude", points.latitude, -90.0, 90.0),
        ("longitude", points.longitude, -180.0, 360.0),
        ("incidenceAngle", points.incidence, 10.0, 60.0),
        ("azimuthTime", points.delay, -60.0, 60.0),
    ):
        _within(f"the {name} of the geolocation points", values, low, high)


def _check_image(band: str, image: "Image") -> None:
    _check_vectors(f"the calibration of {band}", image.calibration, least=0.0, open_below=True)
    noise = image.noise
    if noise.along_range is not None:
        _check_vectors(f"the noise of {band}", noise.along_range, least=0.0)
    for block in noise.along_azimuth:
        _ascending(f"the lines of the noise of {band}", block.at_lines)
        _within(f"the noise of {band}", block.factors, 0.0, 1e12)
        if block.at_lines.size != block.factors.size:
            raise ValueError(f"the noise of {band} has lines without a value")


def _check_vectors(
    name: str, vectors: "Vectors", *, least: float, open_below: bool = False
) -> None:
    if len(vectors.lines) > MOST_VECTORS:
        raise ValueError(f"{name} has {len(vectors.lines)} vectors, over {MOST_VECTORS}")
    _ascending(f"the lines of {name}", vectors.lines)
    for pixels, values in zip(vectors.pixels, vectors.values, strict=True):
        _ascending(f"the pixels of {name}", pixels)
        if np.size(pixels) != np.size(values):
            raise ValueError(f"{name} has pixels without a value")
        _within(name, values, least, 1e12, open_below=open_below)


def _ascending(name: str, values: npt.NDArray[np.generic] | Iterable[float]) -> None:
    array = np.asarray(values)
    if array.size == 0:
        raise ValueError(f"{name} are missing")
    if not (array[1:] > array[:-1]).all() or np.isnan(array.astype(float)).any():
        raise ValueError(f"{name} do not ascend")


def _within(
    name: str, values: Floating | float, low: float, high: float, *, open_below: bool = False
) -> None:
    """Raise unless all values are finite and in a range; ``open_below`` excludes its low end."""
    array = np.asarray(values, dtype=float)
    inside = (array > low if open_below else array >= low) & (array <= high)
    if not inside.all():
        wrong = array[~inside].flat[0]
        raise ValueError(f"{name} must lie in {low:g}..{high:g}, but is {wrong:g}")
