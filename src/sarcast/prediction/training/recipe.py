"""From a recipe to a model folder: worlds, real series, one network and its scores."""

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import filter as filter_names
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from sarcast.errors import SarcastError
from sarcast.io.files import check_target, new_folder
from sarcast.prediction.calibration import calibrated, residual_scores
from sarcast.prediction.model import Model, load_model, write_model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.networks.unet import UNet, UNetOptions, paper_scaling
from sarcast.prediction.training.batches import Batches, mixed
from sarcast.prediction.training.fit import fit, is_first_process, launch
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.series import SeriesBatches
from sarcast.prediction.training.trainer import SEED_STRIDE
from sarcast.prediction.training_range import condition_ranges
from sarcast.windows import Chooser, Window, split_by_date, to_windows
from sarcast.windows.synthetic import synthetic
from sarcast.world.options import StreamOptions

BATCHES_LOOKED_AT = 32
"""Batches from which the range of the conditions that were seen is found."""


class WorldSource(BaseModel):
    """Windows of synthetic worlds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(gt=0.0, description="share of the batches, beside the other lessons")
    worlds: StreamOptions = Field(description="what windows; their batch is the training's")
    at_once: int = Field(1, ge=1, le=64, description="batches that are drawn together")


class SeriesSource(BaseModel):
    """Windows of cubes of real series."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(gt=0.0, description="share of the batches, beside the other lessons")
    cubes: tuple[str, ...] = Field(
        min_length=1, description="names of the cubes in the folder, or patterns such as site-*"
    )
    size: int = Field(64, ge=1, le=1024, description="rows and columns of a window, pixels")
    previous: int = Field(8, ge=1, le=16, description="previous images of a window")
    chooser: Chooser = Field("nearest", description="which previous images half of the windows see")
    mirror_levels: bool = Field(
        False, description="mirror the level of half of the targets: for series of few dates"
    )
    end: str = Field(description="last acquisition time that may be a target, ISO 8601, UTC")


class Recipe(BaseModel):
    """All that makes a model: lessons, network, training.

    The paper's U-Net takes windows of one size and one number of previous images: those of its
    lessons must be its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="what tables call the model")
    network: TemporalOptions = Field(default_factory=TemporalOptions)
    unet: UNetOptions | None = Field(None, description="train the paper's U-Net instead")
    training: TrainOptions = Field(default_factory=TrainOptions)
    worlds: tuple[WorldSource, ...] = ()
    series: tuple[SeriesSource, ...] = ()
    half: bool = Field(True, description="keep the weights in half precision")

    @model_validator(mode="after")
    def _has_lessons_that_serve(self) -> "Recipe":
        if not self.worlds and not self.series:
            raise ValueError("a recipe needs a lesson, in worlds or in series")
        if bool(self.training.contrast) != any(one.worlds.counterfactual for one in self.worlds):
            raise ValueError(
                "contrast and worlds with counterfactual need each other: give both, or neither"
            )
        return self


def school(
    recipe: Recipe,
    *,
    to: Path,
    cubes: dict[str, xr.Dataset] | None = None,
    start: Path | None = None,
    overwrite: bool = False,
) -> Model:
    """Train a network by a recipe and write its model folder.

    Training that was stopped goes on from its last checkpoint, kept beside the model folder until
    that is written.

    Parameters
    ----------
    recipe
        Lessons, network and training.
    to
        The model folder; TensorBoard logs are kept in its ``logs``.
    cubes
        Cubes of the real series, by the names in the recipe.
    start
        Model folder of the same network, whose weights training starts from.
    overwrite
        Replace a model folder that is there.

    Raises
    ------
    SarcastError
        If a series has too few target dates or no valid window, the folder may not be replaced, or
        ``start`` is another network.
    """
    check_target(to, overwrite=overwrite)
    options = recipe.training
    fabric = launch(options)
    batches, validation = _lessons(recipe, cubes or {}, device=fabric.device.type)
    work = to.with_name(f"{to.name}.training")
    network = _network(recipe, batches, start)
    about = {
        "lessons": recipe.model_dump(mode="json", include={"worlds", "series"}),
        "start": None if start is None else start.name,
    }
    state = fit(batches, validation, network, options, folder=work, fabric=fabric, about=about)
    told = {
        "recipe": recipe.model_dump(mode="json", exclude={"name", "network", "unet"}),
        "start": about["start"],
        "steps": state.step,
        "best_step": state.best_step,
        "seconds": round(state.seconds, 1),
        "history": state.history,
    }
    model = calibrated(Model(network.eval(), recipe.name, told), validation)
    seen = condition_ranges(batches(step, 0) for step in range(BATCHES_LOOKED_AT))
    model = replace(
        model,
        scores=residual_scores(model, validation),
        training={**told, "seen_conditions": seen},
    )
    if not is_first_process():
        return model
    with new_folder(to, overwrite=overwrite) as partial:
        write_model(model, partial, half=recipe.half)
        shutil.copytree(work / "logs", partial / "logs")
    shutil.rmtree(work)
    return model


def _lessons(
    recipe: Recipe, cubes: dict[str, xr.Dataset], *, device: str
) -> tuple[Batches, list[Window]]:
    """Give the batches of a recipe's lessons, and windows for validation that are in none."""
    options = recipe.training
    lessons = [
        (lesson.weight, world_batches(lesson, options, device=device)) for lesson in recipe.worlds
    ]
    validation = world_windows(recipe.worlds, options, device=device)
    for lesson in recipe.series:
        training, held = split_by_date(
            _named(cubes, lesson.cubes),
            size=lesson.size,
            previous=lesson.previous,
            share=options.validation_share,
            chooser=lesson.chooser,
            end=np.datetime64(lesson.end),
        )
        series = SeriesBatches(
            training,
            batch=options.batch,
            seed=options.seed,
            device=device,
            mirror_levels=lesson.mirror_levels,
        )
        lessons.append((lesson.weight, series))
        validation += held.draw(
            options.validation_windows // (2 * len(recipe.series)) or 1,
            rng=np.random.default_rng([options.seed, 1]),
        )
    return mixed(lessons, seed=options.seed), validation


