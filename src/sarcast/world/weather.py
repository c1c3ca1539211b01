"""Daily weather of many worlds at once, and the state of the ground that follows from it.

Temperature is a seasonal cycle plus an autoregressive anomaly; rain falls on wet days, which are
clustered, with a monsoon where the preset has one; snow follows degree-days. No loop runs over
days: autoregressive series are products with a triangular matrix, the snow pack is a walk
reflected at zero.

References
----------
Richardson, Water Resources Research 17 (1981) 182: stochastic daily weather. The day-to-day
correlations are those of Finnish stations: 0.82 for temperature in Oulu, 0.42 for rain in
Sodankylä.
Kohler, Linsley, US Weather Bureau Research Paper 34 (1951): antecedent precipitation index.
Hock, Journal of Hydrology 282 (2003) 104: degree-day melt.
"""

from dataclasses import dataclass
from dataclasses import fields as dataclass_fields

import torch

from sarcast.sensor.conditions import LAGS
from sarcast.sensor.units import YEAR_DAYS
from sarcast.world import fields
from sarcast.world.presets import Parameters

WARMEST_DAY = 200.0
"""Day of the year with the highest mean temperature in the northern hemisphere."""
TEMPERATURE_MEMORY = 0.8
"""Correlation of the temperature anomaly with that of the day before."""
RAIN_MEMORY = 0.45
"""The same for the normal number that decides whether a day is wet."""
RAIN_SPREAD = 0.5
"""Standard deviation of the logarithm of rain over the area on one day."""
SNOWFALL_BELOW_C = 0.8
MELT_MM = 3.0
"""Degree-day factor, mm of water per degC and day, open land [Hock, table 1]."""
SNOW_CM_PER_MM = 0.45
"""Depth of settled snow of 220 kg m-3 per mm of water."""
INDEX_DECAY = 0.85
"""Share of the antecedent precipitation index that remains a day later [Kohler, Linsley]."""
INDEX_DAYS = 25
WET_SCALE_MM = 12.0
"""Index at which the wetness of the ground is 1 − 1/e."""
SEASON_DAYS = 30
SPIN_UP_DAYS = 300
"""Days drawn before the first requested one: snow from autumn on, and past temperatures."""
REPLACED_DAYS = (2, 12)
"""Fewest and most days whose rain ``replace_recent_rain`` replaces."""
REPLACED_MM, REPLACED_DRY_SHARE = 20.0, 0.4
"""Mean daily rain of the wettest replacement; share of replacements without any rain."""


@dataclass(frozen=True)
class WeatherSeries:
    """Daily weather over a coarse grid.

    Attributes
    ----------
    temperature
        Dims (world, day), degC, daily mean.
    precipitation
        Dims (world, day, gy, gx), mm per day.
    snow_depth
        Dims (world, day), cm.
    """

    temperature: torch.Tensor
    precipitation: torch.Tensor
    snow_depth: torch.Tensor


def draw(
    parameters: Parameters,
    first_day: torch.Tensor,
    days: int,
    *,
    grid: fields.Size = (1, 1),
    rng: torch.Generator,
) -> WeatherSeries:
    """Draw the weather of ``days`` days.

    Parameters
    ----------
    parameters
        Parameters of each world.
    first_day
        Dims (world), whole days after ``views.EPOCH``.
    days
        Number of days; the first ``SPIN_UP_DAYS`` are needed for the state of those that follow.
    grid
        Rows and columns of the coarse grid of rain.
    rng
        Random generator.
    """
    worlds = len(first_day)
    day = season_day(parameters, first_day)[:, None] + torch.arange(days, device=rng.device)
    season = torch.cos(2.0 * torch.pi * (day - WARMEST_DAY) / YEAR_DAYS)
    anomaly = _autoregressive(fields.normal(worlds, days, rng=rng), TEMPERATURE_MEMORY)
    temperature = (
        parameters["temperature_c"][:, None]
        + parameters["season_c"][:, None] * season
        + parameters["weather_c"][:, None] * anomaly
    )
    rain = _rain(parameters, season, rng)
    depth = _snow_depth(rain, temperature)
    spread = RAIN_SPREAD * fields.smooth((worlds, days), grid, (1, 1), rng=rng)
    factor = torch.exp(spread - RAIN_SPREAD**2 / 2.0) if grid != (1, 1) else torch.ones_like(spread)
    return WeatherSeries(temperature, rain[:, :, None, None] * factor, depth)


