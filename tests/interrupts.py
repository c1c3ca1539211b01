"""Interrupts at chosen lines, one line after another, so that none is left to chance."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from inspect import unwrap
from itertools import count
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

Scope = ModuleType | FunctionType | type
"""Code whose lines count: a module, a class, or a function with those defined inside it."""


class Interrupt:
    """What became of an interrupt: ``line`` is where it happened, as ``store.py:12``, or empty."""

    line = ""


@contextmanager
def interrupt_at_line(
    number: int,
    *scopes: Scope,
    error: type[BaseException] = KeyboardInterrupt,
    first_only: bool = True,
) -> Iterator[Interrupt]:
    """Raise ``error`` before the ``number``-th line of the scopes that this thread executes.

    With ``first_only`` a line counts when it is executed for the first time, else every time.
    """
    interrupt, seen, codes = Interrupt(), [], _codes(scopes)
    files = {scope.__file__ for scope in scopes if isinstance(scope, ModuleType)}

    def trace_lines(frame: FrameType, event: str, _: Any) -> Any:
        line = (frame.f_code, frame.f_lineno)
        if event == "line" and not (first_only and line in seen):
            seen.append(line)
            if len(seen) == number:
                interrupt.line = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise error
        return trace_lines

    def trace(frame: FrameType, *_: Any) -> Any:
        code = frame.f_code
        return trace_lines if code in codes or code.co_filename in files else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield interrupt
    finally:
        sys.settrace(before)


def interrupted_runs(
    run: Callable[[], object], *scopes: Scope, error: type[BaseException] = KeyboardInterrupt
) -> Iterator[str]:
    """Run again and again, interrupted one line later each time, until a run gets through.

    Yields
    ------
    str
        The line of the interrupt, after each run that was interrupted; the caller checks what is
        left, and brings it back to where ``run`` starts.
    """
    for number in count(1):
        with suppress(error), interrupt_at_line(number, *scopes, error=error) as interrupt:
            run()
        if not interrupt.line:
            return
        yield interrupt.line


def _codes(scopes: tuple[Scope, ...]) -> set[CodeType]:
    found: set[CodeType] = set()
    for scope in scopes:
        members = vars(scope).values() if isinstance(scope, type) else [scope]
        for member in members:
            function = unwrap(getattr(member, "__func__", getattr(member, "fget", member)))
            if isinstance(function, FunctionType):
                found |= _nested(function.__code__)
    return found


def _nested(code: CodeType) -> set[CodeType]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return {code}.union(*map(_nested, inner))
