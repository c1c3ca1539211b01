"""Benches: named sets of windows that never change and that no training can draw.

Their seeds lie in a name space of their own, and they are made on a CPU by one thread.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from sarcast.errors import SarcastError
from sarcast.world.options import StreamOptions
from sarcast.world.stream import BENCH, Drawn, WindowStream


@dataclass(frozen=True)
class Bench:
    """A set of windows: its options, its seed, and how many batches of it there are."""

    options: StreamOptions
    seed: int
    batches: int

    @property
    def windows(self) -> int:
        """Number of windows."""
        return self.batches * self.options.batch


BENCHES = {
    "boreal-1": Bench(
        StreamOptions(preset="boreal", size=256, previous=4, batch=2), seed=1, batches=256
    ),
    "boreal-1-small": Bench(
        StreamOptions(preset="boreal", size=64, previous=4, batch=4), seed=2, batches=4
    ),
}
"""A bench keeps its name only as long as its windows keep their values: what changes them must
count the number up."""


def bench_of(name: str) -> Bench:
    """Give the bench of a name.

    Raises
    ------
    SarcastError
        If there is none.
    """
    if name not in BENCHES:
        raise SarcastError(f"there is no bench {name!r}; known are {', '.join(BENCHES)}")
    return BENCHES[name]


def draw_bench(name: str, batches: range | None = None) -> Iterator[tuple[Drawn, Drawn]]:
    """Draw the windows of a bench, twice: without and with new changes of the ground.

    Parameters
    ----------
    name
        Of the bench.
    batches
        Numbers of the batches that are drawn; default all.

    Raises
    ------
    SarcastError
        If there is no bench of that name.
    """
    bench = bench_of(name)
    streams = [
        WindowStream(
            bench.options.model_copy(update={"new_changes": new}), seed=bench.seed, space=BENCH
        )
        for new in (False, True)
    ]
    for number in range(bench.batches) if batches is None else batches:
        still, moved = (_draw_alone(stream, number) for stream in streams)
        yield still, moved


def _draw_alone(stream: WindowStream, number: int) -> Drawn:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return stream.draw(number)
    finally:
        torch.set_num_threads(threads)
