"""Scenes that cannot be used: one policy for folders, items on disk, catalogues and STAC APIs.

They are left out, and reported at the end in one warning per reason. With ``--strict`` the run
fails instead, and if nothing else remains it always does.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sarcast.errors import SarcastError, UsageError

_log = logging.getLogger(__name__)

NO_DATA = "no data, every pixel is 0 or missing"
UNREADABLE = "unreadable, or without a location"
NO_ITEM = "no valid STAC item"
NO_TIME = "no time of acquisition"
LEVEL_1 = "level-1 product in radar geometry; convert it with sarcast rtc"
UNKNOWN_SOURCE = "collection without a profile; describe it with --profile"
UNKNOWN_BANDS = "polarisation unknown"
OTHER_BANDS = "no VV, VH, HH or HV"
NO_UNIT = "unit or quantity unknown"
OTHER_TYPES = "field of another type than in the other items"
OTHER_UNIT = "values that contradict the declared unit"
COMPLEX = "complex image, not backscatter"

_MOST_NAMES = 3


class UnusableError(SarcastError):
    """A scene cannot be used; the others can.

    Parameters
    ----------
    reason
        What all scenes have in common that are left out for the same cause, in a few words.
    line
        The message for this scene, on one line.
    """

    def __init__(self, reason: str, line: str) -> None:
        super().__init__(line)
        self.reason = reason


@dataclass
class _Group:
    """Scenes left out for one reason, with the message of the first."""

    refused: bool
    names: list[str] = field(default_factory=list)
    line: str = ""

    def summary(self, reason: str) -> str:
        """For example ``2 left out (no time of acquisition): a, b``."""
        names = ", ".join(self.names[:_MOST_NAMES])
        more = len(self.names) - _MOST_NAMES
        rest = f" and {more} more" if more > 0 else ""
        return f"{len(self.names)} left out ({reason}): {names}{rest}"

    def details(self, reason: str) -> str:
        """The same, with the message of the first, which says what to do."""
        return f"{self.summary(reason)}{f'; the first: {self.line}' if self.line else ''}"


class LeftOut:
    """Collects the scenes that a run leaves out, by reason.

    Examples
    --------
    >>> left_out = LeftOut()
    >>> for item in items:
    ...     with left_out.unusable(item.id):
    ...         usable.append(normalise_item(item, profiles))
    >>> left_out.report(bool(usable), strict=False)
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def add(self, reason: str, name: str, line: str = "", *, refused: bool = True) -> None:
        """Leave out a scene.

        Parameters
        ----------
        reason
            In a few words; scenes with the same reason are reported together.
        name
            Id of the scene, or path of the file.
        line
            Message for this scene.
        refused
            Whether ``--strict`` refuses it; false for what is not a loss, such as a second copy.
        """
        group = self._groups.setdefault(reason, _Group(refused))
        group.names.append(name)
        group.line = group.line or line

    def names(self) -> set[str]:
        """Names of all that was left out and not reported yet."""
        return {name for group in self._groups.values() for name in group.names}

    @contextmanager
    def unusable(self, name: str) -> Iterator[None]:
        """Leave out the scene of this name if the block raises an error of that scene."""
        try:
            yield
        except UsageError:
            raise
        except UnusableError as error:
            self.add(error.reason, name, str(error))
        except SarcastError as error:
            self.add(UNREADABLE, name, str(error))

    def report(self, any_used: bool, *, strict: bool) -> None:
        """Warn of what was left out, one line per reason.

        Parameters
        ----------
        any_used
            Whether any scene can be used.
        strict
            Whether scenes that cannot be used are refused.

        Raises
        ------
        SarcastError
            If no scene can be used, or if one cannot and ``strict`` is set.
        """
        refused = {reason: group for reason, group in self._groups.items() if group.refused}
        if refused and not any_used:
            raise SarcastError(self._nothing_usable(refused))
        if refused and strict:
            raise SarcastError(
                f"--strict refuses scenes that cannot be used: {self._summary(refused)}; correct "
                f"or remove them, or leave out --strict to use the others"
            )
        for reason, group in self._groups.items():
            _log.warning(group.details(reason))
        self._groups.clear()

    def _nothing_usable(self, groups: dict[str, _Group]) -> str:
        """The message of the first scene if all have the same reason, else of each reason."""
        (first, *others) = groups.values()
        if others or not first.line:
            reasons = "; ".join(group.details(reason) for reason, group in groups.items())
            return f"none of the scenes can be used: {reasons}"
        count = len(first.names) - 1
        return first.line if not count else f"{first.line} (and {count} more like this)"

    @staticmethod
    def _summary(groups: dict[str, _Group]) -> str:
        return "; ".join(group.summary(reason) for reason, group in groups.items())
