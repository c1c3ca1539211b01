"""Options of a training run."""

from typing import Annotated, Literal

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field

from sarcast.prediction.training.augment import AugmentOptions

EVERYDAY = Parameter(group="Parameters")
"""Lists a flag among the everyday ones in ``--help``."""
AUGMENTATION = Parameter(group=Group("Augmentation", sort_key=2))


class TrainOptions(BaseModel):
    """How a network is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(10_000, ge=1, description="Number of optimiser steps.")
    minutes: Annotated[float | None, EVERYDAY] = Field(
        None, gt=0.0, description="Stop training after this many minutes, even if steps remain."
    )
    batch: int = Field(16, ge=2, le=4096, description="Windows per step and device.")
    accumulate: int = Field(
        1, ge=1, le=256, description="Number of parts that a batch is split into, to save memory."
    )
    learning_rate: float = Field(1e-4, gt=0.0, le=1.0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0.0, le=1.0, description="Weight decay of AdamW.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Learning rate over time: constant, or falling to 0 as a cosine."
    )
    warmup: int = Field(0, ge=0, description="Steps over which the learning rate rises from 0.")
    clip: float | None = Field(None, gt=0.0, description="Largest norm of the gradients.")
    average: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Decay of the exponential moving average of the weights; 0: no average.",
    )
    oracle: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Weight of the true expected image of a synthetic world in the target, beside "
        "the speckled image; falls to 0 during training.",
    )
    contrast: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        description="Weight of the error of the difference between two sets of conditions; for "
        "recipes with counterfactual worlds.",
    )
    augment: Annotated[AugmentOptions | None, AUGMENTATION] = Field(
        None,
        description="Augmentation of the batches; for networks that take any number of images.",
    )
    compiled: bool = Field(
        False, description="Compile the network for the device, which takes about a minute."
    )
    precision: Literal["32-true", "bf16-mixed"] = Field(
        "32-true", description="Number format of the computation."
    )
    accelerator: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to compute.")
    devices: int = Field(1, ge=1, description="Number of GPUs, or of processes on a CPU.")
    validation_share: float = Field(
        0.2,
        gt=0.0,
        lt=1.0,
        description="Share of the training dates used for validation: the last ones.",
    )
    validation_windows: int = Field(64, ge=1, description="Number of windows for validation.")
    validate_every: int = Field(500, ge=1, description="Steps between validations and checkpoints.")
    patience: int | None = Field(
        None, ge=1, description="Stop after this many validations without a lower error."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of weights, windows and dropout.")
