"""A world as files: scenes, DEM, weather, land cover, truth and catalogue, as real data comes."""

import datetime as dt
import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
import yaml
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import point
from odc.geo.xr import xr_coords

from sarcast.catalogue import FolderCatalogue
from sarcast.catalogue.scene import BANDS, Raster, Scene
from sarcast.conditions import PLATFORMS
from sarcast.errors import SarcastError
from sarcast.files import full_disk_named, write_cog
from sarcast.orbits import ASCENDING, DESCENDING
from sarcast.progress import track
from sarcast.units import LINEAR_POWER
from sarcast.world import backscatter, ground, presets, sensor, table, views, weather
from sarcast.world.options import WorldOptions
from sarcast.world.views import Views
from sarcast.world.weather import States, Weather

INCIDENCE_CELL_M = 1000.0
WEATHER_CELL_M = 3000.0
EXPECTED = "expected"
_SCENES_AT_ONCE = 4
_DB = 10.0 / math.log(10.0)
_VARIABLES = {
    "temperature": ("degC", "air_temperature", "daily mean temperature"),
    "precipitation": ("mm day-1", "lwe_precipitation_rate", "daily precipitation"),
    "snow_depth": ("cm", "surface_snow_thickness", "snow depth"),
}


@dataclass(frozen=True)
class World:
    """One world, and the views of it that are written; all with one world in the first dim."""

    options: WorldOptions
    grid: GeoBox
    weather_grid: GeoBox
    parameters: presets.Parameters
    ground: ground.Ground
    views: Views
    weather: Weather
    first_day: int

    def states(self, part: slice) -> States:
        """What the weather left on the ground at some of the views."""
        seen = self.views_of(part)
        day = torch.floor(seen.time).long() - self.first_day
        return weather.states(self.weather, day, seen.ascending, self.parameters["diurnal_c"])

    def views_of(self, part: slice) -> Views:
        """Give some of the views."""
        count = self.views.time.shape[1]
        return self.views.take(torch.arange(count)[part][None])


def write_world(folder: Path, options: WorldOptions, *, seed: int) -> None:
    """Write a synthetic area as real data comes; the same seed gives the same bytes.

    Parameters
    ----------
    folder
        Gets ``scenes/``, ``truth/``, ``dem.tif``, ``cover.tif``, ``weather.nc``, ``items.parquet``
        and ``world.yaml``; must exist.
    options
        What to write.
    seed
        Of all that is random.

    Raises
    ------
    SarcastError
        If no satellite sees the area in the time asked for, or the disk is full.
    """
    rng = torch.Generator().manual_seed(seed)
    with torch.inference_mode(), full_disk_named(folder):
        world = make_world(options, rng=rng)
        _write_ground(folder, world)
        _write_weather(folder, world)
        scenes = list(_write_scenes(folder, world, rng=rng))
        items = [scene.to_item() for scene in scenes]
        FolderCatalogue(folder).add(items)
        for item in items:
            item.set_self_href((folder.resolve() / "scenes" / f"{item.id}.json").as_posix())
            item.make_asset_hrefs_relative()
            item.save_object(include_self_link=False)
        told = {"seed": seed, **json.loads(options.model_dump_json())}
        (folder / "world.yaml").write_text(yaml.safe_dump(told, sort_keys=False))


def make_world(options: WorldOptions, *, rng: torch.Generator) -> World:
    """Draw one world and the views of it."""
    preset = presets.PRESETS[options.preset]
    parameters = presets.draw(preset, 1, rng=rng)
    grid = area(preset, options, float(parameters["latitude_deg"]))
    centre = grid.extent.centroid.to_crs("EPSG:4326").coords[0]
    latitude, longitude = (torch.tensor([value]) for value in (centre[1], centre[0]))
    near = views.choose(views.tracks(latitude, longitude), options.tracks, options.tracks, rng=rng)
    start = (options.start - views.EPOCH).days
    days = (options.end - options.start).days + 1
    seen = views.acquisitions(
        near, torch.tensor([start]), days, available=options.available, rng=rng
    )
    seen = _finite(seen, options)
    ground_ = ground.draw(parameters, grid.shape.yx, options.spacing_m, rng=rng)
    first = start - weather.SPIN_UP_DAYS
    weather_grid = _coarse(grid, WEATHER_CELL_M, margin=1)
    sky = weather.draw(
        parameters,
        torch.tensor([_day_of_year(first)]),
        days + weather.SPIN_UP_DAYS,
        grid=weather_grid.shape.yx,
        rng=rng,
    )
    return World(options, grid, weather_grid, parameters, ground_, seen, sky, first)


