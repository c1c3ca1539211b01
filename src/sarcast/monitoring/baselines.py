"""Which baseline each pixel is compared with while it is monitored.

Normally the images before the watched acquisitions, so that the baseline moves on with them. Under
an alert it stays where it was at the first detection: otherwise the change would soon be part of
what is expected. In the year after an alert has finished, the latest images alone are taken, since
those of the same season of the year before are older than the change.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Bool, Times
from sarcast.monitoring.layers import FINISHED, NO_DAY, Int, day_of
from sarcast.monitoring.sequential import ACTIVE
from sarcast.sensor.units import YEAR_DAYS

MOVING, RENEWED, FIRST_FIXED = 0, 1, 2
"""Codes of pixels: the moving baseline, that of the latest images alone, the first fixed one."""
SHARED_DAYS = 48.0
"""Days by which a baseline may end earlier than it must, to share the end of others."""


@dataclass(frozen=True)
class Baselines:
    """Baseline of each pixel.

    Attributes
    ----------
    code
        Dims (y, x), uint16: ``MOVING``, ``RENEWED``, or ``FIRST_FIXED`` + index of a fixed one.
    renewed_day
        Dims (y, x), int32: day since 1970-01-01 at which the last alert finished; ``NO_DAY``.
    ends
        Dims (fixed), datetime64[s]: previous images are taken before these times; in the order in
        which they were first needed.
    latest
        Dims (fixed): whether they are of the latest images alone.
    """

    code: npt.NDArray[np.uint16]
    renewed_day: Int
    ends: Times
    latest: Bool

    @classmethod
    def moving(cls, shape: tuple[int, int]) -> Self:
        """Return the moving baseline for every pixel."""
        ends = np.zeros(0, dtype="datetime64[s]")
        days = np.full(shape, NO_DAY, dtype=np.int32)
        return cls(np.zeros(shape, dtype=np.uint16), days, ends, np.zeros(0, dtype=bool))

    @property
    def in_use(self) -> list[int]:
        """Codes of pixels besides ``MOVING``, ascending."""
        return [int(code) for code in np.unique(self.code) if code != MOVING]

    def end_of(self, code: int, moving: np.datetime64) -> np.datetime64:
        """End of a baseline, where that of the moving one is ``moving``."""
        end: np.datetime64 = self.ends[code - FIRST_FIXED] if code >= FIRST_FIXED else moving
        return end

    def is_latest(self, code: int) -> bool:
        """Whether a baseline is of the latest images alone."""
        return code == RENEWED or (code >= FIRST_FIXED and bool(self.latest[code - FIRST_FIXED]))

    def after(self, status: Int, time: np.datetime64, end: np.datetime64) -> Self:
        """Return the baselines after an acquisition.

        Parameters
        ----------
        status
            Of each pixel after the acquisition.
        time
            Of the acquisition.
        end
            End of the moving baseline at the acquisition, at which those of new alerts stay.
        """
        active, fixed = np.isin(status, ACTIVE), self.code >= FIRST_FIXED
        finished = np.isin(status, FINISHED) & fixed
        renewed = np.where(finished, np.int32(day_of(time)), self.renewed_day)
        recent = (renewed != NO_DAY) & (day_of(time) - renewed.astype(np.int64) <= YEAR_DAYS)
        code = np.where(active & fixed, self.code, np.where(recent, RENEWED, MOVING))
        moved = replace(self, code=code.astype(np.uint16), renewed_day=renewed)
        for latest in (False, True):
            new = active & ~fixed & (recent == latest)
            moved = moved._fixed(new, end, latest=latest) if new.any() else moved
        return moved

    def _fixed(self, where: Bool, end: np.datetime64, *, latest: bool) -> Self:
        """Return the baselines with one that stays in some pixels.

        If one in use ends at most ``SHARED_DAYS`` earlier, they share it, so that there are few.
        """
        end = end.astype("datetime64[s]")
        shared = [
            code
            for code in self.in_use
            if code >= FIRST_FIXED and self.latest[code - FIRST_FIXED] == latest
            if 0.0 <= (end - self.ends[code - FIRST_FIXED]) / np.timedelta64(1, "D") <= SHARED_DAYS
        ]
        code = shared[-1] if shared else FIRST_FIXED + len(self.ends)
        moved = replace(self, code=np.where(where, np.uint16(code), self.code))
        if shared:
            return moved
        return replace(moved, ends=np.append(self.ends, end), latest=np.append(self.latest, latest))
