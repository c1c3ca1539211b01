"""``sarcast detect``: what changed on the ground during the last acquisitions of a cube."""

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from sarcast.commands.config import FLAT, Config, write_record
from sarcast.commands.model_options import Computed, Context, ModelOrStrategy
from sarcast.commands.options import SCRATCH, item_properties
from sarcast.cube import open_cube, time_index_of
from sarcast.detection.detect import Detection, DetectOptions
from sarcast.detection.detect import detect as detect_change
from sarcast.detection.null_file import FILE, read_null, write_null
from sarcast.detection.output import write_detection
from sarcast.detection.publish import checked_event_database, publish_events
from sarcast.detection.runs import INPUTS, inputs_hash
from sarcast.io.files import new_folder, scratch_folder
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION, Model
from sarcast.prediction.predictors import load_predictor
from sarcast.windows import Predictor

_log = logging.getLogger(__name__)


class DetectConfig(Config):
    """Options of ``sarcast detect``."""

    model: ModelOrStrategy
    to: Path = Field(description="Folder for the result.")
    detection: Annotated[DetectOptions, FLAT] = Field(default_factory=DetectOptions)
    null: Path | None = Field(
        None,
        description="Detection folder of an earlier run in the same cube, with the same model and "
        "options but the dates: its null distributions are used and the past is not replayed.",
    )
    precision: Computed = DEFAULT_PRECISION
    context: Context = DEFAULT_CONTEXT
    events: str | None = Field(
        None,
        description="postgresql:// URL of a database with PostGIS that receives the run and its "
        "events, besides the folder; the password is better kept in PGPASSWORD or ~/.pgpass.",
    )
    overwrite: bool = Field(False, description="Replace the folder if it exists.")


def detect(cube: Path, *, config: Annotated[DetectConfig, FLAT]) -> None:
    """Write what changed on the ground during the last acquisitions: events, rasters, their item.

    Parameters
    ----------
    cube
        A cube, as ``sarcast cube`` builds it.
    """
    database = checked_event_database(config.events)
    inputs = [path for path in (cube, config.model, config.null) if path is not None]
    with new_folder(config.to, overwrite=config.overwrite, inputs=inputs) as folder:
        opened = open_cube(cube)
        predictor = load_predictor(config.model, precision=config.precision, context=config.context)
        if isinstance(predictor, Model):
            config = config.model_copy(update={"precision": predictor.precision})
        null = None if config.null is None else read_null(config.null)
        with scratch_folder(folder / SCRATCH) as scratch:
            detection = detect_change(
                opened, predictor, options=config.detection, null=null, scratch=scratch
            )
            _write(opened, predictor, detection, folder)
        write_record(folder, "detect", {"cube": cube}, config)
    _log.info(_summary(detection, config.to))
    if database is not None:
        publish_events(config.to, database)


def _write(cube: xr.Dataset, predictor: Predictor, detection: Detection, folder: Path) -> None:
    """Write all but the record."""
    last = str(np.datetime_as_string(detection.watched[-1], "s"))
    made_by = item_properties(cube, predictor, time_index_of(cube, last))
    properties = {
        **made_by,
        **_properties(detection),
        INPUTS: inputs_hash(cube, detection.watched[-1], made_by),
    }
    write_detection(detection, folder, f"change-{last}", properties)
    write_null(detection.null, folder / FILE)


def _properties(detection: Detection) -> dict[str, object]:
    options = detection.options
    came_true = detection.null.came_true(options.false_events)
    properties: dict[str, object] = {
        "sarcast:bands": detection.images["band"].values.tolist(),
        "sarcast:threshold": round(detection.threshold, 3),
        "sarcast:replays": len(detection.null.peaks),
    }
    if options.false_pixels is None:
        properties["sarcast:false_events_asked"] = options.false_events
    if np.isfinite(came_true):
        properties["sarcast:false_events_in_replays"] = round(came_true, 3)
    return properties


def _summary(detection: Detection, to: Path) -> str:
    """One line: events, their area, and how often unchanged ground would look like that."""
    events, options = detection.events, detection.options
    first, last = (np.datetime_as_string(detection.watched[i], "D") for i in (0, -1))
    asked = f"{options.false_events:g} false events per 1 000 km2 and acquisition asked"
    if options.false_pixels is not None:
        asked = f"a share of {options.false_pixels:g} of unchanged pixels asked"
    replayed = detection.null.came_true(options.false_events)
    held_out = "" if np.isnan(replayed) else f", {replayed:.2g} in held-out replays of the past"
    return (
        f"{len(events)} events of {events['area_ha'].sum():.1f} ha in {len(detection.watched)} "
        f"acquisitions, {first} to {last} ({asked}{held_out}): {to / 'events.gpkg'}"
    )
