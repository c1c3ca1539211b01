"""The world's physics against the literature and arithmetic."""

import dataclasses

import numpy as np
import pytest
import torch

from sarcast.world import backscatter, changes, ground, parcels, presets, relief, table, views
from sarcast.world.weather import States

FLAT = dataclasses.replace(
    presets.BOREAL, relief_m=(0.0, 0.0), parcel_db=(0.0, 0.0), growth_day=(300.0, 300.0)
)
SIZE = (96, 96)
COVER = {name: index for index, name in enumerate(table.NAMES)}


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def world_of(cover: str, preset: presets.Preset = FLAT, count: int = 0) -> backscatter.World:
    shares = tuple(1.0 if name == cover else 0.0 for name in table.NAMES)
    preset = dataclasses.replace(preset, mixture=shares, mixture_spread=(0.0, 0.0))
    rng = generator()
    parameters = presets.draw(preset, 1, rng=rng)
    land = ground.draw(parameters, SIZE, 10.0, rng=rng)
    day = torch.tensor([2000.0], dtype=torch.float64)
    calendar = parcels.draw(land, parameters, day, rng=rng)
    drawn = changes.draw(land, count, day, day, rng=rng)
    return backscatter.World(parameters, land, calendar, drawn)


def observe(*, incidence: float = 38.0, heading: float = -15.0, platform: int = 0, **state: float):
    ones = torch.ones(1, 1)
    day = torch.full((1, 1), 2000.0, dtype=torch.float64)
    acquired = views.Views(
        day, platform * ones.long(), ones.bool(), ones.long(), incidence * ones, heading * ones
    )
    names = [field.name for field in dataclasses.fields(States)]
    values = {name: state.get(name, 0.0) * ones for name in names}
    values["wet"] = values["wet"][..., None, None]
    values["precipitation"] = torch.zeros(1, 1, 4, 1, 1)
    angle = torch.full((1, 1, *SIZE), incidence)
    return backscatter.Observations(acquired, States(**values), angle, day)


def mean_db(world: backscatter.World, **view: float) -> np.ndarray:
    return backscatter.expected(world, observe(**view)).mean((0, 1, 3, 4)).numpy()


@pytest.mark.parametrize("cover", ["forest", "open", "mire", "water", "rock"])
def test_each_cover_has_the_backscatter_of_its_row(cover):
    row = table.COVERS[COVER[cover]]
    assert mean_db(world_of(cover)) == pytest.approx([row.base.vv, row.base.vh], abs=0.3)


@pytest.mark.parametrize(
    ("state", "column"),
    [
        ("wet", "wet"),
        ("frozen_soil", "frozen"),
        ("wet_snow", "wet_snow"),
        ("dry_snow", "dry_snow"),
        ("summer", "summer"),
    ],
)
def test_open_land_responds_to_the_weather_as_its_row_says(state, column):
    world = world_of("open")
    response = getattr(table.OPEN, column)
    change = mean_db(world, **{state: 1.0}) - mean_db(world)
    assert change == pytest.approx([response.vv, response.vh], abs=0.02)


def test_wet_snow_darkens_open_land_beyond_the_threshold_of_snow_mapping():
    # Nagler et al. 2016 map wet snow where backscatter falls by more than 2 dB
    change = mean_db(world_of("open"), wet_snow=1.0) - mean_db(world_of("open"))
    assert (change < -2.0).all()


def test_frost_darkens_a_forest_by_two_to_three_decibels_through_its_canopy():
    world = world_of("forest")
    change = mean_db(world, frozen_canopy=1.0) - mean_db(world)
    assert ((change > -3.2) & (change < -1.8)).all()
    assert mean_db(world, frozen_soil=1.0) == pytest.approx(mean_db(world), abs=0.02)


