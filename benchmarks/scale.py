"""A country every night: core hours, GPU hours and storage on paper, and the same in a simulation.

    python -m benchmarks.scale measure CUBE [--model base] [--acquisitions 4]
    python -m benchmarks.scale paper [--slots 64]
    python -m benchmarks.scale simulate [--workers 8] [--threads 8] [--seconds 100] [--seed 0]

``measure`` monitors the last acquisitions of a cube and prints core seconds per megapixel by stage
and bytes per pixel; ``MEASURED`` holds what it and other benchmarks gave. ``paper`` multiplies
these by the pixels of a night. ``simulate`` runs the same night on a Dask cluster on loopback,
whose tasks sleep as long as measured, shortened by one factor so that the work takes ``--seconds``:
once as a graph of all tasks, once by the executor of ``sarcast``, which submits two tasks a slot in
order, and once with a worker that is killed halfway.
"""

import argparse
import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sarcast.cube import open_cube
from sarcast.cube.executor import WorkerOptions, start_workers
from sarcast.monitoring import monitor as monitoring
from sarcast.monitoring.nulls import NullKeeper
from sarcast.monitoring.watcher import Watcher
from sarcast.prediction import DEFAULT_CONTEXT, DEFAULT_PRECISION
from sarcast.prediction.predictors import load_predictor

MEGA = 1e6


@dataclass(frozen=True)
class Rates:
    """What a megapixel of one acquisition costs.

    Attributes
    ----------
    extend, residuals, evidence, join, write
        Core seconds per megapixel: reading, warping and storing two bands; expected images and
        residuals of the four acquisitions that are watched; statistics, p-values and regions; rule,
        events and state; rasters and vectors of the monitoring folder.
    replays
        Core seconds per megapixel to replay the past, when null distributions are renewed.
    network, network_replays
        What a GPU takes over of ``residuals`` and ``replays``, core seconds per megapixel.
    gpu
        GPU seconds per megapixel of one expected image, without the overlap of tiles.
    cube_bytes, state_bytes, output_bytes
        Bytes per pixel: of an acquisition in the cube, of one state, of the monitoring folder's
        rasters.
    """

    extend: float
    residuals: float
    evidence: float
    join: float
    write: float
    replays: float
    network: float
    network_replays: float
    gpu: float
    cube_bytes: float
    state_bytes: float
    output_bytes: float


BUILD_VALUES_PER_S, BUILD_CORES = 15.4e6, 2
"""``python -m benchmarks.cube --side-km 50 --scenes 40``, docs/results/, "Ingest"."""
GPU_S_PER_MPX = 0.036
"""H200, 16 images, compiled: ``python -m benchmarks.speed``, docs/results/."""
TARGETS, REPLAYS, OVERLAP = 4, 8, 0.25
"""Acquisitions watched together, replays of the past, overlap of tiles: defaults of ``monitor``."""

MEASURED = Rates(
    extend=2 * MEGA * BUILD_CORES / BUILD_VALUES_PER_S,
    residuals=32.03,
    evidence=3.25,
    join=0.38,
    write=0.49,
    replays=297.1,
    network=32.03 - 2.19,
    network_replays=297.1 - 53.7,
    gpu=GPU_S_PER_MPX,
    cube_bytes=2.99,
    state_bytes=1.04,
    output_bytes=3.46,
)
"""Core seconds and bytes: ``measure`` with ``base``, less ``measure --model mean`` for what is not
the network, on the cube that docs/results/scale.md names."""


