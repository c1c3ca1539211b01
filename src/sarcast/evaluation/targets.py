"""Which dates and windows of a cube are evaluated, and with which predictors."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from pydantic import Field

from sarcast.cube import Date, moment_of
from sarcast.cube.dates import IsoDate
from sarcast.errors import SarcastError
from sarcast.evaluation.metrics import Role
from sarcast.io.progress import track
from sarcast.prediction.strategies import STRATEGIES, Oracle, Strategy
from sarcast.windows import (
    Chooser,
    Predictor,
    PreviousOptions,
    TrainedPredictor,
    Window,
    bands_of,
    join_names,
    target_dates,
    tile_windows,
)

_log = logging.getLogger(__name__)


class WindowOptions(PreviousOptions):
    """Which windows of a cube are evaluated."""

    start: IsoDate | None = Field(
        None,
        description="First target date, ISO 8601; default: the first one after all dates that the "
        "model was trained and validated on.",
    )
    end: IsoDate | None = Field(None, description="Last target date, ISO 8601; default: the last.")
    window: int = Field(
        256, ge=16, description="Side of a window in pixels, for networks that take any size."
    )


def windows_to_evaluate(
    cube: xr.Dataset, predictors: Sequence[Predictor], options: WindowOptions
) -> tuple[list[int], Iterator[Window]]:
    """Cut the windows, side by side, of every target date, in a size that all predictors take.

    Parameters
    ----------
    cube
        The cube.
    predictors
        Their size and number of previous images override the options. Dates up to the last of their
        training and validation are left out, unless the options set a start; a start within the
        training gives a warning.
    options
        Which windows.

    Returns
    -------
    tuple
        Indices of the target dates on ``time``, and their windows, in the bands that have data on
        any of these dates.

    Raises
    ------
    SarcastError
        If the predictors need different windows, or no date has enough previous images.
    """
    images = {predictor.previous for predictor in predictors}
    sizes = {predictor.size for predictor in predictors}
    count = _common("number of previous images", images, options.previous)
    size = _common("window size", sizes, min(options.window, max(cube.sizes["y"], cube.sizes["x"])))
    trainings = [each.training for each in predictors if isinstance(each, TrainedPredictor)]
    after = max((each["seen_until"] for each in trainings if each.get("seen_until")), default=None)
    _warn_of_training_dates(options.start, trainings)
    dates = dates_to_evaluate(cube, count, start=options.start, after=after, end=options.end)
    bands = bands_of(cube.isel(time=dates))
    return dates, _windows(cube.sel(band=list(bands)), dates, size, count, options.chooser)


def dates_to_evaluate(
    cube: xr.Dataset,
    count: int,
    *,
    start: Date | None = None,
    after: Date | None = None,
    end: Date | None = None,
) -> list[int]:
    """Indices on ``time`` of the dates that can be targets.

    Parameters
    ----------
    cube
        The cube.
    count
        Number of images that must precede a target.
    start, end
        First and last date.
    after
        Date up to which targets are left out if there is no ``start``.

    Raises
    ------
    SarcastError
        If there is no such date.
    """
    first = None if start is None else moment_of(start)
    if start is None and after is not None:
        first = moment_of(after, last=True)
    last = None if end is None else moment_of(end, last=True)
    targets = target_dates(cube, count, start=first, end=last)
    if len(targets) == 0:
        since = start or (f"after {after}" if after else "the first")
        raise SarcastError(
            f"no date of the cube from {since} to {end or 'the last'} has {count} previous images; "
            f"choose another start or end, or a cube with later dates"
        )
    return [int(index) for index in targets]


def predictors_by_role(
    predictors: Sequence[Predictor], *, oracle: bool
) -> dict[Role, list[Predictor]]:
    """Group predictors with the conventional strategies and, if the cube has it, the oracle.

    Strategies among ``predictors`` replace the conventional ones of the same name.
    """
    networks = [each for each in predictors if not isinstance(each, Strategy)]
    given = [each for each in predictors if isinstance(each, Strategy)]
    strategies = [*STRATEGIES.values(), *(each for each in given if not isinstance(each, Oracle))]
    roles: dict[Role, list[Predictor]] = {"network": networks} if networks else {}
    roles["strategy"] = list({strategy.name: strategy for strategy in strategies}.values())
    return {**roles, "oracle": [Oracle()]} if oracle else roles


def _windows(
    cube: xr.Dataset, dates: Sequence[int], size: int, count: int, chooser: Chooser
) -> Iterator[Window]:
    """Windows with data in every band; how many lack one is logged at the end."""
    left_out = 0
    for target in track(dates, "evaluating", len(dates)):
        for window in tile_windows(cube, target, size, count, chooser=chooser):
            if np.isfinite(window.target).any(axis=(1, 2)).all():
                yield window
            else:
                left_out += 1
    if left_out:
        names = join_names([str(band) for band in cube["band"].values])
        _log.warning(
            f"{left_out} windows are left out, because their target does not have both {names}"
        )


def _common(what: str, values: set[int | None], default: int) -> int:
    """Return the one value that all predictors need, or the default where they take any."""
    needed = {value for value in values if value is not None}
    if len(needed) > 1:
        raise SarcastError(
            f"predictors that are compared must take the same windows, but their {what} is "
            f"{' and '.join(map(str, sorted(needed)))}; evaluate them separately"
        )
    return needed.pop() if needed else default


def _warn_of_training_dates(start: str | None, trainings: Sequence[Mapping[str, Any]]) -> None:
    """Warn if the evaluation starts within the training dates of a predictor."""
    dates = [training["training_dates"] for training in trainings if training.get("training_dates")]
    last = max((each[-1] for each in dates), default=None)
    if start and last and moment_of(start) <= moment_of(last, last=True):
        warnings.warn(
            f"the evaluation starts at {start}, but a network was trained on dates up to {last}: "
            f"its scores are too good there",
            stacklevel=4,
        )
