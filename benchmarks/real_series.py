"""Pack real series as small cubes, NAME.nc each, for machines without GDAL or Zarr.

``python -m benchmarks.real_series DATA --to series`` reads the OPERA RTC-S1 bursts, the WorldCereal
sites and two thirds of OPERA's validation sites from the development data; the other third is for
``benchmarks.sites``. The licences of the data apply to the cubes too.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from rasterio.warp import transform
from rasterio.windows import from_bounds

from benchmarks.sites import series, split_sites
from sarcast.sensor.orbits import heading_deg
from sarcast.sensor.units import to_db

OPERA = re.compile(r"T\d+-(\d+-IW\d)_(\d{8}T\d{6})Z_.*_(S1[A-D])_30_v1.0_VV\.tif")
LAGS = 4
FEWEST_DATES = 30
"""Fewest dates of a validation site that make a series."""


def main() -> None:
    """Pack all series of the data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    packed = opera(options.data) | worldcereal(options.data) | sites(options.data)
    for name, cube in packed.items():
        cube.to_netcdf(options.to / f"{name}.nc", engine="h5netcdf")
        print(name, dict(cube.sizes))


def opera(data: Path) -> dict[str, xr.Dataset]:
    """Read one cube per burst; the track is ascending."""
    bursts: dict[str, list[tuple[str, str, Path]]] = {}
    for path in sorted((data / "opera-rtc-s1").glob("*_VV.tif")):
        match = OPERA.search(path.name)
        if match:
            burst, time, platform = match.groups()
            bursts.setdefault(burst, []).append((time, platform, path))
    return {f"opera-{burst}": _opera_cube(sorted(scenes)) for burst, scenes in bursts.items()}


def _opera_cube(scenes: list[tuple[str, str, Path]]) -> xr.Dataset:
    images = []
    for _, _, path in scenes:
        bands = []
        for band in ("VV", "VH"):
            with rasterio.open(path.with_name(path.name.replace("_VV", f"_{band}"))) as raster:
                bands.append(raster.read(1).astype(np.float32))
                grid, crs, shape = raster.transform, raster.crs, raster.shape
        images.append(np.stack(bands))
    centre = grid * (shape[1] / 2, shape[0] / 2)
    latitude = transform(crs, "EPSG:4326", [centre[0]], [centre[1]])[1][0]
    power = np.stack(images)
    heading = np.full(len(scenes), heading_deg(latitude, "ascending"), np.float32)
    return xr.Dataset(
        {"backscatter": (("time", "band", "y", "x"), to_db(np.where(power > 0, power, np.nan)))},
        coords={
            "time": pd.to_datetime([time for time, _, _ in scenes]).values,
            "band": ["VV", "VH"],
            "y": grid.f + grid.e * (np.arange(shape[0]) + 0.5),
            "x": grid.c + grid.a * (np.arange(shape[1]) + 0.5),
            "platform": ("time", [f"sentinel-1{name[-1].lower()}" for _, name, _ in scenes]),
            "heading": ("time", heading),
        },
    )


def worldcereal(data: Path) -> dict[str, xr.Dataset]:
    """Read one cube per site, with the weather of its days."""
    sites = sorted(path for path in (data / "worldcereal").iterdir() if path.name != "dem")
    return {
        f"worldcereal-{number}": _worldcereal_cube(site, data / "worldcereal" / "dem")
        for number, site in enumerate(sites, start=1)
    }


def _worldcereal_cube(site: Path, dems: Path) -> xr.Dataset:
    series = xr.load_dataset(next(site.glob("S1*.nc"))).rename(timestamp="time")
    daily = xr.load_dataset(next(site.glob("AgERA5*.nc"))).isel(y=0, x=0)
    images = np.stack([series["VV"], series["VH"]], axis=1).astype(np.float32)
    days = series["time"].values.astype("datetime64[D]").astype("datetime64[ns]")
    shifted = [days - np.timedelta64(lag, "D") for lag in range(LAGS)]
    temperature = daily["temperature_mean"].reindex(timestamp=days).values
    rain = [daily["precipitation_flux"].reindex(timestamp=day).values for day in shifted]
    latitude = transform(
        f"EPSG:{series['VV'].attrs['epsg']}",
        "EPSG:4326",
        [float(series["x"].mean())],
        [float(series["y"].mean())],
    )[1][0]
    heading = np.full(len(days), heading_deg(latitude, "ascending"), np.float32)
    return xr.Dataset(
        {
            "backscatter": (("time", "band", "y", "x"), images),
            "temperature": (("time", "cy", "cx"), _celsius(temperature)[:, None, None]),
            "precipitation": (
                ("time", "lag", "cy", "cx"),
                np.stack(rain, axis=1)[..., None, None].astype(np.float32),
            ),
            "elevation": (("y", "x"), _terrain(series, dems)),
        },
        coords={
            "time": series["time"].values,
            "band": ["VV", "VH"],
            "y": series["y"].values,
            "x": series["x"].values,
            "cy": [float(series["y"].mean())],
            "cx": [float(series["x"].mean())],
            "heading": ("time", heading),
        },
    )


def sites(data: Path) -> dict[str, xr.Dataset]:
    """Read one cube per track of a site, and one of all its tracks, of nine pixels each."""
    table, _ = split_sites(pd.read_parquet(data / "opera-dist-sites" / "sites.parquet"))
    return {
        f"site-{'-'.join((*key.split(), kind))}": cube
        for kind, mixed in (("track", False), ("all", True))
        for key, cube in series(table, mixed=mixed)
        if cube.sizes["time"] >= FEWEST_DATES
    }


def _celsius(temperature: np.ndarray) -> np.ndarray:
    return (temperature - 273.15 if np.nanmedian(temperature) > 150 else temperature).astype("f4")


def _terrain(series: xr.Dataset, dems: Path) -> np.ndarray:
    path = dems / f"dem_{series['VV'].attrs['tile']}.tif"
    x, y = series["x"].values, series["y"].values
    half = abs(x[1] - x[0]) / 2
    with rasterio.open(path) as raster:
        bounds = (x.min() - half, y.min() - half, x.max() + half, y.max() + half)
        window = from_bounds(*bounds, transform=raster.transform)
        return raster.read(1, window=window, out_shape=(len(y), len(x)), boundless=True).astype(
            "f4"
        )


if __name__ == "__main__":
    main()
