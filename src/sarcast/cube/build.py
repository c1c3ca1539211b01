"""A cube built from scenes, or extended by the acquisitions that it lacks.

Steps are stored in the order in which they were written; ``open_cube`` sorts them by time.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pystac
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from pydantic import ConfigDict, Field

from sarcast.cube import filtering
from sarcast.cube.block import block_slices
from sarcast.cube.executor import WorkerOptions, start_workers
from sarcast.cube.schema import PART
from sarcast.cube.steps import BuildPlan, BuildSummary, StepWriter
from sarcast.cube.store import RESAMPLING, Store, discard, is_empty, stored_bands
from sarcast.cube.weather import StepWeather, write_weather
from sarcast.errors import SarcastError
from sarcast.ingest.cover import CoverOptions, LandCover
from sarcast.ingest.dem import Dem
from sarcast.ingest.scenes.acquisition import Acquisition, acquisitions
from sarcast.ingest.weather import Weather, WeatherOptions
from sarcast.io.files import exclusive, explain_full_disk
from sarcast.io.footprint import WGS84, bounding_box, canonical, footprint
from sarcast.io.progress import track
from sarcast.io.remote import RemoteOptions
from sarcast.sensor.polarisations import PAIRS
from sarcast.speckle import SpeckleOptions

_log = logging.getLogger(__name__)


class CubeOptions(SpeckleOptions):
    """How scenes are warped onto the cube's grid, and how their speckle is filtered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resampling: str = Field(
        "bilinear",
        pattern="^(nearest|bilinear|cubic|average)$",
        description="Resampling of scenes on another grid: nearest, bilinear, cubic or average.",
    )
    allow_missing: bool = Field(
        False,
        description="Leave out dates with a raster that cannot be read, with a warning for each.",
    )


@dataclass(frozen=True)
class Sources:
    """Files of terrain, weather and land cover, and how to read them.

    Each is none, one or several paths or URLs.
    """

    dem: tuple[Path | str, ...] = ()
    weather: tuple[Path | str, ...] = ()
    cover: tuple[Path | str, ...] = ()
    weather_options: WeatherOptions = field(default_factory=WeatherOptions)
    cover_options: CoverOptions = field(default_factory=CoverOptions)


def build_cube(
    items: Sequence[pystac.Item],
    path: Path,
    grid: GeoBox,
    options: CubeOptions,
    sources: Sources,
    *,
    workers: WorkerOptions = WorkerOptions(),  # noqa: B008 - frozen
    remote: RemoteOptions = RemoteOptions(),  # noqa: B008 - frozen
) -> int:
    """Build a cube, or extend one by the acquisitions that it lacks.

    The same call can be repeated: acquisitions that the cube has are not read again, and a build
    that was killed resumes after its last complete step.

    Parameters
    ----------
    items
        Scenes, in any order; those of one pass are fused.
    path
        Path of the store; an existing cube must have the same grid.
    grid
        Grid of the cube.
    options
        Resampling, speckle filter, and whether unreadable acquisitions are left out.
    sources
        Terrain, weather and land cover.
    workers
        Threads of this machine, or a Dask cluster.
    remote
        Retries and timeouts for remote rasters.

    Returns
    -------
    int
        Number of acquisitions that were added.

    Raises
    ------
    SarcastError
        If no scene intersects the grid, a source does not fit, a raster cannot be read, no raster
        at all can be read, or the disk is full. Steps that were written stay.

    Examples
    --------
    The last scenes of a catalogue, without terrain and weather; ``build_from`` does more of this
    by itself, as ``sarcast cube`` does:

    >>> from sarcast.catalogue import open_catalogue
    >>> from sarcast.io.grid import make_grid
    >>> items = open_catalogue("scenes").search()[-2:]
    >>> grid = make_grid(None, items)
    >>> sarcast.build_cube(items, Path("last.zarr"), grid, CubeOptions(), Sources())
    2
    >>> sarcast.build_cube(items, Path("last.zarr"), grid, CubeOptions(), Sources())
    0
    """
    found = _intersecting(acquisitions(items), grid)
    path = path.resolve()
    opened = _OpenedSources.open(sources)
    with explain_full_disk(path), exclusive(path), _remove_if_empty_on_error(path):
        bands, wanted = _of_one_kind(found, stored_bands(path))
        speckle = filtering.choose_filter(path, wanted, grid, options.resampling, options, remote)
        has_truth = all(each.has_truth for each in wanted)
        attrs = {RESAMPLING: options.resampling, **filtering.filter_attributes(speckle)}
        store = Store.open(path, grid, bands=bands, has_truth=has_truth, attrs=attrs)
        present = store.read("scene_id").tolist()
        incomplete = {step: present[step] for step in store.incomplete_steps()}
        plan = BuildPlan(
            path=path,
            grid=grid,
            bands=bands,
            acquisitions=[each for each in wanted if each.scene_id not in set(present)],
            repairs=_repairs(incomplete, wanted),
            earlier=filtering.earlier_acquisitions(wanted, speckle),
            speckle=speckle,
            resampling=options.resampling,
            with_truth="expected" in store,
            allow_missing=options.allow_missing,
            remote=remote,
        )
        weather = _step_weather(opened.weather, store, plan)
        _write_static(store, grid, opened)
        write_weather(store, weather)
        if not plan.acquisitions and not plan.repairs:
            _log.info(f"{path} already has all {len(wanted)} acquisitions")
        summary = _write_steps(plan, store, weather, workers)
        summary.check(store.steps)
        _warn_of_lost_files(store)
        weather.summarise()
        summary.log()
        return store.steps - len(present)


