"""Detectors that can be evaluated: detection with any predictor, and rules of other systems."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sarcast.arrays import Times
from sarcast.detection.detect import Detection, DetectOptions, detect
from sarcast.detection.null import Null
from sarcast.detection.regions import pixel_ha
from sarcast.evaluation.detection.rivals import rule_findings, series_of
from sarcast.evaluation.detection.rules import Rule, Series
from sarcast.evaluation.detection.watches import Findings, WatchCase
from sarcast.evaluation.metrics.events import DetectorRole, DetectorScores
from sarcast.io.images import grid_of_images
from sarcast.prediction.predict import predict_targets
from sarcast.prediction.strategies import STRATEGIES, Strategy
from sarcast.prediction.tiles import TileOptions
from sarcast.windows import Chooser, Predictor, PreviousOptions

if TYPE_CHECKING:
    import geopandas

LEVELS = tuple(np.linspace(-4.0, 6.0, 41).round(2).tolist())
"""Evidence of a region's peak minus the threshold: 0 is the detector's own level."""
ALL_EVENTS = 1e6
"""Rate of false events at which every region of some evidence is an event."""
MEAN_IMAGES = 16
"""Images that means are taken of, at most."""
REPLAYS = 3
"""Replays of the past that an evaluation leaves room for."""
RENEW_DAYS = 30
"""Default of the days of watches after which the past is replayed anew: later, another season lets
more false events through (docs/results/)."""


@dataclass
class EvidenceDetector:
    """``sarcast.detect`` with some predictor.

    Attributes
    ----------
    predictor
        A model or a strategy.
    role
        What it is in tables.
    options
        How change is found; what is watched comes from the watch.
    renew_days
        Use the null distributions of an area for further watches, which saves most of the time,
        until these begin so many days later; 0 for none.
    """

    predictor: Predictor
    role: DetectorRole
    options: DetectOptions = field(default_factory=DetectOptions)
    renew_days: int = RENEW_DAYS
    _nulls: dict[str, tuple[np.datetime64, Null]] = field(default_factory=dict)

    @cached_property
    def scores(self) -> DetectorScores:
        """Name, role and levels, without watches."""
        return DetectorScores(
            name=self.predictor.name, role=self.role, levels=LEVELS, own_level=0.0
        )

    def find(self, watch: WatchCase) -> Findings:
        """Find events in a watch."""
        detection = self.detect(watch)
        threshold = detection.null.threshold(self.options.false_events)
        events = detection.events.assign(date=_dates(detection.events))
        peaks = events["evidence"].to_numpy()

        def above(level: float) -> "geopandas.GeoDataFrame":
            return events[peaks > threshold + level]

        return Findings(detection.images["evidence"].values - np.float32(threshold), above)

    def detect(self, watch: WatchCase) -> Detection:
        """Detect change in a watch, with every region of some evidence as an event."""
        settings = {
            "until": watch.watched[-1],
            "acquisitions": len(watch.watched),
            "false_events": ALL_EVENTS,
            "false_pixels": None,
        }
        kept = self.options.model_dump(include=self.options.model_fields_set - {"since", "at"})
        null = self._known(watch)
        detection = detect(
            watch.cube, self.predictor, options=DetectOptions(**{**kept, **settings}), null=null
        )
        if null is None:
            self._nulls[watch.area] = watch.watched[0], detection.null
        return detection

    def _known(self, watch: WatchCase) -> Null | None:
        """Null distributions of an earlier watch of the area, unless that is too long ago."""
        if watch.area not in self._nulls:
            return None
        since, null = self._nulls[watch.area]
        age = (watch.watched[0] - since) / np.timedelta64(1, "D")
        return null if 0.0 <= age < self.renew_days else None


def conventional_detectors(options: DetectOptions, *, renew_days: int) -> list[EvidenceDetector]:
    """Detection with the means of previous images that are rivals of a network.

    The mean of sixteen images, the mean of those of the target's pass among sixteen, and the mean
    of those of the target's season among the sixteen nearest to it; where the past has fewer
    images, of those.

    Parameters
    ----------
    options
        How change is found; the previous images are those of the strategy.
    renew_days
        As of ``EvidenceDetector``.
    """
    rivals: list[tuple[Strategy, Chooser]] = [
        (STRATEGIES["mean"], "recent"),
        (STRATEGIES["pass-mean"], "recent"),
        (STRATEGIES["season-mean"], "same-season"),
    ]
    return [
        EvidenceDetector(
            strategy,
            "strategy",
            options.model_copy(update={"previous": MEAN_IMAGES, "chooser": chooser}),
            renew_days,
        )
        for strategy, chooser in rivals
    ]


def _dates(events: "geopandas.GeoDataFrame") -> Times:
    """First acquisition that shows each event."""
    texts = [str(text).removesuffix("Z") for text in events["date"]]
    return np.array(texts, dtype="datetime64[s]")


@dataclass
class SharedSeries:
    """Residuals of the watched acquisitions, computed once for all rules.

    Attributes
    ----------
    predictor
        What gives the expected images.
    baseline, tiles
        As for ``predict``; previous images precede all watched acquisitions.
    """

    predictor: Predictor
    baseline: PreviousOptions = field(default_factory=PreviousOptions)
    tiles: TileOptions = field(default_factory=TileOptions)
    _last: tuple[WatchCase, Series] | None = None

    def of(self, watch: WatchCase) -> Series:
        """Give the series of a watch; that of the last one is kept."""
        if self._last is None or self._last[0] is not watch:
            self._last = (watch, series_of(watch, self._predicted(watch)))
        return self._last[1]

    def _predicted(self, watch: WatchCase) -> xr.Dataset:
        count = watch.cube.sizes["time"]
        targets = list(range(count - len(watch.watched), count))
        return predict_targets(
            watch.cube, self.predictor, targets, baseline=self.baseline, tiles=self.tiles
        )


@dataclass(frozen=True)
class RuleDetector:
    """A rule of another system, on the residuals of a predictor.

    Attributes
    ----------
    rule
        The rule.
    series
        Residuals, shared by all rules.
    min_area_ha
        Least area of an event, as of the detectors that it is compared with.
    """

    rule: Rule
    series: SharedSeries
    min_area_ha: float

    @cached_property
    def scores(self) -> DetectorScores:
        """Name, role and levels, without watches."""
        return DetectorScores(
            name=self.rule.name, role="rule", levels=self.rule.levels, own_level=self.rule.published
        )

    def find(self, watch: WatchCase) -> Findings:
        """Find events in a watch."""
        grid = grid_of_images(watch.cube)
        fewest = max(1, math.ceil(self.min_area_ha / pixel_ha(grid)))
        return rule_findings(self.rule, self.series.of(watch), grid, fewest)
