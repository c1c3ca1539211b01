"""Options and STAC properties that the verbs for one date of a cube share."""

from pathlib import Path
from typing import Annotated

import xarray as xr
from pydantic import Field

from sarcast.commands.config import FLAT, Config
from sarcast.commands.model_options import Computed, Context
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION
from sarcast.prediction.tiles import TileOptions
from sarcast.windows import Predictor, PreviousOptions

SCRATCH = ".scratch"
"""Folder for the intermediate results of a large area, within the unfinished result."""


class DateConfig(Config):
    """Options of every verb that applies a model to one date of a cube."""

    model: Path = Field(description="Model folder, or 'base' for the shipped weights.")
    at: str = Field(description="Date of the target in the cube, ISO 8601.")
    to: Path = Field(description="Folder for the result.")
    baseline: Annotated[PreviousOptions, FLAT] = Field(default_factory=PreviousOptions)
    before: str | None = Field(
        None,
        description="Use only previous images before this date, ISO 8601: a baseline that stays "
        "fixed while a change is watched.",
    )
    tiles: Annotated[TileOptions, FLAT] = Field(default_factory=TileOptions)
    precision: Computed = DEFAULT_PRECISION
    context: Context = DEFAULT_CONTEXT
    overwrite: bool = Field(False, description="Replace the folder if it exists.")


def item_properties(cube: xr.Dataset, model: Predictor, index: int) -> dict[str, object]:
    """STAC properties of a result: platform, orbit and scene of the target, name of the model.

    Parameters
    ----------
    cube
        The cube.
    model
        The model or strategy that made the result.
    index
        Index of the target on ``time``.
    """
    from sarcast.detection.output import model_properties  # what is only looked at needs none

    step = cube.isel(time=index)
    optional = {
        "platform": str(step["platform"].item()),
        "sat:orbit_state": str(step["orbit_direction"].item()),
    }
    return {
        **{name: value for name, value in optional.items() if value},
        **model_properties(model),
        "sarcast:scene": str(step["scene_id"].item()),
    }
