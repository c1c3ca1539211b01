import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics

from sarcast.errors import SarcastError
from sarcast.evaluation.metrics import (
    Calibration,
    CloserCounts,
    Confusion,
    Evaluation,
    Evaluator,
    MapKey,
    ScoreCounts,
    ScoreKey,
    auc_exact,
    average_precision,
    count_calibration,
    count_closer,
    count_confusion,
    count_errors,
    count_scores,
    roc,
)
from sarcast.evaluation.metrics.intervals import (
    CoarseCounts,
    Resampling,
    draw_weights,
    interval,
    replicate_auc,
)
from sarcast.evaluation.metrics.scores import _bin_starts, _bins
from sarcast.evaluation.metrics.statistics import LEVELS

FLOATS = st.floats(width=32, allow_nan=False)


def scored(pixels=20_000, share=0.1, gain=1.0, seed=0):
    rng = np.random.default_rng(seed)
    changed = rng.random(pixels) < share
    scores = np.hypot(*rng.standard_normal((2, pixels))) + gain * changed
    return scores.astype(np.float32), changed


@given(arrays(np.float32, 50, elements=FLOATS))
def test_bins_keep_the_order_of_the_numbers(values):
    bins = _bins(np.sort(values)).astype(np.int64)
    assert (np.diff(bins) >= 0).all()


@given(FLOATS)
def test_a_bin_starts_at_or_below_its_scores(value):
    (number,) = _bins(np.array([value], dtype=np.float32)).astype(int)
    starts = _bin_starts(number >> 11)
    assert starts[number & 2047] <= value or value < 0
    if number & 2047 < 2047:
        assert not value > starts[(number & 2047) + 1]


@pytest.mark.parametrize("share", [0.5, 0.01])
@pytest.mark.parametrize("gain", [0.0, 0.5, 2.0])
def test_auc_and_precision_equal_scikit_learn(share, gain):
    scores, changed = scored(share=share, gain=gain)
    state = count_scores(scores, changed)
    known = metrics.roc_auc_score(changed, scores)
    assert auc_exact(scores, changed) == pytest.approx(known, abs=1e-12)
    assert roc(state).auc == pytest.approx(known, abs=1e-4)
    assert average_precision(state) == pytest.approx(
        metrics.average_precision_score(changed, scores), abs=1e-3
    )


def test_ties_count_half():
    scores = np.array([1, 1, 1, 2, 2, 0], dtype=np.float32)
    changed = np.array([1, 0, 0, 1, 0, 0], dtype=bool)
    known = metrics.roc_auc_score(changed, scores)
    assert roc(count_scores(scores, changed)).auc == pytest.approx(known)
    assert auc_exact(scores, changed) == pytest.approx(known)
    assert average_precision(count_scores(scores, changed)) == pytest.approx(
        metrics.average_precision_score(changed, scores)
    )


def test_every_float_has_a_bin():
    scores = np.array([-np.inf, -1.0, -0.0, 0.0, 1e-40, 1.0, np.inf], dtype=np.float32)
    changed = np.array([0, 0, 0, 1, 0, 1, 1], dtype=bool)
    curve = roc(count_scores(scores, changed))
    known = metrics.roc_auc_score(changed, np.array([0, 1, 2, 2, 3, 4, 5]))
    assert curve.auc == pytest.approx(known)


@given(arrays(np.float32, 60, elements=st.floats(0, 20, width=32)), st.data())
@settings(max_examples=50)
def test_states_add_up_whatever_the_parts(scores, data):
    changed = data.draw(arrays(bool, 60))
    cuts = sorted(data.draw(st.lists(st.integers(0, 60), max_size=4)))
    parts = zip(np.split(scores, cuts), np.split(changed, cuts), strict=True)
    summed = sum((count_scores(*part) for part in parts), ScoreCounts())
    whole = count_scores(scores, changed)
    assert summed.pages.keys() == whole.pages.keys()
    for page, counts in whole.pages.items():
        np.testing.assert_array_equal(summed.pages[page], counts)


