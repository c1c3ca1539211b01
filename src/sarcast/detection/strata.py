"""Strata: groups of pixels that behaved alike in the past of a cube.

Fields are harvested, lakes freeze, forest hardly changes: one null distribution for all of them
would let the fields hide every clear-cut. Pixels are therefore grouped by what their own past
shows, and by land cover where the cube has it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from sarcast.arrays import Bool, Double, Float, Labels
from sarcast.detection.smoothing import reach_px, smooth
from sarcast.io.footprint import pixel_size_m
from sarcast.io.images import grid_of_images
from sarcast.windows import PixelOffset

COVERS = ("forest", "open_land")
"""Land cover that a cube can have, by the names of its variables."""
SMOOTHING_M = 30.0
"""Standard deviation of the smoothing of each past image, metres: less speckle in the features."""
MOST_IMAGES = 64
"""Past images that the features are computed from at most, evenly spread over time."""
QUARTERS = 4
QUANTILES = (0.16, 0.5, 0.84)
"""Quantiles of a feature: one standard deviation below the median, the median, one above."""
AT_ONCE = 2**15
"""Pixels that are assigned to groups at a time: their distances need little memory."""
SAMPLE = 20_000
"""Pixels that the groups are found from; all are then assigned."""
WATER_VH_DB, WATER_STD_DB = -21.5, 1.2
"""Water: the mean of the cross-polarised band is below the first, and the wind moves the
co-polarised band by more than the second over time."""


class StrataOptions(BaseModel):
    """How pixels are grouped."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strata: int = Field(
        12,
        ge=1,
        le=64,
        description="Groups of pixels with a null distribution each, at most, made from the past "
        "of the series and, where the cube has it, the land cover; small areas have fewer.",
    )


@dataclass(frozen=True)
class Groups:
    """Groups of pixels by k-means of their features, each over its spread.

    Attributes
    ----------
    middle, spread
        Dims (feature): what features are scaled by.
    centres
        Dims (group, feature): scaled features of the middle of each group.
    """

    middle: Double
    spread: Double
    centres: Float

    @classmethod
    def of(cls, features: Float, most: int) -> "Groups":
        """Find at most so many groups of sampled pixels, dims (feature, pixel), some known."""
        from sklearn.cluster import KMeans

        known = np.flatnonzero(np.isfinite(features[0]))
        # one feature after the other: in double precision, all of them need much memory
        levels = [np.quantile(each[known].astype(np.float64), QUANTILES) for each in features]
        low, middle, high = np.transpose(levels)
        spread = np.maximum(high - low, 1e-3)
        rng = np.random.default_rng(0)
        drawn = known[rng.choice(len(known), min(SAMPLE, len(known)), replace=False)]
        sample = _scaled(features[:, drawn].T.astype(np.float64), middle, spread)
        groups = min(most, len(np.unique(sample, axis=0)))
        means = KMeans(groups, n_init=3, random_state=0).fit(sample)
        return cls(middle, spread, means.cluster_centers_)

    def assign(self, features: Float) -> Labels:
        """Group pixels, dims (feature, y, x): 0, 1, ..., dims (y, x); -1 where unknown."""
        labels = np.full(features.shape[1:], -1, dtype=np.int8)
        known = np.flatnonzero(np.isfinite(features[0]))
        flat = features.reshape(len(features), -1)
        for pixels in np.split(known, range(AT_ONCE, len(known), AT_ONCE)):
            scaled = _scaled(flat[:, pixels].T.astype(np.float64), self.middle, self.spread)
            # not k-means' own prediction, which rounds by how many pixels it is asked for
            distances = [np.square(scaled - centre).sum(axis=1) for centre in self.centres]
            labels.flat[pixels] = np.argmin(distances, axis=0)
        return labels


def cover_masks(cube: xr.Dataset) -> dict[str, Bool]:
    """Where each land cover of a cube is, dims (y, x)."""
    return {name: cube[name].values.astype(bool) for name in COVERS if name in cube}


def find_water(past: "Past") -> Bool:
    """Find open water from the series itself: dark in the cross-polarised band, moved by wind.

    The shore, as wide as images are smoothed, counts as water: it moves with the level of a lake.

    Parameters
    ----------
    past
        The cube until the end of the baseline.

    Returns
    -------
    ndarray of bool
        Dims (y, x); nowhere where the cube has one band alone.
    """
    bands = [str(band) for band in past.cube["band"].values]
    cross = [index for index, band in enumerate(bands) if band[0] != band[1]]
    co = [index for index, band in enumerate(bands) if band[0] == band[1]]
    if not cross or not co:
        return np.zeros(past.shape[1:], dtype=bool)
    dark = (past.mean[cross[0]] < WATER_VH_DB) & (past.std[co[0]] > WATER_STD_DB)
    water: Bool = ndimage.binary_dilation(dark, iterations=_shore_px(past.sigma_px))
    return water