def test_rain_brightens_fields_more_than_open_land_and_forest_least():
    rise = {c: (mean_db(world_of(c), wet=1.0) - mean_db(world_of(c)))[0] for c in COVER}
    assert rise["field"] > rise["open"] > rise["mire"] > rise["forest"] > rise["water"] == 0.0


@pytest.mark.parametrize("cover", ["forest", "open", "water"])
def test_backscatter_falls_with_incidence_as_the_row_says(cover):
    world = world_of(cover)
    trend = (mean_db(world, incidence=44.0) - mean_db(world, incidence=32.0)) / 12.0
    slope = table.COVERS[COVER[cover]].per_degree
    floor_free = trend[:1] if cover == "water" else trend
    assert floor_free == pytest.approx([slope.vv, slope.vh][: len(floor_free)], abs=1e-3)


def test_platforms_differ_by_their_calibration():
    world = world_of("forest")
    shift = mean_db(world, platform=1) - mean_db(world, platform=0)
    assert shift == pytest.approx([0.15, 0.10], abs=1e-4)


def test_gamma0_is_sigma0_over_the_cosine_of_incidence():
    as_gamma = dataclasses.replace(FLAT, gamma0=1.0)
    raised = mean_db(world_of("forest", as_gamma)) - mean_db(world_of("forest"))
    assert raised == pytest.approx(-10.0 * np.log10(np.cos(np.radians(38.0))), abs=1e-3)


def test_forest_edges_swap_with_the_look_direction():
    trees = torch.zeros(1, 1, 32, 32)
    trees[..., 8:24, 10:22] = 1.0
    maps = torch.zeros(1, 2, 2, 32, 32)
    term_maps = {"edge_east": maps[:, :, 0], "edge_north": maps[:, :, 1]}
    ground._edges(term_maps, trees)
    west, east = maps[0, 0, 0, 16, 10], maps[0, 0, 0, 16, 21]
    assert west > 1.0 and east == -west  # looking east, the western edge faces the sensor
    assert maps[0, 0, 1, 23, 16] > 1.0  # looking north, the southern one


def test_walls_square_to_the_beam_are_brightest():
    world = world_of("built-up")
    levels = [mean_db(world, heading=heading) for heading in (-15.0, 75.0)]
    assert levels[0] == pytest.approx(
        levels[1], abs=1e-3
    )  # streets look the same after a quarter turn
    image, other = (
        backscatter.expected(world, observe(heading=heading)) for heading in (-15.0, 30.0)
    )
    assert (image - other).abs().max() > 2.0


def test_wind_is_not_in_the_expected_image_and_acts_only_on_open_water():
    world = world_of("water")
    unmodelled = backscatter.draw_unmodelled(world, 1, rng=generator())
    wind_only = dataclasses.replace(
        unmodelled,
        wind=torch.ones(1, 1),
        scene=torch.zeros_like(unmodelled.scene),
        field=torch.zeros_like(unmodelled.field),
        moisture=torch.zeros_like(unmodelled.moisture),
    )
    for frozen, rise in ((0.0, table.WIND_DB[0]), (1.0, 0.0)):
        view = observe(frozen_soil=frozen)
        blown = backscatter.expected(world, view, unmodelled=wind_only) - backscatter.expected(
            world, view
        )
        assert blown[0, 0, 0].mean() == pytest.approx(rise, abs=0.05)


def tilted(slope_east: float, pixels: int = 64) -> ground.Ground:
    world = world_of("open")
    east = torch.arange(pixels) * 10.0 * slope_east
    elevation = east.expand(1, pixels, pixels).contiguous()
    right, up = ground._slopes(elevation, 10.0)
    return dataclasses.replace(world.ground, elevation=elevation, slope_east=right, slope_north=up)


