"""Waits for new scenes: a folder is watched, a server is asked now and then.

Of a folder, changes are noticed at once by ``watchfiles``, in a thread, so that signals reach the
main thread; where a file system reports none (network drives), the time between two rounds is the
limit. ``WATCHFILES_FORCE_POLLING=1`` makes it look instead.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Protocol, Self

from sarcast.errors import SarcastError
from sarcast.ingest.scenes.files import RASTER_SUFFIXES
from sarcast.io.folders import walk
from sarcast.io.partials import is_partial

_log = logging.getLogger(__name__)

_PARTS = {".img", ".hdr", ".json", ".parquet"}
"""Other files that belong to scenes or catalogues."""
_STEP_S = 1.0
"""Longest time between two looks at files that may grow, seconds."""
_AGAIN_S = 30.0
"""Time until a folder that cannot be watched is tried again, seconds."""

Snapshot = Mapping[Path, tuple[int, int]]
"""Size and time of change of the files of scenes."""


class Arrivals(Protocol):
    """Waits until there may be new scenes; entered and left as a context."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def wait(self, longest_s: float) -> None:
        """Return when new scenes may have come, at the latest after some seconds or so."""
        ...


class Polled:
    """A catalogue on a server: nothing announces new scenes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def wait(self, longest_s: float) -> None:
        """Let some time pass."""
        if longest_s > 0.0:
            threading.Event().wait(longest_s)


class Watched:
    """A folder of scenes or of a catalogue.

    Parameters
    ----------
    folder
        The folder, watched with all below it.
    settle_s
        Seconds without any change to its rasters after which they are complete.
    """

    def __init__(self, folder: Path, settle_s: float) -> None:
        self.folder = folder
        self.settle_s = settle_s
        self._changed, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._notice, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def wait(self, longest_s: float) -> None:
        """Return once something has changed, or time has passed, and no raster grows."""
        self._changed.wait(longest_s)
        self._settle()

    def _settle(self) -> None:
        """Return when no file has been added, or has changed, for ``settle_s``."""
        before, since = self._look(), monotonic()
        while (left := since + self.settle_s - monotonic()) > 0.0:
            threading.Event().wait(min(left, _STEP_S))
            self._changed.clear()
            now = self._look()
            if now != before:
                before, since = now, monotonic()

    def _look(self) -> Snapshot:
        """Size and time of each file that belongs to a scene; of a folder that is gone, none."""
        found: dict[Path, tuple[int, int]] = {}
        with suppress(OSError, SarcastError):  # removed meanwhile; it is looked at again
            for path in _files_of_scenes(self.folder):
                state = path.stat()
                found[path] = (state.st_size, state.st_mtime_ns)
        return found

    def _notice(self) -> None:
        """Set ``_changed`` at each change, until stopped; a folder that vanished is tried again."""
        from watchfiles import watch

        while not self._stop.is_set():
            try:
                for _ in watch(
                    self.folder,
                    watch_filter=lambda _, path: belongs_to_scene(Path(path)),
                    stop_event=self._stop,
                    rust_timeout=1000,
                    debounce=400,
                ):
                    self._changed.set()
            except (OSError, RuntimeError) as error:
                _log.warning(
                    f"changes of {self.folder} are not noticed at once ({error}); it is looked at "
                    f"from time to time"
                )
                self._stop.wait(_AGAIN_S)


def belongs_to_scene(path: Path) -> bool:
    """Whether a file may be a part of a scene or a catalogue, by its name."""
    return path.suffix.lower() in RASTER_SUFFIXES | _PARTS


def has_scenes(folder: Path) -> bool:
    """Whether a folder has any file that belongs to a scene; true if it cannot be read."""
    try:
        return next(_files_of_scenes(folder), None) is not None
    except (OSError, SarcastError):
        return True  # whoever reads it says why it cannot be


def _files_of_scenes(folder: Path) -> Iterator[Path]:
    for _, files in walk(folder, _ignore):
        for path in files:
            if belongs_to_scene(path) and not is_partial(path.relative_to(folder)):
                yield path


def _ignore(_reason: str, _path: Path) -> None:
    """Links that lead nowhere are reported when the scenes are indexed."""
