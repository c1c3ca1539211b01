"""Crops and tillage of parcels: against a loop over the days and the published equations."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from sarcast.sensor.units import YEAR_DAYS
from sarcast.world import crops, ground, parcels, presets, table

FIELDS = tuple(float(name == "field") for name in table.NAMES)
PRESET = dataclasses.replace(
    presets.TEMPERATE,
    mixture=FIELDS,
    mixture_spread=(0.0, 0.0),
    spread=(0.0, 0.0),
    parcel_db=(0.0, 0.0),
)
START = 1000.0


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(worlds: int = 2, count: int = 30, preset: presets.Preset = PRESET):
    parameters = presets.draw(preset, worlds, rng=generator())
    return parameters, crops.draw(worlds, count, rng=generator(2))


def time_of(worlds: int, days: float = 3.0 * YEAR_DAYS, step: float = 4.0) -> torch.Tensor:
    time = START + torch.arange(0.0, days, step, dtype=torch.float64)
    return time.expand(worlds, -1)


def sigma0_db(height_cm: float, band: str, incidence_deg: float, moisture: float = 20.0) -> float:
    """Bare soil at C band: Baghdadi et al. 2016, equations 6 and 7; moisture in percent."""
    theta, k = math.radians(incidence_deg), 2.0 * math.pi / 5.547
    level, steep, moist, rough = {
        "vv": (-1.138, 1.528, 0.008, 0.71),
        "vh": (-2.325, -0.01, 0.011, 0.44),
    }[band]
    power = 10.0**level * math.cos(theta) ** steep * 10.0 ** (moist / math.tan(theta) * moisture)
    return 10.0 * math.log10(power * (k * height_cm) ** (rough * math.sin(theta)))


@pytest.mark.parametrize(("band", "name"), [(0, "vv"), (1, "vh")])
def test_rough_soil_is_as_much_brighter_as_published(band, name):
    for height in (crops.SMOOTH_CM, 1.0, 2.0, 3.5):
        published = [sigma0_db(each, name, 38.0) for each in (height, crops.MEAN_CM)]
        found = float(crops.roughness_db(torch.tensor(height), band))
        assert found == pytest.approx(published[0] - published[1], abs=1e-4)


def parcel_by_a_loop(parameters, chance, time: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Field and meadow of one parcel of one world, dims (day, band), one day after another."""
    value = {name: float(parameters[name][0]) for name in parameters.values}
    names = ("sown", "length", "cut", "vv", "vh", "delay", "ploughed", "harrowed")
    events, grown, cuts = [], [], []
    for season in range(-2, 20):
        of = dict(zip(names, chance[season % crops.SEASONS].tolist(), strict=True))
        mean = value["growth_day"] + season * YEAR_DAYS
        sown = mean + 12.0 * of["sown"]
        harvest = sown + max(30.0, value["growth_days"] + 12.0 * of["length"])
        grown.append((mean - 60.0, sown, harvest, of))
        events += [(sown - 8.0, 1.3 + 0.2 * of["harrowed"])]
        events += [(harvest + 25.0 * of["delay"] ** 2, 2.8 + 0.4 * of["ploughed"])]
        cuts += [(mean - 60.0, mean + days + 12.0 * of["cut"]) for days in (35.0, 85.0)]
    rain_cm = 0.1 * value["rain_mm"] * value["wet_days"]
    field, meadow = np.zeros((len(time), 2)), np.zeros((len(time), 2))
    for number, day in enumerate(time):
        _, sown, harvest, of = next(each for each in reversed(grown) if each[0] <= day)
        share = min(1.0, max(0.0, (day - sown) / 45.0))
        standing = share**2 * (3.0 - 2.0 * share) if day < harvest else 0.0
        last, height = max(event for event in events if event[0] <= day)
        height = max(0.65, height * 0.89 * math.exp(-0.026 * rain_cm * (day - last)))
        season = max(begin for begin, _ in cuts if begin <= day)
        since = min((day - cut) % YEAR_DAYS for begin, cut in cuts if begin == season)
        for band, name in enumerate(("vv", "vh")):
            summer = getattr(table.FIELD.summer, name) + (2.0, 1.2)[band] * of[name]
            bare = 10.0 * (0.71, 0.44)[band] * math.sin(math.radians(38.0))
            bare *= math.log10(height / 1.2)
            field[number, band] = summer * standing + (1.0 - standing) * bare
            meadow[number, band] = (-0.6, -1.2)[band] * math.exp(-since / 18.0)
    return field, meadow


