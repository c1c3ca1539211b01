"""Weather and orbits of the world: against slow loops and real acquisitions."""

import dataclasses
import datetime as dt

import numpy as np
import pytest
import torch

from sarcast.sensor.orbits import heading_deg, orbit_direction
from sarcast.sensor.units import YEAR_DAYS
from sarcast.world import presets, views, weather


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sky(preset: presets.Preset = presets.BOREAL, worlds: int = 8, days: int = 800, seed: int = 1):
    rng = generator(seed)
    parameters = presets.draw(preset, worlds, rng=rng)
    start = torch.full((worlds,), 2000.0, dtype=torch.float64)
    return parameters, weather.draw(parameters, start, days, rng=rng)


def test_the_snow_pack_is_that_of_a_loop_over_days():
    _, drawn = sky(worlds=2)
    for world in range(2):
        water, depths = 0.0, []
        for cold, rain in zip(
            drawn.temperature[world].tolist(),
            drawn.precipitation[world, :, 0, 0].tolist(),
            strict=True,
        ):
            fall = rain if cold < weather.SNOWFALL_BELOW_C else 0.0
            water = max(0.0, water + fall - weather.MELT_MM * max(0.0, cold))
            depths.append(weather.SNOW_CM_PER_MM * water)
        assert drawn.snow_depth[world].numpy() == pytest.approx(depths, abs=2e-3)
        assert max(depths) > 10.0


def test_temperature_has_its_season_and_day_to_day_correlation():
    parameters, drawn = sky(worlds=200, days=900, seed=2)
    day = (2000.0 + np.arange(900)) % YEAR_DAYS
    near = np.abs(day - weather.WARMEST_DAY) < 10
    warm = drawn.temperature.numpy()[:, near].mean()
    assert warm == pytest.approx(
        float((parameters["temperature_c"] + parameters["season_c"]).mean()), abs=0.4
    )
    season = drawn.temperature.mean(0, keepdim=True)
    anomaly = (drawn.temperature - season)[:, 300:]
    lag = np.corrcoef(anomaly[:, 1:].flatten(), anomaly[:, :-1].flatten())[0, 1]
    assert 0.7 < lag < 0.95


def test_rain_has_the_given_frequency_and_amount_and_a_monsoon_falls_in_one_season():
    flat = dataclasses.replace(
        presets.MONSOON, wet_days=(0.4, 0.4), rain_mm=(10.0, 10.0), monsoon=(0.0, 0.0)
    )
    rain = sky(flat, worlds=100)[1].precipitation
    assert (rain > 0).float().mean() == pytest.approx(0.4, abs=0.02)
    assert rain[rain > 0].mean() == pytest.approx(10.0, abs=0.3)
    wet = sky(dataclasses.replace(flat, monsoon=(0.9, 0.9)), worlds=100)[1].precipitation
    day = (2000.0 + np.arange(800)) % YEAR_DAYS
    summer = np.abs(day - weather.WARMEST_DAY) < 45
    assert wet[:, summer].mean() > 8.0 * wet[:, ~summer & (np.abs(day - 20.0) < 45)].mean()


def test_recent_rain_is_replaced_up_to_a_day_and_the_snow_follows():
    _, drawn = sky(worlds=60, days=500)
    day = torch.full((60,), 460)
    found = weather.replace_recent_rain(drawn, day, rng=generator(2))
    old, new = (series.precipitation[:, :, 0, 0].numpy() for series in (drawn, found))
    fewest, most = weather.REPLACED_DAYS
    replaced = new[:, 461 - fewest : 461]
    dry = (replaced == 0.0).all(1)
    assert (dry | (replaced > 0.0).all(1)).all()
    assert dry.mean() == pytest.approx(weather.REPLACED_DRY_SHARE, abs=0.2)
    assert replaced[~dry].mean() == pytest.approx(weather.REPLACED_MM / 2.0, rel=0.4)
    outside = np.r_[0 : 461 - most, 461:500]
    np.testing.assert_array_equal(new[:, outside], old[:, outside])
    falls = (drawn.temperature < weather.SNOWFALL_BELOW_C).numpy()
    more = np.where(falls, new - old, 0.0)[:, :461].sum(1)
    deeper = (found.snow_depth - drawn.snow_depth)[:, 460].numpy()
    np.testing.assert_allclose(deeper[more == 0.0], 0.0, atol=2e-3)
    assert (deeper[more > 5.0] > 0.0).all() and (more > 5.0).any()


