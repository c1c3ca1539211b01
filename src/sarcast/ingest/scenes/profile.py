"""Layouts of Sentinel-1 sources: how a profile finds the facts of a scene.

A fact is looked for in this order: groups of the regular expression for the file name, tags of the
file, properties of a STAC item, and what the profile states for all scenes.
"""

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sarcast.errors import SarcastError
from sarcast.ingest.profiles import Profile, find_profile, shipped
from sarcast.sensor import orbits, units
from sarcast.sensor.conditions import PLATFORMS

Fact = Literal[
    "time",
    "platform",
    "orbit_direction",
    "relative_orbit",
    "absolute_orbit",
    "incidence",
    "heading",
    "unit",
    "quantity",
]
"""What may be told of a scene: orbit direction ascending or descending, incidence in degrees, the
heading of the ground track in degrees clockwise from north."""

FACTS: tuple[Fact, ...] = get_args(Fact)

STAC_PROPERTIES: Mapping[Fact, str] = {
    "platform": "platform",
    "orbit_direction": "sat:orbit_state",
    "relative_orbit": "sat:relative_orbit",
    "absolute_orbit": "sat:absolute_orbit",
    "incidence": "view:incidence_angle",
}
"""Where STAC's extensions sat and view tell facts."""

QUANTITIES = ("gamma0", "sigma0")
"""What the backscatter of a scene may be."""

_HOLE = re.compile(r"\{([a-z_]+)\}")


class AngleLayer(BaseModel):
    """Where an angle of each pixel is found, degrees."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str | None = Field(
        None, description="Regular expression for a file's name; {group} stands for what was found."
    )
    band: str | None = Field(None, description="Regular expression for a band's name.")

    def file_pattern(self, groups: Mapping[str, str]) -> re.Pattern[str] | None:
        """Expression for the name of the file that belongs to a scene."""
        if self.file is None:
            return None
        return re.compile(_HOLE.sub(lambda hole: re.escape(groups.get(hole[1], "")), self.file))


class IncidenceLayer(AngleLayer):
    """Where the incidence angle of each pixel is found: the ellipsoid's, degrees."""

    asset: str | None = Field(None, description="Key of an asset of a STAC item.")


class SceneProfile(Profile):
    """Where a source of Sentinel-1 scenes keeps what."""

    folder: ClassVar[str] = "scenes"

    files: str | None = Field(
        None,
        description="Regular expression for the whole name of a file: group 'scene' is the id of "
        "the scene, 'band' its polarisation, and facts are groups of their own name.",
    )
    others: str | None = Field(
        None, description="Regular expression for other files of the product, which are left alone."
    )
    snap_header: bool = Field(
        False, description="Known only by the header that SNAP leaves in a TIFF, not by its name."
    )
    generic: bool = Field(False, description="Tried only where no other profile knows a file.")
    series: str | None = Field(None, description="Dimension of time in a NetCDF of many scenes.")
    collections: tuple[str, ...] = Field((), description="Collections of the STAC items it knows.")
    assets: dict[Literal["VV", "VH"], str] = Field(
        {}, description="Key of the asset of each band in a STAC item."
    )
    bands: tuple[str, ...] = Field(
        ("(?P<band>(?i:VV|VH))",),
        description="Regular expressions for the names of bands in a file, the best liked first; "
        "group 'band' is the polarisation, and facts are groups of their own name.",
    )
    incidence: IncidenceLayer | None = Field(None, description="The incidence angle of each pixel.")
    heading: AngleLayer | None = Field(
        None, description="The heading of the ground track; its mean is that of the scene."
    )
    nodata: float | None = Field(
        None, description="Value of pixels without data, where the file does not tell it."
    )
    facts: dict[Fact, str] = Field({}, description="Facts that hold for all scenes.")
    tags: dict[Fact, str] = Field({}, description="Facts told by tags of the file.")
    properties: dict[Fact, str] = Field({}, description="Facts told by properties of an item.")
    words: dict[Fact, dict[str, str]] = Field(
        {}, description="What the source's words for a fact mean."
    )
    time_format: str = Field("%Y%m%dT%H%M%S", description="Format of times, as of strptime; UTC.")

    @field_validator("files", "others")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        return None if pattern is None else _checked(pattern)

    @field_validator("bands")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(pattern) for pattern in patterns)

    @cached_property
    def file_pattern(self) -> re.Pattern[str] | None:
        """The compiled expression for file names."""
        return None if self.files is None else re.compile(self.files)

    def groups(self, name: str) -> dict[str, str] | None:
        """Groups of a file name; None if it is no file of the source."""
        found = self.file_pattern.fullmatch(name) if self.file_pattern else None
        return None if found is None else _told(found)

    def owns(self, name: str) -> bool:
        """Whether a file is part of the source's product, but no band of it."""
        return self.others is not None and re.fullmatch(self.others, name) is not None

    def read(
        self,
        groups: Mapping[str, str],
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, object] | None = None,
    ) -> dict[Fact, str]:
        """Facts of a scene, in the profile's own words put into ours."""
        held = {**STAC_PROPERTIES, **self.properties} if properties is not None else {}
        told: dict[Fact, str] = {}
        for fact in FACTS:
            for word in (
                groups.get(fact),
                (tags or {}).get(self.tags.get(fact, "")),
                (properties or {}).get(held.get(fact, "")),
                self.facts.get(fact),
            ):
                if word not in (None, ""):
                    told[fact] = self.words.get(fact, {}).get(str(word), str(word))
                    break
        return told

    def time(self, word: str) -> dt.datetime:
        """Time of acquisition, UTC.

        Raises
        ------
        SarcastError
            If the word is in another format than the profile states.
        """
        try:
            return dt.datetime.strptime(word, self.time_format).replace(tzinfo=dt.UTC)
        except ValueError as error:
            raise SarcastError(
                f"the time {word!r} is not in the format {self.time_format!r} of the profile "
                f"{self.name}; give the right one as time_format"
            ) from error

    @property
    def tells_hours(self) -> bool:
        """Whether times hold the time of day, from which the pass follows."""
        return "%H" in self.time_format


