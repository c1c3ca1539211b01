"""Which baseline each pixel is compared with while it is monitored.

Normally the images before the watched acquisitions, so that the baseline moves on with them. Under
an alert it stays where it was at the first detection: otherwise the change would soon be part of
what is expected. In the year after an alert has finished, the latest images alone are taken, since
those of the same season of the year before are older than the change.

What each pixel has is known part by part (``Baselines``); the fixed baselines are common to all
parts (``Fixed``). Pixels with a new alert have the codes ``NEW`` until it is known, from all parts,
which fixed baseline these share.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from sarcast.arrays import Bool, Times
from sarcast.monitoring.layers import FINISHED, NO_DAY, Int, day_of
from sarcast.monitoring.sequential import ACTIVE
from sarcast.sensor.units import YEAR_DAYS

MOVING, RENEWED, FIRST_FIXED = 0, 1, 2
"""Codes of pixels: the moving baseline, that of the latest images alone, the first fixed one."""
NEW = (65534, 65535)
"""Codes of pixels with a new alert, the second if it takes the latest images alone."""
SHARED_DAYS = 48.0
"""Days by which a baseline may end earlier than it must, to share the end of others."""


@dataclass(frozen=True)
class Fixed:
    """The fixed baselines of an area.

    Attributes
    ----------
    ends
        Dims (fixed), datetime64[s]: previous images are taken before these times; in the order in
        which they were first needed.
    latest
        Dims (fixed): whether they are of the latest images alone.
    """

    ends: Times
    latest: Bool

    @classmethod
    def of(cls, stored: Sequence[tuple[str, bool]]) -> Self:
        """Make them of what ``stored`` gives."""
        ends = np.array([end for end, _ in stored], dtype="datetime64[s]")
        return cls(ends, np.array([latest for _, latest in stored], dtype=bool))

    @property
    def stored(self) -> tuple[tuple[str, bool], ...]:
        """Ends as ISO 8601, and whether they are of the latest images alone."""
        return tuple(zip(map(str, self.ends), map(bool, self.latest), strict=True))

    def end_of(self, code: int, moving: np.datetime64) -> np.datetime64:
        """End of a baseline, where that of the moving one is ``moving``."""
        end: np.datetime64 = self.ends[code - FIRST_FIXED] if code >= FIRST_FIXED else moving
        return end

    def is_latest(self, code: int) -> bool:
        """Whether a baseline is of the latest images alone."""
        return code == RENEWED or (code >= FIRST_FIXED and bool(self.latest[code - FIRST_FIXED]))

    def with_new(
        self, in_use: Collection[int], end: np.datetime64
    ) -> tuple["Fixed", dict[int, int]]:
        """Fix the baselines of new alerts.

        If one in use ends at most ``SHARED_DAYS`` earlier, they share it, so that there are few.

        Parameters
        ----------
        in_use
            Codes of the pixels after an acquisition, as ``Baselines.after`` gives them.
        end
            End of the moving baseline at the acquisition, at which those of new alerts stay.

        Returns
        -------
        fixed, codes
            The fixed baselines then, and the code that takes the place of each of ``NEW`` in use.
        """
        fixed, codes = self, {}
        for new, latest in zip(NEW, (False, True), strict=True):
            if new in in_use:
                shared = [code for code in sorted(in_use) if self._may_share(code, end, latest)]
                codes[new] = shared[-1] if shared else FIRST_FIXED + len(fixed.ends)
                fixed = fixed if shared else fixed._and(end, latest)
        return fixed, codes

    def _may_share(self, code: int, end: np.datetime64, latest: bool) -> bool:
        if not FIRST_FIXED <= code < min(NEW) or bool(self.latest[code - FIRST_FIXED]) != latest:
            return False
        days = (end.astype("datetime64[s]") - self.ends[code - FIRST_FIXED]) / np.timedelta64(
            1, "D"
        )
        return bool(0.0 <= days <= SHARED_DAYS)

    def _and(self, end: np.datetime64, latest: bool) -> "Fixed":
        ends = np.append(self.ends, end.astype("datetime64[s]"))
        return Fixed(ends, np.append(self.latest, latest))


@dataclass(frozen=True)
class Baselines:
    """Baseline of each pixel of a part.

    Attributes
    ----------
    code
        Dims (y, x), uint16: ``MOVING``, ``RENEWED``, ``FIRST_FIXED`` + index of a fixed one, or one
        of ``NEW``.
    renewed_day
        Dims (y, x), int32: day since 1970-01-01 at which the last alert finished; ``NO_DAY``.
    """

    code: npt.NDArray[np.uint16]
    renewed_day: Int

    @property
    def in_use(self) -> list[int]:
        """Codes of pixels besides ``MOVING``, ascending."""
        return [int(code) for code in np.unique(self.code) if code != MOVING]

    def after(self, status: Int, time: np.datetime64) -> Self:
        """Return the baselines after an acquisition; those of new alerts are to be fixed.

        Parameters
        ----------
        status
            Of each pixel after the acquisition.
        time
            Of the acquisition.
        """
        active, fixed = np.isin(status, ACTIVE), self.code >= FIRST_FIXED
        finished = np.isin(status, FINISHED) & fixed
        renewed = np.where(finished, np.int32(day_of(time)), self.renewed_day)
        recent = (renewed != NO_DAY) & (day_of(time) - renewed.astype(np.int64) <= YEAR_DAYS)
        new = np.where(recent, NEW[1], NEW[0])
        without = np.where(recent, RENEWED, MOVING)
        code = np.where(active, np.where(fixed, self.code, new), without)
        return type(self)(code.astype(np.uint16), renewed)
