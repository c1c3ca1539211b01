"""Runs of the command line in forked children, which start within milliseconds.

This process imports what the verbs need, and runs none of it: a fork of a process with threads may
hang.
"""

import gc
import importlib
import os
import pickle
import pkgutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

STOPS = (signal.SIGINT, signal.SIGTERM)
ESCAPED = 99
"""Exit status of a child whose command line raised anything but SystemExit."""
_LAZY = (
    *(
        "cf_xarray.units",
        "dask.array",
        "distributed",
        "h5netcdf",
        "matplotlib.figure",
        "rich.progress",
        "rioxarray",
    ),
    *("matplotlib.backends.backend_agg", "numba", "pyogrio", "sarsen", "skimage.measure"),
    *("sklearn.svm", "stac_geoparquet.arrow", "torch._dynamo", "xarray_sentinel", "jinja2"),
)
"""What the verbs import within functions."""


def preload() -> None:
    """Import all verbs, and keep the garbage collector of children from copying the memory."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import sarcast
    import sarcast.cli

    names = [each.name for each in pkgutil.walk_packages(sarcast.__path__, "sarcast.")]
    for name in (*names, *_LAZY):
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # of an extra that is not installed
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes
    ----------
    status
        Exit status; negative numbers of signals that killed it.
    output
        What it printed.
    seconds
        How long it ran.
    """

    status: int
    output: str
    seconds: float


@dataclass(frozen=True)
class Child:
    """A run in a forked child."""

    pid: int
    log: Path
    started: float

    def send(self, number: int) -> bool:
        """Send a signal; return whether the child was still running."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return False
        os.kill(self.pid, number)
        return True

    def wait(self) -> Ended:
        _, status = os.waitpid(self.pid, 0)
        seconds = time.monotonic() - self.started
        return Ended(os.waitstatus_to_exitcode(status), self.log.read_text(), seconds)


def start(
    words: Sequence[str], folder: Path, log: Path, gate: tuple[int, int] | None = None
) -> Child:
    """Start ``sarcast`` in a folder.

    Parameters
    ----------
    words
        The command line without ``sarcast``.
    folder
        Current folder of the run.
    log
        File for its output.
    gate
        The two ends of a pipe: the run starts when all others have closed the second.
    """
    # a signal within fork would leave locks as they are in this process
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    pid = os.fork()
    if pid == 0:
        _run(words, folder, log, gate)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return Child(pid, log, time.monotonic())


def run(words: Sequence[str], folder: Path, log: Path) -> Ended:
    """Run ``sarcast`` to the end; see ``start``."""
    return start(words, folder, log).wait()


def forked(function: Callable[[], T], log: Path) -> T:
    """Call a function in a child, since it may start threads; its result is pickled."""
    pid = os.fork()
    if pid == 0:
        try:
            log.write_bytes(pickle.dumps(function()))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    result: T = pickle.loads(log.read_bytes())
    return result


def _run(words: Sequence[str], folder: Path, log: Path, gate: tuple[int, int] | None) -> None:
    """Run the command line in a child and end it, without what Python does at its end."""
    status = ESCAPED
    try:
        _redirect(log)
        os.chdir(folder)
        if gate is not None:
            reading, writing = gate
            os.close(writing)
            os.read(reading, 1)
        from sarcast.cli import main

        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        begun = False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        begun = True
        main(list(words))
    except SystemExit as ended:
        status = int(ended.code or 0)
    except KeyboardInterrupt:
        if begun:
            traceback.print_exc()
        else:
            sys.stdout.write("sarcast: interrupted before it began\n")
            status = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _redirect(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - pytest's is captured
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
