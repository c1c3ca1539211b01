import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.svm import LinearSVC

import sarcast
from sarcast.api import (
    WindowOptions,
    as_dataset,
    dates_to_evaluate,
    windows_to_evaluate,
)
from sarcast.detection import difference as di
from sarcast.detection.classifiers import BestThreshold, FalseAlarmRate, Otsu, Threshold, linear_svc
from sarcast.errors import SarcastError
from sarcast.evaluation.experiment import ExperimentOptions
from sarcast.evaluation.simulation.changes import Offset, Statistical
from sarcast.evaluation.simulation.shapes import ShapeOptions
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
    plain = PLAIN[kind](*(one.values for one in (actual, expected["expected"], expected["std"])))
    if lazy:
        actual, expected = actual.chunk(time=1, y=2), expected.chunk(time=1)
    found = sarcast.difference(actual, expected, kind)
    assert (found.chunks is not None) == lazy
    assert found.dtype == np.float32
    assert found.dims == tuple(d for d in actual.dims if plain.ndim == 4 or d != "band")
    np.testing.assert_allclose(found, plain, rtol=2e-5)
    assert found.attrs["units"] == ("dB" if kind in ("difference", "norm") else "1")


def test_the_order_of_dims_is_kept():
    turned = ("y", "time", "x", "band")
    found = sarcast.difference(image().transpose(*turned), image(1))
    assert found.dims == turned
    np.testing.assert_allclose(found.transpose(*image().dims), image() - image(1), rtol=1e-5)


def test_loss_without_a_deviation_is_in_decibels():
    blind = expectation()
    blind["std"] = blind["std"] * np.nan
    for expected in (image(1), blind):
        found = sarcast.difference(image(), expected, "loss")
        assert found.attrs["units"] == "dB"
        np.testing.assert_allclose(found, di.signed((image() - image(1)).values, "loss"), rtol=1e-5)
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
    plain = np.stack([Threshold(5.0).predict(one) for one in images.values])
    given = images.chunk(time=1, x=2) if lazy else images
    found = sarcast.classify(given, Threshold(5.0))
    assert (found.dims, found.dtype) == (("time", "y", "x"), bool)
    np.testing.assert_array_equal(found, plain)
    assert not found[0, 2, 2]
    own = sarcast.classify(given, lambda one: one.sum(axis=0) < -6.0)
    np.testing.assert_array_equal(own, mask.where(images.notnull().all("band"), False))


def test_classifiers_learn_from_the_images_and_stay_as_they_were():
    images, mask = changed_images()
    otsu = Otsu()
    np.testing.assert_array_equal(sarcast.classify(images, otsu, learn=True), mask)
    assert not hasattr(otsu, "threshold_")
    with pytest.raises(SarcastError, match="has not learnt yet"):
        sarcast.classify(images, otsu)
    np.testing.assert_array_equal(sarcast.classify(images, BestThreshold(), changed=mask), mask)
    with pytest.raises(SarcastError, match="learns from masks"):
        sarcast.classify(images, BestThreshold(), learn=True)


def test_a_classifier_of_z_is_warned_of_decibels():
    image = xr.DataArray(np.zeros((2, 4, 4)), dims=("band", "y", "x"), attrs={"units": "dB"})
    with pytest.warns(UserWarning, match=r"false-alarm rate 0\.01 takes differences in standard"):
        sarcast.classify(image, FalseAlarmRate(0.01))
    sarcast.classify(image.assign_attrs(units="1"), FalseAlarmRate(0.01))


@pytest.mark.parametrize(
    ("what", "lacking"),
    [
        (LinearSVC(), "LinearSVC lacks name, takes, fresh; wrap a scikit-learn estimator"),
        (0.5, "float lacks name, takes, fresh, fit, predict; wrap"),
    ],
)
def test_what_is_no_classifier_is_told(what, lacking):
    images, mask = changed_images()
    with pytest.raises(SarcastError, match=lacking):
        sarcast.classify(images, what, changed=mask)
    with pytest.raises(SarcastError, match=lacking):
        sarcast.evaluate(learnable_cube(), classifiers=[what], rng=np.random.default_rng(0))


def test_simulated_change_is_where_it_says():
    cube = learnable_cube()
    before = cube["backscatter"].isel(time=0).assign_attrs(units="dB")
    forest = xr.zeros_like(before[0], dtype=bool)
    forest[:12] = True
    once = ShapeOptions(least=1, most=1, size=0.9)
    found, again = (
        sarcast.simulate_change(before, forest=forest, shapes=once, rng=np.random.default_rng(3))
        for _ in range(2)
    )
    assert found.identical(again)
    changed = found["changed"]
    assert changed.any() and not changed[12:].any()
    step = found["backscatter"] - before
    np.testing.assert_allclose(
        step, (-2.5 * changed).broadcast_like(step).transpose(*step.dims), atol=1e-5
    )
    np.testing.assert_array_equal(found["x"], cube["x"])
    with pytest.raises(SarcastError, match="at least 100 pixels"):
        sarcast.simulate_change(before, Statistical(), shapes=once, rng=np.random.default_rng(3))


