"""Model folders checked before they are trusted: weights that fit, numbers that are possible."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from torch import Tensor

from sarcast.prediction.networks.base import Network

LARGEST_WEIGHT = 1e4
"""Larger weights overflow within a few layers; those of trained networks stay below 10."""
LARGEST_STATISTIC = 1e12
"""Largest mean or variance of a batch norm."""
LARGEST_NUMBER = 1e9
"""Largest number in the options and the scaling of a network, and in its scores: pixels."""
LONGEST_NAME = 200
"""Longest name of a model, characters."""

Date = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d", max_length=40)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class TrainingRecord(BaseModel):
    """What is read of how a model was trained; other entries pass."""

    model_config = ConfigDict(extra="allow", frozen=True)

    seen_conditions: dict[str, Annotated[list[Finite], Field(min_length=1)]] | None = None
    seen_until: Date | None = None
    training_dates: Annotated[list[Date], Field(min_length=1)] | None = None
    validation_dates: Annotated[list[Date], Field(min_length=1)] | None = None
    cubes: list[str] | None = None
    best_step: int | None = None
    seconds: Finite | None = None
    adapted: "TrainingRecord | None" = None


def check_name(name: object) -> str:
    """Return the name of a model; raise ValueError unless it is a short text on one line."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(f"name (must be a text of up to {LONGEST_NAME} characters on one line)")
    return name


def check_numbers(entries: object, name: str = "") -> None:
    """Raise ValueError if any number in nested lists and dictionaries is not of a possible size."""
    if isinstance(entries, Mapping):
        for key, value in entries.items():
            check_numbers(key, name)
            check_numbers(value, f"{name}.{key}" if name else str(key))
    elif isinstance(entries, list | tuple):
        for value in entries:
            check_numbers(value, name)
    elif isinstance(entries, int | float) and not abs(entries) <= LARGEST_NUMBER:  # NaN as well
        raise ValueError(f"{name} (must be from -{LARGEST_NUMBER:g} to {LARGEST_NUMBER:g})")


# --- weights --------------------------------------------------------------------------------------


def expected_weights(build: Callable[[], Network]) -> dict[str, Tensor]:
    """Make a network and return its weights, with names and shapes but without memory."""
    with torch.device("meta"):
        return build().state_dict()


def check_shapes(expected: Mapping[str, Tensor], path: Path) -> None:
    """Compare the tensors that a file lists with those of a network, before either takes memory.

    Parameters
    ----------
    expected
        Weights of the network.
    path
        File of the weights.

    Raises
    ------
    ValueError
        If names, shapes or kinds of number differ.
    """
    with safe_open(path, "pt") as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        if differing := sorted(expected.keys() ^ found.keys()):
            where = "is missing" if differing[0] in expected else "is not of this network"
            raise ValueError(f"{differing[0]} {where}, as {len(differing) - 1} others")
        for name, tensor in expected.items():
            shape, dtype = found[name].get_shape(), found[name].get_dtype()
            is_real = dtype in ("F64", "F32", "F16", "BF16")
            if list(shape) != list(tensor.shape) or is_real != tensor.is_floating_point():
                raise ValueError(
                    f"{name} has shape {shape} of {dtype}, expected {list(tensor.shape)}"
                )


def check_values(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless all weights are finite and of a possible size."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            _check_range(name, *(float(end) for end in torch.aminmax(tensor.float())))


def _check_range(name: str, low: float, high: float) -> None:
    last = name.rpartition(".")[2]
    least = 0.0 if last == "running_var" else -math.inf
    most = LARGEST_STATISTIC if last.startswith("running_") else LARGEST_WEIGHT
    if not (least <= low and -most <= low <= high <= most):  # NaN as well
        raise ValueError(f"{name} has values from {low:g} to {high:g}, which no training gives")
