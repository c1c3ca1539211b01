"""Recipes: all that makes a model, read from one YAML file."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sarcast.errors import SarcastError
from sarcast.io.documents import MalformedError, read_yaml
from sarcast.prediction.networks.temporal import TemporalOptions
from sarcast.prediction.networks.unet import UNetOptions
from sarcast.prediction.training.options import TrainOptions
from sarcast.windows import Chooser
from sarcast.world.options import StreamOptions


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


class Stage(BaseModel):
    """One training run of a recipe: sources of windows, and how the network is trained on them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: TrainOptions = Field(default_factory=TrainOptions)
    worlds: tuple[WorldSource, ...] = ()
    series: tuple[SeriesSource, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.check_sources()
        return self

    def check_sources(self) -> None:
        """Raise ValueError unless there are sources that the training can use."""
        if not self.worlds and not self.series:
            raise ValueError("a recipe needs windows to train on: give worlds or series")
        counterfactual = any(source.worlds.counterfactual for source in self.worlds)
        if bool(self.training.contrast) != counterfactual:
            raise ValueError(
                "contrast and worlds with counterfactual need each other: give both, or neither"
            )


class Recipe(Stage):
    """All that makes a model: a network, and one or several training stages, one after another.

    A recipe of one stage has ``training``, ``worlds`` and ``series`` itself; of several, each of
    its ``stages`` has them. The U-Net takes windows of one size and one number of previous images,
    so all sources must have its own.
    """

    name: str = Field(description="Name of the model in tables.")
    network: TemporalOptions = Field(default_factory=TemporalOptions)
    unet: UNetOptions | None = Field(None, description="Train the paper's U-Net instead.")
    stages: tuple[Stage, ...] = Field(
        (), description="Stages, each of which starts from the weights of the one before."
    )
    half: bool = Field(True, description="Store the weights in half precision.")

    @property
    def sequence(self) -> tuple[Stage, ...]:
        """The stages in their order; of a recipe of one stage, the recipe itself."""
        return self.stages or (self,)

    def check_sources(self) -> None:
        """Raise ValueError unless there are sources, in each stage if there are several."""
        if not self.stages:
            super().check_sources()
            return
        if self.worlds or self.series or self.training != TrainOptions():
            raise ValueError(
                "a recipe with stages has training, worlds and series in each of them, not beside "
                "them; move them into a stage"
            )
        devices = {(stage.training.accelerator, stage.training.devices) for stage in self.stages}
        if len(devices) > 1:
            raise ValueError(
                "all stages need the same accelerator and devices, which are started once for all"
            )


def read_recipe(path: Path, changes: TrainOptions | None = None) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    path
        A YAML file.
    changes
        Options whose set fields replace those of the recipe's training, in every stage.

    Raises
    ------
    SarcastError
        If the file cannot be read or is not a recipe.
    """
    try:
        recipe = Recipe.model_validate(read_yaml(path))
        return recipe if changes is None else _changed(recipe, changes)
    except OSError as error:
        raise SarcastError(f"the recipe {path} cannot be read: {error.strerror}") from error
    except MalformedError as error:
        raise SarcastError(f"{path} is not valid YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise SarcastError(f"{path} is not a recipe: {f'{key}: ' * bool(key)}{reason}") from error


def _changed(recipe: Recipe, changes: TrainOptions) -> Recipe:
    content = recipe.model_dump()
    for stage in content["stages"] or [content]:
        stage["training"] = _replaced(stage["training"], changes)
    return Recipe.model_validate(content)


def _replaced(training: dict[str, Any], changes: TrainOptions) -> dict[str, Any]:
    changed = changes.model_dump(exclude_unset=True)
    if training["augment"] and changed.get("augment"):
        changed["augment"] = {**training["augment"], **changed["augment"]}
    return {**training, **changed}