def replace_recent_rain(
    weather: WeatherSeries, day: torch.Tensor, *, rng: torch.Generator
) -> WeatherSeries:
    """Replace the rain of the last days up to a day in each world; the snow depth follows.

    Parameters
    ----------
    weather
        Weather of each world; it is not changed.
    day
        Dims (world), int64: index in the weather of the last day whose rain is replaced.
    rng
        Random generator.
    """
    length, wetness = torch.rand(2, len(day), 1, generator=rng, device=rng.device)
    fewest, most = REPLACED_DAYS
    since = day[:, None] - torch.arange(weather.temperature.shape[1], device=day.device)
    within = (since >= 0) & (since < torch.floor(fewest + (most + 1 - fewest) * length))
    dry = REPLACED_DRY_SHARE
    mean = REPLACED_MM * ((wetness - dry) / (1.0 - dry)).clamp(min=0.0)
    amount = -mean * torch.log1p(-torch.rand(within.shape, generator=rng, device=rng.device))
    rain = torch.where(within[..., None, None], amount[..., None, None], weather.precipitation)
    depth = _snow_depth(rain.mean((2, 3)), weather.temperature)
    return WeatherSeries(weather.temperature, rain, depth)


def season_day(parameters: Parameters, time: torch.Tensor) -> torch.Tensor:
    """Return the day of the northern year with the season of each world at ``time`` (world, ...).

    Times are days after ``views.EPOCH``, a first of January; south of the equator the seasons are
    half a year apart.
    """
    return (season_time(parameters, time) % YEAR_DAYS).float()


def season_time(parameters: Parameters, time: torch.Tensor) -> torch.Tensor:
    """Return the days since the northern year began in which ``views.EPOCH`` lies, float64."""
    south = parameters.over("latitude_deg", time.ndim - 1) < 0.0
    return time + torch.where(south, YEAR_DAYS / 2.0, 0.0)


def _autoregressive(noise: torch.Tensor, correlation: float) -> torch.Tensor:
    days = noise.shape[1]
    lag = torch.arange(days, device=noise.device)[:, None] - torch.arange(days, device=noise.device)
    weights = torch.where(lag >= 0, correlation ** lag.clamp(min=0).float(), 0.0)
    return torch.matmul(noise, weights.mT * (1.0 - correlation**2) ** 0.5)


