"""The geometry in which a GRD product sees the ground.

Every place is looked up in the image by its zero-Doppler time and its range (sarsen). Of the area
that the terrain shows the sensor, sarsen adds up whole facets, which ripples by a decibel where
facets are about as large as pixels; here each facet is shared among the four cells around it.

References
----------
Small, IEEE TGRS 49 (2011) 3081: flattening gamma, the area that terrain shows.
Small, Schubert, Guide to Sentinel-1 Geocoding, UZH-S1-GC-AD, 2019: range and Doppler, ground range.
"""

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, polygon
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import binary_dilation, map_coordinates

from sarcast.arrays import Float, Floating
from sarcast.errors import SarcastError
from sarcast.ingest.grd.product import GrdProduct, library
from sarcast.io.grid import axes

SPEED_OF_LIGHT = 299_792_458.0
"""m/s, exact."""
_GROUND_SPEED = 6800.0
"""About the speed of the image over the ground, m/s: how long cells are, and not what they hold."""
_ZERO_DOPPLER_M = 0.01
_CELL = 2.0
"""Side of the cells that facets are shared among, in grid spacings: at 2 shares ripple least."""


def footprint(product: GrdProduct) -> Geometry:
    """Outline of what a product sees, through the geolocation points of its border."""
    points = product.points
    rim = [
        *((0, column) for column in range(points.pixels.size)),
        *((row, -1) for row in range(1, points.lines.size)),
        *((-1, column) for column in range(points.pixels.size - 2, -1, -1)),
        *((row, 0) for row in range(points.lines.size - 2, -1, -1)),
    ]
    outline = [(float(points.longitude[place]), float(points.latitude[place])) for place in rim]
    return polygon(outline, "EPSG:4326")


@dataclass(frozen=True)
class ImageCoordinates:
    """Where the pixels of a grid lie in an image; all dims (y, x), NaN where the height is unknown.

    Attributes
    ----------
    line, pixel
        Fractional, from 0 at the centre of the first.
    area
        That the terrain shows the sensor, per area of the slant plane; 1 / tan(incidence) on flat
        ground.
    """

    line: Floating
    pixel: Floating
    area: Floating


