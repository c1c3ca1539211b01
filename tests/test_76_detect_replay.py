"""Replays: of noise, whose rates are known, and of a cube, whose means are."""

import logging
from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr

from sarcast.detection.area import Area
from sarcast.detection.evidence import standardise, statistics
from sarcast.detection.judged import Part
from sarcast.detection.null import Null
from sarcast.detection.observation import Observation, Observer
from sarcast.detection.regions import RegionOptions, find_regions
from sarcast.detection.replay import replay
from sarcast.detection.residuals import Reader
from sarcast.detection.watch import Watch
from sarcast.errors import SarcastError
from sarcast.io.boxes import whole
from sarcast.prediction.model import Model
from sarcast.prediction.networks.unet import UNet, UNetOptions, paper_scaling
from sarcast.prediction.scores import ValidationScores
from sarcast.prediction.strategies import STRATEGIES
from sarcast.prediction.tiles import TileOptions
from sarcast.windows import PreviousOptions, cut_window
from small_changes import as_cube, disc, quiet_cube, times

SIDE, TARGETS = 160, 3
GRID_CUBE = as_cube(np.zeros((2, 2, SIDE, SIDE)))
PIXEL_KM2 = 4e-4


@dataclass
class NoiseReader:
    """Residuals of Gaussian noise, other ones for each watch; by its first target: what is off."""

    strata: np.ndarray
    hidden: dict[int, list[int]] = field(default_factory=dict)
    changed: dict[int, np.ndarray] = field(default_factory=dict)
    failing: tuple[int, ...] = ()
    cube: xr.Dataset = field(default_factory=lambda: GRID_CUBE)

    predictor: object = STRATEGIES["mean"]

    def watched(self, watch: Watch, *_: object) -> "NoiseImages":
        if watch.targets[0] in self.failing:
            raise SarcastError("too few previous images")
        return NoiseImages(self.residuals(watch.targets[0]))

    def residuals(self, first: int) -> np.ndarray:
        z = np.random.default_rng(first).normal(size=(TARGETS, 2, SIDE, SIDE)).astype(np.float32)
        for target in self.hidden.get(first, []):
            z[target] = np.nan
        if first in self.changed:
            z -= 6.0 * self.changed[first]
        z[..., self.strata < 0] = np.nan
        return z


