"""A world written as files of real formats: scenes, DEM, weather, cover, truth and catalogue."""

import datetime as dt
import math
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import torch
import xarray as xr
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import point
from odc.geo.xr import xr_coords

from sarcast.arrays import Float
from sarcast.catalogue import FolderCatalogue
from sarcast.catalogue.scene import BANDS, Raster, Scene
from sarcast.errors import SarcastError
from sarcast.io.cogs import write_cog
from sarcast.io.files import explain_full_disk, new_file
from sarcast.io.footprint import utm_crs
from sarcast.io.outlines import outlines_of
from sarcast.io.progress import track
from sarcast.sensor.conditions import PLATFORMS
from sarcast.sensor.orbits import ASCENDING, DESCENDING
from sarcast.sensor.units import DB_PER_NEPER, LINEAR_POWER, YEAR_DAYS
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
from sarcast.world.backscatter import Observations
from sarcast.world.options import WorldOptions
from sarcast.world.threads import one_torch_thread
from sarcast.world.views import Views
from sarcast.world.weather import States, WeatherSeries

INCIDENCE_CELL_M = 1000.0
WEATHER_CELL_M = 3000.0
EXPECTED = "expected"
_SCENES_AT_ONCE = 4
_PIXELS_AT_ONCE = 2_000_000
"""Scenes rendered at once at most; fewer, but at least one, where they exceed so many pixels."""
_WRITERS = 2
_WAITING = 4
"""Threads that write scenes, and scenes that may wait to be written."""
_VARIABLES = {
    "temperature": ("degC", "air_temperature", "daily mean temperature"),
    "precipitation": ("mm day-1", "lwe_precipitation_rate", "daily precipitation"),
    "snow_depth": ("cm", "surface_snow_thickness", "snow depth"),
}


@dataclass(frozen=True)
class Area:
    """One world and its views that are written; the first dim of all tensors is this one world."""

    options: WorldOptions
    grid: GeoBox
    weather_grid: GeoBox
    world: backscatter.World
    views: Views
    weather: WeatherSeries
    first_day: int

    def states(self, part: slice) -> States:
        """Return the state of the ground at some of the views."""
        acquired = self.views_of(part)
        day = torch.floor(acquired.time).long() - self.first_day
        diurnal_c = self.world.parameters["diurnal_c"]
        return weather.states(self.weather, day, acquired.ascending, diurnal_c)

    def views_of(self, part: slice) -> Views:
        """Return some of the views."""
        count = self.views.time.shape[1]
        return self.views.take(torch.arange(count)[part][None])


def write_world(folder: Path, options: WorldOptions, *, seed: int) -> None:
    """Write a synthetic area as files like those of real data; a seed always gives the same bytes.

    Parameters
    ----------
    folder
        Existing folder; ``scenes/``, ``truth/``, ``dem.tif``, ``cover.tif``, ``weather.nc`` and
        ``items.parquet`` are written to it.
    options
        What to write.
    seed
        Seed of everything random.

    Raises
    ------
    SarcastError
        If no satellite sees the area between the given dates, or the disk is full.
    """
    rng = torch.Generator().manual_seed(seed)
    # one thread, since other threads write files at the same time
    with torch.inference_mode(), one_torch_thread(), explain_full_disk(folder):
        area = make_area(options, rng=rng)
        _write_ground(folder, area)
        _write_weather(folder, area)
        write_changes(folder / "truth" / "changes.gpkg", area)
        with closing(_write_scenes(folder, area, rng=rng)) as scenes:
            items = [scene.to_item() for scene in scenes]
        FolderCatalogue(folder).add(items)
        for item in items:
            item.set_self_href((folder.resolve() / "scenes" / f"{item.id}.json").as_posix())
            item.make_asset_hrefs_relative()
            item.save_object(include_self_link=False)


