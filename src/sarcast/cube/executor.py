"""Workers that process the blocks of a cube: threads of this machine, or a Dask cluster."""

import logging
import os
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import uuid4
from weakref import WeakSet

from pydantic import BaseModel, ConfigDict, Field
from rasterio.errors import NotGeoreferencedWarning

from sarcast.errors import SarcastError, first_line
from sarcast.io.progress import track

if TYPE_CHECKING:
    from distributed import Client

_log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

MAX_WORKERS = 4
"""Default of blocks processed at a time on this machine: each takes up to 250 MB."""

TASKS_PER_WORKER = 2
"""Tasks submitted for each worker, so that none waits for the next."""
RESULTS_PER_WORKER = 32
"""Tasks, for each worker, by which the others may be ahead of the slowest one: their results are
kept until its result was given."""

CONNECT_TIMEOUT_S = 10
"""Timeout of the connection to a Dask scheduler, seconds."""
END_TIMEOUT_S = 60
"""Longest wait, at the end, for the tasks that a Dask cluster is at, seconds."""
POLL_S = 0.05
"""Time between two questions whether it is still at them, seconds."""


class SchedulerOptions(BaseModel):
    """Where tasks run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: str | None = Field(
        None,
        description="Address of a Dask scheduler, such as tcp://host:8786, whose workers have the "
        "same version of sarcast and see the same files, also the folder of the result, at the "
        "same paths; default: threads of this machine.",
    )


class WorkerOptions(SchedulerOptions):
    """Where blocks are processed, and how many at a time."""

    workers: int | None = Field(
        None,
        ge=1,
        le=64,
        description=f"Blocks processed at a time on this machine, each in up to 250 MB of memory; "
        f"default: the number of cores, at most {MAX_WORKERS}.",
    )


@dataclass
class _Group:
    """The tasks that are cancelled together, by a name of their own."""

    name: str = field(default_factory=lambda: uuid4().hex)

    def renew(self) -> str:
        """Begin another group, and give the name of this one."""
        ended, self.name = self.name, uuid4().hex
        return ended


@dataclass(frozen=True)
class Workers:
    """Started workers.

    Attributes
    ----------
    executor
        Accepts tasks.
    size
        Number of tasks that run at a time.
    cluster
        Connection to the Dask cluster that they belong to; None for threads of this process.
    """

    executor: Executor
    size: int
    cluster: "Client | None" = None
    _shared: dict[int, tuple[Any, Any]] = field(default_factory=dict, init=False, repr=False)
    _sharing: Lock = field(default_factory=Lock, init=False, repr=False)
    _submitted: "WeakSet[Future[Any]]" = field(default_factory=WeakSet, init=False, repr=False)
    _group: _Group = field(default_factory=_Group, init=False, repr=False)
    _closed: Event = field(default_factory=Event, init=False, repr=False)

    def each(
        self, task: Callable[..., R], calls: Sequence[tuple[Any, ...]], label: str
    ) -> Iterator[R]:
        """Do a task for each of the calls' arguments, and give the results in their order.

        Parameters
        ----------
        task
            Of a cluster, each worker receives it once.
        calls
            Arguments; those that many calls have in common are best given by ``share``.
        label
            A few words that show what is done.
        """
        if self.cluster is None and len(calls) == 1:
            yield task(*calls[0])
            return
        futures = self.submit_each(self._sent(task), calls)
        for future in track(futures, label, len(calls)):
            yield future.result()

    def share(self, value: R) -> R:
        """Give an argument of tasks that each worker of a cluster receives once, and keeps."""
        with self._sharing:
            if id(value) not in self._shared:
                self._shared[id(value)] = value, self._sent(value)
            shared: R = self._shared[id(value)][1]
        return shared

    def _sent(self, value: Any) -> Any:
        """The value itself, or what stands for it in the arguments of a cluster's tasks.

        It is the result of a task, not data that is scattered: a worker that dies with it, or comes
        later, computes it again.
        """
        if self.cluster is None:
            return value
        import dask

        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 GB"}):
            return self.cluster.submit(_same, value, pure=False)

    def submit_each(
        self, task: Callable[..., R], calls: Iterable[tuple[Any, ...]]
    ) -> Iterator["Future[R]"]:
        """Submit a task for each of the calls' arguments; yield futures in order.

        As many are submitted as the workers need to be busy, also while the first one takes long.
        """
        pending: deque[Future[R]] = deque()
        running: set[Future[R]] = set()
        for arguments in calls:
            future = self.submit(task, *arguments)
            pending.append(future)
            running.add(future)
            while pending and (pending[0].done() or self._is_full(pending, running)):
                if pending[0].done():
                    yield pending.popleft()
                else:
                    self._await(pending, running)
                running = {each for each in running if not each.done()}
        yield from pending

    def _is_full(self, pending: Sequence["Future[R]"], running: set["Future[R]"]) -> bool:
        return (
            len(running) >= TASKS_PER_WORKER * self.size
            or len(pending) >= RESULTS_PER_WORKER * self.size
        )

    def _await(self, pending: Sequence["Future[R]"], running: set["Future[R]"]) -> None:
        """Wait for any task or, where too many results wait for the first one, for that."""
        is_far = len(pending) >= RESULTS_PER_WORKER * self.size
        wait([pending[0]] if is_far else running, return_when=FIRST_COMPLETED)

    def submit(self, task: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """Submit a task to the next free worker; ``CancelledError`` after ``close``."""
        if self._closed.is_set():
            raise CancelledError
        run: Callable[..., R] = _run
        future = self.executor.submit(run, self._group.name, task, *args, **kwargs)
        self._submitted.add(future)
        return future

    def everywhere(self, task: Callable[..., R], *args: Any) -> dict[str, R | BaseException]:
        """Do a task in each worker of a cluster: by its address, the result or the error."""
        if self.cluster is None:
            return {}
        found: dict[str, R | BaseException] = self.cluster.run(task, *args, on_error="return")
        return found

    def close(self) -> None:
        """Accept no further task, from whatever thread."""
        self._closed.set()

    def cancel(self, timeout_s: float | None = None) -> None:
        """Cancel all tasks that have not begun, and wait for those that have.

        Afterwards none of them writes what nobody awaits, and further ones can be submitted.

        Parameters
        ----------
        timeout_s
            Longest wait, seconds, after which those that still run are warned of; default: until
            they end.
        """
        submitted, ended = [*self._submitted], self._group.renew()
        for future in submitted:
            future.cancel()
        wait(submitted, timeout=timeout_s)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        # the cluster goes on with a task that its future calls cancelled
        while self._runs(ended):
            if until is not None and time.monotonic() > until:
                _log.warning(
                    f"the Dask cluster is still at cancelled tasks after {timeout_s:g} s; what "
                    f"they write is not used"
                )
                return
            time.sleep(POLL_S)

    def _runs(self, group: str) -> bool:
        """Whether tasks of a cancelled group still run in workers of a cluster."""
        if self.cluster is None or self.cluster.status != "running":
            return False
        try:
            found = self.everywhere(_cancel_here, group)
        except (OSError, CancelledError):  # the connection was lost
            return False
        return any(isinstance(count, int) and count > 0 for count in found.values())


_running: Counter[str] = Counter()
_cancelled: set[str] = set()
_counting = Lock()
"""Of this process: tasks that run, by group; the groups of which none may begin; and their lock."""


def _run(group: str, task: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Run a task of a group; a ``SarcastError`` loses its cause, which may not be picklable."""
    with _counting:
        if group in _cancelled:
            raise CancelledError
        _running[group] += 1
    try:
        return task(*args, **kwargs)
    except SarcastError as error:
        error.__cause__ = error.__context__ = None
        raise
    finally:
        with _counting:
            _running[group] -= 1
            if not _running[group]:
                del _running[group]


