"""Training: windows in, a network's weights out; it can be stopped anywhere and goes on."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from sarcast.mapping.checkpoint import (
    Checkpoint,
    State,
    network_state,
    optimiser_state,
    read_latest,
    restore_optimiser,
)
from sarcast.progress import say, track
from sarcast.windows import Batch, Window, WindowSampler, collate

Batches = Callable[[int], Batch]
"""The batch of a step: the same step always gives the same batch."""


class TrainOptions(BaseModel):
    """How a network is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(10_000, ge=1, description="number of steps of the optimiser")
    minutes: float | None = Field(
        None, gt=0.0, description="stop after so many minutes, even if steps are left"
    )
    batch: int = Field(16, ge=2, le=4096, description="number of windows a step and device")
    learning_rate: float = Field(1e-4, gt=0.0, le=1.0, description="highest learning rate of AdamW")
    weight_decay: float = Field(0.0, ge=0.0, le=1.0, description="weight decay of AdamW")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning rate over time: constant, or down to 0 by a cosine"
    )
    warmup: int = Field(0, ge=0, description="steps over which the learning rate rises from 0")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="number format of the computation"
    )
    accelerator: str = Field("auto", description="auto, cpu or cuda")
    validation_share: float = Field(
        0.2,
        gt=0.0,
        lt=1.0,
        description="share of the training dates, the last ones, for validation",
    )
    validation_windows: int = Field(64, ge=1, description="number of windows for validation")
    validate_every: int = Field(500, ge=1, description="steps between validations and checkpoints")
    patience: int | None = Field(
        None, ge=1, description="stop after so many validations without a lower loss"
    )
    seed: int = Field(0, ge=0, description="seed of weights, windows and dropout")


def sampled(sampler: WindowSampler, *, batch: int, seed: int) -> Batches:
    """Draw the batches of a sampler, each step from its own seed."""

    def batch_of(step: int) -> Batch:
        return collate(sampler.draw(batch, rng=np.random.default_rng([seed, step])))

    return batch_of


def fit(
    batches: Batches,
    validation: Sequence[Window],
    network: nn.Module,
    options: TrainOptions,
    *,
    folder: Path,
) -> State:
    """Train a network; its weights at the end are those with the lowest validation loss.

    Parameters
    ----------
    batches
        Batches of the training windows.
    validation
        Windows whose targets are in no batch.
    network
        A ``mapping.network.Network``, changed in place.
    options
        How it is trained.
    folder
        Where checkpoints and TensorBoard logs are kept. Training that was stopped, killed even,
        goes on from the last checkpoint there; with the same number of threads and without a time
        limit the result is the same as if it had not been stopped.

    Raises
    ------
    SarcastError
        If a checkpoint in the folder is of another training.
    """
    loop = _Loop(network, validation, options, folder)
    last = loop.state.step if loop.over() else options.steps
    with SummaryWriter(str(folder / "logs"), purge_step=loop.state.step) as log:
        for step, batch in _ahead(batches, loop.state.step, last):
            loss = loop.train(step, batch)
            log.add_scalar("loss/training", loss, step)
            log.add_scalar("learning_rate", loop.optimiser.param_groups[0]["lr"], step)
            if (step + 1) % options.validate_every == 0 or loop.over():
                loop.validate(log)
            if loop.over():
                break
    network.load_state_dict(loop.best)
    return loop.state


