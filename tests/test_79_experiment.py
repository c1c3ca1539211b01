import json
from dataclasses import replace
from functools import reduce
from operator import add

import dask
import numpy as np
import pytest

from sarcast.detection import difference as differences
from sarcast.detection.classifiers import FalseAlarmRate, Otsu, Threshold, linear_svc
from sarcast.errors import SarcastError
from sarcast.evaluation.cases import PREDICTION, Case, sample_cases, simulated_cases
from sarcast.evaluation.experiment import (
    ExperimentOptions,
    evaluate_cases,
    fit_on_first_cases,
    run_experiment,
)
from sarcast.evaluation.fitting import FittedClassifiers, fit_classifiers
from sarcast.evaluation.grouping import condition_groups
from sarcast.evaluation.metrics import auc_exact
from sarcast.evaluation.metrics.dataset import as_dataset
from sarcast.evaluation.simulation.changes import Offset, Statistical
from sarcast.evaluation.simulation.image import LandImage
from sarcast.evaluation.simulation.shapes import ShapeOptions, change_mask
from sarcast.prediction.strategies import STRATEGIES, Oracle
from sarcast.sensor.conditions import COLUMNS
from sarcast.tfrecord import read_samples
from sarcast.windows import Expected, Window

SHAPES = ShapeOptions(least=1)
CHANGES = [Offset(), Statistical()]


def window(number, size=48):
    rng = np.random.default_rng([7, number])
    ground = rng.normal([[[-10.0]], [[-16.0]]], 1.0, (2, size, size))
    noise = rng.normal(0.0, 1.2, (5, 2, size, size))
    noise[:4] += rng.normal(0.0, 1.0, (4, 1, 1, 1))
    images = (ground + noise).astype(np.float32)
    conditions = np.full((5, len(COLUMNS)), 1.0, dtype=np.float32)
    conditions[:, COLUMNS.index("heading")] = -12.0 if number % 2 else -168.0
    forest = np.arange(size)[:, None] < size // 2
    return Window(
        previous=images[:4],
        target=images[4],
        conditions=conditions,
        times=np.array(["2024-01-01"] * 5, dtype="datetime64[ns]"),
        elevation=np.zeros((size, size), dtype=np.float32),
        expected=ground.astype(np.float32),
        forest=forest & np.ones((size, size), dtype=bool),
        open_land=~forest & np.ones((size, size), dtype=bool),
    )


def windows(count=10):
    return [window(number) for number in range(count)]


class Network:
    """Expects the truth, and a standard deviation that is right."""

    name = "network"
    size = None
    previous = None
    uses_target = False

    def __init__(self):
        self.batches = []

    def expect(self, windows):
        self.batches.append(len(windows))
        return [Expected(w.expected, np.full_like(w.target, 1.2)) for w in windows]


def predictors(network=None):
    return {
        "network": [network or Network()],
        "strategy": [STRATEGIES["latest"], STRATEGIES["mean"]],
        "oracle": [Oracle()],
    }


def evaluated(several, classifiers=(), seed=0, **options):
    found = run_experiment(
        several,
        predictors(),
        CHANGES,
        ExperimentOptions(shapes=SHAPES, **options),
        classifiers,
        rng=np.random.default_rng(seed),
    )
    return found.evaluation("t", {}, rng=np.random.default_rng(0)), found.panels


