"""Checkpoints of training: whole or absent, read without running anything they hold."""

import json
import shutil
from dataclasses import dataclass
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
    """Where training stands.

    Attributes
    ----------
    step
        Steps done.
    seconds
        Time spent on them, all runs together.
    best_step, best_error_db2
        The step with the lowest mean squared error on the validation windows, and that error.
    history
        One record a validation: ``step``, ``training_loss``, ``validation_loss``, ``rmse_db``.
    """

    step: int
    seconds: float
    best_step: int
    best_error_db2: float
    history: list[dict[str, Any]]


@dataclass
class Checkpoint:
    """What training needs to go on as if it had not stopped.

    Attributes
    ----------
    state
        Where training stands.
    parts
        Tensors by part: ``network``, ``best``, ``optimiser`` and, where there is one, ``average``.
    """

    state: State
    parts: dict[str, Tensors]

    def write(self, folder: Path, described: dict[str, Any]) -> None:
        """Write the checkpoint as ``folder/step-N``, then remove the ones before it.

        Parameters
        ----------
        folder
            Folder of the checkpoints.
        described
            What must be the same for training to go on from here.
        """
        target = folder / f"step-{self.state.step:08d}"
        with new_folder(target, overwrite=True) as partial:
            for name, tensors in self.parts.items():
                save_file(tensors, partial / f"{name}.safetensors")
            record = {"format": FORMAT, "described": described, "state": vars(self.state)}
            (partial / "state.json").write_text(json.dumps(record))
        for other in folder.glob("step-*"):
            if other.name != target.name:
                shutil.rmtree(other)


def read_latest(folder: Path, described: dict[str, Any]) -> Checkpoint | None:
    """Read the latest whole checkpoint; None where there is none.

    Raises
    ------
    SarcastError
        If it is of another version, or of training described otherwise.
    """
    found = sorted(folder.glob("step-*"))
    if not found:
        return None
    try:
        record = json.loads((found[-1] / "state.json").read_text())
        parts = {path.stem: load_file(path) for path in found[-1].glob("*.safetensors")}
    except (OSError, ValueError, SafetensorError) as error:
        raise SarcastError(
            f"the checkpoint {found[-1]} is damaged ({error}); remove {folder.parent} to train anew"
        ) from error
    if record["format"] != FORMAT:
        raise SarcastError(
            f"{found[-1]} has format {record['format']}, but this version of sarcast goes on from "
            f"format {FORMAT}; remove {folder.parent} to train anew"
        )
    before = record["described"]
    differing = [name for name in described if before.get(name) != described[name]]
    if differing:
        raise SarcastError(
            f"{found[-1]} is of a training with other {', '.join(sorted(differing))}; "
            f"give the same again to go on, or remove {folder.parent} to train anew"
        )
    return Checkpoint(State(**record["state"]), parts)


def optimiser_state(optimiser: torch.optim.Optimizer) -> Tensors:
    """Give the optimiser's tensors, named by parameter number and what they are."""
    return {
        f"{number}.{name}": value.detach().cpu().contiguous().clone()
        for number, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Give an optimiser the tensors that ``optimiser_state`` told."""
    state: dict[int, Tensors] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", maxsplit=1)
        state.setdefault(int(number), {})[name] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
