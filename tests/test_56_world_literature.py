"""Backscatter and weather of the world against published models and measurements.

The oracles are implemented here from their papers: CMOD5.N for water, Dubois with Topp for bare
soil, a canopy of constant gamma nought for forest, and the records of weather stations.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from sarcast.sensor.orbits import ORBITS_PER_CYCLE
from sarcast.sensor.units import YEAR_DAYS
from sarcast.world import presets, relief, sensor, table, views, weather

REFERENCE = table.REFERENCE_INCIDENCE_DEG
LAND = tuple(row for row in table.ROWS if row.name != "water")
BARE = (table.OPEN, table.FIELD, table.MIRE, table.ROCK)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def db(power: np.ndarray) -> np.ndarray:
    return 10.0 * np.log10(power)


# Hersbach 2010, appendix: coefficients c1 to c28 of CMOD5.N
CMOD5N = (
    -0.6878, -0.7957, 0.3380, -0.1728, 0.0, 0.0040, 0.1103, 0.0159, 6.7329, 2.7713, -2.2885, 0.4971,
    -0.7250, 0.0450, 0.0066, 0.3222, 0.0120, 22.7, 2.0813, 3.0, 8.3659, -3.3428, 1.3236, 6.2437,
    2.3893, 0.3249, 4.1590, 1.6930,
)  # fmt: skip


def cmod5n(speed: np.ndarray, direction_deg: np.ndarray, incidence_deg: float) -> np.ndarray:
    """Sigma nought of the sea in VV, linear, for a neutral wind in m/s."""
    c = (0.0, *CMOD5N)
    x = (incidence_deg - 40.0) / 25.0
    mean = c[1] + c[2] * x + c[3] * x**2 + c[4] * x**3 + (c[5] + c[6] * x) * speed
    steep, start = (c[7] + c[8] * x) * speed, c[12] + c[13] * x
    gain = 1.0 / (1.0 + np.exp(-np.maximum(steep, start)))
    low = np.maximum(steep / start, 1e-9) ** (start * (1.0 - gain))
    gain = np.where(steep < start, gain * low, gain)
    upwind = c[15] * speed * (0.5 + x - np.tanh(4.0 * (x + c[16] + c[17] * speed)))
    upwind = (c[14] * (1.0 + x) - upwind) / (1.0 + np.exp(0.34 * (speed - c[18])))
    y0, power = c[19], c[20]
    scaled = speed / (c[21] + c[22] * x + c[23] * x**2) + 1.0
    knee = y0 - (y0 - 1.0) / power + (scaled - 1.0) ** power / (power * (y0 - 1.0) ** (power - 1.0))
    scaled = np.where(scaled < y0, knee, scaled)
    across = (c[27] + c[28] * x) * scaled - (c[24] + c[25] * x + c[26] * x**2)
    angle = np.radians(direction_deg)
    shape = 1.0 + upwind * np.cos(angle) + across * np.exp(-scaled) * np.cos(2.0 * angle)
    return 10.0**mean * gain ** (c[9] + c[10] * x + c[11] * x**2) * shape**1.6


def water_db(speed: float, incidence_deg: float, noise_db: float = -24.0) -> float:
    directions = np.arange(0.0, 360.0, 10.0)
    mean = cmod5n(np.full_like(directions, speed), directions, incidence_deg).mean()
    return float(db(mean + 10.0 ** (noise_db / 10.0)))


def test_cmod_rises_with_the_wind_and_is_brightest_upwind_and_downwind():
    up, across, down = (
        float(cmod5n(np.array(10.0), np.array(d), 40.0)) for d in (0.0, 90.0, 180.0)
    )
    assert up > down > across
    assert db(np.array(up)) == pytest.approx(-13.0, abs=1.0)


def test_water_is_as_bright_and_as_steep_as_under_a_light_wind():
    level = [water_db(speed, REFERENCE) for speed in (3.0, 5.0)]
    assert level[0] < table.WATER.base.vv < level[1]
    slope = [(water_db(v, 44.0) - water_db(v, 32.0)) / 12.0 for v in (3.0, 5.0)]
    assert slope[1] < table.WATER.per_degree.vv < slope[0] < 0.0


def test_wind_spreads_water_as_winds_of_three_to_nine_metres_a_second():
    rng = np.random.default_rng(1)
    power = cmod5n(rng.uniform(3.0, 9.0, 20_000), rng.uniform(0.0, 360.0, 20_000), REFERENCE)
    assert db(power).std() == pytest.approx(table.WIND_DB[0], abs=0.15)
    assert table.WIND_DB[1] < table.WIND_DB[0]


def dubois_vv(permittivity: float, height_cm: float, incidence_deg: float) -> float:
    """Dubois et al., IEEE TGRS 33 (1995) 915, equation 2: bare soil in VV at 5.55 cm, dB."""
    theta, wave = math.radians(incidence_deg), 5.55
    rough = 2.0 * math.pi / wave * height_cm * math.sin(theta)
    power = 10.0**-2.35 / math.tan(theta) ** 3 * 10.0 ** (0.046 * permittivity * math.tan(theta))
    return 10.0 * math.log10(power * rough**1.1 * wave**0.7)


def topp(moisture: float) -> float:
    """Topp, Davis, Annan, Water Resources Research 16 (1980) 574: permittivity of a soil."""
    return 3.03 + 9.3 * moisture + 146.0 * moisture**2 - 76.7 * moisture**3


@pytest.mark.parametrize("row", [table.FIELD, table.EARTHWORKS])
def test_bare_soil_brightens_from_dry_to_wet_as_its_permittivity_says(row):
    rise = dubois_vv(topp(0.30), 1.0, REFERENCE) - dubois_vv(topp(0.05), 1.0, REFERENCE)
    assert row.wet.vv == pytest.approx(rise, abs=row.wet.half_range)


def test_earthworks_are_as_bright_as_soil_of_a_few_centimetres_roughness():
    level = dubois_vv(topp(0.15), 2.5, REFERENCE)
    assert table.EARTHWORKS.base.vv == pytest.approx(level, abs=table.EARTHWORKS.base.half_range)


def test_a_forest_has_nearly_the_same_gamma_nought_at_all_angles_and_bare_land_has_not():
    angles = np.array([REFERENCE - 6.0, REFERENCE + 6.0])
    volume = float(np.diff(db(np.cos(np.radians(angles))))[0]) / 12.0
    for slope in (table.FOREST.per_degree.vv, table.FOREST.per_degree.vh):
        assert slope == pytest.approx(volume, abs=0.015)
    for row in (*BARE, table.CLEARED, table.EARTHWORKS):
        assert row.per_degree.vv < 1.5 * volume and row.per_degree.vh < 1.5 * volume
        assert row.per_degree.vv <= row.per_degree.vh  # surfaces fall off more in VV


def test_bare_land_falls_below_the_threshold_of_wet_snow_maps_and_forest_does_not():
    # Nagler et al. 2016: 2 dB below the reference, forests masked out
    for row in (*BARE, table.CLEARED, table.EARTHWORKS):
        assert row.wet_snow.vv < -2.0 and row.wet_snow.vh < -2.0
    assert table.FOREST.wet_snow.vv > -2.0 and table.FOREST.wet_snow.vh > -2.0


def test_dry_snow_brightens_vh_more_than_vv_and_neither_by_much():
    # Lievens et al. 2019: the cross ratio grows with the depth of dry snow
    for row in table.ROWS:
        assert 0.0 <= row.dry_snow.vv <= row.dry_snow.vh <= 0.6


def test_frost_darkens_all_land_by_a_few_decibels_and_lake_ice_is_brighter_than_calm_water():
    for row in LAND:
        assert -3.0 <= row.frozen.vv < 0.0 and -3.0 <= row.frozen.vh < 0.0
    assert table.FOREST.frozen.vv < -2.0  # Pulliainen et al. 1994: frozen trees let more through
    assert table.WATER.frozen.vv > 2.0 and table.WATER.frozen.vh > 2.0


def test_covers_have_the_order_of_brightness_of_all_atlases():
    order = ("built-up", "forest", "field", "mire", "water")
    for band in ("vv", "vh"):
        levels = [getattr(table.COVERS[table.NAMES.index(name)].base, band) for name in order]
        assert levels == sorted(levels, reverse=True)
    for row in table.ROWS:
        assert 4.0 < row.base.vv - row.base.vh < 9.1


def test_crops_raise_vh_over_vv():
    # Veloso et al. 2017, Vreugdenhil et al. 2018: the cross ratio follows the growth of crops
    for row in (table.FIELD, table.OPEN, table.FOREST, table.MIRE):
        assert row.summer.vh > row.summer.vv >= 0.0
    assert table.FIELD.summer.vh == max(row.summer.vh for row in table.ROWS)


def difference(row: table.Cover, other: table.Cover, band: str) -> float:
    return getattr(row.base, band) - getattr(other.base, band)


def test_changed_forest_differs_as_published():
    # Reiche et al. 2021: disturbed forest falls, VH most
    lost = [difference(table.CLEARED, table.FOREST, band) for band in ("vv", "vh")]
    assert lost[1] < -2.5 and lost[1] < lost[0] < 0.0
    # Rüetschi et al. 2019: windthrown forest gains up to about half a decibel
    assert 0.0 <= difference(table.WINDTHROW, table.FOREST, "vv") <= 0.5
    assert 0.0 <= difference(table.WINDTHROW, table.FOREST, "vh") <= 0.5
    # Belenguer-Plomer et al. 2019: VH of burnt forest falls by 2 to 3 dB
    assert -3.0 <= difference(table.BURNT, table.FOREST, "vh") <= -2.0
    # Tsyganskaya et al. 2018: flooded trunks reflect twice, in VV more than in VH
    assert difference(table.FLOODED_FOREST, table.FOREST, "vv") > 2.0
    assert difference(table.FLOODED_FOREST, table.FOREST, "vv") > 2.0 * difference(
        table.FLOODED_FOREST, table.FOREST, "vh"
    )
    # felled trees that are not yet removed scatter between standing and cleared forest
    for band in ("vv", "vh"):
        between = sorted([getattr(table.FOREST.base, band), getattr(table.CLEARED.base, band)])
        assert between[0] < getattr(table.SLASH.base, band) < between[1]


@pytest.mark.parametrize(
    ("slope_deg", "lies_over", "is_dark"),
    [(20.0, False, False), (35.0, False, False), (42.0, True, False), (-40.0, False, False),
     (-58.0, False, True)],
)  # fmt: skip
def test_a_slope_lies_over_when_steeper_than_the_incidence_and_is_dark_beyond_its_complement(
    slope_deg, lies_over, is_dark
):
    elevation = (torch.arange(60) * 10.0 * math.tan(math.radians(slope_deg))).expand(1, 3, 60)
    layover, shadow = relief.overlaps(
        elevation.contiguous(), 10.0, torch.tensor([[38.0]]), torch.tensor([[True]])
    )
    assert bool(layover[..., 1:-1].all()) is lies_over and bool(layover.any()) is lies_over
    assert bool(shadow[..., 1:].all()) is is_dark and bool(shadow.any()) is is_dark


@pytest.mark.parametrize("looks", [3.0, 4.4, 20.0])
@pytest.mark.parametrize("level_db", [-8.0, -22.0])
def test_products_have_the_given_looks_at_any_brightness(looks, level_db):
    preset = dataclasses.replace(
        presets.BOREAL, looks=(looks, looks), speckle_correlation=(0.0, 0.0)
    )
    parameters = presets.draw(preset, 1, rng=generator())
    level = torch.full((1, 1, 2, 300, 300), level_db)
    power = sensor.observe(level, parameters, ["none"], rng=generator(2))[0, 0]
    for band in power.double():
        assert float(band.mean() ** 2 / band.var()) == pytest.approx(looks, rel=0.05)
        assert float(db(band.mean().numpy())) == pytest.approx(level_db, abs=0.05)
    assert np.corrcoef(power[0].ravel(), power[1].ravel())[0, 1] == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("latitude", [0.0, 45.0, 62.0])
def test_the_number_of_relative_orbits_follows_from_the_width_of_the_swath(latitude):
    longitude = torch.linspace(0.0, 359.0, 240)
    near = views.tracks(torch.full((240,), latitude), longitude)
    half = near.in_swath.shape[1] // 2
    found = [float(part.sum(1).float().mean()) for part in near.in_swath.split(half, dim=1)]
    # the swath from its angles, over the distance between tracks across their direction
    edges = [
        brentq(lambda a, s=swath: float(views._incidence(torch.tensor(a))) - s, 0.01, 0.1)
        for swath in views.SWATH_DEG
    ]
    spacing = 2.0 * math.pi / ORBITS_PER_CYCLE * math.cos(math.radians(latitude))
    heading = math.radians(float(near.heading_deg[0, 0]))
    expected = (edges[1] - edges[0]) / (spacing * abs(math.cos(heading)))
    assert found == pytest.approx([expected, expected], rel=0.05)


def anomaly(values: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Residual of a series after its mean and two harmonics of the year are removed."""
    turn = 2.0 * np.pi * day / YEAR_DAYS
    waves = [np.ones_like(turn)]
    waves += [wave(k * turn) for k in (1, 2) for wave in (np.cos, np.sin)]
    fit, *_ = np.linalg.lstsq(np.stack(waves, 1), values, rcond=None)
    return values - np.stack(waves, 1) @ fit


