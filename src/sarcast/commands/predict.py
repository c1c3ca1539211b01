"""``sarcast predict``: the expected image, also under conditions that never were."""

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from sarcast.commands.config import FLAT, Config, read_settings, write_record
from sarcast.cube import moment_of, open_cube, time_index_of
from sarcast.detection.output import write_expected, write_item
from sarcast.io.files import new_folder
from sarcast.prediction import Model, Precision, load_model
from sarcast.prediction.predict import TileOptions
from sarcast.prediction.predict import predict as predict_cube
from sarcast.sensor.conditions import read_conditions
from sarcast.windows import PreviousOptions

_log = logging.getLogger(__name__)


class DateConfig(Config):
    """Options of every verb that works on one date of a cube with a model."""

    model: Path = Field(description="Model folder, or 'base' for the shipped weights.")
    at: str = Field(description="Date of the target in the cube, ISO 8601.")
    to: Path = Field(description="Folder for the result.")
    given: Annotated[PreviousOptions, FLAT] = Field(default_factory=PreviousOptions)
    before: str | None = Field(
        None,
        description="Only previous images before this date, ISO 8601: a baseline that stays while "
        "a change is watched.",
    )
    tiles: Annotated[TileOptions, FLAT] = Field(default_factory=TileOptions)
    precision: Precision = Field(
        "float32",
        description="Numbers to compute with: bfloat16 takes half the time on processors that "
        "multiply it (AVX512-BF16, AMX), and moves the expected image by some 0.004 dB.",
    )
    overwrite: bool = Field(False, description="Replace the folder if it is there.")


class PredictConfig(DateConfig):
    """Options of ``sarcast predict``."""

    set: tuple[str, ...] = Field(
        (),
        description="A condition of the target to be replaced, as temperature=20 or "
        "orbit_direction=ascending; may be repeated.",
    )


def predict(cube: Path, *, config: Annotated[PredictConfig, FLAT]) -> None:
    """Write the expected image of a date, under its own conditions or under others.

    Parameters
    ----------
    cube
        A cube, as ``sarcast cube`` builds it.
    """
    with new_folder(config.to, overwrite=config.overwrite, inputs=(cube, config.model)) as folder:
        opened, model = open_cube(cube), load_model(config.model, precision=config.precision)
        place = time_index_of(opened, config.at)
        grid = opened["backscatter"].odc.geobox
        latitude = float(grid.geographic_extent.centroid.coords[0][1])
        conditions = read_conditions(read_settings(config.set), latitude)
        found = expected_image(opened, model, place, config, conditions)
        write_expected(folder, grid, found["expected"].values, found["std"].values)
        provenance = {**described(opened, model, place), "sarcast:set": list(config.set)}
        date = opened["time"].values[place]
        write_item(folder, f"expected-{config.at}", grid, date, provenance)
        write_record(folder, "predict", {"cube": cube}, config)
    _log.info(f"expected image of {config.at}: {config.to / 'expected.tif'}")


def expected_image(
    cube: xr.Dataset,
    model: Model,
    place: int,
    config: DateConfig,
    conditions: dict[str, float] | None = None,
) -> xr.Dataset:
    """Expected image and standard deviation of a date, by the options of its verb.

    The standard deviation of a network that tells none is that of its validation residuals, the
    same for every pixel of a band.
    """
    found = predict_cube(
        cube,
        model,
        place,
        conditions=conditions,
        given=config.given,
        before=baseline(config),
        tiles=config.tiles,
    )
    if np.isnan(found["std"]).all() and model.scores is not None:
        spread = xr.DataArray(np.array(model.scores.rmse_db, dtype=np.float32), dims="band")
        found["std"] = (spread + xr.zeros_like(found["expected"])).astype(np.float32)
    return found


def baseline(config: DateConfig) -> np.datetime64 | None:
    """Time that all previous images must precede; None for that of the target."""
    return None if config.before is None else moment_of(config.before)


def described(cube: xr.Dataset, model: Model, place: int) -> dict[str, object]:
    """Properties of a STAC item that tell what a result was made from."""
    step = cube.isel(time=place)
    told = {
        "platform": str(step["platform"].item()),
        "sat:orbit_state": str(step["orbit_direction"].item()),
    }
    return {
        **{name: value for name, value in told.items() if value},
        "sarcast:model": model.name,
        "sarcast:scene": str(step["scene_id"].item()),
    }
