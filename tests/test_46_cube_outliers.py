"""Outliers in values and levels are reported by the build and the check, and nothing else is."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from conftest import GRID, opera_name
from sarcast.cube import CubeOptions, Sources, build_cube, open_cube
from sarcast.cube.check.outliers import level_deviations, value_warnings
from sarcast.cube.check.report import check_cube
from sarcast.cube.check.statistics import DateStatistics
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.ingest.scenes.products import check_values
from sarcast.io.cogs import write_cog

Scenes = Callable[..., Path]
BELGIUM = "00002806639B424A"


def power(seed: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).gamma(4.4, 1 / 4.4, (2, *GRID.shape))


# --- scenes that do not match -------------------------------------------------------------------


def test_a_cube_is_not_extended_by_another_resampling(scene_folder: Scenes, tmp_path: Path) -> None:
    names = [opera_name(f"2020030{day}T154005") for day in (1, 2)]
    folder, to = scene_folder({name: power(0) for name in names}), tmp_path / "cube.zarr"
    items = list(find_items([folder], IndexOptions()))
    nearest, average = (CubeOptions(resampling=name) for name in ("nearest", "average"))
    build_cube(items[:1], to, GRID, nearest, Sources())
    with pytest.raises(SarcastError, match="resampling nearest, but average was requested; req"):
        build_cube(items, to, GRID, average, Sources())
    assert open_cube(to).sizes["time"] == 1
    build_cube(items, to, GRID, nearest, Sources())
    assert open_cube(to).sizes["time"] == 2


def test_dates_of_two_quantities_are_reported(scene_folder: Scenes, tmp_path: Path) -> None:
    names = [opera_name(f"2020030{day}T154005") for day in (1, 2)]
    folder = scene_folder({name: power(0) for name in names})
    items = list(find_items([folder], IndexOptions()))
    for asset in items[1].assets.values():
        asset.extra_fields["sarcast:quantity"] = "sigma0"
    for several, reported in ((items[:1], False), (items, True)):
        build_cube(several, tmp_path / "cube.zarr", GRID, CubeOptions(), Sources())
        output = " ".join(check_cube(tmp_path / "cube.zarr").warnings)
        assert ("are of gamma0 and sigma0, whose levels differ" in output) == reported


# --- impossible values ---------------------------------------------------------------------------


def test_zeros_and_impossible_values_are_missing_and_reported(
    scene_folder: Scenes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of five dates one is all zeros, and one has 1e20 and 2e6 at two of 9600 values."""
    names = [opera_name(f"2020030{day}T154005") for day in range(1, 6)]
    folder = scene_folder({name: power(day) for day, name in enumerate(names)})
    items = list(find_items([folder], IndexOptions()))
    for band in ("VV", "VH"):
        write_cog(folder / f"{names[1]}_{band}.tif", np.zeros(GRID.shape, np.float32), GRID)
    bright = power(3)[0].astype(np.float32)
    bright[5, 5], bright[6, 6] = 1e20, 2e6
    write_cog(folder / f"{names[3]}_VV.tif", bright, GRID)
    build_cube(items, tmp_path / "cube.zarr", GRID, CubeOptions(), Sources())
    output = capsys.readouterr().err
    assert f"values of exactly 0 are taken as missing on 1 dates, most on {names[1]}" in output
    assert f"warning: 1 dates have no data in the area ({names[1]} first)" in output
    assert "such as 1e+20, are taken as missing on 1 dates: 2 values, most on " in output
    cube = open_cube(tmp_path / "cube.zarr")["backscatter"]
    missing = np.isnan(cube.values)
    assert missing[1].all()
    assert np.argwhere(missing[3]).tolist() == [[0, 5, 5], [0, 6, 6]]
    assert not missing[[0, 2, 4]].any()
    warnings = check_cube(tmp_path / "cube.zarr").warnings
    assert not [line for line in warnings if "dates contain" in line]


