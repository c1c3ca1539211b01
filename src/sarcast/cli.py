"""The command line: its verbs, its messages, its exit status, every error on one line."""

import errno
import logging
import platform
import re
import shlex
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, NoReturn

import cyclopts.config
import pydantic
from cyclopts import App, Argument, CycloptsError, Parameter
from rich.console import Console

import sarcast
from sarcast.commands.config import read_record
from sarcast.errors import SarcastError, UsageError, hide, one_line
from sarcast.io.log_file import log_to
from sarcast.io.memory import limit_memory
from sarcast.io.progress import show_progress

_log = logging.getLogger(__name__)

WORK_FAILED, BAD_USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143

app = App(
    name="sarcast",
    version=sarcast.__version__,
    help="Predicts what a Sentinel-1 image should look like, and finds what truly changed.",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    version_flags=["--version"],
)

app.meta.suppress_keyboard_interrupt = False
VERBS = {
    "demo": "Run every step on a synthetic area: world, cube, network, evaluation, change map.",
    "world": "Write a synthetic area: scenes, DEM, weather, land cover, truth, catalogue.",
    "rtc": "Terrain-correct Sentinel-1 GRD products to gamma nought, with a catalogue.",
    "index": "Index Sentinel-1 rasters as STAC items.",
    "cube": "Build a cube from the scenes of a catalogue, or add new scenes to one.",
    "train": "Train an expected-image network on cubes or from a recipe, or adapt a trained one.",
    "predict": "Write the expected image of a date, under its own or counterfactual conditions.",
    "detect": "Write what changed on the ground at a date: rasters, polygons, STAC item.",
    "monitor": "Follow alerts over acquisitions: process the new ones, confirm or dismiss events.",
    "view": "Show a cube, a detection or alerts as a map in the browser, without the internet.",
    "publish": "Write finished detections to databases: events to PostGIS, items to a catalogue.",
    "evaluate": "Measure with simulated changes how well difference images reveal change.",
    "bench": "Compare networks with strategies and the oracle on fixed synthetic windows.",
    "ablate": "Train and evaluate a network without each condition in turn.",
    "doctor": "Report versions, processor, GPUs, memory and disks; check a cube and a model.",
}
for _verb, _help in VERBS.items():
    app.command(f"sarcast.commands.{_verb}:{_verb}", name=_verb, help=_help)

_tfrecord = App(name="tfrecord", help="Read and write the paper's published data set.")
for _verb, _help in {
    "import": "Import TFRecord files without loss, for training and evaluation.",
    "export": "Write TFRecord files that the published scripts can read.",
}.items():
    _tfrecord.command(f"sarcast.commands.tfrecord:{_verb}_samples", name=_verb, help=_help)
app.command(_tfrecord)


@app.meta.default
def _run(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Path | None = None,
    quiet: bool = False,
    log: Path | None = None,
) -> None:
    """Read the options that all verbs share, then run the verb.

    Parameters
    ----------
    config
        YAML file with options of the verb; flags override it.
    quiet
        Show only tables and errors: no progress, no messages, no warnings.
    log
        File that receives all messages with their times, also those that --quiet hides, with the
        command line, versions and the traceback of an error, without credentials; a log that
        exists is continued.
    """
    show_progress(not quiet)
    app.config = ()
    with nullcontext() if log is None else _logged(log):
        if config is not None and tokens:
            record = read_record(config, tokens[0])
            _given.extend(_texts(record))
            app.config = (cyclopts.config.Dict(record, source=str(config)),)
        app(tokens, exit_on_error=False, print_error=False)


_given: list[str] = []
"""Words of the command line and texts of ``--config``, whose credentials are shown nowhere."""