def test_equals_a_plain_loop():
    several = windows()
    found, _ = evaluated(several, exact=True)
    cases = list(simulated_cases(several, CHANGES, SHAPES, rng=np.random.default_rng(0)))
    changed = np.stack([case.changed for case in cases])
    assert changed.any()
    for result in found.results:
        expected = np.stack(
            [
                {
                    "network": w.expected,
                    "oracle": w.expected,
                    "latest": w.previous[-1],
                    "mean": w.previous.mean(axis=0),
                }[result.method]
                for w in several
            ]
        )
        actual = np.stack([case.actual[result.change] for case in cases])
        scale = 1.2 if result.difference == "z" else 1.0
        plain = auc_exact(differences.norm((actual - expected) / np.float32(scale)), changed)
        assert result.auc == pytest.approx(plain, abs=1e-6)
        targets = np.stack([w.target for w in several])
        assert result.mse_db2 == pytest.approx(np.mean((targets - expected) ** 2), rel=1e-5)
    latest = np.stack([w.previous[-1] for w in several])
    for closer in found.closer:
        expected = {
            "network": np.stack([w.expected for w in several]),
            "oracle": np.stack([w.expected for w in several]),
            "latest": latest,
            "mean": np.stack([w.previous.mean(axis=0) for w in several]),
        }[closer.method]
        errors, others = np.square(targets - expected), np.square(targets - latest)
        if closer.method == "latest":
            assert {*closer.shares.values(), closer.windows} == {0.5}
            continue
        shares = [*np.mean(errors < others, axis=(0, 2, 3)), np.mean(errors.sum(1) < others.sum(1))]
        assert list(closer.shares.values()) == pytest.approx(shares, abs=1e-6)
        assert list(closer.shares) == ["VV", "VH", "norm"]
        less = errors.mean(axis=(1, 2, 3)) < others.mean(axis=(1, 2, 3))
        assert closer.windows == np.mean(less)
    assert list(as_dataset(found)["closer"].values) == [
        closer.shares["norm"] for closer in found.closer
    ]
    assert {r.difference for r in found.results if r.method == "network"} == {"norm", "z"}
    assert {r.difference for r in found.results if r.method == "latest"} == {"norm"}


def test_batches_change_nothing():
    network = Network()
    options = ExperimentOptions(shapes=SHAPES, at_once=3)
    run_experiment(windows(), predictors(network), CHANGES, options, rng=np.random.default_rng(0))
    assert network.batches == [3, 3, 3, 1]
    assert evaluated(windows(), at_once=3)[0] == evaluated(windows(), at_once=100)[0]


def test_same_seed_same_evaluation():
    assert evaluated(windows())[0] == evaluated(windows())[0]
    assert evaluated(windows())[0] != evaluated(windows(), seed=1)[0]


def test_a_windows_change_does_not_depend_on_the_others():
    several = windows(4)
    other = [*several[:2], window(99), several[3]]
    drawn = [
        list(simulated_cases(some, CHANGES, SHAPES, rng=np.random.default_rng(0)))
        for some in (several, other)
    ]
    for number in (0, 1, 3):
        np.testing.assert_array_equal(drawn[0][number].changed, drawn[1][number].changed)


def test_shapes_do_not_depend_on_the_changes():
    alone, both = (
        next(simulated_cases(windows(1), changes, SHAPES, rng=np.random.default_rng(0)))
        for changes in (CHANGES[:1], CHANGES)
    )
    np.testing.assert_array_equal(alone.changed, both.changed)
    np.testing.assert_array_equal(alone.actual["offset -2.5 dB"], both.actual["offset -2.5 dB"])


def test_only_pixels_that_are_valid_for_all_methods_are_counted():
    several = windows(3)
    several[0].previous[3, 0, :10] = np.nan
    found, _ = evaluated(several)
    assert {result.pixels for result in found.results} == {3 * 48 * 48 - 480}
    several[1].target[:] = np.nan
    found, _ = evaluated(several)
    assert {result.pixels for result in found.results} == {2 * 48 * 48 - 480}
    assert {result.windows for result in found.results} == {2}


def test_windows_of_one_date_are_drawn_together():
    """Of two dates, the lower bound is the AUC of the worse; one date is resampled by window."""

    def on_day(window, day):
        return replace(window, times=np.array([f"2024-01-{day:02}"] * 5, dtype="datetime64[ns]"))

    apart = [on_day(window, number + 1) for number, window in enumerate(windows(6))]
    shared = [on_day(window, number % 2 + 1) for number, window in enumerate(windows(6))]
    found = [evaluated(several)[0].results[0] for several in (windows(6), apart, shared)]
    low = [result.auc_low for result in found]
    assert low[0] == low[1] != low[2]
    cases = list(simulated_cases(shared, CHANGES, SHAPES, rng=np.random.default_rng(0)))
    dates = [evaluate_cases(cases[start::2], predictors()) for start in (0, 1)]
    each = [date.evaluation("t", {}, rng=np.random.default_rng(0)).results[0].auc for date in dates]
    assert low[2] == pytest.approx(min(each), abs=2e-3)
    assert min(each) < found[2].auc - 2e-3


