"""The experiment: several detectors on the same watches, each scored at its levels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sarcast.arrays import Bool
from sarcast.errors import SarcastError
from sarcast.evaluation.detection.scores import MatchOptions, match
from sarcast.evaluation.detection.watches import Findings, WatchCase, score
from sarcast.evaluation.metrics.events import DetectorScores
from sarcast.evaluation.report.detection import ChangeMap
from sarcast.io.images import grid_of_images

if TYPE_CHECKING:
    import geopandas
    from shapely.geometry.base import BaseGeometry

MAPS = 4
"""Watches that are drawn at most."""


class Detector(Protocol):
    """What finds events in a watch.

    Attributes
    ----------
    scores
        Name, role and levels, without watches.
    """

    @property
    def scores(self) -> DetectorScores:
        """Name, role and levels, without watches."""
        ...

    def find(self, watch: WatchCase) -> Findings:
        """Find events in a watch."""
        ...


@dataclass(frozen=True)
class DetectionResult:
    """Scores of all detectors, and maps of what the first one found."""

    scores: tuple[DetectorScores, ...]
    maps: tuple[ChangeMap, ...]


def run_detectors(
    watches: Iterable[WatchCase],
    detectors: Sequence[Detector],
    options: MatchOptions | None = None,
) -> DetectionResult:
    """Score detectors on watches.

    Parameters
    ----------
    watches
        Held one at a time.
    detectors
        The first one is the one that is drawn.
    options
        When a change is found, and how near an event must be.

    Raises
    ------
    SarcastError
        If two detectors have the same name, or there is no watch.
    """
    names = [detector.scores.name for detector in detectors]
    if len(set(names)) < len(names):
        raise SarcastError(f"two detectors have the same name: {', '.join(names)}")
    total = [detector.scores for detector in detectors]
    maps: list[ChangeMap] = []
    for watch in watches:
        for number, detector in enumerate(detectors):
            findings = detector.find(watch)
            part = score(watch, findings, total[number], options)
            total[number] += detector.scores.model_copy(update={"watches": (part,)})
            if number == 0 and len(maps) < MAPS:
                maps.append(change_map(watch, findings, detector.scores, options))
    if not total or not total[0].watches:
        raise SarcastError("there is no watch to evaluate detection on; choose other dates")
    return DetectionResult(tuple(total), tuple(maps))


def change_map(
    watch: WatchCase,
    findings: Findings,
    detector: DetectorScores,
    options: MatchOptions | None = None,
) -> ChangeMap:
    """Map what a detector found, missed and reported falsely at its own level."""
    grid = grid_of_images(watch.cube)
    level = detector.levels[-1] if detector.own_level is None else detector.own_level
    events = findings.events(level)
    matched = match(
        events, watch.truth, watch.counted, pixel=abs(grid.resolution.x), options=options
    )
    left, bottom, right, top = grid.extent.boundingbox
    counted, outlines = watch.counted, watch.truth.geometry
    image = watch.cube["backscatter"].transpose("time", "band", "y", "x")[-1].values
    first = np.datetime_as_string(watch.watched[0], "D")
    return ChangeMap(
        f"{detector.name}: {first} to {watch.name}, {len(watch.watched)} acquisitions",
        image,
        (left, right, bottom, top),
        {
            "found": _kept(outlines, counted & matched.found),
            "missed": _kept(outlines, counted & ~matched.found),
            "false": _kept(events.geometry, matched.is_false),
            "not counted": _kept(outlines, ~counted),
        },
    )


def _kept(outlines: "geopandas.GeoSeries", kept: Bool) -> Sequence["BaseGeometry"]:
    return list(outlines[kept])
