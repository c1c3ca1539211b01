"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing where not wanted."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console

from sarcast.errors import public

T = TypeVar("T")

_PLAIN_SECONDS = 10.0
_quiet = False


def set_quiet(quiet: bool) -> None:
    """Silence progress and messages, or let them be seen; tables and errors are always shown."""
    global _quiet  # noqa: PLW0603 - one switch a process, as a logger's level
    _quiet = quiet


def say(line: str) -> None:
    """Print one line of what is being done, to standard error."""
    if not _quiet:
        Console(stderr=True, highlight=False, soft_wrap=True).print(public(line), markup=False)


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
    if _quiet:
        yield from items
    elif sys.stderr.isatty():
        yield from _bar(items, what, total, done)
    else:
        yield from _lines(items, what, total, done)


def _bar(items: Iterable[T], what: str, total: int, done: int) -> Iterator[T]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)


def _lines(
    items: Iterable[T],
    what: str,
    total: int,
    done: int,
    *,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    last = now()
    for count, item in enumerate(items, start=done + 1):
        yield item
        if count == total or now() - last > _PLAIN_SECONDS:
            last = now()
            say(f"{what}: {count} of {total}")
