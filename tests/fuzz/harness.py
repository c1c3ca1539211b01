"""Feed mutated inputs to the functions that read them, and count what comes of each.

Each input runs in a worker process under the exception policy of the command line. It ends in one
of ``OUTCOMES``: it is read, it is refused by one line, or it shows a fault. A worker that hangs,
crashes or takes too much memory is replaced, and the input counts as the cause.

Input ``number`` of a kind and a seed is always the same, so that a fault can be repeated.
"""

import faulthandler
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from sarcast import cli
from sarcast.io.progress import show_progress

HANG_S = 20.0
"""Longest processor time of an input; a busy machine is not a fault."""
DEADLOCK_S = 100.0
MEMORY_BYTES = 2 << 30
LONGEST_LINE = 2000
"""Most characters of an error line; file names are part of it."""
OUTCOMES = (
    "ok", "refused", "NOISE", "TRACEBACK", "HANG", "MEMORY", "CRASH", "LITTER", "LINE", "ACCEPTED",
)  # fmt: skip
"""NOISE is what a library in C prints besides: reported, but no fault."""
FAULTS = OUTCOMES[3:]

Call = list[str] | Callable[[], object]
"""Arguments of the command line, or a function that it calls; paths are relative to the case."""

_OUT = "out"
_POLL_S = 0.1
_TIRED_BYTES = 1 << 30
"""A worker that holds this much after an input is replaced, which is no fault."""
_FORK = multiprocessing.get_context("fork")


class Kind:
    """A kind of input: valid ones, and how they are mutated and read.

    Only ``out`` below the folder of a case may be written, and only by a command that succeeds.
    """

    name: str

    def __init__(self, seeds: Path) -> None:
        self.seeds = seeds

    @classmethod
    def missing(cls) -> str:
        """What is needed and absent; empty if the kind can be tried."""
        return ""

    def prepare(self) -> None:
        """Write the valid inputs into ``seeds``, once, in a process of its own."""

    def case(self, folder: Path, rng: np.random.Generator) -> Call:
        """Write a mutated input into the empty ``folder`` and return how it is read."""
        raise NotImplementedError


class AcceptedError(Exception):
    """Input was accepted that should have been refused."""


class MutatorError(Exception):
    """A fault of the harness itself."""


@dataclass(frozen=True)
class Result:
    """What came of one input."""

    number: int
    outcome: str
    group: str = ""
    """Faults with the same text probably have one cause."""
    detail: str = ""


@dataclass
class Tally:
    """The results of the inputs of a kind."""

    kind: str
    counts: Counter[str] = field(default_factory=Counter)
    groups: dict[tuple[str, str], list[Result]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    """Ends of the lines of refusal: what the inputs reached."""
    cpu_s: float = 0.0

    def add(self, result: Result) -> None:
        self.counts[result.outcome] += 1
        if result.outcome == "refused":
            self.refusals[_without_digits(result.detail)[:40] + " ... " + result.detail[-60:]] += 1
        if result.outcome in (*FAULTS, "NOISE"):
            self.groups.setdefault((result.outcome, result.group), []).append(result)

    @property
    def faults(self) -> int:
        return sum(self.counts[name] for name in FAULTS)

    def line(self) -> str:
        """One line: inputs, outcomes and speed."""
        inputs = sum(self.counts.values())
        shown = [name for name in OUTCOMES if name in self.counts or name in OUTCOMES[:2]]
        outcomes = ", ".join(f"{self.counts[name]} {name}" for name in shown)
        speed = f"; {inputs / self.cpu_s:.0f} inputs per second of CPU" if self.cpu_s else ""
        return f"{self.kind}: {inputs} inputs, {outcomes}{speed}"

    def report(self, seed: int) -> Iterator[str]:
        """The groups of faults, most frequent first, each with a command that repeats it."""
        for (outcome, group), results in sorted(self.groups.items(), key=lambda g: -len(g[1])):
            first = min(results, key=lambda result: result.number)
            yield f"{len(results):6d} {outcome} {group}"
            yield f"       {first.detail[:300]}"
            yield f"       python -m fuzz {self.kind} --only {first.number} --seed {seed}"


def rng_of(kind: str, number: int, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(kind.encode()), number])


# --- one input ------------------------------------------------------------------------------------


