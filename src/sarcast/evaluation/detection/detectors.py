"""Detectors that can be evaluated: detection with any predictor, and rules of other systems."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import xarray as xr

from sarcast.evaluation.detection.rivals import rule_findings, series_of
from sarcast.evaluation.detection.rules import Rule, Series
from sarcast.evaluation.detection.truth import pixel_ha
from sarcast.evaluation.detection.watches import Findings, WatchCase
from sarcast.evaluation.metrics.events import DetectorScores
from sarcast.prediction.predict import TileOptions, predict_targets
from sarcast.windows import Predictor, PreviousOptions


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
        grid = watch.cube.odc.geobox
        fewest = max(1, math.ceil(self.min_area_ha / pixel_ha(grid)))
        return rule_findings(self.rule, self.series.of(watch), grid, fewest)