def _write_steps(
    plan: BuildPlan, store: Store, weather: StepWeather, workers: WorkerOptions
) -> BuildSummary:
    total = store.steps + len(plan.acquisitions)
    done = store.steps - len(plan.repairs)
    try:
        with (
            start_workers(workers) as started,
            closing(StepWriter(plan, store, started, weather).run()) as steps,
        ):
            outcomes = list(track(steps, "building the cube", total, done=done))
    finally:  # after the last worker has ended
        store.roll_back()
    return BuildSummary(outcomes)


def _warn_of_lost_files(store: Store) -> None:
    """Name what a damaged cube still lacks, since its source was not given."""
    lost = store.lost_arrays()
    if lost:
        _log.warning(
            f"{store.path} has lost files of {', '.join(lost)}, which stay missing: give its "
            f"scenes, --weather, --dem and --cover again to have them written anew"
        )


def _repairs(
    incomplete: Mapping[int, str], wanted: Sequence[Acquisition]
) -> dict[int, Acquisition]:
    """By time step, the acquisitions that are written again, since the cube lost files of them."""
    found = {each.scene_id: each for each in wanted}
    lost = [scene_id for scene_id in incomplete.values() if scene_id not in found]
    if lost:
        _log.warning(
            f"{len(lost)} dates are incomplete in the cube and stay so, since their scenes were "
            f"not given ({lost[0]} first); give these scenes to have them written again"
        )
    return {step: found[name] for step, name in incomplete.items() if name in found}


@contextmanager
def _remove_if_empty_on_error(path: Path) -> Iterator[None]:
    """Remove a store that was created here and has no step because the build failed."""
    existed = (path / "zarr.json").exists()
    try:
        yield
    except Exception:
        if not existed and is_empty(path):
            discard(path)
        raise


def _intersecting(found: list[Acquisition], grid: GeoBox) -> list[Acquisition]:
    area = footprint(grid)
    inside = [
        acquisition
        for acquisition in found
        if any(canonical(Geometry(i.geometry, WGS84)).intersects(area) for i in acquisition.items)
    ]
    if not inside:
        west, south, east, north = bounding_box(area)
        raise SarcastError(
            f"no scene touches the area (west {west:.4f}, south {south:.4f}, east {east:.4f}, "
            f"north {north:.4f}); the catalogue returned {len(found)} acquisitions: "
            f"give another --area, or leave it out to cover all the scenes"
        )
    return inside


def _of_one_kind(
    found: list[Acquisition], stored: tuple[str, ...]
) -> tuple[tuple[str, ...], list[Acquisition]]:
    """Bands of the cube, those ``stored`` or the pair that most acquisitions have, and its dates.

    Acquisitions with none of these bands are left out with a warning.
    """

    def has_any(acquisition: Acquisition, bands: tuple[str, ...]) -> bool:
        return any(acquisition.layers(band) for band in bands)

    bands = stored or max(PAIRS, key=lambda pair: sum(has_any(each, pair) for each in found))
    used = [each for each in found if has_any(each, bands)]
    others = [each.scene_id for each in found if not has_any(each, bands)]
    names = " or ".join(bands)
    if not used:
        raise SarcastError(
            f"none of the {len(found)} acquisitions, such as {others[0]}, has {names}; give scenes "
            f"of these polarisations, or another path for the cube"
        )
    if others:
        _log.warning(f"{len(others)} acquisitions left out (no {names}): {', '.join(others[:3])}")
    return bands, used


# --- terrain, land cover, weather -----------------------------------------------------------------


@dataclass(frozen=True)
class _OpenedSources:
    """Sources that can be read; those that cannot raise an error before a store is created."""

    dem: Dem | None
    cover: LandCover | None
    weather: Weather | None

    @classmethod
    def open(cls, sources: Sources) -> "_OpenedSources":
        return cls(
            Dem(sources.dem) if sources.dem else None,
            LandCover(sources.cover, sources.cover_options) if sources.cover else None,
            Weather(sources.weather, sources.weather_options) if sources.weather else None,
        )


def _step_weather(source: Weather | None, store: Store, plan: BuildPlan) -> StepWeather:
    """Weather of the steps in the store and of those planned, which must have some value."""
    stored = store.read("time").astype("datetime64[s]")
    weather = StepWeather(source, plan.grid, [*stored, *(each.time for each in plan.acquisitions)])
    weather.check()
    return weather


def _write_static(store: Store, grid: GeoBox, opened: _OpenedSources) -> None:
    """Write terrain and land cover, a part at a time; readers see them after the next commit."""
    dem, cover = opened.dem, opened.cover
    for slices in block_slices(grid.shape, PART):
        for name, layer in ({} if cover is None else cover.read(grid[slices])).items():
            store.add_variable(str(name), *grid.shape)
            store.write(str(name), layer.values, *slices)
        if dem is not None:
            store.write_known("elevation", dem.read(grid[slices]).values, *slices)
    for source in (dem, cover):
        if source is not None:
            source.summarise()
    if dem is not None or cover is not None:
        store.commit()
