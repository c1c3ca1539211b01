"""Windows of synthetic worlds without end, each of a world of its own, on CPU or GPU."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from sarcast.sensor.conditions import COLUMNS, CONDITIONS, condition
from sarcast.sensor.units import DB_PER_NEPER, FLOOR_DB
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
from sarcast.world.backscatter import Seen, World
from sarcast.world.options import StreamOptions
from sarcast.world.table import NAMES

TRAINING, BENCH = 1, 2
"""Name spaces of seeds: no seed of one gives the windows of another."""
DAYS_AN_IMAGE = 45
"""Days in which one image of the scarcest preset is nearly sure to be made."""
_FOREST = NAMES.index("forest")
_OPEN = (NAMES.index("open"), NAMES.index("field"))


@dataclass(frozen=True)
class Drawn:
    """Windows of a stream, as tensors on its device.

    Attributes
    ----------
    previous
        Dims (window, image, band, y, x), dB, oldest first, NaN where nothing was seen.
    target
        Dims (window, band, y, x), dB, NaN where nothing was seen.
    elevation
        Dims (window, y, x), m.
    conditions
        Dims (window, image + 1, column), as ``conditions.COLUMNS``, NaN where missing.
    time
        Dims (window, image + 1), float64, days after ``views.EPOCH``; the target is last.
    expected
        Dims (window, band, y, x), dB: the oracle.
    forest, open_land
        Dims (window, y, x), bool.
    changed
        Dims (window, y, x), bool: where the ground changed after the last previous image.
    goal
        Dims (window, band, y, x), dB: the mean of what the sensor would make of the expected image
        over and over again, ``goal_looks`` times; None where that is 0.
    counterfactual_conditions, counterfactual_expected
        Dims (window, column) and (window, band, y, x), dB: what the target's ground would look like
        under other conditions; None unless ``counterfactual`` was asked for.
    """

    previous: torch.Tensor
    target: torch.Tensor
    elevation: torch.Tensor
    conditions: torch.Tensor
    time: torch.Tensor
    expected: torch.Tensor
    forest: torch.Tensor
    open_land: torch.Tensor
    changed: torch.Tensor
    goal: torch.Tensor | None = None
    counterfactual_conditions: torch.Tensor | None = None
    counterfactual_expected: torch.Tensor | None = None


class WindowStream:
    """An endless stream of windows, the same for the same seed and device.

    Batch number k is drawn from the seed and k alone, so that a stream can be taken up anywhere.

    Parameters
    ----------
    options
        What windows.
    seed
        Of all that is random.
    device
        Where they are made and stay.
    space
        Name space of the seed.
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

    def __iter__(self) -> Iterator[Drawn]:
        """Draw batches from number 0 on."""
        return map(self.draw, itertools.count())

    def draw(self, number: int, rank: int = 0) -> Drawn:
        """Draw one batch; those of another number or rank hold other windows."""
        entropy = np.random.SeedSequence(self.seed, spawn_key=(self.space, number, rank))
        rng = torch.Generator(self.device)
        rng.manual_seed(int(entropy.generate_state(2, np.uint64)[0] >> 1))
        host = np.random.default_rng(entropy)
        with torch.inference_mode():
            return _draw(self.options, host=host, rng=rng)


def _draw(options: StreamOptions, *, host: np.random.Generator, rng: torch.Generator) -> Drawn:
    preset = presets.PRESETS[options.preset]
    parameters = presets.draw(preset, options.batch, rng=rng)
    spacing_m = float(host.choice(preset.spacings_m))
    filters = _filters(preset, options.batch, host=host)
    land = ground.draw(parameters, (options.size, options.size), spacing_m, rng=rng)
    own, sky, day = _acquisitions(parameters, options, rng=rng)
    time = own.time
    calendar = parcels.draw(land, parameters, time[:, 0], rng=rng)
    world = World(parameters, land, calendar, _changes(land, time, preset.changes, rng=rng))
    seen = look(own, sky, day, world)
    unknown = backscatter.draw_unknown(world, time.shape[1], rng=rng)
    still = _frozen(seen)
    last = still.last()
    actual = backscatter.expected(world, seen if options.new_changes else still, unknown=unknown)
    expected = backscatter.expected(world, last)
    power = sensor.observe(actual, parameters, filters, rng=rng)
    images = (DB_PER_NEPER * torch.log(power)).clamp_(min=FLOOR_DB)
    new = _new(world.changes, time) if options.new_changes else torch.zeros_like(time[:, :1, None])
    known = _forget(conditions(own, seen.states), options.missing, rng=rng)
    goal = None
    if options.goal_looks:
        again = expected.expand(-1, options.goal_looks, -1, -1, -1)
        looks = torch.log(sensor.observe(again, parameters, filters, rng=rng))
        goal = (DB_PER_NEPER * looks).clamp_(min=FLOOR_DB).nanmean(1)
    counterfactual_conditions = counterfactual_expected = None
    if options.counterfactual:
        other = _counterfactual(last, sky, day[:, -1:], world, rng=rng)
        told = conditions(other.views, other.states)[:, 0]
        counterfactual_conditions = told.masked_fill(known[:, -1].isnan(), torch.nan)
        counterfactual_expected = backscatter.expected(world, other)[:, 0]
    return Drawn(
        previous=images[:, :-1],
        target=images[:, -1],
        elevation=land.elevation,
        conditions=known,
        time=time,
        expected=expected[:, 0],
        forest=land.cover == _FOREST,
        open_land=(land.cover == _OPEN[0]) | (land.cover == _OPEN[1]),
        changed=new.expand(land.cover.shape).bool(),
        goal=goal,
        counterfactual_conditions=counterfactual_conditions,
        counterfactual_expected=counterfactual_expected,
    )


