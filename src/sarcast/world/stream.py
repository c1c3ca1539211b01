"""An endless stream of windows of synthetic worlds, each of its own world, on CPU or GPU."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from sarcast.sensor.conditions import COLUMNS, CONDITIONS, condition
from sarcast.sensor.units import DB_PER_NEPER, FLOOR_DB
from sarcast.windows.batch import Batch
from sarcast.world import (
    backscatter,
    changes,
    ground,
    parcels,
    presets,
    sensor,
    views,
    weather,
)
from sarcast.world.backscatter import Observations, World
from sarcast.world.baseline import Baseline
from sarcast.world.options import StreamOptions
from sarcast.world.table import NAMES

TRAINING, REFERENCE = 1, 2
"""Spaces of seeds: no seed of one gives the windows of another."""
_FOREST = NAMES.index("forest")
_OPEN = (NAMES.index("open"), NAMES.index("field"))


class WindowStream:
    """An endless stream of windows, the same for the same seed and device.

    Batch number k depends on the seed and k alone, so a stream can be resumed at any batch.

    Parameters
    ----------
    options
        Which windows.
    seed
        Seed of the stream.
    device
        Device on which the windows are made and stay.
    space
        Space of the seed: ``TRAINING`` or ``REFERENCE``.
    """

    def __init__(
        self,
        options: StreamOptions,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        space: int = TRAINING,
    ) -> None:
        self.options = options
        self.seed = seed
        self.device = torch.device(device)
        self.space = space

    def __iter__(self) -> Iterator[Batch]:
        """Draw batches from number 0 on."""
        return map(self.draw, itertools.count())

    def draw(self, number: int, rank: int = 0) -> Batch:
        """Draw one batch; those of another number or rank contain other windows.

        All optional parts are set, except ``goal`` if ``goal_looks`` is 0 and the counterfactual
        parts unless ``counterfactual`` is set.
        """
        entropy = np.random.SeedSequence(self.seed, spawn_key=(self.space, number, rank))
        rng = torch.Generator(self.device)
        rng.manual_seed(int(entropy.generate_state(2, np.uint64)[0] >> 1))
        host = np.random.default_rng(entropy)
        with torch.inference_mode():
            return _draw(self.options, host=host, rng=rng)


def _draw(options: StreamOptions, *, host: np.random.Generator, rng: torch.Generator) -> Batch:
    preset = _preset(options)
    parameters = presets.draw(preset, options.batch, rng=rng)
    spacing_m = float(host.choice(preset.spacings_m))
    filters = _filters(preset, options.batch, host=host)
    world, acquired, daily, day = _draw_world(parameters, options, spacing_m, rng=rng)
    time = acquired.time
    observed = observe_views(acquired, daily, day, world)
    unmodelled = backscatter.draw_unmodelled(world, time.shape[1], rng=rng)
    unchanged = _without_new_changes(observed)
    actual = backscatter.expected(
        world, observed if options.new_changes else unchanged, unmodelled=unmodelled
    )
    expected = backscatter.expected(world, unchanged.last())
    images = _image_db(actual, parameters, filters, rng=rng)
    known = _drop_conditions(conditions(acquired, observed.states), options.missing, rng=rng)
    goal = None
    if options.goal_looks:
        repeated = actual[:, -1:].expand(-1, options.goal_looks, -1, -1, -1)
        goal = _image_db(repeated, parameters, filters, rng=rng).nanmean(1)
    counterfactual = {}
    if options.counterfactual:
        other = _counterfactual(unchanged.last(), daily, day[:, -1:], world, rng=rng)
        rows = conditions(other.views, other.states)[:, 0]
        counterfactual = {
            "counterfactual_conditions": rows.masked_fill(known[:, -1].isnan(), torch.nan),
            "counterfactual_expected": backscatter.expected(world, other)[:, 0],
        }
    return Batch(
        previous=images[:, :-1],
        target=images[:, -1],
        conditions=known,
        expected=expected[:, 0],
        goal=goal,
        **_time_parts(time),
        **_ground_parts(world, time, new_changes=options.new_changes),
        **counterfactual,
    )


def _preset(options: StreamOptions) -> presets.Preset:
    """The preset of the options, with their physics and last date."""
    preset = presets.PRESETS[options.preset]
    first, last = preset.dates
    return replace(preset, dates=(first, options.end or last), physics=options.physics)


def _draw_world(
    parameters: presets.Parameters,
    options: StreamOptions,
    spacing_m: float,
    *,
    rng: torch.Generator,
) -> tuple[World, views.Views, weather.WeatherSeries, torch.Tensor]:
    """A world for each window, its views, their weather, and their days in it (world, view)."""
    land = ground.draw(parameters, (options.size, options.size), spacing_m, rng=rng)
    acquired, daily, day = _acquisitions(parameters, options, rng=rng)
    calendar = parcels.draw(land, parameters, acquired.time[:, 0], rng=rng)
    happened = _changes(land, acquired.time, parameters.preset.changes, rng=rng)
    return World(parameters, land, calendar, happened), acquired, daily, day


def _time_parts(time: torch.Tensor) -> dict[str, torch.Tensor]:
    """Times of a batch, from days after ``views.EPOCH``."""
    return {
        "times": _nanoseconds(time),
        "days": (time - time[:, -1:]).float(),
        "day_of_year": _day_of_year(time[:, -1]),
    }


def _ground_parts(
    world: World, time: torch.Tensor, *, new_changes: bool
) -> dict[str, torch.Tensor]:
    """Elevation and masks of a batch."""
    cover = world.ground.cover
    changed = torch.zeros_like(cover, dtype=torch.bool)
    if new_changes:
        changed = changed | _newly_changed(world.changes, time)
    return {
        "elevation": world.ground.elevation,
        "forest": cover == _FOREST,
        "open_land": (cover == _OPEN[0]) | (cover == _OPEN[1]),
        "changed": changed,
    }


def _image_db(
    backscatter_db: torch.Tensor,
    parameters: presets.Parameters,
    filters: list[str],
    *,
    rng: torch.Generator,
) -> torch.Tensor:
    """Images that the sensor makes of backscatter, dB."""
    power = sensor.observe(backscatter_db, parameters, filters, rng=rng)
    return (DB_PER_NEPER * torch.log(power)).clamp_(min=FLOOR_DB)


def _nanoseconds(time: torch.Tensor) -> torch.Tensor:
    """Days after ``views.EPOCH`` as nanoseconds since 1970, rounded to seconds."""
    epoch = int(np.datetime64(views.EPOCH, "s").astype(np.int64))
    return ((time * 86400.0).round().long() + epoch) * 1_000_000_000


def _day_of_year(time: torch.Tensor) -> torch.Tensor:
    """Days since the first of January, float32, of days after ``views.EPOCH``."""
    epoch = np.datetime64(views.EPOCH)
    days = time.cpu().numpy().astype("timedelta64[D]")
    year = (epoch + days).astype("datetime64[Y]").astype("datetime64[D]")
    since = torch.as_tensor((year - epoch).astype(np.float64), device=time.device)
    return (time - since).float()


def _filters(preset: presets.Preset, worlds: int, *, host: np.random.Generator) -> list[str]:
    names = list(preset.filters)
    weights = np.array([preset.filters[name] for name in names])
    return [str(name) for name in host.choice(names, worlds, p=weights / weights.sum())]


def _acquisitions(
    parameters: presets.Parameters, options: StreamOptions, *, rng: torch.Generator
) -> tuple[views.Views, weather.WeatherSeries, torch.Tensor]:
    """Views of each window, at a random date and longitude, and the weather of all days."""
    baseline = Baseline(options.previous, options.horizon, options.horizon_days, options.seasons)
    first, last = ((date - views.EPOCH).days for date in parameters.preset.dates)
    chance = torch.rand(2, options.batch, generator=rng, device=rng.device)
    start = torch.floor(first + (last - first) * chance[0].double()) - baseline.days
    return draw_acquisitions(parameters, 360.0 * chance[1], start, baseline.days, baseline, rng=rng)


def draw_acquisitions(
    parameters: presets.Parameters,
    longitude_deg: torch.Tensor,
    start: torch.Tensor,
    span: int,
    baseline: Baseline,
    *,
    rng: torch.Generator,
) -> tuple[views.Views, weather.WeatherSeries, torch.Tensor]:
    """Draw the previous images and target of each world in the ``span`` days from ``start`` on.

    Returns
    -------
    views, weather, day
        The views, oldest first, the weather of all days, and the indices of the views' days in it,
        dims (world, view).
    """
    near = views.tracks(parameters["latitude_deg"], longitude_deg)
    near = views.choose(near, *parameters.preset.tracks, rng=rng)
    all_views = views.acquisitions(near, start, span, available=parameters["available"], rng=rng)
    chosen = all_views.take(baseline.draw(all_views.time, rng=rng))
    spin_up = start - weather.SPIN_UP_DAYS
    daily = weather.draw(parameters, spin_up, span + weather.SPIN_UP_DAYS, rng=rng)
    day = torch.floor(chosen.time - spin_up[:, None]).long()
    return chosen, daily, day


def _counterfactual(
    target: Observations,
    daily: weather.WeatherSeries,
    day: torch.Tensor,
    world: World,
    *,
    rng: torch.Generator,
) -> Observations:
    """Targets after different rain before their day, half of them from the opposite pass."""
    opposite = torch.rand(len(day), 1, generator=rng, device=rng.device) < 0.5
    other_views = target.views.from_other_pass(opposite)
    other_weather = weather.replace_recent_rain(daily, day[:, 0], rng=rng)
    other = observe_views(other_views, other_weather, day, world)
    return replace(other, until=target.until)


def observe_views(
    acquired: views.Views, daily: weather.WeatherSeries, day: torch.Tensor, world: World
) -> Observations:
    """Combine views with the weather; ``day``, dims (world, view), are their indices in it."""
    states = weather.states(daily, day, acquired.ascending, world.parameters["diurnal_c"])
    rows, columns = world.ground.elevation.shape[-2:]
    angle = views.smooth_incidence(
        acquired.incidence_deg, acquired.heading_deg, (rows, columns), world.ground.spacing_m
    )
    return Observations(acquired, states, angle, acquired.time)


def conditions(acquired: views.Views, states: weather.States) -> torch.Tensor:
    """Rows of conditions at the area's centre, dims (world, view, column) as ``COLUMNS``."""
    rain = states.precipitation.mean((3, 4)).unbind(2)
    known = {
        "temperature": states.temperature,
        "snow_depth": states.snow_depth,
        "heading": acquired.heading_deg,
        "incidence": acquired.incidence_deg,
        "platform": acquired.platform.float(),
        **{f"precipitation_{lag}": day for lag, day in enumerate(rain)},
    }
    return torch.stack([known[name].float() for name in COLUMNS], dim=-1)


