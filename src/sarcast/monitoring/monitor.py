"""Monitoring: every new acquisition of a cube, in order, from the state that earlier runs left."""

import datetime as dt
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcast.arrays import Float
from sarcast.cube.dates import moment_of
from sarcast.cube.schema import describe_grid
from sarcast.detection import difference as di
from sarcast.detection.area import in_memory
from sarcast.detection.event_files import with_points
from sarcast.detection.judged import Part, crop
from sarcast.detection.null import Null
from sarcast.detection.output import model_properties
from sarcast.detection.prepare import observer_of
from sarcast.detection.regions import pixel_ha
from sarcast.detection.runs import MONITOR
from sarcast.detection.watch import Watch, plan_watch
from sarcast.errors import SarcastError, UsageError
from sarcast.io.files import exclusive
from sarcast.io.footprint import by_code
from sarcast.io.progress import track
from sarcast.monitoring import history, notify
from sarcast.monitoring.confirmation import ConfirmationRule, Opera
from sarcast.monitoring.events import Step
from sarcast.monitoring.layers import Layers, Look
from sarcast.monitoring.nulls import NullKeeper
from sarcast.monitoring.options import MonitorOptions
from sarcast.monitoring.output import (
    epoch_of,
    events_frame,
    is_current,
    write_outputs,
)
from sarcast.monitoring.schedule import acquisitions_of, first_of, new_acquisitions, watch_options
from sarcast.monitoring.sequential import Sequential, region_metric
from sarcast.monitoring.state import Known, Record, State, StateFolder, seconds_of
from sarcast.monitoring.watcher import Sight, Watcher
from sarcast.prediction.model import Model
from sarcast.windows import Predictor, bands_of

if TYPE_CHECKING:
    import geopandas

_log = logging.getLogger(__name__)

LOG = "monitor.log"