def make_area(options: WorldOptions, *, rng: torch.Generator) -> Area:
    """Draw one world and its views."""
    parameters = _parameters(options, rng=rng)
    grid = area_grid(parameters, options)
    start = (options.start - views.EPOCH).days
    days = (options.end - options.start).days + 1
    acquired = _views(grid, parameters, options, start, days, rng=rng)
    size = (grid.shape.y, grid.shape.x)
    land = ground.draw(parameters, size, options.spacing_m, rng=rng)
    first = torch.tensor([float(start)], dtype=torch.float64)
    world = backscatter.World(
        parameters,
        land,
        parcels.draw(land, parameters, first, rng=rng),
        _changes(land, options, rng=rng),
    )
    weather_grid = _coarse(grid, WEATHER_CELL_M, margin=1)
    daily = weather.draw(
        parameters,
        first - weather.SPIN_UP_DAYS,
        days + weather.SPIN_UP_DAYS,
        grid=(weather_grid.shape.y, weather_grid.shape.x),
        rng=rng,
    )
    return Area(options, grid, weather_grid, world, acquired, daily, start - weather.SPIN_UP_DAYS)


def _parameters(options: WorldOptions, *, rng: torch.Generator) -> presets.Parameters:
    """Parameters of the preset, overridden by those that the options set."""
    overrides: dict[str, Any] = {
        name: (value, value)
        for name in ("looks", "speckle_correlation", "jitter_px", "flattening")
        if (value := getattr(options, name)) is not None
    }
    preset = replace(
        presets.PRESETS[options.preset],
        **overrides,
        available=(options.available, options.available),
        gamma0=float(options.quantity == "gamma0"),
        strips=options.strips,
    )
    return presets.draw(preset, 1, rng=rng)


def _changes(
    land: ground.Ground, options: WorldOptions, *, rng: torch.Generator
) -> changes.Changes:
    """Changes of the ground between the first day of changes and the last day."""
    first = options.changes_from or options.start
    days = (options.end - first).days + 1
    day = torch.tensor([float((first - views.EPOCH).days)], dtype=torch.float64)
    return changes.draw(
        land,
        round(options.changes_per_km2 * options.size_km**2 * days / YEAR_DAYS),
        day,
        day + days,
        boxed=True,
        kinds=options.change_kinds or changes.NAMES,
        rng=rng,
    )


def _views(
    grid: GeoBox,
    parameters: presets.Parameters,
    options: WorldOptions,
    start: int,
    days: int,
    *,
    rng: torch.Generator,
) -> Views:
    centre = grid.extent.centroid.to_crs("EPSG:4326").coords[0]
    near = views.tracks(torch.tensor([centre[1]]), torch.tensor([centre[0]]))
    near = views.choose(near, options.tracks, options.tracks, rng=rng)
    acquired = views.acquisitions(
        near, torch.tensor([start]), days, available=parameters["available"], rng=rng
    )
    count = int(torch.isfinite(acquired.time).sum())
    if count == 0:
        raise SarcastError(
            f"no scene of the area from {options.start} to {options.end}: no satellite was in "
            f"service, or the time is shorter than its 6 to 12 days, or too few acquisitions are "
            f"available; choose other dates"
        )
    return acquired.take(torch.arange(count)[None])


def area_grid(parameters: presets.Parameters, options: WorldOptions) -> GeoBox:
    """Square at the world's latitude and longitude, in its UTM zone, on whole kilometres."""
    latitude = float(parameters["latitude_deg"])
    longitude = parameters.preset.longitude_deg
    crs = CRS(utm_crs(longitude, latitude))
    corner = point(longitude, latitude, "EPSG:4326").to_crs(crs).coords[0]
    left, bottom = (round(metres / 1000.0) * 1000.0 for metres in corner)
    pixels = round(options.size_km * 1000.0 / options.spacing_m)
    side = pixels * options.spacing_m
    box = (left, bottom, left + side, bottom + side)
    return GeoBox.from_bbox(box, crs=crs, shape=(pixels, pixels), tight=True)


