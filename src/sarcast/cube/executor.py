"""Workers that process the blocks of a cube: threads of this machine, or a Dask cluster."""

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

from sarcast.errors import SarcastError, first_line

if TYPE_CHECKING:
    from distributed import Client

P = ParamSpec("P")
R = TypeVar("R")

MAX_WORKERS = 4
"""Default of blocks processed at a time on this machine: each takes up to 250 MB."""

TASKS_PER_WORKER = 2
"""Tasks submitted for each worker, so that none waits for the next."""

CONNECT_TIMEOUT_S = 10
"""Timeout of the connection to a Dask scheduler, seconds."""


class WorkerOptions(BaseModel):
    """Where blocks are processed, and how many at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: str | None = Field(
        None,
        description="Address of a Dask scheduler, such as tcp://host:8786, whose workers read the "
        "same files; default: threads of this machine.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=64,
        description=f"Blocks processed at a time on this machine, each in up to 250 MB of memory; "
        f"default: the number of cores, at most {MAX_WORKERS}.",
    )


@dataclass(frozen=True)
class Workers:
    """Started workers.

    Attributes
    ----------
    executor
        Accepts tasks.
    size
        Number of tasks that run at a time.
    """

    executor: Executor
    size: int

    def submit_each(
        self, task: Callable[..., R], calls: Iterable[tuple[Any, ...]]
    ) -> Iterator["Future[R]"]:
        """Submit a task for each of the calls' arguments; yield futures in order, few at a time."""
        pending: deque[Future[R]] = deque()
        for arguments in calls:
            pending.append(self.executor.submit(task, *arguments))
            if len(pending) >= TASKS_PER_WORKER * self.size:
                yield pending.popleft()
        yield from pending

    def submit(self, task: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Submit a task to the next free worker."""
        return self.executor.submit(_run_without_cause, partial(task, *args, **kwargs))


def _run_without_cause(task: Callable[[], R]) -> R:
    """Run a task; a ``SarcastError`` loses its cause, which may not be picklable."""
    try:
        return task()
    except SarcastError as error:
        error.__cause__ = error.__context__ = None
        raise


@contextmanager
def start_workers(options: WorkerOptions) -> Iterator[Workers]:
    """Start the workers, and stop them at the end.

    Raises
    ------
    SarcastError
        If no scheduler answers, or it has no workers.
    """
    if options.scheduler is None:
        size = options.workers or min(cores(), MAX_WORKERS)
        # Threads, since a local Dask cluster would open ports.
        with _ignore_georeference_warnings(), ThreadPoolExecutor(size) as executor:
            yield Workers(executor, size)
        return
    with _connect(options.scheduler) as client:
        size = sum(client.nthreads().values())
        if size == 0:
            raise SarcastError(f"the Dask scheduler {options.scheduler} has no workers; start some")
        yield Workers(client.get_executor(pure=False), size)


@contextmanager
def _ignore_georeference_warnings() -> Iterator[None]:
    """Ignore a warning that rasterio suppresses while it warps, but not in several threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _connect(address: str) -> "Client":
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise SarcastError(
            f"no Dask scheduler answers at {address} ({first_line(error)}); give the address that "
            f"'dask scheduler' prints, such as tcp://host:8786"
        ) from error