def test_a_change_that_does_not_fit_is_left_out():
    several = [replace(w, open_land=None) for w in windows(3)]
    found, _ = evaluated(several)
    assert found.changes == ("offset -2.5 dB",)


def test_nothing_valid_is_an_error():
    several = windows(1)
    several[0].target[:] = np.nan
    with pytest.raises(SarcastError, match="nothing was evaluated"):
        evaluated(several)


def test_two_predictors_of_the_same_name_are_refused():
    twice = {**predictors(), "network": [Network(), Network()]}
    options = ExperimentOptions(shapes=SHAPES)
    with pytest.raises(SarcastError, match="two predictors are called 'network'"):
        run_experiment(windows(1), twice, CHANGES, options, rng=np.random.default_rng(0))
    with pytest.raises(SarcastError, match="two predictors are called 'network'"):
        fit_on_first_cases([], twice, options, [Otsu()])


@pytest.mark.parametrize("classifiers", [[Otsu(), Otsu()], [Threshold(2.0), Threshold(2.0)]])
def test_two_classifiers_of_the_same_name_are_refused(classifiers):
    """Before anything is predicted; two different fixed thresholds have different names."""
    message = (
        f"two classifiers are called {classifiers[0].name!r}, but results are identified by name"
    )
    with pytest.raises(SarcastError, match=message):
        evaluate_cases(iter(lambda: pytest.fail("a case was read"), None), {}, None, classifiers)
    with pytest.raises(SarcastError, match=message):
        fit_on_first_cases([], predictors(), ExperimentOptions(shapes=SHAPES), classifiers)
    with pytest.raises(SarcastError, match=message):
        fit_classifiers(classifiers, [], 0)
    found, _ = evaluated(windows(6), [Threshold(2.0), Threshold(4.0)], fit_windows=1)
    rates = {result.classifier: result.false_alarm_rate for result in found.classifiers}
    assert rates["threshold 2"] > rates["threshold 4"]


def test_two_changes_of_the_same_name_are_refused():
    twice = [Offset(), Statistical(), Offset()]
    with pytest.raises(SarcastError, match="two changes are called 'offset -2.5 dB'"):
        run_experiment(windows(1), predictors(), twice, rng=np.random.default_rng(0))
    with pytest.raises(SarcastError, match="two changes are called 'offset -2.5 dB'"):
        next(sample_cases([], twice, rng=np.random.default_rng(0)))


def test_the_papers_filter_drops_windows():
    several = windows(6)
    several[0].conditions[-1, COLUMNS.index("incidence")] = 40.0
    assert evaluated(several, paper_filter=True)[0].results[0].windows == 5


