"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing unless asked for.

The library never prints. What is worth knowing goes to the loggers below ``sarcast``, as
``logging`` has them; ``show_progress`` lets bars and these messages be seen on standard error.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console

from sarcast.errors import without_credentials

T = TypeVar("T")

_PLAIN_SECONDS = 10.0
_LOGGER = logging.getLogger("sarcast")


class _Printer(logging.Handler):
    """Prints messages on standard error, one line each, free of credentials."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        _print(f"{prefix}{record.getMessage()}")


_PRINTER = _Printer()
_shown = False


def show_progress(shown: bool = True) -> None:
    """Show progress bars, messages and warnings on standard error, or hide all of them.

    Before the first call no bar is shown, and messages go where ``logging`` is set up to send them:
    a notebook that wants bars asks for them once.

    Parameters
    ----------
    shown
        False hides warnings too; errors are exceptions and never hidden.
    """
    global _shown  # noqa: PLW0603 - one switch a process, as a logger's level
    _shown = shown
    _LOGGER.setLevel(logging.INFO if shown else logging.ERROR)
    _LOGGER.addHandler(_PRINTER)


def _print(line: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        without_credentials(line), markup=False
    )


Reached = Callable[[int], tuple[float, str]]
"""Tells of a number of items done the share of the work, 0..1, and how far that is in words."""


def track(items: Iterable[T], what: str, total: int, *, done: int = 0) -> Iterator[T]:
    """Yield ``items`` and show how many of ``total`` are done.

    Parameters
    ----------
    items
        What is worked on; an item counts as done when the next one is asked for.
    what
        A few words, as "building the cube".
    total
        Number of items, those done before included.
    done
        Number done before, by an earlier run.
    """

    def reached(count: int) -> tuple[float, str]:
        return count / max(total, 1), f"{count} of {total}"

    return follow(items, what, reached, done=done)


def follow(items: Iterable[T], what: str, reached: Reached, *, done: int = 0) -> Iterator[T]:
    """Yield ``items`` and show how far work is that does not end with a number of items.

    Parameters
    ----------
    items, what, done
        As for ``track``.
    reached
        Asked after an item what is shown.
    """
    if not _shown:
        yield from items
    elif sys.stderr.isatty():
        yield from _bar(items, what, reached, done)
    else:
        yield from _lines(items, what, reached, done)


def _bar(items: Iterable[T], what: str, reached: Reached, done: int) -> Iterator[T]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        share, words = reached(done)
        task = progress.add_task(what, total=1.0, words=words)
        progress.update(task, completed=share)
        for count, item in enumerate(items, start=done + 1):
            yield item
            share, words = reached(count)
            progress.update(task, completed=share, words=words)


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
        share, words = reached(count)
        if share >= 1.0 or now() - last > _PLAIN_SECONDS:
            last = now()
            _print(f"{what}: {words}")