class _Loop:
    """One training: network, optimiser and where they stand."""

    def __init__(
        self, network: nn.Module, validation: Sequence[Window], options: TrainOptions, folder: Path
    ) -> None:
        self.options = options
        self.folder = folder / "checkpoints"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.fabric = Fabric(
            accelerator=options.accelerator, devices=1, precision=options.precision
        )
        self.raw: Any = cast(Any, network).to(memory_format=torch.channels_last)
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.network, self.optimiser = self.fabric.setup(network, optimiser)
        self.validation = [
            collate(validation[start : start + options.batch]).to(self.fabric.device)
            for start in range(0, len(validation), options.batch)
        ]
        self.state = State(step=0, seconds=0.0, best_step=0, best_loss=math.inf, history=[])
        self.best = network_state(network)
        self.losses: list[float] = []
        self._resume()
        self.started = time.monotonic() - self.state.seconds

    def train(self, step: int, batch: Batch) -> float:
        """Take one step and give its loss."""
        torch.manual_seed(self.options.seed * 1_000_003 + step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.learning_rate * self._rate(step)
        self.network.train()
        batch = batch.to(self.fabric.device)
        loss: Tensor = self.raw.loss(self.network(*batch.inputs()), batch.target)
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self.optimiser.step()
        self.state.step = step + 1
        self.state.seconds = time.monotonic() - self.started
        self.losses.append(float(loss.detach()))
        return self.losses[-1]

    def over(self) -> bool:
        """Tell whether steps, time or patience are used up."""
        state, options = self.state, self.options
        late = options.minutes is not None and state.seconds >= options.minutes * 60.0
        since = sum(record["step"] > state.best_step for record in state.history)
        tired = options.patience is not None and since >= options.patience
        return late or tired or state.step >= options.steps

    def validate(self, log: SummaryWriter) -> None:
        """Score the validation windows, keep the weights if best, and write a checkpoint."""
        loss, rmse = self._validation_loss()
        training = float(np.mean(self.losses)) if self.losses else math.nan
        self.losses.clear()
        step = self.state.step
        self.state.history.append(
            {"step": step, "training_loss": training, "validation_loss": loss, "rmse_db": rmse}
        )
        if loss < self.state.best_loss:
            self.state.best_step, self.state.best_loss = step, loss
            self.best = network_state(self.raw)
        log.add_scalar("loss/validation", loss, step)
        for band, value in zip(("VV", "VH"), rmse, strict=True):
            log.add_scalar(f"rmse_db/{band}", value, step)
        say(
            f"step {step}: loss {training:.4f}, validation loss {loss:.4f}, "
            f"residuals {rmse[0]:.2f} dB VV, {rmse[1]:.2f} dB VH"
        )
        checkpoint = Checkpoint(
            self.state, network_state(self.raw), self.best, optimiser_state(self.optimiser)
        )
        checkpoint.write(self.folder, self._described())

    @torch.inference_mode()
    def _validation_loss(self) -> tuple[float, list[float]]:
        self.network.eval()
        losses, squares, counts = [], torch.zeros(2), torch.zeros(2)
        for batch in self.validation:
            prediction = self.network(*batch.inputs())
            losses.append(float(self.raw.loss(prediction, batch.target)) * len(batch.target))
            seen = torch.isfinite(batch.target)
            error = torch.where(seen, prediction.mean - batch.target, 0.0)
            squares += error.square().sum(dim=(0, 2, 3)).cpu()
            counts += seen.sum(dim=(0, 2, 3)).cpu()
        windows = sum(len(batch.target) for batch in self.validation)
        rmse = (squares / counts.clamp(min=1)).sqrt()
        return sum(losses) / windows, [float(value) for value in rmse]

    def _rate(self, step: int) -> float:
        options = self.options
        rising = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
        if options.schedule == "constant":
            return rising
        done = step / options.steps
        if options.minutes is not None:
            done = max(done, self.state.seconds / (options.minutes * 60.0))
        return rising * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))

    def _described(self) -> dict[str, Any]:
        network = {"kind": self.raw.kind, **self.raw.options.model_dump(mode="json")}
        return {"network": network, "training options": self.options.model_dump(mode="json")}

    def _resume(self) -> None:
        checkpoint = read_latest(self.folder, self._described())
        if checkpoint is None:
            return
        self.state, self.best = checkpoint.state, checkpoint.best
        self.raw.load_state_dict(checkpoint.network)
        restore_optimiser(self.optimiser, checkpoint.optimiser)
        say(f"going on from the checkpoint at step {self.state.step}")


def _ahead(batches: Batches, first: int, steps: int) -> Iterator[tuple[int, Batch]]:
    """Give the batch of each step, the next one made while one is worked on."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(batches, first) if first < steps else None
        for step in track(range(first, steps), "training", steps, done=first):
            assert coming is not None
            batch = coming.result()
            coming = pool.submit(batches, step + 1) if step + 1 < steps else None
            yield step, batch
