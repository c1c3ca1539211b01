"""Reference sets: named sets of windows that never change and are never used in training.

Their seeds have a space of their own, and they are made on a CPU by one thread.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sarcast.errors import SarcastError
from sarcast.windows.batch import Batch
from sarcast.world.options import StreamOptions
from sarcast.world.stream import REFERENCE, WindowStream
from sarcast.world.threads import one_torch_thread


@dataclass(frozen=True)
class ReferenceSet:
    """A fixed set of windows: its options, its seed and its number of batches."""

    options: StreamOptions
    seed: int
    batches: int

    @property
    def windows(self) -> int:
        """Number of windows."""
        return self.batches * self.options.batch


def _boreal(physics: Literal[1, 2]) -> dict[str, ReferenceSet]:
    """The boreal sets of a version of the physics; their dates are those of Sentinel-1A and 1B."""
    options = StreamOptions(preset="boreal", previous=4, end=dt.date(2021, 12, 15), physics=physics)
    large, small = (
        options.model_copy(update={"size": size, "batch": batch})
        for size, batch in ((256, 2), (64, 4))
    )
    return {
        f"boreal-{physics}": ReferenceSet(large, seed=1, batches=256),
        f"boreal-{physics}-small": ReferenceSet(small, seed=2, batches=4),
    }


REFERENCE_SETS = {**_boreal(1), **_boreal(2)}
"""A set keeps its name only as long as its windows keep their values: whatever changes them must
increase the number in the name. ``boreal-2`` has the terrain, weather, views, changes and speckle
of ``boreal-1``, with the newer physics."""


def find_reference_set(name: str) -> ReferenceSet:
    """Return the reference set of a name.

    Raises
    ------
    SarcastError
        If there is none.
    """
    if name not in REFERENCE_SETS:
        raise SarcastError(f"there is no bench {name!r}; known are {', '.join(REFERENCE_SETS)}")
    return REFERENCE_SETS[name]


def draw_reference_set(name: str, batches: range | None = None) -> Iterator[tuple[Batch, Batch]]:
    """Draw the windows of a reference set twice: without and with new changes of the ground.

    Parameters
    ----------
    name
        Name of the set.
    batches
        Numbers of the batches that are drawn; default all.

    Raises
    ------
    SarcastError
        If there is no set of that name.
    """
    reference = find_reference_set(name)
    streams = [
        WindowStream(
            reference.options.model_copy(update={"new_changes": new}),
            seed=reference.seed,
            space=REFERENCE,
        )
        for new in (False, True)
    ]
    for number in range(reference.batches) if batches is None else batches:
        with one_torch_thread():
            unchanged, changed = (stream.draw(number) for stream in streams)
        yield unchanged, changed