def test_temperature_is_correlated_from_day_to_day_as_in_oulu(data_dir: Path) -> None:
    record = pd.read_csv(data_dir / "weather" / "fmi_ouludaily10.csv", parse_dates=["time"])
    day = record["time"].dt.day_of_year.to_numpy(float)
    left = anomaly(record["tday"].interpolate().to_numpy(), day)
    correlation = np.corrcoef(left[1:], left[:-1])[0, 1]
    assert correlation == pytest.approx(weather.TEMPERATURE_MEMORY, abs=0.05)


def sodankyla(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Daily mean temperature (degC), precipitation (mm) and snow depth (cm) of 547 days."""
    rain = pd.read_csv(folder / "sodankyla_precd.csv").iloc[:, 0].to_numpy()
    hourly = (
        pd.read_csv(folder / f"sodankyla_{name}.csv")[column].to_numpy()[: 24 * len(rain)]
        for name, column in (("climdata", "temp"), ("snowdepth", "snowdepth"))
    )
    temperature, depth = (values.reshape(-1, 24).mean(1) for values in hourly)
    return temperature, rain, depth


def test_wet_days_cluster_as_in_sodankyla(data_dir: Path) -> None:
    _, rain, _ = sodankyla(data_dir / "weather")
    wet = rain > 0.1
    twice = (wet[1:] & wet[:-1]).mean()
    threshold = norm.ppf(wet.mean())

    def excess(correlation: float) -> float:
        both = multivariate_normal([0.0, 0.0], [[1.0, correlation], [correlation, 1.0]])
        return float(both.cdf([threshold, threshold]) - twice)

    assert brentq(excess, 0.0, 0.9) == pytest.approx(weather.RAIN_MEMORY, abs=0.05)
    low, high = presets.BOREAL.wet_days
    assert low < wet.mean() < high
    low, high = presets.BOREAL.rain_mm
    assert low < rain[wet].mean() < high


def test_snow_accumulates_and_melts_as_in_sodankyla(data_dir: Path) -> None:
    temperature, rain, measured = sodankyla(data_dir / "weather")
    modelled = weather._snow_depth(
        torch.tensor(rain[None], dtype=torch.float32),
        torch.tensor(temperature[None], dtype=torch.float32),
    )[0].numpy()
    assert np.corrcoef(modelled, measured)[0, 1] > 0.97
    assert ((modelled > 3.0) == (measured > 3.0)).mean() > 0.93
    last = [np.flatnonzero(depth[:365] > 3.0).max() for depth in (modelled, measured)]
    assert abs(int(last[0]) - int(last[1])) < 12  # the day on which the snow was gone
    assert 0.6 < modelled.max() / measured.max() < 1.2
