"""Options of the synthetic world that is written to files."""

import datetime as dt
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PresetName = Literal["boreal", "temperate", "monsoon", "dryland", "random"]
ChangeKind = Literal[
    "clear-cut", "thinning", "storm", "fire", "flood", "forest flood", "construction"
]
FEWEST_PIXELS, MOST_PIXELS = 16, 4000
"""Least and greatest rows and columns of a written area: its maps take 104 bytes a pixel."""


class WorldOptions(BaseModel):
    """Kind, size and dates of the area to write."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: PresetName = Field("boreal", description="Kind of landscape and climate.")
    size_km: float = Field(5.0, ge=0.5, le=100.0, description="Side of the area, 0.5..100 km.")
    spacing_m: float = Field(
        10.0, ge=5.0, le=100.0, description="Pixel spacing, 5..100 m; real products have 10..30 m."
    )
    start: dt.date = Field(dt.date(2020, 4, 1), description="First day of the scenes, UTC.")
    end: dt.date = Field(dt.date(2020, 9, 30), description="Last day of the scenes, UTC.")
    tracks: int = Field(
        2,
        ge=1,
        le=8,
        description="Maximum number of relative orbits, 1..8, taken from both passes in turn.",
    )
    available: float = Field(
        1.0, gt=0.0, le=1.0, description="Share of the planned acquisitions that exist, 0..1."
    )
    quantity: Literal["sigma0", "gamma0"] = Field("sigma0", description="Radar quantity.")
    flattening: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="Share of the terrain's effect on brightness that is removed, 0..1; 1 for "
        "terrain-flattened products; default: the preset's.",
    )
    speckle_filter: Literal["none", "lee", "refined-lee", "tv"] = Field(
        "lee", description="Speckle filter; tv is total variation."
    )
    looks: float | None = Field(
        None, ge=0.5, le=400.0, description="Number of looks, 0.5..400; default: the preset's."
    )
    speckle_correlation: float | None = Field(
        None,
        ge=0.0,
        le=0.6,
        description="Correlation of the speckle of adjacent pixels, 0..0.6; default: the preset's.",
    )
    jitter_px: float | None = Field(
        None, ge=0.0, le=0.5, description="Geolocation error, 0..0.5 pixels; default: the preset's."
    )
    strips: float = Field(
        0.0, ge=0.0, le=1.0, description="Share of scenes with a strip of no data, 0..1."
    )
    changes_per_km2: float = Field(
        0.4, ge=0.0, le=10.0, description="Changes of the ground per km2 and year, 0..10."
    )

    change_kinds: tuple[ChangeKind, ...] = Field(
        (), description="Kinds of change of the ground, each as likely; default: all."
    )
    changes_from: dt.date | None = Field(
        None, description="First day of changes of the ground, UTC; default: that of the scenes."
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.changes_from is not None and not self.start <= self.changes_from <= self.end:
            raise ValueError(
                f"the first day of changes, {self.changes_from}, must lie between {self.start} and "
                f"{self.end}"
            )
        if self.end < self.start:
            raise ValueError(
                f"the last day, {self.end}, must not lie before the first, {self.start}"
            )
        pixels = round(self.size_km * 1000.0 / self.spacing_m)
        if not FEWEST_PIXELS <= pixels <= MOST_PIXELS:
            raise ValueError(
                f"an area must have {FEWEST_PIXELS} to {MOST_PIXELS} pixels a side, but "
                f"{self.size_km:g} km at {self.spacing_m:g} m are {pixels}; change one of them"
            )
        return self


class StreamOptions(BaseModel):
    """Kind of windows that a stream draws."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: PresetName = Field("random", description="Kind of landscape and climate.")
    size: int = Field(128, ge=32, le=1024, description="Rows and columns of a window, pixels.")
    previous: int = Field(4, ge=1, le=24, description="Previous images of a window.")
    horizon: int = Field(
        0,
        ge=0,
        le=12,
        description="Most acquisitions between the last previous image and the target, 0..12: each "
        "window leaves out a number of them drawn from 0 to this one, over at most 200 days.",
    )
    horizon_days: float = Field(
        0.0,
        ge=0.0,
        le=200.0,
        description="Most days before the target without previous images, 0..200: each window "
        "draws their number; where horizon is set too, half of the windows do.",
    )
    seasons: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Share of windows in which half of the previous images are of the target's "
        "season one or two years earlier, 0..1.",
    )
    batch: int = Field(8, ge=1, le=4096, description="Windows of a batch.")
    new_changes: bool = Field(
        False, description="Let the ground change between the last previous image and the target."
    )
    missing: float = Field(
        0.0, ge=0.0, le=1.0, description="Probability that a condition is missing from a window."
    )
    counterfactual: bool = Field(
        False,
        description="Also simulate each target under different rain, half of them from the "
        "opposite pass: training with contrast fits the difference between the two.",
    )
    end: dt.date | None = Field(
        None, description="Last date of the targets; default: the preset's."
    )
    physics: Literal[1, 2] = Field(
        2, description="Version of the physics; 1 only to draw reference sets of that version."
    )
    goal_looks: int = Field(
        0,
        ge=0,
        le=64,
        description="Looks averaged in the training goal: the mean of so many simulated images of "
        "the target's backscatter, with less speckle than the target; 0: train on the target.",
    )