def test_local_incidence_on_a_slope_that_faces_the_beam():
    land = tilted(np.tan(np.radians(10.0)))
    heading = torch.tensor([[-90.0, 0.0, 180.0]])  # looks north, east, west
    angle = torch.full((1, 3, 64, 64), 38.0)
    local, area = relief.slopes(land, heading, angle)
    assert local[0, 1].mean() == pytest.approx(28.0, abs=1e-2)
    assert local[0, 2].mean() == pytest.approx(48.0, abs=1e-2)
    assert area[0, 1].mean() > 0.0 > area[0, 2].mean()
    # Ulander 1996: sin 38 / sin 28 and sin 38 / sin 48, as the beam runs along the slope
    expected = 10.0 * np.log10(np.sin(np.radians(38.0)) / np.sin(np.radians([28.0, 48.0])))
    assert [area[0, 1].mean(), area[0, 2].mean()] == pytest.approx(list(expected), abs=1e-3)


def overlaps_by_loop(heights: np.ndarray, incidence_deg: float) -> tuple[np.ndarray, np.ndarray]:
    theta, x = np.radians(incidence_deg), 10.0 * np.arange(len(heights))
    slant = x * np.sin(theta) - heights * np.cos(theta)
    ray = heights + x / np.tan(theta)
    layover = [any(slant[:i] > slant[i]) or any(slant[i + 1 :] < slant[i]) for i in range(len(x))]
    return np.array(layover), np.array([any(ray[:i] > ray[i]) for i in range(len(x))])


@pytest.mark.parametrize("ascending", [True, False])
def test_layover_and_shadow_are_those_of_a_loop_over_rays(ascending):
    elevation = torch.randn(1, 3, 80, generator=generator(4)).cumsum(-1) * 12.0
    layover, shadow = relief.overlaps(
        elevation, 10.0, torch.tensor([[35.0]]), torch.tensor([[ascending]])
    )
    for row in range(3):
        heights = elevation[0, row].numpy().astype(float)
        heights = heights if ascending else heights[::-1]
        over, dark = overlaps_by_loop(heights, 35.0)
        turn = slice(None) if ascending else slice(None, None, -1)
        assert (layover[0, 0, row].numpy() == over[turn]).all()
        assert (shadow[0, 0, row].numpy() == dark[turn]).all()
        assert over.any() and dark.any() and not over.all()


def test_shadow_is_dark_and_layover_bright_in_steep_worlds():
    steep = dataclasses.replace(FLAT, relief_m=(700.0, 700.0), flattening=(0.0, 0.0))
    world = world_of("open", steep)
    view = observe(incidence=44.0)
    image = backscatter.expected(world, view)[0, 0, 0]
    layover, shadow = relief.overlaps(
        world.ground.elevation, 10.0, view.views.incidence_deg, view.views.ascending
    )
    assert shadow.any() and layover.any()
    assert (image[shadow[0, 0]] == backscatter.NOISE_FLOOR_DB).all()
    rest = ~layover & ~shadow
    lit = layover & ~shadow
    assert image[lit[0, 0]].mean() > image[rest[0, 0]].mean() + 3.0


def test_a_flattened_product_has_no_foreshortening_left():
    rough = dataclasses.replace(FLAT, relief_m=(40.0, 40.0), flattening=(1.0, 1.0))
    level = dataclasses.replace(rough, flattening=(0.0, 0.0))
    spread = [
        backscatter.expected(world_of("open", preset), observe()).std() for preset in (rough, level)
    ]
    assert spread[0] < spread[1]


def changed_world(kind: str) -> backscatter.World:
    world = world_of("forest")
    drawn = changes.Changes(
        torch.tensor([[changes.NAMES.index(kind)]]),
        torch.tensor([[1000.0]], dtype=torch.float64),
        torch.ones(1, 1, *SIZE, dtype=torch.bool),
    )
    return dataclasses.replace(world, changes=drawn)


def after(world: backscatter.World, days: float, until: float = 1e9) -> np.ndarray:
    view = observe()
    time = torch.full((1, 1), 1000.0 + days, dtype=torch.float64)
    view = dataclasses.replace(
        view,
        views=dataclasses.replace(view.views, time=time),
        until=torch.full((1, 1), until, dtype=torch.float64),
    )
    return backscatter.expected(world, view).mean((0, 1, 3, 4)).numpy()