@dataclass(frozen=True)
class ViewGeometry:
    """The geometry in which a product sees the ground."""

    product: GrdProduct

    @cached_property
    def _orbit(self) -> Any:
        return _sarsen().orbit.OrbitPolyfitInterpolator.from_position(self.product.position)

    def places(self, grid: GeoBox, heights: Floating) -> ImageCoordinates:
        """Find where the pixels of a grid lie in the image, and the area that they show.

        Parameters
        ----------
        grid
            In metres.
        heights
            Dims (y, x), m above the ellipsoid; NaN where unknown.
        """
        known = np.isfinite(heights)
        seen = self._simulate(grid, np.where(known, heights, 0.0))
        line, pixel = self._image(seen)
        unknown = binary_dilation(~known, iterations=2)
        facets = np.where(unknown, 0.0, seen["gamma_area"].values)
        area = self._shown(seen, facets, grid.resolution.x)
        for found in (line, pixel, area):
            found[unknown] = np.nan
        area[facets <= 0.0] = np.nan
        return ImageCoordinates(line, pixel, area)

    def incidence(self, grid: GeoBox, heights: Floating) -> Float:
        """Ellipsoid incidence angle on a grid, degrees; NaN outside the image."""
        seen = self._simulate(grid, np.nan_to_num(heights))
        points = self.product.points
        told = RegularGridInterpolator(
            (points.lines, points.pixels), points.incidence, bounds_error=False
        )
        angles: Float = told(np.stack(self._image(seen), -1)).astype(np.float32)
        return angles

    def _simulate(self, grid: GeoBox, heights: Floating) -> xr.Dataset:
        """Zero-Doppler time, range and facet area of each pixel, dims (y, x), as sarsen finds."""
        sarsen = _sarsen()
        y, x = axes(grid)
        terrain = xr.DataArray(
            np.flip(heights, 0), dims=("y", "x"), coords={"y": np.flip(y), "x": x}
        )
        ground = sarsen.scene.convert_to_dem_ecef(terrain, source_crs=str(grid.crs))
        wanted = ("azimuth_time", "dem_distance", "satellite_velocity", "gamma_area")
        seen = sarsen.apps.simulate_acquisition(
            ground,
            self._orbit,
            include_variables=(*wanted, "slant_range_time"),
            zero_doppler_distance=_ZERO_DOPPLER_M,
        )
        flipped: xr.Dataset = seen.isel(y=slice(None, None, -1)).transpose("axis", "y", "x")
        return flipped

    def _image(self, seen: xr.Dataset) -> tuple[Floating, Floating]:
        """Fractional line and pixel.

        Slant becomes ground range by the polynomial nearest in time, as in the product.
        """
        product, conversion = self.product, self.product.conversion
        seconds = _seconds(seen["azimuth_time"].values - product.first_line)
        slant = seen["slant_range_time"].values * (SPEED_OF_LIGHT / 2.0)
        records = _seconds(conversion["azimuth_time"].values - product.first_line)
        middles = (records[1:] + records[:-1]) / 2.0
        nearest = np.searchsorted(middles, seconds)
        beyond = slant - conversion["sr0"].values[nearest]
        ground = np.zeros_like(slant)
        for factors in conversion["srgrCoefficients"].transpose("degree", ...).values[::-1]:
            ground = ground * beyond + factors[nearest]
        pixel = ground / product.attrs["range_pixel_spacing"]
        delay = np.interp(pixel, product.points.pixels, product.points.delay)
        return (seconds - delay) / product.attrs["azimuth_time_interval"], pixel

    def _shown(self, seen: xr.Dataset, facets: Floating, spacing_m: float) -> Floating:
        """Area shown to the sensor per area of the slant plane.

        Each facet is shared linearly among the four nearest of cells in zero-Doppler time and
        range; a pixel has the linear mean of the four cells around it.
        """
        product = self.product
        range_m = _CELL * spacing_m * np.sin(np.radians(product.attrs["incidence_angle_mid_swath"]))
        seconds = _CELL * spacing_m / _GROUND_SPEED
        along = _seconds(seen["azimuth_time"].values - product.first_line) / seconds
        across = seen["slant_range_time"].values * (SPEED_OF_LIGHT / 2.0) / range_m
        cells = seconds * self._ground_speed(seen) * range_m
        shown: Floating = _shared(along, across, facets) / cells
        return shown

    def _ground_speed(self, seen: xr.Dataset) -> Floating:
        """Speed at which the zero-Doppler plane crosses the ground, dims (y, x), m/s.

        From the derivative of its equation, v · (ground − satellite) = 0, by time and by place.
        """
        time = self._orbit.azimuth_time_to_orbit_time(seen["azimuth_time"])
        acceleration = self._orbit.acceleration_from_orbit_time(time)
        velocity = seen["satellite_velocity"]
        squared = (velocity**2).sum("axis")
        speed = (squared - (acceleration * seen["dem_distance"]).sum("axis")) / np.sqrt(squared)
        values: Floating = speed.transpose("y", "x").values
        return values


def _sarsen() -> ModuleType:
    library()
    try:
        import sarsen
        import sarsen.apps
        import sarsen.orbit
        import sarsen.scene
    except ImportError as error:
        raise SarcastError(
            f"terrain correction needs the extra grd ({error.name} is missing): "
            f"install it with pip install 'sarcast[grd]'"
        ) from error
    module: ModuleType = sarsen
    return module


def _seconds(times: npt.NDArray[np.timedelta64]) -> Floating:
    seconds: Floating = times / np.timedelta64(1, "ns") * 1e-9
    return seconds


def _shared(along: Floating, across: Floating, area: Floating) -> Floating:
    row, column = np.floor(along).astype(int), np.floor(across).astype(int)
    down, right = along - row, across - column
    row, column = row - row.min(), column - column.min()
    shape = (int(row.max()) + 2, int(column.max()) + 2)
    cells = np.zeros(shape[0] * shape[1])
    for step_row, of_row in ((0, 1.0 - down), (1, down)):
        for step_column, of_column in ((0, 1.0 - right), (1, right)):
            place = (row + step_row) * shape[1] + column + step_column
            shares = (area * of_row * of_column).ravel()
            cells += np.bincount(place.ravel(), shares, cells.size)
    around: Floating = map_coordinates(
        cells.reshape(shape), [row + down, column + right], order=1, mode="nearest"
    )
    return around
