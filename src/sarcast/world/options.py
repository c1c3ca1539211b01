"""Options of the synthetic world that is written to files."""

import datetime as dt
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class WorldOptions(BaseModel):
    """What kind of area to write, how large, and over which dates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["boreal"] = Field("boreal", description="kind of landscape and climate")
    size_km: float = Field(5.0, gt=0.3, le=100.0, description="side of the square area, km")
    spacing_m: float = Field(10.0, ge=5.0, le=100.0, description="pixel spacing, m")
    start: dt.date = Field(dt.date(2020, 4, 1), description="first day of the scenes, UTC")
    end: dt.date = Field(dt.date(2020, 9, 30), description="last day of the scenes, UTC")
    tracks: int = Field(
        2, ge=1, le=8, description="most relative orbits that see the area, of both passes in turn"
    )
    available: float = Field(
        1.0, gt=0.0, le=1.0, description="share of the planned acquisitions that exist"
    )
    quantity: Literal["sigma0", "gamma0"] = Field("sigma0", description="radar quantity")
    speckle_filter: Literal["none", "lee"] = Field("lee", description="filter against speckle")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end ({self.end}) must not lie before start ({self.start})")
        return self