@dataclass(frozen=True)
class Monitored:
    """What is known after a run, and what the run added.

    Attributes
    ----------
    folder
        The monitoring folder.
    grid
        Grid of the layers.
    state
        After the last acquisition.
    processed
        For each acquisition of this run its time, the ids of the events that are new, confirmed,
        finished, dismissed and merged, and the share of the pixels that it sees.
    undelivered
        Notifications that wait for the next run.
    """

    folder: Path
    grid: GeoBox
    state: State
    processed: tuple[dict[str, Any], ...]
    undelivered: int = 0

    @property
    def layers(self) -> Layers:
        """What is known of each pixel."""
        return self.state.layers

    @cached_property
    def events(self) -> "geopandas.GeoDataFrame":
        """Events as in ``events.gpkg``."""
        return events_frame(self.state.tracked, self.grid)

    def summary(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        states = self.state.tracked.table["state"].value_counts()
        return {
            "folder": str(self.folder),
            "state": self.state.record.id,
            "last_acquisition": self.state.record.known[-1].time,
            "acquisitions": list(self.processed),
            "events": {str(name): int(count) for name, count in sorted(states.items())},
            "undelivered_notifications": self.undelivered,
        }


def monitor(
    cube: xr.Dataset,
    predictor: Predictor,
    *,
    to: Path | str,
    options: MonitorOptions | None = None,
    **settings: Any,
) -> Monitored:
    """Process every acquisition after the last one that a monitoring folder knows.

    Each is compared, with those before it, with a baseline; a rule of confirmation decides which
    alerts begin, are confirmed and end; connected alerts are events with an id that lasts.

    Parameters
    ----------
    cube
        The cube, extended since the last run or not.
    predictor
        A model, a conventional strategy, or anything else with ``expect``.
    to
        The monitoring folder; a new one at the first run.
    options
        How. Most must stay as they were at the first run.
    **settings
        Fields of ``MonitorOptions``, in place of ``options``.

    Returns
    -------
    Monitored
        Layers and events after the last acquisition; the folder has them as files.

    Raises
    ------
    SarcastError
        If the folder is of something else, of another cube, model or options, or locked; if the
        cube has an acquisition that is older than the last one processed but was not; or if the
        past is too short.

    Examples
    --------
    >>> alerts = sarcast.monitor(cube, model, to="alerts")  # doctest: +SKIP
    >>> alerts.events[alerts.events.state == "confirmed"]  # doctest: +SKIP
    """
    if options is not None and settings:
        raise UsageError(f"give options, or {', '.join(settings)} alone: not both")
    options = options or MonitorOptions(**settings)
    folder = Path(to)
    if options.notify is not None:
        notify.check_target(options.notify)
    with exclusive(folder):
        return _run(StateFolder(folder), crop(cube, options.area), predictor, options)


def _run(
    folder: StateFolder, part: Part, predictor: Predictor, options: MonitorOptions
) -> Monitored:
    folder.check()
    folder.clean()
    if options.replay_from is not None:
        go_back(folder, options.replay_from)
    present = acquisitions_of(part.cube)
    setting, state = _opened(folder, part, predictor, options)
    if state.record.known:
        notify.queue(folder.alerts, state.record, wanted=options.notify is not None)
    previous = predictor.previous or options.previous
    start = "" if state.record.known else first_of(part.cube, options, previous)
    acquisitions = new_acquisitions(present, state.record.known, start)
    _check_encoding(options, acquisitions, state.record)
    processed: list[dict[str, Any]] = []
    if acquisitions:
        setting = replace(setting, part=in_memory(part))
    keeper = NullKeeper(setting.part, predictor, setting.options, folder, options.renew_null)
    for acquisition in track(acquisitions, "monitoring", len(acquisitions)):
        state, summary = setting.process(state, acquisition, keeper)
        processed.append(summary)
    return _finished(setting, state, processed)


def go_back(folder: StateFolder, date: str) -> None:
    """Remove the states from a date on.

    Raises
    ------
    SarcastError
        If states before the date existed but none is kept.
    """
    moment = moment_of(date)
    numbers = folder.numbers()
    later = [number for number in numbers if folder.record(number).time >= moment]
    if not numbers or not later:
        return
    first = seconds_of(folder.record(numbers[0]).known[0].time)
    if len(later) == len(numbers) and moment > first:
        raise SarcastError(
            f"no state before {date} is kept (--replay-from); name a date after "
            f"{folder.record(numbers[0]).known[-1].time}, or {str(first)[:10]} to begin anew"
        )
    folder.remove(later)


def _check_encoding(options: MonitorOptions, new: Sequence[Known], record: Record) -> None:
    """Refuse dates that the encoding cannot hold before anything is processed."""
    known = [*record.known, *new]
    epoch = epoch_of(options.encoding)
    if known and np.datetime64(known[0].time[:10], "D") <= epoch:
        other = "" if options.encoding == "gfw" else " or --encoding gfw"
        raise SarcastError(
            f"the encoding {options.encoding} has dates after {epoch}, but the first acquisition "
            f"is of {known[0].time[:10]}; choose a later --start{other}"
        )


def _opened(
    folder: StateFolder, part: Part, predictor: Predictor, options: MonitorOptions
) -> tuple["_Setting", State]:
    """Read the last state, which must be of the same cube, model and options, or make a first."""
    grid: GeoBox = part.cube["backscatter"].odc.geobox
    bands = options.bands or bands_of(part.cube)
    made_from = {
        **options.fixed,
        **_identity(predictor),
        "grid": describe_grid(by_code(grid)),
        "bands": " ".join(bands),
    }
    setting = _Setting(folder, part, predictor, options.model_copy(update={"bands": bands}))
    if not (numbers := folder.numbers()):
        return setting, State.initial(grid.shape.yx, bands, made_from)
    _check_same(folder, folder.record(numbers[-1]), made_from)
    return setting, folder.read(numbers[-1], bands)


def _identity(predictor: Predictor) -> dict[str, str]:
    """Name of a predictor, and digest of its weights."""
    return {
        "model": predictor.name,
        "weights": predictor.weights_sha256[:16] if isinstance(predictor, Model) else "none",
        "scene context": str(predictor.uses_target),
    }


def _check_same(folder: StateFolder, record: Record, made_from: dict[str, str]) -> None:
    for name, wanted in made_from.items():
        if record.made_from.get(name) != wanted:
            raise SarcastError(
                f"{folder.alerts} was monitored with {name} {record.made_from.get(name)}, but "
                f"{name} is {wanted} here; use what it was begun with, or name another folder"
            )


def _finished(setting: "_Setting", state: State, processed: list[dict[str, Any]]) -> Monitored:
    """Write the files, deliver notifications, and sum up."""
    options, alerts, grid = setting.options, setting.folder.alerts, setting.grid
    record = state.record
    if processed or not is_current(alerts, record.id):
        provenance = {
            MONITOR: record.monitor,
            **model_properties(setting.predictor),
            "sarcast:rule": options.rule,
            "sarcast:encoding": options.encoding,
        }
        write_outputs(alerts, state, grid, options.encoding, provenance)
    left = notify.deliver(alerts, options.notify) if options.notify is not None else 0
    if not processed:
        _log.info(f"nothing new since {record.known[-1].time}")
    return Monitored(alerts, grid, state, tuple(processed), left)


@dataclass(frozen=True)
class _Setting:
    """What all acquisitions of a run have in common."""

    folder: StateFolder
    part: Part
    predictor: Predictor
    options: MonitorOptions

    @property
    def grid(self) -> GeoBox:
        grid: GeoBox = self.part.cube["backscatter"].odc.geobox
        return grid

    @property
    def min_pixels(self) -> int:
        """Fewest pixels of an event."""
        return max(1, math.ceil(self.options.min_area / pixel_ha(self.grid)))

    def process(
        self, state: State, acquisition: Known, keeper: NullKeeper
    ) -> tuple[State, dict[str, Any]]:
        """Join an acquisition to the state, on disk too."""
        before, time = state.record, acquisition.time
        watch = plan_watch(self.part.cube, watch_options(time, self.options.acquisitions))
        null, number, since = keeper.of(before, watch, time)
        observer = observer_of(self.part.cube, self.predictor, null.strata, self.options)
        watcher = Watcher(observer, null)
        sight = watcher.look_at(self._needed(watch), state.baselines)
        rule = self._rule(null)
        look = Look(seconds_of(time), self._metric(watcher, sight), sight.difference)
        layers = rule.advance(state.layers, look)
        step = state.tracked.advance(layers, look.day, self.min_pixels, self.grid)
        baselines = state.baselines.after(layers.status, look.time, watch.before)
        rows = history.rows_of(step, time, pixel_ha(self.grid))
        previous = before.id if before.number else ""
        record = Record(
            before.number + 1,
            (*before.known, acquisition),
            before.made_from,
            number,
            since,
            history.append(self.folder.alerts, before.history_bytes, rows),
            tuple(_notices(step, self.grid, time, previous)),
        )
        new = State(layers, baselines, step.tracked, record).sealed(previous)
        self.folder.write(new)
        notify.queue(self.folder.alerts, new.record, wanted=self.options.notify is not None)
        self.folder.prune()
        summary = {"time": time, **step.changed, "seen": round(float(look.seen.mean()), 4)}
        _write_log(self.folder.alerts, summary, renewed=number == record.number)
        return new, summary

    def _needed(self, watch: Watch) -> Watch:
        """Leave out the acquisitions that the rule does not look at; the baseline stays."""
        return replace(watch, targets=watch.targets[-1:]) if self.options.rule == "opera" else watch

    def _rule(self, null: Null) -> ConfirmationRule:
        if self.options.rule == "opera":
            return Opera(self.options.opera)
        return Sequential.of(null, self.options.false_events, self.options)

    def _metric(self, watcher: Watcher, sight: Sight) -> Float:
        """Metric of the rule, dims (y, x); NaN where the acquisition does not see the pixel."""
        if self.options.rule == "opera":
            return di.norm(sight.residuals.z[-1])
        return region_metric(*watcher.evidence(sight))


def _notices(step: Step, grid: GeoBox, time: str, previous: str) -> list[dict[str, Any]]:
    """Notifications of what an acquisition changed."""
    changed = {kind: step.changed[kind] for kind in notify.KINDS}
    frame = events_frame(step.tracked, grid, [i for ids in changed.values() for i in ids])
    rows = {row["id"]: _known(row) for row in with_points(frame).to_dict("records")}
    return [
        notify.notice(kind, number, time, previous, rows[number])
        for kind, ids in changed.items()
        for number in ids
        if number in rows
    ]


def _known(row: dict[Any, Any]) -> dict[str, Any]:
    """Return the values that are known, for JSON."""
    return {str(k): v for k, v in row.items() if not (isinstance(v, float) and math.isnan(v))}


def _write_log(alerts: Path, summary: dict[str, Any], *, renewed: bool) -> None:
    """Append a line about an acquisition."""
    counts = ", ".join(f"{len(v)} {name}" for name, v in summary.items() if isinstance(v, list))
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{now} acquisition {summary['time']}: sees {100.0 * summary['seen']:.1f} %; {counts}"
    with (alerts / LOG).open("a", encoding="utf-8") as file:
        file.write(line + ("; null distributions renewed" if renewed else "") + "\n")
