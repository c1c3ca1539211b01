"""Rules of other systems applied to a watch: from their statistic to events."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from scipy import ndimage

from sarcast.arrays import Bool
from sarcast.detection import difference as di
from sarcast.detection.joining import CONNECTIVITY
from sarcast.evaluation.detection.rules import Rule, Series, above
from sarcast.evaluation.detection.truth import tracks_of
from sarcast.evaluation.detection.watches import Findings, WatchCase
from sarcast.io.footprint import pixel_size_m
from sarcast.io.images import grid_of_images
from sarcast.io.outlines import outlines_of

if TYPE_CHECKING:
    import geopandas

IMAGES = ("time", "band", "y", "x")


def series_of(watch: WatchCase, predicted: xr.Dataset) -> Series:
    """Collect what the rules take from a watch.

    Parameters
    ----------
    watch
        What is watched.
    predicted
        ``expected`` and ``std`` of the watched acquisitions, dims (time, band, y, x), dB.
    """
    bands = list(predicted["band"].values)
    images = watch.cube["backscatter"].sel(band=bands).transpose(*IMAGES).values
    expected, std = (predicted[name].transpose(*IMAGES).values for name in ("expected", "std"))
    actual = images[-len(watch.watched) :]
    return Series(
        watch.cube["time"].values,
        tracks_of(watch.cube),
        images,
        di.subtract(actual, expected),
        di.z(actual, expected, std),
        min(pixel_size_m(grid_of_images(watch.cube))),
    )


def rule_findings(rule: Rule, series: Series, grid: GeoBox, fewest_pixels: int) -> Findings:
    """Apply a rule to a series.

    Parameters
    ----------
    rule
        The rule.
    series
        What it is given.
    grid
        Grid of the images.
    fewest_pixels
        Least size of an event, connected pixels.
    """
    statistic = rule.statistic(series)

    def events(level: float) -> "geopandas.GeoDataFrame":
        return outlined(large_regions(above(statistic, level), fewest_pixels), grid)

    return Findings(statistic, events)


def large_regions(changed: Bool, fewest_pixels: int) -> Bool:
    """Change map, dims (y, x), without connected changes of fewer pixels."""
    labels, count = ndimage.label(changed, CONNECTIVITY)
    large = np.bincount(labels.ravel(), minlength=count + 1) >= fewest_pixels
    large[0] = False
    kept: Bool = large[labels]
    return kept


def outlined(changed: Bool, grid: GeoBox) -> "geopandas.GeoDataFrame":
    """Outlines of the connected changes of a change map, dims (y, x), without a known ``date``."""
    import geopandas as gpd

    labels, count = ndimage.label(changed, CONNECTIVITY)
    dates = np.full(count, np.datetime64("NaT", "s"))
    outlines = outlines_of(labels, count, grid)
    return gpd.GeoDataFrame({"date": dates}, geometry=outlines, crs=grid.crs.to_wkt())
