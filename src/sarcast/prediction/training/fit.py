"""Training: batches in, a network's weights out; it can be stopped anywhere and goes on."""

import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from sarcast.errors import SarcastError
from sarcast.io.progress import follow
from sarcast.prediction.model import by_file_name, by_parameter_name, load_weights, weights
from sarcast.prediction.networks.base import ContrastNetwork, Network, Prediction
from sarcast.prediction.training.augment import AugmentOptions, augment, fewer_images
from sarcast.prediction.training.average import Average
from sarcast.prediction.training.batches import Batches, ahead
from sarcast.prediction.training.checkpoint import (
    Checkpoint,
    State,
    optimiser_state,
    read_latest,
    restore_optimiser,
)
from sarcast.prediction.training.validation import ValidationWindows
from sarcast.windows import BANDS, Batch, Window

_log = logging.getLogger(__name__)


SEEDS_APART = 1_000_003
"""Distance of seeds that have nothing in common: a prime beyond the steps of any training."""
MOST_DEVICES = 1024
"""Number of devices under which each has seeds of its own at every step."""
AGREE_EVERY = 16
"""Steps after which several devices agree on the time."""
SMALLEST_COMPILED_PX = 64
"""Rows of the smallest windows that a network is compiled for; each size takes its own minute."""
LOG_EVERY = 20
"""Steps between scalars in the log; each asks the GPU to be done."""


class TrainOptions(BaseModel):
    """How a network is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(10_000, ge=1, description="number of steps of the optimiser")
    minutes: float | None = Field(
        None, gt=0.0, description="stop after so many minutes, even if steps are left"
    )
    batch: int = Field(16, ge=2, le=4096, description="number of windows a step and device")
    accumulate: int = Field(
        1, ge=1, le=256, description="parts that a batch is worked on in, to save memory"
    )
    learning_rate: float = Field(1e-4, gt=0.0, le=1.0, description="highest learning rate of AdamW")
    weight_decay: float = Field(0.0, ge=0.0, le=1.0, description="weight decay of AdamW")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning rate over time: constant, or down to 0 by a cosine"
    )
    warmup: int = Field(0, ge=0, description="steps over which the learning rate rises from 0")
    clip: float | None = Field(None, gt=0.0, description="largest norm of the gradients")
    average: float = Field(
        0.0, ge=0.0, lt=1.0, description="memory of the average of the weights; 0: no average"
    )
    oracle: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="weight of a world's oracle beside what the sensor makes of it, falling to 0",
    )
    contrast: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        description="weight of how far a world's other conditions move the expected image, beside "
        "its error; for recipes whose worlds are seen otherwise",
    )
    augment: AugmentOptions | None = Field(
        None, description="how batches are varied; only for networks of any number of images"
    )
    compiled: bool = Field(
        False, description="compile the network's parts for the device, which takes a minute"
    )
    precision: Literal["32-true", "bf16-mixed"] = Field(
        "32-true", description="number format of the computation"
    )
    accelerator: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to compute")
    devices: int = Field(1, ge=1, description="number of GPUs, or processes on a CPU")
    validation_share: float = Field(
        0.2,
        gt=0.0,
        lt=1.0,
        description="share of the training dates for validation: the last ones",
    )
    validation_windows: int = Field(64, ge=1, description="number of windows for validation")
    validate_every: int = Field(500, ge=1, description="steps between validations and checkpoints")
    patience: int | None = Field(
        None, ge=1, description="stop after so many validations without a lower loss"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of weights, windows and dropout")


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
    """Train a network; its weights at the end have the lowest validation error in dB².

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
        Where checkpoints and TensorBoard logs are kept. Training that was stopped, killed even,
        goes on from the last checkpoint there; with the same number of threads and without a time
        limit the result is the same as if it had not been stopped.
    fabric
        What ``launched`` gave for the same options, where devices were needed before.
    about
        What else must be the same for a stopped training to go on, as JSON can tell it.

    Raises
    ------
    SarcastError
        If a checkpoint in the folder is of another training, the loss is no longer finite, or an
        option is not for this network.
    """
    _check(network, options)
    loop = _Loop(network, validation, options, folder, fabric or launched(options), about or {})
    last = loop.state.step if loop.over() else options.steps
    with ExitStack() as stack:
        if options.compiled:
            stack.enter_context(_compiled(network))
        first, log = loop.state.step, None
        coming = stack.enter_context(closing(ahead(batches, first, last, loop.fabric.global_rank)))
        steps: Iterable[tuple[int, Batch]] = coming
        if loop.fabric.is_global_zero:
            writer = SummaryWriter(str(folder / "logs"), purge_step=first)
            log = stack.enter_context(writer)
            steps = follow(coming, "training", loop.reached, done=first)
        for step, batch in steps:
            loop.train(step, batch)
            over = loop.over()
            if log is not None and step % LOG_EVERY == 0:
                log.add_scalar("loss/training", float(loop.losses[-1]), step)
                log.add_scalar("learning_rate", loop.optimiser.param_groups[0]["lr"], step)
            if (step + 1) % options.validate_every == 0 or over:
                loop.validate(log)
            if over or loop.over():
                break
    load_weights(network, loop.best)
    return loop.state


def _check(network: Network, options: TrainOptions) -> None:
    """Raise unless the options are for the network."""
    if options.augment is not None and network.previous is not None:
        raise SarcastError(
            f"augment is for networks of any number of images, but this one takes "
            f"{network.previous}; leave it out"
        )
    if options.contrast and not isinstance(network, ContrastNetwork):
        raise SarcastError(
            f"contrast is not for the network {network.kind}, which has none; leave it out"
        )
    if options.accumulate * network.min_batch > options.batch:
        raise SarcastError(
            f"a batch of {options.batch} cannot be worked on in {options.accumulate} parts: the "
            f"network {network.kind} sees at least {network.min_batch} windows at once; lower "
            f"accumulate, or raise batch"
        )


def launched(options: TrainOptions) -> Fabric:
    """Start a process for each device of a training; ``cuda`` is then its own in each.

    Raises
    ------
    SarcastError
        If a GPU is asked for and there is none.
    """
    if options.accelerator == "cuda" and not torch.cuda.is_available():
        raise SarcastError("accelerator cuda was asked for, but there is no GPU; take cpu or auto")
    fabric = Fabric(accelerator=options.accelerator, devices=options.devices)
    fabric.launch()
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    return fabric


def is_first_process() -> bool:
    """Whether no other process of the same training writes its results."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


