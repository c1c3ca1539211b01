import datetime as dt
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.svm import LinearSVC

import sarcast
from sarcast.api import WindowOptions
from sarcast.detection import difference as di
from sarcast.detection.classifiers import BestThreshold, FalseAlarmRate, Otsu, Threshold, linear_svc
from sarcast.errors import SarcastError
from sarcast.evaluation.experiment import ExperimentOptions
from sarcast.evaluation.metrics.dataset import as_dataset
from sarcast.evaluation.simulation.changes import Offset, Statistical
from sarcast.evaluation.simulation.shapes import ShapeOptions
from sarcast.evaluation.targets import dates_to_evaluate, windows_to_evaluate
from sarcast.prediction.strategies import STRATEGIES
from sarcast.sensor.conditions import WEATHER
from sarcast.windows import Expected
from sarcast.windows.masking import MaskedPredictor
from small_cubes import learnable_cube
from test_81_paper import evaluation as results_of_the_paper

EXAMPLE = Path(__file__).parents[1] / "examples" / "change_in_a_notebook.py"


def image(seed=0, dims=("time", "band", "y", "x"), shape=(3, 2, 6, 5), units="dB"):
    values = np.random.default_rng(seed).normal(-12, 2, shape).astype("f4")
    return xr.DataArray(values, dims=dims, attrs={"units": units}, name="backscatter")


def expectation():
    std = np.abs(image(2)) * 0.1
    return xr.Dataset({"expected": image(1), "std": std.assign_attrs(units="dB")})


PLAIN = {
    "difference": lambda a, e, _s: a - e,
    "ratio": lambda a, e, _s: 10 ** ((a - e) / 10),
    "log-ratio": lambda a, e, _s: np.log(10) * (a - e) / 10,
    "norm": lambda a, e, _s: np.hypot(a[:, 0] - e[:, 0], a[:, 1] - e[:, 1]),
    "z": lambda a, e, s: (a - e) / s,
    "loss": lambda a, e, s: -((a - e) / s).sum(axis=1) / np.sqrt(2),
    "gain": lambda a, e, s: ((a - e) / s).sum(axis=1) / np.sqrt(2),
}


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("lazy", [False, True])
def test_difference_images_equal_numpy_in_memory_and_from_dask(kind, lazy):
    actual, expected = image(), expectation()
    images = (actual, expected["expected"], expected["std"])
    plain = PLAIN[kind](*(image.values for image in images))
    if lazy:
        actual, expected = actual.chunk(time=1, y=2), expected.chunk(time=1)
    result = sarcast.difference(actual, expected, kind)
    assert (result.chunks is not None) == lazy
    assert result.dtype == np.float32
    assert result.dims == tuple(d for d in actual.dims if plain.ndim == 4 or d != "band")
    np.testing.assert_allclose(result, plain, rtol=2e-5)
    assert result.attrs["units"] == ("dB" if kind in ("difference", "norm") else "1")


def test_the_order_of_dims_is_kept():
    order = ("y", "time", "x", "band")
    result = sarcast.difference(image().transpose(*order), image(1))
    assert result.dims == order
    np.testing.assert_allclose(result.transpose(*image().dims), image() - image(1), rtol=1e-5)


def test_loss_without_a_deviation_is_in_decibels():
    without_std = expectation()
    without_std["std"] = without_std["std"] * np.nan
    plain = di.signed((image() - image(1)).values, "loss")
    for expected in (image(1), without_std):
        loss = sarcast.difference(image(), expected, "loss")
        assert loss.attrs["units"] == "dB"
        np.testing.assert_allclose(loss, plain, rtol=1e-5)
        with pytest.raises(SarcastError, match="z needs a standard deviation"):
            sarcast.difference(image(), expected, "z")


def test_units_and_kinds_are_checked():
    with pytest.raises(SarcastError, match="must be in 'dB', but its units are 'linear power'"):
        sarcast.difference(image(units="linear power"), image(1))
    with pytest.raises(SarcastError, match="of kind difference, ratio, .* not 'angle'"):
        sarcast.difference(image(), image(1), "angle")
    with pytest.raises(ValueError, match="align|exact"):
        sarcast.difference(image().assign_coords(x=range(5)), image(1).assign_coords(x=range(1, 6)))


def changed_images():
    change = image(seed=5)
    mask = xr.zeros_like(change.isel(band=0), dtype=bool)
    mask[:, 1:4, 1:4] = True
    noise = (change + 12.0) * 0.2
    return (noise - 6.0 * mask).transpose("time", "band", "y", "x").astype("f4"), mask


