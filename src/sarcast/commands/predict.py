"""``sarcast predict``: the expected image of a date, also under counterfactual conditions."""

import logging
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sarcast.commands.config import FLAT, read_settings, write_record
from sarcast.commands.options import SCRATCH, DateConfig, item_properties
from sarcast.cube import open_cube, time_index_of
from sarcast.cube.executor import SchedulerOptions, WorkerOptions
from sarcast.detection.output import expected_rasters, write_item
from sarcast.io.cogs import write_cogs
from sarcast.io.files import new_folder, scratch_folder
from sarcast.io.footprint import centre, footprint
from sarcast.io.images import grid_of_images
from sarcast.prediction import load_model
from sarcast.prediction.predict import Chosen, predict_date
from sarcast.prediction.uncertainty import with_validation_std
from sarcast.sensor.conditions import read_conditions

_log = logging.getLogger(__name__)


class PredictConfig(DateConfig):
    """Options of ``sarcast predict``."""

    set: tuple[str, ...] = Field(
        (),
        description="Condition of the target to replace, such as temperature=20 or "
        "orbit_direction=ascending; may be repeated.",
    )
    cluster: Annotated[SchedulerOptions, FLAT] = Field(default_factory=SchedulerOptions)


def predict(cube: Path, *, config: Annotated[PredictConfig, FLAT]) -> None:
    """Write the expected image of a date, under its own or under other conditions.

    Parameters
    ----------
    cube
        A cube, as ``sarcast cube`` builds it.
    """
    with new_folder(config.to, overwrite=config.overwrite, inputs=(cube, config.model)) as folder:
        opened = open_cube(cube)
        model = load_model(config.model, precision=config.precision, context=config.context)
        config = config.model_copy(update={"precision": model.precision})
        index = time_index_of(opened, config.at)
        grid = grid_of_images(opened["backscatter"])
        _, latitude = centre(footprint(grid))
        conditions = read_conditions(read_settings(config.set), latitude)
        with scratch_folder(folder / SCRATCH) as scratch:
            images = predict_date(
                Chosen(opened, model, config.baseline, config.tiles),
                config.at,
                conditions=conditions,
                before=config.before,
                scratch=scratch,
                workers=WorkerOptions(scheduler=config.cluster.scheduler),
            )
            images = with_validation_std(images, model.scores)
            write_cogs([*expected_rasters(folder, images)])
        provenance = {
            **item_properties(opened, model, index),
            "sarcast:bands": images["band"].values.tolist(),
            "sarcast:set": list(config.set),
        }
        date = opened["time"].values[index]
        write_item(folder, f"expected-{config.at}", grid, date, provenance)
        write_record(folder, "predict", {"cube": cube}, config)
    _log.info(f"expected image of {config.at}: {config.to / 'expected.tif'}")
