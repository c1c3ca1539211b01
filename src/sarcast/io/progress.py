"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing unless asked for.

The library never prints. Its messages go to the loggers below ``sarcast``; ``show_progress`` shows
them, and progress bars, on standard error.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console

from sarcast.errors import without_credentials

T = TypeVar("T")

_PLAIN_SECONDS = 10.0
_LOGGER = logging.getLogger("sarcast")


class _Printer(logging.Handler):
    """Prints log messages on standard error, one line each, without credentials."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        _print(f"{prefix}{record.getMessage()}")


_PRINTER = _Printer()
_shown = False


def show_progress(shown: bool = True) -> None:
    """Show progress bars, messages and warnings on standard error, or hide all of them.

    Before the first call no bar is shown, and messages go where ``logging`` is configured to send
    them. In a notebook, call it once to see bars.

    Parameters
    ----------
    shown
        False hides warnings too. Errors are exceptions and are never hidden.

    Examples
    --------
    >>> sarcast.show_progress()  # in a notebook, before the first long call
    >>> sarcast.show_progress(False)
    """
    global _shown  # noqa: PLW0603 - one switch a process, as a logger's level
    _shown = shown
    level = logging.INFO if shown else logging.ERROR
    _PRINTER.setLevel(level)
    _LOGGER.setLevel(level)
    _LOGGER.addHandler(_PRINTER)


def _print(line: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        without_credentials(line), markup=False
    )


Reached = Callable[[int], tuple[float, str]]
"""From the number of items done: fraction of the work, 0..1, and a text such as ``3 of 9``."""


def track(items: Iterable[T], what: str, total: int, *, done: int = 0) -> Iterator[T]:
    """Yield ``items`` and show how many of ``total`` are done.

    Parameters
    ----------
    items
        Items of work; an item counts as done when the next one is requested.
    what
        A few words, such as "building the cube".
    total
        Number of items, including those done before.
    done
        Number of items done by an earlier run.
    """

    def reached(count: int) -> tuple[float, str]:
        return count / max(total, 1), f"{count} of {total}"

    return follow(items, what, reached, done=done)


def follow(items: Iterable[T], what: str, reached: Reached, *, done: int = 0) -> Iterator[T]:
    """Yield ``items`` and show progress that is not a count of items, such as a share of a time.

    Other threads than the main one show nothing: their work is a part of what that one shows.

    Parameters
    ----------
    items, what, done
        As for ``track``.
    reached
        Called after each item; returns what to show.
    """
    if not _shown or threading.current_thread() is not threading.main_thread():
        yield from items
    elif sys.stderr.isatty():
        yield from _bar(items, what, reached, done)
    else:
        yield from _lines(items, what, reached, done)


def _bar(items: Iterable[T], what: str, reached: Reached, done: int) -> Iterator[T]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        fraction, text = reached(done)
        task = progress.add_task(what, total=1.0, text=text)
        progress.update(task, completed=fraction)
        for count, item in enumerate(items, start=done + 1):
            yield item
            fraction, text = reached(count)
            progress.update(task, completed=fraction, text=text)


def _lines(
    items: Iterable[T],
    what: str,
    reached: Reached,
    done: int,
    *,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    last = now()
    for count, item in enumerate(items, start=done + 1):
        yield item
        fraction, text = reached(count)
        if fraction >= 1.0 or now() - last > _PLAIN_SECONDS:
            last = now()
            _print(f"{what}: {text}")
