"""The training loop: from batches to a network's weights, with validations and checkpoints."""

import logging
import math
import os
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from sarcast.errors import SarcastError
from sarcast.io.progress import follow
from sarcast.prediction.model_folder import load_weights, weights
from sarcast.prediction.networks.base import ContrastNetwork, Network
from sarcast.prediction.training.average import average_in_use, average_state
from sarcast.prediction.training.batches import Batches, prefetched
from sarcast.prediction.training.checkpoint import (
    Checkpoint,
    State,
    Tensors,
    optimiser_state,
    read_latest,
)
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.schedule import is_over, progress_text
from sarcast.prediction.training.trainer import Trainer
from sarcast.prediction.training.validation import ValidationResult, ValidationWindows
from sarcast.windows import BANDS, Batch, Window

_log = logging.getLogger(__name__)

LOG_EVERY = 20
"""Steps between scalars in the log; each waits for the GPU."""


def fit(
    batches: Batches,
    validation: Sequence[Window],
    network: Network,
    options: TrainOptions,
    *,
    folder: Path,
    fabric: Fabric | None = None,
    about: Mapping[str, Any] | None = None,
) -> State:
    """Train a network; at the end it has the weights with the lowest validation error in dB².

    Parameters
    ----------
    batches
        Batches of the training windows.
    validation
        Windows whose targets are in no batch.
    network
        The network, changed in place.
    options
        How it is trained.
    folder
        Folder of checkpoints and TensorBoard logs. A run that was stopped, even killed,
        resumes from the last checkpoint there; with the same number of threads and without a time
        limit it ends with the same bytes as if it had not been stopped.
    fabric
        Result of ``launch`` for the same options, if devices were needed before.
    about
        What else a stopped run must have in common with this one to be resumed, as JSON
        values.

    Returns
    -------
    State
        Steps, seconds and history of the training.

    Raises
    ------
    SarcastError
        If a checkpoint in the folder is of another run, the loss is not finite, or an option
        does not apply to the network.
    """
    check_options(network, options)
    fabric = fabric or launch(options)
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    described = _described(network, options, about or {})
    checkpoint = read_latest(checkpoints, described)
    trainer = Trainer(network, options, fabric, checkpoint)
    windows = ValidationWindows(validation, options.batch, fabric.device)
    best = weights(network) if checkpoint is None else checkpoint.parts["best"]
    validator = _Validator(trainer, windows, best)
    with ExitStack() as stack:
        log = None
        if fabric.is_global_zero:
            writer = SummaryWriter(str(folder / "logs"), purge_step=trainer.state.step)
            log = _Log(stack.enter_context(writer), checkpoints, described)
        if options.compiled:
            stack.enter_context(_compiled(network))
        for batch in stack.enter_context(closing(_batches(batches, trainer))):
            _train_on(batch, trainer, validator, log)
            if _is_over(trainer):
                break
    load_weights(network, validator.best)
    return trainer.state


def check_options(network: Network, options: TrainOptions) -> None:
    """Check that options apply to a network.

    Raises
    ------
    SarcastError
        If one does not.
    """
    if options.augment is not None and network.previous is not None:
        raise SarcastError(
            f"augment is for networks of any number of images, but this one takes "
            f"{network.previous}; leave it out"
        )
    if options.contrast and not isinstance(network, ContrastNetwork):
        raise SarcastError(
            f"contrast does not apply to the network {network.kind}, which has no such loss; "
            f"leave it out"
        )
    if options.accumulate * network.min_batch > options.batch:
        raise SarcastError(
            f"a batch of {options.batch} cannot be processed in {options.accumulate} parts: the "
            f"network {network.kind} needs at least {network.min_batch} windows at once; lower "
            f"accumulate, or raise batch"
        )


def launch(options: TrainOptions) -> Fabric:
    """Start a process for each device of a training run; ``cuda`` is then each one's own GPU.

    Raises
    ------
    SarcastError
        If a GPU is requested and there is none.
    """
    if options.accelerator == "cuda" and not torch.cuda.is_available():
        raise SarcastError("accelerator cuda was asked for, but there is no GPU; take cpu or auto")
    fabric = Fabric(accelerator=options.accelerator, devices=options.devices)
    fabric.launch()
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    return fabric


def is_first_process() -> bool:
    """Whether this is the process that writes the results of a training run."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


def _described(network: Network, options: TrainOptions, about: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a training run by all that its result depends on, as JSON values."""
    return {
        "network": {"kind": network.kind, **network.options.model_dump(mode="json")},
        "training options": options.model_dump(mode="json"),
        **about,
    }


def _batches(batches: Batches, trainer: Trainer) -> Generator[Batch]:
    """Give the batches of the remaining steps, and show progress."""
    state, options, fabric = trainer.state, trainer.options, trainer.fabric
    end = state.step if _is_over(trainer) else options.steps
    with closing(prefetched(batches, state.step, end, fabric.global_rank)) as coming:
        steps: Iterable[tuple[int, Batch]] = coming
        if fabric.is_global_zero:
            steps = follow(
                coming,
                "training",
                lambda step: progress_text(options, step, state.seconds),
                done=state.step,
            )
        for _, batch in steps:
            yield batch