@pytest.mark.parametrize("lazy", [False, True])
def test_classify_gives_the_map_of_each_image(lazy):
    images, mask = changed_images()
    images[0, 1, 2, 2] = np.nan
    plain = np.stack([Threshold(5.0).predict(image) for image in images.values])
    chunked = images.chunk(time=1, x=2) if lazy else images
    changed = sarcast.classify(chunked, Threshold(5.0))
    assert (changed.dims, changed.dtype) == (("time", "y", "x"), bool)
    np.testing.assert_array_equal(changed, plain)
    assert not changed[0, 2, 2]
    by_function = sarcast.classify(chunked, lambda image: image.sum(axis=0) < -6.0)
    np.testing.assert_array_equal(by_function, mask.where(images.notnull().all("band"), False))


def test_copies_of_classifiers_are_fitted():
    images, mask = changed_images()
    otsu = Otsu()
    np.testing.assert_array_equal(sarcast.classify(images, otsu, learn=True), mask)
    assert not hasattr(otsu, "threshold_")
    with pytest.raises(SarcastError, match="is not fitted yet"):
        sarcast.classify(images, otsu)
    np.testing.assert_array_equal(sarcast.classify(images, BestThreshold(), changed=mask), mask)
    with pytest.raises(SarcastError, match="learns from masks"):
        sarcast.classify(images, BestThreshold(), learn=True)


def test_decibels_for_a_classifier_of_z_give_a_warning():
    image = xr.DataArray(np.zeros((2, 4, 4)), dims=("band", "y", "x"), attrs={"units": "dB"})
    with pytest.warns(UserWarning, match=r"false-alarm rate 0\.01 takes differences in standard"):
        sarcast.classify(image, FalseAlarmRate(0.01))
    sarcast.classify(image.assign_attrs(units="1"), FalseAlarmRate(0.01))


@pytest.mark.parametrize(
    ("classifier", "lacking"),
    [
        (LinearSVC(), "LinearSVC lacks name, takes, fresh; wrap a scikit-learn estimator"),
        (0.5, "float lacks name, takes, fresh, fit, predict; wrap"),
    ],
)
def test_an_object_that_is_no_classifier_is_named(classifier, lacking):
    images, mask = changed_images()
    with pytest.raises(SarcastError, match=lacking):
        sarcast.classify(images, classifier, changed=mask)
    with pytest.raises(SarcastError, match=lacking):
        sarcast.evaluate(learnable_cube(), classifiers=[classifier], rng=np.random.default_rng(0))


def test_simulated_change_lies_in_its_mask():
    cube = learnable_cube()
    before = cube["backscatter"].isel(time=0).assign_attrs(units="dB")
    forest = xr.zeros_like(before[0], dtype=bool)
    forest[:12] = True
    once = ShapeOptions(least=1, most=1, size=0.9)
    after, again = (
        sarcast.simulate_change(before, forest=forest, shapes=once, rng=np.random.default_rng(3))
        for _ in range(2)
    )
    assert after.identical(again)
    changed = after["changed"]
    assert changed.any() and not changed[12:].any()
    step = after["backscatter"] - before
    np.testing.assert_allclose(
        step, (-2.5 * changed).broadcast_like(step).transpose(*step.dims), atol=1e-5
    )
    np.testing.assert_array_equal(after["x"], cube["x"])
    with pytest.raises(SarcastError, match="at least 100 pixels"):
        sarcast.simulate_change(before, Statistical(), shapes=once, rng=np.random.default_rng(3))


class Near:
    """Expects the mean of the previous images; trained and validated on the first six dates."""

    name, size, previous, uses_target = "near", None, 3, False
    training = {  # noqa: RUF012
        "training_dates": ["2021-01-08", "2021-02-01"],
        "seen_until": "2021-03-02",
    }

    def expect(self, windows):
        return [Expected(w.previous.mean(axis=0), np.full_like(w.target, 0.6)) for w in windows]


def test_evaluate_covers_every_method_change_and_classifier():
    cube = learnable_cube(pixels=48)
    rng = np.random.default_rng(0)
    options = ExperimentOptions(shapes=ShapeOptions(least=1, size=0.8), fit_windows=2)
    scores = sarcast.evaluate(
        cube,
        [Near()],
        changes=[Offset(), Offset((2.0, 2.0))],
        classifiers=[linear_svc(rng=rng)],
        windows=WindowOptions(window=24),
        options=options,
        rng=rng,
    )
    assert scores["auc"].dims == ("predictor", "change", "difference")
    assert set(scores["predictor"].values) == {"near", *STRATEGIES}
    assert list(scores["change"].values) == ["offset -2.5 dB", "offset +2 dB"]
    assert scores["auc"].sel(predictor="near").notnull().all()
    assert scores["auc"].sel(difference="z").notnull().any("change").sum() == 1
    assert (scores["windows"].sel(difference="norm") == 6 * 4).all()
    assert (scores["auc_low"] <= scores["auc"]).sum() > 0
    near, latest = (scores["mse"].sel(predictor=name) for name in ("near", "latest"))
    assert near < latest
    assert scores["accuracy"].sel(classifier="linear SVC", predictor="near").min() > 0.65
    assert scores["role"].sel(predictor="near") == "network"


