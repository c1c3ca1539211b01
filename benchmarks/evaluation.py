"""Time and memory of the all-pixel evaluation, for all strategies at once.

    python -m benchmarks.evaluation [--windows 9000] [--size 512] [--processes 2]

A few windows are drawn once and evaluated repeatedly, each time with new random shapes, so that
only the evaluation is timed.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from benchmarks.memory import peak_gb
from sarcast.evaluation.experiment import ExperimentOptions, run_experiment
from sarcast.evaluation.metrics import Evaluator
from sarcast.evaluation.simulation.changes import Offset
from sarcast.prediction.strategies import STRATEGIES
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import Window

DISTINCT = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=9000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    start = time.monotonic()
    shares = np.diff(np.linspace(0, arguments.windows, arguments.processes + 1).round().astype(int))
    with ProcessPoolExecutor(arguments.processes) as pool:
        work = partial(part, size=arguments.size)
        parts = list(pool.map(work, shares.tolist(), range(len(shares))))
    summed = sum((evaluator for evaluator, _, _ in parts[1:]), parts[0][0])
    result = summed.result("benchmark", {}, rng=np.random.default_rng(0))
    seconds = time.monotonic() - start
    for method in result.results:
        print(f"{method.method:18s} {method.auc:.4f} [{method.auc_low:.4f}, {method.auc_high:.4f}]")
    print(f"{arguments.windows} windows of {arguments.size} x {arguments.size} pixels")
    print(f"{seconds / 60:.1f} minutes, {sum(cpu for _, _, cpu in parts) / 60:.1f} of CPU")
    together = peak_gb() + sum(peak for _, peak, _ in parts)
    print(f"peak memory {together:.2f} GB, all processes together")


def part(count: int, seed: int, size: int) -> tuple[Evaluator, float, float]:
    """Evaluate ``count`` windows; give the sums, the peak memory in GB and the CPU seconds."""
    result = run_experiment(
        windows(count, size, seed),
        {"strategy": list(STRATEGIES.values())},
        [Offset()],
        ExperimentOptions(by_condition=False, panels=0, at_once=2),
        rng=np.random.default_rng(seed),
    )
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return result.evaluator, peak_gb(), usage.ru_utime + usage.ru_stime


def windows(count: int, size: int, seed: int) -> Iterator[Window]:
    """Repeat a few windows of noise about a common ground."""
    rng = np.random.default_rng(seed)
    drawn = [window(rng, size) for _ in range(DISTINCT)]
    for number in range(count):
        yield drawn[number % DISTINCT]


def window(rng: np.random.Generator, size: int) -> Window:
    """Window with four previous images and forest everywhere."""
    ground = rng.normal(-12.0, 2.0, (2, size, size))
    images = (ground + rng.normal(0.0, 1.3, (5, 2, size, size))).astype(np.float32)
    return Window(
        previous=images[:4],
        target=images[4],
        conditions=rng.uniform(30.0, 45.0, (5, len(COLUMNS))).astype(np.float32),
        times=np.arange(5).astype("datetime64[D]").astype("datetime64[ns]"),
        elevation=np.zeros((size, size), dtype=np.float32),
    )


if __name__ == "__main__":
    main()
