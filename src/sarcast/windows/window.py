"""A window, its expected image, and the protocol of whatever predicts it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sarcast.arrays import Bool, Float, Times
from sarcast.sensor.conditions import set_conditions

PixelOffset = tuple[int, int]
"""Row and column of a pixel."""
PixelShape = tuple[int, int]
"""Number of rows and columns."""

BANDS = ("VV", "VH")
"""Bands that networks are trained on; a window may have others, or one."""


@dataclass(frozen=True)
class Window:
    """Part of a cube at a target date: n previous images, conditions, terrain and the target.

    Attributes
    ----------
    previous
        Dims (image, band, y, x), dB, oldest first, NaN where there is no data.
    target
        Dims (band, y, x), dB: the actual image; NaN where there is no data.
    conditions
        Dims (image + 1, column), columns and units of ``conditions.COLUMNS``; the target is last.
    times
        Dims (image + 1), datetime64[ns], acquisition times; the target is last.
    elevation
        Dims (y, x), m; all NaN where the cube has no terrain.
    expected
        Dims (band, y, x), dB: the oracle, None outside a synthetic world.
    forest, open_land
        Dims (y, x): where changes are simulated, and the land whose distribution they take; None if
        unknown.
    offset
        Row and column of the upper left pixel in the cube.
    context
        Scene context of the target, dims as ``prediction.networks.context.TABLE_SHAPE``, computed
        over a larger part of the scene; None: a predictor that uses it computes it from the window.
    bands
        Names of the bands, such as ``("VV", "VH")``, ``("VV",)`` or ``("HH", "HV")``.

    Examples
    --------
    A cube of 40 dates of 1000 x 1000 pixels; the last date is to be predicted from the four before
    it, in the 256 x 256 pixels whose upper left corner is at row 512, column 0::

        window = cut_window(cube, 39, (512, 0), (256, 256), previous=[35, 36, 37, 38])
        window.previous.shape    # (4, 2, 256, 256)
        window.target.shape      # (2, 256, 256)
        window.conditions.shape  # (5, 9): one row of conditions for each image, the target's last
        window.times[-1]         # acquisition time of the target, cube.time[39]

    A predictor reads everything except ``target``, of which it uses the scene context at most, and
    returns ``Expected``; the residual is ``window.target - expected.mean``.
    """

    previous: Float
    target: Float
    conditions: Float
    times: Times
    elevation: Float
    expected: Float | None = None
    forest: Bool | None = None
    open_land: Bool | None = None
    offset: PixelOffset = (0, 0)
    bands: tuple[str, ...] = BANDS
    context: Float | None = None

    @property
    def horizon_days(self) -> float:
        """Days from the last previous image to the target."""
        return float((self.times[-1] - self.times[-2]) / np.timedelta64(1, "D"))

    def with_bands(self, bands: Sequence[str]) -> "Window":
        """Return the window with these bands in this order; those that it lacks are NaN."""
        if tuple(bands) == self.bands:
            return self
        return replace(
            self,
            previous=self._arranged(self.previous, bands),
            target=self._arranged(self.target, bands),
            expected=None if self.expected is None else self._arranged(self.expected, bands),
            bands=tuple(bands),
        )

    def _arranged(self, image: Float, bands: Sequence[str]) -> Float:
        """An image, dims (..., band, y, x), with these bands in this order."""
        shape = (*image.shape[:-3], len(bands), *image.shape[-2:])
        arranged = np.full(shape, np.nan, dtype=image.dtype)
        for index, band in enumerate(bands):
            if band in self.bands:
                arranged[..., index, :, :] = image[..., self.bands.index(band), :, :]
        return arranged

    def with_target(self, target: Float) -> "Window":
        """Return the window with another target, whose scene context is not known yet."""
        return replace(self, target=target, context=None)

    def with_conditions(self, values: Mapping[str, float]) -> "Window":
        """Return the window with conditions of its target replaced, as by ``set_conditions``."""
        rows = self.conditions.copy()
        rows[-1] = set_conditions(rows[-1], dict(values))
        return replace(self, conditions=rows)


@dataclass(frozen=True)
class Expected:
    """An expected image.

    Attributes
    ----------
    mean
        Dims (band, y, x), dB; NaN where the predictor gives no value.
    std
        Dims (band, y, x), dB: predicted standard deviation of the target about ``mean``, speckle
        included; None where the predictor gives none, as conventional strategies do.

    Notes
    -----
    ``z = (target - mean) / std``: an actual image of −14 dB where −11 ± 1.5 dB was expected has a
    residual of −3 dB and z = −2.
    """

    mean: Float
    std: Float | None = None


class Predictor(Protocol):
    """Whatever gives the expected image of a window: a network, a strategy, an oracle.

    Examples
    --------
    The simplest strategy, the latest previous image::

        class Latest:
            name = "latest"  # as shown in tables
            size = None  # windows of any size
            previous = None  # any number of previous images, one or more
            uses_target = False  # the same expected image whatever the target is

            def expect(self, windows):
                return [Expected(window.previous[-1]) for window in windows]
    """

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def size(self) -> int | None:
        """The one window size in pixels that it takes; None for any."""
        ...

    @property
    def previous(self) -> int | None:
        """Number of previous images that it needs; None for any from one up."""
        ...

    @property
    def uses_target(self) -> bool:
        """Whether the expected image depends on the target itself, by its scene context.

        Such a predictor is asked anew for each simulated change.
        """
        ...

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        """Return the expected image of each window, NaN where it cannot be predicted."""
        ...


@runtime_checkable
class TrainedPredictor(Predictor, Protocol):
    """A predictor that records what it was trained on, so that evaluation leaves that out.

    Keys of ``training``, ISO 8601: ``training_dates``, first and last target date, and
    ``seen_until``, the last date of training and validation.
    """

    @property
    def training(self) -> Mapping[str, Any]:
        """How it was trained; empty if that is not known."""
        ...