def _coarse(grid: GeoBox, cell_m: float, *, margin: int) -> GeoBox:
    """Grid of coarse cells that covers the area and a margin of some cells around it."""
    box = grid.boundingbox.buffered(margin * cell_m)
    shape = tuple(max(2, math.ceil(span / cell_m)) for span in (box.span_y, box.span_x))
    return GeoBox.from_bbox(box, crs=grid.crs, shape=shape, tight=True)


def _write_ground(folder: Path, area: Area) -> None:
    elevation = area.world.ground.elevation[0].numpy()
    write_cog(folder / "dem.tif", elevation, area.grid, bands=["elevation"], tags={"unit": "m"})
    classes = np.array([cover.worldcover for cover in table.COVERS], dtype=np.uint8)
    cover = classes[area.world.ground.cover[0].numpy()]
    write_cog(folder / "cover.tif", cover, area.grid, nodata=0, bands=["ESA WorldCover class"])


def _write_weather(folder: Path, area: Area) -> None:
    whole = (area.weather.temperature.shape[1], *area.weather_grid.shape.yx)
    kept = slice(weather.SPIN_UP_DAYS - 10, None)
    values = {
        "temperature": area.weather.temperature[0, :, None, None].expand(whole),
        "precipitation": area.weather.precipitation[0],
        "snow_depth": area.weather.snow_depth[0, :, None, None].expand(whole),
    }
    start = np.datetime64(views.EPOCH + dt.timedelta(days=area.first_day))
    time = start + np.arange(whole[0]).astype("timedelta64[D]")
    data = xr.Dataset(
        {
            name: xr.DataArray(
                series.numpy()[kept],
                dims=("time", "y", "x"),
                attrs={"units": unit, "standard_name": standard, "long_name": long},
            )
            for name, series in values.items()
            for unit, standard, long in [_VARIABLES[name]]
        },
        coords={"time": time[kept].astype("datetime64[ns]"), **xr_coords(area.weather_grid)},
        attrs={"Conventions": "CF-1.8"},
    )
    for variable in data.data_vars.values():
        variable.encoding = {"grid_mapping": "spatial_ref", "zlib": True, "dtype": "float32"}
    data.to_netcdf(folder / "weather.nc", engine="h5netcdf")


@dataclass(frozen=True)
class _Images:
    """Images of one view: dims (band, y, x), linear power; incidence on its own coarse grid."""

    actual: Float
    expected: Float
    incidence: Float


def _write_scenes(
    folder: Path, area: Area, *, rng: torch.Generator
) -> Generator[Scene, None, None]:
    """Write the scenes in threads, all of which have ended when the generator is closed."""
    count = area.views.time.shape[1]
    coarse = _coarse(area.grid, INCIDENCE_CELL_M, margin=0)
    waiting: deque[Future[Scene]] = deque()
    with ThreadPoolExecutor(_WRITERS) as pool:
        try:
            for number, images in track(
                enumerate(_images(area, coarse, rng=rng)), "writing scenes", count
            ):
                waiting.append(pool.submit(_write_scene, folder, area, coarse, number, images))
                if len(waiting) > _WAITING:
                    yield waiting.popleft().result()
            yield from (job.result() for job in waiting)
        finally:
            pool.shutdown(cancel_futures=True)