@dataclass(frozen=True)
class Country:
    """What is monitored: an area seen once in ``revisit_days``, an equal part of it each night."""

    area_km2: float = 400_000.0
    spacing_m: float = 10.0
    revisit_days: float = 6.0
    renew_days: float = 90.0
    block_px: int = 512
    cube_px: int = 5000

    @property
    def pixels(self) -> float:
        """Pixels of all of it."""
        return self.area_km2 * 1e6 / self.spacing_m**2

    @property
    def night_mpx(self) -> float:
        """Megapixels of a night."""
        return self.pixels / self.revisit_days / MEGA

    @property
    def blocks(self) -> int:
        """Blocks of a night."""
        return math.ceil(self.night_mpx * MEGA / self.block_px**2)

    @property
    def cubes(self) -> int:
        """Cubes of all of it."""
        return math.ceil(self.pixels / self.cube_px**2)

    @property
    def renewed_share(self) -> float:
        """Share of the blocks whose null distributions are renewed in a night."""
        return self.revisit_days / self.renew_days


# --- measured -------------------------------------------------------------------------------------


def measure(
    path: Path, model: str, acquisitions: int, settings: Mapping[str, Any]
) -> dict[str, float]:
    """Core seconds per megapixel by stage, and bytes per pixel, of the last acquisitions of a cube.

    The first of them replays the past. ``settings`` are fields of ``MonitorOptions``.
    """
    cube = open_cube(path).drop_vars("expected", errors="ignore")
    predictor = load_predictor(Path(model), precision=DEFAULT_PRECISION, context=DEFAULT_CONTEXT)
    pixels = cube.sizes["y"] * cube.sizes["x"]
    start = str(np.sort(cube["time"].values)[-acquisitions].astype("datetime64[s]"))
    stages = {
        "replays": (NullKeeper, "_measured"),
        "residuals": (Watcher, "look_at"),
        "evidence": (Watcher, "evidence"),
        "all": (monitoring._Setting, "process"),
        "write": (monitoring, "write_outputs"),
    }
    with tempfile.TemporaryDirectory() as name, _timed(stages) as seconds:
        folder = Path(name) / "alerts"
        monitoring.monitor(cube, predictor, to=folder, start=start, **settings)
        state = max((folder / "state").glob("0*"))
        sizes = {
            "cube_bytes": _bytes(path / "backscatter") / cube.sizes["time"] / pixels,
            "state_bytes": _bytes(state) / pixels,
            "output_bytes": sum(each.stat().st_size for each in folder.glob("*.tif")) / pixels,
        }
    each = {stage: sum(times) / len(times) / (pixels / MEGA) for stage, times in seconds.items()}
    total = sum(seconds["all"]) - sum(seconds["replays"])
    whole = total / len(seconds["all"]) / (pixels / MEGA)
    each["join"] = whole - each["residuals"] - each["evidence"]
    del each["all"]
    return {**each, **sizes}


