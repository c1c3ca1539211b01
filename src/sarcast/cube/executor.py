"""Where the blocks of a cube are worked on: the cores of this machine, or a Dask cluster."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from rasterio.errors import NotGeoreferencedWarning

from sarcast.errors import SarcastError

if TYPE_CHECKING:
    from distributed import Client

P = ParamSpec("P")
R = TypeVar("R")

MOST_WORKERS = 4
"""Blocks at a time on this machine if not told: each takes up to 250 MB."""

AHEAD = 2
"""Tasks handed out for each worker, so that none waits for the next."""

PATIENCE_S = 10
"""Time in which a Dask scheduler must answer, seconds."""


class WorkerOptions(BaseModel):
    """Who works on the blocks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: str | None = Field(
        None,
        description="Address of a Dask scheduler, as tcp://host:8786, whose workers see the same "
        "files; default: the cores of this machine.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=64,
        description=f"Blocks worked on at a time on this machine, each up to 250 MB of memory; "
        f"default: its cores, at most {MOST_WORKERS}.",
    )


@dataclass(frozen=True)
class Workers:
    """Workers at hand.

    Attributes
    ----------
    executor
        Takes tasks.
    size
        Number of tasks that it works on at a time.
    """

    executor: Executor
    size: int

    def each(
        self, task: Callable[..., R], calls: Iterable[tuple[Any, ...]]
    ) -> Iterator["Future[R]"]:
        """Hand out a task for each of the calls' arguments; futures in order, few at a time."""
        flying: deque[Future[R]] = deque()
        for arguments in calls:
            flying.append(self.executor.submit(task, *arguments))
            if len(flying) >= AHEAD * self.size:
                yield flying.popleft()
        yield from flying

    def submit(self, task: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Hand a task to the next free worker."""
        return self.executor.submit(_alone, partial(task, *args, **kwargs))


def _alone(task: Callable[[], R]) -> R:
    """Do a task; an error of ours comes back without its cause, which may not be able to travel."""
    try:
        return task()
    except SarcastError as error:
        error.__cause__ = error.__context__ = None
        raise


@contextmanager
def start_workers(options: WorkerOptions) -> Iterator[Workers]:
    """Gather the workers, and let them go at the end.

    Raises
    ------
    SarcastError
        If no scheduler answers, or it has no workers.
    """
    if options.scheduler is None:
        size = options.workers or min(cores(), MOST_WORKERS)
        # A Dask cluster of its own would open ports.
        with _warnings_of_threads_unheard(), ThreadPoolExecutor(size) as executor:
            yield Workers(executor, size)
        return
    with _connect(options.scheduler) as client:
        size = sum(client.nthreads().values())
        if size == 0:
            raise SarcastError(f"the Dask scheduler {options.scheduler} has no workers; start some")
        yield Workers(client.get_executor(pure=False), size)


@contextmanager
def _warnings_of_threads_unheard() -> Iterator[None]:
    """Ignore what rasterio ignores itself while it warps, which it cannot in several threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _connect(address: str) -> "Client":
    from distributed import Client

    try:
        return Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise SarcastError(
            f"no Dask scheduler answers at {address} ({first}); give the address that "
            f"'dask scheduler' prints, as tcp://host:8786"
        ) from error
