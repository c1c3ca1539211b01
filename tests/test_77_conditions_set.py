"""Conditions that never were: a world tells what they would have looked like."""

import datetime as dt
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import xarray as xr

from sarcast.conditions import read_conditions
from sarcast.inference import predict
from sarcast.mapping import Model, load_model
from sarcast.orbits import ASCENDING, DESCENDING, heading_deg
from sarcast.units import DB_PER_NEPER
from sarcast.windows import Float, PreviousOptions
from sarcast.world import (
    backscatter,
    changes,
    ground,
    parcels,
    presets,
    sensor,
    table,
    views,
    weather,
)
from sarcast.world.stream import conditions

WORLDS, SIZE, SPACING_M, IMAGES, DAYS = 4, 96, 10.0, 9, 60
SUMMER = float((dt.date(2020, 6, 1) - views.EPOCH).days)
HEAVY_MM = 15.0


@dataclass(frozen=True)
class Area:
    """Boreal worlds in summer, seen nine times.

    ``truth`` holds expected images of the last view by what was set, dims (world, band, y, x).
    """

    cubes: list[xr.Dataset]
    latitudes: list[float]
    swapped_to: list[str]
    cover: np.ndarray
    truth: dict[str, Float]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("base", device="cpu")


@pytest.fixture(scope="module")
def area() -> Area:
    rng = torch.Generator().manual_seed(3)
    with torch.inference_mode():
        return _drawn(rng)


def _drawn(rng: torch.Generator) -> Area:
    parameters = presets.draw(presets.PRESETS["boreal"], WORLDS, rng=rng)
    land = ground.draw(parameters, (SIZE, SIZE), SPACING_M, rng=rng)
    latitude = parameters["latitude_deg"]
    tracks = views.tracks(latitude, torch.full((WORLDS,), 25.0))
    near = views.choose(tracks, *parameters.preset.tracks, rng=rng)
    start = torch.full((WORLDS,), SUMMER, dtype=torch.float64)
    every = views.acquisitions(near, start, DAYS, available=parameters["available"], rng=rng)
    found = torch.isfinite(every.time).sum(1, keepdim=True)
    own = every.take(found - IMAGES + torch.arange(IMAGES))
    spin_up = start - weather.SPIN_UP_DAYS
    sky = weather.draw(parameters, spin_up, DAYS + weather.SPIN_UP_DAYS, rng=rng)
    day = torch.floor(own.time - spin_up[:, None]).long()
    calendar = parcels.draw(land, parameters, own.time[:, 0], rng=rng)
    old = changes.draw(land, 1, own.time[:, 0] - 60.0, own.time[:, 0] - 50.0, rng=rng)
    world = backscatter.World(parameters, land, calendar, old)

    def seen(of: views.Views, under: weather.Weather) -> backscatter.Seen:
        states = weather.states(under, day, of.ascending, parameters["diurnal_c"])
        angle = views.smooth_incidence(of.incidence_deg, of.heading_deg, (SIZE, SIZE), SPACING_M)
        return backscatter.Seen(of, states, angle, of.time)

    def rained(mm: float) -> weather.Weather:
        rain = sky.precipitation.clone()
        for place, last in enumerate(day[:, -1]):
            rain[place, last - 3 : last + 1] = mm
        return replace(sky, precipitation=rain)

    swapped, directions = _swapped(own, latitude)
    asked = {
        "own": seen(own, sky),
        "swapped": seen(swapped, sky),
        "dry": seen(own, rained(0.0)),
        "rain": seen(own, rained(HEAVY_MM)),
    }
    unknown = backscatter.draw_unknown(world, IMAGES, rng=rng)
    ideal = backscatter.expected(world, asked["own"], unknown=unknown)
    power = sensor.observe(ideal, parameters, ["lee"] * WORLDS, rng=rng)
    rows = conditions(own, asked["own"].states).numpy()
    images = (DB_PER_NEPER * torch.log(power)).numpy()
    return Area(
        [_cube(images[k], rows[k], own.time[k], land.elevation[k]) for k in range(WORLDS)],
        [float(one) for one in latitude],
        directions,
        land.cover.numpy(),
        {k: backscatter.expected(world, one.last())[:, 0].numpy() for k, one in asked.items()},
    )


