import numpy as np
import pytest
from skimage.filters import threshold_otsu
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier

from sarcast.detection import thresholds
from sarcast.detection.classifiers import (
    BestThreshold,
    FalseAlarmRate,
    FunctionClassifier,
    KittlerIllingworth,
    Otsu,
    PixelEstimator,
    Threshold,
    linear_svc,
    norm_histogram,
)
from sarcast.detection.difference import norm
from sarcast.detection.spatial import MarkovField, PcaKMeans
from sarcast.detection.thresholds import HISTOGRAM_BINS
from sarcast.errors import SarcastError


def images(count=3, size=64, step=-4.0, seed=0):
    """Difference images of unit noise with a changed square of ``step`` dB, and their masks."""
    rng = np.random.default_rng(seed)
    masks = [np.zeros((size, size), dtype=bool) for _ in range(count)]
    for mask in masks:
        mask[10:40, 10:40] = True
    noise = rng.standard_normal((count, 2, size, size))
    return [(n + step * m).astype(np.float32) for n, m in zip(noise, masks, strict=True)], masks


def all_classifiers(rng):
    return [
        Threshold(3.0),
        BestThreshold(),
        Otsu(),
        KittlerIllingworth(),
        FalseAlarmRate(0.01),
        linear_svc(rng=rng),
        PixelEstimator("forest", RandomForestClassifier(10, random_state=0), rng=rng),
        FunctionClassifier("sum", lambda d: d.sum(axis=0) < -3.0),
    ]


@pytest.mark.parametrize("number", range(8))
def test_finds_a_clear_change(number):
    differences, masks = images()
    classifier = all_classifiers(np.random.default_rng(0))[number].fresh().fit(differences, masks)
    changed = classifier.predict(differences[0])
    assert changed.dtype == bool
    assert (changed == masks[0]).mean() > 0.9


@pytest.mark.parametrize("number", range(8))
def test_pixels_without_data_are_unchanged_and_not_fitted(number):
    differences, masks = images()
    differences[0][1, 20:30, 20:30] = np.nan
    differences[1][:] = np.nan
    classifier = all_classifiers(np.random.default_rng(0))[number].fresh().fit(differences, masks)
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
def test_predict_before_fit_is_an_error(classifier):
    (difference, *_), _ = images()
    with pytest.raises(SarcastError, match=f"^{type(classifier).__name__} is not fitted yet; call"):
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
    criteria = []
    for edge in edges[1:-1]:
        below, above = values[values < edge], values[values > edge]
        if not below.size or not above.size:
            criteria.append(np.inf)
            continue
        share = below.size / values.size
        if kind == "otsu":
            criteria.append(-share * (1 - share) * (above.mean() - below.mean()) ** 2)
            continue
        floor = (edges[1] - edges[0]) / np.sqrt(12)
        stds = [max(side.std(), floor) for side in (below, above)]
        criteria.append(
            1
            + 2 * (share * np.log(stds[0]) + (1 - share) * np.log(stds[1]))
            - 2 * (share * np.log(share) + (1 - share) * np.log(1 - share))
        )
    return edges[1 + int(np.argmin(criteria))]


@pytest.mark.parametrize("classifier", [Otsu(), KittlerIllingworth()], ids=lambda c: c.name)
def test_thresholds_equal_a_plain_search(classifier):
    differences, _ = images(1, size=32)
    assert classifier.fresh().fit(differences).threshold_ == pytest.approx(
        plain_criterion(classifier.name, differences)
    )


def test_otsu_equals_scikit_image_on_the_pixels_themselves():
    """Its bins run from the least norm and it returns their centres: less than a bin apart."""
    differences, _ = images(step=-5.0)
    values = np.concatenate([norm(image).ravel() for image in differences])
    width = float(values.max()) / HISTOGRAM_BINS
    theirs = threshold_otsu(values, nbins=HISTOGRAM_BINS)
    assert Otsu().fit(differences).threshold_ == pytest.approx(theirs, abs=width)


def test_otsu_holds_for_many_pixels(monkeypatch):
    """scikit-image counts in single precision: 10^9 pixels give the threshold of 10^4."""
    differences, _ = images()
    counts, edges = norm_histogram(differences)
    threshold = Otsu().fit(differences).threshold_
    monkeypatch.setattr(thresholds, "norm_histogram", lambda _: (counts * 100_003, edges))
    assert Otsu().fit(differences).threshold_ == pytest.approx(threshold, abs=edges[1] * 1e-6)


