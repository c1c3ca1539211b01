"""Batches by step: drawn from samplers, mixed from several streams, prepared ahead of time."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from sarcast.windows import Batch, Sampler, collate

Batches = Callable[[int, int], Batch]
"""Gives the batch of a step on a device: always the same for the same step and device number."""

PREFETCHED = 6
"""Number of batches that are prepared ahead."""


def sampled(sampler: Sampler, *, batch: int, seed: int) -> Batches:
    """Draw batches from a sampler, with a seed of its own for each step and device."""

    def batch_of(step: int, rank: int) -> Batch:
        return collate(sampler.draw(batch, rng=np.random.default_rng([seed, step, rank])))

    return batch_of


def mixed(streams: Sequence[tuple[float, Batches]], *, seed: int) -> Batches:
    """Draw the stream of each step at random, by weight; each stream gives its batches in order.

    Parameters
    ----------
    streams
        Weight, above 0, and batches of each stream.
    seed
        Seed of the draw, which is the same on every device.
    """
    shares = np.array([weight for weight, _ in streams])
    shares = shares / shares.sum()

    def batch_of(step: int, rank: int) -> Batch:
        chosen = np.random.default_rng([seed, 2**31]).choice(len(streams), step + 1, p=shares)
        earlier = int((chosen[:-1] == chosen[-1]).sum())
        _, batches = streams[int(chosen[-1])]
        return batches(earlier, rank)

    return batch_of


def prefetched(batches: Batches, first: int, end: int, rank: int) -> Generator[tuple[int, Batch]]:
    """Give step and batch of the steps from ``first`` to before ``end``, prepared in a thread."""
    device = torch.cuda.current_device() if torch.cuda.is_available() else None
    coming: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(max_workers=1, initializer=_set_device, initargs=(device,)) as pool:
        try:
            for step in range(first, end):
                while len(coming) < PREFETCHED and step + len(coming) < end:
                    coming.append(pool.submit(batches, step + len(coming), rank))
                yield step, coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _set_device(device: int | None) -> None:
    """Make a thread compute on the device of its process."""
    if device is not None:
        torch.cuda.set_device(device)
