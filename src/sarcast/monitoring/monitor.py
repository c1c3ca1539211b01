"""Monitoring: every new acquisition of a cube, in order, from the state that earlier runs left."""

import datetime as dt
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcast.cube.dates import moment_of
from sarcast.cube.schema import describe_grid
from sarcast.detection.area import Area, open_area
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
from sarcast.monitoring.advance import Metric, NormMetric, PeakMetric, Shown, advance_pixels
from sarcast.monitoring.alerts import Site
from sarcast.monitoring.confirmation import ConfirmationRule, Opera
from sarcast.monitoring.events import Step
from sarcast.monitoring.layers import Layers, day_of
from sarcast.monitoring.nulls import NullKeeper
from sarcast.monitoring.options import MonitorOptions
from sarcast.monitoring.output import (
    epoch_of,
    events_frame,
    is_current,
    write_outputs,
)
from sarcast.monitoring.pixels import Pixels
from sarcast.monitoring.schedule import acquisitions_of, first_of, new_acquisitions, watch_options
from sarcast.monitoring.sequential import Sequential
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
        After the last acquisition; its pixels are in memory where the area is one block, else they
        are read from the folder, which keeps the last four states.
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

    @cached_property
    def layers(self) -> Layers:
        """What is known of each pixel, all of it in memory."""
        self._check_kept()
        return self.state.pixels.layers()

    @cached_property
    def events(self) -> "geopandas.GeoDataFrame":
        """Events as in ``events.gpkg``."""
        self._check_kept()
        return events_frame(self.state.tracked, self.grid)

    def _check_kept(self) -> None:
        """Raise if the pixels were on disk and are there no longer."""
        record, folder = self.state.record, StateFolder(self.folder)
        if self.state.is_in_memory:
            return
        if record.number not in folder.numbers() or folder.record(record.number) != record:
            raise SarcastError(
                f"later runs have removed state {record.number} of {self.folder}; use what the "
                f"last run gave"
            )

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
    >>> cube, model = sarcast.open_cube("area.zarr"), sarcast.load_model("base")
    >>> alerts = sarcast.monitor(cube, model, to="alerts", start="2024-12-01")
    >>> confirmed = alerts.events[alerts.events.state == "confirmed"]
    >>> again = sarcast.monitor(cube, model, to="alerts", start="2024-12-01")
    >>> len(again.processed)  # nothing is new
    0
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
    setting, state = _opened(folder, Area(part, options.block), predictor, options)
    if state.record.known:
        notify.queue(folder.alerts, state.record, wanted=options.notify is not None)
    previous = options.for_network(predictor.previous).fewest
    start = "" if state.record.known else first_of(part.cube, options, previous)
    acquisitions = new_acquisitions(present, state.record.known, start)
    _check_encoding(options, acquisitions, state.record)
    processed: list[dict[str, Any]] = []
    if acquisitions:
        with setting.opened() as ready:
            keeper = NullKeeper(ready.area, predictor, ready.options, folder, options.renew_null)
            for acquisition in track(acquisitions, "monitoring", len(acquisitions)):
                state, summary = ready.process(state, acquisition, keeper)
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
    folder: StateFolder, area: Area, predictor: Predictor, options: MonitorOptions
) -> tuple["_Setting", State]:
    """Read the last state, which must be of the same cube, model and options, or make a first."""
    grid = area.grid
    bands = options.bands or bands_of(area.part.cube)
    made_from = {
        **options.fixed,
        **_identity(predictor),
        "grid": describe_grid(by_code(grid)),
        "bands": " ".join(bands),
    }
    setting = _Setting(folder, area, predictor, options.model_copy(update={"bands": bands}))
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
    options, alerts, grid = setting.options, setting.folder.alerts, setting.area.grid
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
    state = state.in_memory() if setting.area.is_one_block else state
    return Monitored(alerts, grid, state, tuple(processed), left)


@dataclass(frozen=True)
class _Setting:
    """What all acquisitions of a run have in common."""

    folder: StateFolder
    area: Area
    predictor: Predictor
    options: MonitorOptions

    @contextmanager
    def opened(self) -> Iterator["_Setting"]:
        """Give the same with workers, and a folder for intermediate results."""
        with (
            self.folder.scratch() as scratch,
            open_area(self.area.part, self.options, scratch) as area,
        ):
            yield replace(self, area=area)

    @property
    def site(self) -> Site:
        """Where events are followed."""
        grid = self.area.grid
        fewest = max(1, math.ceil(self.options.min_area / pixel_ha(grid)))
        return Site(grid, fewest, self.area.each)

    def process(
        self, state: State, acquisition: Known, keeper: NullKeeper
    ) -> tuple[State, dict[str, Any]]:
        """Join an acquisition to the state, on disk too."""
        before, time = state.record, acquisition.time
        watch = plan_watch(self.area.part.cube, watch_options(time, self.options.acquisitions))
        null, number, since = keeper.of(before, watch, time)
        shape, bands = state.pixels.shape, state.pixels.bands
        with self.area.with_scratch() as area, self.folder.draft(shape, bands) as target:
            shown = self._shown(state, watch, null, area, seconds_of(time))
            rule = self._rule(null)
            seen, unfixed = advance_pixels(state.pixels, shown, rule, area, null.strata, target)
            fixed = unfixed.fix(state.fixed, watch.before, target)
            step = state.tracked.advance(target, day_of(shown.time), self.site, target["event"])
            previous = before.id if before.number else ""
            record = Record(
                before.number + 1,
                (*before.known, acquisition),
                before.made_from,
                number,
                since,
                self._appended(before, step, time),
                tuple(_notices(step, area.grid, time, previous)),
                fixed=fixed.stored,
            )
            new = State(Pixels(target), step.tracked, record).sealed(previous, area.each)
            new = self.folder.write(new)
        notify.queue(self.folder.alerts, new.record, wanted=self.options.notify is not None)
        self.folder.prune()
        share = seen / (shape[0] * shape[1])
        summary = {"time": time, **step.changed, "seen": round(share, 4)}
        _write_log(self.folder.alerts, summary, renewed=number == record.number)
        return new, summary

    def _appended(self, before: Record, step: Step, time: str) -> int:
        """Append to the history, and give its valid bytes."""
        rows = history.rows_of(step, time, pixel_ha(self.area.grid))
        return history.append(self.folder.alerts, before.history_bytes, rows)

    def _shown(
        self, state: State, watch: Watch, null: Null, area: Area, time: np.datetime64
    ) -> Shown:
        """What an acquisition shows."""
        observer = observer_of(area.part.cube, self.predictor, null.strata, self.options)
        watcher = Watcher(observer, null, area)
        codes = state.pixels.arrays["baseline"]
        sight = watcher.look_at(self._needed(watch), codes, state.fixed)
        return Shown(time, self._metric(watcher, sight), sight.difference, observer.outline_px)

    def _needed(self, watch: Watch) -> Watch:
        """Leave out the acquisitions that the rule does not look at; the baseline stays."""
        return replace(watch, targets=watch.targets[-1:]) if self.options.rule == "opera" else watch

    def _rule(self, null: Null) -> ConfirmationRule:
        if self.options.rule == "opera":
            return Opera(self.options.opera)
        return Sequential.of(null, self.options.false_events, self.options)

    def _metric(self, watcher: Watcher, sight: Sight) -> Metric:
        if self.options.rule == "opera":
            return NormMetric(sight.residuals)
        return PeakMetric(*watcher.evidence(sight))


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