def try_input(kind: Kind, number: int, seed: int, work: Path) -> Result:
    """Mutate, read and judge one input in ``work / "case"``."""
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        call = kind.case(folder, rng_of(kind.name, number, seed))
    except Exception as error:
        raise MutatorError(f"input {number} of {kind.name} cannot be made: {error!r}") from error
    before = _listing(work)
    peak = _peak_bytes()
    status, shown, printed, error = _run(call, folder)
    if _peak_bytes() > max(peak, MEMORY_BYTES):
        return Result(number, "MEMORY", _first_words(shown), f"{_peak_bytes() >> 20} MB")
    if isinstance(error, AcceptedError):
        return Result(number, "ACCEPTED", str(error))
    if error is not None:
        detail = "".join(traceback.format_exception_only(error)).strip()
        return Result(number, "TRACEBACK", _where(error), detail)
    if fault := _fault_of_line(status, shown):
        return Result(number, "LINE", f"{fault}: {_first_words(shown)}", repr(shown[:300]))
    if litter := _litter(before, work, writes=status == 0):
        return Result(number, "LITTER", _without_digits(litter), shown.strip())
    if printed:
        return Result(number, "NOISE", _first_words(printed), repr(printed[:300]))
    return Result(number, "refused" if status else "ok", detail=shown.strip())


def _run(call: Call, folder: Path) -> tuple[int, str, str, BaseException | None]:
    """Exit status, what Python and C wrote to stderr, and the error that would be a traceback."""
    shown = StringIO()
    status, error = 0, None
    with chdir(folder), _native_stderr() as native, redirect_stderr(shown):
        with redirect_stdout(StringIO()):
            try:
                _call(call)
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else 1
            except BaseException as caught:
                error = caught
        printed = native()
    return status, shown.getvalue(), printed, error


def _call(call: Call) -> None:
    if isinstance(call, list):
        cli.main(["--quiet", *call])
        return
    show_progress(False)
    # the command line's own treatment of errors, without parsing flags
    with patch.object(cli, "app", SimpleNamespace(meta=lambda *_, **__: call())):
        cli.main([])


@contextmanager
def _native_stderr() -> Iterator[Callable[[], str]]:
    """Capture what libraries in C write to file descriptor 2."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def text() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield text
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _fault_of_line(status: int, shown: str) -> str:
    """What is wrong with the output of a run; an error is one line of bounded length."""
    lines = shown.splitlines()
    if status == 0:
        return "output of a run that succeeds" if lines else ""
    if status not in (cli.WORK_FAILED, cli.BAD_USAGE):
        return f"status {status}"
    if len(lines) != 1:
        return "several lines" if lines else "no line"
    return "long line" if len(shown) > LONGEST_LINE else ""


def _litter(before: dict[str, tuple[int, ...]], work: Path, *, writes: bool) -> str:
    """A file that is new, changed or gone, but may not be; empty if there is none."""
    after = _listing(work)
    touched = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    allowed = f"case/{_OUT}"
    found = [path for path in touched if not (writes and path.startswith(allowed))]
    return min(found, default="")


def _listing(folder: Path) -> dict[str, tuple[int, ...]]:
    """Every file below a folder with its size and time, every folder and link."""
    listed: dict[str, tuple[int, ...]] = {}
    stack, start = [str(folder)], len(str(folder)) + 1
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                state = entry.stat(follow_symlinks=False)
                path = entry.path[start:]
                if entry.is_dir(follow_symlinks=False):
                    listed[path] = (state.st_mode,)
                    stack.append(entry.path)
                else:
                    listed[path] = (state.st_mode, state.st_size, state.st_mtime_ns)
    return listed


def _where(error: BaseException) -> str:
    """Type of an error and the innermost function of sarcast that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/sarcast/" in f.filename and "/cli.py" not in f.filename]
    frame = own[-1] if own else frames[-1]
    file = frame.filename.rpartition("/sarcast/")[2]
    return f"{type(error).__name__} in {file}:{frame.name}"


def _first_words(shown: str) -> str:
    return _without_digits(shown[:60].splitlines()[0] if shown.strip() else "")


def _without_digits(text: str) -> str:
    return "".join("#" if char.isdigit() else char for char in text)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


# --- many inputs ----------------------------------------------------------------------------------