@dataclass
class NoiseImages:
    """Images of a watch, of which only the residuals are known."""

    z: np.ndarray
    bands: tuple[str, ...] = ("VV", "VH")
    has_std: bool = True

    @property
    def times(self) -> np.ndarray:
        return times(TARGETS)

    def compared(self, box: tuple[slice, slice], _: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = self.z[..., box[0], box[1]]
        return z, z


def one_stratum() -> np.ndarray:
    return np.zeros((SIDE, SIDE), dtype=np.int16)


def observer(**words: object) -> Observer:
    words = {"strata": one_stratum(), **words}
    return Observer(NoiseReader(**words), "both", RegionOptions(min_area=0.1))


def area_of(watching: Observer, **words: object) -> Area:
    return Area(Part(watching.reader.cube, np.ones(watching.strata.shape, bool)), **words)


def observed(watching: Observer, watch: Watch) -> Observation:
    area = area_of(watching)
    found = watching.observe(watch, area, watching.plots(area))
    return found.read(whole(area.shape), watching.strata)


def replayed(watching: Observer, watched: list[Watch], **words: object) -> Null:
    return replay(watching, watched, area_of(watching, **words))


def watches(count: int = 8) -> list[Watch]:
    return [Watch((10 * k, 10 * k + 1, 10 * k + 2), times(99)[10 * k]) for k in range(count)]


@pytest.fixture(scope="module")
def noise_null() -> Null:
    return replayed(observer(), watches())


@pytest.mark.parametrize("first", [1001, 1002])
def test_p_values_of_unchanged_ground_are_uniform(noise_null: Null, first: int) -> None:
    found = observed(observer(), Watch((first,), times(2)[0]))
    evidence = noise_null.evidence(found.statistics, found.looks)
    assert np.isfinite(evidence).all()
    for level, tolerance in ((0.3, 0.1), (1.0, 0.3), (2.0, 0.6)):
        assert (evidence > level).mean() == pytest.approx(10.0**-level, rel=tolerance)


def test_the_rate_of_false_events_holds_in_new_noise(noise_null: Null) -> None:
    """Asked for 100 in 1 000 km2: over forty new watches of 10 km2 and three targets."""
    asked, watched = 100.0, 40
    threshold = noise_null.threshold(asked)
    events = 0
    for first in range(2000, 2000 + watched):
        found = observed(observer(), Watch((first,), times(2)[0]))
        evidence = noise_null.evidence(found.statistics, found.looks)
        regions = find_regions(evidence, found.shift, observer().pixel_area_m2, observer().regions)
        events += len(regions.above(threshold).peaks)
    exposure = watched * SIDE**2 * PIXEL_KM2 / 1000.0 * TARGETS
    assert asked / 3 < events / exposure < asked * 3
    assert noise_null.came_true(asked) < asked * 3


def test_the_area_and_the_looks_that_were_replayed(noise_null: Null) -> None:
    assert noise_null.area_km2 == pytest.approx((SIDE**2 * PIXEL_KM2,) * 8, rel=2e-3)
    assert noise_null.counts.sum() == 8 * len(noise_null.names) * SIDE**2
    assert noise_null.looks == TARGETS
    strata = one_stratum()
    strata[:40] = -1
    half = replayed(observer(strata=strata, hidden={0: [1], 10: [0, 1]}), watches(4))
    assert half.area_km2 == pytest.approx((0.75 * SIDE**2 * PIXEL_KM2,) * 4, rel=2e-3)
    by_looks = half.counts.sum(axis=(1, 2, 4)) / (0.75 * SIDE**2 * len(half.names))
    wanted = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    assert by_looks == pytest.approx(np.array(wanted), abs=0.4)
    np.testing.assert_array_equal(by_looks > 0.0, np.array(wanted) > 0.0)


def test_a_replay_is_judged_by_all_others() -> None:
    """A change in one of them is a peak of that one alone."""
    changed = observer(changed={30: disc((80, 80), 6, SIDE)})
    null = replayed(changed, watches(5))
    greatest = [each.max(initial=0.0) for each in null.peaks]
    assert greatest[3] > 10.0
    assert max(greatest[:3] + greatest[4:]) < 7.0


def test_a_change_in_the_past_does_not_hide_the_next(noise_null: Null) -> None:
    """The same disc changes in one replay and, again, in the watched acquisitions."""
    mask = disc((80, 80), 2, SIDE)
    found = observed(observer(changed={1001: mask}), Watch((1001,), times(2)[0]))
    stained = replayed(observer(changed={30: mask}), watches())
    for null in (noise_null, stained):
        evidence = null.evidence(found.statistics, found.looks)
        assert evidence[mask].max() > null.threshold(1.0) + 3.0


def test_the_order_of_the_replays_has_no_effect(noise_null: Null) -> None:
    other = replayed(observer(), watches()[::-1])
    np.testing.assert_array_equal(other.counts[::-1], noise_null.counts)
    np.testing.assert_array_equal(other.combined[::-1], noise_null.combined)
    assert other.threshold(1.0) == pytest.approx(noise_null.threshold(1.0))


def test_replays_that_cannot_be_judged_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    blind = {20: [0, 1, 2]}
    with caplog.at_level(logging.INFO):
        null = replayed(observer(failing=(10,), hidden=blind), watches(4))
    assert len(null.peaks) == len(null.counts) == len(null.area_km2) == 2
    assert "a replay is left out: too few previous images" in caplog.text
    with pytest.raises(SarcastError, match="no replay of the past could be judged") as error:
        replayed(observer(hidden={0: [0, 1, 2], 10: [0, 1, 2]}), watches(2))
    assert "\n" not in str(error.value)
    with pytest.raises(SarcastError, match="^too few previous images$"):
        replayed(observer(failing=(0, 10)), watches(2))


# --- of a cube ------------------------------------------------------------------------------------


def reader(cube: xr.Dataset, **words: object) -> Reader:
    words = {
        "predictor": STRATEGIES["mean"],
        "previous": PreviousOptions(previous=4, chooser="recent"),
        "tiles": TileOptions(),
        "strata": np.zeros((cube.sizes["y"], cube.sizes["x"]), dtype=np.int16),
        **words,
    }
    return Reader(cube, **words)


def test_residuals_are_those_of_one_baseline() -> None:
    cube = quiet_cube(dates=12)
    images = reader(cube).images(Watch((9, 10, 11), times(12)[9]))
    values = cube["backscatter"].values
    np.testing.assert_array_equal(images["actual"], values[9:])
    wanted = np.broadcast_to(values[5:9].mean(axis=0), (3, *values.shape[1:]))
    np.testing.assert_allclose(images["expected"], wanted, atol=1e-4)
    assert images["expected"].dims == ("time", "band", "y", "x")
    residuals = reader(cube).residuals(images)
    plain = standardise(
        values[9:] - wanted, np.full_like(wanted, np.nan), np.zeros(wanted[0, 0].shape, int)
    )
    np.testing.assert_allclose(residuals.z, plain, atol=1e-3)
    assert residuals.correlation == 0.0


def test_validation_errors_are_the_standard_deviation_of_a_network_that_gives_none() -> None:
    cube = quiet_cube(dates=8)
    window = cut_window(cube, 4, (0, 0), (16, 16), [2, 3])
    network = UNet(UNetOptions(size=16, previous=2, filters=(8, 8, 8, 8)), paper_scaling([window]))
    scores = ValidationScores((1.5, 2.5), {0.9: 2.0}, 1000, 1.0)
    model = Model(network.eval(), "unet", scores=scores)
    images = reader(cube, predictor=model).images(Watch((6, 7), times(8)[6]))
    assert images["std"].dims == ("time", "band", "y", "x")
    np.testing.assert_array_equal(np.unique(images["std"][:, 0]), 1.5)
    np.testing.assert_array_equal(np.unique(images["std"][:, 1]), 2.5)


def test_what_is_watched_and_later_is_never_in_the_baseline() -> None:
    cube = quiet_cube(dates=12)
    spoilt = cube.copy(deep=True)
    spoilt["backscatter"][7:] = 1e9
    watch = Watch((9, 10), times(12)[7])
    plain, other = (reader(each).images(watch)["expected"] for each in (cube, spoilt))
    np.testing.assert_array_equal(other, plain)


def test_bands_are_chosen() -> None:
    cube = quiet_cube(dates=12)
    watch = Watch((10, 11), times(12)[10])
    both, one = (reader(cube, bands=bands).images(watch) for bands in (None, ("VH",)))
    xr.testing.assert_identical(one, both.sel(band=["VH"]))
    cube["backscatter"][:, 1] = np.nan
    with pytest.raises(SarcastError, match="VH has no data in the baseline; .*--bands"):
        reader(cube, bands=("VV", "VH")).images(watch)


def test_an_observation_has_the_statistics_of_the_residuals() -> None:
    cube = quiet_cube(dates=12)
    used = reader(cube)
    watching = Observer(used, "loss", RegionOptions())
    watch = Watch((10, 11), times(12)[10])
    found = observed(watching, watch)
    residuals = used.residuals(used.images(watch))
    plain = statistics(residuals, watching.pixel_m, used.strata, "loss")
    assert list(found.statistics) == list(plain)
    for name, image in plain.items():
        np.testing.assert_array_equal(found.statistics[name], image)
    assert (found.looks == 2).all()
    assert watching.pixel_m == pytest.approx((20.0, 20.0), rel=1e-3)
    assert watching.pixel_area_m2 == pytest.approx(400.0, rel=2e-3)