def scene_profiles(own: Iterable[str] = ()) -> tuple[SceneProfile, ...]:
    """Profiles in the order in which they are tried.

    Parameters
    ----------
    own
        YAML files of the user's, which come first; those that know any file by its name come last.
    """
    known = sorted(shipped(SceneProfile), key=lambda one: (one.generic, not one.snap_header))
    return (*(find_profile(SceneProfile, word) for word in own), *known)


def platform(word: str | None) -> str | None:
    """Platform as ``"sentinel-1a"``, of any usual way to write it; None of anything else."""
    found = None if word is None else re.fullmatch(r"(?i)s(?:entinel)?-?_?1_?([a-d])", word.strip())
    name = None if found is None else f"sentinel-1{found[1].lower()}"
    return name if name in PLATFORMS else None


def orbit_direction(word: str | None) -> str | None:
    """Pass as ``"ascending"`` or ``"descending"``, of any usual way to write it, or None."""
    lowered = (word or "").strip().lower()
    for direction in (orbits.ASCENDING, orbits.DESCENDING):
        if lowered and direction.startswith(lowered):
            return direction
    return None


def relative_orbit(told: Mapping[Fact, str]) -> int | None:
    """Relative orbit as told, or as it follows from the absolute one."""
    if told.get("relative_orbit", "").isdigit():
        return int(told["relative_orbit"])
    satellite = platform(told.get("platform"))
    if satellite is None or not told.get("absolute_orbit", "").isdigit():
        return None
    return orbits.relative_orbit(satellite, int(told["absolute_orbit"]))


def incidence_deg(told: Mapping[Fact, str]) -> float | None:
    """Incidence angle at the centre, degrees, where it is told as a number."""
    return _number(told.get("incidence"), 0.0, 90.0)


def heading_deg(told: Mapping[Fact, str]) -> float | None:
    """Heading of the ground track, degrees clockwise from north, where it is told as a number."""
    return _number(told.get("heading"), -360.0, 360.0)


def _number(word: str | None, low: float, high: float) -> float | None:
    """A number within its range; what marks a missing one lies outside."""
    try:
        number = math.nan if word is None else float(word)
    except ValueError:
        return None
    return number if low <= number <= high else None


def check_quantity(quantity: str | None, place: str) -> str:
    """See that a quantity is one that scenes may have.

    Raises
    ------
    SarcastError
        If it is not told, or another one.
    """
    if quantity not in QUANTITIES:
        raise SarcastError(
            f"{place} is declared as {quantity!r}; expected {' or '.join(QUANTITIES)}: see the "
            f"facts and words of its profile"
        )
    return quantity


def check_unit(unit: str | None, place: str) -> str:
    """See that a unit is one that can be read.

    Raises
    ------
    SarcastError
        If it is not told, unknown, or that of a level-1 product.
    """
    if unit == units.DIGITAL_NUMBER:
        raise SarcastError(
            f"{place} is a level-1 product in radar geometry (digital numbers): make gamma0 of it "
            f"first, with sarcast rtc or another processor"
        )
    if unit not in units.SOURCE_UNITS:
        raise SarcastError(
            f"{place} is declared in {unit!r}; expected {', '.join(map(repr, units.SOURCE_UNITS))}"
        )
    return unit


def _checked(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
    return pattern


def _told(found: re.Match[str]) -> dict[str, str]:
    return {name: word for name, word in found.groupdict().items() if word is not None}