def _texts(record: Any) -> Iterator[str]:
    """All texts of nested options."""
    if isinstance(record, str):
        yield record
    elif isinstance(record, list | dict):
        for value in record.values() if isinstance(record, dict) else record:
            yield from _texts(value)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit with status 0, 1 (work failed), 2 (bad usage), 130 or 143."""
    _given[:] = sys.argv[1:] if arguments is None else arguments
    limit_memory()
    try:
        with warnings.catch_warnings(), _stopped_by_signals(), _log_unraisable():
            warnings.filterwarnings("default", category=UserWarning, module="sarcast")
            warnings.showwarning = _warn
            app.meta(arguments, exit_on_error=False, print_error=False)
    except (Exception, KeyboardInterrupt) as error:
        _explain(error)


def _explain(error: BaseException) -> NoReturn:
    """End with one line about an error, or raise it if it is a fault of the program."""
    if _stop_behind(error):  # what libraries then say of unfinished work is not shown
        warnings.simplefilter("ignore")
        sys.unraisablehook = lambda ignored: _log.debug("ignored: %r", ignored.exc_value)
    elif isinstance(error, BrokenPipeError):
        sys.exit(WORK_FAILED)
    line, status = _outcome(error)
    if line is None:
        sys.excepthook = _show_traceback
        raise error
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"sarcast: {line}", markup=False)
    sys.exit(status)


def _outcome(error: BaseException) -> tuple[str | None, int]:
    """What an error means: one line, and the exit status; no line for a fault of the program."""
    line, status = _limit_reached(error), WORK_FAILED
    if stop := _stop_behind(error):
        is_terminated = issubclass(stop, _Terminated)
        line = f"{'terminated' if is_terminated else 'interrupted'}; {_STOPPED}"
        status = TERMINATED if is_terminated else INTERRUPTED
    elif isinstance(error, BrokenPipeError):
        line = "the reader of the output ended"
    elif isinstance(error, CycloptsError):
        line, status = hide(_usage(error), *_given), BAD_USAGE
    elif isinstance(error, SarcastError):
        line, status = str(error), BAD_USAGE if isinstance(error, UsageError) else WORK_FAILED
    return None if line is None else one_line(line), status


def _stop_behind(error: BaseException) -> type[BaseException] | None:
    """The request to end that an error is, or that a library made another error of."""
    if isinstance(error, KeyboardInterrupt):
        return type(error)
    return _stops[-1] if _stops else None


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Write to a file what was run, with which versions, all messages, and how it ended."""
    from sarcast.io.versions import versions

    started = time.monotonic()
    with log_to(path, _given) as log:
        log.info("%s", shlex.join(["sarcast", *(hide(word, *_given) for word in _given)]))
        log.info("%s, in %s", platform.platform(), Path.cwd())
        log.info("%s", ", ".join(f"{name} {found}" for name, found in versions().items()))
        try:
            yield
        except BaseException as error:
            _log_end(log, error, time.monotonic() - started)
            raise
        log.info("finished after %.1f s", time.monotonic() - started)


def _log_end(log: logging.Logger, error: BaseException, seconds: float) -> None:
    """Log how a run ended; the traceback of an error that has an explanation is a detail."""
    if isinstance(error, SystemExit) and not error.code:
        log.info("finished after %.1f s", seconds)
        return
    line, status = _outcome(error)
    log.error("exit status %s after %.1f s: %s", status, seconds, line or "a fault of the program")
    trace = "".join(traceback.format_exception(error))
    log.log(logging.ERROR if line is None else logging.DEBUG, "%s", trace)


class _Terminated(KeyboardInterrupt):
    """The process was asked to end, by SIGTERM; it cleans up as after an interrupt."""