def test_without_zeros_and_impossible_values_nothing_is_reported(
    scene_folder: Scenes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = list(
        find_items([scene_folder({opera_name("20200301T154005"): power(1)})], IndexOptions())
    )
    build_cube(items, tmp_path / "cube.zarr", GRID, CubeOptions(), Sources())
    assert "missing on" not in capsys.readouterr().err


def test_rasters_of_zeros_are_left_out_of_an_index(
    scene_folder: Scenes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As files and as an item on disk; a single value outside of the sample keeps a raster."""
    names = [opera_name(f"2020030{day}T154005") for day in range(1, 4)]
    nearly = np.zeros((2, *GRID.shape))
    nearly[:, 31, 41] = 0.1
    folder = scene_folder(dict(zip(names, (power(1), 0.0 * power(1), nearly), strict=True)))
    found = list(find_items([folder], IndexOptions()))
    assert [item.id for item in found] == [names[0], names[2]]
    output = capsys.readouterr().err
    assert f"1 left out (no data, every pixel is 0 or missing): {names[1]}" in output
    item = found[0].to_dict(transform_hrefs=False)
    (folder / "item.json").write_text(json.dumps(item))
    for band in ("VV", "VH"):
        write_cog(folder / f"{names[0]}_{band}.tif", np.zeros(GRID.shape, np.float32), GRID)
    assert [item.id for item in find_items([folder], IndexOptions())] == [names[2]]
    assert f"(no data, every pixel is 0 or missing): {names[0]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("unit", "most"), [("linear power", 100.0), ("amplitude", 10.0), ("dB", 20.0)]
)
def test_impossible_values_are_refused(unit: str, most: float) -> None:
    """A scene is refused if half of its values exceed 20 dB, which digital numbers do."""
    values = np.full(100, 1.01 * most)
    for scale in (1.0, 10.0 if unit == "amplitude" else 2.0, 100.0):
        line = f"scene is declared in {unit}, but half of its values are .* or more, higher than"
        with pytest.raises(SarcastError, match=line):
            check_values("scene", scale * values, unit)
    check_values("scene", 0.98 * values, unit)
    values[:51] = np.nan if unit == "dB" else 0.1
    values[:51] = -10.0 if unit == "dB" else 0.1
    check_values("scene", values, unit)


# --- levels ---------------------------------------------------------------------------------------


def date(time: np.datetime64, *means: float, orbit: int = 58) -> DateStatistics:
    return DateStatistics(time, "sentinel-1a", "ascending", orbit, 1.0, 0.0, 0.0, means, (2.0, 2.0))


def dates(levels: np.ndarray, every: int = 6, orbit: int = 58) -> list[DateStatistics]:
    """Dates with the levels of both bands, from the evening of 2020-01-01 on."""
    times = np.datetime64("2020-01-01T17:00", "s") + every * np.arange(
        len(levels)
    ) * np.timedelta64(86_400, "s")
    return [date(time, *level, orbit=orbit) for time, level in zip(times, levels, strict=True)]


def noise(count: int, sigma: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal((-10.0, -16.0), sigma, (count, 2))


def level_lines(view: list[DateStatistics]) -> list[str]:
    return [line for line in value_warnings(view) if "of its view" in line]


def test_a_level_is_compared_with_median_and_line_of_its_neighbours_in_time() -> None:
    """Compared with a slow version: all others within 30 days, and at least the four nearest."""
    rng = np.random.default_rng(1)
    days = np.sort(rng.choice(900, 40, replace=False))
    means = rng.normal(size=(40, 2))
    times = np.datetime64("2020-01-01") + days * np.timedelta64(1, "D")
    for index, found in enumerate(level_deviations(times, means)):
        others = sorted((abs(day - days[index]), k) for k, day in enumerate(days) if k != index)
        near = [k for gap, k in others if gap <= 30]
        chosen = near if len(near) > 4 else [k for _, k in others[:4]]
        for band in range(2):
            x, y = days[chosen] - days[index], means[chosen, band]
            slope = np.median(
                [(y[j] - y[i]) / (x[j] - x[i]) for i, j in combinations(range(len(x)), 2)]
            )
            by_line = means[index, band] - (np.median(y) - slope * np.median(x))
            by_median = means[index, band] - np.median(y)
            expected = by_median if abs(by_median) < abs(by_line) else by_line
            assert found[band] == pytest.approx(expected)


def test_levels_that_change_steadily_do_not_deviate() -> None:
    """Not even at the ends of the series; nor does a single date."""
    times = np.datetime64("2020-01-01") + np.arange(0, 300, 6) * np.timedelta64(1, "D")
    means = np.stack([np.linspace(-15.0, -5.0, 50), np.linspace(-10.0, -22.0, 50)], axis=1)
    np.testing.assert_allclose(level_deviations(times, means), 0.0, atol=1e-9)
    np.testing.assert_array_equal(level_deviations(times[:1], means[:1]), 0.0)
    assert level_deviations(times[:2], means[:2])[1, 0] == pytest.approx(means[1, 0] - means[0, 0])


def test_outliers_depend_on_the_scatter_of_their_view() -> None:
    """A deviation of 2 dB is an outlier at a scatter of 0.3 dB, but not of 1.5 dB."""
    for sigma, lines in ((0.3, 1), (1.5, 0)):
        levels = noise(60, sigma)
        levels[30] = levels[28:33].mean(axis=0) - 2.0
        found = level_lines(dates(levels))
        assert len(found) == lines
    levels = noise(60, 0.3)
    levels[30] -= 2.0
    (line,) = level_lines(dates(levels))
    assert line.startswith("2020-06-29T17:00:00 lies -")
    assert "wet, frozen or snowy" in line


def test_seasons_and_small_deviations_are_no_outliers() -> None:
    """A seasonal range of 8 dB in ten series: at most two of 1220 dates are outliers by chance."""
    swing = 4.0 * np.sin(2 * np.pi * np.arange(122) * 6 / 365.25)[:, np.newaxis]
    found = [level_lines(dates(noise(122, 0.3, seed) + swing)) for seed in range(10)]
    assert sum(map(len, found)) <= 2
    quiet = noise(40, 0.01)
    quiet[20] += 0.9
    assert level_lines(dates(quiet)) == []
    quiet[20] += 0.2
    assert len(level_lines(dates(quiet))) == 1


def test_with_few_dates_only_large_deviations_are_outliers() -> None:
    levels = noise(5, 0.1)
    levels[2] += 5.0
    assert level_lines(dates(levels)) == []
    levels[2] += 2.0
    assert len(level_lines(dates(levels))) == 1
    assert level_lines(dates(levels[2:3])) == []


def test_unknown_tracks_are_distinguished_by_the_time_of_the_day() -> None:
    """Two tracks 5 dB apart, eight minutes from each other, the later one before midnight UTC."""
    first = dates(noise(30, 0.3, 1), orbit=0)
    later = np.timedelta64(8 * 60, "s")
    second = [
        replace(each, time=each.time + later, mean_db=tuple(np.add(each.mean_db, 5.0)))
        for each in dates(noise(30, 0.3, 2), orbit=0)[:8]
    ]
    both = sorted([*first, *second], key=lambda each: each.time)
    assert level_lines(both) == []
    mixed = [replace(each, relative_orbit=58) for each in both]
    assert len(level_lines(mixed)) > 0


def test_the_wet_snow_of_the_readme_is_an_outlier(data_dir: Path) -> None:
    """Of 159 dates of two tracks in Belgium, 2017-12-11 alone: 25 to 37 mm at about 1 degC."""
    (path,) = (data_dir / "worldcereal" / BELGIUM).glob("S1_GRD*.nc")
    with xr.open_dataset(path) as source:
        means = np.stack([source[band].mean(("y", "x")).values for band in ("VV", "VH")], axis=1)
        times = source["timestamp"].values.astype("datetime64[s]")
    view = [date(time, *mean, orbit=0) for time, mean in zip(times, means, strict=True)]
    (line,) = level_lines(view)
    assert line.startswith("2017-12-11T17:32:37 lies -3.3, -3.4 dB")


def test_the_rain_over_california_is_an_outlier(data_dir: Path) -> None:
    """The two dates that are known to be raised by rain are found in the cross-polarised level."""
    levels: dict[str, dict[str, list[float]]] = {}
    for path in sorted((data_dir / "opera-rtc-s1").glob("*.tif")):
        with rasterio.open(path) as source:
            power = source.read(1)
        time, band = path.name.split("_")[4][:8], path.stem[-2:]
        level = float(np.mean(10.0 * np.log10(power[power > 0.0])))
        levels.setdefault(time, {}).setdefault(band, []).append(level)
    view = [
        date(np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}T01:59", "s"),
             *(float(np.mean(bands[band])) for band in ("VV", "VH")))
        for day, bands in sorted(levels.items())
    ]  # fmt: skip
    outliers = {line[:10] for line in level_lines(view)}
    assert outliers >= {"2022-11-02", "2023-01-01"}
    assert len(outliers) < 5
