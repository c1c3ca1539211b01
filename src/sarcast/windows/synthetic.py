"""Windows of synthetic worlds: batches for training, and the windows of a reference set."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sarcast.windows.batch import Batch, to_windows
from sarcast.windows.window import Window

if TYPE_CHECKING:
    import torch

    from sarcast.world.options import StreamOptions


def synthetic(
    options: "StreamOptions",
    *,
    seed: int,
    device: "torch.device | str" = "cpu",
    at_once: int = 1,
) -> Callable[[int, int], Batch]:
    """Return a function from a training step and the number of a device to its batch.

    Parameters
    ----------
    options
        Which windows.
    seed
        Seed of the stream: the same step and device always give the same batch.
    device
        Device on which the batches are made and stay.
    at_once
        Batches that are drawn together: a GPU draws many worlds in little more time than few.
    """
    from sarcast.world.stream import WindowStream

    worlds = options.model_copy(update={"batch": options.batch * at_once})
    stream = WindowStream(worlds, seed=seed, device=device)
    draw = functools.lru_cache(maxsize=1)(stream.draw)

    def batch_of(step: int, rank: int) -> Batch:
        number, part = divmod(step, at_once)
        windows = slice(part * options.batch, (part + 1) * options.batch)
        # cloned: the stream draws in inference mode, and training needs gradients of the batch
        return draw(number, rank).each(lambda tensor: tensor[windows].clone())

    return batch_of


def reference_windows(
    name: str, batches: range | None = None
) -> Iterator[tuple[Window, Window, np.ndarray]]:
    """Draw the windows of a reference set, the same on every machine.

    Parameters
    ----------
    name
        Name of the set, one of ``world.reference_windows.REFERENCE_SETS``.
    batches
        Numbers of the batches that are drawn; default all.

    Yields
    ------
    window
        Its ground did not change between the last previous image and the target.
    changed_window
        The same window with the same speckle, except that its ground did change.
    changed
        Dims (y, x), bool: where.
    """
    from sarcast.world.reference_windows import draw_reference_set

    for unchanged, changed in draw_reference_set(name, batches):
        assert changed.changed is not None
        masks = changed.changed.cpu().numpy()
        pairs = zip(to_windows(unchanged), to_windows(changed), masks, strict=True)
        for window, other, mask in pairs:
            yield window, replace(window, target=other.target), mask
