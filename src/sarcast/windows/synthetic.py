"""Windows of synthetic worlds: batches for training, and the windows of a bench."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sarcast.windows.batch import Batch
from sarcast.windows.window import Window

if TYPE_CHECKING:
    import torch

    from sarcast.world.options import StreamOptions
    from sarcast.world.stream import Drawn


def synthetic(
    options: "StreamOptions",
    *,
    seed: int,
    device: "torch.device | str" = "cpu",
    at_once: int = 1,
) -> Callable[[int, int], Batch]:
    """Give a function from a training step and the number of a device to its batch.

    Parameters
    ----------
    options
        What windows.
    seed
        Seed of the stream: the same step and device always give the same batch.
    device
        Where the batches are made and stay.
    at_once
        Batches that are drawn together: a GPU draws many worlds in little more time than few.
    """
    from sarcast.world.stream import WindowStream

    worlds = options.model_copy(update={"batch": options.batch * at_once})
    stream = WindowStream(worlds, seed=seed, device=device)

    @functools.lru_cache(maxsize=1)
    def drawn(number: int, rank: int) -> Batch:
        return to_batch(stream.draw(number, rank))

    def batch_of(step: int, rank: int) -> Batch:
        number, part = divmod(step, at_once)
        windows = slice(part * options.batch, (part + 1) * options.batch)
        # copied, as a stream draws in inference mode, and gradients are taken of what is given
        return drawn(number, rank).each(lambda tensor: tensor[windows].clone())

    return batch_of


def to_batch(drawn: "Drawn") -> Batch:
    """Windows of a stream as a batch for a network."""
    import torch

    from sarcast.world.views import EPOCH

    start = np.datetime64(EPOCH)
    days = drawn.time[:, -1].cpu().numpy().astype("timedelta64[D]")
    year = (start + days).astype("datetime64[Y]").astype("datetime64[D]")
    since = torch.as_tensor((year - start).astype(np.float64), device=drawn.time.device)
    return Batch(
        previous=drawn.previous,
        target=drawn.target,
        elevation=drawn.elevation,
        conditions=drawn.conditions,
        days=(drawn.time - drawn.time[:, -1:]).float(),
        day_of_year=(drawn.time[:, -1] - since).float(),
        expected=drawn.expected,
        forest=drawn.forest,
        open_land=drawn.open_land,
        changed=drawn.changed,
        goal=drawn.goal,
        counterfactual_conditions=drawn.counterfactual_conditions,
        counterfactual_expected=drawn.counterfactual_expected,
    )


def to_windows(drawn: "Drawn") -> list[Window]:
    """Windows of a stream, one by one, as those that are cut from a cube."""
    from sarcast.world.views import EPOCH

    seconds = np.round(drawn.time.cpu().numpy() * 86400.0).astype("timedelta64[s]")
    times = (np.datetime64(EPOCH) + seconds).astype("datetime64[ns]")
    names = ("previous", "target", "conditions", "elevation", "expected", "forest", "open_land")
    host = {name: getattr(drawn, name).cpu().numpy() for name in names}
    return [
        Window(**{name: host[name][place] for name in names}, times=times[place])
        for place in range(len(times))
    ]


def bench_windows(
    name: str, batches: range | None = None
) -> Iterator[tuple[Window, Window, np.ndarray]]:
    """Windows of a bench, the same on every machine.

    Parameters
    ----------
    name
        Of the bench, as in ``world.bench.BENCHES``.
    batches
        Numbers of the batches that are drawn; default all.

    Yields
    ------
    window
        Its ground did not change between the last previous image and the target.
    changed_window
        The same, speckle and all, but that its ground did change.
    changed
        Dims (y, x), bool: where.
    """
    from sarcast.world.benchmark import draw_bench

    for still, moved in draw_bench(name, batches):
        masks = moved.changed.cpu().numpy()
        for window, other, mask in zip(to_windows(still), to_windows(moved), masks, strict=True):
            yield window, replace(window, target=other.target), mask