@pytest.mark.parametrize("classifier", [Otsu(), KittlerIllingworth()], ids=lambda c: c.name)
def test_norms_in_one_bin_cannot_be_split(classifier):
    difference = np.full((2, 8, 8), 10.0, dtype=np.float32)
    difference[0, 0, 0] = 10.001
    with pytest.raises(SarcastError, match="all values lie in one of its 1024 bins"):
        classifier.fit([difference])


def test_best_threshold_equals_a_plain_search():
    differences, masks = images(2, size=32)
    values = np.concatenate([norm(image).ravel() for image in differences])
    truth = np.concatenate([mask.ravel() for mask in masks])
    edges = norm_histogram(differences)[1]
    gains = [(values[truth] >= e).mean() + (values[~truth] < e).mean() for e in edges[1:]]
    threshold = BestThreshold().fit(differences, masks).threshold_
    assert threshold == pytest.approx(edges[1 + int(np.argmax(gains))])


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
def test_false_alarm_rate_holds_on_calibrated_noise(rate):
    noise = np.random.default_rng(0).standard_normal((2, 1000, 1000)).astype(np.float32)
    assert FalseAlarmRate(rate).predict(noise).mean() == pytest.approx(rate, rel=0.1)
    assert FalseAlarmRate(rate).takes == "z"


def test_fitted_false_alarm_rate_holds_where_sigma_is_wrong():
    noise = 2.0 * np.random.default_rng(0).standard_normal((2, 300, 300)).astype(np.float32)
    unchanged = np.zeros((300, 300), dtype=bool)
    assert FalseAlarmRate(0.01).predict(noise).mean() > 0.2
    fitted = FalseAlarmRate(0.01).fit([noise], [unchanged])
    assert fitted.predict(noise).mean() == pytest.approx(0.01, abs=1e-3)


def test_estimator_is_fitted_to_balanced_pixels_of_each_image():
    class Recorder(DummyClassifier):
        calls: list = []  # noqa: RUF012

        def fit(self, features, labels):
            self.calls.append((features, labels))
            return super().fit(features, labels)

    differences, masks = images()
    rng = np.random.default_rng(0)
    PixelEstimator("recorder", Recorder(), rng=rng).fit(differences, masks)
    ((features, labels),) = Recorder.calls
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
    changed = plain.predict(differences[0].reshape(2, -1).T).reshape(64, 64)
    assert (ours.predict(differences[0]) == changed).mean() > 0.99


def test_same_seed_same_map():
    differences, masks = images(step=-1.0)
    maps = [
        linear_svc(rng=np.random.default_rng(seed)).fit(differences, masks).predict(differences[0])
        for seed in (1, 1)
    ]
    np.testing.assert_array_equal(*maps)


@pytest.mark.parametrize("number", [1, 5, 6])
def test_masks_are_required(number):
    differences, _ = images()
    with pytest.raises(SarcastError, match="learns from masks of what changed"):
        all_classifiers(np.random.default_rng(0))[number].fit(differences)


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize("value", [False, True])
def test_one_class_is_an_error(number, value):
    differences, masks = images()
    with pytest.raises(SarcastError, match="changed and unchanged pixels, but there are"):
        all_classifiers(np.random.default_rng(0))[number].fit(
            differences, [np.full_like(mask, value) for mask in masks]
        )


def test_thresholds_need_two_values():
    empty = np.full((2, 8, 8), np.nan, dtype=np.float32)
    with pytest.raises(SarcastError, match="all are NaN"):
        Otsu().fit([empty])
    with pytest.raises(SarcastError, match="its norm is 0 everywhere"):
        Otsu().fit([np.zeros((2, 8, 8), dtype=np.float32)])
    with pytest.raises(SarcastError, match="is not fitted yet; call fit"):
        Otsu().predict(empty)
    with pytest.raises(SarcastError, match="between 0 and 1, not at 1"):
        FalseAlarmRate(1.0)
    with pytest.raises(SarcastError, match="unchanged pixels, but there are none"):
        FalseAlarmRate(0.1).fit([empty], [np.zeros((8, 8), dtype=bool)])


def test_a_function_must_return_a_map():
    with pytest.raises(SarcastError, match=r"boolean map of shape \(8, 8\), but returned float32"):
        FunctionClassifier("identity", lambda d: d).predict(np.zeros((2, 8, 8), dtype=np.float32))
