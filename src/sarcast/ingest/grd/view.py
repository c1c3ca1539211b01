"""Imaging geometry of a GRD product: image coordinates and illuminated area of the ground.

Image coordinates follow from zero-Doppler time and range (sarsen). To sum the illuminated area,
sarsen adds each facet to one cell, which causes ripples of about 1 dB if facets are about as large
as pixels; here each facet is distributed over the four nearest cells.

References
----------
Small, IEEE TGRS 49 (2011) 3081: flattening gamma, illuminated area of terrain.
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
from sarcast.ingest.grd.product import GrdProduct, import_xarray_sentinel
from sarcast.io.footprint import WGS84, canonical
from sarcast.io.grid import axes

SPEED_OF_LIGHT = 299_792_458.0
"""m/s, exact."""
_GROUND_SPEED = 6800.0
"""Approximate speed of the beam on the ground, m/s; only sets the length of cells."""
_ZERO_DOPPLER_M = 0.01
_CELL = 2.0
"""Side of the cells that facets are distributed over, in grid spacings; ripples are least at 2."""


def footprint(product: GrdProduct) -> Geometry:
    """Footprint of a product, canonical: through the geolocation points at its border.

    Raises
    ------
    SarcastError
        If the border crosses itself.
    """
    points = product.points
    border = [
        *((0, column) for column in range(points.pixels.size)),
        *((row, -1) for row in range(1, points.lines.size)),
        *((-1, column) for column in range(points.pixels.size - 2, -1, -1)),
        *((row, 0) for row in range(points.lines.size - 2, -1, -1)),
    ]
    corners = [(float(points.longitude[index]), float(points.latitude[index])) for index in border]
    outline = canonical(polygon(corners, WGS84))
    if not outline.is_valid:
        raise SarcastError(
            f"{product.name} is damaged: the border of its geolocation grid crosses itself; fetch "
            f"it again"
        )
    return outline


@dataclass(frozen=True)
class ImageCoordinates:
    """Image coordinates of the pixels of a grid; dims (y, x), NaN where the height is unknown.

    Attributes
    ----------
    line, pixel
        Fractional numbers, 0 at the centre of the first.
    area
        Illuminated area per area of the slant plane; 1 / tan(incidence) on flat ground.
    """

    line: Floating
    pixel: Floating
    area: Floating


@dataclass(frozen=True)
class ViewGeometry:
    """Imaging geometry of a product."""

    product: GrdProduct

    @cached_property
    def _orbit(self) -> Any:
        return _import_sarsen().orbit.OrbitPolyfitInterpolator.from_position(self.product.position)

    def image_coordinates(self, grid: GeoBox, heights: Floating) -> ImageCoordinates:
        """Line, pixel and illuminated area of the pixels of a grid.

        Parameters
        ----------
        grid
            Grid in metres.
        heights
            Dims (y, x), m above the ellipsoid; NaN where unknown.
        """
        known = np.isfinite(heights)
        simulated = self._simulate(grid, np.where(known, heights, 0.0))
        line, pixel = self._line_and_pixel(simulated)
        unknown = binary_dilation(~known, iterations=2)
        facets = np.where(unknown, 0.0, simulated["gamma_area"].values)
        area = self._illuminated_area(simulated, facets, grid.resolution.x)
        for layer in (line, pixel, area):
            layer[unknown] = np.nan
        area[facets <= 0.0] = np.nan
        return ImageCoordinates(line, pixel, area)

    def incidence(self, grid: GeoBox, heights: Floating) -> Float:
        """Ellipsoid incidence angle on a grid, degrees; NaN outside the image."""
        simulated = self._simulate(grid, np.nan_to_num(heights))
        points = self.product.points
        interpolate = RegularGridInterpolator(
            (points.lines, points.pixels), points.incidence, bounds_error=False
        )
        coordinates = np.stack(self._line_and_pixel(simulated), -1)
        angles: Float = interpolate(coordinates).astype(np.float32)
        return angles

    def _simulate(self, grid: GeoBox, heights: Floating) -> xr.Dataset:
        """Zero-Doppler time, range and facet area of each pixel by sarsen, dims (y, x)."""
        sarsen = _import_sarsen()
        y, x = axes(grid)
        terrain = xr.DataArray(
            np.flip(heights, 0), dims=("y", "x"), coords={"y": np.flip(y), "x": x}
        )
        ground = sarsen.scene.convert_to_dem_ecef(terrain, source_crs=str(grid.crs))
        variables = ("azimuth_time", "dem_distance", "satellite_velocity", "gamma_area")
        simulated = sarsen.apps.simulate_acquisition(
            ground,
            self._orbit,
            include_variables=(*variables, "slant_range_time"),
            zero_doppler_distance=_ZERO_DOPPLER_M,
        )
        flipped: xr.Dataset = simulated.isel(y=slice(None, None, -1)).transpose("axis", "y", "x")
        return flipped

    def _line_and_pixel(self, simulated: xr.Dataset) -> tuple[Floating, Floating]:
        """Fractional line and pixel.

        Slant range becomes ground range by the polynomial nearest in time, as in the product.
        """
        product, conversion = self.product, self.product.conversion
        seconds = _seconds(simulated["azimuth_time"].values - product.first_line)
        slant = simulated["slant_range_time"].values * (SPEED_OF_LIGHT / 2.0)
        records = _seconds(conversion["azimuth_time"].values - product.first_line)
        middles = (records[1:] + records[:-1]) / 2.0
        nearest = np.searchsorted(middles, seconds)
        offset = slant - conversion["sr0"].values[nearest]
        ground = np.zeros_like(slant)
        for factors in conversion["srgrCoefficients"].transpose("degree", ...).values[::-1]:
            ground = ground * offset + factors[nearest]
        pixel = ground / product.attrs["range_pixel_spacing"]
        delay = np.interp(pixel, product.points.pixels, product.points.delay)
        return (seconds - delay) / product.attrs["azimuth_time_interval"], pixel

    def _illuminated_area(
        self, simulated: xr.Dataset, facets: Floating, spacing_m: float
    ) -> Floating:
        """Illuminated area per area of the slant plane.

        Each facet is distributed bilinearly over the four nearest cells in zero-Doppler time and
        range; the value of a pixel is interpolated bilinearly from the four cells around it.
        """
        product = self.product
        range_m = _CELL * spacing_m * np.sin(np.radians(product.attrs["incidence_angle_mid_swath"]))
        seconds = _CELL * spacing_m / _GROUND_SPEED
        along = _seconds(simulated["azimuth_time"].values - product.first_line) / seconds
        across = simulated["slant_range_time"].values * (SPEED_OF_LIGHT / 2.0) / range_m
        cell_area = seconds * self._ground_speed(simulated) * range_m
        area: Floating = _distribute(along, across, facets) / cell_area
        return area

    def _ground_speed(self, simulated: xr.Dataset) -> Floating:
        """Speed at which the zero-Doppler plane crosses the ground, dims (y, x), m/s.

        From the derivatives of its equation, v · (ground − satellite) = 0, by time and position.
        """
        time = self._orbit.azimuth_time_to_orbit_time(simulated["azimuth_time"])
        acceleration = self._orbit.acceleration_from_orbit_time(time)
        velocity = simulated["satellite_velocity"]
        squared = (velocity**2).sum("axis")
        speed = (squared - (acceleration * simulated["dem_distance"]).sum("axis")) / np.sqrt(
            squared
        )
        values: Floating = speed.transpose("y", "x").values
        return values


def _import_sarsen() -> ModuleType:
    import_xarray_sentinel()
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


def _distribute(along: Floating, across: Floating, area: Floating) -> Floating:
    """Sum the area of facets in cells, and interpolate the sums at the facets, bilinearly.

    ``along`` and ``across`` are fractional cell numbers in azimuth and range.
    """
    row, column = np.floor(along).astype(int), np.floor(across).astype(int)
    down, right = along - row, across - column
    row, column = row - row.min(), column - column.min()
    shape = (int(row.max()) + 2, int(column.max()) + 2)
    cells = np.zeros(shape[0] * shape[1])
    for step_row, weight_row in ((0, 1.0 - down), (1, down)):
        for step_column, weight_column in ((0, 1.0 - right), (1, right)):
            index = (row + step_row) * shape[1] + column + step_column
            shares = (area * weight_row * weight_column).ravel()
            cells += np.bincount(index.ravel(), shares, cells.size)
    interpolated: Floating = map_coordinates(
        cells.reshape(shape), [row + down, column + right], order=1, mode="nearest"
    )
    return interpolated
