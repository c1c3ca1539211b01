"""Messages of a run in a file: with times and levels, without credentials."""

import datetime as dt
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path

from sarcast.errors import UsageError, first_line, hide

_LOGGER = logging.getLogger("sarcast")
_START = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
"""How each line of a log begins."""
_NONE = logging.CRITICAL + 1


@contextmanager
def log_to(path: Path, hidden: Sequence[str] = ()) -> Iterator[logging.Logger]:
    """Add to a file what is logged meanwhile: all of sarcast, and warnings of other libraries.

    A log that exists is continued, also after another program renamed it. Each line has a time
    (UTC), the number of the process, a level and the name of a logger; further lines of the same
    message are indented. A disk that is full ends the log, with a warning, but not the work.

    Parameters
    ----------
    path
        The file.
    hidden
        Texts, such as the words of a command line, whose credentials are not written; it may grow.

    Yields
    ------
    Logger
        Logs to the file alone.

    Raises
    ------
    UsageError
        If the file cannot be written, or holds something else than a log.
    """
    handler = _open(path, hidden)
    root, level = logging.getLogger(), _LOGGER.level
    only = logging.Logger("sarcast", logging.DEBUG)
    only.addHandler(handler)
    root.addHandler(handler)
    _LOGGER.setLevel(logging.DEBUG)
    try:
        yield only
    finally:
        _LOGGER.setLevel(level)
        root.removeHandler(handler)
        with suppress(OSError):  # of a full disk, which was reported
            handler.close()


def _open(path: Path, hidden: Sequence[str]) -> "_Handler":
    try:
        if path.is_file() and not _is_log(path):
            raise UsageError(f"{path} is not a log of sarcast and stays as it is; name a new file")
        handler = _Handler(path, encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise UsageError(
            f"the log {path} cannot be written ({reason}); name a file in a folder that exists and "
            f"that you may write to"
        ) from error
    handler.setFormatter(_Formatter(hidden))
    handler.addFilter(
        lambda record: record.name.split(".")[0] == "sarcast" or record.levelno >= logging.WARNING
    )
    return handler


def _is_log(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(19)
    return not start or bool(_START.match(start))


class _Handler(WatchedFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Report once that the file cannot be written, such as on a full disk."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.setLevel(_NONE)
        _LOGGER.warning(
            f"the log {self.baseFilename} ends here, since it cannot be written ({error.strerror})"
        )


class _Formatter(logging.Formatter):
    def __init__(self, hidden: Sequence[str]) -> None:
        super().__init__("%(message)s")
        self.hidden = hidden

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line, and as indented ones below it."""
        time = dt.datetime.fromtimestamp(record.created, dt.UTC)
        stamp = time.replace(tzinfo=None).isoformat(timespec="milliseconds")
        lines = [hide(line, *self.hidden) for line in super().format(record).splitlines()]
        text = "\n    ".join(lines)
        return f"{stamp}Z {record.process} {record.levelname} {record.name}: {text}"
