"""Compare networks, strategies and classifiers on a bench, under all three kinds of change.

    python -m benchmarks.networks --model base --workers 16 --to OUT

The windows of a bench are fixed, and many processes share them. Writes OUT/evaluation.json and
OUT/tables.md, which stands in docs/results/, and prints the latter. Unlike ``sarcast bench
--classifiers``, which gives the same figures and a report, it runs without raster and plotting
libraries: torch, scipy, scikit-learn, xarray, pydantic, shapely, PyMaxflow, safetensors, yaml and
rich suffice.
"""

import argparse
from pathlib import Path

from sarcast.evaluation.benchmark import BenchOptions, run_bench
from sarcast.evaluation.report.tables import markdown
from sarcast.prediction import load_models


def main() -> None:
    """Evaluate, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", default="boreal-2")
    parser.add_argument("--windows", type=int)
    parser.add_argument("--fit-windows", type=int, default=128)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--to", type=Path, help="folder for evaluation.json and tables.md")
    arguments = parser.parse_args()
    options = BenchOptions(
        classifiers=True,
        windows=arguments.windows,
        fit_windows=arguments.fit_windows,
        workers=arguments.workers,
    )
    networks = load_models(arguments.model, device="cpu")
    evaluation = run_bench(arguments.bench, networks, options)
    tables = markdown(evaluation)
    if arguments.to:
        arguments.to.mkdir(parents=True, exist_ok=True)
        evaluation.write(arguments.to / "evaluation.json")
        (arguments.to / "tables.md").write_text(tables, encoding="utf-8")
    print(tables)


if __name__ == "__main__":
    main()
