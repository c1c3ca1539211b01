"""Acquisition conditions of a scene, as one row of numbers in physical units.

A row has one column for each name in ``COLUMNS``; NaN marks a condition that is not known. Cubes,
worlds and imported samples pass such rows to the networks, and each network encodes them itself.
The paper's encoding lives here because cubes, samples and networks share it.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, fields

import numpy as np

from sarcast.arrays import Bool, Double, Float
from sarcast.errors import SarcastError, UsageError
from sarcast.sensor.orbits import ASCENDING, DESCENDING, heading_deg, wrap_heading

LAGS = 4
"""Days of precipitation: the day of the acquisition and the three before it."""

COLUMNS = (
    "temperature",
    "snow_depth",
    "heading",
    "incidence",
    *(f"precipitation_{lag}" for lag in range(LAGS)),
    "platform",
)
"""Columns of a row of conditions; ``RANGES`` has the unit and range of each."""
TEMPERATURE, SNOW_DEPTH, HEADING, INCIDENCE, PLATFORM = (
    COLUMNS.index(name)
    for name in ("temperature", "snow_depth", "heading", "incidence", "platform")
)
PRECIPITATION = slice(COLUMNS.index("precipitation_0"), COLUMNS.index("precipitation_0") + LAGS)
"""Column indices: of single conditions, and of the days of precipitation."""

PLATFORMS = ("sentinel-1a", "sentinel-1b", "sentinel-1c", "sentinel-1d")
"""The column ``platform`` contains an index into this tuple."""


@dataclass(frozen=True)
class Range:
    """Unit and physically possible range of a condition."""

    unit: str
    low: float
    high: float


RANGES = {
    "temperature": Range("degC", -80.0, 60.0),
    "snow_depth": Range("cm", 0.0, 2000.0),
    "heading": Range("degree", -180.0, 360.0),
    "incidence": Range("degree", 0.0, 90.0),
    "precipitation": Range("mm day-1", 0.0, 2000.0),
    "platform": Range("1", 0.0, len(PLATFORMS) - 1.0),
}


def condition(column: str) -> str:
    """Condition of a column: ``precipitation_2`` belongs to ``precipitation``."""
    return column.rsplit("_", 1)[0] if column[-1].isdigit() else column


CONDITIONS = tuple(dict.fromkeys(condition(column) for column in COLUMNS))
"""Names of the conditions, in the order of their columns."""
WEATHER = ("temperature", "snow_depth", "precipitation")
"""Conditions that depend on the weather."""


def column_indices(names: Container[str]) -> list[int]:
    """Indices of the columns of some conditions."""
    return [index for index, column in enumerate(COLUMNS) if condition(column) in names]


def platform_number(platform: str | None) -> float:
    """Index of a platform in ``PLATFORMS``; NaN if it is unknown."""
    return float(PLATFORMS.index(platform)) if platform in PLATFORMS else float("nan")


def set_conditions(rows: Float, values: dict[str, float]) -> Float:
    """Copy of rows in which some conditions are set to one value each.

    Parameters
    ----------
    rows
        Dims (..., column), units as in ``RANGES``.
    values
        Value by name of a condition or column; a condition with several columns sets all of them.

    Returns
    -------
    Float
        Same dims.

    Raises
    ------
    SarcastError
        If a name is unknown, or a value is outside the possible range.
    """
    changed = rows.copy()
    for name, value in values.items():
        columns = [index for index, col in enumerate(COLUMNS) if name in (col, condition(col))]
        if not columns:
            raise SarcastError(
                f"there is no condition {name!r}; known are {', '.join(CONDITIONS)}, and single "
                f"days of precipitation as precipitation_0 .. _{LAGS - 1}; set a pass by its "
                f"heading, or by orbit_direction on the command line"
            )
        allowed = RANGES[condition(COLUMNS[columns[0]])]
        if not allowed.low <= value <= allowed.high:
            raise SarcastError(
                f"{name} must lie in {allowed.low:g}..{allowed.high:g} {allowed.unit}, "
                f"but is {value:g}"
            )
        changed[..., columns] = wrap_heading(value) if name == "heading" else value
    return changed


@dataclass(frozen=True)
class PaperScaling:
    """Bounds by which the paper scales images, elevation and conditions.

    The image bounds are the mean −4 and +4 standard deviations of the training images, dB. The
    maxima are those of the training data. Temperature and incidence have fixed bounds.
    """

    band_low: tuple[float, ...] = (-30.0, -36.0)
    band_high: tuple[float, ...] = (6.0, 0.0)
    elevation_max: float = 400.0
    snow_depth_max: float = 100.0
    precipitation_max: float = 60.0

    temperature_bounds = (-30.0, 30.0)
    incidence_bounds = (29.0, 46.0)

    def __post_init__(self) -> None:
        """Refuse maxima of 0 or less, and empty ranges."""
        for field in fields(self):
            if field.name.endswith("_max") and not getattr(self, field.name) > 0.0:
                raise SarcastError(f"{field.name} must be above 0, not {getattr(self, field.name)}")
        if not all(low < high for low, high in zip(self.band_low, self.band_high, strict=True)):
            raise SarcastError(
                f"band_low {self.band_low} must lie below band_high {self.band_high} in every band"
            )


def paper_vector(rows: Float, scaling: PaperScaling) -> tuple[Float, Bool]:
    """Encode the conditions of a window as in the paper: 9 n + 9 values, 45 for n = 4.

    In order: temperatures, snow depths, headings, incidence angles, precipitations (4 an image) and
    platforms of the n previous images, oldest first, then temperature, snow depth, heading,
    incidence angle and platform of the target, then its precipitations.

    Parameters
    ----------
    rows
        Dims (..., image, column), oldest previous image first, the target last; units as in
        ``RANGES``, NaN where a condition is missing.
    scaling
        Bounds of the scaling.

    Returns
    -------
    values : Float
        Dims (..., value), float32; a missing condition is 0.
    present : ndarray of bool
        Same dims; False where the condition is missing.

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, section III-B and Table I.
    """
    scaled = _scale(rows, scaling)
    lead = scaled.shape[:-2]
    previous, target = scaled[..., :-1, :], scaled[..., -1, :]
    scalars = [TEMPERATURE, SNOW_DEPTH, HEADING, INCIDENCE]
    parts = [
        *(previous[..., column] for column in scalars),
        previous[..., PRECIPITATION].reshape(*lead, -1),
        previous[..., PLATFORM],
        target[..., [*scalars, PLATFORM]],
        target[..., PRECIPITATION],
    ]
    values = np.concatenate(parts, axis=-1).astype(np.float32)
    present = np.isfinite(values)
    return np.where(present, values, np.float32(0.0)), present


def _scale(rows: Float, scaling: PaperScaling) -> Double:
    scaled = rows.astype(np.float64)
    low, high = scaling.temperature_bounds
    scaled[..., TEMPERATURE] = 2.0 * (scaled[..., TEMPERATURE] - low) / (high - low) - 1.0
    scaled[..., SNOW_DEPTH] /= scaling.snow_depth_max
    scaled[..., HEADING] /= 360.0
    low, high = scaling.incidence_bounds
    scaled[..., INCIDENCE] = (scaled[..., INCIDENCE] - low) / (high - low)
    scaled[..., PRECIPITATION] /= scaling.precipitation_max
    number = scaled[..., PLATFORM]
    scaled[..., PLATFORM] = np.where(number == 0.0, 1.0, np.where(number == 1.0, 0.0, np.nan))
    return scaled


def read_conditions(words: Mapping[str, str], latitude_deg: float) -> dict[str, float]:
    """Parse conditions written as text.

    Parameters
    ----------
    words
        Value by name, such as ``temperature: "20"``, ``platform: "sentinel-1b"`` or
        ``orbit_direction: "ascending"``, which sets the heading.
    latitude_deg
        Latitude of the area, from which the heading of a pass follows.

    Returns
    -------
    dict
        Values for ``set_conditions``.

    Raises
    ------
    UsageError
        If a value cannot be parsed, or heading and orbit direction contradict each other.
    """
    read: dict[str, float] = {}
    for name, word in words.items():
        if name == "orbit_direction":
            if word not in (ASCENDING, DESCENDING):
                raise UsageError(f"orbit_direction is {ASCENDING} or {DESCENDING}, not {word!r}")
            read["heading"] = heading_deg(latitude_deg, word)
        elif name == "platform":
            if word not in PLATFORMS:
                raise UsageError(f"platform is one of {', '.join(PLATFORMS)}, not {word!r}")
            read[name] = platform_number(word)
        else:
            try:
                read[name] = float(word)
            except ValueError as error:
                raise UsageError(f"{name} must be a number, not {word!r}") from error
    if "heading" in words and "orbit_direction" in words:
        read["heading"] = _agreed_heading(words, latitude_deg)
    return read


def _agreed_heading(words: Mapping[str, str], latitude_deg: float) -> float:
    """Heading, if it agrees with the orbit direction that is given too."""
    heading, direction = float(words["heading"]), words["orbit_direction"]
    usual = heading_deg(latitude_deg, direction)
    if not abs(wrap_heading(heading - usual)) < 90.0:
        raise UsageError(
            f"heading {heading:g} contradicts orbit_direction {direction}, which flies at "
            f"{usual:.0f} degrees here; give one of the two"
        )
    return heading
