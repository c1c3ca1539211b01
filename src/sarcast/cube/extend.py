"""A cube built, or extended, from a catalogue or from scenes that are indexed into one beside it.

``build_from`` takes every scene that is found and asked for. ``extend_by_new`` is for a cube that
is monitored: it takes what the cube records (grid, resampling, speckle filter), looks back a little
only, and leaves out scenes that are older than what was processed already.
"""

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pystac
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry

from sarcast.catalogue import open_catalogue
from sarcast.catalogue.location import time_range
from sarcast.catalogue.protocol import TimeRange
from sarcast.catalogue.unusable import LeftOut
from sarcast.cube.build import CubeOptions, Sources, build_cube
from sarcast.cube.dates import moment_of
from sarcast.cube.executor import WorkerOptions
from sarcast.cube.filtering import ATTRIBUTE
from sarcast.cube.metadata import read_attributes
from sarcast.cube.opening import open_cube
from sarcast.cube.store import RESAMPLING, is_empty
from sarcast.errors import SarcastError, UsageError, hide
from sarcast.ingest.scenes.add import add_scenes
from sarcast.ingest.scenes.index import IndexOptions
from sarcast.ingest.scenes.profile import scene_profiles
from sarcast.ingest.scenes.stac import declare_nodata, normalise_items
from sarcast.io.footprint import by_code, footprint
from sarcast.io.grid import describe_spacing, make_grid, read_area
from sarcast.io.images import grid_of_images
from sarcast.io.remote import RemoteOptions
from sarcast.sensor.orbits import PASS_GAP

_log = logging.getLogger(__name__)

LOOK_BACK = np.timedelta64(60, "D")
"""How long before the last acquisition of a cube new scenes are searched."""


@dataclass(frozen=True)
class Request:
    """Which scenes a cube is built from, on which grid, and how they are read.

    Attributes
    ----------
    area
        ``west,south,east,north`` in degrees, a vector file, or a raster whose grid is used; None
        for the extent of the scenes, or the grid of an existing cube.
    crs, resolution
        Of the grid; None for those of the scenes or the existing cube.
    collection
        Collections of the catalogue to search; empty for all.
    start, end
        First and last date of the scenes, ISO 8601.
    names, building, sources, workers, server
        How scenes are indexed, warped, completed by terrain and weather, computed and fetched.
    """

    area: str | None = None
    crs: str | None = None
    resolution: float | None = None
    collection: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None
    names: IndexOptions = field(default_factory=IndexOptions)
    building: CubeOptions = field(default_factory=CubeOptions)
    sources: Sources = field(default_factory=Sources)
    workers: WorkerOptions = field(default_factory=WorkerOptions)
    server: RemoteOptions = field(default_factory=RemoteOptions)

    @property
    def period(self) -> TimeRange:
        """Start and end, UTC."""
        return _utc(self.start), _utc(self.end, last=True)


@dataclass(frozen=True)
class Extension:
    """What was added to a cube.

    Attributes
    ----------
    added
        Number of acquisitions.
    late
        Ids of scenes that were left out, since they are older than what was processed; sorted.
    """

    added: int
    late: tuple[str, ...] = ()


def build_from(source: str, to: Path, request: Request) -> int:
    """Build a cube from the scenes of a catalogue or of folders, or add those that it lacks.

    Parameters
    ----------
    source
        Folder of a catalogue, URL of a STAC API or a pgstac database; or rasters or a folder of
        them, which are indexed into a catalogue beside the cube.
    to
        Path of the cube.
    request
        Which scenes, and how.

    Returns
    -------
    int
        Number of acquisitions that were added.

    Raises
    ------
    SarcastError
        If no scene is found, or the cube cannot be built; see ``build_cube``.
    """
    existing = open_cube(to) if (to / "zarr.json").exists() and not is_empty(to) else None
    catalogue, scenes = _catalogue_of(source, to, request.names, existing)
    area = None if request.area is None else read_area(request.area)
    outline = footprint(area) if isinstance(area, GeoBox) else area
    left_out = LeftOut()
    items = _search(catalogue, outline, scenes, request, left_out)
    if not items:
        left_out.report(any_used=False, strict=True)
        raise SarcastError(_nothing_found(catalogue, request))
    items = _normalised(items, _scene_ids(existing), request.names, left_out)
    grid = _grid(area, items, existing, request)
    added = _build(items, to, grid, request)
    steps = open_cube(to).sizes["time"]
    spacing = (abs(grid.resolution.x), abs(grid.resolution.y))
    _log.info(
        f"{to}: added {added} acquisitions; it has {steps} dates, "
        f"{grid.height} x {grid.width} pixels of {describe_spacing(spacing)} in {grid.crs}"
    )
    return added


