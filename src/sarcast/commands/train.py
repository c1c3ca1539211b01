"""``sarcast train``: a network trained on cubes, adapted to them, or trained from a recipe."""

import logging
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, create_model, model_validator

from sarcast.commands.config import FLAT, non_default_flags
from sarcast.commands.training_options import (
    CubeTrainingConfig,
    ModelFolderConfig,
    TrainingConfig,
    model_folder_locked,
    prepare_folder,
    train_on_cubes,
)
from sarcast.errors import UsageError
from sarcast.prediction.model import Model
from sarcast.prediction.training.fit import is_first_process
from sarcast.prediction.training.folder import check_model_folder
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.recipe import read_recipe
from sarcast.prediction.training.sources import open_cubes
from sarcast.prediction.training.stages import plan_recipe, train_recipe

_log = logging.getLogger(__name__)

RECIPE = (
    "Train from a recipe, a YAML file with sources of windows, network and training, such as those "
    "in recipes/. Training flags override it, in every stage of a recipe with several."
)
FIRST_STAGE = (
    "Number of the stage of the recipe to begin with; a later one than the first starts from the "
    "model of the stage before it, --from. Default: 1."
)


class TrainConfig(CubeTrainingConfig):
    """Options of ``sarcast train``."""

    recipe: Path | None = Field(None, description=RECIPE)
    first_stage: int | None = Field(None, ge=1, description=FIRST_STAGE)

    @model_validator(mode="after")
    def _check_first_stage(self) -> Self:
        if self.first_stage is not None and self.recipe is None:
            raise ValueError("--first-stage needs --recipe, a recipe with several stages")
        return self


class RecipeConfig(ModelFolderConfig):
    """Options of ``sarcast train`` that apply to a recipe.

    Of a recipe with several stages, ``training`` has only what was given: the stages differ.
    """

    recipe: Path = Field(description=RECIPE)
    first_stage: int | None = Field(None, ge=1, description=FIRST_STAGE)
    training: Annotated[BaseModel, FLAT]


def train(cubes: tuple[Path, ...] = (), *, config: Annotated[TrainConfig, FLAT]) -> None:
    """Train an expected-image network on cubes, adapt a trained one, or train from a recipe.

    Parameters
    ----------
    cubes
        Cubes, as ``sarcast cube`` builds them, or one folder of imported samples. With --recipe:
        cubes by the names in the recipe, NAME.zarr or NAME.nc, or folders of these.
    """
    if config.recipe is not None:
        model = train_by_recipe(cubes, config)
    elif cubes:
        model = train_on_cubes(cubes, config)
    else:
        raise UsageError("train needs a cube, or a recipe by --recipe")
    if is_first_process():
        assert model.scores is not None
        residuals = ", ".join(f"{rmse:.2f}" for rmse in model.scores.rmse_db)
        _log.info(
            f"model: {config.to} (residuals {residuals} dB, {model.scores.of_mean:.3f} of the "
            f"mean's)"
        )


def train_by_recipe(cubes: tuple[Path, ...], config: TrainConfig) -> Model:
    """Train from a recipe and write the model folder.

    Parameters
    ----------
    cubes
        Cubes of the real series, or folders of them.
    config
        The options; training options that are set override the recipe's.

    Raises
    ------
    SarcastError
        If the recipe or a cube cannot be read, or as in ``plan_recipe`` and ``train_recipe``.
    """
    assert config.recipe is not None
    of_cubes = CubeTrainingConfig.model_fields.keys() - TrainingConfig.model_fields.keys()
    if flags := non_default_flags(config, {*of_cubes, "previous", "chooser"}):
        _log.warning(f"without effect on a recipe: {', '.join(flags)}")
    recipe = read_recipe(config.recipe, config.training)
    options = RecipeConfig(
        to=config.to,
        start_from=config.start_from,
        training=_recorded(config.training) if recipe.stages else recipe.training,
        overwrite=config.overwrite,
        recipe=config.recipe,
        first_stage=config.first_stage,
    )
    with model_folder_locked(config.to):
        if is_first_process():
            check_model_folder(config.to, overwrite=config.overwrite, inputs=cubes)
        plan = plan_recipe(
            recipe,
            cubes=open_cubes(cubes),
            start=config.start_from,
            first_stage=config.first_stage or 1,
        )
        prepare_folder("train", {"cubes": list(cubes)}, options)
        return train_recipe(plan, to=config.to, overwrite=config.overwrite)


def _recorded(training: TrainOptions) -> BaseModel:
    """Give a model of the training options that were given, and no others."""
    given = training.model_dump(mode="json", exclude_unset=True)
    fields: dict[str, Any] = {name: (Any, TrainOptions.model_fields[name]) for name in given}
    model: type[BaseModel] = create_model("GivenOptions", **fields)
    return model.model_validate(given)