def _images(area: Area, coarse: GeoBox, *, rng: torch.Generator) -> Iterator[_Images]:
    at_once = min(
        _SCENES_AT_ONCE, max(1, _PIXELS_AT_ONCE // (area.grid.shape.y * area.grid.shape.x))
    )
    for first in range(0, area.views.time.shape[1], at_once):
        part = slice(first, first + at_once)
        actual, expected = render(area, part, rng=rng)
        acquired = area.views_of(part)
        angles = views.smooth_incidence(
            acquired.incidence_deg[0], acquired.heading_deg[0], coarse.shape.yx, INCIDENCE_CELL_M
        )
        for images in zip(actual[0], expected[0], angles, strict=True):
            yield _Images(*(image.numpy() for image in images))


def render(area: Area, part: slice, *, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Render actual and expected images of some views.

    Dims (world, view, band, y, x), linear power. An expected image shows the ground as it
    was at the previous acquisition of the area.
    """
    acquired = area.views_of(part)
    size = (area.grid.shape.y, area.grid.shape.x)
    angle = views.smooth_incidence(
        acquired.incidence_deg, acquired.heading_deg, size, area.options.spacing_m
    )
    before = torch.roll(area.views.time, 1, dims=1)
    before[:, 0] = -torch.inf
    observed = Observations(acquired, area.states(part), angle, acquired.time)
    unmodelled = backscatter.draw_unmodelled(area.world, acquired.time.shape[1], rng=rng)
    actual = backscatter.expected(area.world, observed, unmodelled=unmodelled)
    expected = backscatter.expected(area.world, replace(observed, until=before[:, part]))
    filters = [area.options.speckle_filter]
    power = sensor.observe(actual, area.world.parameters, filters, rng=rng)
    return power, torch.exp(expected / DB_PER_NEPER)


def write_changes(path: Path, area: Area) -> None:
    """Write the changes of the ground as polygons: kind, date and time, area."""
    drawn = area.world.changes
    rows = []
    for number, (kind, day) in enumerate(zip(drawn.kind[0], drawn.day[0], strict=True)):
        mask = drawn.masks[0, number].numpy()
        grid = area.grid[drawn.box(number)]
        (polygon,) = outlines_of(mask, 1, grid)
        if not polygon.is_empty:
            time = dt.datetime.combine(views.EPOCH, dt.time()) + dt.timedelta(days=float(day))
            date = time.isoformat(timespec="seconds")
            rows.append((changes.NAMES[int(kind)], date, polygon.area, polygon))
    columns = ["kind", "date", "area_m2", "geometry"]
    polygons = gpd.GeoDataFrame(
        rows, columns=columns, geometry="geometry", crs=area.grid.crs.to_wkt()
    )
    with new_file(path) as partial, _fixed_clock():
        polygons.to_file(partial, driver="GPKG", layer="changes", engine="pyogrio")


@contextmanager
def _fixed_clock() -> Iterator[None]:
    """Fix the time stamp in GeoPackages, so that one seed always gives the same bytes."""
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2000-01-01T00:00:00.000Z"})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def _write_scene(folder: Path, area: Area, coarse: GeoBox, number: int, images: _Images) -> Scene:
    view = area.views_of(slice(number, number + 1))
    seconds = round(float(view.time) * 86400.0)
    time = dt.datetime.combine(views.EPOCH, dt.time(), dt.UTC) + dt.timedelta(seconds=seconds)
    platform = PLATFORMS[int(view.platform)]
    orbit = int(view.relative_orbit)
    short = f"S1{platform[-1].upper()}"
    name = f"{short}_{time:%Y%m%dT%H%M%S}_{orbit:03d}"
    rasters = {}
    for index, band in enumerate(BANDS):
        for kind, layer in (("", images.actual[index]), (EXPECTED, images.expected[index])):
            path = folder / ("truth" if kind else "scenes") / f"{name}_{band}.tif"
            write_cog(path, layer, area.grid, bands=[band], tags={"unit": LINEAR_POWER})
            key = f"{band.lower()}-{kind}" if kind else band.lower()
            roles = ("truth",) if kind else ("data",)
            rasters[key] = Raster(path, (band,), LINEAR_POWER, roles)
    path = folder / "scenes" / f"{name}_incidence.tif"
    write_cog(path, images.incidence, coarse, bands=["incidence"], tags={"unit": "degree"})
    rasters["incidence"] = Raster(path, ("incidence",), "degree", ("metadata",))
    return Scene(
        id=name,
        time=time,
        quantity=area.options.quantity,
        rasters=rasters,
        platform=platform,
        orbit_direction=ASCENDING if bool(view.ascending) else DESCENDING,
        relative_orbit=orbit,
        heading_deg=float(view.heading_deg),
        incidence_deg=float(view.incidence_deg),
    )
