"""One worker of a Dask cluster against two: time of a detection over a large area.

python -m benchmarks.scheduler CUBE [--size 3000] [--workers 1,2] [--model mean] [--acquisitions 3]

The last dates of CUBE are repeated until they have the rows and columns asked for, as in
``benchmarks.scenes``. Each worker is a process of one thread on loopback. Before the time is taken,
the workers detect in a small part of the cube, so that starting them does not count.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from benchmarks.scenes import repeated
from sarcast.cube import open_cube
from sarcast.detection.detect import Detection, DetectOptions, detect
from sarcast.prediction import DEFAULT_CONTEXT
from sarcast.prediction.predictors import load_predictor
from sarcast.windows import Predictor

SMALL_PX = 256
"""Side of the area by which workers are warmed up, pixels."""


@dataclass(frozen=True)
class Outcome:
    """A detection on so many workers.

    Attributes
    ----------
    seconds
        From the connection to the scheduler to the result, whose rasters are still to be written.
    own_seconds
        Processor time of this process, all its threads together.
    evidence
        Dims (y, x), by which results are compared.
    """

    seconds: float
    own_seconds: float
    evidence: npt.NDArray[np.float32]


@contextmanager
def cluster(workers: int, **settings: Any) -> Iterator[str]:
    """Address of the scheduler of worker processes of one thread, which listen on loopback.

    Parameters
    ----------
    workers
        Number of processes.
    **settings
        Further ones of a ``LocalCluster``.
    """
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs="CRITICAL",
        **settings,
    ) as started:
        yield started.scheduler_address


def timed(cube: xr.Dataset, predictor: Predictor, options: DetectOptions) -> Outcome:
    """Time a detection on the scheduler of the options."""
    with tempfile.TemporaryDirectory() as folder:
        started, used = time.perf_counter(), time.process_time()
        found: Detection = detect(cube, predictor, options=options, scratch=Path(folder))
        seconds, own = time.perf_counter() - started, time.process_time() - used
        return Outcome(seconds, own, found.images["evidence"].values)


def compared(
    cube: xr.Dataset, predictor: Predictor, options: DetectOptions, counts: Sequence[int]
) -> dict[int, Outcome]:
    """Time the same detection on clusters of so many workers, by their number.

    Raises
    ------
    ValueError
        If their results are not equal.
    """
    found: dict[int, Outcome] = {}
    small = cube.isel(y=slice(SMALL_PX), x=slice(SMALL_PX))
    for count in counts:
        with cluster(count) as address:
            there = options.model_copy(update={"scheduler": address})
            timed(small, predictor, there.model_copy(update={"block": SMALL_PX // 2, "replays": 2}))
            found[count] = timed(cube, predictor, there)
        if not np.array_equal(found[count].evidence, found[counts[0]].evidence, equal_nan=True):
            raise ValueError(f"{count} workers find other evidence than {counts[0]}")
    return found


def table(outcomes: Mapping[int, Outcome]) -> str:
    """A row for each number of workers, with the time of the fewest over its own."""
    first = outcomes[min(outcomes)].seconds
    rows = [
        f"| {count} | {each.seconds:.1f} | {first / each.seconds:.2f} | {each.own_seconds:.1f} |"
        for count, each in sorted(outcomes.items())
    ]
    head = "| workers | time, s | times as fast | processor time of the client, s |"
    return "\n".join([head, "|---|---|---|---|", *rows])


def main(words: Sequence[str] | None = None) -> None:
    """Measure; ``words`` default to the command line's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cube", type=Path)
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--model", default="mean")
    parser.add_argument("--acquisitions", type=int, default=3)
    parser.add_argument("--replays", type=int, default=8)
    parser.add_argument("--dates", type=int, default=24)
    parser.add_argument("--block", type=int, default=DetectOptions().block)
    chosen = parser.parse_args(words)
    last = open_cube(chosen.cube).isel(time=slice(-chosen.dates, None))
    cube = repeated(last, chosen.size, chosen.size)
    predictor = load_predictor(Path(chosen.model), precision="auto", context=DEFAULT_CONTEXT)
    options = DetectOptions(
        acquisitions=chosen.acquisitions, replays=chosen.replays, block=chosen.block
    )
    counts = [int(count) for count in chosen.workers.split(",")]
    print(f"{chosen.size} x {chosen.size} pixels, {os.cpu_count()} cores\n")
    print(table(compared(cube, predictor, options, counts)))


if __name__ == "__main__":
    main()
