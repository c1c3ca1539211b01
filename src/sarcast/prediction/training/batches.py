"""Where training's batches come from: samplers, mixtures, and the ones made ahead of time."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from sarcast.windows import Batch, collate
from sarcast.windows.without import Sampler

Batches = Callable[[int, int], Batch]
"""The batch of a step on a device: the same step and device always give the same batch."""

AHEAD = 6
"""Batches that are made before they are needed."""


def sampled(sampler: Sampler, *, batch: int, seed: int) -> Batches:
    """Draw the batches of a sampler, each step and device from its own seed."""

    def batch_of(step: int, rank: int) -> Batch:
        return collate(sampler.draw(batch, rng=np.random.default_rng([seed, step, rank])))

    return batch_of


def mixed(streams: Sequence[tuple[float, Batches]], *, seed: int) -> Batches:
    """Take each step's batch from one of several streams, by their weights, and in their order.

    Parameters
    ----------
    streams
        Weight, above 0, and batches of each stream.
    seed
        Seed of the choice, which is the same on every device.
    """
    shares = np.array([weight for weight, _ in streams])
    shares = shares / shares.sum()

    def batch_of(step: int, rank: int) -> Batch:
        chosen = np.random.default_rng([seed, 2**31]).choice(len(streams), step + 1, p=shares)
        earlier = int((chosen[:-1] == chosen[-1]).sum())
        _, batches = streams[int(chosen[-1])]
        return batches(earlier, rank)

    return batch_of


def _use(device: int | None) -> None:
    """Let a thread compute on the device of its process."""
    if device is not None:
        torch.cuda.set_device(device)


def ahead(batches: Batches, first: int, steps: int, rank: int) -> Generator[tuple[int, Batch]]:
    """Give the batch of each step, the next ones made while one is worked on."""
    device = torch.cuda.current_device() if torch.cuda.is_available() else None
    coming: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(max_workers=1, initializer=_use, initargs=(device,)) as pool:
        try:
            for step in range(first, steps):
                while len(coming) < AHEAD and step + len(coming) < steps:
                    coming.append(pool.submit(batches, step + len(coming), rank))
                yield step, coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
