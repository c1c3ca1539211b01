import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from sarcast.errors import SarcastError
from sarcast.evaluation.benchmark import CHUNK, PHYSICAL, BenchOptions, benchmark_cases, run_bench
from sarcast.evaluation.experiment import evaluate_cases
from sarcast.evaluation.metrics import Evaluation
from sarcast.evaluation.report.tables import markdown, unbeaten_strategies
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import Expected
from sarcast.world.reference_windows import REFERENCE_SETS

SMALL = "boreal-1-small"


@dataclass
class Near:
    """Expects the oracle plus an error, and gives the matching standard deviation."""

    name: str = "near"
    size: int | None = None
    previous: int | None = None
    error_db: float = 0.2
    uses_target: bool = False

    def expect(self, windows):
        std = np.float32(np.hypot(1.2, self.error_db))
        return [Expected(w.expected + self.error_db, np.full_like(w.target, std)) for w in windows]


@pytest.fixture(scope="module")
def serial() -> Evaluation:
    return run_bench(SMALL, [Near()], BenchOptions(classifiers=True, fit_windows=4))


def test_results_do_not_depend_on_the_number_of_processes(serial):
    options = BenchOptions(classifiers=True, fit_windows=4, workers=2)
    assert REFERENCE_SETS[SMALL].windows > CHUNK
    assert run_bench(SMALL, [Near()], options) == serial


def test_a_bench_gives_two_cases_of_each_window(serial):
    cases = list(benchmark_cases(SMALL))
    assert {case.cluster for case in cases} == {None}
    assert len(cases) == 2 * REFERENCE_SETS[SMALL].windows
    assert set(cases[1].actual) == {PHYSICAL}
    auc = {(result.method, result.change): result.auc for result in serial.results}
    assert auc["oracle", "offset -2.5 dB"] > auc["latest", "offset -2.5 dB"] + 0.05
    assert {change for _, change in auc} == {"offset -2.5 dB", "statistical", PHYSICAL}


def test_some_cases_are_the_same_as_among_all_cases():
    part = list(benchmark_cases(SMALL, range(8, 12)))
    for case, same_case in zip(part, list(benchmark_cases(SMALL))[16:24], strict=True):
        np.testing.assert_array_equal(case.changed, same_case.changed)
        for change, image in case.actual.items():
            np.testing.assert_array_equal(image, same_case.actual[change])


def test_every_classifier_is_evaluated_on_cases_it_was_not_fitted_on(serial):
    names = {result.classifier for result in serial.classifiers}
    assert len(names) == 7
    pixels = {result.pixels for result in serial.classifiers if result.change == PHYSICAL}
    (counted,) = {result.pixels for result in serial.results if result.change == PHYSICAL}
    assert pixels < {counted} or max(pixels) < counted


def test_each_option_changes_the_result(serial):
    fewer = run_bench(SMALL, [Near()], BenchOptions(windows=8))
    assert {result.classifier for result in fewer.classifiers} == {"linear SVC"}
    assert fewer.results[0].pixels < serial.results[0].pixels
    other = run_bench(SMALL, [Near()], BenchOptions(classifiers=True, fit_windows=2))
    assert other.classifiers != serial.classifiers
    assert other.results == serial.results


def test_the_calibrated_world_gives_about_the_papers_figures():
    """Method 1 reaches 0.79 and Method 3 0.71 in the paper, over many more windows."""
    found = run_bench("boreal-1", (), BenchOptions(windows=12))
    auc = {r.method: r.auc for r in found.results if r.change == "offset -2.5 dB"}
    assert auc["closest-geometry"] == pytest.approx(0.79, abs=0.08)
    assert auc["closest-geometry"] > auc["latest"] + 0.02


def test_an_unknown_bench_is_refused():
    with pytest.raises(SarcastError, match="there is no bench 'borea'; known are boreal-1"):
        run_bench("borea")


def test_markdown_contains_every_figure(serial):
    text = markdown(serial)
    for result in serial.results:
        assert f"{result.auc:.3f} ({result.auc_low:.3f}–{result.auc_high:.3f})" in text
    for result in serial.classifiers:
        assert f"{result.balanced_accuracy:.3f}" in text
    assert text.count("| expected image |") == 2 + len(serial.changes)
    widths = {line.count("|") for line in text.split("\n\n")[1].splitlines()}
    assert widths == {len(serial.changes) + 3}


def test_a_predictor_that_uses_the_target_sees_the_physical_change():
    """One that repeats the target finds nothing; asked only once, it would find everything."""

    class Repeats(Near):
        def expect(self, windows):
            return [Expected(w.target.copy()) for w in windows]

    size = REFERENCE_SETS[SMALL].options.batch
    predictors = {"network": [Repeats(uses_target=True)]}
    found = evaluate_cases(benchmark_cases(SMALL, range(size)), predictors)
    result = found.evaluation("t", {}, rng=np.random.default_rng(0))
    assert {r.change: r.auc for r in result.results}[PHYSICAL] == 0.5


def test_unbeaten_strategies_are_listed(serial):
    class UpsideDown(Near):
        """Expects the right image upside down."""

        def expect(self, windows):
            return [Expected(w.expected[:, ::-1]) for w in windows]

    bad = run_bench(SMALL, [UpsideDown("bad")], BenchOptions())
    lines = unbeaten_strategies(bad)
    auc = {r.method: r.auc for r in bad.results if r.change == "offset -2.5 dB"}
    best = max(value for name, value in auc.items() if name not in ("bad", "oracle"))
    assert lines[0].startswith("offset -2.5 dB, AUC of norm: bad against ")
    assert f" {auc['bad'] - best:+.3f} (" in lines[0]
    assert "offset -2.5 dB, linear SVC" in {line.split(":")[0] for line in lines}
    assert "except in (gain" in markdown(bad)
    assert unbeaten_strategies(serial) == []
    assert markdown(serial).endswith("in every score and classifier.\n")


ABSENT = """
import sys
from importlib.machinery import PathFinder as P
absent = {"rasterio", "zarr", "odc", "pystac", "dask", "matplotlib", "geopandas", "pyarrow"}
class Bare(P):
    @classmethod
    def find_spec(cls, name, *more):
        return None if name.split(".")[0] in absent else P.find_spec(name, *more)
sys.meta_path[sys.meta_path.index(P)] = Bare
import sarcast.prediction.model_folder, sarcast.evaluation.report.tables
from sarcast.evaluation.benchmark import BenchOptions, run_bench
print(len(run_bench("boreal-1-small", (), BenchOptions(windows=4)).results))
"""


def test_a_bench_imports_no_raster_plotting_or_catalogue_library():
    done = subprocess.run(
        [sys.executable, "-c", ABSENT], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == (len(STRATEGIES) + 1) * 3
