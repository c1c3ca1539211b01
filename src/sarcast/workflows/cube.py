"""``sarcast cube``: a cube built or extended from a catalogue."""

import datetime as dt
from pathlib import Path
from typing import Annotated

from odc.geo.geobox import GeoBox
from pydantic import Field

from sarcast.catalogue import open_catalogue
from sarcast.config import FLAT, Config
from sarcast.cube import CubeOptions, Sources, build_cube, moment_of, open_cube
from sarcast.errors import SarcastError
from sarcast.grid import make_grid, outline
from sarcast.ingest.cover import CoverOptions
from sarcast.ingest.foreign import describe_all
from sarcast.ingest.layouts import scene_profiles
from sarcast.ingest.weather_layouts import WeatherOptions
from sarcast.progress import say
from sarcast.remote import RemoteOptions


class CubeConfig(Config):
    """Options of ``sarcast cube``."""

    to: Path = Field(description="The cube, a Zarr store; one that exists is extended.")
    area: str | None = Field(
        None,
        description="west,south,east,north in degrees, a vector file, or a raster whose grid is "
        "taken; default: all that the scenes cover.",
    )
    crs: str | None = Field(None, description="CRS of the cube; default: that of the scenes.")
    resolution: float | None = Field(
        None, gt=0.0, description="Spacing in units of the CRS; default: that of the scenes."
    )
    collection: tuple[str, ...] = Field(
        (), description="Collections of the catalogue that are searched; default: all."
    )
    start: str | None = Field(None, description="First date of the scenes taken, ISO 8601.")
    end: str | None = Field(None, description="Last date of the scenes taken, ISO 8601.")
    profile: tuple[str, ...] = Field(
        (), description="YAML file that declares a source of your own among the catalogue's items."
    )
    dem: tuple[str, ...] = Field(
        (),
        description="Terrain heights: raster, folder of rasters, or JSON of a STAC item; may be "
        "given several times, the first wins.",
    )
    weather: tuple[str, ...] = Field(
        (),
        description="Daily or hourly weather: NetCDF, Zarr, or CSV of stations; may be given "
        "several times, the first wins.",
    )
    cover: tuple[str, ...] = Field(
        (),
        description="Land cover: raster of classes, folder of rasters, JSON of a STAC item, or "
        "polygons; may be given several times.",
    )
    building: Annotated[CubeOptions, FLAT] = Field(default_factory=CubeOptions)
    weather_reading: Annotated[WeatherOptions, FLAT] = Field(default_factory=WeatherOptions)
    cover_reading: Annotated[CoverOptions, FLAT] = Field(default_factory=CoverOptions)
    server: Annotated[RemoteOptions, FLAT] = Field(default_factory=RemoteOptions)


def cube(catalogue: str, *, config: Annotated[CubeConfig, FLAT]) -> None:
    """Build a cube from the scenes of a catalogue, or extend one by what it lacks.

    Parameters
    ----------
    catalogue
        Folder that ``sarcast index`` or ``sarcast world`` wrote, https:// of a STAC API, or
        postgresql:// of a database with pgstac.
    """
    held = open_catalogue(catalogue, config.collection, config.server)
    time = (_utc(config.start), _utc(config.end, last=True))
    area = None if config.area is None else outline(config.area)
    extent = area.extent if isinstance(area, GeoBox) else area
    items = held.search(extent, time) or held.search(None, time)
    if not items:
        raise SarcastError(
            f"{catalogue} holds no scene from {config.start or 'the first'} to "
            f"{config.end or 'the last'}; ask for other dates"
        )
    items = describe_all(items, scene_profiles(config.profile))
    grid = make_grid(area, items, crs=config.crs, resolution=config.resolution)
    sources = Sources(
        dem=config.dem,
        weather=config.weather,
        cover=config.cover,
        weather_options=config.weather_reading,
        cover_options=config.cover_reading,
    )
    build_cube(items, config.to, grid, config.building, sources)
    built = open_cube(config.to)
    say(
        f"{config.to}: {built.sizes['time']} dates, {grid.height} x {grid.width} pixels of "
        f"{grid.resolution.x:g} in {grid.crs}"
    )


def _utc(date: str | None, *, last: bool = False) -> dt.datetime | None:
    if date is None:
        return None
    return dt.datetime.fromisoformat(str(moment_of(date, last=last))).replace(tzinfo=dt.UTC)