def test_groups_partition_the_windows():
    found, _ = evaluated(windows())
    passes = [g for g in found.groups if g.factor == "pass" and g.method == "latest"]
    assert {g.value for g in passes} == {"ascending", "descending"}
    by_change = [g.pixels for g in passes if g.change == "offset -2.5 dB"]
    assert sum(by_change) == found.results[0].pixels
    inside = [g for g in found.groups if g.factor == "cover"]
    assert {g.pixels for g in inside} == {found.results[0].pixels // 2}
    assert {g.value for g in inside} == {"forest"}
    assert not evaluated(windows(2), by_condition=False)[0].groups


@pytest.mark.parametrize(
    ("date", "values", "groups"),
    [
        ("2024-12-31", {"temperature": -3.0}, {"season": "winter", "weather": "frozen"}),
        ("2024-03-01", {"precipitation_1": 2.0}, {"season": "spring", "weather": "wet"}),
        ("2024-08-31", {}, {"season": "summer", "weather": "dry"}),
        ("2024-09-01", {"precipitation_0": np.nan}, {"season": "autumn"}),
        ("2024-02-29", {"incidence": 38.9}, {"season": "winter", "incidence": "36-40 degrees"}),
        ("2024-02-29", {"heading": -170.0}, {"pass": "descending"}),
    ],
)
def test_conditions_of_a_window(date, values, groups):
    plain = window(1)
    row = dict.fromkeys(COLUMNS, np.nan)
    row |= {"temperature": 5.0, "precipitation_0": 0.0, "precipitation_1": 0.0, **values}
    plain.conditions[-1] = [row[name] for name in COLUMNS]
    plain.times[-1] = np.datetime64(date)
    found = dict(condition_groups(plain))
    assert found.items() >= groups.items()
    assert ("weather" in found) == ("weather" in groups or "precipitation_0" not in values)


def test_classifiers_are_evaluated_on_windows_they_were_not_fitted_on():
    class Spy(Otsu):
        fitted: list = []  # noqa: RUF012
        predicted: list = []  # noqa: RUF012

        def fit(self, differences, changed=None):
            self.fitted.extend(d.tobytes() for d in differences)
            return super().fit(differences, changed)

        def predict(self, difference):
            self.predicted.append(difference.tobytes())
            return super().predict(difference)

    rng = np.random.default_rng(0)
    found, _ = evaluated(
        windows(), [Spy(), linear_svc(rng=rng), FalseAlarmRate(0.01)], fit_windows=4
    )
    assert len(Spy.fitted) == 4 * 4 * 2
    assert len(Spy.predicted) == 6 * 4 * 2
    assert not set(Spy.fitted) & set(Spy.predicted)
    by_name = {(c.method, c.change, c.classifier): c for c in found.classifiers}
    assert by_name["network", "offset -2.5 dB", "linear SVC"].balanced_accuracy > 0.85
    assert by_name["network", "offset -2.5 dB", "false-alarm rate 0.01"].false_alarm_rate < 0.02
    assert ("latest", "offset -2.5 dB", "false-alarm rate 0.01") not in by_name
    assert by_name["oracle", "statistical", "otsu"].pixels == 6 * 48 * 48


def test_a_classifiers_random_choices_are_the_same_for_all_methods():
    class Again(Network):
        name = "again"

    found = run_experiment(
        windows(8),
        {"network": [Network(), Again()], "strategy": [STRATEGIES["latest"]]},
        CHANGES,
        ExperimentOptions(shapes=SHAPES, fit_windows=3),
        [linear_svc(rng=np.random.default_rng(0))],
        rng=np.random.default_rng(0),
    ).evaluation("t", {}, rng=np.random.default_rng(0))
    for change in found.changes:
        each = {c.method: c.accuracy for c in found.classifiers if c.change == change}
        assert each["network"] == each["again"] != each["latest"]


def test_a_warning_where_no_window_is_left_to_evaluate_classifiers_on():
    message = "no classifier was evaluated: they are fitted on the first 6 windows with change"
    for fit_windows, count in ((6, 6), (6, 5)):
        with pytest.warns(UserWarning, match=message):
            found, _ = evaluated(windows(count), [Otsu()], fit_windows=fit_windows)
        assert not found.classifiers
        assert "auc" in as_dataset(found)
        assert "accuracy" not in as_dataset(found)
    found, _ = evaluated(windows(6), [Otsu()], fit_windows=5)
    assert {"accuracy", "f1", "kappa"} <= set(as_dataset(found))


def test_classifiers_are_fitted_on_pixels_valid_for_all_methods():
    images = []

    class Spy(Otsu):
        def fit(self, differences, changed=None):
            images.extend(differences)
            return super().fit(differences, changed)

    several = windows(4)
    several[0].previous[3, 0, :10] = np.nan
    evaluated(several, [Spy()], fit_windows=3)
    masked = [np.isnan(image).all(axis=0)[:10].all() for image in images]
    assert sum(masked) == len(images) // 3


def test_panels_show_the_network_beside_a_strategy():
    found, panels = evaluated(windows(), panels=2)
    assert len(panels) == 2
    assert panels[0].improved_name == "network"
    assert panels[0].conventional_name == "latest"
    assert [panel.title.split(": ")[1] for panel in panels] == ["offset -2.5 dB", "statistical"]
    assert panels[0].changed.any()
    pairs = [
        (panel, window)
        for panel in panels
        for window in windows()
        if np.array_equal(panel.improved, window.expected)
    ]
    assert len(pairs) == 2
    for panel, window in pairs:
        changed = (panel.actual != window.target).any(axis=0)
        assert not (changed & ~panel.changed).any()
        np.testing.assert_array_equal(panel.conventional, window.previous[-1])
    assert found.results


def test_the_example_is_the_window_of_the_first_panel():
    several = windows(2)
    found = run_experiment(
        several,
        predictors(),
        CHANGES,
        ExperimentOptions(shapes=SHAPES),
        rng=np.random.default_rng(0),
    )
    assert found.example is several[0]


def test_change_may_lie_anywhere_and_results_are_split_by_cover():
    """For an offset that is the same everywhere, the AUC of each cover is that of the whole."""
    found, panels = evaluated(windows(), within="anywhere", panels=10)
    assert any(panel.changed[24:].any() for panel in panels)
    cover = {
        g.value: g
        for g in found.groups
        if (g.factor, g.method, g.change) == ("cover", "oracle", "offset -2.5 dB")
    }
    assert set(cover) == {"forest", "open land"}
    (whole,) = (r for r in found.results if (r.method, r.change) == ("oracle", "offset -2.5 dB"))
    assert sum(group.pixels for group in cover.values()) == whole.pixels
    for group in cover.values():
        assert group.auc == pytest.approx(whole.auc, abs=0.03)


def test_a_window_of_several_cases_is_predicted_once():
    network, several = Network(), windows(3)
    cases = [
        Case(window, np.eye(48, dtype=bool), {name: window.target - 2.0})
        for window in several
        for name in ("one", "other")
    ]
    evaluate_cases(cases, predictors(network), ExperimentOptions(at_once=4))
    assert network.batches == [2, 1]


class SceneLevel:
    """The mean of the previous images, moved to the level of the target."""

    name, size, previous, uses_target = "scene level", None, None, True

    def expect(self, windows):
        images = []
        for window in windows:
            mean = window.previous.mean(axis=0)
            level = np.median(window.target - mean, axis=(1, 2), keepdims=True)
            images.append(Expected(mean + level, np.full_like(mean, 1.5)))
        return images


class SharedSceneLevel(SceneLevel):
    """The same, wrongly asked only once for each window."""

    uses_target = False


LARGE = ShapeOptions(least=1, size=0.9)


def test_a_predictor_that_uses_the_target_sees_each_change():
    """Its scores are those of a plain loop that predicts from the target with the change in it."""
    several = windows(6)
    found = run_experiment(
        several,
        {"network": [SceneLevel(), Network()], "strategy": [STRATEGIES["mean"]]},
        CHANGES,
        ExperimentOptions(shapes=LARGE, exact=True, within="anywhere", at_once=4),
        rng=np.random.default_rng(0),
    ).evaluation("t", {}, rng=np.random.default_rng(0))
    cases = list(simulated_cases(several, CHANGES, LARGE, "anywhere", rng=np.random.default_rng(0)))
    changed = np.stack([case.changed for case in cases])
    assert 0.1 < changed.mean() < 0.9
    results = [result for result in found.results if result.method == "scene level"]
    assert {(r.change, r.difference) for r in results} == {
        (change.name, difference) for change in CHANGES for difference in ("norm", "z")
    }
    for result in results:
        residuals = []
        for case in cases:
            seen = replace(case.window, target=case.actual[result.change])
            residuals.append(seen.target - SceneLevel().expect([seen])[0].mean)
        plain = auc_exact(differences.norm(np.stack(residuals)), changed)
        assert result.auc == pytest.approx(plain, abs=1e-6)
        unchanged = [w.target - SceneLevel().expect([w])[0].mean for w in several]
        assert result.mse_db2 == pytest.approx(np.mean(np.square(unchanged)), rel=1e-5)
    (level,) = (c for c in found.calibration if c.method == "scene level")
    assert level.spread == pytest.approx(np.sqrt(np.mean(np.square(unchanged))) / 1.5, rel=1e-5)


def scene_level_of(predictor):
    """AUC of the norm, linear SVC accuracy and panels of a predictor of the scene's level."""
    options = ExperimentOptions(shapes=LARGE, within="anywhere", fit_windows=3)
    found = run_experiment(
        windows(8),
        {"network": [predictor], "strategy": [STRATEGIES["mean"]]},
        [Offset()],
        options,
        [linear_svc(rng=np.random.default_rng(1))],
        rng=np.random.default_rng(0),
    )
    result = found.evaluation("t", {}, rng=np.random.default_rng(0))
    wanted = ("scene level", "norm")
    (auc,) = (r.auc for r in result.results if (r.method, r.difference) == wanted)
    (accuracy,) = (c.balanced_accuracy for c in result.classifiers if c.method == "scene level")
    return auc, accuracy, found.panels


def test_a_prediction_shared_with_the_unchanged_target_would_flatter():
    auc, accuracy, panels = scene_level_of(SceneLevel())
    leaked_auc, leaked_accuracy, leaked_panels = scene_level_of(SharedSceneLevel())
    assert auc < leaked_auc - 0.05
    assert accuracy < leaked_accuracy - 0.01
    for panel, leaked in zip(panels, leaked_panels, strict=True):
        mean = panel.conventional
        level = np.median(panel.actual - mean, axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(panel.improved, mean + level, rtol=1e-6)
        assert not np.allclose(leaked.improved, panel.improved, atol=0.1)


def test_a_predictor_that_repeats_the_target_finds_nothing():
    class Repeats(SceneLevel):
        def expect(self, windows):
            return [Expected(window.target.copy()) for window in windows]

    options = ExperimentOptions(shapes=SHAPES)
    found = run_experiment(
        windows(3), {"network": [Repeats()]}, CHANGES, options, rng=np.random.default_rng(0)
    ).evaluation("t", {}, rng=np.random.default_rng(0))
    assert [result.auc for result in found.results] == [0.5, 0.5]


def test_a_window_of_several_cases_is_predicted_with_each_of_its_changes():
    """At most three windows are predicted together: without change, then with the changes."""
    batches = []

    class Counts(SceneLevel):
        def expect(self, windows):
            batches.append([float(window.target.mean()) for window in windows])
            return super().expect(windows)

    several = windows(2)
    cases = [
        Case(window, np.eye(48, dtype=bool), {name: window.target + level})
        for window in several
        for name, level in (("one", 100.0), ("other", 200.0))
    ]
    evaluate_cases(cases, {"network": [Counts()]}, ExperimentOptions(at_once=3))
    levels = [w.target.mean() for w in several]
    assert [len(batch) for batch in batches] == [2, 3, 1, 1]
    np.testing.assert_allclose(batches[0], levels, rtol=1e-5)
    added = np.array([100.0, 200.0, 100.0]) + np.array(levels)[[0, 0, 1]]
    np.testing.assert_allclose(batches[1], added, rtol=1e-5)
    np.testing.assert_allclose(batches[3], 200.0 + levels[1], rtol=1e-5)


def test_evaluators_of_parts_add_to_the_whole():
    """With classifiers fitted in two shares, and parts counted by Dask."""
    several, options = windows(), ExperimentOptions(shapes=SHAPES, fit_windows=3, at_once=2)
    cases = list(simulated_cases(several, CHANGES, SHAPES, rng=np.random.default_rng(0)))

    def classifiers():
        return [Otsu(), linear_svc(rng=np.random.default_rng(1))]

    whole = evaluate_cases(cases, predictors(), options, classifiers()).evaluator
    fitted = sum(
        (fit_on_first_cases(cases, predictors(), options, classifiers(), (k, 2)) for k in (1, 0)),
        start=FittedClassifiers((), 3),
    )
    parts = [
        dask.delayed(evaluate_cases)(
            cases[first : first + 4], predictors(), options, fitted, first=first
        ).evaluator
        for first in (0, 4, 8)
    ]
    summed = reduce(add, dask.compute(*parts, scheduler="threads"))
    found, known = (each.result("t", {}, rng=np.random.default_rng(0)) for each in (summed, whole))
    assert found.groups == known.groups
    assert [r.curve for r in found.results] == [r.curve for r in known.results]
    for name, measures in {
        "results": ("auc", "auc_low", "auc_high", "mse_db2", "pixels", "windows"),
        "classifiers": ("balanced_accuracy", "kappa", "f1", "pixels"),
        "calibration": ("spread", "values"),
        "paired": ("gain", "low", "high"),
    }.items():
        for result, oracle in zip(getattr(found, name), getattr(known, name), strict=True):
            assert result.method == oracle.method
            for measure in measures:
                exact = pytest.approx(getattr(oracle, measure), rel=1e-12)
                assert getattr(result, measure) == exact


def test_recorded_predictions_are_methods():
    several = windows(4)
    cases = [
        Case(w, change_mask(LandImage.from_window(w).changeable, SHAPES,
                            rng=np.random.default_rng(n)),
              {"x": w.target - 3.0}, {"kept": Expected(w.expected)})
        for n, w in enumerate(several)
    ]  # fmt: skip
    found = evaluate_cases(
        cases, {"strategy": [STRATEGIES["latest"]]}, recorded={"kept": "network"}
    )
    results = found.evaluation("t", {}, rng=np.random.default_rng(0)).results
    assert {(r.method, r.role) for r in results} == {("kept", "network"), ("latest", "strategy")}


def test_a_window_without_its_recorded_prediction_is_refused():
    mask = np.eye(48, dtype=bool)
    cases = [
        Case(window, mask, {"x": window.target - 3.0}, {"kept": Expected(window.expected)})
        for window in windows(3)
    ]
    cases[1] = replace(cases[1], expected={})
    with pytest.raises(
        SarcastError, match="come with its kept, but window 1 .counted from 0. has none"
    ):
        evaluate_cases(cases, predictors(), recorded={"kept": "network"})


PAPER = {"closest-geometry": "method 1", "latest-same-pass": "method 2", PREDICTION: "proposed"}


def test_published_samples_give_the_published_figures(data_dir):
    folder = data_dir / "tfrecord"
    known = json.loads((folder / "expected.json").read_text())
    paths = sorted((folder / "simulated-change-with-prediction").glob("*"))
    found = evaluate_cases(
        sample_cases(read_samples(paths), [Offset()], rng=np.random.default_rng(0)),
        {"strategy": [STRATEGIES["closest-geometry"], STRATEGIES["latest-same-pass"]]},
        ExperimentOptions(paper_filter=True, exact=True),
        recorded={PREDICTION: "network"},
    ).evaluation("t", {}, rng=np.random.default_rng(0))
    assert len(found.results) == 6
    for result in found.results:
        figure = known["threshold_auc_all_pixels"][result.change][PAPER[result.method]]
        assert result.auc == pytest.approx(figure, abs=1e-6)
        assert result.windows == known["samples_passing_filter"]
        assert result.pixels == known["pixels"]


def test_published_samples_give_the_published_svc_accuracy(data_dir):
    """Mean accuracy of three splits by image, within the published range of three ± 0.02."""
    folder = data_dir / "tfrecord"
    known = json.loads((folder / "expected.json").read_text())["linear_svc_accuracy_three_splits"]
    paths = sorted((folder / "simulated-change-with-prediction").glob("*"))
    cases = list(sample_cases(read_samples(paths), [Offset()], rng=np.random.default_rng(0)))
    accuracies = {}
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(cases))
        shuffled = [cases[number] for number in order]
        with_change = sum(case.changed.any() for case in shuffled[: round(len(order) * 0.67)])
        found = evaluate_cases(
            shuffled,
            {"strategy": [STRATEGIES["closest-geometry"]]},
            ExperimentOptions(fit_windows=int(with_change)),
            [linear_svc(rng=np.random.default_rng(seed))],
            {PREDICTION: "network"},
        ).evaluation("t", {}, rng=np.random.default_rng(0))
        for result in found.classifiers:
            key = result.change, PAPER[result.method]
            accuracies.setdefault(key, []).append(result.balanced_accuracy)
    assert len(accuracies) == 4
    for (change, method), reached in accuracies.items():
        published = known[change][method]
        assert min(published) - 0.02 <= np.mean(reached) <= max(published) + 0.02
