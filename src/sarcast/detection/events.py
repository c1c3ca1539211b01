"""Events: when and how the ground changed in a region, and its outline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from sarcast.arrays import Bool, Box, Double, Float, Labels, Times
from sarcast.cube.dates import iso_time
from sarcast.detection.evidence import Residuals
from sarcast.detection.regions import M2_PER_HA, Regions
from sarcast.io.outlines import outlines_of
from sarcast.sensor.units import DB

if TYPE_CHECKING:
    import geopandas

SIMPLIFY_PIXELS = 0.75
"""Outlines depart from the edges of pixels by this much at most."""
LIKELY = 3.84
"""Onsets whose log-likelihood ratio to the best, times 2, is below this are as likely: the 95 %
quantile of chi-squared with one degree of freedom."""
LEAST_VARIANCE = 0.01
MIXED_SHARE = 0.5
"""A change is of mixed direction where the sum of the bands' shifts is less than this share of the
norm."""


@dataclass(frozen=True)
class Onset:
    """Which target is the first that shows a change.

    Attributes
    ----------
    first
        Index of the target, by greatest likelihood.
    likely
        First and last index of the targets that are about as likely.
    """

    first: int
    likely: tuple[int, int]


def find_onset(series: Double) -> Onset:
    """Date a step in a short series that is 0 before it.

    With the residuals m_t of K targets, the step at target τ has the least squares

        R(τ) = Σ_{t<τ} |m_t|² + Σ_{t≥τ} |m_t - mean over t≥τ|²

    and the log-likelihood -R(τ) / 2v of Gaussian errors; the variance v is estimated at the best τ.

    Parameters
    ----------
    series
        Dims (time, band); NaN where a target does not see the region.

    Returns
    -------
    Onset
        The first target that sees the region where no step is better than another.
    """
    seen = np.flatnonzero(np.isfinite(series).all(axis=1))
    if seen.size == 0:
        return Onset(0, (0, len(series) - 1))
    values = series[seen]
    squares = np.array(
        [
            np.square(values[:step]).sum()
            + np.square(values[step:] - values[step:].mean(axis=0)).sum()
            for step in range(len(values))
        ]
    )
    best = int(squares.argmin())
    variance = max(squares[best] / values.size, LEAST_VARIANCE)
    likely = np.flatnonzero((squares - squares[best]) / variance < LIKELY)
    return Onset(int(seen[best]), (int(seen[likely[0]]), int(seen[likely[-1]])))


class Source(Protocol):
    """What events are measured from, read by parts."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        ...

    def read(self, box: Box) -> "Series":
        """Read a part."""
        ...


@dataclass(frozen=True)
class Series:
    """What the events of a part of the images are measured from.

    Attributes
    ----------
    images
        ``actual`` and ``expected``, dims (time, band, y, x), dB, with ``time`` and ``band``.
    residuals
        Of the same targets.
    evidence
        Dims (y, x), -log10 of the p-value; NaN where not judged.
    cover
        Name of the cover and where it is, for each that the cube has.
    before
        Time of the latest baseline image.
    """

    images: xr.Dataset
    residuals: Residuals
    evidence: Float
    cover: dict[str, Bool]
    before: np.datetime64

    @property
    def times(self) -> Times:
        """Acquisition times of the targets, oldest first."""
        times: Times = self.images["time"].values
        return times

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(map(str, self.images["band"].values))


def describe_events(
    regions: Regions, source: Source, grid: GeoBox
) -> tuple["geopandas.GeoDataFrame", Labels]:
    """Outline, date and measure regions.

    Parameters
    ----------
    regions
        In the order of the rows.
    source
        What they are measured from.
    grid
        Grid of the images.

    Returns
    -------
    events
        One row a region: ``id`` (from 1), ``area_ha``, ``date`` (first acquisition that shows the
        change), ``previous_date`` (the one before it), ``earliest`` and ``latest`` (the change lies
        after the one and not after the other), ``direction`` (loss, gain or mixed), by band
        ``mean_vv_db``, ``before_vv_db``, ``after_vv_db`` (means of actual - expected, expected and
        actual from the date on), ``evidence``, ``p_value``, ``looks``, ``cover`` and the outline.
        The same columns where there is none.
    onsets
        Dims (region): index of the first target that shows each.
    """
    import geopandas
    import pandas as pd

    rows, onsets, shapes = [], [], []
    for number, box in enumerate(regions.boxes, start=1):
        series, mask = source.read(box), regions.numbered(box) == number
        onset = find_onset(_mean(series.residuals.z[..., mask]))
        rows.append(_row(series, mask, onset))
        onsets.append(onset.first)
        shapes += outlines_of(mask, 1, grid[box])
    data: dict[str, Any] = {
        name: pd.Series([row[name] for row in rows], dtype=kind)
        for name, kind in _columns(source.bands).items()
    }
    outlines = geopandas.GeoSeries(shapes, crs=grid.crs and grid.crs.to_wkt())
    frame = geopandas.GeoDataFrame(data, geometry=_simplified(outlines, grid))
    frame.insert(0, "id", np.arange(1, len(regions) + 1, dtype=np.int32))
    frame.insert(1, "area_ha", _areas_ha(outlines))
    return frame, np.array(onsets, dtype=np.int64)


