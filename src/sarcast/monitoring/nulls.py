"""Null distributions while monitoring: replayed at the first acquisition, and renewed at times."""

import logging
from dataclasses import dataclass, field

import numpy as np

from sarcast.detection.area import Area
from sarcast.detection.null import Null
from sarcast.detection.null_file import read_null, write_null
from sarcast.detection.prepare import measure_null
from sarcast.detection.watch import Watch
from sarcast.errors import SarcastError
from sarcast.monitoring.options import MonitorOptions
from sarcast.monitoring.state import Record, StateFolder
from sarcast.sensor.units import YEAR_DAYS
from sarcast.windows import Predictor

_log = logging.getLogger(__name__)

GROWTH = 0.25
"""Share by which a past of less than a year grows until it is replayed anew: by then it has seen
another part of the year, in which unchanged ground may do other things."""


@dataclass
class NullKeeper:
    """Measures null distributions when they are due, and keeps them beside the states.

    Attributes
    ----------
    area, predictor, options
        As for ``measure_null``.
    folder
        Where they are kept.
    renew
        Whether the next acquisition renews them in any case.
    """

    area: Area
    predictor: Predictor
    options: MonitorOptions
    folder: StateFolder
    renew: bool = False
    _known: dict[int, Null] = field(default_factory=dict, init=False)

    def of(self, record: Record, watch: Watch, time: str) -> tuple[Null, int, str]:
        """Null distributions for an acquisition.

        They are renewed ``renew_days`` after the acquisition that they were made at, since the
        past grows, and its seasons and strata with it; in the first year of the cube sooner, when
        the past has grown by ``GROWTH``.

        Parameters
        ----------
        record
            Of the state before the acquisition.
        watch
            What is watched at the acquisition.
        time
            Of the acquisition.

        Returns
        -------
        Null
            The distributions.
        number, since
            Number and time of the acquisition that they were made at.

        Raises
        ------
        SarcastError
            If those that are kept cannot be read.
        """
        if record.number == 0 or self.renew or self._is_due(record, time):
            self.renew = False
            return self._measured(record.number + 1, watch), record.number + 1, time
        if record.null_number not in self._known:
            self._known = {record.null_number: self._kept(record.null_number)}
        return self._known[record.null_number], record.null_number, record.null_time

    def _kept(self, number: int) -> Null:
        path = self.folder.null_path(number)
        try:
            return read_null(path)
        except SarcastError as error:
            raise SarcastError(
                f"the null distributions in {path} are missing, damaged, or those of an earlier "
                f"version: replay the past anew (--renew-null)"
            ) from error

    def _is_due(self, record: Record, time: str) -> bool:
        now, then = (
            np.datetime64(text.removesuffix("Z"), "s") for text in (time, record.null_time)
        )
        age, past = (
            each / np.timedelta64(1, "D")
            for each in (now - then, then - self.area.part.cube["time"].values.min())
        )
        in_first_year = past < YEAR_DAYS and age >= GROWTH * past
        return bool(age >= self.options.renew_days or in_first_year)

    def _measured(self, number: int, watch: Watch) -> Null:
        null = measure_null(self.area, self.predictor, watch, self.options)
        self.folder.path.mkdir(parents=True, exist_ok=True)
        write_null(null, self.folder.null_path(number))
        self._known = {number: null}
        _log.info(f"null distributions renewed: {len(null.peaks)} replays of the past")
        return null