def _named(cubes: dict[str, xr.Dataset], patterns: Sequence[str]) -> list[xr.Dataset]:
    """Give the cubes that one of the patterns names, each once."""
    names = {pattern: filter_names(cubes, pattern) for pattern in patterns}
    for pattern, found in names.items():
        if not found:
            raise SarcastError(
                f"the recipe asks for the series {pattern!r}, and there are "
                f"{', '.join(sorted(cubes)) or 'none'}; add it, or take it out of the recipe"
            )
    return [cubes[name] for name in dict.fromkeys(itertools.chain(*names.values()))]


def _network(recipe: Recipe, batches: Batches, start: Path | None) -> Temporal | UNet:
    torch.manual_seed(recipe.training.seed)
    network: Temporal | UNet = Temporal(recipe.network)
    if recipe.unet is not None:
        looked_at = [
            window for step in range(4) for window in to_windows(batches(step, 0).mask_changes())
        ]
        network = UNet(recipe.unet, paper_scaling(looked_at))
    if start is not None:
        network.load_state_dict(_weights_of(start, network))
    return network


def _weights_of(start: Path, network: Temporal | UNet) -> dict[str, Tensor]:
    """Weights of a model folder, of the same network."""
    found = load_model(start, device="cpu").network
    if (found.kind, found.options) != (network.kind, network.options):
        raise SarcastError(
            f"{start} holds a network {found.kind} with {found.options}, but the recipe asks for "
            f"{network.kind} with {network.options}; start from a model of the recipe's network"
        )
    return found.state_dict()


def world_batches(lesson: WorldSource, options: TrainOptions, *, device: str) -> Batches:
    """Draw the batches of a stream of synthetic worlds."""
    worlds = _in_batches(lesson.worlds, options.batch)
    return synthetic(worlds, seed=options.seed, device=device, at_once=lesson.at_once)


def world_windows(
    lessons: Sequence[WorldSource], options: TrainOptions, *, device: str
) -> list[Window]:
    """Draw validation windows of worlds that no training sees, of each lesson its share."""
    total = sum(lesson.weight for lesson in lessons)
    windows = []
    for lesson in lessons:
        count = max(1, round(options.validation_windows * lesson.weight / total))
        worlds = _in_batches(lesson.worlds, count).model_copy(update={"goal_looks": 0})
        batches = synthetic(worlds, seed=options.seed + SEED_STRIDE, device=device)
        windows += to_windows(batches(0, 0).mask_changes())
    return windows


def _in_batches(worlds: StreamOptions, windows: int) -> StreamOptions:
    return worlds.model_copy(update={"batch": windows})