def test_blocks_of_dask_add_to_the_whole():
    scores, changed = (part.reshape(100, 200) for part in scored())
    chunked = [da.from_array(part, chunks=(33, 70)) for part in (scores, changed)]
    blocks = zip(*(part.to_delayed().ravel() for part in chunked), strict=True)
    states = dask.compute(*(dask.delayed(count_scores)(*pair) for pair in blocks))
    assert len(states) == 12
    summed, whole = sum(states, ScoreCounts()), count_scores(scores, changed)
    assert roc(summed).auc == roc(whole).auc
    assert summed.pages.keys() == whole.pages.keys()
    assert all((summed.pages[page] == counts).all() for page, counts in whole.pages.items())


def test_adding_changes_neither_part():
    one, other = (count_scores(*scored(100, seed=seed)) for seed in (0, 1))
    before = one.changed, other.changed
    assert (one + other).changed == sum(before)
    assert (one.changed, other.changed) == before
    assert (one + ScoreCounts()).changed == before[0]


def test_curve_is_scikit_learns():
    scores, changed = scored()
    curve = roc(count_scores(scores, changed))
    false_alarm, detection, _ = metrics.roc_curve(changed, scores)
    at = np.linspace(0, 1, 101)
    np.testing.assert_allclose(
        np.interp(at, curve.false_alarm_rate, curve.detection_rate),
        np.interp(at, false_alarm, detection),
        atol=2e-3,
    )
    assert curve.detection_rate_at(0.1) == pytest.approx(
        np.interp(0.1, false_alarm, detection), abs=2e-3
    )
    small = curve.reduced()
    assert small.threshold.size <= 401
    assert small.auc == pytest.approx(curve.auc, abs=1e-4)
    assert (small.false_alarm_rate[-1], small.detection_rate[-1]) == (1.0, 1.0)


def test_invalid_pixels_are_not_counted():
    scores, changed = scored(100)
    scores[:10] = np.nan
    assert count_scores(scores, changed).changed == changed[10:].sum()
    valid = np.zeros(100, dtype=bool)
    valid[50:] = True
    assert count_scores(scores, changed, valid).unchanged == (~changed[50:]).sum()
    with pytest.raises(SarcastError, match="10 valid pixels have no score"):
        count_scores(scores, changed, ~valid)
    assert count_scores(np.full(3, np.nan, np.float32), np.ones(3, bool)).pages == {}


@pytest.mark.parametrize("value", [True, False])
def test_one_class_is_an_error(value):
    scores, _ = scored(50)
    changed = np.full(50, value)
    for measure in (lambda: roc(count_scores(scores, changed)), lambda: auc_exact(scores, changed)):
        with pytest.raises(SarcastError, match="needs changed and unchanged pixels"):
            measure()
    if not value:
        with pytest.raises(SarcastError, match="needs changed pixels"):
            average_precision(count_scores(scores, changed))


def test_shapes_must_agree():
    scores, changed = scored(50)
    with pytest.raises(SarcastError, match=r"scores' shape \(50,\), but has \(49,\)"):
        count_scores(scores, changed[1:])
    with pytest.raises(SarcastError, match="the mask of valid pixels must have"):
        count_scores(scores, changed, changed[1:])
    with pytest.raises(SarcastError, match=r"shape \(2, 2\), but the truth \(3, 2\)"):
        count_confusion(np.zeros((2, 2), bool), np.zeros((3, 2), bool))


@given(arrays(bool, 40), arrays(bool, 40))
def test_confusion_equals_scikit_learn(called, changed):
    counts = count_confusion(called, changed)
    negative, false, missed, positive = metrics.confusion_matrix(
        changed, called, labels=[False, True]
    ).ravel()
    assert counts == Confusion(positive, false, missed, negative)
    assert counts.accuracy == pytest.approx(metrics.accuracy_score(changed, called))
    if positive + false + missed:
        assert counts.f1 == pytest.approx(metrics.f1_score(changed, called))
    if 0 < called.sum() + changed.sum() < 80:
        assert counts.kappa == pytest.approx(metrics.cohen_kappa_score(changed, called))
    if 0 < changed.sum() < 40:
        assert counts.balanced().accuracy == pytest.approx(
            metrics.balanced_accuracy_score(changed, called)
        )
    halves = count_confusion(called[:7], changed[:7]) + count_confusion(called[7:], changed[7:])
    assert halves == counts