def test_seasons_lie_half_a_year_apart_in_the_south():
    south = dataclasses.replace(presets.BOREAL, latitude_deg=(-62.0, -62.0))
    north = sky()[1].temperature.mean(0)[:365]
    other = sky(south)[1].temperature.mean(0)[:365]
    assert np.corrcoef(north, other)[0, 1] < -0.8


def state_of(temperature: float, rain_mm: float = 0.0, depth: float = 0.0, ascending: bool = True):
    days = 400
    drawn = weather.WeatherSeries(
        torch.full((1, days), temperature),
        torch.zeros(1, days, 1, 1),
        torch.full((1, days), depth),
    )
    drawn.precipitation[0, 349] = rain_mm
    day, up = torch.tensor([[350]]), torch.tensor([[ascending]])
    return weather.states(drawn, day, up, torch.tensor([4.0]))


def test_frost_thaw_rain_and_snow_set_their_states():
    assert state_of(-8.0).frozen_canopy > 0.95 and state_of(-8.0).frozen_soil > 0.95
    assert state_of(8.0).frozen_canopy < 0.05 and state_of(8.0).frozen_soil < 0.05
    assert state_of(8.0, 30.0).wet > 0.8 and state_of(8.0).wet == 0.0
    assert state_of(-8.0, 30.0).wet < 0.05  # it fell as snow
    assert state_of(6.0, depth=40.0).wet_snow > 0.95
    assert state_of(-6.0, depth=40.0).wet_snow < 0.01 < state_of(-6.0, depth=40.0).dry_snow
    assert state_of(22.0).summer == 1.0 and state_of(0.0).summer == 0.0


def test_dawn_is_colder_than_dusk():
    assert state_of(0.0, ascending=False).frozen_canopy > state_of(0.0).frozen_canopy


def test_antecedent_rain_fades_by_the_day():
    _, drawn = sky(worlds=1)
    day = torch.tensor([[400, 500, 600]])
    up = torch.tensor([[True, False, True]])
    found = weather.states(drawn, day, up, torch.zeros(1)).wet[0, :, 0, 0]
    state = weather.states(drawn, day, up, torch.zeros(1))
    for view, day_index in enumerate(day[0].tolist()):
        index = 0.0
        for lag in range(weather.INDEX_DAYS):
            share = 1.0 if lag else (0.75 if up[0, view] else 0.25)
            liquid = drawn.temperature[0, day_index - lag] > weather.SNOWFALL_BELOW_C
            rain = float(drawn.precipitation[0, day_index - lag, 0, 0]) if liquid else 0.0
            index += share * rain * weather.INDEX_DECAY**lag
        bare = (1.0 - state.frozen_soil) * torch.exp(-state.snow_depth / 8.0)
        wet = float(bare[0, view]) * (1.0 - np.exp(-index / weather.WET_SCALE_MM))
        assert float(found[view]) == pytest.approx(wet, abs=1e-4)


def day_of(text: str) -> float:
    moment = dt.datetime.fromisoformat(text)
    return (moment - dt.datetime.combine(views.EPOCH, dt.time())).total_seconds() / 86400.0


def test_real_acquisitions_over_california_are_predicted_to_the_minute():
    # OPERA RTC-S1 of burst T137-292318-IW2, 34.0 N 118.8 W: Sentinel-1A twelve days apart,
    # Sentinel-1B six days after it
    near = views.tracks(torch.tensor([34.0]), torch.tensor([-118.8]))
    kept = near.in_swath & (near.relative_orbit == 137)
    assert kept.sum() == 1 and bool(near.ascending[kept])
    phase = float(near.phase[kept])
    for text, slot in (
        ("2021-11-19T01:58:55", 0),
        ("2021-12-01T01:58:54", 0),
        ("2021-11-25T01:58:13", 1),
        ("2025-01-02T01:58:54", 0),
    ):
        difference = (day_of(text) - phase - slot * views.SLOT_DAYS + 6.0) % 12.0 - 6.0
        assert abs(difference) * 1440.0 < 2.0