@contextmanager
def _timed(stages: dict[str, tuple[Any, str]]) -> Iterator[dict[str, list[float]]]:
    """Record the core seconds of each call of some functions."""
    seconds: dict[str, list[float]] = {stage: [] for stage in stages}
    originals = {stage: getattr(owner, name) for stage, (owner, name) in stages.items()}

    def recording(stage: str) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            started = time.process_time()
            try:
                return originals[stage](*words, **more)
            finally:
                seconds[stage].append(time.process_time() - started)

        return call

    try:
        for stage, (owner, name) in stages.items():
            setattr(owner, name, recording(stage))
        yield seconds
    finally:
        for stage, (owner, name) in stages.items():
            setattr(owner, name, originals[stage])


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- on paper -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A stage of a block: its seconds on one core."""

    block: int
    stage: str
    seconds: float


def stages_of(rates: Rates, mpx: float, *, renewed: bool) -> dict[str, float]:
    """Core seconds of the stages of a block of so many megapixels."""
    evidence = rates.residuals + rates.evidence + (rates.replays if renewed else 0.0)
    per_mpx = {
        "extend": rates.extend, "evidence": evidence, "join": rates.join, "write": rates.write,
    }  # fmt: skip
    return {stage: seconds * mpx for stage, seconds in per_mpx.items()}


def night_of(country: Country, rates: Rates, rng: np.random.Generator) -> list[list[Task]]:
    """Tasks of a night: of each block its stages in order; some blocks replay their past."""
    renewed = np.zeros(country.blocks, dtype=bool)
    renewed[: round(country.renewed_share * country.blocks)] = True
    mpx = country.block_px**2 / MEGA
    return [
        [Task(block, *each) for each in stages_of(rates, mpx, renewed=bool(flag)).items()]
        for block, flag in enumerate(rng.permutation(renewed))
    ]


@dataclass(frozen=True)
class Estimate:
    """A night on so many slots, one core each.

    Attributes
    ----------
    core_s
        Core seconds of all tasks.
    least_s, most_s
        Bounds of the makespan of any order in which no slot idles (Graham 1969, equation 3): all
        work shared evenly, and that plus what is left of the longest chain.
    """

    core_s: float
    least_s: float
    most_s: float


def estimate(night: Sequence[Sequence[Task]], slots: int, scale: float = 1.0) -> Estimate:
    """Estimate a night on paper."""
    chains = [scale * sum(task.seconds for task in block) for block in night]
    even = sum(chains) / slots
    return Estimate(sum(chains), even, even + (1.0 - 1.0 / slots) * max(chains))


def paper(country: Country, rates: Rates, slots: int) -> str:
    """A table of what a night costs."""
    night = night_of(country, rates, np.random.default_rng(0))
    found = estimate(night, slots)
    hours = {stage: 0.0 for stage in ("extend", "evidence", "join", "write")}
    for block in night:
        for task in block:
            hours[task.stage] += task.seconds / 3600.0
    images = TARGETS * (1.0 + REPLAYS * country.renewed_share) / (1.0 - OVERLAP) ** 2
    network = rates.network + rates.network_replays * country.renewed_share
    host = found.core_s - network * country.night_mpx
    worst = estimate(
        [[Task(0, *each) for each in stages_of(rates, country.night_mpx, renewed=True).items()]], 1
    )
    acquisitions = 365.25 / country.revisit_days
    gb = country.pixels / 1e9
    rows = {
        "pixels of the country; of a night": (
            f"{country.pixels / 1e9:.1f} billion; {country.night_mpx:.0f} megapixels, "
            f"{country.blocks} blocks of {country.block_px}², {4 * country.blocks} tasks"
        ),
        "core hours a night": f"{found.core_s / 3600.0:.1f}: "
        + ", ".join(f"{stage} {value:.2f}" for stage, value in hours.items()),
        "core hours a night beside GPUs": f"{host / 3600.0:.1f}",
        "core hours if all cubes renew in one night": f"{worst.core_s / 3600.0:.1f}",
        f"makespan on {slots} cores": f"{found.least_s:.0f} to {found.most_s:.0f} s",
        "GPU hours a night, expected images": (
            f"{country.night_mpx * images * rates.gpu / 3600.0:.2f}"
        ),
        "cube, a year": f"{gb * rates.cube_bytes * acquisitions / 1000.0:.2f} TB",
        "states kept, the last four and one a month": f"{gb * rates.state_bytes * 16:.0f} GB",
        "rasters of the alerts": f"{gb * rates.output_bytes:.0f} GB",
    }
    return "\n".join(
        ["| what | result |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]
    )


# --- simulated ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """A simulated night: seconds from the first submission to the last result, and executions."""

    makespan_s: float
    executions: int


def nap(seconds: float, log: str, *_after: object) -> None:
    """Sleep, and note it in a file."""
    time.sleep(seconds)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b".")
    os.close(descriptor)


def nap_through(seconds: Sequence[float], log: str) -> None:
    """Sleep through all stages of a block."""
    for each in seconds:
        nap(each, log)


def as_graph(client: Any, night: Sequence[Sequence[Task]], scale: float, log: str) -> None:
    """Submit every task at once; each waits for the stage before."""
    last = []
    for block in night:
        done = None
        for task in block:
            done = client.submit(
                nap, scale * task.seconds, log, *([] if done is None else [done]), pure=False
            )
        last.append(done)
    client.gather(last)


def by_executor(address: str, night: Sequence[Sequence[Task]], scale: float, log: str) -> None:
    """Submit blocks as ``sarcast`` does: two a slot, with results in order."""
    calls = [([scale * task.seconds for task in block], log) for block in night]
    with start_workers(WorkerOptions(scheduler=address)) as workers:
        for future in workers.submit_each(nap_through, calls):
            future.result()


def run(work: Callable[[str], None]) -> Outcome:
    """Time a simulated night."""
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "log"
        started = time.perf_counter()
        work(str(log))
        return Outcome(time.perf_counter() - started, log.stat().st_size)


@contextmanager
def cluster(workers: int, threads: int) -> Iterator[tuple[Any, str]]:
    """A Dask cluster of processes that listens on loopback alone."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
        ) as started,
        Client(started) as client,
    ):
        client.wait_for_workers(workers)
        yield client, started.scheduler_address


