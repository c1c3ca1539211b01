"""Sources of the windows of a recipe: synthetic worlds and cubes of real series."""

import itertools
import math
from collections.abc import Mapping, Sequence
from fnmatch import filter as filter_names
from pathlib import Path

import numpy as np
import xarray as xr

from sarcast.cube import open_cube
from sarcast.errors import SarcastError
from sarcast.prediction.training.baselines import series_baselines, world_baselines
from sarcast.prediction.training.batches import Batches, mixed
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.recipe import SeriesSource, Stage, WorldSource
from sarcast.prediction.training.series import SeriesBatches
from sarcast.prediction.training.trainer import SEED_STRIDE
from sarcast.windows import Window, WindowSampler, split_by_date, to_windows
from sarcast.windows.synthetic import synthetic
from sarcast.world.options import StreamOptions


def open_cubes(paths: Sequence[Path]) -> dict[str, xr.Dataset]:
    """Open cubes by their names: ``site-1`` is the cube ``site-1.zarr`` or ``site-1.nc``.

    Parameters
    ----------
    paths
        Cubes as ``sarcast cube`` builds them, NetCDF files of the same variables, or folders of
        such cubes.

    Raises
    ------
    SarcastError
        If a path holds no cube, or two cubes have the same name.
    """
    cubes: dict[str, xr.Dataset] = {}
    for path in itertools.chain.from_iterable(map(_cubes_in, paths)):
        if path.stem in cubes:
            raise SarcastError(f"two cubes have the name {path.stem}; rename one of them")
        cubes[path.stem] = xr.open_dataset(path) if path.suffix == ".nc" else open_cube(path)
    return cubes


def _cubes_in(path: Path) -> list[Path]:
    if _is_cube(path):
        return [path]
    cubes = [inner for inner in sorted(path.glob("*")) if _is_cube(inner)]
    if not cubes:
        raise SarcastError(
            f"{path} is neither a cube nor a folder of cubes; build one with sarcast cube"
        )
    return cubes


def _is_cube(path: Path) -> bool:
    return (path / "zarr.json").is_file() or (path.suffix == ".nc" and path.is_file())


def make_sources(
    stage: Stage, cubes: Mapping[str, xr.Dataset], *, device: str
) -> tuple[Batches, list[Window]]:
    """Give the batches of a stage's sources, and windows for validation that are in none."""
    options = stage.training
    streams: list[tuple[float, Batches]] = [
        (source.weight, world_batches(source, options, device=device)) for source in stage.worlds
    ]
    validation = world_windows(stage.worlds, options, device=device)
    per_series = options.validation_windows // (2 * len(stage.series) or 1) or 1
    for source in stage.series:
        training, later = split_series(source, cubes, options)
        batches = SeriesBatches(
            training,
            batch=options.batch,
            seed=options.seed,
            device=device,
            mirror_levels=source.mirror_levels,
        )
        streams.append((source.weight, batches))
        validation += later.draw(per_series, rng=np.random.default_rng([options.seed, 1]))
    return mixed(streams, seed=options.seed), validation


def make_calibration(
    stage: Stage, cubes: Mapping[str, xr.Dataset], *, device: str
) -> tuple[list[Window], list[list[Window]]]:
    """Draw the windows that measure the deviation of a stage's network; none are in a batch.

    They are of the real series, and of worlds only where a stage has no series: in worlds, which
    vary more than any one area, errors are smaller in relation to the standard deviation.

    Returns
    -------
    windows
        Windows, each of its own baseline.
    baselines
        Groups of windows of one baseline, by several targets.
    """
    options = stage.training
    groups = math.ceil(options.validation_windows / 2)
    if not stage.series:
        windows = world_windows(stage.worlds, options, device=device)
        return windows, world_baselines(stage.worlds, groups, options, device=device)
    windows, baselines = [], []
    for source in stage.series:
        _, later = split_series(source, cubes, options)
        rng = np.random.default_rng([options.seed, 6])
        windows += later.draw(math.ceil(2 * groups / len(stage.series)), rng=rng)
        share = math.ceil(groups / len(stage.series))
        baselines += series_baselines(later, share, seed=options.seed)
    return windows, baselines


def split_series(
    source: SeriesSource, cubes: Mapping[str, xr.Dataset], options: TrainOptions
) -> tuple[WindowSampler, WindowSampler]:
    """Give samplers of a source for training and for validation, of later target dates."""
    training, later = split_by_date(
        named_cubes(cubes, source.cubes),
        size=source.size,
        previous=source.previous,
        share=options.validation_share,
        chooser=source.chooser,
        end=np.datetime64(source.end),
    )
    return training.with_horizon(source.horizon), later.with_horizon(source.horizon)


def named_cubes(cubes: Mapping[str, xr.Dataset], patterns: Sequence[str]) -> list[xr.Dataset]:
    """Load the cubes whose names match one of the patterns, each once."""
    names = {pattern: filter_names(cubes, pattern) for pattern in patterns}
    for pattern, matching in names.items():
        if not matching:
            raise SarcastError(
                f"the recipe asks for the series {pattern!r}, and there are "
                f"{', '.join(sorted(cubes)) or 'none'}; add it, or take it out of the recipe"
            )
    return [cubes[name].load() for name in dict.fromkeys(itertools.chain(*names.values()))]


def world_batches(source: WorldSource, options: TrainOptions, *, device: str) -> Batches:
    """Draw batches of synthetic worlds."""
    worlds = _with_batch(source.worlds, options.batch)
    return synthetic(worlds, seed=options.seed, device=device, at_once=source.at_once)


def world_windows(
    sources: Sequence[WorldSource], options: TrainOptions, *, device: str
) -> list[Window]:
    """Draw validation windows of worlds never used in training, of each source by its weight."""
    total = sum(source.weight for source in sources)
    windows = []
    for source in sources:
        count = max(1, round(options.validation_windows * source.weight / total))
        worlds = _with_batch(source.worlds, count).model_copy(update={"goal_looks": 0})
        batches = synthetic(worlds, seed=options.seed + SEED_STRIDE, device=device)
        windows += to_windows(batches(0, 0).mask_changes())
    return windows


def _with_batch(worlds: StreamOptions, windows: int) -> StreamOptions:
    return worlds.model_copy(update={"batch": windows})