def _rain(parameters: Parameters, season: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    worlds, days = season.shape
    monsoon = parameters["monsoon"][:, None]
    chance = (parameters["wet_days"][:, None] * (1.0 + monsoon * season)).clamp(0.02, 0.95)
    latent = _autoregressive(fields.normal(worlds, days, rng=rng), RAIN_MEMORY)
    wet = torch.special.ndtr(latent) > 1.0 - chance
    amount = -torch.log1p(-torch.rand(worlds, days, generator=rng, device=rng.device))
    mean = parameters["rain_mm"][:, None] * (1.0 + monsoon * season)
    return torch.where(wet, mean * amount, 0.0)


def _snow_depth(rain: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    fall = torch.where(temperature < SNOWFALL_BELOW_C, rain, 0.0)
    walk = torch.cumsum(fall - MELT_MM * temperature.clamp(min=0.0), dim=1)
    floor = torch.cummin(walk, dim=1).values.clamp(max=0.0)
    return SNOW_CM_PER_MM * (walk - floor)


@dataclass(frozen=True)
class States:
    """State of the ground at each view; dims (world, view), 0..1 unless stated otherwise.

    Attributes
    ----------
    temperature, snow_depth
        Daily mean, degC; cm: as a weather service reports them.
    precipitation
        Dims (world, view, lag, gy, gx), mm per day: of the day and the days before.
    wet
        Dims (world, view, gy, gx): moisture of the ground from dry to saturated.
    frozen_canopy, frozen_soil, wet_snow, dry_snow
        Share of trees frozen, of soil frozen, of ground under wet and under dry snow.
    summer
        Leaves and growth from none to full.
    """

    temperature: torch.Tensor
    snow_depth: torch.Tensor
    precipitation: torch.Tensor
    wet: torch.Tensor
    frozen_canopy: torch.Tensor
    frozen_soil: torch.Tensor
    wet_snow: torch.Tensor
    dry_snow: torch.Tensor
    summer: torch.Tensor

    def take(self, part: slice) -> "States":
        """Return the states of some views."""
        return States(*(getattr(self, each.name)[:, part] for each in dataclass_fields(self)))


def states(
    weather: WeatherSeries, day: torch.Tensor, ascending: torch.Tensor, diurnal_c: torch.Tensor
) -> States:
    """Compute the state of the ground at the time of each view.

    Descending passes fly at dawn, the coldest hour, when a quarter of the day's rain has fallen;
    ascending ones at dusk.

    Parameters
    ----------
    weather
        Weather of each world.
    day
        Dims (world, view), int64: index of the day in the weather, ``SPIN_UP_DAYS`` or more.
    ascending
        Dims (world, view), bool.
    diurnal_c
        Dims (world), degC: dawn is half of this below the daily mean, dusk a quarter above it.
    """
    temperature = weather.temperature.gather(1, day)
    depth = weather.snow_depth.gather(1, day)
    here = temperature + diurnal_c[:, None] * torch.where(ascending, 0.25, -0.5)
    past = _past(weather.temperature, day, SEASON_DAYS)
    soil = (past[..., :10].mean(-1) + 2.0 * here) / 3.0 + 0.04 * depth.clamp(max=50.0)
    frozen_soil = torch.sigmoid(-(soil + 0.8) / 0.7)
    cover = 1.0 - torch.exp(-depth / 8.0)
    wet_snow = cover * torch.sigmoid((here - 0.4) / 0.5)
    rain = _past(weather.precipitation, day, INDEX_DAYS)
    liquid = (past[..., :INDEX_DAYS] > SNOWFALL_BELOW_C)[..., None, None]
    bare = ((1.0 - frozen_soil) * (1.0 - cover))[..., None, None]
    return States(
        temperature,
        depth,
        rain[:, :, :LAGS],
        bare * _wet(torch.where(liquid, rain, 0.0), ascending),
        torch.sigmoid(-(here + 2.0) / 1.2),
        frozen_soil,
        wet_snow,
        cover * (1.0 - wet_snow / cover.clamp(min=1e-6)),
        ((past.mean(-1) - 5.0) / 10.0).clamp(0.0, 1.0),
    )


def _past(series: torch.Tensor, day: torch.Tensor, count: int) -> torch.Tensor:
    """Values of the day and the days before it, dims (world, view, lag, ...)."""
    back = day[..., None] - torch.arange(count, device=day.device)
    world = torch.arange(len(day), device=day.device)[:, None, None]
    return series[world, back.clamp(min=0)]


def _wet(rain: torch.Tensor, ascending: torch.Tensor) -> torch.Tensor:
    today = torch.where(ascending, 0.75, 0.25)[..., None, None]
    decay = INDEX_DECAY ** torch.arange(rain.shape[2], device=rain.device).float()
    index = (rain * decay[:, None, None]).sum(2) - (1.0 - today) * rain[:, :, 0]
    return 1.0 - torch.exp(-index / WET_SCALE_MM)
