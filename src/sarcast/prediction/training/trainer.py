"""One training step after another: gradients of a batch, optimiser, averaged weights."""

import logging
import time

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from sarcast.errors import SarcastError
from sarcast.prediction.model_folder import load_weights
from sarcast.prediction.networks.base import Network
from sarcast.prediction.training.augment import (
    add_context,
    augment,
    fewer_images,
    with_context,
)
from sarcast.prediction.training.average import averaged_model, restore_average
from sarcast.prediction.training.checkpoint import Checkpoint, State, restore_optimiser
from sarcast.prediction.training.objective import Objective
from sarcast.prediction.training.options import TrainOptions
from sarcast.prediction.training.schedule import learning_rate_factor, share_done
from sarcast.windows import Batch

_log = logging.getLogger(__name__)

SEED_STRIDE = 1_000_003
"""Distance between seeds that share no random numbers: a prime above the steps of any run."""
MAX_DEVICES = 1024
"""Number of devices up to which each has its own seeds at every step."""
AGREE_EVERY = 16
"""Steps between the moments at which several devices agree on the elapsed time."""


class Trainer:
    """A network and its optimiser on a device; ``step`` trains on one batch.

    Parameters
    ----------
    network
        The network, changed in place.
    options
        How it is trained.
    fabric
        The devices.
    checkpoint
        Where an earlier run stopped; None at the start of a run.

    Attributes
    ----------
    state
        Progress of the training.
    objective
        The loss.
    optimiser
        AdamW.
    average
        Moving average of the weights; None if they are not averaged.
    parts
        Number of parts in which a batch is processed: more after the device ran out of memory.
    """

    def __init__(
        self,
        network: Network,
        options: TrainOptions,
        fabric: Fabric,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.options, self.fabric = options, fabric
        self.state = State() if checkpoint is None else checkpoint.state
        self.parts = options.accumulate
        optimiser = torch.optim.AdamW(
            network.channels_last().parameters(),
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=fabric.device.type == "cuda",
        )
        module, self.optimiser = fabric.setup(network, optimiser)
        self.objective = Objective(network, module, options, fabric.device.type)
        self.average = averaged_model(network, options.average) if options.average else None
        if checkpoint is not None:
            self._restore(checkpoint)
        self.schedule = LambdaLR(optimiser, lambda _: self._learning_rate_factor())
        self._started = time.monotonic() - self.state.seconds

    @property
    def network(self) -> Network:
        """The network itself, not wrapped for the device."""
        return self.objective.network

    def step(self, batch: Batch) -> Tensor:
        """Train on one batch; give its loss."""
        torch.manual_seed(self.options.seed * SEED_STRIDE + self.state.step)
        self.objective.module.train()
        loss = self.gradients(self._augmented(batch.to(self.fabric.device)))
        if self.options.clip is not None:
            self.fabric.clip_gradients(
                self.objective.module,
                self.optimiser,
                max_norm=self.options.clip,
                error_if_nonfinite=False,
            )
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        self._count_step()
        self.schedule.step()
        return loss

    def gradients(self, batch: Batch) -> Tensor:
        """Compute loss and gradients of a batch, in more parts if the device runs out of memory."""
        most = len(batch.target) // self.network.min_batch
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
                f"the device is out of memory: batches are now processed in {self.parts} parts"
            )

    def _accumulate(self, batch: Batch) -> Tensor:
        self.optimiser.zero_grad(set_to_none=True)
        done = share_done(self.options, self.state.step, self.state.seconds)
        total = torch.zeros((), device=self.fabric.device)
        parts = _split(batch, self.parts)
        for number, part in enumerate(parts, start=1):
            unfinished = number < len(parts)
            with self.fabric.no_backward_sync(self.objective.module, enabled=unfinished):
                loss = self.objective.loss(part, done)
                weight = len(part.target) / len(batch.target)
                self.fabric.backward(loss * weight)
            total += loss.detach() * weight
        return total

    def _augmented(self, batch: Batch) -> Batch:
        if (options := self.options.augment) is None:
            return with_context(batch, self.network)
        seed = (self.options.seed * SEED_STRIDE + self.state.step) * MAX_DEVICES
        on_every_device = torch.Generator().manual_seed(seed)
        batch = fewer_images(batch, options, generator=on_every_device)
        on_this_device = torch.Generator().manual_seed(seed + 1 + self.fabric.global_rank)
        batch = augment(batch, options, generator=on_this_device)
        return add_context(batch, self.network, options, generator=on_this_device)

    def _count_step(self) -> None:
        self.state.step += 1
        seconds = time.monotonic() - self._started
        if self.fabric.world_size == 1:
            self.state.seconds = seconds
        elif self.state.step % AGREE_EVERY == 0:
            self.state.seconds = self.fabric.broadcast(seconds)

    def _learning_rate_factor(self) -> float:
        """The factor for the next step, by the steps and seconds that checkpoints keep."""
        return learning_rate_factor(self.options, self.state.step, self.state.seconds)

    def _restore(self, checkpoint: Checkpoint) -> None:
        load_weights(self.network, checkpoint.parts["network"])
        restore_optimiser(self.optimiser, checkpoint.parts["optimiser"])
        if self.average is not None:
            state = checkpoint.parts["average"]
            restore_average(self.average, state, self.state.step)
        _log.info(f"resuming from the checkpoint at step {self.state.step}")


def _split(batch: Batch, parts: int) -> list[Batch]:
    """Split a batch into parts of nearly equal size."""

    def part(number: int) -> Batch:
        return batch.each(lambda tensor: torch.tensor_split(tensor, parts)[number])

    return [part(number) for number in range(parts)]
