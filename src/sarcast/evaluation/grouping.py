"""Groups that results are split into: conditions of the target, and land cover."""

import numpy as np

from sarcast.arrays import Bool
from sarcast.sensor.conditions import COLUMNS
from sarcast.sensor.orbits import direction_of
from sarcast.windows import Window

WET_MM = 1.0
"""Precipitation of the target's day and the day before from which a window is wet, mm."""
INCIDENCE_STEP_DEG = 4.0
"""Width of the incidence angle classes, degrees."""
SEASONS = ("winter", "spring", "summer", "autumn")
"""Meteorological seasons of the northern hemisphere, from December on."""


def condition_groups(window: Window) -> list[tuple[str, str]]:
    """Groups of a window by the conditions of its target, such as ``("pass", "ascending")``.

    Factors are season, pass, incidence (classes of 4 degrees) and weather (frozen, wet or dry); a
    factor whose conditions are unknown is left out.
    """
    target = dict(zip(COLUMNS, window.conditions[-1].tolist(), strict=True))
    month = int(np.datetime64(window.times[-1], "M").astype(int)) % 12
    groups = [("season", SEASONS[(month + 1) % 12 // 3])]
    if np.isfinite(target["heading"]):
        groups.append(("pass", direction_of(target["heading"])))
    if np.isfinite(target["incidence"]):
        low = int(target["incidence"] // INCIDENCE_STEP_DEG * INCIDENCE_STEP_DEG)
        groups.append(("incidence", f"{low}-{low + INCIDENCE_STEP_DEG:g} degrees"))
    if target["temperature"] <= 0.0:
        groups.append(("weather", "frozen"))
    elif np.isfinite(rain := target["precipitation_0"] + target["precipitation_1"]):
        groups.append(("weather", "wet" if rain >= WET_MM else "dry"))
    return groups


def cover_masks(window: Window) -> dict[str, Bool]:
    """Masks (y, x) of the land covers that a window knows, by name."""
    covers = {"forest": window.forest, "open land": window.open_land}
    return {name: mask for name, mask in covers.items() if mask is not None}
