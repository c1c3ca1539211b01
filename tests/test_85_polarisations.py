"""One polarisation, or others than VV and VH: from windows to the detection, without the network
where it was not trained."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import xarray as xr

import sarcast
from sarcast.detection.classifiers import FalseAlarmRate
from sarcast.detection.detect import Detection
from sarcast.errors import SarcastError
from sarcast.evaluation.fitting import every_classifier
from sarcast.evaluation.simulation.changes import Offset
from sarcast.evaluation.simulation.image import LandImage
from sarcast.evaluation.targets import WindowOptions
from sarcast.prediction import Model, load_model
from sarcast.prediction.bands import with_both_bands
from sarcast.prediction.networks.unet import UNet, UNetOptions, paper_scaling
from sarcast.prediction.strategies import STRATEGIES
from sarcast.windows import CubeReader, WindowSampler, bands_of, cut_window, target_dates
from small_changes import DATES, changed_cube, disc
from small_cubes import cube_with_loss

AT = "2021-05-13"
MEAN = STRATEGIES["mean"]


@pytest.fixture
def cube() -> xr.Dataset:
    return cube_with_loss()


@pytest.fixture(scope="module")
def base() -> Model:
    return load_model("base", device="cpu")


def fresh(model: Model) -> Model:
    """The same model, which has not warned yet."""
    return replace(model, warned=set())


def selected(cube: xr.Dataset, band: str) -> xr.Dataset:
    return cube.sel(band=[band])


def missing(cube: xr.Dataset, band: str) -> xr.Dataset:
    """A cube in which all other bands have no data."""
    return cube.assign(backscatter=cube["backscatter"].where(cube["band"] == band))


def counted(cube: xr.Dataset, band: str) -> xr.Dataset:
    """The same, with the counts of a built cube, by which bands without data are known."""
    without = missing(cube, band)
    seen = np.isfinite(without["backscatter"]).sum(("y", "x"))
    return without.assign(seen=seen.astype("int64"))


def hh_hv(cube: xr.Dataset) -> xr.Dataset:
    return cube.assign_coords(band=["HH", "HV"])


ONE_BAND = pytest.mark.parametrize("one_band", [selected, missing, counted])
OneBand = Callable[[xr.Dataset, str], xr.Dataset]


# --- cubes and windows --------------------------------------------------------------------------


@ONE_BAND
@pytest.mark.parametrize("band", ["VV", "VH"])
def test_the_bands_of_a_cube_are_those_with_data(
    cube: xr.Dataset, one_band: OneBand, band: str
) -> None:
    assert bands_of(cube) == ("VV", "VH")
    assert bands_of(cube.isel(band=[1, 0])) == ("VV", "VH")
    assert bands_of(hh_hv(cube)) == ("HH", "HV")
    assert bands_of(one_band(cube, band)) == (band,)
    reader = CubeReader.from_cube(one_band(cube, band))
    window = reader.cut(11, (0, 0), (24, 24), [7, 8, 9, 10])
    assert window.bands == (band,)
    assert window.previous.shape == (4, 1, 24, 24)
    np.testing.assert_array_equal(window.target[0], cube["backscatter"].sel(band=band)[-1])
    assert reader.choose_previous(11, (0, 0), (24, 24), 3, chooser="recent") == [8, 9, 10]


def test_cubes_without_bands_that_can_be_used(cube: xr.Dataset) -> None:
    for names in (["VV", "HH"], ["red", "green"]):
        with pytest.raises(SarcastError, match=f"has the bands {names[0]}, {names[1]}, but"):
            bands_of(cube.assign_coords(band=names))
    with pytest.raises(SarcastError, match="no dimension band; select bands as a list"):
        bands_of(cube.isel(band=0))
    with pytest.raises(SarcastError, match="has the bands none"):
        bands_of(cube.isel(band=0, drop=True))


def test_a_window_in_other_bands(cube: xr.Dataset) -> None:
    window = cut_window(cube.assign(expected=cube["backscatter"]), 5, (0, 0), (24, 24), [3, 4])
    swapped = window.with_bands(["VH", "VV"])
    np.testing.assert_array_equal(swapped.previous, window.previous[:, ::-1])
    np.testing.assert_array_equal(swapped.expected, window.expected[::-1])
    both = window.with_bands(["VH"]).with_bands(["VV", "VH"])
    assert np.isnan(both.target[0]).all()
    np.testing.assert_array_equal(both.target[1], window.target[1])
    assert window.with_bands(("VV", "VH")) is window


def test_previous_images_with_every_band_come_first(cube: xr.Dataset) -> None:
    """Dates 0 to 7 and 10 have VV alone, as before dual polarisation was acquired."""
    cube["backscatter"][[*range(8), 10], 1] = np.nan
    choose = CubeReader.from_cube(cube).choose_previous
    assert choose(11, (0, 0), (24, 24), 2, chooser="recent") == [8, 9]
    assert choose(11, (0, 0), (24, 24), 4, chooser="recent") == [7, 8, 9, 10]
    assert choose(7, (0, 0), (24, 24), 4, chooser="recent") == [3, 4, 5, 6]


# --- expected images ----------------------------------------------------------------------------


@ONE_BAND
@pytest.mark.parametrize("band", ["VV", "VH"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_gives_the_same_for_a_band_alone(
    cube: xr.Dataset, one_band: OneBand, band: str, name: str
) -> None:
    both = sarcast.predict(cube, STRATEGIES[name], AT)
    alone = sarcast.predict(one_band(cube, band), STRATEGIES[name], AT)
    xr.testing.assert_identical(alone, both.sel(band=[band]))
    others = sarcast.predict(hh_hv(cube), STRATEGIES[name], AT)
    np.testing.assert_array_equal(others["expected"], both["expected"])
    assert others["band"].values.tolist() == ["HH", "HV"]


@ONE_BAND
@pytest.mark.parametrize(("band", "other", "shift_db"), [("VV", "VH", -6.0), ("VH", "VV", 6.0)])
def test_a_network_derives_an_absent_band_and_does_not_give_it(
    cube: xr.Dataset, one_band: OneBand, band: str, other: str, shift_db: float, base: Model
) -> None:
    """The oracle is the network on a cube whose other band is this one, 6 dB apart."""
    derived = cube.copy(deep=True)
    derived["backscatter"].loc[{"band": other}] = cube["backscatter"].sel(
        band=band, drop=True
    ) + np.float32(shift_db)
    wanted = sarcast.predict(derived, fresh(base), AT).sel(band=[band])
    model = fresh(base)
    with pytest.warns(UserWarning, match=f"have no {other}: .* gives no {other}") as record:
        alone = sarcast.predict(one_band(cube, band), model, AT)
        sarcast.predict(one_band(cube, band), model, AT)
    assert len(record) == 1
    xr.testing.assert_allclose(alone, wanted, atol=1e-4)
    assert np.isfinite(alone["std"]).all()


def test_a_network_with_one_band_is_better_than_a_band_of_nan(base: Model) -> None:
    """On the small reference windows the derived band halves the loss that NaN causes."""
    from sarcast.windows import collate, to_windows
    from sarcast.world.reference_windows import draw_reference_set

    drawn = [batch for batch, _ in draw_reference_set("boreal-1-small")]
    windows = [window for batch in drawn for window in to_windows(batch)]

    def rmse(means: list[np.ndarray]) -> float:
        pairs = zip(windows, means, strict=True)
        return float(np.sqrt(np.mean([np.square(w.expected[0] - m[0]).mean() for w, m in pairs])))

    alone = [window.with_bands(("VV",)) for window in windows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        derived = rmse([each.mean for each in base.expect(alone)])
    both = rmse([each.mean for each in base.expect(windows)])
    with_nan = collate([window.with_bands(("VV", "VH")) for window in alone])
    unknown = rmse(list(base.network(*with_nan.inputs()).mean.detach().numpy()))
    mean = rmse([each.mean for each in MEAN.expect(alone)])
    assert both < derived < both + 0.5 * (unknown - both)
    assert derived < mean


def test_a_unet_takes_one_band(cube: xr.Dataset) -> None:
    window = cut_window(cube, 11, (0, 0), (16, 16), [7, 8, 9, 10])
    options = UNetOptions(size=16, previous=4, filters=(8, 8, 8, 8))
    model = Model(UNet(options, paper_scaling([window])).eval(), "unet")
    alone = window.with_bands(("VH",))
    with pytest.warns(UserWarning, match="have no VV"):
        (expected,) = model.expect([alone])
    assert expected.mean.shape == (1, 16, 16)
    (wanted,) = model.expect([with_both_bands(alone)])
    np.testing.assert_array_equal(expected.mean[0], wanted.mean[1])


@pytest.mark.parametrize("bands", [["HH", "HV"], ["HH"]])
def test_a_network_refuses_what_it_was_not_trained_on(
    cube: xr.Dataset, base: Model, bands: list[str]
) -> None:
    ice = hh_hv(cube).sel(band=bands)
    for call in (
        lambda: sarcast.predict(ice, base, AT),
        lambda: sarcast.detect(ice, base, at=AT, previous=4),
        lambda: sarcast.evaluate(ice, [base], rng=np.random.default_rng(0)),
    ):
        with pytest.raises(
            SarcastError, match="trained on VV and VH, but the cube has HH"
        ) as error:
            call()
        assert "conventional strategies" in str(error.value)
        assert "\n" not in str(error.value)


@ONE_BAND
def test_a_network_is_not_trained_on_one_band(cube: xr.Dataset, one_band: OneBand) -> None:
    with pytest.raises(SarcastError, match="trained on VV and VH, but the cube has VV; train on"):
        WindowSampler(
            [one_band(cube, "VV")], [target_dates(cube, 2)], size=8, previous=2, chooser="recent"
        )


# --- detection ----------------------------------------------------------------------------------


@pytest.fixture
def changed() -> xr.Dataset:
    """A disc of a larger cube loses 4 dB at the last three dates."""
    return changed_cube(DATES - 3)


def finds_the_disc(detection: Detection) -> bool:
    found = detection.images["changed"].values
    return len(detection.events) == 1 and (found & disc()).sum() / (found | disc()).sum() > 0.7


@ONE_BAND
@pytest.mark.parametrize("band", ["VV", "VH"])
def test_change_is_found_in_one_band(changed: xr.Dataset, one_band: OneBand, band: str) -> None:
    detection = sarcast.detect(one_band(changed, band), MEAN, strata=4)
    assert finds_the_disc(detection)
    assert detection.judged.all()
    assert detection.images["band"].values.tolist() == [band]
    means = [name for name in detection.events if name.startswith("mean_")]
    assert means == [f"mean_{band.lower()}_db"]
    assert detection.events[means[0]][0] == pytest.approx(-4.0, abs=0.7)


def test_change_is_found_in_hh_and_hv(changed: xr.Dataset) -> None:
    detection = sarcast.detect(hh_hv(changed), MEAN, strata=4)
    assert finds_the_disc(detection)
    assert {"mean_hh_db", "mean_hv_db"} <= set(detection.events)


@ONE_BAND
def test_a_detection_in_one_band_is_written(
    changed: xr.Dataset, one_band: OneBand, tmp_path: Path
) -> None:
    import rasterio

    from sarcast.detection.output import write_detection

    detection = sarcast.detect(one_band(changed, "VV"), MEAN, strata=4)
    write_detection(detection, tmp_path, "change", {})
    described = {}
    for path in tmp_path.glob("*.tif"):
        with rasterio.open(path) as raster:
            described[path.stem] = list(raster.descriptions)
    for name in ("expected", "uncertainty", "difference"):
        assert described[name]
        assert all(each.startswith("VV ") for each in described[name])
    with rasterio.open(tmp_path / "change.tif") as raster:
        assert set(np.unique(raster.read(1))) == {0, 1}


def test_watched_dates_of_vv_in_a_cube_of_both(changed: xr.Dataset) -> None:
    """Change is found in the bands that watched and previous images share, which is said."""
    changed["backscatter"][-3:, 1] = np.nan
    with pytest.warns(UserWarning, match=r"VH has no data .*: change is found in VV alone"):
        detection = sarcast.detect(changed, MEAN, strata=4)
    assert detection.images["band"].values.tolist() == ["VV"]
    assert finds_the_disc(detection)
    with pytest.raises(SarcastError, match=r"VH has no data .*choose other bands \(--bands\)"):
        sarcast.detect(changed, MEAN, bands=("VH",))
    changed["backscatter"][-3:, 0] = np.nan
    with pytest.raises(SarcastError, match="no part of the cube has 8 previous images"):
        sarcast.detect(changed, MEAN)


def test_previous_images_without_data_where_the_watched_have_some(changed: xr.Dataset) -> None:
    changed["backscatter"][-3:, :, :64] = np.nan
    changed["backscatter"][DATES - 19 : -3, :, 64:] = np.nan
    with pytest.raises(SarcastError, match="no pixel has data both in the watched acquisitions"):
        sarcast.detect(changed, MEAN)


def test_validation_scores_have_the_quantiles_of_each_band(cube: xr.Dataset, base: Model) -> None:
    """A share of 90 % of the residuals of one band lies below its quantile of 0.9."""
    from sarcast.prediction.calibration import residual_scores

    windows = [cut_window(cube, k, (0, 0), (24, 24), range(k - 4, k)) for k in (9, 10)]
    scores = residual_scores(base, windows)
    assert scores.band_quantiles_db is not None
    for index, band in enumerate(("VV", "VH")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            expected = base.expect([window.with_bands((band,)) for window in windows])
        pairs = zip(windows, expected, strict=True)
        residuals = np.abs([window.target[index] - each.mean[0] for window, each in pairs])
        quantile = scores.band_quantiles_db[band][0.9]
        assert np.mean(residuals <= quantile) == pytest.approx(0.9, abs=0.001)


@pytest.mark.parametrize("bands", [1, 2, 3])
def test_the_rate_of_false_alarms_holds_for_any_number_of_bands(bands: int) -> None:
    z = np.random.default_rng(1).normal(size=(bands, 400, 400)).astype(np.float32)
    assert FalseAlarmRate(0.02).predict(z).mean() == pytest.approx(0.02, rel=0.1)


def test_the_difference_to_an_expected_image_of_one_band(cube: xr.Dataset) -> None:
    actual = missing(cube, "VV")["backscatter"][-1].assign_attrs(units="dB")
    expected = sarcast.predict(missing(cube, "VV"), MEAN, AT)
    found = sarcast.difference(actual, expected, "norm")
    d = actual.sel(band="VV").values - expected["expected"].sel(band="VV").values
    np.testing.assert_allclose(found, np.abs(d), rtol=1e-5)


# --- evaluation ---------------------------------------------------------------------------------


def evaluated(cube: xr.Dataset, **words: object) -> xr.Dataset:
    return sarcast.evaluate(cube, rng=np.random.default_rng(3), **words)


def test_strategies_are_evaluated_alike_in_other_bands(cube: xr.Dataset) -> None:
    xr.testing.assert_identical(evaluated(hh_hv(cube)), evaluated(cube))


@pytest.mark.parametrize("band", ["VV", "VH"])
def test_strategies_are_evaluated_in_one_band(cube: xr.Dataset, band: str) -> None:
    """However the other band is absent; with all classifiers."""
    results = []
    for one_band in (selected, missing, counted):
        classifiers = every_classifier(rng=np.random.default_rng(0))
        options = sarcast.evaluation.experiment.ExperimentOptions(fit_windows=2)
        words = {"classifiers": classifiers, "options": options}
        results.append(evaluated(one_band(cube, band), **words))
    assert float(results[0]["auc"].min()) > 0.5
    for result in results[1:]:
        xr.testing.assert_identical(result, results[0])


def test_windows_without_a_band_are_counted(
    cube: xr.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    cube["backscatter"][:8, 1] = np.nan
    evaluated(cube)
    assert (
        "4 windows are left out, because their target does not have both VV and VH" in caplog.text
    )


def test_dates_of_one_band_are_evaluated_in_it(cube: xr.Dataset) -> None:
    """Until date 7 the cube has VV alone; an evaluation up to then is that of VV."""
    end = WindowOptions(end=str(cube["time"].values[7]))
    cube["backscatter"][:8, 1] = np.nan
    found = evaluated(cube, windows=end)
    xr.testing.assert_identical(found, evaluated(cube.sel(band=["VV"]), windows=end))


def test_an_offset_of_equal_values_fits_any_number_of_bands() -> None:
    image = LandImage(np.zeros((1, 4, 4), dtype=np.float32))
    changed = np.eye(4, dtype=bool)
    rng = np.random.default_rng(0)
    assert Offset().fits(image)
    np.testing.assert_array_equal(Offset().apply(image, changed, rng=rng)[0], -2.5 * changed)
    assert not Offset((-2.0, -3.0)).fits(image)
