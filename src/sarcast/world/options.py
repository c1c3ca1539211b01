"""Options of the synthetic world that is written to files."""

import datetime as dt
from typing import Annotated, Literal, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field, model_validator

PresetName = Literal["boreal", "temperate", "monsoon", "dryland", "random"]
MOST_PIXELS = 4000
"""Most rows and columns of a written area: its maps take 104 bytes a pixel."""


class WorldOptions(BaseModel):
    """What kind of area to write, how large, and over which dates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: PresetName = Field("boreal", description="kind of landscape and climate")
    size_km: float = Field(5.0, gt=0.3, le=100.0, description="side of the square area, km")
    spacing_m: float = Field(10.0, ge=5.0, le=100.0, description="pixel spacing, m")
    start: Annotated[dt.date, Parameter(name=("--start", "--from"))] = Field(
        dt.date(2020, 4, 1), description="first day of the scenes, UTC"
    )
    end: Annotated[dt.date, Parameter(name=("--end", "--to"))] = Field(
        dt.date(2020, 9, 30), description="last day of the scenes, UTC"
    )
    tracks: int = Field(
        2, ge=1, le=8, description="most relative orbits that see the area, of both passes in turn"
    )
    available: float = Field(
        1.0, gt=0.0, le=1.0, description="share of the planned acquisitions that exist"
    )
    quantity: Literal["sigma0", "gamma0"] = Field("sigma0", description="radar quantity")
    speckle_filter: Literal["none", "lee", "refined-lee", "tv"] = Field(
        "lee", description="filter against speckle"
    )
    looks: float | None = Field(
        None, ge=0.5, le=400.0, description="equivalent number of looks; the preset's if not given"
    )
    speckle_correlation: float | None = Field(
        None, ge=0.0, le=0.6, description="of adjacent pixels; the preset's if not given"
    )
    jitter_px: float | None = Field(
        None, ge=0.0, le=0.5, description="geolocation error, pixels; the preset's if not given"
    )
    strips: float = Field(
        0.0, ge=0.0, le=1.0, description="share of scenes with a strip of no data at their border"
    )
    changes_per_km2: float = Field(
        0.4, ge=0.0, le=10.0, description="changes of the ground per km2 and year"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end ({self.end}) must not lie before start ({self.start})")
        if self.size_km * 1000.0 / self.spacing_m > MOST_PIXELS:
            raise ValueError(
                f"an area of {self.size_km:g} km at {self.spacing_m:g} m has more than "
                f"{MOST_PIXELS} pixels a side; make it smaller or the spacing wider"
            )
        return self


class StreamOptions(BaseModel):
    """What kind of windows a stream draws."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: PresetName = Field("random", description="kind of landscape and climate")
    size: int = Field(128, ge=32, le=1024, description="rows and columns of a window, pixels")
    previous: int = Field(4, ge=1, le=16, description="previous images of a window")
    batch: int = Field(8, ge=1, le=4096, description="windows of a batch")
    new_changes: bool = Field(
        False, description="let the ground change between the last previous image and the target"
    )
    missing: float = Field(
        0.0, ge=0.0, le=1.0, description="chance that a window does not know a condition"
    )