def extend_by_new(
    source: str, to: Path, request: Request, processed: np.datetime64 | None
) -> Extension:
    """Add the scenes to an existing cube that appeared since it was built or extended.

    Grid, resampling and speckle filter are those of the cube. If there is no new scene, the cube
    is not touched.

    Parameters
    ----------
    source, to, request
        As for ``build_from``; area, dates and filter of the request are not used.
    processed
        Time of the last acquisition that was processed. Older scenes that the cube lacks are left
        out, since the acquisitions after them were processed without them. None to leave out none.

    Returns
    -------
    Extension
        What was added and what was left out.

    Raises
    ------
    SarcastError
        If the cube has no acquisition yet, the source does not answer or has no usable scene, or
        a raster cannot be read.
    """
    existing = open_cube(to)
    if existing.sizes["time"] == 0:
        raise SarcastError(f"{to} has no acquisition: build it with sarcast cube first")
    request = _as_recorded(to, existing, request)
    known = _scene_ids(existing)
    catalogue, scenes = _catalogue_of(source, to, request.names, existing)
    grid, left_out = by_code(grid_of_images(existing)), LeftOut()
    items = _search(catalogue, footprint(grid), scenes, request, left_out)
    late = {item.id for item in items if item.id not in known and _is_late(item, processed)}
    items = [item for item in items if item.id not in late]
    if all(item.id in known for item in items):
        left_out.report(any_used=True, strict=request.names.strict)
        return Extension(0, tuple(sorted(late)))
    items = _normalised(items, known, request.names, left_out)
    return Extension(_build(items, to, grid, request), tuple(sorted(late)))


def _as_recorded(to: Path, existing: xr.Dataset, request: Request) -> Request:
    """Complete a request by what an existing cube records.

    A filter that combines dates needs the scenes of earlier dates again: then all are searched.
    """
    attributes = read_attributes(to)
    filtering = attributes.get(ATTRIBUTE, {})
    building = CubeOptions(
        **filtering,
        resampling=attributes.get(RESAMPLING, "bilinear"),
        allow_missing=request.building.allow_missing,
    )
    start = str((existing["time"].values.max() - LOOK_BACK).astype("datetime64[D]"))
    return replace(request, building=building, start=None if building.dates > 1 else start)


def _is_late(item: pystac.Item, processed: np.datetime64 | None) -> bool:
    """Whether an item began before the pass that was processed last."""
    if processed is None:
        return False
    began = np.datetime64(time_range(item)[0].replace(tzinfo=None))
    return bool(began < processed - np.timedelta64(PASS_GAP))


def _build(items: Sequence[pystac.Item], to: Path, grid: GeoBox, request: Request) -> int:
    return build_cube(
        items,
        to,
        grid,
        request.building,
        request.sources,
        workers=request.workers,
        remote=request.server,
    )


def _grid(
    area: Geometry | GeoBox | None,
    items: list[pystac.Item],
    existing: xr.Dataset | None,
    request: Request,
) -> GeoBox:
    """The grid requested; what was not specified is that of the existing cube, if there is one."""
    like = None if existing is None else by_code(grid_of_images(existing))
    if like is not None and (area, request.crs, request.resolution) == (None, None, None):
        return like
    return make_grid(area, items, crs=request.crs, resolution=request.resolution, like=like)


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
    if is_catalogue(source):
        if names.declared():
            raise UsageError(
                f"--unit and --quantity are for scenes that are not indexed yet: leave them out, "
                f"{hide(source, source)} is a catalogue and specifies them"
            )
        return source, None
    beside = str(to.with_name(f"{to.stem}-catalogue"))
    scenes = add_scenes((path,), beside, names, any_kind=existing is not None)
    return beside, scenes | _scene_ids(existing)


def is_catalogue(source: str) -> bool:
    """Whether a source is a catalogue of any kind, not scenes that are to be indexed."""
    return "://" in source or (Path(source) / "items.parquet").exists()


def _scene_ids(existing: xr.Dataset | None) -> set[str]:
    """Ids of the scenes that an existing cube has."""
    steps = () if existing is None else existing["scene_id"].values
    return set().union(*(str(step).split("+") for step in steps))


def _search(
    catalogue: str,
    area: Geometry | None,
    scenes: set[str] | None,
    request: Request,
    left_out: LeftOut,
) -> list[pystac.Item]:
    """Items of an area and a period; only those with an id in ``scenes``, if it is given."""
    names = request.names
    opened = open_catalogue(catalogue, request.collection, request.server, names.allow_href)
    searched = opened.search(area, request.period, left_out)
    return [item for item in searched if scenes is None or item.id in scenes]


def _normalised(
    items: list[pystac.Item], known: set[str], names: IndexOptions, left_out: LeftOut
) -> list[pystac.Item]:
    """Items in one form; those whose ids are ``known`` decide which polarisations are used."""
    profiles = scene_profiles(names.profile)
    found = normalise_items(items, profiles, strict=names.strict, known=known, left_out=left_out)
    return [declare_nodata(item, names.nodata) for item in found]


def _nothing_found(catalogue: str, request: Request) -> str:
    """Error message for a search without result."""
    where = "" if request.area is None else f"no scene touches the area {request.area}: "
    of = f" of {', '.join(request.collection)}" if request.collection else ""
    return (
        f"{where}{catalogue} has no scene{of} from {request.start or 'the first'} to "
        f"{request.end or 'the last'}{' there' if where else ''}; ask for other dates"
        f"{' or another --area' if where else ''}{' or --collection' if of else ''}"
    )


def _utc(date: str | None, *, last: bool = False) -> dt.datetime | None:
    if date is None:
        return None
    return dt.datetime.fromisoformat(str(moment_of(date, last=last))).replace(tzinfo=dt.UTC)
