"""The bench: a named set of synthetic windows on which expected images are compared.

Each window is assessed with simulated changes (offset and statistical) and with a physical change
of the ground. The windows are counted in chunks that do not depend on the number of processes, so
that the figures do not either.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from itertools import chain, tee
from multiprocessing import get_context
from operator import add
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sarcast.detection.classifiers import Classifier, linear_svc
from sarcast.evaluation.cases import Case, chances, simulated_case
from sarcast.evaluation.experiment import ExperimentOptions, Predictors, evaluate_cases, learn_from
from sarcast.evaluation.fitting import FittedClassifiers, every_classifier
from sarcast.evaluation.metrics import Evaluation, Evaluator
from sarcast.evaluation.simulation.changes import Offset, Statistical
from sarcast.evaluation.simulation.shapes import ShapeOptions
from sarcast.io.progress import track
from sarcast.prediction.strategies import STRATEGIES, Oracle
from sarcast.windows import Predictor
from sarcast.windows.synthetic import bench_windows
from sarcast.world.benchmark import bench_of

PHYSICAL = "physical"
SHAPES = ShapeOptions(least=1)
CHANGES = (Offset(), Statistical())
CHUNK = 8
"""Windows that are counted at once."""
_SEED = 20230912


class BenchOptions(BaseModel):
    """How much of a bench is run, and by how many processes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classifiers: bool = Field(
        False, description="every classifier, besides the linear SVC that is always tried"
    )
    windows: int | None = Field(
        None, ge=4, description="number of windows, the first ones; default: all of the bench"
    )
    fit_windows: int = Field(
        128,
        ge=1,
        le=512,
        description="first windows with change that classifiers learn from and are not tried on, "
        "at most a quarter; two cases of a window, simulated and physical, count apart",
    )
    workers: int = Field(1, ge=1, le=1024, description="processes, of one thread each")


def benchmark_cases(name: str, windows: range | None = None) -> Iterator[Case]:
    """Windows of a bench with their changes: two cases of each, simulated and physical.

    Parameters
    ----------
    name
        Of the bench, as in ``world.bench.BENCHES``.
    windows
        Numbers of the windows, consecutive, beginning and ending with a batch of the bench; default
        all.

    Raises
    ------
    SarcastError
        If there is no bench of that name.
    """
    bench = bench_of(name)
    windows = range(bench.windows) if windows is None else windows
    size = bench.options.batch
    plain, paired = tee(bench_windows(name, range(windows.start // size, windows.stop // size)))
    rngs = chances(np.random.default_rng(_SEED), windows.start)
    for (window, _, _), (_, moved, changed), rng in zip(plain, paired, rngs, strict=False):
        yield simulated_case(window, CHANGES, SHAPES, rng=rng)
        yield Case(window, changed, {PHYSICAL: moved.target})


def run_bench(
    name: str,
    networks: Sequence[Predictor] = (),
    options: BenchOptions | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Compare networks with the conventional strategies and the oracle on a bench.

    Parameters
    ----------
    name
        Of the bench, as in ``world.bench.BENCHES``.
    networks
        What is compared; on the CPU, and picklable where there are several processes.
    options
        How much is run.
    provenance
        What is told with the result besides what was run.

    Returns
    -------
    Evaluation
        The same on every machine and with any number of processes.
    """
    options = options or BenchOptions()
    run = _Benchmark.of(name, networks, options)
    count = min(options.workers, len(run.chunks))
    with _mapped(count) as mapped:
        parts = mapped(run.learn, [(part, count) for part in range(count)])
        learnt = reduce(add, track(parts, "learning", count))
        counted = mapped(partial(run.count, learnt), run.chunks)
        summed: Evaluator = reduce(add, track(counted, "evaluating", len(run.chunks)))
    counts = {"bench": name, "windows": run.windows, "learnt from": run.options.fit_windows}
    told = {**(provenance or {}), **counts}
    return summed.result(f"bench {name}", told, rng=np.random.default_rng(_SEED))


@dataclass(frozen=True)
class _Benchmark:
    """What is to be counted; its methods run in a process of their own."""

    name: str
    windows: int
    predictors: Predictors
    classifiers: Sequence[Classifier]
    options: ExperimentOptions

    @classmethod
    def of(cls, name: str, networks: Sequence[Predictor], options: BenchOptions) -> "_Benchmark":
        bench = bench_of(name)
        size = bench.options.batch
        windows = min(options.windows or bench.windows, bench.windows) // size * size
        rng = np.random.default_rng(_SEED)
        every = every_classifier(rng=rng) if options.classifiers else [linear_svc(rng=rng)]
        counting = ExperimentOptions(
            paper_filter=True, panels=0, fit_windows=max(1, min(options.fit_windows, windows // 2))
        )
        predictors: Predictors = {
            "network": tuple(networks),
            "strategy": tuple(STRATEGIES.values()),
            "oracle": (Oracle(),),
        }
        return cls(name, windows, predictors, every, counting)

    @property
    def chunks(self) -> list[range]:
        """Numbers of the windows that are counted at once."""
        starts = range(0, self.windows, CHUNK)
        return [range(start, min(start + CHUNK, self.windows)) for start in starts]

    def learn(self, share: tuple[int, int]) -> FittedClassifiers:
        """Let a share of the classifiers learn from the first windows."""
        cases = chain.from_iterable(benchmark_cases(self.name, chunk) for chunk in self.chunks)
        return learn_from(cases, self.predictors, self.options, self.classifiers, share)

    def count(self, learnt: FittedClassifiers, chunk: range) -> Evaluator:
        """Count some windows."""
        cases = benchmark_cases(self.name, chunk)
        first = 2 * chunk.start
        found = evaluate_cases(cases, self.predictors, self.options, learnt, first=first)
        return found.evaluator


Mapped = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


@contextmanager
def _mapped(workers: int) -> Iterator[Mapped]:
    """Give a ``map`` over processes of one thread each, in the order of what it is given."""
    if workers == 1:
        with _one_thread():
            yield map
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _limit_threads) as pool:
        yield pool.map


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def _limit_threads() -> None:
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)
