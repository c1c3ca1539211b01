"""The bench: a named set of synthetic windows on which expected images are compared.

Each window is assessed with simulated changes (offset and statistical) and with a physical change
of the ground. What strategies, mean and oracle reach is stored with the package.
"""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import tee

import numpy as np

from sarcast.assess import AssessOptions, Trial, assess_trials, simulated_trials
from sarcast.classifiers import linear_svc
from sarcast.errors import SarcastError
from sarcast.evaluation import Evaluation, Role
from sarcast.shapes import ShapeOptions
from sarcast.simulate import Offset, Statistical
from sarcast.strategies import STRATEGIES, Oracle
from sarcast.windows import Predictor
from sarcast.windows.synthetic import bench_windows
from sarcast.world.bench import BENCHES

PHYSICAL = "physical"
SHAPES = ShapeOptions(least=1)
_SEED = 20230912


def bench_trials(name: str) -> Iterator[Trial]:
    """Windows of a bench with their changes: two trials of each, simulated and physical.

    Raises
    ------
    SarcastError
        If there is no bench of that name.
    """
    plain, paired = tee(bench_windows(name))
    simulated = simulated_trials(
        (window for window, _, _ in plain),
        (Offset(), Statistical()),
        SHAPES,
        rng=np.random.default_rng(_SEED),
    )
    for trial, (window, moved, changed) in zip(simulated, paired, strict=True):
        yield trial
        yield Trial(window, changed, {PHYSICAL: moved.target})


def run_bench(name: str, networks: Sequence[Predictor] = ()) -> Evaluation:
    """Compare networks with the conventional strategies and the oracle on a bench.

    Parameters
    ----------
    name
        Of the bench, as in ``world.bench.BENCHES``.
    networks
        What is compared.

    Returns
    -------
    Evaluation
        The same on every machine.
    """
    predictors: dict[Role, Sequence[Predictor]] = {
        "network": tuple(networks),
        "strategy": tuple(STRATEGIES.values()),
        "oracle": (Oracle(),),
    }
    windows = BENCHES[name].windows if name in BENCHES else 0
    options = AssessOptions(
        shapes=SHAPES,
        paper_filter=True,
        by_condition=False,
        panels=0,
        fit_windows=max(2, windows // 4),
    )
    svc = linear_svc(rng=np.random.default_rng(_SEED))
    assessed = assess_trials(bench_trials(name), predictors, options, [svc])
    return assessed.evaluation(f"bench {name}", {"bench": name}, rng=np.random.default_rng(_SEED))


def stored_bench(name: str) -> Evaluation:
    """What strategies, mean and oracle reached on a bench.

    Raises
    ------
    SarcastError
        If nothing is stored for it.
    """
    path = files("sarcast.world") / "benches" / f"{name}.json"
    if not path.is_file():
        raise SarcastError(f"no results are stored for bench {name!r}; run it with run_bench")
    return Evaluation.model_validate_json(path.read_text())
