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

    steps: int = Field(10_000, ge=1, description="number of optimiser steps")
    minutes: Annotated[float | None, EVERYDAY] = Field(
        None, gt=0.0, description="Stop training after this many minutes, even if steps remain."
    )
    batch: int = Field(16, ge=2, le=4096, description="windows per step and device")
    accumulate: int = Field(
        1, ge=1, le=256, description="number of parts in which a batch is processed, to save memory"
    )
    learning_rate: float = Field(1e-4, gt=0.0, le=1.0, description="highest learning rate of AdamW")
    weight_decay: float = Field(0.0, ge=0.0, le=1.0, description="weight decay of AdamW")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning rate over time: constant, or falling to 0 as a cosine"
    )
    warmup: int = Field(0, ge=0, description="steps over which the learning rate rises from 0")
    clip: float | None = Field(None, gt=0.0, description="largest norm of the gradients")
    average: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="decay of the exponential moving average of the weights; 0: no average",
    )
    oracle: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="weight of the true expected image of a synthetic world in the target, beside "
        "the speckled image; falls to 0 during training",
    )
    contrast: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        description="weight of the error of the difference between two sets of conditions; for "
        "recipes with counterfactual worlds",
    )
    augment: Annotated[AugmentOptions | None, AUGMENTATION] = Field(
        None,
        description="augmentation of the batches; only for networks that take any number of images",
    )
    compiled: bool = Field(
        False, description="compile the network for the device, which takes about a minute"
    )
    precision: Literal["32-true", "bf16-mixed"] = Field(
        "32-true", description="number format of the computation"
    )
    accelerator: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to compute")
    devices: int = Field(1, ge=1, description="number of GPUs, or of processes on a CPU")
    validation_share: float = Field(
        0.2,
        gt=0.0,
        lt=1.0,
        description="share of the training dates used for validation: the last ones",
    )
    validation_windows: int = Field(64, ge=1, description="number of windows for validation")
    validate_every: int = Field(500, ge=1, description="steps between validations and checkpoints")
    patience: int | None = Field(
        None, ge=1, description="stop after this many validations without a lower error"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of weights, windows and dropout")
