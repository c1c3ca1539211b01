"""Monitoring of worlds, night by night: delays and false events of both rules; joining many events.

    python -m benchmarks.monitoring worlds --to DIR [--presets boreal] [--seeds 0 1] [--model mean]
        [--rules sequential opera] [--size-km 4] [--start 2021-01-01] [--end 2023-12-31]
        [--false-events 2]
    python -m benchmarks.monitoring join [--events 10000] [--acquisitions 200]

``worlds``: worlds of two tracks with their own changes, all acquisitions that can be monitored.
To be confirmed are changes of 0.5 ha or more that move the oracle's images by 1 dB or more in a
band and are followed by eight acquisitions. The delay counts the acquisitions from the first one
after the change to the one that confirmed it, both included. A confirmed event is false if it does
not touch a change of any size that had happened by then. Each row is one ``NAME.json``; a row that
exists is not computed anew; ``monitoring.md`` has all rows.

``join``: seconds and core seconds to join an acquisition to so many events, the state on disk
included.
"""

import argparse
import datetime as dt
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from benchmarks.detection import make_world
from sarcast.cube import open_cube
from sarcast.detection.runs import HISTORY
from sarcast.evaluation.detection.truth import no_changes, read_truth, with_magnitudes
from sarcast.io.scratch import Array
from sarcast.monitoring import history
from sarcast.monitoring.alerts import Site
from sarcast.monitoring.layers import Layers, Status
from sarcast.monitoring.monitor import Monitored, monitor
from sarcast.monitoring.output import events_frame
from sarcast.monitoring.pixels import Pixels, parts_of, write_part
from sarcast.monitoring.state import Known, Record, State, StateFolder
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION
from sarcast.prediction.predictors import load_predictor
from sarcast.world.options import WorldOptions

MIN_AREA_HA, MIN_MAGNITUDE_DB, FOLLOWING = 0.5, 1.0, 8
"""Changes that should be confirmed, and acquisitions that must follow them."""


@dataclass(frozen=True)
class Score:
    """What monitoring of a world found.

    Attributes
    ----------
    changes, confirmed_changes
        Changes that should be confirmed, and those that were.
    delays
        Acquisitions from each confirmed change to its confirmation.
    events, false_events
        Confirmed events, and those that touch no change.
    exposure
        Judged area times acquisitions, 1 000 km².
    """

    changes: int
    confirmed_changes: int
    delays: tuple[int, ...]
    events: int
    false_events: int
    exposure: float

    def __add__(self, other: "Score") -> "Score":
        return Score(*(a + b for a, b in zip(self.values, other.values, strict=True)))

    @property
    def values(self) -> tuple:
        """All of it, in order."""
        return tuple(asdict(self).values())


def main(words: Sequence[str] | None = None) -> None:
    """Run a benchmark; ``words`` default to the command line's."""
    options = _arguments(words)
    if options.what == "join":
        seconds, cores = join_time(options.events, options.acquisitions)
        print(f"{seconds:.2f} s, {cores:.2f} core s, to join an acquisition")
        return
    options.to.mkdir(parents=True, exist_ok=True)
    rows = {
        f"{preset}, {options.model}, {rule}": [
            world_score(options, preset, seed, rule) for seed in options.seeds
        ]
        for preset in options.presets
        for rule in options.rules
    }
    text = markdown(rows)
    (options.to / "monitoring.md").write_text(text, encoding="utf-8")
    print(text)


# --- worlds ---------------------------------------------------------------------------------------


def world_score(options: argparse.Namespace, preset: str, seed: int, rule: str) -> Score:
    """Monitor a world and score it, unless its row exists."""
    stem = f"{preset}-{seed}-{options.model}-{rule}-{options.false_events:g}"
    path = options.to / f"{stem}.json"
    if path.exists():
        row = json.loads(path.read_text())
        return Score(**{**row, "delays": tuple(row["delays"])})
    drawn = WorldOptions(
        preset=preset, size_km=options.size_km, start=options.start, end=options.end
    )
    folder = make_world(options.to / f"{preset}-{seed}", drawn, seed)
    cube = open_cube(folder / "cube.zarr")
    predictor = load_predictor(
        Path(options.model), precision=DEFAULT_PRECISION, context=DEFAULT_CONTEXT
    )
    settings = {"rule": rule, "false_events": options.false_events}
    plain = cube.drop_vars("expected")  # the oracle, which is for the truth alone
    found = monitor(plain, predictor, to=options.to / stem, **settings)
    result = score(found, cube, changes_of(folder / "world", cube))
    path.write_text(json.dumps(asdict(result)))
    print(stem, result, flush=True)
    return result