def _train_on(batch: Batch, trainer: Trainer, validator: "_Validator", log: "_Log | None") -> None:
    """Take one step, with what is due after it: scalars in the log, a validation."""
    step, rate = trainer.state.step, trainer.optimiser.param_groups[0]["lr"]
    loss = trainer.step(batch)
    validator.interval.add(loss, len(batch.target) * trainer.fabric.world_size)
    if log is not None and step % LOG_EVERY == 0:
        log.writer.add_scalar("loss/training", float(loss), step)
        log.writer.add_scalar("learning_rate", rate, step)
    if (step + 1) % trainer.options.validate_every == 0 or _is_over(trainer):
        validator.validate(log)


def _is_over(trainer: Trainer) -> bool:
    """Whether the training has ended; the same on every device."""
    state = trainer.state
    return is_over(trainer.options, state.step, state.seconds, state.validations_without_gain)


@dataclass
class _Interval:
    """Training since the last validation."""

    losses: list[Tensor] = field(default_factory=list)
    windows: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, loss: Tensor, windows: int) -> None:
        self.losses.append(loss)
        self.windows += windows

    def mean_loss(self) -> float:
        return float(torch.stack(self.losses).mean()) if self.losses else math.nan

    def windows_per_second(self) -> float:
        return self.windows / (time.monotonic() - self.started)


class _Validator:
    """Validates a network from time to time and keeps its best weights."""

    def __init__(self, trainer: Trainer, windows: ValidationWindows, best: Tensors) -> None:
        self.trainer, self.windows, self.best = trainer, windows, best
        self.interval = _Interval()

    def validate(self, log: "_Log | None") -> None:
        """Compute the validation error, keep the weights if they are the best, write a checkpoint.

        Raises
        ------
        SarcastError
            If the loss is not finite.
        """
        speed, training_loss = self.interval.windows_per_second(), self.interval.mean_loss()
        result = self._result()
        state = self.trainer.state
        state.history.append(
            {
                "step": state.step,
                "training_loss": training_loss,
                "validation_loss": result.loss,
                "rmse_db": result.rmse_db,
            }
        )
        if log is not None:
            log.report(state, result, speed)
            log.write(_checkpoint(self.trainer, self.best))
        self.trainer.fabric.barrier()
        self.interval = _Interval()

    def _result(self) -> ValidationResult:
        trainer, state = self.trainer, self.trainer.state
        with ExitStack() as stack:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            if trainer.average is not None:
                stack.enter_context(average_in_use(trainer.network, trainer.average))
            trainer.objective.module.eval()
            result = self.windows.validate(trainer.network, trainer.objective.predict)
            if not math.isfinite(result.loss):
                raise SarcastError(
                    f"training diverged: the validation loss after step {state.step} is "
                    f"{result.loss}; lower learning_rate, or set clip"
                )
            if result.error_db2 < state.best_error_db2:
                state.best_step, state.best_error_db2 = state.step, result.error_db2
                self.best = weights(trainer.network)
        return result


def _checkpoint(trainer: Trainer, best: Tensors) -> Checkpoint:
    parts = {
        "network": weights(trainer.network),
        "best": best,
        "optimiser": optimiser_state(trainer.optimiser),
    }
    if trainer.average is not None:
        parts["average"] = average_state(trainer.average)
    return Checkpoint(trainer.state, parts)


@dataclass(frozen=True)
class _Log:
    """TensorBoard log and checkpoints of a training run; only the first process has one."""

    writer: SummaryWriter
    checkpoints: Path
    described: dict[str, Any]

    def write(self, checkpoint: Checkpoint) -> None:
        checkpoint.write(self.checkpoints, self.described)

    def report(self, state: State, result: ValidationResult, windows_per_second: float) -> None:
        step, training_loss = state.step, state.history[-1]["training_loss"]
        self.writer.add_image("actual, expected", result.image, step)
        self.writer.add_scalar("loss/validation", result.loss, step)
        self.writer.add_scalar("windows_per_second", windows_per_second, step)
        for band, value in zip(BANDS, result.rmse_db, strict=True):
            self.writer.add_scalar(f"rmse_db/{band}", value, step)
        vv, vh = result.rmse_db
        _log.info(
            f"step {step}: loss {training_loss:.4f}, validation loss {result.loss:.4f}, "
            f"residuals {vv:.2f} dB VV, {vh:.2f} dB VH, {windows_per_second:.1f} windows/s"
        )


@contextmanager
def _compiled(network: Network) -> Iterator[None]:
    """Compile the parts of a network that it lists as ``compiled``, until the end of a ``with``."""
    parts = [part for part in network.modules() if isinstance(part, network.compiled)]
    with torch._dynamo.config.patch({"recompile_limit": 64, "automatic_dynamic_shapes": False}):
        for part in parts:
            part.compile()
        try:
            yield
        finally:
            for part in parts:
                part._compiled_call_impl = None
