"""The bench: a named set of synthetic windows on which expected images are compared.

Each window is evaluated twice: with simulated changes (offset and statistical) and with a physical
change of the ground. The windows are evaluated in chunks that do not depend on the number of
processes, so the results do not either.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from itertools import chain, tee
from multiprocessing import active_children, get_context
from operator import add
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_limits

from sarcast.detection.classifiers import Classifier, linear_svc
from sarcast.evaluation.cases import Case, simulated_case, window_rngs
from sarcast.evaluation.experiment import ExperimentOptions, evaluate_cases, fit_on_first_cases
from sarcast.evaluation.fitting import FittedClassifiers, every_classifier
from sarcast.evaluation.metrics import Evaluation, Evaluator
from sarcast.evaluation.predicted import Predictors
from sarcast.evaluation.simulation.changes import Offset, Statistical
from sarcast.evaluation.simulation.shapes import ShapeOptions
from sarcast.io.progress import track
from sarcast.prediction.strategies import STRATEGIES, Oracle
from sarcast.windows import Predictor
from sarcast.windows.synthetic import reference_windows
from sarcast.world.reference_windows import find_reference_set
from sarcast.world.threads import one_torch_thread

PHYSICAL = "physical"
SHAPES = ShapeOptions(least=1)
CHANGES = (Offset(), Statistical())
CHUNK = 8
"""Number of windows in a chunk."""
_SEED = 20230912


class BenchOptions(BaseModel):
    """How much of a bench is run, and in how many processes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classifiers: bool = Field(
        False, description="Evaluate every classifier; the linear SVC is always evaluated."
    )
    windows: int | None = Field(
        None, ge=4, description="Evaluate only the first windows; default: all of the bench."
    )
    fit_windows: int = Field(
        128,
        ge=1,
        le=512,
        description="Number of cases that classifiers are fitted on and not evaluated on: the "
        "first ones with change, at most a quarter of all; each window gives two cases, simulated "
        "and physical.",
    )
    workers: int = Field(1, ge=1, le=1024, description="Number of processes, with one thread each.")


def benchmark_cases(name: str, windows: range | None = None) -> Iterator[Case]:
    """Give two cases of each window of a bench: with simulated and with physical change.

    Parameters
    ----------
    name
        Name of the bench, as in ``world.reference_windows.REFERENCE_SETS``.
    windows
        Numbers of the windows: consecutive, beginning and ending at the border of a batch of the
        bench; default all.

    Raises
    ------
    SarcastError
        If there is no bench of that name.
    """
    bench = find_reference_set(name)
    windows = range(bench.windows) if windows is None else windows
    size = bench.options.batch
    plain, paired = tee(reference_windows(name, range(windows.start // size, windows.stop // size)))
    rngs = window_rngs(np.random.default_rng(_SEED), windows.start)
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
        Name of the bench, as in ``world.reference_windows.REFERENCE_SETS``.
    networks
        Networks on the CPU; they must be picklable if there are several processes.
    options
        How much is run.
    provenance
        Further entries for the provenance of the result.

    Returns
    -------
    Evaluation
        The same on every machine and for any number of processes.
    """
    options = options or BenchOptions()
    benchmark = _Benchmark.of(name, networks, options)
    workers = min(options.workers, len(benchmark.chunks))
    with _parallel_map(workers) as parallel_map:
        parts = parallel_map(benchmark.fit, [(part, workers) for part in range(workers)])
        fitted = reduce(add, track(parts, "fitting classifiers", workers))
        counted = parallel_map(partial(benchmark.count, fitted), benchmark.chunks)
        summed: Evaluator = reduce(add, track(counted, "evaluating", len(benchmark.chunks)))
    size = {
        "bench": name,
        "windows": benchmark.windows,
        "learnt from": benchmark.options.fit_windows,
    }
    metadata = {**(provenance or {}), **size}
    return summed.result(f"bench {name}", metadata, rng=np.random.default_rng(_SEED))


@dataclass(frozen=True)
class _Benchmark:
    """What is evaluated on a bench; ``fit`` and ``count`` may run in other processes."""

    name: str
    windows: int
    predictors: Predictors
    classifiers: Sequence[Classifier]
    options: ExperimentOptions

    @classmethod
    def of(cls, name: str, networks: Sequence[Predictor], options: BenchOptions) -> "_Benchmark":
        bench = find_reference_set(name)
        size = bench.options.batch
        windows = min(options.windows or bench.windows, bench.windows) // size * size
        rng = np.random.default_rng(_SEED)
        classifiers = every_classifier(rng=rng) if options.classifiers else [linear_svc(rng=rng)]
        experiment = ExperimentOptions(
            paper_filter=True, panels=0, fit_windows=max(1, min(options.fit_windows, windows // 2))
        )
        predictors: Predictors = {
            "network": tuple(networks),
            "strategy": tuple(STRATEGIES.values()),
            "oracle": (Oracle(),),
        }
        return cls(name, windows, predictors, classifiers, experiment)

    @property
    def chunks(self) -> list[range]:
        """Numbers of the windows of each chunk."""
        starts = range(0, self.windows, CHUNK)
        return [range(start, min(start + CHUNK, self.windows)) for start in starts]

    def fit(self, share: tuple[int, int]) -> FittedClassifiers:
        """Fit a share of the classifiers on the first cases."""
        cases = chain.from_iterable(benchmark_cases(self.name, chunk) for chunk in self.chunks)
        return fit_on_first_cases(cases, self.predictors, self.options, self.classifiers, share)

    def count(self, fitted: FittedClassifiers, chunk: range) -> Evaluator:
        """Count the cases of a chunk."""
        cases = benchmark_cases(self.name, chunk)
        first = 2 * chunk.start
        result = evaluate_cases(cases, self.predictors, self.options, fitted, first=first)
        return result.evaluator


ParallelMap = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


@contextmanager
def _parallel_map(workers: int) -> Iterator[ParallelMap]:
    """Give a ``map`` over processes of one thread each; results come in the order of the input."""
    if workers == 1:
        with one_torch_thread(), threadpool_limits(1):
            yield map
        return
    others = {*active_children()}
    with ProcessPoolExecutor(workers, get_context("spawn"), _limit_threads) as pool:
        try:
            yield pool.map
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in {*active_children()} - others:
                process.terminate()
            raise


def _limit_threads() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)