def test_a_clear_cut_ends_as_cleared_land_and_not_before_its_day():
    world = changed_world("clear-cut")
    before = after(world, -1.0)
    assert before == pytest.approx(mean_db(world_of("forest")), abs=0.05)
    assert after(world, 200.0, until=999.0) == pytest.approx(before, abs=0.05)
    cleared = next(row for row in table.STATES if row.name == "cleared")
    assert after(world, 200.0) == pytest.approx([cleared.base.vv, cleared.base.vh], abs=0.3)
    drop = after(world, 12.0) - before
    assert (drop < -0.5).all() and (after(world, 200.0) - before < drop).all()


def test_kinds_of_change_differ_in_sign_and_recovery():
    forest = mean_db(world_of("forest"))
    flood = changed_world("forest flood")
    assert after(flood, 5.0)[0] > forest[0] + 1.0  # trunks and water reflect twice
    assert after(flood, 120.0) == pytest.approx(forest, abs=0.1)  # water has gone
    fire = after(changed_world("fire"), 10.0) - forest
    assert fire[1] < fire[0] < 0.0  # VH falls further
    built = after(changed_world("construction"), 400.0)
    assert built[0] > after(changed_world("construction"), 20.0)[0] + 1.0


def test_changes_affect_only_their_covers():
    world = world_of("forest", count=30)
    rng = generator(3)
    parameters = presets.draw(presets.TEMPERATE, 1, rng=rng)
    land = ground.draw(parameters, (200, 200), 10.0, rng=rng)
    day = torch.tensor([0.0], dtype=torch.float64)
    drawn = changes.draw(land, 60, day, day + 100.0, rng=rng)
    assert drawn.masks.any((2, 3)).sum() > 20
    for kind, mask in zip(drawn.kind[0], drawn.masks[0], strict=True):
        affected = {table.NAMES[int(c)] for c in land.cover[0][mask].unique()}
        assert affected <= set(changes.KINDS[int(kind)].covers)
    assert world.changes.masks.shape == (1, 30, *SIZE)


def test_crops_grow_and_are_harvested_and_meadows_are_mown_without_a_change_of_the_ground():
    preset = dataclasses.replace(FLAT, growth_day=(140.0, 140.0), growth_days=(90.0, 90.0))
    for cover, band, low, high in (("field", 1, 2.0, 4.0), ("open", 1, -1.3, -0.3)):
        world = world_of(cover, preset)
        start = 365.0
        time = start + torch.arange(0.0, 365.0, 5.0, dtype=torch.float64)[None]
        level = parcels.levels(world.calendar, world.ground, world.parameters, time)
        mean = level[0, band].mean(1)
        winter, summer = mean[:20], mean[30:46]
        assert winter.abs().max() < 0.8
        extreme = summer.max() if high > 0.0 else summer.min()
        assert low < extreme < high


def test_the_fluctuation_of_parcels_decorrelates_over_its_time_constant():
    preset = dataclasses.replace(FLAT, parcel_db=(1.0, 1.0), parcel_days=(30.0, 30.0))
    world = world_of("rock", preset)
    time = 2000.0 + torch.tensor([[0.0, 15.0, 30.0, 300.0]], dtype=torch.float64)
    drawn = [
        parcels.levels(
            parcels.draw(world.ground, world.parameters, time[:, 0], rng=generator(k)),
            world.ground,
            world.parameters,
            time,
        )[0, 0]
        for k in range(60)
    ]
    values = torch.cat(drawn, dim=1).numpy()
    assert values.std() == pytest.approx(0.3, abs=0.02)  # of ground that is not tilled
    correlation = np.corrcoef(values)[0]
    assert correlation == pytest.approx([1.0, np.exp(-0.5), np.exp(-1.0), 0.0], abs=0.06)
