"""Layers of a map: what they are called, how they are coloured, and how parts of them are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sarcast.arrays import Box, Float
from sarcast.detection import styles
from sarcast.sensor.units import DB

Reader = Callable[[int, int, Box], Float]
"""Reads a part of a layer: index of the acquisition, level, rows and columns at that level. Gives
float32, dims (band, y, x), NaN where there is no data."""


def _shares(stops: Sequence[styles.Stop]) -> list[tuple[float, str, int]]:
    """Colours of a ramp at shares, 0..1, of its range, with their alpha, 0..255."""
    low, high = stops[0].value, stops[-1].value
    return [((stop.value - low) / (high - low), stop.colour, stop.alpha) for stop in stops]


def _limits(stops: Sequence[styles.Stop]) -> tuple[float, float]:
    return stops[0].value, stops[-1].value


RAMPS = {
    "grey": _shares(styles.grey_ramp(0.0, 1.0)),
    "difference": _shares(styles.DIFFERENCE),
    "uncertainty": _shares(styles.UNCERTAINTY),
    "evidence": _shares(styles.EVIDENCE),
    "dates": _shares(styles.date_palette((0, 1, 2))),
    "counts": _shares(styles.looks_palette(2)[1:]),
}
"""Ramps by name, as shares of their range, colours and alpha."""

DIFFERENCE_RANGE = _limits(styles.DIFFERENCE)
UNCERTAINTY_RANGE = _limits(styles.UNCERTAINTY)
EVIDENCE_RANGE = _limits(styles.EVIDENCE)
Z_RANGE = (-4.0, 4.0)
"""Range of z that is shown, standard deviations: with speckle, one pixel in 16 000 lies beyond."""


@dataclass(frozen=True)
class Layer:
    """A layer of a map.

    Attributes
    ----------
    name
        Identifies it in addresses.
    label
        Text for people.
    bands
        Names of its bands.
    read
        Reads a part of it.
    units
        Unit of the values; empty for classes.
    ranges
        Values that are shown with the first and the last colour, by band.
    ramp
        Key of ``RAMPS``; empty for classes.
    classes
        Values with their labels and colours; empty for quantities.
    dated
        Whether there is one image for each acquisition.
    coarsest
        Coarsest level that can be read; None for any.
    form
        ``"date"``: values are days since 1970-01-01.
    slow
        Whether a model computes it.
    """

    name: str
    label: str
    bands: tuple[str, ...]
    read: Reader
    units: str = DB
    ranges: tuple[tuple[float, float], ...] = ()
    ramp: str = ""
    classes: tuple[styles.Stop, ...] = ()
    dated: bool = False
    coarsest: int | None = None
    form: Literal["number", "date"] = "number"
    slow: bool = False

    def description(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.name,
            "label": self.label,
            "kind": "categories" if self.classes else "continuous",
            "bands": list(self.bands),
            "units": self.units,
            "range": list(self.ranges[0]) if self.ranges else None,
            "ranges": [list(each) for each in self.ranges],
            "ramp": self.ramp or None,
            "categories": [
                {"value": s.value, "label": s.label, "colour": s.colour, "alpha": s.alpha}
                for s in self.classes
            ],
            "dated": self.dated,
            "max_level": self.coarsest,
            "format": self.form,
            "slow": self.slow,
        }


def to_nan(values: Any, nodata: float | None) -> Float:
    """Values as float32, NaN where they are ``nodata``."""
    image: Float = np.asarray(values).astype(np.float32)
    if nodata is not None and not np.isnan(nodata):
        image[np.asarray(values) == nodata] = np.nan
    return image
