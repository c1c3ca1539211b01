"""Every strategy, network and classifier on a bench, under all three kinds of change.

    python -m benchmarks.bench [--bench boreal-1] [--windows 512] [--model DIR ...]

Prints tables in Markdown, as they stand in docs/results.md.
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

from sarcast.assess import AssessOptions, assess_trials
from sarcast.bench import bench_trials
from sarcast.classifiers import (
    BestThreshold,
    FalseAlarmRate,
    KittlerIllingworth,
    Otsu,
    linear_svc,
)
from sarcast.evaluation import Evaluation
from sarcast.neighbourhood import MarkovField, PcaKMeans
from sarcast.strategies import STRATEGIES, Oracle


def main() -> None:
    """Assess and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", default="boreal-1")
    parser.add_argument("--windows", type=int, default=512)
    parser.add_argument("--fit-windows", type=int, default=32)
    parser.add_argument("--model", type=Path, action="append", default=[])
    parser.add_argument("--to", type=Path, help="where evaluation.json is written")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    found = assess_trials(
        islice(bench_trials(arguments.bench), 2 * arguments.windows),
        {
            "network": networks(arguments.model),
            "strategy": list(STRATEGIES.values()),
            "oracle": [Oracle()],
        },
        AssessOptions(paper_filter=True, panels=0, fit_windows=arguments.fit_windows),
        [
            BestThreshold(),
            Otsu(),
            KittlerIllingworth(),
            FalseAlarmRate(0.01),
            linear_svc(rng=rng),
            PcaKMeans(rng=rng),
            MarkovField(),
        ],
    )
    evaluation = found.evaluation(f"bench {arguments.bench}", {}, rng=np.random.default_rng(0))
    if arguments.to:
        evaluation.write(arguments.to)
    show(evaluation)


def networks(folders: list[Path]) -> list:
    """Load model folders; torch is loaded only for them."""
    if not folders:
        return []
    from sarcast.mapping import load_model

    return [load_model(folder) for folder in folders]


def show(evaluation: Evaluation) -> None:
    """Print the AUCs with their intervals, and the balanced accuracy of every classifier."""
    print(f"| expected image | {' | '.join(evaluation.changes)} | MSE, dB² |")
    print("|---" * (len(evaluation.changes) + 2) + "|")
    rows: dict[str, dict[str, str]] = {}
    errors = {}
    for r in evaluation.results:
        name = r.method if r.difference == "norm" else f"{r.method}, {r.difference}"
        cell = f"{r.auc:.3f} ({r.auc_low:.3f}–{r.auc_high:.3f})"
        rows.setdefault(name, {})[r.change] = cell
        errors[name] = r.mse_db2
    for name, cells in rows.items():
        shown = " | ".join(cells.get(change, "") for change in evaluation.changes)
        print(f"| {name} | {shown} | {errors[name]:.2f} |")
    for change in evaluation.changes:
        found = [c for c in evaluation.classifiers if c.change == change]
        names = list(dict.fromkeys(c.classifier for c in found))
        print(f"\n{change}\n\n| expected image | {' | '.join(names)} |")
        print("|---" * (len(names) + 1) + "|")
        for method in dict.fromkeys(c.method for c in found):
            cells = {c.classifier: c.balanced_accuracy for c in found if c.method == method}
            shown = " | ".join(f"{cells[n]:.3f}" if cells.get(n) else "" for n in names)
            print(f"| {method} | {shown} |")


if __name__ == "__main__":
    main()
