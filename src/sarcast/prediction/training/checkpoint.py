"""Checkpoints of a training run: written atomically, and read without running code from them."""

import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sarcast.errors import SarcastError
from sarcast.io.files import new_folder

FORMAT = 1
"""Version of a checkpoint's files."""

Tensors = dict[str, Tensor]


@dataclass
class State:
    """Progress of a training run.

    Attributes
    ----------
    step
        Number of steps done.
    seconds
        Time that they took, over all runs.
    best_step, best_error_db2
        Step with the lowest mean squared error on the validation windows, and that error in dB².
    history
        One record per validation: ``step``, ``training_loss``, ``validation_loss``, ``rmse_db``.
    """

    step: int = 0
    seconds: float = 0.0
    best_step: int = 0
    best_error_db2: float = math.inf
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def validations_without_gain(self) -> int:
        """Number of validations since the best one."""
        return sum(record["step"] > self.best_step for record in self.history)


@dataclass
class Checkpoint:
    """All that a training run needs to resume as if it had not stopped.

    Attributes
    ----------
    state
        How far it has come.
    parts
        Tensors by part: ``network``, ``best``, ``optimiser`` and, if weights are averaged,
        ``average``.
    """

    state: State
    parts: dict[str, Tensors]

    def write(self, folder: Path, described: dict[str, Any]) -> None:
        """Write the checkpoint as ``folder/step-N``, then remove the earlier ones.

        Parameters
        ----------
        folder
            Folder of the checkpoints.
        described
            What a training must have in common with this one to resume from here.
        """
        target = folder / f"step-{self.state.step:08d}"
        with new_folder(target, overwrite=True) as partial:
            for name, tensors in self.parts.items():
                save_file(tensors, partial / f"{name}.safetensors")
            record = {"format": FORMAT, "described": described, "state": vars(self.state)}
            (partial / "state.json").write_text(json.dumps(record))
        for earlier in folder.glob("step-*"):
            if earlier.name != target.name:
                shutil.rmtree(earlier)


def read_latest(folder: Path, described: dict[str, Any]) -> Checkpoint | None:
    """Read the latest checkpoint of a folder; None if there is none.

    Raises
    ------
    SarcastError
        If it is damaged, has another format, or belongs to a run that differs in
        ``described``.
    """
    # an empty one is the locked target of a run that was killed while it wrote beside it
    checkpoints = sorted(path for path in folder.glob("step-*") if any(path.iterdir()))
    if not checkpoints:
        return None
    latest = checkpoints[-1]
    try:
        record = json.loads((latest / "state.json").read_text())
        parts = {path.stem: load_file(path) for path in latest.glob("*.safetensors")}
    except (OSError, ValueError, SafetensorError) as error:
        raise SarcastError(
            f"the checkpoint {latest} is damaged ({error}); remove {folder.parent} to start again"
        ) from error
    if record["format"] != FORMAT:
        raise SarcastError(
            f"{latest} has format {record['format']}, but this version of sarcast resumes from "
            f"format {FORMAT}; remove {folder.parent} to start again"
        )
    before = record["described"]
    differing = [name for name in described if before.get(name) != described[name]]
    if differing:
        raise SarcastError(
            f"{latest} belongs to a training with other {', '.join(sorted(differing))}; "
            f"give the same to resume it, or remove {folder.parent} to start again"
        )
    return Checkpoint(State(**record["state"]), parts)


def optimiser_state(optimiser: torch.optim.Optimizer) -> Tensors:
    """Copy an optimiser's tensors, named ``NUMBER.NAME`` by the number of their parameter."""
    return {
        f"{number}.{name}": value.detach().cpu().contiguous().clone()
        for number, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Restore what ``optimiser_state`` gave, in the memory layout of the parameters.

    Files hold contiguous tensors, but fused AdamW needs parameters and moments of one layout.
    """
    parameters = [each for group in optimiser.param_groups for each in group["params"]]
    state: dict[int, Tensors] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", maxsplit=1)
        restored = _in_layout_of(parameters[int(number)], tensor)
        state.setdefault(int(number), {})[name] = restored
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _in_layout_of(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Copy a tensor into the memory layout of a parameter, if it has its shape."""
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
