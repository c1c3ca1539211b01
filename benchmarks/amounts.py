"""How far set conditions move the expected image, compared with the truth of a world.

    python -m benchmarks.amounts [--model base] [--worlds 12] [--rain 15]

Boreal worlds in summer, acquired nine times. The expected image of the last acquisition is compared
with that from the other pass; and, with rain of so many mm on each of the last four days, with that
without rain.
"""

import argparse
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import xarray as xr

from sarcast.arrays import Float
from sarcast.prediction import Model, load_model
from sarcast.prediction.predict import predict
from sarcast.sensor.conditions import (
    HEADING,
    INCIDENCE,
    PRECIPITATION,
    SNOW_DEPTH,
    TEMPERATURE,
    read_conditions,
)
from sarcast.sensor.orbits import ASCENDING, DESCENDING
from sarcast.sensor.units import DB_PER_NEPER
from sarcast.windows import BANDS, PreviousOptions
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
from sarcast.world.baseline import Baseline
from sarcast.world.stream import conditions, draw_acquisitions, observe_views

SIZE, SPACING_M, IMAGES, DAYS = 96, 10.0, 9, 60
SUMMER = float((dt.date(2020, 6, 1) - views.EPOCH).days)
LONGITUDE_DEG = 25.0
RAIN_DAYS = 4
COVERS = ("forest", "open", "field", "mire")


@dataclass(frozen=True)
class Area:
    """Boreal worlds in summer, acquired nine times.

    ``truth`` contains the true expected images of the last acquisition, dims (world, band, y, x),
    dB, by what was set: ``own``, ``swapped``, ``dry``, ``rain``; ``cover`` has dims (world, y, x).
    """

    cubes: list[xr.Dataset]
    latitudes: list[float]
    swapped_to: list[str]
    rain_mm: float
    cover: np.ndarray
    truth: dict[str, Float]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="base")
    parser.add_argument("--worlds", type=int, default=12)
    parser.add_argument("--rain", type=float, default=15.0, help="mm a day")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    model = load_model(options.model, device="cpu", context="none")
    area = draw(options.worlds, options.rain, seed=options.seed)
    print("| cover | pixels | rain moves it in truth, VV and VH, dB | as predicted |")
    print("|---" * 4 + "|")
    rain = by_rain(area, model)
    for name in COVERS:
        cells = [name, str(int(on(area, name).sum()))]
        for image in rain:
            cells.append(", ".join(f"{value:.2f}" for value in means(area, image, name)))
        print(f"| {' | '.join(cells)} |")
    print("\n| set | of the truth's squares explained | predicted over true, least squares |")
    print("|---" * 3 + "|")
    for setting, (true, moved) in (("rain", rain), ("the other pass", by_pass(area, model))):
        unexplained = np.square(moved - true).sum() / np.square(true).sum()
        print(f"| {setting} | {1.0 - unexplained:.2f} | {slope(true, moved):.2f} |")


def by_rain(area: Area, model: Model) -> tuple[Float, Float]:
    """Compute rain minus no rain, true and predicted, dims (world, band, y, x), dB."""
    wet, dry = (predicted(area, model, precipitation=f"{mm}") for mm in (area.rain_mm, 0.0))
    return area.truth["rain"] - area.truth["dry"], wet - dry


def by_pass(area: Area, model: Model) -> tuple[Float, Float]:
    """Compute the other pass minus the own, true and predicted, dims (world, band, y, x), dB."""
    settings = [{"orbit_direction": direction} for direction in area.swapped_to]
    moved = predicted_each(area, model, settings) - predicted(area, model)
    return area.truth["swapped"] - area.truth["own"], moved


def on(area: Area, name: str) -> np.ndarray:
    """Find the pixels of a cover, dims (world, y, x)."""
    return np.asarray(area.cover == table.NAMES.index(name))


def means(area: Area, image: Float, name: str) -> Float:
    """Average each band over a cover of all worlds."""
    return np.array([image[:, band][on(area, name)].mean() for band in range(len(BANDS))])


def slope(true: Float, moved: Float) -> float:
    """Fit predicted = slope * true by least squares; 1 is the right amount."""
    return float((moved * true).sum() / np.square(true).sum())


def predicted(area: Area, model: Model, **setting: str) -> Float:
    """Predict under the same set conditions in every world, dims (world, band, y, x)."""
    return predicted_each(area, model, [setting] * len(area.cubes))