def area(preset: presets.Preset, options: WorldOptions, latitude_deg: float) -> GeoBox:
    """Square of the asked size around the preset's place, in its UTM zone, on whole pixels."""
    middle = point(preset.longitude_deg, latitude_deg, "EPSG:4326")
    zone = int((preset.longitude_deg + 180.0) // 6.0) + 1
    crs = CRS(f"EPSG:{(32600 if latitude_deg >= 0.0 else 32700) + zone}")
    x, y = middle.to_crs(crs).coords[0]
    pixels = max(32, round(options.size_km * 1000.0 / options.spacing_m))
    left, bottom = (round(v / 1000.0) * 1000.0 for v in (x, y))
    side = pixels * options.spacing_m
    box = (left, bottom, left + side, bottom + side)
    return GeoBox.from_bbox(box, crs=crs, shape=(pixels, pixels), tight=True)


def _finite(seen: Views, options: WorldOptions) -> Views:
    count = int(torch.isfinite(seen.time).sum())
    if count == 0:
        raise SarcastError(
            f"no scene of the area from {options.start} to {options.end}: no satellite was in "
            f"service, or the time is shorter than its 6 to 12 days; choose other dates"
        )
    return seen.take(torch.arange(count)[None])


def _coarse(grid: GeoBox, cell_m: float, *, margin: int) -> GeoBox:
    """Grid of coarse cells that covers the area, with some cells around it."""
    box = grid.boundingbox.buffered(margin * cell_m)
    shape = tuple(max(2, math.ceil(span / cell_m)) for span in (box.span_y, box.span_x))
    return GeoBox.from_bbox(box, crs=grid.crs, shape=shape, tight=True)


def _day_of_year(day: int) -> int:
    return (views.EPOCH + dt.timedelta(days=day)).timetuple().tm_yday


def _write_ground(folder: Path, world: World) -> None:
    elevation = world.ground.elevation[0].numpy()
    write_cog(folder / "dem.tif", elevation, world.grid, bands=["elevation"], tags={"unit": "m"})
    classes = np.array([cover.worldcover for cover in table.COVERS], dtype=np.uint8)
    cover = classes[world.ground.cover[0].numpy()]
    write_cog(folder / "cover.tif", cover, world.grid, nodata=0, bands=["ESA WorldCover class"])


def _write_weather(folder: Path, world: World) -> None:
    whole = (world.weather.temperature.shape[1], *world.weather_grid.shape.yx)
    kept = slice(weather.SPIN_UP_DAYS - 10, None)
    values = {
        "temperature": world.weather.temperature[0, :, None, None].expand(whole),
        "precipitation": world.weather.precipitation[0],
        "snow_depth": world.weather.snow_depth[0, :, None, None].expand(whole),
    }
    start = np.datetime64(views.EPOCH + dt.timedelta(days=world.first_day))
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
        coords={"time": time[kept].astype("datetime64[ns]"), **xr_coords(world.weather_grid)},
        attrs={"Conventions": "CF-1.8"},
    )
    for variable in data.data_vars.values():
        variable.encoding = {"grid_mapping": "spatial_ref", "zlib": True, "dtype": "float32"}
    data.to_netcdf(folder / "weather.nc", engine="h5netcdf")