@pytest.mark.parametrize(("latitude", "longitude"), [(62.0, 25.5), (48.0, 10.0), (-20.0, 140.0)])
def test_passes_times_headings_and_incidences_agree_with_the_orbit(latitude, longitude):
    near = views.tracks(torch.tensor([latitude]), torch.tensor([longitude]))
    assert near.in_swath.any()
    for track in torch.nonzero(near.in_swath[0])[:, 0].tolist():
        up = bool(near.ascending[0, track])
        name = "ascending" if up else "descending"
        start = dt.datetime.combine(views.EPOCH, dt.time(), dt.UTC)
        time = start + dt.timedelta(days=float(near.phase[0, track]))
        assert orbit_direction(time, longitude) == name
        assert float(near.heading_deg[0, track]) == pytest.approx(
            heading_deg(latitude, name), abs=0.01
        )
        assert 29.0 < float(near.incidence_deg[0, track]) < 46.1


def test_relative_orbits_over_jyvaskyla_are_the_real_ones():
    near = views.tracks(torch.tensor([62.24]), torch.tensor([25.75]))
    orbits = set(near.relative_orbit[near.in_swath].tolist())
    assert {80, 87, 160} & orbits or {81, 87, 160} & orbits


def test_satellites_fly_in_service_only_and_repeat_after_twelve_days():
    near = views.tracks(torch.tensor([62.0]), torch.tensor([25.5]))
    near = views.choose(near, 1, 1, rng=generator())
    for year, platforms in (
        (2015, {0}),
        (2019, {0, 1}),
        (2023, {0}),
        (2025, {0, 2}),
        (2027, {2, 3}),
    ):
        first = torch.tensor([(dt.date(year, 7, 1) - views.EPOCH).days])
        acquired = views.acquisitions(near, first, 72, available=torch.ones(1), rng=generator())
        real = torch.isfinite(acquired.time)
        assert set(acquired.platform[real].tolist()) == platforms
        step = 12.0 / len(platforms)
        assert np.diff(acquired.time[real].numpy()) == pytest.approx(step, abs=1e-6)
        assert real.sum() == 72 / step
        assert (acquired.time[0, :-1] <= acquired.time[0, 1:]).all()


def test_tracks_are_chosen_of_both_passes_in_turn():
    locations = torch.tensor([62.0] * 40), torch.linspace(0.0, 350.0, 40)
    near = views.choose(views.tracks(*locations), 2, 2, rng=generator())
    assert near.in_swath.all() and (near.ascending.sum(1) == 1).all()
    single = views.choose(views.tracks(*locations), 1, 1, rng=generator())
    assert 5 < int(single.ascending.sum()) < 35


def test_the_share_of_available_acquisitions_is_as_given():
    locations = torch.tensor([62.0] * 30), torch.linspace(0.0, 350.0, 30)
    near = views.choose(views.tracks(*locations), 3, 3, rng=generator())
    first = torch.full((30,), 2000.0)
    some, every = (
        torch.isfinite(
            views.acquisitions(
                near, first, 240, available=torch.full((30,), share), rng=generator()
            ).time
        ).sum()
        for share in (0.5, 1.0)
    )
    assert some / every == pytest.approx(0.5, abs=0.05)


def test_incidence_grows_along_the_look_direction_as_over_the_swath():
    angle = views.smooth_incidence(torch.tensor(36.0), torch.tensor(-90.0 + 90.0), (3, 2001), 100.0)
    assert angle[1, 1000] == pytest.approx(36.0, abs=1e-4)
    # 250 km of swath span 29.1 to 46 degrees
    assert float(angle[1, -1] - angle[1, 0]) == pytest.approx(16.9 * 200.0 / 250.0, rel=0.06)