def campaign(
    kind: type[Kind],
    numbers: Sequence[int],
    seed: int,
    *,
    save: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Tally:
    """Try inputs of a kind in a worker process, which is replaced when it dies.

    Parameters
    ----------
    kind
        The kind.
    numbers
        Which inputs.
    seed
        Seed of all of them.
    save
        Folder that keeps a copy of each input with a fault.
    say
        Receives a line of progress every minute.
    """
    tally = Tally(kind.name)
    with _scratch() as base:
        _in_child(_prepare, kind, base)
        used, reported = _children_s(), time.monotonic()
        left = list(numbers)
        while left:
            for result in _worker_results(kind, left, seed, base):
                tally.add(result)
                if result.outcome in FAULTS:
                    say(f"{kind.name} --only {result.number}: {result.outcome} {result.group}")
                left = left[left.index(result.number) + 1 :] if left else left
                if save is not None and result.outcome in FAULTS:
                    _keep(base / "work" / "case", save / f"{kind.name}-{result.number}")
                if time.monotonic() - reported > 60.0:
                    reported = time.monotonic()
                    say(tally.line())
        tally.cpu_s = _children_s() - used
    return tally


def _children_s() -> float:
    """Processor time of the workers that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def _scratch() -> Iterator[Path]:
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    base = Path(tempfile.mkdtemp(prefix="sarcast-fuzz-", dir=where))
    try:
        (base / "seeds").mkdir()
        (base / "work" / "tmp").mkdir(parents=True)
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _in_child(task: Callable[..., None], *arguments: Any) -> None:
    process = _FORK.Process(target=task, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{task.__name__} failed")


def _prepare(kind: type[Kind], base: Path) -> None:
    show_progress(False)
    kind(base / "seeds").prepare()


def _worker_results(
    kind: type[Kind], numbers: Sequence[int], seed: int, base: Path
) -> Iterator[Result]:
    """Results of one worker until it is done or dies; its death is the last result."""
    ours, theirs = _FORK.Pipe()
    current = _FORK.Value("q", -1, lock=False)
    process = _FORK.Process(target=_work, args=(kind, numbers, seed, base, theirs, current))
    process.start()
    theirs.close()
    try:
        yield from _watch(process, ours, current)
    finally:
        process.kill()
        process.join()


def _watch(process: BaseProcess, results: Connection, current: Any) -> Iterator[Result]:
    began, used, number = time.monotonic(), 0.0, -1
    while True:
        ready = wait([results], _POLL_S)
        if ready:
            try:
                result = results.recv()
            except EOFError:
                break
            if isinstance(result, RuntimeError):
                raise result
            if result is None:
                return
            yield result
        if current.value != number:
            began, used, number = time.monotonic(), _cpu_s(process.pid), current.value
        elif number >= 0 and (
            _cpu_s(process.pid) - used > HANG_S or time.monotonic() - began > DEADLOCK_S
        ):
            yield Result(number, "HANG", _stack_of(process))
            return
        if number >= 0 and _rss_bytes(process.pid) > MEMORY_BYTES:
            yield Result(number, "MEMORY", _stack_of(process), "ended")
            return
    process.join()
    if current.value < 0:
        raise RuntimeError("a worker died before its first input")
    yield Result(current.value, "CRASH", f"exit code {process.exitcode}")


def _stack_of(process: BaseProcess) -> str:
    """Ask a busy worker where it is; code in C may keep it from answering."""
    assert process.pid is not None
    path = Path(tempfile.gettempdir()) / f"sarcast-fuzz-{process.pid}"
    os.kill(process.pid, signal.SIGUSR1)
    time.sleep(0.5)
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    own = [line for line in lines if "/sarcast/" in line]
    return own[0].strip().rpartition("/sarcast/")[2] if own else "unknown"


def _cpu_s(pid: int | None) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_bytes(pid: int | None) -> int:
    try:
        resident = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(resident) * resource.getpagesize()


def _work(
    kind: type[Kind],
    numbers: Sequence[int],
    seed: int,
    base: Path,
    results: Connection,
    current: Any,
) -> None:
    """Try inputs one after another; the end of a worker that is not tired is announced by None."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    stack = Path(tempfile.gettempdir()) / f"sarcast-fuzz-{os.getpid()}"
    with stack.open("w") as file:
        faulthandler.register(signal.SIGUSR1, file=file, all_threads=False)
        tempfile.tempdir = str(base / "work" / "tmp")
        os.environ["TMPDIR"] = tempfile.tempdir
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(base)
        os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = str(base)
        state = kind(base / "seeds")
        for number in numbers:
            current.value = number
            try:
                result = try_input(state, number, seed, base / "work")
            except MutatorError as error:
                results.send(RuntimeError("".join(traceback.format_exception(error))))
                break
            results.send(result)
            if result.outcome == "MEMORY" or _rss_bytes(os.getpid()) > _TIRED_BYTES:
                break
            if result.outcome == "LITTER":
                _clean(base / "work")
    results.send(None)
    stack.unlink(missing_ok=True)
    sys.stdout.flush()
    os._exit(0)


def _clean(work: Path) -> None:
    for path in work.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    (work / "tmp").mkdir()


def _keep(case: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    if case.is_dir():
        shutil.copytree(case, target, symlinks=True)
