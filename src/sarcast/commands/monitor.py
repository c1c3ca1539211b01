"""``sarcast monitor``: alerts over acquisitions, from the state that earlier runs left."""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from sarcast.commands.config import FLAT, Config, write_record
from sarcast.commands.options import Computed, Context, ModelOrStrategy, load_predictor
from sarcast.cube import open_cube
from sarcast.detection.publish import checked_event_database, publish_events
from sarcast.io.files import check_inputs, new_file
from sarcast.io.results import RECORD
from sarcast.monitoring.monitor import Monitored
from sarcast.monitoring.monitor import monitor as monitor_cube
from sarcast.monitoring.options import MonitorOptions
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION, Model

_log = logging.getLogger(__name__)


class MonitorConfig(Config):
    """Options of ``sarcast monitor``."""

    model: ModelOrStrategy
    to: Path = Field(description="Folder of the alerts; a new one at the first run.")
    monitoring: Annotated[MonitorOptions, FLAT] = Field(default_factory=MonitorOptions)
    precision: Computed = DEFAULT_PRECISION
    context: Context = DEFAULT_CONTEXT
    events: str | None = Field(
        None,
        description="postgresql:// URL of a database with PostGIS that receives the run, its "
        "events and their history, besides the folder; the password is better kept in PGPASSWORD "
        "or ~/.pgpass.",
    )
    as_json: Annotated[bool, Parameter(name="--json")] = Field(
        False, description="Print a summary of the run as JSON."
    )


def monitor(cube: Path, *, config: Annotated[MonitorConfig, FLAT]) -> None:
    """Process every acquisition after the last one that the alerts know: status, dates, events.

    Parameters
    ----------
    cube
        A cube, as ``sarcast cube`` builds and extends it.
    """
    check_inputs(config.to, (cube, config.model))
    database = checked_event_database(config.events)
    opened = open_cube(cube)
    predictor = load_predictor(config.model, precision=config.precision, context=config.context)
    if isinstance(predictor, Model):
        config = config.model_copy(update={"precision": predictor.precision})
    alerts = monitor_cube(opened, predictor, to=config.to, options=config.monitoring)
    _write_record(cube, config)
    if config.as_json:
        sys.stdout.write(json.dumps(alerts.summary(), indent=1) + "\n")
    elif alerts.processed:
        _log.info(_line(alerts))
    if database is not None:
        replayed = config.monitoring.replay_from is not None
        publish_events(config.to, database, overwrite=replayed)


def _write_record(cube: Path, config: MonitorConfig) -> None:
    """Record the options without those of this run alone, so that the record can be given again."""
    again = config.monitoring.model_copy(update={"replay_from": None, "renew_null": False})
    with new_file(config.to / RECORD) as partial:
        kept = config.model_copy(update={"monitoring": again})
        write_record(partial.parent, "monitor", {"cube": cube}, kept)


def _line(alerts: Monitored) -> str:
    """One line: acquisitions, and what became of events."""
    counts = ", ".join(
        f"{sum(len(each[kind]) for each in alerts.processed)} {kind}"
        for kind in ("new", "confirmed", "finished", "dismissed")
    )
    first, last = (alerts.processed[index]["time"][:10] for index in (0, -1))
    span = first if first == last else f"{first} to {last}"
    return (
        f"{len(alerts.processed)} acquisitions, {span}; events: {counts}: "
        f"{alerts.folder / 'events.gpkg'}"
    )