class _Loop:
    """One training: network, optimiser and where they stand."""

    def __init__(
        self,
        network: Network,
        validation: Sequence[Window],
        options: TrainOptions,
        folder: Path,
        fabric: Fabric,
        about: Mapping[str, Any],
    ) -> None:
        self.options, self.about = options, about
        self.fabric = fabric
        self.folder = folder / "checkpoints"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.raw = network.channels_last()
        optimiser = torch.optim.AdamW(
            network.parameters(),
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=fabric.device.type == "cuda",
        )
        self.network, self.optimiser = self.fabric.setup(network, optimiser)
        self.average = Average(self.raw, options.average)
        self.held = ValidationWindows(validation, options.batch, self.fabric.device)
        self.state = State(step=0, seconds=0.0, best_step=0, best_error_db2=math.inf, history=[])
        self.best = weights(network)
        self.losses: list[Tensor] = []
        self.parts = options.accumulate
        self.windows = 0
        self._resume()
        self.started = time.monotonic() - self.state.seconds
        self.since = time.monotonic()

    def train(self, step: int, batch: Batch) -> None:
        """Take one step."""
        torch.manual_seed(self.options.seed * SEEDS_APART + step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.learning_rate * self._rate(step)
        self.network.train()
        batch = batch.to(self.fabric.device)
        if self.options.augment is not None:
            batch = self._augmented(batch, self.options.augment, step)
        self.losses.append(self._gradients(batch))
        if self.options.clip is not None:
            self.fabric.clip_gradients(
                self.network, self.optimiser, max_norm=self.options.clip, error_if_nonfinite=False
            )
        self.optimiser.step()
        if self.options.average:
            self.average.update(step)
        self.windows += len(batch.target) * self.fabric.world_size
        self.state.step = step + 1
        seconds = time.monotonic() - self.started
        if self.fabric.world_size == 1:
            self.state.seconds = seconds
        elif self.state.step % AGREE_EVERY == 0:
            self.state.seconds = self.fabric.broadcast(seconds)

    def over(self) -> bool:
        """Tell whether steps, time or patience are used up; the same on every device."""
        state, options = self.state, self.options
        late = options.minutes is not None and state.seconds >= options.minutes * 60.0
        since = sum(record["step"] > state.best_step for record in state.history)
        tired = options.patience is not None and since >= options.patience
        return late or tired or state.step >= options.steps

    def reached(self, steps: int) -> tuple[float, str]:
        """Tell how far training is, by steps or by minutes: by what will end it."""
        options, share = self.options, self._progress(steps)
        if options.minutes is None or share == steps / options.steps:
            return share, f"{steps} of {options.steps}"
        minutes = self.state.seconds / 60.0
        return share, f"{minutes:.1f} of {options.minutes:g} minutes, step {steps}"

    def validate(self, log: SummaryWriter | None) -> None:
        """Score the validation windows, keep the weights if best, and write a checkpoint."""
        speed = self.windows / (time.monotonic() - self.since)
        training = float(torch.stack(self.losses).mean()) if self.losses else math.nan
        self.losses.clear()
        with ExitStack() as stack:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            if self.options.average:
                stack.enter_context(self.average.used())
            self.network.eval()
            found = self.held.validate(self.raw, self._prediction)
            if not math.isfinite(found.loss):
                raise SarcastError(
                    f"training lost its way: the validation loss after step {self.state.step} is "
                    f"{found.loss}; lower learning_rate, or set clip"
                )
            if found.error_db2 < self.state.best_error_db2:
                self.state.best_step = self.state.step
                self.state.best_error_db2 = found.error_db2
                self.best = weights(self.raw)
        self.state.history.append(
            {
                "step": self.state.step,
                "training_loss": training,
                "validation_loss": found.loss,
                "rmse_db": found.rmse_db,
            }
        )
        if log is not None:
            log.add_image("actual, expected", found.image, self.state.step)
            self._tell(log, training, speed)
            self._checkpoint().write(self.folder, self._described())
        self.fabric.barrier()
        self.windows, self.since = 0, time.monotonic()

    def _augmented(self, batch: Batch, options: AugmentOptions, step: int) -> Batch:
        entropy = (self.options.seed * SEEDS_APART + step) * MOST_DEVICES
        common = torch.Generator().manual_seed(entropy)
        batch = fewer_images(batch, options, generator=common)
        own = torch.Generator().manual_seed(entropy + 1 + self.fabric.global_rank)
        return augment(batch, options, generator=own)

    def _gradients(self, batch: Batch) -> Tensor:
        """Give the loss of a batch and leave its gradients; halve what is worked on if need be."""
        most = len(batch.target) // self.raw.min_batch
        while True:
            try:
                return self._accumulate(batch)
            except torch.cuda.OutOfMemoryError:
                if self.fabric.world_size > 1 or self.parts >= most:
                    raise SarcastError(
                        f"the device has no memory for {len(batch.target)} windows in {self.parts} "
                        f"parts; lower batch, or raise accumulate"
                    ) from None
            self.parts = min(2 * self.parts, most)
            torch.cuda.empty_cache()
            _log.info(
                f"the device is out of memory: working on batches in {self.parts} parts from now on"
            )

    def _accumulate(self, batch: Batch) -> Tensor:
        self.optimiser.zero_grad(set_to_none=True)
        parts = _split(batch, self.parts)
        total = torch.zeros((), device=self.fabric.device)
        for place, part in enumerate(parts):
            unfinished = place < len(parts) - 1
            with self.fabric.no_backward_sync(self.network, enabled=unfinished):
                loss = self._loss(part)
                share = len(part.target) / len(batch.target)
                self.fabric.backward(loss * share)
            total += loss.detach() * share
        return total

    def _loss(self, batch: Batch) -> Tensor:
        target, goal = self._targets(batch)
        prediction = self._prediction(batch)
        loss = self.raw.loss(prediction, target, goal)
        if not self.options.contrast or batch.counterfactual_conditions is None:
            return loss
        other = batch.counterfactual()
        assert batch.expected is not None and other.expected is not None
        told = torch.isfinite(batch.counterfactual_conditions).all(dim=1)
        moved = other.expected - batch.expected
        assert isinstance(self.raw, ContrastNetwork)
        contrast = self.raw.contrast(prediction, self._prediction(other), moved, told)
        return loss + self.options.contrast * contrast

    def _prediction(self, batch: Batch) -> Prediction:
        """Predict in the number format asked for; what enters, elevation too, stays 32 bits."""
        mixed = self.options.precision == "bf16-mixed"
        with ExitStack() as stack:
            if batch.target.shape[-1] < SMALLEST_COMPILED_PX:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(
                torch.autocast(self.fabric.device.type, torch.bfloat16, enabled=mixed)
            )
            prediction: Prediction = self.network(*batch.inputs())
        return prediction

    def _targets(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Give the actual image where nothing changed, and what the mean is to be drawn to."""
        target = batch.target
        if batch.changed is not None:
            target = target.masked_fill(batch.changed[:, None], torch.nan)
        seen = target
        if batch.goal is not None:
            seen = torch.where(torch.isfinite(batch.goal), batch.goal, target)
        if batch.expected is None or not self.options.oracle:
            return target, seen
        departure = seen - batch.expected
        bias = departure.nanmean(dim=(2, 3), keepdim=True)
        weight = self.options.oracle * (1.0 - self._progress(self.state.step))
        return target, seen - weight * (departure - bias)

    def _tell(self, log: SummaryWriter, training: float, speed: float) -> None:
        record, step = self.state.history[-1], self.state.step
        log.add_scalar("loss/validation", record["validation_loss"], step)
        log.add_scalar("windows_per_second", speed, step)
        for band, value in zip(BANDS, record["rmse_db"], strict=True):
            log.add_scalar(f"rmse_db/{band}", value, step)
        vv, vh = record["rmse_db"]
        _log.info(
            f"step {step}: loss {training:.4f}, validation loss {record['validation_loss']:.4f}, "
            f"residuals {vv:.2f} dB VV, {vh:.2f} dB VH, {speed:.1f} windows/s"
        )

    def _progress(self, step: int) -> float:
        done = step / self.options.steps
        if self.options.minutes is not None:
            done = max(done, self.state.seconds / (self.options.minutes * 60.0))
        return min(done, 1.0)

    def _rate(self, step: int) -> float:
        options = self.options
        rising = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
        if options.schedule == "constant":
            return rising
        return rising * 0.5 * (1.0 + math.cos(math.pi * self._progress(step)))

    def _described(self) -> dict[str, Any]:
        network = {"kind": self.raw.kind, **self.raw.options.model_dump(mode="json")}
        options = self.options.model_dump(mode="json")
        return {"network": network, "training options": options, **self.about}

    def _checkpoint(self) -> Checkpoint:
        parts = {
            "network": weights(self.raw),
            "best": self.best,
            "optimiser": optimiser_state(self.optimiser),
        }
        if self.options.average:
            parts["average"] = by_file_name(self.raw, self.average.state())
        return Checkpoint(self.state, parts)

    def _resume(self) -> None:
        checkpoint = read_latest(self.folder, self._described())
        if checkpoint is None:
            return
        self.state, self.best = checkpoint.state, checkpoint.parts["best"]
        load_weights(self.raw, checkpoint.parts["network"])
        restore_optimiser(self.optimiser, checkpoint.parts["optimiser"])
        if self.options.average:
            average = by_parameter_name(self.raw, checkpoint.parts["average"])
            self.average.restore(average)
        _log.info(f"going on from the checkpoint at step {self.state.step}")


def _split(batch: Batch, parts: int) -> list[Batch]:
    """Split a batch into parts of nearly equal size."""

    def part(place: int) -> Batch:
        return batch.each(lambda tensor: torch.tensor_split(tensor, parts)[place])

    return [part(place) for place in range(parts)]


@contextmanager
def _compiled(network: Network) -> Iterator[None]:
    """Compile for a while the parts that a network names as its ``compiled``."""
    parts = [part for part in network.modules() if isinstance(part, network.compiled)]
    with torch._dynamo.config.patch({"recompile_limit": 64, "automatic_dynamic_shapes": False}):
        for part in parts:
            part.compile()
        try:
            yield
        finally:
            for part in parts:
                part._compiled_call_impl = None