def changes_of(area: Path, cube: xr.Dataset) -> gpd.GeoDataFrame:
    """Changes of a world with their magnitudes in its cube."""
    path, grid = area / "truth" / "changes.gpkg", cube.odc.geobox
    truth = no_changes(grid) if gpd.read_file(path).empty else read_truth(path, grid)
    return with_magnitudes(truth, cube, FOLLOWING)


def score(found: Monitored, cube: xr.Dataset, truth: gpd.GeoDataFrame) -> Score:
    """Compare confirmed events with the changes of a world."""
    times = np.sort(cube["time"].values).astype("datetime64[s]")
    first = np.datetime64(found.state.record.known[0].time.removesuffix("Z"), "s")
    events = confirmed_events(found)
    earliest, latest = (truth[name].to_numpy("datetime64[s]") for name in ("earliest", "latest"))
    counted = (earliest >= first) & (latest <= times[-FOLLOWING])
    counted &= truth["area_ha"].to_numpy() >= MIN_AREA_HA
    counted &= truth["magnitude_db"].to_numpy() >= MIN_MAGNITUDE_DB
    delays = [
        delay
        for change in truth[counted].itertuples()
        if (delay := _delay(change, events, times)) is not None
    ]
    true = [
        bool((truth.intersects(event.geometry) & (earliest <= event.confirmed)).any())
        for event in events.itertuples()
    ]
    judged = (found.layers.status != Status.NO_DATA).sum()
    area = judged * abs(found.grid.resolution.x * found.grid.resolution.y) / 1e6
    return Score(
        int(counted.sum()),
        len(delays),
        tuple(delays),
        len(events),
        len(events) - sum(true),
        float(area * len(found.state.record.known) / 1000.0),
    )


def confirmed_events(found: Monitored) -> gpd.GeoDataFrame:
    """Confirmed and finished events with the time of their confirmation."""
    frame = events_frame(found.state.tracked, found.grid)
    frame = frame[frame["confirmed_date"] != ""].reset_index(drop=True)
    table = pd.read_csv(found.folder / HISTORY)
    table = table[table["state"] == "confirmed"].groupby("id")["date"].min()
    dates = [table[number].removesuffix("Z") for number in frame["id"]]
    return frame.assign(confirmed=np.array(dates, dtype="datetime64[s]"))


def _delay(change: object, events: gpd.GeoDataFrame, times: np.ndarray) -> int | None:
    """Acquisitions from a change to the confirmation of the first event that touches it."""
    earliest, latest = (np.datetime64(getattr(change, n), "s") for n in ("earliest", "latest"))
    touching = events[events.intersects(change.geometry) & (events["confirmed"] > earliest)]
    if touching.empty:
        return None
    first = touching["confirmed"].min().to_datetime64().astype("datetime64[s]")
    return int(((times >= latest) & (times <= first)).sum())