def _cancel_here(group: str) -> int:
    """Begin no further task of a group in this process; give how many run."""
    with _counting:
        _cancelled.add(group)
        return _running[group]


def _same(value: R) -> R:
    return value


@contextmanager
def start_workers(options: WorkerOptions) -> Iterator[Workers]:
    """Start the workers, and stop them at the end.

    Raises
    ------
    SarcastError
        If no scheduler answers or it ends before the work does, it has no workers, these have
        another version of ``sarcast``, or a task ends one worker after the other.
    """
    if options.scheduler is None:
        size = options.workers or min(cores(), MAX_WORKERS)
        # Threads, since a local Dask cluster would open ports.
        with _ignore_georeference_warnings(), ThreadPoolExecutor(size) as executor:
            yield Workers(executor, size)
        return
    with _quiet(), _lost_explained(options.scheduler), _connect(options.scheduler) as client:
        size = sum(client.nthreads().values())
        if size == 0:
            raise SarcastError(f"the Dask scheduler {options.scheduler} has no workers; start some")
        workers = Workers(client.get_executor(pure=False), size, client)
        _check_versions(workers)
        try:
            yield workers
        finally:
            workers.cancel(END_TIMEOUT_S)


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


@contextmanager
def _lost_explained(address: str) -> Iterator[None]:
    """Explain what a client raises when its cluster is lost."""
    from distributed.comm import CommClosedError
    from distributed.scheduler import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise SarcastError(
            f"workers of the Dask scheduler {address} ended one after the other at the same task, "
            f"most often since it needs more memory than they have; give them more, or work on "
            f"smaller blocks (--block)"
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise SarcastError(
            f"the connection to the Dask scheduler {address} was lost before the work was done; "
            f"see why it ended, start it and its workers again, and repeat the command"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave it to the error to say that a connection was lost."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check_versions(workers: Workers) -> None:
    ours = version("sarcast")
    for address, found in workers.everywhere(version, "sarcast").items():
        if found != ours:
            theirs = f"version {found}" if isinstance(found, str) else "none that can be imported"
            raise SarcastError(
                f"the Dask worker {address} has sarcast of another version ({theirs}) than this "
                f"process ({ours}); install the same version for both"
            )
