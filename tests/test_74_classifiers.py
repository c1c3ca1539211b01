import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier

from sarcast.detection.classifiers import (
    BestThreshold,
    FalseAlarmRate,
    FromCallable,
    KittlerIllingworth,
    Otsu,
    PixelEstimator,
    Threshold,
    linear_svc,
    norm_histogram,
)
from sarcast.detection.difference import norm
from sarcast.detection.spatial import MarkovField, PcaKMeans
from sarcast.errors import SarcastError


def images(count=3, size=64, step=-4.0, seed=0):
    """Difference images of unit noise with a changed square of ``step`` dB, and their masks."""
    rng = np.random.default_rng(seed)
    masks = [np.zeros((size, size), dtype=bool) for _ in range(count)]
    for mask in masks:
        mask[10:40, 10:40] = True
    noise = rng.standard_normal((count, 2, size, size))
    return [(n + step * m).astype(np.float32) for n, m in zip(noise, masks, strict=True)], masks


def every(rng):
    return [
        Threshold(3.0),
        BestThreshold(),
        Otsu(),
        KittlerIllingworth(),
        FalseAlarmRate(0.01),
        linear_svc(rng=rng),
        PixelEstimator("forest", RandomForestClassifier(10, random_state=0), rng=rng),
        FromCallable("sum", lambda d: d.sum(axis=0) < -3.0),
    ]


@pytest.mark.parametrize("number", range(8))
def test_finds_a_plain_change(number):
    differences, masks = images()
    classifier = every(np.random.default_rng(0))[number].fresh().fit(differences, masks)
    called = classifier.predict(differences[0])
    assert called.dtype == bool
    assert (called == masks[0]).mean() > 0.9


@pytest.mark.parametrize("number", range(8))
def test_what_was_not_seen_is_unchanged_and_not_learnt_from(number):
    differences, masks = images()
    differences[0][1, 20:30, 20:30] = np.nan
    differences[1][:] = np.nan
    classifier = every(np.random.default_rng(0))[number].fresh().fit(differences, masks)
    assert not classifier.predict(differences[0])[20:30, 20:30].any()
    assert not classifier.predict(differences[1]).any()


@pytest.mark.parametrize(
    "classifier",
    [
        Otsu(),
        linear_svc(rng=np.random.default_rng(0)),
        PixelEstimator("forest", RandomForestClassifier(10), rng=np.random.default_rng(0)),
        PcaKMeans(rng=np.random.default_rng(0)),
        MarkovField(),
    ],
)
def test_what_has_not_learnt_says_so(classifier):
    (difference, *_), _ = images()
    with pytest.raises(
        SarcastError, match=f"^{type(classifier).__name__} has not learnt yet; call"
    ):
        classifier.predict(difference)


def test_fixed_threshold_by_hand():
    difference = np.array([[[3.0, 3.0]], [[4.0, 4.1]]], dtype=np.float32)
    np.testing.assert_array_equal(Threshold(5.0).predict(difference), [[False, True]])
    assert Threshold(5.0).fit([difference]).threshold_ == 5.0
    assert [Threshold(value).name for value in (5, 2.5)] == ["threshold 5", "threshold 2.5"]
    with pytest.raises(SarcastError, match="0 or more, not -1"):
        Threshold(-1.0)


def plain_criterion(kind, differences):
    """Best threshold by trying every edge of the histogram on the histogram itself."""
    counts, edges = norm_histogram(differences)
    centres = (edges[:-1] + edges[1:]) / 2
    values = np.repeat(centres, counts)
    found = []
    for edge in edges[1:-1]:
        below, above = values[values < edge], values[values > edge]
        if not below.size or not above.size:
            found.append(np.inf)
            continue
        share = below.size / values.size
        if kind == "otsu":
            found.append(-share * (1 - share) * (above.mean() - below.mean()) ** 2)
            continue
        floor = (edges[1] - edges[0]) / np.sqrt(12)
        stds = [max(side.std(), floor) for side in (below, above)]
        found.append(
            1
            + 2 * (share * np.log(stds[0]) + (1 - share) * np.log(stds[1]))
            - 2 * (share * np.log(share) + (1 - share) * np.log(1 - share))
        )
    return edges[1 + int(np.argmin(found))]


@pytest.mark.parametrize("classifier", [Otsu(), KittlerIllingworth()], ids=lambda c: c.name)
def test_thresholds_equal_a_plain_search(classifier):
    differences, _ = images(1, size=32)
    assert classifier.fresh().fit(differences).threshold_ == pytest.approx(
        plain_criterion(classifier.name, differences)
    )