def test_a_parcel_takes_the_course_of_a_loop_over_its_seasons():
    parameters, chance = drawn(worlds=1, count=12)
    time = time_of(1)
    field, meadow = crops.levels(chance, parameters, time)
    compared = 0
    for parcel in range(12):
        twin = parcel_by_a_loop(parameters, chance[0, :, parcel], time[0].tolist())
        same = [
            np.isclose(found[0, :, :, parcel].T.numpy(), slow, atol=5e-3)
            for found, slow in zip((field, meadow), twin, strict=True)
        ]
        assert same[1].all()
        # a field that is ploughed after the next harrowing keeps the harrowed soil
        assert same[0].mean() > 0.85
        compared += same[0].mean() > 0.999
    assert compared >= 9


def test_each_season_of_a_field_differs_and_they_repeat_after_six():
    parameters, chance = drawn(worlds=4, count=60)
    summer = START + (parameters["growth_day"] + 60.0 - START % YEAR_DAYS).double()[:, None]
    time = summer + YEAR_DAYS * torch.arange(7.0, dtype=torch.float64)
    field, _ = crops.levels(chance, parameters, time)
    of_season = field[:, 0].permute(1, 0, 2).flatten(1)
    correlation = np.corrcoef(of_season[:6].numpy())
    assert np.abs(correlation[~np.eye(6, dtype=bool)]).max() < 0.25
    torch.testing.assert_close(of_season[0], of_season[6], rtol=0, atol=1e-3)
    assert of_season.std(1).mean() == pytest.approx(crops.CROP_DB[0], rel=0.25)


def test_ploughing_brightens_bare_fields_by_some_db_and_more_in_vv():
    parameters, chance = drawn(worlds=8, count=200)
    time = time_of(8, step=1.0, days=YEAR_DAYS)
    field, _ = crops.levels(chance, parameters, time)
    jump = (field[:, :, 1:] - field[:, :, :-1]).amax(2)
    bare = crops.roughness_db(torch.tensor([crops.SMOOTH_CM, crops.PLOUGHED_CM[0]]), 0)
    assert 1.0 < jump[:, 0].median() < float(bare[1] - bare[0])
    assert jump[:, 1].median() < jump[:, 0].median()


def test_bare_soil_has_the_level_of_the_table_on_average():
    parameters, chance = drawn(100, 60, dataclasses.replace(presets.RANDOM, spread=(0.0, 0.0)))
    time = time_of(100, step=30.0)
    since = parcels.crops.season_time(parameters, time) - parameters.over("growth_day", 1)
    winter = (since % YEAR_DAYS) > 250.0
    field, _ = crops.levels(chance, parameters, time)
    mean = field.permute(1, 0, 2, 3)[:, winter].mean((1, 2))
    assert mean.numpy() == pytest.approx([0.0, 0.0], abs=0.8)


def test_wet_worlds_have_smoother_soil_than_dry_ones():
    wet, dry = (
        dataclasses.replace(PRESET, rain_mm=(mm, mm), wet_days=(0.4, 0.4)) for mm in (15.0, 1.0)
    )
    mean = []
    for preset in (wet, dry):
        parameters, chance = drawn(4, 60, preset)
        since = (parameters["growth_day"] - 30.0 - START % YEAR_DAYS)[:, None].double()
        field, _ = crops.levels(chance, parameters, START + since + YEAR_DAYS)
        mean.append(float(field[:, 0].mean()))
    assert mean[1] > mean[0] + 1.0


def test_fields_of_physics_1_are_alike_every_year():
    time = START + torch.tensor([[0.0, YEAR_DAYS, 2.0 * YEAR_DAYS]], dtype=torch.float64) + 180.0
    for physics, alike in ((1, True), (2, False)):
        preset = dataclasses.replace(PRESET, physics=physics)
        parameters = presets.draw(preset, 1, rng=generator())
        land = ground.draw(parameters, (64, 64), 10.0, rng=generator())
        calendar = parcels.draw(land, parameters, time[:, 0], rng=generator())
        assert (calendar.crops is None) == alike
        level = parcels.levels(calendar, land, parameters, time)[0]
        assert torch.allclose(level[:, 0], level[:, 1], atol=1e-4) == alike
