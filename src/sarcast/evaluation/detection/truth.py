"""True changes of an area: read from a file, dated, and measured in the cube.

In this package a table of true changes has the columns ``kind``, ``earliest`` and ``latest``
(datetime64[s], UTC: the change happened after the one and not after the other), ``area_ha``,
``magnitude_db`` where it is known, and the outline in the CRS of the cube.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcast.arrays import Bool, Double, Times
from sarcast.cube.dates import to_datetime64
from sarcast.detection.regions import M2_PER_HA
from sarcast.errors import SarcastError
from sarcast.io.footprint import pixel_size_m
from sarcast.io.images import grid_of_images
from sarcast.io.outlines import rasterized
from sarcast.io.polygons import read_polygons

if TYPE_CHECKING:
    import geopandas
    from shapely.geometry.base import BaseGeometry

REFERENCE_M = 500.0
"""Unchanged pixels within this distance of a change tell how its surroundings moved."""
FEWEST_REFERENCE_PIXELS = 30
"""Fewest such pixels of the same cover; with fewer, those of any cover are taken."""
_SECONDS = "datetime64[s]"
EARLIER_IMAGES = 4
"""Images of a track before a change that it is measured against, at most."""


def read_truth(path: Path, grid: GeoBox) -> "geopandas.GeoDataFrame":
    """Read the true changes of an area.

    Parameters
    ----------
    path
        Polygons in any format that GDAL reads and any CRS, with a column ``date`` (ISO 8601, or a
        date of the format), or the two columns ``earliest`` and ``latest``; and perhaps ``kind``.
        Rows whose column ``verdict`` is ``false`` are left out. ``truth/changes.gpkg`` of a
        synthetic world is such a file, and ``verdicts.gpkg`` of ``sarcast view``.
    grid
        Grid of the cube; parts of polygons outside it are cut off.

    Returns
    -------
    GeoDataFrame
        One row per change, as described above, without ``magnitude_db``.

    Raises
    ------
    SarcastError
        If the file cannot be read, has no date in a row or no CRS, holds no polygons, or none of
        them lies in the area.
    """
    return truth_frame(read_polygons(path), grid, str(path))


def truth_frame(
    frame: "geopandas.GeoDataFrame", grid: GeoBox, name: str = "the table"
) -> "geopandas.GeoDataFrame":
    """Bring polygons with dates into the form described above.

    Parameters
    ----------
    frame
        Polygons as ``read_truth`` describes them.
    grid
        Grid of the cube.
    name
        What errors call the polygons.

    Raises
    ------
    SarcastError
        As ``read_truth``.
    """
    import geopandas as gpd

    frame = frame[~(frame.geometry.is_empty | frame.geometry.isna())].reset_index(drop=True)
    if "verdict" in frame:
        frame = frame[frame["verdict"].astype(str) != "false"].reset_index(drop=True)
    if frame.empty or not frame.geometry.geom_type.str.contains("Polygon").all():
        raise SarcastError(f"{name} holds no polygons, or not only polygons; outlines are expected")
    if frame.crs is None:
        raise SarcastError(f"{name} has no CRS; write the polygons with one (ogr2ogr -a_srs)")
    earliest, latest = _dates(frame, name)
    kinds = frame["kind"].astype(str) if "kind" in frame else ["change"] * len(frame)
    outlines = frame.geometry.make_valid().to_crs(grid.crs.to_wkt())
    if not np.isfinite(outlines.bounds.to_numpy()).all():
        raise SarcastError(f"{name} has a polygon that cannot be projected to {grid.crs}; cut it")
    truth = gpd.GeoDataFrame(
        {"kind": list(kinds), "earliest": earliest, "latest": latest},
        geometry=_within(outlines, grid, name),
        crs=grid.crs.to_wkt(),
    )
    truth = truth[truth.area > 0.0].reset_index(drop=True)
    if truth.empty:
        raise SarcastError(f"all {len(frame)} polygons of {name} lie outside the area of the cube")
    truth.insert(3, "area_ha", area_ha(truth))
    return truth


def _within(outlines: "geopandas.GeoSeries", grid: GeoBox, name: str) -> list["BaseGeometry"]:
    """Parts of polygons that lie in the area of a cube."""
    try:
        # what was valid on the globe need not be on the plane
        return list(outlines.make_valid().intersection(grid.extent.geom))
    except shapely.errors.GEOSException as error:
        raise SarcastError(
            f"{name} has a polygon that cannot be cut to the area of the cube ({error}); repair it "
            f"(ogr2ogr -makevalid)"
        ) from error


def no_changes(grid: GeoBox) -> "geopandas.GeoDataFrame":
    """Return the table of an area where nothing changed."""
    import geopandas as gpd

    columns = {"kind": object, "earliest": _SECONDS, "latest": _SECONDS, "area_ha": np.float64}
    data = {name: np.zeros(0, dtype=kind) for name, kind in columns.items()}
    return gpd.GeoDataFrame(data, geometry=[], crs=grid.crs.to_wkt())


def counted_changes(
    truth: "geopandas.GeoDataFrame",
    after: np.datetime64,
    watched: Times,
    *,
    min_area_ha: float,
    min_magnitude_db: float = 0.0,
    looks: int | None = None,
) -> Bool:
    """Decide which changes a watch is expected to find.

    Those that are new, that enough watched acquisitions show, and that are large and strong enough.
    A change of unknown magnitude is strong enough.

    Parameters
    ----------
    truth
        True changes.
    after
        Changes from this time on are new: that of the last acquisition before the watched ones.
    watched
        Times of the watched acquisitions, ascending.
    min_area_ha, min_magnitude_db
        Smallest and weakest change that counts.
    looks
        Number of watched acquisitions that must show a change, at least; default: all.
    """
    earliest, latest = (
        truth[name].to_numpy().astype(watched.dtype) for name in ("earliest", "latest")
    )
    counted: Bool = (earliest >= after) & (latest <= watched[-(looks or len(watched))])
    counted &= truth["area_ha"].to_numpy() >= min_area_ha
    if "magnitude_db" in truth:
        magnitude = truth["magnitude_db"].to_numpy()
        counted &= np.isnan(magnitude) | (magnitude >= min_magnitude_db)
    return counted


def watches_of(truth: "geopandas.GeoDataFrame", times: Times, acquisitions: int) -> list[int]:
    """Indices of the acquisitions until which to watch, so that each change is found or missed.

    A change is watched until the acquisition that is the K-th after it.

    Parameters
    ----------
    truth
        True changes.
    times
        Acquisition times of the cube, ascending.
    acquisitions
        Number K of watched acquisitions.

    Returns
    -------
    list
        Indices into ``times``, ascending, each once.
    """
    latest = truth["latest"].to_numpy().astype(times.dtype)
    last = np.searchsorted(times, latest) + acquisitions - 1
    return sorted({int(index) for index in last if acquisitions <= index < len(times)})


def with_magnitudes(
    truth: "geopandas.GeoDataFrame", cube: xr.Dataset, acquisitions: int
) -> "geopandas.GeoDataFrame":
    """Measure how much each change moved the backscatter of each band.

    The mean over the polygon of the images after the change minus that of images of the same track
    before it, minus the same of unchanged pixels of the same cover around it, which move with
    weather and season. Where the cube has the oracle of a synthetic world, its images are compared,
    else the actual ones, whose speckle adds noise: 0.1 to 0.3 dB for half a hectare.

    Parameters
    ----------
    truth
        True changes.
    cube
        The cube, sorted by time.
    acquisitions
        Number of acquisitions after the change that are averaged.

    Returns
    -------
    GeoDataFrame
        With a column for each band as ``vv_db``, and ``magnitude_db``, the greatest of their
        absolute values; NaN where no image before or after the change is in the cube.
    """
    grid = grid_of_images(cube)
    unchanged = ~rasterized(truth.geometry, grid)
    bands = [str(band) for band in cube["band"].values]
    moved = np.full((len(truth), len(bands)), np.nan)
    for number, change in enumerate(truth.itertuples()):
        steps = _steps(cube, change.earliest, change.latest, acquisitions)
        if steps:
            moved[number] = _movement(cube, change.geometry, unchanged, steps)
    columns = {f"{band.lower()}_db": moved[:, index] for index, band in enumerate(bands)}
    return truth.assign(**columns, magnitude_db=_greatest(moved))


def _greatest(moved: Double) -> Double:
    """Greatest absolute value of each row; NaN where there is none."""
    greatest: Double = np.fmax.reduce(np.abs(moved), axis=1, initial=-np.inf)
    return np.where(np.isfinite(greatest), greatest, np.nan)


def _steps(
    cube: xr.Dataset, earliest: Any, latest: Any, acquisitions: int
) -> list[tuple[list[int], list[int]]]:
    """Earlier and later time steps of each track that saw the change before and after."""
    times = cube["time"].values
    # the oracle of a world shows the ground as it was at the acquisition before
    delay = 1 if "expected" in cube else 0
    start = int(np.searchsorted(times, np.datetime64(latest, "s").astype(times.dtype))) + delay
    later = range(start, min(start + acquisitions, len(times)))
    before = np.flatnonzero(times < np.datetime64(earliest, "s").astype(times.dtype))
    tracks = tracks_of(cube)
    steps = []
    for track in dict.fromkeys(tracks[index] for index in later):
        earlier = [int(index) for index in before if tracks[index] == track][-EARLIER_IMAGES:]
        if earlier:
            steps.append((earlier, [index for index in later if tracks[index] == track]))
    return steps


def tracks_of(cube: xr.Dataset) -> list[Any]:
    """Relative orbit of each time step, or its heading to the degree; all alike if unknown."""
    if "relative_orbit" in cube.coords:
        return [int(orbit) for orbit in cube["relative_orbit"].values]
    if "heading" in cube.coords:
        return [str(np.round(heading)) for heading in cube["heading"].values]
    return [0] * cube.sizes["time"]


def _movement(
    cube: xr.Dataset,
    outline: "BaseGeometry",
    unchanged: Bool,
    steps: Sequence[tuple[list[int], list[int]]],
) -> Double:
    """Movement of each band inside an outline minus that around it, dims (band), dB."""
    grid = grid_of_images(cube)
    box = _box_around(outline, grid)
    inside = rasterized([outline], grid[box])
    around = unchanged[box] & ~inside
    around = _same_cover(cube, box, inside, around)
    image = cube["expected" if "expected" in cube else "backscatter"].transpose(
        "time", "band", "y", "x"
    )[:, :, box[0], box[1]]
    moved, weights = [], []
    for earlier, later in steps:
        before, after = (image.isel(time=index).values for index in (earlier, later))
        difference = np.nanmean(after, axis=0) - np.nanmean(before, axis=0)
        moved.append([_mean(band[inside]) - _mean(band[around]) for band in difference])
        weights.append(len(later))
    values: Double = np.average(np.array(moved, dtype=float), axis=0, weights=weights)
    return values


def _mean(values: npt.NDArray[Any]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _box_around(outline: "BaseGeometry", grid: GeoBox) -> tuple[slice, slice]:
    """Rows and columns of an outline and its surroundings."""
    margin = math.ceil(REFERENCE_M / min(pixel_size_m(grid)))
    left, bottom, right, top = outline.bounds
    corners = [~grid.transform * corner for corner in ((left, top), (right, bottom))]
    columns, rows = (sorted(values) for values in zip(*corners, strict=True))
    box = []
    for (start, stop), pixels in zip((rows, columns), grid.shape.yx, strict=True):
        first = min(max(math.floor(start) - margin, 0), pixels - 1)
        box.append(slice(first, max(min(math.ceil(stop) + margin, pixels), first + 1)))
    return box[0], box[1]


def _same_cover(cube: xr.Dataset, box: tuple[slice, slice], inside: Bool, around: Bool) -> Bool:
    """Pixels around a change that have the cover of most of its own."""
    kept = around
    for name in ("forest", "open_land"):
        if name in cube and inside.any():
            mask = cube[name].transpose("y", "x")[box[0], box[1]].values.astype(bool)
            kept = kept & (mask == (mask[inside].mean() > 0.5))
    return kept if kept.sum() >= FEWEST_REFERENCE_PIXELS else around


def area_ha(frame: "geopandas.GeoDataFrame") -> Double:
    """Area of each outline, hectares."""
    metric = frame if frame.crs.utm_zone else frame.to_crs(frame.estimate_utm_crs())
    area: Double = metric.area.to_numpy() / M2_PER_HA
    return area


def _dates(frame: "geopandas.GeoDataFrame", name: str) -> tuple[Times, Times]:
    """When each change happened at the earliest and at the latest."""
    columns = ("earliest", "latest") if "date" not in frame else ("date", "date")
    missing = [column for column in columns if column not in frame]
    if missing:
        raise SarcastError(
            f"{name} has no column 'date' (nor 'earliest' and 'latest'), but "
            f"{', '.join(c for c in frame.columns if c != 'geometry') or 'none'}; "
            f"each change needs its date, ISO 8601"
        )
    bounds = []
    for column, last in zip(columns, (False, True), strict=True):
        known = frame[column].notna() & (frame[column].astype(str).str.strip() != "")
        if not known.all():
            raise SarcastError(
                f"{int((~known).sum())} of {len(frame)} polygons of {name} have no {column}; leave "
                f"them out or date them"
            )
        bounds.append(np.array([_moment(value, last=last) for value in frame[column]]))
    return bounds[0], bounds[1]


def _moment(value: Any, *, last: bool) -> np.datetime64:
    """First or last second of a date, or a time, as a text or a date object.

    Raises
    ------
    UsageError
        If it is not a date.
    """
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime()
    if isinstance(value, str):
        value = value.strip().replace(" ", "T").removesuffix("Z")
    read = to_datetime64(value)
    is_exact = np.datetime_data(read.dtype)[0] in ("s", "ms", "us", "ns")
    moment: np.datetime64 = (read + 1 if last and not is_exact else read).astype("datetime64[s]")
    return moment
