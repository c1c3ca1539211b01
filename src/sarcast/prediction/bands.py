"""Windows of other bands than VV and VH, for networks, which take both."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sarcast.arrays import Float
from sarcast.errors import SarcastError
from sarcast.prediction.networks.scaling import MEAN_LEVEL_DB
from sarcast.windows import BANDS, Expected, Window, join_names


def check_bands_of(window: Window, network: str) -> None:
    """Check that a network was trained on a band of a window.

    Raises
    ------
    SarcastError
        If it was trained on none, as on HH and HV.
    """
    if not set(window.bands) <= set(BANDS):
        raise SarcastError(
            f"the network {network} was trained on {join_names(BANDS)}, but the cube has "
            f"{join_names(window.bands)}; use the conventional strategies: sarcast evaluate "
            f"without --model, or sarcast detect with a conventional strategy (--model mean)"
        )


def absent_bands(window: Window) -> list[str]:
    """Names of the bands of a network that no previous image of a window has."""
    previous = window.with_bands(BANDS).previous
    # row by row: the first one that has data ends the search
    return [
        band
        for index, band in enumerate(BANDS)
        if not any(np.isfinite(row).any() for image in previous for row in image[index])
    ]


def with_both_bands(window: Window) -> Window:
    """Return a window with VV and VH, of which an absent one is derived from the other.

    It is derived in the target too, whose scene context compares both. The absent band is the
    other one, shifted by the typical difference between both, 6 dB. A network is more precise with
    this than with a band of missing values, which it was not trained on: in ``boreal-1`` the error
    against the oracle is 0.94 instead of 1.31 dB in VV (0.85 dB with both bands), and the standard
    deviation stays calibrated.
    """
    both, absent = window.with_bands(BANDS), absent_bands(window)
    if len(absent) != 1:
        return both
    index = BANDS.index(absent[0])
    other = 1 - index
    previous = both.previous.copy()
    shift_db = MEAN_LEVEL_DB[index] - MEAN_LEVEL_DB[other]
    previous[:, index] = previous[:, other] + np.float32(shift_db)
    target = both.target.copy()
    target[index] = target[other] + np.float32(shift_db)
    return replace(both, previous=previous, target=target)


def in_bands_of(window: Window, mean: Float, std: Float | None) -> Expected:
    """Give the output of a network in the bands of a window, NaN in a band that it lacks.

    Parameters
    ----------
    window
        As it was given to the network, before ``with_both_bands``.
    mean, std
        Dims (band, y, x), dB, of VV and VH; ``std`` is None from a network without.
    """
    rows = [BANDS.index(band) for band in window.bands]
    absent = [window.bands.index(band) for band in absent_bands(window) if band in window.bands]

    def arranged(image: Float) -> Float:
        image = image[rows] if rows != list(range(len(image))) else image
        image[absent] = np.nan
        return image

    return Expected(arranged(mean), None if std is None else arranged(std))


def absent_in_any(windows: Sequence[Window]) -> list[str]:
    """Names of the bands that are absent in at least one window, but not all of its bands."""
    absent = [absent_bands(window) for window in windows]
    return [band for band in BANDS if any(names == [band] for names in absent)]
