"""Changes of the ground over the days after them, against a plain computation for one pixel."""

import dataclasses
import datetime as dt
import math

import numpy as np
import pytest
import torch

from sarcast.world import (
    backscatter,
    changes,
    fields,
    ground,
    parcels,
    presets,
    table,
    views,
    writer,
)
from sarcast.world.options import WorldOptions
from sarcast.world.weather import States

SIZE = (40, 40)
DAY = 1000.0
QUIET = dataclasses.replace(
    presets.BOREAL, relief_m=(0.0, 0.0), parcel_db=(0.0, 0.0), growth_day=(300.0, 300.0)
)
ROWS = {row.name: row for row in table.ROWS}
KINDS = {kind.name: kind for kind in changes.KINDS}
DAYS = (-1.0, 0.5, 3.0, 9.0, 30.0, 100.0, 400.0, 2500.0)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ground_of(
    cover: str, size: fields.Size = SIZE, spacing_m: float = 10.0, physics: int = presets.PHYSICS
):
    shares = tuple(float(name == cover) for name in table.NAMES)
    preset = dataclasses.replace(QUIET, mixture=shares, mixture_spread=(0.0, 0.0), physics=physics)
    parameters = presets.draw(preset, 1, rng=generator())
    return parameters, ground.draw(parameters, size, spacing_m, rng=generator())


def world_of(cover: str, kind: str, physics: int = presets.PHYSICS) -> backscatter.World:
    parameters, land = ground_of(cover, physics=physics)
    calendar = parcels.draw(land, parameters, torch.tensor([DAY]).double(), rng=generator())
    happened = changes.Changes(
        torch.tensor([[changes.NAMES.index(kind)]]),
        torch.tensor([[DAY]], dtype=torch.float64),
        torch.ones(1, 1, *SIZE, dtype=torch.bool),
    )
    return backscatter.World(parameters, land, calendar, happened)


def observe(
    days: tuple[float, ...], until: float = math.inf, **state: float
) -> backscatter.Observations:
    ones = torch.ones(1, len(days))
    time = (DAY + torch.tensor([days], dtype=torch.float64)).expand(1, -1)
    acquired = views.Views(
        time, 0 * ones.long(), ones.bool(), ones.long(), 38.0 * ones, -15.0 * ones
    )
    values = {f.name: state.get(f.name, 0.0) * ones for f in dataclasses.fields(States)}
    values["wet"] = values["wet"][..., None, None]
    values["precipitation"] = torch.zeros(1, len(days), 4, 1, 1)
    angle = torch.full((1, len(days), *SIZE), 38.0)
    until_day = torch.full((1, len(days)), DAY + until, dtype=torch.float64)
    return backscatter.Observations(acquired, States(**values), angle, until_day)