_stops: list[type[KeyboardInterrupt]] = []
"""Requests to end the process that came while the command line ran."""


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` on SIGINT and ``_Terminated`` on SIGTERM in the main thread.

    Signals that something else handles, or that are ignored, are left to it.
    """

    def stop(number: int, _: object) -> None:
        _stops.append(_Terminated if number == signal.SIGTERM else KeyboardInterrupt)
        raise _stops[-1]

    _stops.clear()
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    is_main = threading.current_thread() is threading.main_thread()
    ours = {n: each for n, each in defaults.items() if is_main and signal.getsignal(n) is each}
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, default in ours.items():
            signal.signal(number, default)


@contextmanager
def _log_unraisable() -> Iterator[None]:
    """Log errors that cannot be raised, of callbacks and of files closed at the end, as details.

    They are those of libraries given a damaged file, which is reported by its own error. Cython
    shows such an error twice, first by the hook for errors that end the process.
    """
    before = sys.excepthook, sys.unraisablehook
    sys.excepthook = lambda _, error, __: _log.debug("ignored: %r", error)
    sys.unraisablehook = lambda ignored: _log.debug("ignored: %r", ignored.exc_value)
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = before


_STOPPED = (
    "no half-written result is left: run the same command again "
    "(a cube and a training resume where they stopped)"
)


# --- limits of the machine ------------------------------------------------------------------------


_SYMLINK_LOOP = "Symlink loop"
"""Start of pathlib's message about links that form a loop, before Python 3.13."""
_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cannot allocate memory"
    r"|unable to allocate|can't start new thread",
    re.IGNORECASE,
)
"""Messages of torch, GDAL, HDF5 and the system about memory, which have no type of their own."""
_OUT_OF_MEMORY = (
    "out of memory; no half-written result is left: use fewer --workers, a smaller --tile, --batch "
    "or --area, or a machine with more memory, and run the same command again"
)
_SYSTEM_ERRORS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.ENOTDIR,
    errno.ENOENT,
    errno.ENOTEMPTY,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EISDIR,
    errno.EBUSY,
    errno.EXDEV,
    errno.EIO,
    errno.ENXIO,
    errno.ENODEV,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOLCK,
    errno.ESTALE,
    errno.ETIMEDOUT,
)
"""Errors of the file system and its limits, which are not faults of the program."""


def _limit_reached(error: BaseException) -> str | None:
    """One line about an error of the file system or of memory; None for faults of the program."""
    if _is_out_of_memory(error):
        return _OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in _SYSTEM_ERRORS:
        return _system_error(error)
    if isinstance(error, RuntimeError) and str(error).startswith(_SYMLINK_LOOP):
        return f"{error}: name another path"
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | OSError) and bool(_NO_MEMORY.search(str(error)))


def _system_error(error: OSError) -> str:
    """One line about an error of the file system; temporary names are replaced by the target's."""
    if error.filename is None:
        return " ".join(str(error).split())
    path = Path(error.filename)
    targets = (part.parent for part in (path, *path.parents) if part.suffix == ".partial")
    return f"{error.strerror}: {next(targets, path)}"


def _usage(error: CycloptsError) -> str:
    """One line about a command line that cannot be parsed."""
    cause = error.__cause__
    if not isinstance(cause, pydantic.ValidationError):
        return " ".join(str(error).split())
    first = cause.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        return reason  # options that contradict each other; the reason names them
    flag = _flag(error.argument, first["loc"])
    if first["type"] == "missing":
        return f"{flag} is needed{_description(error.argument, first['loc'])}"
    if first["type"] == "string_pattern_mismatch":
        reason = f"takes one of {', '.join(first['ctx']['pattern'].strip('^()$').split('|'))}"
    return f"{flag}: {reason}, but {first['input']!r} was given"


def _flag(argument: Argument | None, location: tuple[int | str, ...]) -> str:
    """Return the flag of an option as it was typed, since some have two names."""
    names = _field_names(location)
    option = _option(argument, names)
    if option is not None:
        typed = (token.keyword or "" for token in option.tokens)
        return next((word for word in typed if word.startswith("-")), option.name)
    return f"--{names[-1].replace('_', '-')}" if names else "the options"


def _description(argument: Argument | None, location: tuple[int | str, ...]) -> str:
    option = _option(argument, _field_names(location))
    return f": {option.parameter.help}" if option is not None and option.parameter.help else ""


def _field_names(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """Names in the location of a validation error, without indices."""
    return tuple(part for part in location if isinstance(part, str))


def _option(argument: Argument | None, names: tuple[str, ...]) -> Argument | None:
    options = (argument, *_options(argument)) if argument else ()
    return next((option for option in options if option.keys == names), None)


def _options(argument: Argument) -> Iterator[Argument]:
    for option in argument.children:
        yield option
        yield from _options(option)


def _warn(message: Warning | str, *_where: Any, **_more: Any) -> None:
    _log.warning("%s", message)


def _show_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Show the traceback of a fault of the program, without the credentials of the arguments."""
    for line in "".join(traceback.format_exception(kind, error, trace)).splitlines():
        sys.stderr.write(f"{hide(line, *_given)}\n")


if __name__ == "__main__":
    main()