def test_best_threshold_equals_a_plain_search():
    differences, masks = images(2, size=32)
    values = np.concatenate([norm(one).ravel() for one in differences])
    truth = np.concatenate([mask.ravel() for mask in masks])
    edges = norm_histogram(differences)[1]
    gains = [(values[truth] >= e).mean() + (values[~truth] < e).mean() for e in edges[1:]]
    found = BestThreshold().fit(differences, masks).threshold_
    assert found == pytest.approx(edges[1 + int(np.argmax(gains))])


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
def test_false_alarm_rate_holds_on_calibrated_noise(rate):
    noise = np.random.default_rng(0).standard_normal((2, 1000, 1000)).astype(np.float32)
    assert FalseAlarmRate(rate).predict(noise).mean() == pytest.approx(rate, rel=0.1)
    assert FalseAlarmRate(rate).takes == "z"


def test_false_alarm_rate_is_mended_where_sigma_is_wrong():
    noise = 2.0 * np.random.default_rng(0).standard_normal((2, 300, 300)).astype(np.float32)
    nothing = np.zeros((300, 300), dtype=bool)
    assert FalseAlarmRate(0.01).predict(noise).mean() > 0.2
    fitted = FalseAlarmRate(0.01).fit([noise], [nothing])
    assert fitted.predict(noise).mean() == pytest.approx(0.01, abs=1e-3)


def test_estimator_is_given_balanced_pixels_of_each_image():
    class Recorder(DummyClassifier):
        seen: list = []  # noqa: RUF012

        def fit(self, features, labels):
            self.seen.append((features, labels))
            return super().fit(features, labels)

    differences, masks = images()
    rng = np.random.default_rng(0)
    PixelEstimator("recorder", Recorder(), rng=rng).fit(differences, masks)
    ((features, labels),) = Recorder.seen
    assert features.shape == (2 * 3 * 900, 2)
    assert labels.mean() == 0.5


def test_linear_svc_equals_scikit_learn_on_the_same_pixels():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    differences, masks = images(1)
    masks[0][:] = False
    masks[0][:32] = True
    ours = linear_svc(rng=np.random.default_rng(0)).fit(differences, masks)
    plain = make_pipeline(StandardScaler(), LinearSVC())
    plain.fit(differences[0].reshape(2, -1).T, masks[0].ravel())
    called = plain.predict(differences[0].reshape(2, -1).T).reshape(64, 64)
    assert (ours.predict(differences[0]) == called).mean() > 0.99


def test_same_seed_same_map():
    differences, masks = images(step=-1.0)
    maps = [
        linear_svc(rng=np.random.default_rng(seed)).fit(differences, masks).predict(differences[0])
        for seed in (1, 1)
    ]
    np.testing.assert_array_equal(*maps)


@pytest.mark.parametrize("number", [1, 5, 6])
def test_masks_are_asked_for(number):
    differences, _ = images()
    with pytest.raises(SarcastError, match="learns from masks of what changed"):
        every(np.random.default_rng(0))[number].fit(differences)


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize("value", [False, True])
def test_one_class_is_an_error(number, value):
    differences, masks = images()
    with pytest.raises(SarcastError, match="changed and unchanged pixels, but there are"):
        every(np.random.default_rng(0))[number].fit(
            differences, [np.full_like(mask, value) for mask in masks]
        )


def test_thresholds_need_values_to_part():
    blind = np.full((2, 8, 8), np.nan, dtype=np.float32)
    with pytest.raises(SarcastError, match="all are NaN"):
        Otsu().fit([blind])
    with pytest.raises(SarcastError, match="its norm is 0 everywhere"):
        Otsu().fit([np.zeros((2, 8, 8), dtype=np.float32)])
    with pytest.raises(SarcastError, match="has not learnt yet; call fit"):
        Otsu().predict(blind)
    with pytest.raises(SarcastError, match="between 0 and 1, not at 1"):
        FalseAlarmRate(1.0)
    with pytest.raises(SarcastError, match="unchanged pixels, but there are none"):
        FalseAlarmRate(0.1).fit([blind], [np.zeros((8, 8), dtype=bool)])


def test_a_callable_must_give_a_map():
    with pytest.raises(SarcastError, match=r"boolean map of shape \(8, 8\), but gave float32"):
        FromCallable("odd", lambda d: d).predict(np.zeros((2, 8, 8), dtype=np.float32))