def _changes(
    land: ground.Ground, time: torch.Tensor, mean: float, *, rng: torch.Generator
) -> changes.Changes:
    """Changes from 60 days before the first image on; about half fall after the last previous."""
    count = max(1, round(2.0 * mean)) if mean > 0.0 else 0
    before, last, target = time[:, 0] - 60.0, time[:, -2], time[:, -1]
    drawn = changes.draw(land, count, before, last, rng=rng)
    chance = torch.rand(2, *drawn.day.shape, generator=rng, device=rng.device).double()
    late = last[:, None] + (target - last)[:, None] * chance[0]
    day = torch.where(chance[1] < 0.5, drawn.day, late)
    return changes.Changes(drawn.kind, day, drawn.masks)


def _without_new_changes(observed: Observations) -> Observations:
    """Show the target's ground as it was at the last previous image."""
    time = observed.views.time
    until = torch.cat([time[:, :-1], time[:, -2:-1]], dim=1)
    return replace(observed, until=until)


def _newly_changed(drawn: changes.Changes, time: torch.Tensor) -> torch.Tensor:
    """Pixels that changed between the last previous image and the target, dims (world, y, x)."""
    new = (drawn.day > time[:, -2:-1]) & (drawn.day < time[:, -1:])
    return (drawn.masks & new[:, :, None, None]).any(1)


def _drop_conditions(rows: torch.Tensor, chance: float, *, rng: torch.Generator) -> torch.Tensor:
    """Set each condition of a window to NaN in all of its images, with a given probability."""
    worlds = len(rows)
    lost = torch.rand(worlds, len(CONDITIONS), generator=rng, device=rng.device) < chance
    of_column = torch.tensor([CONDITIONS.index(condition(name)) for name in COLUMNS])
    return rows.masked_fill(lost[:, None, of_column.to(rng.device)], torch.nan)
