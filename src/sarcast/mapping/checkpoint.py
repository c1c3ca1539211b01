"""Checkpoints of training: whole or absent, read without running anything they hold."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sarcast.errors import SarcastError
from sarcast.files import new_folder
from sarcast.mapping.model import weights

FORMAT = 1
"""Version of a checkpoint's files."""


@dataclass
class State:
    """Where training stands.

    Attributes
    ----------
    step
        Steps done.
    seconds
        Time spent on them, all runs together.
    best_step, best_loss
        The step with the lowest validation loss, and that loss.
    history
        One record a validation: ``step``, ``training_loss``, ``validation_loss``, ``rmse_db``.
    """

    step: int
    seconds: float
    best_step: int
    best_loss: float
    history: list[dict[str, Any]]


@dataclass
class Checkpoint:
    """What training needs to go on as if it had not stopped."""

    state: State
    network: dict[str, Tensor]
    best: dict[str, Tensor]
    optimiser: dict[str, Tensor]

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
            save_file(self.network, partial / "network.safetensors")
            save_file(self.best, partial / "best.safetensors")
            save_file(self.optimiser, partial / "optimiser.safetensors")
            record = {"format": FORMAT, "described": described, "state": vars(self.state)}
            (partial / "state.json").write_text(json.dumps(record))
        for other in folder.iterdir():
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
    record = json.loads((found[-1] / "state.json").read_text())
    if record["format"] != FORMAT:
        raise SarcastError(
            f"{found[-1]} has format {record['format']}, but this version of sarcast goes on from "
            f"format {FORMAT}; remove {folder.parent} to train anew"
        )
    differing = [
        name for name in {**record["described"], **described}
        if record["described"].get(name) != described.get(name)
    ]  # fmt: skip
    if differing:
        raise SarcastError(
            f"{found[-1]} is of a training with other {', '.join(sorted(differing))}; "
            f"give the same again to go on, or remove {folder.parent} to train anew"
        )
    parts = [
        load_file(found[-1] / f"{name}.safetensors") for name in ("network", "best", "optimiser")
    ]
    return Checkpoint(State(**record["state"]), *parts)


def network_state(network: nn.Module) -> dict[str, Tensor]:
    """Give a copy of the network's weights and statistics."""
    return weights(network)


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Give the optimiser's tensors, named by parameter number and what they are."""
    return {
        f"{number}.{name}": value.detach().cpu().contiguous().clone()
        for number, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimiser the tensors that ``optimiser_state`` told."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", maxsplit=1)
        state.setdefault(int(number), {})[name] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