def _mean(values: Float) -> Double:
    """Mean over the last dim; NaN where nothing is known."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=-1, dtype=np.float64)
    count = known.sum(axis=-1)
    mean: Double = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def _row(series: Series, mask: Bool, onset: Onset) -> dict[str, Any]:
    """Columns of the pixels of an event, a mask of dims (y, x)."""
    times = series.times
    first, last = onset.likely
    z = series.residuals.z[..., mask]
    seen: Bool = np.asarray(np.isfinite(z).all(axis=1))
    actual, expected = (series.images[name].values[..., mask] for name in ("actual", "expected"))
    actual, expected, shifts = (
        _mean(np.where(seen[:, np.newaxis], each, np.nan)[onset.first :])
        for each in (actual, expected, z)
    )
    looks = seen.sum(axis=0)
    evidence = float(np.nanmax(series.evidence[mask]))
    return {
        "date": iso_time(times[onset.first]),
        "previous_date": iso_time(_before(series, seen, onset.first)),
        "earliest": iso_time(_before(series, seen, first)),
        "latest": iso_time(times[last]),
        "direction": _direction(np.nanmean(shifts, axis=0)),
        **_by_band(series, actual, expected),
        "evidence": evidence,
        "p_value": 10.0**-evidence,
        "looks": float(looks.mean()),
        "cover": _cover(series.cover, mask),
    }


def _before(series: Series, seen: Bool, index: int) -> np.datetime64:
    """Time of the last target before one that sees the region; else of the baseline's end."""
    earlier = np.flatnonzero(seen[:index].any(axis=1))
    before: np.datetime64 = series.times[earlier[-1]] if earlier.size else series.before
    return before


def _by_band(series: Series, actual: Double, expected: Double) -> dict[str, float]:
    """Means over the targets, dims (time, band), by band."""
    columns: dict[str, float] = {}
    for index, band in enumerate(map(str.lower, series.bands)):
        before, after = np.nanmean(expected[:, index]), np.nanmean(actual[:, index])
        columns[f"mean_{band}_{DB.lower()}"] = float(after - before)
        columns[f"before_{band}_{DB.lower()}"] = float(before)
        columns[f"after_{band}_{DB.lower()}"] = float(after)
    return columns


def _columns(bands: Sequence[str]) -> dict[str, Any]:
    """Names and types of the columns between area and outline."""
    measures = [
        f"{what}_{band.lower()}_{DB.lower()}"
        for band in bands
        for what in ("mean", "before", "after")
    ]
    texts = ["date", "previous_date", "earliest", "latest", "direction"]
    numbers = [*measures, "evidence", "p_value", "looks"]
    return {
        **dict.fromkeys(texts, str),
        **dict.fromkeys(numbers, np.float64),
        "cover": str,
    }


def _direction(shift: Double) -> str:
    """Loss or gain by the sum of the bands; mixed where they cancel each other."""
    total, size = shift.sum(), np.linalg.norm(shift)
    if abs(total) < MIXED_SHARE * size:
        return "mixed"
    return "loss" if total < 0.0 else "gain"


def _cover(cover: dict[str, Bool], mask: Bool) -> str:
    """Name of the cover of most of a region; empty where there is none."""
    shares = {name: where[mask].mean() for name, where in cover.items()}
    best = max(shares, key=lambda name: shares[name], default="")
    return best if best and shares[best] >= 0.5 else ""


def _simplified(outlines: "geopandas.GeoSeries", grid: GeoBox) -> "geopandas.GeoSeries":
    """Outlines without the stairs of the pixels."""
    tolerance = SIMPLIFY_PIXELS * min(abs(grid.resolution.x), abs(grid.resolution.y))
    return outlines.simplify(tolerance)


def _areas_ha(outlines: "geopandas.GeoSeries") -> Double:
    flat = outlines if outlines.empty or outlines.crs is None else _equal_area(outlines)
    area: Double = flat.area.to_numpy() / M2_PER_HA
    return area


def _equal_area(outlines: "geopandas.GeoSeries") -> "geopandas.GeoSeries":
    """Project to equal area around the outlines, so that 180 degrees does not cut them."""
    west, south, east, north = outlines.total_bounds
    to_degrees = CRS(outlines.crs).transformer_to_crs(CRS("EPSG:4326"))
    longitude, latitude = to_degrees((west + east) / 2.0, (south + north) / 2.0)
    return outlines.to_crs(f"+proj=laea +lon_0={longitude:.6f} +lat_0={latitude:.6f} +datum=WGS84")
