"""``sarcast detect``: expected image, difference image, change map and polygons of a date."""

import logging
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sarcast.commands.config import FLAT, write_record
from sarcast.commands.options import DateConfig, item_properties
from sarcast.cube import open_cube, time_index_of
from sarcast.detection.detect import DetectOptions
from sarcast.detection.detect import detect as detect_change
from sarcast.detection.output import write_detection
from sarcast.io.files import new_folder
from sarcast.prediction import load_model

_log = logging.getLogger(__name__)


class DetectConfig(DateConfig):
    """Options of ``sarcast detect``."""

    detection: Annotated[DetectOptions, FLAT] = Field(default_factory=DetectOptions)


def detect(cube: Path, *, config: Annotated[DetectConfig, FLAT]) -> None:
    """Write what changed on the ground at a date: rasters, polygons and their STAC item.

    Parameters
    ----------
    cube
        A cube, as ``sarcast cube`` builds it.
    """
    with new_folder(config.to, overwrite=config.overwrite, inputs=(cube, config.model)) as folder:
        opened = open_cube(cube)
        model = load_model(config.model, precision=config.precision, context=config.context)
        config = config.model_copy(update={"precision": model.precision})
        detection = detect_change(
            opened,
            model,
            config.at,
            options=config.detection,
            baseline=config.baseline,
            before=config.before,
            tiles=config.tiles,
        )
        properties = {
            **item_properties(opened, model, time_index_of(opened, config.at)),
            "sarcast:bands": detection.images["band"].values.tolist(),
            "sarcast:threshold_db": detection.threshold_db,
        }
        if config.detection.level:
            properties["sarcast:level_db"] = [round(float(db), 3) for db in detection.level_db]
        write_detection(detection, folder, f"change-{config.at}", properties)
        write_record(folder, "detect", {"cube": cube}, config)
    _log.info(
        f"norm above {detection.threshold_db:.2f} dB: {100.0 * detection.changed_share:.2f} % of "
        f"the valid pixels changed; {config.to / 'change.gpkg'}"
    )
