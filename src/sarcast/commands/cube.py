"""``sarcast cube``: build or extend a cube from a catalogue or from rasters, or check one."""

import logging
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich.console import Console
from rich.table import Table

from sarcast.commands.config import FLAT, MAY_BE_NEGATIVE, Config
from sarcast.cube import CubeOptions, Sources
from sarcast.cube.check.report import CubeReport, check_cube
from sarcast.cube.executor import WorkerOptions
from sarcast.cube.extend import Request, build_from
from sarcast.errors import SarcastError, UsageError
from sarcast.ingest.cover import CoverOptions
from sarcast.ingest.scenes.index import IndexOptions
from sarcast.ingest.weather import WeatherOptions
from sarcast.io.remote import RemoteOptions

_log = logging.getLogger(__name__)


class CubeConfig(Config):
    """Options of ``sarcast cube``."""

    to: Path | None = Field(
        None, description="The cube, a Zarr store; an existing one is extended."
    )
    check: Path | None = Field(
        None,
        description="Check this cube instead: schema, units, every chunk, dates and gaps, "
        "statistics of each date, level and shift of each platform.",
    )
    area: Annotated[str | None, MAY_BE_NEGATIVE] = Field(
        None,
        description="west,south,east,north in degrees (west > east across 180), a vector file, "
        "or a raster whose grid is used; default: the full extent of the scenes, if they lie in "
        "one region.",
    )
    crs: str | None = Field(None, description="CRS of the cube; default: that of the scenes.")
    resolution: float | None = Field(
        None, gt=0.0, description="Pixel spacing in units of the CRS; default: that of the scenes."
    )
    collection: tuple[str, ...] = Field(
        (), description="Collections of the catalogue to search; default: all."
    )
    start: str | None = Field(None, description="First date of the scenes to use, ISO 8601.")
    end: str | None = Field(None, description="Last date of the scenes to use, ISO 8601.")
    dem: tuple[str, ...] = Field(
        (),
        description="Terrain heights: raster, folder of rasters, or JSON of a STAC item; may be "
        "given several times, the first with data takes precedence.",
    )
    weather: tuple[str, ...] = Field(
        (),
        description="Daily or hourly weather: NetCDF, Zarr, or CSV of stations; may be given "
        "several times, the first with data takes precedence.",
    )
    cover: tuple[str, ...] = Field(
        (),
        description="Land cover: raster of classes, folder of rasters, JSON of a STAC item, or "
        "polygons; may be given several times.",
    )
    names: Annotated[IndexOptions, FLAT] = Field(default_factory=IndexOptions)
    building: Annotated[CubeOptions, FLAT] = Field(default_factory=CubeOptions)
    weather_reading: Annotated[WeatherOptions, FLAT] = Field(default_factory=WeatherOptions)
    cover_reading: Annotated[CoverOptions, FLAT] = Field(default_factory=CoverOptions)
    workers: Annotated[WorkerOptions, FLAT] = Field(default_factory=WorkerOptions)
    server: Annotated[RemoteOptions, FLAT] = Field(default_factory=RemoteOptions)


_DEFAULT = CubeConfig()


def cube(catalogue: str | None = None, *, config: Annotated[CubeConfig, FLAT] = _DEFAULT) -> None:
    """Build a cube from the scenes of a catalogue, or extend one by the scenes that it lacks.

    Parameters
    ----------
    catalogue
        Folder written by ``sarcast index`` or ``sarcast world``, https:// URL of a STAC API,
        postgresql:// URL of a pgstac database, or scenes as for ``sarcast index``, which are
        indexed into a folder beside the cube.
    """
    if config.check is not None:
        if catalogue is not None or config.to is not None:
            raise UsageError("--check checks an existing cube: leave out CATALOGUE and --to")
        _check(config.check, config.workers)
    elif catalogue is None or config.to is None:
        raise UsageError(
            "give a CATALOGUE and --to CUBE to build a cube, or --check CUBE to check one"
        )
    else:
        build_from(catalogue, config.to, _request(config))


def _request(config: CubeConfig) -> Request:
    """What the options ask for."""
    sources = Sources(
        dem=config.dem,
        weather=config.weather,
        cover=config.cover,
        weather_options=config.weather_reading,
        cover_options=config.cover_reading,
    )
    return Request(
        area=config.area,
        crs=config.crs,
        resolution=config.resolution,
        collection=config.collection,
        start=config.start,
        end=config.end,
        names=config.names,
        building=config.building,
        sources=sources,
        workers=config.workers,
        server=config.server,
    )


def _check(path: Path, workers: WorkerOptions) -> None:
    """Show the statistics of a cube, its warnings and its faults."""
    report = check_cube(path, workers=workers)
    if report.dates:
        Console().print(_table(report))
    for pair in report.platforms:
        levels = ", ".join(f"{level:+.2f} dB" for level in pair.level_db)
        shift = "unknown" if pair.shift is None else "{:+.2f}, {:+.2f} pixels".format(*pair.shift)
        _log.info(
            f"{pair.platform} against {pair.reference}, {pair.dates} dates: level {levels}; "
            f"shift {shift}"
        )
    for line in report.warnings:
        _log.warning(line)
    for line in report.faults:
        _log.info(f"fault: {line}")
    if report.faults:
        raise SarcastError(
            f"{path} has {len(report.faults)} faults (above); the sarcast cube that built it, "
            f"run again, repairs dates that lost files; otherwise remove it and build it again"
        )
    _log.info(f"{path}: no fault in {len(report.dates)} dates, {len(report.warnings)} warnings")


def _table(report: CubeReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("date", "", "pass", "orbit"):
        table.add_column(name, no_wrap=True)
    for name in ("valid", *(f"{band}, dB" for band in report.bands)):
        table.add_column(name, no_wrap=True, justify="right")
    for date in report.dates:
        levels = zip(date.mean_db, date.spread_db, strict=True)
        table.add_row(
            str(date.time.astype("datetime64[m]")).replace("T", " "),
            date.platform.upper().replace("SENTINEL-", "S"),
            date.orbit_direction,
            str(date.relative_orbit or ""),
            f"{100.0 * date.valid_share:.1f} %",
            *(f"{mean:.2f} ± {spread:.2f}" for mean, spread in levels),
        )
    return table