def course(
    cover: str, kind: str, physics: int = presets.PHYSICS, **view: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean backscatter with and without the change, dims (day, band), dB, and mean unit noise."""
    world = world_of(cover, kind, physics)
    none = dataclasses.replace(world, changes=_none(world.changes))
    changed, untouched = (
        backscatter.expected(each, observe(DAYS, **view))[0].mean((2, 3)).numpy()
        for each in (world, none)
    )
    return changed, untouched, world.ground.rough[0].mean((1, 2)).numpy()


def _none(happened: changes.Changes) -> changes.Changes:
    return dataclasses.replace(happened, day=torch.full_like(happened.day, math.inf))


def level(name: str, band: str, column: str | None = None) -> float:
    row = ROWS[name]
    return getattr(row.base, band) + (getattr(getattr(row, column), band) if column else 0.0)


def course_of_one_pixel(
    untouched: np.ndarray,
    noise: np.ndarray,
    kind: changes.Kind,
    column: str | None = None,
    physics: int = presets.PHYSICS,
) -> np.ndarray:
    """The same of one pixel, from the definition of the kind."""
    out = untouched.copy()
    for index, days in enumerate(DAYS):
        if days <= 0.0:
            continue
        onset = 0.6 + 0.4 * (1.0 - math.exp(-days / kind.onset_days))
        share = kind.share * onset * math.exp(-days / kind.fades_days)
        turned = min(1.0, days / kind.turn_days)
        for number, band in enumerate(("vv", "vh")):
            first, then = level(kind.first, band, column), level(kind.then, band, column)
            spread = [getattr(ROWS[row].texture, band) for row in (kind.first, kind.then)]
            if physics == 1:
                spread = [1.0, 1.0]
            texture = spread[0] + turned * (spread[1] - spread[0])
            after = first + turned * (then - first) + texture * noise[number]
            out[index, number] += share * (after - untouched[index, number])
    return out


PAIRS = [(cover, kind.name) for kind in changes.KINDS for cover in kind.covers if cover != "mire"]


@pytest.mark.parametrize(("cover", "kind"), PAIRS)
def test_each_change_takes_its_own_course_over_the_days_that_follow(cover, kind):
    found, untouched, noise = course(cover, kind)
    assert found == pytest.approx(course_of_one_pixel(untouched, noise, KINDS[kind]), abs=2e-3)


def test_in_physics_1_changed_ground_keeps_its_old_pattern_at_1_db():
    found, untouched, noise = course("field", "flood", physics=1)
    expected = course_of_one_pixel(untouched, noise, KINDS["flood"], physics=1)
    assert found == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    ("cover", "kind", "row"),
    [("forest", "clear-cut", "slash"), ("open", "flood", "water"), ("field", "flood", "water")],
)
def test_changed_ground_has_the_texture_of_its_new_row_on_a_pattern_of_its_own(cover, kind, row):
    """Without noise a pixel is: old + share (level + texture pattern − old)."""
    world = world_of(cover, kind)
    none = dataclasses.replace(world, changes=_none(world.changes))
    after, before = (
        backscatter.expected(each, observe((0.2,)))[0, 0].flatten(1).numpy()
        for each in (world, none)
    )
    share = changes.progress(world.changes, observe((0.2,)).views.time, observe((0.2,)).until)[0]
    new = (after - (1.0 - float(share)) * before) / float(share)
    for band, name in enumerate(("vv", "vh")):
        own = new[band]
        assert own.std() == pytest.approx(getattr(ROWS[row].texture, name), rel=0.3)
        assert abs(np.corrcoef(own, before[band])[0, 1]) < 0.25


def test_the_pattern_of_changed_ground_has_unit_variance_and_no_border_of_a_parcel():
    _, land = ground_of("field", (256, 256))
    rough = land.rough[0]
    assert rough.std((1, 2)).numpy() == pytest.approx([1.0, 1.0], abs=0.15)
    across = (rough[:, :, 1:] - rough[:, :, :-1]).abs()
    border = (land.parcels[0, :, 1:] != land.parcels[0, :, :-1]).expand_as(across)
    assert across[border].mean() == pytest.approx(float(across[~border].mean()), rel=0.05)
    _, old = ground_of("field", (256, 256), physics=1)
    across = (old.rough[0, :, :, 1:] - old.rough[0, :, :, :-1]).abs()
    assert across[border].mean() > 1.3 * across[~border].mean()


@pytest.mark.parametrize(("physics", "spread"), [(1, 0.0), (2, 2.2)])
def test_floods_are_rough_in_the_wind(physics, spread):
    world = world_of("open", "flood", physics)
    calm, windy = (
        backscatter.expected(
            world,
            observe((0.2,)),
            unmodelled=backscatter.UnmodelledEffects(
                wind=torch.full((1, 1), wind),
                scene=torch.zeros(1, 2, 1),
                field=torch.zeros(1, 1, 2, *SIZE),
                moisture=torch.zeros(1, 1, *SIZE),
            ),
        ).mean((0, 1, 3, 4))
        for wind in (0.0, 1.0)
    )
    share = float(
        changes.progress(world.changes, observe((0.2,)).views.time, observe((0.2,)).until)[0]
    )
    moved = (windy - calm).numpy()
    assert moved == pytest.approx([share * spread, share * spread / 2.0], abs=0.01)


@pytest.mark.parametrize(
    ("state", "column"), [("wet", "wet"), ("wet_snow", "wet_snow"), ("dry_snow", "dry_snow")]
)
def test_changed_ground_responds_to_the_weather_as_its_new_row_does(state, column):
    found, untouched, noise = course("forest", "clear-cut", **{state: 1.0})
    expected = course_of_one_pixel(untouched, noise, KINDS["clear-cut"], column)
    assert found == pytest.approx(expected, abs=2e-3)
    assert np.abs(found - course("forest", "clear-cut")[0]).max() > 0.1


def effect(kind: changes.Kind) -> np.ndarray:
    """Course of a change of the first cover that it affects, relative to that cover, dB."""
    level_of = np.array([[level(kind.covers[0], band) for band in ("vv", "vh")]] * len(DAYS))
    return course_of_one_pixel(level_of, np.zeros(2), kind) - level_of


def test_no_two_kinds_take_the_same_course():
    courses = [effect(kind) for kind in changes.KINDS]
    for index, course in enumerate(courses):
        for other in courses[index + 1 :]:
            assert np.abs(course - other).max() > 0.3


def test_water_goes_within_weeks_burnt_land_within_years_and_buildings_stay():
    left = {name: np.abs(effect(kind)[-1]).max() for name, kind in KINDS.items()}
    assert left["flood"] < 1e-6 and left["forest flood"] < 1e-6
    assert left["fire"] < 0.05 < left["thinning"] < left["clear-cut"]
    built = table.BUILT_UP.base.vv - table.FOREST.base.vv
    assert left["construction"] == pytest.approx(built, rel=0.03)


def test_changes_after_the_last_shown_day_are_not_shown():
    world = world_of("forest", "flood")
    still = backscatter.expected(world, observe(DAYS, until=-0.5))
    never = backscatter.expected(
        dataclasses.replace(world, changes=_none(world.changes)), observe(DAYS)
    )
    assert torch.equal(still, never)


def test_every_kind_names_existing_covers_and_rows():
    for kind in changes.KINDS:
        assert set(kind.covers) <= set(table.NAMES)
        assert {kind.first, kind.then} <= set(ROWS)
        assert 0.0 < kind.share <= 1.0 and 0.0 < kind.radius_m[0] < kind.radius_m[1]
        assert min(kind.onset_days, kind.turn_days, kind.fades_days) > 0.0
    assert len(set(changes.NAMES)) == len(changes.KINDS)


def test_all_kinds_happen_equally_often_over_the_whole_time():
    _, land = ground_of("forest", (16, 16))
    first = torch.tensor([0.0], dtype=torch.float64)
    drawn = changes.draw(land, 700, first, first + 100.0, rng=generator())
    counts = torch.bincount(drawn.kind[0], minlength=len(changes.KINDS))
    assert counts.min() > 70 and counts.max() < 135
    assert 0.0 <= drawn.day.min() < 2.0 and 98.0 < drawn.day.max() <= 100.0


@pytest.mark.parametrize("kind", ["clear-cut", "storm"])
def test_outlines_are_discs_and_blocks_of_the_drawn_size(kind):
    _, land = ground_of("forest", (120, 120))
    number = changes.NAMES.index(kind)
    # chance: size, centre down and right, rotation, flatness
    chance = torch.tensor([[0.5], [0.5], [0.5], [0.3], [0.25]])
    distance = changes._distance(land, torch.tensor([number]), chance, fields.WHOLE)[0]
    radius = np.mean(KINDS[kind].radius_m) / 10.0
    shape = 4.0 if KINDS[kind].square else math.pi
    inside = distance < 1.0
    assert int(inside.sum()) == pytest.approx(shape * radius**2 / 1.25, rel=0.03)
    rows, columns = torch.nonzero(inside, as_tuple=True)
    assert float(rows.float().mean()) == pytest.approx(60.0, abs=1.0)
    assert float(columns.float().mean()) == pytest.approx(60.0, abs=1.0)


@pytest.mark.parametrize(("size", "spacing_m"), [((300, 260), 10.0), ((90, 300), 20.0)])
def test_boxes_contain_all_of_each_change_and_give_the_same_images(size, spacing_m):
    parameters, land = ground_of("forest", size, spacing_m)
    first = torch.tensor([DAY], dtype=torch.float64)
    whole, boxed = (
        changes.draw(land, 25, first - 50.0, first, boxed=boxed, rng=generator(4))
        for boxed in (False, True)
    )
    assert torch.equal(whole.kind, boxed.kind) and torch.equal(whole.day, boxed.day)
    side = boxed.masks.shape[2:]
    assert boxed.masks[0, 0].numel() < whole.masks[0, 0].numel()
    for change, box in enumerate(boxed.boxes):
        rebuilt = torch.zeros(size, dtype=torch.bool)
        rebuilt[box] = boxed.masks[0, change]
        assert torch.equal(rebuilt, whole.masks[0, change])
        assert rebuilt[box].shape == side and boxed.box(change) == box
    assert whole.masks.any((2, 3)).sum() > 15
    calendar = parcels.draw(land, parameters, first, rng=generator())
    view = dataclasses.replace(observe((-20.0, 5.0)), incidence_deg=torch.full((1, 2, *size), 38.0))
    images = [
        backscatter.expected(backscatter.World(parameters, land, calendar, drawn), view)
        for drawn in (whole, boxed)
    ]
    assert torch.equal(*images)


def test_an_area_smaller_than_a_box_is_one_box():
    _, land = ground_of("forest", (30, 50))
    first = torch.tensor([DAY], dtype=torch.float64)
    drawn = changes.draw(land, 8, first, first, boxed=True, rng=generator())
    assert drawn.masks.shape == (1, 8, 30, 50)
    assert set(map(str, drawn.boxes)) == {str((slice(0, 30), slice(0, 50)))}


def test_no_change_at_all_is_possible():
    _, land = ground_of("forest")
    first = torch.tensor([DAY], dtype=torch.float64)
    for boxed in (False, True):
        drawn = changes.draw(land, 0, first, first, boxed=boxed, rng=generator())
        assert drawn.masks.shape[1] == 0 and drawn.kind.shape == (1, 0)


def test_changes_of_chosen_kinds_from_a_day_on() -> None:
    """And a world without these options is the same as before them."""
    size = {"size_km": 2.0, "spacing_m": 40.0, "changes_per_km2": 10.0}
    chosen = WorldOptions(
        **size, change_kinds=("clear-cut", "fire"), changes_from=dt.date(2020, 8, 1)
    )
    drawn = writer.make_area(chosen, rng=torch.Generator().manual_seed(1)).world.changes
    kinds = {changes.NAMES[int(kind)] for kind in drawn.kind[0]}
    assert kinds == {"clear-cut", "fire"}
    days = [views.EPOCH + dt.timedelta(days=int(day)) for day in drawn.day[0]]
    assert dt.date(2020, 8, 1) <= min(days) <= max(days) <= chosen.end
    assert len(days) == round(10.0 * 4.0 * 61 / 365.25)
    every = WorldOptions(**size, change_kinds=changes.NAMES)
    for options in (WorldOptions(**size), every):
        area = writer.make_area(options, rng=torch.Generator().manual_seed(1))
        assert len(set(area.world.changes.kind[0].tolist())) == len(changes.NAMES)


def test_the_first_day_of_changes_lies_between_the_dates() -> None:
    with pytest.raises(ValueError, match="first day of changes, 2021-01-01, must lie between"):
        WorldOptions(changes_from=dt.date(2021, 1, 1))
