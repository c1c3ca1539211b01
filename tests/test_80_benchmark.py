import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from sarcast.errors import SarcastError
from sarcast.evaluation.benchmark import CHUNK, PHYSICAL, BenchOptions, benchmark_cases, run_bench
from sarcast.evaluation.metrics import Evaluation
from sarcast.evaluation.report.tables import markdown, not_beaten
from sarcast.windows import Expected
from sarcast.world.benchmark import BENCHES

SMALL = "boreal-1-small"


@dataclass
class Near:
    """Expects the oracle with an error of its own, and tells it."""

    name: str = "near"
    size: int | None = None
    previous: int | None = None
    error_db: float = 0.2

    def expect(self, windows):
        std = np.float32(np.hypot(1.2, self.error_db))
        return [Expected(w.expected + self.error_db, np.full_like(w.target, std)) for w in windows]


@pytest.fixture(scope="module")
def alone() -> Evaluation:
    return run_bench(SMALL, [Near()], BenchOptions(classifiers=True, fit_windows=4))


def test_the_number_of_processes_changes_no_figure(alone):
    options = BenchOptions(classifiers=True, fit_windows=4, workers=2)
    assert BENCHES[SMALL].windows > CHUNK
    assert run_bench(SMALL, [Near()], options) == alone


def test_a_bench_gives_two_trials_of_each_window(alone):
    cases = list(benchmark_cases(SMALL))
    assert {case.cluster for case in cases} == {None}
    assert len(cases) == 2 * BENCHES[SMALL].windows
    assert set(cases[1].actual) == {PHYSICAL}
    by = {(each.method, each.change): each.auc for each in alone.results}
    assert by["oracle", "offset -2.5 dB"] > by["latest", "offset -2.5 dB"] + 0.05
    assert {change for _, change in by} == {"offset -2.5 dB", "statistical", PHYSICAL}


def test_a_part_of_the_trials_is_that_part_of_all():
    part = list(benchmark_cases(SMALL, range(8, 12)))
    for one, other in zip(part, list(benchmark_cases(SMALL))[16:24], strict=True):
        np.testing.assert_array_equal(one.changed, other.changed)
        for change, image in one.actual.items():
            np.testing.assert_array_equal(image, other.actual[change])


def test_every_classifier_is_tried_on_windows_it_did_not_learn_from(alone):
    names = {one.classifier for one in alone.classifiers}
    assert len(names) == 7
    pixels = {one.pixels for one in alone.classifiers if one.change == PHYSICAL}
    (counted,) = {one.pixels for one in alone.results if one.change == PHYSICAL}
    assert pixels < {counted} or max(pixels) < counted


def test_each_option_changes_the_result(alone):
    fewer = run_bench(SMALL, [Near()], BenchOptions(windows=8))
    assert {one.classifier for one in fewer.classifiers} == {"linear SVC"}
    assert fewer.results[0].pixels < alone.results[0].pixels
    other = run_bench(SMALL, [Near()], BenchOptions(classifiers=True, fit_windows=2))
    assert other.classifiers != alone.classifiers
    assert other.results == alone.results


def test_the_calibrated_world_lands_near_the_papers_figures():
    """Method 1 reaches 0.79 and Method 3 0.71 in the paper, over many more windows."""
    found = run_bench("boreal-1", (), BenchOptions(windows=12))
    by = {each.method: each.auc for each in found.results if each.change == "offset -2.5 dB"}
    assert by["closest-geometry"] == pytest.approx(0.79, abs=0.08)
    assert by["closest-geometry"] > by["latest"] + 0.02


def test_unknown_benches_are_named():
    with pytest.raises(SarcastError, match="there is no bench 'borea'; known are boreal-1"):
        run_bench("borea")


def test_markdown_holds_every_figure(alone):
    text = markdown(alone)
    for result in alone.results:
        assert f"{result.auc:.3f} ({result.auc_low:.3f}–{result.auc_high:.3f})" in text
    for one in alone.classifiers:
        assert f"{one.balanced_accuracy:.3f}" in text
    assert text.count("| expected image |") == 1 + len(alone.changes)
    widths = {line.count("|") for line in text.split("\n\n")[1].splitlines()}
    assert widths == {len(alone.changes) + 3}


def test_what_is_not_beaten_is_named(alone):
    class Lost(Near):
        """Expects the right image upside down."""

        def expect(self, windows):
            return [Expected(w.expected[:, ::-1]) for w in windows]

    lost = run_bench(SMALL, [Lost("lost")], BenchOptions())
    lines = not_beaten(lost)
    auc = {r.method: r.auc for r in lost.results if r.change == "offset -2.5 dB"}
    best = max(value for name, value in auc.items() if name not in ("lost", "oracle"))
    assert lines[0].startswith("offset -2.5 dB, AUC of norm: lost against ")
    assert f" {auc['lost'] - best:+.3f} (" in lines[0]
    assert "offset -2.5 dB, linear SVC" in {line.split(":")[0] for line in lines}
    assert "except in (gain" in markdown(lost)
    assert not_beaten(alone) == []
    assert markdown(alone).endswith("in every score and classifier.\n")


ABSENT = """
import sys
from importlib.machinery import PathFinder as P
absent = {"rasterio", "zarr", "odc", "pystac", "dask", "matplotlib", "geopandas", "pyarrow"}
class Bare(P):
    @classmethod
    def find_spec(cls, name, *more):
        return None if name.split(".")[0] in absent else P.find_spec(name, *more)
sys.meta_path[sys.meta_path.index(P)] = Bare
import sarcast.prediction.model, sarcast.evaluation.report.tables
from sarcast.evaluation.benchmark import BenchOptions, run_bench
print(len(run_bench("boreal-1-small", (), BenchOptions(windows=4)).results))
"""


def test_a_bench_needs_no_raster_plotting_or_catalogue_library():
    done = subprocess.run(
        [sys.executable, "-c", ABSENT], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 6 * 3
