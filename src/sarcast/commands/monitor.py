"""``sarcast monitor``: alerts over acquisitions, from the state that earlier runs left."""

import functools
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from pydantic import Field

from sarcast.commands.config import FLAT, Config, non_default_flags, write_record
from sarcast.commands.model_options import Computed, Context, ModelOrStrategy
from sarcast.cube import CubeOptions, Sources, open_cube
from sarcast.cube.executor import WorkerOptions
from sarcast.cube.extend import Request
from sarcast.detection.publish import checked_event_database, publish_events
from sarcast.errors import SarcastError, UsageError, hide
from sarcast.ingest.scenes.index import IndexOptions
from sarcast.ingest.weather import WeatherOptions
from sarcast.io.files import check_inputs
from sarcast.io.remote import RemoteOptions
from sarcast.monitoring.follow import Feed, follow
from sarcast.monitoring.monitor import Monitored
from sarcast.monitoring.monitor import monitor as monitor_cube
from sarcast.monitoring.options import MonitorOptions
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION, Model
from sarcast.prediction.predictors import load_predictor
from sarcast.windows import Predictor

if TYPE_CHECKING:
    from sarcast.detection.event_database import EventDatabase

_log = logging.getLogger(__name__)


class WatchConfig(Config):
    """Where new scenes come from, and how they are read."""

    watch: str | None = Field(
        None,
        description="Go on until stopped, and extend the cube by the scenes that come: a folder in "
        "which they arrive, the folder of a catalogue, or the URL of a STAC API or pgstac.",
    )
    every_minutes: float = Field(
        60.0,
        gt=0.0,
        le=1e5,
        description="Minutes after which a watched catalogue is asked again; a folder is also "
        "looked at whenever something in it changes.",
    )
    settle_seconds: float = Field(
        10.0,
        ge=0.0,
        le=3600.0,
        description="Seconds without change after which the rasters of a watched folder count as "
        "complete; all files of a scene must arrive within it.",
    )
    collection: tuple[str, ...] = Field(
        (), description="Collections of the watched catalogue to search; default: all."
    )
    weather: tuple[str, ...] = Field(
        (), description="Weather of the new scenes, as for sarcast cube; read anew each time."
    )
    allow_missing: bool = Field(
        False,
        description="Leave out new dates with a raster that cannot be read; default: those after "
        "them wait until it can.",
    )
    names: Annotated[IndexOptions, FLAT] = Field(default_factory=IndexOptions)
    weather_reading: Annotated[WeatherOptions, FLAT] = Field(default_factory=WeatherOptions)
    server: Annotated[RemoteOptions, FLAT] = Field(default_factory=RemoteOptions)

    def feed(self, workers: WorkerOptions) -> Feed | None:
        """What is watched; None if nothing is.

        Parameters
        ----------
        workers
            Who extends the cube.

        Raises
        ------
        UsageError
            If nothing is watched but options say how.
        """
        if self.watch is None:
            if flags := non_default_flags(self):
                raise UsageError(f"{', '.join(flags)} can be given with --watch only")
            return None
        request = Request(
            collection=self.collection,
            names=self.names,
            building=CubeOptions(allow_missing=self.allow_missing),
            sources=Sources(weather=self.weather, weather_options=self.weather_reading),
            workers=workers,
            server=self.server,
        )
        return Feed(self.watch, request, self.every_minutes, self.settle_seconds)


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
        False,
        description="Print a summary of the run as JSON; with --watch one line a round that "
        "processed something.",
    )
    watching: Annotated[WatchConfig, FLAT] = Field(default_factory=WatchConfig)


def monitor(cube: Path, *, config: Annotated[MonitorConfig, FLAT]) -> None:
    """Process every acquisition after the last one that the alerts know: status, dates, events.

    Parameters
    ----------
    cube
        A cube, as ``sarcast cube`` builds and extends it.
    """
    check_inputs(config.to, (cube, config.model))
    database, how = checked_event_database(config.events), config.monitoring
    feed = config.watching.feed(WorkerOptions(scheduler=how.scheduler, workers=how.workers))
    opened = open_cube(cube)
    predictor = load_predictor(config.model, precision=config.precision, context=config.context)
    if isinstance(predictor, Model):
        config = config.model_copy(update={"precision": predictor.precision})
    publish = functools.partial(_publish, config, database)
    if feed is None:
        alerts = monitor_cube(opened, predictor, to=config.to, options=how)
        _report(cube, alerts, config)
        publish(overwrite=how.replay_from is not None)
        return
    _watch(cube, predictor, feed, config, publish)


def _watch(
    cube: Path,
    predictor: Predictor,
    feed: Feed,
    config: MonitorConfig,
    publish: Callable[..., None],
) -> None:
    """Monitor round after round; a database that does not answer is tried in the next one."""
    _log.info(f"waiting for scenes in {hide(feed.source, feed.source)}; stop with Ctrl-C")
    overwrite, due = config.monitoring.replay_from is not None, True
    rounds = follow(cube, predictor, to=config.to, feed=feed, options=config.monitoring)
    for alerts in rounds:
        _report(cube, alerts, config)
        due = due or bool(alerts.processed)
        if not due:
            continue
        try:
            publish(overwrite=overwrite)
        except SarcastError as error:
            _log.warning(f"{error}; tried again in the next round")
        else:
            overwrite = due = False


def _publish(config: MonitorConfig, database: "EventDatabase | None", *, overwrite: bool) -> None:
    if database is not None:
        publish_events(config.to, database, overwrite=overwrite)


def _report(cube: Path, alerts: Monitored, config: MonitorConfig) -> None:
    """Record the options and show what a run, or a round that processed something, has done."""
    watched = config.watching.watch is not None
    _write_record(cube, config)
    if config.as_json and not watched:
        sys.stdout.write(json.dumps(alerts.summary(), indent=1) + "\n")
    elif config.as_json and alerts.processed:
        sys.stdout.write(json.dumps(alerts.summary()) + "\n")
        sys.stdout.flush()
    elif alerts.processed:
        _log.info(_line(alerts))


def _write_record(cube: Path, config: MonitorConfig) -> None:
    """Record the options without those of this run alone, so that the record can be given again.

    What is watched is one of them: its URL may have credentials.
    """
    again = config.monitoring.model_copy(update={"replay_from": None, "renew_null": False})
    kept = config.model_copy(update={"monitoring": again, "watching": WatchConfig()})
    write_record(config.to, "monitor", {"cube": cube}, kept)


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
