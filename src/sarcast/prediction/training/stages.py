"""Training by a recipe: its stages one after another, each from the weights of the one before."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from lightning_fabric import Fabric

from sarcast.errors import SarcastError
from sarcast.prediction.calibration import check_bands
from sarcast.prediction.model import Model
from sarcast.prediction.model_folder import load_model
from sarcast.prediction.networks.temporal import Temporal
from sarcast.prediction.networks.unet import UNet, paper_scaling
from sarcast.prediction.training.batches import Batches
from sarcast.prediction.training.checkpoint import State
from sarcast.prediction.training.fit import check_options, is_first_process, launch
from sarcast.prediction.training.folder import check_model_folder, stage_folder, work_folder
from sarcast.prediction.training.recipe import Recipe, Stage
from sarcast.prediction.training.sources import make_calibration, make_sources, split_series
from sarcast.prediction.training.train import Outcome, TrainingPlan, finish, fit_plan, summary
from sarcast.prediction.training_range import condition_ranges, merge_ranges
from sarcast.windows import Window, to_windows

RANGE_BATCHES = 32
"""Number of batches from which the training range of a stage is computed."""
SCALING_BATCHES = 4
"""Number of batches from which the scaling of the U-Net is computed."""

_log = logging.getLogger(__name__)

Sources = tuple[Batches, list[Window]]
"""Batches and validation windows of a stage."""


@dataclass(frozen=True)
class RecipePlan:
    """The training of a recipe, checked and ready to start.

    Attributes
    ----------
    recipe
        Network, sources and training.
    first_stage
        Number of the first stage of this run, 1 or more.
    cubes
        Cubes of the real series by the names in the recipe.
    start
        Model whose weights the first stage of this run starts from; None for random ones.
    start_name
        Name of its folder.
    fabric
        The devices, which all stages share.
    network
        The network with its initial weights.
    sources
        Sources of the first stage of this run.
    """

    recipe: Recipe
    first_stage: int
    cubes: Mapping[str, xr.Dataset]
    start: Model | None
    start_name: str | None
    fabric: Fabric
    network: Temporal | UNet
    sources: Sources


def plan_recipe(
    recipe: Recipe,
    *,
    cubes: Mapping[str, xr.Dataset] | None = None,
    start: Path | None = None,
    first_stage: int = 1,
) -> RecipePlan:
    """Plan the training of a recipe, of which all stages are checked; its devices are started.

    Parameters
    ----------
    recipe
        Network, sources and training.
    cubes
        Cubes of the real series by the names in the recipe, as ``open_cubes`` gives them.
    start
        Model folder of the same network whose weights training starts from; None for random ones.
    first_stage
        Number of the stage to begin with, 1 or more; one above 1 needs ``start``.

    Raises
    ------
    SarcastError
        If a series is missing, has too few target dates or no window with data, an option does not
        apply to the network, ``start`` holds another network, or there is no such stage.
    """
    cubes = cubes or {}
    stages = _stages_from(recipe, first_stage, start)
    fabric = launch(stages[0].training)
    _check_series(stages[1:], cubes)
    sources = make_sources(stages[0], cubes, device=fabric.device.type)
    check_bands(sources[1])
    network = _network(recipe, stages[0].training.seed, sources[0])
    for stage in stages:
        check_options(network, stage.training)
    return RecipePlan(
        recipe=recipe,
        first_stage=first_stage,
        cubes=cubes,
        start=None if start is None else _load_start(network, start),
        start_name=None if start is None else start.name,
        fabric=fabric,
        network=network,
        sources=sources,
    )


def train_recipe(plan: RecipePlan, *, to: Path, overwrite: bool = False) -> Model:
    """Train a network by the stages of a recipe, and write its model folder.

    A training that was stopped there resumes: complete stages give their weights again, and the one
    that was stopped continues from its last checkpoint.

    Parameters
    ----------
    plan
        What is trained.
    to
        The model folder; checkpoints and TensorBoard logs are kept in its ``training``, those of
        stage N of several in ``training/stage-N``.
    overwrite
        Replace a model, at the end.

    Returns
    -------
    Model
        The network after the last stage, calibrated and scored on that stage's validation windows.

    Raises
    ------
    SarcastError
        As in ``train``.
    """
    if is_first_process():
        check_model_folder(to, overwrite=overwrite)
    stage = _StageRun(plan, plan.first_stage, plan.network, plan.sources)
    while True:
        training, last = stage.training(), len(plan.recipe.sequence)
        if last > 1:
            _log.info(f"stage {stage.number} of {last}")
        state = fit_plan(training, stage.folder(to))
        if stage.number == last:
            return finish(training, state, to)
        stage = stage.following(state)


@dataclass(frozen=True)
class _StageRun:
    """One stage of a run.

    Attributes
    ----------
    plan
        The run.
    number
        Number of the stage, 1 or more.
    network
        The network with the weights that the stage starts from.
    sources
        Its sources.
    done
        Records of the earlier stages of the run.
    """

    plan: RecipePlan
    number: int
    network: Temporal | UNet
    sources: Sources
    done: Sequence[Mapping[str, Any]] = ()

    @property
    def stage(self) -> Stage:
        """The stage in the recipe."""
        return self.plan.recipe.sequence[self.number - 1]

    @property
    def device(self) -> str:
        """Device of its windows."""
        return str(self.plan.fabric.device.type)

    def folder(self, to: Path) -> Path:
        """Folder of its checkpoints and logs; ``to`` is the model folder."""
        return stage_folder(to, self.number) if self.plan.recipe.stages else work_folder(to)

    def training(self) -> TrainingPlan:
        """Plan its training."""
        recipe, (batches, validation) = self.plan.recipe, self.sources
        first = self.number == self.plan.first_stage
        return TrainingPlan(
            network=self.network,
            name=recipe.name,
            batches=batches,
            validation=validation,
            options=self.stage.training,
            record=self.record,
            half=recipe.half,
            fabric=self.plan.fabric,
            about={
                "sources": self.stage.model_dump(mode="json", include={"worlds", "series"}),
                "start": self.plan.start_name if first else f"stage {self.number - 1}",
            },
            calibration=partial(make_calibration, self.stage, self.plan.cubes, device=self.device),
        )

    def following(self, state: State) -> "_StageRun":
        """Start the next stage from the weights of this one, which has ended in ``state``."""
        stage = self.plan.recipe.sequence[self.number]
        sources = make_sources(stage, self.plan.cubes, device=self.device)
        # copied: with several devices, the parameters of this stage stay tied to its gradients
        network = deepcopy(self.network)
        return _StageRun(self.plan, self.number + 1, network, sources, self.records(state))

    def records(self, state: State) -> list[Mapping[str, Any]]:
        """What ``model.yaml`` stores of the stages up to this one."""
        batches, _ = self.sources
        own = {
            "stage": self.number,
            **summary(state),
            "history": state.history,
            "seen_conditions": condition_ranges(batches(step, 0) for step in range(RANGE_BATCHES)),
        }
        return [*self.done, own]

    def record(self, outcome: Outcome) -> dict[str, Any]:
        """Give ``training`` of ``model.yaml``: that of this stage, and what was before it."""
        *earlier, own = self.records(outcome.state)
        start = self.plan.start
        ranges = {} if start is None else start.training.get("seen_conditions") or {}
        for stage in (*earlier, own):
            ranges = merge_ranges(ranges, stage["seen_conditions"])
        return {
            "recipe": _described(self.plan.recipe),
            "start": self.plan.start_name,
            **own,
            "earlier_stages": earlier,
            "seen_conditions": ranges,
        }


def _stages_from(recipe: Recipe, first_stage: int, start: Path | None) -> Sequence[Stage]:
    """Give the stages of a recipe from a number on."""
    stages = recipe.sequence
    if not 1 <= first_stage <= len(stages):
        raise SarcastError(
            f"the recipe {recipe.name} has the stages 1 to {len(stages)}, not a stage "
            f"{first_stage}; begin with one of them"
        )
    if first_stage > 1 and start is None:
        raise SarcastError(
            f"stage {first_stage} needs the weights of the stage before it; give its model by "
            f"--from, or begin with stage 1"
        )
    return stages[first_stage - 1 :]


def _check_series(stages: Sequence[Stage], cubes: Mapping[str, xr.Dataset]) -> None:
    """Check that the series of stages have target dates, before an earlier stage is trained."""
    checked = set()
    for stage in stages:
        for source in stage.series:
            same = source.model_copy(update={"weight": 1.0}), stage.training.validation_share
            if same not in checked:
                split_series(source, cubes, stage.training)
            checked.add(same)


def _described(recipe: Recipe) -> dict[str, Any]:
    """Describe the stages of a recipe, or its only one."""
    parts = {"stages"} if recipe.stages else {"training", "worlds", "series"}
    return recipe.model_dump(mode="json", include={*parts, "half"})


def _network(recipe: Recipe, seed: int, batches: Batches) -> Temporal | UNet:
    torch.manual_seed(seed)
    network = Temporal(recipe.network)
    if recipe.unet is None:
        return network
    # after the random weights above, by which seeds stay the same
    drawn = [batches(step, 0).mask_changes() for step in range(SCALING_BATCHES)]
    examples = list(itertools.chain.from_iterable(map(to_windows, drawn)))
    return UNet(recipe.unet, paper_scaling(examples))


def _load_start(network: Temporal | UNet, folder: Path) -> Model:
    """Give a network the weights of a model folder, which must hold the same network."""
    model = load_model(folder, device="cpu", precision="float32")
    start = model.network
    if (start.kind, start.options) != (network.kind, network.options):
        raise SarcastError(
            f"{folder} holds a network {start.kind} with {start.options}, but the recipe asks for "
            f"{network.kind} with {network.options}; start from a model of the recipe's network"
        )
    network.load_state_dict(start.state_dict())
    return model
