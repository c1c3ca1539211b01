"""The images of a cube as layers, its acquisitions, and the series of a pixel."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcast.arrays import Box, Double, Float
from sarcast.cube.dates import iso_time
from sarcast.detection.quicklook import backscatter_range
from sarcast.viewer.layers import Layer
from sarcast.viewer.pyramid import Pyramid, means
from sarcast.windows import bands_of

PART = 1024
"""Rows and columns of a cube that are read at a time, so that memory does not grow with a level."""
SAMPLED = 9
"""Parts of the last acquisition that the range of the colours is found from."""
_SAMPLE_PX = 256
_DIGITS = 3


@dataclass(frozen=True)
class CubeImages:
    """A cube as it is shown.

    Attributes
    ----------
    cube
        As opened; dims (time, band, y, x) in any order.
    """

    cube: xr.Dataset

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Bands that hold data."""
        return bands_of(self.cube)

    @cached_property
    def backscatter(self) -> xr.DataArray:
        """Dims (time, band, y, x), dB, of these bands."""
        return (
            self.cube["backscatter"].sel(band=list(self.bands)).transpose("time", "band", "y", "x")
        )

    @property
    def grid(self) -> GeoBox:
        """Its grid."""
        return self.cube["backscatter"].odc.geobox

    @property
    def pyramid(self) -> Pyramid:
        """Levels of its grid."""
        return Pyramid(self.cube.sizes["y"], self.cube.sizes["x"])

    def image(self, index: int, box: Box) -> Float:
        """Backscatter of an acquisition, dims (band, y, x), dB."""
        part: Float = self.backscatter[index, :, box[0], box[1]].values.astype(
            np.float32, copy=False
        )
        return part

    def read(self, index: int, level: int, box: Box) -> Float:
        """Means of the backscatter in dB, as ``layers.Reader``: a layer of this cube."""
        shape = (part.stop - part.start for part in box)
        image = np.full((len(self.bands), *shape), np.nan, dtype=np.float32)
        step = max(1, PART >> level)
        for top in range(box[0].start, box[0].stop, step):
            for left in range(box[1].start, box[1].stop, step):
                part = (
                    slice(top, min(top + step, box[0].stop)),
                    slice(left, min(left + step, box[1].stop)),
                )
                inside = [
                    slice(p.start - b.start, p.stop - b.start)
                    for p, b in zip(part, box, strict=True)
                ]
                image[:, inside[0], inside[1]] = means(
                    self.image(index, self.pyramid.full(level, part)), level
                )
        return image

    def actual(self) -> Layer:
        """The layer of the actual images."""
        return Layer(
            "actual",
            "actual image",
            self.bands,
            self.read,
            ranges=self.ranges,
            ramp="grey",
            dated=True,
        )

    @cached_property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """Backscatter shown as black and as white by band, dB, from the last acquisition."""
        rows, columns = self.pyramid.rows, self.pyramid.columns
        side = math.isqrt(SAMPLED)
        starts = [
            [min(k * total // side, max(total - _SAMPLE_PX, 0)) for k in range(side)]
            for total in (rows, columns)
        ]
        last = self.cube.sizes["time"] - 1
        parts = [
            self.image(last, (slice(y, y + _SAMPLE_PX), slice(x, x + _SAMPLE_PX))).reshape(
                len(self.bands), -1
            )
            for y in dict.fromkeys(starts[0])
            for x in dict.fromkeys(starts[1])
        ]
        found = (backscatter_range(band) for band in np.concatenate(parts, axis=1))
        return tuple((round(low, 1), round(high, 1)) for low, high in found)

    # --- acquisitions -----------------------------------------------------------------------------

    def acquisitions(self) -> list[dict[str, Any]]:
        """Time, pass and mean conditions of each acquisition, as JSON."""
        count = self.cube.sizes["time"]
        columns = {
            "time": [iso_time(time) for time in self.cube["time"].values],
            "orbit_direction": self._coordinate("orbit_direction", ""),
            "relative_orbit": self._coordinate("relative_orbit", 0),
            "platform": self._coordinate("platform", ""),
            "temperature": numbers(self._mean("temperature")),
            "snow_depth": numbers(self._mean("snow_depth")),
            "incidence": numbers(self._mean("incidence")),
            "precipitation": self._precipitation(),
            "seen_share": self._seen_shares(),
        }
        return [{name: column[k] for name, column in columns.items()} for k in range(count)]

    def _coordinate(self, name: str, missing: Any) -> list[Any]:
        if name not in self.cube.coords:
            return [missing] * self.cube.sizes["time"]
        values: list[Any] = self.cube[name].values.tolist()
        return values

    def _mean(self, name: str) -> Double:
        """Mean over the cells of the conditions grid that are known, dims (time, ...)."""
        if name not in self.cube:
            return np.full(self.cube.sizes["time"], np.nan)
        values = self.cube[name].transpose("time", ..., "cy", "cx").values.astype(np.float64)
        known = np.isfinite(values)
        count = known.sum(axis=(-2, -1))
        total = np.where(known, values, 0.0).sum(axis=(-2, -1))
        mean: Double = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return mean

    def _precipitation(self) -> list[list[float | None]]:
        if "precipitation" not in self.cube:
            return [[None] * 4] * self.cube.sizes["time"]
        return [numbers(row) for row in self._mean("precipitation")]

    def _seen_shares(self) -> list[float | None]:
        """Share of the pixels that each acquisition sees in any band."""
        if "seen" not in self.cube:
            return [None] * self.cube.sizes["time"]
        seen = self.cube["seen"].transpose("time", "band").values.max(axis=1)
        return numbers(seen / (self.pyramid.rows * self.pyramid.columns))

    # --- a pixel ----------------------------------------------------------------------------------

    def series(self, column: int, row: int) -> dict[str, Any]:
        """Actual backscatter and conditions of a pixel at each acquisition, as JSON."""
        values = self.backscatter[:, :, row, column].values
        acquisitions = self.acquisitions()
        names = (
            "orbit_direction",
            "relative_orbit",
            "platform",
            "temperature",
            "snow_depth",
            "precipitation",
        )
        return {
            "times": [each["time"] for each in acquisitions],
            **{name: [each[name] for each in acquisitions] for name in names},
            "bands": list(self.bands),
            "actual": {band: numbers(values[:, k]) for k, band in enumerate(self.bands)},
        }


def numbers(values: npt.NDArray[Any]) -> list[float | None]:
    """Numbers as JSON has them: rounded, None where one is not finite."""
    rounded = np.round(np.asarray(values, dtype=np.float64), _DIGITS)
    return [float(value) if np.isfinite(value) else None for value in rounded]
