"""Recipes: networks trained on synthetic worlds and real series, from one YAML file to a model."""

import itertools
from collections.abc import Mapping, Sequence
from fnmatch import filter as filter_names
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sarcast.cube import open_cube
from sarcast.errors import SarcastError
from sarcast.prediction.model import load_model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.networks.unet import UNet, UNetOptions, paper_scaling
from sarcast.prediction.training.batches import Batches, mixed
from sarcast.prediction.training.checkpoint import State
from sarcast.prediction.training.fit import launch
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.series import SeriesBatches
from sarcast.prediction.training.train import TrainingPlan, summary
from sarcast.prediction.training.trainer import SEED_STRIDE
from sarcast.prediction.training_range import condition_ranges
from sarcast.windows import Chooser, Window, WindowSampler, split_by_date, to_windows
from sarcast.windows.synthetic import synthetic
from sarcast.world.options import StreamOptions

RANGE_BATCHES = 32
"""Number of batches from which the training range is computed."""
SCALING_BATCHES = 4
"""Number of batches from which the scaling of the U-Net is computed."""


class WorldSource(BaseModel):
    """Windows of synthetic worlds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(gt=0.0, description="Weight of this source in the draw of each batch.")
    worlds: StreamOptions = Field(description="Which windows; their number is the training batch.")
    at_once: int = Field(1, ge=1, le=64, description="Number of batches that are drawn together.")


class SeriesSource(BaseModel):
    """Windows of cubes of real series."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(gt=0.0, description="Weight of this source in the draw of each batch.")
    cubes: tuple[str, ...] = Field(
        min_length=1, description="Names of the cubes, or patterns such as site-*."
    )
    size: int = Field(64, ge=1, le=1024, description="Rows and columns of a window, pixels.")
    previous: int = Field(8, ge=1, le=24, description="Number of previous images.")
    horizon: int = Field(
        0,
        ge=0,
        le=12,
        description="Greatest number of acquisitions between the last previous image and the "
        "target; each window draws its own.",
    )
    chooser: Chooser = Field("nearest", description="Previous images of half the windows.")
    mirror_levels: bool = Field(
        False, description="Mirror the level of half of the targets: for series of few dates."
    )
    end: str = Field(description="Last acquisition time of a target, ISO 8601, UTC.")


class Recipe(BaseModel):
    """All that makes a model: sources of windows, network, training.

    The U-Net takes windows of one size and one number of previous images, so all sources must have
    its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name of the model in tables.")
    network: TemporalOptions = Field(default_factory=TemporalOptions)
    unet: UNetOptions | None = Field(None, description="Train the paper's U-Net instead.")
    training: TrainOptions = Field(default_factory=TrainOptions)
    worlds: tuple[WorldSource, ...] = ()
    series: tuple[SeriesSource, ...] = ()
    half: bool = Field(True, description="Store the weights in half precision.")

    @model_validator(mode="after")
    def _check_sources(self) -> "Recipe":
        if not self.worlds and not self.series:
            raise ValueError("a recipe needs windows to train on: give worlds or series")
        counterfactual = any(source.worlds.counterfactual for source in self.worlds)
        if bool(self.training.contrast) != counterfactual:
            raise ValueError(
                "contrast and worlds with counterfactual need each other: give both, or neither"
            )
        return self


def read_recipe(path: Path, changes: TrainOptions | None = None) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    path
        A YAML file.
    changes
        Options whose set fields replace those of the recipe's training.

    Raises
    ------
    SarcastError
        If the file cannot be read or is not a recipe.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        recipe = Recipe.model_validate(content)
        return recipe if changes is None else _changed(recipe, changes)
    except OSError as error:
        raise SarcastError(f"the recipe {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SarcastError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise SarcastError(f"{path} is not a recipe: {f'{key}: ' * bool(key)}{reason}") from error


def _changed(recipe: Recipe, changes: TrainOptions) -> Recipe:
    changed = changes.model_dump(exclude_unset=True)
    training = recipe.training.model_dump()
    if training["augment"] and changed.get("augment"):
        changed["augment"] = {**training["augment"], **changed["augment"]}
    return Recipe.model_validate({**recipe.model_dump(), "training": {**training, **changed}})


def plan_recipe(
    recipe: Recipe, *, cubes: Mapping[str, xr.Dataset] | None = None, start: Path | None = None
) -> TrainingPlan:
    """Plan the training of a recipe; its devices are started.

    Parameters
    ----------
    recipe
        Sources, network and training.
    cubes
        Cubes of the real series by the names in the recipe, as ``open_cubes`` gives them.
    start
        Model folder of the same network whose weights training starts from; None for random ones.

    Raises
    ------
    SarcastError
        If a series is missing, has too few target dates or no window with data, or ``start`` holds
        another network.
    """
    fabric = launch(recipe.training)
    batches, validation = make_sources(recipe, cubes or {}, device=fabric.device.type)
    network = _network(recipe, batches, start)
    ranges = condition_ranges(batches(step, 0) for step in range(RANGE_BATCHES))
    start_name = None if start is None else start.name

    def training_record(state: State) -> dict[str, Any]:
        return {
            "recipe": recipe.model_dump(mode="json", exclude={"name", "network", "unet"}),
            "start": start_name,
            **summary(state),
            "history": state.history,
            "seen_conditions": ranges,
        }

    sources = recipe.model_dump(mode="json", include={"worlds", "series"})
    return TrainingPlan(
        network=network,
        name=recipe.name,
        batches=batches,
        validation=validation,
        options=recipe.training,
        record=training_record,
        half=recipe.half,
        fabric=fabric,
        about={"sources": sources, "start": start_name},
    )


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
    recipe: Recipe, cubes: Mapping[str, xr.Dataset], *, device: str
) -> tuple[Batches, list[Window]]:
    """Give the batches of a recipe's sources, and windows for validation that are in none."""
    options = recipe.training
    streams: list[tuple[float, Batches]] = [
        (source.weight, world_batches(source, options, device=device)) for source in recipe.worlds
    ]
    validation = world_windows(recipe.worlds, options, device=device)
    per_series = options.validation_windows // (2 * len(recipe.series) or 1) or 1
    for source in recipe.series:
        training, later = _split_series(source, cubes, options)
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


def _split_series(
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


def _network(recipe: Recipe, batches: Batches, start: Path | None) -> Temporal | UNet:
    torch.manual_seed(recipe.training.seed)
    network: Temporal | UNet = Temporal(recipe.network)
    if recipe.unet is not None:  # after the random weights above, by which seeds stay the same
        drawn = [batches(step, 0).mask_changes() for step in range(SCALING_BATCHES)]
        examples = list(itertools.chain.from_iterable(map(to_windows, drawn)))
        network = UNet(recipe.unet, paper_scaling(examples))
    if start is not None:
        _load_start(network, start)
    return network


def _load_start(network: Temporal | UNet, folder: Path) -> None:
    """Give a network the weights of a model folder, which must hold the same network."""
    start = load_model(folder, device="cpu").network
    if (start.kind, start.options) != (network.kind, network.options):
        raise SarcastError(
            f"{folder} holds a network {start.kind} with {start.options}, but the recipe asks for "
            f"{network.kind} with {network.options}; start from a model of the recipe's network"
        )
    network.load_state_dict(start.state_dict())


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