def _filters(preset: presets.Preset, worlds: int, *, host: np.random.Generator) -> list[str]:
    names = list(preset.filters)
    weights = np.array([preset.filters[name] for name in names])
    return [str(name) for name in host.choice(names, worlds, p=weights / weights.sum())]


def _acquisitions(
    parameters: presets.Parameters, options: StreamOptions, *, rng: torch.Generator
) -> tuple[views.Views, weather.WeatherSeries, torch.Tensor]:
    """Views of each window, at a date and a place of its own, and the weather of all days."""
    preset, count = parameters.preset, options.previous + 1
    span = DAYS_AN_IMAGE * count
    first, last = ((date - views.EPOCH).days for date in preset.dates)
    chance = torch.rand(2, options.batch, generator=rng, device=rng.device)
    start = torch.floor(first + (last - first) * chance[0].double()) - span
    return last_acquisitions(parameters, 360.0 * chance[1], start, span, count, rng=rng)


def last_acquisitions(
    parameters: presets.Parameters,
    longitude_deg: torch.Tensor,
    start: torch.Tensor,
    span: int,
    count: int,
    *,
    rng: torch.Generator,
) -> tuple[views.Views, weather.WeatherSeries, torch.Tensor]:
    """The last ``count`` views of each world in ``span`` days from ``start`` on.

    Returns
    -------
    views, weather, day
        The views, the weather of all days, and the places of the views' days in it, dims (world,
        view).
    """
    near = views.tracks(parameters["latitude_deg"], longitude_deg)
    near = views.choose(near, *parameters.preset.tracks, rng=rng)
    all_views = views.acquisitions(near, start, span, available=parameters["available"], rng=rng)
    found = torch.isfinite(all_views.time).sum(1, keepdim=True)
    places = (found - count + torch.arange(count, device=rng.device)).clamp(min=0)
    chosen = all_views.take(places)
    spin_up = start - weather.SPIN_UP_DAYS
    sky = weather.draw(parameters, spin_up, span + weather.SPIN_UP_DAYS, rng=rng)
    day = torch.floor(chosen.time - spin_up[:, None]).long()
    return chosen, sky, day


def _counterfactual(
    target: Seen,
    sky: weather.WeatherSeries,
    day: torch.Tensor,
    world: World,
    *,
    rng: torch.Generator,
) -> Seen:
    """Targets, half of them from the other pass, after other rain before their day."""
    turned = torch.rand(len(day), 1, generator=rng, device=rng.device) < 0.5
    own = target.views.from_other_pass(turned)
    other = look(own, weather.with_spell(sky, day[:, 0], rng=rng), day, world)
    return replace(other, until=target.until)


def look(own: views.Views, sky: weather.WeatherSeries, day: torch.Tensor, world: World) -> Seen:
    """Views under a weather; ``day``, dims (world, view), are their places in it."""
    states = weather.states(sky, day, own.ascending, world.parameters["diurnal_c"])
    rows, columns = world.ground.elevation.shape[-2:]
    angle = views.smooth_incidence(
        own.incidence_deg, own.heading_deg, (rows, columns), world.ground.spacing_m
    )
    return Seen(own, states, angle, own.time)


def conditions(seen: views.Views, states: weather.States) -> torch.Tensor:
    """Rows of conditions at the area's centre, dims (world, view, column) as ``COLUMNS``."""
    rain = states.precipitation.mean((3, 4)).unbind(2)
    known = {
        "temperature": states.temperature,
        "snow_depth": states.snow_depth,
        "heading": seen.heading_deg,
        "incidence": seen.incidence_deg,
        "platform": seen.platform.float(),
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


def _frozen(seen: Seen) -> Seen:
    """The target sees the ground as it was at the last previous image."""
    time = seen.views.time
    until = torch.cat([time[:, :-1], time[:, -2:-1]], dim=1)
    return Seen(seen.views, seen.states, seen.incidence_deg, until)


def _new(drawn: changes.Changes, time: torch.Tensor) -> torch.Tensor:
    """Pixels that changed between the last previous image and the target, dims (world, y, x)."""
    new = (drawn.day > time[:, -2:-1]) & (drawn.day < time[:, -1:])
    return (drawn.masks & new[:, :, None, None]).any(1)


def _forget(rows: torch.Tensor, chance: float, *, rng: torch.Generator) -> torch.Tensor:
    """Rows without some conditions of each window, NaN in all of its images."""
    worlds = len(rows)
    lost = torch.rand(worlds, len(CONDITIONS), generator=rng, device=rng.device) < chance
    of_column = torch.tensor([CONDITIONS.index(condition(name)) for name in COLUMNS])
    return rows.masked_fill(lost[:, None, of_column.to(rng.device)], torch.nan)