def _swapped(own: views.Views, latitude: torch.Tensor) -> tuple[views.Views, list[str]]:
    """The last view of each world from the other pass."""
    ascending, heading = own.ascending.clone(), own.heading_deg.clone()
    ascending[:, -1] = ~ascending[:, -1]
    directions = [ASCENDING if up else DESCENDING for up in ascending[:, -1]]
    for place, direction in enumerate(directions):
        heading[place, -1] = heading_deg(float(latitude[place]), direction)
    return replace(own, ascending=ascending, heading_deg=heading), directions


def _cube(images: Float, rows: Float, time: torch.Tensor, elevation: torch.Tensor) -> xr.Dataset:
    seconds = (time.numpy() * 86400.0).astype("timedelta64[s]")
    dims = ("time", "cy", "cx")
    return xr.Dataset(
        {
            "backscatter": (("time", "band", "y", "x"), images),
            "temperature": (dims, rows[:, 0, None, None]),
            "snow_depth": (dims, rows[:, 1, None, None]),
            "incidence": (dims, rows[:, 3, None, None]),
            "precipitation": (("time", "lag", "cy", "cx"), rows[:, 4:8, None, None]),
            "elevation": (("y", "x"), elevation.numpy()),
        },
        coords={
            "time": (np.datetime64(views.EPOCH) + seconds).astype("datetime64[ns]"),
            "band": ["VV", "VH"],
            "y": -SPACING_M * np.arange(SIZE),
            "x": SPACING_M * np.arange(SIZE),
            "cy": [0.0],
            "cx": [0.0],
            "heading": ("time", rows[:, 2]),
        },
    )


def _predicted(area: Area, model: Model, words: list[dict[str, str]]) -> Float:
    """Expected images under what is set, dims (world, band, y, x)."""
    given = PreviousOptions(previous=8)
    images = []
    for cube, latitude, asked in zip(area.cubes, area.latitudes, words, strict=True):
        told = read_conditions(asked, latitude)
        found = predict(cube, model, IMAGES - 1, conditions=told, given=given)
        images.append(found["expected"].values)
    return np.stack(images)


def test_swapping_the_orbit_direction_moves_what_is_three_dimensional(
    area: Area, model: Model
) -> None:
    """Slopes, edges and corners move as in the world, and little else does."""
    words = [{"orbit_direction": direction} for direction in area.swapped_to]
    moved = _predicted(area, model, words) - _predicted(area, model, [{}] * WORLDS)
    true = area.truth["swapped"] - area.truth["own"]
    assert np.corrcoef(moved.ravel(), true.ravel())[0, 1] > 0.75
    assert 0.5 < (moved * true).sum() / np.square(true).sum() < 1.15
    assert np.square(moved - true).mean() < 0.45 * np.square(true).mean()
    much = np.abs(true) > 1.5
    assert (np.sign(moved) == np.sign(true))[much].mean() > 0.95
    still = np.abs(true) < 0.1
    assert np.abs(moved[still]).mean() < 0.3 * np.abs(moved[much]).mean()


def test_rain_moves_open_ground_more_than_forest(area: Area, model: Model) -> None:
    wet, dry = ([{"precipitation": mm}] * WORLDS for mm in (f"{HEAVY_MM}", "0"))
    moved = _predicted(area, model, wet) - _predicted(area, model, dry)
    true = area.truth["rain"] - area.truth["dry"]

    def mean(image: Float, name: str) -> Float:
        """Mean of each band over a cover of all worlds."""
        on = area.cover == table.NAMES.index(name)
        return np.array([image[:, band][on].mean() for band in (0, 1)])

    assert (mean(moved, "forest") > 0.1).all()
    for name, away in (("open", 0.65), ("field", 0.75), ("mire", 0.65)):
        assert (mean(true, name) > 1.5 * mean(true, "forest")).all()
        assert (mean(moved, name) > 1.1 * mean(moved, "forest")).all()
        assert (np.abs(mean(moved, name) / mean(true, name) - 1.0) < away).all()
    assert (np.abs(mean(moved, "forest") - mean(true, "forest")) < 0.5).all()
    assert np.square(moved - true).mean() < 0.5 * np.square(true).mean()


def test_what_is_set_counts_for_the_target_alone(area: Area, model: Model) -> None:
    """Setting what the target has anyhow changes nothing."""
    rows = [cube["heading"].values[-1] for cube in area.cubes]
    same = _predicted(area, model, [{"heading": f"{float(heading)!r}"} for heading in rows])
    np.testing.assert_allclose(same, _predicted(area, model, [{}] * WORLDS), atol=1e-4)
