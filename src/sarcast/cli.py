"""The command line: one verb a workflow, errors on one line."""

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
from sarcast.commands.config import check_record
from sarcast.errors import SarcastError, UsageError, public
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
    "demo": "The whole way on a synthetic area: world, cube, network, evaluation, change map.",
    "world": "Write a synthetic area: scenes, DEM, weather, land cover, truth, catalogue.",
    "rtc": "Make gamma nought of Sentinel-1 GRD products, corrected for terrain, and a catalogue.",
    "index": "Make STAC items for the Sentinel-1 rasters found.",
    "cube": "Build a cube from the scenes of a catalogue, or extend one by what it lacks.",
    "train": "Train the mapping transformation function on cubes, or adapt a trained one.",
    "predict": "Write the expected image of a date, under its own conditions or under others.",
    "detect": "Write what changed on the ground at a date: rasters, polygons, STAC item.",
    "evaluate": "Prove by simulated change how much better the improved difference image is.",
    "bench": "Compare networks with strategies and oracle on fixed synthetic windows.",
    "ablate": "Train and evaluate a network without each condition in turn.",
}
for _verb, _help in VERBS.items():
    app.command(f"sarcast.commands.{_verb}:{_verb}", name=_verb, help=_help)

_tfrecord = App(name="tfrecord", help="The paper's published data set, in and out.")
for _verb, _help in {
    "import": "Import TFRecord files, losslessly, for training and evaluation.",
    "export": "Write TFRecord files that the published scripts read.",
}.items():
    _tfrecord.command(f"sarcast.commands.tfrecord:{_verb}_samples", name=_verb, help=_help)
app.command(_tfrecord)


@app.meta.default
def _run(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Path | None = None,
    quiet: bool = False,
) -> None:
    """Read what holds for all verbs, then run the verb.

    Parameters
    ----------
    config
        YAML file with options of the verb; flags that are given win.
    quiet
        Show tables and errors alone: no progress, no messages, no warnings.
    """
    show_progress(not quiet)
    if config is not None and tokens:
        check_record(config, tokens[0])
    app.config = () if config is None else (cyclopts.config.Yaml(config),)
    app(tokens, exit_on_error=False, print_error=False)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status: 0, 1 (the work failed) or 2 (bad usage)."""
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
        if error.errno not in _ENVIRONMENT:
            raise
        _fail(_refusal(error), WORK_FAILED)
    except RuntimeError as error:
        if not str(error).startswith(_LOOP):
            raise
        _fail(f"{error}: name another path", WORK_FAILED)


_LOOP = "Symlink loop"
"""How pathlib tells of links that lead back to themselves, until Python 3.13."""
_INTERRUPTED = (
    "interrupted; no half-written result is left: run the same command again "
    "(a cube and a training go on where they stopped)"
)
_ENVIRONMENT = (
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
"""What the surroundings refuse, and no fault of the program."""


def _refusal(error: OSError) -> str:
    """One line for what the surroundings refuse; a file that is half written goes unnamed."""
    if error.filename is None:
        return " ".join(str(error).split())
    path = Path(error.filename)
    hidden = (one.parent for one in (path, *path.parents) if one.suffix == ".partial")
    return f"{error.strerror}: {next(hidden, path)}"


def _usage(error: CycloptsError) -> str:
    """One line for a command line that cannot be read."""
    cause = error.__cause__
    if not isinstance(cause, pydantic.ValidationError):
        return " ".join(str(error).split())
    first = cause.errors()[0]
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        return said  # of options that do not go together; the line tells their values
    flag = _flag(error.argument, first["loc"])
    if first["type"] == "missing":
        return f"{flag} is needed{_told(error.argument, first['loc'])}"
    if first["type"] == "string_pattern_mismatch":
        said = f"takes one of {', '.join(first['ctx']['pattern'].strip('^()$').split('|'))}"
    return f"{flag}: {said}, but {first['input']!r} was given"


def _flag(argument: Argument | None, place: tuple[int | str, ...]) -> str:
    """Name the flag of an option as it was given, since some have two names."""
    names = tuple(part for part in place if isinstance(part, str))
    option = _option(argument, names)
    if option is not None:
        typed = (token.keyword or "" for token in option.tokens)
        return next((word for word in typed if word.startswith("-")), option.name)
    return f"--{names[-1].replace('_', '-')}" if names else "the options"


def _told(argument: Argument | None, place: tuple[int | str, ...]) -> str:
    option = _option(argument, tuple(part for part in place if isinstance(part, str)))
    return f": {option.parameter.help}" if option is not None and option.parameter.help else ""


def _option(argument: Argument | None, names: tuple[str, ...]) -> Argument | None:
    found = (argument, *_options(argument)) if argument else ()
    return next((option for option in found if option.keys == names), None)


def _options(argument: Argument) -> Iterator[Argument]:
    for option in argument.children:
        yield option
        yield from _options(option)


def _warn(message: Warning | str, *_where: Any, **_more: Any) -> None:
    _log.warning("%s", message)


def _fail(line: str, status: int) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"sarcast: {public(line)}", markup=False)
    sys.exit(status)


if __name__ == "__main__":
    main()
