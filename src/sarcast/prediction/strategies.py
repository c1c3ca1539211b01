"""Conventional strategies: one of the previous images, or a mean of them, as the expected image.

Each is a ``windows.Predictor``, as a model is, and uses the previous images of the window only, as
networks do. An unknown condition is taken to be equal for all images; among equally good images the
latest is taken.
"""

from collections.abc import Callable, Sequence

import numpy as np

from sarcast.arrays import Bool, Double, Float
from sarcast.errors import SarcastError
from sarcast.sensor.conditions import HEADING, INCIDENCE
from sarcast.sensor.orbits import is_descending
from sarcast.sensor.units import YEAR_DAYS
from sarcast.windows import Expected, Window
from sarcast.windows.means import mean_where

LARGEST_INCIDENCE_DIFFERENCE_DEG = 1.0
"""The paper's tables include a window only if its closest geometry is within this."""
SEASON_MEAN_DAYS = 30.0
"""Days either side of the target's day of the year, in any year, that ``season-mean`` averages."""


def geometry_distance(window: Window) -> Double:
    """Compute the distance of each previous image to the target in scaled incidence and heading.

    Parameters
    ----------
    window
        Only its conditions are used.

    Returns
    -------
    ndarray
        Dims (image,), 0..sqrt(2).

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, section IV-A, Method 1: incidences and headings of target and
    previous images are each scaled to 0..1 by their minimum and maximum over the window.
    """
    scaled = [_scaled(_column(window, column)) for column in (INCIDENCE, HEADING)]
    distance: Double = np.hypot(*(values[:-1] - values[-1] for values in scaled))
    return distance


def is_same_pass(window: Window) -> Bool:
    """Find the previous images of the target's pass, by their headings.

    Parameters
    ----------
    window
        Only its conditions are used; an unknown heading counts as the same pass.

    Returns
    -------
    ndarray of bool
        Dims (image,).
    """
    heading = _column(window, HEADING)
    descending = is_descending(heading)
    unknown = np.isnan(heading[:-1]) | np.isnan(heading[-1])
    same: Bool = (descending[:-1] == descending[-1]) | unknown
    return same


def counts_in_paper(window: Window) -> bool:
    """Decide whether the paper's tables would include a window.

    They do if a previous image has the target's pass, and the image of ``closest-geometry`` is
    within 1 degree of the target's incidence. Unknown conditions exclude nothing.

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, section IV-A.
    """
    if not is_same_pass(window).any():
        return False
    incidence = _column(window, INCIDENCE)
    closest = incidence[_latest_smallest(geometry_distance(window))]
    return not abs(closest - incidence[-1]) > LARGEST_INCIDENCE_DIFFERENCE_DEG


class Strategy:
    """A rule from a window to its expected image, as a ``windows.Predictor``.

    Parameters
    ----------
    name
        Name in tables and on the command line.
    rule
        From a window to an image of dims (band, y, x), dB.
    """

    size: int | None = None
    previous: int | None = None
    uses_target: bool = False

    def __init__(self, name: str, rule: Callable[[Window], Float]) -> None:
        self.name = name
        self._rule = rule

    def __repr__(self) -> str:
        return f"Strategy({self.name!r})"

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        """Give the expected image of each window; NaN where its previous images have no data.

        Raises
        ------
        SarcastError
            If a window has no previous image.
        """
        for window in windows:
            if window.previous.shape[0] == 0:
                raise SarcastError(
                    f"{self.name} needs at least one previous image, but the window has none; "
                    f"take a later target date"
                )
        return [Expected(self._rule(window)) for window in windows]


class Oracle(Strategy):
    """The true expected image of a synthetic world, without speckle: no predictor can do better."""

    def __init__(self) -> None:
        super().__init__("oracle", _oracle)


def closest_geometry(window: Window) -> Float:
    """Take the previous image of the nearest incidence and heading: Method 1 of the paper."""
    return _image(window, _latest_smallest(geometry_distance(window)))


def latest_same_pass(window: Window) -> Float:
    """Take the latest image of the target's pass, or the latest of all if none has it: Method 2."""
    same = np.flatnonzero(is_same_pass(window))
    return _image(window, int(same[-1]) if same.size else -1)


def latest(window: Window) -> Float:
    """Take the latest previous image: Method 3 of the paper."""
    return _image(window, -1)


def mean(window: Window) -> Float:
    """Take the mean in dB over the previous images that have data at the pixel."""
    return _mean(window.previous)


def pass_mean(window: Window) -> Float:
    """Take the mean of the images of the target's pass; of all if none has it."""
    same = is_same_pass(window)
    return _mean(window.previous[same] if same.any() else window.previous)


def season_mean(window: Window) -> Float:
    """Take the mean of the images within 30 days of the target's day of the year, in any year.

    Of the images nearest in season if none is so near; else as ``mean``.
    """
    distance = season_distance(window)
    return _mean(window.previous[distance <= max(SEASON_MEAN_DAYS, distance.min())])


def same_season(window: Window) -> Float:
    """Take the image of the target's pass whose day of the year is nearest to the target's."""
    same = np.flatnonzero(is_same_pass(window))
    candidates = same if same.size else np.arange(window.previous.shape[0])
    return _image(window, int(candidates[_latest_smallest(season_distance(window)[candidates])]))


def season_distance(window: Window) -> Double:
    """Compute the days between previous images and target within the year, across New Year.

    Parameters
    ----------
    window
        Only its times are used.

    Returns
    -------
    ndarray
        Dims (image,), 0..183 days.
    """
    days = window.times.astype("datetime64[D]").astype(np.float64)
    later = (days[:-1] - days[-1]) % YEAR_DAYS
    distance: Double = np.round(np.minimum(later, YEAR_DAYS - later))
    return distance


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy("closest-geometry", closest_geometry),
        Strategy("latest-same-pass", latest_same_pass),
        Strategy("latest", latest),
        Strategy("mean", mean),
        Strategy("pass-mean", pass_mean),
        Strategy("same-season", same_season),
        Strategy("season-mean", season_mean),
    )
}
"""The conventional strategies by name."""


def _oracle(window: Window) -> Float:
    if window.expected is None:
        raise SarcastError(
            "the oracle is known only in a synthetic world; this window has no expected image"
        )
    return window.expected


def _mean(images: Float) -> Float:
    """Mean over the images that have data at a pixel, dims (band, y, x); NaN where none has."""
    return mean_where(images, np.isfinite(images))


def _image(window: Window, index: int) -> Float:
    image: Float = window.previous[index]
    return image


def _column(window: Window, column: int) -> Double:
    return window.conditions[:, column].astype(np.float64)


def _scaled(values: Double) -> Double:
    """Scale to 0..1; all 0 where they are equal or one of them is unknown."""
    span = np.ptp(values)
    if not span > 0.0:
        return np.zeros_like(values)
    scaled: Double = (values - values.min()) / span
    return scaled


def _latest_smallest(distance: Double) -> int:
    return int(np.flatnonzero(distance == distance.min())[-1])