def _shore_px(sigma_px: tuple[float, float]) -> int:
    return max(1, round(max(sigma_px)))


def past_halo_px(grid: GeoBox) -> tuple[int, ...]:
    """Rows and columns around a pixel that its features, and whether it is water, depend on."""
    sigma_px = smoothing_px(grid)
    return tuple(reach + _shore_px(sigma_px) for reach in reach_px(sigma_px))


def smoothing_px(grid: GeoBox) -> tuple[float, float]:
    """Standard deviation of the smoothing of past images in rows and columns, pixels."""
    height, width = pixel_size_m(grid)
    return SMOOTHING_M / height, SMOOTHING_M / width


def feature_count(cube: xr.Dataset) -> int:
    """Number of features of each pixel."""
    return 4 * cube.sizes["band"] + sum(name in cube for name in COVERS)


def features_of(past: "Past") -> Float:
    """Features of each pixel, from its past.

    By band, of images smoothed over 30 m: mean and standard deviation over time, the later half
    against the earlier, and the greatest step between the means of consecutive quarters of the
    images; and the share of forest and open land around the pixel.

    Returns
    -------
    ndarray of float32
        Dims (feature, y, x); NaN where no past image has data.
    """
    half = QUARTERS // 2
    with np.errstate(invalid="ignore"):
        trend = past.mean_of(slice(half, None)) - past.mean_of(slice(0, half))
        steps = np.abs(np.diff([past.mean_of(slice(q, q + 1)) for q in range(QUARTERS)], axis=0))
    images = [past.mean, past.std, trend, np.fmax.reduce(steps)]
    known: Bool = np.asarray(np.isfinite(past.mean).any(axis=0))
    maps = [np.where(np.isfinite(layer), layer, 0.0) for image in images for layer in image]
    for mask in cover_masks(past.cube).values():
        maps.append(smooth(mask.astype(np.float32), past.sigma_px, past.first))
    features = np.stack(maps).astype(np.float32)
    features[:, ~known] = np.nan
    return features


@dataclass(frozen=True)
class Past:
    """Moments over time of smoothed past images, by quarter of the images.

    Attributes
    ----------
    cube
        ``backscatter``, dims (time, band, y, x), dB.
    before
        Only images before this time are used.
    first
        As in ``smooth``, where the cube is part of a larger one.
    """

    cube: xr.Dataset
    before: np.datetime64
    first: PixelOffset = (0, 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands, rows and columns."""
        sizes = self.cube.sizes
        return sizes["band"], sizes["y"], sizes["x"]

    @property
    def sigma_px(self) -> tuple[float, float]:
        """Standard deviation of the smoothing in rows and columns, pixels."""
        return smoothing_px(grid_of_images(self.cube["backscatter"]))

    @cached_property
    def _moments(self) -> Double:
        """Count, sum and sum of squares, dims (moment, quarter, band, y, x).

        Images are read one at a time.
        """
        backscatter = self.cube["backscatter"].transpose("time", "band", "y", "x")
        times = self.cube["time"].values
        order = np.argsort(times, kind="stable")
        earlier = order[times[order] < self.before]
        spread = np.linspace(0, len(earlier) - 1, min(MOST_IMAGES, len(earlier)))
        chosen = earlier[np.round(spread).astype(int)]
        moments = np.zeros((3, QUARTERS, *self.shape))
        for number, time in enumerate(chosen):
            image = backscatter[time].values.astype(np.float32)
            image = smooth(image, self.sigma_px, self.first)
            quarter = number * QUARTERS // len(chosen)
            known, values = np.isfinite(image), np.nan_to_num(image)
            moments[:, quarter] += np.stack([known, values, np.square(values)])
        return moments

    @property
    def mean(self) -> Double:
        """Mean, dims (band, y, x), dB; NaN where there is no data."""
        return self.mean_of(slice(None))

    def mean_of(self, quarters: slice) -> Double:
        """Mean over some quarters."""
        count, total = self._moments[:2, quarters].sum(axis=1)
        mean: Double = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return mean

    @property
    def std(self) -> Double:
        """Standard deviation, dims (band, y, x), dB."""
        count, _, squares = self._moments.sum(axis=1)
        variance = squares / np.maximum(count, 1) - np.square(np.nan_to_num(self.mean))
        std: Double = np.sqrt(np.maximum(variance, 0.0))
        return std


def _scaled(columns: Double, middle: Double, spread: Double) -> Float:
    """Features over their spread (84 % - 16 % quantile), limited to 3 spreads from the median."""
    scaled: Float = np.clip((columns - middle) / spread, -3.0, 3.0)
    return scaled.astype(np.float32)
