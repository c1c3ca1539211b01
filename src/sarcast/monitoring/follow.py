"""Monitoring that goes on: scenes are added to the cube as they come, then processed."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sarcast.cube.extend import Request, extend_by_new, is_catalogue
from sarcast.cube.opening import open_cube
from sarcast.errors import SarcastError, UsageError, hide
from sarcast.io.files import check_inputs
from sarcast.monitoring.arrivals import Arrivals, Polled, Watched, has_scenes
from sarcast.monitoring.monitor import Monitored, monitor
from sarcast.monitoring.options import MonitorOptions
from sarcast.monitoring.state import StateFolder, seconds_of
from sarcast.windows import Predictor

_log = logging.getLogger(__name__)

_FIRST_AGAIN_S = 60.0
"""Pause after the first failure, seconds; each later one is twice as long."""


@dataclass(frozen=True)
class Feed:
    """Where new scenes come from.

    Attributes
    ----------
    source
        Folder of scenes, folder of a catalogue, or URL of a STAC API or a pgstac database.
    request
        How they are read; what the cube records takes precedence.
    every_minutes
        Longest time between two rounds.
    settle_s
        Seconds without change after which the rasters of a folder are complete.
    """

    source: str
    request: Request = field(default_factory=Request)
    every_minutes: float = 60.0
    settle_s: float = 10.0

    def check(self, cube: Path, alerts: Path) -> None:
        """Raise if the source is no folder or URL, or the cube or the alerts lie in it."""
        if "://" in self.source:
            return
        folder = Path(self.source)
        if not folder.is_dir():
            raise SarcastError(
                f"{folder} is not a folder (--watch): name the folder in which scenes arrive, the "
                f"folder of a catalogue, or the URL of a STAC API"
            )
        for target in (cube, alerts):
            check_inputs(target, (folder,))

    def arrivals(self) -> Arrivals:
        """What waits for the scenes."""
        return Polled() if "://" in self.source else Watched(Path(self.source), self.settle_s)


def follow(
    cube: Path, predictor: Predictor, *, to: Path, feed: Feed, options: MonitorOptions
) -> Iterator[Monitored]:
    """Extend a cube by the scenes that come and monitor it, round after round, without end.

    A round begins when scenes have come, and ``feed.every_minutes`` after the one before. A source
    that does not answer, a raster that cannot be read and, after the first round, a run of
    monitoring that fails do not end it: they are logged and tried again after one minute, two,
    four, up to ``every_minutes``.

    Parameters
    ----------
    cube
        Path of the cube, which has acquisitions.
    predictor, to, options
        As for ``monitor``; ``replay_from`` and ``renew_null`` apply to the first round.
    feed
        Where new scenes come from.

    Yields
    ------
    Monitored
        What is known after each round.

    Raises
    ------
    SarcastError
        If the source is no folder or URL, or monitoring fails in the first round.
    """
    feed.check(cube, to)
    rounds = _Rounds(cube, predictor, to, feed)
    with feed.arrivals() as arrivals:
        arrivals.wait(0.0)
        rounds.extend()
        yield rounds.monitor(options)
        options = options.model_copy(update={"replay_from": None, "renew_null": False})
        while True:
            arrivals.wait(rounds.pause_s)
            if (alerts := rounds.next(options)) is not None:
                yield alerts


@dataclass
class _Rounds:
    """What all rounds have in common, and how the last ones went."""

    cube: Path
    predictor: Predictor
    to: Path
    feed: Feed
    failures: int = 0
    warned: set[str] = field(default_factory=set)

    @property
    def pause_s(self) -> float:
        """Longest time until the next round, seconds."""
        longest = 60.0 * self.feed.every_minutes
        if not self.failures:
            return longest
        return min(longest, _FIRST_AGAIN_S * 2.0 ** (self.failures - 1))

    def next(self, options: MonitorOptions) -> Monitored | None:
        """Extend and monitor; None if monitoring failed, which is logged."""
        extended = self.extend()
        try:
            alerts = self.monitor(options)
        except UsageError:
            raise
        except (SarcastError, OSError) as error:
            self._failed(f"nothing was monitored: {error}")
            return None
        self.failures = 0 if extended else self.failures
        return alerts

    def extend(self) -> bool:
        """Add new scenes to the cube; return whether it went well, what fails is logged."""
        source = self.feed.source
        if not is_catalogue(source) and Path(source).exists() and not has_scenes(Path(source)):
            return True
        try:
            extension = extend_by_new(source, self.cube, self.feed.request, last_processed(self.to))
        except UsageError:
            raise
        except (SarcastError, OSError) as error:
            self._failed(f"not all scenes of {source} were added: {error}")
            return False
        if extension.added:
            _log.info(f"{self.cube}: {extension.added} acquisitions added")
        self._warn_of(extension.late)
        return True

    def monitor(self, options: MonitorOptions) -> Monitored:
        """Process what the cube has and the alerts do not know."""
        return monitor(open_cube(self.cube), self.predictor, to=self.to, options=options)

    def _failed(self, line: str) -> None:
        self.failures += 1
        source = self.feed.source
        _log.warning(f"{hide(line, source)}; tried again within {self.pause_s / 60.0:.0f} min")

    def _warn_of(self, late: tuple[str, ...]) -> None:
        """Name scenes that were left out because they came late, each once."""
        new = [name for name in late if name not in self.warned]
        self.warned.update(new)
        if new:
            more = f" and {len(new) - 3} more" if len(new) > 3 else ""
            _log.warning(
                f"{len(new)} scenes came after a later acquisition was processed, and are left "
                f"out: {', '.join(new[:3])}{more}; to use them, add them with sarcast cube and run "
                f"sarcast monitor with --replay-from"
            )


def last_processed(alerts: Path) -> np.datetime64 | None:
    """Time of the last acquisition that a monitoring folder knows; None before the first run."""
    folder = StateFolder(alerts)
    numbers = folder.numbers()
    return seconds_of(folder.record(numbers[-1]).known[-1].time) if numbers else None