def test_confusion_counts_only_valid_pixels():
    called, changed = np.array([True, True, False]), np.array([True, False, False])
    valid = np.array([True, False, True])
    assert count_confusion(called, changed, valid) == Confusion(1, 0, 0, 1)


def test_errors_equal_numpy():
    rng = np.random.default_rng(0)
    actual, expected = rng.normal(size=(2, 2, 9, 9)).astype(np.float32)
    expected[0, 2, 3] = np.nan
    left = count_errors(actual[:, :, :4], expected[:, :, :4])
    right = count_errors(actual[:, :, 4:], expected[:, :, 4:])
    valid = np.isfinite(expected).all(axis=0)
    plain = np.mean((actual.astype(float) - expected)[:, valid] ** 2)
    assert (left + right).mse == pytest.approx(plain)
    assert (left + right).pixels == 80


@pytest.mark.parametrize("factor", [1.0, 0.5, 2.0])
def test_calibration_shows_sigma_too_small_or_large(factor):
    z = factor * np.random.default_rng(0).standard_normal((2, 300, 300)).astype(np.float32)
    parts = [count_calibration(part) for part in np.array_split(z, 3, axis=1)]
    found = parts[0] + parts[1] + parts[2]
    limits = stats.norm.isf((1 - np.array(LEVELS)) / 2)
    np.testing.assert_allclose(found.coverage, 1 - 2 * stats.norm.sf(limits / factor), atol=0.01)
    assert found.spread == pytest.approx(factor, rel=0.01)
    assert isinstance(found, Calibration)


BANDS = ("VV", "VH")


def images_to_compare(rng, *, rows=30):
    """Actual, expected and reference image, dims (band, y, x), with ties and gaps."""
    actual, expected, reference = rng.normal(-12.0, 2.0, (3, 2, rows, 20)).astype(np.float32)
    expected[:, :2] = reference[:, :2]
    for number, image in enumerate((actual, expected, reference)):
        image[number % 2, -1, number] = np.nan
    return actual, expected, reference


def test_closer_shares_equal_a_loop_over_pixels():
    rng = np.random.default_rng(4)
    actual, expected, reference = images_to_compare(rng)
    valid = rng.random((30, 20)) < 0.8
    wins = {"VV": [], "VH": [], "norm": []}
    for row, column in zip(*np.nonzero(valid), strict=True):
        errors = np.abs(actual - expected)[:, row, column]
        others = np.abs(actual - reference)[:, row, column]
        if np.isfinite([errors, others]).all():
            for name, error, other in zip(
                wins,
                [*errors, np.hypot(*errors.astype(float))],
                [*others, np.hypot(*others.astype(float))],
                strict=True,
            ):
                wins[name].append(0.5 if error == other else float(error < other))
    found = count_closer(actual, expected, reference, BANDS, valid)
    assert found.shares == pytest.approx({name: np.mean(each) for name, each in wins.items()})
    assert found.pixels == len(wins["norm"]) < valid.sum()
    known = valid & np.isfinite(actual + expected + reference).all(axis=0)
    errors, others = (
        np.square((actual - image)[:, known]).mean() for image in (expected, reference)
    )
    assert found.share_of_images == float(errors < others)


def test_closer_counts_of_images_add_up():
    rng = np.random.default_rng(5)
    parts = [count_closer(*images_to_compare(rng), BANDS) for _ in range(4)]
    summed = sum(parts, CloserCounts())
    weights = [part.pixels for part in parts]
    for name in ("VV", "VH", "norm"):
        shares = [part.shares[name] for part in parts]
        assert summed.shares[name] == pytest.approx(np.average(shares, weights=weights))
    assert summed.images == 4
    assert summed.share_of_images == pytest.approx(np.mean([p.share_of_images for p in parts]))