def predicted_each(area: Area, model: Model, settings: Sequence[Mapping[str, str]]) -> Float:
    """Predict under the set conditions of each world, dims (world, band, y, x)."""
    baseline = PreviousOptions(previous=8)
    images = []
    for cube, latitude, setting in zip(area.cubes, area.latitudes, settings, strict=True):
        conditions = read_conditions(setting, latitude)
        image = predict(cube, model, cube["time"][-1], conditions=conditions, baseline=baseline)
        images.append(image["expected"].values)
    return np.stack(images)


@torch.inference_mode()
def draw(worlds: int, rain_mm: float, *, seed: int) -> Area:
    """Draw worlds, acquire each nine times, and the last time also under the set conditions."""
    rng = torch.Generator().manual_seed(seed)
    parameters = presets.draw(presets.PRESETS["boreal"], worlds, rng=rng)
    land = ground.draw(parameters, (SIZE, SIZE), SPACING_M, rng=rng)
    latitude = parameters["latitude_deg"]
    longitude = torch.full((worlds,), LONGITUDE_DEG)
    start = torch.full((worlds,), SUMMER, dtype=torch.float64)
    baseline = Baseline(previous=IMAGES - 1)
    own, sky, day = draw_acquisitions(parameters, longitude, start, DAYS, baseline, rng=rng)
    calendar = parcels.draw(land, parameters, own.time[:, 0], rng=rng)
    old = changes.draw(land, 1, own.time[:, 0] - 60.0, own.time[:, 0] - 50.0, rng=rng)
    world = backscatter.World(parameters, land, calendar, old)

    last = torch.arange(IMAGES).expand(own.time.shape) == IMAGES - 1
    swapped = own.from_other_pass(last)
    observed = {
        "own": observe_views(own, sky, day, world),
        "swapped": observe_views(swapped, sky, day, world),
        "dry": observe_views(own, _with_rain(sky, day, 0.0), day, world),
        "rain": observe_views(own, _with_rain(sky, day, rain_mm), day, world),
    }
    unmodelled = backscatter.draw_unmodelled(world, IMAGES, rng=rng)
    ideal = backscatter.expected(world, observed["own"], unmodelled=unmodelled)
    power = sensor.observe(ideal, parameters, ["lee"] * worlds, rng=rng)
    rows = conditions(own, observed["own"].states).numpy()
    images = (DB_PER_NEPER * torch.log(power)).numpy()
    return Area(
        [_cube(images[k], rows[k], own.time[k], land.elevation[k]) for k in range(worlds)],
        [float(degrees) for degrees in latitude],
        [ASCENDING if up else DESCENDING for up in swapped.ascending[:, -1]],
        rain_mm,
        land.cover.numpy(),
        {
            name: backscatter.expected(world, observations.last())[:, 0].numpy()
            for name, observations in observed.items()
        },
    )


def _with_rain(sky: weather.WeatherSeries, day: torch.Tensor, mm: float) -> weather.WeatherSeries:
    """Replace the rain of the last acquisition's day and those before it, mm a day."""
    rain = sky.precipitation.clone()
    for number, last in enumerate(day[:, -1]):
        rain[number, last + 1 - RAIN_DAYS : last + 1] = mm
    return replace(sky, precipitation=rain)


def _cube(images: Float, rows: Float, time: torch.Tensor, elevation: torch.Tensor) -> xr.Dataset:
    seconds = (time.numpy() * 86400.0).astype("timedelta64[s]")
    dims = ("time", "cy", "cx")
    return xr.Dataset(
        {
            "backscatter": (("time", "band", "y", "x"), images),
            "temperature": (dims, rows[:, TEMPERATURE, None, None]),
            "snow_depth": (dims, rows[:, SNOW_DEPTH, None, None]),
            "incidence": (dims, rows[:, INCIDENCE, None, None]),
            "precipitation": (("time", "lag", "cy", "cx"), rows[:, PRECIPITATION, None, None]),
            "elevation": (("y", "x"), elevation.numpy()),
        },
        coords={
            "time": (np.datetime64(views.EPOCH) + seconds).astype("datetime64[ns]"),
            "band": list(BANDS),
            "y": -SPACING_M * np.arange(SIZE),
            "x": SPACING_M * np.arange(SIZE),
            "cy": [0.0],
            "cx": [0.0],
            "heading": ("time", rows[:, HEADING]),
        },
    )


if __name__ == "__main__":
    main()