def markdown(rows: dict[str, list[Score]]) -> str:
    """Return a table, one line a row of worlds."""
    lines = [
        "| worlds, model, rule | changes | confirmed | delay, median (90 %) | confirmed events | "
        "false | false per 1 000 km² and acquisition |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, scores in rows.items():
        total = sum(scores[1:], start=scores[0])
        delays = np.quantile(total.delays, (0.5, 0.9)) if total.delays else (np.nan, np.nan)
        lines.append(
            f"| {name} | {total.changes} | {total.confirmed_changes} | {delays[0]:.1f} "
            f"({delays[1]:.1f}) | {total.events} | {total.false_events} | "
            f"{total.false_events / total.exposure:.2f} |"
        )
    return "\n".join(lines) + "\n"


# --- joining many events --------------------------------------------------------------------------


def join_time(events: int, acquisitions: int, *, spacing: int = 25) -> tuple[float, float]:
    """Seconds, and core seconds, to join an acquisition to so many events; means of the last five.

    The events are squares that grow and shrink; a hundredth of them ends and begins at each
    acquisition.
    """
    side = int(np.ceil(np.sqrt(events)))
    pixels = side * spacing
    grid = GeoBox((pixels, pixels), Affine(10.0, 0.0, 5e5, 0.0, -10.0, 7e6), "EPSG:32635")
    with tempfile.TemporaryDirectory() as name:
        folder = StateFolder(Path(name))
        folder.path.mkdir()
        state = State.initial((pixels, pixels), ("VV", "VH"), {})
        seconds = []
        for number, layers in enumerate(_acquisitions(side, spacing, acquisitions)):
            started = np.array([time.perf_counter(), time.process_time()])
            state = _joined(folder, state, layers, number, grid)
            seconds.append([time.perf_counter(), time.process_time()] - started)
        print(f"{len(state.tracked.table)} events in all, {len(state.tracked.live)} live")
    wall, cores = np.mean(seconds[-5:], axis=0).tolist()
    return wall, cores


def _acquisitions(side: int, spacing: int, count: int) -> Iterator[Layers]:
    """Layers of so many acquisitions."""
    rng = np.random.default_rng(0)
    empty = Layers.empty((side * spacing, side * spacing), 2)
    empty = empty.updated(np.ones(empty.shape, dtype=bool), status=Status.NONE)
    rows, columns = (index % spacing for index in np.indices(empty.shape))
    for number in range(count):
        sizes = rng.integers(8, 20, (side, side)) * (rng.random((side, side)) > 0.01)
        size = sizes.repeat(spacing, axis=0).repeat(spacing, axis=1)
        where = (rows < size) & (columns < size)
        yield empty.updated(
            where,
            status=Status.CONFIRMED_LOW,
            first_day=18_700,
            duration=6 * number + 1,
            greatest_metric=5.0,
            magnitude=-3.0,
        )


def _joined(folder: StateFolder, state: State, layers: Layers, number: int, grid: GeoBox) -> State:
    with folder.draft(layers.shape, layers.bands) as target:
        for box in parts_of(layers.shape):
            write_part(target, box, layers.block(*box), state.pixels.baselines(box))
        return _written(folder, state, target, number, grid)


def _written(
    folder: StateFolder, state: State, target: Mapping[str, Array], number: int, grid: GeoBox
) -> State:
    day = 18_700 + 6 * number
    step = state.tracked.advance(target, day, Site(grid, 30), target["event"])
    when = f"{np.datetime64(day, 'D')}T04:51:02Z"
    rows = history.rows_of(step, when, 0.01)
    length = history.append(folder.alerts, state.record.history_bytes, rows)
    known = (*state.record.known, Known(when, "", ""))
    record = Record(number + 1, known, {}, 1, when, length)
    state = folder.write(State(Pixels(target), step.tracked, record).sealed(""))
    folder.prune()
    return state


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="what", required=True)
    verb = verbs.add_parser("worlds")
    verb.add_argument("--to", type=Path, required=True)
    verb.add_argument("--presets", nargs="+", default=["boreal"])
    verb.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    verb.add_argument("--model", default="mean")
    verb.add_argument("--rules", nargs="+", default=["sequential", "opera"])
    verb.add_argument("--size-km", type=float, default=4.0)
    verb.add_argument("--start", type=dt.date.fromisoformat, default=dt.date(2021, 1, 1))
    verb.add_argument("--end", type=dt.date.fromisoformat, default=dt.date(2023, 12, 31))
    verb.add_argument("--false-events", type=float, default=2.0)
    verb = verbs.add_parser("join")
    verb.add_argument("--events", type=int, default=10_000)
    verb.add_argument("--acquisitions", type=int, default=200)
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