def test_evaluate_follows_its_dates_and_previous_images():
    cube = learnable_cube()
    options = ExperimentOptions(shapes=ShapeOptions(least=1, size=0.8))
    words = {"options": options, "rng": np.random.default_rng(0)}
    windows = WindowOptions(start="2021-04-07", end="2021-04-19", previous=1)
    result = sarcast.evaluate(cube, windows=windows, **words)
    assert (result["windows"] == 2).all()
    mse = result["mse"]
    assert mse.sel(predictor="mean") == mse.sel(predictor="latest")
    assert dates_to_evaluate(cube, 4, after="2021-03-02") == [6, 7, 8, 9, 10, 11]
    assert dates_to_evaluate(cube, 4, start="2021-03-02", end="2021-03-15") == [5, 6]
    with pytest.raises(SarcastError, match="no date of the cube from after 2030-01-01"):
        dates_to_evaluate(cube, 4, after="2030-01-01")

    class Other(Near):
        name, previous = "other", 2

    with pytest.raises(SarcastError, match="their number of previous images is 2 and 3; evaluate"):
        sarcast.evaluate(cube, [Near(), Other()], **words)


def test_dates_of_a_training_are_left_out_or_warned_of():
    cube = learnable_cube()
    times = cube["time"].values
    for predictor in (Near(), MaskedPredictor(Near(), WEATHER)):
        dates, _ = windows_to_evaluate(cube, [predictor], WindowOptions())
        assert dates == list(np.flatnonzero(times > np.datetime64("2021-03-03")))
        with pytest.warns(UserWarning, match="trained on dates up to 2021-02-01: its scores"):
            windows_to_evaluate(cube, [predictor], WindowOptions(start="2021-02-01"))
        windows_to_evaluate(cube, [predictor], WindowOptions(start="2021-02-02"))


def test_the_dataset_contains_the_results():
    evaluation = results_of_the_paper()
    table = as_dataset(evaluation)
    for result in evaluation.results:
        key = {"predictor": result.method, "change": result.change}
        assert table["auc"].sel(key | {"difference": result.difference}) == result.auc
    for result in evaluation.classifiers:
        key = {"predictor": result.method, "change": result.change}
        accuracy = table["accuracy"].sel(key | {"classifier": result.classifier})
        assert accuracy == result.balanced_accuracy
    assert table["auc"].notnull().sum() == len(evaluation.results)
    assert table["mse"].isnull().all()


def test_dates_to_evaluate_can_be_date_objects():
    cube = learnable_cube()
    text = WindowOptions(start="2021-04-07", end="2021-04-19")
    for start, end in (
        (dt.date(2021, 4, 7), dt.date(2021, 4, 19)),
        (np.datetime64("2021-04-07"), np.datetime64("2021-04-19")),
        (cube["time"][8], cube["time"][9]),
    ):
        objects = WindowOptions(start=start, end=end)
        assert windows_to_evaluate(cube, [], objects)[0] == windows_to_evaluate(cube, [], text)[0]
    assert windows_to_evaluate(cube, [], text)[0] == [8, 9]
    with pytest.raises(SarcastError, match="'soon' is not a date"):
        windows_to_evaluate(cube, [], WindowOptions(start="soon"))


def test_the_example_runs_on_a_cube(world_cube, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(world_cube)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()

    def percentage(start: str) -> float:
        (line,) = (line for line in lines if line.startswith(start))
        return float(line.removeprefix(start).split("%")[0])

    assert (
        len([line for line in lines if line.startswith(("detect: ", "greatest evidence: "))]) == 2
    )
    assert percentage("random forest: ") > 90.0
    assert percentage("linear SVC: accuracy ") > 60.0
    auc = {line.split()[0]: float(line.split()[1]) for line in lines[-len(STRATEGIES) - 2 :]}
    assert auc["base"] > max(auc[name] for name in STRATEGIES)
    assert auc["oracle"] > max(auc[name] for name in STRATEGIES)