def test_the_reference_is_as_close_as_itself_and_the_truth_is_always_closer():
    actual, _, reference = images_to_compare(np.random.default_rng(6))
    same = count_closer(actual, reference, reference, BANDS)
    assert {*same.shares.values(), same.share_of_images} == {0.5}
    truth = count_closer(actual, actual, reference, BANDS)
    assert {*truth.shares.values(), truth.share_of_images} == {1.0}
    nothing = count_closer(actual, actual, reference, BANDS, np.zeros((30, 20), dtype=bool))
    assert nothing == CloserCounts()


def windows(count=40, gain=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return [scored(500, gain=gain + rng.normal(0, 0.5), seed=seed * 1000 + n) for n in range(count)]


def test_replicates_equal_a_plain_bootstrap():
    sample = windows(12)
    coarse = [CoarseCounts.of(count_scores(*window)) for window in sample]
    weights = draw_weights(12, rng=np.random.default_rng(0))
    assert (weights.sum(axis=1) == 12).all()
    found = replicate_auc(coarse, weights)
    for number in range(5):
        repeats = weights[number].astype(int)
        drawn = [w for w, n in zip(sample, repeats, strict=True) for _ in range(n)]
        scores, changed = (np.concatenate(part) for part in zip(*drawn, strict=True))
        assert found[number] == pytest.approx(metrics.roc_auc_score(changed, scores), abs=1e-3)


def test_intervals_cover_the_truth_at_their_nominal_rate():
    """About 95 % of the intervals contain the AUC of very many windows."""
    many = zip(*windows(600, seed=99), strict=True)
    truth = auc_exact(*(np.concatenate(part) for part in many))
    covered = 0
    for seed in range(60):
        coarse = [CoarseCounts.of(count_scores(*window)) for window in windows(40, seed=seed)]
        weights = draw_weights(40, rng=np.random.default_rng(seed))[:300]
        bounds = interval(replicate_auc(coarse, weights))
        covered += bounds.low <= truth <= bounds.high
    assert 49 <= covered <= 60


def evaluators_of_dates(dates, each, seed):
    """Evaluators of the same windows, with dates as clusters and without clusters.

    Change is of another size on every date, so that the windows of a date are correlated.
    """
    rng = np.random.default_rng(seed)
    clustered, independent = Evaluator(METHODS), Evaluator(METHODS)
    for date, gain in enumerate(rng.normal(1.0, 0.5, dates)):
        for number in range(each):
            name = f"{date}, {number}"
            pixels = scored(300, gain=gain, seed=[seed, date, number])
            for evaluator in (clustered, independent):
                key = ScoreKey("unet", "offset", "norm")
                evaluator.add_scores(key, count_scores(*pixels), name)
            clustered.set_cluster(name, str(date))
    return clustered, independent


def test_intervals_over_few_dates_cover_the_truth_and_those_over_windows_do_not():
    (many,) = evaluated(evaluators_of_dates(600, 1, 99)[0]).results
    covered = np.zeros(2, dtype=int)
    for seed in range(25):
        for column, evaluator in enumerate(evaluators_of_dates(8, 15, seed)):
            (result,) = evaluated(evaluator).results
            covered[column] += result.auc_low <= many.auc <= result.auc_high
    assert covered[0] >= 20
    assert covered[1] <= 15


def test_a_date_is_drawn_with_all_its_windows():
    clusters = {"a": "x", "b": "y", "c": "x", "d": "z", "e": "y"}
    resampling = Resampling.of(clusters, rng=np.random.default_rng(1))
    maps = {name: Confusion(*np.random.default_rng(ord(name)).integers(1, 50, 4)) for name in "abe"}
    found = resampling.accuracies(maps)
    drawn = draw_weights(3, rng=np.random.default_rng(1)).astype(int)
    for number in (0, 7, 500):
        dates = [date for date, n in zip("xyz", drawn[number], strict=True) for _ in range(n)]
        several = [maps[name] for date in dates for name in maps if clusters[name] == date]
        if several:
            assert found[number] == pytest.approx(sum(several, Confusion()).accuracy)


def test_dates_of_one_window_and_windows_of_one_date_are_drawn_as_windows():
    plain = evaluated(filled(range(12)))
    for date in ("another day than {}", "one"):
        clustered = filled(range(12))
        for number in range(12):
            clustered.set_cluster(str(number), date.format(99 - number))
        assert evaluated(clustered) == plain


def test_a_date_split_over_several_parts_is_one_cluster():
    whole, parts = filled(range(12)), [filled(range(start, start + 4)) for start in (0, 4, 8)]
    for number in range(12):
        for evaluator in (whole, parts[number // 4]):
            evaluator.set_cluster(str(number), f"date {number % 3}")
    found = evaluated(parts[0] + parts[1] + parts[2])
    assert found == evaluated(whole)
    assert found.results[0].auc_low != evaluated(filled(range(12))).results[0].auc_low


def test_interval_of_nothing_is_none():
    assert interval(np.full(5, np.nan)) is None


METHODS = {"unet": "network", "latest": "strategy", "mean": "strategy", "oracle": "oracle"}


def filled(order, **options):
    evaluator = Evaluator(METHODS, **options)
    for number in order:
        for rank, method in enumerate(METHODS):
            scores, changed = scored(400, gain=2.0 - 0.4 * rank, seed=number)
            key = ScoreKey(method, "offset", "norm")
            state = count_scores(scores, changed)
            group = ("pass", "ascending" if number % 2 else "descending")
            evaluator.add_scores(key, state, str(number), [group])
            evaluator.add_pixels(key, scores, changed)
            called = count_confusion(scores > 2, changed)
            evaluator.add_map(MapKey(method, "offset", "t"), called, str(number))
            evaluator.add_errors(method, count_errors(scores[None, None], np.zeros((1, 1, 400))))
            evaluator.add_calibration(method, count_calibration(scores[None, None]))
            images = scores[None, None], np.zeros((1, 1, 400)), np.ones((1, 1, 400))
            evaluator.add_closer(method, count_closer(*images, ["VV"]))
    return evaluator


def evaluated(evaluator):
    return evaluator.result("title", {"command": "x"}, rng=np.random.default_rng(0))


@pytest.mark.parametrize("exact", [False, True])
def test_evaluators_of_parts_add_to_the_whole(exact):
    whole = evaluated(filled(range(10), exact=exact))
    parts = filled(range(6), exact=exact) + filled(range(6, 10), exact=exact)
    assert evaluated(parts) == whole


def test_result_of_an_evaluator():
    found = evaluated(filled(range(12), exact=True))
    by_name = {result.method: result for result in found.results}
    assert found.changes == ("offset",)
    assert by_name["unet"].auc > by_name["latest"].auc > by_name["mean"].auc
    for rank, method in enumerate(METHODS):
        pixels = [scored(400, gain=2.0 - 0.4 * rank, seed=number) for number in range(12)]
        scores, changed = (np.concatenate(part) for part in zip(*pixels, strict=True))
        result = by_name[method]
        assert result.auc == pytest.approx(metrics.roc_auc_score(changed, scores), abs=1e-9)
        assert result.auc_low < result.auc < result.auc_high
        assert result.pixels == 4800
        assert result.changed_pixels == changed.sum()
        assert result.mse_db2 == pytest.approx(np.mean(scores.astype(float) ** 2))
        each = [metrics.roc_auc_score(c, s) for s, c in pixels]
        np.testing.assert_allclose(result.auc_windows, each, atol=5e-3)
    assert {group.value for group in found.groups} == {"ascending", "descending"}
    assert {(p.method, p.than) for p in found.paired} == {("unet", "latest"), ("oracle", "latest")}
    (gain,) = (p for p in found.paired if p.method == "unet")
    assert gain.low < gain.gain < gain.high
    assert gain.gain == pytest.approx(by_name["unet"].auc - by_name["latest"].auc)
    assert {c.classifier for c in found.classifiers} == {"t"}
    assert len(found.calibration) == 4
    (closer,) = (each for each in found.closer if each.method == method)
    assert closer.shares["VV"] == closer.shares["norm"] == np.mean(scores < 0.5)
    means = [(np.mean(np.square(s)), np.mean(np.square(s - 1))) for s, _ in pixels]
    assert closer.windows == np.mean([zero < one for zero, one in means])
    assert (closer.role, closer.pixels) == (result.role, 4800)


def test_accuracies_of_replicates_equal_a_plain_bootstrap():
    rng = np.random.default_rng(0)
    maps = {name: Confusion(*rng.integers(1, 50, 4)) for name in "abcd"}
    resampling = Resampling.of({name: name for name in "abcdef"}, rng=np.random.default_rng(1))
    found = resampling.accuracies(maps)
    names = sorted("abcdef")
    for number in (0, 7, 500):
        times = dict(zip(names, resampling.weights[number + 1], strict=True))
        drawn = [maps[name] for name in maps for _ in range(int(times[name]))]
        summed = sum(drawn, Confusion())
        assert found[number] == pytest.approx(summed.accuracy)
    assert (resampling.weights[0] == 1).all()


def test_gains_of_classifiers_are_over_the_best_strategy_with_their_interval():
    found = evaluated(filled(range(12)))
    results = {result.method: result for result in found.classifiers}
    gains = {gain.method: gain for gain in found.paired_classifiers}
    assert set(gains) == {"unet", "oracle"}
    best = max(("latest", "mean"), key=lambda name: results[name].balanced_accuracy)
    for method, gain in gains.items():
        assert gain.than == best
        result = results[method]
        step = result.balanced_accuracy - results[best].balanced_accuracy
        assert gain.gain == pytest.approx(step)
        assert gain.low < gain.gain < gain.high
        low, high = result.balanced_accuracy_low, result.balanced_accuracy_high
        assert low < result.balanced_accuracy < high


def test_pairing_makes_the_interval_of_a_gain_narrower():
    found = evaluated(filled(range(30)))
    (gain,) = (p for p in found.paired if p.method == "unet")
    unet, latest = found.results[0], found.results[1]
    unpaired = (unet.auc_high - unet.auc_low) + (latest.auc_high - latest.auc_low)
    assert gain.high - gain.low < 0.8 * unpaired


def test_a_window_without_change_counts_but_has_no_auc():
    evaluator = filled(range(3))
    scores, _ = scored(400)
    state = count_scores(scores, np.zeros(400, dtype=bool))
    for method in METHODS:
        evaluator.add_scores(ScoreKey(method, "offset", "norm"), state, "without change")
    result = evaluated(evaluator).results[0]
    assert result.windows == 4
    assert result.auc_windows[-1] is None
    assert result.pixels == 1600


def test_nothing_evaluated_is_an_error():
    with pytest.raises(SarcastError, match="nothing was evaluated"):
        evaluated(Evaluator(METHODS))


def test_evaluation_is_read_back_from_its_file(tmp_path):
    found = evaluated(filled(range(3)))
    found.write(tmp_path / "evaluation.json")
    assert Evaluation.read(tmp_path / "evaluation.json") == found


def test_a_file_that_is_no_evaluation_is_refused(tmp_path):
    path = tmp_path / "evaluation.json"
    with pytest.raises(SarcastError, match="cannot be read: No such file"):
        Evaluation.read(path)
    path.write_text('{"schema_version": 2, "title": "x", "results": []}')
    with pytest.raises(
        SarcastError, match=r"not an evaluation of schema version 1 \(schema_version"
    ):
        Evaluation.read(path)
    path.write_text("{")
    with pytest.raises(SarcastError, match="not an evaluation of schema version 1"):
        Evaluation.read(path)


def test_coarse_bins_do_not_shift_an_interval():
    """With very many pixels a window and equal windows, the narrow interval contains the AUC."""
    evaluator = Evaluator(METHODS)
    scores, changed = scored(400_000, gain=1.0)
    for number in range(5):
        part = slice(number, None, 5)
        state = count_scores(scores[part], changed[part])
        evaluator.add_scores(ScoreKey("unet", "offset", "norm"), state, str(number))
    (result,) = evaluated(evaluator).results
    assert result.auc_low < result.auc < result.auc_high
    assert result.auc_high - result.auc_low < 5e-3
