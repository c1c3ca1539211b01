"""``sarcast cube``: build or extend a cube from a catalogue or from rasters, or check one."""

import datetime as dt
import logging
from pathlib import Path
from typing import Annotated

import pystac
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from pydantic import Field
from rich.console import Console
from rich.table import Table

from sarcast.catalogue import open_catalogue
from sarcast.catalogue.unusable import LeftOut
from sarcast.commands.config import FLAT, MAY_BE_NEGATIVE, Config
from sarcast.cube import CubeOptions, Sources, build_cube, moment_of, open_cube
from sarcast.cube.check.report import CubeReport, check_cube
from sarcast.cube.executor import WorkerOptions
from sarcast.cube.store import is_empty
from sarcast.errors import SarcastError, UsageError
from sarcast.ingest.cover import CoverOptions
from sarcast.ingest.scenes.add import add_scenes
from sarcast.ingest.scenes.index import IndexOptions
from sarcast.ingest.scenes.profile import scene_profiles
from sarcast.ingest.scenes.stac import declare_nodata, normalise_items
from sarcast.ingest.weather import WeatherOptions
from sarcast.io.footprint import footprint
from sarcast.io.grid import by_code, describe_spacing, make_grid, read_area
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
        _build(catalogue, config.to, config)


def _build(source: str, to: Path, config: CubeConfig) -> None:
    existing = open_cube(to) if (to / "zarr.json").exists() and not is_empty(to) else None
    catalogue, scenes = _catalogue_of(source, to, config.names, existing)
    area = None if config.area is None else read_area(config.area)
    outline = footprint(area) if isinstance(area, GeoBox) else area
    items = _search(catalogue, outline, scenes, _scene_ids(existing), config)
    grid = _grid(area, items, existing, config)
    sources = Sources(
        dem=config.dem,
        weather=config.weather,
        cover=config.cover,
        weather_options=config.weather_reading,
        cover_options=config.cover_reading,
    )
    added = build_cube(
        items, to, grid, config.building, sources, workers=config.workers, remote=config.server
    )
    built = open_cube(to)
    spacing = (abs(grid.resolution.x), abs(grid.resolution.y))
    _log.info(
        f"{to}: added {added} acquisitions; it has {built.sizes['time']} dates, "
        f"{grid.height} x {grid.width} pixels of {describe_spacing(spacing)} in {grid.crs}"
    )


def _grid(
    area: Geometry | GeoBox | None,
    items: list[pystac.Item],
    existing: xr.Dataset | None,
    config: CubeConfig,
) -> GeoBox:
    """The grid requested; what was not specified is that of the existing cube, if there is one."""
    like = None if existing is None else by_code(existing.odc.geobox)
    if like is not None and (area, config.crs, config.resolution) == (None, None, None):
        return like
    return make_grid(area, items, crs=config.crs, resolution=config.resolution, like=like)


def _catalogue_of(
    source: str, to: Path, names: IndexOptions, existing: xr.Dataset | None
) -> tuple[str, set[str] | None]:
    """Address of a catalogue; if scenes were given, of the one beside the cube, and their ids.

    The ids are those of the scenes given and of the existing cube: the catalogue beside it may
    have others, from earlier runs on other folders.
    """
    path = Path(source)
    if "://" not in source and not path.exists():
        raise SarcastError(
            f"{source} does not exist; name the folder of a catalogue or of scenes, a raster, or "
            f"the URL of a STAC API or database"
        )
    if "://" in source or (path / "items.parquet").exists():
        if names.declared():
            raise UsageError(
                f"--unit and --quantity are for scenes that are not indexed yet: leave them out, "
                f"{source} is a catalogue and specifies them"
            )
        return source, None
    beside = str(to.with_name(f"{to.stem}-catalogue"))
    scenes = add_scenes((path,), beside, names, any_kind=existing is not None)
    return beside, scenes | _scene_ids(existing)


def _scene_ids(existing: xr.Dataset | None) -> set[str]:
    """Ids of the scenes that an existing cube has."""
    steps = () if existing is None else existing["scene_id"].values
    return set().union(*(str(step).split("+") for step in steps))


def _search(
    catalogue: str,
    area: Geometry | None,
    scenes: set[str] | None,
    known: set[str],
    config: CubeConfig,
) -> list[pystac.Item]:
    """Items of an area and a period; only those with an id in ``scenes``, if it is given.

    Those whose ids are ``known`` decide which polarisations and mode are used.
    """
    opened = open_catalogue(catalogue, config.collection, config.server, config.names.allow_href)
    period, left_out = (_utc(config.start), _utc(config.end, last=True)), LeftOut()
    searched = opened.search(area, period, left_out)
    items = [item for item in searched if scenes is None or item.id in scenes]
    if not items:
        left_out.report(any_used=False, strict=True)
        where = "" if area is None else f"no scene touches the area {config.area}: "
        of = f" of {', '.join(config.collection)}" if config.collection else ""
        raise SarcastError(
            f"{where}{catalogue} has no scene{of} from {config.start or 'the first'} to "
            f"{config.end or 'the last'}{' there' if where else ''}; ask for other dates"
            f"{' or another --area' if where else ''}{' or --collection' if of else ''}"
        )
    found = normalise_items(
        items,
        scene_profiles(config.names.profile),
        strict=config.names.strict,
        known=known,
        left_out=left_out,
    )
    return [declare_nodata(item, config.names.nodata) for item in found]


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


def _utc(date: str | None, *, last: bool = False) -> dt.datetime | None:
    if date is None:
        return None
    return dt.datetime.fromisoformat(str(moment_of(date, last=last))).replace(tzinfo=dt.UTC)
