"""Events compared with the true changes of an area: found, missed, false.

A true change is *found* where events cover at least ``MatchOptions.overlap`` of its area. An event
is *false* if it lies farther than ``tolerance_px`` pixels from every true change, also from those
that are not to be found (too small, too old, not yet there): what is detected on these is neither
right nor wrong.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sarcast.arrays import Bool, Double, Times

if TYPE_CHECKING:
    import geopandas

Indices = npt.NDArray[np.intp]


class MatchOptions(BaseModel):
    """When an event counts as that of a true change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overlap: float = Field(
        0.2,
        gt=0.0,
        le=1.0,
        description="Share of the area of a change that events must cover for it to be found.",
    )
    tolerance_px: float = Field(
        2.0,
        ge=0.0,
        le=100.0,
        description="An event within so many pixels of a change is not false.",
    )


@dataclass(frozen=True)
class Match:
    """Events and true changes, compared.

    Attributes
    ----------
    covered
        Dims (change), 0..1: share of the area of a change that events cover.
    overlap
        Dims (change), 0..1: intersection over union of a change and the events on it.
    found
        Dims (change).
    event
        Dims (change): index of the event that covers most of a change; -1 for none.
    is_false
        Dims (event): touches no change.
    is_counted
        Dims (event): is false, or touches a change that is to be found.
    """

    covered: Double
    overlap: Double
    found: Bool
    event: Indices
    is_false: Bool
    is_counted: Bool


def match(
    events: "geopandas.GeoDataFrame",
    truth: "geopandas.GeoDataFrame",
    counted: Bool,
    *,
    pixel: float,
    options: MatchOptions | None = None,
) -> Match:
    """Compare events with true changes.

    Parameters
    ----------
    events
        One row per event, in the CRS of ``truth``.
    truth
        One row per true change.
    counted
        Dims (change): those to be found. The others only keep events on them from being false.
    pixel
        Pixel spacing, in units of the CRS.
    options
        When a change is found, and how near an event must be.

    Returns
    -------
    Match
        With the changes in the order of ``truth``, also those that are not counted.
    """
    options = options or MatchOptions()
    outlines, changes = (frame.geometry.to_numpy() for frame in (events, truth))
    covered, overlap, event = _overlaps(outlines, changes)
    near = _near(outlines, changes, options.tolerance_px * pixel)
    is_false = np.ones(len(outlines), dtype=bool)
    is_false[near[1]] = False
    is_counted = is_false.copy()
    is_counted[near[1][counted[near[0]]]] = True
    return Match(covered, overlap, covered >= options.overlap, event, is_false, is_counted)


def date_errors(
    matched: Match, dates: Times, truth: "geopandas.GeoDataFrame", times: Times
) -> list[int | None]:
    """Compute how many acquisitions after the first possible one each change is dated.

    Parameters
    ----------
    matched
        Result of ``match``.
    dates
        Dims (event): first acquisition that shows the event.
    truth
        With ``latest``, when the change had happened at the latest.
    times
        Acquisition times of the cube, ascending.

    Returns
    -------
    list
        Of each change: 0 where its event is dated to the first acquisition after the change,
        negative where before it; None where it is not found.
    """
    first = np.searchsorted(times, truth["latest"].to_numpy().astype(times.dtype))
    first = np.minimum(first, len(times) - 1)
    errors: list[int | None] = []
    for found, event, index in zip(matched.found, matched.event, first, strict=True):
        if not found or np.isnat(dates[event]):
            errors.append(None)
        else:
            errors.append(int(np.abs(times - dates[event]).argmin() - index))
    return errors


def _overlaps(outlines: npt.NDArray, changes: npt.NDArray) -> tuple[Double, Double, Indices]:  # type: ignore[type-arg]
    """Share covered, intersection over union, and most covering event of each change."""
    import shapely

    covered, overlap = np.zeros(len(changes)), np.zeros(len(changes))
    event = np.full(len(changes), -1, dtype=np.intp)
    pairs = shapely.STRtree(outlines).query(changes, predicate="intersects")
    for change in np.unique(pairs[0]):
        touching = pairs[1][pairs[0] == change]
        areas = shapely.area(shapely.intersection(outlines[touching], changes[change]))
        together = shapely.union_all(outlines[touching])
        shared = shapely.area(shapely.intersection(together, changes[change]))
        united = shapely.area(shapely.union(together, changes[change]))
        covered[change] = shared / max(shapely.area(changes[change]), 1e-12)
        overlap[change] = shared / max(united, 1e-12)
        if areas.max() > 0.0:
            event[change] = touching[areas.argmax()]
    return covered, overlap, event


def _near(outlines: npt.NDArray, changes: npt.NDArray, distance: float) -> Indices:  # type: ignore[type-arg]
    """Pairs of a change and an event within a distance, dims (2, pair)."""
    import shapely

    pairs: Indices = shapely.STRtree(outlines).query(
        changes, predicate="dwithin", distance=distance
    )
    return pairs