class Near:
    """Expects the latest image but for a bias, and has seen dates up to the sixth."""

    name, size, previous = "near", None, 3
    training = {  # noqa: RUF012
        "training_dates": ["2021-01-08", "2021-02-01"],
        "seen_until": "2021-03-02",
    }

    def expect(self, windows):
        return [Expected(w.previous.mean(axis=0), np.full_like(w.target, 0.6)) for w in windows]


def test_evaluate_gives_every_method_change_and_classifier():
    cube = learnable_cube(pixels=48)
    rng = np.random.default_rng(0)
    options = ExperimentOptions(shapes=ShapeOptions(least=1, size=0.8), fit_windows=2)
    found = sarcast.evaluate(
        cube,
        [Near()],
        changes=[Offset(), Offset((2.0, 2.0))],
        classifiers=[linear_svc(rng=rng)],
        windows=WindowOptions(window=24),
        options=options,
        rng=rng,
    )
    assert found["auc"].dims == ("predictor", "change", "difference")
    assert set(found["predictor"].values) == {"near", *STRATEGIES}
    assert list(found["change"].values) == ["offset -2.5 dB", "offset +2 dB"]
    assert found["auc"].sel(predictor="near").notnull().all()
    assert found["auc"].sel(difference="z").notnull().any("change").sum() == 1
    assert (found["windows"].sel(difference="norm") == 6 * 4).all()
    assert (found["auc_low"] <= found["auc"]).sum() > 0
    near, latest = (found["mse"].sel(predictor=name) for name in ("near", "latest"))
    assert near < latest
    assert found["accuracy"].sel(classifier="linear SVC", predictor="near").min() > 0.65
    assert found["role"].sel(predictor="near") == "network"


def test_evaluate_takes_the_dates_and_previous_images_that_are_asked_for():
    cube = learnable_cube()
    options = ExperimentOptions(shapes=ShapeOptions(least=1, size=0.8))
    words = {"options": options, "rng": np.random.default_rng(0)}
    asked = WindowOptions(start="2021-04-07", end="2021-04-19", previous=1)
    found = sarcast.evaluate(cube, windows=asked, **words)
    assert (found["windows"] == 2).all()
    mse = found["mse"]
    assert mse.sel(predictor="mean") == mse.sel(predictor="latest")
    assert dates_to_evaluate(cube, 4, after="2021-03-02") == [6, 7, 8, 9, 10, 11]
    assert dates_to_evaluate(cube, 4, start="2021-03-02", end="2021-03-15") == [5, 6]
    with pytest.raises(SarcastError, match="no date of the cube from after 2030-01-01"):
        dates_to_evaluate(cube, 4, after="2030-01-01")

    class Other(Near):
        name, previous = "other", 2

    with pytest.raises(SarcastError, match="their previous is 2 and 3; evaluate them apart"):
        sarcast.evaluate(cube, [Near(), Other()], **words)


def test_dates_that_a_network_has_seen_are_left_out_or_warned_of():
    cube = learnable_cube()
    times = cube["time"].values
    for predictor in (Near(), MaskedPredictor(Near(), WEATHER)):
        dates, _ = windows_to_evaluate(cube, [predictor], WindowOptions())
        assert dates == list(np.flatnonzero(times > np.datetime64("2021-03-03")))
        with pytest.warns(UserWarning, match="trained on those up to 2021-02-01: its figures"):
            windows_to_evaluate(cube, [predictor], WindowOptions(start="2021-02-01"))
        windows_to_evaluate(cube, [predictor], WindowOptions(start="2021-02-02"))


def test_the_dataset_holds_the_records():
    evaluation = results_of_the_paper()
    found = as_dataset(evaluation)
    for one in evaluation.results:
        here = {"predictor": one.method, "change": one.change, "difference": one.difference}
        assert found["auc"].sel(here) == one.auc
    for one in evaluation.classifiers:
        here = {"predictor": one.method, "change": one.change, "classifier": one.classifier}
        assert found["accuracy"].sel(here) == one.balanced_accuracy
    assert found["auc"].notnull().sum() == len(evaluation.results)
    assert found["mse"].isnull().all()


def test_the_example_runs_on_a_cube(world_cube, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(world_cube)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    caught = float(lines[2].split("random forest: ")[1].split("%")[0])
    assert caught > 90.0
    assert float(lines[3].split("linear SVC: ")[1].split("%")[0]) > 60.0
    auc = {line.split()[0]: float(line.split()[1]) for line in lines[-7:]}
    assert auc["base"] > max(auc[name] for name in STRATEGIES)
    assert auc["oracle"] > max(auc[name] for name in STRATEGIES)