@dataclass(frozen=True)
class _Images:
    """Images of one view: dims (band, y, x), linear power; incidence on its own coarse grid."""

    actual: npt.NDArray[np.float32]
    expected: npt.NDArray[np.float32]
    incidence: npt.NDArray[np.float32]


def _write_scenes(folder: Path, world: World, *, rng: torch.Generator) -> Iterator[Scene]:
    count = world.views.time.shape[1]
    coarse = _coarse(world.grid, INCIDENCE_CELL_M, margin=0)
    with ThreadPoolExecutor(max_workers=2) as pool:
        numbered = enumerate(_images(world, coarse, rng=rng))
        jobs = [
            pool.submit(_write_scene, folder, world, coarse, number, images)
            for number, images in track(numbered, "writing scenes", count)
        ]
        yield from (job.result() for job in jobs)


def _images(world: World, coarse: GeoBox, *, rng: torch.Generator) -> Iterator[_Images]:
    for first in range(0, world.views.time.shape[1], _SCENES_AT_ONCE):
        part = slice(first, first + _SCENES_AT_ONCE)
        actual, expected = render(world, part, rng=rng)
        seen = world.views_of(part)
        angles = views.smooth_incidence(
            seen.incidence_deg[0], seen.heading_deg[0], coarse.shape.yx, INCIDENCE_CELL_M
        )
        for images in zip(actual[0], expected[0], angles, strict=True):
            yield _Images(*(image.numpy() for image in images))


def render(world: World, part: slice, *, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Actual and expected images of some views, dims (world, view, band, y, x), linear power."""
    options, seen, states = world.options, world.views_of(part), world.states(part)
    size = world.grid.shape.yx
    angle = views.smooth_incidence(seen.incidence_deg, seen.heading_deg, size, options.spacing_m)
    unknown = backscatter.draw_unknown(
        world.parameters, seen.time.shape[1], size, options.spacing_m, rng=rng
    )
    with_unknown, without = (
        backscatter.expected(
            world.ground,
            world.parameters,
            seen,
            states,
            angle,
            quantity=options.quantity,
            unknown=u,
        )
        for u in (unknown, None)
    )
    actual = sensor.observe(
        with_unknown, world.parameters, filtered=options.speckle_filter, rng=rng
    )
    return actual, torch.exp(without / _DB)


def _write_scene(folder: Path, world: World, coarse: GeoBox, number: int, images: _Images) -> Scene:
    view = world.views_of(slice(number, number + 1))
    seconds = round(float(view.time) * 86400.0)
    time = dt.datetime.combine(views.EPOCH, dt.time(), dt.UTC) + dt.timedelta(seconds=seconds)
    platform = PLATFORMS[int(view.platform)]
    orbit = int(view.relative_orbit)
    short = f"S1{platform[-1].upper()}"
    name = f"{short}_{time:%Y%m%dT%H%M%S}_{orbit:03d}"
    rasters = {}
    for place, band in enumerate(BANDS):
        for kind, layer in (("", images.actual[place]), (EXPECTED, images.expected[place])):
            path = folder / ("truth" if kind else "scenes") / f"{name}_{band}.tif"
            write_cog(path, layer, world.grid, bands=[band], tags={"unit": LINEAR_POWER})
            key = f"{band.lower()}-{kind}" if kind else band.lower()
            roles = ("truth",) if kind else ("data",)
            rasters[key] = Raster(path, (band,), LINEAR_POWER, roles)
    path = folder / "scenes" / f"{name}_incidence.tif"
    write_cog(path, images.incidence, coarse, bands=["incidence"], tags={"unit": "degree"})
    rasters["incidence"] = Raster(path, ("incidence",), "degree", ("metadata",))
    return Scene(
        id=name,
        time=time,
        quantity=world.options.quantity,
        rasters=rasters,
        platform=platform,
        orbit_direction=ASCENDING if bool(view.ascending) else DESCENDING,
        relative_orbit=orbit,
        heading_deg=float(view.heading_deg),
        incidence_deg=float(view.incidence_deg),
    )