def kill_one(client: Any, after_s: float) -> threading.Timer:
    """Kill a worker process after some seconds; its nanny starts another."""
    process = next(iter(client.run(os.getpid).values()))
    timer = threading.Timer(after_s, os.kill, (process, signal.SIGKILL))
    timer.start()
    return timer


def simulate(
    country: Country, rates: Rates, workers: int, threads: int, seconds: float, seed: int
) -> str:
    """Simulate a night in several ways; a table beside the estimate."""
    night = night_of(country, rates, np.random.default_rng(seed))
    slots = workers * threads
    scale = seconds / estimate(night, slots).least_s
    expected = estimate(night, slots, scale)
    tasks = sum(map(len, night))
    with cluster(workers, threads) as (client, address):
        idle = run(lambda log: as_graph(client, night, 0.0, log))
        graph = run(lambda log: as_graph(client, night, scale, log))
        executor = run(lambda log: by_executor(address, night, scale, log))
        timer = kill_one(client, seconds / 2.0)
        killed = run(lambda log: as_graph(client, night, scale, log))
        timer.join()
    rows = [
        ("on paper", f"{expected.least_s:.1f} to {expected.most_s:.1f}", tasks),
        ("graph of all tasks", f"{graph.makespan_s:.1f}", graph.executions),
        ("executor of sarcast, a task a block", f"{executor.makespan_s:.1f}", executor.executions),
        ("graph, a worker killed halfway", f"{killed.makespan_s:.1f}", killed.executions),
        ("graph, tasks that do nothing", f"{idle.makespan_s:.1f}", idle.executions),
    ]
    lines = [f"| {name} | {time_s} | {count} |" for name, time_s, count in rows]
    return "\n".join(
        [
            f"{tasks} tasks, {slots} slots in {workers} processes, time shortened to {scale:.4f}; "
            f"scheduler: {1000.0 * idle.makespan_s / tasks:.2f} ms a task",
            "",
            "| night | makespan, s | stages run |",
            "|---|---|---|",
            *lines,
        ]
    )


def main(words: Sequence[str] | None = None) -> None:
    """Run a benchmark; ``words`` default to the command line's."""
    chosen = _arguments(words)
    country = Country()
    if chosen.what == "measure":
        for name, value in measure(chosen.cube, chosen.model, chosen.acquisitions, {}).items():
            print(f"{name} {value:.3f}")
    elif chosen.what == "paper":
        print(paper(country, MEASURED, chosen.slots))
    else:
        print(
            simulate(country, MEASURED, chosen.workers, chosen.threads, chosen.seconds, chosen.seed)
        )


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="what", required=True)
    verb = verbs.add_parser("measure")
    verb.add_argument("cube", type=Path)
    verb.add_argument("--model", default="base")
    verb.add_argument("--acquisitions", type=int, default=4)
    verb = verbs.add_parser("paper")
    verb.add_argument("--slots", type=int, default=64)
    verb = verbs.add_parser("simulate")
    verb.add_argument("--workers", type=int, default=8)
    verb.add_argument("--threads", type=int, default=8)
    verb.add_argument("--seconds", type=float, default=100.0)
    verb.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
