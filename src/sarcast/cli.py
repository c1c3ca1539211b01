"""The command line: its verbs, its messages, its exit status, every error on one line."""

import errno
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import cyclopts.config
import pydantic
from cyclopts import App, Argument, CycloptsError, Parameter
from rich.console import Console

import sarcast
from sarcast.commands.config import read_record
from sarcast.errors import SarcastError, UsageError, without_credentials
from sarcast.io.progress import show_progress

_log = logging.getLogger(__name__)

WORK_FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130

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
    "evaluate": "Measure with simulated changes how well difference images reveal change.",
    "bench": "Compare networks with strategies and the oracle on fixed synthetic windows.",
    "ablate": "Train and evaluate a network without each condition in turn.",
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
) -> None:
    """Read the options that all verbs share, then run the verb.

    Parameters
    ----------
    config
        YAML file with options of the verb; flags override it.
    quiet
        Show only tables and errors: no progress, no messages, no warnings.
    """
    show_progress(not quiet)
    app.config = ()
    if config is not None and tokens:
        record = read_record(config, tokens[0])
        app.config = (cyclopts.config.Dict(record, source=str(config)),)
    app(tokens, exit_on_error=False, print_error=False)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit with status 0, 1 (the work failed), 2 (bad usage) or 130."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("default", category=UserWarning, module="sarcast")
            warnings.showwarning = _warn
            app.meta(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(_usage(error), BAD_USAGE)
    except UsageError as error:
        _fail(str(error), BAD_USAGE)
    except SarcastError as error:
        _fail(str(error), WORK_FAILED)
    except KeyboardInterrupt:
        _fail(_INTERRUPTED, INTERRUPTED)
    except BrokenPipeError:
        sys.exit(WORK_FAILED)
    except OSError as error:
        if error.errno not in _SYSTEM_ERRORS:
            raise
        _fail(_system_error(error), WORK_FAILED)
    except RuntimeError as error:
        if not str(error).startswith(_SYMLINK_LOOP):
            raise
        _fail(f"{error}: name another path", WORK_FAILED)


_SYMLINK_LOOP = "Symlink loop"
"""Start of pathlib's message about links that form a loop, before Python 3.13."""
_INTERRUPTED = (
    "interrupted; no half-written result is left: run the same command again "
    "(a cube and a training resume where they stopped)"
)
_SYSTEM_ERRORS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.ENOENT,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EISDIR,
    errno.EIO,
    errno.EMFILE,
    errno.ESTALE,
)
"""Errors of the file system and its limits, which are not faults of the program."""


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


def _fail(line: str, status: int) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"sarcast: {without_credentials(line)}", markup=False)
    sys.exit(status)


if __name__ == "__main__":
    main()
